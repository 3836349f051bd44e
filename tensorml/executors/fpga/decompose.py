"""A graph as a circuit takes it: products and functions that there are rules for, values compared as they come."""

from __future__ import annotations

import numpy as np

from tensorml import ops
from tensorml.graph import Const, Graph, Op
from tensorml.passes.rank_before_steps import rank_before_all_steps

ON_HOST = (ops.Kernel, ops.Nearest, ops.DistanceTo, ops.Distance, ops.KernelExpansion, ops.ClosestCentre)


def decompose(graph: Graph) -> Graph:
    """The graph with closest centres, Euclidean distances and kernel expansions in terms of matrix products.

    What scales, limits and imputes values before trees is folded into the trees' thresholds. Nothing
    depends on which other outputs there are, so that outputs of one core still have one.
    """
    return rank_before_all_steps(graph.rewrite(_decomposed))


def _decomposed(op: Op) -> Op | None:
    match op:
        case ops.ClosestCentre(x=x, table=Const(value=table), squares=Const(value=squares)):
            return ops.ArgMax(x @ (2 * table.T) - squares.T)
        case ops.Distance(x=x, table=Const(value=table), metric="euclidean", true=true):
            squared = squared_distance(x, table)
            return ops.cast(ops.Sqrt(squared) if true else squared, op.dtype)
        case ops.KernelExpansion(metric="rbf"):
            return ops.Exp(squared_distance(op.x, op.y) * -op.dtype.type(op.gamma)) @ op.coef
        case ops.KernelExpansion(metric="sigmoid"):
            return ops.Tanh(affine(op)) @ op.coef
        case ops.KernelExpansion(metric="polynomial") if op.degree == int(op.degree) and 1 <= op.degree <= 4:
            power = base = affine(op)
            for _ in range(int(op.degree) - 1):
                power = power * base
            return power @ op.coef
        case ops.Where(condition=ops.Less(x=x, y=Const() as bound), x=Const() as low, y=y) if limits(x, y, bound, low):
            return ops.Max(x, bound)
        case ops.Where(condition=ops.Greater(x=x, y=Const() as bound), x=Const() as high, y=y) if limits(
            x, y, bound, high
        ):
            return ops.Min(x, bound)
        case ops.LeafSum(leaves=ops.Cast(x=ops.Add(x=x, y=Const(value=first))), output=None):
            sizes = tuple(int(s) for s in np.diff([*first.reshape(-1), len(op.values)]))
            return ops.OneHot(x, sizes, op.dtype) @ op.values + op.start
    return None


def limits(x: Op, y: Op, bound: Const, other: Const) -> bool:
    """Whether a choice between x and a constant is the larger or the smaller one of both."""
    return x is y and bound.value.size == 1 and np.array_equal(bound.value, other.value)


def affine(op: ops.KernelExpansion) -> Op:
    """The products with the table, scaled: gamma x y + coef0."""
    return op.x @ (op.y.T * op.dtype.type(op.gamma)) + op.dtype.type(op.coef0)


def squared_distance(x: Op, table: np.ndarray) -> Op:
    """|x|^2 - 2 x c + |c|^2, not below 0."""
    ones = np.ones((table.shape[1], len(table)), table.dtype)
    cross = (x * x) @ ones + x @ (-2 * table.T)
    return ops.Max(cross + (table * table).sum(1), Const(np.zeros((), table.dtype)))
