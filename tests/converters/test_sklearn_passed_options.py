"""Options of a call that reach a model inside another one, as the source hands them on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.ensemble import StackingClassifier, StackingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import BayesianRidge, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import tensorml
from tensorml.errors import InputError
from tests.parity import assert_equal_outputs

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3))
NUMBER = X @ [1.0, -1.0, 0.5] + 0.1 * RNG.normal(size=80)
WORDS = np.where(NUMBER > 0, "high", "low")
SCORES = {"iteration_range": (0, 2)}


def boosted() -> xgboost.XGBClassifier:
    """A small classifier whose methods take `iteration_range`."""
    return xgboost.XGBClassifier(n_estimators=6, max_depth=2, n_jobs=1, random_state=0)


def assert_passed(source: Any, method: str, executor: str, **options: Any) -> None:
    """The method with these options returns what the source returns, which is something else than without them."""
    model = tensorml.convert(source, executor=executor)
    expected = getattr(source, method)(X, **options)
    assert_equal_outputs(getattr(model, method)(X, **options), expected, method, 1e-5, 1e-6)
    plain = getattr(source, method)(X)
    assert_equal_outputs(getattr(model, method)(X), plain, method, 1e-5, 1e-6)
    assert isinstance(expected, tuple) or not np.array_equal(expected, plain)


def pipeline() -> Pipeline:
    """A scaler before the classifier, in one pipeline more."""
    codes = (NUMBER > 0).astype(int)
    return make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), boosted())).fit(X, codes)


def test_a_pipeline_passes_the_options_of_its_last_step_on(executor: str) -> None:
    assert_passed(pipeline(), "predict_proba", executor, **SCORES)
    assert_passed(pipeline(), "predict", executor, **SCORES, output_margin=True)


def test_a_frozen_model_passes_all_options_on(executor: str) -> None:
    assert_passed(FrozenEstimator(pipeline()), "predict_proba", executor, **SCORES)
    neighbors = KNeighborsClassifier().fit(X, WORDS)
    assert_passed(FrozenEstimator(neighbors), "kneighbors", executor, n_neighbors=2, return_distance=False)


def test_a_stack_passes_the_options_of_predict_to_its_final_model(executor: str) -> None:
    members = [("ridge", Ridge()), ("bayes", BayesianRidge())]
    assert_passed(StackingRegressor(members, BayesianRidge()).fit(X, NUMBER), "predict", executor, return_std=True)
    target = np.where(RNG.random(80) < 0.3, "high", WORDS)
    final = xgboost.XGBClassifier(n_estimators=20, max_depth=2, learning_rate=1.0, n_jobs=1)
    stack = StackingClassifier([("logistic", LogisticRegression())], final, passthrough=True).fit(X, target)
    assert_passed(stack, "predict", executor, **SCORES)


def test_what_the_source_does_not_pass_on_is_refused_by_name() -> None:
    stack = StackingClassifier([("logistic", LogisticRegression())], boosted()).fit(X, WORDS)
    with pytest.raises(InputError, match=r"predict_proba\(\) does not take iteration_range=\(0, 2\); it takes no opti"):
        tensorml.convert(stack).predict_proba(X, **SCORES)
    search = GridSearchCV(boosted(), {}, cv=2).fit(X, (NUMBER > 0).astype(int))
    with pytest.raises(InputError, match=r"predict\(\) does not take iteration_range=\(0, 2\); it takes no options"):
        tensorml.convert(search).predict(X, **SCORES)
    inside = make_pipeline(StandardScaler(), KNeighborsClassifier()).fit(X, WORDS)
    with pytest.raises(AttributeError, match=r"has no method or attribute 'kneighbors'"):
        _ = tensorml.convert(inside).kneighbors
