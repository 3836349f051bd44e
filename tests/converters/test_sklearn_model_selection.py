"""Searches, thresholds, frozen estimators and transformed targets. The oracle is scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import make_scorer, recall_score
from sklearn.model_selection import (
    FixedThresholdClassifier,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier

import tensorml
from tensorml.errors import InputError, UnsupportedModelError
from tests.converters.test_sklearn_trees import NUMBER, TWO, WORDS, X
from tests.ensembles import LINEAR, check_linear, xgb
from tests.parity import assert_same

pytestmark = [
    pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:The total space of parameters:UserWarning"),
]

LOGISTIC = LogisticRegression()
TREE = DecisionTreeClassifier(max_depth=4, random_state=0)
YES = np.where(TWO == 1, "yes", "no")
POSITIVE = np.exp(NUMBER / np.abs(NUMBER).max())
TARGETS = np.stack([POSITIVE, POSITIVE**2], axis=1)


@pytest.mark.parametrize("search", [HalvingGridSearchCV, HalvingRandomSearchCV])
def test_halving_searches_agree(executor: str, search: Any) -> None:
    model = search(LOGISTIC, {"C": [0.1, 1.0, 10.0]}, cv=2, min_resources=60, random_state=0).fit(X, WORDS)
    check_linear(model, executor)
    assert tensorml.check(model).steps[1].path == (f"{search.__name__} best_estimator_",)


def test_what_a_halving_search_transforms_agrees(executor: str) -> None:
    scaled = HalvingGridSearchCV(
        make_pipeline(StandardScaler(), PCA(2)), {"pca__whiten": [True, False]}, cv=2, min_resources=60, random_state=0
    )
    assert_same(scaled.fit(X), X, executor, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("threshold", ["auto", 0.3, 1 / 3, np.float64(0.7), np.float32(0.6)], ids=str)
@pytest.mark.parametrize("response", ["auto", "predict_proba", "decision_function"])
@pytest.mark.parametrize("positive", [None, "yes", "no"])
def test_fixed_thresholds_agree(executor: str, threshold: Any, response: Any, positive: Any) -> None:
    model = FixedThresholdClassifier(LOGISTIC, threshold=threshold, response_method=response, pos_label=positive)
    model.fit(X, YES)
    for dtype, limits in LINEAR.items():
        assert_same(model, X.astype(dtype), executor, **limits)


def test_scores_on_the_threshold_are_positive(executor: str) -> None:
    p = TREE.fit(X, YES).predict_proba(X)
    for positive, column in (("yes", 1), ("no", 0), (None, 1)):
        for threshold in np.unique(p[:, column]):
            model = FixedThresholdClassifier(TREE, threshold=threshold, pos_label=positive).fit(X, YES)
            assert_same(model, X[:80], "reference", rtol=1e-15)
            model.set_params(threshold=float(threshold))
            assert_same(model, X[:80], "reference", rtol=1e-15)
    assert_same(model, X, executor, rtol=1e-15)


def test_thresholds_meet_float32_scores_as_scikit_learn_lets_them(executor: str) -> None:
    rows = X.astype(np.float32)
    booster = xgb().fit(rows, TWO)
    for score in np.unique(booster.predict_proba(rows)[:, 1])[::20]:
        for threshold in (score, float(score), np.float64(score) + 1e-12, float(np.float64(score) + 1e-12)):
            model = FixedThresholdClassifier(FrozenEstimator(booster), threshold=threshold).fit(rows, TWO)
            converted = tensorml.convert(model, executor="reference")
            np.testing.assert_array_equal(converted.predict(rows), model.predict(rows))
    assert_same(model, rows, executor, rtol=1e-5)


@pytest.mark.parametrize("inner", [LOGISTIC, TREE, LinearSVC()], ids=["logistic", "tree", "svc"])
@pytest.mark.parametrize("positive", ["yes", "no"])
def test_tuned_thresholds_agree(executor: str, inner: Any, positive: str) -> None:
    scorer = make_scorer(recall_score, pos_label=positive)
    model = TunedThresholdClassifierCV(inner, scoring=scorer, cv=3, random_state=0).fit(X, YES)
    check_linear(model, executor)
    model = TunedThresholdClassifierCV(inner, cv=3, thresholds=7, random_state=0).fit(X, TWO)
    check_linear(model, executor)


def test_labels_change_with_the_tuned_threshold(executor: str) -> None:
    model = TunedThresholdClassifierCV(LOGISTIC, cv=3).fit(X, TWO)
    model.best_threshold_ = np.float64(0.9)
    assert (model.predict(X) != model.estimator_.predict(X)).any()
    check_linear(model, executor)


def test_classifiers_fitted_before_agree(executor: str) -> None:
    fitted = LogisticRegression().fit(X, TWO)
    tuned = TunedThresholdClassifierCV(fitted, cv="prefit", refit=False).fit(X, TWO)
    check_linear(tuned, executor)
    check_linear(FixedThresholdClassifier(fitted, threshold=0.2), executor)
    check_linear(FixedThresholdClassifier(FrozenEstimator(fitted), threshold=0.2).fit(X, TWO), executor)


@pytest.mark.parametrize(
    "inner",
    [LOGISTIC, TREE, StandardScaler(), PCA(2), make_pipeline(MinMaxScaler(), LOGISTIC)],
    ids=lambda m: type(m).__name__,
)
def test_frozen_estimators_have_all_methods_of_the_one_inside(executor: str, inner: Any) -> None:
    check_linear(FrozenEstimator(inner.fit(X, WORDS)), executor)


def test_frozen_estimators_inside_others_agree(executor: str) -> None:
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])
    scaler = FrozenEstimator(StandardScaler().set_output(transform="pandas").fit(frame))
    assert_same(make_pipeline(scaler, LOGISTIC).fit(frame, WORDS), frame, executor, rtol=1e-9)
    assert_same(scaler, frame, executor)


def test_the_absent_entries_of_a_sparse_matrix_are_those_of_the_model_inside(executor: str) -> None:
    rows = scipy.sparse.csr_matrix(np.where(X > 1, X, 0))
    inner = XGBClassifier(n_estimators=3, n_jobs=1).fit(rows, TWO)
    for model in (
        FrozenEstimator(inner),
        FixedThresholdClassifier(FrozenEstimator(inner), threshold=0.4).fit(rows, TWO),
    ):
        np.testing.assert_array_equal(tensorml.convert(model, executor=executor).predict(rows), model.predict(rows))


@pytest.mark.parametrize("inner", [Ridge(), DecisionTreeRegressor(max_depth=4)], ids=["ridge", "tree"])
@pytest.mark.parametrize("y", [POSITIVE, TARGETS, TARGETS[:, :1]], ids=["N", "N, 2", "N, 1"])
@pytest.mark.parametrize("transformer", [StandardScaler(), MinMaxScaler(), None], ids=["standard", "minmax", "none"])
def test_transformed_targets_agree(executor: str, transformer: Any, inner: Any, y: np.ndarray) -> None:
    check_linear(TransformedTargetRegressor(inner, transformer=transformer).fit(X, y), executor)


@pytest.mark.parametrize(
    "pair", [(np.log, np.exp), (np.log1p, np.expm1), (np.sqrt, np.square)], ids=["log", "log1p", "sqrt"]
)
@pytest.mark.parametrize("y", [POSITIVE, TARGETS], ids=["N", "N, 2"])
def test_targets_under_numpy_functions_agree(executor: str, pair: Any, y: np.ndarray) -> None:
    check_linear(TransformedTargetRegressor(Ridge(), func=pair[0], inverse_func=pair[1]).fit(X, y), executor)


def test_a_python_function_of_the_target_is_refused() -> None:
    model = TransformedTargetRegressor(LinearRegression(), func=np.log, inverse_func=lambda y: np.exp(y)).fit(
        X, POSITIVE
    )
    with pytest.raises(UnsupportedModelError, match="TransformedTargetRegressor transformer_"):
        tensorml.convert(model)


def test_rows_of_other_columns_are_refused_by_the_model_inside() -> None:
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])
    models = (
        FrozenEstimator(LOGISTIC.fit(frame, TWO)),
        FixedThresholdClassifier(LOGISTIC).fit(frame, TWO),
        TransformedTargetRegressor(Ridge(), transformer=StandardScaler()).fit(frame, NUMBER),
    )
    for model in models:
        converted = tensorml.convert(model)
        with pytest.raises(InputError, match="feature names should match"):
            converted.predict(frame.rename(columns={"c0": "other"}))
        with pytest.raises(InputError, match="is expecting"):
            converted.predict(X[:, 1:])


def test_refusals_name_the_model_inside() -> None:
    odd = type("Odd", (LogisticRegression,), {})().fit(X, TWO)
    for model, path in (
        (FrozenEstimator(odd), "FrozenEstimator estimator"),
        (FixedThresholdClassifier(odd), "FixedThresholdClassifier estimator_"),
        (
            TunedThresholdClassifierCV(odd, cv="prefit", refit=False).fit(X, TWO),
            "TunedThresholdClassifierCV estimator_",
        ),
    ):
        with pytest.raises(UnsupportedModelError, match=path):
            tensorml.convert(model)
