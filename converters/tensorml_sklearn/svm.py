"""Converters for sklearn.svm: liblinear's models, which are linear, and libsvm's, which are sums of kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, NuSVR, OneClassSVM

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import (
    Abs,
    ArgMax,
    Columns,
    Greater,
    Label,
    Less,
    Log,
    Max,
    Min,
    Not,
    PairwiseCoupling,
    Sigmoid,
    Where,
    cast,
    ravel,
)
from tensorml_sklearn.linear_model import linear_classifier, linear_regressor
from tensorml_sklearn.pairwise import PRECOMPUTED, Pairs, dense, require_named
from tensorml_sklearn.validation import finite

INT64, FLOAT64 = np.dtype(np.int64), np.dtype(np.float64)
LEAST = 1e-7  # libsvm's smallest probability of a pair

converter(LinearSVC)(linear_classifier)
converter(LinearSVR)(linear_regressor)


def expansion(model: Any, x: Op, coef: np.ndarray) -> Op:
    """Decision values of libsvm: kernels between x and the support vectors, times coef, plus the intercepts.

    x: [N, F], read as float64; coef: [M, K]; result: float64 [N, K]. With a precomputed kernel the input has a column
    for each row of `fit`, of which those of the support vectors count.
    Source: libsvm's svm_predict_values; sklearn.svm._base.BaseLibSVM._decision_function.
    """
    kernel, intercept = require_named(model, model.kernel), np.asarray(fitted_attribute(model, "_intercept_"))
    x = finite(model, cast(x, FLOAT64))
    if kernel == PRECOMPUTED:
        return Columns(x, np.asarray(model.support_, np.int64)) @ Const(coef) + intercept
    vectors = dense(model.support_vectors_).reshape(len(coef), x.columns)
    numbers = float(model._gamma), float(model.coef0), float(model.degree)
    return Pairs(x, vectors, kernel, *numbers).expansion(coef) + intercept


def coefficients(model: Any) -> np.ndarray:
    """Coefficients of libsvm, [classes - 1, M] or [1, M]. For two classes `dual_coef_` has them with other signs."""
    return np.asarray(dense(fitted_attribute(model, "_dual_coef_")), FLOAT64)


def pair_coefficients(model: Any) -> np.ndarray:
    """The coefficients of each pair of classes, [M, K (K - 1) / 2], 0 for the vectors of other classes.

    Source: libsvm's svm_predict_values: for i < j, row j - 1 for the vectors of class i, row i for those of class j.
    """
    dual, start = coefficients(model), np.concatenate([[0], np.cumsum(model._n_support)])
    first, second = np.triu_indices(len(model._n_support), 1)
    coef = np.zeros((dual.shape[1], len(first)))
    for pair, (i, j) in enumerate(zip(first, second, strict=True)):
        of_i, of_j = slice(start[i], start[i + 1]), slice(start[j], start[j + 1])
        coef[of_i, pair] = dual[j - 1, of_i]
        coef[of_j, pair] = dual[i, of_j]
    return coef


@converter(SVR, NuSVR)
def svr(model: Any, x: Op) -> Outputs:
    """The sum of kernels, float64 [N]."""
    return {"predict": ravel(expansion(model, x, coefficients(model).T))}


@converter(OneClassSVM)
def one_class_svm(model: OneClassSVM, x: Op) -> Outputs:
    """1 above 0, else -1: int64 [N]; the sum of kernels, without and with the offset: float64 [N].

    Source: sklearn.svm.OneClassSVM.
    """
    scores = ravel(expansion(model, x, coefficients(model).T))
    inlier, outlier = Const(np.array(1)), Const(np.array(-1))
    return {
        "predict": Where(Greater(scores, Const(np.array(0.0))), inlier, outlier),
        "decision_function": scores,
        "score_samples": scores + np.reshape(fitted_attribute(model, "offset_"), ()),
    }


@converter(SVC, NuSVC)
def svc(model: Any, x: Op) -> Outputs:
    """Labels by the votes of all pairs of classes, decision values, and probabilities where the model has them.

    decision_function: float64, [N] for two classes, [N, K (K - 1) / 2] for "ovo", else [N, K].
    Source: sklearn.svm._base.BaseSVC; libsvm's svm_predict_values and svm_predict_probability.
    """
    classes = fitted_attribute(model, "classes_")
    require_all_classes(model, len(classes))
    values = expansion(model, x, pair_coefficients(model))
    scores = decision_function(model, values, len(classes))
    by_scores = model.break_ties and len(classes) > 2
    index = ArgMax(scores) if by_scores else ArgMax(votes(values, len(classes)))
    outputs = {"predict": Label(index, classes), "decision_function": scores}
    if hasattr(model, "predict_proba") and len(model._probA) and len(model._probB):
        probabilities = platt_probabilities(model, values, len(classes))
        outputs |= {"predict_proba": probabilities, "predict_log_proba": Log(probabilities)}
    return outputs


def require_all_classes(model: Any, classes: int) -> None:
    """Raise UnsupportedModelError if a class was left out of the fit, or if predict raises."""
    if len(model._n_support) != classes:
        raise unsupported(
            model,
            f"libsvm was fitted on {len(model._n_support)} of its {classes} classes, as all rows of the others weigh 0",
            "Fit it on rows of classes that weigh something",
        )
    if model.break_ties and model.decision_function_shape == "ovo":
        raise unsupported(
            model,
            "break_ties must be False when decision_function_shape is 'ovo': its predict raises",
            "Call set_params(break_ties=False) on it",
        )


def pair_members(classes: int) -> np.ndarray:
    """For each pair of classes 1 in the column of its first, -1 in that of its second: float64 [P, K]."""
    first, second = np.triu_indices(classes, 1)
    members = np.zeros((len(first), classes))
    pair = np.arange(len(first))
    members[pair, first], members[pair, second] = 1, -1
    return members


def votes(values: Op, classes: int) -> Op:
    """How many pairs each class wins: the first above 0, else the second. values: [N, P]; result: float64 [N, K].

    Of two classes the second wins at 0, although decision_function is 0 there.
    """
    members = pair_members(classes)
    wins = cast(Greater(values, Const(np.array(0.0))), FLOAT64)
    return wins @ Const(members) + (members < 0).sum(axis=0).astype(FLOAT64)


def decision_function(model: Any, values: Op, classes: int) -> Op:
    """What the method returns for libsvm's decision values, [N, P]."""
    if classes == 2:
        return ravel(-values)
    return values if model.decision_function_shape == "ovo" else one_versus_rest(values, classes)


def one_versus_rest(values: Op, classes: int) -> Op:
    """The votes of each class, and as fraction of a vote its values. values: [N, P]; result: float64 [N, K].

    Source: sklearn.utils.multiclass._ovr_decision_function(values < 0, -values, classes).
    """
    members = pair_members(classes)
    wins = cast(Not(Less(values, Const(np.array(0.0)))), FLOAT64)
    won = wins @ Const(members) + (members < 0).sum(axis=0).astype(FLOAT64)
    confidence = values @ Const(members)
    return won + confidence / ((Abs(confidence) + 1.0) * 3.0)


def platt_probabilities(model: Any, values: Op, classes: int) -> Op:
    """Probabilities of all classes from those of pairs: float64 [N, K].

    Source: libsvm's sigmoid_predict, svm_predict_probability.
    """
    least, most = Const(np.array(LEAST)), Const(np.array(1 - LEAST))
    of_pairs = Sigmoid(-(values * np.asarray(model._probA) + np.asarray(model._probB)))
    return PairwiseCoupling(Min(Max(of_pairs, least), most), classes)
