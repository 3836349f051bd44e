"""How the machine does each operator: a rule adds the instructions that compute it from the blocks of its operands."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tensorml.executors.simd.addresses import NUMBA
from tensorml.executors.simd.machine import Assembler, Block
from tensorml.graph import Const, Op

DTYPES = frozenset(NUMBA)


def every(op: Op) -> bool:
    """For rules that take an operator whatever its attributes."""
    return True


def own_operands(op: Op) -> tuple[Op, ...]:
    """For rules that read what the operator does."""
    return op.operands


@dataclass(frozen=True)
class Rule:
    """emit: the assembler, the operator, its operands' blocks (a Const as itself) -> the result's block.

    accepts: whether the machine can do this very operator; if not, torch does. reads: the operators whose blocks `emit`
    takes: those behind its operands where it computes these too.
    """

    emit: Callable[..., Block]
    accepts: Callable[[Op], bool] = every
    reads: Callable[[Op], tuple[Op, ...]] = own_operands


Emit = Callable[..., Block]

rules: dict[type[Op], Rule] = {}


def rule(
    *classes: type[Op],
    accepts: Callable[[Op], bool] = every,
    reads: Callable[[Op], tuple[Op, ...]] = own_operands,
) -> Callable[[Emit], Emit]:
    """Register a function as the rule of these operators."""

    def register(emit: Emit) -> Emit:
        rules.update(dict.fromkeys(classes, Rule(emit, accepts, reads)))
        return emit

    return register


def handles(op: Op) -> bool:
    """Whether the machine computes this operator. Its kernels and its memory count on one column at least."""
    found = rules.get(type(op))
    if found is None or op.whole_batch or not op.type.batched:
        return False
    types = [op.type, *(operand.type for operand in found.reads(op))]
    known = all(kind.dtype.name in DTYPES for kind in types)
    fixed = all(isinstance(dim, int) and dim > 0 for kind in types for dim in kind.shape[1:])
    constant = all(operand.type.batched or isinstance(operand, Const) for operand in found.reads(op))
    return known and fixed and constant and found.accepts(op)


def columns_of(op: Op) -> int:
    """How many numbers a row of the result has."""
    return math.prod(map(int, op.shape[1:]))


def result(assembler: Assembler, op: Op) -> Block:
    """Room for an operator's result."""
    return assembler.allocate(columns_of(op), op.dtype)
