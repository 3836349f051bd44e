"""Sums over symmetric trees of up to 64 leaves: from codes to sums in registers (AVX-512).

Six bits number a leaf, as many as a permute of 16-bit words reads: 64 words in two registers. So four permutes find
what 32 leaves hold, a quarter of each float64 at a time; unpacking puts the quarters together.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target

from tensorml import ops
from tensorml.executors.simd.addresses import (
    I8,
    I16,
    I32,
    I64,
    LANES,
    LLVM,
    constant,
    has_avx512,
    intrinsic,
    load,
    loop,
    pointer,
    splat,
    store,
)
from tensorml.executors.simd.codes import grouped_codes
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import LINE, Assembler, Block
from tensorml.executors.simd.plans import Plan, SymmetricPlan

ROWS = 64  # that are summed at once
LEAVES = 64  # of a tree, some of them perhaps never reached
WORDS, QUARTERS = 32, 4  # of a register, of a float64
TREES = 32  # whose tables stay in the first cache while all rows pass
TABLE = 8 * LEAVES  # bytes
FEW_ROWS = 4  # that are summed sooner one by one


def quarters(values: np.ndarray) -> np.ndarray:
    """Tables of float64 [T, 64] as their quarters, uint16 [T, 4, 64]."""
    return np.ascontiguousarray(values.view(np.uint16).reshape(len(values), LEAVES, QUARTERS).swapaxes(1, 2))


def order() -> np.ndarray:
    """The row, of 64, of each sum in the order in which unpacking leaves them. uint8 [64]."""
    odd, pair, lane, one = np.meshgrid(np.arange(2), np.arange(4), np.arange(4), np.arange(2), indexing="ij")
    return (2 * (8 * lane + 2 * pair + one) + odd).astype(np.uint8).reshape(-1)


def unpacked(b: ir.IRBuilder, left: Any, right: Any, high: int) -> Any:
    """Elements of two vectors in turns: of the first or the second half of each 16 bytes."""
    count = left.type.count
    lane = count // 4
    places = [lane * k + high * (lane // 2) + i for k in range(4) for i in range(lane // 2)]
    mixed = [place + side for place in places for side in (0, count)]
    return b.shuffle_vector(left, right, ir.Constant(ir.VectorType(I32, count), mixed))


def held(b: ir.IRBuilder, leaf: Any, tables: list[Any]) -> list[Any]:
    """What 32 leaves hold, as four vectors of 8 float64. leaf: the low bytes of words; tables: two for each quarter."""
    words = leaf.type
    kind = ir.FunctionType(words, [words, words, words])
    permute = b.module.declare_intrinsic("llvm.x86.avx512.vpermi2var.hi.512", (), kind)
    parts = [b.call(permute, [tables[2 * k], leaf, tables[2 * k + 1]]) for k in range(QUARTERS)]
    halves, found = ir.VectorType(I32, WORDS // 2), []
    for high in range(2):
        low = b.bitcast(unpacked(b, parts[0], parts[1], high), halves)
        upper = b.bitcast(unpacked(b, parts[2], parts[3], high), halves)
        found += [b.bitcast(unpacked(b, low, upper, k), ir.VectorType(LLVM["float64"], 8)) for k in range(2)]
    return found


def numbered(b: ir.IRBuilder, codes: Any, tests: Any, depth: int, name: str) -> Any:
    """The leaves of 64 rows in a tree: bytes. As `compares.symmetric`."""
    bytes_ = ir.VectorType(I8, ROWS)
    leaf: Any = ir.Constant(bytes_, None)
    for level in range(depth):
        offset = b.zext(b.load(pointer(b, tests, constant(2 * level), I32)), I64)
        limit = b.load(pointer(b, tests, constant(2 * level + 1), I32))
        limit = splat(b, b.trunc(limit, LLVM[name]) if name != "int32" else limit, ROWS)
        code = b.load(pointer(b, b.add(codes, offset), constant(0), I8, limit.type), align=LINE)
        right = b.icmp_unsigned(">=", code, limit) if name == "uint8" else b.icmp_signed(">=", code, limit)
        leaf = b.select(right, b.add(leaf, ir.Constant(bytes_, [2**level] * ROWS)), leaf)
    return leaf


@intrinsic
def add_symmetric(
    typing: Any, codes: Any, tests: Any, tables: Any, trees: Any, out: Any, depth: Any, dtype: Any
) -> Any:
    """Add what the leaves of 64 rows hold in some trees, one at least, to their sums in the order of `order`.

    All addresses but the number of trees. dtype: of the codes.
    """
    name, levels = dtype.literal_value, depth.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        begin, nodes, values, count, to = arguments[:5]
        doubles, words = ir.VectorType(LLVM["float64"], 8), ir.VectorType(I16, WORDS)
        places = [pointer(b, to, constant(8 * k), LLVM["float64"], doubles) for k in range(8)]

        def add(tree: Any, sums: list[Any]) -> list[Any]:
            tested = b.add(nodes, b.mul(tree, constant(8 * levels)))
            table = b.add(values, b.mul(tree, constant(TABLE)))
            leaf = b.bitcast(numbered(b, begin, tested, levels, name), words)
            parts = [b.load(pointer(b, table, constant(LINE * k), I8, words), align=LINE) for k in range(2 * QUARTERS)]
            odd = b.lshr(leaf, ir.Constant(words, [8] * WORDS))
            found = held(b, leaf, parts) + held(b, odd, parts)
            return [b.fadd(total, value) for total, value in zip(sums, found, strict=True)]

        totals = loop(b, constant(0), count, 1, [b.load(place, align=LINE) for place in places], add)
        for place, total in zip(places, totals, strict=True):
            b.store(total, place, align=LINE)
        return context.get_dummy_value()

    return types.void(codes, tests, tables, trees, out, depth, dtype), generate


@cache
def adding_symmetric(depth: int, dtype: str, size: int) -> Kernel:
    """Parameters: codes, bytes from group to group, trees, the addresses of tests, of tables and of what a sum
    begins with, the place of the sums.
    """
    rows_at_once, lanes, trees = ROWS, LANES, TREES

    def kernel(p: int, first: int, rows: int) -> int:
        codes, jump, count = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        tests, tables, start, out = load(p, 3, "int64"), load(p, 4, "int64"), load(p, 5, "int64"), load(p, 6, "int64")
        for begin in range(0, count, trees):
            some, nodes, held_ = min(trees, count - begin), tests + 8 * depth * begin, tables + 512 * begin
            for r in range(0, rows, rows_at_once):
                if begin == 0:
                    for k in range(rows_at_once):
                        store(out, r + k, load(start, 0, "float64"), "float64")
                group = codes + jump * (r // lanes) + size * (r % lanes)
                add_symmetric(group, nodes, held_, some, out + 8 * r, depth, dtype)
        return 0

    return Kernel(kernel)


@cache
def ordering() -> Kernel:
    """Sums of groups of 64 rows, in the order of the rows. Parameters: the address of `order`, places of both."""
    group = ROWS

    def kernel(p: int, first: int, rows: int) -> int:
        places, x, out = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        for start in range(0, rows, group):
            for k in range(group):
                store(out, start + load(places, k, "uint8"), load(x, start + k, "float64"), "float64")
        return 0

    return Kernel(kernel)


def sums_in_registers(op: ops.LeafSum, plan: Plan) -> bool:
    """Whether these kernels compute the sums."""
    fits = isinstance(plan, SymmetricPlan) and 0 < plan.most <= LEAVES and len(op.start) == 1
    return fits and op.dtype == np.float64 and has_avx512(cpu_target.target_context, "bw")


def sum_symmetric(assembler: Assembler, op: ops.LeafSum, plan: Plan, blocks: tuple[Block, ...], out: Block) -> None:
    """Codes and sums."""
    assembler.at_most = max(assembler.at_most, FEW_ROWS)
    (codes,) = op.leaves.operands
    size, trees = codes.dtype.itemsize, plan.trees
    room, sums = grouped_codes(assembler, codes, blocks), assembler.reserve(8)
    place = assembler.place(sums)
    (tests,) = plan.nodes(0, trees)
    tables = quarters(np.concatenate([plan.values(op.values, tree, LEAVES) for tree in range(trees)]))
    given = (assembler.place(room), LANES * codes.columns * size, trees)
    kernel = adding_symmetric(plan.depth, codes.dtype.name, size)
    known = (assembler.constant(array) for array in (tests, tables, op.start))
    assembler.add(kernel, *given, *known, place, cost=(plan.cost + 0.1) * trees)
    assembler.add(ordering(), assembler.constant(order()), place, *out.columns, cost=0.5)
    assembler.release(room)
    assembler.release(sums)
