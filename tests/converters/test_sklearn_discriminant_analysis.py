"""Discriminant analysis against scikit-learn itself.

Scores are matrix products and sums in the executor's own order: they agree within 1e-10 of their magnitude in float64,
1e-4 in float32. Labels are equal: no score of these data is so near a tie.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis

import tensorml
from tensorml.errors import InputError, UnsupportedModelError
from tests.contract import assert_contract
from tests.parity import assert_equal_outputs, assert_same

GENERATOR = np.random.default_rng(11)
X = GENERATOR.normal(size=(120, 5)) @ GENERATOR.normal(size=(5, 5)) + 3
SCORE = X[:, 0] - X[:, 2] + GENERATOR.normal(size=120)
BINARY = (np.median(SCORE) < SCORE).astype(int)
THREE = np.digitize(SCORE, np.quantile(SCORE, [0.3, 0.6]))
TARGETS = {"two classes": BINARY, "three classes": THREE, "strings": np.array(["no", "yes", "or"])[THREE]}
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}
LDA, QDA = LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis


def quadratic(**options: Any) -> QuadraticDiscriminantAnalysis:
    """The model with these options, or a skipped test where this scikit-learn does not have them."""
    try:
        return QDA(**options)
    except TypeError as error:
        return pytest.skip(f"this scikit-learn: {error}")


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize(
    "model",
    [
        LDA(),
        LDA(n_components=1),
        LDA(priors=[0.2, 0.3, 0.5]),
        LDA(solver="eigen"),
        LDA(solver="eigen", shrinkage="auto", n_components=1),
        LDA(solver="eigen", shrinkage=0.3),
        LDA(solver="eigen", covariance_estimator=LedoitWolf()),
        LDA(store_covariance=True, tol=1e-3),
    ],
    ids=str,
)
def test_linear_discriminant_analysis_gives_the_same(executor, model, target):
    if model.priors is not None and len(np.unique(target)) == 2:
        model = LDA(priors=[0.9, 0.1])
    assert_same(model.fit(X, target), X, executor, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shrinkage", [None, "auto", 0.5])
def test_the_solver_lsqr_refuses_to_project_as_the_source_does(executor, shrinkage):
    source = LDA(solver="lsqr", shrinkage=shrinkage).fit(X, THREE)
    model = tensorml.convert(source, executor=executor)
    for method in ("predict", "decision_function", "predict_proba", "predict_log_proba"):
        assert_equal_outputs(getattr(model, method)(X), getattr(source, method)(X), method, 1e-10, 1e-10)
    with pytest.raises(NotImplementedError, match="transform not implemented for 'lsqr' solver"):
        source.transform(X)
    with pytest.raises(InputError, match="transform not implemented for 'lsqr' solver"):
        model.transform(X)
    assert tensorml.verify(source, model, X).ok


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reg_param": 0.3},
        {"store_covariance": True, "tol": 1e-6},
        {"priors": [0.1, 0.9]},
        {"solver": "eigen"},
        {"solver": "eigen", "shrinkage": 0.4},
        {"solver": "eigen", "shrinkage": "auto"},
        {"solver": "eigen", "covariance_estimator": LedoitWolf()},
    ],
    ids=str,
)
def test_quadratic_discriminant_analysis_gives_the_same(executor, options, target):
    if "priors" in options and len(np.unique(target)) == 3:
        options = {"priors": [0.1, 0.2, 0.7]}
    assert_same(quadratic(**options).fit(X, target), X, executor, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.int8, np.uint32, bool])
@pytest.mark.parametrize("fit_dtype", [np.float64, np.float32])
@pytest.mark.parametrize("target", [BINARY, THREE], ids=["two classes", "three classes"])
@pytest.mark.parametrize("model", [LDA(), LDA(solver="eigen"), QDA()], ids=str)
def test_every_input_dtype_gives_the_result_dtype_of_the_source(model, target, fit_dtype, dtype):
    rows = np.abs(X).astype(dtype) if dtype == np.uint32 else X.astype(dtype)
    tolerance = TOLERANCE[np.float32 if fit_dtype == np.float32 else np.float64]
    for executor in ("reference", "torch"):
        assert_same(model.fit(X.astype(fit_dtype), target), rows, executor, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("model", [LDA(), QDA()], ids=str)
def test_one_row_many_rows_and_refused_rows_are_as_in_the_source(executor, model):
    assert_contract(model.fit(X, THREE), X, executor, rtol=1e-10, atol=1e-10)


def test_a_probability_of_zero_has_the_logarithm_of_the_least_normal_number(executor):
    for target, scale in ((BINARY, -1e4), (THREE, 1e4)):
        source = LDA().fit(X, target)
        rows = X * scale
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "overflow encountered in exp")
            model = assert_same(source, rows, executor, rtol=1e-9, atol=1e-9)
        assert (model.predict_proba(rows) == 0).any()
        assert model.predict_log_proba(rows).min() == np.log(np.finfo(np.float64).smallest_normal)


def test_a_prior_of_zero_is_minus_infinity_in_the_scores_of_a_quadratic_model(executor):
    source = QDA(priors=[0.0, 0.4, 0.6]).fit(X, THREE)
    with np.errstate(divide="ignore"):
        model = assert_same(source, X, executor, rtol=1e-10, atol=1e-10)
    assert np.isneginf(model.decision_function(X)[:, 0]).all()
    assert 0 not in model.predict(X)


def test_set_output_makes_frames_of_the_projection(executor):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcde"))
    source = LDA().fit(frame, THREE).set_output(transform="pandas")
    model = tensorml.convert(source, executor=executor)
    assert_equal_outputs(model.transform(frame), source.transform(frame), "transform", 1e-10, 1e-10)


def test_a_linear_model_of_one_class_is_refused():
    source = LDA().fit(X, THREE)
    source.classes_, source.coef_, source.intercept_ = source.classes_[:1], source.coef_[:1], source.intercept_[:1]
    with pytest.raises(UnsupportedModelError, match="1 rows of coefficients for 1 class"):
        tensorml.convert(source)
