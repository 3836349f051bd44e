"""Converters for sklearn.discriminant_analysis."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis

from tensorml.converter import Outputs, converter, fitted, fitted_attribute
from tensorml.graph import Const, Op
from tensorml.ops import (
    Columns,
    Equal,
    Exp,
    Log,
    LogSoftmax,
    ReduceSum,
    Require,
    Sigmoid,
    Softmax,
    Where,
    concat,
    ravel,
)
from tensorml_sklearn.linear_model import classification, decision
from tensorml_sklearn.output import labelled
from tensorml_sklearn.validation import finite

NEVER = Const(np.array(False))
NO_PROJECTION = "transform not implemented for 'lsqr' solver (use 'svd' or 'eigen')."


@converter(LinearDiscriminantAnalysis)
def linear_discriminant_analysis(model: Any, x: Op) -> Outputs:
    """Labels, scores, probabilities and their logarithms as of a linear classifier; the projection of X.

    x: [N, F]; scores: [N] for two classes, else [N, C]. With the solver "lsqr" the projection raises InputError.
    Source: sklearn.discriminant_analysis.LinearDiscriminantAnalysis.
    """
    scores = decision(model, x)
    outputs = classification(model, scores) | {"predict_proba": _probabilities(scores)}
    outputs["predict_log_proba"] = Log(_above_zero(outputs["predict_proba"]))
    return outputs | {"transform": _projection(model, x)}


def _probabilities(scores: Op) -> Op:
    """The logistic function of the one score, or softmax. scores: [N, 1] or [N, C]; result: [N, 2] or [N, C]."""
    if scores.columns > 1:
        return Softmax(scores)
    p = Sigmoid(scores)
    return concat([1 - p, p])


def _above_zero(p: Op) -> Op:
    """The probabilities, the least normal number of their dtype in place of 0."""
    zero, least = (Const(np.array(value, p.dtype)) for value in (0, np.finfo(p.dtype).smallest_normal))
    return Where(Equal(p, zero), least, p)


def _projection(model: Any, x: Op) -> Op:
    """X, centered for the solver "svd", on the first discriminant directions. Result: [N, K].

    Source: sklearn.discriminant_analysis.LinearDiscriminantAnalysis.transform.
    """
    if model.solver == "lsqr":
        return Require(x, NEVER, NO_PROJECTION)
    scalings = np.asarray(fitted_attribute(model, "scalings_"))[:, : model._max_components]
    x = finite(model, x)
    centered = x - fitted(model, "xbar_") if model.solver == "svd" else x
    return centered @ scalings


@converter(QuadraticDiscriminantAnalysis)
def quadratic_discriminant_analysis(model: Any, x: Op) -> Outputs:
    """Labels, scores, probabilities and their logarithms, from a Gaussian density for each class.

    x: [N, F]; scores: [N] for two classes (the second's less the first's), else [N, C].
    Source: sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis, DiscriminantAnalysisPredictionMixin.
    """
    scores = _log_posterior(model, finite(model, x))
    logarithm = LogSoftmax(scores)
    first, second = (ravel(Columns(scores, np.array([k]))) for k in (0, 1))
    return {
        "predict": labelled(scores, fitted_attribute(model, "classes_")),
        "predict_proba": Exp(logarithm),
        "predict_log_proba": logarithm,
        "decision_function": second - first if scores.columns == 2 else scores,
    }


def _log_posterior(model: Any, x: Op) -> Op:
    """The logarithm of each class's density and prior, up to a constant. Result: [N, C].

    Source: sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis._decision_function.
    """
    scalings = [np.asarray(scaling) for scaling in fitted_attribute(model, "scalings_")]
    distances: list[Op] = []
    for mean, rotation, scaling in zip(model.means_, model.rotations_, scalings, strict=True):
        z = (x - Const(mean)) @ (np.asarray(rotation) * scaling ** (-0.5))
        distances.append(ReduceSum(z * z))
    volume = np.asarray([np.sum(np.log(scaling)) for scaling in scalings])
    with np.errstate(divide="ignore"):  # a prior of 0
        prior = np.log(np.asarray(model.priors_))
    return -0.5 * (concat(distances) + volume) + prior
