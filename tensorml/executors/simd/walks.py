"""Trees from node to node: some rows go down together, each its own way, until all have reached a leaf."""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types

from tensorml.executors.simd.addresses import I8, I32, I64, LANES, LLVM, SIZES, constant, intrinsic, load, pointer
from tensorml.executors.simd.compares import perfect
from tensorml.executors.simd.few import child, go_down, many, walk_few
from tensorml.executors.simd.kernel import Kernel


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
            return child(b, nodes, node, b.add(group, constant(SIZES[name] * row)), bytes_, name)

        for row, node in enumerate(go_down(b, first, step)):
            b.store(b.trunc(node, I32), pointer(b, to, constant(row), I32))
        return context.get_dummy_value()

    return types.void(codes, tests, begin, paths, out, shift, dtype), generate


@cache
def walking(depth: int, dtype: str, size: int) -> Kernel:
    """Parameters: codes, bytes from group to group, trees, the most rows that are few, the five addresses of
    `plans.WalkPlan.nodes`, room for paths, the places of the leaves.
    """
    inner, shift = 2**depth - 1, (LANES * size).bit_length() - 1

    def kernel(p: int, first: int, rows: int) -> int:
        codes, jump, trees = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        offsets, ranks, begin = load(p, 4, "int64"), load(p, 5, "int64"), load(p, 6, "int64")
        nodes, starts, room = load(p, 7, "int64"), load(p, 8, "int64"), load(p, 9, "int64")
        whole = many(rows, load(p, 3, "int64"))
        if whole > 0:
            for t in range(trees):
                out, group, tree = load(p, 10 + t, "int64"), codes, nodes + load(starts, t, "int64")
                for start in range(0, whole, LANES):
                    perfect(group, offsets, ranks, 0, room, depth, 0, dtype)
                    for r in range(0, min(LANES, whole - start), 8):
                        walk(group + size * r, tree, begin, room + r, out + 4 * (start + r), shift, dtype)
                    group += jump
                offsets += 4 * inner
                ranks += size * inner
                begin += 4 * (inner + 1)
        if whole < rows:
            group = codes + whole // LANES * jump
            walk_few(group, nodes, starts, 0, p + 80, trees, whole, rows - whole, shift, dtype, "int32")
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

        for r, node in enumerate(go_down(b, [constant(0)] * 8, step)):
            b.store(b.trunc(node, I32), pointer(b, to, b.add(first, constant(r)), I32))
        return context.get_dummy_value()

    return types.void(places, row, tests, thresholds, out, strict, dtype), generate


@cache
def walking_values(dtype: str, size: int, strict: int) -> Kernel:
    """Parameters: trees, the three addresses of `plans.ValuesPlan.nodes`, columns; places of these, of the leaves."""

    def kernel(p: int, first: int, rows: int) -> int:
        nodes, starts, thresholds, places = load(p, 1, "int64"), load(p, 2, "int64"), load(p, 3, "int64"), p + 40
        for t in range(load(p, 0, "int64")):
            out, start = load(places, load(p, 4, "int64") + t, "int64"), load(starts, t, "int64")
            limits = thresholds + size * (start >> 3)
            for r in range(0, rows, 8):
                walk_values(places, r, nodes + start, limits, out, strict, dtype)
        return 0

    return Kernel(kernel)
