"""What each operator becomes on integers that stand for numbers.

Scaling and shifting by constants changes what the integers stand for, not the integers: it costs no hardware.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tensorml import ops
from tensorml.executors.base import Rules
from tensorml.executors.fpga.curves import LINE_BITS, table
from tensorml.executors.fpga.fixed import (
    MOST_BITS,
    DoesNotFit,
    Fixed,
    Numbers,
    beside,
    centred,
    chosen,
    clipped,
    constant,
    exact,
    limited,
    moved,
    narrowed,
    shifted,
    together,
    upright,
    weigh,
    whole_offset,
    width,
)
from tensorml.executors.fpga.leaves import leaf_ranges, whole_leaves
from tensorml.graph import Op

Rule = Callable[..., Fixed]  # the operator, Numbers, then operands: Fixed, or an array for a constant
rules: Rules[Rule] = Rules("fpga")
HEAVY: set[type[Op]] = set()  # operators that are worth a circuit


def rule(*classes: type[Op], heavy: bool = False) -> Callable[[Rule], Rule]:
    """Register what operators become; heavy: they are worth a circuit, not only what is on the way to one."""
    if heavy:
        HEAVY.update(classes)
    return rules.rule(*classes)


@rule(ops.Cast)
def convert(op: ops.Cast, numbers: Numbers, x: Fixed) -> Fixed:
    """Between floats only the host's rounding is lost."""
    if op.dtype.kind != "f":
        raise DoesNotFit(f"{op}")
    return x


@rule(ops.Finite, ops.Within, ops.Require)
def checked(op: Op, numbers: Numbers, x: Fixed, *_: object) -> Fixed:
    """The host has checked the values before."""
    return x


@rule(ops.Reshape)
def reshape(op: ops.Reshape, numbers: Numbers, x: Fixed) -> Fixed:
    """Columns keep their order."""
    return replace(x, op=ops.Reshape(x.op, op.shape_))


@rule(ops.Columns)
def columns(op: ops.Columns, numbers: Numbers, x: Fixed) -> Fixed:
    """Some of the columns."""
    return chosen(x, op.indices)


@rule(ops.Concat)
def concat(op: ops.Concat, numbers: Numbers, *parts: Fixed | np.ndarray) -> Fixed:
    """Columns side by side."""
    fixed = [p for p in parts if isinstance(p, Fixed)]
    if len(fixed) != len(parts):
        raise DoesNotFit("columns that are constant")
    return beside(fixed)


@rule(ops.Fill)
def fill(op: ops.Fill, numbers: Numbers, like: Fixed) -> Fixed:
    """A column of zeros, whose offset is the value."""
    if op.dtype.kind != "f":
        raise DoesNotFit(f"{op}")
    zero = exact(ops.Fill(like.op, op.shape_, 0, np.dtype(np.int64)), 0, 0)
    return replace(zero, step=np.zeros(len(zero.low)), offset=np.full(len(zero.low), float(op.value)))


@rule(ops.Neg)
def negate(op: ops.Neg, numbers: Numbers, x: Fixed) -> Fixed:
    """The same integers stand for the negative."""
    return replace(x, step=-x.step, offset=-x.offset)


@rule(ops.Add, ops.Sub)
def add(op: ops.Add | ops.Sub, numbers: Numbers, x: Fixed | np.ndarray, y: Fixed | np.ndarray) -> Fixed:
    """A constant moves the offset; a sum of two is a sum with weights."""
    if isinstance(op, ops.Sub):
        y = negate(op, numbers, y) if isinstance(y, Fixed) else np.asarray(-y)  # pyright: ignore[reportArgumentType]
    if isinstance(x, np.ndarray):
        x, y = y, x
    if not isinstance(x, Fixed):
        raise DoesNotFit("two constants")
    if isinstance(y, np.ndarray):
        return replace(x, offset=x.offset + constant(y, x))
    if x.op.shape != y.op.shape or len(x.op.shape) != 2:
        raise DoesNotFit("a sum that broadcasts")
    return together(x, y, numbers)


@rule(ops.Mul)
def multiply(op: ops.Mul, numbers: Numbers, x: Fixed | np.ndarray, y: Fixed | np.ndarray) -> Fixed:
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
    a = narrowed(centred(x), numbers)
    b = a if y is x else narrowed(centred(y), numbers)
    corners = np.stack([p * q for p in (a.low, a.high) for q in (b.low, b.high)])
    low = np.maximum(corners.min(0), 0) if y is x else corners.min(0)
    return Fixed(ops.Mul(a.op, b.op), low, corners.max(0), a.step * b.step, np.zeros(len(low)))


@rule(ops.Div)
def divide(op: ops.Div, numbers: Numbers, x: Fixed | np.ndarray, y: Fixed | np.ndarray) -> Fixed:
    """By a constant: the step changes."""
    if not isinstance(x, Fixed) or isinstance(y, Fixed) or not constant(y, x).all():
        raise DoesNotFit("a quotient of two")
    return replace(x, step=x.step / constant(y, x), offset=x.offset / constant(y, x))


@rule(ops.MatMul, heavy=True)
def product(op: ops.MatMul, numbers: Numbers, x: Fixed, y: Fixed | np.ndarray) -> Fixed:
    """The weights as integers."""
    if isinstance(y, Fixed):
        raise DoesNotFit("a product of two")
    return weigh(narrowed(x, numbers), y.astype(np.float64), numbers)


@rule(ops.ReduceSum, heavy=True)
def total(op: ops.ReduceSum, numbers: Numbers, x: Fixed) -> Fixed:
    """A product with ones."""
    return weigh(x, np.ones((len(x.low), 1)), numbers)


@rule(ops.AddColumns, heavy=True)
def add_columns(op: ops.AddColumns, numbers: Numbers, x: Fixed) -> Fixed:
    """A product with a matrix of ones and zeros."""
    weights = (op.output[:, None] == np.arange(len(op.start))).astype(np.float64)
    result = weigh(x, weights, numbers)
    return replace(result, offset=result.offset + op.start)


@rule(ops.Max, ops.Min)
def limit(op: ops.Max | ops.Min, numbers: Numbers, x: Fixed | np.ndarray, y: Fixed | np.ndarray) -> Fixed:
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
def curve(op: ops.Sigmoid | ops.Tanh | ops.Exp, numbers: Numbers, x: Fixed) -> Fixed:
    """A table of the function; the arguments end where it no longer changes by a step."""
    index, arguments = positions(op, numbers, one_step(x))
    value = op.reference(arguments)
    step = numbers.step(np.abs(value).max())
    if numbers.fraction is not None and numbers.outside == "saturate":
        value = np.clip(value, numbers.low * step, numbers.high * step)
    found, every = table(value / step, index.op)
    low, high, steps, offset = (np.full(len(x.low), v) for v in (every.min(), every.max(), step, 0.0))
    return Fixed(found, low, high, steps, offset)


def one_step(x: Fixed) -> Fixed:
    """With the same step in all columns."""
    x = x if (x.step < 0).all() else upright(x)
    if np.ptp(x.step) > 1e-12 * abs(x.step[0]):
        raise DoesNotFit("a function of columns of different steps")
    return x


def positions(op: Op, numbers: Numbers, x: Fixed) -> tuple[Fixed, np.ndarray]:
    """The integers that a function is read at, from 0 on, and the argument that each of them stands for.

    x: of one step. The lowest bits are left out: the middle of those arguments is the argument.
    """
    step, middle = float(x.step[0]), whole_offset(x)
    rest = x.offset - middle * x.step
    low, high = x.low + middle, x.high + middle
    first, last = (int(v) for v in np.clip(ends(op, numbers, step), low.min(), high.max()))
    start = Fixed(moved(x.op, middle - first), low - first, high - first, x.step, x.offset)
    shift = max(0, width(0, last - first) - min(numbers.precise + 2, LINE_BITS))
    index = shifted(clipped(start, 0, last - first), shift, "down")
    every = np.arange(((last - first) >> shift) + 1) * 2.0**shift + (2**shift - 1) / 2
    return index, (every + first) * step + (rest.min() + rest.max()) / 2


def ends(op: Op, numbers: Numbers, step: float) -> np.ndarray:
    """The least and the largest integer, in steps, where a function still changes by a step of its values."""
    flat = (numbers.precise + 1) * math.log(2)
    if isinstance(op, ops.Tanh):
        flat = (flat + math.log(2)) / 2
    limits = np.array([-flat, np.inf if isinstance(op, ops.Exp) else flat]) / step
    return np.sort(np.clip(np.floor(limits + 0.5), -(2.0**MOST_BITS), 2.0**MOST_BITS))


@rule(ops.Descend, heavy=True)
def descend(op: ops.Descend, numbers: Numbers, codes: Fixed) -> Fixed:
    """Codes are integers already; the result is the number of a leaf."""
    leaf = ops.Descend(codes.op, op.column, op.rank, op.left, op.right, op.roots)
    return exact(leaf, 0, max(0, len(op.left)) + len(op.roots) - 1)


@rule(ops.DescendSymmetric, heavy=True)
def descend_symmetric(op: ops.DescendSymmetric, numbers: Numbers, codes: Fixed) -> Fixed:
    """Codes are integers already; the result is the number of a leaf."""
    leaf = ops.DescendSymmetric(codes.op, op.column, op.rank, op.size)
    return exact(leaf, 0, int((2**op.size).sum()) - 1)


@rule(ops.LeafSum, heavy=True)
def leaf_sum(op: ops.LeafSum, numbers: Numbers, leaves: Fixed) -> Fixed:
    """What leaves hold, in steps above a number of each tree: small positive integers. The offset has the rest."""
    whole = whole_leaves(op, leaf_ranges(leaves.op), numbers)
    outputs = len(op.start)
    target = np.eye(outputs, dtype=np.int64)[op.output] if op.output is not None else None
    high = whole.most.sum(0) if target is None else target.T @ whole.most[:, 0]
    start = whole.least.sum(0) if target is None else target.T.astype(np.float64) @ whole.least[:, 0]
    sums = ops.LeafSum(leaves.op, whole.values, np.zeros(outputs, np.int64), op.output)
    offset = op.start.astype(np.float64) + start
    return Fixed(sums, np.zeros(outputs, np.int64), high, np.full(outputs, whole.step), offset)
