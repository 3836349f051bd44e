"""Converters for sklearn.multiclass: classifiers of many classes that are made of classifiers of two."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier, _ConstantPredictor
from sklearn.preprocessing import LabelBinarizer

from tensorml.converter import Outputs, converter, fitted_attribute
from tensorml.frames import Frame
from tensorml.graph import Const, Op
from tensorml.ops import Abs, Columns, Equal, Label, Max, ReduceSum, Sparse, Where, cast, concat, full
from tensorml_sklearn.ensemble.members import FLOAT64, INT64, base_label, chosen, column
from tensorml_sklearn.output import labelled
from tensorml_sklearn.pipeline import outputs_of
from tensorml_sklearn.responses import binary_score, binary_threshold, column_at, numeric_rows, one_of
from tensorml_sklearn.validation import finite


def bases(model: Any) -> list[tuple[str, Any]]:
    """The models of two classes inside, under the names that refusals use."""
    return [(base_label(model, i), base) for i, base in enumerate(fitted_attribute(model, "estimators_"))]


@converter(_ConstantPredictor)
def constant_predictor(model: Any, x: Op) -> Outputs:
    """What stands for a class that all rows have, or none. predict, decision_function: [N], dtype of its y.

    Source: sklearn.multiclass._ConstantPredictor.
    """
    known = np.asarray(fitted_attribute(model, "y_"))
    same = full(x, (), known[0].item(), known.dtype)
    return {"predict": same, "decision_function": same, "predict_proba": _both(full(x, (1,), float(known[0]), FLOAT64))}


def _both(p: Op) -> Op:
    """1 - p and p, side by side. p: [N, 1]."""
    return concat([1.0 - p, p])


@converter(OneVsRestClassifier, steps=bases, frames=True, sparse=True)
def one_vs_rest(model: OneVsRestClassifier, x: Op | Frame) -> Outputs:
    """The class whose model has the largest score; for several labels a row, each label's model apart.

    Source: sklearn.multiclass.OneVsRestClassifier.
    """
    parts = [(step, base, outputs_of(base, x, step)) for step, base in bases(model)]
    scores = [binary_score(base, outputs, step) for step, base, outputs in parts]
    found: Outputs = {"predict": _chosen_class(model, scores)}
    if _all_have(parts, "predict_proba"):
        found["predict_proba"] = _probabilities(
            model, [column_at(one_of(base, outputs, "predict_proba", step), 1) for step, base, outputs in parts]
        )
    if _all_have(parts, "decision_function"):
        decisions = [one_of(base, outputs, "decision_function", step) for step, base, outputs in parts]
        alone = len(decisions) == 1
        found["decision_function"] = decisions[0] if alone else concat([column(d) for d in decisions])
    return found


def _all_have(parts: list[tuple[str, Any, Outputs]], method: str) -> bool:
    """Whether the ensemble's method works: it calls the one of each base, of which some may be constant."""
    return all(hasattr(base, method) for _, base, _ in parts)


def _chosen_class(model: Any, scores: list[Op]) -> Op:
    """The labels. scores: [N] for each class, or one for two classes.

    Source: sklearn.multiclass.OneVsRestClassifier.predict; LabelBinarizer.inverse_transform, whose result is sparse if
    the labels it was fitted on were.
    """
    binarizer = fitted_attribute(model, "label_binarizer_")
    classes = np.asarray(model.classes_)
    if binarizer.y_type_ == "multiclass":
        return Label(largest(scores), classes)
    threshold = binary_threshold(model.estimators_[0])
    above = [cast(score > threshold, INT64) for score in scores]
    if binarizer.y_type_ != "binary":
        indicator = concat([column(label) for label in above])
        return Sparse(indicator) if binarizer.sparse_input_ else indicator
    return Label(above[0] if len(classes) > 1 else full(above[0], (), 0, INT64), classes)


def largest(scores: list[Op]) -> Op:
    """Which score is the largest: int64 [N]. In a tie the first; in scikit-learn 1.6 the last.

    A NaN is never the largest, and hides those that come after it in the order of comparison.
    Source: sklearn.multiclass.OneVsRestClassifier.predict.
    """
    order = range(len(scores))
    best = full(scores[0], (), -np.inf, FLOAT64)
    index = full(scores[0], (), 0, INT64)
    for i in reversed(order) if FIRST_OF_EQUALS else order:
        score = cast(scores[i], FLOAT64)
        best = Max(best, score)
        index = Where(Equal(best, score), full(score, (), i, INT64), index)
    return index


def _probabilities(model: OneVsRestClassifier, parts: list[Op]) -> Op:
    """The probability of each class, adding up to 1 unless a row may have several. [N, C].

    Source: sklearn.multiclass.OneVsRestClassifier.predict_proba.
    """
    p = concat([column(part) for part in parts])
    if len(parts) == 1:
        p = _both(p)
    if model.multilabel_:
        return p
    total = ReduceSum(p)
    if NAN_IF_ALL_ZERO:
        return p / total
    one = Const(np.array(1, p.dtype))
    return p / Where(Equal(total, Const(np.array(0, p.dtype))), one, total)


@converter(OneVsOneClassifier, steps=bases, frames=True, sparse=True)
def one_vs_one(model: Any, x: Op | Frame) -> Outputs:
    """The class that most of the pairs vote for; their confidences decide ties.

    decision_function: float64 [N, C], [N] for two classes. Source: sklearn.multiclass.OneVsOneClassifier.
    """
    x, pairwise = numeric_rows(x), fitted_attribute(model, "pairwise_indices_")
    parts = []
    for i, (step, base) in enumerate(bases(model)):
        mine = x if pairwise is None else chosen(x, np.asarray(pairwise[i]))
        parts.append((step, base, outputs_of(base, mine, step)))
    predictions = concat([column(one_of(base, outputs, "predict", step)) for step, base, outputs in parts])
    confidences = concat([column(binary_score(base, outputs, step)) for step, base, outputs in parts])
    classes = np.asarray(model.classes_)
    scores = votes(cast(predictions, FLOAT64), cast(confidences, FLOAT64), len(classes))
    if len(classes) > 2:
        return {"predict": labelled(scores, classes), "decision_function": scores}
    second = column_at(scores, 1)
    above = cast(second > binary_threshold(model.estimators_[0]), INT64)
    return {"predict": Label(above, classes), "decision_function": second}


def votes(predictions: Op, confidences: Op, count: int) -> Op:
    """Votes of the pairs, plus their confidences, added in order and squeezed below one half.

    predictions, confidences: float64 [N, pairs], 0 or 1 and scores for the pairs (0, 1), (0, 2), ...; result:
    float64 [N, count]. Source: sklearn.utils.multiclass._ovr_decision_function.
    """
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    mine = np.array([[k for k, pair in enumerate(pairs) if c in pair] for c in range(count)])
    second = np.array([[float(pairs[k][1] == c) for k in row] for c, row in enumerate(mine)])
    voted: Op = full(predictions, (count,), 0.0, FLOAT64)
    confidence = voted
    for term in range(count - 1):
        target, place = second[:, term], mine[:, term]
        voted = voted + cast(Equal(Columns(predictions, place), Const(target[None])), FLOAT64)
        confidence = confidence + Columns(confidences, place) * Const(2 * target - 1)
    return voted + confidence / (3.0 * (Abs(confidence) + 1.0))


@converter(OutputCodeClassifier, steps=bases, frames=True, sparse=True)
def output_code(model: OutputCodeClassifier, x: Op | Frame) -> Outputs:
    """The class whose code is nearest to what the models say; the first of equally near ones.

    Source: sklearn.multiclass.OutputCodeClassifier.predict; sklearn.metrics.pairwise_distances_argmin, which compares
    |code|^2 - 2 code @ scores.
    """
    scores = [column(binary_score(base, outputs_of(base, x, step), step)) for step, base in bases(model)]
    code = np.asarray(fitted_attribute(model, "code_book_"), FLOAT64)
    said = finite(model, cast(concat(scores), FLOAT64))
    near = said @ (2.0 * code.T) - Const((code**2).sum(axis=1))
    return {"predict": labelled(near, model.classes_)}


def _tie() -> OneVsRestClassifier:
    """Three classes, of which none is more probable than the others."""
    model = OneVsRestClassifier(_ConstantPredictor())
    model.label_binarizer_ = LabelBinarizer().fit([0, 1, 2])
    model.classes_ = model.label_binarizer_.classes_
    model.estimators_ = [_ConstantPredictor().fit(np.zeros((1, 1)), np.zeros(1)) for _ in range(3)]
    return model


def _first_of_equals() -> bool:
    """Whether this scikit-learn takes the first of equal scores; 1.6 takes the last."""
    return bool(_tie().predict(np.zeros((1, 1)))[0] == 0)


def _nan_if_all_zero() -> bool:
    """Whether this scikit-learn divides 0 by 0 where no class is probable, as 1.6 does."""
    with np.errstate(invalid="ignore"):
        return bool(np.isnan(_tie().predict_proba(np.zeros((1, 1)))).any())


FIRST_OF_EQUALS = _first_of_equals()
NAN_IF_ALL_ZERO = _nan_if_all_zero()
