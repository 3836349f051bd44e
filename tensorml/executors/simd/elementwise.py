"""Operators that compute each element apart: a loop over the rows of a block, which the compiler makes vectors of."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from tensorml import ops
from tensorml.executors.simd.addresses import I8, intrinsic, load, store
from tensorml.executors.simd.functions import REDUCED, SERIES, SIMPLE, function, series
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Block, Parameter
from tensorml.executors.simd.rules import result, rule
from tensorml.graph import Const, Op

COMPARES = {"Less": "<", "LessOrEqual": "<=", "Greater": ">", "GreaterOrEqual": ">=", "Equal": "=="}
FLOATS = (types.float32, types.float64)


def arithmetic(b: ir.IRBuilder, name: str, x: Any, y: Any, real: bool, signed: bool) -> Any:
    """One operation of two numbers of one type."""
    match name:
        case "Add":
            return b.fadd(x, y) if real else b.add(x, y)
        case "Sub":
            return b.fsub(x, y) if real else b.sub(x, y)
        case "Mul":
            return b.fmul(x, y) if real else b.mul(x, y)
        case "Div":
            return b.fdiv(x, y)
        case "And":
            return b.and_(x, y)
        case "Or":
            return b.or_(x, y)
    return extreme(b, name, x, y, real, signed)


def extreme(b: ir.IRBuilder, name: str, x: Any, y: Any, real: bool, signed: bool) -> Any:
    """The larger or the smaller one; NaN if either is, the first one that is. Source: numpy.maximum."""
    sign = ">=" if name == "Max" else "<="
    if not real:
        return b.select((b.icmp_signed if signed else b.icmp_unsigned)(sign, x, y), x, y)
    keep = b.or_(b.fcmp_ordered(sign, x, y), b.fcmp_unordered("uno", x, x))
    return b.select(keep, x, y)


@intrinsic
def combine(typing: Any, name: Any, x: Any, y: Any) -> Any:
    """The binary operator `name`; of compares 0 or 1."""
    operator, real = name.literal_value, x in FLOATS

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        _, a, c = arguments
        if operator not in COMPARES:
            return arithmetic(b, operator, a, c, real, x != types.uint8)
        whole = b.icmp_unsigned if x == types.uint8 else b.icmp_signed
        return b.zext((b.fcmp_ordered if real else whole)(COMPARES[operator], a, c), I8)

    return (types.uint8 if operator in COMPARES else x)(name, x, y), generate


@cache
def binary(name: str, dtype: str, made: str, first: str, second: str) -> Kernel:
    """Parameters: columns; of each the places of result, x and y. first, second: what `form` says of these."""

    def kernel(p: int, start: int, rows: int) -> int:
        for c in range(load(p, 0, "int64")):
            out, x, y = load(p, 1 + 3 * c, "int64"), load(p, 2 + 3 * c, "int64"), load(p, 3 + 3 * c, "int64")
            if first == "scalar":
                a = load(x, 0, dtype)
                for r in range(rows):
                    store(out, r, combine(name, a, load(y, r, dtype)), made)
            elif second == "scalar":
                d = load(y, 0, dtype)
                for r in range(rows):
                    store(out, r, combine(name, load(x, r, dtype), d), made)
            else:
                for r in range(rows):
                    store(out, r, combine(name, load(x, r, dtype), load(y, r, dtype)), made)
        return 0

    return Kernel(kernel)


@cache
def unary(name: str, dtype: str, made: str) -> Kernel:
    """Parameters: columns; of each the places of result and x."""

    def kernel(p: int, start: int, rows: int) -> int:
        for c in range(load(p, 0, "int64")):
            out, x = load(p, 1 + 2 * c, "int64"), load(p, 2 + 2 * c, "int64")
            for r in range(rows):
                store(out, r, function(name, load(x, r, dtype)), made)
        return 0

    return Kernel(kernel)


@cache
def by_series(name: str, dtype: str, lanes: int) -> Kernel:
    """Parameters: columns; of each the places of result and x, which are not the same. lanes: of 64 bytes."""

    def kernel(p: int, start: int, rows: int) -> int:
        for c in range(load(p, 0, "int64")):
            out, x = load(p, 1 + 2 * c, "int64"), load(p, 2 + 2 * c, "int64")
            far = 0
            for r in range(0, rows, lanes):
                far |= series(name, x, out, r, dtype)
            if far != 0:
                for r in range(rows):
                    value = float(load(x, r, dtype))
                    if REDUCED < abs(value) < math.inf:
                        store(out, r, math.sin(value) if name == "Sin" else math.cos(value), dtype)
        return 0

    return Kernel(kernel)


@cache
def conversion(dtype: str, made: str) -> Kernel:
    """Parameters: columns; of each the places of result and x."""

    def kernel(p: int, start: int, rows: int) -> int:
        for c in range(load(p, 0, "int64")):
            out, x = load(p, 1 + 2 * c, "int64"), load(p, 2 + 2 * c, "int64")
            for r in range(rows):
                value = load(x, r, dtype)
                store(out, r, value != 0 if made == "bool" else value, made)
        return 0

    return Kernel(kernel)


@cache
def choice(dtype: str, first: str, second: str) -> Kernel:
    """Parameters: columns; of each the places of result, condition, x and y."""

    def kernel(p: int, start: int, rows: int) -> int:
        for c in range(load(p, 0, "int64")):
            out, condition = load(p, 1 + 4 * c, "int64"), load(p, 2 + 4 * c, "int64")
            x, y = load(p, 3 + 4 * c, "int64"), load(p, 4 + 4 * c, "int64")
            a, d = load(x, 0, dtype), load(y, 0, dtype)
            for r in range(rows):
                left = a if first == "scalar" else load(x, r, dtype)
                right = d if second == "scalar" else load(y, r, dtype)
                store(out, r, left if load(condition, r, "bool") != 0 else right, dtype)
        return 0

    return Kernel(kernel)


def form(operand: Block | Const) -> str:
    """Whether an operand varies with the rows."""
    return "scalar" if isinstance(operand, Const) else "vector"


def places(assembler: Assembler, op: Op, source: Op, operand: Block | Const) -> list[Parameter]:
    """Where each column of the result finds an operand that broadcasts to it."""
    tail = tuple(map(int, op.shape[1:]))
    own = tuple(map(int, source.shape[1:] if len(source.shape) == len(op.shape) else source.shape))
    count = operand.value.size if isinstance(operand, Const) else len(operand.columns)
    index = np.broadcast_to(np.arange(count).reshape(own), tail).ravel()
    if isinstance(operand, Const):
        address, size = assembler.constant(operand.value), operand.value.itemsize
        return [address + int(i) * size for i in index]
    return [operand.columns[i] for i in index]


def interleaved(block: Block, *operands: list[Parameter]) -> list[Parameter]:
    """The number of columns; for each the places of the result and of all operands."""
    rows = zip(block.columns, *operands, strict=True)
    return [len(block.columns), *(place for row in rows for place in row)]


@rule(
    ops.Add, ops.Sub, ops.Mul, ops.Div, ops.Max, ops.Min, ops.And, ops.Or,
    ops.Less, ops.LessOrEqual, ops.Greater, ops.GreaterOrEqual, ops.Equal,
)  # fmt: skip
def binary_rule(assembler: Assembler, op: ops.Add, x: Block | Const, y: Block | Const) -> Block:
    """Two operands; one of them may be a constant."""
    block = result(assembler, op)
    kernel = binary(type(op).__name__, op.x.dtype.name, op.dtype.name, form(x), form(y))
    both = (places(assembler, op, op.x, x), places(assembler, op, op.y, y))
    assembler.add(kernel, *interleaved(block, *both), cost=0.1 * len(block.columns))
    return block


@rule(*SIMPLE)
def unary_rule(assembler: Assembler, op: ops.Neg, x: Block) -> Block:
    """A function of one operand."""
    block = result(assembler, op)
    kernel = unary(type(op).__name__, op.x.dtype.name, op.dtype.name)
    assembler.add(kernel, *interleaved(block, list(x.columns)), cost=0.5 * len(block.columns))
    return block


@rule(*SERIES)
def series_rule(assembler: Assembler, op: ops.Exp, x: Block) -> Block:
    """A function of one operand that is computed by a series."""
    block = result(assembler, op)
    kernel = by_series(type(op).__name__, op.dtype.name, 64 // op.dtype.itemsize)
    assembler.add(kernel, *interleaved(block, list(x.columns)), cost=0.5 * len(block.columns))
    return block


def of_two(op: Op) -> bool:
    """Whether it is 2 to the power of each element."""
    return (
        isinstance(op, ops.Pow) and isinstance(op.x, Const) and op.y.shape == op.shape and bool(np.all(op.x.value == 2))
    )


@rule(ops.Pow, accepts=of_two)
def power_of_two_rule(assembler: Assembler, op: ops.Pow, x: Const, y: Block) -> Block:
    """As `ops.Exp2`."""
    block = result(assembler, op)
    kernel = by_series("Exp2", op.dtype.name, 64 // op.dtype.itemsize)
    assembler.add(kernel, *interleaved(block, list(y.columns)), cost=0.5 * len(block.columns))
    return block


@rule(ops.Cast)
def cast_rule(assembler: Assembler, op: ops.Cast, x: Block) -> Block:
    """Another dtype."""
    block = result(assembler, op)
    kernel = conversion(op.x.dtype.name, op.dtype.name)
    assembler.add(kernel, *interleaved(block, list(x.columns)), cost=0.1 * len(block.columns))
    return block


@rule(ops.Where, accepts=lambda op: isinstance(op, ops.Where) and op.condition.type.batched)
def where_rule(assembler: Assembler, op: ops.Where, condition: Block, x: Block | Const, y: Block | Const) -> Block:
    """A choice between two operands, of which each may be a constant."""
    block = result(assembler, op)
    operands = ((op.condition, condition), (op.x, x), (op.y, y))
    found = [places(assembler, op, source, operand) for source, operand in operands]
    assembler.add(choice(op.dtype.name, form(x), form(y)), *interleaved(block, *found), cost=0.2 * len(block.columns))
    return block
