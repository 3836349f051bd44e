"""Converters for sklearn.linear_model: one decision function, and what each family reads from it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import linear_model
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lars,
    LarsCV,
    Lasso,
    LassoCV,
    LassoLars,
    LassoLarsCV,
    LassoLarsIC,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    MultiTaskElasticNet,
    MultiTaskElasticNetCV,
    MultiTaskLasso,
    MultiTaskLassoCV,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    Perceptron,
    PoissonRegressor,
    QuantileRegressor,
    RANSACRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
    TheilSenRegressor,
    TweedieRegressor,
)
from sklearn.linear_model._base import LinearClassifierMixin

from tensorml.converter import Outputs, apply, converter, fitted, fitted_attribute, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import (
    Columns,
    Equal,
    Exp,
    Label,
    Log,
    Max,
    Min,
    ReduceSum,
    Sigmoid,
    Softmax,
    Sparse,
    Sqrt,
    Untyped,
    Where,
    cast,
    concat,
    full,
    ravel,
)
from tensorml_sklearn.output import labelled
from tensorml_sklearn.validation import FLOATS, finite, floating

INT64 = np.dtype(np.int64)
LINKS = {"IdentityLink": lambda raw: raw, "LogLink": Exp}
FLOAT64 = np.dtype(np.float64)


def _existing(*names: str) -> tuple[type, ...]:
    """The classes of these names that this scikit-learn still has."""
    return tuple(getattr(linear_model, name) for name in names if hasattr(linear_model, name))


def decision(model: Any, x: Op) -> Op:
    """The scores x @ coef.T + intercept, in the dtype to which NumPy promotes the three.

    x: [N, F]; coef: [K, F], or [F] for one output. Result: [N, K].
    Source: sklearn.linear_model._base.LinearModel._decision_function, LinearClassifierMixin.decision_function.
    """
    weights = np.atleast_2d(coefficients(model)).T
    return finite(model, x) @ weights + intercept(model)


def coefficients(model: Any) -> np.ndarray:
    """The coefficients as a dense array, [K, F] or [F], also where `sparsify` made a sparse matrix of them."""
    coef = fitted_attribute(model, "coef_")
    return np.asarray(coef.toarray() if hasattr(coef, "toarray") else coef)


def intercept(model: Any) -> Op | float:
    """The intercept: a constant that takes part in the promotion of dtypes, or the Python number 0.0, which does not.

    np.float64 is a Python float too, but NumPy promotes float32 by it.
    """
    value = fitted_attribute(model, "intercept_")
    return Const(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value


def one_or_more(scores: Op) -> Op:
    """[N, 1] as [N], and [N, K] as it is."""
    return ravel(scores) if scores.columns == 1 else scores


@converter(
    LinearRegression,
    Ridge,
    RidgeCV,
    Lasso,
    LassoCV,
    ElasticNet,
    ElasticNetCV,
    MultiTaskLasso,
    MultiTaskLassoCV,
    MultiTaskElasticNet,
    MultiTaskElasticNetCV,
    Lars,
    LarsCV,
    LassoLars,
    LassoLarsCV,
    LassoLarsIC,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    HuberRegressor,
    TheilSenRegressor,
    QuantileRegressor,
)
def linear_regressor(model: Any, x: Op) -> Outputs:
    """The decision function: [N] where the coefficients are one-dimensional, else [N, K].

    Source: sklearn.linear_model._base.LinearModel.predict.
    """
    scores = decision(model, x)
    return {"predict": ravel(scores) if coefficients(model).ndim == 1 else scores}


@converter(SGDRegressor, *_existing("PassiveAggressiveRegressor"))
def sgd_regressor(model: SGDRegressor, x: Op) -> Outputs:
    """The decision function, [N].

    Source: sklearn.linear_model._stochastic_gradient.BaseSGDRegressor.predict.
    """
    return {"predict": ravel(decision(model, x))}


@converter(BayesianRidge)
def bayesian_ridge(model: Any, x: Op) -> Outputs:
    """The mean of the prediction, and its standard deviation: return_std=True returns both. [N].

    Source: sklearn.linear_model._bayes.BayesianRidge.predict.
    """
    return _with_deviation(model, decision(model, x), _centered(model, x))


@converter(ARDRegression)
def ard_regression(model: Any, x: Op) -> Outputs:
    """As of BayesianRidge; the deviation comes from the features that were not pruned.

    Source: sklearn.linear_model._bayes.ARDRegression.predict.
    """
    kept = np.flatnonzero(np.asarray(fitted_attribute(model, "lambda_")) < model.threshold_lambda)
    return _with_deviation(model, decision(model, x), Columns(_centered(model, x), kept))


def _centered(model: Any, x: Op) -> Op:
    """X less its mean in the fit, of which older versions of scikit-learn took no account in the deviation."""
    return x - fitted(model, "X_offset_") if CENTERS[type(model)] else x


def _with_deviation(model: Any, scores: Op, centered: Op) -> Outputs:
    """The scores, [N, 1], and the square root of centered @ sigma @ centered.T, for each row, and 1 / alpha."""
    sigma, noise = np.asarray(fitted_attribute(model, "sigma_")), np.asarray(1.0 / model.alpha_)
    if centered.columns == 0:
        spread = full(centered, (1,), 0.0, np.result_type(centered.dtype, sigma))
    else:
        spread = ReduceSum((centered @ sigma) * centered)
    mean, deviation = ravel(scores), ravel(Sqrt(spread + noise))
    return {"predict": mean, "predict(return_std=True).0": mean, "predict(return_std=True).1": deviation}


@converter(PoissonRegressor, GammaRegressor, TweedieRegressor)
def generalized_linear_regressor(model: Any, x: Op) -> Outputs:
    """The linear score, or e to the power of it, as the link says. X is float32 or made float64; result: [N].

    Source: sklearn.linear_model._glm.glm._GeneralizedLinearRegressor.predict.
    """
    link = type(fitted_attribute(model, "_base_loss").link).__name__
    if link not in LINKS:
        raise unsupported(model, f"the link {link} is not known", "Choose link='log' or 'identity'")
    return {"predict": LINKS[link](ravel(decision(model, floating(x, FLOATS[:2]))))}


@converter(SGDOneClassSVM)
def sgd_one_class_svm(model: Any, x: Op) -> Outputs:
    """Scores, the same less the offset as a decision, and 1 for inliers, -1 for outliers, int32. [N].

    Source: sklearn.linear_model._stochastic_gradient.SGDOneClassSVM.
    """
    offset = fitted(model, "offset_")
    scores = ravel(finite(model, x) @ np.atleast_2d(coefficients(model)).T - offset)
    inlier, outlier = (Const(np.array(label, np.int32)) for label in (1, -1))
    return {
        "predict": Where(scores >= 0.0, inlier, outlier),
        "decision_function": scores,
        "score_samples": scores + offset,
    }


@converter(RANSACRegressor, steps=lambda model: [("estimator_", fitted_attribute(model, "estimator_"))])
def ransac_regressor(model: Any, x: Op) -> Outputs:
    """What the model that was fitted on the inliers predicts for X, of which scikit-learn has made an array before.

    Source: sklearn.linear_model._ransac.RANSACRegressor.predict.
    """
    array = x.x if isinstance(x, Untyped) else x
    outputs = apply(fitted_attribute(model, "estimator_"), array, step="RANSACRegressor estimator_")
    return {"predict": outputs["predict"]}


@converter(Perceptron, *_existing("PassiveAggressiveClassifier"))
def linear_classifier(model: Any, x: Op) -> Outputs:
    """The decision function and its labels.

    Source: sklearn.linear_model._base.LinearClassifierMixin.
    """
    return classification(model, decision(model, x))


def classification(model: Any, scores: Op) -> Outputs:
    """The scores, and the labels: the second class above 0, or the class of the first largest score.

    scores: [N, 1] for two classes, else [N, C].
    Source: sklearn.linear_model._base.LinearClassifierMixin.predict.
    """
    classes = fitted_attribute(model, "classes_")
    if len(classes) != max(2, scores.columns):
        raise unsupported(
            model,
            f"it has {scores.columns} rows of coefficients for {len(classes)} class(es), so that a label may not exist",
            "Fit it on two classes or more",
        )
    two = scores.columns == 1
    label = Label(cast(ravel(scores > 0.0), INT64), classes) if two else labelled(scores, classes)
    return {"predict": label, "decision_function": one_or_more(scores)}


@converter(RidgeClassifier, RidgeClassifierCV)
def ridge_classifier(model: Any, x: Op) -> Outputs:
    """As every linear classifier; fitted on several labels a row, a matrix of 0 and 1.

    Source: sklearn.linear_model._ridge._RidgeClassifierMixin.predict; LabelBinarizer.inverse_transform, whose result
    is sparse if the labels it was fitted on were.
    """
    scores = decision(model, x)
    binarizer = fitted_attribute(model, "_label_binarizer")
    if not binarizer.y_type_.startswith("multilabel"):
        return classification(model, scores)
    indicator = cast(scores > 0.0, INT64)
    predicted = Sparse(indicator) if binarizer.sparse_input_ else indicator
    return {"predict": predicted, "decision_function": one_or_more(scores)}


@converter(LogisticRegression, LogisticRegressionCV)
def logistic_regression(model: Any, x: Op) -> Outputs:
    """Labels, scores, probabilities and their logarithms.

    Source: sklearn.linear_model._logistic.LogisticRegression.predict_proba.
    """
    scores = decision(model, x)
    if one_versus_rest(model):
        probabilities = sigmoid_probabilities(scores)
    elif scores.columns == 1:  # multi_class="multinomial" of two classes, up to scikit-learn 1.7
        probabilities = Softmax(concat([-scores, scores]))
    else:
        probabilities = Softmax(scores)
    return classification(model, scores) | with_logarithm(probabilities)


def one_versus_rest(model: Any) -> bool:
    """Whether each class has a probability of its own, normalised afterwards, rather than a softmax over all.

    scikit-learn 1.8 and later has no `multi_class`, and does so for two classes only.
    """
    two = len(fitted_attribute(model, "classes_")) <= 2
    if not hasattr(model, "multi_class"):
        return two
    automatic = model.multi_class in ("auto", "deprecated")
    return model.multi_class in ("ovr", "warn") or (automatic and (two or model.solver == "liblinear"))


@converter(SGDClassifier)
def sgd_classifier(model: SGDClassifier, x: Op) -> Outputs:
    """Labels and scores; for two of the losses also probabilities and their logarithms.

    Source: sklearn.linear_model._stochastic_gradient.SGDClassifier.
    """
    scores = decision(model, x)
    outputs = classification(model, scores)
    if model.loss == "log_loss":
        return outputs | with_logarithm(sigmoid_probabilities(scores))
    if model.loss == "modified_huber":
        return outputs | with_logarithm(clipped_probabilities(scores))
    return outputs


def with_logarithm(probabilities: Op) -> Outputs:
    """The probabilities, and their logarithms: -inf where one is 0."""
    return {"predict_proba": probabilities, "predict_log_proba": Log(probabilities)}


def sigmoid_probabilities(scores: Op) -> Op:
    """The logistic function of each score, normalised over the classes. scores: [N, 1] or [N, C]; result: [N, C].

    Source: sklearn.linear_model._base.LinearClassifierMixin._predict_proba_lr.
    """
    p = Sigmoid(scores)
    if scores.columns == 1:
        return concat([1.0 - p, p])
    return normalised(p) if UNIFORM_IF_ALL_ZERO else p / ReduceSum(p)


def clipped_probabilities(scores: Op) -> Op:
    """(clip(score, -1, 1) + 1) / 2, normalised over the classes. scores: [N, 1] or [N, C]; result: [N, C].

    The result is float64 for two classes, because they are written into an array of ones, else of the scores' dtype.
    Source: sklearn.linear_model._stochastic_gradient.SGDClassifier.predict_proba, for the loss "modified_huber".
    """
    if scores.columns == 1:
        p = (clipped(cast(scores, FLOAT64)) + 1.0) / 2.0
        return concat([1.0 - p, p])
    return normalised((clipped(scores) + 1.0) / 2.0)


def clipped(x: Op) -> Op:
    """x, at least -1 and at most 1."""
    low, high = (Const(np.array(bound, x.dtype)) for bound in (-1, 1))
    return Min(Max(x, low), high)


def normalised(p: Op) -> Op:
    """Each row over its sum; the same for every class where all are 0. p: [N, C] of numbers from 0 to 1."""
    total = ReduceSum(p)
    zero, one, count = (Const(np.array(value, p.dtype)) for value in (0, 1, p.columns))
    nothing = Equal(total, zero)
    return Where(nothing, one, p) / Where(nothing, count, total)


def _centers(cls: type) -> bool:
    """Whether this scikit-learn centers X for the standard deviation of its prediction."""
    model, one = cls(), np.ones(1)
    model.coef_, model.intercept_, model.X_offset_, model.sigma_ = 0 * one, 0.0, one, np.ones((1, 1))
    model.alpha_, model.lambda_, model.n_features_in_ = 1.0, one, 1
    return bool(model.predict(np.ones((1, 1)), return_std=True)[1][0] == 1)


CENTERS = {cls: _centers(cls) for cls in (BayesianRidge, ARDRegression)}


class _AllZero(LinearClassifierMixin):
    """A classifier whose scores are so low that the probability of every class rounds to 0."""

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Scores of minus infinity. X: [N, F]; result: [N, 3]."""
        return np.full((len(X), 3), -np.inf)


def _uniform_if_all_zero() -> bool:
    """Whether this scikit-learn makes such probabilities alike; up to 1.8 it divides 0 by 0."""
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(_AllZero()._predict_proba_lr(np.zeros((1, 1)))).all())


UNIFORM_IF_ALL_ZERO = _uniform_if_all_zero()
