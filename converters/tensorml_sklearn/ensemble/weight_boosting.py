"""Converters for sklearn.ensemble.AdaBoostClassifier and AdaBoostRegressor."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor

from tensorml.converter import Outputs, converter, fitted_attribute, once_per_model, unsupported
from tensorml.frames import Frame
from tensorml.graph import Const, Op
from tensorml.ops import (
    Columns,
    Equal,
    Label,
    LeafSum,
    Log,
    Reshape,
    Softmax,
    Sparse,
    Take,
    Untyped,
    WeightedMedian,
    Where,
    cast,
    concat,
    full,
    ravel,
)
from tensorml_sklearn.ensemble.members import (
    FLOAT64,
    INT64,
    all_finite,
    base_label,
    column,
    first_base,
    one,
    rows,
    total,
)
from tensorml_sklearn.output import labelled
from tensorml_sklearn.tree import TREE_CLASSIFIERS, TREE_REGRESSORS, Trees, read_trees, takes_nan, tree_input


@once_per_model
def _trees(model: Any) -> Trees:
    return read_trees([tree.tree_ for tree in fitted_attribute(model, "estimators_")])


def _leaves(model: Any, x: Op) -> Op:
    """The leaf that each row reaches in each tree. int32 [N, T]."""
    inner = x.x if isinstance(x, Sparse | Untyped) else x
    first = model.estimators_[0]
    return _trees(model).forest.descend(tree_input(first, inner, nan=takes_nan(first)))


@converter(AdaBoostClassifier, steps=first_base, frames=True, sparse=True)
def ada_boost_classifier(model: Any, x: Op | Frame) -> Outputs:
    """The weighted votes of the base models, and their softmax.

    decision_function: [N] for two classes, else [N, C].
    Source: sklearn.ensemble._weight_boosting.AdaBoostClassifier.
    """
    x = all_finite(model, rows(x))
    if model.n_classes_ == 1:
        return _of_one_class(model, x)
    scores = _votes(model, x) / Const(np.asarray(model.estimator_weights_.sum()))
    if model.n_classes_ > 2:
        p = Softmax(scores / float(model.n_classes_ - 1))
        outputs: Outputs = {"predict": labelled(scores, model.classes_), "decision_function": scores}
    else:
        decision = Columns(scores, np.array([1])) - Columns(scores, np.array([0]))
        p = Softmax(concat([-decision, decision]) / 2.0)
        label = Label(cast(ravel(decision > 0.0), INT64), np.asarray(model.classes_))
        outputs = {"predict": label, "decision_function": ravel(decision)}
    return outputs | {"predict_proba": p, "predict_log_proba": Log(p)}


def _of_one_class(model: Any, x: Op) -> Outputs:
    """What is left to say where there is one class: the decision has the dtype of X, [N, 1]."""
    certain = full(x, (1,), 1.0, FLOAT64)
    nothing = full(x, (1,), 0.0, x.dtype)
    return {
        "predict": labelled(certain, model.classes_),
        "decision_function": nothing,
        "predict_proba": certain,
        "predict_log_proba": full(x, (1,), 0.0, FLOAT64),
    }


def _gains(votes: np.ndarray, weight: float) -> np.ndarray:
    """What a vote adds to each class. votes: bool [..., C]; result: float64, the same shape."""
    return np.where(votes, weight, -1 / (votes.shape[-1] - 1) * weight)


def _votes(model: Any, x: Op) -> Op:
    """For each class the weights of the votes for it less a share of those for others. float64 [N, C]."""
    classes, bases = np.asarray(model.classes_), model.estimators_
    alike = all(type(base) in TREE_CLASSIFIERS and np.array_equal(base.classes_, classes) for base in bases)
    if alike:
        return _votes_of_trees(model, x)
    return total(
        [
            _gains_of(model, base, one(base, x, "predict", base_label(model, i)), model.estimator_weights_[i])
            for i, base in enumerate(bases)
        ]
    )


def _votes_of_trees(model: Any, x: Op) -> Op:
    trees = _trees(model)
    tree = np.searchsorted(trees.forest.roots, trees.forest.leaf, side="right") - 1
    voted = trees.values[:, 0].argmax(axis=1)
    gains = np.stack([_gains(np.eye(model.n_classes_, dtype=bool), w) for w in model.estimator_weights_])
    return LeafSum(_leaves(model, x), gains[tree, voted], np.zeros(model.n_classes_), None)


def _gains_of(model: Any, base: Any, predicted: Op, weight: float) -> Op:
    """What one base model's prediction adds to each class. float64 [N, C]."""
    classes = np.asarray(model.classes_)
    if isinstance(predicted, Label):
        table = _gains(predicted.classes[:, None] == classes, weight)
        return Take(Const(table), predicted.index)
    if classes.dtype.kind not in "biuf":
        raise unsupported(base, f"it predicts numbers where the classes are {classes.dtype}", "Fit it on numbers")
    dtype = np.result_type(predicted.dtype, classes.dtype)
    voted = Equal(column(cast(predicted, dtype)), Const(classes.astype(dtype)))
    gain, loss = np.array(weight, FLOAT64), np.array(-1 / (len(classes) - 1) * weight, FLOAT64)
    return Where(voted, Const(gain), Const(loss))


@converter(AdaBoostRegressor, steps=first_base, frames=True, sparse=True)
def ada_boost_regressor(model: Any, x: Op | Frame) -> Outputs:
    """The weighted median of the base models' predictions. [N], their dtype.

    Source: sklearn.ensemble._weight_boosting.AdaBoostRegressor._get_median_predict.
    """
    x, bases = all_finite(model, rows(x)), model.estimators_
    if all(type(base) in TREE_REGRESSORS for base in bases):
        predictions = Take(Const(_trees(model).values[:, 0, 0]), _leaves(model, x))
    else:
        parts = [one(base, x, "predict", base_label(model, i)) for i, base in enumerate(bases)]
        predictions = concat([Reshape(part, (1,)) for part in parts])
    weights = np.asarray(model.estimator_weights_, FLOAT64)[: len(bases)]
    return {"predict": ravel(WeightedMedian(predictions, weights))}
