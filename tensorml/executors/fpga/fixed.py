"""Fixed point: integers that stand for numbers, q for q * step + offset, and the arithmetic of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tensorml import ops
from tensorml.graph import Const, Op

MOST_BITS = 62


@dataclass(frozen=True, eq=False)
class Fixed:
    """Integers and what they stand for: column c of `op` for q * step[c] + offset[c], with low[c] <= q <= high[c].

    op: integers [N, ...]; all others are arrays of its columns, those of [N] and of [N, a, b] in C order: int64 low
    and high, float64 step and offset. A step may be negative; it is 0 where a column is constant.
    """

    op: Op
    low: np.ndarray
    high: np.ndarray
    step: np.ndarray
    offset: np.ndarray

    @property
    def integers(self) -> bool:
        """Whether the integers mean themselves."""
        return bool((self.step == 1).all() and (self.offset == 0).all())

    @property
    def bits(self) -> int:
        """What the widest column takes."""
        return max((width(int(a), int(b)) for a, b in zip(self.low, self.high, strict=True)), default=0)


class DoesNotFit(Exception):  # noqa: N818 - says what, as an answer
    """Raised by a rule for what has no integers in this form; the operator stays on the host."""


class NoRows(DoesNotFit):
    """Raised for what becomes fixed point, without rows to see its range from."""


def width(low: int, high: int) -> int:
    """The bits of an integer from `low` to `high`: two's complement if there are negative ones."""
    return max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + (low < 0)


def exact(op: Op, low: Any, high: Any) -> Fixed:
    """Integers that mean themselves."""
    columns = int(np.prod(row_shape(op)))
    low, high = (np.broadcast_to(np.asarray(b, np.int64), columns) for b in (low, high))
    return Fixed(op, low, high, np.ones(columns), np.zeros(columns))


def row_shape(op: Op) -> tuple[int, ...]:
    """The shape of a row."""
    return tuple(int(d) for d in op.shape[1:])


def constant(value: np.ndarray, like: Fixed) -> np.ndarray:
    """A constant operand, for each column of the other one."""
    shape = row_shape(like.op)
    if value.ndim > len(shape) and value.shape[0] != 1:
        raise DoesNotFit("a constant for each row")
    flat = value.reshape(value.shape[-len(shape) :] if shape else ())
    return np.broadcast_to(flat, shape).reshape(-1).astype(np.float64)


def chosen(x: Fixed, indices: np.ndarray) -> Fixed:
    """Some of the columns."""
    parts = (a[indices] for a in (x.low, x.high, x.step, x.offset))
    return Fixed(ops.Columns(x.op, indices), *parts)


def beside(parts: Sequence[Fixed]) -> Fixed:
    """Columns side by side."""
    arrays = zip(*((p.low, p.high, p.step, p.offset) for p in parts), strict=True)
    return Fixed(ops.concat([p.op for p in parts]), *(np.concatenate(a) for a in arrays))


def finest(ranges: np.ndarray, bits: int) -> float:
    """The step with which the largest of these numbers takes so many bits."""
    largest = float(ranges.max(initial=0))
    return largest / (2**bits - 1) if largest > 0 else 1.0


def power_of_two(largest: float, bits: int) -> float:
    """The least power of two with which numbers up to +-largest take so many bits with their sign."""
    return 2.0 ** np.ceil(np.log2(largest / (2 ** (bits - 1) - 0.5))) if largest > 0 else 1.0


def weigh(x: Fixed, weights: np.ndarray, bits: int) -> Fixed:
    """The product x @ weights: the steps of x go into the weights, made integers. weights: float64 [F, C]."""
    scaled = x.step[:, None] * weights
    sizes = np.unique(np.abs(scaled[scaled != 0]))
    alike = len(sizes) == 1 or (len(sizes) > 1 and np.ptp(sizes) <= 1e-12 * sizes[0])
    step = float(sizes[0]) if alike else power_of_two(float(np.abs(scaled).max(initial=0)), bits)
    whole = np.floor(scaled / step + 0.5).astype(np.int64)
    positive, negative = np.maximum(whole, 0), np.minimum(whole, 0)
    low = x.low @ positive + x.high @ negative
    high = x.high @ positive + x.low @ negative
    reach = np.maximum(np.abs(x.low), np.abs(x.high)).astype(np.float64) @ np.abs(whole).astype(np.float64)
    if reach.max(initial=0) >= 2.0**MOST_BITS:
        if x.bits > bits:
            return weigh(narrowed(x, bits), weights, bits)
        raise DoesNotFit(f"sums of more than {MOST_BITS} bits")
    offset = x.offset @ weights
    return Fixed(ops.WeightedSum(x.op, whole), low, high, np.full(len(low), step), offset)


def together(x: Fixed, y: Fixed, bits: int) -> Fixed:
    """The sum x + y of columns: both in one step, which is a power of two unless their steps are alike."""
    steps = np.abs(np.stack([x.step, y.step]))
    largest = float(steps.max(initial=0)) or 1.0
    same = (np.abs(steps - largest) <= 1e-12 * largest).all()
    step = largest if same else power_of_two(largest, bits)
    factors = [np.floor(v.step / step + 0.5).astype(np.int64) for v in (x, y)]
    ends = [np.stack([v.low * f, v.high * f]) for v, f in zip((x, y), factors, strict=True)]
    reach = [np.maximum(-1.0 * v.low, v.high) * np.abs(f) for v, f in zip((x, y), factors, strict=True)]
    if np.max(reach[0] + reach[1], initial=0) >= 2.0**MOST_BITS:
        if max(x.bits, y.bits) <= bits:
            raise DoesNotFit(f"sums of more than {MOST_BITS} bits")
        return together(narrowed(x, bits), narrowed(y, bits), bits)
    op = ops.Add(*(times(v.op, f) for v, f in zip((x, y), factors, strict=True)))
    low, high = (e[0].min(0) + e[1].min(0) for e in ([*ends], [-e for e in ends]))
    return Fixed(op, low, -high, np.full(len(low), step), x.offset + y.offset)


def times(op: Op, factors: np.ndarray) -> Op:
    """Integers by a constant for each column."""
    return op if (factors == 1).all() else ops.Mul(op, Const(factors.reshape(row_shape(op))))


def upright(x: Fixed) -> Fixed:
    """With positive steps: the integers of other columns are negated. A constant column gets the step of the others."""
    positive = np.abs(x.step)
    step = np.where(positive > 0, positive, positive.max(initial=0) or 1.0)
    if (x.step > 0).all():
        return x
    sign = np.sign(x.step).astype(np.int64)
    ends = np.stack([x.low * sign, x.high * sign])
    op = ops.Mul(x.op, Const(sign.reshape(row_shape(x.op))))
    return Fixed(op, ends.min(0), ends.max(0), step, x.offset)


def centred(x: Fixed) -> Fixed:
    """Without an offset: a constant is added to the integers."""
    if not x.offset.any():
        return x
    x = upright(x)
    added = np.floor(x.offset / x.step + 0.5)
    if np.abs(added).max() >= 2.0**MOST_BITS / 4:
        raise DoesNotFit(f"constants of more than {MOST_BITS - 2} bits")
    whole = added.astype(np.int64)
    op = ops.Add(x.op, Const(whole.reshape(row_shape(x.op))))
    return Fixed(op, x.low + whole, x.high + whole, x.step, np.zeros(len(whole)))


def limited(x: Fixed, least: float, most: float) -> Fixed:
    """With values outside of least to most at these. The steps of x are positive, its offsets 0."""
    with np.errstate(over="ignore"):
        ends = [np.clip(np.floor(b / x.step + 0.5), -(2.0**MOST_BITS), 2.0**MOST_BITS) for b in (least, most)]
    low, high = (np.clip(b.astype(np.int64), x.low, x.high) for b in ends)
    if (low == x.low).all() and (high == x.high).all():
        return x
    return replace(x, op=ops.Saturate(x.op, low, high), low=low, high=high)


def narrowed(x: Fixed, bits: int) -> Fixed:
    """With so many bits in each column at most: the lowest ones are rounded away."""
    widths = np.array([width(int(a), int(b)) for a, b in zip(x.low, x.high, strict=True)])
    shifts = np.maximum(widths - bits, 0)
    if len(x.op.shape) != 2 or not np.ptp(shifts):
        return shifted(x, int(shifts.max(initial=0)))
    places = [np.flatnonzero(shifts == shift) for shift in np.unique(shifts)]
    parts = [shifted(chosen(x, p), int(shifts[p[0]])) for p in places]
    return chosen(beside(parts), np.argsort(np.concatenate(places)))


def alike(x: Fixed, bits: int) -> Fixed:
    """With so many bits in the widest column: as many of the lowest ones are rounded away in all."""
    return shifted(x, x.bits - bits)


def shifted(x: Fixed, shift: int) -> Fixed:
    """Without so many of the lowest bits, which are rounded away."""
    if shift <= 0:
        return x
    low, high = (np.asarray((b + (1 << shift - 1)) >> shift) for b in (x.low, x.high))
    return Fixed(ops.ShiftRight(x.op, shift), low, high, x.step * 2.0**shift, x.offset)
