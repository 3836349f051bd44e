"""Linear models against scikit-learn itself.

Scores are sums of products in the executor's own order, so they agree within rounding: a few units in the last place
of the largest sum of magnitudes |x| @ |coef| + |intercept|. Labels are equal: no score of these data is so near a tie.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn
from sklearn import linear_model
from sklearn.base import clone
from sklearn.linear_model import (
    ElasticNet,
    ElasticNetCV,
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
    QuantileRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TheilSenRegressor,
)
from sklearn.svm import LinearSVC, LinearSVR

import tensorml
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tests.parity import assert_equal_outputs, assert_same

VERSION = tuple(map(int, sklearn.__version__.split(".")[:2]))
GENERATOR = np.random.default_rng(7)
X = GENERATOR.integers(-8, 9, size=(90, 5)) / 8 + GENERATOR.normal(size=(90, 5)) / 64
Y = X @ GENERATOR.normal(size=(5, 3)) + GENERATOR.normal(size=(90, 3)) / 8
y = Y[:, 0]
BINARY = (y > 0.1).astype(int)
THREE = np.digitize(y, [-0.6, 0.6])
DTYPES = ("float64", "float32", "float16", "int64", "int8", "uint32", "bool")


def fit(model: Any, data: np.ndarray, target: Any) -> Any:
    """The model, fitted; that it did not converge, or is deprecated, is not what these tests are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clone(model).fit(data, target)


def assert_close(source: Any, data: Any, executor: str) -> Any:
    """As assert_same, within rounding of the sums that make the scores."""
    coef, intercept = source.coef_, np.asarray(source.intercept_)
    coef = np.atleast_2d(coef.toarray() if hasattr(coef, "toarray") else coef)
    dense = data.toarray() if hasattr(data, "toarray") else np.asarray(data)
    magnitude = (np.abs(dense.astype(float)) @ np.abs(coef).T + np.abs(intercept)).max()
    single = np.result_type(dense.dtype, coef.dtype, np.float16) != np.float64
    tolerance = 16 * np.finfo(np.float32 if single else np.float64).eps * (1 + magnitude)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "divide by zero|invalid value")  # the source, of probabilities that are 0
        return assert_same(source, data, executor, rtol=tolerance, atol=tolerance)


def of_dtype(dtype: str) -> np.ndarray:
    """The rows in another dtype, with the values that it can hold."""
    if dtype == "bool":
        return X > 0
    return np.round(np.abs(2 * X) if dtype == "uint32" else 2 * X).astype(dtype) if "int" in dtype else X.astype(dtype)


ONE_TARGET = [
    LinearRegression(),
    LinearRegression(fit_intercept=False),
    LinearRegression(positive=True),
    Ridge(),
    Ridge(fit_intercept=False, solver="svd"),
    Ridge(positive=True),
    RidgeCV(),
    Lasso(0.01),
    Lasso(0.01, positive=True, fit_intercept=False),
    LassoCV(cv=3),
    ElasticNet(0.01),
    ElasticNet(0.01, fit_intercept=False, positive=True),
    ElasticNetCV(cv=3),
    Lars(),
    LarsCV(cv=3),
    LassoLars(0.01),
    LassoLars(0.01, fit_intercept=False),
    LassoLarsCV(cv=3),
    LassoLarsIC(),
    OrthogonalMatchingPursuit(n_nonzero_coefs=3),
    OrthogonalMatchingPursuitCV(cv=3),
    HuberRegressor(),
    HuberRegressor(fit_intercept=False),
    TheilSenRegressor(max_subpopulation=50, random_state=0),
    QuantileRegressor(alpha=0.01),
    SGDRegressor(random_state=0),
    SGDRegressor(loss="huber", average=True, random_state=0),
    SGDRegressor(loss="epsilon_insensitive", penalty="l1", fit_intercept=False, random_state=0),
    SGDRegressor(loss="squared_epsilon_insensitive", penalty="elasticnet", random_state=0),
    LinearSVR(),
    LinearSVR(loss="squared_epsilon_insensitive", dual=False, fit_intercept=False),
]
SEVERAL_TARGETS = [
    LinearRegression(),
    LinearRegression(fit_intercept=False),
    LinearRegression(positive=True),
    Ridge(alpha=np.array([0.1, 1.0, 2.0])),
    RidgeCV(),
    Lasso(0.01),
    ElasticNet(0.01, fit_intercept=False),
    Lars(),
    LassoLars(0.01),
    OrthogonalMatchingPursuit(n_nonzero_coefs=3),
    MultiTaskLasso(0.01),
    MultiTaskLassoCV(cv=3),
    MultiTaskElasticNet(0.01),
    MultiTaskElasticNetCV(cv=3),
]
SCORES_ONLY = [
    LinearSVC(),
    LinearSVC(penalty="l1", dual=False, fit_intercept=False),
    LinearSVC(multi_class="crammer_singer"),
    Perceptron(),
    RidgeClassifier(),
    RidgeClassifier(fit_intercept=False),
    RidgeClassifierCV(),
    *(
        SGDClassifier(loss=loss, alpha=0.01, random_state=0)
        for loss in (
            "hinge",
            "squared_hinge",
            "perceptron",
            "squared_error",
            "huber",
            "epsilon_insensitive",
            "squared_epsilon_insensitive",
        )
    ),
]
PROBABILITIES = [
    LogisticRegression(),
    LogisticRegression(fit_intercept=False, C=0.5),
    LogisticRegression(solver="newton-cg"),
    LogisticRegression(solver="sag"),
    LogisticRegression(solver="newton-cholesky"),
    LogisticRegression(solver="saga", l1_ratio=0.5, C=0.5, **({"penalty": "elasticnet"} if VERSION < (1, 8) else {})),
    LogisticRegression(C=np.inf),
    LogisticRegressionCV(
        Cs=2, cv=2, **({"use_legacy_attributes": False, "l1_ratios": (0,)} if VERSION >= (1, 8) else {})
    ),
    SGDClassifier(loss="log_loss", alpha=0.01, random_state=0),
    SGDClassifier(loss="log_loss", alpha=0.01, average=True, random_state=0),
    SGDClassifier(loss="modified_huber", alpha=0.01, random_state=0),
]
LABELS = {
    "str": np.array(["no", "yes", "or"]),
    "object": np.array(["no", "yes", "or"], object),
    "bool": np.array([False, True, True]),
    "float32": np.array([3, -2, 1], np.float32),
    **{
        name: np.array([np.iinfo(name).max, 1, np.iinfo(name).min], name)
        for name in ("int8", "uint8", "uint16", "int32", "uint32", "int64", "uint64")
    },
}


@pytest.mark.parametrize("fit_dtype", [np.float64, np.float32])
@pytest.mark.parametrize("model", ONE_TARGET, ids=str)
def test_a_regressor_of_one_target_predicts_the_same(executor, model, fit_dtype):
    source = fit(model, X.astype(fit_dtype), y.astype(fit_dtype))
    assert_close(source, X.astype(fit_dtype), executor)


@pytest.mark.parametrize("model", SEVERAL_TARGETS, ids=str)
def test_a_regressor_of_several_targets_predicts_the_same(executor, model):
    assert_close(fit(model, X, Y), X, executor)


@pytest.mark.parametrize("model", [LinearRegression(), Ridge(), Lasso(0.01), Lars(), MultiTaskLasso(0.01)], ids=str)
def test_one_target_given_as_a_column_keeps_the_shape_of_the_source(model):
    assert_close(fit(model, X, Y[:, :1]), X, "reference")


@pytest.mark.parametrize("target", [BINARY, THREE], ids=["two classes", "three classes"])
@pytest.mark.parametrize("model", SCORES_ONLY, ids=str)
def test_a_classifier_without_probabilities_gives_the_same_labels_and_scores(executor, model, target):
    model = assert_close(fit(model, X, target), X, executor)
    assert set(model.methods) == {"predict", "decision_function"}


@pytest.mark.parametrize("target", [BINARY, THREE], ids=["two classes", "three classes"])
@pytest.mark.parametrize("model", PROBABILITIES, ids=str)
def test_a_classifier_with_probabilities_gives_the_same(executor, model, target):
    model = assert_close(fit(model, X, target), X, executor)
    assert len(model.methods) == 4


@pytest.mark.parametrize("penalty", ["l1", "l2"])
@pytest.mark.filterwarnings("ignore:'penalty' was deprecated")
def test_liblinear_gives_the_same(executor, penalty):
    model = LogisticRegression(
        solver="liblinear", **({"l1_ratio": float(penalty == "l1")} if VERSION >= (1, 8) else {"penalty": penalty})
    )
    assert_close(fit(model, X, BINARY), X, executor)


@pytest.mark.skipif(VERSION >= (1, 8), reason="scikit-learn 1.8 has no multi_class")
@pytest.mark.parametrize("target", [BINARY, THREE], ids=["two classes", "three classes"])
@pytest.mark.parametrize(
    ("solver", "multi_class"),
    [
        ("lbfgs", "ovr"),
        ("lbfgs", "auto"),
        ("lbfgs", "multinomial"),
        ("liblinear", "ovr"),
        ("liblinear", "auto"),
        ("liblinear", "deprecated"),
    ],
)
@pytest.mark.parametrize("cls", [LogisticRegression, LogisticRegressionCV])
def test_multi_class_gives_the_same(executor, cls, solver, multi_class, target):
    assert_close(fit(cls(solver=solver, multi_class=multi_class), X, target), X, executor)


@pytest.mark.skipif(not hasattr(linear_model, "PassiveAggressiveClassifier"), reason="this scikit-learn has none")
@pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")
def test_passive_aggressive_models_give_the_same(executor):
    regressor, classifier = linear_model.PassiveAggressiveRegressor, linear_model.PassiveAggressiveClassifier
    assert_close(fit(regressor(C=0.1, random_state=0), X, y), X, executor)
    for target in (BINARY, THREE):
        assert_close(fit(classifier(C=0.1, random_state=0), X, target), X, executor)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("target", [BINARY, THREE], ids=["two classes", "three classes"])
def test_labels_of_any_type_come_back(executor, labels, target):
    if labels.dtype.kind == "b" and target is THREE:
        pytest.skip("bool has two classes")
    assert_close(fit(RidgeClassifier(), X, labels[target]), X, executor)


@pytest.mark.parametrize("executor", ["reference", "torch"])  # the graph decides on dtypes, not the executor
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fit_dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("model", "target"),
    [
        (LinearRegression(), y),
        (LinearRegression(fit_intercept=False), Y),
        (LogisticRegression(solver="newton-cg"), THREE),
        (SGDClassifier(loss="modified_huber", alpha=0.1, random_state=0), BINARY),
        (SGDClassifier(loss="modified_huber", alpha=0.1, random_state=0), THREE),
    ],
    ids=str,
)
def test_every_input_dtype_gives_the_result_dtype_of_the_source(executor, model, target, fit_dtype, dtype):
    source = fit(model, X.astype(fit_dtype), target if target.dtype.kind == "i" else target.astype(fit_dtype))
    assert_close(source, of_dtype(dtype), executor)


def test_an_intercept_that_is_a_numpy_scalar_promotes_float32_and_a_python_number_does_not(executor):
    source = fit(LinearRegression(fit_intercept=False), X.astype(np.float32), y.astype(np.float32))
    rows = X.astype(np.float32)
    assert type(source.intercept_) is float
    assert assert_close(source, rows, executor).predict(rows).dtype == np.float32
    source.intercept_ = np.float64(0.25)
    assert assert_close(source, rows, executor).predict(rows).dtype == np.float64


@pytest.mark.parametrize(
    ("model", "target"),
    [
        (LogisticRegression(), BINARY),
        (LogisticRegression(), THREE),
        (SGDClassifier(penalty="l1", random_state=0), THREE),
        (LinearSVC(), BINARY),
        (Perceptron(), THREE),
    ],
    ids=str,
)
def test_sparse_coefficients_give_the_same(executor, model, target):
    assert_close(fit(model, X, target).sparsify(), X, executor)


def test_a_lasso_fitted_on_sparse_rows_gives_the_same_for_dense_and_sparse_ones(executor):
    rows = scipy.sparse.csr_matrix(np.where(X > 0.3, X, 0))
    source = fit(Lasso(0.01), rows, y)
    assert_close(source, rows, executor)
    assert_close(source, X, executor)


@pytest.mark.parametrize("model", [LogisticRegression(), LinearSVC(), LinearRegression()], ids=str)
def test_sparse_rows_give_the_same(model):
    rows = scipy.sparse.csr_matrix(np.where(X > 0.3, X, 0))
    assert_close(fit(model, rows, THREE), rows, "torch")


@pytest.mark.parametrize("sparse", [False, True], ids=["dense labels", "sparse labels"])
@pytest.mark.parametrize("model", [RidgeClassifier(), RidgeClassifierCV()], ids=str)
def test_a_ridge_classifier_of_several_labels_a_row_gives_the_same(executor, model, sparse):
    labels = (Y > 0).astype(int)
    try:
        source = fit(model, X, scipy.sparse.csr_matrix(labels) if sparse else labels)
    except (TypeError, ValueError) as error:
        pytest.skip(f"this scikit-learn does not fit it: {error}")
    assert_close(source, X, executor)


def with_scores(model: Any, scores: np.ndarray) -> Any:
    """The fitted model with coefficients that make the one feature 1.0 score exactly so. scores: [K]."""
    model.coef_, model.intercept_ = scores[:, None].copy(), np.zeros(len(scores), scores.dtype)
    return model


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", ["log_loss", "modified_huber"])
def test_probabilities_that_are_all_zero_are_what_the_source_makes_of_them(executor, loss, dtype):
    source = fit(SGDClassifier(loss=loss), np.arange(90.0)[:, None], THREE)
    source = with_scores(source, np.array([-800, -900, -1000], dtype))
    rows = np.array([[1], [0], [0.5], [0.001], [-1]], dtype)
    model = assert_close(source, rows, executor)
    uniform = loss == "modified_huber" or VERSION >= (1, 9)
    np.testing.assert_array_equal(model.predict_proba(rows)[0], [dtype(1) / dtype(3) if uniform else np.nan] * 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "model", [LogisticRegression(), SGDClassifier(loss="log_loss"), SGDClassifier(loss="modified_huber")], ids=str
)
def test_the_logarithm_of_a_probability_of_zero_is_minus_infinity_without_a_warning(executor, model, dtype):
    source = with_scores(fit(model, X[:, :1], BINARY), np.array([1000], dtype))
    rows = np.array([[1], [-1], [0], [0.0005]], dtype)
    model = assert_close(source, rows, executor)
    assert np.isneginf(model.predict_log_proba(rows)).sum() == 2
    source = with_scores(fit(LogisticRegression(), X[:, :1], THREE), np.array([0, 1000, -1000], dtype))
    assert np.isneginf(assert_close(source, rows, executor).predict_log_proba(rows)).sum() == 4


def test_a_tie_and_a_score_of_zero_go_to_the_first_class(executor):
    rows = np.array([[0.0], [1.0], [-1.0]])
    two = assert_close(with_scores(fit(Perceptron(), X[:, :1], BINARY), np.array([1.0])), rows, executor)
    np.testing.assert_array_equal(two.predict(rows), [0, 1, 0])
    three = assert_close(with_scores(fit(Perceptron(), X[:, :1], THREE), np.array([1.0, 2.0, 2.0])), rows, executor)
    np.testing.assert_array_equal(three.predict(rows), [0, 1, 0])


def test_many_classes_and_many_rows_give_the_same(executor):
    rows = GENERATOR.normal(size=(20000, 5))
    for classes in (20, 100):
        source = fit(LogisticRegression(max_iter=5), X, np.arange(90) % classes)
        assert_close(source, rows, executor)
        assert assert_close(source, rows[:50], executor).predict_proba(rows[:50]).flags.c_contiguous


@pytest.mark.parametrize("order", ["C", "F", "reversed"])
def test_any_memory_order_gives_the_same_and_the_input_stays(executor, order):
    rows = X[::-1, ::-1] if order == "reversed" else np.array(X, order=order)
    before = rows.copy()
    assert_close(fit(LogisticRegression(), X, THREE), rows, executor)
    np.testing.assert_array_equal(rows, before)


def test_one_row_gives_the_same(executor):
    for model, target in ((LinearRegression(), y), (LinearRegression(), Y), (LogisticRegression(), THREE)):
        assert_close(fit(model, X, target), X[:1], executor)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_rows_that_are_not_finite_are_refused_as_by_the_source(executor, value, dtype):
    rows = X.astype(dtype)
    rows[3, 2] = value
    for source in (fit(LinearRegression(), X, y), fit(LogisticRegression(), X, THREE)):
        with pytest.raises(ValueError, match="NaN" if np.isnan(value) else "infinity"):
            source.predict(rows)
        with pytest.raises(InputError, match="contains NaN" if np.isnan(value) else "contains infinity"):
            tensorml.convert(source, executor=executor).predict(rows)


def test_finite_rows_whose_sum_overflows_are_taken(executor):
    source = fit(LinearRegression(), X, y)
    source.coef_ = np.full(5, 2.0**-10)
    rows = np.full((40, 5), np.finfo(np.float64).max)
    model = tensorml.convert(source, executor=executor)
    np.testing.assert_allclose(model.predict(rows), source.predict(rows), rtol=1e-14)


def test_wrong_width_no_rows_and_an_unfitted_model_are_refused():
    model = tensorml.convert(fit(LogisticRegression(), X, THREE), executor="reference")
    with pytest.raises(InputError, match="X has 4 features, but LogisticRegression is expecting 5 features"):
        model.predict(X[:, :4])
    with pytest.raises(InputError, match="0 sample"):
        model.predict(X[:0])
    with pytest.raises(NotFittedError, match="LogisticRegression is not fitted"):
        tensorml.convert(LogisticRegression())


def test_a_classifier_of_a_single_class_is_refused():
    source = fit(RidgeClassifier(), X, np.zeros(90, int))
    with pytest.raises(UnsupportedModelError, match="1 rows of coefficients for 1 class"):
        tensorml.convert(source)


def test_torch_input_gives_torch_output():
    torch = pytest.importorskip("torch")
    source = fit(LogisticRegression(), X, THREE)
    result = tensorml.convert(source, executor="torch").predict_proba(torch.from_numpy(X))
    assert isinstance(result, torch.Tensor)
    assert result.is_contiguous()
    assert_equal_outputs(result.numpy(), source.predict_proba(X), "predict_proba", 1e-12, 1e-14)
