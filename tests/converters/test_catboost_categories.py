"""CatBoost's categorical features: hashes, one-hot splits, CTRs of every type, and what inputs they take."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from catboost import CatBoost, CatBoostClassifier, CatBoostError, CatBoostRanker, CatBoostRegressor, Pool
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorml
from tensorml.errors import GraphTypeError, InputError, UnsupportedModelError
from tensorml.graph import Input, TensorType
from tensorml.ops import CategoryHash, Float32
from tensorml.ops.hash import text_hashes
from tensorml_catboost.cbm import core, table
from tensorml_catboost.ctrs import FLOAT_MEAN, FREQUENCY, KINDS, read_ctrs, serialized
from tensorml_catboost.trees import export
from tests.parity import assert_equal_outputs
from tests.traps import trap_rows

RAW = "RawFormulaVal"
LINK = 1e-14  # relative: probabilities; raw values, leaves and labels have equal bits
ROWS = 300
RNG = np.random.default_rng(0)
LENGTHS = (0, 1, 3, 4, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 300)
WORDS = ["".join(RNG.choice(list("abcdefghß中🙂"), n)) for n in LENGTHS]
NAMES = ["word", "x", "colour", "number", "z", "long"]
CATEGORICAL = ["word", "colour", "number", "long"]


def rows(count: int, words: list[str], seed: int) -> pd.DataFrame:
    """Columns of strings, of integers, and two of numbers that are missing here and there."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(count, 2)).round(2)
    numbers[rng.random(numbers.shape) < 0.1] = np.nan
    return pd.DataFrame(
        {
            "word": rng.choice(words[:8], count),
            "x": numbers[:, 0],
            "colour": rng.choice(["red", "green", "blue"], count),
            "number": rng.integers(-3, 6, count),
            "z": numbers[:, 1],
            "long": rng.choice(words[8:], count),
        }
    )


TRAIN = rows(ROWS, WORDS, 1)
X = rows(120, WORDS, 2)
X.loc[::7, "word"], X.loc[::5, "number"], X.loc[::11, "long"], X.loc[::3, "colour"] = "never seen", 99, "q" * 70, "grey"
SCORE = (
    TRAIN.x.fillna(0)
    + TRAIN.word.str.len() % 3
    + (TRAIN.colour == "red") * TRAIN.z.fillna(1)
    + (TRAIN.number % 2) * (TRAIN.colour == "blue")
    + TRAIN.long.str.len() % 2 * TRAIN.x.fillna(0)
).to_numpy()
TWO = (np.median(SCORE) < SCORE).astype(int)
FOUR = np.digitize(SCORE, np.quantile(SCORE, [0.25, 0.5, 0.75]))
GIVEN: dict[str, Any] = {
    "iterations": 15,
    "depth": 4,
    "verbose": 0,
    "thread_count": 1,
    "allow_writing_files": False,
    "cat_features": CATEGORICAL,
}
COMBINED = {
    "max_ctr_complexity": 4,
    "one_hot_max_size": 4,
    "depth": 6,
    "simple_ctr": ["Counter"],
    "model_size_reg": 0,
    "random_strength": 0,
}

CASES: dict[str, tuple[Any, np.ndarray, dict[str, Any]]] = {
    f"{kind} of {name}": (cls, y, {"simple_ctr": [kind], "combinations_ctr": [kind], "max_ctr_complexity": 2})
    for kind in ("Borders", "Buckets", "BinarizedTargetMeanValue", "Counter")
    for name, cls, y in (
        ("two classes", CatBoostClassifier, TWO),
        ("four classes", CatBoostClassifier, FOUR),
        ("numbers", CatBoostRegressor, SCORE),
    )
}
CASES |= {
    "one-hot": (CatBoostClassifier, TWO, {"one_hot_max_size": 255}),
    "one-hot and CTRs": (CatBoostClassifier, TWO, {"one_hot_max_size": 4}),
    "combinations": (CatBoostClassifier, TWO, COMBINED),
    "combinations, NaN above": (CatBoostClassifier, TWO, {**COMBINED, "nan_mode": "Max", "iterations": 30}),
    "target borders": (
        CatBoostRegressor,
        SCORE,
        {"simple_ctr": ["Borders:TargetBorderCount=4"], "combinations_ctr": ["Buckets:TargetBorderCount=3"]},
    ),
    "several binarized targets": (
        CatBoostRegressor,
        SCORE,
        {
            "simple_ctr": [
                "Borders:TargetBorderCount=4:TargetBorderType=Uniform",
                "Borders:TargetBorderCount=2:Prior=0.3",
                "Buckets:TargetBorderCount=4",
                "Buckets:TargetBorderCount=1",
            ]
        },
    ),
    "several targets": (CatBoostRegressor, np.stack([SCORE, -(SCORE**2)], 1), {"loss_function": "MultiRMSE"}),
    "priors": (
        CatBoostClassifier,
        TWO,
        {"simple_ctr": ["Borders:CtrBorderCount=40:Prior=0.25:Prior=7", "Counter:CtrBorderCount=11:Prior=-0.4"]},
    ),
    "counters of a positive prior": (CatBoostClassifier, TWO, {"simple_ctr": ["Counter:Prior=1"]}),
    "a feature's own": (
        CatBoostClassifier,
        TWO,
        {"per_feature_ctr": ["0:Buckets:Prior=0", "3:Counter:CtrBorderCount=30:Prior=1"]},
    ),
    "counters of all data": (CatBoostClassifier, TWO, {"simple_ctr": ["Counter"], "counter_calc_method": "Full"}),
    "counters of training": (CatBoostClassifier, TWO, {"simple_ctr": ["Counter"], "counter_calc_method": "SkipTest"}),
    "size": (CatBoostClassifier, TWO, {"model_size_reg": 0}),
    "few groups": (CatBoostClassifier, TWO, {"ctr_leaf_count_limit": 3}),
    "few groups but of one": (CatBoostClassifier, TWO, {"ctr_leaf_count_limit": 3, "store_all_simple_ctr": True}),
    "time": (CatBoostClassifier, TWO, {"has_time": True}),
    "plain": (CatBoostClassifier, TWO, {"boosting_type": "Plain"}),
    "ordered": (CatBoostClassifier, TWO, {"boosting_type": "Ordered"}),
    "leaf by leaf": (CatBoostClassifier, FOUR, {"grow_policy": "Lossguide", "max_leaves": 12}),
    "level by level": (CatBoostClassifier, TWO, {"grow_policy": "Depthwise"}),
    "one against all": (CatBoostClassifier, FOUR, {"loss_function": "MultiClassOneVsAll"}),
    "probabilities": (CatBoostClassifier, TWO * 0.8 + 0.1, {"loss_function": "CrossEntropy"}),
    "labels": (CatBoost, np.stack([TWO, FOUR > 1], 1).astype(float), {"loss_function": "MultiLogloss"}),
    "uncertainty": (CatBoostRegressor, SCORE, {"loss_function": "RMSEWithUncertainty"}),
    "one tree": (CatBoostClassifier, TWO, {"iterations": 1}),
}


def fitted(name: str, **options: Any) -> CatBoost:
    """A case's model. It is made anew for each test: seconds are few, and models remember what they saw."""
    cls, y, own = CASES[name]
    given = GIVEN | own | options
    return CatBoost(given).fit(TRAIN, y) if cls is CatBoost else cls(**given).fit(TRAIN, y)


def raw(model: Any, x: Any) -> Any:
    return model.predict(x, prediction_type=RAW)


def assert_exact(source: CatBoost, x: Any, executor: str = "reference") -> tensorml.TensorModel:
    """Raw values, leaf numbers and predictions have equal bits."""
    model = tensorml.convert(source, executor=executor)
    assert_equal_outputs(raw(model, x), raw(source, x), RAW)
    assert_equal_outputs(model.calc_leaf_indexes(x), source.calc_leaf_indexes(x), "leaves")
    if isinstance(source, CatBoostClassifier):
        assert_equal_outputs(model.predict(x), source.predict(x), "predict")
        assert_equal_outputs(model.predict_proba(x), source.predict_proba(x), "predict_proba", LINK)
    return model


Hashes = Callable[[list[str]], dict[str, int]]


@pytest.fixture(scope="module")
def library_hashes(tmp_path_factory: pytest.TempPathFactory) -> Hashes:
    """CatBoost's own hashes of texts, which it writes beside a model for the texts of a pool."""
    model = CatBoostClassifier(**GIVEN | {"iterations": 1, "cat_features": [0]}).fit(TRAIN[["colour"]], TWO)
    path = tmp_path_factory.mktemp("hashes") / "model.json"

    def hashes(texts: list[str]) -> dict[str, int]:
        pool = Pool(pd.DataFrame({"colour": pd.Series(texts, dtype=object)}), cat_features=[0])
        model.save_model(str(path), format="json", pool=pool)
        found = json.loads(path.read_text(encoding="utf-8"))["features_info"]["cat_features_hash"]
        return {entry["value"]: entry["hash"] % 2**32 for entry in found}

    return hashes


def assert_hashed(texts: list[str], hashes: Hashes) -> None:
    expected = hashes(texts)
    assert len(expected) == len(set(texts))
    actual = text_hashes([text.encode() for text in texts])
    np.testing.assert_array_equal(actual % 2**32, [expected[text] for text in texts])
    assert (np.abs(actual + 0.5) < 2**31).all()


def test_texts_of_every_length_hash_as_in_catboost(library_hashes: Hashes) -> None:
    rng = np.random.default_rng(3)
    assert_hashed(["".join(rng.choice(list("abcXYZ0189 _-"), n)) for n in range(200)], library_hashes)


@settings(max_examples=40)
@given(texts=st.lists(st.text(max_size=150), min_size=1, max_size=30, unique=True))
def test_drawn_texts_hash_as_in_catboost(library_hashes: Hashes, texts: list[str]) -> None:
    assert_hashed(texts, library_hashes)


def test_a_category_is_its_text_whatever_holds_it() -> None:
    expected = text_hashes([b"1", b"0", b"-7"])
    for values in (
        ["1", "0", "-7"],
        [b"1", b"0", b"-7"],
        [1, 0, -7],
        [True, False, -7],
        [np.str_("1"), np.int8(0), -7],
    ):
        column = np.array([*values, None], object)[:-1, None]
        np.testing.assert_array_equal(hashed(column)[:, 0], expected)
    for dtype in (np.int8, np.int16, np.int32, np.int64):
        np.testing.assert_array_equal(hashed(np.array([[1], [0], [-7]], dtype))[:, 0], expected)
    for dtype in (np.uint8, np.uint16, np.uint32, np.uint64, bool):
        np.testing.assert_array_equal(hashed(np.array([[1], [0]], dtype))[:, 0], expected[:2])


def hashed(column: np.ndarray) -> np.ndarray:
    return CategoryHash(Input("x", TensorType(("N", 1), column.dtype)), "'c'").reference(column)


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_ctr_and_every_option_is_exact(name: str, executor: str) -> None:
    assert_exact(fitted(name), X, executor)


def drawn_ctr(rng: np.random.Generator) -> str:
    """A description of CTRs, with target borders, borders and priors of its own."""
    kind = str(rng.choice(["Borders", "Buckets", "BinarizedTargetMeanValue", "Counter"]))
    targets = f":TargetBorderCount={rng.integers(1, 6)}" if kind != "Counter" else ""
    priors = "".join(f":Prior={prior:.3f}" for prior in 2 * rng.normal(size=rng.integers(1, 4)))
    return f"{kind}{targets}:CtrBorderCount={rng.integers(1, 60)}{priors}"


@pytest.mark.parametrize("seed", range(12))
def test_drawn_options_are_exact_on_borders_and_beside_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    options: dict[str, Any] = {
        "depth": int(rng.integers(1, 7)),
        "one_hot_max_size": int(rng.choice([2, 4, 255])),
        "max_ctr_complexity": int(rng.integers(1, 5)),
        "model_size_reg": float(rng.choice([0.0, 0.5])),
        "nan_mode": str(rng.choice(["Min", "Max"])),
        "grow_policy": str(rng.choice(["SymmetricTree", "Lossguide", "Depthwise"])),
        "simple_ctr": [drawn_ctr(rng) for _ in range(rng.integers(1, 4))],
        "combinations_ctr": [drawn_ctr(rng) for _ in range(rng.integers(1, 3))],
    }
    source = CatBoostRegressor(**GIVEN | options).fit(TRAIN, SCORE)
    known = export(source).categorical
    assert known is not None
    borders = [(["x", "z"].index(NAMES[f.column]), float(b)) for f in known.floats.values() for b in f.borders]
    assert_exact(
        source, X.assign(**dict(zip("xz", trap_rows(X[["x", "z"]].to_numpy(), borders, len(X)).T, strict=True)))
    )


def test_combinations_hold_numbers_and_categories() -> None:
    combinations = [ctr.base.combination for ctr in read_ctrs(fitted("combinations")).ctrs]
    assert any(c.floats for c in combinations)
    assert any(c.one_hot for c in combinations)
    assert any(len(c.categories) > 1 for c in combinations)


def test_one_table_is_not_taken_for_another_of_its_name() -> None:
    for name in ("several binarized targets", "several targets"):
        assert len({base.target for base in read_ctrs(fitted(name)).tables}) > 1


@pytest.mark.parametrize("name", ["combinations", "Buckets of four classes", "several targets"])
def test_rows_that_were_never_seen_are_exact(name: str) -> None:
    unseen = pd.DataFrame({"word": "u", "x": [np.nan, 0.0], "colour": "u", "number": 77, "z": np.inf, "long": "u" * 40})
    assert_exact(fitted(name), unseen)


def test_a_ranker_is_exact(executor: str) -> None:
    source = CatBoostRanker(**GIVEN | {"loss_function": "YetiRank"})
    source.fit(TRAIN, FOUR.astype(float), group_id=np.arange(ROWS) // 10)
    model = tensorml.convert(source, executor=executor)
    assert_equal_outputs(model.predict(X), source.predict(X), "predict")


def test_a_range_of_trees_is_exact() -> None:
    source = fitted("combinations")
    model = tensorml.convert(source)
    for first, last in ((0, 4), (3, 9)):
        chosen = {"ntree_start": first, "ntree_end": last, "prediction_type": RAW}
        assert_equal_outputs(model.predict(X, **chosen), source.predict(X, **chosen), "range")


def retyped(source: CatBoost, kind: str) -> CatBoost:
    """The model with all its CTRs declared to be of another type, as CatBoost loads it."""
    content = bytearray(serialized(source))
    found = [(8, feature.table(0).table(0)) for feature in core(bytes(content)).table(1).tables(7)]
    start = 8 + int.from_bytes(content[4:8], "little")
    position = start + 8
    for _ in range(int.from_bytes(content[start : start + 4], "little")):
        size = int.from_bytes(content[position - 4 : position], "little")
        own = memoryview(bytes(content[position : position + size]))
        found.append((position, table(own, int.from_bytes(own[:4], "little")).table(0)))
        position += size + 4
    for first, base in found:
        content[first + base.at + base.fields[1]] = KINDS.index(kind)
    return CatBoost().load_model(blob=bytes(content))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("BinarizedTargetMeanValue of numbers", FLOAT_MEAN), ("Counter of two classes", FREQUENCY)],
)
def test_the_types_of_ctr_that_only_gpus_train_are_exact(name: str, kind: str, executor: str) -> None:
    source = retyped(fitted(name), kind)
    assert {ctr.base.kind for ctr in read_ctrs(source).ctrs} == {kind}
    assert_exact(source, X, executor)


def test_prior_denominators_other_than_1_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    fitted("combinations").save_model(str(path), format="json")
    content = json.loads(path.read_text(encoding="utf-8"))
    for ctr in content["features_info"]["ctrs"]:
        ctr["prior_denomerator"], ctr["shift"] = 2.7, 0.1
    path.write_text(json.dumps(content), encoding="utf-8")
    source = CatBoost().load_model(str(path), format="json")
    assert {float(ctr.prior_denominator) for ctr in read_ctrs(source).ctrs} == {float(np.float32(2.7))}
    assert_exact(source, X)


@pytest.mark.parametrize("policy", ["IntersectingCountersAverage", "LeaveMostDiversifiedTable"])
def test_sums_of_models_are_exact(policy: str) -> None:
    other = CatBoostClassifier(**GIVEN).fit(TRAIN[:200], TWO[:200])
    parts = [fitted("Borders of two classes"), other, fitted("combinations")]
    assert_exact(catboost.sum_models(parts, weights=[0.5, 1, 2], ctr_merge_policy=policy), X)


def test_loaded_copied_and_shrunk_models_are_exact(tmp_path: Path) -> None:
    source = fitted("combinations")
    path = tmp_path / "model.cbm"
    source.save_model(str(path))
    assert_exact(CatBoost().load_model(str(path)), X)
    assert_exact(CatBoost().load_model(blob=path.read_bytes()), X)
    source.shrink(5)
    assert_exact(source.copy(), X)


def test_a_model_from_json_is_converted_to_what_it_predicts(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    for name in ("combinations", "several targets"):  # CatBoost reads the second one otherwise than it wrote it
        fitted(name).save_model(str(path), format="json")
        assert_exact(CatBoost().load_model(str(path), format="json"), X)


def test_a_model_without_ctr_tables_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="final_ctr_computation_mode='Skip'"):
        tensorml.convert(fitted("combinations", final_ctr_computation_mode="Skip"))
    assert_exact(fitted("one-hot", final_ctr_computation_mode="Skip"), X)  # reads no table


def test_a_model_that_splits_on_nothing_is_exact() -> None:
    given: dict[str, Any] = {key: value for key, value in GIVEN.items() if key != "depth"}
    given |= {"cat_features": ["word"], "grow_policy": "Lossguide", "min_data_in_leaf": 1000}
    source = CatBoostRegressor(**given).fit(TRAIN[["word"]], SCORE)
    assert_exact(source, X[["word"]])


def objects(values: list[Any]) -> pd.Series:
    return pd.Series((values * len(X))[: len(X)], dtype=object)


POLARS = pl.DataFrame(X.to_dict("list"))
TAKEN: dict[str, Any] = {
    "one row": X[:1],
    "categories": X.astype(dict.fromkeys(CATEGORICAL, "category")),
    "unused categories": X.assign(word=pd.Categorical(X.word, [*X.word.unique(), "other", 5])),
    "objects": X.astype(dict.fromkeys(CATEGORICAL, object)),
    "all objects": X.astype(object),
    "nullable strings": X.astype({"word": "string"}),
    "nullable integers": X.astype({"number": "Int64"}),
    "nullable bools": X.assign(number=X.number > 0).astype({"number": "boolean"}),
    "nullable numbers": X.astype({"x": "Float64"}),
    "integers as strings": X.assign(number=X.number.astype(str)),
    "small integers": X.astype({"number": "int8"}),
    "unsigned integers": X.assign(number=np.full(len(X), 2**64 - 1, np.uint64)),
    "bools": X.assign(number=X.number > 0),
    "mixed objects": X.assign(word=objects(["x", b"x", 1, True, np.int8(3), np.str_("y"), np.True_, -(2**63)])),
    "odd texts": X.assign(word=objects(["", "\0", "a\0", "é", "\n", "\U0001f642", '"'])),
    "float32": X.astype({"x": np.float32, "z": np.float32}),
    "integers as numbers": X.assign(x=2**60 + 3, z=True),
    "objects as numbers": X.assign(x=objects([None, 1.5, True, 2**70, np.float32(0.1), -1, np.nan, 1e300])),
    "other order": X[["colour", "z", "word", "number", "x", "long"]],
    "a further column": X.assign(more=1.0),
    "array of objects": X.to_numpy(),
    "list": X.to_numpy().tolist(),
    "list of numbers": [[1, 2.5, 3, 4, 5.5, 6], [7, 8, 9, 0, 1, 2]],
    "integers alone": np.arange(12).reshape(2, 6),
    "bools alone": np.arange(12).reshape(2, 6) % 2 == 0,
    "frame of integers": pd.DataFrame(np.arange(12).reshape(2, 6), columns=NAMES),
    "sparse integers": scipy.sparse.csr_matrix(np.arange(12).reshape(2, 6) % 3),
}
if hasattr(catboost.core, "polars"):  # CatBoost 1.2.8 does not take them
    TAKEN["polars"] = POLARS
    TAKEN["polars enum"] = POLARS.with_columns(pl.col("colour").cast(pl.Enum(sorted(set(X.colour)))))


@pytest.fixture(scope="module")
def source() -> CatBoost:
    """A model with one-hot splits and CTRs, of names."""
    words = TRAIN.word.str.len() % 3 + TRAIN.long.str.len() % 2 + (TRAIN.colour == "red") + TRAIN.number % 2
    options: dict[str, Any] = {"one_hot_max_size": 4, "model_size_reg": 0, "iterations": 12}
    return CatBoostRegressor(**GIVEN | options).fit(TRAIN, words + TRAIN.x.fillna(0) - TRAIN.z.fillna(0))


@pytest.fixture(scope="module")
def model(source: CatBoost) -> tensorml.TensorModel:
    return tensorml.convert(source, executor="reference")


@pytest.mark.parametrize("kind", TAKEN)
def test_inputs_that_catboost_takes_give_its_values(source: CatBoost, kind: str, executor: str) -> None:
    x = TAKEN[kind]
    assert_equal_outputs(raw(tensorml.convert(source, x, executor=executor), x), raw(source, x), RAW)


def test_the_model_of_inputs_has_splits_of_each_kind(source: CatBoost) -> None:
    known = export(source).categorical
    assert known is not None
    assert len(known.floats) == 2
    assert set(known.names.values()) == set(CATEGORICAL)
    assert known.one_hot
    assert known.ctr_borders


def test_a_batch_of_no_rows_has_no_results(model: tensorml.TensorModel) -> None:
    assert raw(model, X[:0]).shape == (0,)


REFUSED: dict[str, tuple[Any, str]] = {
    "floats": (X.assign(number=X.number * 1.0), "'number' is in the place of a categorical one, but holds floats"),
    "an array of floats": (np.ones((2, 6)), "column 0 is categorical, but holds float64 numbers"),
    "float objects": (X.assign(word=objects(["x", 1.0])), "column 'word' holds 1.0: a category is a string or an inte"),
    "a float beside its integer": (X.assign(word=objects([1, 1.0])), "column 'word' holds 1.0: a category is"),
    "NaN": (X.assign(word=objects(["x", np.nan])), "column 'word' holds nan: a category is"),
    "None": (X.assign(word=objects(["x", None])), "column 'word' holds None: a category is"),
    "NA": (X.assign(word=objects(["x", pd.NA])), "column 'word' holds <NA>: a category is"),
    "a missing string": (X.assign(word=pd.Series(["x", None] * 60, dtype="str")), "column 'word' holds (nan|None)"),
    "dates": (X.assign(word=pd.Timestamp("2020-01-01")), "column 'word' holds .*2020.*: a category is"),
    "a huge integer": (X.assign(word=objects([2**63])), "an integer of 64 bits"),
    "a missing category": (X.assign(word=pd.Categorical(["x", None] * 60)), "column 'word' holds None"),
    "float categories": (X.assign(word=pd.Categorical(["x"] * 120, ["x", 1.5])), "column 'word' holds 1.5"),
    "a missing integer": (X.assign(number=pd.array([1, None] * 60, "Int64")), "missing values or fractions"),
    "fractions": (X.assign(number=pd.array([1, 0.5] * 60, "Float64")), "missing values or fractions"),
    "no text": (X.assign(word=objects(["\ud800"])), "which is no text"),
    "NA among numbers": (X.assign(x=objects([1, pd.NA])), "column 'x' holds <NA>, which is not a number"),
    "categories for numbers": (X.assign(x=pd.Categorical([1] * 120)), "'x' is of a dtype of categories, but the model"),
    "an order of other kinds": (
        X.assign(x=1)[["x", "word", "colour", "number", "z", "long"]],
        "column 'x' is a number, in the place of a category. Order the columns as in training",
    ),
    "no last column": (X[NAMES[:-1]], "columns are missing: 'long'|column 5 is categorical, but there are 5 columns"),
    "another name": (X.rename(columns={"word": "w"}), "columns are missing: 'word'"),
    "a narrow array": (X.to_numpy()[:, :5], "X has 5 features"),
    "polars null": (POLARS.with_columns(colour=pl.Series(["red", None] * 60)), "column 'colour' holds None"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_inputs_that_catboost_refuses_are_refused(source: CatBoost, model: tensorml.TensorModel, kind: str) -> None:
    x, message = REFUSED[kind]
    with pytest.raises((CatBoostError, TypeError, OverflowError, SystemError)):
        raw(source, x)
    with pytest.raises(InputError, match=message):
        raw(model, x)


def test_categories_are_refused_in_every_executor(source: CatBoost, executor: str) -> None:
    with pytest.raises(InputError, match="column 'word' holds None: a category is"):
        raw(tensorml.convert(source, executor=executor), X.assign(word=objects(["x", None])))


STRICTER: dict[str, tuple[Any, str]] = {
    "numbers as strings": (X.assign(x="1.5"), "column 'x' holds '1.5', which is not a number. Convert it"),
    "other numbers": (X.assign(x=objects([Decimal("0.5")])), "which is not a number"),
    "other numbers as categories": (X.assign(word=objects([Decimal(1)])), "a category is a string or an integer"),
    "an array of strings": (X.to_numpy().astype(str), "column 1 holds '.*', which is not a number"),
}


@pytest.mark.parametrize("kind", STRICTER)
def test_what_is_refused_although_catboost_takes_it_says_so(
    source: CatBoost, model: tensorml.TensorModel, kind: str
) -> None:
    x, message = STRICTER[kind]
    raw(source, x)
    with pytest.raises(InputError, match=message):
        raw(model, x)


def test_a_category_column_of_polars_is_taken(model: tensorml.TensorModel) -> None:
    """CatBoost 1.2.10 calls what polars 2 removed, and ends the process."""
    assert_equal_outputs(raw(model, POLARS.with_columns(pl.col("colour").cast(pl.Categorical))), raw(model, X), RAW)


def test_a_model_without_names_reads_by_place() -> None:
    source = CatBoostClassifier(**GIVEN | {"cat_features": [0, 2, 3, 5]}).fit(TRAIN.to_numpy(), TWO)
    assert_exact(source, X.to_numpy())
    assert_exact(source, X)
    assert_exact(source, X[["colour", "z", "word", "number", "x", "long"]])


def test_a_category_that_no_split_reads_may_be_called_otherwise() -> None:
    source = CatBoostClassifier(**GIVEN | {"cat_features": [*CATEGORICAL, "constant"]})
    source.fit(TRAIN.assign(constant="c", zero=0.0), TWO)
    assert_exact(source, X.assign(other="d", zero=1.0))
    assert_exact(source, X.assign(constant="d"))
    with pytest.raises(InputError, match="'constant' is in the place of a categorical one, but holds floats"):
        raw(tensorml.convert(source), X.assign(constant=1.5, zero=1.0))
    with pytest.raises(InputError, match="column 6 is categorical, but there are 6 columns"):
        raw(tensorml.convert(source), X)


def test_tensors_of_integers_give_tensors(source: CatBoost) -> None:
    numbers = np.arange(12).reshape(2, 6)
    given: dict[str, Any] = GIVEN | {"cat_features": [0, 1]}
    alone = CatBoostRegressor(**given).fit(TRAIN[["number", "number"]].to_numpy(), SCORE)
    for fit, x in ((source, numbers), (alone, numbers[:, :2])):
        for name in ("torch", "reference"):
            result = raw(tensorml.convert(fit, executor=name), torch.from_numpy(x))
            assert isinstance(result, torch.Tensor)
            np.testing.assert_array_equal(result.numpy(), raw(fit, x))


def test_many_rows_are_exact_whatever_the_tiles(source: CatBoost) -> None:
    x = rows(20_000, [*WORDS, "x", "y"], 9)
    x["colour"] = x["colour"].astype("category")
    model = tensorml.convert(source, executor="torch", memory=2**20)
    assert_equal_outputs(raw(model, x), raw(source, x), RAW)


LOADED = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("catboost", "tensorml_catboost"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import numpy as np, pandas as pd, tensorml
model = tensorml.load(sys.argv[1])
x = pd.read_pickle(sys.argv[2])
np.save(sys.argv[3], model.predict(x, prediction_type="RawFormulaVal"))
"""


def test_a_file_predicts_without_catboost(tmp_path: Path) -> None:
    combinations = fitted("combinations")
    paths = [str(tmp_path / name) for name in ("model.safetensors", "x.pkl", "result.npy")]
    tensorml.convert(combinations, X).save(paths[0])
    X.to_pickle(paths[1])
    subprocess.run([sys.executable, "-c", LOADED, *paths], check=True)
    np.testing.assert_array_equal(np.load(paths[2]), raw(combinations, X))


def test_torchscript_files_are_refused(model: tensorml.TensorModel, tmp_path: Path) -> None:
    raw(model, np.arange(12).reshape(2, 6))
    with pytest.raises(UnsupportedModelError, match=r"TorchScript takes one tensor\. Save it as \.safetensors"):
        model.save(tmp_path / "model.pt")


def test_texts_and_embeddings_are_refused() -> None:
    given = GIVEN | {"cat_features": ["colour"], "text_features": ["text"]}
    frame = TRAIN[["colour", "x"]].assign(text=[f"a b {i % 5}" for i in range(ROWS)])
    with pytest.raises(UnsupportedModelError, match="it has text features: 'text'"):
        tensorml.convert(CatBoostClassifier(**given).fit(frame, TWO))


def test_the_operators_refuse_numbers_of_other_kinds() -> None:
    floats = Input("x", TensorType(("N", 1), np.dtype(np.float32)))
    with pytest.raises(GraphTypeError, match="CategoryHash does not take"):
        CategoryHash(floats, "'c'")
    with pytest.raises(GraphTypeError, match="Float32 does not take"):
        Float32(floats, "'c'")
