"""Fixed point: what each operator becomes on integers that stand for numbers, q for q * step + offset.

Scaling and shifting by constants changes what the integers stand for, not the integers: it costs no hardware.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tensorml import ops
from tensorml.executors.base import Rules
from tensorml.executors.fpga.patterns import FloatBits, RankBits
from tensorml.graph import Const, Op

MOST_BITS = 62
TABLE_BITS = 12  # of the index of a function's table, at most
STARTS = 64  # that are tried for the integers of a tree


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


Rule = Callable[..., Fixed]  # the operator, the bits, then operands: Fixed, or an array for a constant
rules: Rules[Rule] = Rules("fpga")
HEAVY: set[type[Op]] = set()  # operators that are worth a circuit


def rule(*classes: type[Op], heavy: bool = False) -> Callable[[Rule], Rule]:
    """Register what operators become; heavy: they are worth a circuit, not only what is on the way to one."""
    if heavy:
        HEAVY.update(classes)
    return rules.rule(*classes)


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


@rule(ops.Cast)
def convert(op: ops.Cast, bits: int, x: Fixed) -> Fixed:
    """Between floats only the host's rounding is lost."""
    if op.dtype.kind != "f":
        raise DoesNotFit(f"{op}")
    return x


@rule(ops.Finite, ops.Require)
def checked(op: Op, bits: int, x: Fixed, *_: object) -> Fixed:
    """The host has checked the values before."""
    return x


@rule(ops.Reshape)
def reshape(op: ops.Reshape, bits: int, x: Fixed) -> Fixed:
    """Columns keep their order."""
    return replace(x, op=ops.Reshape(x.op, op.shape_))


@rule(ops.Columns)
def columns(op: ops.Columns, bits: int, x: Fixed) -> Fixed:
    """Some of the columns."""
    chosen = (a[op.indices] for a in (x.low, x.high, x.step, x.offset))
    return Fixed(ops.Columns(x.op, op.indices), *chosen)


@rule(ops.Concat)
def concat(op: ops.Concat, bits: int, *parts: Fixed | np.ndarray) -> Fixed:
    """Columns side by side."""
    fixed = [p for p in parts if isinstance(p, Fixed)]
    if len(fixed) != len(parts):
        raise DoesNotFit("columns that are constant")
    arrays = zip(*((p.low, p.high, p.step, p.offset) for p in fixed), strict=True)
    return Fixed(ops.concat([p.op for p in fixed]), *(np.concatenate(a) for a in arrays))


@rule(ops.Fill)
def fill(op: ops.Fill, bits: int, like: Fixed) -> Fixed:
    """A column of zeros, whose offset is the value."""
    if op.dtype.kind != "f":
        raise DoesNotFit(f"{op}")
    zero = exact(ops.Fill(like.op, op.shape_, 0, np.dtype(np.int64)), 0, 0)
    return replace(zero, step=np.zeros(len(zero.low)), offset=np.full(len(zero.low), float(op.value)))


@rule(ops.Neg)
def negate(op: ops.Neg, bits: int, x: Fixed) -> Fixed:
    """The same integers stand for the negative."""
    return replace(x, step=-x.step, offset=-x.offset)


@rule(ops.Add, ops.Sub)
def add(op: ops.Add | ops.Sub, bits: int, x: Fixed | np.ndarray, y: Fixed | np.ndarray) -> Fixed:
    """A constant moves the offset; a sum of two is a sum with weights."""
    if isinstance(op, ops.Sub):
        y = negate(op, bits, y) if isinstance(y, Fixed) else np.asarray(-y)  # pyright: ignore[reportArgumentType]
    if isinstance(x, np.ndarray):
        x, y = y, x
    if not isinstance(x, Fixed):
        raise DoesNotFit("two constants")
    if isinstance(y, np.ndarray):
        return replace(x, offset=x.offset + constant(y, x))
    if x.op.shape != y.op.shape or len(x.op.shape) != 2:
        raise DoesNotFit("a sum that broadcasts")
    return together(x, y, bits)


@rule(ops.Mul)
def multiply(op: ops.Mul, bits: int, x: Fixed | np.ndarray, y: Fixed | np.ndarray) -> Fixed:
    """A constant changes the step; a product of two is one of integers."""
    if isinstance(x, np.ndarray):
        x, y = y, x
    if not isinstance(x, Fixed):
        raise DoesNotFit("two constants")
    if isinstance(y, np.ndarray):
        factor = constant(y, x)
        return replace(x, step=x.step * factor, offset=x.offset * factor)
    if x.op.shape != y.op.shape:
        raise DoesNotFit("a product that broadcasts")
    a = narrowed(centred(x), bits)
    b = a if y is x else narrowed(centred(y), bits)
    corners = np.stack([p * q for p in (a.low, a.high) for q in (b.low, b.high)])
    low = np.maximum(corners.min(0), 0) if y is x else corners.min(0)
    return Fixed(ops.Mul(a.op, b.op), low, corners.max(0), a.step * b.step, np.zeros(len(low)))


@rule(ops.Div)
def divide(op: ops.Div, bits: int, x: Fixed | np.ndarray, y: Fixed | np.ndarray) -> Fixed:
    """By a constant: the step changes."""
    if not isinstance(x, Fixed) or isinstance(y, Fixed) or not constant(y, x).all():
        raise DoesNotFit("a quotient of two")
    return replace(x, step=x.step / constant(y, x), offset=x.offset / constant(y, x))


@rule(ops.MatMul, heavy=True)
def product(op: ops.MatMul, bits: int, x: Fixed, y: Fixed | np.ndarray) -> Fixed:
    """The weights as integers."""
    if isinstance(y, Fixed):
        raise DoesNotFit("a product of two")
    return weigh(narrowed(x, bits), y.astype(np.float64), bits)


@rule(ops.ReduceSum, heavy=True)
def total(op: ops.ReduceSum, bits: int, x: Fixed) -> Fixed:
    """A product with ones."""
    return weigh(x, np.ones((len(x.low), 1)), bits)


@rule(ops.AddColumns, heavy=True)
def add_columns(op: ops.AddColumns, bits: int, x: Fixed) -> Fixed:
    """A product with a matrix of ones and zeros."""
    weights = (op.output[:, None] == np.arange(len(op.start))).astype(np.float64)
    result = weigh(x, weights, bits)
    return replace(result, offset=result.offset + op.start)


@rule(ops.Max, ops.Min)
def limit(op: ops.Max | ops.Min, bits: int, x: Fixed | np.ndarray, y: Fixed | np.ndarray) -> Fixed:
    """The larger, or the smaller one, of a number and a constant, as a range of the integers."""
    if isinstance(x, np.ndarray):
        x, y = y, x
    if not isinstance(x, Fixed) or isinstance(y, Fixed):
        raise DoesNotFit("the larger one of two")
    x, bound = centred(upright(x)), constant(y, x)
    if np.ptp(bound):
        raise DoesNotFit("limits that differ")
    return limited(x, float(bound[0]), np.inf) if isinstance(op, ops.Max) else limited(x, -np.inf, float(bound[0]))


@rule(ops.Sigmoid, ops.Tanh, ops.Exp)
def curve(op: ops.Sigmoid | ops.Tanh | ops.Exp, bits: int, x: Fixed) -> Fixed:
    """A table of the function, read at the integer; the arguments end where it no longer changes by a step."""
    flat = (bits + 1) * math.log(2)
    x = limited(centred(upright(x)), -flat, np.inf if isinstance(op, ops.Exp) else flat)
    x = alike(x, min(bits + 2, TABLE_BITS))
    low, high = int(x.low.min()), int(x.high.max())
    if np.ptp(x.step) or width(0, high - low) > TABLE_BITS + 1:
        raise DoesNotFit("a function of columns of different steps")
    argument = np.arange(low, high + 1) * x.step[0]
    value = op.reference(argument)
    step = power_of_two(np.abs(value).max(), bits)
    table = np.floor(value / step + 0.5).astype(np.int64)
    index = ops.Sub(x.op, Const(np.array(low)))
    count = len(x.low)
    return Fixed(
        ops.Take(Const(table), index),
        np.full(count, table.min()),
        np.full(count, table.max()),
        np.full(count, step),
        np.zeros(count),
    )


@rule(ops.Rank)
def rank(op: ops.Rank, bits: int, raw: Fixed) -> Fixed:
    """Codes are never formed: what compares a code with a rank compares the value with the boundary of that rank."""
    count = np.diff(op.offsets)
    if not isinstance(raw.op, FloatBits) or not ((op.nan == 0) | (op.nan > count)).all():
        raise DoesNotFit("ranks of what comes as codes")
    codes = RankBits(raw.op, op.source, op.boundaries, op.offsets, op.nan, op.strict)
    return exact(codes, 0, np.maximum(count, op.nan))


@rule(ops.Descend)
def descend(op: ops.Descend, bits: int, codes: Fixed) -> Fixed:
    """Codes are integers already; the result is the number of a leaf."""
    chosen = ops.Descend(codes.op, op.column, op.rank, op.left, op.right, op.roots)
    return exact(chosen, 0, max(0, len(op.left)) + len(op.roots) - 1)


@rule(ops.DescendSymmetric)
def descend_symmetric(op: ops.DescendSymmetric, bits: int, codes: Fixed) -> Fixed:
    """Codes are integers already; the result is the number of a leaf."""
    chosen = ops.DescendSymmetric(codes.op, op.column, op.rank, op.size)
    return exact(chosen, 0, int((2**op.size).sum()) - 1)


HEAVY.update({ops.Descend, ops.DescendSymmetric})


@rule(ops.LeafSum, heavy=True)
def leaf_sum(op: ops.LeafSum, bits: int, leaves: Fixed) -> Fixed:
    """What leaves hold, in steps above a number of each tree: small positive integers. The offset has the rest."""
    trees = leaf_ranges(leaves.op)
    values = op.values.astype(np.float64)
    step = finest(np.stack([np.ptp(values[part], axis=0) for part in trees]), bits)
    rounded = [[whole_steps(column / step) for column in values[part].T] for part in trees]
    whole = np.concatenate([np.stack([steps for steps, _ in tree], axis=1) for tree in rounded])
    least = np.array([[start for _, start in tree] for tree in rounded]) * step
    most = np.stack([whole[part].max(0) for part in trees])
    outputs = len(op.start)
    target = np.eye(outputs, dtype=np.int64)[op.output] if op.output is not None else None
    high = most.sum(0) if target is None else target.T @ most[:, 0]
    start = least.sum(0) if target is None else target.T.astype(np.float64) @ least[:, 0]
    sums = ops.LeafSum(leaves.op, whole, np.zeros(outputs, np.int64), op.output)
    return Fixed(sums, np.zeros(outputs, np.int64), high, np.full(outputs, step), op.start.astype(np.float64) + start)


def sum_range(op: ops.LeafSum) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest that each output of a sum of leaves can be. float64 [K] each."""
    values = op.values.astype(np.float64)
    ends = np.stack([(values[part].min(0), values[part].max(0)) for part in leaf_ranges(op.leaves)])
    if op.output is None:
        low, high = ends.sum(0)
    else:
        low, high = (np.bincount(op.output, ends[:, end, 0], len(op.start)) for end in (0, 1))
    return op.start + low, op.start + high


def whole_steps(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Integers for what the leaves of a tree hold, and the number that 0 stands for. values: float64 [L], in steps.

    Where the integers start is free, since the starts of all trees are one constant. Of the starts with which no leaf
    is further off than if they started at the least value, it is one with the fewest bits, and of these the one with
    the least error. The result: int64 [L], the least of which is 0.
    """
    above = values - values.min()
    ends = np.unique((above + 0.5) % 1)  # where a start has to be for a value to be half way between two integers
    starts = (ends + np.append(ends[1:], ends[0] + 1)) / 2
    starts = np.append(0.0, starts[:: -(-len(starts) // STARTS)])
    whole = np.floor(above - starts[:, None] + 0.5)
    off = above - whole
    error = np.ptp(off, axis=1) / 2
    near = error <= np.abs(off[0]).max()
    near[0] = True
    bits = np.ceil(np.log2(np.ptp(whole, axis=1) + 1))
    best = np.lexsort((error, bits, ~near))[0]
    least = whole[best].min()
    return (whole[best] - least).astype(np.int64), float(values.min() + least + off[best].min() + error[best])


def leaf_ranges(descend: Op) -> list[slice]:
    """The numbers of each tree's leaves."""
    if isinstance(descend, ops.DescendSymmetric):
        starts = descend.first_leaf
        return [slice(int(s), int(s + 2**k)) for s, k in zip(starts, descend.size, strict=True)]
    if not isinstance(descend, ops.Descend):
        raise DoesNotFit("leaves of no tree")
    child = np.concatenate([descend.left, descend.right, descend.roots])
    leaf = ~child[child < 0]
    inner = np.arange(len(descend.left))
    owner = np.searchsorted(np.sort(descend.roots[descend.roots >= 0]), inner, side="right")
    trees = np.flatnonzero(descend.roots >= 0)
    tree = np.concatenate([trees[owner - 1], trees[owner - 1], np.arange(len(descend.roots))])[child < 0]
    count = np.bincount(tree, minlength=len(descend.roots))
    stop = np.cumsum(count)
    if not np.array_equal(tree[np.argsort(leaf)], np.repeat(np.arange(len(count)), count)):
        raise DoesNotFit("leaves that are not in the order of their trees")
    return [slice(int(b - a), int(b)) for a, b in zip(count, stop, strict=True)]


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
    parts = [shifted(columns(ops.Columns(x.op, p), bits, x), int(shifts[p[0]])) for p in places]
    together = concat(x.op, bits, *parts)
    return columns(ops.Columns(together.op, np.argsort(np.concatenate(places))), bits, together)


def alike(x: Fixed, bits: int) -> Fixed:
    """With so many bits in the widest column: as many of the lowest ones are rounded away in all."""
    return shifted(x, x.bits - bits)


def shifted(x: Fixed, shift: int) -> Fixed:
    """Without so many of the lowest bits, which are rounded away."""
    if shift <= 0:
        return x
    low, high = (np.asarray((b + (1 << shift - 1)) >> shift) for b in (x.low, x.high))
    return Fixed(ops.ShiftRight(x.op, shift), low, high, x.step * 2.0**shift, x.offset)
