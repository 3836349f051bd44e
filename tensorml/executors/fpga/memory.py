"""Trees as memories: each node a word, so that a few walkers can share an ensemble too large for a pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.circuit import Field
from tensorml.executors.fpga.fixed import width
from tensorml.executors.fpga.split import Split
from tensorml.executors.fpga.trees import Branch, Node, nested, nested_symmetric
from tensorml.graph import Input, Op
from tensorml.passes.columns import by_column

AT_ONCE = 3  # trees that a walker follows: the cycles from an address to the next

Ends = tuple[int, int]  # the least and the largest value


@dataclass(frozen=True)
class Memory:
    """The nodes of a walker's trees as words of memory: tree i's root at address i, a node's two children together.

    A word is, from the highest bit: whether it is a leaf, then of a node column, rank and the left child's address, of
    a leaf its number among the walker's leaves. leaves: what each one adds to each output, int64 [L, K].
    """

    words: list[int]
    leaves: np.ndarray
    trees: int


@dataclass(frozen=True)
class Sizes:
    """The bits of the parts of words, the same for all walkers, and the steps of a tree."""

    column: int
    rank: int
    address: int
    leaf: int
    steps: int

    @property
    def word(self) -> int:
        """Of a whole word."""
        return 1 + max(self.column + self.rank + self.address, self.leaf)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A tree ensemble whose nodes read fields of a row: column c of the codes is field `places[c]`."""

    descend: ops.Descend | ops.DescendSymmetric
    sums: ops.LeafSum
    fields: tuple[Field, ...]
    places: tuple[int, ...]

    @cached_property
    def trees(self) -> list[Node]:
        """The trees as branches."""
        build = nested_symmetric if isinstance(self.descend, ops.DescendSymmetric) else nested
        return [moved(tree, self.places) for tree in build(self.descend)]  # pyright: ignore[reportArgumentType]

    def groups(self, walkers: int) -> list[list[Node]]:
        """The trees of each walker: of about the same depth together, so that all have about as many nodes."""
        ordered = sorted(self.trees, key=lambda tree: sum(1 for _ in leaves_of(tree)))
        return [ordered[w::walkers] for w in range(walkers)]


def ensemble(split: Split) -> Ensemble | None:
    """The tree ensemble that a split's circuit is; None if it is anything else."""
    graph = split.circuit
    found = list(graph.outputs.values())
    if len(found) != 1 or not isinstance(found[0], ops.LeafSum):
        return None
    sums, descend = found[0], found[0].leaves
    if not isinstance(descend, ops.Descend | ops.DescendSymmetric):
        return None
    fields: list[Field] = []
    first: dict[str, int] = {}
    for entrance in split.entrances.values():
        name = split.names[entrance.before]
        first[name] = len(fields)
        ends = zip(entrance.fixed.low, entrance.fixed.high, strict=True)
        fields += [Field(f"{name}_{c}", bits_of((int(a), int(b))), bool(a < 0)) for c, (a, b) in enumerate(ends)]
    places = places_of(descend.codes, first)
    if places is None or any(field.signed for field in fields):
        return None
    return Ensemble(descend, sums, tuple(fields), tuple(places))


def places_of(codes: Op, first: Mapping[str, int]) -> list[int] | None:
    """The field that each column of the codes is; None if they are computed. first: of each input, by name."""

    def field_of(op: Op) -> Sequence[int | None] | Op:
        if isinstance(op, Input):
            return range(first[op.name], first[op.name] + op.columns)
        return op.x if isinstance(op, ops.Cast) else [None] * op.columns

    found = by_column(codes, field_of)
    known = [place for place in found if place is not None]
    return known if len(known) == len(found) else None


def moved(tree: Node, places: Sequence[int]) -> Node:
    """A tree whose tests read fields instead of columns of codes."""
    if not isinstance(tree, Branch):
        return tree
    return Branch(places[tree.column], tree.rank, moved(tree.left, places), moved(tree.right, places))


def leaf_trees(trees: Sequence[Node]) -> dict[int, int]:
    """The tree of each leaf."""
    return {leaf: t for t, tree in enumerate(trees) for leaf in leaves_of(tree)}


def leaves_of(tree: Node) -> Iterator[int]:
    """The numbers of a tree's leaves."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Branch):
            waiting += [node.left, node.right]
        else:
            yield node


def nodes_of(tree: Node) -> Iterator[Node]:
    """Branches and leaves."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, Branch):
            waiting += [node.left, node.right]


def leaf_values(sums: ops.LeafSum, tree_of: dict[int, int]) -> np.ndarray:
    """What each leaf adds to each output: int64 [L, K]."""
    if sums.output is None:
        return sums.values.astype(np.int64)
    values = np.zeros((len(sums.values), len(sums.start)), np.int64)
    for leaf, tree in tree_of.items():
        values[leaf, sums.output[tree]] = sums.values[leaf, 0]
    return values


def depth(tree: Node) -> int:
    """The compares on the longest way."""
    level: list[Node] = [tree]
    count = 0
    while level := [c for n in level if isinstance(n, Branch) for c in (n.left, n.right)]:
        count += 1
    return count


def sizes_of(groups: Sequence[Sequence[Node]], codes: Sequence[Field], trees: int) -> Sizes:
    """The bits that the largest memory needs."""
    nodes = [sum(1 for tree in group for _ in nodes_of(tree)) + trees - len(group) for group in groups]
    leaves = [sum(1 for tree in group for _ in leaves_of(tree)) + 1 for group in groups]
    return Sizes(
        column=max(1, (len(codes) - 1).bit_length()),
        rank=max(field.width for field in codes) + 1,
        address=max(1, (max(nodes) - 1).bit_length()),
        leaf=max(1, (max(leaves) - 1).bit_length()),
        steps=max(depth(tree) for group in groups for tree in group) + 1,
    )


def longest(groups: Sequence[Sequence[Node]]) -> int:
    """The trees of a walker, with those that fill its turns."""
    return -(-max(map(len, groups)) // AT_ONCE) * AT_ONCE


def memory(trees: Sequence[Node], values: np.ndarray, sizes: Sizes, turns: int) -> Memory:
    """The trees as words. Missing trees are leaves that add nothing."""
    words = [0] * turns
    order = sorted(leaf for tree in trees for leaf in leaves_of(tree))
    place = {leaf: i + 1 for i, leaf in enumerate(order)}
    mark = 1 << sizes.word - 1
    words[len(trees) :] = [mark] * (turns - len(trees))
    waiting = list(zip(range(len(trees)), trees, strict=True))
    while waiting:
        address, node = waiting.pop()
        if not isinstance(node, Branch):
            words[address] = mark | place[node]
            continue
        child = len(words)
        words += [0, 0]
        waiting += [(child, node.left), (child + 1, node.right)]
        rank = min(node.rank, (1 << sizes.rank) - 1)  # a rank that no code reaches stays one
        words[address] = ((node.column << sizes.rank) | rank) << sizes.address | child
    return Memory(words, np.concatenate([np.zeros((1, values.shape[1]), np.int64), values[order]]), len(trees))


def bits_of(ends: Ends) -> int:
    """The bits of a register with this range."""
    return max(1, width(*ends))
