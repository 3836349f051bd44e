"""Checks of what a model takes. A kernel only says that some row fails; torch then finds the words."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from tensorml import ops
from tensorml.executors.simd.addresses import constant, intrinsic, load
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Block
from tensorml.executors.simd.rules import rule
from tensorml.executors.simd.vectors import Lanes
from tensorml.graph import Op


@intrinsic
def beyond(typing: Any, x: Any, row: Any, nan: Any, dtype: Any) -> Any:
    """Whether one of 256 bytes of numbers from `row` on is infinite, or NaN unless `nan` says that it passes."""
    passes, name = nan.literal_value, dtype.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        lanes = Lanes(context, b, name)
        found = None
        for v in range(4):
            value = lanes.load(arguments[0], b.add(arguments[1], constant(v * lanes.count)))
            size = lanes.call("fabs", value)
            compare = b.fcmp_ordered if passes else b.fcmp_unordered
            bad = compare("==", size, lanes.number(math.inf))
            found = bad if found is None else b.or_(found, bad)
        return lanes.mask(found)

    return types.int64(x, row, nan, dtype), generate


@njit(error_model="numpy", forceinline=True)
def refused(x, count, nan, step, dtype):
    """Whether one of `count` numbers, one after the other, is infinite or, unless `nan`, NaN. step: of 256 bytes."""
    bad, whole = 0, count // step * step
    for k in range(0, whole, step):
        bad |= beyond(x, k, nan, dtype)
    for k in range(whole, count):
        value = load(x, k, dtype)
        rest = value - value  # 0, but NaN for infinities and NaN
        bad |= (rest != rest) & ((value == value) | (not nan))
    return bad


@cache
def finite(dtype: str, nan: bool, step: int) -> Kernel:
    """Parameters: columns, their places. nan: whether NaN passes. step: the numbers in 256 bytes."""

    def kernel(p: int, first: int, rows: int) -> int:
        bad = 0
        for c in range(load(p, 0, "int64")):
            bad |= refused(load(p, 1 + c, "int64"), rows, nan, step, dtype)
        return 1 if bad != 0 else 0

    return Kernel(kernel)


def always_finite(op: Op) -> bool:
    """Whether an operator makes zeros and ones alone."""
    return isinstance(op, ops.OneHot) or (isinstance(op, ops.Cast) and op.x.dtype.kind == "b")


@cache
def within(dtype: str) -> Kernel:
    """Parameters: columns; for each its place, whether NaN passes, and the address of the least and the largest."""

    def kernel(p: int, first: int, rows: int) -> int:
        bad = 0
        for c in range(load(p, 0, "int64")):
            x, nan, ends = load(p, 1 + 3 * c, "int64"), load(p, 2 + 3 * c, "int64"), load(p, 3 + 3 * c, "int64")
            low, high = load(ends, 0, dtype), load(ends, 1, dtype)
            for r in range(rows):
                value = load(x, r, dtype)
                bad |= (value < low) | (value > high)
            if nan == 0:
                for r in range(rows):
                    value = load(x, r, dtype)
                    bad |= value != value
        return 1 if bad != 0 else 0

    return Kernel(kernel)


@cache
def holds() -> Kernel:
    """Parameters: columns, their places."""

    def kernel(p: int, first: int, rows: int) -> int:
        bad = 0
        for c in range(load(p, 0, "int64")):
            x = load(p, 1 + c, "int64")
            for r in range(rows):
                bad += load(x, r, "bool") == 0
        return 1 if bad else 0

    return Kernel(kernel)


@rule(ops.Finite)
def finite_rule(assembler: Assembler, op: ops.Finite, x: Block) -> Block:
    """What is passed on is x itself."""
    if not always_finite(op.x):
        kernel = finite(op.dtype.name, bool(op.nan), 256 // op.dtype.itemsize)
        assembler.add(kernel, len(x.columns), *x.columns, cost=0.05 * len(x.columns))
    return x


@rule(ops.Within)
def within_rule(assembler: Assembler, op: ops.Within, x: Block) -> Block:
    """What is passed on is x itself. Columns that refuse nothing are not looked at."""
    looked = [c for c in range(op.columns) if not (op.nan[c] and op.low[c] == -math.inf and op.high[c] == math.inf)]
    parameters: list[Any] = [len(looked)]
    for c in looked:
        parameters += [x.columns[c], int(op.nan[c]), assembler.constant(np.array([op.low[c], op.high[c]], op.dtype))]
    assembler.add(within(op.dtype.name), *parameters, cost=0.1 * len(looked))
    return x


@rule(ops.Require, accepts=lambda op: isinstance(op, ops.Require) and op.condition.type.batched)
def require_rule(assembler: Assembler, op: ops.Require, x: Block, condition: Block) -> Block:
    """What is passed on is x itself."""
    assembler.add(holds(), len(condition.columns), *condition.columns, cost=0.1 * len(condition.columns))
    return x
