"""Trees for a few rows: a row goes down several trees together, so that their nodes do not wait for each other.

Where there are rows enough, they are what goes together: see `compares` and `walks`. The nodes are the same. All here
is written as instructions, loops too: functions that Numba translates for each constant compile twice as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types

from tensorml.executors.simd.addresses import (
    I8,
    I32,
    I64,
    LANES,
    LLVM,
    SIZES,
    constant,
    intrinsic,
    loop,
    pointer,
    repeated,
)
from tensorml.executors.simd.shapes import SMALL, TOGETHER


@njit(error_model="numpy", forceinline=True)
def many(rows, few):
    """How many of the rows go down at once: all, or those before a last group of up to `few`."""
    rest = rows % LANES
    return rows - rest if rest <= few else rows


def each(b: ir.IRBuilder, count: Any, step: int, body: Callable[[Any], None]) -> None:
    """A loop over the numbers below `count`, every step-th one, once at least."""

    def turn(number: Any, totals: list[Any]) -> list[Any]:
        body(number)
        return totals

    loop(b, constant(0), count, step, [], turn)


def go_down(b: ir.IRBuilder, begin: list[Any], step: Callable[[int, Any], Any]) -> list[Any]:
    """A loop of two steps for several nodes until none changes. Result: these."""

    def two_levels(now: list[Any]) -> tuple[Any, list[Any]]:
        half = [step(k, node) for k, node in enumerate(now)]
        following = [step(k, node) for k, node in enumerate(half)]
        moved = constant(0)
        for node, further in zip(now, following, strict=True):
            moved = b.or_(moved, b.xor(node, further))
        return b.icmp_signed("!=", moved, constant(0)), following

    return repeated(b, begin, two_levels)


def child(b: ir.IRBuilder, nodes: Any, node: Any, codes: Any, shift: int, name: str) -> Any:
    """The node after one of `shapes.Numbering.nodes`. codes: of a row, the first address; 2^shift bytes apart."""
    test = b.load(pointer(b, nodes, node, I64))
    column = b.and_(b.lshr(test, constant(16 - shift)), constant(0xFFFF << shift))
    code = b.zext(b.load(pointer(b, b.add(codes, column), constant(0), LLVM[name])), I64)
    right = b.icmp_unsigned(">=", code, b.and_(test, constant(0xFFFF)))
    return b.add(b.lshr(test, constant(32)), b.zext(right, I64))


def reaches(b: ir.IRBuilder, codes: Any, offset: Any, rank: Any, name: str) -> Any:
    """Whether a row's code, at an offset from its first one, int32, is at least a rank. Result: 0 or 1."""
    code = b.load(pointer(b, b.add(codes, b.zext(offset, I64)), constant(0), LLVM[name]))
    compare = b.icmp_unsigned if name == "uint8" else b.icmp_signed
    return b.zext(compare(">=", code, rank), I64)


def put(b: ir.IRBuilder, number: Any, places: Any, tree: Any, row: Any, kind: ir.IntType) -> None:
    """Write a leaf's number to a row of the column whose place is that of the tree."""
    b.store(b.trunc(number, kind), pointer(b, b.load(pointer(b, places, tree, I64)), row, kind))


@intrinsic
def perfect_few(
    typing: Any, codes: Any, nodes: Any, ranks: Any, places: Any, trees: Any, start: Any, rows: Any, depth: Any,
    dtype: Any,
) -> Any:  # fmt: skip
    """The leaves of the rows of a group in perfect trees, 8 at a time, to columns of uint8.

    codes: of the group, whose first row is row `start`; nodes, ranks: see `shapes.Heap.nodes`.
    """
    name, levels = dtype.literal_value, depth.literal_value
    top, inner = max(0, levels - SMALL), 2**levels - 1
    below = levels - top

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        group, offsets, limits, columns, count, first_row, few = arguments[:7]

        def down(row: Any, first: list[Any], height: int) -> list[Any]:
            """The paths through so many levels of heaps, by the numbers of their first nodes."""

            def level(_: Any, now: list[Any]) -> list[Any]:
                at = [b.add(node, root) for node, root in zip(now, first, strict=True)]
                tests = [(b.load(pointer(b, offsets, k, I32)), b.load(pointer(b, limits, k, LLVM[name]))) for k in at]
                right = [reaches(b, row, offset, limit, name) for offset, limit in tests]
                return [b.add(b.add(b.add(k, k), constant(1)), go) for k, go in zip(now, right, strict=True)]

            last = loop(b, constant(0), constant(height), 1, [constant(0)] * TOGETHER, level)
            return [b.sub(node, constant(2**height - 1)) for node in last]

        def leaves(tree: Any, r: Any) -> None:
            row = b.add(group, b.mul(r, constant(SIZES[name])))
            first = [b.add(b.mul(tree, constant(inner)), constant(inner * k)) for k in range(TOGETHER)]
            paths: list[Any] = [constant(0)] * TOGETHER
            if top:
                paths = down(row, [b.add(root, constant(inner + 1 - 2**top)) for root in first], top)
                under = [b.mul(path, constant(2**below - 1)) for path in paths]
                first = [b.add(root, further) for root, further in zip(first, under, strict=True)]
            for k, (path, leaf) in enumerate(zip(paths, down(row, first, below), strict=True)):
                number = b.add(b.shl(path, constant(below)), leaf)
                put(b, number, columns, b.add(tree, constant(k)), b.add(first_row, r), I8)

        each(b, count, TOGETHER, lambda tree: each(b, few, 1, lambda r: leaves(tree, r)))
        return context.get_dummy_value()

    return types.void(codes, nodes, ranks, places, trees, start, rows, depth, dtype), generate


@intrinsic
def walk_few(
    typing: Any, codes: Any, nodes: Any, starts: Any, numbers: Any, places: Any, trees: Any, start: Any, rows: Any,
    shift: Any, dtype: Any, index: Any,
) -> Any:  # fmt: skip
    """The leaves of the rows of a group in trees of any shape, 8 at a time, to columns of dtype `index`.

    codes: of the group, whose first row is row `start`, 2^shift bytes from column to column; nodes, starts: see
    `shapes.Numbering.nodes`; numbers: of the leaves, by node, if these are uint8, else the nodes themselves.
    """
    name, bytes_, small = dtype.literal_value, shift.literal_value, index.literal_value == "uint8"

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        group, words, begins, known, columns, count, first_row, few = arguments[:8]

        def leaves(tree: Any, r: Any) -> None:
            row = b.add(group, b.mul(r, constant(SIZES[name])))
            each_tree = [b.add(tree, constant(k)) for k in range(TOGETHER)]
            offsets = [b.load(pointer(b, begins, k, I64)) for k in each_tree]
            roots = [b.add(words, offset) for offset in offsets]
            zeros: list[Any] = [constant(0)] * TOGETHER
            found = go_down(b, zeros, lambda k, node: child(b, roots[k], node, row, bytes_, name))
            for k, offset, node in zip(each_tree, offsets, found, strict=True):
                if small:
                    place = pointer(b, known, b.add(b.lshr(offset, constant(3)), node), I8)
                    node = b.zext(b.load(place), I64)
                put(b, node, columns, k, b.add(first_row, r), I8 if small else I32)

        each(b, count, TOGETHER, lambda tree: each(b, few, 1, lambda r: leaves(tree, r)))
        return context.get_dummy_value()

    return types.void(codes, nodes, starts, numbers, places, trees, start, rows, shift, dtype, index), generate


@intrinsic
def symmetric_few(
    typing: Any, codes: Any, tests: Any, places: Any, trees: Any, start: Any, rows: Any, depth: Any, dtype: Any
) -> Any:
    """The leaves of the rows of a group in symmetric trees, to columns of uint8.

    codes: of the group, whose first row is row `start`; tests: pairs of offset and rank, int32.
    """
    name, levels = dtype.literal_value, depth.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        group, address, columns, count, first_row, few = arguments[:6]

        def leaf(tree: Any, r: Any) -> None:
            row, own = b.add(group, b.mul(r, constant(SIZES[name]))), b.mul(tree, constant(2 * levels))
            number: Any = constant(0)
            for level in range(levels):
                offset = b.load(pointer(b, address, b.add(own, constant(2 * level)), I32))
                limit = b.load(pointer(b, address, b.add(own, constant(2 * level + 1)), I32))
                limit = limit if name == "int32" else b.trunc(limit, LLVM[name])
                number = b.or_(number, b.shl(reaches(b, row, offset, limit, name), constant(level)))
            put(b, number, columns, tree, b.add(first_row, r), I8)

        each(b, count, 1, lambda tree: each(b, few, 1, lambda r: leaf(tree, r)))
        return context.get_dummy_value()

    return types.void(codes, tests, places, trees, start, rows, depth, dtype), generate
