"""Operators that compare each row of the batch with the rows of a table: distances, and the nearest of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Op, TensorType
from tensorml.ops import sorting

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


class Nearest(MetricOp):
    """The rows of the table nearest to each row, by distance: int64 [N, k].

    What decides between equal distances is the source's way of going through the table and of keeping the best so far:
    ties: "index", the lower index first; "heap", as one heap keeps them and `sort` leaves them; "heaps", as a heap
    keeps them that gets what another one kept. sort: "introsort" or "quicksort" (older versions), both unstable.
    tree: "kd" or "ball" if a binary tree is searched, in which `point` is the order of the table's rows, `start` where
    the leaves begin, and `bound`, `radius` the nodes' boxes [2, nodes, F] or centres [1, nodes, F] and radii; a node's
    closer child is searched first. Without a tree (""), the table is searched row by row. All these are empty then.
    Memory: a block of rows at a time, so that BLOCK distances are held whatever the table's length.
    Source: sklearn.metrics._pairwise_distances_reduction._argkmin.ArgKmin and sklearn.neighbors._binary_tree.query.
    """

    k: int
    ties: str
    sort: str
    tree: str
    point: np.ndarray
    start: np.ndarray
    bound: np.ndarray
    radius: np.ndarray

    def infer(self) -> TensorType:
        if self.ties not in ("index", "heap", "heaps") or not 0 < self.k <= int(self.table.shape[0]):
            raise GraphTypeError(f"no {self.k} nearest rows, ties by '{self.ties}', of {self.table.type}")
        return TensorType(super().infer().shape, np.dtype(np.int64))

    def width(self) -> tuple[int, ...]:
        """The k nearest."""
        return (self.k,)

    def scratch_bytes(self) -> int:
        """Candidates, their distances and their order; what is held by blocks is bounded apart."""
        return 64 * (self.k + 16) + 8 * self.x.columns

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        x, table = operands
        rows = max(1, BLOCK // len(table))
        found = [self.of_block(x[i : i + rows], table) for i in range(0, len(x), rows)]
        return np.concatenate(found) if found else np.empty((0, self.k), np.int64)

    def of_block(self, x: np.ndarray, table: np.ndarray) -> np.ndarray:
        """The nearest of a few rows."""
        distance = x if self.metric == "precomputed" else self.between(x, list(table.T))
        order = np.argsort(distance, axis=1, kind="stable")[:, : self.k + 1].copy()
        nearest = np.take_along_axis(distance, order, axis=1)
        if self.ties != "index":
            for row in np.flatnonzero((nearest[:, 1:] == nearest[:, :-1]).any(axis=1)):
                order[row, : self.k] = self.kept(distance[row], x[row])
        return order[:, : self.k]

    def kept(self, distance: np.ndarray, x: np.ndarray) -> list[int]:
        """What the source keeps of one row's distances, in its order."""
        values, order = [np.inf] * self.k, [0] * self.k
        for i in self.visited(x).tolist():
            sorting.push(values, order, float(distance[i]), i)
        if self.ties == "heaps":
            first, values, order = (values, order), [np.inf] * self.k, [0] * self.k
            for value, i in zip(*first, strict=True):
                sorting.push(values, order, value, i)
        (sorting.introsort if self.sort == "introsort" else sorting.quicksort)(values, order)
        return order

    def visited(self, x: np.ndarray) -> np.ndarray:
        """The rows of the table in the order in which they are searched for one row x."""
        if not self.tree:
            return np.arange(int(self.table.shape[0]))
        leaves = len(self.start) - 1
        order = leaf_order(node_distances(self, x[None].astype(np.float64)), leaves)[0]
        return np.concatenate([self.point[self.start[leaf] : self.start[leaf + 1]] for leaf in order])


def leaf_order(bound: np.ndarray, leaves: int) -> np.ndarray:
    """The order in which the leaves are searched. bound: [N, 2 * leaves - 1], least distances to nodes; int [N, L]."""
    far = bound[:, 1::2] > bound[:, 2::2]  # of each inner node: whether its right child comes first
    key = np.zeros((len(bound), 1), np.int64)
    first = 0
    while key.shape[1] < leaves:
        right_first = far[:, first : first + key.shape[1]]
        key = np.stack([2 * key + right_first, 2 * key + ~right_first], axis=2).reshape(len(bound), -1)
        first = 2 * first + 1
    return np.argsort(key, axis=1)


def node_distances(op: Nearest, x: np.ndarray) -> np.ndarray:
    """Lower bounds of the distances of x [N, F] to all nodes of the tree: [N, nodes].

    Source: min_rdist of sklearn.neighbors._kd_tree and _ball_tree.
    """
    if op.tree == "ball":
        to_centre = distances(op.metric, x, list(op.bound[0].T), op.p, op.w, true=True)
        least = np.maximum(0, to_centre - op.radius)
        return np.sin(0.5 * least) if op.metric == "haversine" else least
    total = np.zeros((len(x), op.bound.shape[1]))
    for j in range(x.shape[1]):
        low, high = op.bound[0, :, j] - x[:, j, None], x[:, j, None] - op.bound[1, :, j]
        gap = 0.5 * ((low + np.abs(low)) + (high + np.abs(high)))
        if op.metric == "chebyshev":
            np.maximum(total, gap, out=total)
        else:
            total += gap ** {"euclidean": 2.0, "manhattan": 1.0}.get(op.metric, op.p)
    return total


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
