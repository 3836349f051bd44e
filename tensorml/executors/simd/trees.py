"""Trees: values to codes by a search of 16 boundaries at a time, all nodes of a tree compared for 128 rows at once.

Codes lie in groups of 128 rows, column by column, so that a node reads one piece of memory. A tree gives each row the
number of its leaf within the tree; a second kernel adds what the leaves hold, tree after tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from tensorml import ops
from tensorml.executors.simd.addresses import (
    I8,
    I16,
    I32,
    I64,
    LANES,
    LLVM,
    constant,
    intrinsic,
    load,
    pointer,
    splat,
    store,
)
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import LINE, Assembler, Block, Buffer, Parameter, Place
from tensorml.executors.simd.plans import FAN, LEVELS, SMALL, Plan, ValuesPlan, descendable, plan_trees, searchable
from tensorml.executors.simd.rules import handles, result, rule
from tensorml.graph import Op

GROUP = 64  # trees whose leaves are found before they are added up


@intrinsic
def reached(typing: Any, tree: Any, node: Any, x: Any, strict: Any, dtype: Any) -> Any:
    """How many of a node's 16 boundaries x has reached, or has passed if `strict`."""
    name, sign = dtype.literal_value, "<" if strict.literal_value else "<="

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        address, at, value = arguments[:3]
        vector = ir.VectorType(LLVM[name], FAN)
        boundaries = b.load(pointer(b, address, b.mul(at, constant(FAN)), LLVM[name], vector), align=LINE)
        mask = b.bitcast(b.fcmp_ordered(sign, boundaries, splat(b, value, FAN)), I16)
        return b.zext(b.call(b.module.declare_intrinsic("llvm.ctpop", [I16]), [mask]), I64)

    return types.int64(tree, node, x, strict, dtype), generate


@cache
def ranking(dtype: str, made: str, strict: int) -> Kernel:
    """Parameters: columns, bytes from one group of rows to the next; for each column the places of result and x, the
    code of NaN, the levels of the search, its address, and where the levels after the first begin.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        jump = load(p, 1, "int64")
        for c in range(load(p, 0, "int64")):
            word = p + 8 * (2 + (4 + LEVELS) * c)
            out, x, nan = load(word, 0, "int64"), load(word, 1, "int64"), load(word, 2, "int64")
            levels, tree = load(word, 3, "int64"), load(word, 4, "int64")
            leaves = load(word, 3 + levels, "int64") if levels > 1 else 0
            for start in range(0, rows, LANES):
                for r in range(start, min(start + LANES, rows)):
                    value = load(x, r, dtype)
                    node = 0
                    if levels == 2:
                        node = reached(tree, 0, value, strict, dtype)
                    elif levels > 2:
                        at = 0
                        for level in range(levels - 1):
                            node = (FAN + 1) * node + reached(tree, at + node, value, strict, dtype)
                            at = load(word, 5 + level, "int64")
                    code = FAN * node + reached(tree, leaves + node, value, strict, dtype)
                    store(out, r - start, nan if value != value else code, made)
                out += jump
        return 0

    return Kernel(kernel)


def search(boundaries: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Boundaries as nodes of 16 for `ranking`, level after level: the nodes, and where each level begins.

    The last level holds all boundaries; a node above it the first boundary of each child but one. NaN is never reached.
    """
    levels, span = [padded(boundaries)], FAN
    while len(levels[0]) > 1:
        children = len(levels[0])
        nodes = np.full((-(-children // (FAN + 1)), FAN + 1), np.nan, boundaries.dtype)
        begins = boundaries[np.arange(children) * span]
        nodes.reshape(-1)[:children] = begins
        levels.insert(0, nodes[:, 1:].copy())
        span *= FAN + 1
    starts = np.cumsum([0, *(len(level) for level in levels)])[:-1]
    return np.concatenate(levels), [int(start) for start in starts]


def padded(boundaries: np.ndarray) -> np.ndarray:
    """[nodes, 16], NaN after the last boundary."""
    nodes = np.full((max(1, -(-len(boundaries) // FAN)), FAN), np.nan, boundaries.dtype)
    nodes.reshape(-1)[: len(boundaries)] = boundaries
    return nodes


def rank(assembler: Assembler, op: ops.Rank, x: Block, places: tuple[Parameter, ...], jump: Parameter) -> None:
    """Add the instruction that writes the codes to these places."""
    parameters: list[Parameter] = [len(op.source), jump]
    for k, (place, source) in enumerate(zip(places, op.source, strict=True)):
        nodes, starts = search(op.column(k))
        rest = [*starts[1:], *[0] * (LEVELS - len(starts))]
        address = assembler.constant(nodes)
        parameters += [place, x.columns[source], int(op.nan[k]), len(starts), address, *rest]
    kernel = ranking(op.x.dtype.name, op.dtype.name, int(op.strict))
    assembler.add(kernel, *parameters, cost=2.0 * len(op.source))


@rule(ops.Rank, accepts=searchable)
def rank_rule(assembler: Assembler, op: ops.Rank, x: Block) -> Block:
    """Codes as columns like any others."""
    block = result(assembler, op)
    rank(assembler, op, x, block.columns, LANES * op.dtype.itemsize)
    return block


@cache
def grouping(dtype: str, size: int) -> Kernel:
    """Columns copied into groups of rows. Parameters: columns, bytes from group to group; places of result and x."""

    def kernel(p: int, first: int, rows: int) -> int:
        for c in range(load(p, 0, "int64")):
            out, x = load(p, 2 + 2 * c, "int64"), load(p, 3 + 2 * c, "int64")
            for start in range(0, rows, LANES):
                for r in range(start, min(start + LANES, rows)):
                    store(out, r - start, load(x, r, dtype), dtype)
                out += load(p, 1, "int64")
        return 0

    return Kernel(kernel)


def code_parts(codes: Op) -> tuple[Op, ...]:
    """What codes are put together from."""
    return codes.parts if isinstance(codes, ops.Concat) else (codes,)


def code_sources(op: Op) -> tuple[Op, ...]:
    """What Descend reads: the values, where they are coded on the way."""
    (codes,) = op.operands
    return tuple(part.x if isinstance(part, ops.Rank) and handles(part) else part for part in code_parts(codes))


def grouped_codes(assembler: Assembler, codes: Op, blocks: tuple[Block, ...]) -> Buffer:
    """The codes in groups of rows."""
    size, width = codes.dtype.itemsize, codes.columns
    room, at = assembler.reserve(width * size), 0
    jump = LANES * width * size
    for part, block in zip(code_parts(codes), blocks, strict=True):
        places = tuple(Place(room.unit, (at + k) * LANES * size) for k in range(part.columns))
        if isinstance(part, ops.Rank) and handles(part):
            rank(assembler, part, block, places, jump)
        else:
            pairs = [place for pair in zip(places, block.columns, strict=True) for place in pair]
            assembler.add(grouping(codes.dtype.name, size), part.columns, jump, *pairs, cost=0.1 * part.columns)
        at += part.columns
    return room


def compared(b: ir.IRBuilder, codes: Any, offset: Any, threshold: Any, name: str) -> Any:
    """Which of 128 rows have a code of at least the threshold."""
    vector = ir.VectorType(LLVM[name], LANES)
    code = b.load(pointer(b, b.add(codes, b.zext(offset, I64)), constant(0), I8, vector), align=LINE)
    limit = splat(b, threshold, LANES)
    return b.icmp_unsigned(">=", code, limit) if name == "uint8" else b.icmp_signed(">=", code, limit)


def numbers(value: int) -> ir.Constant:
    """The same byte for all rows."""
    return ir.Constant(ir.VectorType(I8, LANES), [value] * LANES)


@intrinsic
def perfect(
    typing: Any, codes: Any, nodes: Any, ranks: Any, under: Any, out: Any, depth: Any, rest: Any, dtype: Any
) -> Any:
    """The leaves of 128 rows in one perfect tree of so many levels.

    codes: the address of their codes; nodes: of the offsets of the nodes' columns, int32, in heap order; ranks: of what
    they compare with; out: for the leaves, uint8. rest: the levels of further trees below, 0 for none; under: the
    address of the leaves in each of them.
    """
    name, levels, further = dtype.literal_value, depth.literal_value, rest.literal_value
    vector = ir.VectorType(I8, LANES)

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        begin, offsets, thresholds, below, leaves = arguments[:5]

        def number(node: int, height: int) -> Any:
            if height == 0:
                tree = node - (2**levels - 1)
                return b.load(pointer(b, below, constant(LANES * tree), I8, vector), align=LINE)
            offset = b.load(pointer(b, offsets, constant(node), I32))
            right = compared(b, begin, offset, b.load(pointer(b, thresholds, constant(node), LLVM[name])), name)
            if height == 1 and not further:
                return b.select(right, numbers(1), numbers(0))
            on_left, on_right = number(2 * node + 1, height - 1), number(2 * node + 2, height - 1)
            return b.select(right, b.add(on_right, numbers(2 ** (height - 1 + further))), on_left)

        b.store(number(0, levels), pointer(b, leaves, constant(0), I8, vector), align=LINE)
        return context.get_dummy_value()

    return types.void(codes, nodes, ranks, under, out, depth, rest, dtype), generate


@cache
def perfect_trees(depth: int, dtype: str, size: int) -> Kernel:
    """Parameters: codes, bytes from group to group, trees, addresses of offsets and ranks, places of the leaves."""
    inner = 2**depth - 1

    def kernel(p: int, first: int, rows: int) -> int:
        codes, jump = load(p, 0, "int64"), load(p, 1, "int64")
        nodes, ranks = load(p, 3, "int64"), load(p, 4, "int64")
        for t in range(load(p, 2, "int64")):
            out, group = load(p, 5 + t, "int64"), codes
            for start in range(0, rows, LANES):
                perfect(group, nodes, ranks, 0, out + start, depth, 0, dtype)
                group += jump
            nodes += 4 * inner
            ranks += size * inner
        return 0

    return Kernel(kernel)


@cache
def stacked_trees(top: int, dtype: str, size: int) -> Kernel:
    """Perfect trees of `top` levels over trees of 6: code for more levels at once would not stay in the processor.

    Parameters: as `perfect_trees`, the address of room before the places. Nodes: the trees below, then the top.
    """
    trees, inner, above, levels = 2**top, 2**SMALL - 1, 2**top - 1, SMALL

    def kernel(p: int, first: int, rows: int) -> int:
        codes, jump, room = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 5, "int64")
        nodes, ranks = load(p, 3, "int64"), load(p, 4, "int64")
        for t in range(load(p, 2, "int64")):
            out, group = load(p, 6 + t, "int64"), codes
            last, limits = nodes + 4 * trees * inner, ranks + size * trees * inner
            for start in range(0, rows, LANES):
                for k in range(trees):
                    to = room + LANES * k
                    perfect(group, nodes + 4 * inner * k, ranks + size * inner * k, 0, to, levels, 0, dtype)
                perfect(group, last, limits, room, out + start, top, levels, dtype)
                group += jump
            nodes = last + 4 * above
            ranks = limits + size * above
        return 0

    return Kernel(kernel)


@intrinsic
def select(typing: Any, codes: Any, offset: Any, limit: Any, left: Any, right: Any, out: Any, dtype: Any) -> Any:
    """128 bytes from `right` where the code is at least the rank, else from `left`. All addresses but the rank."""
    name = dtype.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        begin, at, threshold, on_left, on_right, to = arguments[:6]
        vector = ir.VectorType(I8, LANES)
        right = compared(b, begin, at, b.trunc(threshold, LLVM[name]) if name != "int32" else threshold, name)
        lower = b.load(pointer(b, on_left, constant(0), I8, vector), align=LINE)
        upper = b.load(pointer(b, on_right, constant(0), I8, vector), align=LINE)
        b.store(b.select(right, upper, lower), pointer(b, to, constant(0), I8, vector), align=LINE)
        return context.get_dummy_value()

    return types.void(codes, offset, limit, left, right, out, dtype), generate


@intrinsic
def select_leaf(typing: Any, codes: Any, offset: Any, rank: Any, leaf: Any, out: Any, dtype: Any) -> Any:
    """128 times the number of a leaf, or of the one after it where the code is at least the rank."""
    name = dtype.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        begin, at, threshold, number, to = arguments[:5]
        right = compared(b, begin, at, b.trunc(threshold, LLVM[name]) if name != "int32" else threshold, name)
        on_left = splat(b, b.trunc(number, I8), LANES)
        value = b.select(right, b.add(on_left, numbers(1)), on_left)
        b.store(value, pointer(b, to, constant(0), I8, ir.VectorType(I8, LANES)), align=LINE)
        return context.get_dummy_value()

    return types.void(codes, offset, rank, leaf, out, dtype), generate


@cache
def any_trees(dtype: str) -> Kernel:
    """Parameters: codes, bytes from group to group, trees, the address of the nodes, room for values, leaves at most,
    places of the leaves. Nodes: see `plans.AnyPlan`.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        codes, jump, node = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 3, "int64")
        room = load(p, 4, "int64")
        for leaf in range(load(p, 5, "int64")):
            for r in range(LANES):
                store(room, LANES * leaf + r, leaf, "uint8")
        for t in range(load(p, 2, "int64")):
            out, group = load(p, 6 + t, "int64"), codes
            pairs, others = load(node, 0, "int32"), load(node, 1, "int32")
            begin = node + 8
            for start in range(0, rows, LANES):
                word = begin
                for _ in range(pairs):
                    to = room + load(word, 3, "int32")
                    select_leaf(
                        group, load(word, 0, "int32"), load(word, 1, "int32"), load(word, 2, "int32"), to, dtype
                    )
                    word += 16
                for _ in range(others):
                    offset, rank, to = load(word, 0, "int32"), load(word, 1, "int32"), load(word, 4, "int32")
                    left, right = room + load(word, 2, "int32"), room + load(word, 3, "int32")
                    select(group, offset, rank, left, right, room + to, dtype)
                    word += 20
                last = room + load(word, 0, "int32")
                for r in range(LANES):
                    store(out, start + r, load(last, r, "uint8"), "uint8")
                group += jump
            node = begin + 16 * pairs + 20 * others + 4
        return 0

    return Kernel(kernel)


def go_down(b: ir.IRBuilder, begin: list[Any], step: Callable[[int, Any], Any], out: Any) -> None:
    """A loop of two steps for several rows until no node changes; then these are stored at an address, int32."""
    before, loop, after = b.block, b.append_basic_block("levels"), b.append_basic_block("arrived")
    b.branch(loop)
    b.position_at_end(loop)
    now = [b.phi(I64) for _ in begin]
    half = [step(row, node) for row, node in enumerate(now)]
    following = [step(row, node) for row, node in enumerate(half)]
    moved = constant(0)
    for node, further in zip(now, following, strict=True):
        moved = b.or_(moved, b.xor(node, further))
    b.cbranch(b.icmp_signed("!=", moved, constant(0)), loop, after)
    for phi, start, end in zip(now, begin, following, strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(end, loop)
    b.position_at_end(after)
    for row, node in enumerate(following):
        b.store(b.trunc(node, I32), pointer(b, out, constant(row), I32))


@intrinsic
def walk(typing: Any, codes: Any, tests: Any, begin: Any, paths: Any, out: Any, shift: Any, dtype: Any) -> Any:
    """The leaves of 8 rows in one tree, which go down together, two levels at a time, until all have arrived.

    codes: the address of the first one's codes; tests: of the nodes, as in `plans.WalkPlan`; begin: of the nodes where
    paths through the first levels end; paths: of the 8 rows' paths, uint8; out: for the leaves, int32. 2^shift bytes
    lie between a row's columns.
    """
    name, bytes_ = dtype.literal_value, shift.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        group, nodes, starts, ways, to = arguments[:5]
        first = []
        for row in range(8):
            way = b.zext(b.load(pointer(b, ways, constant(row), I8)), I64)
            first.append(b.zext(b.load(pointer(b, starts, way, I32)), I64))

        def step(row: int, node: Any) -> Any:
            test = b.load(pointer(b, nodes, node, I64))
            column = b.and_(b.lshr(test, constant(16 - bytes_)), constant(0xFFFF << bytes_))
            place = pointer(b, b.add(group, column), constant(row), LLVM[name])
            code = b.zext(b.load(place), I64)
            right = b.icmp_unsigned(">=", code, b.and_(test, constant(0xFFFF)))
            return b.add(b.lshr(test, constant(32)), b.zext(right, I64))

        go_down(b, first, step, to)
        return context.get_dummy_value()

    return types.void(codes, tests, begin, paths, out, shift, dtype), generate


@cache
def walking(depth: int, dtype: str, size: int) -> Kernel:
    """Parameters: codes, bytes from group to group, trees, the four addresses of `plans.WalkPlan.nodes`, room for
    paths, the places of the leaves.
    """
    inner, shift = 2**depth - 1, (LANES * size).bit_length() - 1

    def kernel(p: int, first: int, rows: int) -> int:
        codes, jump = load(p, 0, "int64"), load(p, 1, "int64")
        offsets, ranks, begin = load(p, 3, "int64"), load(p, 4, "int64"), load(p, 5, "int64")
        nodes, room = load(p, 6, "int64"), load(p, 7, "int64")
        for t in range(load(p, 2, "int64")):
            out, group = load(p, 8 + t, "int64"), codes
            for start in range(0, rows, LANES):
                perfect(group, offsets, ranks, 0, room, depth, 0, dtype)
                for r in range(0, min(LANES, rows - start), 8):
                    walk(group + size * r, nodes + 8, begin, room + r, out + 4 * (start + r), shift, dtype)
                group += jump
            offsets += 4 * inner
            ranks += size * inner
            begin += 4 * (inner + 1)
            nodes += 8 * (1 + load(nodes, 0, "int64"))
        return 0

    return Kernel(kernel)


@intrinsic
def walk_values(
    typing: Any, places: Any, row: Any, tests: Any, thresholds: Any, out: Any, strict: Any, dtype: Any
) -> Any:
    """As `walk`, by the values of 8 rows from `row` on. places: the address of the columns' places."""
    name, sign = dtype.literal_value, ">" if strict.literal_value else ">="

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        columns, first, nodes, limits, to = arguments[:5]

        def step(r: int, node: Any) -> Any:
            test = b.load(pointer(b, nodes, node, I64))
            limit = b.load(pointer(b, limits, node, LLVM[name]))
            column = b.load(pointer(b, columns, b.and_(b.lshr(test, constant(16)), constant(0xFFFF)), I64))
            value = b.load(pointer(b, column, b.add(first, constant(r)), LLVM[name]))
            nan = b.and_(b.fcmp_unordered("uno", value, value), b.trunc(test, ir.IntType(1)))
            right = b.or_(b.fcmp_ordered(sign, value, limit), nan)
            return b.add(b.lshr(test, constant(32)), b.zext(right, I64))

        go_down(b, [constant(0)] * 8, step, b.add(to, b.mul(first, constant(4))))
        return context.get_dummy_value()

    return types.void(places, row, tests, thresholds, out, strict, dtype), generate


@cache
def walking_values(dtype: str, size: int, strict: int) -> Kernel:
    """Parameters: trees, addresses of nodes and thresholds as in `plans.ValuesPlan.nodes`, columns; places of these, of
    the leaves.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        nodes, thresholds, places = load(p, 1, "int64"), load(p, 2, "int64"), p + 32
        for t in range(load(p, 0, "int64")):
            out = load(places, load(p, 3, "int64") + t, "int64")
            for r in range(0, rows, 8):
                walk_values(places, r, nodes + 8, thresholds, out, strict, dtype)
            thresholds += size * load(nodes, 0, "int64")
            nodes += 8 * (1 + load(nodes, 0, "int64"))
        return 0

    return Kernel(kernel)


@cache
def symmetric_trees(depth: int, dtype: str) -> Kernel:
    """Trees of one depth. Parameters: codes, bytes from group to group, trees, the address of the nodes; places of the
    leaves. Nodes: see `plans.SymmetricPlan`.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        codes, jump, word = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 3, "int64")
        for t in range(load(p, 2, "int64")):
            out, group = load(p, 4 + t, "int64"), codes
            for start in range(0, rows, LANES):
                symmetric(group, word, out + start, depth, dtype)
                group += jump
            word += 8 * depth
        return 0

    return Kernel(kernel)


@intrinsic
def symmetric(typing: Any, codes: Any, tests: Any, out: Any, depth: Any, dtype: Any) -> Any:
    """The leaves of 128 rows in one symmetric tree. tests: the address of pairs of offset and rank, int32."""
    name, levels = dtype.literal_value, depth.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        begin, address, to = arguments[:3]
        leaf: Any = numbers(0)
        for level in range(levels):
            offset = b.load(pointer(b, address, constant(2 * level), I32))
            limit = b.load(pointer(b, address, constant(2 * level + 1), I32))
            right = compared(b, begin, offset, b.trunc(limit, LLVM[name]) if name != "int32" else limit, name)
            leaf = b.select(right, b.or_(leaf, numbers(2**level)), leaf)
        b.store(leaf, pointer(b, to, constant(0), I8, ir.VectorType(I8, LANES)), align=LINE)
        return context.get_dummy_value()

    return types.void(codes, tests, out, depth, dtype), generate


@cache
def naming(index: str) -> Kernel:
    """Numbers within a tree as numbers through all trees. Parameters: trees; places of leaves, a table, of results."""

    def kernel(p: int, first: int, rows: int) -> int:
        for t in range(load(p, 0, "int64")):
            leaves, table, out = load(p, 1 + 3 * t, "int64"), load(p, 2 + 3 * t, "int64"), load(p, 3 + 3 * t, "int64")
            for r in range(rows):
                store(out, r, load(table, load(leaves, r, index), "int32"), "int32")
        return 0

    return Kernel(kernel)


def way_down(plan: Plan) -> tuple[Kernel, int, tuple[int, ...]]:
    """The kernel of a plan, the bytes a row of the room that it takes, and the numbers that it is told after that."""
    dtype, size = plan.codes.name, plan.codes.itemsize
    match plan.kind:
        case "perfect" if plan.depth <= SMALL:
            return perfect_trees(plan.depth, dtype, size), 0, ()
        case "perfect":
            return stacked_trees(plan.depth - SMALL, dtype, size), 2 ** (plan.depth - SMALL), ()
        case "symmetric":
            return symmetric_trees(plan.depth, dtype), 0, ()
        case "walk":
            return walking(plan.depth, dtype, size), 1, ()
    return any_trees(dtype), 2 * plan.most, (plan.most,)


def descend(assembler: Assembler, plan: Plan, given: Sequence[Parameter], begin: int, end: int) -> list[Place]:
    """Add the instruction that finds the leaves of some trees. Result: where they are, of each tree.

    given: the codes and the bytes from one group of rows to the next; to a `ValuesPlan` the columns of x.
    """
    trees, size = end - begin, np.dtype(plan.index).itemsize
    found = assembler.reserve(trees * size)
    leaves = [Place(found.unit + t * size) for t in range(trees)]
    nodes = [assembler.constant(array) for array in plan.nodes(begin, end)]
    if isinstance(plan, ValuesPlan):
        kernel = walking_values(plan.threshold.dtype.name, plan.threshold.itemsize, int(plan.strict))
        assembler.add(kernel, trees, *nodes, len(given), *given, *leaves, cost=plan.cost * trees)
        return leaves
    kernel, bytes_, told = way_down(plan)
    room = assembler.reserve(bytes_) if bytes_ else None
    rest = (assembler.place(room), *told) if room else ()
    assembler.add(kernel, *given, trees, *nodes, *rest, *leaves, cost=plan.cost * trees)
    if room:
        assembler.release(room)
    return leaves


def descend_all(
    assembler: Assembler, op: Op, plan: Plan, blocks: tuple[Block, ...]
) -> Iterator[tuple[int, list[Place]]]:
    """Add codes and descents, some trees at a time: the first of these, and where their leaves are until the next."""
    (codes,) = op.operands
    room = None if isinstance(plan, ValuesPlan) else grouped_codes(assembler, codes, blocks)
    jump = LANES * codes.columns * codes.dtype.itemsize
    given = (assembler.place(room), jump) if room else blocks[0].columns
    for begin in range(0, plan.trees, GROUP):
        end = min(begin + GROUP, plan.trees)
        leaves = descend(assembler, plan, given, begin, end)
        yield begin, leaves
        assembler.release(Buffer(leaves[0].unit, (end - begin) * np.dtype(plan.index).itemsize))
    if room:
        assembler.release(room)


@rule(ops.Descend, ops.DescendSymmetric, accepts=descendable, reads=code_sources)
def descend_rule(assembler: Assembler, op: ops.Descend, *blocks: Block) -> Block:
    """The leaves themselves."""
    plan, block = plan_trees(op), result(assembler, op)
    for begin, found in descend_all(assembler, op, plan, blocks):
        parameters: list[Parameter] = []
        for t, place in enumerate(found, begin):
            parameters += [place, assembler.constant(plan.leaves(t)), block.columns[t]]
        assembler.add(naming(plan.index), len(found), *parameters, cost=0.2 * len(found))
    return block
