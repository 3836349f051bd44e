"""Values in rows: row after row in one piece of memory, as the caller has them, instead of columns.

What is computed from the caller's rows and goes back to the caller as rows, or is soon a product of few columns, need
not be turned to columns in between: operators that compute each element apart do not care, and products have kernels
for rows. A value in rows is read by its address, which lies in a word of the instruction that makes the value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tensorml.executors.simd.addresses import load, store
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Block, Buffer, Outer, Parameter, Word
from tensorml.executors.simd.outside import OF_SIZE, SIDES, read_rows, turn_back
from tensorml.executors.simd.rules import every, handles
from tensorml.graph import Op, TensorType

To = tuple[Parameter, Parameter]  # where rows are written: an address, and the bytes from there to the next block's


@dataclass(frozen=True, eq=False)
class Rows:
    """A value for a block of rows, these one after the other. place: the word that holds its address.

    buffers: the memory that it lies in; inside: whether it surely is there, from its beginning on. doubt: rows that its
    reader refuses if they hold an infinity or NaN, as nobody looked yet; where they do, this value does.
    """

    place: Word
    columns: int
    dtype: np.dtype
    buffers: tuple[Buffer, ...]
    inside: bool = False
    doubt: Rows | None = None

    @property
    def bytes(self) -> int:
        """Of a row."""
        return self.columns * self.dtype.itemsize


@dataclass(frozen=True)
class RowRule:
    """emit: the assembler, the operator, where to write, its operands (a Const as itself) -> the word of its first

    parameter; the first two say where it writes. passes: whether the result is the first operand as it is; then
    `emit` writes nothing. turns: whether an operator is worth it even if its result is turned to columns then.
    """

    emit: Callable[..., Any]
    accepts: Callable[[Op], bool]
    turns: Callable[[Op], bool]
    passes: bool


Emit = Callable[..., Any]

row_rules: dict[type[Op], RowRule] = {}


def never(op: Op) -> bool:
    """For rules that make rows for readers of rows."""
    return False


def row_rule(
    *classes: type[Op],
    accepts: Callable[[Op], bool] = every,
    turns: Callable[[Op], bool] = never,
    passes: bool = False,
) -> Callable[[Emit], Emit]:
    """Register a function as the rule of these operators for rows."""

    def register(emit: Emit) -> Emit:
        row_rules.update(dict.fromkeys(classes, RowRule(emit, accepts, turns, passes)))
        return emit

    return register


def width(kind: TensorType) -> int:
    """How many numbers a row has."""
    return math.prod(map(int, kind.shape[1:]))


def by_rows(op: Op) -> RowRule | None:
    """The rule by which an operator can be computed in rows, if there is one."""
    found = row_rules.get(type(op))
    return found if found and handles(op) and found.accepts(op) else None


@cache
def entering(bits: str, size: int, side: int) -> Kernel:
    """Rows where they lie; those of another layout are copied. Parameters: the word for their address; address, strides

    of rows and columns; columns; where to copy to; room for the addresses of the columns.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        row, column = load(p, 2, "int64"), load(p, 3, "int64")
        begin, columns = load(p, 1, "int64") + first * row, load(p, 4, "int64")
        if (column == size or columns == 1) and row == columns * size:
            store(p, 0, begin, "int64")
            return 0
        out = load(p, 5, "int64")
        store(p, 0, out, "int64")
        if row == size:
            for c in range(columns):
                store(p, 6 + c, begin + c * column, "int64")
            turn_back(p + 48, columns, out, rows, bits, size, side)
            return 0
        for r in range(rows):
            x, to = begin + r * row, out + r * columns * size
            if column == size:
                for c in range(columns):
                    store(to, c, load(x, c, bits), bits)
            else:
                for c in range(columns):
                    store(to, c, load(x + c * column, 0, bits), bits)
        return 0

    return Kernel(kernel)


def enter(assembler: Assembler, name: str, kind: TensorType) -> tuple[Rows, Outer]:
    """The rows of an input."""
    columns, size = width(kind), kind.dtype.itemsize
    buffer = assembler.reserve(columns * size)
    kernel = entering(OF_SIZE[size], size, SIDES[size])
    word = assembler.add(kernel, 0, 0, 0, 0, columns, assembler.place(buffer), *(0,) * columns)
    return Rows(Word(word), columns, kind.dtype, (buffer,)), Outer(name, word + 1, kind.dtype)


@cache
def copying(bits: str) -> Kernel:
    """Parameters: where to write; the word of the rows' address; columns."""

    def kernel(p: int, first: int, rows: int) -> int:
        out, x = load(p, 0, "int64") + first * load(p, 1, "int64"), load(load(p, 2, "int64"), 0, "int64")
        for k in range(rows * load(p, 3, "int64")):
            store(out, k, load(x, k, bits), bits)
        return 0

    return Kernel(kernel)


def copy(assembler: Assembler, x: Rows, name: str, kind: TensorType) -> Outer:
    """A value as an output."""
    word = assembler.add(copying(OF_SIZE[x.dtype.itemsize]), 0, x.bytes, x.place, x.columns, cost=0.05 * x.columns)
    return output(name, word, kind)


def output(name: str, word: int, kind: TensorType) -> Outer:
    """The output that an instruction writes whose first parameter is this word."""
    return Outer(name, word, kind.dtype, tuple(int(dim) for dim in kind.shape[1:]))


def turned(assembler: Assembler, x: Rows) -> Block:
    """The same value in columns. One column is one already."""
    if x.inside and x.columns == 1:
        return Block((assembler.place(x.buffers[0]),), x.dtype, x.buffers)
    return read_rows(assembler, x.place, x.columns, x.dtype)
