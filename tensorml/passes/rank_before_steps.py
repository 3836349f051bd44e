"""Compare values as they come, instead of scaling them before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tensorml.graph import Graph, Op
from tensorml.ops import Cast, Columns, Finite, Rank, Within, cast, concat
from tensorml.passes.steps import Check, Place, Steps, follow, ranked
from tensorml.passes.unread_columns import may_refuse

Predicate = Callable[[np.ndarray], np.ndarray]  # of numbers: whether it holds; it goes on to hold above where it does


def rank_before_steps(graph: Graph) -> Graph:
    """EXACT: a Rank of steps that keep the order of each column is a Rank of the columns before them.

    A step scales, limits, imputes, compares: see `steps.step_of`. Each new boundary is the number from which on the
    steps, in their own arithmetic, reach the old one. Only where that saves time on a processor: boundaries of a wider
    dtype, or new checks, cost as much as scaling.
    """
    return graph.rewrite(lambda op: _moved(op, wherever=False) if isinstance(op, Rank) else None)


def rank_before_all_steps(graph: Graph) -> Graph:
    """EXACT: the same wherever it can be done. What is refused on the way becomes ranges: `Within`."""
    return graph.rewrite(lambda op: _moved(op, wherever=True) if isinstance(op, Rank) else None)


def _moved(op: Rank, wherever: bool) -> Rank | None:
    steps = Steps(op.x)
    if not steps.moves[op.x] or any(start.dtype.kind != "f" or len(start.shape) != 2 for start in steps.starts):
        return None
    before = Before(op, steps)
    if wherever:
        return before.rank
    rank = before.rank if before.dtype == op.x.dtype else None
    return None if rank is None or rank.x is not before.x else rank


@dataclass(frozen=True, eq=False)
class Before:
    """A Rank in terms of what its steps start at: of the columns of all starts, side by side."""

    op: Rank
    steps: Steps

    @cached_property
    def dtype(self) -> np.dtype:
        """One that holds every number of every start."""
        return np.result_type(np.float32, *(start.dtype for start in self.steps.starts))

    @cached_property
    def used(self) -> list[Place]:
        """The columns of x: those of the starts that are read or checked; one of a start that may refuse values."""
        steps = self.steps
        read = steps.places(self.op.x)
        found = {read[c] for c in self.op.source}.union(*(steps.places(check) for check in steps.checks))
        idle = [start for start in steps.starts if all(place[0] is not start for place in found)]
        found |= {(start, 0) for start in idle if may_refuse(start)}
        return [(start, c) for start in steps.starts for c in range(start.columns) if (start, c) in found]

    @cached_property
    def x(self) -> Op:
        """Columns of the starts, side by side."""
        chosen = {start: np.array([c for s, c in self.used if s is start], np.int64) for start, _ in self.used}
        parts = (start if len(c) == start.columns else Columns(start, c) for start, c in chosen.items())
        return concat([cast(part, self.dtype) for part in parts])

    def columns(self, op: Op) -> np.ndarray:
        """The columns of x that the columns of an operator on the way are made of; 0 where it has none of them."""
        where = {place: i for i, place in enumerate(self.used)}
        return np.array([where.get(place, 0) for place in self.steps.places(op)], np.int64)

    def follow(self, op: Op, column: np.ndarray, x: np.ndarray) -> np.ndarray:
        """What becomes of numbers until an operator on the way."""
        with np.errstate(all="ignore"):
            return follow(op, column, x, self.steps.starts)

    @cached_property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest number of each column of x."""
        pairs = [ends_of(start) for start, _ in self.used]
        low, high = np.array(pairs, self.dtype).T
        return low, high

    @property
    def rank(self) -> Rank | None:
        """The Rank of x; None if its boundaries cannot say what the old ones say."""
        x, low, high = self.x, *self.ends
        for check in self.steps.checks:
            within = self.within(check, x, low, high)
            if within is not None:
                x, low, high = within, np.maximum(low, within.low), np.minimum(high, within.high)
        op, source = self.op, self.columns(self.op.x)[self.op.source]
        column, reach = (
            np.repeat(np.arange(len(source)), np.diff(op.offsets)),
            np.greater if op.strict else np.greater_equal,
        )
        first = lowest(lambda v: reach(self.follow(op.x, op.source[column], v), op.boundaries), len(column), self.dtype)
        boundaries = numbers(first - op.strict, self.dtype)
        always, never = (first == end for end in ends(self.dtype))
        lost = always & (low[source[column]] == -np.inf) if op.strict else never & (high[source[column]] == np.inf)
        if lost.any():
            return None
        return Rank(x, source, boundaries, op.offsets, self.nan, op.dtype, op.strict)

    @property
    def nan(self) -> np.ndarray:
        """The codes of NaN at the start."""
        op, column = self.op, np.arange(len(self.op.source))
        made = self.follow(op.x, op.source, np.full(len(column), np.nan, self.dtype))
        return ranked(op, column, made).astype(op.nan.dtype)

    def within(self, check: Check, x: Op, low: np.ndarray, high: np.ndarray) -> Within | None:
        """A check on the way as one of x; None if it refuses nothing that comes from low to high."""
        column, value = np.arange(check.columns), check.x
        least, most = allowed(check)
        begin = lowest(lambda v: self.follow(value, column, v) >= least, len(column), self.dtype)
        end = lowest(lambda v: self.follow(value, column, v) > most, len(column), self.dtype) - 1
        bottom, top = np.full_like(low, -np.inf), np.full_like(high, np.inf)
        places = self.columns(value)
        np.maximum.at(bottom, places, numbers(begin, self.dtype))
        np.minimum.at(top, places, numbers(end, self.dtype))
        made = self.follow(value, column, np.full(len(column), np.nan, self.dtype))
        passes = np.where(np.isnan(made), check.nan, (made >= least) & (made <= most))
        nan = np.ones(len(low), bool)
        np.logical_and.at(nan, places, passes)
        bottom, top = np.where(bottom <= low, -np.inf, bottom), np.where(top >= high, np.inf, top)
        if nan.all() and np.isinf(bottom).all() and np.isinf(top).all():
            return None
        return Within(x, bottom, top, nan, check.reader, check.of if isinstance(check, Within) else check.dtype)


def ends_of(start: Op) -> tuple[float, float]:
    """The least and the largest number that an operator can give."""
    if isinstance(start, Finite):
        most = float(np.finfo(start.dtype).max)
        return -most, most
    if isinstance(start, Cast) and start.x.dtype.kind in "iu":
        return float(np.iinfo(start.x.dtype).min), float(np.iinfo(start.x.dtype).max)
    return -np.inf, np.inf


def allowed(check: Check) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest number of each column that a check lets pass."""
    if isinstance(check, Within):
        return check.low, check.high
    most = np.full(check.columns, np.finfo(check.dtype).max)
    return -most, most


def lowest(holds: Predicate, count: int, dtype: np.dtype) -> np.ndarray:
    """For each of `count` numbers the place of the least that a predicate holds of; behind infinity if it never does.

    The place of a number is its position in the order of all numbers of `dtype`: see `numbers`. int64 [count].
    """
    low, behind = (np.full(count, end) for end in ends(dtype))
    return first_of(lambda place: holds(numbers(place, dtype)), low, behind)


def first_of(holds: Predicate, low: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """The first integers from low on that a predicate holds of, `behind` if it never does. int64, all of one shape."""
    high = behind
    while (low < high).any():
        middle = (low & high) + ((low ^ high) >> 1)
        found = holds(np.minimum(middle, behind - 1)) & (low < high)
        low, high = np.where(found | (low == high), low, middle + 1), np.where(found, middle, high)
    return low


def ends(dtype: np.dtype) -> tuple[int, int]:
    """The place of the least number, and the one behind the largest."""
    infinity = int(np.array(np.inf, dtype).view(f"i{dtype.itemsize}"))
    return -infinity - 1, infinity + 1


def numbers(place: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The numbers at these places of the order: 0.0 at 0, -0.0 before it, which is given as 0.0. Ends are infinite."""
    least, behind = ends(dtype)
    place = np.clip(place, least, behind - 1).astype(f"i{dtype.itemsize}")
    sign = place >> place.dtype.type(8 * dtype.itemsize - 1)  # all ones where it is negative
    return (place ^ (sign & np.iinfo(place.dtype).max)).view(dtype) + dtype.type(0)
