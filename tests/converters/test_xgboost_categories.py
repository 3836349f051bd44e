"""Columns of categories in DataFrames. What one category of a model does is in test_xgboost_trees.py, from codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import xgboost
from packaging.version import Version
from xgboost import XGBClassifier, XGBRegressor

import tensorml
from tensorml.errors import InputError
from tests.parity import assert_equal_outputs

# Since 3.1 XGBoost stores the categories of training and recodes a frame's; before, it reads the frame's own codes.
RECODES = Version(xgboost.__version__) >= Version("3.1")
recoding = pytest.mark.skipif(not RECODES, reason="XGBoost before 3.1 stores no categories")

RNG = np.random.default_rng(0)
ROWS = 400
WORDS = ["ash", "birch", "o'ak: 2", "elm", "yew"]
WORD = RNG.choice(WORDS, ROWS)
NUMBER = RNG.integers(-2, 4, ROWS)
FLOAT = RNG.normal(size=ROWS).round(2)
TARGET = (WORD == "elm") * 2.0 + (NUMBER == 3) + FLOAT
FRAME = pd.DataFrame({"word": pd.Categorical(WORD), "number": pd.Categorical(NUMBER), "float": FLOAT})
FRAME.loc[RNG.random(ROWS) < 0.1, "word"] = np.nan
OTHER_ORDER = FRAME.assign(word=FRAME["word"].cat.reorder_categories(WORDS[::-1]))
SETTINGS: dict[str, Any] = {"n_estimators": 8, "max_depth": 4, "tree_method": "hist", "n_jobs": 1}


def fitted(onehot: int, X: pd.DataFrame = FRAME, **options: Any) -> XGBRegressor:
    model = XGBRegressor(enable_categorical=True, max_cat_to_onehot=onehot, **SETTINGS, **options)
    return model.fit(X, TARGET)


@pytest.mark.parametrize("onehot", [1, 10])
@pytest.mark.parametrize("X", [FRAME, OTHER_ORDER, FRAME[:1], FRAME[::-1]], ids=["same", "order", "one row", "reverse"])
def test_categories_of_a_frame_reach_the_leaf_of_the_library(executor: str, onehot: int, X: pd.DataFrame):
    source = fitted(onehot)
    model = tensorml.convert(source, executor=executor)
    margin = {"output_margin": True}
    assert_equal_outputs(model.predict(X, **margin), source.predict(X, **margin), "margin")
    if RECODES:  # apply of 2.1 takes no categories
        assert_equal_outputs(model.apply(X), source.apply(X), "apply")


@recoding
def test_categories_mean_their_values_whatever_their_order(executor: str):
    model = tensorml.convert(fitted(1), executor=executor)
    np.testing.assert_array_equal(model.predict(OTHER_ORDER), model.predict(FRAME))
    trimmed = FRAME[:20].assign(word=FRAME["word"][:20].cat.remove_unused_categories())
    np.testing.assert_array_equal(model.predict(trimmed), model.predict(FRAME)[:20])


@pytest.mark.parametrize("kind", [pl.Categorical, pl.Enum(["none", *WORDS])], ids=["categorical", "enum"])
def test_polars_categories_agree_with_pandas(executor: str, kind: Any):
    columns = {"word": pl.Series(WORD, dtype=kind), "number": NUMBER, "float": FLOAT}
    X = pd.DataFrame({"word": pd.Categorical(WORD), "number": NUMBER, "float": FLOAT})
    source = fitted(1, X)
    model = tensorml.convert(source, executor=executor)
    if RECODES:
        assert_equal_outputs(model.predict(pl.DataFrame(columns)), source.predict(X), "predict")
        return
    with pytest.raises(InputError, match="of categories whose codes were not stored"):
        model.predict(pl.DataFrame(columns))


@recoding
@pytest.mark.parametrize("word", ["new", "zzz", "aaa"])
def test_a_category_that_training_did_not_see_is_refused(executor: str, word: str):
    X = FRAME[:5].assign(word=pd.Categorical(["ash", word, "elm", "elm", None], [*WORDS, word]))
    model = tensorml.convert(fitted(1), executor=executor)
    with pytest.raises(InputError, match="column 0 holds a category that training did not see"):
        model.predict(X)
    assert np.isfinite(model.predict(X.drop(index=1))).all()  # among the frame's categories, in no row: no matter


@recoding
def test_categories_of_another_type_are_refused(executor: str):
    model = tensorml.convert(fitted(1), executor=executor)
    with pytest.raises(InputError, match="column 1 holds a category that training did not see"):
        model.predict(FRAME.assign(number=pd.Categorical(NUMBER.astype(str))))


@recoding
def test_columns_are_categories_where_they_were_in_training(executor: str):
    model = tensorml.convert(fitted(1), executor=executor)
    with pytest.raises(InputError, match=r"column 1 held categories in training\. Pass it as such"):
        model.predict(FRAME.assign(number=NUMBER))
    with pytest.raises(InputError, match=r"column 2 held numbers in training\. Pass it as such"):
        model.predict(FRAME.assign(float=pd.Categorical(NUMBER)))


def test_strings_that_are_no_categories_are_refused(executor: str):
    model = tensorml.convert(fitted(1), executor=executor)
    with pytest.raises(InputError, match=r"column 0 does not hold numbers.*cat\.codes"):
        model.predict(FRAME.assign(word=WORD))


def test_arrays_hold_the_codes_of_training(executor: str):
    source = fitted(1)
    codes = np.column_stack([FRAME["word"].cat.codes.replace(-1, np.nan), FRAME["number"].cat.codes, FLOAT])
    model = tensorml.convert(source, executor=executor)
    assert_equal_outputs(model.predict(codes), source.predict(codes), "codes")
    assert_equal_outputs(model.predict(codes), source.predict(FRAME), "frame")


def test_without_stored_categories_the_frame_s_own_codes_are_read(executor: str):
    codes = np.column_stack([FRAME["word"].cat.codes.replace(-1, np.nan), NUMBER + 2, FLOAT])
    source = XGBRegressor(enable_categorical=True, feature_types=["c", "c", "q"], **SETTINGS).fit(codes, TARGET)
    model = tensorml.convert(source, executor=executor)
    for X in (FRAME, OTHER_ORDER):
        assert_equal_outputs(model.predict(X), source.predict(X), "predict")


@recoding
def test_a_missing_value_beside_categories_is_refused():
    model = tensorml.convert(fitted(1, missing=1.0))
    with pytest.raises(InputError, match=r"missing=1\.0 with columns of categories\. Use missing=nan"):
        model.predict(FRAME)


@recoding
def test_categories_beyond_ascii_are_refused_as_the_library_cuts_them():
    X = FRAME.assign(word=pd.Categorical(np.where(NUMBER > 0, "é", "ab"), ["é", "ab"]))
    source = fitted(1, X)
    reordered = X.assign(word=X["word"].cat.reorder_categories(["ab", "é"]))
    try:
        agrees = np.array_equal(source.predict(reordered), source.predict(X))
    except xgboost.core.XGBoostError:
        agrees = False
    assert not agrees  # should this fail one day, the refusal can go
    with pytest.raises(InputError, match="column 0 has categories beyond ASCII, which XGBoost stores cut"):
        tensorml.convert(source).predict(X)


def test_a_classifier_and_a_file_keep_categories(executor: str, tmp_path: Any):
    source = XGBClassifier(enable_categorical=True, **SETTINGS).fit(FRAME, NUMBER + 2)
    tensorml.convert(source, FRAME, executor=executor).save(tmp_path / "m.safetensors")
    model = tensorml.load(tmp_path / "m.safetensors", executor=executor)
    assert_equal_outputs(model.predict(FRAME), source.predict(FRAME), "predict")
    assert_equal_outputs(model.predict_proba(FRAME), source.predict_proba(FRAME), "predict_proba", rtol=3e-7)
