from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MultiLabelBinarizer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

import tensorml
from tensorml.errors import InputError, UnsupportedModelError
from tests.parity import assert_equal_outputs

EAGER = pytest.mark.parametrize("executor", ["reference", "torch"])  # scripts of the same rules are tried further down
RNG = np.random.default_rng(0)
N = 150
WORDS = RNG.choice(["a", "b", "c", "d"], (N, 2), p=[0.6, 0.25, 0.1, 0.05]).astype(object)
HOLES = WORDS.copy()
HOLES[::5, 0] = None
HOLES[::7, 1] = np.nan
NUMBERS = RNG.integers(-2, 4, (N, 3)) * 0.5
GAPS = NUMBERS.copy()
GAPS[::6, 1] = np.nan
GAPS[1, 0] = -0.0
FRAME = pd.DataFrame(
    {
        "word": HOLES[:, 1],
        "whole": RNG.integers(0, 3, N),
        "kind": pd.Categorical(WORDS[:, 0]),
        "part": GAPS[:, 1].astype(np.float32),
        "flag": RNG.random(N) < 0.5,
        "size": pd.Categorical(RNG.integers(3, 6, N)),
    }
)
FRAME.loc[::9, "kind"] = np.nan
POLARS = pl.DataFrame(
    {"word": [None if v is np.nan else v for v in HOLES[:, 1]], "whole": FRAME.whole.to_list(), "part": NUMBERS[:, 0]},
    schema_overrides={"word": pl.String},
)
TABLES: dict[str, Any] = {
    "strings": WORDS,
    "strings of NumPy": WORDS.astype(str),
    "strings, None and NaN": HOLES,
    "float64": GAPS,
    "float32": GAPS.astype(np.float32),
    "float16": GAPS.astype(np.float16),
    "int64": (NUMBERS * 2).astype(np.int64),
    "uint8": (NUMBERS * 2 + 4).astype(np.uint8),
    "bool": NUMBERS > 0,
    "pandas": FRAME,
    "polars": POLARS,
    "a list": WORDS.tolist(),
}
ONE_HOT = {
    "plain": OneHotEncoder(),
    "dense float32": OneHotEncoder(sparse_output=False, dtype=np.float32),
    "integers": OneHotEncoder(sparse_output=False, dtype=np.int32),
    "without the first": OneHotEncoder(drop="first"),
    "without one of two": OneHotEncoder(drop="if_binary", sparse_output=False),
    "grouped by count": OneHotEncoder(min_frequency=20),
    "grouped by share": OneHotEncoder(min_frequency=0.2, handle_unknown="infrequent_if_exist", sparse_output=False),
    "grouped to two": OneHotEncoder(max_categories=2, handle_unknown="ignore"),
    "grouped without the first": OneHotEncoder(max_categories=2, drop="first", handle_unknown="infrequent_if_exist"),
    "that warns": OneHotEncoder(handle_unknown="warn", max_categories=3),
}
ORDINAL = {
    "plain": OrdinalEncoder(),
    "float32": OrdinalEncoder(dtype=np.float32),
    "integers": OrdinalEncoder(dtype=np.int32, encoded_missing_value=-2),
    "unknown as a number": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "unknown as NaN": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
    "missing as a number": OrdinalEncoder(encoded_missing_value=-7),
    "grouped": OrdinalEncoder(min_frequency=20, handle_unknown="use_encoded_value", unknown_value=99),
    "grouped to two": OrdinalEncoder(max_categories=2),
}


def same(source: Any, X: Any, executor: str) -> tensorml.TensorModel:
    """Bit-equal results of `transform`, and of `inverse_transform` where the source has one and takes the rows."""
    model = tensorml.convert(source, executor=executor)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found unknown categories")
        there = source.transform(X)
    assert_equal_outputs(model.transform(X), there, "transform")
    if not hasattr(source, "inverse_transform"):
        return model
    try:
        back = source.inverse_transform(there.copy())
    except (IndexError, ValueError):  # what was grouped, or dropped without a value, has no way back there either
        return model
    result = model.inverse_transform(there)
    assert result.dtype == back.dtype
    pd.testing.assert_frame_equal(pd.DataFrame(result), pd.DataFrame(back))
    return model


@EAGER
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", ONE_HOT)
def test_one_hot_columns_are_the_same(executor: str, name: str, table: str) -> None:
    source = clone(ONE_HOT[name]).fit(TABLES[table])
    model = same(source, TABLES[table], executor)
    assert issparse(model.transform(TABLES[table])) == source.sparse_output
    np.testing.assert_array_equal(model.get_feature_names_out(), source.get_feature_names_out())


@EAGER
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", ORDINAL)
def test_ordinal_codes_are_the_same(executor: str, name: str, table: str) -> None:
    same(clone(ORDINAL[name]).fit(TABLES[table]), TABLES[table], executor)


@EAGER
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("target", ["continuous", "binary", "multiclass"])
def test_target_encodings_are_the_same(executor: str, target: str, table: str) -> None:
    y = {"continuous": RNG.normal(size=N), "binary": WORDS[:, 0] == "a", "multiclass": WORDS[:, 1].astype(str)}[target]
    source = TargetEncoder(target_type=target, smooth="auto" if target == "binary" else 3.0).fit(TABLES[table], y)
    model = same(source, TABLES[table], executor)
    np.testing.assert_array_equal(model.get_feature_names_out(), source.get_feature_names_out())


NEW_WORDS = np.array([["a", "new"], ["never", "b"], [None, np.nan], [3, "a"]], object)
NEW_NUMBERS = np.array([[0.5, 7.25, np.nan], [np.nan, 0.0, -0.0], [0.49999999, 1.0, 1e300]])


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(handle_unknown="ignore", drop="first", sparse_output=False),
        OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=20),
        OneHotEncoder(handle_unknown="warn", min_frequency=20, drop="first", sparse_output=False),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-3, max_categories=2),
        TargetEncoder(target_type="continuous"),
    ],
    ids=str,
)
@pytest.mark.parametrize(("seen", "new"), [(WORDS, NEW_WORDS), (NUMBERS, NEW_NUMBERS), (GAPS, NEW_NUMBERS)])
def test_unknown_values_are_the_same(executor: str, encoder: Any, seen: np.ndarray, new: np.ndarray) -> None:
    source = clone(encoder).fit(seen, np.arange(N) * 1.0)
    for rows in (new, new[:1], new.tolist()):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found unknown categories")
            expected = source.transform(rows)
        assert_equal_outputs(tensorml.convert(source, executor=executor).transform(rows), expected, "transform")


def test_unknown_values_are_refused_where_the_source_refuses_them(executor: str) -> None:
    for encoder in (OneHotEncoder(), OrdinalEncoder()):
        for seen, new in ((WORDS, NEW_WORDS), (NUMBERS, NEW_NUMBERS)):
            source = clone(encoder).fit(seen)
            with pytest.raises(ValueError, match="Found unknown categories"):
                source.transform(new)
            with pytest.raises(InputError, match="Found unknown categories in column 0 during transform"):
                tensorml.convert(source, executor=executor).transform(new)


def test_numbers_meet_their_categories_in_the_wider_dtype(executor: str) -> None:
    values = np.array([[0.1], [0.2], [2**53 + 1], [5]])
    for seen in (values, values.astype(np.float32), values.astype(np.int64)):
        source = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).fit(seen)
        model = tensorml.convert(source, executor=executor)
        for dtype in (np.float64, np.float32, np.float16, np.int64, np.int8, np.uint16):
            with np.errstate(all="ignore"):
                rows = np.concatenate([values, [[2**53]], [[0]]]).astype(dtype)
            finite = rows[np.isfinite(rows).ravel()]
            assert_equal_outputs(model.transform(finite), source.transform(finite), str(dtype))


def test_categories_may_be_given_in_any_order_of_strings(executor: str) -> None:
    given = [["z", "b", "a", "c", "d"], ["d", "c", "b", "a"]]
    for encoder in (OneHotEncoder(categories=given), OrdinalEncoder(categories=given)):
        same(encoder.fit(WORDS), WORDS, executor)


def test_a_feature_of_one_category_that_is_dropped_has_no_column(executor: str) -> None:
    X = np.column_stack([WORDS[:, 0], np.full(N, "only")]).astype(object)
    same(OneHotEncoder(drop="first", sparse_output=False).fit(X), X, executor)
    alone = OneHotEncoder(drop="first", sparse_output=False).fit(X[:, 1:])
    assert tensorml.convert(alone, executor=executor).transform(X[:, 1:]).shape == (N, 0)


def test_infinity_is_refused_among_numbers(executor: str) -> None:
    model = tensorml.convert(OrdinalEncoder().fit(GAPS), executor=executor)
    with pytest.raises(InputError, match="infinity"):
        model.transform(np.full((1, 3), np.inf))


def test_numbers_for_an_encoder_of_strings_are_refused() -> None:
    source = OrdinalEncoder().fit(WORDS)
    with pytest.raises(TypeError):
        source.transform(NUMBERS[:, :2])
    with pytest.raises(InputError, match="column 0 holds numbers; OrdinalEncoder was fitted on strings"):
        tensorml.convert(source).transform(NUMBERS[:, :2])


def test_unsigned_integers_of_64_bits_are_refused() -> None:
    X = np.array([[1], [2**63 + 5]], np.uint64)
    with pytest.raises(InputError, match="unsigned integers of 64 bits"):
        tensorml.convert(OrdinalEncoder().fit(X)).transform(X)


def test_other_widths_names_and_rows_are_refused() -> None:
    for source, X in ((OneHotEncoder().fit(WORDS), WORDS), (OneHotEncoder().fit(NUMBERS), NUMBERS)):
        model = tensorml.convert(source)
        with pytest.raises(InputError, match="features, but OneHotEncoder is expecting"):
            model.transform(X[:, :1])
        with pytest.raises(InputError, match="minimum of 1 is required"):
            model.transform(X[:0])
    model = tensorml.convert(OneHotEncoder().fit(FRAME))
    with pytest.raises(InputError, match="feature names should match"):
        model.transform(FRAME.rename(columns={"word": "other"}))
    with pytest.raises(InputError, match="must be in the same order"):
        model.transform(FRAME[FRAME.columns[::-1]])


def test_a_value_that_cannot_be_a_category_is_refused() -> None:
    rows = WORDS[:1].copy()
    rows[0, 0] = ["a", "list"]
    with pytest.raises(InputError, match="which is no category"):
        tensorml.convert(OneHotEncoder(handle_unknown="ignore").fit(WORDS)).transform(rows)


def test_a_dtype_that_holds_no_numbers_is_refused() -> None:
    source = OneHotEncoder(dtype=object, sparse_output=False).fit(WORDS)
    with pytest.raises(UnsupportedModelError, match="dtype=<class 'object'> does not hold numbers"):
        tensorml.convert(source)


def test_sparse_columns_are_refused_where_a_dataframe_is_asked_for() -> None:
    source = OneHotEncoder().fit(WORDS).set_output(transform="pandas")
    with pytest.raises(ValueError, match="does not support sparse data"):
        source.transform(WORDS)
    with pytest.raises(UnsupportedModelError, match="makes a sparse matrix and was set to return pandas"):
        tensorml.convert(source)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_dataframes_come_out_where_they_are_asked_for(executor: str, library: str) -> None:
    for encoder in (OneHotEncoder(sparse_output=False), OrdinalEncoder(), TargetEncoder(target_type="continuous")):
        source = encoder.set_output(transform=library).fit(FRAME, np.arange(N) * 1.0)
        assert_equal_outputs(tensorml.convert(source, executor=executor).transform(FRAME), source.transform(FRAME), "")


def test_rows_of_zeros_without_a_value_of_the_dtype_are_refused(executor: str) -> None:
    for source in (
        OneHotEncoder(sparse_output=False).fit(NUMBERS),
        OneHotEncoder(sparse_output=False, handle_unknown="ignore").fit(NUMBERS),
    ):
        zeros = np.zeros((2, len(source.get_feature_names_out())))
        with pytest.raises(InputError, match="all columns of feature 0 are 0, which have no value"):
            tensorml.convert(source, executor=executor).inverse_transform(zeros)
    source = OneHotEncoder(sparse_output=False, handle_unknown="ignore").fit(WORDS)
    zeros = np.zeros((2, len(source.get_feature_names_out())))
    result = tensorml.convert(source, executor=executor).inverse_transform(zeros)
    assert_equal_outputs(result, source.inverse_transform(zeros), "None for unknown words")


def test_codes_that_are_no_category_and_other_widths_have_no_way_back(executor: str) -> None:
    model = tensorml.convert(OrdinalEncoder().fit(NUMBERS), executor=executor)
    for code in (99, np.nan, -99):
        with pytest.raises(InputError, match="a number in column 0 that is no category's"):
            model.inverse_transform(np.array([[code, 0, 0.0]]))
    for encoder in (OrdinalEncoder(), OneHotEncoder()):
        with pytest.raises(InputError, match=re.escape("Shape of the passed X data is not correct")):
            tensorml.convert(encoder.fit(NUMBERS)).inverse_transform(np.zeros((1, 2)))


def test_negative_codes_and_fractions_index_as_they_do_in_numpy(executor: str) -> None:
    source = OrdinalEncoder().fit(NUMBERS)
    z = np.array([[-1, 0.9, 2], [1.5, -2, -0.5]])
    result = tensorml.convert(source, executor=executor).inverse_transform(z)
    assert_equal_outputs(result, source.inverse_transform(z.copy()), "inverse_transform")


@pytest.mark.parametrize("sparse", [True, False])
def test_encoders_work_among_the_columns_of_a_dataframe(executor: str, sparse: bool) -> None:
    X = FRAME.assign(part=NUMBERS[:, 0])
    parts = [
        ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=sparse), ["word", "kind"]),
        ("codes", OrdinalEncoder(), ["flag", "size"]),
        ("means", TargetEncoder(target_type="binary"), ["whole"]),
        ("numbers", StandardScaler(), ["part"]),
    ]
    source = make_pipeline(ColumnTransformer(parts, sparse_threshold=1.0), LogisticRegression()).fit(
        X, WORDS[:, 0] == "a"
    )
    model = tensorml.convert(source, executor=executor)
    np.testing.assert_allclose(model.predict_proba(X), source.predict_proba(X), rtol=1e-12)
    assert_equal_outputs(model.predict(X), source.predict(X), "predict")


def test_a_column_transformer_of_encoders_takes_arrays_of_objects(executor: str) -> None:
    source = ColumnTransformer([("a", OneHotEncoder(sparse_output=False), [0]), ("b", OrdinalEncoder(), [1])]).fit(
        WORDS
    )
    assert_equal_outputs(tensorml.convert(source, executor=executor).transform(WORDS), source.transform(WORDS), "")
    assert_equal_outputs(tensorml.convert(source).transform(WORDS.tolist()), source.transform(WORDS.tolist()), "")


def test_files_keep_encoders_of_words(tmp_path: Any) -> None:
    source = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(HOLES, WORDS[:, 0] == "a")
    path = tmp_path / "model.safetensors"
    tensorml.convert(source, HOLES).save(path)
    np.testing.assert_allclose(tensorml.load(path).predict_proba(HOLES), source.predict_proba(HOLES), rtol=1e-12)


def test_sets_of_labels_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="MultiLabelBinarizer"):
        tensorml.convert(MultiLabelBinarizer().fit([[1], [2]]))
