"""Curves: how the times grow with the rows of a call, the number of trees and their depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.comparison import Comparison, compare
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


@dataclass(frozen=True)
class Curve:
    """What is varied, and of what. case, rows: of a value."""

    name: str
    values: Sequence[int]
    case: Callable[[int], Case]
    rows: Callable[[int], int]

    def point(self, value: int, before: Sequence[Point], contestants: Sequence[Contestant], seconds: float) -> Point:
        """The comparison at a value. before: the points of lesser ones; who took too long there is left out."""
        times = [one.comparison.milliseconds for one in before]
        slow = {name for found in times for name, taken in found.items() if taken > LONGEST}
        names = [contestant for contestant in entrants(contestants) if contestant.name not in slow - {SOURCE}]
        (comparison,) = compare(self.case(value), [self.rows(value)], names, seconds)
        return Point(self.name, value, comparison)


def all_curves(rows: Sequence[int] = ROW_COUNTS, most: int = ROWS) -> list[Curve]:
    """rows: of the curves over rows; most: the rows of those over trees and depth."""
    return [
        *(Curve(f"rows: {name}", rows, partial(itself, CASES[name]), lambda n: n) for name in ROW_CASES),
        Curve("trees: XGBoost, depth 6", TREES, lambda n: scaled(n, 6), lambda _: most),
        Curve("depth: XGBoost, 100 trees", DEPTHS, lambda n: scaled(100, n), lambda _: most),
    ]


def itself(case: Case, value: int) -> Case:
    """The case of a curve over rows, which is the same at every point."""
    return case


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
