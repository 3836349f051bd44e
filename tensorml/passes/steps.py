"""Steps that keep the order of the numbers of each column: scaling, limits, imputation, comparisons, ranks."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tensorml.graph import Const, Op
from tensorml.ops import (
    Add,
    Cast,
    Columns,
    Concat,
    Div,
    Finite,
    Greater,
    GreaterOrEqual,
    IsNaN,
    Less,
    LessOrEqual,
    Max,
    Min,
    Mul,
    Rank,
    Sub,
    Where,
    Within,
)
from tensorml.passes.columns import by_column

CHECKS = (Finite, Within)
Check = Finite | Within
Place = tuple[Op, int]  # a column of a value


def step_of(op: Op) -> Op | None:
    """The operand x of a step: each column of the result is f of the same column of x (of `source[k]` for a Rank).

    f does not fall, in the operator's own arithmetic; it makes numbers of numbers, infinities included, and the same of
    0.0 and -0.0. NaN may become anything. None for an operator that is no such step.
    """
    match op:
        case Finite(x=x) | Within(x=x) | Rank(x=x):
            return x
        case Cast(x=x) if op.dtype.kind == "f":
            return x if x.dtype.kind == "f" or all(step_of(made) is not None for made, _ in made_by(x)) else None
        case IsNaN(x=x):
            return x
        case Add(x=x, y=Const(value=c)) | Add(x=Const(value=c), y=x) | Sub(x=x, y=Const(value=c)):
            return x if np.isfinite(c).all() and by_numbers(op, x, c) else None
        case Mul(x=x, y=Const(value=c)) | Mul(x=Const(value=c), y=x) | Div(x=x, y=Const(value=c)):
            return x if (np.isfinite(c) & (c > 0)).all() and by_numbers(op, x, c) else None
        case Max(x=x, y=Const(value=c)) | Max(x=Const(value=c), y=x) | Min(x=x, y=Const(value=c)):
            return x if by_numbers(op, x, c) else None
        case Min(x=Const(value=c), y=x) | Greater(x=x, y=Const(value=c)) | GreaterOrEqual(x=x, y=Const(value=c)):
            return x if by_numbers(op, x, c) else None
        case Where(x=Const(value=c), y=x) if by_numbers(op, x, c):
            return x if chooses(op.condition, x, c) else None
    return None


def by_numbers(op: Op, x: Op, value: np.ndarray) -> bool:
    """Whether a constant holds a number for each column of floats x, or one for all, and the result has its columns."""
    if len(op.shape) != 2 or op.shape != x.shape or x.dtype.kind != "f" or np.isnan(value).any():
        return False
    return value.size == 1 or value.size == value.shape[-1] == x.columns


def chooses(condition: Op, x: Op, value: np.ndarray) -> bool:
    """Whether a constant in the place of x where the condition holds is a limit of x, or replaces NaN."""
    match condition:
        case IsNaN(x=y):
            return y is x
        case Less(x=y, y=Const(value=c)) | LessOrEqual(x=y, y=Const(value=c)):
            return y is x and by_numbers(condition, x, c) and bool((value <= c).all())
        case Greater(x=y, y=Const(value=c)) | GreaterOrEqual(x=y, y=Const(value=c)):
            return y is x and by_numbers(condition, x, c) and bool((value >= c).all())
    return False


def made_by(op: Op) -> list[Place]:
    """The operators that make the columns of a value, and which of theirs they are."""
    return by_column(op, lambda o: [(o, c) for c in range(o.columns)])


def operands_of(op: Op) -> tuple[Op, ...]:
    """What a step, a choice or a juxtaposition of columns is of; nothing for any other operator."""
    if isinstance(op, Columns | Concat):
        return op.operands
    x = step_of(op)
    return () if x is None else (x,)


@dataclass(frozen=True, eq=False)
class Steps:
    """All steps before a value [N, C], up to where they start: at what is no step, or is only checked or converted.

    to_inputs: only at what is no step.
    """

    end: Op
    to_inputs: bool = False

    @cached_property
    def moves(self) -> dict[Op, bool]:
        """The operators on the way, operands first: whether there is a step in it that makes other numbers."""
        found: dict[Op, bool] = {}

        def visit(op: Op) -> bool:
            if op not in found:
                own = not isinstance(op, Columns | Concat | Cast | Finite | Within)
                below = [visit(x) for x in operands_of(op)]
                found[op] = bool(below) and (own or any(below))
            return found[op]

        visit(self.end)
        return found

    @cached_property
    def starts(self) -> tuple[Op, ...]:
        """The operators whose results the first steps take."""
        found: dict[Op, None] = {}
        waiting = [self.end]
        while waiting:
            op = waiting.pop()
            if self.starting(op):
                found[op] = None
            else:
                waiting += operands_of(op)
        return tuple(op for op in self.moves if op in found)

    def starting(self, op: Op) -> bool:
        """Whether steps start at an operator."""
        unmoved = not (self.to_inputs or self.moves[op] or isinstance(op, Columns | Concat))
        return not operands_of(op) or (
            not self.to_inputs and unmoved and op.dtype.kind == "f" and not isinstance(op, Cast)
        )

    @cached_property
    def checks(self) -> tuple[Check, ...]:
        """What refuses values between the start and the end, in order."""
        passed, waiting = set(), [self.end]
        while waiting:
            op = waiting.pop()
            if op not in passed and not self.starting(op):
                passed.add(op)
                waiting += operands_of(op)
        return tuple(op for op in self.moves if op in passed and isinstance(op, CHECKS))

    def places(self, op: Op) -> list[Place]:
        """The columns of the starts that the columns of an operator on the way are made of."""

        def answer(o: Op) -> list[Place] | Op:
            if o in self.starts:
                return [(o, c) for c in range(o.columns)]
            if isinstance(o, Rank):
                found = self.places(o.x)
                return [found[c] for c in o.source]
            return operands_of(o)[0]

        return by_column(op, answer)


def follow(op: Op, column: np.ndarray, x: np.ndarray, starts: Container[Op]) -> np.ndarray:
    """What the steps before an operator make of numbers at their start: x[i] for column column[i] of the result."""
    if op in starts:
        return x.astype(op.dtype)
    match op:
        case Columns():
            return follow(op.x, op.indices[column], x, starts)
        case Concat():
            return from_parts(op, column, x, starts)
        case Rank():
            value = follow(op.x, op.source[column], x, starts)
            return ranked(op, column, value)
        case Finite() | Within():
            return follow(op.x, column, x, starts)
        case Where():
            value = follow(op.y, column, x, starts)
            chosen = [value if o is op.y else at(o, column) for o in op.condition.operands]
            return op.reference(op.condition.reference(*chosen), at(op.x, column), value)
    operands = (at(o, column) if isinstance(o, Const) else follow(o, column, x, starts) for o in op.operands)
    return op.reference(*operands)


def at(constant: Op, column: np.ndarray) -> np.ndarray:
    """A constant's number for each of these columns."""
    value = constant.reference().reshape(-1)
    return value[column] if value.size > 1 else np.broadcast_to(value, len(column))


def from_parts(op: Concat, column: np.ndarray, x: np.ndarray, starts: Container[Op]) -> np.ndarray:
    """`follow` through columns side by side."""
    result = np.empty(len(x), op.dtype)
    first = 0
    for part in op.parts:
        mine = (column >= first) & (column < first + part.columns)
        if mine.any():
            result[mine] = follow(part, column[mine] - first, x[mine], starts)
        first += part.columns
    return result


def ranked(op: Rank, column: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The codes of numbers, value[i] by the boundaries of column[i]."""
    codes, side = np.empty(len(value), op.dtype), "left" if op.strict else "right"
    for k in np.unique(column):
        mine = column == k
        found = np.searchsorted(op.column(k), value[mine], side=side)
        codes[mine] = np.where(np.isnan(value[mine]), op.nan[k], found)
    return codes
