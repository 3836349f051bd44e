"""Converters for sklearn.ensemble.StackingClassifier and StackingRegressor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.ensemble import StackingClassifier, StackingRegressor

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.frames import Frame
from tensorml.graph import Const, Op
from tensorml.ops import Columns, Label, LabelColumns, Sparse, Take, cast, concat, ravel
from tensorml_sklearn.ensemble.members import INT64, column, named_members, numbers, result
from tensorml_sklearn.output import contained
from tensorml_sklearn.pipeline import NONE, array_of, framed, outputs_of

FINAL = "final_estimator_"


def stacking_steps(model: Any) -> list[tuple[str, Any]]:
    """The models inside, the final one last, under the names that refusals use."""
    return [*named_members(model), (final_label(model), fitted_attribute(model, FINAL))]


def final_label(model: Any) -> str:
    """How a refusal names the final model."""
    return f"{type(model).__name__} {FINAL}"


def final_model(model: Any) -> Any:
    """The final model, which gets the options of `predict`."""
    return fitted_attribute(model, FINAL)


@converter(StackingRegressor, steps=stacking_steps, frames=True, sparse=True, inner=final_model, passing=("predict",))
def stacking_regressor(model: Any, x: Op | Frame, *, passed: Mapping[str, Any] = NONE) -> Outputs:
    """What the final model predicts from the members' predictions. Source: sklearn.ensemble._stacking."""
    stacked = _stacked(model, x)
    outputs = _final(model, x, stacked, passed)
    predicted = {name: op for name, op in outputs.items() if name.partition("(")[0] == "predict"}
    return {**predicted, "transform": stacked}


@converter(StackingClassifier, steps=stacking_steps, frames=True, sparse=True, inner=final_model, passing=("predict",))
def stacking_classifier(model: Any, x: Op | Frame, *, passed: Mapping[str, Any] = NONE) -> Outputs:
    """The final model's methods on what the members return, its labels decoded.

    Source: sklearn.ensemble._stacking.StackingClassifier.
    """
    stacked = _stacked(model, x)
    outputs = _final(model, x, stacked, passed)
    found: Outputs = {"transform": stacked}
    if "predict" in outputs:
        found["predict"] = _decoded(model, outputs["predict"])
    listed = [op for name, op in outputs.items() if name.startswith("predict_proba[")]
    if "predict_proba" in outputs:
        found["predict_proba"] = outputs["predict_proba"]
    elif listed:
        found["predict_proba"] = concat([Columns(p, np.array([0])) for p in listed])
    decisions = {name: op for name, op in outputs.items() if name.partition("[")[0] == "decision_function"}
    return found | decisions


def _final(model: Any, x: Op | Frame, stacked: Op, options: Mapping[str, Any]) -> Outputs:
    """The outputs of the final model, which gets what `transform` returns, a DataFrame if it was set to."""
    return outputs_of(final_model(model), framed(contained(model, x, stacked)), final_label(model), options)


def _stacked(model: Any, x: Op | Frame) -> Op:
    """What the members return side by side, and X behind it with `passthrough`; sparse if that X is.

    Source: sklearn.ensemble._stacking._BaseStacking._concatenate_predictions.
    """
    parts: list[Op] = []
    for (step, member), method in zip(named_members(model), model.stack_method_, strict=True):
        found = result(member, x, method, step)
        if isinstance(found, list):
            parts += [_without_first(numbers(member, p, step)) for p in found]
        elif method == "predict_proba" and len(found.shape) > 1 and len(model.classes_) == 2:
            parts.append(_without_first(found))
        else:
            parts.append(column(_labels(member, found, step)))
    if not model.passthrough:
        return concat(parts)
    if isinstance(x, Sparse):
        return Sparse(concat([*parts, x.x]))
    return concat([*parts, array_of(x, lists=True)])


def _labels(member: Any, op: Op, step: str) -> Op:
    """A member's result as numbers, [N] or [N, K]."""
    if isinstance(op, LabelColumns):
        columns = [Columns(op.index, np.array([k])) for k in range(op.columns)]
        labels = [Label(ravel(index), classes) for index, classes in zip(columns, op.classes, strict=True)]
        return cast(concat([column(numbers(member, label, step)) for label in labels]), op.dtype)
    return numbers(member, op, step)


def _without_first(p: Op) -> Op:
    """All columns but the first: the probabilities add up to 1."""
    return Columns(p, np.arange(1, p.columns))


def _decoded(model: Any, predicted: Op) -> Op:
    """The labels that the final model's numbers stand for: it was fitted on numbers from 0."""
    if isinstance(predicted, LabelColumns):
        pairs = zip(predicted.classes, model.classes_, strict=True)
        return LabelColumns(predicted.index, tuple(np.asarray(known)[codes] for codes, known in pairs))
    classes = np.asarray(model.classes_) if not isinstance(model.classes_, list) else None
    if classes is None or len(predicted.shape) != 1:
        raise unsupported(
            model,
            "its final model predicts several labels in a way that is not converted",
            "Use a final_estimator that predicts a class for each label, such as RandomForestClassifier",
        )
    if isinstance(predicted, Label):
        codes = np.asarray(predicted.classes, INT64)
        alike = np.array_equal(codes, np.arange(len(codes)))
        return Label(predicted.index if alike else Take(Const(codes), predicted.index), classes)
    return Label(cast(predicted, INT64), classes)
