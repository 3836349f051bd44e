"""How a fitted model searches for neighbours: its metric, its arithmetic and the order of its search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.metrics._pairwise_distances_reduction import ArgKmin
from sklearn.utils import _sorting  # pyright: ignore[reportAttributeAccessIssue]  (compiled)

from tensorml.converter import fitted_attribute, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import (
    Abs,
    Distance,
    DistanceTo,
    Equal,
    GreaterOrEqual,
    Nearest,
    ReduceMax,
    ReduceSum,
    Require,
    Sparse,
    Sqrt,
    Untyped,
    Where,
    cast,
)
from tensorml.ops.distance import METRICS, NO_WEIGHTS
from tensorml_sklearn.validation import finite

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
SORT = "introsort" if hasattr(_sorting, "_py_simultaneous_sort") else "quicksort"  # since scikit-learn 1.9
NAMES = {
    "l2": "euclidean",
    "sqeuclidean": "euclidean",
    "l1": "manhattan",
    "cityblock": "manhattan",
    "infinity": "chebyshev",
    "p": "minkowski",
}
PARAMETERS = {"minkowski": {"p", "w"}, "seuclidean": {"V"}, "mahalanobis": {"V", "VI"}}
SPARSE_PAIRWISE = ("euclidean", "l2", "manhattan", "l1", "cityblock", "cosine")
NO_POINTS = np.empty(0, np.int64)
DENSE = "Pass dense rows (X.toarray())"
CHOOSE = "Fit it with a metric that scikit-learn names, or keep the source model"
UNDEFINED = "is not defined for"
NEGATIVE = "Negative values in data passed to precomputed distance matrix."


@dataclass(frozen=True)
class Search:
    """A fitted model's search, for rows x as its metric takes them.

    metric, p, w: as in `ops.distance.MetricOp`; squared: the distances are squares. single: the distances are rounded
    to float32 in the end. dtype: of the distances that the caller gets. path: "tree", "reduction" or "pairwise".
    Of equally far rows the choice is the source's by trees; by reduction that of one thread of the source on a batch no
    longer than the training set; by pairs, where the source's own depends on the processor, the first ones.
    """

    model: Any
    x: Op
    table: Const
    metric: str
    p: float
    w: np.ndarray
    squared: bool
    path: str
    dtype: np.dtype
    single: bool

    def nearest(self, k: int) -> Op:
        """The rows of the training set nearest to each row, int64 [N, k]. Raises UnsupportedModelError for too many."""
        count = self.model.n_samples_fit_
        if not isinstance(k, int) or not 0 < k <= count:
            raise unsupported(
                self.model, f"n_neighbors = {k!r} of {count} training rows", f"Ask for 1 to {count} neighbours"
            )
        ties = {"tree": "heap", "reduction": "heaps", "pairwise": "index"}[self.path]
        return Nearest(
            self.x, self.table, self.metric, self.p, self.w, False, k, ties, SORT, *_tree(self.model, self.metric)
        )

    def distances_to(self, index: Op) -> Op:
        """The distances to chosen rows of the training set: [N, K]."""
        return self._rounded(DistanceTo(*self._of_metric(not self.squared), index))

    def distances(self) -> Op:
        """The distances to all rows of the training set: [N, M]."""
        return self._rounded(Distance(*self._of_metric(not self.squared)))

    def within(self, radius: float) -> Op:
        """Which rows of the training set are not farther than the radius: bool [N, M].

        Source: compared are squares or powers where the metric has them, in float32 for float32 data by brute force.
        """
        if self.path == "pairwise" and self.metric != "euclidean":
            return self.distances() <= Const(np.asarray(radius, self.dtype))
        return Distance(*self._of_metric(False)) <= Const(np.asarray(self._surrogate(radius), FLOAT64))

    def _of_metric(self, true: bool) -> tuple[Op, Op, str, float, np.ndarray, bool]:
        return self.x, self.table, self.metric, self.p, self.w, true

    def _rounded(self, distance: Op) -> Op:
        if self.single:
            return cast(cast(distance, FLOAT32), FLOAT64)
        return cast(distance, self.dtype)

    def _surrogate(self, radius: float) -> float:
        """The radius as the metric's surrogate. Source: DistanceMetric._dist_to_rdist."""
        if self.squared and self.path == "reduction":
            return radius
        single = self.x.dtype == FLOAT32 or self.single
        r = FLOAT32.type(radius) if single else np.float64(radius)
        if self.metric in ("euclidean", "seuclidean", "mahalanobis"):
            return float(r * r)
        if self.metric == "minkowski":
            return float(r**self.p)
        return float(np.sin(0.5 * r) ** 2) if self.metric == "haversine" else float(r)


def search(model: Any, x: Op) -> Search:
    """The search of a fitted model for rows x. Raises UnsupportedModelError for a metric that is not reproduced."""
    name = fitted_attribute(model, "effective_metric_")
    metric = _metric(model, name)
    if metric == "braycurtis" and model._fit_method == "brute" and _path(model, x, name) == "pairwise":
        metric = "braycurtis of sums"
    sparse = isinstance(x, Sparse)
    x = x.x if isinstance(x, Sparse) else x
    x = x.x if isinstance(x, Untyped) else x
    if metric == "precomputed":
        return _precomputed(model, x, sparse)
    path = _path(model, x, name)
    _require_dense(model, name, path, sparse)
    x = finite(model, x, nan=metric == "nan_euclidean")
    rows = model._fit_X.toarray() if issparse(model._fit_X) else np.asarray(model._fit_X)
    both = x.dtype == rows.dtype == FLOAT32
    inside = path == "reduction" and both and metric != "euclidean"
    dtype = x.dtype if inside or (both and name == "cosine") else FLOAT64
    x, table = cast(x, dtype), Const(rows.astype(dtype))
    if name == "cosine":
        x, table = unit(x), Const(_unit_rows(table.value))
    if name == "correlation":
        x, table = _centred(x), Const(_centred_rows(rows.astype(dtype)))
    if metric in ("dice", "sokalsneath") and path == "tree" and not rows.any(axis=1).all():
        x = Require(x, ReduceMax(Abs(x)) > 0, f"{model.__class__.__name__}: {UNDEFINED} a row of zeros.")
    p, w = _parameters(model, metric, path)
    small = path == "pairwise" and both and name in ("cosine", "euclidean", "l2", "nan_euclidean")
    rounded = path == "reduction" and both and name in ("euclidean", "l2")
    squared = name == "sqeuclidean"
    return Search(model, x, table, metric, p, w, squared, path, FLOAT32 if small else FLOAT64, rounded)


def unit(x: Op) -> Op:
    """Rows over their length; rows of zeros stay. Source: sklearn.preprocessing.normalize."""
    length = Sqrt(ReduceSum(x * x))
    zero, one = Const(np.array(0, x.dtype)), Const(np.array(1, x.dtype))
    return x / Where(Equal(length, zero), one, length)


def _unit_rows(x: np.ndarray) -> np.ndarray:
    length = np.sqrt((x * x).sum(axis=1, keepdims=True))
    return x / np.where(length == 0, 1, length)


def _centred(x: Op) -> Op:
    """Rows less their mean, over their length. Source: scipy.spatial.distance.cdist, metric 'correlation'."""
    x = x - ReduceSum(x) / x.columns
    length = Sqrt(ReduceSum(x * x))
    return Require(x, length > 0, f"the metric 'correlation' {UNDEFINED} a row of equal numbers.") / length


def _centred_rows(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return x / np.sqrt((x * x).sum(axis=1, keepdims=True))


def _metric(model: Any, name: Any) -> str:
    """The metric's name among ours. Raises UnsupportedModelError for functions and for what is not reproduced."""
    if not isinstance(name, str):
        kind = "a function" if callable(name) else f"a {type(name).__name__}"
        raise unsupported(model, f"its metric is {kind} ({name!r}), which is no part of a tensor graph", CHOOSE)
    metric = "cosine" if name == "correlation" else NAMES.get(name, name)
    if metric not in METRICS:
        raise unsupported(model, f"its metric {name!r} is not reproduced", CHOOSE)
    given = {key for key, value in model.effective_metric_params_.items() if value is not None}
    if unknown := given - PARAMETERS.get(metric, set()):
        raise unsupported(
            model, f"metric_params {', '.join(sorted(unknown))} of metric {name!r} are not reproduced", CHOOSE
        )
    return metric


def _path(model: Any, x: Op, name: str) -> str:
    """Which of scikit-learn's searches takes rows of this dtype."""
    if model._fit_method != "brute":
        return "tree"
    query = np.empty((1, x.columns), x.dtype)
    return "reduction" if ArgKmin.is_usable_for(query, model._fit_X, name) else "pairwise"


def _require_dense(model: Any, name: str, path: str, sparse: bool) -> None:
    if sparse and path == "tree":
        raise unsupported(model, f"{model._fit_method} does not work with sparse matrices", DENSE)
    if sparse and path == "pairwise" and name not in SPARSE_PAIRWISE:
        raise unsupported(model, f"metric {name!r} does not take sparse matrices", DENSE)


def _precomputed(model: Any, x: Op, sparse: bool) -> Search:
    """Distances that the caller gives. Source: sklearn.neighbors._base._check_precomputed."""
    if sparse or issparse(model._fit_X):
        raise unsupported(
            model, "a sparse matrix of precomputed distances stores some neighbours only", "Pass all distances, dense"
        )
    x = finite(model, x)
    if x.dtype.kind in "fi":
        x = Require(x, GreaterOrEqual(x, Const(np.array(0, x.dtype))), NEGATIVE)
    x = cast(x, FLOAT32 if x.dtype == np.asarray(model._fit_X).dtype == FLOAT32 else FLOAT64)
    table = Const(np.empty((model.n_samples_fit_, 0)))
    return Search(model, x, table, "precomputed", 2.0, NO_WEIGHTS, False, "pairwise", x.dtype, False)


def _parameters(model: Any, metric: str, path: str) -> tuple[float, np.ndarray]:
    """The metric's power and weights. Raises UnsupportedModelError if what it needs is missing."""
    given = model.effective_metric_params_
    if metric == "minkowski":
        p, w = float(given.get("p", 2)), given.get("w")
        if not np.isfinite(p):
            raise unsupported(model, "metric 'minkowski' with p = inf and weights w", "Use metric='chebyshev'")
        return p, NO_WEIGHTS if w is None else np.asarray(w, np.float64)
    if metric not in ("seuclidean", "mahalanobis"):
        return 2.0, NO_WEIGHTS
    inverse = given.get("VI")
    if metric == "mahalanobis" and inverse is None and path == "tree" and given.get("V") is not None:
        inverse = np.linalg.inv(given["V"])
    found = given.get("V") if metric == "seuclidean" else inverse
    if found is None:
        raise unsupported(
            model, f"metric {metric!r} without its V or VI depends on the rows asked about", "Give it in metric_params"
        )
    return 2.0, np.ascontiguousarray(found, np.float64)


def _tree(model: Any, metric: str) -> tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The search tree, as `ops.Nearest` describes it; empty arrays for a search without one."""
    if model._fit_method not in ("kd_tree", "ball_tree"):
        return "", NO_POINTS, NO_POINTS, np.empty((0, 0, 0)), NO_WEIGHTS
    _, point, nodes, bound = map(np.asarray, model._tree.get_arrays())
    leaf = nodes["is_leaf"].astype(bool)
    start = np.append(nodes["idx_start"][leaf], nodes["idx_end"][leaf][-1:]).astype(np.int64)
    kind = "kd" if model._fit_method == "kd_tree" else "ball"
    return kind, point.astype(np.int64), start, np.ascontiguousarray(bound), np.ascontiguousarray(nodes["radius"])
