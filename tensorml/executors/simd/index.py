"""Operators that choose and arrange columns: most need no instruction."""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import njit

from tensorml import ops
from tensorml.executors.simd.addresses import load, store
from tensorml.executors.simd.elementwise import interleaved
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Block
from tensorml.executors.simd.rules import result, rule
from tensorml.graph import Const


@rule(ops.Columns)
def columns_rule(assembler: Assembler, op: ops.Columns, x: Block) -> Block:
    """The same memory."""
    return Block(tuple(x.columns[i] for i in op.indices), x.dtype, x.buffers)


@rule(ops.Concat, accepts=lambda op: all(operand.type.batched for operand in op.operands) and len(op.shape) == 2)
def concat_rule(assembler: Assembler, op: ops.Concat, *parts: Block) -> Block:
    """The same memory."""
    columns = tuple(place for part in parts for place in part.columns)
    return Block(columns, op.dtype, tuple(dict.fromkeys(buffer for part in parts for buffer in part.buffers)))


@rule(ops.Reshape)
def reshape_rule(assembler: Assembler, op: ops.Reshape, x: Block) -> Block:
    """The same memory."""
    return x


@cache
def filling(dtype: str) -> Kernel:
    """Parameters: the address of the value, columns, their places."""

    def kernel(p: int, first: int, rows: int) -> int:
        value = load(load(p, 0, "int64"), 0, dtype)
        for c in range(load(p, 1, "int64")):
            out = load(p, 2 + c, "int64")
            for r in range(rows):
                store(out, r, value, dtype)
        return 0

    return Kernel(kernel)


@rule(ops.Fill)
def fill_rule(assembler: Assembler, op: ops.Fill, like: Block) -> Block:
    """One value everywhere."""
    block = result(assembler, op)
    address = assembler.constant(np.array([op.value]).astype(op.dtype))
    assembler.add(filling(op.dtype.name), address, len(block.columns), *block.columns, cost=0.1 * len(block.columns))
    return block


@njit(error_model="numpy", forceinline=True)
def astray(index, rows, count, whole):
    """Whether an index is none of 0 to count - 1: of a row that is refused, or a fault. Torch finds the words."""
    found = 0
    for r in range(rows):
        i = load(index, r, whole)
        found |= (i < 0) | (i >= count)
    return found


@cache
def taking(dtype: str, whole: str) -> Kernel:
    """Parameters: the table's address, its rows, their length, places of the index and of each result column."""

    def kernel(p: int, first: int, rows: int) -> int:
        table, width, index = load(p, 0, "int64"), load(p, 2, "int64"), load(p, 3, "int64")
        if astray(index, rows, load(p, 1, "int64"), whole):
            return 1
        for c in range(width):
            out = load(p, 4 + c, "int64")
            for r in range(rows):
                store(out, r, load(table, load(index, r, whole) * width + c, dtype), dtype)
        return 0

    return Kernel(kernel)


def is_lookup(op: object) -> bool:
    """Whether rows of a constant are taken."""
    return isinstance(op, ops.Take) and isinstance(op.table, Const)


@rule(ops.Take, accepts=is_lookup)
def take_rule(assembler: Assembler, op: ops.Take, table: Const, index: Block) -> Block:
    """Rows of a constant, for each column of the index."""
    block = result(assembler, op)
    address, kernel = assembler.constant(table.value), taking(op.dtype.name, op.index.dtype.name)
    width = len(block.columns) // max(1, len(index.columns))
    for i, place in enumerate(index.columns):
        columns = block.columns[i * width : (i + 1) * width]
        assembler.add(kernel, address, len(table.value), width, place, *columns, cost=1.0 * width)
    return block


@cache
def gathering(dtype: str, whole: str) -> Kernel:
    """Parameters: columns of x; places of each; columns of the index; places of result and index of each."""

    def kernel(p: int, first: int, rows: int) -> int:
        width = load(p, 0, "int64")
        count = load(p, 1 + width, "int64")
        for c in range(count):
            out, index = load(p, 2 + width + 2 * c, "int64"), load(p, 3 + width + 2 * c, "int64")
            if astray(index, rows, width, whole):
                return 1
            for r in range(rows):
                store(out, r, load(load(p, 1 + load(index, r, whole), "int64"), r, dtype), dtype)
        return 0

    return Kernel(kernel)


@rule(ops.GatherElements)
def gather_rule(assembler: Assembler, op: ops.GatherElements, x: Block, index: Block) -> Block:
    """Each row's own choice of columns."""
    block = result(assembler, op)
    parameters = (len(x.columns), *x.columns, *interleaved(block, list(index.columns)))
    assembler.add(gathering(op.dtype.name, op.index.dtype.name), *parameters, cost=1.0 * len(block.columns))
    return block


@cache
def one_hot(codes: str, dtype: str) -> Kernel:
    """Parameters: columns of codes; for each its place, its size, and the places of so many results."""

    def kernel(p: int, first: int, rows: int) -> int:
        word = 1
        for _ in range(load(p, 0, "int64")):
            x, size = load(p, word, "int64"), load(p, word + 1, "int64")
            for k in range(size):
                out = load(p, word + 2 + k, "int64")
                for r in range(rows):
                    store(out, r, load(x, r, codes) == k, dtype)
            word += 2 + size
        return 0

    return Kernel(kernel)


@rule(ops.OneHot)
def one_hot_rule(assembler: Assembler, op: ops.OneHot, x: Block) -> Block:
    """A compare for each code."""
    block = result(assembler, op)
    parameters, at = [len(x.columns)], 0
    for place, size in zip(x.columns, op.sizes, strict=True):
        parameters += [place, size, *block.columns[at : at + size]]
        at += size
    assembler.add(one_hot(op.x.dtype.name, op.dtype.name), *parameters, cost=0.1 * len(block.columns))
    return block
