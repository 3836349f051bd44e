"""What enters a circuit: codes and rounded values that the host makes, or the columns of the input as they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.fixed import DoesNotFit, Fixed, Numbers, beside, chosen, exact
from tensorml.executors.fpga.grid import Grid, OnGrid, RankWhole
from tensorml.executors.fpga.patterns import FloatBits, RankBits
from tensorml.graph import Const, Input, Op
from tensorml.passes.columns import by_column
from tensorml.passes.rank_before_steps import first_of
from tensorml.passes.steps import Place, Steps, follow

CHECKS = (ops.Finite, ops.Within, ops.Require)
Encoder = Literal["host", "circuit"] | Grid | Mapping[str, Sequence[Grid]]  # of all columns, or of each input's
Ranges = Callable[[Op], tuple[np.ndarray, np.ndarray]]  # the least and the largest value of each column of a float


class NotRaw(DoesNotFit):
    """Raised for what would enter a circuit of raw values as something else."""


@dataclass(frozen=True, eq=False)
class Entrance:
    """A value that the host passes to the circuit. before: how it computes the integers; fixed: what these mean."""

    before: Op
    fixed: Fixed


@dataclass(eq=False)
class Entrances:
    """What enters a circuit, found while its operators are.

    used: the columns of what enters as it comes, all of those that are not there. read: the columns that were read.
    """

    numbers: Numbers
    ranges: Ranges
    encoder: Encoder = "host"
    used: Mapping[Op, Sequence[int]] = field(default_factory=dict)
    found: dict[Op, Entrance] = field(default_factory=dict)
    read: dict[Op, list[int]] = field(default_factory=dict)
    _raw: dict[Op, Entrance] = field(default_factory=dict)

    def forget(self) -> None:
        """Begin anew."""
        for known in (self.found, self.read, self._raw):
            known.clear()

    @property
    def given(self) -> bool:
        """Whether the columns of the input enter in fixed point as they come."""
        return not isinstance(self.encoder, str)

    def fixed(self, op: Op) -> Fixed:
        """A value that the host has, as integers of the circuit. Raises DoesNotFit, NotRaw."""
        if self.given:
            places = input_places(op)
            if places:
                return self.columns(places, self.on_grid)
            if op.dtype.kind not in "iu" and not one_bit(op):
                raise NotRaw(f"what {type(op).__name__} makes would enter a circuit that takes columns as they come")
        self.found[op] = entrance(op, self.numbers, self.ranges)
        return self.found[op].fixed

    def ranks(self, op: ops.Rank) -> Fixed:
        """The codes of a value, by compares of what enters as it comes. They are never formed in the circuit."""
        return self.whole_ranks(op) if self.given else self.float_ranks(op)

    def float_ranks(self, op: ops.Rank) -> Fixed:
        """By compares of bit patterns."""
        count = np.diff(op.offsets)
        between = [k for k, nan in enumerate(op.nan) if 0 < nan < count[k]]
        if any(op.column(k)[op.nan[k] - 1] == op.column(k)[op.nan[k]] for k in between):
            raise DoesNotFit("ranks in which NaN has a code of its own")
        places = by_column(op.x, lambda o: o.operands[0] if isinstance(o, CHECKS) else columns_of(o))
        bits = self.columns([places[c] for c in op.source] or places[:1], float_bits).op
        codes = RankBits(bits, np.arange(len(count)), op.boundaries, op.offsets, op.nan, op.strict)
        return exact(codes, 0, np.maximum(count, op.nan))

    def whole_ranks(self, op: ops.Rank) -> Fixed:
        """By compares of fixed-point numbers: a boundary is the first of them from which on the old one is reached."""
        steps = Steps(op.x, to_inputs=True)
        inputs = {start: input_of(start) for start in steps.starts}
        places = [(inputs[start], c) for start, c in steps.places(op.x)]
        x = self.columns([places[c] for c in op.source] or places[:1], self.on_grid)
        count = np.diff(op.offsets)
        column = np.repeat(np.arange(len(count)), count)
        reach = np.greater if op.strict else np.greater_equal

        def reached(integers: np.ndarray) -> np.ndarray:
            with np.errstate(all="ignore"):
                return reach(follow(op.x, op.source[column], integers * x.step[column], inputs), op.boundaries)

        boundaries = first_of(reached, x.low[column], x.high[column] + 1)
        return exact(RankWhole(x.op, np.arange(len(count)), boundaries, op.offsets), 0, count)

    def columns(self, places: Sequence[Place], enter: Callable[[Op, Sequence[int]], Entrance]) -> Fixed:
        """Columns of values that enter as they come, each once."""
        starts = list(dict.fromkeys(start for start, _ in places))
        entering = [self.entering(start, enter).fixed for start in starts]
        first = dict(zip(starts, np.cumsum([0, *(len(x.low) for x in entering)]), strict=False))
        for start, c in places:
            self.read.setdefault(start, []).append(c)
        indices = np.array([first[start] + self.of(start).index(c) for start, c in places], np.int64)
        return part(beside(entering), indices)

    def of(self, start: Op) -> list[int]:
        """The columns of a value that enter."""
        return list(self.used.get(start, range(start.columns)))

    def entering(self, start: Op, enter: Callable[[Op, Sequence[int]], Entrance]) -> Entrance:
        """How a value enters as it comes."""
        if start not in self._raw:
            found = self._raw[start] = enter(start, self.of(start))
            self.found[found.before] = found
        return self._raw[start]

    def on_grid(self, start: Op, columns: Sequence[int]) -> Entrance:
        """In fixed point."""
        whole = OnGrid(narrow(start, columns), tuple(grids_of(self.encoder, start)[c] for c in columns))
        step = np.array([grid.step for grid in whole.grids])
        return Entrance(whole, Fixed(whole, *whole.ends, step, np.zeros(len(step))))


def grids_of(encoder: Encoder, start: Op) -> Sequence[Grid]:
    """What numbers the columns of an input are."""
    if isinstance(encoder, Grid):
        return (encoder,) * start.columns
    found = encoder.get(start.name) if isinstance(encoder, Mapping) and isinstance(start, Input) else None
    if found is None:
        raise NotRaw(f"it is not known what fixed-point numbers {start} has")
    return found


def float_bits(start: Op, columns: Sequence[int]) -> Entrance:
    """Floats as their bit patterns."""
    if start.dtype not in (np.float32, np.float64):
        raise DoesNotFit(f"{start} as bits")
    patterns = FloatBits(narrow(start, columns))
    limits = np.iinfo(np.int32 if start.dtype == np.float32 else np.int64)
    return Entrance(patterns, exact(patterns, limits.min, limits.max))


def narrow(x: Op, columns: Sequence[int]) -> Op:
    """Some columns of a value; the value itself where these are all."""
    return x if len(columns) == x.columns else ops.Columns(x, np.array(columns, np.int64))


def part(x: Fixed, indices: np.ndarray) -> Fixed:
    """Some columns of integers; the integers themselves where these are all, in their order."""
    return x if np.array_equal(indices, np.arange(len(x.low))) else chosen(x, indices)


def columns_of(op: Op) -> list[Place]:
    """The columns of a value."""
    return [(op, c) for c in range(op.columns)]


def input_places(op: Op) -> list[Place]:
    """The columns of inputs that the columns of a value are, converted or not; nothing if they are others."""

    def answer(o: Op) -> Sequence[Place | None] | Op:
        if isinstance(o, Input) and len(o.shape) == 2 and o.dtype.kind in "fiub":
            return columns_of(o)
        passes = isinstance(o, CHECKS) or (isinstance(o, ops.Cast) and o.dtype.kind == "f")
        return o.operands[0] if passes else [None] * o.columns

    found = [place for place in by_column(op, answer) if place is not None] if len(op.shape) == 2 else []
    return found if found and len(found) == op.columns else []


def input_of(start: Op) -> Op:
    """The input at which steps start. Raises NotRaw for anything else."""
    x = start.x if isinstance(start, ops.Cast) else start
    if not isinstance(x, Input):
        raise NotRaw(f"trees compare what {type(start).__name__} makes, in a circuit that takes columns as they come")
    return x


def entrance(op: Op, numbers: Numbers, ranges: Ranges) -> Entrance:
    """How a value goes into the circuit: codes as they are, floats in steps of a power of two for each column."""
    if op.dtype.kind in "iu":
        low, high = code_range(op)
        whole = ops.cast(op, np.int64)
        return Entrance(whole, exact(whole, low, high))
    if op.dtype.kind != "f" or len(op.shape) != 2:
        raise DoesNotFit(f"{op} does not go into a circuit")
    if one_bit(op):
        whole = ops.cast(op, np.int64)
        return Entrance(whole, exact(whole, 0, 1))
    if numbers.fraction is not None:
        columns = np.ones(op.columns)
        return quantized(op, columns * numbers.step(0), numbers.low, numbers.high, 0 * columns)
    least, most = ranges(op)
    far = (np.minimum(np.abs(least), np.abs(most)) > most - least) & (most > least)
    middle = np.where(far, (least + most) / 2, 0.0)
    step = np.array([numbers.step(float(v)) for v in np.maximum(np.abs(least - middle), np.abs(most - middle))])
    middle = np.floor(middle / step + 0.5) * step
    return quantized(op, step, np.where(least < middle, numbers.low, 0), numbers.high, middle)


def quantized(op: Op, step: np.ndarray, low: np.ndarray | int, high: int, middle: np.ndarray) -> Entrance:
    """How floats go into the circuit in these steps from the middle. All but high: of each column."""
    moved = ops.Sub(ops.cast(op, np.float64), Const(middle)) if middle.any() else op
    low, high_ = (np.broadcast_to(np.asarray(b, np.int64), step.shape) for b in (low, high))
    whole = ops.Quantize(moved, step)
    return Entrance(whole, Fixed(ops.Saturate(whole, low, high_), low, high_, step, middle))


def one_bit(op: Op) -> bool:
    """Whether all values are 0 or 1."""
    match op:
        case ops.OneHot():
            return True
        case ops.Cast():
            return op.x.dtype.kind == "b" or one_bit(op.x)
        case ops.Columns() | ops.Reshape():
            return one_bit(op.x)
        case ops.Finite() | ops.Within() | ops.Require():
            return one_bit(op.operands[0])
        case ops.Concat():
            return all(one_bit(part) for part in op.parts)
    return False


def code_range(op: Op) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest value of each column of integers."""
    low, high = np.array(by_column(op, code_ends), np.int64).reshape(-1, 2).T
    return low, high


def code_ends(op: Op) -> Sequence[tuple[int, int]] | Op:
    """The least and the largest value of each column of integers that are not put together from others."""
    match op:
        case ops.Rank():
            return [(0, int(high)) for high in np.maximum(np.diff(op.offsets), op.nan)]
        case ops.Lookup():
            return [(0, int(high)) for high in op.table.max(1)]
        case ops.Cast() if op.x.dtype.kind in "iu":
            return op.x
    limits = np.iinfo(op.dtype)
    if limits.bits > 16:
        raise DoesNotFit(f"{op} has no known range")
    return [(int(limits.min), int(limits.max))] * int(np.prod([int(d) for d in op.shape[1:]]))
