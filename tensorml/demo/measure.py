"""Times of two calls that do the same, side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LEAST, MOST = 3, 200  # repetitions
BUDGET = 1.0  # seconds for both calls together, unless `LEAST` repetitions take longer


@dataclass(frozen=True)
class Times:
    """Medians, in seconds."""

    source: float
    converted: float

    @property
    def ratio(self) -> float:
        """How many times faster the converted model is; below 1 it is slower."""
        return self.source / self.converted


def race(source: Callable[[], Any], converted: Callable[[], Any]) -> Times:
    """Median times of two calls, taken in turns, so that what else the machine does concerns both. One warm-up each."""
    source()
    converted()
    taken: tuple[list[float], list[float]] = ([], [])
    start = time.perf_counter()
    while len(taken[0]) < LEAST or (len(taken[0]) < MOST and time.perf_counter() - start < BUDGET):
        for call, times in zip((source, converted), taken, strict=True):
            before = time.perf_counter()
            call()
            times.append(time.perf_counter() - before)
    return Times(statistics.median(taken[0]), statistics.median(taken[1]))
