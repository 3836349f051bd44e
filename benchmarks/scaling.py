"""Curves: how the times grow with the rows of a call, the number of trees and their depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.comparison import Comparison, Prepared, prepared
from benchmarks.models import CASES, ROWS, Case, scaled
from benchmarks.peers import GTIL, HUMMINGBIRD_JIT, INTELEX, ONNXRUNTIME, SOURCE, Contestant
from tensorml.executors.base import choose

TAKING_PART = (SOURCE, INTELEX, ONNXRUNTIME, HUMMINGBIRD_JIT, GTIL)
ROW_CASES = ("StandardScaler + LogisticRegression", "XGBoost, 100 trees of depth 6")
ROW_COUNTS = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
TREES = (10, 30, 100, 300, 1_000)
DEPTHS = (3, 4, 6, 8, 10, 12)
LONGEST = 2_000.0  # milliseconds: who takes longer at one point is not asked for the next


@dataclass(frozen=True)
class Point:
    """A comparison on a curve. curve: what is varied, and of what. value: of what is varied."""

    curve: str
    value: int
    comparison: Comparison


def entrants(contestants: Sequence[Contestant]) -> list[Contestant]:
    """Who is on the curves: the executors that "auto" and a file stand for, and the peers that can be fast."""
    names = (*TAKING_PART, choose(None), "torchscript")
    return [contestant for contestant in contestants if contestant.name in names]


def curves(
    contestants: Sequence[Contestant], rows: Sequence[int] = ROW_COUNTS, most: int = ROWS, seconds: float = 0.3
) -> Iterator[Point]:
    """All curves, point by point. rows: of the curves over rows; most: the rows of those over trees and depth."""
    names = entrants(contestants)
    for name in ROW_CASES:
        entered = prepared(CASES[name], names)
        yield from along(f"rows: {name}", rows, partial(same, entered), lambda n: n, seconds)

    for curve, values, case in (
        ("trees: XGBoost, depth 6", TREES, lambda n: scaled(n, 6)),
        ("depth: XGBoost, 100 trees", DEPTHS, lambda n: scaled(100, n)),
    ):
        yield from along(curve, values, partial(entered_in, case, names), lambda _: most, seconds)


def same(entered: Prepared, value: int) -> Prepared:
    """The contestants of a curve over rows, which are the same at every point."""
    return entered


def entered_in(case: Callable[[int], Case], contestants: Sequence[Contestant], value: int) -> Prepared:
    """The contestants that took the case of a value."""
    return prepared(case(value), contestants)


def along(
    curve: str,
    values: Sequence[int],
    entered: Callable[[int], Prepared],
    rows: Callable[[int], int],
    seconds: float,
) -> Iterator[Point]:
    """The points of one curve. Who took too long at one point is left out of the next ones."""
    slow: set[str] = set()
    for value in values:
        everyone = entered(value)
        remaining = {name: one for name, one in everyone.taken.items() if name not in slow}
        comparison = replace(everyone, taken=remaining).compare(rows(value), seconds)
        slow |= {name for name, taken in comparison.milliseconds.items() if taken > LONGEST}
        yield Point(curve, value, comparison)


def break_even(points: Sequence[Point], executor: str, peer: str) -> int | None:
    """The least value of a curve from which on an executor is as fast as a peer at every point; None if at none."""
    found: int | None = None
    for point in sorted(points, key=lambda point: point.value, reverse=True):
        ratio = point.comparison.times_as_fast(peer, executor)
        if ratio is None:
            continue
        if ratio < 1:
            break
        found = point.value
    return found
