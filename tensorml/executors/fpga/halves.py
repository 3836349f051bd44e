"""How accurate a circuit is on rows that its ranges are not from: each half of the calibration rows, by the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.accuracy import FixedPoint, Oracle, Rows, loss, some
from tensorml.executors.fpga.entrances import Encoder
from tensorml.executors.fpga.fixed import DoesNotFit
from tensorml.executors.fpga.split import Split, measured, split
from tensorml.executors.reference import evaluate


@dataclass(frozen=True)
class Halves:
    """What is lost of one half of the calibration rows, with the ranges that the other half has, and of that likewise.

    relative: the largest error, relative to the range of the results, of rows whose values are inside the ranges.
    labels: how many of these rows get another one. outside: how many rows have a value outside; worst: the largest
    error of all rows.
    """

    relative: float
    labels: int
    outside: int
    worst: float


def on_halves(found: Split, policy: FixedPoint, rows: Rows | None, encoder: Encoder = "host") -> Halves | None:
    """What a circuit of so many bits loses of rows that its ranges are not from; None if it has no such ranges."""
    ranged = any(isinstance(entrance.before, ops.Quantize) for entrance in found.entrances.values())
    if rows is None or policy.fraction is not None or not ranged or min(len(x) for x in rows.values()) < 2:
        return None
    odd, even = (chosen(rows, slice(start, None, 2)) for start in (1, 0))
    graph, numbers = found.source, policy.numbers(found.bits)
    try:
        splits = [split(graph, numbers, measured(graph, half), encoder) for half in (odd, even)]
    except DoesNotFit:  # functions of columns whose steps are alike only by all rows
        return None
    parts = [half_of(by_other, some(half)) for by_other, half in zip(splits, (even, odd), strict=True)]
    relative, labels, beyond, worst = zip(*parts, strict=True)
    return Halves(max(relative), sum(labels), sum(beyond), max(worst))


def half_of(found: Split, rows: Rows) -> tuple[float, int, int, float]:
    """The figures of Halves, of some rows."""
    beyond = outside(found, rows).any(axis=1)
    inside, every = (loss(found, Oracle(found.source, part)) for part in (chosen(rows, ~beyond), rows))
    return inside.relative, round(inside.labels * inside.rows), int(beyond.sum()), every.relative


def chosen(rows: Rows, which: np.ndarray | slice) -> Rows:
    """Some of the rows."""
    return {name: x[which] for name, x in rows.items()}


def outside(found: Split, rows: Rows) -> np.ndarray:
    """Which values that enter a circuit are outside the range of their field: bool [N, fields]."""
    entering = evaluate(found.before, rows)
    entrances = [(entering[found.names[e.before]], e.fixed) for e in found.entrances.values()]
    return np.concatenate([(value < fixed.low) | (value > fixed.high) for value, fixed in entrances], axis=1)
