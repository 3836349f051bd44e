"""Histogram gradient boosting on columns of categories: strings, objects, DataFrames' own dtypes of categories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, VotingClassifier
from sklearn.pipeline import make_pipeline

import tensorml
from tensorml.errors import InputError, UnsupportedModelError
from tensorml_sklearn.describe import VERSION
from tests.parity import assert_same

ROWS = 300
WOODS = np.array(["ash", "birch", "oak", "öl"], object)
SELECTIONS = {
    "from dtype": ("from_dtype", ["size", "wood", "code", "rank"]),
    "by name": (["wood", "code", "text"], ["size", "wood", "code", "rank", "text"]),
    "by position": ([1, 2], ["size", "wood", "text"]),
    "by mask": ([False, True, True], ["size", "code", "text"]),
    "all": (["text"], ["text"]),
}


def frame(seed: int, *, missing: bool = True, unseen: bool = False) -> pd.DataFrame:
    """Numbers (size, rank), categories of words and of integers (wood, code), and strings (text)."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "size": rng.normal(size=ROWS),
            "wood": pd.Categorical(WOODS[rng.integers(0, 4, ROWS)], categories=list(WOODS[::-1])),
            "code": pd.Categorical(rng.integers(0, 5, ROWS) * 3),
            "rank": rng.normal(size=ROWS).astype(np.float32),
            "text": WOODS[rng.integers(0, 4, ROWS)],
        }
    )
    if unseen:
        table["wood"] = table["wood"].cat.add_categories(["new", "newer"])
        table.loc[rng.random(ROWS) < 0.1, "wood"] = "newer"
        table.loc[rng.random(ROWS) < 0.1, "text"] = "other"
    for column in ("size", "wood", "code", "text") if missing else ():
        table.loc[rng.random(ROWS) < 0.1, column] = np.nan
    return table


def histogram(**options: Any) -> Any:
    return HistGradientBoostingRegressor(**options)


def target(table: pd.DataFrame) -> np.ndarray:
    parts = (table["size"].fillna(0), (table["wood"] == "oak") * 2, (table["text"] == "ash") * 3, table["code"] == 6)
    return np.sum([np.asarray(part, np.float64) for part in parts], axis=0)


@pytest.mark.parametrize("missing", [False, True], ids=["none missing in training", "missing in training"])
@pytest.mark.parametrize("selection", SELECTIONS)
def test_categories_of_frames_agree_bit_for_bit(executor: str, selection: str, missing: bool):
    which, columns = SELECTIONS[selection]
    trained = frame(0, missing=missing)
    model = histogram(max_iter=15, categorical_features=which, random_state=0)
    model.fit(trained[columns], target(trained))
    for probe in (frame(1), frame(2, unseen=True), frame(3, missing=False), frame(4).iloc[:1]):
        assert_same(model, probe[columns], executor)


def test_columns_are_found_by_name_in_any_order(executor: str):
    trained = frame(0)
    model = histogram(max_iter=10, categorical_features="from_dtype")
    model.fit(trained[["size", "wood", "code"]], target(trained))
    assert_same(model, frame(1)[["code", "rank", "size", "wood"]], executor)
    with pytest.raises(InputError, match=r"columns are missing: \{'wood'\}"):
        tensorml.convert(model).predict(frame(1)[["code", "size"]])


@pytest.mark.parametrize("values", [[1, 2, 5], [0.5, -1.5, 2.0], [True, False, True]], ids=str)
def test_categories_that_are_numbers_match_columns_of_any_kind(executor: str, values: list[Any]):
    rng = np.random.default_rng(0)
    column = np.array(values)[rng.integers(0, 3, ROWS)]
    y = column * 2.0 + rng.normal(size=ROWS)
    for trained in (pd.Categorical(column), column):
        model = histogram(max_iter=10, categorical_features=["kind"])
        model.fit(pd.DataFrame({"kind": trained, "size": y}), y)
        for probe in (pd.Categorical(column), column, np.where(rng.random(ROWS) < 0.2, np.nan, column), column * 7):
            assert_same(model, pd.DataFrame({"kind": probe, "size": y}), executor)


def test_categories_of_polars_frames_agree(executor: str):
    words, number = frame(0, missing=False)["text"].tolist(), frame(0)["rank"].to_numpy()
    plain = pl.DataFrame({"size": number, "text": words})
    table = plain.with_columns(pl.col("text").cast(pl.Categorical))
    y = number + (np.array(words) == "oak")
    if VERSION < (1, 9):
        pytest.skip("scikit-learn reads no categories of polars before 1.9")
    model = histogram(max_iter=10, categorical_features="from_dtype").fit(table, y)
    assert_same(model, table, executor)
    assert_same(histogram(max_iter=10, categorical_features=["text"]).fit(plain, y), plain, executor)


def test_classifiers_and_models_around_them_take_categories_too(executor: str):
    trained, columns = frame(0), ["size", "wood"]
    y = np.where(target(trained) > 1, "much", "little")
    model = HistGradientBoostingClassifier(max_iter=8, categorical_features="from_dtype", random_state=0)
    around = VotingClassifier([("a", model), ("b", make_pipeline(model))], voting="soft")
    for one in (model, around):
        assert_same(one.fit(trained[columns], y), frame(1, unseen=True)[columns], executor, rtol=1e-14)


def test_numbers_in_place_of_words_are_refused_where_the_library_fails(executor: str):
    trained = frame(0)
    model = histogram(max_iter=3, categorical_features=["text"])
    model.fit(trained[["size", "text"]], target(trained))
    converted = tensorml.convert(model, executor=executor)
    probe = pd.DataFrame({"size": [1.0, 2.0], "text": [1.0, 2.0]})
    with pytest.raises(TypeError):
        model.predict(probe)
    with pytest.raises(
        InputError, match=r"column 'text' holds numbers, and the categories .* Pass what it was fitted on"
    ):
        converted.predict(probe)


def test_arrays_of_objects_are_refused(executor: str):
    x = frame(0)[["size", "text"]].to_numpy(object)
    model = histogram(max_iter=3, categorical_features=[1]).fit(x, np.arange(ROWS))
    with pytest.raises(InputError, match="holds objects that are not numbers"):
        tensorml.convert(model, executor=executor).predict(x)


def test_none_as_a_category_is_refused():
    column = np.array([None, "a", "b"], object)[np.arange(ROWS) % 3]
    table = pd.DataFrame({"kind": pd.Series(column, dtype=object)})
    model = histogram(max_iter=3, categorical_features=["kind"]).fit(table, np.arange(ROWS))
    with pytest.raises(
        UnsupportedModelError, match=r"OrdinalEncoder: the categories of column 'kind' are object or None"
    ):
        tensorml.convert(model, table)


def test_saved_models_take_categories(tmp_path: Path):
    trained, columns = frame(0), ["size", "wood"]
    model = histogram(max_iter=5, categorical_features="from_dtype")
    model.fit(trained[columns], target(trained))
    tensorml.convert(model, trained[columns]).save(tmp_path / "model.safetensors")
    loaded = tensorml.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(frame(1)[columns]), model.predict(frame(1)[columns]))


@pytest.mark.parametrize(
    "options",
    [
        {"interaction_cst": [{0, 1}, {2}]},
        {"interaction_cst": "no_interactions", "warm_start": True},
        {"max_features": 0.5, "max_leaf_nodes": 5, "l2_regularization": 1.0},
        {"early_stopping": True, "validation_fraction": 0.2, "scoring": None},
        {"max_bins": 10, "min_samples_leaf": 5},
    ],
    ids=str,
)
def test_options_of_training_change_only_the_trees(executor: str, options: dict[str, Any]):
    trained, columns = frame(0), ["size", "wood", "code"]
    model = histogram(max_iter=8, categorical_features="from_dtype", random_state=0, **options)
    assert_same(model.fit(trained[columns], target(trained)), frame(1)[columns], executor)
