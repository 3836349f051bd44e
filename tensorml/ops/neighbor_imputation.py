"""Missing values from the nearest rows that have them."""

from __future__ import annotations

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Op, TensorType


class NeighborImputation(Op):
    """`x` with each NaN replaced by the mean of its column over the nearest `neighbors` rows that have the column.

    The distance is Euclidean over the columns that both rows have, scaled up to all columns; where there is none, a row
    is no neighbour, and `means[column]` stands in if no row is one. weighted: by one over the distance; rows at
    distance 0 count alone then, and the result is 0 where all of them are at distance infinity, which squares too large
    for the dtype make. A column that all rows lack stays as it is.
    x, rows: [N, F] and [M, F], float32 or float64 of one dtype, NaN where missing; means: [F]. Result: [N, F].
    Which of several rows at the same distance are the nearest is the executor's own choice. The source's is that of
    np.argpartition, which differs from processor to processor (AVX-512, AVX2, neither): there is no single answer.
    Source: sklearn.impute.KNNImputer.transform, sklearn.metrics.pairwise.nan_euclidean_distances.
    """

    x: Op
    rows: np.ndarray
    means: np.ndarray
    neighbors: int
    weighted: bool

    def infer(self) -> TensorType:
        if self.x.dtype.kind != "f" or self.x.dtype != self.rows.dtype or self.x.columns != self.rows.shape[1]:
            raise GraphTypeError(f"NeighborImputation by {self.rows.dtype} rows does not take {self.x.type}")
        return self.x.type

    def scratch_bytes(self) -> int:
        """The distances, what is taken off them, and those of one column's donors with their order."""
        return 40 * len(self.rows) + 16 * self.x.columns

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        result, missing = x.copy(), np.isnan(x)
        with np.errstate(all="ignore"):
            distances = nan_distances(x, self.rows)
            for column in np.flatnonzero(~np.isnan(self.rows).all(axis=0)).tolist():
                receivers = np.flatnonzero(missing[:, column])
                donors = np.flatnonzero(~np.isnan(self.rows[:, column]))
                result[receivers, column] = self.imputed(distances[receivers][:, donors], donors, column)
        return result

    def imputed(self, distances: np.ndarray, donors: np.ndarray, column: int) -> np.ndarray:
        """One column's values. distances: [N, donors]; donors: int64 [donors]. Result: [N]."""
        nearest = np.argpartition(distances, min(self.neighbors, len(donors)) - 1, axis=1)[:, : self.neighbors]
        near = np.take_along_axis(distances, nearest, axis=1)
        weights = np.ones_like(near)
        if self.weighted:
            weights = 1 / near
            at_zero = np.isinf(weights)
            weights = np.where(at_zero.any(axis=1, keepdims=True), at_zero, weights).astype(near.dtype)
        weights[np.isnan(near)] = 0
        values = self.rows[donors, column][nearest]
        total = weights.sum(axis=1)
        mean = np.where(total == 0, np.zeros_like(total), (values * weights).sum(axis=1) / total)
        return np.where(np.isnan(distances).all(axis=1), self.means[column], mean)


def nan_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Euclidean distances over what both rows have, scaled to all columns. Result: [N, M], dtype of x; NaN for none.

    Source: sklearn.metrics.pairwise.nan_euclidean_distances; float32 products are summed in float64, then rounded.
    """
    missing_x, missing_y = np.isnan(x), np.isnan(y)
    x, y = np.where(missing_x, 0, x).astype(x.dtype), np.where(missing_y, 0, y).astype(x.dtype)
    wide_x, wide_y = x.astype(np.float64), y.astype(np.float64)
    d = -2 * (wide_x @ wide_y.T) + (wide_x * wide_x).sum(axis=1)[:, None] + (wide_y * wide_y).sum(axis=1)
    d = np.maximum(d, 0).astype(x.dtype)
    d -= (x * x) @ missing_y.T.astype(x.dtype)
    d -= missing_x.astype(x.dtype) @ (y * y).T
    np.clip(d, 0, None, out=d)
    count = (~missing_x).astype(x.dtype) @ (~missing_y).T.astype(x.dtype)
    d[count == 0] = np.nan
    d /= np.maximum(1, count)
    d *= x.shape[1]
    return np.sqrt(d)
