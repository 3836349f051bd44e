"""Operators that reduce the columns of each row: column after column, all rows of the block at once."""

from __future__ import annotations

from functools import cache

from tensorml import ops
from tensorml.executors.simd.addresses import load, store
from tensorml.executors.simd.elementwise import combine
from tensorml.executors.simd.functions import function
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
    room = assembler.reserve(x.dtype.itemsize)
    count = len(x.columns)
    place = assembler.place(room)
    assembler.add(largest(x.dtype.name), block.columns[0], place, count, *x.columns, cost=0.3 * count)
    assembler.release(room)
    return block


@cache
def softmax(dtype: str) -> Kernel:
    """Parameters: places of room for two columns, columns, places of each column of result and x."""

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
                value = function("Exp", combine("Sub", load(x, r, dtype), load(top, r, dtype)))
                store(out, r, value, dtype)
                store(total, r, value if c == 0 else combine("Add", load(total, r, dtype), value), dtype)
        for c in range(count):
            out = load(p, 3 + 2 * c, "int64")
            for r in range(rows):
                store(out, r, combine("Div", load(out, r, dtype), load(total, r, dtype)), dtype)
        return 0

    return Kernel(kernel)


@rule(ops.Softmax)
def softmax_rule(assembler: Assembler, op: ops.Softmax, x: Block) -> Block:
    """Three passes over the block."""
    block = result(assembler, op)
    room = [assembler.reserve(x.dtype.itemsize) for _ in range(2)]
    pairs = [place for pair in zip(block.columns, x.columns, strict=True) for place in pair]
    parameters = (*(assembler.place(piece) for piece in room), len(x.columns), *pairs)
    assembler.add(softmax(op.dtype.name), *parameters, cost=1.0 * len(x.columns))
    for piece in room:
        assembler.release(piece)
    return block
