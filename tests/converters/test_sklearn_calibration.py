"""Calibrated probabilities. The oracle is scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

import tensorml
from tensorml.errors import InputError, UnsupportedModelError
from tensorml_sklearn.describe import VERSION
from tests.converters.test_sklearn_trees import TWO, WORDS, X
from tests.ensembles import LINEAR, check_linear, xgb
from tests.parity import assert_same

pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in matmul:RuntimeWarning")  # of some BLAS

LOGISTIC = LogisticRegression()
TREE = DecisionTreeClassifier(max_depth=4, random_state=0)
METHODS = ["sigmoid", "isotonic", *(["temperature"] if VERSION >= (1, 8) else [])]
INNER = [LOGISTIC, LinearSVC(), TREE, make_pipeline(StandardScaler(), LinearSVC())]
NAMES = ["logistic", "svc", "tree", "pipeline"]
temperature = pytest.mark.skipif(VERSION < (1, 8), reason="scikit-learn calibrates by temperature from 1.8 on")


@pytest.mark.parametrize("y", [TWO, np.where(TWO == 1, "b", "a"), WORDS], ids=["two", "ba", "words"])
@pytest.mark.parametrize("inner", INNER, ids=NAMES)
@pytest.mark.parametrize("method", METHODS)
def test_calibrated_probabilities_agree(executor: str, method: Any, inner: Any, y: np.ndarray) -> None:
    model = CalibratedClassifierCV(inner, method=method, cv=2).fit(X, y)
    for dtype, limits in LINEAR.items():
        assert_same(model, X.astype(dtype), executor, **limits)
    assert_same(model, X[:1], executor, rtol=1e-9)


@pytest.mark.parametrize("ensemble", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_one_estimator_or_one_for_each_fold_agree(executor: str, method: Any, ensemble: bool) -> None:
    model = CalibratedClassifierCV(LOGISTIC, method=method, cv=3, ensemble=ensemble).fit(X, WORDS)
    assert len(model.calibrated_classifiers_) == (3 if ensemble else 1)
    check_linear(model, executor)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("y", [TWO, WORDS], ids=["two", "words"])
def test_estimators_fitted_before_agree(executor: str, method: Any, y: np.ndarray) -> None:
    model = CalibratedClassifierCV(FrozenEstimator(LOGISTIC.fit(X, y)), method=method).fit(X, y)
    check_linear(model, executor)
    assert [step.path[-1] for step in tensorml.check(model).steps[1:]] == [
        "CalibratedClassifierCV calibrated_classifiers_[0]",
        "FrozenEstimator estimator",
    ]


def test_float32_scores_are_mapped_in_the_dtype_that_scikit_learn_maps_them_in(executor: str) -> None:
    rows = X.astype(np.float32)
    for method in METHODS:
        for y in (TWO, np.unique(WORDS, return_inverse=True)[1]):
            model = CalibratedClassifierCV(xgb(), method=method, cv=2).fit(rows, y)
            assert_same(model, rows, executor, rtol=1e-5, atol=1e-6)
            linear = CalibratedClassifierCV(LOGISTIC, method=method, cv=2).fit(rows, y)
            assert_same(linear, rows, executor, **LINEAR[np.float32])


def test_a_row_that_no_calibrator_gives_a_chance_is_uniform(executor: str) -> None:
    model = CalibratedClassifierCV(DecisionTreeClassifier(random_state=0), method="isotonic", cv=2).fit(X, WORDS)
    for part in model.calibrated_classifiers_:
        for calibrator in part.calibrators:
            calibrator.f_.y[:] = 0
            calibrator.f_._y[:] = 0
            calibrator.y_thresholds_ = np.zeros_like(calibrator.y_thresholds_)
    np.testing.assert_array_equal(model.predict_proba(X), 1 / 3)
    assert_same(model, X, executor, rtol=1e-15)


def test_scores_beyond_those_of_the_fit_are_clipped(executor: str) -> None:
    model = CalibratedClassifierCV(LinearSVC(), method="isotonic", cv=2).fit(X, TWO)
    assert_same(model, X * 100, executor, rtol=1e-9)


def test_a_class_that_a_fold_did_not_see_is_improbable(executor: str) -> None:
    folds = [(np.flatnonzero(np.not_equal(WORDS, WORDS[0])), np.arange(len(X))), (np.arange(len(X)), np.arange(len(X)))]
    model = CalibratedClassifierCV(TREE, cv=folds).fit(X, WORDS)
    assert [len(part.estimator.classes_) for part in model.calibrated_classifiers_] == [2, 3]
    assert_same(model, X, executor, rtol=1e-12)


@temperature
def test_rows_that_look_like_probabilities_are_refused_where_the_batch_decides() -> None:
    model: Any = CalibratedClassifierCV(FrozenEstimator(LogisticRegression().fit(X, WORDS)), method="temperature")
    model.fit(X, WORDS)
    inner = model.calibrated_classifiers_[0].estimator.estimator
    inner.coef_ = np.zeros_like(inner.coef_)
    inner.intercept_ = np.array([0.5, 0.25, 0.25])
    with pytest.raises(InputError, match="depends on the other rows of the batch"):
        tensorml.convert(model).predict(X)


def test_nan_reaches_models_that_take_it(executor: str) -> None:
    holes = np.where(np.arange(X.size).reshape(X.shape) % 7 == 0, np.nan, X)
    booster = HistGradientBoostingClassifier(max_iter=3, random_state=0)
    assert_same(CalibratedClassifierCV(booster, cv=2).fit(holes, WORDS), holes, executor, rtol=1e-9)
    with pytest.raises(InputError, match="contains NaN"):
        tensorml.convert(CalibratedClassifierCV(LOGISTIC, cv=2).fit(X, WORDS)).predict(holes)


def test_sparse_rows_and_frames_agree(executor: str) -> None:
    rows = scipy.sparse.csr_matrix(np.where(X > 1, X, 0))
    model = CalibratedClassifierCV(LOGISTIC, cv=2).fit(rows, WORDS)
    actual = tensorml.convert(model, executor=executor).predict_proba(rows)
    np.testing.assert_allclose(actual, model.predict_proba(rows), rtol=1e-9)
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])
    framed = CalibratedClassifierCV(RandomForestClassifier(4, random_state=0), cv=2).fit(frame, WORDS)
    assert_same(framed, frame, executor, rtol=1e-12)
    with pytest.raises(InputError, match="feature names should match"):
        tensorml.convert(framed, executor=executor).predict(frame.rename(columns={"c0": "other"}))


def test_refusals_name_the_model_inside() -> None:
    model = CalibratedClassifierCV(LOGISTIC, cv=2).fit(X, WORDS)
    model.calibrated_classifiers_[1].estimator = type("Odd", (LogisticRegression,), {})().fit(X, WORDS)
    with pytest.raises(UnsupportedModelError, match=r"calibrated_classifiers_\[1\].*is a subclass of"):
        tensorml.convert(model)
