"""Converters for models of the k nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    KNeighborsTransformer,
    LocalOutlierFactor,
    NearestNeighbors,
)

from tensorml.converter import Outputs, converter, fitted, fitted_attribute, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import (
    ArgMax,
    Columns,
    Equal,
    Label,
    LabelColumns,
    Max,
    ReduceMax,
    ReduceSum,
    Reshape,
    Scatter,
    Sparse,
    Take,
    Votes,
    WeightedRows,
    Where,
    cast,
    concat,
    full,
    ravel,
)
from tensorml_sklearn.neighbors.search import FLOAT32, FLOAT64, Search, search

FUNCTION = "a function as weights is no part of a tensor graph"
WEIGHTS = "Fit it with weights='uniform' or 'distance', or keep the source model"


def lists(
    found: Search, n_neighbors: int | None, return_distance: bool, mode: str, default: int | None = None
) -> Outputs:
    """What `kneighbors` and `kneighbors_graph` return; nothing if there is no number of neighbours.

    Source: sklearn.neighbors._base.KNeighborsMixin.
    """
    model = found.model
    k = model.n_neighbors if n_neighbors is None else n_neighbors
    if k is None or (n_neighbors is None and k > model.n_samples_fit_):
        return {}
    index = found.nearest(k)
    outputs: Outputs = {"kneighbors_graph": graph_of(found, k, mode, index)}
    if not return_distance:
        return {"kneighbors": index, **outputs}
    return {"kneighbors.0": found.distances_to(index), "kneighbors.1": index, **outputs}


def graph_of(found: Search, k: int, mode: str, index: Op | None = None) -> Op:
    """The sparse matrix of neighbours. mode: "connectivity": ones; "distance": distances."""
    if mode not in ("connectivity", "distance"):
        raise unsupported(found.model, f"mode={mode!r}", "It is 'connectivity' or 'distance'")
    index = found.nearest(k) if index is None else index
    value = full(found.x, (k,), 1.0, FLOAT64) if mode == "connectivity" else found.distances_to(index)
    return Sparse(Scatter(index, value, found.model.n_samples_fit_))


def weights_of(model: Any, found: Search, index: Op) -> Op | None:
    """The weights of the neighbours [N, K], None if they are equal. Source: sklearn.neighbors._base._get_weights."""
    if model.weights in ("uniform", None):
        return None
    if model.weights != "distance":
        raise unsupported(model, FUNCTION, WEIGHTS)
    distance = found.distances_to(index)
    inverse = 1 / (distance if distance.dtype.kind == "f" else cast(distance, FLOAT64))
    at_zero = cast(Equal(inverse, Const(np.array(np.inf, inverse.dtype))), inverse.dtype)
    return Where(ReduceMax(at_zero) > 0, at_zero, inverse)


@converter(NearestNeighbors, sparse=True)
def nearest_neighbors(
    model: Any,
    x: Op,
    *,
    n_neighbors: int | None = None,
    return_distance: bool = True,
    mode: str = "connectivity",
) -> Outputs:
    """Distances and indices of the neighbours. Source: sklearn.neighbors.NearestNeighbors."""
    return lists(search(model, x), n_neighbors, return_distance, mode)


@converter(KNeighborsTransformer, sparse=True)
def k_neighbors_transformer(
    model: Any,
    x: Op,
    *,
    n_neighbors: int | None = None,
    return_distance: bool = True,
    mode: str = "connectivity",
) -> Outputs:
    """The sparse matrix of neighbours, one more where it holds distances.

    Source: sklearn.neighbors.KNeighborsTransformer.transform.
    """
    found = search(model, x)
    count = model.n_neighbors + (model.mode == "distance")
    outputs = lists(found, n_neighbors, return_distance, mode)
    return {"transform": graph_of(found, count, model.mode), **outputs}


@converter(KNeighborsClassifier, sparse=True)
def k_neighbors_classifier(
    model: Any,
    x: Op,
    *,
    n_neighbors: int | None = None,
    return_distance: bool = True,
    mode: str = "connectivity",
) -> Outputs:
    """The class with the most votes, the first in a tie; votes over their sum.

    Source: sklearn.neighbors.KNeighborsClassifier, which adds the weights of a class neighbour by neighbour.
    """
    found = search(model, x)
    index = found.nearest(model.n_neighbors)
    weight = weights_of(model, found, index)
    weight = full(index, (model.n_neighbors,), 1.0, FLOAT64) if weight is None else cast(weight, FLOAT64)
    several = model.outputs_2d_
    classes = model.classes_ if several else [model.classes_]
    codes = model._y.reshape(len(model._y), -1)
    votes = [
        Votes(Take(Const(np.ascontiguousarray(codes[:, k], np.int64)), index), weight, len(c))
        for k, c in enumerate(classes)
    ]
    return {**vote_outputs(votes, classes, several), **lists(found, n_neighbors, return_distance, mode)}


def vote_outputs(votes: Sequence[Op], classes: list[np.ndarray], several: bool) -> Outputs:
    """`predict` and `predict_proba` from the votes [N, C] of each output."""
    proba = [v / ReduceSum(v) for v in votes]
    if not several:
        return {"predict": Label(ArgMax(votes[0]), classes[0]), "predict_proba": proba[0]}
    labels = concat([Reshape(ArgMax(v), (1,)) for v in votes])
    return {
        "predict": LabelColumns(labels, tuple(classes)),
        **{f"predict_proba[{k}]": p for k, p in enumerate(proba)},
    }


@converter(KNeighborsRegressor, sparse=True)
def k_neighbors_regressor(
    model: Any,
    x: Op,
    *,
    n_neighbors: int | None = None,
    return_distance: bool = True,
    mode: str = "connectivity",
) -> Outputs:
    """The mean of the neighbours' targets, weighted by the inverse distance if asked for.

    Source: sklearn.neighbors.KNeighborsRegressor.predict; the dtype of a plain mean is the targets' own float.
    """
    found = search(model, x)
    index = found.nearest(model.n_neighbors)
    weight = weights_of(model, found, index)
    targets = target_table(model)
    if weight is None:
        ones = full(index, (model.n_neighbors,), 1.0, targets.dtype)
        mean = WeightedRows(Const(targets), index, ones) / model.n_neighbors
    else:
        weight = cast(weight, FLOAT64)
        mean = WeightedRows(Const(targets.astype(np.float64)), index, weight) / ReduceSum(weight)
    result = ravel(mean) if model._y.ndim == 1 else mean
    return {"predict": result, **lists(found, n_neighbors, return_distance, mode)}


def target_table(model: Any) -> np.ndarray:
    """The targets as floats [M, outputs]: float32 as it is, all else float64."""
    y = fitted_attribute(model, "_y")
    if y.dtype.kind not in "biuf":
        raise unsupported(model, f"its targets are of dtype {y.dtype}", "Fit it with numbers as targets")
    return y.reshape(len(y), -1).astype(FLOAT32 if y.dtype == FLOAT32 else FLOAT64)


@converter(LocalOutlierFactor, sparse=True)
def local_outlier_factor(
    model: Any,
    x: Op,
    *,
    n_neighbors: int | None = None,
    return_distance: bool = True,
    mode: str = "connectivity",
) -> Outputs:
    """Minus the mean ratio of the neighbours' density to the row's own; below the offset an outlier, -1.

    Source: sklearn.neighbors.LocalOutlierFactor; without `novelty` it has no prediction for new rows.
    """
    found = search(model, x)
    neighbours = lists(found, n_neighbors, return_distance, mode)
    if not model.novelty:
        return neighbours
    index = found.nearest(int(model.n_neighbors_))
    distance = found.distances_to(index)
    if x.dtype == FLOAT32:
        distance = cast(distance, FLOAT32)
    at_k = np.ascontiguousarray(fitted_attribute(model, "_distances_fit_X_")[:, model.n_neighbors_ - 1])
    reach = Take(Const(at_k), index)
    both = np.result_type(distance.dtype, reach.dtype)
    count = int(model.n_neighbors_)
    own = 1 / (ReduceSum(Max(cast(distance, both), cast(reach, both))) / count + 1e-10)
    ratios = Take(fitted(model, "_lrd"), index) / Columns(own, np.zeros(count, np.int64))
    score = ravel(-(ReduceSum(ratios) / count))
    decision = score - fitted_attribute(model, "offset_")
    inside = Where(decision < 0, Const(np.array(-1, np.int64)), Const(np.array(1, np.int64)))
    return {"predict": inside, "decision_function": decision, "score_samples": score, **neighbours}
