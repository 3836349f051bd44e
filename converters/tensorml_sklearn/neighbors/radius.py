"""Converters for models of all neighbours within a radius."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from sklearn.metrics._pairwise_distances_reduction import RadiusNeighborsClassMode
from sklearn.neighbors import RadiusNeighborsClassifier, RadiusNeighborsRegressor
from sklearn.neighbors._classification import _adjusted_metric

from tensorml.converter import Outputs, converter, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import (
    ArgMax,
    Equal,
    Label,
    LabelColumns,
    Not,
    ReduceMax,
    ReduceSum,
    Require,
    Reshape,
    Where,
    cast,
    concat,
    ravel,
)
from tensorml_sklearn.neighbors.nearest import FUNCTION, WEIGHTS, target_table
from tensorml_sklearn.neighbors.search import FLOAT64, Search, search

NOBODY = (
    "No neighbors found for some rows, you can try using larger radius, giving a label for outliers, or removing them."
)


def weights_within(model: Any, found: Search) -> tuple[Op, Op]:
    """Who is within the radius, bool [N, M], and with what weight, float64 [N, M], 0 for all others.

    Source: sklearn.neighbors._base._get_weights: where a distance is 0, those at distance 0 count alone.
    """
    if model.weights not in ("uniform", "distance", None):
        raise unsupported(model, FUNCTION, WEIGHTS)
    within = found.within(float(model.radius))
    if model.weights != "distance":
        return within, cast(within, FLOAT64)
    distance = cast(found.distances(), FLOAT64)
    zero = cast(Equal(distance, Const(np.array(0.0))) & within, FLOAT64)
    inverse = Where(within, 1 / distance, Const(np.array(0.0)))
    return within, Where(ReduceMax(zero) > 0, zero, inverse)


@converter(RadiusNeighborsClassifier, sparse=True)
def radius_neighbors_classifier(model: Any, x: Op) -> Outputs:
    """The class with the most votes within the radius; of a row without neighbours, the label for outliers.

    Source: sklearn.neighbors.RadiusNeighborsClassifier.
    """
    found = search(model, x)
    within, weight = weights_within(model, found)
    nobody = Not(ReduceMax(cast(within, np.int32)) > 0)
    if model.outlier_label_ is None:
        weight = Require(weight, Not(nobody), NOBODY)
    several = model.outputs_2d_
    classes = model.classes_ if several else [model.classes_]
    codes = model._y.reshape(len(model._y), -1)
    labels = [None] * len(classes) if model.outlier_label_ is None else list(model.outlier_label_)
    proba = [
        _votes(weight, codes[:, k], len(c), nobody, _outlier(model, found, c, labels[k])) for k, c in enumerate(classes)
    ]
    index = [_with_outliers(p, len(c)) for p, c in zip(proba, classes, strict=True)]
    known = [c if label is None else np.append(c, label) for c, label in zip(classes, labels, strict=True)]
    if not several:
        return {"predict": Label(ravel(index[0]), known[0]), "predict_proba": proba[0]}
    return {
        "predict": LabelColumns(concat(index), tuple(known)),
        **{f"predict_proba[{k}]": p for k, p in enumerate(proba)},
    }


def _votes(weight: Op, codes: np.ndarray, count: int, nobody: Op, outlier: int) -> Op:
    """Votes over their sum [N, C]; a row without neighbours is all for the class `outlier`, for none if that is -1."""
    votes = weight @ np.eye(count)[codes]
    alone = np.eye(count + 1)[outlier][None, :count]
    votes = Where(nobody, Const(alone), votes)
    total = ReduceSum(votes)
    return votes / Where(Equal(total, Const(np.array(0.0))), Const(np.array(1.0)), total)


def _outlier(model: Any, found: Search, classes: np.ndarray, label: Any) -> int:
    """The class that a row without neighbours is given in predict_proba, -1 for none.

    Source: by brute force, with equal weights, newer versions compare the label with the classes' numbers.
    """
    metric, _ = _adjusted_metric(metric=model.metric, metric_kwargs=dict(model.metric_params or {}), p=model.p)
    query = np.empty((1, found.x.columns), found.x.dtype)
    reduced = (
        model.weights == "uniform"
        and model._fit_method == "brute"
        and not model.outputs_2d_
        and RadiusNeighborsClassMode.is_usable_for(query, model._fit_X, metric)
    )
    known = np.arange(len(classes)) if reduced and _compares_numbers() else classes
    wanted = model.outlier_label if reduced else label
    place = [i for i, c in enumerate(known) if wanted is not None and c == wanted]
    return place[0] if place else -1


@cache
def _compares_numbers() -> bool:
    """Whether this scikit-learn takes the label of outliers for the number of a class, as it does by brute force."""
    probe = RadiusNeighborsClassifier(0.1, metric="manhattan", algorithm="brute", outlier_label=1)
    probe.fit(np.array([[0.0], [1.0]]), [1, 2])
    return bool(np.asarray(probe.predict_proba(np.array([[9.0]])))[0, 1])


def _with_outliers(proba: Op, count: int) -> Op:
    """The index of the class, `count` where the row has none. Result: int64 [N, 1]."""
    best = Reshape(ArgMax(proba), (1,))
    return Where(ReduceMax(proba) > 0, best, Const(np.array(count, np.int64)))


@converter(RadiusNeighborsRegressor, sparse=True)
def radius_neighbors_regressor(model: Any, x: Op) -> Outputs:
    """The mean of the targets within the radius, NaN where there is none.

    Source: sklearn.neighbors.RadiusNeighborsRegressor.predict; of integer targets, NaN is the least integer.
    """
    _, weight = weights_within(model, search(model, x))
    targets = target_table(model)
    with np.errstate(invalid="ignore"):
        empty = float(np.array(np.nan).astype(model._y.dtype)) if model._y.dtype.kind in "iu" else np.nan
    total = ReduceSum(weight)
    mean = weight @ targets.astype(np.float64) / total
    mean = Where(total > 0, mean, Const(np.array(empty)))
    mean = cast(mean, targets.dtype if model.weights != "distance" else FLOAT64)
    return {"predict": ravel(mean) if model._y.ndim == 1 else mean}
