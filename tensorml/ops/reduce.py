"""Operators that reduce the columns of each row. They never reduce over the batch."""

from __future__ import annotations

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Op, TensorType


class RowOp(Op):
    """The base of operators on the columns of [N, C]."""

    x: Op

    def infer(self) -> TensorType:
        if len(self.x.shape) != 2 or self.x.columns == 0:
            raise GraphTypeError(f"{type(self).__name__} takes [N, C] with C > 0, not {self.x.type}")
        return TensorType(self.result_shape(), self.x.dtype)

    def result_shape(self) -> tuple[int | str, ...]:
        """[N, 1]; an operator that keeps the columns says otherwise."""
        return (self.x.shape[0], 1)


class ReduceSum(RowOp):
    """The sum of each row. x: [N, C]; result: [N, 1]. The order of summation is the executor's own."""

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return operands[0].sum(axis=1, keepdims=True, dtype=self.dtype)


class ReduceMax(RowOp):
    """The largest element of each row, NaN if there is one. x: [N, C]; result: [N, 1]."""

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return operands[0].max(axis=1, keepdims=True)


class ArgMax(RowOp):
    """The column of each row's largest element, the first one in a tie; the first NaN if there is one.

    x: [N, C]; result: int64 [N].
    """

    def infer(self) -> TensorType:
        return TensorType((super().infer().shape[0],), np.dtype(np.int64))

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return operands[0].argmax(axis=1)


class Softmax(RowOp):
    """exp(x) over its sum in each row, shifted by the row's maximum. x: [N, C] float; result: the same type."""

    def result_shape(self) -> tuple[int | str, ...]:
        return self.x.shape

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        with np.errstate(all="ignore"):
            e = np.exp(x - x.max(axis=1, keepdims=True))
            return e / e.sum(axis=1, keepdims=True)


class LogSoftmax(RowOp):
    """The logarithm of Softmax, without leaving the range of the dtype. x: [N, C] float; result: the same type."""

    def result_shape(self) -> tuple[int | str, ...]:
        return self.x.shape

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        with np.errstate(all="ignore"):
            shifted = x - x.max(axis=1, keepdims=True)
            return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


class WeightedMedian(RowOp):
    """The element of each row at which the weights of the elements up to it, by size, reach half of all weights.

    x: [N, C] float; weights: float64 [C], none negative. Result: [N, 1], dtype of x. Weights are added by size of
    their elements; executors may order equal elements differently, so that rounding may move a sum across the half.
    """

    weights: np.ndarray

    def infer(self) -> TensorType:
        if self.weights.shape != (self.x.columns,) or self.weights.dtype != np.dtype(np.float64):
            raise GraphTypeError(f"WeightedMedian by {self.weights.dtype}{self.weights.shape} of {self.x.type}")
        return super().infer()

    def scratch_bytes(self) -> int:
        """The sorted elements, their order, the sums of weights and what is compared with them."""
        return 33 * self.x.columns

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        order = np.argsort(x, axis=1)
        reached = np.cumsum(self.weights[order], axis=1)
        place = (reached >= 0.5 * reached[:, -1:]).argmax(axis=1)
        return np.take_along_axis(x, np.take_along_axis(order, place[:, None], axis=1), axis=1)


class Median(Op):
    """The median of each row: of an even number of elements the mean of the middle two. x: float [N, C]; [N, 1]."""

    x: Op

    def infer(self) -> TensorType:
        if len(self.x.shape) != 2 or self.x.columns == 0 or self.x.dtype.kind != "f":
            raise GraphTypeError(f"Median takes [N, C] of floats, not {self.x.type}")
        return TensorType((self.x.shape[0], 1), self.x.dtype)

    def scratch_bytes(self) -> int:
        """The sorted row."""
        return 3 * self.x.type.row_bytes()

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return np.median(operands[0], axis=1, keepdims=True).astype(self.dtype)
