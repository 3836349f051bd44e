"""Operators on neighbours that were found: chosen rows of a table, or chosen columns, by an index [N, K]."""

from __future__ import annotations

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Op, TensorType


class Votes(Op):
    """The weights of the votes for each class, added vote by vote. label: int64 [N, K]; weight: float64 [N, K].

    Result: float64 [N, classes].
    """

    label: Op
    weight: Op
    classes: int

    def infer(self) -> TensorType:
        if self.label.shape != self.weight.shape or self.weight.dtype != np.dtype(np.float64):
            raise GraphTypeError(f"Votes does not take {self.label.type} and {self.weight.type}")
        return TensorType((self.label.shape[0], self.classes), self.weight.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        label, weight = operands
        result, rows = np.zeros((len(label), self.classes)), np.arange(len(label))
        for k in range(label.shape[1]):
            result[rows, label[:, k]] += weight[:, k]
        return result


class Scatter(Op):
    """Values at chosen columns, 0 elsewhere. index: int64 [N, K], distinct in a row; value: float [N, K].

    Result: [N, columns_], dtype of value. As the output of a sparse matrix, programs compute values and indices alone.
    """

    index: Op
    value: Op
    columns_: int

    def infer(self) -> TensorType:
        if self.index.shape != self.value.shape or self.index.dtype != np.dtype(np.int64):
            raise GraphTypeError(f"Scatter does not take {self.index.type} and {self.value.type}")
        return TensorType((self.index.shape[0], self.columns_), self.value.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        index, value = operands
        result = np.zeros((len(index), self.columns_), value.dtype)
        np.put_along_axis(result, index, value, axis=1)
        return result


class WeightedRows(Op):
    """The weighted sum of chosen rows of a table, added row by row. table: [M, C]; index: int64 [N, K].

    weight: [N, K], dtype of the table. Result: [N, C], that dtype.
    """

    table: Op
    index: Op
    weight: Op

    def infer(self) -> TensorType:
        if self.index.shape != self.weight.shape or self.weight.dtype != self.table.dtype or self.table.type.batched:
            raise GraphTypeError(f"{self.table.type} by {self.index.type}, weighed by {self.weight.type}")
        return TensorType((self.index.shape[0], self.table.columns), self.table.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        table, index, weight = operands
        result = weight[:, :1] * table[index[:, 0]]
        for k in range(1, index.shape[1]):
            result += weight[:, k, None] * table[index[:, k]]
        return result


class MinPlus(Op):
    """The least of the sums of chosen rows of a table and what is to be added to each: a step of shortest paths.

    table: float [M, C]; index: int64 [N, K]; more: [N, K], dtype of the table. Result: [N, C], that dtype.
    """

    table: Op
    index: Op
    more: Op

    def infer(self) -> TensorType:
        if self.index.shape != self.more.shape or self.more.dtype != self.table.dtype or self.table.type.batched:
            raise GraphTypeError(f"{self.table.type} by {self.index.type} and {self.more.type}")
        return TensorType((self.index.shape[0], self.table.columns), self.table.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        table, index, more = operands
        result = table[index[:, 0]] + more[:, :1]
        for k in range(1, index.shape[1]):
            np.minimum(result, table[index[:, k]] + more[:, k, None], out=result)
        return result


class Barycentre(Op):
    """The weights, of sum one, by which chosen rows of a table come nearest to each row.

    x: float [N, F]; table: [M, F], the same dtype; index: int64 [N, K]; regularization: the share of the trace of the
    local covariance that is added to its diagonal. Result: [N, K], dtype of x. Executors agree within rounding.
    Source: sklearn.manifold._locally_linear.barycenter_weights.
    """

    x: Op
    table: Op
    index: Op
    regularization: float

    def infer(self) -> TensorType:
        if self.x.dtype != self.table.dtype or self.x.columns != self.table.columns:
            raise GraphTypeError(f"Barycentre does not take {self.x.type} and {self.table.type}")
        return TensorType(self.index.shape, self.x.dtype)

    def scratch_bytes(self) -> int:
        """The chosen rows, and the covariance with its factors."""
        count = self.index.columns
        return self.dtype.itemsize * count * (2 * self.x.columns + 4 * count)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        x, table, index = operands
        gap = table[index] - x[:, None]
        product = gap @ gap.transpose(0, 2, 1)
        trace = np.trace(product, axis1=1, axis2=2)[:, None]
        diagonal = np.arange(index.shape[1])
        product[:, diagonal, diagonal] += np.where(trace > 0, self.regularization * trace, self.regularization)
        weight = np.linalg.solve(product, np.ones((*index.shape, 1), x.dtype))[:, :, 0]
        return weight / weight.sum(axis=1, keepdims=True)
