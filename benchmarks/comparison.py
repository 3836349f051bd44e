"""One case, some numbers of rows, all contestants in turns: the unit of every table here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from benchmarks.models import Case, load
from benchmarks.peers import (
    HUMMINGBIRD,
    HUMMINGBIRD_JIT,
    Contestant,
    Ready,
    Refitted,
    RefusedError,
    answered,
    largest_error,
    matrix,
    ready,
    source,
)
from benchmarks.timing import interleaved, latencies
from tensorml.executors.base import choose

# What counts as wrong: float32 sums in another order move a result of size s by far less than s * 1e-3.
TOLERANCE = 1e-3
# Seconds of a peer's first call for so many rows that are taken as the measurement: no compilation takes a share of it.
SLOW = 2.0
ENOUGH = 100  # calls, of which one in a hundred can be told


@dataclass(frozen=True)
class Comparison:
    """What was measured of one case at one number of rows.

    milliseconds, errors: by contestant; errors are the largest absolute ones against the source. p99: the milliseconds
    that one call of a hundred exceeds, of one row alone. conversion, first: seconds to convert, and of the first
    prediction after it. scale: the largest absolute value of the source's result, at least 1. refusals: why a
    contestant is not there. refitted: who predicts with a model that it fitted by itself; these have no errors.
    """

    case: str
    family: str
    rows: int
    scale: float = 1.0
    milliseconds: dict[str, float] = field(default_factory=dict)
    p99: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    conversion: dict[str, float] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    refitted: list[str] = field(default_factory=list)

    def wrong(self, name: str) -> bool:
        """Whether a contestant's result is further from the source's than rounding explains."""
        return self.errors.get(name, 0.0) > TOLERANCE * self.scale

    def times_as_fast(self, peer: str, name: str | None = None) -> float | None:
        """How many times as fast as a peer an executor is ("auto" for none); None if either is not there."""
        mine = self.milliseconds.get(name or choose(None))
        other = self.fastest_hummingbird() if peer == HUMMINGBIRD else self.milliseconds.get(peer)
        return None if mine is None or other is None else other / mine

    def fastest_hummingbird(self) -> float | None:
        """The milliseconds of the faster of Hummingbird's two."""
        times = [self.milliseconds[name] for name in (HUMMINGBIRD, HUMMINGBIRD_JIT) if name in self.milliseconds]
        return min(times, default=None)


@dataclass(frozen=True)
class Prepared:
    """The contestants that took the model of a case, and why the others did not."""

    case: Case
    model: Any
    taken: dict[str, Ready]
    refusals: dict[str, str]
    ours: frozenset[str]

    def compare(self, rows: int, seconds: float = 0.6) -> Comparison:
        """Errors and times on the first rows of the case."""
        x = self.case.features(rows)
        expected = matrix(source(self.case, self.model, x)(x))
        scale = float(np.abs(np.nan_to_num(expected)).max(initial=1.0))
        result = Comparison(self.case.name, self.case.family, rows, scale, refusals=dict(self.refusals))
        timed: dict[str, Ready] = {}
        for name, one in self.taken.items():
            try:
                actual, first = answered(one.call, x)
            except RefusedError as error:
                result.refusals[name] = str(error)
                continue
            error = largest_error(actual, expected)
            if error == np.inf and name not in self.ours:
                result.refusals[name] = "answers in another shape, or NaN for numbers"
                continue
            result.conversion[name], result.first[name] = one.conversion, one.first
            if isinstance(one.call, Refitted):
                result.refitted.append(name)
            else:
                result.errors[name] = error
            if first > SLOW and name not in self.ours:
                result.milliseconds[name] = 1e3 * first
            else:
                timed[name] = one
        add_times(result, timed, x, seconds)
        return result


def prepared(case: Case, contestants: Sequence[Contestant]) -> Prepared:
    """Every contestant's conversion of a case."""
    model = load(case)
    taken: dict[str, Ready] = {}
    refusals: dict[str, str] = {}
    for contestant in contestants:
        try:
            taken[contestant.name] = ready(contestant, case, model)
        except RefusedError as error:
            refusals[contestant.name] = str(error)
    ours = frozenset(contestant.name for contestant in contestants if contestant.ours)
    return Prepared(case, model, taken, refusals, ours)


def compare(
    case: Case, rows: Sequence[int], contestants: Sequence[Contestant], seconds: float = 0.6
) -> list[Comparison]:
    """Comparisons of a case, the source among the contestants, at each number of rows that it takes."""
    entered = prepared(case, contestants)
    return [entered.compare(n, seconds) for n in dict.fromkeys(min(n, case.most_rows) for n in rows)]


def add_times(result: Comparison, timed: dict[str, Ready], x: np.ndarray, seconds: float) -> None:
    """Measure them in turns. Each has a copy of the rows, as some write to them."""
    calls = {name: partial(one.call, x.copy()) for name, one in timed.items()}
    if len(x) > 1:
        result.milliseconds.update({name: 1e3 * one for name, one in interleaved(calls, seconds).items()})
        return
    for name, samples in latencies(calls, seconds).items():
        result.milliseconds[name] = 1e3 * float(np.median(samples))
        if len(samples) >= ENOUGH:
            result.p99[name] = 1e3 * float(np.percentile(samples, 99))
