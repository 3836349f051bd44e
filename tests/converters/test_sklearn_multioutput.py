"""A model for each output. The oracle is scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import tensorml
from tensorml.errors import InputError, UnsupportedModelError
from tests.converters.test_sklearn_trees import NUMBER, THREE, TWO, WORDS, X
from tests.ensembles import LINEAR, check_linear, xgb
from tests.parity import assert_same

TREE = DecisionTreeClassifier(max_depth=4, random_state=0)
LOGISTIC = LogisticRegression()
BITS = np.stack([TWO, THREE == 1, X[:, 0] > X[:, 1]], axis=1).astype(int)
LABELS = np.stack([WORDS, np.where(TWO == 1, "yes, it is", "no")], axis=1)
NUMBERS = np.stack([NUMBER, X[:, 1] * NUMBER, X[:, 0] - X[:, 2]], axis=1)


@pytest.mark.parametrize("y", [BITS, BITS == 1, LABELS, BITS * 7 - 2], ids=["bits", "bools", "words", "ints"])
@pytest.mark.parametrize("inner", [LOGISTIC, LinearSVC(), TREE], ids=["logistic", "svc", "tree"])
def test_classifiers_of_each_output_agree(executor: str, inner: Any, y: np.ndarray) -> None:
    model = MultiOutputClassifier(inner).fit(X, y)
    check_linear(model, executor)
    assert_same(model, X[:1], executor, rtol=1e-9)


@pytest.mark.parametrize("inner", [LinearRegression(), DecisionTreeRegressor(max_depth=4)], ids=["linear", "tree"])
@pytest.mark.parametrize("y", [NUMBERS, NUMBERS[:, :1]], ids=["three", "one"])
def test_regressors_of_each_output_agree(executor: str, inner: Any, y: np.ndarray) -> None:
    check_linear(MultiOutputRegressor(inner).fit(X, y), executor)
    check_linear(RegressorChain(inner).fit(X, y), executor)


def test_float32_predictions_stay_float32(executor: str) -> None:
    model = MultiOutputRegressor(Ridge()).fit(X.astype(np.float32), NUMBERS.astype(np.float32))
    assert model.predict(X.astype(np.float32)).dtype == np.float32
    assert_same(model, X.astype(np.float32), executor, **LINEAR[np.float32])


@pytest.mark.parametrize("order", [None, [2, 0, 1], "random"], ids=str)
def test_orders_of_chains_agree(executor: str, order: Any) -> None:
    check_linear(RegressorChain(Ridge(), order=order, random_state=1).fit(X, NUMBERS), executor)
    check_linear(ClassifierChain(LOGISTIC, order=order, random_state=1).fit(X, BITS), executor)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "decision_function", "list"])
def test_what_is_handed_on_in_a_chain_agrees(executor: str, method: str) -> None:
    chosen: Any = ["decision_function", "predict_proba", "predict"] if method == "list" else method
    model = ClassifierChain(LOGISTIC, chain_method=chosen, cv=3, random_state=0).fit(X, BITS)
    for dtype, limits in LINEAR.items():
        assert_same(model, X.astype(dtype), executor, **limits)
    assert_same(model, X[:1], executor, rtol=1e-9)


@pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning")
def test_chains_of_trees_agree_bit_for_bit(executor: str) -> None:
    for model in (ClassifierChain(TREE), RegressorChain(DecisionTreeRegressor(max_depth=5))):
        y = BITS if isinstance(model, ClassifierChain) else NUMBERS
        fitted = model.fit(X, y)
        limits = {"rtol": 1e-15} if hasattr(fitted, "predict_log_proba") else {}
        assert_same(fitted, X, executor, **limits)
        assert_same(fitted, X.astype(np.float32), executor, **limits)


def test_chains_of_several_classes_predict(executor: str) -> None:
    model = ClassifierChain(TREE).fit(X, np.stack([THREE, TWO], axis=1))
    converted = tensorml.convert(model, executor=executor)
    np.testing.assert_array_equal(converted.predict(X), model.predict(X))
    assert not hasattr(converted, "predict_proba")
    with pytest.raises(ValueError, match="could not broadcast"):
        model.predict_proba(X)


def test_cross_validated_chains_agree(executor: str) -> None:
    check_linear(RegressorChain(Ridge(), cv=3).fit(X, NUMBERS), executor)


def test_boosters_inside_agree(executor: str) -> None:
    rows = X.astype(np.float32)
    assert_same(MultiOutputClassifier(xgb()).fit(rows, BITS), rows, executor, rtol=1e-5)
    model = ClassifierChain(xgb()).fit(rows, BITS)
    assert_same(model, rows, executor, rtol=1e-5, atol=1e-6)


def test_nan_reaches_models_apart_but_no_chain(executor: str) -> None:
    holes = np.where(np.arange(X.size).reshape(X.shape) % 7 == 0, np.nan, X)
    booster = HistGradientBoostingRegressor(max_iter=3, random_state=0)
    assert_same(MultiOutputRegressor(booster).fit(holes, NUMBERS), holes, executor)
    chain = RegressorChain(booster).fit(X, NUMBERS)
    with pytest.raises(ValueError, match="contains NaN"):
        chain.predict(holes)
    with pytest.raises(InputError, match=r"contains NaN.*RegressorChain"):
        tensorml.convert(chain, executor=executor).predict(holes)


def test_sparse_rows_and_frames_agree(executor: str) -> None:
    rows = scipy.sparse.csr_matrix(np.where(X > 1, X, 0))
    for model in (MultiOutputRegressor(Ridge(solver="lsqr")), RegressorChain(Ridge(solver="lsqr"))):
        fitted = model.fit(rows, NUMBERS)
        actual = tensorml.convert(fitted, executor=executor).predict(rows)
        np.testing.assert_allclose(actual, fitted.predict(rows), rtol=1e-9)
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])
    for model in (MultiOutputClassifier(LOGISTIC), ClassifierChain(LOGISTIC)):
        fitted = model.fit(frame, BITS)
        assert_same(fitted, frame, executor, rtol=1e-9)
        with pytest.raises(InputError, match="feature names should match"):
            tensorml.convert(fitted, executor=executor).predict(frame.rename(columns={"c0": "other"}))


def test_sparse_rows_are_refused_where_absent_would_change_its_meaning() -> None:
    rows = X.astype(np.float32)
    model = ClassifierChain(xgb()).fit(rows, BITS)
    with pytest.raises(InputError, match="sparse"):
        tensorml.convert(model).predict(scipy.sparse.csr_matrix(rows))


def test_refusals_name_the_model_inside() -> None:
    for model, name in (
        (RegressorChain(Ridge()), "RegressorChain"),
        (MultiOutputRegressor(Ridge()), "MultiOutputRegressor"),
    ):
        fitted = model.fit(X, NUMBERS)
        steps = tensorml.check(fitted).steps
        assert [step.path for step in steps[1:]] == [(f"{name} estimators_[{i}]",) for i in range(3)]
        fitted.estimators_[1] = type("Odd", (Ridge,), {})().fit(X, NUMBER)
        with pytest.raises(UnsupportedModelError, match=rf"{name} estimators_\[1\].*subclass of sklearn.linear_model"):
            tensorml.convert(fitted)


def test_models_of_several_outputs_inside_are_refused() -> None:
    model = MultiOutputRegressor(Ridge()).fit(X, NUMBERS)
    model.estimators_[2] = Ridge().fit(X, NUMBERS)
    with pytest.raises(UnsupportedModelError, match=r"estimators_\[2\] predicts several columns"):
        tensorml.convert(model)
