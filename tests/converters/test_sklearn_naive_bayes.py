"""Naive Bayes against scikit-learn itself.

Joint log likelihoods are sums in the executor's own order: equal within 1e-11 of their magnitude in float64, 1e-4 in
float32. Those of a CategoricalNB are added feature by feature and are equal in every bit. Labels are equal.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB

import tensorml
from tensorml.errors import InputError, NotFittedError
from tests.contract import assert_contract
from tests.parity import assert_equal_outputs, assert_same

GENERATOR = np.random.default_rng(5)
REAL = GENERATOR.normal(size=(120, 6)) * [1, 2, 3, 0.1, 10, 1]
COUNTS = GENERATOR.poisson(np.abs(REAL[:, ::-1]))
CATEGORIES = GENERATOR.integers(0, [2, 3, 4, 5, 6, 1], size=(120, 6))
SCORE = REAL[:, 0] + COUNTS[:, 1] / 4 + CATEGORIES[:, 3] / 2
BINARY = (np.median(SCORE) < SCORE).astype(int)
THREE = np.digitize(SCORE, np.quantile(SCORE, [0.3, 0.6]))
TARGETS = {"two classes": BINARY, "three classes": THREE, "strings": np.array(["no", "yes", "or"])[THREE]}
DTYPES = [np.float64, np.float32, np.float16, np.int64, np.int8, np.uint32, bool]


def fit(model: Any, rows: np.ndarray, target: np.ndarray, **options: Any) -> Any:
    """The model, fitted; warnings of its fit are not what these tests are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(rows, target, **options)


def assert_close(source: Any, rows: Any, executor: str, tolerance: float = 1e-11) -> Any:
    """As assert_same, within rounding of the log likelihoods, without the source's warnings of logarithms of 0."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "divide by zero|invalid value|overflow")
        largest = np.nanmax(np.abs(np.nan_to_num(source.predict_joint_log_proba(rows), posinf=0, neginf=0)))
        return assert_same(source, rows, executor, rtol=tolerance, atol=tolerance * (1 + largest))


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("options", [{}, {"var_smoothing": 1e-3}, {"priors": "given"}], ids=str)
def test_gaussian_naive_bayes_gives_the_same(executor, options, target):
    classes = len(np.unique(target))
    if "priors" in options:
        options = {"priors": np.arange(1, classes + 1) / sum(range(classes + 1))}
    source = GaussianNB().set_params(**options)
    model = assert_close(fit(source, REAL, target), REAL, executor)
    assert set(model.methods) == {"predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba"}


DISCRETE = [
    MultinomialNB(),
    MultinomialNB(alpha=0.2, fit_prior=False),
    MultinomialNB().set_params(alpha=[0.5, 1, 2, 1, 1, 3]),
    MultinomialNB(class_prior=[0.2, 0.3, 0.5]),
    MultinomialNB(alpha=0, force_alpha=False),
    ComplementNB(),
    ComplementNB(norm=True, alpha=0.1),
    ComplementNB(class_prior=[0.2, 0.3, 0.5], fit_prior=False),
    BernoulliNB(),
    BernoulliNB(binarize=1.5, alpha=0.3),
    BernoulliNB().set_params(binarize=None),
    BernoulliNB(fit_prior=False, class_prior=[0.2, 0.3, 0.5]),
]


@pytest.mark.parametrize("target", [THREE, TARGETS["strings"]], ids=["three classes", "strings"])
@pytest.mark.parametrize("model", DISCRETE, ids=str)
def test_a_model_of_counts_gives_the_same(executor, model, target):
    rows = COUNTS > 0 if isinstance(model, BernoulliNB) and model.binarize is None else COUNTS
    assert_close(fit(model, rows, target), rows, executor)


@pytest.mark.parametrize("model", [MultinomialNB(), ComplementNB(), BernoulliNB(), CategoricalNB()], ids=str)
def test_two_classes_one_class_and_weights_give_the_same(executor, model):
    assert_close(fit(model, CATEGORIES, BINARY), CATEGORIES, executor)
    assert_close(fit(model, CATEGORIES, np.zeros(120, int)), CATEGORIES, executor)
    assert_close(fit(model, CATEGORIES, THREE, sample_weight=np.arange(120) / 60), CATEGORIES, executor)


@pytest.mark.parametrize("model", [MultinomialNB(alpha=0), BernoulliNB(alpha=0), CategoricalNB(alpha=0)], ids=str)
def test_probabilities_of_zero_are_infinite_logarithms_as_in_the_source(executor, model):
    rows = CATEGORIES.copy()
    rows[THREE == 0, 1] = 0
    assert_close(fit(model, rows, THREE), CATEGORIES, executor)


@pytest.mark.parametrize("model", [MultinomialNB(), ComplementNB(), BernoulliNB()], ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_sparse_counts_give_the_same(executor, model, dtype):
    assert_close(fit(model, COUNTS, THREE), scipy.sparse.csr_matrix(COUNTS.astype(dtype)), executor)


@pytest.mark.parametrize(
    "model",
    [
        CategoricalNB(),
        CategoricalNB(alpha=0.3, fit_prior=False),
        CategoricalNB(min_categories=9),
        CategoricalNB(min_categories=[2, 5, 5, 5, 6, 3], class_prior=[0.1, 0.2, 0.7]),
    ],
    ids=str,
)
def test_log_likelihoods_of_categories_are_equal_in_every_bit(executor, model):
    source = fit(model, CATEGORIES, THREE)
    converted = assert_close(source, CATEGORIES, executor)
    assert_equal_outputs(
        converted.predict_joint_log_proba(CATEGORIES), source.predict_joint_log_proba(CATEGORIES), "joint"
    )


def test_fractions_of_categories_are_cut_off(executor):
    rows = np.clip(CATEGORIES + 0.75, 0, CATEGORIES.max(axis=0) + 0.999)
    rows[0] = -0.5
    source = fit(CategoricalNB(), CATEGORIES, THREE)
    for dtype in (np.float64, np.float32, np.float16):
        assert_close(source, rows.astype(dtype), executor)


def test_a_category_that_the_fit_did_not_see_and_a_negative_one_are_refused(executor):
    source = fit(CategoricalNB(), CATEGORIES, THREE)
    model = tensorml.convert(source, executor=executor)
    for value, error, words in (
        (6, IndexError, "out of bounds: its features have 2, 3, 4, 5, 6, 1 categories, numbered from 0"),
        (-1, ValueError, r"Negative values in data passed to CategoricalNB \(input X\)"),
        (1e300, (IndexError, ValueError), "out of bounds"),
    ):
        rows = CATEGORIES.astype(float)
        rows[7, 4] = value
        with np.errstate(invalid="ignore"), pytest.raises(error):
            source.predict(rows)
        with pytest.raises(InputError, match=words):
            model.predict(rows)


def test_categories_of_a_partial_fit_may_grow(executor):
    source = CategoricalNB(min_categories=6).partial_fit(CATEGORIES[:60], THREE[:60], classes=[0, 1, 2])
    assert_close(source.partial_fit(CATEGORIES[60:], THREE[60:]), CATEGORIES, executor)


@pytest.mark.parametrize("fit_dtype", [np.float64, np.float32])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "model",
    [GaussianNB(), MultinomialNB(), ComplementNB(), BernoulliNB(), BernoulliNB(binarize=0.75), CategoricalNB()],
    ids=str,
)
def test_every_input_dtype_gives_the_result_dtype_of_the_source(model, fit_dtype, dtype):
    source = fit(model, CATEGORIES.astype(fit_dtype), THREE)
    tolerance = 1e-4 if source.predict_joint_log_proba(CATEGORIES[:2].astype(dtype)).dtype == np.float32 else 1e-11
    for executor in ("reference", "torch"):
        assert_close(source, CATEGORIES.astype(dtype), executor, tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_value_within_rounding_of_the_threshold_is_binary_as_in_the_source(executor, dtype):
    source = fit(BernoulliNB(binarize=0.1), REAL, THREE)
    rows = np.array([[0.1, np.nextafter(dtype(0.1), 1), np.nextafter(dtype(0.1), 0), -0.0, 0, np.float32(0.1)]], dtype)
    assert_close(source, rows, executor)


@pytest.mark.parametrize("model", [GaussianNB(), MultinomialNB(), ComplementNB(), BernoulliNB()], ids=str)
def test_one_row_many_rows_and_refused_rows_are_as_in_the_source(executor, model):
    assert_contract(fit(model, COUNTS, THREE), COUNTS.astype(float), executor, rtol=1e-10, atol=1e-9)


def test_one_row_many_rows_and_refused_rows_of_categories_are_as_in_the_source(executor):
    assert_contract(fit(CategoricalNB(), CATEGORIES, THREE), CATEGORIES, executor, rtol=1e-11, atol=1e-11)


def test_a_prior_of_zero_and_a_variance_of_zero_give_the_infinities_of_the_source(executor):
    source = fit(GaussianNB(priors=[0.0, 0.5, 0.5]), REAL, THREE)
    assert_close(source, REAL, executor)
    constant = REAL.copy()
    constant[:, 2] = THREE
    assert_close(fit(GaussianNB(var_smoothing=0), constant, THREE), constant, executor)


def test_a_model_of_partial_fits_and_an_unfitted_one():
    source = GaussianNB().partial_fit(REAL[:60], THREE[:60], classes=[0, 1, 2]).partial_fit(REAL[60:], THREE[60:])
    assert_close(source, REAL, "reference")
    with pytest.raises(NotFittedError, match="CategoricalNB is not fitted"):
        tensorml.convert(CategoricalNB())
