"""Converters for sklearn.calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV

from tensorml.converter import Outputs, apply, converter, fitted, fitted_attribute, unsupported
from tensorml.frames import Frame
from tensorml.graph import Const, Op
from tensorml.ops import (
    Equal,
    Log,
    Max,
    Neg,
    ReduceMax,
    ReduceSum,
    Require,
    Sigmoid,
    Softmax,
    Where,
    cast,
    concat,
    full,
)
from tensorml_sklearn.ensemble.members import FLOAT64, column, total
from tensorml_sklearn.output import labelled
from tensorml_sklearn.pipeline import outputs_of
from tensorml_sklearn.responses import SCORES, column_at, first_method, response
from tensorml_sklearn.validation import finite, floating

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))
LEAST = 1e-12  # added to a probability before its logarithm is taken
ROUNDING = 1e-5  # probabilities that exceed 1 by no more than this are set to 1
CLOSE = 1e-8 + 1e-5  # how far from 1 numpy.isclose takes a sum for 1


def calibrated_label(i: int) -> str:
    """How a refusal names the estimator of one of the folds."""
    return f"CalibratedClassifierCV calibrated_classifiers_[{i}]"


def calibrated_steps(model: Any) -> list[tuple[str, Any]]:
    """The estimators that are calibrated, under the names that refusals use."""
    parts = fitted_attribute(model, "calibrated_classifiers_")
    return [(calibrated_label(i), part.estimator) for i, part in enumerate(parts)]


@converter(CalibratedClassifierCV, steps=calibrated_steps, frames=True, sparse=True)
def calibrated_classifier(model: Any, x: Op | Frame) -> Outputs:
    """The mean of the folds' calibrated probabilities, and the class where it is largest. float64 [N, C].

    Source: sklearn.calibration.CalibratedClassifierCV.
    """
    parts = [
        cast(_calibrated(part, outputs_of(part.estimator, x, step), step), FLOAT64)
        for part, (step, _) in zip(model.calibrated_classifiers_, calibrated_steps(model), strict=True)
    ]
    mean = total(parts) / float(len(parts))
    return {"predict": labelled(mean, model.classes_), "predict_proba": mean}


def _calibrated(part: Any, outputs: Outputs, step: str) -> Op:
    """The probabilities of one fold. [N, C]. Source: sklearn.calibration._CalibratedClassifier.predict_proba."""
    method = first_method(part.estimator, SCORES, step)
    said = response(part.estimator, outputs, method, step)
    if part.method == "temperature":
        p = _tempered(part, column(said), method)
    elif len(part.classes) == 2:
        second = _mapped(part.calibrators[0], _only(part, said, step), step)
        p = concat([1.0 - column(second), column(second)])
    else:
        p = _normalised(_each_class(part, said, step))
    one = Const(np.array(1, p.dtype))
    return Where((p > one) & (p <= one + ROUNDING), one, p)


def _only(part: Any, said: Op, step: str) -> Op:
    """The scores of the second class, [N]."""
    if len(said.shape) == 1:
        return said
    if said.columns != 1:
        raise unsupported(part.estimator, f"it returns {said.columns} columns for two classes", "Use another").within(
            step
        )
    return column_at(said, 0)


def _each_class(part: Any, said: Op, step: str) -> Op:
    """Each class's score through its calibrator; 0 for a class that the fold did not have. float64 [N, C]."""
    scores = column(said)
    known = np.searchsorted(part.classes, part.estimator.classes_)
    nothing = full(scores, (), 0.0, FLOAT64)
    columns: list[Op] = [nothing] * len(part.classes)
    for k, (place, calibrator) in enumerate(zip(known[: scores.columns], part.calibrators, strict=False)):
        columns[int(place)] = _mapped(calibrator, column_at(scores, k), step)
    return concat([column(c) for c in columns])


def _mapped(calibrator: Any, score: Op, step: str) -> Op:
    """One calibrator's probability. score: [N]; result: float64 [N].

    Source: sklearn.calibration._SigmoidCalibration.predict; sklearn.isotonic.IsotonicRegression.predict.
    """
    if hasattr(calibrator, "a_"):
        return cast(Sigmoid(Neg(fitted(calibrator, "a_") * score + fitted(calibrator, "b_"))), FLOAT64)
    return cast(apply(calibrator, column(score), step=step)["predict"], FLOAT64)


def _normalised(p: Op) -> Op:
    """Each row over its sum; the same for every class where all are 0. p: float64 [N, C]."""
    whole = ReduceSum(p)
    zero, one, alike = (Const(np.array(value, p.dtype)) for value in (0.0, 1.0, 1 / p.columns))
    nothing = Equal(whole, zero)
    return Where(nothing, alike, p / Where(nothing, one, whole))


def _tempered(part: Any, said: Op, method: str) -> Op:
    """The softmax of the scores over the temperature. said: [N, 1] or [N, C]; result: [N, C].

    Source: sklearn.calibration._TemperatureScaling.predict.
    """
    if said.columns == 1 and method == "predict_proba":
        said = concat([1.0 - said, said])
    said = finite(part.calibrators[0], floating(said, FLOATS))
    if said.columns == 1:
        logits = concat([Neg(said), said])
    elif method == "predict_proba":
        logits = Log(_required(said, probable=True) + LEAST)
    else:
        logits = _required(said, probable=False)
    return Softmax(fitted(part.calibrators[0], "beta_") * logits)


def _required(said: Op, *, probable: bool) -> Op:
    """The scores, if every row is one of probabilities, or none is.

    scikit-learn looks at all rows of a batch together: it takes their logarithm if each adds up to 1, none without
    that. A batch of which only some do would have another result than its rows apart.
    Source: sklearn.calibration._convert_to_logits.
    """
    zero, one = (Const(np.array(value, said.dtype)) for value in (0, 1))
    inside = (ReduceMax(Neg(said)) <= zero) & (ReduceMax(said) <= one)
    off = ReduceSum(said) - one
    alike = inside & (Max(off, Neg(off)) <= Const(np.array(CLOSE, said.dtype)))
    kind = "no probabilities" if probable else "probabilities"
    return Require(
        said,
        alike if probable else ~alike,
        f"the estimator that is calibrated by temperature returns {kind} for a row, and what scikit-learn makes of it "
        "depends on the other rows of the batch.",
    )
