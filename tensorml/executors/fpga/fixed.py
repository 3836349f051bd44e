"""Fixed point: integers that stand for numbers, q for q * step + offset, and the arithmetic of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tensorml import ops
from tensorml.graph import Const, Op

MOST_BITS = 62

Rounding = Literal["nearest", "down"]
Outside = Literal["saturate", "refuse"]


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


class OutOfRange(DoesNotFit):
    """Raised for a constant that the numbers asked for do not hold. The host does not compute it instead."""


@dataclass(frozen=True)
class Numbers:
    """How numbers become integers: what `FixedPoint` says, with the bits chosen.

    bits: of each of them at most. fraction: how many are behind the binary point of all numbers; None: for each array
    as many as its largest number leaves. rounding: of what is passed on. outside: what becomes of constants, and of
    what is passed on, that are outside of what the bits hold with this fraction: the nearest that these hold, or
    constants are refused, and what is passed on keeps the bits that it needs.
    """

    bits: int
    fraction: int | None = None
    rounding: Rounding = "nearest"
    outside: Outside = "saturate"

    @property
    def low(self) -> int:
        """The least integer."""
        return -(2 ** (self.bits - 1))

    @property
    def high(self) -> int:
        """The largest integer."""
        return 2 ** (self.bits - 1) - 1

    @property
    def precise(self) -> int:
        """The bits behind the binary point of numbers up to 1."""
        return self.bits if self.fraction is None else max(self.fraction, 1)

    def step(self, largest: float) -> float:
        """The step of numbers up to +-largest."""
        return power_of_two(largest, self.bits) if self.fraction is None else 2.0**-self.fraction

    def whole(self, values: np.ndarray, step: float, what: str) -> np.ndarray:
        """The nearest integers of constants, in steps. what: these constants, in words. Raises OutOfRange."""
        steps = np.floor(values / step + 0.5)
        if self.fraction is None:
            return steps.astype(np.int64)
        limited = np.clip(steps, self.low, self.high)
        if self.outside == "refuse" and (limited != steps).any():
            raise OutOfRange(
                f"{what} of {values[limited != steps][0]:.6g} is outside of {self.low * step:.6g} to "
                f"{self.high * step:.6g}, which {self.bits} bits with {self.fraction} behind the binary point hold"
            )
        return limited.astype(np.int64)


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


def power_of_two(largest: float, bits: int) -> float:
    """The least power of two with which numbers up to +-largest take so many bits with their sign."""
    return 2.0 ** np.ceil(np.log2(largest / (2 ** (bits - 1) - 0.5))) if largest > 0 else 1.0


def weigh(x: Fixed, weights: np.ndarray, numbers: Numbers) -> Fixed:
    """The product x @ weights: the steps of x go into the weights, made integers. weights: float64 [F, C]."""
    whole, step = whole_weights(x, weights, numbers)
    positive, negative = np.maximum(whole, 0), np.minimum(whole, 0)
    low = x.low @ positive + x.high @ negative
    high = x.high @ positive + x.low @ negative
    reach = np.maximum(np.abs(x.low), np.abs(x.high)).astype(np.float64) @ np.abs(whole).astype(np.float64)
    if reach.max(initial=0) >= 2.0**MOST_BITS:
        narrower = narrowed(x, numbers)
        if narrower.bits < x.bits:
            return weigh(narrower, weights, numbers)
        raise DoesNotFit(f"sums of more than {MOST_BITS} bits")
    offset = x.offset @ weights
    return Fixed(ops.WeightedSum(x.op, whole), low, high, np.full(len(low), step), offset)


def whole_weights(x: Fixed, weights: np.ndarray, numbers: Numbers) -> tuple[np.ndarray, float]:
    """The integers by which those of x are weighed, int64 [F, C], and the step of the sums."""
    scaled = x.step[:, None] * weights
    sizes = np.unique(np.abs(scaled[scaled != 0]))
    if len(sizes) and np.ptp(sizes) <= 1e-12 * sizes[0]:
        return np.floor(scaled / sizes[0] + 0.5).astype(np.int64), float(sizes[0])
    if numbers.fraction is None:
        # A bit chooses its weight, whatever that takes; beside it, numbers of many small steps keep bits for theirs.
        wide = float(np.abs(scaled[x.high - x.low > 1]).max(initial=0))
        step = numbers.step(float(np.abs(scaled).max(initial=0)))
        step = max(numbers.step(wide), step * 2.0**-numbers.bits) if wide else step
        return numbers.whole(scaled, step, "a weight"), step
    with np.errstate(divide="ignore"):
        grid = np.exp2(np.ceil(np.log2(np.abs(x.step)) - 1e-9))  # of each column, a power of two; 0 if it is constant
    least = grid.min(where=grid > 0, initial=np.inf)
    ratio = np.divide(x.step, grid, out=np.zeros(len(grid)), where=grid > 0)
    whole = numbers.whole(ratio[:, None] * weights, 2.0**-numbers.fraction, "a weight")
    return whole * (grid / least).astype(np.int64)[:, None], float(least * 2.0**-numbers.fraction)


def together(x: Fixed, y: Fixed, numbers: Numbers) -> Fixed:
    """The sum x + y of columns: both in one step, which is a power of two unless their steps are alike."""
    step = common_step(np.abs(np.stack([x.step, y.step])), numbers)
    factors = [np.floor(v.step / step + 0.5).astype(np.int64) for v in (x, y)]
    ends = [np.stack([v.low * f, v.high * f]) for v, f in zip((x, y), factors, strict=True)]
    reach = [np.maximum(-1.0 * v.low, v.high) * np.abs(f) for v, f in zip((x, y), factors, strict=True)]
    if np.max(reach[0] + reach[1], initial=0) >= 2.0**MOST_BITS:
        a, b = narrowed(x, numbers), narrowed(y, numbers)
        if max(a.bits, b.bits) == max(x.bits, y.bits):
            raise DoesNotFit(f"sums of more than {MOST_BITS} bits")
        return together(a, b, numbers)
    op = ops.Add(*(times(v.op, f) for v, f in zip((x, y), factors, strict=True)))
    low, high = (e[0].min(0) + e[1].min(0) for e in ([*ends], [-e for e in ends]))
    return Fixed(op, low, -high, np.full(len(low), step), x.offset + y.offset)


def common_step(steps: np.ndarray, numbers: Numbers) -> float:
    """A step of which all others are multiples, about: the least one, if they are powers of two of it."""
    steps = steps[steps > 0]
    if not len(steps):
        return 1.0
    least, largest = float(steps.min()), float(steps.max())
    powers = np.exp2(np.round(np.log2(steps / least)))
    exact = (np.abs(steps / least - powers) <= 1e-12 * powers).all()
    return least if exact else power_of_two(largest, numbers.bits)


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
    whole = whole_offset(x)
    return Fixed(moved(x.op, whole), x.low + whole, x.high + whole, x.step, np.zeros(len(whole)))


def whole_offset(x: Fixed) -> np.ndarray:
    """The offset in steps, rounded. No step is 0."""
    added = np.floor(x.offset / x.step + 0.5)
    if np.abs(added).max(initial=0) >= 2.0**MOST_BITS / 4:
        raise DoesNotFit(f"constants of more than {MOST_BITS - 2} bits")
    return added.astype(np.int64)


def moved(op: Op, by: np.ndarray) -> Op:
    """Integers plus a constant for each column. Constants that are added already, and limits, take it in."""
    by = by.reshape(row_shape(op))
    match op:
        case ops.Saturate():
            return ops.Saturate(moved(op.x, by), op.low + by, op.high + by)
        case ops.Add(x=x, y=Const(value=value)):
            op, by = x, by + value
    return ops.Add(op, Const(by)) if by.any() else op


def limited(x: Fixed, least: float, most: float) -> Fixed:
    """With values outside of least to most at these. The steps of x are positive, its offsets 0."""
    with np.errstate(over="ignore"):
        ends = [np.clip(np.floor(b / x.step + 0.5), -(2.0**MOST_BITS), 2.0**MOST_BITS) for b in (least, most)]
    return clipped(x, *(b.astype(np.int64) for b in ends))


def clipped(x: Fixed, low: np.ndarray | int, high: np.ndarray | int) -> Fixed:
    """With integers outside of low to high at these."""
    low, high = (np.clip(b, low, high) for b in (x.low, x.high))
    if (low == x.low).all() and (high == x.high).all():
        return x
    shape, source = row_shape(x.op), x.op.x if isinstance(x.op, ops.Saturate) else x.op
    return replace(x, op=ops.Saturate(source, low.reshape(shape), high.reshape(shape)), low=low, high=high)


def narrowed(x: Fixed, numbers: Numbers) -> Fixed:
    """With so many bits in each column at most: the lowest ones are rounded away. With a fraction: in steps of it."""
    if numbers.fraction is None:
        widths = np.array([width(int(a), int(b)) for a, b in zip(x.low, x.high, strict=True)])
        return rounded(x, np.maximum(widths - numbers.bits, 0), numbers.rounding)
    with np.errstate(divide="ignore"):
        below = -numbers.fraction - np.log2(np.abs(x.step))
    shifts = np.where(x.step == 0, 0, np.clip(np.floor(below + 1e-9), 0, MOST_BITS - 1)).astype(np.int64)
    x = rounded(x, shifts, numbers.rounding)
    return clipped(x, numbers.low, numbers.high) if numbers.outside == "saturate" else x


def rounded(x: Fixed, shifts: np.ndarray, rounding: Rounding) -> Fixed:
    """Without so many of the lowest bits of each column; of the most, where columns are not columns."""
    if len(x.op.shape) != 2 or not np.ptp(shifts):
        return shifted(x, int(shifts.max(initial=0)), rounding)
    places = [np.flatnonzero(shifts == shift) for shift in np.unique(shifts)]
    parts = [shifted(chosen(x, p), int(shifts[p[0]]), rounding) for p in places]
    return chosen(beside(parts), np.argsort(np.concatenate(places)))


def shifted(x: Fixed, shift: int, rounding: Rounding = "nearest") -> Fixed:
    """Without so many of the lowest bits. Rounded down, an integer stands for the middle of those that become it."""
    if shift <= 0:
        return x
    nearest = rounding == "nearest"
    low, high = (np.asarray((b + (nearest << shift - 1)) >> shift) for b in (x.low, x.high))
    offset = x.offset if nearest else x.offset + x.step * ((1 << shift) - 1) / 2
    if nearest and (isinstance(x.op, ops.Saturate) or added(x.op)):  # half is added where something is already
        half = np.full(len(x.low), 1 << shift - 1)
        return Fixed(ops.ShiftRight(moved(x.op, half), shift, False), low, high, x.step * 2.0**shift, offset)
    return Fixed(ops.ShiftRight(x.op, shift, nearest), low, high, x.step * 2.0**shift, offset)


def added(op: Op) -> bool:
    """Whether an operator adds a constant."""
    return isinstance(op, ops.Add) and isinstance(op.y, Const)
