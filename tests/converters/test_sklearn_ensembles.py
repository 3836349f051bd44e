"""Models made of models: isolation forests, AdaBoost, bagging, voting, stacking. The oracle is scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

import tensorml
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tensorml_sklearn.describe import VERSION
from tests.converters.test_sklearn_trees import NUMBER, NUMBERS, THREE, TWO, WITH_NAN, WORDS, X, thresholds_of
from tests.parity import assert_equal_outputs, assert_same
from tests.traps import trap_rows

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning")

FINITE = (-0.0, 5e-324, 1e-45, 3e38)
ANYTHING = (np.nan, np.inf, -np.inf, *FINITE)
QUANTILES = {"quantile_method": "averaged_inverted_cdf"} if VERSION >= (1, 7) else {}
LINEAR = {np.float64: {"rtol": 1e-9, "atol": 1e-12}, np.float32: {"rtol": 2e-5, "atol": 2e-6}}  # matrix products


def traps(model: Any, odd: tuple[float, ...] = FINITE, rows: int = 600) -> np.ndarray:
    """Rows on and beside the thresholds of the ensemble's trees."""
    pairs = [
        (int(features[column]), threshold)
        for base, features in zip(model.estimators_, subsets(model), strict=True)
        for column, threshold in thresholds_of(base)
        if np.isfinite(threshold)
    ]
    return trap_rows(X, pairs, rows, odd=odd)


def subsets(model: Any) -> list[np.ndarray]:
    return list(getattr(model, "estimators_features_", [np.arange(X.shape[1])] * len(model.estimators_)))


def xgb(**options: Any) -> XGBClassifier:
    return XGBClassifier(n_estimators=4, max_depth=3, n_jobs=1, **options)


def check_linear(model: Any, executor: str) -> None:
    """The model in float64 and float32, within the rounding of matrix products."""
    for dtype, limits in LINEAR.items():
        assert_same(model, X.astype(dtype), executor, **limits)


# Isolation forests


def power_of_two(executor: str) -> dict[str, float]:
    """Scores are powers of 2, whose last bit is the executor's own; NumPy's are the library's."""
    return {} if executor == "reference" else {"rtol": 4e-16, "atol": 2e-16}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_features": 2},
        {"max_features": 2, "bootstrap": True},
        {"contamination": 0.1},
        {"max_samples": 50, "contamination": 0.4},
        {"max_samples": 1},
        {"max_samples": 2},
        {"warm_start": True},
    ],
    ids=str,
)
def test_isolation_forests_agree(executor: str, options: dict[str, Any]):
    model = IsolationForest(n_estimators=30, random_state=0, **options).fit(X)
    rows = np.concatenate([X, traps(model, ANYTHING)])
    with np.errstate(over="ignore"):
        single = rows.astype(np.float32)
    for x in (rows, single, X[:1], (X * 10).astype(np.int64)):
        assert_same(model, x, executor, **power_of_two(executor))
    np.testing.assert_array_equal(tensorml.convert(model, executor=executor).predict(rows), model.predict(rows))


def test_isolation_forests_take_nan_as_they_were_trained(executor: str):
    model = IsolationForest(n_estimators=20, random_state=0).fit(WITH_NAN)
    assert_same(model, traps(model, ANYTHING), executor, **power_of_two(executor))


def test_outliers_are_told_from_depths_not_from_rounded_scores(executor: str):
    """Rows at the very offset: it is the score of a row of the training data."""
    model = IsolationForest(n_estimators=10, random_state=0).fit(X)
    scores = np.unique(model.score_samples(X))[::30]
    for offset in (*scores, *np.nextafter(scores, 0), *np.nextafter(scores, -1), 0.0, -1.0, 1.0):
        model.offset_ = offset
        np.testing.assert_array_equal(tensorml.convert(model, executor=executor).predict(X), model.predict(X))


def test_isolation_forests_check_width_and_rows_as_the_library_does():
    model = IsolationForest(n_estimators=5, random_state=0).fit(X)
    converted = tensorml.convert(model)
    with pytest.raises(InputError, match="X has 4 features, but IsolationForest is expecting 5 features"):
        converted.predict(X[:, :4])
    with pytest.raises(InputError, match=r"0 sample\(s\)"):
        converted.predict(X[:0])
    with pytest.raises(NotFittedError, match="IsolationForest is not fitted"):
        tensorml.convert(IsolationForest())
    assert not hasattr(converted, "decision_path")
    assert not hasattr(model, "decision_path")


# AdaBoost


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


# Bagging


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


# Voting

MEMBERS = [
    ("linear", LogisticRegression()),
    ("tree", DecisionTreeClassifier(max_depth=4, random_state=0)),
    ("forest", RandomForestClassifier(5, random_state=0)),
]
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


# Stacking


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
    model = StackingClassifier(members, RandomForestClassifier(3), cv="prefit", stack_method="predict_proba")
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


# All together


def test_members_of_other_libraries_see_the_encoded_labels(executor: str):
    members = [
        ("booster", xgb()),
        ("tree", DecisionTreeClassifier(max_depth=4)),
        ("gb", GradientBoostingClassifier(n_estimators=3)),
    ]
    for y in (WORDS, np.where(TWO, "no", "yes")):
        assert_same(VotingClassifier(members).fit(X, y), X, executor)
        assert_same(VotingClassifier(members, voting="soft").fit(X, y), X, executor, rtol=1e-6)
        assert_same(StackingClassifier(members, xgb(), cv=2).fit(X, y), X, executor, rtol=1e-5)
        assert_same(
            BaggingClassifier(xgb(), n_estimators=3, random_state=0).fit(X, y), X, executor, rtol=1e-5, atol=1e-6
        )


@pytest.fixture
def holes() -> tuple[np.ndarray, sp.csr_matrix]:
    dense = np.where(np.random.default_rng(4).random(X.shape) < 0.5, 0.0, X)
    return dense, sp.csr_matrix(dense)


@pytest.mark.parametrize(
    "model",
    [
        VotingClassifier([("a", xgb()), ("b", xgb(learning_rate=0.1))], voting="soft"),
        VotingClassifier([("a", xgb()), ("b", xgb(learning_rate=0.1))]),
        BaggingClassifier(xgb(), n_estimators=3, random_state=0),
        BaggingClassifier(xgb(), n_estimators=3, max_features=2, random_state=0),
        StackingClassifier([("a", xgb())], cv=2),
    ],
    ids=["soft", "hard", "bagging", "bagging of columns", "stacking"],
)
def test_what_a_sparse_matrix_does_not_store_is_missing_to_boosters_inside(executor: str, model: Any, holes: Any):
    dense, sparse = holes
    model.fit(sparse, THREE)
    converted = tensorml.convert(model, executor=executor)
    expected = model.predict_proba(sparse) if hasattr(model, "predict_proba") else model.predict(sparse)
    as_zeros = model.predict_proba(dense) if hasattr(model, "predict_proba") else model.predict(dense)
    assert (expected != as_zeros).any()
    method = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    assert_equal_outputs(getattr(converted, method)(sparse), expected, method, rtol=1e-5, atol=1e-6)
    assert_equal_outputs(getattr(converted, method)(dense), as_zeros, method, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        VotingClassifier([("a", xgb()), ("b", DecisionTreeClassifier())]),
        AdaBoostClassifier(xgb(), n_estimators=2),
        StackingClassifier([("a", xgb())], passthrough=True, cv=2),
    ],
    ids=["members that disagree", "AdaBoost", "passthrough"],
)
def test_sparse_rows_that_mean_several_things_are_refused(model: Any, holes: Any):
    dense, sparse = holes
    converted = tensorml.convert(model.fit(dense, THREE))
    with pytest.raises(InputError, match=r"predict\(\) of a sparse matrix is not supported"):
        converted.predict(sparse)


def test_sparse_rows_are_read_where_all_take_them_as_zeros(executor: str, holes: Any):
    _, sparse = holes
    trees = [("a", DecisionTreeClassifier(max_depth=4)), ("b", RandomForestClassifier(3, random_state=0))]
    for model in (
        VotingClassifier(trees),
        BaggingClassifier(n_estimators=4, random_state=0, max_features=3),
        AdaBoostClassifier(n_estimators=4, random_state=0),
        StackingClassifier(trees, RandomForestClassifier(3, random_state=0), cv=2),
        IsolationForest(n_estimators=5, random_state=0),
    ):
        model.fit(sparse, THREE)
        actual = tensorml.convert(model, executor=executor).predict(sparse)
        np.testing.assert_array_equal(actual, model.predict(sparse))


def test_nan_in_a_sparse_matrix_is_refused_by_trees_and_missing_to_boosters(executor: str, holes: Any):
    _, sparse = holes
    broken = sparse.copy()
    broken.data[::5] = np.nan
    for model in (IsolationForest(n_estimators=4, random_state=0), BaggingClassifier(n_estimators=3, random_state=0)):
        converted = tensorml.convert(model.fit(sparse, THREE), executor=executor)
        with pytest.raises(InputError, match=r"Input X contains NaN in a sparse matrix; .* in another way, if at all"):
            converted.predict(broken)
    isolation = IsolationForest(n_estimators=9, random_state=0).fit(sparse)
    assert (isolation.score_samples(broken) != isolation.score_samples(broken.toarray())).any()
    bagged = BaggingClassifier(xgb(), n_estimators=2, random_state=0).fit(sparse, THREE)
    converted = tensorml.convert(bagged, executor=executor)
    np.testing.assert_allclose(converted.predict_proba(broken), bagged.predict_proba(broken), rtol=1e-5, atol=1e-6)


def test_a_sparse_step_before_an_ensemble_reaches_its_boosters_as_sparse(executor: str):
    inside = VotingClassifier([("a", xgb()), ("b", DecisionTreeClassifier(max_depth=5))], voting="soft")
    for ensemble in (inside, BaggingClassifier(xgb(), n_estimators=2, random_state=0, max_features=0.7)):
        model = make_pipeline(KBinsDiscretizer(3, encode="onehot", **QUANTILES), ensemble).fit(X, WORDS)
        assert_same(model, X, executor, rtol=1e-5, atol=1e-6)


def test_frames_reach_each_member_by_name(executor: str):
    frame = pd.DataFrame(X, columns=list("abcde"))
    frame["c"] = (frame["c"] > 0).astype(np.float32)
    chosen = make_pipeline(make_column_transformer((StandardScaler(), ["a", "e"])), LogisticRegression())
    members = [("chosen", chosen), ("tree", DecisionTreeClassifier(max_depth=4))]
    model = VotingClassifier(members, voting="soft").fit(frame, WORDS)
    assert_same(model, frame, executor, rtol=1e-9)
    converted = tensorml.convert(model, executor=executor)
    with pytest.raises(InputError, match="Feature names must be in the same order as they were in fit"):
        converted.predict(frame[list("edcba")])
    with pytest.raises(InputError, match=r"Feature names seen at fit time, yet now missing|columns are missing"):
        converted.predict(frame.rename(columns={"b": "z"}))


@pytest.mark.parametrize("third", [bool, np.float32, np.int64, "Int64", "boolean"])
def test_frames_of_several_dtypes_become_the_array_that_the_ensemble_makes(executor: str, third: Any):
    frame = pd.DataFrame(X.astype(np.float32), columns=list("abcde"))
    frame["c"] = (frame["c"] > 0).astype(third)
    for model in (
        BaggingRegressor(LinearRegression(), n_estimators=3, random_state=0),
        BaggingRegressor(n_estimators=3, random_state=0),
        AdaBoostRegressor(LinearRegression(), n_estimators=3, random_state=0),
    ):
        assert_same(
            model.fit(frame, NUMBER), frame, executor, rtol=2e-5 if third in (bool, np.float32) else 1e-9, atol=1e-6
        )


def test_set_output_names_what_ensembles_transform_to(executor: str):
    frame = pd.DataFrame(X, columns=list("abcde"))
    for model in (
        VotingClassifier(MEMBERS[1:], voting="soft"),
        VotingClassifier(MEMBERS[1:]),
        StackingClassifier(MEMBERS[1:], RandomForestClassifier(3, random_state=0), cv=2, passthrough=True),
    ):
        model.set_output(transform="pandas").fit(frame, WORDS)
        actual = tensorml.convert(model, executor=executor).transform(frame)
        pd.testing.assert_frame_equal(actual, model.transform(frame))


def test_ensembles_within_ensembles_agree(executor: str):
    inner = VotingClassifier(MEMBERS[1:], voting="soft")
    bagged = BaggingClassifier(inner, n_estimators=2, random_state=0)
    boosted = AdaBoostClassifier(RandomForestClassifier(3, random_state=0, max_depth=3), n_estimators=3)
    model = VotingClassifier([("bagged", bagged), ("boosted", boosted)], voting="soft").fit(X, WORDS)
    assert_same(model, X, executor, rtol=1e-13)


def test_check_names_each_model_inside():
    model = StackingClassifier([*MEMBERS[:2], ("gone", "drop")], cv=2).fit(X, WORDS)
    paths = [step.path for step in tensorml.check(model).steps]
    labels = ["StackingClassifier 'linear'", "StackingClassifier 'tree'", "StackingClassifier final_estimator_"]
    assert paths == [(), *((label,) for label in labels)]
    bagged = tensorml.check(BaggingClassifier(LogisticRegression(), n_estimators=3).fit(X, WORDS))
    assert [step.path for step in bagged.steps] == [(), ("BaggingClassifier estimators_[0]",)]


def test_a_refusal_names_the_way_to_the_model_inside():
    member = GaussianProcessClassifier().fit(X[:50], TWO[:50])
    voting = VotingClassifier([MEMBERS[1], ("process", member)]).fit(X[:50], TWO[:50])
    with pytest.raises(UnsupportedModelError, match=r"VotingClassifier 'process'.*GaussianProcessClassifier"):
        tensorml.convert(voting)
    bagged = BaggingClassifier(make_pipeline(GaussianProcessClassifier()), n_estimators=2).fit(X[:50], TWO[:50])
    with pytest.raises(UnsupportedModelError, match=r"BaggingClassifier estimators_\[0\].*Pipeline step"):
        tensorml.convert(bagged)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_saved_ensembles_answer_as_the_source_does(tmp_path: Path, suffix: str):
    for i, model in enumerate(
        (
            VotingClassifier(MEMBERS[1:], voting="soft", flatten_transform=False).fit(X, WORDS),
            AdaBoostRegressor(n_estimators=5, random_state=0).fit(X, NUMBER),
            IsolationForest(n_estimators=5, random_state=0).fit(X),
            BaggingClassifier(n_estimators=5, random_state=0).fit(X, WORDS),
        )
    ):
        path = tmp_path / f"{i}{suffix}"
        tensorml.convert(model).save(path)
        loaded = tensorml.load(path)
        for method in loaded.methods:
            assert_equal_outputs(getattr(loaded, method)(X), getattr(model, method)(X), method, rtol=1e-13, atol=1e-14)


STAGED = {
    "GradientBoostingClassifier": ("staged_predict", "staged_predict_proba", "staged_decision_function"),
    "HistGradientBoostingClassifier": ("staged_predict", "staged_predict_proba", "staged_decision_function"),
    "AdaBoostClassifier": ("staged_predict", "staged_predict_proba", "staged_decision_function", "staged_score"),
    "AdaBoostRegressor": ("staged_predict", "staged_score"),
    "GradientBoostingRegressor": ("staged_predict",),
}


@pytest.mark.parametrize(
    "model",
    [
        GradientBoostingClassifier(n_estimators=2),
        HistGradientBoostingClassifier(max_iter=2),
        AdaBoostClassifier(n_estimators=2),
        AdaBoostRegressor(n_estimators=2),
        GradientBoostingRegressor(n_estimators=2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_staged_methods_say_that_they_are_not_converted(tmp_path: Path, model: Any):
    converted = tensorml.convert(model.fit(X, TWO))
    converted.save(tmp_path / "model.safetensors")
    names = STAGED[type(model).__name__]
    assert {name for name in dir(model) if name.startswith("staged_")} == set(names)
    words = "is not converted: a converted model computes the result after all stages. Call it on the source model"
    for name in names:
        for one in (converted, tensorml.load(tmp_path / "model.safetensors")):
            assert not hasattr(one, name)
            with pytest.raises(AttributeError, match=f"{name} {words}"):
                getattr(one, name)
    assert f"without {', '.join(names)}: a converted model computes" in str(tensorml.check(model))
