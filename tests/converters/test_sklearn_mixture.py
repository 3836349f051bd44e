"""Gaussian mixtures against scikit-learn itself.

Densities are matrix products and sums in the executor's own order: equal within 1e-9 in float64, 1e-3 in float32, where
differences of large squares lose digits in the source too. Components are equal: no density here is so near a tie.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

import tensorml
from tensorml.errors import InputError
from tensorml_sklearn.mixture import ROUNDS_TO_INPUT
from tests.contract import assert_contract
from tests.parity import assert_same

GENERATOR = np.random.default_rng(3)
X = GENERATOR.normal(size=(150, 4)) @ GENERATOR.normal(size=(4, 4)) + 6 * GENERATOR.integers(0, 3, size=(150, 1))
KINDS = ["full", "tied", "diag", "spherical"]


def fit(model: Any, rows: np.ndarray = X) -> Any:
    """The model, fitted; whether it converged is not what these tests are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(rows)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {"n_components": 1},
        {"n_components": 3},
        {"n_components": 5, "reg_covar": 1e-3, "init_params": "random"},
        {"n_components": 2, "weights_init": [0.4, 0.6], "means_init": X[:2], "max_iter": 3},
    ],
    ids=lambda options: ", ".join(options),
)
def test_a_gaussian_mixture_gives_the_same(executor, kind, options):
    model = assert_same(
        fit(GaussianMixture(covariance_type=kind, random_state=0, **options)), X, executor, rtol=1e-9, atol=1e-9
    )
    assert set(model.methods) == {"predict", "predict_proba", "score_samples"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prior", ["dirichlet_process", "dirichlet_distribution"])
@pytest.mark.parametrize(
    "options", [{}, {"weight_concentration_prior": 1e-3, "mean_precision_prior": 0.3}, {"degrees_of_freedom_prior": 7}]
)
def test_a_bayesian_mixture_gives_the_same(executor, kind, prior, options):
    model = BayesianGaussianMixture(
        n_components=4, covariance_type=kind, weight_concentration_prior_type=prior, random_state=0, **options
    )
    assert_same(fit(model), X, executor, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.int32])
@pytest.mark.parametrize("fit_dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
def test_every_input_dtype_gives_the_result_dtype_of_the_source(cls, kind, fit_dtype, dtype):
    if dtype == np.float16 and kind == "spherical":
        pytest.skip("refused")
    source = fit(cls(n_components=3, covariance_type=kind, random_state=0), X.astype(fit_dtype))
    exact = dtype in (np.float64, np.int64, np.int32) and fit_dtype == np.float64
    tolerance = 1e-9 if exact else 2e-2 if dtype == np.float16 else 2e-3
    for executor in ("reference", "torch"):
        assert_same(source, X.astype(dtype), executor, rtol=tolerance, atol=tolerance)


@pytest.mark.skipif(not ROUNDS_TO_INPUT, reason="this scikit-learn keeps the fractions")
@pytest.mark.parametrize("kind", ["full", "tied"])
def test_squared_distances_of_integers_lose_their_fractions_as_in_the_source(executor, kind):
    source = fit(GaussianMixture(n_components=3, covariance_type=kind, random_state=0))
    rows = np.round(X).astype(np.int64)
    model = assert_same(source, rows, executor, rtol=1e-9, atol=1e-9)
    assert np.abs(model.score_samples(rows) - source.score_samples(rows.astype(float))).max() > 0.01


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.uint64, bool])
def test_integers_too_narrow_for_their_squares_are_refused(executor, dtype):
    model = tensorml.convert(fit(GaussianMixture(2)), executor=executor)
    with pytest.raises(InputError, match=f"computes squares of {np.dtype(dtype)} rows in that dtype, .*'float64'"):
        model.predict(np.abs(X).astype(dtype))


def test_half_precision_is_refused_where_squares_of_rows_are_taken_in_it(executor):
    model = tensorml.convert(fit(GaussianMixture(2, covariance_type="spherical")), executor=executor)
    with pytest.raises(InputError, match="computes squares of float16 rows"):
        model.predict(X.astype(np.float16))


@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
def test_one_row_many_rows_and_refused_rows_are_as_in_the_source(executor, cls):
    assert_contract(fit(cls(n_components=3, random_state=0)), X, executor, rtol=1e-9, atol=1e-9)


def test_rows_far_from_every_component_keep_their_probabilities(executor):
    source = fit(GaussianMixture(3, random_state=0))
    rows = np.concatenate([X * 1e3, X - 1e4, X * 1e8])
    with np.errstate(all="ignore"):
        assert_same(source, rows, executor, rtol=1e-6, atol=1e-6)


def test_a_weight_of_zero_is_a_component_that_is_never_chosen(executor):
    source = fit(GaussianMixture(3, random_state=0))
    source.weights_ = np.array([0.0, 0.4, 0.6])
    with np.errstate(divide="ignore"):
        model = assert_same(source, X, executor, rtol=1e-9, atol=1e-9)
    assert 0 not in model.predict(X)


@pytest.mark.parametrize("cls", [GaussianMixture, BayesianGaussianMixture])
def test_sample_is_refused_with_its_reason(cls):
    model = tensorml.convert(fit(cls(n_components=2)))
    with pytest.raises(AttributeError, match="sample is not converted: it draws random numbers"):
        model.sample(3)
