"""What meta-estimators read from the models inside them: the method that is there, the positive class's column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.utils.multiclass import type_of_target

from tensorml.converter import Outputs, unsupported
from tensorml.frames import Frame
from tensorml.graph import Op
from tensorml.ops import Columns, Neg, Reshape, Sparse, Untyped, cast, concat, ravel
from tensorml_sklearn.ensemble.members import chosen_output, numbers, rows

FLOAT64 = np.dtype(np.float64)
PROBABILITIES = ("predict_proba", "predict_log_proba")
SCORES = ("decision_function", "predict_proba")


def first_method(model: Any, methods: Sequence[str], step: str) -> str:
    """The first of the methods that the model has. Source: sklearn.utils.validation._check_response_method."""
    found = next((method for method in methods if hasattr(model, method)), None)
    if found is None:
        raise unsupported(
            model, f"it has none of the methods {', '.join(methods)}", "Use another estimator inside"
        ).within(step)
    return found


def response(model: Any, outputs: Outputs, method: str, step: str, positive: Any = None) -> Op:
    """What a method returns; for two classes the column of the positive one, by default the second. [N] or [N, C].

    positive: the label of the positive class. Source: sklearn.utils._response._get_response_values.
    """
    op = one_of(model, outputs, method, step)
    if method not in (*PROBABILITIES, "decision_function") or not is_classifier(model):
        return op
    classes = np.asarray(model.classes_)
    if type_of_target(classes) != "binary":
        return op
    positive = classes[-1] if positive is None else positive
    if method == "decision_function":
        return Neg(op) if positive == classes[0] else op
    if op.columns < 2:
        raise unsupported(
            model, f"its {method}() has one column, of one class", "Fit it on rows of two classes"
        ).within(step)
    return column_at(op, int(np.flatnonzero(classes == positive)[0]))


def one_of(model: Any, outputs: Outputs, method: str, step: str) -> Op:
    """What a method that returns one array returns, labels as numbers."""
    found = chosen_output(model, outputs, method, step)
    if isinstance(found, list):
        raise unsupported(model, f"its {method}() returns a list", "Use models of one output").within(step)
    return numbers(model, found, step)


def column_at(x: Op, k: int) -> Op:
    """Column k of [N, C], as [N]."""
    return ravel(Columns(x, np.array([k])))


def binary_score(model: Any, outputs: Outputs, step: str) -> Op:
    """What a model of two classes says for the second one. [N].

    Source: sklearn.multiclass._predict_binary.
    """
    if is_regressor(model):
        score = one_of(model, outputs, "predict", step)
    elif hasattr(model, "decision_function"):
        score = one_of(model, outputs, "decision_function", step)
    else:
        score = column_at(one_of(model, outputs, "predict_proba", step), 1)
    if len(score.shape) == 1:
        return score
    if score.columns != 1:
        raise unsupported(model, f"it returns {score.columns} columns", "Use models of one output").within(step)
    return ravel(score)


def binary_threshold(model: Any) -> float:
    """From where on such a score stands for the second class.

    Source: sklearn.multiclass._threshold_for_binary_predict.
    """
    return 0.0 if hasattr(model, "decision_function") and is_classifier(model) else 0.5


def numeric_rows(x: Op | Frame) -> Op:
    """What a meta-estimator hands on that reads X with check_array(dtype="numeric"): objects as numbers."""
    read = rows(x)
    return read.x if isinstance(read, Untyped) else read


def beside(x: Op, columns: Sequence[Op]) -> Op:
    """X and more columns [N] behind it, float64, sparse where X is. Source: numpy.hstack, scipy.sparse.hstack."""
    inner = x.x if isinstance(x, Sparse) else x
    joined = concat([cast(inner, np.result_type(inner.dtype, FLOAT64)), *(Reshape(c, (1,)) for c in columns)])
    return Sparse(joined) if isinstance(x, Sparse) else joined
