"""AdaBoost. The oracle is scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier
from xgboost import XGBRegressor

import tensorml
from tensorml.errors import InputError
from tests.converters.test_sklearn_trees import NUMBER, THREE, TWO, WORDS, X
from tests.ensembles import check_linear, traps, xgb
from tests.parity import assert_same

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning")


@pytest.mark.parametrize("y", [WORDS, TWO == 1, TWO * 5 - 2], ids=["words", "bool", "numbers"])
@pytest.mark.parametrize(
    "base",
    [None, DecisionTreeClassifier(max_depth=3, random_state=0), ExtraTreeClassifier(max_depth=4, random_state=0)],
    ids=["stumps", "trees", "extra trees"],
)
def test_ada_boost_of_trees_agrees(executor: str, base: Any, y: np.ndarray):
    model = AdaBoostClassifier(base, n_estimators=12, learning_rate=0.7, random_state=0).fit(X, y)
    for dtype in (np.float64, np.float32):
        x = traps(model).astype(dtype)
        converted = assert_same(model, x, executor, rtol=1e-14, atol=1e-16)  # of softmax and logarithm
        np.testing.assert_array_equal(converted.decision_function(x), model.decision_function(x))


@pytest.mark.parametrize(
    "base",
    [LogisticRegression(), SGDClassifier(random_state=0)],
    ids=["logistic", "sgd"],
)
def test_ada_boost_takes_bases_that_are_no_trees(executor: str, base: Any):
    check_linear(AdaBoostClassifier(base, n_estimators=4, random_state=0).fit(X, WORDS), executor)


def test_ada_boost_of_boosters_of_other_libraries_agrees(executor: str):
    model = AdaBoostClassifier(xgb(), n_estimators=3, random_state=0).fit(X, THREE)
    assert_same(model, X, executor, rtol=1e-14)
    assert_same(AdaBoostClassifier(xgb(), n_estimators=3).fit(X, TWO), X, executor, rtol=1e-14)


def test_ada_boost_of_one_class_or_of_one_perfect_tree_agrees(executor: str):
    perfect = AdaBoostClassifier(DecisionTreeClassifier(), n_estimators=5).fit(X, X[:, 0] > 0)
    assert len(perfect.estimators_) == 1
    assert_same(perfect, X, executor, rtol=1e-14)
    alone = AdaBoostClassifier(n_estimators=3).fit(X, np.full(len(X), "only"))
    for x in (X, X.astype(np.float32)):
        assert_same(alone, x, executor)


@pytest.mark.parametrize("loss", ["linear", "square", "exponential"])
@pytest.mark.parametrize("rule", ["distinct", "ties"])
def test_ada_boost_regressors_take_the_weighted_median(executor: str, loss: str, rule: str):
    base = DecisionTreeRegressor(max_depth=2 if rule == "ties" else 5, random_state=0)
    y = NUMBER.round() if rule == "ties" else NUMBER
    model = AdaBoostRegressor(base, n_estimators=25, loss=loss, random_state=0).fit(X, y)
    for dtype in (np.float64, np.float32):
        assert_same(model, traps(model).astype(dtype), executor)


def test_the_weighted_median_of_equal_weights_is_the_lower_one(executor: str):
    model = AdaBoostRegressor(DecisionTreeRegressor(max_depth=2), n_estimators=6, random_state=0).fit(X, NUMBER)
    for weights in ([1.0] * 6, [2, 1, 1, 2, 1, 1], [0, 0, 0, 0, 0, 1], [0.0] * 6, [3, 1, 1, 1, 0, 0]):
        model.estimator_weights_ = np.array(weights, np.float64)
        assert_same(model, X, executor)


def test_ada_boost_regressors_of_linear_models_agree(executor: str):
    check_linear(AdaBoostRegressor(Ridge(), n_estimators=6, random_state=0).fit(X, NUMBER), executor)
    model = AdaBoostRegressor(XGBRegressor(n_estimators=3, n_jobs=1), n_estimators=4, random_state=0).fit(X, NUMBER)
    assert_same(model, X, executor)


def test_ada_boost_refuses_nan_although_its_trees_would_not(executor: str):
    model = AdaBoostClassifier(n_estimators=3, random_state=0).fit(X, TWO)
    converted = tensorml.convert(model, executor=executor)
    for value, words in ((np.nan, "Input X contains NaN; .*AdaBoostClassifier"), (np.inf, "infinity")):
        x = X.copy()
        x[3, 3] = value
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            model.predict(x)
        with pytest.raises(InputError, match=words):
            converted.predict(x)
