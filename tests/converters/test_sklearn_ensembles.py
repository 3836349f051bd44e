"""What ensembles have in common: other libraries inside, sparse input, DataFrames, refusals. Oracle: scikit-learn."""

from __future__ import annotations

import warnings
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
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics.pairwise import linear_kernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import tensorml
from tensorml.errors import InputError, UnsupportedModelError
from tests.converters.test_sklearn_trees import NUMBER, THREE, TWO, WORDS, X
from tests.ensembles import MEMBERS, QUANTILES, xgb
from tests.parity import assert_equal_outputs, assert_same

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning")


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


def test_members_of_lightgbm_and_catboost_agree(executor: str):
    lightgbm, catboost = pytest.importorskip("lightgbm"), pytest.importorskip("catboost")
    light = lightgbm.LGBMClassifier(n_estimators=4, n_jobs=1, verbose=-1)
    cat = catboost.CatBoostClassifier(iterations=4, thread_count=1, verbose=0, allow_writing_files=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LightGBM names the columns itself and warns of rows without names
        for model in (
            VotingClassifier([("light", light), ("cat", cat)], voting="soft").fit(X, WORDS),
            BaggingClassifier(light, n_estimators=2, random_state=0, max_features=3).fit(X, WORDS),
            StackingClassifier([("light", light)], light, cv=2).fit(X, WORDS),
        ):
            assert_same(model, X, executor, rtol=1e-6, atol=1e-9)
        hard = VotingClassifier([("light", light), ("cat", cat)]).fit(X, WORDS)
        with pytest.raises(ValueError, match="inhomogeneous"):
            hard.predict(X)
        with pytest.raises(UnsupportedModelError, match="one of its members predicts several columns"):
            tensorml.convert(hard, executor=executor)


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
        actual: Any = tensorml.convert(model, executor=executor).transform(frame)
        expected: Any = model.transform(frame)
        pd.testing.assert_frame_equal(actual, expected)


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
    refused = SVC(kernel=linear_kernel)
    voting = VotingClassifier([MEMBERS[1], ("machine", refused)]).fit(X[:50], TWO[:50])
    with pytest.raises(UnsupportedModelError, match=r"VotingClassifier 'machine'.*SVC"):
        tensorml.convert(voting)
    bagged = BaggingClassifier(make_pipeline(refused), n_estimators=2).fit(X[:50], TWO[:50])
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
