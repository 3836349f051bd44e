"""Times of several functions that can be compared: measured in turns, so that what disturbs one disturbs all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter

import numpy as np

LEAST = (
    0.02  # seconds: a sample is a loop of at least this, so that threads that still spin from the last one matter less
)
ROUNDS = 15
WARM_UPS = 3  # torch.jit compiles in the second call of a shape


def interleaved(calls: Mapping[str, Callable[[], object]], seconds: float = 0.6) -> dict[str, float]:
    """The median seconds of a call of each function.

    In each round every function has its turn, forwards and backwards alternately. A function gets up to ROUNDS turns,
    fewer if they took longer than `seconds` together. One that takes longer by itself is not called again.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = {name: warm(call, seconds) for name, call in calls.items()}
        loops = {name: max(1, round(LEAST / took)) for name, took in first.items()}
        turns = {name: min(ROUNDS, int(seconds / (took * loops[name]))) for name, took in first.items()}
        samples: dict[str, list[float]] = {name: [] if turns[name] else [first[name]] for name in calls}
        for turn in range(max(turns.values(), default=0)):
            for name in list(calls)[:: 1 if turn % 2 == 0 else -1]:
                if turn < turns[name]:
                    samples[name].append(once(calls[name], loops[name]))
    return {name: median(values) for name, values in samples.items()}


def latencies(calls: Mapping[str, Callable[[], object]], seconds: float = 0.6) -> dict[str, np.ndarray]:
    """The seconds of each single call of each function: [number of calls] float64, as many as fit into `seconds`.

    They have turns too: in each round every function is called again and again for its share of the time.
    """
    share = seconds / ROUNDS
    samples: dict[str, list[float]] = {name: [] for name in calls}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for call in calls.values():
            warm(call, seconds)
        for turn in range(ROUNDS):
            for name in list(calls)[:: 1 if turn % 2 == 0 else -1]:
                if sum(samples[name]) < share * (turn + 1):
                    samples[name] += repeated(calls[name], share)
    return {name: np.array(values) for name, values in samples.items()}


def repeated(call: Callable[[], object], seconds: float) -> list[float]:
    """The seconds of each call, for so long; of one at least."""
    taken: list[float] = []
    begin = start = perf_counter()
    while not taken or start - begin < seconds:
        call()
        stop = perf_counter()
        taken.append(stop - start)
        start = stop
    return taken


def warm(call: Callable[[], object], seconds: float) -> float:
    """The seconds of a call after the first ones; of the first, if it takes long."""
    took = once(call)
    for _ in range(WARM_UPS):
        if took > seconds:
            break
        took = once(call)
    return took


def once(call: Callable[[], object], loops: int = 1) -> float:
    """The seconds of a call: the mean of a loop."""
    start = perf_counter()
    for _ in range(loops):
        call()
    return (perf_counter() - start) / loops
