"""Converters for sklearn.ensemble.BaggingClassifier and BaggingRegressor."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import BaggingClassifier, BaggingRegressor

from tensorml.converter import Outputs, converter, fitted_attribute, once_per_model
from tensorml.frames import Frame
from tensorml.graph import Op
from tensorml.ops import Columns, LeafSum, Log, Sparse, Untyped, cast, ravel
from tensorml_sklearn.ensemble.members import (
    FLOAT64,
    base_label,
    chosen,
    chosen_output,
    first_base,
    log_add_exp,
    numbers,
    one_hot,
    rows,
    spread,
    total,
)
from tensorml_sklearn.output import labelled
from tensorml_sklearn.pipeline import outputs_of
from tensorml_sklearn.tree import TREE_CLASSIFIERS, TREE_REGRESSORS, Trees, read_trees, takes_nan, tree_input


def _bases(model: Any) -> list[Any]:
    """The base models that predictions use: `n_estimators` may have been changed after `fit`."""
    return fitted_attribute(model, "estimators_")[: model.n_estimators]


@once_per_model
def _trees(model: Any) -> tuple[Trees, np.ndarray]:
    """The trees, over the columns that at least one of them was fitted on, and these columns."""
    bases = _bases(model)
    features = model.estimators_features_[: len(bases)]
    used = np.unique(np.concatenate(features))
    return read_trees([base.tree_ for base in bases], [np.searchsorted(used, f) for f in features]), used


def _sum_of_trees(model: Any, x: Op) -> Op:
    """The sum of what the leaves hold, tree after tree. float64 [N, outputs * classes].

    A column that no tree was fitted on may hold anything: only the trees check what they read.
    """
    trees, used = _trees(model)
    first = model.estimators_[0]
    inner = x.x if isinstance(x, Sparse | Untyped) else x
    leaves = trees.forest.descend(tree_input(first, Columns(inner, used), nan=takes_nan(first)))
    values = trees.values.reshape(len(trees.values), -1)
    return LeafSum(leaves, values, np.zeros(values.shape[1]), None)


@converter(BaggingRegressor, steps=first_base, frames=True, sparse=True)
def bagging_regressor(model: BaggingRegressor, x: Op | Frame) -> Outputs:
    """The mean of the base models' predictions, added up in order, then divided. [N], or [N, K] for several outputs.

    Source: sklearn.ensemble._bagging.BaggingRegressor.predict.
    """
    x, bases = rows(x), _bases(model)
    if all(type(base) in TREE_REGRESSORS for base in bases):
        summed = _sum_of_trees(model, x)
        summed = ravel(summed) if bases[0].n_outputs_ == 1 else summed
    else:
        summed = total([_output(model, i, outputs, "predict") for i, outputs in enumerate(_outputs(model, x))])
    return {"predict": summed / float(model.n_estimators)}


@converter(BaggingClassifier, steps=first_base, frames=True, sparse=True)
def bagging_classifier(model: BaggingClassifier, x: Op | Frame) -> Outputs:
    """The mean of the base models' probabilities, or of their votes where they have none.

    Source: sklearn.ensemble._bagging.BaggingClassifier.
    """
    x, bases = rows(x), _bases(model)
    alike = all(type(base) in TREE_CLASSIFIERS and len(base.classes_) == model.n_classes_ for base in bases)
    outputs = [] if alike else _outputs(model, x)
    summed = _sum_of_trees(model, x) if alike else _probabilities(model, outputs)
    mean = summed / float(model.n_estimators)
    found: Outputs = {"predict": labelled(mean, model.classes_), "predict_proba": mean}
    if alike:
        logarithm = Log(summed) - float(np.log(model.n_estimators))
    elif hasattr(model.estimator_, "predict_log_proba"):
        logarithm = _log_probabilities(model, outputs)
    else:
        logarithm = Log(mean)
    found["predict_log_proba"] = logarithm
    decisions = [_decision(output) for output in outputs]
    if outputs and None not in decisions and len({d.type for d in decisions if d is not None}) == 1:
        found["decision_function"] = total([d for d in decisions if d is not None]) / float(model.n_estimators)
    return found


def _outputs(model: Any, x: Op) -> list[Outputs]:
    """The outputs of each base model on its columns."""
    return [
        outputs_of(base, chosen(x, np.asarray(features)), base_label(model, i))
        for i, (base, features) in enumerate(zip(_bases(model), model.estimators_features_, strict=False))
    ]


def _output(model: Any, i: int, outputs: Outputs, method: str) -> Op:
    """What a method of base model i returns, labels as numbers."""
    base, step = model.estimators_[i], base_label(model, i)
    found = chosen_output(base, outputs, method, step)
    return numbers(base, found[0] if isinstance(found, list) else found, step)


def _decision(outputs: Outputs) -> Op | None:
    return outputs.get("decision_function")


def _probabilities(model: BaggingClassifier, outputs: list[Outputs]) -> Op:
    """The sum of probabilities, or of votes. float64 [N, C].

    Source: sklearn.ensemble._bagging._parallel_predict_proba.
    """
    parts: list[Op] = []
    for i, base in enumerate(_bases(model)):
        if hasattr(base, "predict_proba"):
            p = cast(_output(model, i, outputs[i], "predict_proba"), FLOAT64)
            parts.append(spread(p, np.asarray(base.classes_), model.n_classes_, 0.0))
        else:
            parts.append(one_hot(_output(model, i, outputs[i], "predict"), model.n_classes_))
    return total(parts)


def _log_probabilities(model: BaggingClassifier, outputs: list[Outputs]) -> Op:
    """The logarithm of the mean probabilities, from logarithms, without leaving the range. float64 [N, C].

    Source: sklearn.ensemble._bagging._parallel_predict_log_proba.
    """
    result: Op | None = None
    for i, base in enumerate(_bases(model)):
        p = cast(_output(model, i, outputs[i], "predict_log_proba"), FLOAT64)
        part = spread(p, np.asarray(base.classes_), model.n_classes_, -np.inf)
        result = part if result is None else log_add_exp(result, part)
    if result is None:
        raise ValueError("an ensemble of no models")
    return result - float(np.log(model.n_estimators))
