"""Sums over what the leaves of trees hold, in the order of the trees, and sums over columns."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target

from tensorml import ops
from tensorml.executors.simd.addresses import (
    I8,
    I32,
    I64,
    LLVM,
    SIZES,
    constant,
    has_avx512,
    intrinsic,
    load,
    pointer,
    store,
)
from tensorml.executors.simd.codes import code_sources
from tensorml.executors.simd.index import filling
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import LINE, Assembler, Block, Parameter
from tensorml.executors.simd.permutes import permuted
from tensorml.executors.simd.plans import Plan, descendable, plan_trees
from tensorml.executors.simd.rules import result, rule
from tensorml.executors.simd.symmetric import sum_symmetric, sums_in_registers
from tensorml.executors.simd.trees import descend_all
from tensorml.graph import Op

BESIDE = 8  # rows that are added up one after the other: no more than the vector of a table's numbers has lanes
FEW = 4  # outputs from which on a row's sums lie together


@intrinsic
def add_held(typing: Any, index: Any, table: Any, out: Any, row: Any, size: Any, dtype: Any) -> Any:
    """Add what the leaves of 64 rows hold: a table of up to 256 numbers in registers, read by permutes (AVX-512).

    index: uint8; out: the sums; both from their row `row` on.
    """
    name, count = dtype.literal_value, size.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        numbers_, held, sums, first = arguments[:4]
        lanes, double = LINE // SIZES[name], name == "float64"
        vector, whole = ir.VectorType(LLVM[name], lanes), ir.VectorType(I64 if double else I32, lanes)
        permute = b.module.declare_intrinsic(
            f"llvm.x86.avx512.vpermi2var.{'pd' if double else 'ps'}.512",
            (),
            ir.FunctionType(vector, [vector, whole, vector]),
        )
        tables = [b.load(pointer(b, held, constant(k), LLVM[name], vector), align=LINE) for k in range(0, count, lanes)]
        for part in range(0, 64, lanes):
            at = b.add(first, constant(part))
            leaf = b.load(pointer(b, numbers_, at, I8, ir.VectorType(I8, lanes)), align=1)
            leaf = b.zext(leaf, whole)
            place = pointer(b, sums, at, LLVM[name], vector)
            b.store(b.fadd(b.load(place, align=LINE), permuted(b, permute, tables, leaf)), place, align=LINE)
        return context.get_dummy_value()

    return types.void(index, table, out, row, size, dtype), generate


@cache
def adding(dtype: str, index: str, size: int) -> Kernel:
    """Parameters: sums; for each the places of leaves, the table's address, and the place of the sums.

    size: of the tables, if they are read by permutes, else 0. Few rows are added up one after the other.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        count = load(p, 0, "int64")
        if rows <= BESIDE:
            for r in range(rows):
                sums = load(p, 3, "int64")
                total = load(sums, r, dtype)
                for t in range(count):
                    leaves, table, out = (
                        load(p, 1 + 3 * t, "int64"),
                        load(p, 2 + 3 * t, "int64"),
                        load(p, 3 + 3 * t, "int64"),
                    )
                    if out != sums:  # another output's turn: until then the sum stays in its register
                        store(sums, r, total, dtype)
                        sums, total = out, load(out, r, dtype)
                    total += load(table, load(leaves, r, index), dtype)
                store(sums, r, total, dtype)
            return 0
        for t in range(count):
            leaves, table, out = load(p, 1 + 3 * t, "int64"), load(p, 2 + 3 * t, "int64"), load(p, 3 + 3 * t, "int64")
            if size != 0:
                for r in range(0, rows, 64):
                    add_held(leaves, table, out, r, size, dtype)
            else:
                for r in range(rows):
                    held = load(table, load(leaves, r, index), dtype)
                    store(out, r, load(out, r, dtype) + held, dtype)
        return 0

    return Kernel(kernel)


@intrinsic
def add_vector(typing: Any, held: Any, sums: Any, lanes: Any, dtype: Any) -> Any:
    """Add so many numbers at one address to those at another."""
    name, count = dtype.literal_value, lanes.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(LLVM[name], count)
        value = b.load(pointer(b, arguments[0], constant(0), LLVM[name], vector), align=SIZES[name])
        place = pointer(b, arguments[1], constant(0), LLVM[name], vector)
        b.store(b.fadd(b.load(place, align=SIZES[name]), value), place, align=SIZES[name])
        return context.get_dummy_value()

    return types.void(held, sums, lanes, dtype), generate


@cache
def adding_vectors(dtype: str, index: str, lanes: int, size: int) -> Kernel:
    """Sums of all outputs of a row lie together, as what a leaf holds does.

    Parameters: trees, vectors of `lanes` numbers for a row, the place of the sums; for each tree the place of its
    leaves and the table's address. size: of a vector, in bytes.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        vectors, sums = load(p, 1, "int64"), load(p, 2, "int64")
        width = vectors * size
        for t in range(load(p, 0, "int64")):
            leaves, table = load(p, 3 + 2 * t, "int64"), load(p, 4 + 2 * t, "int64")
            for r in range(rows):
                held, place = table + width * load(leaves, r, index), sums + width * r
                for _ in range(vectors):
                    add_vector(held, place, lanes, dtype)
                    held += size
                    place += size
        return 0

    return Kernel(kernel)


@cache
def beginning(dtype: str) -> Kernel:
    """The same numbers for each row. Parameters: how many, the place of the sums, the address of the numbers."""

    def kernel(p: int, first: int, rows: int) -> int:
        width, sums, start = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        for r in range(rows):
            for k in range(width):
                store(sums, r * width + k, load(start, k, dtype), dtype)
        return 0

    return Kernel(kernel)


@cache
def spreading(dtype: str) -> Kernel:
    """A row's numbers to columns. Parameters: columns, how many numbers a row has, their place, the columns' places."""

    def kernel(p: int, first: int, rows: int) -> int:
        width, sums = load(p, 1, "int64"), load(p, 2, "int64")
        for k in range(load(p, 0, "int64")):
            out = load(p, 3 + k, "int64")
            for r in range(rows):
                store(out, r, load(sums, r * width + k, dtype), dtype)
        return 0

    return Kernel(kernel)


def size_of_tables(dtype: np.dtype, most: int) -> int:
    """The size of tables that permutes read, 0 where they do not."""
    least, largest = (32, 256) if dtype == np.float32 else (16, 128)
    size = max(least, 1 << (most - 1).bit_length())
    return size if size <= largest and has_avx512(cpu_target.target_context) else 0


def through(op: Op) -> tuple[Op, ...]:
    """What the sum over leaves reads: what the descent to them does."""
    return code_sources(op.operands[0])


def summable(op: Op) -> bool:
    """Whether the descent is one of these kernels'."""
    return type(op.operands[0]) in (ops.Descend, ops.DescendSymmetric) and descendable(op.operands[0])


@rule(ops.LeafSum, accepts=summable, reads=through)
def leaf_sum_rule(assembler: Assembler, op: ops.LeafSum, *blocks: Block) -> Block:
    """Codes, leaves and sums, some trees at a time."""
    plan = plan_trees(op.leaves, few=assembler.few)
    block = result(assembler, op)
    if sums_in_registers(op, plan) and not assembler.few:
        sum_symmetric(assembler, op, plan, blocks, block)
        return block
    found = descend_all(assembler, op.leaves, plan, blocks)
    size = size_of_tables(op.dtype, plan.most) if plan.index == "uint8" else 0
    outputs = len(op.start)
    if op.output is None and outputs > 1 and (size == 0 or outputs >= FEW):
        sum_rows(assembler, op, plan, found, block)
    else:
        sum_columns(assembler, op, plan, found, block, size)
    return block


Found = Iterator[tuple[int, Block]]  # the first of some trees, their leaves


def sum_columns(assembler: Assembler, op: ops.LeafSum, plan: Plan, found: Found, block: Block, size: int) -> None:
    """The sums as columns. size: of the tables that permutes read."""
    for place, start in zip(block.columns, op.start, strict=True):
        assembler.add(filling(op.dtype.name), assembler.constant(np.array([start])), 1, place)
    kernel = adding(op.dtype.name, plan.index, size)
    for begin, leaves in found:
        parameters: list[Parameter] = []
        for t, place in enumerate(leaves.columns, begin):
            held = plan.values(op.values, t, size)
            columns = block.columns if op.output is None else (block.columns[op.output[t]],)
            address = assembler.constant(held)
            for k, column in enumerate(columns):
                parameters += [place, address + k * held.strides[0], column]
        assembler.add(kernel, len(parameters) // 3, *parameters, cost=(0.1 if size else 0.5) * len(parameters))


def sum_rows(assembler: Assembler, op: ops.LeafSum, plan: Plan, found: Found, block: Block) -> None:
    """The sums of a row beside each other until they are complete."""
    outputs, itemsize = len(op.start), op.dtype.itemsize
    lanes = min(LINE // itemsize, 1 << (outputs - 1).bit_length())
    width = -(-outputs // lanes) * lanes
    room = assembler.reserve(width * itemsize)
    sums = assembler.place(room)
    start = assembler.constant(np.pad(op.start, (0, width - outputs)))
    assembler.add(beginning(op.dtype.name), width, sums, start)
    kernel = adding_vectors(op.dtype.name, plan.index, lanes, lanes * itemsize)
    for begin, leaves in found:
        parameters: list[Parameter] = []
        for t, place in enumerate(leaves.columns, begin):
            held = np.pad(plan.values(op.values, t, 0).T, ((0, 0), (0, width - outputs)))
            parameters += [place, assembler.constant(held)]
        cost = len(leaves.columns) * (1.0 + 0.5 * width // lanes)
        assembler.add(kernel, len(leaves.columns), width // lanes, sums, *parameters, cost=cost)
    assembler.add(spreading(op.dtype.name), outputs, width, sums, *block.columns, cost=0.5 * outputs)
    assembler.release(room)


@cache
def adding_columns(dtype: str) -> Kernel:
    """Parameters: columns; for each its place and that of its sum."""

    def kernel(p: int, first: int, rows: int) -> int:
        for c in range(load(p, 0, "int64")):
            x, out = load(p, 1 + 2 * c, "int64"), load(p, 2 + 2 * c, "int64")
            for r in range(rows):
                store(out, r, load(out, r, dtype) + load(x, r, dtype), dtype)
        return 0

    return Kernel(kernel)


@rule(ops.AddColumns)
def add_columns_rule(assembler: Assembler, op: ops.AddColumns, x: Block) -> Block:
    """One column after the other."""
    block = result(assembler, op)
    for place, start in zip(block.columns, op.start, strict=True):
        assembler.add(filling(op.dtype.name), assembler.constant(np.array([start])), 1, place)
    pairs = [place for k, source in zip(op.output, x.columns, strict=True) for place in (source, block.columns[k])]
    assembler.add(adding_columns(op.dtype.name), len(x.columns), *pairs, cost=0.1 * len(x.columns))
    return block
