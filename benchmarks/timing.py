"""Times of several functions that can be compared: measured in turns, so that what disturbs one disturbs all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter

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
