"""Checks of what a model takes. A kernel only says that some row fails; torch then finds the words."""

from __future__ import annotations

from functools import cache

from tensorml import ops
from tensorml.executors.simd.addresses import load
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Block
from tensorml.executors.simd.rules import rule


@cache
def finite(dtype: str, nan: bool) -> Kernel:
    """Parameters: columns, their places. nan: whether NaN passes."""

    def kernel(p: int, first: int, rows: int) -> int:
        bad = 0
        for c in range(load(p, 0, "int64")):
            x = load(p, 1 + c, "int64")
            for r in range(rows):
                value = load(x, r, dtype)
                rest = value - value  # 0, but NaN for infinities and NaN
                bad += (rest != rest) & ((value == value) | (not nan))
        return 1 if bad else 0

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
    assembler.add(finite(op.dtype.name, op.nan), len(x.columns), *x.columns, cost=0.1 * len(x.columns))
    return x


@rule(ops.Require, accepts=lambda op: isinstance(op, ops.Require) and op.condition.type.batched)
def require_rule(assembler: Assembler, op: ops.Require, x: Block, condition: Block) -> Block:
    """What is passed on is x itself."""
    assembler.add(holds(), len(condition.columns), *condition.columns, cost=0.1 * len(condition.columns))
    return x
