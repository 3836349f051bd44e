from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  offers IterativeImputer
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics.pairwise import nan_euclidean_distances
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from sklearn.tree import DecisionTreeRegressor

import tensorml
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tests.parity import assert_equal_outputs, assert_same

EAGER = pytest.mark.parametrize("executor", ["reference", "torch"])  # scripts of the same rules are tried further down
RNG = np.random.default_rng(0)
NAN = float("nan")
FULL = RNG.normal(size=(150, 5))
FULL[:, 4] = FULL[:, 0] - FULL[:, 1] + 0.1 * FULL[:, 4]


def with_holes(marker: float, columns: int = 5) -> np.ndarray:
    """Rows that each have a value in the first column or the second; columns from `columns` on are empty."""
    holes = RNG.random(FULL.shape) < 0.25
    holes[:, 1] &= ~holes[:, 0]
    holes[:, columns:] = True
    return np.where(holes, marker, np.round(FULL, 3))


X = with_holes(NAN)
EMPTY = with_holes(NAN, 4)
ROUNDING = {"float64": 1e-9, "float32": 1e-4, "int64": 1e-9}  # products in another order, then distances
NEIGHBORS = {
    "plain": KNNImputer(),
    "one": KNNImputer(n_neighbors=1),
    "by distance": KNNImputer(n_neighbors=4, weights="distance"),
    "all": KNNImputer(n_neighbors=1000),
    "with indicator": KNNImputer(add_indicator=True),
    "with empty columns": KNNImputer(add_indicator=True, keep_empty_features=True),
}
CHAINS = {
    **{
        order: IterativeImputer(max_iter=2, imputation_order=order, random_state=0)
        for order in ("ascending", "descending", "roman", "arabic", "random")
    },
    "bounded": IterativeImputer(max_iter=2, min_value=-0.5, max_value=[0.1, 0.2, 0.3, 0.4, 0.5], add_indicator=True),
    "with empty columns": IterativeImputer(max_iter=2, keep_empty_features=True, add_indicator=True),
    "from a constant": IterativeImputer(max_iter=2, initial_strategy="constant", fill_value=0.25),
    "from a constant with empty columns": IterativeImputer(
        max_iter=2, initial_strategy="constant", keep_empty_features=True
    ),
    "of complete columns too": IterativeImputer(max_iter=2, initial_strategy="median", skip_complete=True),
    "of few neighbours": IterativeImputer(Ridge(), max_iter=2, n_nearest_features=2, random_state=0),
    "of trees": IterativeImputer(DecisionTreeRegressor(max_depth=4, random_state=0), max_iter=2),
    "of pipelines": IterativeImputer(make_pipeline(StandardScaler(), LinearRegression()), max_iter=2),
    "without rounds": IterativeImputer(max_iter=0),
}


def fit(model: Any, x: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clone(model).fit(x)


def check(source: Any, x: np.ndarray, executor: str, rounding: float) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipping features without any observed")
        model = assert_same(source, x, executor, rtol=rounding, atol=rounding)
    np.testing.assert_array_equal(model.get_feature_names_out(), source.get_feature_names_out())


@EAGER
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("fit_dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NEIGHBORS)
def test_neighbours_impute_the_same_within_rounding(executor: str, name: str, fit_dtype: str, dtype: str) -> None:
    for seen in (X, EMPTY):
        source = fit(NEIGHBORS[name], seen.astype(fit_dtype))
        rows = np.concatenate([seen[::2] * 0.9, FULL[:3], X[:5]])
        check(source, rows.astype(dtype), executor, ROUNDING[dtype])


def test_a_row_without_neighbours_gets_the_mean(executor: str) -> None:
    seen = np.array([[1.0, NAN, 3], [2.0, NAN, 5], [NAN, 4.0, NAN], [NAN, 6.0, 7]])
    rows = np.array([[NAN, NAN, NAN], [NAN, 4.0, NAN], [1.0, NAN, NAN], [1.0, NAN, 3.0]])
    for weights in ("uniform", "distance"):
        check(KNNImputer(n_neighbors=2, weights=weights).fit(seen), rows, executor, 1e-12)


def test_neighbours_at_no_distance_count_alone(executor: str) -> None:
    seen = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 5.0], [1.0, 0.0, 50.0], [2.0, 4.0, 9.0]])
    rows = np.array([[0.0, 0.0, NAN], [1.0, NAN, NAN]])
    check(KNNImputer(n_neighbors=3, weights="distance").fit(seen), rows, executor, 1e-12)


@pytest.mark.parametrize("marker", [-1.0, 0, -9])
def test_neighbours_and_chains_know_missing_values_by_a_number(executor: str, marker: float) -> None:
    x = with_holes(marker)
    for model in (KNNImputer(missing_values=marker), IterativeImputer(missing_values=marker, max_iter=2)):
        source = fit(model, x)
        check(source, x, executor, 1e-9)
        if isinstance(marker, int):
            whole = np.where(x == marker, marker, np.round(x * 4) + 100).astype(np.int64)
            exact = model.set_params(n_neighbors=999) if isinstance(model, KNNImputer) else model  # integers have ties
            check(fit(exact, whole), whole, executor, 1e-9)
        with pytest.raises(InputError, match="contains NaN"):
            tensorml.convert(source, executor=executor).transform(X)


@EAGER
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CHAINS)
def test_chains_impute_the_same_within_rounding(executor: str, name: str, dtype: str) -> None:
    for seen in (X, EMPTY):
        source = fit(CHAINS[name], seen)
        check(
            source,
            np.concatenate([seen[::2] * 0.9, np.where(np.isnan(seen[:5]), NAN, FULL[:5])]).astype(dtype),
            executor,
            ROUNDING[dtype],
        )


def test_a_row_that_misses_all_columns_is_refused_by_chains(executor: str) -> None:
    source = fit(IterativeImputer(max_iter=2), X)
    alone, among = np.full((1, 5), NAN), np.concatenate([np.full((1, 5), NAN), X[:1]])
    assert (source.transform(alone)[0] != source.transform(among)[0]).any()
    with pytest.raises(InputError, match="a row misses all columns; what becomes of it depends on the other rows"):
        tensorml.convert(source, executor=executor).transform(among)


def test_chains_that_draw_are_refused() -> None:
    source = fit(IterativeImputer(sample_posterior=True, max_iter=1), X)
    with pytest.raises(UnsupportedModelError, match="sample_posterior=True draws random values"):
        tensorml.convert(source)


def test_a_link_of_a_chain_that_does_not_convert_is_named() -> None:
    class Own(LinearRegression):
        """A model that nobody knows."""

    source = fit(IterativeImputer(Own(), max_iter=1), X)
    with pytest.raises(UnsupportedModelError, match=r"imputation_sequence_\[0\].*Own"):
        tensorml.convert(source)
    assert "of feature" in str(tensorml.check(source))


def test_distances_and_weights_of_ones_own_are_refused() -> None:
    source = KNNImputer(weights=lambda d: d).fit(X)
    with pytest.raises(UnsupportedModelError, match="weights is a Python function"):
        tensorml.convert(source)
    source = KNNImputer(metric=lambda a, b, missing_values: 1.0).fit(X)
    with pytest.raises(UnsupportedModelError, match="metric is a Python function"):
        tensorml.convert(source)


@pytest.mark.parametrize("model", [KNNImputer(), IterativeImputer(max_iter=1), MissingIndicator()], ids=str)
def test_infinity_widths_no_rows_sparse_rows_and_unfitted_models_are_refused(executor: str, model: Any) -> None:
    with pytest.raises(NotFittedError):
        tensorml.convert(clone(model))
    converted = tensorml.convert(fit(model, X), executor=executor)
    with pytest.raises(InputError, match="infinity"):
        converted.transform(np.full((1, 5), np.inf))
    with pytest.raises(InputError, match=re.escape("X has 3 features")):
        converted.transform(X[:, :3])
    with pytest.raises(InputError, match="minimum of 1"):
        converted.transform(X[:0])
    with pytest.raises(InputError, match="sparse matrix"):
        converted.transform(csr_matrix(np.nan_to_num(X)))


def test_memory_is_bounded_and_tiles_change_nothing() -> None:
    source = KNNImputer().fit(X)
    rows = np.concatenate([X * 0.99] * 20)
    model = tensorml.convert(source, executor="torch", memory=2**20)
    np.testing.assert_allclose(model.transform(rows), source.transform(rows), rtol=1e-9)


INDICATORS = {
    "plain": MissingIndicator(),
    "of all columns": MissingIndicator(features="all"),
    "of all columns, dense": MissingIndicator(features="all", sparse=False),
    "that takes new ones": MissingIndicator(error_on_new=False),
}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("name", INDICATORS)
def test_indicators_are_the_same(executor: str, name: str, dtype: str) -> None:
    seen = X.copy()
    seen[:, 2] = FULL[:, 2]
    source = clone(INDICATORS[name]).fit(seen)
    check(source, (X if name == "that takes new ones" else seen).astype(dtype), executor, 0)
    check(source, FULL.astype(dtype), executor, 0)


def test_indicators_know_missing_values_by_a_number(executor: str) -> None:
    whole = RNG.integers(-1, 3, (50, 4))
    for marker in (-1, 2.0, 99):
        for dtype in (np.int64, np.int8, np.float32):
            check(MissingIndicator(missing_values=marker, features="all").fit(whole), whole.astype(dtype), executor, 0)
    check(MissingIndicator(features="all").fit(whole), whole, executor, 0)


def test_missing_values_in_new_columns_are_refused(executor: str) -> None:
    seen = X.copy()
    seen[:, 2] = FULL[:, 2]
    source = MissingIndicator().fit(seen)
    with pytest.raises(ValueError, match="have no missing values in fit"):
        source.transform(X)
    with pytest.raises(InputError, match=r"Some of the features \[2\] have missing values in transform but"):
        tensorml.convert(source, executor=executor).transform(X)


def test_sparse_indicators_masks_and_bools_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="its result is a sparse matrix in CSC format"):
        tensorml.convert(MissingIndicator(sparse=True).fit(X))
    inside = SimpleImputer(add_indicator=True).fit(X).indicator_
    with pytest.raises(UnsupportedModelError, match="it was fitted on a mask inside an imputer"):
        tensorml.convert(inside)
    with pytest.raises(InputError, match="does not support data with dtype bool"):
        tensorml.convert(MissingIndicator().fit(X)).transform(FULL > 0)
    words = MissingIndicator(missing_values="a").fit(np.array([["a"], ["b"]], object))
    with pytest.raises(UnsupportedModelError, match="missing_values='a' is not a number"):
        tensorml.convert(words)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_dataframes_come_out_where_they_are_asked_for(executor: str, library: str) -> None:
    frame = pd.DataFrame(X, columns=list("abcde"))
    for model in (KNNImputer(add_indicator=True), IterativeImputer(max_iter=1), MissingIndicator()):
        source = fit(model, frame).set_output(transform=library)
        actual, expected = tensorml.convert(source, executor=executor).transform(frame), source.transform(frame)
        assert_equal_outputs(actual, expected, "transform", 1e-9, 1e-9)


WORDS = RNG.choice(["a", "b", "c"], (80, 2), p=[0.6, 0.3, 0.1]).astype(object)
HOLES = WORDS.copy()
HOLES[::6, 0] = NAN
HOLES[::5, 1] = NAN
NONE = np.where(HOLES != HOLES, None, HOLES)
Y = RNG.integers(0, 2, 80)
ENCODERS = [OneHotEncoder(handle_unknown="ignore"), OrdinalEncoder(), TargetEncoder(target_type="binary")]
STRINGS = {
    "the most frequent": (SimpleImputer(strategy="most_frequent"), HOLES),
    "a constant": (SimpleImputer(strategy="constant", fill_value="?"), HOLES),
    "the default constant": (SimpleImputer(strategy="constant"), HOLES),
    "for None": (SimpleImputer(strategy="most_frequent", missing_values=None), NONE),
    "for a word": (SimpleImputer(strategy="most_frequent", missing_values="c"), WORDS),
    "for pandas.NA": (SimpleImputer(strategy="constant", missing_values=pd.NA, fill_value="?"), HOLES),
    "of an empty column": (SimpleImputer(strategy="most_frequent"), np.column_stack([HOLES, np.full(80, NAN)])),
    "of an empty column that stays": (
        SimpleImputer(strategy="constant", fill_value="?", keep_empty_features=True),
        np.column_stack([HOLES, np.full(80, NAN)]),
    ),
}


@EAGER
@pytest.mark.parametrize("encoder", ENCODERS, ids=str)
@pytest.mark.parametrize("name", STRINGS)
def test_strings_are_imputed_before_their_encoder(executor: str, name: str, encoder: Any) -> None:
    imputer, x = STRINGS[name]
    source = make_pipeline(clone(imputer), clone(encoder))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipping features without any observed")
        source.fit(x.astype(object), Y)
        expected = source.transform(x.astype(object))
    actual = tensorml.convert(source, executor=executor).transform(x.astype(object))
    assert_equal_outputs(actual, expected, "transform")


def test_columns_of_strings_and_categories_are_imputed_in_dataframes(executor: str) -> None:
    frame = pd.DataFrame({"word": HOLES[:, 0], "kind": pd.Categorical(HOLES[:, 1]), "part": X[:80, 0], "whole": Y})
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    parts = ColumnTransformer([("words", words, ["word", "kind"]), ("numbers", numbers, ["part", "whole"])])
    source = make_pipeline(parts, LogisticRegression()).fit(frame, Y)
    assert_same(source, frame, executor, rtol=1e-9)
    table = pl.DataFrame({"word": NONE[:, 0].tolist(), "whole": Y.tolist()})
    imputer = SimpleImputer(strategy="most_frequent", missing_values=None)
    source = make_pipeline(imputer, OneHotEncoder(sparse_output=False)).fit(table)
    assert_equal_outputs(tensorml.convert(source, executor=executor).transform(table), source.transform(table), "")


def test_nan_is_refused_where_a_word_marks_what_is_missing() -> None:
    source = make_pipeline(SimpleImputer(strategy="most_frequent", missing_values="c"), OrdinalEncoder()).fit(WORDS)
    with pytest.raises(ValueError, match="contains NaN"):
        source.transform(HOLES)
    with pytest.raises(InputError, match="contains NaN, which is not what marks missing values"):
        tensorml.convert(source).transform(HOLES)


def test_imputed_strings_alone_or_with_indicators_are_refused() -> None:
    source = SimpleImputer(strategy="most_frequent").fit(HOLES)
    with pytest.raises(
        UnsupportedModelError, match=r"transform returns an array of objects\. Convert it with the encoder"
    ):
        tensorml.convert(source)
    marked = make_pipeline(SimpleImputer(strategy="most_frequent", add_indicator=True), OrdinalEncoder()).fit(HOLES)
    with pytest.raises(UnsupportedModelError, match="it adds indicators to an array of objects"):
        tensorml.convert(marked)
    numbers = make_pipeline(SimpleImputer(strategy="most_frequent"), StandardScaler()).fit(X.astype(object))
    with pytest.raises(InputError, match="does not hold numbers"):
        tensorml.convert(numbers)


def test_a_chain_of_neighbours_converts_with_them(executor: str) -> None:
    source = fit(IterativeImputer(KNeighborsRegressor(3), max_iter=1), X)
    check(source, X[:20], executor, 1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_among_donors_at_equal_distances_the_mean_is_one_that_the_source_could_give(executor: str, dtype: type) -> None:
    """Values are powers of two: a mean of two tells which; their squares take away exact numbers."""
    random = np.random.default_rng(3)
    train = random.integers(0, 3, (11, 3)).astype(dtype)
    train[:, 2] = 2.0 ** np.arange(11)
    x = random.integers(0, 3, (30, 3)).astype(dtype)
    x[:, 2] = NAN
    source = KNNImputer(n_neighbors=2).fit(train)
    given = tensorml.convert(source, executor=executor).transform(x)[:, 2]
    assert given.dtype == source.transform(x).dtype == dtype
    distance = np.abs(x[:, None, :2] - train[None, :, :2]).astype(int)
    distance, open_choice = (distance**2).sum(axis=2), 0
    for row, mean in zip(distance, given, strict=True):
        least = np.sort(row)[:2]
        pairs = [(a, b) for a in range(11) for b in range(a) if np.array_equal(np.sort(row[[a, b]]), least)]
        assert mean in [(2.0**a + 2.0**b) / 2 for a, b in pairs]
        open_choice += len(pairs) > 1
    assert open_choice > 5


@pytest.mark.parametrize("digits", [8, 1])
def test_donors_of_float32_rows_are_the_nearest_and_their_mean_is_within_rounding(executor: str, digits: int) -> None:
    """A sum of k float32 numbers in another order differs by k roundings of their sizes: more than 1e-5 of a small sum.

    Numbers of one digit have many donors at equal distances: there the mean lies between the least and the largest that
    a choice among these gives.
    """
    random, k, eps = np.random.default_rng(5), 5, np.finfo(np.float32).eps
    train, x = (random.normal(size=(n, 6)).round(digits).astype(np.float32) for n in (400, 600))
    for rows in (train, x):
        rows[random.random(rows.shape) < 0.1] = NAN
    source = KNNImputer(n_neighbors=k).fit(train)
    given = tensorml.convert(source, executor=executor).transform(x)
    distances, open_choice = nan_euclidean_distances(x, train, squared=True), 0
    for row, column in np.argwhere(np.isnan(x)):
        donors = ~np.isnan(train[:, column])
        distance, values = distances[row, donors], train[donors, column].astype(np.float64)
        last = np.sort(distance)[k - 1]
        surely, perhaps = distance < last * (1 - 8 * eps), np.sort(values[np.abs(distance - last) <= 8 * eps * last])
        more = k - surely.sum()
        least, most = ((values[surely].sum() + some.sum()) / k for some in (perhaps[:more], perhaps[-more:]))
        rounding = k * eps * (np.abs(values[surely]).sum() + np.abs(perhaps).max() * more) / k
        assert least - rounding <= given[row, column] <= most + rounding
        open_choice += len(perhaps) > more
    assert (open_choice > 10) == (digits == 1)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("scale", [6e18, 1e19])
def test_rows_so_far_that_float32_squares_overflow_are_donors(executor: str, scale: float, weights: str) -> None:
    """At distance infinity they count like any others where all rows do; they weigh nothing."""
    random = np.random.default_rng(0)
    train, x = ((random.normal(size=(n, 4)) * scale).astype(np.float32) for n in (5, 60))
    for rows in (train, x):
        rows[random.random(rows.shape) < 0.25] = NAN
    source = KNNImputer(n_neighbors=5, weights=weights).fit(train)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, distances = source.transform(x), nan_euclidean_distances(x, train)
    assert np.isinf(distances).any()
    given = tensorml.convert(source, executor=executor).transform(x)
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=scale * 1e-6)
