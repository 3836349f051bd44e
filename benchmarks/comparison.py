"""One case, one number of rows, all contestants in turns: the unit of every table here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from benchmarks.models import Case, load
from benchmarks.peers import (
    HUMMINGBIRD,
    HUMMINGBIRD_JIT,
    SOURCE,
    Call,
    Contestant,
    RefusedError,
    largest_error,
    matrix,
    prepared,
)
from benchmarks.timing import interleaved
from tensorml.executors.base import choose

# What counts as wrong: float32 sums in another order move a result of size s by far less than s * 1e-3.
TOLERANCE = 1e-3
# Seconds of a first call that is taken as the measurement: no compilation here takes a share of that.
SLOW = 5.0


@dataclass(frozen=True)
class Comparison:
    """What was measured of one case at one number of rows.

    milliseconds, errors: by contestant; errors are the largest absolute ones against the source. scale: the largest
    absolute value of the source's result, at least 1. refusals: why a contestant is not there.
    """

    case: str
    family: str
    rows: int
    scale: float = 1.0
    milliseconds: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)

    def wrong(self, name: str) -> bool:
        """Whether a contestant's result is further from the source's than rounding explains."""
        return self.errors.get(name, 0.0) > TOLERANCE * self.scale

    def ratio(self, name: str, over: str) -> float | None:
        """How many times the time of `over` the contestant takes; None if either is not there."""
        times = self.milliseconds
        return times[name] / times[over] if name in times and over in times else None

    def over_source(self) -> float | None:
        """Time of the executor that "auto" stands for over that of the source."""
        return self.ratio(choose(None), SOURCE)

    def over_hummingbird(self) -> float | None:
        """The same over the faster of Hummingbird's two."""
        ratios = [self.ratio(choose(None), name) for name in (HUMMINGBIRD, HUMMINGBIRD_JIT)]
        return max((ratio for ratio in ratios if ratio is not None), default=None)


def compare(case: Case, rows: int, contestants: Sequence[Contestant], seconds: float = 0.6) -> Comparison:
    """Errors and times of the contestants, the source among them, on the first rows of a case."""
    model, x = load(case), case.features(rows)
    expected = matrix(getattr(model, case.method)(x))
    result = Comparison(case.name, case.family, rows, float(max(1.0, np.abs(expected).max())))
    calls: dict[str, Call] = {}
    for contestant in contestants:
        try:
            call, actual, first = prepared(contestant, model, x, case.method)
        except RefusedError as error:
            result.refusals[contestant.name] = str(error)
        else:
            result.errors[contestant.name] = largest_error(actual, expected)
            if first > SLOW:
                result.milliseconds[contestant.name] = 1e3 * first
            else:
                calls[contestant.name] = call
    # A copy for each, as some write to their input.
    times = interleaved({name: partial(call, x.copy()) for name, call in calls.items()}, seconds)
    result.milliseconds.update({name: 1e3 * taken for name, taken in times.items()})
    return result
