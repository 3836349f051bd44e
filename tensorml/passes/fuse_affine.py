"""Fold scaling into the matrix product that follows."""

from __future__ import annotations

import numpy as np

from tensorml.graph import Const, Graph, Op
from tensorml.ops import Add, Div, Finite, MatMul, Mul, Sub


def fuse_affine(graph: Graph) -> Graph:
    """FAST: scaling and shifting of the columns before a matrix product become part of its weights and of a constant.

    Sums in another order: float32 results move by about 3e-6 of the largest term, float64 by 1e-14; where a mean is
    large against its scale, the subtraction now happens between large products and loses as many digits as that ratio.
    A check for NaN and infinity moves before the scaling: what overflows in the scaling alone is no longer refused.
    """
    return graph.rewrite(_fuse)


def _fuse(op: Op) -> Op | None:
    match op:
        case Finite(x=Div() | Mul() | Sub() | Add() as scaled) if _finite_scaling(scaled):
            return type(scaled)(Finite(scaled.x, op.nan, op.reader), scaled.y)
        case MatMul(x=Div(x=x, y=Const(value=s)), y=Const(value=w)) if _per_column(s, w):
            return MatMul(x, Const(w / _column(s)))
        case MatMul(x=Mul(x=x, y=Const(value=s)), y=Const(value=w)) if _per_column(s, w):
            return MatMul(x, Const(w * _column(s)))
        case MatMul(x=Sub(x=x, y=Const(value=m)), y=Const(value=w)) if _per_column(m, w) and x.shape == op.x.shape:
            return Sub(MatMul(x, Const(w)), Const(_row(m, w)))
        case MatMul(x=Add(x=x, y=Const(value=m)), y=Const(value=w)) if _per_column(m, w) and x.shape == op.x.shape:
            return Add(MatMul(x, Const(w)), Const(_row(m, w)))
        case Add(x=Sub(x=x, y=Const(value=a)), y=Const(value=b)):
            return Add(x, Const(b - a))
        case Add(x=Add(x=x, y=Const(value=a)), y=Const(value=b)):
            return Add(x, Const(a + b))
    return None


def _finite_scaling(op: Div | Mul | Sub | Add) -> bool:
    """Whether finite columns stay finite and others do not, but for overflow."""
    if not isinstance(op.y, Const) or op.x.shape != op.shape:
        return False
    nonzero = isinstance(op, Sub | Add) or bool((op.y.value != 0).all())
    return nonzero and bool(np.isfinite(op.y.value).all())


def _per_column(values: np.ndarray, weights: np.ndarray) -> bool:
    return values.size == weights.shape[0] or values.size == 1


def _column(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, 1)


def _row(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.broadcast_to(values.reshape(-1), weights.shape[0]) @ weights
