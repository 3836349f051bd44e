"""Tables in registers, read by permutes (AVX-512): ranks among up to 255 boundaries for 64 rows at once."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from tensorml.executors.simd.addresses import (
    I8,
    I32,
    LANES,
    LLVM,
    SIZES,
    constant,
    intrinsic,
    load,
    pointer,
    splat,
    store,
)
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import LINE

LANE = 16  # float32 of a register
AT_ONCE = 4  # registers of rows: one's search need not wait for another's
LEAST, MOST = 5, 8  # levels of a search


def permuted(b: ir.IRBuilder, permute: Any, tables: list[Any], index: Any) -> Any:
    """The numbers of these indices: found in each pair of vectors, then chosen among the pairs, bit by bit."""
    kind, lanes = index.type, index.type.count
    found = [b.call(permute, [tables[k], index, tables[k + 1]]) for k in range(0, len(tables), 2)]
    bit = 2 * lanes
    while len(found) > 1:
        masked = b.and_(index, ir.Constant(kind, [bit] * lanes))
        high = b.icmp_unsigned("!=", masked, ir.Constant(kind, [0] * lanes))
        found = [b.select(high, found[k + 1], found[k]) for k in range(0, len(found), 2)]
        bit *= 2
    return found[0]


def levels_of(boundaries: int) -> int:
    """How many levels a search among so many has."""
    return max(LEAST, int(boundaries).bit_length())


def halved(boundaries: np.ndarray, levels: int) -> np.ndarray:
    """The middle of all, then those of both halves, and so on, from 1: float32 [2^levels]. After the last one NaN."""
    table, ordered = np.full(2**levels, np.nan, np.float32), np.full(2**levels - 1, np.nan, np.float32)
    ordered[: len(boundaries)] = boundaries
    for level in range(levels):
        step = 2 ** (levels - level)
        table[2**level : 2 ** (level + 1)] = ordered[step // 2 - 1 :: step]
    return table


FEW_ROWS = 8  # that are ranked one by one, each down the heap of boundaries, sooner than 64 at once


@intrinsic
def ranked(typing: Any, x: Any, table: Any, nan: Any, out: Any, levels: Any, strict: Any, made: Any) -> Any:
    """The ranks of 64 values among boundaries. x, out: addresses; table: of `halved`; nan: the rank of NaN."""
    depth, sign, name = levels.literal_value, ">" if strict.literal_value else ">=", made.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        values, held, missing, to = arguments[:4]
        reals, whole = ir.VectorType(LLVM["float32"], LANE), ir.VectorType(I32, LANE)
        kind = ir.FunctionType(reals, [reals, whole, reals])
        permute = b.module.declare_intrinsic("llvm.x86.avx512.vpermi2var.ps.512", (), kind)
        tables = [b.load(pointer(b, held, constant(LINE * k), I8, reals), align=LINE) for k in range(2**depth // LANE)]
        one, begin = ir.Constant(whole, [1] * LANE), ir.Constant(whole, [2**depth] * LANE)
        code = splat(b, b.trunc(missing, I32), LANE)
        parts = [b.load(pointer(b, values, constant(4 * LANE * k), I8, reals), align=4) for k in range(AT_ONCE)]
        nodes: list[Any] = [one] * AT_ONCE
        for level in range(depth):
            first = 2**level // LANE if level >= LEAST else 0
            among = tables[first : max(2, 2 * first)]
            for k, (value, node) in enumerate(zip(parts, nodes, strict=True)):
                reached = b.fcmp_ordered(sign, value, permuted(b, permute, among, node))
                nodes[k] = b.add(b.add(node, node), b.zext(reached, whole))
        narrow = ir.VectorType(LLVM[name], LANE)
        for k, (value, node) in enumerate(zip(parts, nodes, strict=True)):
            rank = b.select(b.fcmp_unordered("uno", value, value), code, b.sub(node, begin))
            place = pointer(b, to, constant(SIZES[name] * LANE * k), I8, narrow)
            b.store(b.trunc(rank, narrow), place, align=SIZES[name])
        return context.get_dummy_value()

    return types.void(x, table, nan, out, levels, strict, made), generate


@njit(error_model="numpy", forceinline=True)
def ranked_alone(value, table, nan, levels, strict):
    """The rank of one value: down the heap that a table of `halved` is."""
    node = 1
    for _ in range(levels):
        limit = load(table, node, "float32")
        node = 2 * node + int((value > limit) | ((value == limit) & (strict == 0)))
    return nan if value != value else node - (1 << levels)


@cache
def ranking_in_registers(made: str, size: int, strict: int) -> Kernel:
    """Parameters: columns, bytes from one group of rows to the next; for each column the places of result and x, the
    code of NaN, the levels of the search, the address of `halved`.
    """
    lanes, step, few = LANES, LANE * AT_ONCE, FEW_ROWS

    def kernel(p: int, first: int, rows: int) -> int:
        jump = load(p, 1, "int64")
        for c in range(load(p, 0, "int64")):
            word = p + 8 * (2 + 5 * c)
            out, x, nan = load(word, 0, "int64"), load(word, 1, "int64"), load(word, 2, "int64")
            levels, table = load(word, 3, "int64"), load(word, 4, "int64")
            if rows <= few:
                for r in range(rows):
                    store(out, r, ranked_alone(load(x, r, "float32"), table, nan, levels, strict), made)
                continue
            for start in range(0, rows, lanes):
                for r in range(0, lanes, step):
                    if levels == 5:
                        ranked(x + 4 * (start + r), table, nan, out + size * r, 5, strict, made)
                    elif levels == 6:
                        ranked(x + 4 * (start + r), table, nan, out + size * r, 6, strict, made)
                    elif levels == 7:
                        ranked(x + 4 * (start + r), table, nan, out + size * r, 7, strict, made)
                    else:
                        ranked(x + 4 * (start + r), table, nan, out + size * r, 8, strict, made)
                out += jump
        return 0

    return Kernel(kernel)
