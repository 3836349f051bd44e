"""Operators that reduce the columns of each row: column after column, all rows of the block at once."""

from __future__ import annotations

import math
from functools import cache

from tensorml import ops
from tensorml.executors.simd.addresses import load, store
from tensorml.executors.simd.elementwise import combine, interleaved
from tensorml.executors.simd.functions import series
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Block
from tensorml.executors.simd.rules import result, rule


@cache
def folding(name: str, dtype: str) -> Kernel:
    """Columns combined one after the other. Parameters: place of the result, columns, their places."""

    def kernel(p: int, first: int, rows: int) -> int:
        out, x = load(p, 0, "int64"), load(p, 2, "int64")
        for r in range(rows):
            store(out, r, load(x, r, dtype), dtype)
        for c in range(1, load(p, 1, "int64")):
            x = load(p, 2 + c, "int64")
            for r in range(rows):
                store(out, r, combine(name, load(out, r, dtype), load(x, r, dtype)), dtype)
        return 0

    return Kernel(kernel)


def fold(assembler: Assembler, name: str, x: Block, out: Block) -> None:
    """Add the instruction."""
    count = len(x.columns)
    assembler.add(folding(name, x.dtype.name), out.columns[0], count, *x.columns, cost=0.1 * count)


@rule(ops.ReduceSum, accepts=lambda op: op.dtype.kind == "f")
def sum_rule(assembler: Assembler, op: ops.ReduceSum, x: Block) -> Block:
    """From left to right."""
    block = result(assembler, op)
    fold(assembler, "Add", x, block)
    return block


@rule(ops.ReduceMax, accepts=lambda op: op.dtype.kind == "f")
def max_rule(assembler: Assembler, op: ops.ReduceMax, x: Block) -> Block:
    """From left to right."""
    block = result(assembler, op)
    fold(assembler, "Max", x, block)
    return block


@cache
def largest(dtype: str) -> Kernel:
    """Parameters: places of the result and of room for a column, columns, their places."""

    def kernel(p: int, first: int, rows: int) -> int:
        out, best, x = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 3, "int64")
        for r in range(rows):
            store(best, r, load(x, r, dtype), dtype)
            store(out, r, 0, "int64")
        for c in range(1, load(p, 2, "int64")):
            x = load(p, 3 + c, "int64")
            for r in range(rows):
                value, old = load(x, r, dtype), load(best, r, dtype)
                better = (value > old) | ((value != value) & (old == old))
                store(best, r, value if better else old, dtype)
                store(out, r, c if better else load(out, r, "int64"), "int64")
        return 0

    return Kernel(kernel)


@rule(ops.ArgMax)
def arg_max_rule(assembler: Assembler, op: ops.ArgMax, x: Block) -> Block:
    """Compares from left to right."""
    block = result(assembler, op)
    room, count = assembler.allocate(1, x.dtype), len(x.columns)
    assembler.add(largest(x.dtype.name), block.columns[0], *room.columns, count, *x.columns, cost=0.3 * count)
    assembler.release(*room.buffers)
    return block


@cache
def shifting(dtype: str, lanes: int) -> Kernel:
    """exp(x - the largest one), and their sum. Parameters: as of `softmax_rule`.

    Each column's difference stays in the first or second room.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        top, total, count = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        for c in range(count):
            x = load(p, 4 + 2 * c, "int64")
            for r in range(rows):
                value = load(x, r, dtype)
                store(top, r, value if c == 0 else combine("Max", load(top, r, dtype), value), dtype)
        for c in range(count):
            out, x = load(p, 3 + 2 * c, "int64"), load(p, 4 + 2 * c, "int64")
            for r in range(rows):
                store(out, r, combine("Sub", load(x, r, dtype), load(top, r, dtype)), dtype)
            for r in range(0, rows, lanes):
                series("Exp", out, out, r, dtype)
            for r in range(rows):
                value = load(out, r, dtype)
                store(total, r, value if c == 0 else combine("Add", load(total, r, dtype), value), dtype)
        return 0

    return Kernel(kernel)


@cache
def ending(name: str, dtype: str, lanes: int) -> Kernel:
    """The end of `Softmax` and `LogSoftmax`. Parameters: as `shifting`."""

    def kernel(p: int, first: int, rows: int) -> int:
        top, total, count = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        if name == "LogSoftmax":
            for r in range(0, rows, lanes):
                series("Log", total, total, r, dtype)
        for c in range(count):
            out, x = load(p, 3 + 2 * c, "int64"), load(p, 4 + 2 * c, "int64")
            for r in range(rows):
                if name == "Softmax":
                    store(out, r, combine("Div", load(out, r, dtype), load(total, r, dtype)), dtype)
                else:
                    value = combine("Sub", load(x, r, dtype), load(top, r, dtype))
                    store(out, r, combine("Sub", value, load(total, r, dtype)), dtype)
        return 0

    return Kernel(kernel)


@rule(ops.Softmax, ops.LogSoftmax)
def softmax_rule(assembler: Assembler, op: ops.Softmax, x: Block) -> Block:
    """Parameters of both instructions: room for the largest ones and the sums; columns, places of result and x."""
    block = result(assembler, op)
    room = assembler.allocate(2, x.dtype)
    parameters = (*room.columns, *interleaved(block, list(x.columns)))
    lanes = 64 // op.dtype.itemsize
    assembler.add(shifting(op.dtype.name, lanes), *parameters, cost=0.8 * len(x.columns))
    assembler.add(ending(type(op).__name__, op.dtype.name, lanes), *parameters, cost=0.2 * len(x.columns))
    assembler.release(*room.buffers)
    return block


@cache
def log_sum_exp(dtype: str, lanes: int) -> Kernel:
    """Parameters: places of the result, of the largest ones, of room for two more; columns, their places."""

    def kernel(p: int, first: int, rows: int) -> int:
        out, top = load(p, 0, "int64"), load(p, 1, "int64")
        most, room = load(p, 2, "int64"), load(p, 3, "int64")
        for r in range(rows):
            store(out, r, 0, dtype)
            store(most, r, 0, dtype)
        for c in range(load(p, 4, "int64")):
            x = load(p, 5 + c, "int64")
            for r in range(rows):
                value, peak = load(x, r, dtype), load(top, r, dtype)
                store(room, r, -math.inf if value == peak else value - (peak if abs(peak) < math.inf else 0.0), dtype)
                store(most, r, load(most, r, dtype) + (1.0 if value == peak else 0.0), dtype)
            for r in range(0, rows, lanes):
                series("Exp", room, room, r, dtype)
            for r in range(rows):
                store(out, r, load(out, r, dtype) + load(room, r, dtype), dtype)
        for r in range(rows):
            rest = load(out, r, dtype)
            shared = combine("Div", rest, load(most, r, dtype))
            store(out, r, rest if rest == 0 else shared, dtype)
        for r in range(0, rows, lanes):
            series("Log1p", out, out, r, dtype)
            series("Log", most, most, r, dtype)
        for r in range(rows):
            store(out, r, combine("Add", load(out, r, dtype), load(most, r, dtype)), dtype)
            store(out, r, combine("Add", load(out, r, dtype), load(top, r, dtype)), dtype)
        return 0

    return Kernel(kernel)


@rule(ops.LogSumExp)
def log_sum_exp_rule(assembler: Assembler, op: ops.LogSumExp, x: Block) -> Block:
    """In the order of the reference."""
    block = result(assembler, op)
    room = assembler.allocate(3, x.dtype)
    parameters = (block.columns[0], *room.columns, len(x.columns), *x.columns)
    kernel = log_sum_exp(op.dtype.name, 64 // op.dtype.itemsize)
    fold(assembler, "Max", x, Block(room.columns[:1], x.dtype, ()))
    assembler.add(kernel, *parameters, cost=1.0 * len(x.columns))
    assembler.release(*room.buffers)
    return block
