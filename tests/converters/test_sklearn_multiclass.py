"""Classifiers of many classes made of classifiers of two. The oracle is scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier

import tensorml
from tensorml.errors import InputError, UnsupportedModelError
from tests.converters.test_sklearn_trees import THREE, TWO, WORDS, X
from tests.ensembles import LINEAR, check_linear, xgb
from tests.parity import assert_same

TREE = DecisionTreeClassifier(max_depth=4, random_state=0)
LOGISTIC = LogisticRegression()
SEVERAL = np.stack([TWO, THREE == 1, X[:, 0] > X[:, 1]], axis=1).astype(int)
INNER = [LOGISTIC, TREE, LinearRegression()]
NAMES = ["logistic", "tree", "regression"]
BINARY = [TWO, np.where(TWO == 1, "yes", "no"), TWO == 1]

pytestmark = pytest.mark.filterwarnings("ignore:Liblinear failed to converge", "ignore:Label .* is present in all")


@pytest.mark.parametrize("inner", INNER, ids=NAMES)
@pytest.mark.parametrize("y", [WORDS, BINARY[1], SEVERAL], ids=["words", "yn", "many"])
def test_one_versus_rest_agrees(executor: str, inner: Any, y: np.ndarray) -> None:
    check_linear(OneVsRestClassifier(inner).fit(X, y), executor)


@pytest.mark.parametrize("inner", [LinearSVC(), make_pipeline(StandardScaler(), LOGISTIC)], ids=["svc", "pipeline"])
def test_any_model_inside_agrees(executor: str, inner: Any) -> None:
    for model in (OneVsRestClassifier(inner), OneVsOneClassifier(inner), OutputCodeClassifier(inner, random_state=0)):
        assert_same(model.fit(X, WORDS), X, executor, rtol=1e-9)


@pytest.mark.parametrize("y", [THREE * 3 - 1, BINARY[0], BINARY[2]], ids=["ints", "0/1", "bool"])
def test_labels_of_any_type_agree(executor: str, y: np.ndarray) -> None:
    for model in (OneVsRestClassifier(LOGISTIC), OneVsOneClassifier(LOGISTIC)):
        assert_same(model.fit(X, y), X, executor, rtol=1e-9)


def test_one_row_agrees(executor: str) -> None:
    for model in (
        OneVsRestClassifier(LOGISTIC),
        OneVsOneClassifier(LOGISTIC),
        OutputCodeClassifier(LOGISTIC, random_state=0),
    ):
        assert_same(model.fit(X, WORDS), X[:1], executor, rtol=1e-9)


def test_equal_scores_go_to_the_class_that_scikit_learn_takes(executor: str) -> None:
    stump = DecisionTreeClassifier(max_depth=1, random_state=0)
    model = OneVsRestClassifier(stump).fit(X, WORDS)
    p = np.stack([base.predict_proba(X)[:, 1] for base in model.estimators_], axis=1)
    model.estimators_[1] = model.estimators_[0]
    assert len(np.unique(p, axis=0)) < len(X)
    assert_same(model, X, executor)


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning")
def test_a_row_of_which_no_class_is_probable_agrees(executor: str) -> None:
    deep = DecisionTreeClassifier(random_state=1)
    model = OneVsRestClassifier(deep).fit(X[:60], WORDS[:60])
    total = sum(base.predict_proba(X)[:, 1] for base in model.estimators_)
    assert (total == 0).any()
    assert_same(model, X, executor)


def test_a_label_that_all_rows_have_or_none_is_constant(executor: str) -> None:
    y = np.stack([TWO, np.ones(len(X), int), np.zeros(len(X), int)], axis=1)
    for inner in (LOGISTIC, TREE):
        assert_same(OneVsRestClassifier(inner).fit(X, y), X, executor, rtol=1e-9)
    constant_first = OneVsRestClassifier(LOGISTIC).fit(X, y[:, [1, 0, 2]])
    assert_same(constant_first, X, executor, rtol=1e-9)


def test_a_method_that_fails_in_one_model_is_absent(executor: str) -> None:
    y = np.stack([np.ones(len(X), int), TWO], axis=1)
    model = OneVsRestClassifier(TREE).fit(X, y)
    with pytest.raises(AttributeError):
        model.decision_function(X)
    converted = tensorml.convert(model, executor=executor)
    assert not hasattr(converted, "decision_function")
    np.testing.assert_array_equal(converted.predict(X), model.predict(X))


def test_one_class_agrees(executor: str) -> None:
    model = OneVsRestClassifier(LOGISTIC).fit(X, np.full(len(X), "only"))
    assert_same(model, X, executor)


def test_sparse_labels_give_sparse_predictions(executor: str) -> None:
    model = OneVsRestClassifier(TREE).fit(X, scipy.sparse.csr_matrix(SEVERAL))
    assert scipy.sparse.issparse(model.predict(X))
    assert_same(model, X, executor)


@pytest.mark.parametrize("inner", INNER, ids=NAMES)
@pytest.mark.parametrize("y", [WORDS, (X[:, 0] * 3).astype(int) % 5, BINARY[1]], ids=["words", "five", "yn"])
def test_one_versus_one_agrees(executor: str, inner: Any, y: np.ndarray) -> None:
    check_linear(OneVsOneClassifier(inner).fit(X, y), executor)


@pytest.mark.parametrize("inner", [LOGISTIC, TREE], ids=["logistic", "tree"])
@pytest.mark.parametrize("size", [0.7, 4])
def test_output_codes_agree(executor: str, inner: Any, size: float) -> None:
    for y in (WORDS, (X[:, 0] * 3).astype(int) % 5):
        model = OutputCodeClassifier(inner, code_size=size, random_state=3).fit(X, y)
        for dtype, limits in LINEAR.items():
            assert_same(model, X.astype(dtype), executor, **limits)


def test_equally_near_codes_go_to_the_first(executor: str) -> None:
    model = OutputCodeClassifier(TREE, code_size=2, random_state=0).fit(X, WORDS)
    model.code_book_ = np.array(model.code_book_)
    model.code_book_[1] = model.code_book_[0]
    assert_same(model, X, executor)
    assert model.classes_[1] not in model.predict(X)


def test_boosters_inside_agree(executor: str) -> None:
    y = THREE
    rows = X.astype(np.float32)
    for model in (OneVsRestClassifier(xgb()), OneVsOneClassifier(xgb()), OutputCodeClassifier(xgb(), random_state=0)):
        assert_same(model.fit(rows, y), rows, executor, rtol=1e-5, atol=1e-7)


def test_nan_reaches_models_that_take_it(executor: str) -> None:
    holes = np.where(np.arange(X.size).reshape(X.shape) % 7 == 0, np.nan, X)
    booster = HistGradientBoostingClassifier(max_iter=3, random_state=0)
    for model in (OneVsRestClassifier(booster), OneVsOneClassifier(booster)):
        assert_same(model.fit(holes, WORDS), holes, executor, rtol=1e-6)
    with pytest.raises(InputError, match="contains NaN"):
        tensorml.convert(OneVsRestClassifier(LOGISTIC).fit(X, WORDS)).predict(holes)


def test_sparse_rows_and_frames_agree() -> None:
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])
    for cls in (OneVsRestClassifier, OneVsOneClassifier):
        model = cls(LOGISTIC).fit(scipy.sparse.csr_matrix(X), WORDS)
        converted = tensorml.convert(model)
        np.testing.assert_array_equal(
            converted.predict(scipy.sparse.csr_matrix(X)), model.predict(scipy.sparse.csr_matrix(X))
        )
        framed = cls(LOGISTIC).fit(frame, WORDS)
        assert_same(framed, frame, rtol=1e-9)
        with pytest.raises(InputError, match="feature names should match"):
            tensorml.convert(framed).predict(frame.rename(columns={"c0": "other"}))


def test_what_an_entry_that_is_not_stored_means_is_the_models_own() -> None:
    holes = np.where(np.arange(X.size).reshape(X.shape) % 3 == 0, 0, X)
    model = OneVsRestClassifier(XGBClassifier(n_estimators=3, n_jobs=1)).fit(holes, THREE)
    rows = scipy.sparse.csr_matrix(holes)
    np.testing.assert_array_equal(tensorml.convert(model).predict(rows), model.predict(rows))
    assert (model.predict_proba(rows) != model.predict_proba(holes)).any()


def test_refusals_name_the_model_inside() -> None:
    model = OneVsOneClassifier(make_pipeline(StandardScaler(), LOGISTIC)).fit(X, WORDS)
    model.estimators_[2].steps[0] = ("odd", type("Odd", (StandardScaler,), {})().fit(X))
    with pytest.raises(UnsupportedModelError, match=r"OneVsOneClassifier estimators_\[2\] > Pipeline step 'odd'"):
        tensorml.convert(model)
    report = tensorml.check(OneVsRestClassifier(LOGISTIC).fit(X, WORDS))
    assert [step.path for step in report.steps][1:] == [(f"OneVsRestClassifier estimators_[{i}]",) for i in range(3)]


def test_models_of_several_numbers_are_refused() -> None:
    model = OneVsRestClassifier(DecisionTreeRegressor(max_depth=2)).fit(X, WORDS)
    model.estimators_[0] = DecisionTreeRegressor(max_depth=2).fit(X, X[:, :2])
    with pytest.raises(UnsupportedModelError, match="it returns 2 columns"):
        tensorml.convert(model)
