"""Trees for a few rows: a row goes down several trees together, so that their nodes do not wait for each other.

Where there are rows enough, they are what goes together: see `compares` and `walks`. The nodes are the same.
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
    constant,
    intrinsic,
    load,
    pointer,
    repeated,
    store,
)
from tensorml.executors.simd.shapes import SMALL, WORDS

TOGETHER = WORDS  # trees: as many nodes as registers hold; 16 are not faster, measured


@njit(error_model="numpy", forceinline=True)
def many(rows, few):
    """How many of the rows go down at once: all, or those before a last group of up to `few`."""
    rest = rows % LANES
    return rows - rest if rest <= few else rows


def go_down(b: ir.IRBuilder, begin: list[Any], step: Callable[[int, Any], Any], out: Any) -> None:
    """A loop of two steps for several nodes until none changes; then these are stored at an address, int32."""

    def two_levels(now: list[Any]) -> tuple[Any, list[Any]]:
        half = [step(k, node) for k, node in enumerate(now)]
        following = [step(k, node) for k, node in enumerate(half)]
        moved = constant(0)
        for node, further in zip(now, following, strict=True):
            moved = b.or_(moved, b.xor(node, further))
        return b.icmp_signed("!=", moved, constant(0)), following

    for k, node in enumerate(repeated(b, begin, two_levels)):
        b.store(b.trunc(node, I32), pointer(b, out, constant(k), I32))


def child(b: ir.IRBuilder, nodes: Any, node: Any, codes: Any, shift: int, name: str) -> Any:
    """The node after one of `shapes.Numbering.nodes`. codes: of a row, the first address; 2^shift bytes apart."""
    test = b.load(pointer(b, nodes, node, I64))
    column = b.and_(b.lshr(test, constant(16 - shift)), constant(0xFFFF << shift))
    code = b.zext(b.load(pointer(b, b.add(codes, column), constant(0), LLVM[name])), I64)
    right = b.icmp_unsigned(">=", code, b.and_(test, constant(0xFFFF)))
    return b.add(b.lshr(test, constant(32)), b.zext(right, I64))


@intrinsic
def heap_leaves(
    typing: Any, codes: Any, nodes: Any, ranks: Any, places: Any, row: Any, trees: Any, depth: Any, dtype: Any
) -> Any:
    """The leaves of one row in so many perfect trees, written to element `row` of the columns whose places these are.

    codes: the address of the row's first code; nodes, ranks: see `shapes.Heap.nodes`.
    """
    name, levels, count = dtype.literal_value, depth.literal_value, trees.literal_value
    top = max(0, levels - SMALL)
    below, inner = levels - top, 2**levels - 1

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        begin, offsets, limits, columns, to = arguments[:5]

        def step(node: Any, first: Any) -> Any:
            at = b.add(node, first)
            offset = b.zext(b.load(pointer(b, offsets, at, I32)), I64)
            code = b.load(pointer(b, b.add(begin, offset), constant(0), LLVM[name]))
            right = reaches(b, code, b.load(pointer(b, limits, at, LLVM[name])), name)
            return b.add(b.add(b.shl(node, constant(1)), constant(1)), b.zext(right, I64))

        def down(first: list[Any], height: int) -> list[Any]:
            now: list[Any] = [constant(0)] * count
            for _ in range(height):
                now = [step(node, start) for node, start in zip(now, first, strict=True)]
            return [b.sub(node, constant(2**height - 1)) for node in now]

        first: list[Any] = [constant(inner * k) for k in range(count)]
        paths = [constant(0)] * count
        if top:
            paths = down([b.add(start, constant(inner + 1 - 2**top)) for start in first], top)
            first = [
                b.add(start, b.mul(path, constant(2**below - 1))) for start, path in zip(first, paths, strict=True)
            ]
        for k, (path, leaf) in enumerate(zip(paths, down(first, below), strict=True)):
            number = b.trunc(b.add(b.shl(path, constant(below)), leaf), I8)
            b.store(number, pointer(b, b.load(pointer(b, columns, constant(k), I64)), to, I8))
        return context.get_dummy_value()

    return types.void(codes, nodes, ranks, places, row, trees, depth, dtype), generate


def reaches(b: ir.IRBuilder, code: Any, rank: Any, name: str) -> Any:
    """Whether a code is at least a rank."""
    return b.icmp_unsigned(">=", code, rank) if name == "uint8" else b.icmp_signed(">=", code, rank)


@njit(error_model="numpy", forceinline=True)
def perfect_few(codes, offsets, ranks, places, trees, start, rows, depth, inner, size, dtype):
    """The leaves of the rows of a group in perfect trees. codes: of the group, whose first row is row `start`."""
    whole = trees // TOGETHER * TOGETHER
    for t in range(0, whole, TOGETHER):
        for r in range(rows):
            at, limits, to = offsets + 4 * inner * t, ranks + size * inner * t, places + 8 * t
            heap_leaves(codes + size * r, at, limits, to, start + r, TOGETHER, depth, dtype)
    for t in range(whole, trees):
        for r in range(rows):
            at, limits, to = offsets + 4 * inner * t, ranks + size * inner * t, places + 8 * t
            heap_leaves(codes + size * r, at, limits, to, start + r, 1, depth, dtype)


@intrinsic
def walk_trees(typing: Any, codes: Any, nodes: Any, starts: Any, out: Any, shift: Any, dtype: Any) -> Any:
    """The leaves of one row in 8 trees, by their nodes' numbers, int32. codes: the address of the row's first code.

    nodes, starts: see `shapes.Numbering.nodes`. 2^shift bytes lie between a row's columns.
    """
    name, bytes_ = dtype.literal_value, shift.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        row, words, begins, to = arguments[:4]
        trees = [b.add(words, b.load(pointer(b, begins, constant(k), I64))) for k in range(TOGETHER)]
        go_down(b, [constant(0)] * TOGETHER, lambda k, node: child(b, trees[k], node, row, bytes_, name), to)
        return context.get_dummy_value()

    return types.void(codes, nodes, starts, out, shift, dtype), generate


@njit(error_model="numpy", forceinline=True)
def walk_few(codes, nodes, starts, numbers, places, trees, room, start, rows, shift, size, dtype, index):
    """The leaves of the rows of a group in trees of any shape, of dtype `index`: `numbers`, by node, or the nodes

    themselves if that is 0. room: for 8 int32. codes: of the group, whose first row is row `start`.
    """
    for t in range(0, trees, TOGETHER):
        for r in range(rows):
            walk_trees(codes + size * r, nodes, starts + 8 * t, room, shift, dtype)
            for k in range(min(TOGETHER, trees - t)):
                leaf = int(load(room, k, "int32"))
                if numbers != 0:
                    leaf = int(load(numbers, (load(starts, t + k, "int64") >> 3) + leaf, "uint8"))
                store(load(places, t + k, "int64"), start + r, leaf, index)


@intrinsic
def symmetric_leaf(typing: Any, codes: Any, tests: Any, depth: Any, dtype: Any) -> Any:
    """The leaf of one row in a symmetric tree. codes: the address of its first code; tests: as for `symmetric`."""
    name, levels = dtype.literal_value, depth.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        begin, address = arguments[:2]
        leaf: Any = constant(0)
        for level in range(levels):
            offset = b.zext(b.load(pointer(b, address, constant(2 * level), I32)), I64)
            limit = b.load(pointer(b, address, constant(2 * level + 1), I32))
            code = b.load(pointer(b, b.add(begin, offset), constant(0), LLVM[name]))
            code = code if name == "int32" else b.zext(code, I32)
            right = b.zext(b.icmp_signed(">=", code, limit), I64)
            leaf = b.or_(leaf, b.shl(right, constant(level)))
        return leaf

    return types.int64(codes, tests, depth, dtype), generate


@njit(error_model="numpy", forceinline=True)
def symmetric_few(codes, tests, places, trees, start, rows, depth, size, dtype):
    """The leaves of the rows of a group in symmetric trees. codes: of the group, whose first row is row `start`."""
    for t in range(trees):
        for r in range(rows):
            leaf = symmetric_leaf(codes + size * r, tests + 8 * depth * t, depth, dtype)
            store(load(places, t, "int64"), start + r, leaf, "uint8")
