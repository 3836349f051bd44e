"""Operators made of exponentials: the hyperbolic tangent, sums of numbers that are known by their logarithms."""

from __future__ import annotations

import numpy as np

from tensorml.ops.elementwise import Unary
from tensorml.ops.reduce import RowOp


class Tanh(Unary):
    """The hyperbolic tangent. Executors agree within a few units in the last place."""

    function = np.tanh


class LogSumExp(RowOp):
    """log(sum(exp(x))) of each row, within the range of the dtype: -inf where all are. x: [N, C] float; result: [N, 1].

    Computed as log1p(s / m) + log(m) + top: m elements are equal to the largest, `top`, and s is the sum of
    exp(x - top) over the others, which keeps the bits that log(1 + s) would lose.
    Source: scipy.special.logsumexp, from version 1.15 on; executors agree within rounding of the largest element.
    """

    def scratch_bytes(self) -> int:
        """The shifted elements, their exponentials, and which are the largest."""
        return (2 * self.dtype.itemsize + 1) * self.x.columns

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        with np.errstate(all="ignore"):
            top = x.max(axis=1, keepdims=True)
            largest = x == top
            shifted = np.where(largest, np.array(-np.inf, x.dtype), x) - np.where(np.isfinite(top), top, 0)
            rest = np.exp(shifted).sum(axis=1, keepdims=True)
            count = largest.sum(axis=1, keepdims=True, dtype=x.dtype)
            return np.log1p(np.where(rest == 0, rest, rest / count)) + np.log(count) + top
