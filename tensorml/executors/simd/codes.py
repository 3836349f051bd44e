"""Values coded as the number of boundaries that they reach, by a search of 16 at a time; codes in groups of 128 rows.

A group holds its codes column by column, so that a node of a tree reads one piece of memory.
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
    I16,
    I64,
    LANES,
    LLVM,
    constant,
    has_avx512,
    intrinsic,
    load,
    pointer,
    splat,
    store,
)
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import LINE, Assembler, Block, Buffer, Parameter, Place
from tensorml.executors.simd.permutes import MOST, halved, levels_of, ranking_in_registers
from tensorml.executors.simd.rules import handles, result, rule
from tensorml.graph import Op

FAN = 16  # boundaries that are compared at once
LEVELS = 5  # of the search among them at most: 16 * 17^4 boundaries a column


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


def searchable(op: Op) -> bool:
    """Whether no column has more boundaries than the search has levels for."""
    return isinstance(op, ops.Rank) and int(np.diff(op.offsets).max(initial=0)) <= FAN * (FAN + 1) ** (LEVELS - 1)


def in_registers(op: Op) -> bool:
    """Whether registers hold the boundaries of each column."""
    if not isinstance(op, ops.Rank) or op.x.dtype != np.float32 or not has_avx512(cpu_target.target_context):
        return False
    return levels_of(np.diff(op.offsets).max(initial=0)) <= MOST


def rank(assembler: Assembler, op: ops.Rank, x: Block, places: tuple[Parameter, ...], jump: Parameter) -> None:
    """Add the instruction that writes the codes to these places."""
    if in_registers(op):
        rank_in_registers(assembler, op, x, places, jump)
        return
    parameters: list[Parameter] = [len(op.source), jump]
    for k, (place, source) in enumerate(zip(places, op.source, strict=True)):
        nodes, starts = search(op.column(k))
        rest = [*starts[1:], *[0] * (LEVELS - len(starts))]
        address = assembler.constant(nodes)
        parameters += [place, x.columns[source], int(op.nan[k]), len(starts), address, *rest]
    kernel = ranking(op.x.dtype.name, op.dtype.name, int(op.strict))
    assembler.add(kernel, *parameters, cost=2.0 * len(op.source))


def rank_in_registers(
    assembler: Assembler, op: ops.Rank, x: Block, places: tuple[Parameter, ...], jump: Parameter
) -> None:
    """The same, for few boundaries."""
    parameters: list[Parameter] = [len(op.source), jump]
    for k, (place, source) in enumerate(zip(places, op.source, strict=True)):
        boundaries = op.column(k)
        levels = levels_of(len(boundaries))
        table = assembler.constant(halved(boundaries, levels))
        parameters += [place, x.columns[source], int(op.nan[k]), levels, table]
    kernel = ranking_in_registers(op.dtype.name, op.dtype.itemsize, int(op.strict))
    assembler.add(kernel, *parameters, cost=0.6 * len(op.source))


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
