"""Operators that compute each element apart, on rows: all elements of a block as one line, whatever their columns.

What is constant for each column is repeated for as many rows as make a number of whole vectors.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from tensorml import ops
from tensorml.executors.simd.addresses import load, store
from tensorml.executors.simd.checks import always_finite, refused
from tensorml.executors.simd.elementwise import combine
from tensorml.executors.simd.functions import REDUCED, SERIES, SIMPLE, function, series
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Parameter
from tensorml.executors.simd.rows import Rows, To, row_rule, width
from tensorml.graph import Const, Op

REPEATED = 8192  # bytes that a repeated constant may take, but for the rows that a vector needs
LONGEST = 64  # bytes of a vector


def repeats(op: Op) -> int:
    """For how many rows constants of an operator are repeated: some vectors of the smallest element."""
    return LONGEST if width(op.type) * op.dtype.itemsize * LONGEST <= REPEATED else LONGEST // 4


def even(op: Op) -> bool:
    """Whether all operands are rows as long as the result's, or constants that have no other shape than a row's."""
    tail = tuple(map(int, op.shape[1:]))
    for operand in op.operands:
        if isinstance(operand, Const):
            if np.broadcast_shapes((1, *tail), operand.value.shape) != (1, *tail):
                return False
        elif tuple(map(int, operand.shape[1:])) != tail or len(tail) > 1:
            return False
    return any(not isinstance(operand, Const) for operand in op.operands)


def source(assembler: Assembler, op: Op, operand: Rows | Const) -> tuple[Parameter, str]:
    """The word of an operand's address, or the address of a constant's elements for some rows; and which it is."""
    if isinstance(operand, Rows):
        return operand.place, "rows"
    row = np.broadcast_to(operand.value, (1, *map(int, op.shape[1:]))).reshape(-1)
    return assembler.constant(np.tile(row, repeats(op))), "same"


@cache
def binary(name: str, dtype: str, made: str, first: str, second: str) -> Kernel:
    """Parameters: where to write; x and y as of `source`; columns; elements of a constant."""

    def kernel(p: int, start: int, rows: int) -> int:
        out, count = load(p, 0, "int64") + start * load(p, 1, "int64"), rows * load(p, 4, "int64")
        x = load(p, 2, "int64") if first == "same" else load(load(p, 2, "int64"), 0, "int64")
        y = load(p, 3, "int64") if second == "same" else load(load(p, 3, "int64"), 0, "int64")
        step = count if first == second else load(p, 5, "int64")
        for k in range(0, count, step):
            for i in range(min(step, count - k)):
                a = load(x, i, dtype) if first == "same" else load(x, k + i, dtype)
                c = load(y, i, dtype) if second == "same" else load(y, k + i, dtype)
                store(out, k + i, combine(name, a, c), made)
        return 0

    return Kernel(kernel)


@row_rule(
    ops.Add, ops.Sub, ops.Mul, ops.Div, ops.Max, ops.Min, ops.And, ops.Or,
    ops.Less, ops.LessOrEqual, ops.Greater, ops.GreaterOrEqual, ops.Equal, accepts=even,
)  # fmt: skip
def binary_rows(assembler: Assembler, op: ops.Add, to: To, x: Rows | Const, y: Rows | Const) -> int:
    """Two operands; one of them may be a constant."""
    (a, first), (b, second) = source(assembler, op, x), source(assembler, op, y)
    kernel, columns = binary(type(op).__name__, op.x.dtype.name, op.dtype.name, first, second), width(op.type)
    return assembler.add(kernel, *to, a, b, columns, columns * repeats(op), cost=0.1 * columns)


@cache
def unary(name: str, dtype: str, made: str) -> Kernel:
    """Parameters: where to write; the word of x's address; columns."""

    def kernel(p: int, start: int, rows: int) -> int:
        out, x = load(p, 0, "int64") + start * load(p, 1, "int64"), load(load(p, 2, "int64"), 0, "int64")
        for k in range(rows * load(p, 3, "int64")):
            store(out, k, function(name, load(x, k, dtype)), made)
        return 0

    return Kernel(kernel)


@row_rule(*SIMPLE, accepts=even)
def unary_rows(assembler: Assembler, op: ops.Neg, to: To, x: Rows) -> int:
    """A function of one operand."""
    kernel = unary(type(op).__name__, op.x.dtype.name, op.dtype.name)
    return assembler.add(kernel, *to, x.place, x.columns, cost=0.5 * x.columns)


@cache
def conversion(dtype: str, made: str) -> Kernel:
    """Parameters: where to write; the word of x's address; columns."""

    def kernel(p: int, start: int, rows: int) -> int:
        out, x = load(p, 0, "int64") + start * load(p, 1, "int64"), load(load(p, 2, "int64"), 0, "int64")
        for k in range(rows * load(p, 3, "int64")):
            value = load(x, k, dtype)
            store(out, k, value != 0 if made == "bool" else value, made)
        return 0

    return Kernel(kernel)


@row_rule(ops.Cast, accepts=even)
def cast_rows(assembler: Assembler, op: ops.Cast, to: To, x: Rows) -> int:
    """Another dtype."""
    kernel = conversion(op.x.dtype.name, op.dtype.name)
    return assembler.add(kernel, *to, x.place, x.columns, cost=0.1 * x.columns)


@cache
def choice(dtype: str, first: str, second: str) -> Kernel:
    """Parameters: where to write; the word of the condition's address; x and y as of `source`; columns; elements of a

    constant.
    """

    def kernel(p: int, start: int, rows: int) -> int:
        out, count = load(p, 0, "int64") + start * load(p, 1, "int64"), rows * load(p, 5, "int64")
        condition = load(load(p, 2, "int64"), 0, "int64")
        x = load(p, 3, "int64") if first == "same" else load(load(p, 3, "int64"), 0, "int64")
        y = load(p, 4, "int64") if second == "same" else load(load(p, 4, "int64"), 0, "int64")
        step = load(p, 6, "int64")
        for k in range(0, count, step):
            for i in range(min(step, count - k)):
                a = load(x, i, dtype) if first == "same" else load(x, k + i, dtype)
                c = load(y, i, dtype) if second == "same" else load(y, k + i, dtype)
                store(out, k + i, a if load(condition, k + i, "bool") != 0 else c, dtype)
        return 0

    return Kernel(kernel)


@row_rule(ops.Where, accepts=lambda op: even(op) and not isinstance(op.operands[0], Const))
def where_rows(assembler: Assembler, op: ops.Where, to: To, condition: Rows, x: Rows | Const, y: Rows | Const) -> int:
    """A choice between two operands, of which each may be a constant."""
    (a, first), (b, second) = source(assembler, op, x), source(assembler, op, y)
    kernel, columns = choice(op.dtype.name, first, second), condition.columns
    return assembler.add(kernel, *to, condition.place, a, b, columns, columns * repeats(op), cost=0.2 * columns)


@cache
def finite(dtype: str, nan: bool, step: int) -> Kernel:
    """Parameters: the word of x's address; columns. nan: whether NaN passes. step: the numbers in 256 bytes."""

    def kernel(p: int, first: int, rows: int) -> int:
        x, count = load(load(p, 0, "int64"), 0, "int64"), rows * load(p, 1, "int64")
        return 1 if refused(x, count, nan, step, dtype) != 0 else 0

    return Kernel(kernel)


@row_rule(ops.Finite, passes=True)
def finite_rows(assembler: Assembler, op: ops.Finite, x: Rows) -> None:
    """What is passed on is x itself."""
    if not always_finite(op.x):
        kernel = finite(op.dtype.name, bool(op.nan), 256 // op.dtype.itemsize)
        assembler.add(kernel, x.place, x.columns, cost=0.05 * x.columns)


@row_rule(ops.Reshape, accepts=lambda op: len(op.shape) < 3, passes=True)
def reshape_rows(assembler: Assembler, op: ops.Reshape, x: Rows) -> None:
    """The same memory."""


@cache
def by_series(name: str, dtype: str, lanes: int) -> Kernel:
    """Parameters: where to write; the word of x's address; columns; room for a vector. lanes: of 64 bytes."""

    def kernel(p: int, first: int, rows: int) -> int:
        out, x = load(p, 0, "int64") + first * load(p, 1, "int64"), load(load(p, 2, "int64"), 0, "int64")
        count, room, far = rows * load(p, 3, "int64"), load(p, 4, "int64"), 0
        whole = count // lanes * lanes
        for k in range(0, whole, lanes):
            far |= series(name, x, out, k, dtype)
        if whole < count:
            for k in range(whole, count):
                store(room, k - whole, load(x, k, dtype), dtype)
            far |= series(name, room, room, 0, dtype)
            for k in range(whole, count):
                store(out, k, load(room, k - whole, dtype), dtype)
        if far != 0:
            for k in range(count):
                value = float(load(x, k, dtype))
                if REDUCED < abs(value) < math.inf:
                    store(out, k, math.sin(value) if name == "Sin" else math.cos(value), dtype)
        return 0

    return Kernel(kernel)


@row_rule(*SERIES, accepts=even)
def series_rows(assembler: Assembler, op: ops.Exp, to: To, x: Rows) -> int:
    """A function of one operand that is computed by a series."""
    kernel, room = by_series(type(op).__name__, op.dtype.name, 64 // op.dtype.itemsize), assembler.reserve(1)
    word = assembler.add(kernel, *to, x.place, x.columns, assembler.place(room), cost=0.5 * x.columns)
    assembler.release(room)
    return word
