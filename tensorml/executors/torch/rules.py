"""What PyTorch does for each operator. A rule gets the operator, the emitter and its operands as fx proxies."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tensorml import ops
from tensorml.executors.base import Rules
from tensorml.executors.torch.elementwise import LOOPS, Elementwise, by_numpy
from tensorml.executors.torch.forests import ColumnSum
from tensorml.executors.torch.trees import descend, descend_symmetric, leaf_sum

if TYPE_CHECKING:
    from torch.fx import Proxy

    from tensorml.executors.torch.program import Emitter


Rule = Callable[..., Any]  # operator, emitter, operands -> the result: a Proxy, as the operands

rules: Rules[Rule] = Rules("torch")

FUNCTIONS = {
    ops.Neg: torch.neg,
    ops.Abs: torch.abs,
    ops.Sqrt: torch.sqrt,
    ops.Exp: torch.exp,
    ops.Log: torch.log,
    ops.Log1p: torch.log1p,
    ops.Sigmoid: torch.sigmoid,
    ops.IsNaN: torch.isnan,
    ops.Not: torch.logical_not,
    ops.Add: torch.add,
    ops.Sub: torch.sub,
    ops.Mul: torch.mul,
    ops.Div: torch.div,
    ops.Pow: torch.pow,
    ops.Max: torch.maximum,
    ops.Min: torch.minimum,
    ops.Less: torch.lt,
    ops.LessOrEqual: torch.le,
    ops.Greater: torch.gt,
    ops.GreaterOrEqual: torch.ge,
    ops.Equal: torch.eq,
    ops.And: torch.logical_and,
    ops.Or: torch.logical_or,
    ops.Where: torch.where,
}


IN_PLACE = {
    ops.Neg,
    ops.Abs,
    ops.Sqrt,
    ops.Exp,
    ops.Log,
    ops.Log1p,
    ops.Sigmoid,
    ops.Add,
    ops.Sub,
    ops.Mul,
    ops.Div,
    ops.Pow,
}
FRESH = {*FUNCTIONS, ops.MatMul, ops.Softmax, ops.LogSoftmax, ops.ReduceSum, ops.ReduceMax}
FEW = 16  # columns of a float32 product below which torch is faster by columns than by rows
MANY = 64  # columns from which on torch reduces them faster by rows than by columns
SIGNED = {"uint16": torch.int16, "uint32": torch.int32, "uint64": torch.int64}


def dtype_of(dtype: np.dtype) -> torch.dtype:
    """The torch dtype of the same name."""
    return getattr(torch, dtype.name)


@rules.rule(*FUNCTIONS)
def function(op: ops.Input, emitter: Emitter, *operands: Proxy) -> Proxy:
    """Operators that torch has as a function of the same operands; a first one that nobody misses is overwritten."""
    first, nodes = op.operands[0], tuple(operand.node for operand in operands)
    overwrite = type(op) in IN_PLACE and first.type == op.type and emitter.disposable(first)
    if emitter.eager and by_numpy(op):
        return emitter.call(Elementwise(LOOPS[type(op)], FUNCTIONS[type(op)], overwrite), *operands)
    if overwrite:
        return emitter.proxy(emitter.graph.call_method(f"{FUNCTIONS[type(op)].__name__}_", nodes))
    return emitter.proxy(emitter.graph.call_function(FUNCTIONS[type(op)], nodes))


class ToHalf(nn.Module):
    """float64 to float16 in one rounding. torch rounds to float32 on the way, which may move a number onto a tie.

    The float32 neighbour on the other side of x rounds to the other candidate; the closer of the two is right. A tie
    of float16 itself is a float32 number, so no rounding comes before it.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same shape as x, which is float64."""
        single = x.to(torch.float32)
        rounded = single.to(torch.float64)
        toward = torch.where(rounded < x, math.inf, -math.inf).to(torch.float32)
        first, second = single.to(torch.float16), torch.nextafter(single, toward).to(torch.float16)
        closer = (second.to(torch.float64) - x).abs() < (first.to(torch.float64) - x).abs()
        return torch.where(closer & (rounded != x), second, first)


@rules.rule(ops.MatMul)
def mat_mul(op: ops.MatMul, emitter: Emitter, x: Proxy, y: Proxy) -> Proxy:
    """The product, as (y.T @ x.T).T where that is faster: the result's columns then lie one after the other in memory.

    With torch's MKL, for 4 to 500 columns of x: 1.5 to 4 times as fast, in float32 only while the columns are few.
    Of a result that is returned, many columns would have to be brought into rows again: those are computed, in float64
    with y by its columns, which MKL does in 0.8 to 0.9 of the time.
    """
    if op.columns > 1 and (op.columns < FEW or (op.dtype == np.float64 and op not in emitter.outputs)):
        return y.t().matmul(x.t()).t()
    by_columns = op.dtype == np.float64 and op.columns >= FEW and isinstance(op.y, ops.Const)
    return x.matmul(y.t().contiguous().t() if by_columns else y)


@rules.rule(ops.Cast)
def cast(op: ops.Cast, emitter: Emitter, x: Proxy) -> Proxy:
    """Conversion of the dtype."""
    if op.dtype == np.float16 and op.x.dtype == np.float64:
        return emitter.call(ToHalf(), x)
    return x.to(dtype_of(op.dtype))


@rules.rule(ops.ReduceSum)
def reduce_sum(op: ops.ReduceSum, emitter: Emitter, x: Proxy) -> Proxy:
    """The sum of each row, in the dtype of x."""
    return x.sum(dim=1, keepdim=True, dtype=dtype_of(op.dtype))


@rules.rule(ops.ReduceMax)
def reduce_max(op: ops.ReduceMax, emitter: Emitter, x: Proxy) -> Proxy:
    """The maximum of each row."""
    return x.amax(dim=1, keepdim=True)


@rules.rule(ops.ArgMax)
def arg_max(op: ops.ArgMax, emitter: Emitter, x: Proxy) -> Proxy:
    """The first maximum of each row, or its first NaN.

    By columns: each column's distance to the end where it holds the maximum, else 0; the largest is the first one's.
    """
    count = op.x.columns
    if count >= MANY:
        return x.argmax(dim=1)
    columns = x.t().contiguous()
    holds = columns.eq(columns.amax(dim=0)).logical_or(columns.ne(columns))
    to_end = emitter.constant(np.arange(count, 0, -1, dtype=np.uint8)[:, None])
    return holds.to(torch.uint8).mul(to_end).amax(dim=0).to(torch.int64).neg().add(count)


@rules.rule(ops.Softmax)
def softmax(op: ops.Softmax, emitter: Emitter, x: Proxy) -> Proxy:
    """Softmax over the columns."""
    return x.softmax(dim=1) if op.columns >= MANY else x.t().contiguous().softmax(dim=0).t()


@rules.rule(ops.LogSoftmax)
def log_softmax(op: ops.LogSoftmax, emitter: Emitter, x: Proxy) -> Proxy:
    """Log-softmax over the columns."""
    return x.log_softmax(dim=1) if op.columns >= MANY else x.t().contiguous().log_softmax(dim=0).t()


class WeightedMedian(nn.Module):
    """The element at which the weights up to it reach half of all, in each row."""

    def forward(self, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """x: [N, C]; weights: float64 [C]; result: [N, 1]."""
        values, order = torch.sort(x, stable=True, dim=1)
        reached = weights.take(order).cumsum(1)
        half = reached.narrow(1, x.size(1) - 1, 1) * 0.5
        return values.gather(1, reached.ge(half).to(torch.uint8).argmax(1, keepdim=True))


@rules.rule(ops.WeightedMedian)
def weighted_median(op: ops.WeightedMedian, emitter: Emitter, x: Proxy) -> Proxy:
    """A stable sort, and the sums of weights in its order."""
    return emitter.call(WeightedMedian(), x, emitter.constant(op.weights))


class Median(nn.Module):
    """The median of each row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, C]; result: [N, 1]."""
        ordered, half = x.sort(dim=1)[0], x.size(1) // 2
        if x.size(1) % 2 == 1:
            return ordered[:, half : half + 1]
        return (ordered[:, half - 1 : half] + ordered[:, half : half + 1]) / 2


@rules.rule(ops.Median)
def median(op: ops.Median, emitter: Emitter, x: Proxy) -> Proxy:
    """A sort, and the middle."""
    return emitter.call(Median(), x)


@rules.rule(ops.Columns)
def columns(op: ops.Columns, emitter: Emitter, x: Proxy) -> Proxy:
    """A view where the columns are adjacent, else a copy."""
    start, count = int(op.indices[0]) if len(op.indices) else 0, len(op.indices)
    if np.array_equal(op.indices, np.arange(start, start + count)):
        return x.narrow(1, start, count)
    return x.index_select(1, emitter.constant(op.indices))


@rules.rule(ops.Concat)
def concat(op: ops.Concat, emitter: Emitter, *parts: Proxy) -> Proxy:
    """Columns side by side."""
    return emitter.proxy(emitter.graph.call_function(torch.cat, ([part.node for part in parts], 1)))


@rules.rule(ops.Reshape)
def reshape(op: ops.Reshape, emitter: Emitter, x: Proxy) -> Proxy:
    """A view where the memory allows it."""
    return x.reshape([x.size(0), *op.shape_])


@rules.rule(ops.Take)
def take(op: ops.Take, emitter: Emitter, table: Proxy, index: Proxy) -> Proxy:
    """Rows of the table. torch selects no unsigned integers wider than a byte: they pass as signed ones, which wrap."""
    signed = SIGNED.get(op.dtype.name)
    rows = (table if signed is None else table.to(signed)).index_select(0, index.reshape([-1]))
    rows = rows if signed is None else rows.to(dtype_of(op.dtype))
    return rows.reshape([index.size(0), *map(int, op.shape[1:])])


@rules.rule(ops.GatherElements)
def gather_elements(op: ops.GatherElements, emitter: Emitter, x: Proxy, index: Proxy) -> Proxy:
    """A gather along each row."""
    return x.gather(1, index.to(torch.int64))


@rules.rule(ops.AddColumns)
def add_columns(op: ops.AddColumns, emitter: Emitter, x: Proxy) -> Proxy:
    """Column after column."""
    return emitter.call(ColumnSum(op.start.copy(), [int(k) for k in op.output]), x)


@rules.rule(ops.OneHot)
def one_hot(op: ops.OneHot, emitter: Emitter, x: Proxy) -> Proxy:
    """A compare of each code with each category; of many categories, ones scattered among zeros."""
    if sum(op.sizes) >= MANY:
        return scattered(op, emitter, x)
    columns = np.repeat(np.arange(len(op.sizes)), op.sizes)
    codes = np.concatenate([np.arange(size) for size in op.sizes]).astype(op.x.dtype)
    return x.index_select(1, emitter.constant(columns)).eq(emitter.constant(codes)).to(dtype_of(op.dtype))


def scattered(op: ops.OneHot, emitter: Emitter, x: Proxy) -> Proxy:
    """A one for each code, put among zeros; a code that is none puts a zero into its first column."""
    sizes = np.array(op.sizes, np.int64)
    filled = np.flatnonzero(sizes)
    codes = x.index_select(1, emitter.constant(filled)).to(torch.int64)
    known = codes.ge(0).logical_and(codes.lt(emitter.constant(sizes[filled])))
    place = codes.mul(known).add(emitter.constant((np.cumsum(sizes) - sizes)[filled]))
    options = {"dtype": dtype_of(op.dtype), "device": x.device.node}
    zeros = emitter.graph.call_function(torch.zeros, ([x.size(0).node, int(sizes.sum())],), options)
    return emitter.proxy(zeros).scatter_(1, place, known.to(dtype_of(op.dtype)))


@rules.rule(ops.Fill)
def fill(op: ops.Fill, emitter: Emitter, like: Proxy) -> Proxy:
    """A constant for each row."""
    return emitter.proxy(
        emitter.graph.call_function(
            torch.full,
            ([like.size(0).node, *op.shape_], op.value),
            {"dtype": dtype_of(op.dtype), "device": like.device.node},
        )
    )


@rules.rule(ops.Rank)
def rank(op: ops.Rank, emitter: Emitter, x: Proxy) -> Proxy:
    """A binary search per column, over boundaries padded to one length; the count is cut at each column's own length.

    Computed as [K, N], which is how the tree rules read it.
    """
    count = np.diff(op.offsets)
    padded = np.full((len(count), max(1, int(count.max(initial=0)))), np.inf, op.boundaries.dtype)
    padded[np.arange(padded.shape[1]) < count[:, None]] = op.boundaries
    values = x.t().index_select(0, emitter.constant(np.asarray(op.source, np.int64)))
    found = emitter.proxy(
        emitter.graph.call_function(
            torch.searchsorted,
            (emitter.constant(padded).node, values.node),
            {"out_int32": True, "right": not op.strict},
        )
    )
    limit = emitter.constant(count.astype(np.int32)[:, None])
    nan = emitter.constant(np.asarray(op.nan, np.int32)[:, None])
    return found.minimum(limit).where(values.eq(values), nan).to(dtype_of(op.dtype)).t()


@rules.rule(ops.Lookup)
def lookup(op: ops.Lookup, emitter: Emitter, x: Proxy) -> Proxy:
    """A table read at the truncated value; its last two entries are for values out of range and for NaN."""
    width = op.table.shape[1]
    values = x.index_select(1, emitter.constant(np.asarray(op.source, np.int64)))
    low = values.gt(-1) if op.truncate_negative else values.ge(0)
    inside = low.logical_and(values.lt(width - 2))
    outside = emitter.constant(np.array(width - 2, op.x.dtype))
    missing = emitter.constant(np.array(width - 1, op.x.dtype))
    index = values.where(inside, outside).where(values.eq(values), missing).to(torch.int64)
    flat = index.add(emitter.constant(np.arange(len(op.source)) * width))
    return emitter.constant(np.ascontiguousarray(op.table).reshape(-1)).take(flat)


@rules.rule(ops.Find)
def find(op: ops.Find, emitter: Emitter, x: Proxy) -> Proxy:
    """The place in the sorted keys, if the key there is the value."""
    count = emitter.constant(np.array(len(op.keys), np.int64))
    if not len(op.keys):
        return x.mul(0)
    keys, values = emitter.constant(np.ascontiguousarray(op.keys)), x.contiguous()
    place = emitter.proxy(emitter.graph.call_function(torch.searchsorted, (keys.node, values.node)))
    return place.where(keys.take(place.clamp(max=len(op.keys) - 1)).eq(x), count)


rules.rule(ops.Descend)(descend)
rules.rule(ops.DescendSymmetric)(descend_symmetric)
rules.rule(ops.LeafSum)(leaf_sum)
