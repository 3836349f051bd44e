"""Converters for sklearn.multioutput: a model for each output, side by side or one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.frames import Frame
from tensorml.graph import Op
from tensorml.ops import Columns, Label, LabelColumns, Log, cast, concat
from tensorml_sklearn.ensemble.members import FLOAT64, INT64, all_finite, base_label, column, one
from tensorml_sklearn.pipeline import outputs_of
from tensorml_sklearn.responses import beside, numeric_rows, response

CHAINED = ("predict_proba", "decision_function")


def outputs_apart(model: Any) -> list[tuple[str, Any]]:
    """The model of each output, under the names that refusals use."""
    return [(base_label(model, i), base) for i, base in enumerate(fitted_attribute(model, "estimators_"))]


@converter(MultiOutputRegressor, MultiOutputClassifier, steps=outputs_apart, frames=True, sparse=True)
def multi_output(model: Any, x: Op | Frame) -> Outputs:
    """What each output's model predicts, side by side: [N, K]; a list of probabilities.

    Source: sklearn.multioutput.
    """
    parts = outputs_apart(model)
    found: Outputs = {"predict": _side_by_side(model, [(s, one(base, x, "predict", s)) for s, base in parts])}
    if isinstance(model, MultiOutputClassifier) and hasattr(model, "predict_proba"):
        found |= {f"predict_proba[{i}]": one(base, x, "predict_proba", s) for i, (s, base) in enumerate(parts)}
    return found


def _side_by_side(model: Any, predictions: list[tuple[str, Op]]) -> Op:
    """Predictions [N] as the columns of one array, labels as labels. Source: numpy.asarray of a list of arrays."""
    for step, op in predictions:
        if len(op.shape) != 1:
            raise unsupported(model, f"its {step} predicts several columns", "Use a model that predicts one number")
    labels = [op for _, op in predictions if isinstance(op, Label)]
    if len(labels) < len(predictions):
        return concat([column(op) for _, op in predictions])
    dtype = np.result_type(*(op.classes for op in labels))
    index = concat([column(cast(op.index, INT64)) for op in labels])
    return LabelColumns(index, tuple(op.classes.astype(dtype) for op in labels))


@converter(RegressorChain, steps=outputs_apart, frames=True, sparse=True)
def regressor_chain(model: RegressorChain, x: Op | Frame) -> Outputs:
    """What each model predicts from X and the predictions before it. float64 [N, K].

    Source: sklearn.multioutput._BaseChain._get_predictions.
    """
    return {"predict": _chained(model, x, ("predict",))["predict"]}


@converter(ClassifierChain, steps=outputs_apart, frames=True, sparse=True)
def classifier_chain(model: ClassifierChain, x: Op | Frame) -> Outputs:
    """What each model says of X and of what the models before it said. float64 [N, K], the labels as numbers.

    Source: sklearn.multioutput.ClassifierChain.
    """
    found = _chained(model, x, ("predict", *(method for method in CHAINED if _offers(model, method))))
    return found | ({"predict_log_proba": Log(found["predict_proba"])} if "predict_proba" in found else {})


def _offers(model: ClassifierChain, method: str) -> bool:
    """Whether a method works: there, and one number a row for each output."""
    return hasattr(model, method) and all(
        len(getattr(base, "classes_", (0, 1))) == 2 for _, base in outputs_apart(model)
    )


def _chained(model: Any, x: Op | Frame, methods: tuple[str, ...]) -> Outputs:
    """The result of each method. What is handed on in the chain is that of `chain_method_`, `predict` without one.

    X and what is handed on are float64 for every model, whatever X was.
    """
    rows = all_finite(model, numeric_rows(x))
    handed: list[Op] = []
    said: dict[str, list[Op]] = {method: [] for method in methods}
    for step, base in outputs_apart(model):
        outputs = outputs_of(base, beside(rows, handed), step)
        for method in methods:
            said[method].append(_number(model, base, outputs, method, step))
        handed.append(_number(model, base, outputs, getattr(model, "chain_method_", "predict"), step))
    place = np.argsort(np.asarray(model.order_))
    return {method: Columns(concat([column(op) for op in parts]), place) for method, parts in said.items()}


def _number(model: Any, base: Any, outputs: Outputs, method: str, step: str) -> Op:
    """What one model says, float64 [N]."""
    op = response(base, outputs, method, step)
    if len(op.shape) != 1:
        raise unsupported(
            model, f"its {step} returns {op.columns} columns from {method}()", "Use outputs of two classes"
        )
    return cast(op, FLOAT64)
