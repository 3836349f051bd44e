"""Converters for sklearn.semi_supervised."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.semi_supervised import LabelPropagation, LabelSpreading, SelfTrainingClassifier

from tensorml.converter import Outputs, apply, converter, fitted_attribute
from tensorml.graph import Const, Op
from tensorml.ops import ReduceSum, WeightedRows, cast, full
from tensorml_sklearn.output import labelled
from tensorml_sklearn.pairwise import Pairs, dense, require_named
from tensorml_sklearn.pipeline import outputs_of
from tensorml_sklearn.validation import finite, floating

FLOAT64 = np.dtype(np.float64)
INSIDE = "SelfTrainingClassifier estimator_"
DELEGATED = ("predict", "predict_proba", "predict_log_proba", "decision_function")


@converter(LabelPropagation, LabelSpreading)
def label_propagation(model: LabelPropagation | LabelSpreading, x: Op) -> Outputs:
    """The label distributions of the rows of `fit`, weighed by the kernel, or of the nearest rows; float64 [N, C].

    predict: the class of the largest one, the first in a tie and where all kernels are 0. float32 rows are compared in
    float64, where scikit-learn rounds the kernel to float32.
    Source: sklearn.semi_supervised._label_propagation.BaseLabelPropagation.predict_proba.
    """
    kernel, labels = require_named(model, model.kernel), np.asarray(fitted_attribute(model, "label_distributions_"))
    if kernel == "knn":
        index = apply(model.nn_fit, x, step="nn_fit", options={"return_distance": False})["kneighbors"]
        weight = full(x, (index.columns,), 1.0, FLOAT64)
        sums = WeightedRows(Const(labels.astype(FLOAT64)), index, weight)
    else:
        rows = cast(finite(model, floating(x)), FLOAT64)
        stored = dense(fitted_attribute(model, "X_")).astype(FLOAT64)
        sums = Pairs(rows, stored, "rbf", float(model.gamma), 0.0, 0.0).expansion(labels)
    proba = sums / ReduceSum(sums)
    return {"predict": labelled(proba, model.classes_), "predict_proba": proba}


def inner_steps(model: SelfTrainingClassifier) -> list[tuple[str, Any]]:
    """The classifier that was fitted last. For `check`."""
    return [(INSIDE, fitted_attribute(model, "estimator_"))]


@converter(SelfTrainingClassifier, steps=inner_steps, sparse=True)
def self_training(model: SelfTrainingClassifier, x: Op) -> Outputs:
    """What the classifier that was fitted last returns.

    Source: sklearn.semi_supervised.SelfTrainingClassifier, whose methods call those of estimator_.
    """
    outputs = outputs_of(fitted_attribute(model, "estimator_"), x, INSIDE)
    return {name: outputs[name] for name in DELEGATED if name in outputs and hasattr(model, name)}
