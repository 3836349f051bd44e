"""Stacking. The oracle is scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
)
from sklearn.linear_model import LinearRegression, RidgeClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import tensorml
from tensorml.errors import UnsupportedModelError
from tests.converters.test_sklearn_trees import NUMBER, THREE, TWO, WORDS, X
from tests.ensembles import MEMBERS, check_linear
from tests.parity import assert_same

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning")


@pytest.mark.parametrize("method", ["auto", "predict", "predict_proba"])
@pytest.mark.parametrize("passthrough", [False, True])
@pytest.mark.parametrize("y", [WORDS, TWO == 1], ids=["3 classes", "2 classes"])
def test_stacked_classifiers_agree(executor: str, y: np.ndarray, passthrough: bool, method: str):
    model = StackingClassifier(MEMBERS[:2], stack_method=method, passthrough=passthrough, cv=2).fit(X, y)
    check_linear(model, executor)


def test_stacks_of_trees_agree_bit_for_bit(executor: str):
    final = RandomForestClassifier(6, random_state=0)
    model = StackingClassifier(MEMBERS[1:], final, cv=2).fit(X, WORDS)
    assert_same(model, X, executor)
    assert not hasattr(tensorml.convert(model), "predict_log_proba")
    trees = [("a", DecisionTreeRegressor(max_depth=4)), ("b", ExtraTreesRegressor(4, random_state=0))]
    regressor = StackingRegressor(trees, RandomForestRegressor(5, random_state=0), cv=2, passthrough=True)
    assert_same(regressor.fit(X, NUMBER), X, executor)


def test_decision_functions_are_stacked_whole(executor: str):
    members = [("svc", LinearSVC()), ("ridge", RidgeClassifier()), ("gone", "drop")]
    for y in (WORDS, TWO):
        check_linear(StackingClassifier(members, RidgeClassifier(), cv=2).fit(X, y), executor)


def test_stacked_regressors_agree(executor: str):
    members = [("linear", LinearRegression()), ("tree", DecisionTreeRegressor(max_depth=4)), ("gone", "drop")]
    check_linear(StackingRegressor(members, cv=2).fit(X, NUMBER), executor)


def test_prefit_members_keep_their_own_classes(executor: str):
    members = [(name, member.fit(X, THREE * 10)) for name, member in MEMBERS]
    for method in ("predict", "auto"):
        model = StackingClassifier(members, cv="prefit", stack_method=method).fit(X, THREE * 10)
        check_linear(model, executor)


def test_prefit_members_that_predict_words_are_refused():
    members = [("tree", DecisionTreeClassifier().fit(X, WORDS))]
    final = RandomForestClassifier(3)
    model: Any = StackingClassifier(members, final, cv="prefit", stack_method="predict_proba")
    model.fit(X, WORDS)
    model.stack_method_ = ["predict"]
    with pytest.raises(UnsupportedModelError, match=r"StackingClassifier 'tree'.*its labels are no numbers"):
        tensorml.convert(model)


@pytest.mark.parametrize("outputs", [2, 3])
def test_stacks_for_several_labels_agree(executor: str, outputs: int):
    y = np.stack([TWO, THREE == 1, X[:, 1] > 1], axis=1)[:, :outputs].astype(int)
    members = [("forest", RandomForestClassifier(3, random_state=0)), ("tree", DecisionTreeClassifier(max_depth=5))]
    model = StackingClassifier(members, RandomForestClassifier(5, random_state=0), cv=2).fit(X, y)
    assert_same(model, X, executor)
    assert_same(
        StackingClassifier(members, DecisionTreeClassifier(), cv=2, stack_method="predict").fit(X, y), X, executor
    )
