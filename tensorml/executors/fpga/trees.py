"""Trees in a circuit: a compare for each distinct threshold, and a choice among leaves for each tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tensorml import ops
from tensorml.executors.fpga.design import Design, Signal, number
from tensorml.executors.fpga.fixed import width

LEVELS = 3  # of a tree that are chosen from in one stage: two LUTs, one after the other
FEW = 10  # bits that choose, of any number of levels, in one stage: another stage would take more LUTs


@dataclass(frozen=True)
class Branch:
    """A test, code >= rank, and what follows if it fails and if it holds: leaves by number, or branches."""

    column: int
    rank: int
    left: Node
    right: Node


Node = Branch | int


def nested(op: ops.Descend) -> list[Node]:
    """The trees as branches."""
    built: dict[int, Node] = {}

    def node(child: int) -> Node:
        return ~child if child < 0 else built[child]

    waiting = [int(root) for root in op.roots if root >= 0]
    order: list[int] = []
    while waiting:
        inner = waiting.pop()
        order.append(inner)
        waiting += [int(c) for c in (op.left[inner], op.right[inner]) if c >= 0]
    for i in reversed(order):
        built[i] = Branch(int(op.column[i]), int(op.rank[i]), node(int(op.left[i])), node(int(op.right[i])))
    return [node(int(root)) for root in op.roots]


def nested_symmetric(op: ops.DescendSymmetric) -> list[Node]:
    """The trees as branches; test i is bit i of the leaf's number."""
    trees: list[Node] = []
    start = 0
    for first, size in zip(op.first_leaf, op.size, strict=True):
        level: list[Node] = [int(first) + leaf for leaf in range(2 ** int(size))]
        for i in range(start + int(size) - 1, start - 1, -1):
            half = len(level) // 2
            level = [
                Branch(int(op.column[i]), int(op.rank[i]), a, b)
                for a, b in zip(level[:half], level[half:], strict=True)
            ]
        trees.append(level[0])
        start += int(size)
    return trees


def chooser(design: Design, codes: Sequence[Signal], tree: Node) -> Callable[[Callable[[int], int]], Signal]:
    """From what each leaf holds to a signal: what the leaf holds that the row reaches."""

    def choose(held: Callable[[int], int]) -> Signal:
        return chosen(design, tested(design, codes, tree, held))

    return choose


@dataclass(frozen=True)
class Choice:
    """One bit that chooses between two values: numbers, or choices. low, high: the range of all of them."""

    bit: Signal
    left: Choice | int
    right: Choice | int
    low: int
    high: int


def tested(design: Design, codes: Sequence[Signal], node: Node, held: Callable[[int], int]) -> Choice | int:
    """A tree as choices. Branches whose leaves all hold the same, and tests that always end alike, are left out."""
    if isinstance(node, int):
        return held(node)
    bit = design.at_least(
        f"c{node.column}_ge{node.rank}", "Compares: one for each distinct threshold", codes[node.column], node.rank
    )
    if bit.constant:
        return tested(design, codes, node.right if bit.low else node.left, held)
    left, right = (tested(design, codes, child, held) for child in (node.left, node.right))
    if left == right:
        return left
    ends = [(v, v) if isinstance(v, int) else (v.low, v.high) for v in (left, right)]
    return Choice(bit, left, right, min(e[0] for e in ends), max(e[1] for e in ends))


def chosen(design: Design, choice: Choice | int) -> Signal:
    """The value that the bits choose. A tree of many levels takes a stage for every few of them, from below."""
    if isinstance(choice, int):
        return number(choice)
    return _chosen(design, choice, max(bit.stage for bit in bits(choice)))


def bits(choice: Choice | int) -> set[Signal]:
    """All bits that choose."""
    found: set[Signal] = set()
    waiting = [choice]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Choice):
            found.add(node.bit)
            waiting += [node.left, node.right]
    return found


def _chosen(design: Design, choice: Choice, stage: int) -> Signal:
    """The value of a choice whose bits are there at a stage."""
    done: dict[int, Signal] = {}  # by the id of the choice
    while id(choice) not in done:
        for node in low_ones(choice, levels(choice, done)):
            text = expression(design, node, stage, done, choice.low < 0)
            note = "The leaf of each tree" if node is choice else "The lowest levels of trees"
            new = set(functions(node, done)) - design.functions - {0, 1}
            design.functions |= new
            design.counts.update(("choice", len(read(function))) for function in new)
            done[id(node)] = design.register("leaf", note, text, node.low, node.high, stage, bits=len(new))
        stage += 1
    return done[id(choice)]


Function = int | tuple[str, "int | Function", "int | Function"]  # a constant, bit of a signal, or a choice by one


def functions(choice: Choice, done: Mapping[int, Signal]) -> Iterator[Function]:
    """The bits of a choice as functions of signals, without tests that decide nothing."""

    def function(node: Choice | int, place: int) -> Function:
        if isinstance(node, int):
            return node >> place & 1
        if id(node) in done:
            return done[id(node)].name, place, place
        left, right = function(node.left, place), function(node.right, place)
        return left if left == right else (node.bit.name, left, right)

    return (function(choice, place) for place in range(width(choice.low, choice.high)))


def read(function: Function) -> set[str]:
    """The signals of a function."""
    return set() if isinstance(function, int) else {function[0]} | read(function[1]) | read(function[2])


def levels(choice: Choice, done: Mapping[int, Signal]) -> dict[int, int]:
    """For each choice, by its id, how many levels it is above those that are done."""
    found: dict[int, int] = {}

    def visit(node: Choice | int) -> int:
        if isinstance(node, int) or id(node) in done:
            return 0
        if id(node) not in found:
            found[id(node)] = 1 + max(visit(node.left), visit(node.right))
        return found[id(node)]

    visit(choice)
    return found


def low_ones(choice: Choice, level: Mapping[int, int]) -> Iterator[Choice]:
    """The highest choices that one stage is enough for."""
    waiting: list[Choice | int] = [choice]
    while waiting:
        node = waiting.pop()
        if isinstance(node, int) or id(node) not in level:
            continue
        if level[id(node)] <= LEVELS or len(bits(node)) <= FEW:
            yield node
        else:
            waiting += [node.right, node.left]


def expression(design: Design, node: Choice | int, stage: int, done: Mapping[int, Signal], signed: bool) -> str:
    """Nested conditions."""
    if isinstance(node, int):
        return number(node).text(signed)
    if id(node) in done:
        return design.at(done[id(node)], stage).text(signed)
    left, right = (expression(design, child, stage, done, signed) for child in (node.left, node.right))
    return f"({design.at(node.bit, stage).name} ? {right} : {left})"
