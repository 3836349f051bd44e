"""Converters for gradient boosting, and the methods of all boosted classifiers."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

from tensorml.converter import Outputs, apply, converter, fitted_attribute, once_per_model
from tensorml.graph import Const, Op
from tensorml.ops import (
    Columns,
    Label,
    LeafSum,
    Log,
    Max,
    Min,
    ReduceSum,
    Reshape,
    Sigmoid,
    Softmax,
    cast,
    concat,
    ravel,
)
from tensorml_sklearn.output import labelled
from tensorml_sklearn.tree import Trees, read_trees, tree_input

FLOAT64 = np.dtype(np.float64)


@once_per_model
def _boosted(model: Any) -> Trees:
    return read_trees([tree.tree_ for tree in fitted_attribute(model, "estimators_").ravel()])


def _boosted_sum(model: Any, x: Op) -> tuple[Op, Op]:
    """The raw predictions [N, K], and `apply` [N, stages * K]: the start, then stage by stage, rate times leaf.

    Source: sklearn.ensemble._gradient_boosting.predict_stages, which adds the float64 product.
    """
    trees, outputs = _boosted(model), model.n_trees_per_iteration_
    x = tree_input(model, x, nan=False)
    leaves = trees.forest.descend(x)
    values = model.learning_rate * trees.values.reshape(-1, 1)
    output = np.tile(np.arange(outputs), len(model.estimators_))
    constant = isinstance(model.init_, str | DummyClassifier | DummyRegressor)
    start = _constant_start(model) if constant else np.zeros(outputs)
    raw = LeafSum(leaves, values, start, output if outputs > 1 else None)
    return raw if constant else raw + _start(model, x), cast(trees.apply(leaves), FLOAT64)


def _constant_start(model: Any) -> np.ndarray:
    """What the initial estimator predicts for every row. float64 [K]."""
    return model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32))[0]


def _start(model: Any, x: Op) -> Op:
    """What an initial estimator of the user's predicts, on the scale of the raw predictions, [N, K].

    Source: sklearn.ensemble._gb._init_raw_predictions.
    """
    outputs = apply(model.init_, x, step="init")
    if not hasattr(model, "classes_"):
        return Reshape(cast(outputs["predict"], FLOAT64), (1,))
    tiny = _least_probability()
    p = Min(Max(cast(outputs["predict_proba"], FLOAT64), Const(np.array(tiny))), Const(np.array(1 - tiny)))
    if model.n_trees_per_iteration_ > 1:
        log = Log(p)
        return log - ReduceSum(log) / float(log.columns)
    p = Columns(p, np.array([1]))
    logit = Log(p / (1.0 - p))
    return logit * 0.5 if model.loss == "exponential" else logit


def _least_probability() -> float:
    """How far scikit-learn keeps an initial probability from 0 and 1: a constant in its source, which has changed."""
    from sklearn.ensemble import _gb

    names = _gb._init_raw_predictions.__code__.co_names
    return float(np.finfo(np.float32 if "float32" in names else np.float64).eps)


@converter(GradientBoostingRegressor)
def gradient_boosting_regressor(model: GradientBoostingRegressor, x: Op) -> Outputs:
    """The raw prediction. [N]. Source: sklearn.ensemble._gb.GradientBoostingRegressor."""
    raw, leaves = _boosted_sum(model, x)
    return {"predict": ravel(raw), "apply": leaves}


@converter(GradientBoostingClassifier)
def gradient_boosting_classifier(model: GradientBoostingClassifier, x: Op) -> Outputs:
    """Softmax of the raw predictions, or the logistic function, of twice the value for the exponential loss.

    Source: sklearn.ensemble._gb.GradientBoostingClassifier; sklearn._loss.loss: HalfBinomialLoss, ExponentialLoss.
    """
    raw, leaves = _boosted_sum(model, x)
    outputs = boosted_classes(model, raw, scale=2.0 if model.loss == "exponential" else 1.0, zero_is_positive=True)
    shape = (len(model.estimators_), model.n_trees_per_iteration_)
    return {**outputs, "predict_log_proba": Log(outputs["predict_proba"]), "apply": Reshape(leaves, shape)}


def boosted_classes(model: Any, raw: Op, *, scale: float, zero_is_positive: bool) -> Outputs:
    """predict, predict_proba and decision_function from raw predictions [N, K]; K = 1 for two classes.

    scale: what the logistic function is taken of, as a multiple of the raw prediction.
    """
    classes = np.asarray(model.classes_)
    if raw.columns > 1:
        return {"predict": labelled(raw, classes), "predict_proba": Softmax(raw), "decision_function": raw}
    decision, p = ravel(raw), Sigmoid(raw if scale == 1 else raw * scale)
    positive = decision >= 0.0 if zero_is_positive else decision > 0.0
    return {
        "predict": Label(cast(positive, np.int64), classes),
        "predict_proba": concat([1.0 - p, p]),
        "decision_function": decision,
    }
