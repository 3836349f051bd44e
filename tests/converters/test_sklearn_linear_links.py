"""Linear models with a deviation, a link, a threshold or another model inside, against scikit-learn itself.

Scores are sums of products in the executor's own order: equal within 1e-9 in float64, 1e-4 in float32.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    GammaRegressor,
    Lasso,
    PoissonRegressor,
    RANSACRegressor,
    SGDOneClassSVM,
    TweedieRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

import tensorml
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tests.contract import assert_contract
from tests.parity import assert_equal_outputs, assert_same

GENERATOR = np.random.default_rng(9)
X = GENERATOR.normal(size=(100, 5))
y = X @ [1, 0.5, 0, 0, -1] + GENERATOR.normal(size=100) / 4
POSITIVE = np.exp(y / 2)
DTYPES = [np.float64, np.float32, np.float16, np.int64, np.int8, np.uint32, bool]
BAYESIAN = [
    BayesianRidge(),
    BayesianRidge(fit_intercept=False, alpha_init=1.0, lambda_init=0.1),
    BayesianRidge(alpha_1=1e-3, lambda_2=1e-2, compute_score=True),
    ARDRegression(),
    ARDRegression(threshold_lambda=100.0),
    ARDRegression(fit_intercept=False),
]
LINKED = [
    PoissonRegressor(),
    PoissonRegressor(alpha=0.1, fit_intercept=False, solver="newton-cholesky"),
    GammaRegressor(),
    *(TweedieRegressor(power=power) for power in (0, 1, 1.5, 2, 3)),
    TweedieRegressor(power=0, link="log"),
    TweedieRegressor(power=1.5, link="identity", alpha=10.0),
    TweedieRegressor(power=0, link="identity", fit_intercept=False),
]
ONE_CLASS = [
    SGDOneClassSVM(random_state=0),
    SGDOneClassSVM(nu=0.1, random_state=0, average=True),
    SGDOneClassSVM(nu=0.9, fit_intercept=False, random_state=0, learning_rate="constant", eta0=0.1),
]


def fit(model: Any, rows: Any, target: Any = None) -> Any:
    """The model, fitted; whether it converged is not what these tests are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copy: Any = clone(model)
        return copy.fit(rows, target)


def of_dtype(dtype: Any) -> np.ndarray:
    """The rows in another dtype."""
    return np.abs(2 * X).astype(dtype) if dtype == np.uint32 else (2 * X).astype(dtype)


def assert_deviation(source: Any, rows: Any, executor: str, tolerance: float) -> None:
    """As assert_same, and the standard deviations too."""
    model = assert_same(source, rows, executor, rtol=tolerance, atol=tolerance)
    expected = source.predict(rows, return_std=True)
    assert_equal_outputs(model.predict(rows, return_std=True), expected, "return_std", tolerance, tolerance)
    assert_equal_outputs(model.predict(rows, return_std=False), expected[0], "predict", tolerance, tolerance)


@pytest.mark.parametrize("model", BAYESIAN, ids=str)
def test_a_bayesian_regression_gives_the_same_mean_and_deviation(executor, model):
    source = fit(model, X, y)
    for rows in (X, X[:1], np.tile(X, (40, 1))):
        assert_deviation(source, rows, executor, 1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fit_dtype", [np.float64, np.float32])
@pytest.mark.parametrize("model", [BayesianRidge(), ARDRegression(), BayesianRidge(fit_intercept=False)], ids=str)
def test_every_input_dtype_gives_the_dtypes_of_the_source(model, fit_dtype, dtype):
    source = fit(model, X.astype(fit_dtype), y.astype(fit_dtype))
    for executor in ("reference", "torch"):
        assert_deviation(source, of_dtype(dtype), executor, 1e-9 if fit_dtype == np.float64 else 1e-3)


def test_a_regression_that_pruned_every_feature_has_the_noise_alone_as_deviation(executor):
    source = fit(ARDRegression(threshold_lambda=1e-9), X, y)
    assert source.sigma_.size == 0
    assert_deviation(source, X, executor, 1e-9)


@pytest.mark.parametrize("model", LINKED, ids=str)
def test_a_generalized_linear_model_gives_the_same(executor, model):
    assert_same(fit(model, X, POSITIVE), X, executor, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fit_dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "model", [PoissonRegressor(), TweedieRegressor(), GammaRegressor(fit_intercept=False)], ids=str
)
def test_every_input_dtype_of_a_generalized_model_gives_the_dtype_of_the_source(model, fit_dtype, dtype):
    source = fit(model, X.astype(fit_dtype), POSITIVE.astype(fit_dtype))
    tolerance = 1e-9 if fit_dtype == np.float64 and dtype != np.float32 else 1e-4
    for executor in ("reference", "torch"):
        assert_same(source, of_dtype(dtype), executor, rtol=tolerance, atol=tolerance)


def test_lists_of_half_numbers_and_sparse_rows_give_the_same(executor):
    source = fit(PoissonRegressor(), X, POSITIVE)
    rows = scipy.sparse.csr_matrix(np.where(X > 0.5, X, 0))
    assert_same(source, rows, executor, rtol=1e-9)
    assert_same(source, X.tolist(), executor, rtol=1e-9)


def test_an_exponential_that_overflows_is_infinite(executor):
    with np.errstate(over="ignore"):
        assert_same(fit(PoissonRegressor(), X, POSITIVE), X * 1e5, executor, rtol=1e-9)


def test_an_unknown_link_is_refused():
    source = fit(PoissonRegressor(), X, POSITIVE)
    source._base_loss.link = object()
    with pytest.raises(UnsupportedModelError, match="the link object is not known"):
        tensorml.convert(source)


@pytest.mark.parametrize("fit_dtype", [np.float64, np.float32])
@pytest.mark.parametrize("model", ONE_CLASS, ids=str)
def test_a_one_class_model_gives_the_same(executor, model, fit_dtype):
    source = fit(model, X.astype(fit_dtype))
    tolerance = 1e-9 if fit_dtype == np.float64 else 1e-4
    rows = np.concatenate([X, -9 * source.coef_ + X / 9]).astype(fit_dtype)
    converted = assert_same(source, rows, executor, rtol=tolerance, atol=10 * tolerance)
    assert set(converted.methods) == {"predict", "decision_function", "score_samples"}


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_input_dtype_of_a_one_class_model_gives_the_dtype_of_the_source(dtype):
    source = fit(SGDOneClassSVM(random_state=0), X)
    for executor in ("reference", "torch"):
        assert_same(source, of_dtype(dtype), executor, rtol=1e-9, atol=1e-9)


def test_a_decision_of_zero_is_an_inlier_and_coefficients_may_be_sparse(executor):
    source = fit(SGDOneClassSVM(random_state=0), X)
    assert_same(source, scipy.sparse.csr_matrix(X), executor, rtol=1e-9, atol=1e-9)
    source.coef_, source.offset_ = np.ones(5), np.array([2.0])
    rows = np.array([[1.0, 1, 0, 0, 0], [1, 0, 0, 0, 0], [3, 0, 0, 0, 0]])
    np.testing.assert_array_equal(assert_same(source, rows, executor).predict(rows), [1, -1, 1])


@pytest.mark.parametrize(
    "model", [BayesianRidge(), ARDRegression(), PoissonRegressor(), TweedieRegressor(), SGDOneClassSVM()], ids=str
)
def test_one_row_many_rows_and_refused_rows_are_as_in_the_source(executor, model):
    assert_contract(fit(model, X, POSITIVE), X, executor, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("inner", [None, Lasso(0.01), DecisionTreeRegressor(max_depth=4), BayesianRidge()], ids=str)
def test_a_robust_regression_predicts_what_its_model_does(executor, inner):
    source = fit(RANSACRegressor(inner, min_samples=20, random_state=0), X, y)
    for rows in (X, X[:1], X.astype(np.float32), np.round(X).astype(int), X.tolist()):
        assert_same(source, rows, executor, rtol=1e-9, atol=1e-9)


def test_a_robust_regression_of_several_targets_and_sparse_rows_gives_the_same(executor):
    source = fit(RANSACRegressor(min_samples=20, random_state=0), X, np.stack([y, -y], axis=1))
    assert_same(source, X, executor, rtol=1e-9, atol=1e-9)
    assert_same(source, scipy.sparse.csr_matrix(X), executor, rtol=1e-9, atol=1e-9)


def test_what_a_sparse_matrix_leaves_out_means_what_it_means_to_the_model_inside(executor):
    xgboost = pytest.importorskip("xgboost")
    rows = scipy.sparse.csr_matrix(np.where(X > 0.3, X, 0))
    inner = xgboost.XGBRegressor(n_estimators=5, n_jobs=1)
    source = fit(RANSACRegressor(inner, min_samples=40, random_state=0), rows, y)
    model = assert_same(source, rows, executor, rtol=1e-6)
    assert (model.predict(rows) != model.predict(rows.toarray())).any()
    nested = fit(RANSACRegressor(make_pipeline(StandardScaler(), Lasso(0.01)), min_samples=20), X, y)
    with pytest.raises(InputError, match="sparse matrix is not supported"):
        tensorml.convert(nested, executor=executor).predict(rows)


def test_a_robust_regression_refuses_as_its_model_does_and_names_what_is_not_converted():
    class Own(Lasso):
        """A model that may predict anything."""

    source = fit(RANSACRegressor(Own(), min_samples=20, random_state=0), X, y)
    with pytest.raises(UnsupportedModelError, match=r"RANSACRegressor estimator_.*Own"):
        tensorml.convert(source)
    with pytest.raises(NotFittedError, match="RANSACRegressor is not fitted"):
        tensorml.convert(RANSACRegressor())
    model = tensorml.convert(fit(RANSACRegressor(min_samples=20), X, y))
    rows = X.copy()
    rows[0, 0] = np.nan
    with pytest.raises(InputError, match=r"contains NaN; .*LinearRegression does not take it"):
        model.predict(rows)
