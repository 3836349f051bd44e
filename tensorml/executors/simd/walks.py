"""Trees from node to node: some rows go down together, each its own way, until all have reached a leaf."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types

from tensorml.executors.simd.addresses import I8, I32, I64, LANES, LLVM, constant, intrinsic, load, pointer, repeated
from tensorml.executors.simd.compares import perfect
from tensorml.executors.simd.kernel import Kernel


def go_down(b: ir.IRBuilder, begin: list[Any], step: Callable[[int, Any], Any], out: Any) -> None:
    """A loop of two steps for several rows until no node changes; then these are stored at an address, int32."""

    def two_levels(now: list[Any]) -> tuple[Any, list[Any]]:
        half = [step(row, node) for row, node in enumerate(now)]
        following = [step(row, node) for row, node in enumerate(half)]
        moved = constant(0)
        for node, further in zip(now, following, strict=True):
            moved = b.or_(moved, b.xor(node, further))
        return b.icmp_signed("!=", moved, constant(0)), following

    for row, node in enumerate(repeated(b, begin, two_levels)):
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
