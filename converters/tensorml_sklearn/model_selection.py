"""Converters for sklearn.model_selection."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.model_selection._search_successive_halving import HalvingGridSearchCV, HalvingRandomSearchCV

from tensorml.converter import Outputs, apply_inverse, converter, fitted_attribute
from tensorml.frames import Frame
from tensorml.graph import Const, Op
from tensorml.ops import Label, Take, cast
from tensorml_sklearn.describe import best_estimator, thresholded
from tensorml_sklearn.pipeline import METHODS, outputs_of
from tensorml_sklearn.responses import PROBABILITIES, first_method, response

Search = GridSearchCV | RandomizedSearchCV | HalvingGridSearchCV | HalvingRandomSearchCV
INT64 = np.dtype(np.int64)


def best_label(model: Search) -> str:
    """How a refusal names the estimator that a search found."""
    return f"{type(model).__name__} best_estimator_"


def search_steps(model: Search) -> list[tuple[str, Any]]:
    """The estimator that a search found."""
    return [(best_label(model), best_estimator(model))]


def back(model: Search, z: Op) -> Op:
    """The inverse_transform of the best estimator."""
    return apply_inverse(best_estimator(model), z, step=best_label(model))


@converter(
    GridSearchCV,
    RandomizedSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    inverse=back,
    steps=search_steps,
    frames=True,
    sparse=True,
)
def search(model: Search, x: Op | Frame) -> Outputs:
    """The methods of the best estimator that a search offers, none of which takes arguments.

    Source: sklearn.model_selection._search.BaseSearchCV.
    """
    outputs = outputs_of(best_estimator(model), x, best_label(model))
    return {name: op for name, op in outputs.items() if name.partition("[")[0] in METHODS}


def threshold_label(model: Any) -> str:
    """How a refusal names the classifier whose threshold is set."""
    return f"{type(model).__name__} estimator_"


def threshold_steps(model: Any) -> list[tuple[str, Any]]:
    """The classifier whose threshold is set."""
    return [(threshold_label(model), thresholded(model))]


@converter(FixedThresholdClassifier, steps=threshold_steps, frames=True, sparse=True)
def fixed_threshold(model: FixedThresholdClassifier, x: Op | Frame) -> Outputs:
    """The positive class from a given score on. Source: sklearn.model_selection.FixedThresholdClassifier.predict."""
    method = _method(model)
    automatic = isinstance(model.threshold, str)
    threshold = (0.5 if method == "predict_proba" else 0.0) if automatic else model.threshold
    return _above(model, x, method, threshold, model.pos_label)


@converter(TunedThresholdClassifierCV, steps=threshold_steps, frames=True, sparse=True)
def tuned_threshold(model: TunedThresholdClassifierCV, x: Op | Frame) -> Outputs:
    """The positive class from the tuned score on.

    Source: sklearn.model_selection.TunedThresholdClassifierCV.predict, which asks the scorer for the positive class.
    """
    threshold = fitted_attribute(model, "best_threshold_")
    return _above(model, x, _method(model), threshold, model._curve_scorer._get_pos_label())


def _method(model: Any) -> str:
    """What gives the scores. Source: sklearn.model_selection.BaseThresholdClassifier._get_response_method."""
    automatic = model.response_method == "auto"
    methods = ("predict_proba", "decision_function") if automatic else (model.response_method,)
    return first_method(thresholded(model), methods, threshold_label(model))


def _above(model: Any, x: Op | Frame, method: str, threshold: Any, positive: Any) -> Outputs:
    """The labels by a threshold, a Python number in the scores' dtype; the classifier's own scores.

    positive: the label of the positive class; None: the second.
    Source: sklearn.metrics._scorer._threshold_scores_to_class_labels.
    """
    inner, step = thresholded(model), threshold_label(model)
    outputs = outputs_of(inner, x, step)
    score = response(inner, outputs, method, step, positive)
    limit = Const(np.asarray(threshold)) if isinstance(threshold, np.generic) else float(threshold)
    above = cast(score >= limit, INT64)
    classes = np.asarray(inner.classes_)
    if positive is not None and positive == classes[0]:
        above = Take(Const(np.array([1, 0])), above)
    passed = (*PROBABILITIES, "decision_function")
    return {"predict": Label(above, classes)} | {name: outputs[name] for name in passed if name in outputs}
