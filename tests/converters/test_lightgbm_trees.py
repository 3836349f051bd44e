from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import Booster, Dataset, LGBMClassifier, LGBMModel, LGBMRanker, LGBMRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler

import tensorml
from tensorml.cli import main
from tensorml.errors import ArtifactError, InputError, NotFittedError, UnsupportedModelError
from tensorml_lightgbm import load_model, trees
from tensorml_lightgbm.text import loads
from tests.parity import assert_equal_outputs
from tests.traps import trap_rows

LINK = 1e-15  # relative: what the link functions may differ by; margins, leaves and labels have equal bits
OF_ONE = 5e-16  # absolute: what a probability may differ by that is 1 less another
EDGE = float(np.float32(1e-35))
ODD = (np.nan, -0.0, 0.0, 5e-324, -5e-324, EDGE, -EDGE, np.nextafter(EDGE, 1), -np.nextafter(EDGE, 1), 2e-35, -2e-35)
ODD += (1e-45, 1e-38, 3e38, -3e38, np.inf, -np.inf)
FROM_47 = hasattr(LGBMClassifier, "decision_function")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5)).round(2)
X[RNG.random(X.shape) < 0.1] = np.nan
X[RNG.random(X.shape) < 0.2] = 0.0
FILLED = np.nan_to_num(X)
NUMBER = FILLED[:, 0] * FILLED[:, 1] + FILLED[:, 2] + (FILLED[:, 3] == 0) * 0.7
TWO = (NUMBER > 0).astype(int)
THREE = np.digitize(NUMBER, [-0.3, 0.5])
SMALL: dict[str, Any] = {"n_estimators": 6, "num_leaves": 8, "min_child_samples": 3, "n_jobs": 1, "verbose": -1}
SETS: dict[str, Any] = {"min_data_per_group": 1, "cat_smooth": 1.0, "cat_l2": 0.0}
FOREST: dict[str, Any] = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}

pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")

MODELS = {
    "one output": (LGBMRegressor(**SMALL), X, NUMBER),
    "trained without NaN": (LGBMRegressor(**SMALL), FILLED, NUMBER),
    "zeros are missing": (LGBMRegressor(zero_as_missing=True, **SMALL), X, NUMBER),
    "zeros are missing, none is NaN": (LGBMRegressor(zero_as_missing=True, **SMALL), FILLED, NUMBER),
    "nothing is missing": (LGBMRegressor(use_missing=False, **SMALL), X, NUMBER),
    "float32 features": (LGBMRegressor(**SMALL), X.astype(np.float32), NUMBER),
    "two classes": (LGBMClassifier(**SMALL), X, TWO),
    "three classes": (LGBMClassifier(**SMALL), X, THREE),
    "one class": (LGBMClassifier(**SMALL), X, np.zeros(300, int)),
    "dart": (LGBMClassifier(boosting_type="dart", drop_rate=0.5, **SMALL), X, THREE),
    "goss": (LGBMRegressor(data_sample_strategy="goss", **SMALL), X, NUMBER),
    "random forest": (LGBMRegressor(**FOREST, **SMALL), X, NUMBER),
    "random forest of three classes": (LGBMClassifier(**FOREST, **SMALL), X, THREE),
    "linear leaves": (LGBMRegressor(linear_tree=True, **SMALL), X, NUMBER),
    "linear leaves of three classes": (LGBMClassifier(linear_tree=True, **SMALL), FILLED, THREE),
    "linear leaves in a forest": (LGBMRegressor(linear_tree=True, **FOREST, **SMALL), X, NUMBER),
    "extra trees": (LGBMRegressor(extra_trees=True, path_smooth=0.5, max_bin=15, **SMALL), X, NUMBER),
    "monotone": (LGBMRegressor(monotone_constraints=[1, 0, -1, 0, 0], **SMALL), X, NUMBER),
    "interactions": (LGBMRegressor(interaction_constraints=[[0, 1], [2, 3, 4]], **SMALL), X, NUMBER),
    "without boost_from_average": (LGBMRegressor(boost_from_average=False, **SMALL), X, NUMBER),
    "one tree": (LGBMRegressor(**{**SMALL, "n_estimators": 1}), X, NUMBER),
    "single leaves": (LGBMClassifier(**{**SMALL, "min_child_samples": 1000}), X, THREE),
    "deep": (LGBMRegressor(**{**SMALL, "num_leaves": 120, "min_child_samples": 1, "n_estimators": 2}), X, NUMBER),
    "quantized training": (LGBMRegressor(use_quantized_grad=True, **SMALL), X, NUMBER),
}


def booster_of(model: Any) -> Booster:
    return model if isinstance(model, Booster) else model.booster_


def nodes_of(model: Any) -> Iterator[dict[str, Any]]:
    """All inner nodes, from the JSON export, which the converter does not read."""
    waiting = [tree["tree_structure"] for tree in booster_of(model).dump_model()["tree_info"]]
    while waiting:
        node = waiting.pop()
        if "split_feature" in node:
            yield node
            waiting += [node["left_child"], node["right_child"]]


def thresholds_of(model: Any) -> list[tuple[int, float]]:
    return [(n["split_feature"], float(n["threshold"])) for n in nodes_of(model) if n["decision_type"] == "<="]


def traps(model: Any, x: np.ndarray = X, rows: int = 1000) -> np.ndarray:
    return trap_rows(x.astype(np.float64), thresholds_of(model), rows, odd=ODD)


def assert_agrees(source: Any, x: Any, executor: str, *, link: float = LINK, **options: Any) -> Any:
    """Raw scores, leaves and labels have equal bits; probabilities and linked predictions agree within `link`."""
    model = tensorml.convert(source, executor=executor)
    for variant in ({"raw_score": True}, {"pred_leaf": True}, {}):
        both = variant | options
        assert_equal_outputs(
            model.predict(x, **both), source.predict(x, **both), str(both), rtol=0 if variant else link
        )
    for method in ("predict_proba", "decision_function"):
        assert hasattr(model, method) == hasattr(source, method)
        if hasattr(source, method):
            expected = getattr(source, method)(x, **options)
            assert_equal_outputs(getattr(model, method)(x, **options), expected, method, rtol=link, atol=OF_ONE)
    return model


def single(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        return x.astype(np.float32)


@pytest.mark.parametrize("name", MODELS)
def test_models_agree_on_every_threshold_and_beside_it(executor: str, name: str):
    model, x, y = MODELS[name]
    model.fit(x, y)
    rows = traps(model)
    for batch in (rows, single(rows)):
        assert_agrees(model, batch, executor)


@pytest.mark.parametrize("name", MODELS)
def test_boosters_agree_on_every_threshold_and_beside_it(name: str):
    model, x, y = MODELS[name]
    booster = model.fit(x, y).booster_
    rows = traps(booster)
    for batch in (rows, single(rows)):
        assert_agrees(booster, batch, "reference")


@settings(max_examples=25)
@given(
    st.lists(st.one_of(st.floats(-1e30, 1e30), st.sampled_from([np.nan, 0.0, EDGE, -EDGE])), min_size=8, max_size=40),
    st.sampled_from([{}, {"zero_as_missing": True}, {"use_missing": False}, {"linear_tree": True}]),
    st.integers(0, 2**32 - 1),
)
def test_leaves_agree_on_the_numbers_that_the_trees_were_grown_on(values: list[float], settings: Any, seed: int):
    rng = np.random.default_rng(seed)
    x = np.array(values)[:, None]
    model = LGBMRegressor(n_estimators=2, min_child_samples=1, min_data_in_bin=1, n_jobs=1, verbose=-1, **settings)
    model.fit(x, rng.normal(size=len(x)))
    rows = traps(model, x, 100)
    assert_agrees(model, rows, "reference")
    assert_agrees(model, single(rows), "reference")


def test_zeros_take_the_default_side_only_where_a_node_says_so():
    """All three missing types occur, Zero with either default side and thresholds on both sides of the band."""
    first = lightgbm.train({"zero_as_missing": True, **training()}, Dataset(X, NUMBER), 6)
    second = lightgbm.train({"use_missing": False, **training()}, Dataset(X, NUMBER), 3, init_model=first)
    model = lightgbm.train(training(), Dataset(X, NUMBER), 3, init_model=second)
    seen = {(n["missing_type"], n["default_left"], n["threshold"] > 0) for n in nodes_of(model)}
    assert {kind for kind, _, _ in seen} == {"None", "Zero", "NaN"}
    assert len([key for key in seen if key[0] == "Zero"]) >= 3
    rows = traps(model)
    for batch in (rows, single(rows)):
        assert_agrees(model, batch, "reference")


def training(**more: Any) -> dict[str, Any]:
    return {"num_threads": 1, "verbose": -1, "num_leaves": 12, "min_data_in_leaf": 3, **more}


def test_float64_features_that_float32_does_not_tell_apart_keep_their_leaves(executor: str):
    x = 1000 + RNG.normal(size=(500, 2)) * 1e-5
    model = LGBMRegressor(**SMALL).fit(x, np.sin(1e5 * (x[:, 0] - 1000)) + 1e5 * (x[:, 1] - 1000))
    converted = assert_agrees(model, x, executor)
    assert (converted.predict(x) != converted.predict(single(x).astype(np.float64))).mean() > 0.5


DECISIONS = {"None": 0, "None, left": 2, "Zero": 4, "Zero, left": 6, "NaN": 8, "NaN, left": 10}


@pytest.mark.parametrize("decision", DECISIONS)
def test_what_is_nearly_zero_is_zero(executor: str, decision: str):
    """Thresholds inside the band, which the library's own training does not write, at its edges and beside it."""
    text = LGBMRegressor(**{**SMALL, "n_estimators": 1}).fit(X, NUMBER).booster_.model_to_string()
    rows = RNG.choice([0, -0.0, 5e-36, -5e-36, 4e-36, EDGE, -EDGE, 2e-35, -2e-35, 1.0, -1.0, np.nan], (500, 5))
    every = ("5e-36", "-5e-36", "0", "-0.0", repr(EDGE), repr(-EDGE), "1e-300", "-1e-300", "2e-35", "-2e-35")
    batches = (rows, single(rows)) if executor == "reference" else (single(rows),)
    for threshold in every if executor == "reference" else every[:1]:
        changed = with_line(with_line(text, "threshold", threshold), "decision_type", str(DECISIONS[decision]))
        model = Booster(model_str=changed.replace("tree_sizes=", "sizes="))
        for batch in batches:
            assert_agrees(model, batch, executor)


def test_what_is_nearly_zero_is_zero_to_linear_leaves_too():
    """In a model string whose second tree has steep slopes; the first one has none."""
    text = LGBMRegressor(linear_tree=True, **{**SMALL, "n_estimators": 2}).fit(X, NUMBER).booster_.model_to_string()
    first, _, second = text.partition("Tree=1")
    old = next(line for line in second.split("\n") if line.startswith("leaf_coeff="))
    steep = second.replace(old, "leaf_coeff=" + " ".join(["1e40"] * len(old.split("=")[1].split())))
    model: Any = Booster(model_str=f"{first}Tree=1{steep}".replace("tree_sizes=", "sizes="))
    rows = RNG.choice([0, 5e-36, -5e-36, EDGE, -EDGE, np.nextafter(EDGE, 1), 2e-35], (300, 5))
    assert len(np.unique(model.predict(rows))) > 3
    for batch in (rows, single(rows)):
        assert_agrees(model, batch, "reference")


def with_line(text: str, key: str, value: str) -> str:
    """The model string with one value for all nodes of the tree."""
    old = next(line for line in text.split("\n") if line.startswith(f"{key}="))
    return text.replace(old, f"{key}=" + " ".join([value] * (old.count(" ") + 1)))


def categorical_rows() -> np.ndarray:
    x = X.copy()
    x[:, 0] = RNG.integers(0, 40, 300)
    x[:, 1] = RNG.integers(0, 4, 300)
    x[:, 2] = RNG.choice([0, 3, 70, 5000, 5001, 1_000_003], 300)
    x[RNG.random(x.shape) < 0.05] = np.nan
    return x


ODD_CATEGORIES = [-1, -0.5, -0.999, -0.0, 0.4, 1.7, 2.999, 39, 39.5, 40, 99, 1e7, 2.0**31, -(2.0**31), 1e10, -1e10]
ODD_CATEGORIES += [70.9, 69.9, 4999.9, 5000.1, 5002, 1_000_002.9, 1_000_003.5, 1_000_004, 1e-40, 1e300, np.nan]
ODD_CATEGORIES += [np.inf, -np.inf]


@pytest.mark.parametrize("onehot", [1, 100], ids=["sets", "one category a split"])
def test_categories_in_the_set_go_left_all_others_right(executor: str, onehot: int):
    x = categorical_rows()
    y = NUMBER + 2 * (x[:, 0] % 3 == 0) + (x[:, 1] == 2) + (x[:, 2] > 70) + 3 * (x[:, 2] == 0)
    model = LGBMRegressor(max_cat_to_onehot=onehot, **SETS, **{**SMALL, "n_estimators": 10})
    model.fit(x, y, categorical_feature=[0, 1, 2])
    assert {n["split_feature"] for n in nodes_of(model) if n["decision_type"] == "=="} == {0, 1, 2}
    odd = np.tile(x, (4, 1))
    odd[:, :3] = RNG.choice(ODD_CATEGORIES, (1200, 3))
    for rows in (x, odd, single(odd)):
        assert_agrees(model, rows, executor)


def test_large_categories_take_no_giant_tables():
    x = categorical_rows()
    model = LGBMRegressor(**SETS, **SMALL).fit(x, x[:, 2] > 70, categorical_feature=[2])
    graph = tensorml.convert(model, executor="reference").graph
    assert sum(v.nbytes for op in graph.order for v in op.attributes.values() if isinstance(v, np.ndarray)) < 100_000


def test_too_many_categories_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trees, "LARGEST_TABLE", 3)
    model = LGBMRegressor(**SETS, **SMALL).fit(categorical_rows(), NUMBER, categorical_feature=[0])
    with pytest.raises(UnsupportedModelError, match=r"sets of up to \d+ categories.*Train on fewer categories"):
        tensorml.convert(model, executor="reference")


def test_a_feature_may_be_categories_in_some_trees_and_numbers_in_others(executor: str):
    x = categorical_rows()
    first = lightgbm.train(training(**SETS), Dataset(x, NUMBER, categorical_feature=[0, 2]), 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = lightgbm.train(training(), Dataset(x, NUMBER + x[:, 0] % 5), 3, init_model=first)
    kinds = {(n["split_feature"], n["decision_type"]) for n in nodes_of(model)}
    assert {(0, "=="), (0, "<=")} <= kinds
    assert_agrees(model, traps(model, x), executor)


def frame() -> Any:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "word": pd.Categorical(rng.choice(["p", "q", "r", "s"], 300)),
            "x": FILLED[:, 0].astype(np.float32),
            "number": pd.Categorical(rng.choice([10, 20, 30], 300)),
            "count": rng.integers(0, 9, 300),
            "flag": TWO == 1,
        }
    )
    table.loc[::17, "word"] = np.nan
    return table


def frame_model() -> Any:
    table = frame()
    y = 2.0 * (table["word"] == "q") + 1.5 * (table["number"] == 20) + table["x"] + table["count"] / 4
    return LGBMRegressor(**SETS, **SMALL).fit(table, y)


def test_categories_of_a_frame_are_those_of_training_by_value(executor: str):
    table, model = frame(), frame_model()
    assert {0, 2} <= {n["split_feature"] for n in nodes_of(model) if n["decision_type"] == "=="}
    other = table.copy()
    other["word"] = pd.Categorical(RNG.choice(["s", "unseen", "q", "p"], 300), categories=["unseen", "s", "q", "p"])
    other["number"] = pd.Categorical(RNG.choice([30.0, 20.0, 99.0], 300))
    for source in (model, model.booster_):
        for rows in (table, other, table[:1], table.rename(columns={"word": "other name"})):
            assert_agrees(source, rows, executor)
    assert not np.array_equal(model.predict(table), model.predict(other))


def test_an_array_holds_the_codes_of_categories(executor: str):
    table, model = frame(), frame_model()
    codes = table.assign(word=table["word"].cat.codes, number=table["number"].cat.codes).to_numpy(np.float64)
    converted = assert_agrees(model, codes, executor)
    assert_equal_outputs(converted.predict(codes), model.predict(table), "predict")


def test_frames_with_other_columns_of_categories_are_refused():
    table, model = frame(), frame_model()
    converted = tensorml.convert(model, executor="reference")
    for wrong in (table.assign(word=1.0), table.assign(x=table["word"])):
        with pytest.raises(ValueError, match="categorical_feature do not match"):
            model.predict(wrong)
        with pytest.raises(InputError, match=r"categorical_feature do not match: 2 columns were .* in training, [13]"):
            converted.predict(wrong)
    on_arrays = tensorml.convert(LGBMRegressor(**SMALL).fit(FILLED[:, :2], NUMBER), executor="reference")
    with pytest.raises(InputError, match=r"column 'word' is of a category dtype, but the model was not trained on a D"):
        on_arrays.predict(table[["word", "x"]])
    with pytest.raises(InputError, match=r"column 'x' holds no numbers: LightGBM takes int, float and bool columns"):
        converted.predict(table.assign(x=table["x"].astype(str).astype(object)))


def test_columns_of_a_frame_are_found_by_position(executor: str):
    table = frame()[["x", "count", "flag"]]
    model = LGBMRegressor(**SMALL).fit(table, NUMBER)
    nullable = table.astype({"count": "Int64", "flag": "boolean"})
    nullable.loc[3:9, "count"] = pd.NA
    for rows in (table, table.rename(columns={"x": "count", "count": "x"}), table[["flag", "x", "count"]], nullable):
        converted = assert_agrees(model, rows, executor)
    with pytest.raises(InputError, match=r"number of features in data \(2\) is not the same .* training data \(3\)"):
        converted.predict(table[["x", "count"]])


def test_names_are_checked_where_the_call_asks_for_it():
    table = frame()[["x", "count", "flag"]]
    model = LGBMRegressor(**SMALL).fit(table, NUMBER)
    converted = tensorml.convert(model, executor="reference")
    expected = model.predict(table, validate_features=True)
    assert_equal_outputs(converted.predict(table, validate_features=True), expected, "predict")
    wrong = table.rename(columns={"x": "y"})
    with pytest.raises(lightgbm.basic.LightGBMError):
        model.predict(wrong, validate_features=True)
    with pytest.raises(InputError, match="Expected the columns x, count, flag, got y, count, flag"):
        converted.predict(wrong, validate_features=True)


def large_integers() -> tuple[np.ndarray, LGBMRegressor]:
    """Integers that float32 does not hold, and a model with a threshold between them."""
    x = 2**24 + RNG.integers(0, 4, (200, 2))
    model = LGBMRegressor(**{**SMALL, "min_data_in_bin": 1}).fit(x.astype(np.float64), x[:, 0] % 4 + x[:, 1] % 2)
    return x, model


def test_integers_are_float32_in_arrays_and_float64_in_frames(executor: str):
    x, model = large_integers()
    for source in (model, model.booster_):
        for rows in (x, x.astype(np.int32), x.astype(np.uint64), x.tolist(), pd.DataFrame(x), x.astype(np.float64)):
            converted = assert_agrees(source, rows, executor)
    assert not np.array_equal(converted.predict(x), converted.predict(pd.DataFrame(x)))


@pytest.mark.skipif(not FROM_47, reason="LightGBM reads polars frames from 4.7 on")
def test_polars_frames_are_read_in_float64(executor: str):
    polars = pytest.importorskip("polars")
    x, model = large_integers()
    for source in (model, model.booster_):
        assert_agrees(source, polars.DataFrame(x), executor)
        assert_agrees(source, polars.DataFrame({"a": [1, None, 2**24 + 3], "b": [1.5, 2**24 + 1, None]}), executor)
    with pytest.raises(InputError, match=r"column 'a' holds no numbers"):
        tensorml.convert(model, executor=executor).predict(polars.DataFrame({"a": ["p"], "b": [1.0]}))


def test_objects_are_float64_to_the_estimator_and_float32_to_the_booster(executor: str):
    x, model = large_integers()
    rows = x.astype(np.float64).astype(object)
    estimator, booster = (assert_agrees(source, rows, executor) for source in (model, model.booster_))
    assert not np.array_equal(estimator.predict(rows), booster.predict(rows))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int16, np.int64, np.float16])
def test_integers_bools_and_half_precision_are_taken(executor: str, dtype: type):
    model = LGBMRegressor(**SMALL).fit(X, NUMBER)
    assert_agrees(model, np.abs(FILLED * 2).astype(dtype), executor)


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_a_sparse_matrix_does_not_store_is_zero(executor: str, form: str, dtype: type):
    model = LGBMClassifier(zero_as_missing=True, **SMALL).fit(X, TWO)
    x = scipy.sparse.csr_matrix(X.astype(dtype)).asformat(form)
    converted = assert_agrees(model, x, executor)
    assert_equal_outputs(converted.predict_proba(X.astype(dtype)), converted.predict_proba(x), "dense")
    assert_agrees(model.booster_, x, executor)


def test_a_step_of_a_pipeline_agrees(executor: str):
    for step in (StandardScaler(), KBinsDiscretizer(4, encode="onehot", strategy="uniform")):
        model = make_pipeline(step, LGBMClassifier(**SMALL)).fit(FILLED, THREE)
        converted = tensorml.convert(model, executor=executor)
        np.testing.assert_array_equal(converted.predict(FILLED), model.predict(FILLED))
        np.testing.assert_allclose(converted.predict_proba(FILLED), model.predict_proba(FILLED), rtol=LINK, atol=OF_ONE)


@pytest.mark.parametrize(
    "options",
    [
        {"num_iteration": 2},
        {"start_iteration": 2},
        {"start_iteration": 1, "num_iteration": 3},
        {"start_iteration": 4, "num_iteration": 50},
        {"start_iteration": -5, "num_iteration": 0},
        {"num_iteration": -3},
        {"start_iteration": 6},
        {"start_iteration": 99},
    ],
    ids=str,
)
def test_iterations_are_chosen_at_call_time(options: dict[str, Any]):
    for model, y in ((LGBMRegressor(**SMALL), NUMBER), (LGBMClassifier(**SMALL), THREE)):
        assert_agrees(model.fit(X, y), X, "reference", **options)
        assert_agrees(model.booster_, X, "reference", **options)


@pytest.mark.parametrize("options", [{}, {"num_iteration": 2}, {"start_iteration": 3}, {"start_iteration": 6}], ids=str)
def test_a_forest_is_a_mean_but_its_raw_score_a_sum(executor: str, options: dict[str, Any]):
    model = LGBMRegressor(**FOREST, **SMALL).fit(X, NUMBER)
    with np.errstate(all="ignore"):
        converted = assert_agrees(model, X, executor, link=0, **options)
        rounds = min(6 - options.get("start_iteration", 0), options.get("num_iteration", 6))
        mean = converted.predict(X, raw_score=True, **options) / rounds
    np.testing.assert_array_equal(converted.predict(X, **options), mean)


def test_linear_leaves_with_iterations_chosen_at_call_time():
    model = LGBMRegressor(linear_tree=True, **SMALL).fit(X, NUMBER)
    for options in ({"start_iteration": 1}, {"start_iteration": 3, "num_iteration": 2}, {"num_iteration": 1}):
        assert_agrees(model, X, "reference", **options)


def test_linear_leaves_fall_back_to_their_value_where_a_feature_is_missing():
    """Also in linear trees beside plain ones, and with infinities."""
    plain = lightgbm.train(training(), Dataset(X, NUMBER), 2)
    model = lightgbm.train(training(linear_tree=True), Dataset(X, NUMBER), 3, init_model=plain)
    text = loads(model.model_to_string())
    assert text.linear is not None
    assert text.linear.tree.tolist() == [False, False, True, True, True]
    rows = traps(model)
    assert np.isnan(rows).any()
    assert np.isinf(rows).any()
    assert_agrees(model, rows, "reference")


def early_stopped(**more: Any) -> Booster:
    train, test = Dataset(X[:150], TWO[:150]), Dataset(X[150:], TWO[150:])
    return lightgbm.train(
        training(objective="binary", learning_rate=1.0),
        train,
        60,
        valid_sets=[test],
        callbacks=[lightgbm.early_stopping(3, verbose=False)],
        **more,
    )


def test_prediction_stops_at_the_best_iteration(executor: str):
    model = LGBMClassifier(**{**SMALL, "n_estimators": 60, "learning_rate": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stop = [lightgbm.early_stopping(3, verbose=False)]
        model.fit(X[:150], TWO[:150], eval_set=[(X[150:], TWO[150:])], callbacks=stop)
    assert model.best_iteration_ < 60
    assert_agrees(model, X, executor)
    assert_agrees(early_stopped(), X, executor)


def test_a_booster_that_keeps_all_trees_still_stops_at_the_best_iteration(executor: str):
    """Its own copy would not: LightGBM forgets the best iteration when it copies."""
    model = early_stopped(keep_training_booster=True)
    assert 0 < model.best_iteration < model.num_trees()
    for options in ({}, {"num_iteration": -1}, {"start_iteration": 1}):
        assert_agrees(model, X, executor, **options)
    estimator = LGBMClassifier(**SMALL).fit(FILLED, TWO)
    estimator.booster_.best_iteration = 2
    assert_agrees(estimator, FILLED, executor)
    pipeline: Any = make_pipeline(StandardScaler(), LGBMClassifier(**SMALL)).fit(FILLED, TWO)
    pipeline[-1].booster_.best_iteration = 2
    probabilities = tensorml.convert(pipeline, executor=executor).predict_proba(FILLED)
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(FILLED), rtol=LINK, atol=OF_ONE)


def test_rankers_and_the_base_class_agree(executor: str):
    ranker = LGBMRanker(**SMALL).fit(X, THREE, group=[20] * 15)
    assert_agrees(ranker, traps(ranker), executor)
    model = LGBMModel(objective="binary", **SMALL).fit(X, TWO)
    assert_agrees(model, traps(model), executor)


def test_continued_refitted_and_loaded_models_agree(executor: str, tmp_path: Path):
    first = LGBMRegressor(**SMALL).fit(X, NUMBER)
    assert_agrees(LGBMRegressor(**SMALL).fit(FILLED, NUMBER, init_model=first), traps(first), executor)
    assert_agrees(first.booster_.refit(X, NUMBER * 2), traps(first), executor)
    first.booster_.save_model(tmp_path / "model.txt")
    assert_agrees(load_model(tmp_path / "model.txt"), traps(first), executor)
    with_score = LGBMClassifier(**SMALL).fit(X, TWO, init_score=NUMBER)
    assert_agrees(with_score, traps(with_score), executor)


def test_a_booster_without_trees_predicts_zero(executor: str):
    assert_agrees(Booster(training(), Dataset(X, NUMBER)), X, executor)


@pytest.mark.parametrize("labels", [[5, 7, 9], ["low", "mid", "high"], [-1.0, 0.0, 2.0]], ids=str)
def test_labels_are_of_any_type(executor: str, labels: list[Any]):
    for classes, y in ((labels, THREE), (labels[:2], TWO)):
        model: Any = LGBMClassifier(**SMALL).fit(X, np.array(classes)[y])
        converted = assert_agrees(model, X, executor)
        np.testing.assert_array_equal(converted.classes_, model.classes_)
        assert converted.predict(X).dtype == model.predict(X).dtype
    assert_agrees(LGBMClassifier(**SMALL).fit(X, TWO == 1), X, executor)


def test_features_have_any_name(executor: str):
    names = ["a b", "é", "max_feature_idx=9", "Tree", "年"]
    table = pd.DataFrame(FILLED, columns=names)
    model = lightgbm.train(training(), Dataset(FILLED, NUMBER, feature_name=[n.replace(" ", "_") for n in names]), 3)
    assert_agrees(model, FILLED, executor)
    assert_agrees(model, table, executor)


def test_one_row_no_row_and_a_wrong_width(executor: str):
    model = LGBMClassifier(**SMALL).fit(X, THREE)
    converted = assert_agrees(model, X[:1], executor)
    assert_agrees(model.booster_, X[:1], executor)
    with pytest.raises(ValueError, match="0 sample"):
        model.predict(X[:0])
    with pytest.raises(InputError, match="0 sample"):
        converted.predict(X[:0])
    for width in (4, 6):
        with pytest.raises(ValueError, match=f"X has {width} features"):
            model.predict(np.ones((2, width)))
        with pytest.raises(InputError, match=f"X has {width} features, but LGBMClassifier is expecting 5"):
            converted.predict(np.ones((2, width)))


def test_a_booster_takes_no_row_where_the_library_keeps_the_width(executor: str):
    one = LGBMRegressor(**SMALL).fit(X, NUMBER).booster_
    assert_equal_outputs(tensorml.convert(one, executor=executor).predict(X[:0]), one.predict(X[:0]), "predict")
    three: Any = LGBMClassifier(**SMALL).fit(X, THREE).booster_
    assert three.predict(X[:0]).shape == (0,)
    with pytest.raises(InputError, match="0 sample"):
        tensorml.convert(three, executor=executor).predict(X[:0])


@pytest.mark.parametrize("options", [{"pred_contrib": True}, {"pred_early_stop": True}, {"num_threads": 2}], ids=str)
def test_other_options_are_refused(options: dict[str, Any]):
    converted = tensorml.convert(LGBMClassifier(**SMALL).fit(X, TWO), executor="reference")
    for method in ("predict", "predict_proba"):
        with pytest.raises(InputError, match=rf"{method}\(\) does not take {next(iter(options))}.*raw_score=True"):
            getattr(converted, method)(X, **options)


def test_leaving_out_trees_of_a_row_is_refused_where_it_happens():
    model: Any = LGBMClassifier(pred_early_stop=True, pred_early_stop_freq=1, pred_early_stop_margin=0.01, **SMALL)
    model.fit(X, TWO)
    assert not np.array_equal(model.predict(X, raw_score=True), model.booster_.predict(X, raw_score=True))
    with pytest.raises(UnsupportedModelError, match=r"pred_early_stop=True.*set_params\(pred_early_stop=False\)"):
        tensorml.convert(model, executor="reference")
    assert_agrees(model.set_params(pred_early_stop=False), X, "reference")
    assert_agrees(model.booster_, X, "reference")
    assert_agrees(LGBMRegressor(pred_early_stop=True, **SMALL).fit(X, NUMBER), X, "reference")


@pytest.mark.parametrize("cls", [LGBMClassifier, LGBMRegressor, LGBMRanker, LGBMModel])
def test_an_unfitted_model_is_refused(cls: type):
    with pytest.raises(NotFittedError, match=r"not fitted\. Call fit\(\)"):
        tensorml.convert(cls(), executor="reference")


def test_a_subclass_is_refused():
    class Own(LGBMRegressor):
        pass

    with pytest.raises(UnsupportedModelError, match="subclass of lightgbm"):
        tensorml.convert(Own(**SMALL).fit(X, NUMBER), executor="reference")


def test_the_caller_s_rows_are_not_written_to(executor: str):
    x = single(X)
    before = x.copy()
    tensorml.convert(LGBMClassifier(zero_as_missing=True, **SMALL).fit(X, TWO), executor=executor).predict_proba(x)
    np.testing.assert_array_equal(x, before)


def test_later_changes_to_the_model_do_not_matter():
    model = LGBMRegressor(**SMALL).fit(X, NUMBER)
    converted, expected = tensorml.convert(model, executor="reference"), model.predict(X)
    model.fit(X, -NUMBER)
    assert_equal_outputs(converted.predict(X), expected, "predict")


WITHOUT_LIGHTGBM = """
import sys
sys.modules["lightgbm"] = None
import numpy as np, tensorml
model = tensorml.load(sys.argv[1], executor="reference")
x, expected = np.load(sys.argv[2]), np.load(sys.argv[3])
np.testing.assert_array_equal(model.predict(x, raw_score=True), expected)
assert model.predict(x).dtype.kind == "U"
"""


def test_a_saved_model_runs_without_lightgbm(tmp_path: Path):
    model: Any = LGBMClassifier(linear_tree=True, **SMALL).fit(X, np.array(["low", "mid", "high"])[THREE])
    paths = [tmp_path / name for name in ("model.safetensors", "x.npy", "expected.npy")]
    tensorml.convert(model, executor="reference").save(paths[0])
    np.save(paths[1], X)
    np.save(paths[2], model.predict(X, raw_score=True))
    subprocess.run([sys.executable, "-c", WITHOUT_LIGHTGBM, *map(str, paths)], check=True)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_a_file_holds_programs_for_frames_of_numbers(tmp_path: Path, dtype: type):
    table = pd.DataFrame(2**24 + RNG.integers(0, 4, (200, 2)), columns=["a", "b"])
    model: Any = LGBMRegressor(**SMALL).fit(table, table["a"] % 4)
    tensorml.convert(model, executor="reference").save(tmp_path / "model.safetensors")
    loaded = tensorml.load(tmp_path / "model.safetensors", executor="reference")
    for rows in (table.astype(dtype), table.to_numpy(dtype)):
        assert_equal_outputs(loaded.predict(rows), model.predict(rows), "predict")


def test_the_model_string_reads_as_the_json_export_does():
    model = LGBMClassifier(**SMALL).fit(X, THREE).booster_
    text = loads(model.model_to_string())
    assert (text.outputs, text.features, len(text.leaves)) == (3, 5, model.num_trees())
    expected = sorted(float(n["threshold"]) for n in nodes_of(model))
    assert sorted(text.threshold.tolist()) == expected


DAMAGES = {
    "empty": (lambda t: "", "begins with ''"),
    "another file": (lambda t: "{}", r"begins with '\{\}', not with 'tree'"),
    "another version": (lambda t: t.replace("version=v4", "version=v9"), "version is 'v9', known are v3, v4"),
    "cut in the header": (lambda t: t[:80], "ends before its trees"),
    "cut in a tree": (lambda t: t[: t.index("leaf_value")], "ends before its trees"),
    "a number too few": (
        lambda t: t.replace("threshold=", "threshold=0.5 ", 1),
        "Tree=0 has 8 numbers under threshold",
    ),
    "no number": (lambda t: t.replace("threshold=", "threshold=x", 1), "threshold holds what is no number"),
    "two numbers in one": (
        lambda t: t.replace("leaf_value=", "leaf_value=1-", 1),
        "leaf_value",
    ),
    "no thresholds": (lambda t: t.replace("threshold=", "other=", 1), "Tree=0 has 0 numbers under threshold, not 7"),
    "no leaves": (lambda t: t.replace("num_leaves=8", "num_leaves=0", 1), "Tree=0 has no leaf"),
    "no count of leaves": (lambda t: t.replace("num_leaves=8", "other=8", 1), "num_leaves is 'missing'"),
    "odd classes": (lambda t: t.replace("num_class=1", "num_class=2"), "trees are no iterations of"),
    "a feature too many": (lambda t: t.replace("max_feature_idx=4", "max_feature_idx=0"), "beyond the 1 of the model"),
    "a child that is not": (lambda t: t.replace("left_child=", "left_child=9", 1), "child is not a node of its tree"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_model_string_is_one_clear_error(name: str, tmp_path: Path):
    damage, message = DAMAGES[name]
    text = damage(LGBMRegressor(**SMALL).fit(X, NUMBER).booster_.model_to_string())
    with pytest.raises(ValueError, match=f"not a model string of LightGBM: .*{message}"):
        loads(text)
    (tmp_path / "model.txt").write_text(text)
    with pytest.raises(ArtifactError, match=r"model\.txt holds no model of LightGBM: "):
        load_model(tmp_path / "model.txt")


def test_the_command_line_reads_model_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    LGBMClassifier(**SMALL).fit(X, THREE).booster_.save_model(tmp_path / "model.txt")
    np.save(tmp_path / "rows.npy", X)
    assert main(["verify", str(tmp_path / "model.txt"), str(tmp_path / "rows.npy"), "--executor", "reference"]) == 0
    assert "lightgbm.basic.Booster on executor 'reference': the same" in capsys.readouterr().out
    (tmp_path / "model.txt").write_text("tree")
    assert main(["check", str(tmp_path / "model.txt")]) == 1
    assert "holds no model of LightGBM" in capsys.readouterr().err


def test_verify_finds_every_method_the_same():
    model = LGBMClassifier(**SMALL).fit(X, THREE)
    report = tensorml.verify(model, tensorml.convert(model, executor="reference"), X)
    assert report.ok
    assert {c.method for c in report.comparisons} >= {"predict", "predict_proba", "predict(pred_leaf=True)"}
