"""Converters for sklearn.cluster."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.cluster import (
    AffinityPropagation,
    Birch,
    BisectingKMeans,
    FeatureAgglomeration,
    KMeans,
    MeanShift,
    MiniBatchKMeans,
)
from sklearn.utils.extmath import row_norms

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import (
    AddColumns,
    ClosestCentre,
    Columns,
    Label,
    Max,
    Median,
    ReduceMax,
    ReduceSum,
    Require,
    Sqrt,
    Where,
    cast,
    concat,
    full,
    ravel,
)
from tensorml_sklearn.validation import finite, floating

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
POOLS = {
    np.mean: "mean",
    np.median: "median",
    np.max: "max",
    np.amax: "max",
    np.min: "min",
    np.amin: "min",
    np.sum: "sum",
}


def squared_distances(x: Op, centres: np.ndarray) -> Op:
    """|x|^2 - 2 x c + |c|^2, not below zero, in float64: [N, C].

    Source: sklearn.metrics.pairwise.euclidean_distances and ArgKmin, which compute the same by matrix products.
    """
    x, c = cast(x, FLOAT64), centres.astype(np.float64)
    squares = ReduceSum(x * x) + x @ np.ascontiguousarray(-2.0 * c.T) + (c * c).sum(axis=1)
    return Max(squares, Const(np.array(0.0)))


def closest(x: Op, centres: np.ndarray) -> Op:
    """The closest centre, the first in a tie: int64 [N].

    Source: sklearn.metrics.pairwise_distances_argmin, in float64; the row's own square makes no difference.
    """
    return closest_mean(cast(x, FLOAT64), centres.astype(np.float64))


def distances(x: Op, centres: np.ndarray) -> Op:
    """Euclidean distances [N, C], float32 if both sides are. Source: sklearn.metrics.pairwise.euclidean_distances."""
    single = x.dtype == centres.dtype == FLOAT32
    return cast(Sqrt(squared_distances(x, centres)), FLOAT32 if single else FLOAT64)


def means_input(model: Any, x: Op) -> Op:
    """The input as k-means reads it. Source: sklearn.cluster._kmeans._BaseKMeans._check_test_data."""
    return finite(model, floating(x, (FLOAT64, FLOAT32)))


def of_one_dtype(x: Op, centres: np.ndarray, label: Op) -> Op:
    """The label, for rows of the centres' dtype; an InputError for others, whose compiled loops take no others."""
    if x.dtype == centres.dtype:
        return label
    message = f"predict() takes rows of {centres.dtype}, the dtype of the centres, got {x.dtype}."
    return Require(label, full(x, (), 0, np.dtype(bool)), message)


def closest_mean(x: Op, centres: np.ndarray) -> Op:
    """The closest centre, the first in a tie: int64 [N].

    Source: sklearn.cluster._k_means_lloyd, which compares |c|^2 - 2 x c in the dtype of x.
    """
    squares = row_norms(centres, squared=True)
    return ClosestCentre(x, Const(centres), Const(squares[:, None]))


@converter(KMeans, MiniBatchKMeans)
def k_means(model: KMeans | MiniBatchKMeans, x: Op) -> Outputs:
    """The closest centre, and the distances to all. Source: sklearn.cluster.KMeans.predict, transform; int32 labels."""
    x = means_input(model, x)
    centres = np.ascontiguousarray(fitted_attribute(model, "cluster_centers_"))
    label = cast(closest_mean(x, centres.astype(x.dtype)), np.int32)
    return {"predict": of_one_dtype(x, centres, label), "transform": distances(x, centres)}


@converter(BisectingKMeans)
def bisecting_k_means(model: BisectingKMeans, x: Op) -> Outputs:
    """The leaf that a row reaches by the closer of two centres at each node.

    Source: sklearn.cluster.BisectingKMeans.predict; the first centre wins a tie.
    """
    x = means_input(model, x)
    mean = getattr(model, "_X_mean", None)
    nodes: list[Any] = []
    labels = _label(model, fitted_attribute(model, "_bisecting_tree"), nodes)
    if not nodes:
        return {"predict": full(x, (), labels, np.dtype(np.int32)), "transform": distances(x, model.cluster_centers_)}
    centres = np.stack([side.center for node in nodes for side in (node.left, node.right)])
    centres = (centres if mean is None else centres + mean).astype(x.dtype)
    norms = (centres.astype(np.float64) ** 2).sum(axis=1).astype(x.dtype)
    scores = x @ np.ascontiguousarray(2 * centres.T) - norms
    even = np.arange(0, len(centres), 2)
    right = Columns(scores, even + 1) > Columns(scores, even)
    label = _routed(labels, right)
    label = of_one_dtype(x, model.cluster_centers_, ravel(label))
    return {"predict": label, "transform": distances(x, model.cluster_centers_)}


def _label(model: BisectingKMeans, node: Any, nodes: list[Any]) -> Any:
    """A leaf's label, or (node number, what is on the left, what is on the right); inner nodes go to `nodes`."""
    if node.left is None:
        return int(node.label)
    nodes.append(node)
    number = len(nodes) - 1
    return number, _label(model, node.left, nodes), _label(model, node.right, nodes)


def _routed(labels: Any, right: Op) -> Op:
    """The label of each row, int32 [N, 1]. right: bool [N, nodes]."""
    if isinstance(labels, int):
        return Const(np.array([[labels]], np.int32))
    node, on_left, on_right = labels
    return Where(Columns(right, np.array([node])), _routed(on_right, right), _routed(on_left, right))


@converter(MeanShift)
def mean_shift(model: MeanShift, x: Op) -> Outputs:
    """The closest centre. Source: sklearn.cluster.MeanShift.predict."""
    return {"predict": closest(finite(model, x), fitted_attribute(model, "cluster_centers_"))}


@converter(AffinityPropagation)
def affinity_propagation(model: AffinityPropagation, x: Op) -> Outputs:
    """The closest centre; -1 if the fit did not converge. Source: sklearn.cluster.AffinityPropagation.predict."""
    if not hasattr(model, "cluster_centers_"):
        raise unsupported(model, "it has no predict with affinity='precomputed'", "Fit it with affinity='euclidean'")
    x = finite(model, x)
    centres = model.cluster_centers_
    if centres.shape[0] == 0:
        return {"predict": full(x, (), -1, np.dtype(np.int64))}
    return {"predict": closest(x, _dense(centres))}


@converter(Birch)
def birch(model: Birch, x: Op) -> Outputs:
    """The label of the closest subcluster, and the distances to all. Source: sklearn.cluster.Birch."""
    x = finite(model, x)
    centres = np.ascontiguousarray(fitted_attribute(model, "subcluster_centers_"))
    labels = np.asarray(fitted_attribute(model, "subcluster_labels_"))
    return {"predict": Label(closest(x, centres), labels), "transform": distances(x, centres)}


def _dense(array: Any) -> np.ndarray:
    return array.toarray() if issparse(array) else np.asarray(array)


def feature_agglomeration_inverse(model: FeatureAgglomeration, z: Op) -> Op:
    """The value of its cluster for each feature. Source: sklearn.cluster.FeatureAgglomeration.inverse_transform."""
    _, place = np.unique(fitted_attribute(model, "labels_"), return_inverse=True)
    return Columns(z, place)


@converter(FeatureAgglomeration, inverse=feature_agglomeration_inverse)
def feature_agglomeration(model: FeatureAgglomeration, x: Op) -> Outputs:
    """One number for the features of each cluster: their mean, median, largest, least or sum.

    Source: sklearn.cluster.FeatureAgglomeration.transform; a mean is always float64.
    """
    pool = _pool(model)
    x = finite(model, x)
    labels = np.asarray(fitted_attribute(model, "labels_"), np.int64)
    if pool == "mean":
        size = np.bincount(labels)
        return {"transform": AddColumns(cast(x, FLOAT64), np.zeros(len(size)), labels) / Const(size.astype(float))}
    groups = [Columns(x, np.flatnonzero(labels == label)) for label in np.unique(labels)]
    return {"transform": concat([_pooled(pool, group) for group in groups])}


def _pool(model: FeatureAgglomeration) -> str:
    """The name of the pooling function. Raises UnsupportedModelError for one that is not known."""
    found = next((name for function, name in POOLS.items() if function is model.pooling_func), None)
    if found is None:
        raise unsupported(
            model,
            f"pooling_func={model.pooling_func!r} is not known",
            "Fit it with np.mean, np.median, np.max, np.min or np.sum",
        )
    return found


def _pooled(pool: str, group: Op) -> Op:
    """One column of several. [N, C] -> [N, 1]."""
    if pool == "max":
        return ReduceMax(group)
    if pool == "min":
        return -ReduceMax(-group) if group.dtype.kind in "if" else cast(-ReduceMax(-cast(group, np.int64)), group.dtype)
    if pool == "median":
        return Median(group if group.dtype.kind == "f" else cast(group, FLOAT64))
    if group.dtype.kind == "f":
        return ReduceSum(group)
    total = ReduceSum(cast(group, np.int64))
    return cast(total, np.uint64) if group.dtype.kind == "u" else total
