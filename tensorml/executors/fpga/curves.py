"""Functions of one number as tables: of each value, or of straight lines whose error at every integer is known."""

from __future__ import annotations

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.fixed import width
from tensorml.graph import Const, Op

PLAIN_BITS, LINE_BITS = 12, 16  # of an integer that a function is read at, at most: in a table of values, of lines
TOLERANCE = 1.0  # of the values' step; the nearest integer is off by half already
BESIDE = 32 * 64  # bits of a table that take as many LUTs as the product and the sum of a straight line


def table(values: np.ndarray, index: Op) -> tuple[Op, np.ndarray]:
    """An operator that gives about values[index], and what it gives for each index: int64 [I].

    values: float64 [I]. index: int64, from 0 to I - 1. It is the smaller one of both kinds of table, off by TOLERANCE
    at most, or by a quarter of what neighbours differ by.
    """
    plain = np.floor(values + 0.5).astype(np.int64)
    bits = width(int(plain.min()), int(plain.max())) * len(plain)
    found = straight(values, index) if bits > BESIDE else None
    if found is None or (len(values) <= 2**PLAIN_BITS and bits <= BESIDE + word_bits(found) * len(found.base)):
        return ops.Take(Const(plain), index), plain
    return found, found.at(np.arange(len(values)))


def word_bits(lines: ops.Lines) -> int:
    """The bits of a word that has a base, less zeros at its end, and a slope."""
    zeros = max(lines.shift - 2, 0)
    base = width(int(lines.base.min()) >> zeros, int(lines.base.max()) >> zeros)
    return base + width(int(lines.slope.min()), int(lines.slope.max()))


def straight(values: np.ndarray, index: Op) -> ops.Lines | None:
    """The fewest straight lines through values, with the coarsest slopes; None if it takes one for each four values."""
    every = np.arange(len(values))
    tolerance = max(TOLERANCE, float(np.abs(np.diff(values)).max()) / 4)
    for low in range((len(values) - 1).bit_length() - 1, 2, -1):
        slopes, pieces = pieces_of(values, low)
        if half_range(pieces - slopes[:, None] * np.arange(2**low)).max() > tolerance:
            continue
        for shift in range(low - 1, low + 3):
            found = lines(slopes, pieces, index, shift)
            if np.abs(found.at(every) - values).max() <= tolerance:
                return found
    return None


def pieces_of(values: np.ndarray, low: int) -> tuple[np.ndarray, np.ndarray]:
    """Values in pieces of 2^low, the last one filled up with NaN, and the slope from end to end of each."""
    count = -(-len(values) // 2**low)
    pieces = np.append(values, np.full(count * 2**low - len(values), np.nan)).reshape(count, 2**low)
    last = np.isfinite(pieces).sum(axis=1) - 1
    return (pieces[np.arange(count), last] - pieces[:, 0]) / np.maximum(last, 1), pieces


def half_range(rows: np.ndarray) -> np.ndarray:
    """How far the numbers of each row are from their middle."""
    return (np.nanmax(rows, axis=1) - np.nanmin(rows, axis=1)) / 2


def lines(slopes: np.ndarray, pieces: np.ndarray, index: Op, shift: int) -> ops.Lines:
    """Straight lines in steps of 2^-shift, each half way between the furthest values on both sides of it.

    A base is rounded to a quarter of a value's step, and has the half in it that makes a result the nearest integer.
    """
    slope = np.floor(slopes * 2.0**shift + 0.5)
    left = pieces * 2.0**shift - slope[:, None] * np.arange(pieces.shape[1])
    base = np.nanmin(left, axis=1) + half_range(left) + 2.0**shift / 2
    grain = 2.0 ** max(shift - 2, 0)
    whole = np.floor(base / grain + 0.5) * grain
    return ops.Lines(index, whole.astype(np.int64), slope.astype(np.int64), pieces.shape[1].bit_length() - 1, shift)
