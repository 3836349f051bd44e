"""Covariance estimators against scikit-learn itself.

Squared distances are sums of products in the executor's own order: equal within 1e-9, always in float64.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.covariance import (
    OAS,
    EllipticEnvelope,
    EmpiricalCovariance,
    GraphicalLasso,
    GraphicalLassoCV,
    LedoitWolf,
    MinCovDet,
    ShrunkCovariance,
)

import tensorml
from tests.contract import assert_contract
from tests.parity import assert_same

GENERATOR = np.random.default_rng(8)
X = GENERATOR.normal(size=(120, 4)) @ GENERATOR.normal(size=(4, 4)) + 2
MODELS = [
    EmpiricalCovariance(),
    EmpiricalCovariance(store_precision=False),
    EmpiricalCovariance(assume_centered=True),
    ShrunkCovariance(shrinkage=0.3),
    LedoitWolf(),
    OAS(),
    MinCovDet(random_state=0),
    MinCovDet(random_state=0, support_fraction=0.8, store_precision=False),
    GraphicalLasso(alpha=0.05),
    GraphicalLassoCV(alphas=3, cv=2),
]


def fit(model: Any, rows: np.ndarray = X) -> Any:
    """The model, fitted; warnings of its fit are not what these tests are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(rows)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_squared_distances_are_the_same_and_the_only_method(executor, model):
    converted = assert_same(fit(model), X, executor, rtol=1e-9)
    assert converted.methods == ("mahalanobis",)


@pytest.mark.parametrize(
    "options", [{}, {"contamination": 0.3}, {"assume_centered": True}, {"store_precision": False}], ids=str
)
def test_an_elliptic_envelope_gives_the_same(executor, options):
    rows = np.concatenate([X, X * 3, GENERATOR.normal(size=(50, 4)) * 9])
    converted = assert_same(fit(EllipticEnvelope(random_state=0, **options)), rows, executor, rtol=1e-9, atol=1e-9)
    assert set(converted.methods) == {"predict", "decision_function", "score_samples", "mahalanobis"}
    assert set(np.unique(converted.predict(rows))) == {-1, 1}


def test_a_decision_of_zero_is_an_inlier(executor):
    source = fit(EllipticEnvelope(random_state=0))
    source.location_, source.precision_, source.offset_ = np.zeros(4), np.eye(4), -4.0
    rows = np.array([[2.0, 0, 0, 0], [0, 2.0, 0, 1e-7], [1, 1, 1, 1], [1, 1, 1, 0.5]])
    np.testing.assert_array_equal(assert_same(source, rows, executor).predict(rows), [1, -1, 1, 1])


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.int8, np.uint32, bool])
@pytest.mark.parametrize("fit_dtype", [np.float64, np.float32])
def test_distances_are_float64_for_every_dtype(fit_dtype, dtype):
    rows = np.abs(X).astype(dtype) if dtype == np.uint32 else X.astype(dtype)
    for executor in ("reference", "torch"):
        for model in (EmpiricalCovariance(), EllipticEnvelope(random_state=0)):
            converted = assert_same(fit(model, X.astype(fit_dtype)), rows, executor, rtol=1e-9, atol=1e-9)
            assert converted.mahalanobis(rows).dtype == np.float64


@pytest.mark.parametrize("model", [LedoitWolf(), EllipticEnvelope(random_state=0)], ids=str)
def test_one_row_many_rows_and_refused_rows_are_as_in_the_source(executor, model):
    assert_contract(fit(model), X, executor, rtol=1e-9, atol=1e-9)


def test_a_precision_that_is_not_positive_gives_the_nan_of_the_source(executor):
    source = fit(EmpiricalCovariance())
    source.precision_ = -np.eye(4)
    with np.errstate(invalid="ignore"):
        converted = assert_same(source, X, executor, rtol=1e-9)
    assert np.isnan(converted.mahalanobis(X)).all()


def test_a_model_of_one_row_is_as_the_source(executor):
    assert_same(fit(EmpiricalCovariance(), X[:1]), X, executor, rtol=1e-9)


def test_what_only_fits_is_absent():
    converted = tensorml.convert(fit(OAS()))
    assert not hasattr(converted, "predict")
    assert not hasattr(converted, "error_norm")
