"""Bagging of trees and of other models. The oracle is scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import ExtraTreeClassifier, ExtraTreeRegressor
from xgboost import XGBRegressor

import tensorml
from tensorml.errors import InputError
from tests.converters.test_sklearn_trees import NUMBER, NUMBERS, TWO, WITH_NAN, WORDS, X
from tests.ensembles import FINITE, check_linear, traps
from tests.parity import assert_equal_outputs, assert_same

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning")


@pytest.mark.parametrize("y", [WORDS, TWO == 1], ids=["words", "bool"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_features": 3},
        {"max_features": 0.5, "bootstrap_features": True},
        {"bootstrap": False, "max_samples": 0.5},
        {"estimator": ExtraTreeClassifier(max_depth=4), "max_features": 1},
        {"oob_score": True, "n_estimators": 40},
    ],
    ids=str,
)
def test_bagging_of_tree_classifiers_agrees(executor: str, options: dict[str, Any], y: np.ndarray):
    model = BaggingClassifier(**{"n_estimators": 12, "random_state": 0, "n_jobs": 1, **options}).fit(X, y)
    for dtype in (np.float64, np.float32):
        x = traps(model).astype(dtype)
        converted = assert_same(model, x, executor, rtol=1e-13, atol=1e-14)  # of the logarithm
        np.testing.assert_array_equal(converted.predict_proba(x), model.predict_proba(x))


@pytest.mark.parametrize("y", [NUMBER, NUMBERS], ids=["one output", "two outputs"])
@pytest.mark.parametrize("base", [None, ExtraTreeRegressor(max_depth=6)], ids=["trees", "extra trees"])
def test_bagging_of_tree_regressors_agrees_bit_for_bit(executor: str, base: Any, y: np.ndarray):
    for features in (1.0, 2):
        model = BaggingRegressor(base, n_estimators=9, max_features=features, random_state=0).fit(X, y)
        for dtype in (np.float64, np.float32, np.float16):
            assert_same(model, traps(model, odd=(-0.0, 1e-3)).astype(dtype), executor)


@pytest.mark.parametrize("trained", [X, WITH_NAN], ids=["nan first seen at predict", "nan in training"])
def test_bagging_of_trees_sends_nan_where_they_do(executor: str, trained: np.ndarray):
    model = BaggingRegressor(n_estimators=7, max_features=3, random_state=0).fit(trained, NUMBER)
    assert_same(model, traps(model, (np.nan, *FINITE)), executor)


def test_bagging_of_trees_ignores_what_no_tree_was_fitted_on(executor: str):
    model = BaggingRegressor(n_estimators=2, max_features=1, random_state=0).fit(X, NUMBER)
    unused = sorted(set(range(5)) - {int(f[0]) for f in model.estimators_features_})
    x = X.copy()
    x[:, unused] = np.inf
    assert_same(model, x, executor)
    x[0, model.estimators_features_[0][0]] = np.inf
    with pytest.raises(InputError, match="infinity"):
        tensorml.convert(model, executor=executor).predict(x)


@pytest.mark.parametrize(
    "base",
    [LogisticRegression(), LinearSVC(), RidgeClassifier(), make_pipeline(StandardScaler(), LogisticRegression())],
    ids=["logistic", "svc votes", "ridge votes", "pipeline"],
)
@pytest.mark.parametrize("y", [WORDS, TWO], ids=["3 classes", "2 classes"])
def test_bagging_takes_bases_with_and_without_probabilities(executor: str, base: Any, y: np.ndarray):
    for options in ({}, {"max_features": 2, "bootstrap_features": True}):
        check_linear(BaggingClassifier(base, n_estimators=4, random_state=0, **options).fit(X, y), executor)


def test_log_probabilities_of_bagging_stay_in_range(executor: str):
    model = BaggingClassifier(LogisticRegression(C=1e6), n_estimators=3, random_state=0).fit(X, X[:, 0] > 0)
    far = X * 1e4
    with np.errstate(all="ignore"):
        expected = model.predict_log_proba(far)
    assert expected.min() < -800  # its exponential is 0
    actual = tensorml.convert(model, executor=executor).predict_log_proba(far)
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


def test_bagging_maps_the_classes_that_a_base_knows(executor: str):
    """Models without sample_weight see only the rows drawn, in which a rare class may be missing."""
    y = np.where(np.arange(len(X)) < 1, "rare", WORDS)
    rare = BaggingClassifier(make_pipeline(StandardScaler(), LogisticRegression()), n_estimators=6, random_state=1)
    model = rare.fit(X, y)
    assert {len(base.classes_) for base in model.estimators_} == {3, 4}
    converted = tensorml.convert(model, executor=executor)
    with np.errstate(all="ignore"):
        for method in ("predict", "predict_proba", "predict_log_proba"):
            actual, expected = getattr(converted, method)(X), getattr(model, method)(X)
            assert_equal_outputs(actual, expected, method, rtol=1e-9, atol=1e-12)
    with pytest.raises((ValueError, IndexError)):
        model.decision_function(X)
    assert not hasattr(converted, "decision_function")


def test_bagging_of_several_regressors_agrees(executor: str):
    check_linear(BaggingRegressor(LinearRegression(), n_estimators=4, random_state=0).fit(X, NUMBERS), executor)
    booster = XGBRegressor(n_estimators=3, n_jobs=1)
    model = BaggingRegressor(booster, n_estimators=3, max_features=3, random_state=0).fit(X, NUMBER)
    assert_same(model, X, executor)


def test_several_jobs_in_bagging_change_nothing_beyond_rounding():
    model = BaggingRegressor(n_estimators=20, random_state=0).fit(X, NUMBER)
    model.n_jobs = 2
    assert_same(model, X, "torch", rtol=1e-13)


def test_bagging_divides_by_the_number_of_estimators_it_is_set_to(executor: str):
    model = BaggingClassifier(n_estimators=8, random_state=0).fit(X, WORDS)
    model.n_estimators = 5
    assert_same(model, X, executor, rtol=1e-13, atol=1e-14)
