"""Distances between each row of the batch and the rows of a table, by any metric; the closest centre."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Op, TensorType

BLOCK = 2**18  # distances that are held at once where no operator asks for all of them
ROOTS = ("euclidean", "seuclidean", "mahalanobis", "nan_euclidean")  # metrics whose surrogate is the square
COUNTS = ("dice", "jaccard", "rogerstanimoto", "russellrao", "sokalmichener", "sokalsneath", "yule")
SUMS = ("euclidean", "seuclidean", "manhattan", "chebyshev", "minkowski", "canberra", "hamming")
OTHERS = ("braycurtis", "braycurtis of sums", "haversine", "mahalanobis", "nan_euclidean", "cosine", "precomputed")
METRICS = (*SUMS, *COUNTS, *OTHERS)
NO_WEIGHTS = np.empty(0)


class MetricOp(Op):
    """The base of operators on distances between the rows of x and of a table.

    x: [N, F] float32 or float64; table: [M, F], the same dtype; metric: one of METRICS; p: of "minkowski"; w: float64,
    the variances [F] of "seuclidean", the weights [F] of "minkowski" (empty: none), the inverse covariance [F, F] of
    "mahalanobis"; true: whether the distance itself is meant, else a number that orders as it does (its square, ...).
    Distances are float64, added feature by feature; of float32 operands the differences and each distance are rounded
    to float32 first. "braycurtis of sums" divides by |x + y| where "braycurtis" has |x| + |y|. "cosine" takes rows of
    length one and stays in their dtype. "precomputed": x holds the distances [N, M], and the table only their number.
    Source: sklearn.metrics._dist_metrics.DistanceMetric and its subclasses, `rdist` and `dist`.
    """

    x: Op
    table: Op
    metric: str
    p: float
    w: np.ndarray
    true: bool

    def infer(self) -> TensorType:
        x, table = self.x.type, self.table.type
        given = self.metric == "precomputed"
        fits = len(x.shape) == len(table.shape) == 2 and not table.batched
        fits = fits and (x.shape[1] == table.shape[0] if given else x.shape[1] == table.shape[1])
        if not fits or self.metric not in METRICS or (x.dtype != table.dtype and not given):
            raise GraphTypeError(f"{type(self).__name__} by '{self.metric}' does not take {x} and {table}")
        return TensorType((x.shape[0], *self.width()), self.dtype_of_distance())

    def width(self) -> tuple[int, ...]:
        """The dimensions of the result after N."""
        return (int(self.table.shape[0]),)

    def dtype_of_distance(self) -> np.dtype:
        """float64, or what the metric stays in."""
        return self.x.dtype if self.metric in ("cosine", "precomputed") else np.dtype(np.float64)

    def scratch_bytes(self) -> int:
        """Two partial sums beside the result."""
        return 3 * self.type.row_bytes()

    def between(self, x: np.ndarray, columns: Sequence[np.ndarray]) -> np.ndarray:
        """Distances of the rows of x to points that `columns` give feature by feature, each [K] or [N, K]."""
        return distances(self.metric, x, columns, self.p, self.w, self.true)


class Distance(MetricOp):
    """The distances of each row to all rows of the table: [N, M]."""

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        x, table = operands
        return x if self.metric == "precomputed" else self.between(x, list(table.T))


class DistanceTo(MetricOp):
    """The distances of each row to chosen rows of the table. index: int64 [N, K]; result: [N, K]."""

    index: Op

    def width(self) -> tuple[int, ...]:
        """As many as chosen."""
        return (self.index.columns,)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        x, table, index = operands
        if self.metric == "precomputed":
            return np.take_along_axis(x, index, axis=1)
        return self.between(x, [column[index] for column in table.T])


class ClosestCentre(Op):
    """The row of a table with the least |c|^2 - 2 x c: the closest to each row, the first in a tie. int64 [N].

    x: [N, F] float32 or float64; table: [C, F]; squares: [C, 1], the |c|^2; all of one dtype, which the products keep.
    NaN, where huge rows overflow, is not less than anything: as in the source's loop, the centre found before it stays.
    Executors add products in their own order: centres as close as rounding may change places, equal ones never.
    Source: sklearn.cluster._k_means_lloyd._update_chunk_dense.
    """

    x: Op
    table: Op
    squares: Op

    def infer(self) -> TensorType:
        x, table, squares = self.x.type, self.table.type, self.squares.type
        fits = len(x.shape) == len(table.shape) == 2 and x.shape[1] == table.shape[1] and not table.batched
        if not fits or squares.shape != (table.shape[0], 1) or not x.dtype == table.dtype == squares.dtype:
            raise GraphTypeError(f"ClosestCentre does not take {x}, {table} and {squares}")
        return TensorType((x.shape[0],), np.dtype(np.int64))

    def scratch_bytes(self) -> int:
        """What is compared, and the least of it."""
        return self.x.dtype.itemsize * (int(self.table.shape[0]) + 1)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        x, table, squares = operands
        with np.errstate(all="ignore"):
            compared = squares.T + -2 * (x @ table.T)
        compared[:, 1:][np.isnan(compared[:, 1:])] = np.inf
        return np.argmin(compared, axis=1)


def distances(
    metric: str, x: np.ndarray, columns: Sequence[np.ndarray], p: float, w: np.ndarray, true: bool
) -> np.ndarray:
    """The distances of `MetricOp`, from x [N, F] and columns, each [K] or [N, K], in NumPy. Result: [N, K]."""
    with np.errstate(all="ignore"):
        if metric == "cosine":
            return np.clip(1 - _total(x[:, j, None] * y for j, y in enumerate(columns)), 0, 2)
        result = _surrogate(metric, x, columns, p, w)
        if x.dtype == np.float32:
            result = result.astype(np.float32).astype(np.float64)
        if not true:
            return result
        result = _root(metric, result, p)
        return result.astype(np.float32).astype(np.float64) if x.dtype == np.float32 else result


def _root(metric: str, surrogate: np.ndarray, p: float) -> np.ndarray:
    if metric in ROOTS:
        return np.sqrt(surrogate)
    if metric == "haversine":
        return 2 * np.arcsin(np.sqrt(surrogate))
    return surrogate ** (1 / p) if metric == "minkowski" else surrogate


def _surrogate(metric: str, x: np.ndarray, columns: Sequence[np.ndarray], p: float, w: np.ndarray) -> np.ndarray:
    pairs = [(x[:, j, None], y) for j, y in enumerate(columns)]
    if metric in COUNTS:
        return _by_counts(metric, pairs)
    if metric == "haversine":
        north, east = (np.sin(0.5 * (a - b)) for a, b in pairs)
        return north * north + np.cos(pairs[0][0]) * np.cos(pairs[0][1]) * east * east
    if metric == "braycurtis":
        below = _total(np.abs(a).astype(np.float64) + np.abs(b) for a, b in pairs)
        return np.where(below > 0, _total(_gap(a, b) for a, b in pairs) / np.where(below > 0, below, 1), 0)
    if metric == "braycurtis of sums":
        return _total(_gap(a, b) for a, b in pairs) / _total(np.abs(a + b).astype(np.float64) for a, b in pairs)
    if metric == "mahalanobis":
        gaps = [(a - b).astype(np.float64) for a, b in pairs]
        return _total(_total(w[i, j] * gap for j, gap in enumerate(gaps)) * gap_i for i, gap_i in enumerate(gaps))
    if metric == "nan_euclidean":
        squares = [_gap(a, b) ** 2 for a, b in pairs]
        known = _total((~np.isnan(s)).astype(np.float64) for s in squares)
        total = _total(np.where(np.isnan(s), 0, s) for s in squares) / np.maximum(known, 1) * len(pairs)
        return np.where(known > 0, total, np.nan)
    if metric == "chebyshev":
        return _total((_gap(a, b) for a, b in pairs), np.maximum)
    return _total(_term(metric, *pair, p, w[j] if len(w) else None) for j, pair in enumerate(pairs)) / (
        len(pairs) if metric == "hamming" else 1
    )


def _gap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a - b).astype(np.float64)


def _term(metric: str, a: np.ndarray, b: np.ndarray, p: float, w: float | None) -> np.ndarray:
    gap = _gap(a, b)
    match metric:
        case "euclidean":
            return gap * gap
        case "seuclidean":
            return gap * gap / w
        case "manhattan":
            return gap
        case "minkowski":
            return gap**p if w is None else w * gap**p
        case "hamming":
            return (a != b).astype(np.float64)
    below = np.abs(a).astype(np.float64) + np.abs(b)
    return np.where(below > 0, gap / np.where(below > 0, below, 1), 0)


def _total(
    terms: Sequence[np.ndarray] | object, join: Callable[[np.ndarray, np.ndarray], np.ndarray] = np.add
) -> np.ndarray:
    first, *others = terms  # pyright: ignore[reportGeneralTypeIssues]
    for term in others:
        first = join(first, term)
    return first


def _by_counts(metric: str, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    size = float(len(pairs))
    both = _total(((a != 0) & (b != 0)).astype(np.float64) for a, b in pairs)
    unequal = _total(((a != 0) != (b != 0)).astype(np.float64) for a, b in pairs)
    match metric:
        case "jaccard":
            return np.where(both + unequal > 0, unequal / np.maximum(both + unequal, 1), 0)
        case "dice":
            return unequal / (2 * both + unequal)
        case "russellrao":
            return (size - both) / size
        case "sokalsneath":
            return unequal / (0.5 * both + unequal)
        case "yule":
            left = _total(((a != 0) & (b == 0)).astype(np.float64) for a, b in pairs)
            half = left * (unequal - left)
            return np.where(half > 0, 2 * half / np.where(half > 0, both * (size - both - unequal) + half, 1), 0)
    return 2 * unequal / (size + unequal)
