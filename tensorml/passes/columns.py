"""Where the columns of a value come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tensorml.graph import Op
from tensorml.ops import Columns, Concat

T = TypeVar("T")


def by_column(op: Op, answer: Callable[[Op], Sequence[T] | Op]) -> list[T]:
    """What `answer` says of each column of a value: columns that are chosen or put side by side are followed.

    answer: of any other operator, what it says of its columns, or an operand whose columns they are.
    """
    match op:
        case Columns(x=x, indices=indices):
            found = by_column(x, answer)
            return [found[i] for i in indices]
        case Concat(parts=parts):
            return [one for part in parts for one in by_column(part, answer)]
    said = answer(op)
    return by_column(said, answer) if isinstance(said, Op) else list(said)
