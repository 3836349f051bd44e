"""Deep trees by blocks: all nodes of four levels below a node are compared at once with one row's values.

The values of a row lie beside each other, so that one permute of registers (AVX-512) brings each node of a block its
value. The first four levels are compared column by column, for 64 rows at once: all rows begin there.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

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
    repeated,
    splat,
    store,
)
from tensorml.executors.simd.blocks import AFTER, DEPTH, SIZE, SLOTS, TESTS, TURNED, VALUES
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import LINE

ROW = 4 * VALUES  # bytes of a row's values
TOGETHER = 8  # rows that go down together, so that one's loads need not wait for another's
VECTOR = 64  # rows whose first levels are compared at once
REALS, WHOLE = ir.VectorType(LLVM["float32"], SLOTS), ir.VectorType(I32, SLOTS)


def ways() -> np.ndarray:
    """The node on a block's fourth level for the compares on the first three, a bit each in heap order. uint8 [128]."""
    compares, node = np.arange(128), np.zeros(128, np.int64)
    for _ in range(DEPTH - 1):
        node = 2 * node + 1 + (compares >> node & 1)
    return node.astype(np.uint8)


def compared(b: ir.IRBuilder, row: Any, block: Any) -> Any:
    """Which nodes of a block a row's values exceed, a bit each in heap order: i64. Both addresses."""

    def vector(address: Any, at: int, kind: ir.Type) -> Any:
        return b.load(pointer(b, address, constant(at), I8, kind), align=SLOTS)

    test = b.sext(vector(block, TESTS, ir.VectorType(I8, SLOTS)), WHOLE)  # permutes read the low bits alone
    kind = ir.FunctionType(REALS, [REALS, WHOLE, REALS])
    permute = b.module.declare_intrinsic("llvm.x86.avx512.vpermi2var.ps.512", (), kind)
    value = b.call(permute, [vector(row, 0, REALS), test, vector(row, LINE, REALS)])
    sign = b.and_(test, ir.Constant(WHOLE, [-(2**31)] * SLOTS))
    value = b.bitcast(b.xor(b.bitcast(value, WHOLE), sign), REALS)
    exceeds = b.fcmp_ordered(">", value, vector(block, 0, REALS))
    return b.zext(b.bitcast(exceeds, I16), I64)


def follow(b: ir.IRBuilder, row: Any, block: Any, table: Any) -> Any:
    """The number of what follows a row's path through a block. All addresses; table: of `ways`."""
    bits = compared(b, row, block)
    node = b.zext(b.load(pointer(b, table, b.and_(bits, constant(2 ** (SLOTS // 2 - 1) - 1)), I8)), I64)
    path = b.add(b.shl(node, constant(1)), b.and_(b.lshr(bits, node), constant(1)))
    after = b.add(block, constant(AFTER - 2 * (SLOTS - 2)))  # a path's number is 14 less
    return b.zext(b.load(pointer(b, after, path, I16)), I64)


@intrinsic
def first_block(typing: Any, places: Any, offset: Any, block: Any, out: Any) -> Any:
    """The paths of 64 rows through a block: int32.

    places: the address of the columns' addresses; offset: of the rows in these, in bytes; block, out: addresses.
    """

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        columns, at, nodes, to = arguments
        reals, whole = ir.VectorType(LLVM["float32"], VECTOR), ir.VectorType(I32, VECTOR)

        def number(node: int, height: int) -> Any:
            test = b.zext(b.load(pointer(b, nodes, constant(TESTS + node), I8)), I32)
            column = b.load(pointer(b, columns, b.zext(b.and_(test, ir.Constant(I32, TURNED - 1)), I64), I64))
            value = b.load(pointer(b, b.add(column, at), constant(0), I8, whole), align=4)
            sign = b.shl(b.and_(test, ir.Constant(I32, TURNED)), ir.Constant(I32, 24))
            value = b.bitcast(b.xor(value, splat(b, sign, VECTOR)), reals)
            limit = splat(b, b.load(pointer(b, nodes, constant(node), LLVM["float32"])), VECTOR)
            exceeds = b.fcmp_ordered(">", value, limit)
            half = ir.Constant(whole, [2 ** (height - 1)] * VECTOR)
            if height == 1:
                return b.select(exceeds, half, ir.Constant(whole, None))
            low, high = number(2 * node + 1, height - 1), number(2 * node + 2, height - 1)
            return b.select(exceeds, b.add(high, half), low)

        path = number(0, DEPTH)
        b.store(path, pointer(b, to, constant(0), I8, whole), align=4)
        return context.get_dummy_value()

    return types.void(places, offset, block, out), generate


@intrinsic
def further_blocks(typing: Any, row: Any, begin: Any, blocks: Any, inner: Any, table: Any, out: Any) -> Any:
    """The leaves of 8 rows in one tree, int16, from the first block on.

    row: the address of the first one's values; begin: of their paths through the first block, int32; blocks: of the
    tree's blocks; inner: how many these are; table: the address of `ways`.
    """

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        values, paths, nodes, count, lead, to = arguments
        first, after = [], b.add(nodes, constant(AFTER))
        for r in range(TOGETHER):
            path = b.zext(b.load(pointer(b, paths, constant(r), I32)), I64)
            first.append(b.zext(b.load(pointer(b, after, path, I16)), I64))

        def turn(now: list[Any]) -> tuple[Any, list[Any]]:
            then, missing = [], constant(0)
            for r, number in enumerate(now):
                goes_on = b.icmp_signed("<", number, count)
                block = b.add(nodes, b.mul(b.select(goes_on, number, constant(0)), constant(SIZE)))
                number = b.select(goes_on, follow(b, b.add(values, constant(ROW * r)), block, lead), number)
                missing = b.or_(missing, b.sub(number, count))  # negative if one goes on
                then.append(number)
            return b.icmp_signed("<", missing, constant(0)), then

        for r, number in enumerate(repeated(b, first, turn)):
            b.store(b.trunc(number, I16), pointer(b, to, constant(r), I16))
        return context.get_dummy_value()

    return types.void(row, begin, blocks, inner, table, out), generate


@cache
def block_trees() -> Kernel:
    """Parameters: the place of the rows' values, trees, the addresses of blocks and of each tree's count of them, of
    `ways`, room for 128 paths, columns; their places, those of the leaves.
    """
    step, size, row, lanes, vector = TOGETHER, SIZE, ROW, LANES, VECTOR

    def kernel(p: int, first: int, rows: int) -> int:
        values, blocks, counts = load(p, 0, "int64"), load(p, 2, "int64"), load(p, 3, "int64")
        table, paths, places = load(p, 4, "int64"), load(p, 5, "int64"), p + 56
        for t in range(load(p, 1, "int64")):
            out, inner = load(places, load(p, 6, "int64") + t, "int64"), load(counts, t, "int64")
            for start in range(0, rows, lanes):
                for r in range(0, lanes, vector):
                    first_block(places, 4 * (start + r), blocks, paths + 4 * r)
                for r in range(0, min(lanes, rows - start), step):
                    here = start + r
                    further_blocks(values + row * here, paths + 4 * r, blocks, inner, table, out + 2 * here)
            blocks += size * inner
        return 0

    return Kernel(kernel)


@cache
def side_by_side() -> Kernel:
    """Columns of float32 as rows. Parameters: columns, the place of the rows; the columns' places."""
    jump, lanes = ROW, LANES

    def kernel(p: int, first: int, rows: int) -> int:
        for start in range(0, rows, lanes):
            for c in range(load(p, 0, "int64")):
                x, to = load(p, 2 + c, "int64"), load(p, 1, "int64") + 4 * c + jump * start
                for r in range(start, min(start + lanes, rows)):
                    store(to, 0, load(x, r, "float32"), "float32")
                    to += jump
        return 0

    return Kernel(kernel)
