"""Feature selection against scikit-learn: every method, dtype, container and option."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.datasets import make_classification
from sklearn.feature_selection import (
    RFE,
    RFECV,
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
    chi2,
    f_regression,
    mutual_info_classif,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import tensorml
from tensorml.errors import InputError, NotFittedError
from tests.parity import assert_equal_outputs, assert_same

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # the logarithm of a probability of 0

DATA: Any = make_classification(80, 8, n_informative=4, random_state=0)
X, Y = DATA
COUNTS = np.random.default_rng(0).poisson(1.0, size=(80, 8))
LABELS = np.array(["no", "yes"])[Y]
FRAME = pd.DataFrame(X, columns=list("abcdefgh"), index=np.arange(100, 180))
LOGISTIC = LogisticRegression(C=0.5)


def few_mutual(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mutual information with a fixed seed."""
    return mutual_info_classif(x, y, random_state=0)


SELECTORS: dict[str, Any] = {
    "k best": SelectKBest(k=3),
    "k best of mutual information": SelectKBest(few_mutual, k=4),
    "all": SelectKBest(k="all"),
    "percentile": SelectPercentile(percentile=40),
    "percentile of regression": SelectPercentile(f_regression, percentile=30),
    "fpr": SelectFpr(alpha=0.2),
    "fdr": SelectFdr(alpha=0.3),
    "fwe": SelectFwe(alpha=0.3),
    "generic percentile": GenericUnivariateSelect(mode="percentile", param=50),
    "generic k best": GenericUnivariateSelect(mode="k_best", param=2),
    "generic fpr": GenericUnivariateSelect(mode="fpr", param=0.3),
    "generic fdr": GenericUnivariateSelect(mode="fdr", param=0.3),
    "generic fwe": GenericUnivariateSelect(mode="fwe", param=0.3),
    "variance": VarianceThreshold(),
    "variance above one": VarianceThreshold(1.0),
    "from model": SelectFromModel(LOGISTIC),
    "from model of trees": SelectFromModel(DecisionTreeClassifier(random_state=0), threshold="1.1*mean"),
    "from model by median": SelectFromModel(LOGISTIC, threshold="median"),
    "from model by number": SelectFromModel(LOGISTIC, threshold=0.3),
    "from model of at most 2": SelectFromModel(LOGISTIC, max_features=2),
    "from model of some": SelectFromModel(LOGISTIC, max_features=lambda X: X.shape[1] // 4),
    "from model of other norm": SelectFromModel(LOGISTIC, norm_order=2),
    "from a pipeline": SelectFromModel(
        make_pipeline(StandardScaler(), LOGISTIC), importance_getter="named_steps.logisticregression.coef_"
    ),
    "forward": SequentialFeatureSelector(LOGISTIC, n_features_to_select=2, cv=2),
    "backward": SequentialFeatureSelector(LOGISTIC, n_features_to_select=6, direction="backward", cv=2),
    "rfe": RFE(LOGISTIC, n_features_to_select=3),
    "rfe by steps": RFE(LOGISTIC, n_features_to_select=0.5, step=0.3),
    "rfe of trees": RFE(DecisionTreeClassifier(random_state=0), n_features_to_select=3),
    "rfe of a decision": RFE(LinearSVC(random_state=0), n_features_to_select=3),
    "rfecv": RFECV(LOGISTIC, cv=2, min_features_to_select=2),
}


def fitted(selector: Any, x: Any = X, y: Any = Y) -> Any:
    """A copy of the selector, fitted."""
    from sklearn.base import clone

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clone(selector).fit(x, y)


@pytest.mark.parametrize("name", SELECTORS)
def test_selected_columns_and_predictions_are_the_same(executor: str, name: str) -> None:
    model = fitted(SELECTORS[name])
    assert model.get_support().sum() > 0
    rtol = 1e-12 if hasattr(model, "decision_function") or hasattr(model, "predict_proba") else 0.0
    assert_same(model, X, executor, rtol=rtol)
    assert_same(model, X[:1], executor, rtol=rtol)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_the_support_is_known_also_from_a_file(tmp_path: Path, suffix: str) -> None:
    source = fitted(SelectKBest(k=3))
    model = tensorml.convert(source)
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    for known in (model, tensorml.load(path)):
        assert_equal_outputs(known.get_support(), source.get_support(), "get_support")
        assert_equal_outputs(known.get_support(indices=True), source.get_support(indices=True), "get_support")
    assert not hasattr(tensorml.convert(LogisticRegression().fit(X, Y)), "get_support")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("name", ["k best", "variance", "from model", "rfe of trees"])
def test_dtypes_are_kept(executor: str, name: str, dtype: type) -> None:
    source = fitted(SELECTORS[name])
    rows = (X * 3).astype(dtype)
    model = tensorml.convert(source, executor=executor)
    assert_equal_outputs(model.transform(rows), source.transform(rows), name)
    back = source.transform(rows)
    assert_equal_outputs(model.inverse_transform(back), source.inverse_transform(back), name)


@pytest.mark.parametrize("estimator", [LOGISTIC, DecisionTreeClassifier(max_depth=3, random_state=0)])
def test_elimination_predicts_labels_that_are_strings(executor: str, estimator: Any) -> None:
    model = assert_same(fitted(RFE(estimator, n_features_to_select=3), y=LABELS), X, executor, rtol=1e-12)
    np.testing.assert_array_equal(model.classes_, ["no", "yes"])


def test_elimination_around_a_regressor_and_a_pipeline(executor: str) -> None:
    target = X[:, 0] * 2 + X[:, 3]
    assert_same(fitted(RFE(LinearRegression(), n_features_to_select=2), y=target), X, executor, rtol=1e-12)
    assert_same(fitted(RFECV(DecisionTreeRegressor(max_depth=3, random_state=0), cv=2), y=target), X, executor)
    piped = RFE(
        make_pipeline(StandardScaler(), LOGISTIC), importance_getter="named_steps.logisticregression.coef_", step=2
    )
    assert_same(fitted(piped), X, executor, rtol=1e-12)


def test_a_model_fitted_before_selects(executor: str) -> None:
    source = SelectFromModel(fitted(LOGISTIC), prefit=True, threshold=0.2).fit(X, Y)
    assert_same(source, X, executor)


def test_what_takes_nan_passes_it_and_infinity(executor: str) -> None:
    rows = X.copy()
    rows[0], rows[1], rows[2] = np.nan, np.inf, -0.0
    for source in (fitted(VarianceThreshold(0.5)), fitted(SelectFromModel(DecisionTreeClassifier(random_state=0)))):
        actual = tensorml.convert(source, executor=executor).transform(rows)
        expected = source.transform(rows)
        np.testing.assert_array_equal(actual, expected)
        np.testing.assert_array_equal(np.signbit(actual), np.signbit(expected))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_refused_where_the_source_refuses_them(executor: str, value: float) -> None:
    source = fitted(SelectKBest(k=2))
    rows = X.copy()
    rows[3, 1] = value
    with pytest.raises(ValueError, match="contains"):
        source.transform(rows)
    with pytest.raises(InputError, match="Input X contains"):
        tensorml.convert(source, executor=executor).transform(rows)


@pytest.mark.parametrize("name", ["k best", "variance", "from model", "rfe", "forward"])
@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix])
def test_sparse_matrices_stay_sparse(executor: str, name: str, kind: Any) -> None:
    source = fitted(SELECTORS[name], COUNTS)
    model = tensorml.convert(source, executor=executor)
    rows = kind(COUNTS)
    assert_equal_outputs(model.transform(rows), source.transform(rows), name)
    if hasattr(source, "predict"):
        assert_equal_outputs(model.predict(rows), source.predict(rows), name)
        assert_equal_outputs(model.predict_proba(rows), source.predict_proba(rows), name, rtol=1e-12)


def test_a_selector_fitted_on_a_sparse_matrix(executor: str) -> None:
    source = fitted(SelectKBest(chi2, k=3), sparse.csr_matrix(COUNTS))
    assert_same(source, COUNTS, executor)
    with pytest.raises(InputError, match="inverse_transform\\(\\) of a sparse matrix"):
        tensorml.convert(source, executor=executor).inverse_transform(sparse.csr_matrix(COUNTS[:, :3]))


def test_nothing_selected_is_an_array_without_columns(executor: str) -> None:
    source = fitted(SelectFwe(alpha=1e-300))
    model = tensorml.convert(source, executor=executor)
    for rows in (X, sparse.csr_matrix(X)):
        with pytest.warns(UserWarning, match="No features were selected"):
            expected = source.transform(rows)
        assert_equal_outputs(model.transform(rows), expected, "transform")


MIXED = pd.DataFrame(
    {"a": COUNTS[:, 0], "b": X[:, 1], "c": X[:, 2].astype(np.float32), "d": X[:, 3] > 0, "e": COUNTS[:, 4]},
    index=np.arange(80)[::-1],
)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("rows", [FRAME, MIXED, pl.DataFrame(FRAME.to_dict("list"))], ids=["one", "mixed", "polars"])
def test_frames_come_back_as_frames_of_the_same_dtypes(executor: str, library: str, rows: Any) -> None:
    source = fitted(SelectKBest(k=3), rows).set_output(transform=library)
    expected = source.transform(rows)
    actual = tensorml.convert(source, rows, executor=executor).transform(rows)
    assert type(actual) is type(expected)
    if library == "pandas":
        pd.testing.assert_frame_equal(actual, expected)
    else:
        assert actual.schema == expected.schema
        assert actual.equals(expected)


def test_arrays_come_back_as_frames(executor: str) -> None:
    for source in (fitted(RFE(LOGISTIC, n_features_to_select=2)), fitted(SelectKBest(k=2))):
        source.set_output(transform="pandas")
        model = tensorml.convert(source, executor=executor)
        pd.testing.assert_frame_equal(model.transform(X), source.transform(X))


def test_elimination_of_a_frame_predicts_from_what_it_returns(executor: str) -> None:
    source = fitted(RFE(DecisionTreeClassifier(random_state=0), n_features_to_select=3), MIXED)
    source.set_output(transform="pandas")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same(source, MIXED, executor)


def test_a_frame_that_is_returned_is_not_checked_for_nan(executor: str) -> None:
    rows = FRAME.copy()
    rows.iloc[0] = np.nan
    source = fitted(SelectKBest(k=2), FRAME).set_output(transform="pandas")
    pd.testing.assert_frame_equal(tensorml.convert(source, executor=executor).transform(rows), source.transform(rows))
    with pytest.raises(InputError, match="Input X contains NaN"):
        tensorml.convert(source, executor=executor).transform(rows.to_numpy())


def test_columns_of_text_that_are_not_selected_do_not_matter(executor: str) -> None:
    source = fitted(SelectKBest(k=2), FRAME).set_output(transform="pandas")
    dropped = FRAME.columns[~source.get_support()][0]
    kept = FRAME.columns[source.get_support()][0]
    model = tensorml.convert(source, executor=executor)
    rows = FRAME.assign(**{dropped: "text"})
    pd.testing.assert_frame_equal(model.transform(rows), source.transform(rows))
    with pytest.raises(InputError, match="is nullable or does not hold numbers"):
        model.transform(FRAME.assign(**{kept: "text"}))
    with pytest.raises(InputError, match="is nullable or does not hold numbers"):
        model.transform(FRAME.assign(**{kept: FRAME[kept].astype("Float64")}))


def test_other_columns_are_refused(executor: str) -> None:
    for source in (fitted(SelectKBest(k=2), FRAME), fitted(SelectKBest(k=2), FRAME).set_output(transform="pandas")):
        model = tensorml.convert(source, executor=executor)
        with pytest.raises(InputError, match="feature names should match"):
            model.transform(FRAME[FRAME.columns[::-1]])
        with pytest.raises(InputError, match="X has 7 features, but SelectKBest is expecting 8"):
            model.transform(X[:, :7])
        with pytest.raises(InputError, match="different shape than during fitting"):
            model.inverse_transform(X)
        with pytest.raises(InputError, match="0 sample"):
            model.transform(X[:0])


def test_lists_keep_their_own_dtype(executor: str) -> None:
    source = fitted(SelectKBest(k=2))
    model = tensorml.convert(source, executor=executor)
    for rows in (COUNTS.tolist(), X.tolist()):
        assert_equal_outputs(model.transform(rows), source.transform(rows), "transform")
    with pytest.raises(InputError, match="Python objects pass through unchanged"):
        model.transform(X.astype(object))


def test_columns_of_bools_beside_numbers_are_refused_where_they_would_be_objects(executor: str) -> None:
    source = fitted(SelectKBest(k=2), MIXED)
    with pytest.raises(InputError, match="Convert the bools"):
        tensorml.convert(source, executor=executor).transform(MIXED)


def test_a_pipeline_behind_a_selector(executor: str) -> None:
    assert_same(make_pipeline(SelectKBest(k=3), LOGISTIC).fit(X, LABELS), X, executor, rtol=1e-12)


def test_unfitted_selectors_are_refused() -> None:
    with pytest.raises(NotFittedError, match="is not fitted"):
        tensorml.convert(RFE(LOGISTIC))
