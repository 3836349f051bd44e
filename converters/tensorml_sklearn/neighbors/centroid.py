"""Converters for models of distances to centres, and of learned distances."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neighbors import NearestCentroid, NeighborhoodComponentsAnalysis

from tensorml.converter import Outputs, converter, fitted, fitted_attribute, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import ArgMax, Columns, Distance, Exp, Label, LogSoftmax, Nearest, cast, ravel
from tensorml.ops.distance import NO_WEIGHTS
from tensorml_sklearn.cluster import closest
from tensorml_sklearn.neighbors.search import FLOAT64, NO_POINTS, SORT
from tensorml_sklearn.validation import finite


def nearest_to(x: Op, centres: np.ndarray, metric: str) -> Op:
    """The closest centre of each row, the first in a tie. Result: int64 [N]."""
    if metric == "euclidean":
        return closest(x, centres)
    no_tree = (NO_POINTS, NO_POINTS, np.empty((0, 0, 0)), NO_WEIGHTS)
    return ravel(Nearest(x, Const(centres), metric, 2.0, NO_WEIGHTS, False, 1, "index", SORT, "", *no_tree))


@converter(NearestCentroid)
def nearest_centroid(model: Any, x: Op) -> Outputs:
    """The class whose centre is closest, or which scores best where the priors differ.

    Source: sklearn.neighbors.NearestCentroid; probabilities for the Euclidean metric alone.
    """
    if model.metric not in ("euclidean", "manhattan"):
        raise unsupported(
            model, f"its metric {model.metric!r} is not reproduced", "Fit it with metric='euclidean' or 'manhattan'"
        )
    x = cast(finite(model, x), FLOAT64)
    classes, prior = fitted_attribute(model, "classes_"), fitted_attribute(model, "class_prior_")
    scores = _scores(model, x, prior)
    if np.isclose(prior, 1 / len(classes)).all():
        index = nearest_to(x, np.ascontiguousarray(model.centroids_, np.float64), model.metric)
    else:
        index = ArgMax(scores)
    if model.metric != "euclidean":
        return {"predict": Label(index, classes)}
    return {"predict": Label(index, classes), **_probabilities(scores)}


def _scores(model: Any, x: Op, prior: np.ndarray) -> Op:
    """Discriminant scores [N, C]: minus the squared distance in units of the deviation, plus twice the log prior."""
    deviation = fitted_attribute(model, "within_class_std_dev_")
    unit = np.where(deviation != 0, deviation, 1.0)
    centres = model.centroids_ / unit
    distance = Distance(x / Const(unit), Const(centres), model.metric, 2.0, NO_WEIGHTS, True)
    with np.errstate(divide="ignore"):
        return -(distance * distance) + Const(2.0 * np.log(prior))


def _probabilities(scores: Op) -> Outputs:
    """What scores mean. Source: sklearn.discriminant_analysis.DiscriminantAnalysisPredictionMixin.

    Of two classes the decision is the difference of their scores.
    """
    decision = scores
    if scores.columns == 2:
        decision = ravel(Columns(scores, np.array([1])) - Columns(scores, np.array([0])))
    log_proba = LogSoftmax(scores)
    return {"decision_function": decision, "predict_proba": Exp(log_proba), "predict_log_proba": log_proba}


@converter(NeighborhoodComponentsAnalysis)
def neighborhood_components_analysis(model: Any, x: Op) -> Outputs:
    """X @ components.T. Source: sklearn.neighbors.NeighborhoodComponentsAnalysis.transform."""
    components = fitted(model, "components_").value
    x = finite(model, x)
    dtype = np.result_type(x.dtype, components.dtype)
    return {"transform": cast(x, dtype) @ np.ascontiguousarray(components.T.astype(dtype))}
