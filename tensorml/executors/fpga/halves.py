"""How accurate a circuit is on rows that its ranges are not from: each half of the calibration rows, by the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.accuracy import FixedPoint, Oracle, Rows, loss, some
from tensorml.executors.fpga.entrances import Encoder, Ranges
from tensorml.executors.fpga.fixed import DoesNotFit
from tensorml.executors.fpga.split import Split, measured, split
from tensorml.executors.reference import evaluate
from tensorml.graph import Graph, Op


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
        splits = [split(graph, numbers, ranges_of(graph, half, rows), encoder) for half in (odd, even)]
    except DoesNotFit:  # functions of columns whose steps are alike only by all rows
        return None
    every = Oracle(graph, some(rows))
    parts = [half_of(by_other, some(half), every) for by_other, half in zip(splits, (even, odd), strict=True)]
    relative, labels, beyond, worst = zip(*parts, strict=True)
    return Halves(max(relative), sum(labels), sum(beyond), max(worst))


def ranges_of(graph: Graph, half: Rows, rows: Rows) -> Ranges:
    """The ranges that half of the rows show; those of all rows for columns that have one value in that half."""
    few, all_ = measured(graph, half), measured(graph, rows)

    def ranges(op: Op) -> tuple[np.ndarray, np.ndarray]:
        ends = few(op)
        constant = ends[0] == ends[1]
        least, most = (np.where(constant, a, b) for a, b in zip(all_(op), ends, strict=True))
        return least, most

    return ranges


def half_of(found: Split, rows: Rows, every: Oracle) -> tuple[float, int, int, float]:
    """The figures of Halves, of some rows. every: those that the range of the results is of."""
    beyond = np.asarray(outside(found, rows).any(axis=1))
    inside, both = (loss(found, Oracle(found.source, part), every) for part in (chosen(rows, ~beyond), rows))
    return inside.relative, round(inside.labels * inside.rows), int(beyond.sum()), both.relative


def chosen(rows: Rows, which: np.ndarray | slice) -> Rows:
    """Some of the rows."""
    return {name: x[which] for name, x in rows.items()}


def outside(found: Split, rows: Rows) -> np.ndarray:
    """Which values that enter a circuit are outside the range of their field: bool [N, fields]."""
    entering = evaluate(found.before, rows)
    entrances = [(entering[found.names[e.before]], e.fixed) for e in found.entrances.values()]
    return np.concatenate([(value < fixed.low) | (value > fixed.high) for value, fixed in entrances], axis=1)
