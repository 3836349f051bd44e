"""Voting. The oracle is scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    RandomForestRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier
from xgboost import XGBRegressor

import tensorml
from tensorml.errors import UnsupportedModelError
from tests.converters.test_sklearn_trees import NUMBER, THREE, TWO, WORDS, X
from tests.ensembles import MEMBERS, check_linear
from tests.parity import assert_same

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning")


VOTES = [None, [1, 2, 3], [0.5, 0.25, 0.25], [1, 1, 0]]


@pytest.mark.parametrize("weights", VOTES, ids=str)
@pytest.mark.parametrize("y", [WORDS, TWO == 1, THREE * 3 - 1], ids=["words", "bool", "numbers"])
def test_hard_votes_agree(executor: str, y: np.ndarray, weights: Any):
    model = VotingClassifier([*MEMBERS[1:], ("deep", ExtraTreeClassifier(random_state=0))], weights=weights).fit(X, y)
    for x in (X, X.astype(np.float32), X[:1]):
        assert_same(model, x, executor)


@pytest.mark.parametrize("weights", VOTES, ids=str)
@pytest.mark.parametrize("flatten", [True, False])
def test_soft_votes_agree(executor: str, weights: Any, flatten: bool):
    model = VotingClassifier(MEMBERS, voting="soft", weights=weights, flatten_transform=flatten).fit(X, WORDS)
    check_linear(model, executor)
    assert tensorml.convert(model).transform(X).shape == ((300, 9) if flatten else (3, 300, 3))


def test_soft_votes_of_trees_agree_bit_for_bit(executor: str):
    for weights in ([0.3, 0.7], None):
        model = VotingClassifier(MEMBERS[1:], voting="soft", weights=weights).fit(X, WORDS)
        assert_same(model, X, executor)


@pytest.mark.parametrize("weights", [None, [1, 2], [0.3, 0.9]], ids=str)
def test_voting_regressors_agree(executor: str, weights: Any):
    trees = [("tree", DecisionTreeRegressor(max_depth=5)), ("forest", RandomForestRegressor(4, random_state=0))]
    assert_same(VotingRegressor(trees, weights=weights).fit(X, NUMBER), X, executor)
    mixed = VotingRegressor([("linear", LinearRegression()), trees[0]], weights=weights).fit(X, NUMBER)
    check_linear(mixed, executor)


def test_means_of_float32_members_stay_float32(executor: str):
    boosters = [("a", XGBRegressor(n_estimators=3, n_jobs=1)), ("b", XGBRegressor(n_estimators=2, n_jobs=1))]
    model = VotingRegressor(boosters).fit(X, NUMBER)
    assert model.predict(X).dtype == np.float32
    assert_same(model, X, executor)
    assert_same(VotingRegressor(boosters, weights=[1, 2]).fit(X, NUMBER), X, executor)


def test_dropped_members_and_their_weights_do_not_count(executor: str):
    members = [MEMBERS[1], ("gone", "drop"), MEMBERS[2]]
    for voting in ("hard", "soft"):
        model = VotingClassifier(members, voting=voting, weights=[1, 100, 2]).fit(X, WORDS)
        assert_same(model, X, executor)
    with_names = tensorml.convert(model).get_feature_names_out()
    np.testing.assert_array_equal(with_names, model.get_feature_names_out())


def test_ties_of_votes_go_to_the_first_class(executor: str):
    members = [(str(i), DecisionTreeClassifier(max_depth=1, random_state=i, splitter="random")) for i in range(4)]
    model = VotingClassifier(members, weights=[0.1, 0.2, 0.3, 0.4]).fit(X, WORDS)
    assert_same(model, X, executor)
    assert_same(VotingClassifier(members).fit(X, WORDS), X, executor)


def test_weights_that_numpy_does_not_count_alike_are_refused():
    model = VotingClassifier(MEMBERS[1:], weights=[-1, 2]).fit(X, WORDS)
    with pytest.raises(UnsupportedModelError, match=r"its weights are .* Use weights of 0 and more, or voting='soft'"):
        tensorml.convert(model)
    model = VotingClassifier(MEMBERS[1:], voting="soft", weights=[-1, 1]).fit(X, WORDS)
    with pytest.raises(ZeroDivisionError):
        model.predict(X)
    with pytest.raises(UnsupportedModelError, match=r"its weights add up to 0"):
        tensorml.convert(model)
