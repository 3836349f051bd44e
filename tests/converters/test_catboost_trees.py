from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from catboost import CatBoost, CatBoostClassifier, CatBoostRanker, CatBoostRegressor, Pool, sum_models
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tensorml
from tensorml.errors import ArtifactError, InputError, NotFittedError, UnsupportedModelError
from tensorml_catboost.cbm import core
from tensorml_catboost.source import call, load_model
from tensorml_catboost.trees import ensemble, export
from tests.parity import assert_equal_outputs
from tests.traps import trap_rows

RAW = {"prediction_type": "RawFormulaVal"}
LINK = {"rtol": 2e-15, "atol": 5e-16}  # what probabilities may differ by; raw values, leaves and labels have equal bits

RECENT = hasattr(CatBoost, "__sklearn_tags__")  # since 1.2.9; CatBoost 1.2.8 takes no polars frames

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5)).round(2)
X[RNG.random(X.shape) < 0.1] = np.nan
FILLED = np.nan_to_num(X)
NUMBER = FILLED[:, 0] * FILLED[:, 1] + FILLED[:, 2] + FILLED[:, 3] ** 2 - FILLED[:, 4]
NUMBERS = np.stack([NUMBER, FILLED[:, 3] ** 2, FILLED[:, 4] - 1], axis=1)
TWO = (NUMBER > 0).astype(int)
THREE = np.digitize(NUMBER, [-0.4, 1.0])
SMALL: dict[str, Any] = {
    "iterations": 6,
    "depth": 4,
    "learning_rate": 0.4,
    "thread_count": 1,
    "allow_writing_files": False,
    "verbose": 0,
}
LEAFWISE: dict[str, Any] = SMALL | {"grow_policy": "Lossguide", "max_leaves": 25, "depth": 9, "min_data_in_leaf": 1}

MODELS: dict[str, tuple[Any, np.ndarray]] = {
    "symmetric": (CatBoostRegressor(**SMALL), NUMBER),
    "level by level": (CatBoostRegressor(grow_policy="Depthwise", **SMALL), NUMBER),
    "leaf by leaf": (CatBoostRegressor(**LEAFWISE), NUMBER),
    "deep": (CatBoostRegressor(**SMALL | {"depth": 11, "iterations": 3}), NUMBER),
    "one tree": (CatBoostRegressor(**SMALL | {"iterations": 1}), NUMBER),
    "stumps": (CatBoostRegressor(**SMALL | {"depth": 1}), NUMBER),
    "single leaves": (CatBoostRegressor(**LEAFWISE | {"min_data_in_leaf": 1000}), NUMBER),
    "few borders": (CatBoostRegressor(border_count=3, **SMALL), NUMBER),
    "NaN last": (CatBoostRegressor(nan_mode="Max", **SMALL), NUMBER),
    "NaN last, leaf by leaf": (CatBoostRegressor(nan_mode="Max", **LEAFWISE), NUMBER),
    "several outputs": (CatBoostRegressor(loss_function="MultiRMSE", **SMALL), NUMBERS),
    "two classes": (CatBoostClassifier(**SMALL), TWO),
    "three classes": (CatBoostClassifier(**SMALL), THREE),
    "three classes, leaf by leaf": (CatBoostClassifier(**LEAFWISE), THREE),
    "the base class": (CatBoost(SMALL), NUMBER),
}


def borders_of(model: Any) -> list[tuple[int, float]]:
    """All pairs of column and border, as the library tells them."""
    return [(feature, border) for feature, own in model.get_borders().items() for border in own]


def traps(model: Any, x: np.ndarray = X, rows: int = 1500, seed: int = 0) -> np.ndarray:
    with np.errstate(over="ignore"):  # the border that parts NaN from numbers is the smallest float32
        return trap_rows(x, borders_of(model), rows, seed)


def assert_agrees(source: Any, x: Any, executor: str, converted: Any = None) -> Any:
    """Raw values, leaves and labels have equal bits; what links return agrees within LINK."""
    model = tensorml.convert(source, executor=executor) if converted is None else converted
    assert_equal_outputs(model.calc_leaf_indexes(x), source.calc_leaf_indexes(x), "calc_leaf_indexes")
    assert_equal_outputs(model.predict(x), source.predict(x), "predict", **LINK)
    if not isinstance(source, CatBoostRanker):
        assert_equal_outputs(model.predict(x, **RAW), source.predict(x, **RAW), "raw")
    for method in ("predict_proba", "predict_log_proba"):
        assert (method in model.methods) == hasattr(source, method)
        if hasattr(source, method):
            assert_equal_outputs(getattr(model, method)(x), getattr(source, method)(x), method, **LINK)
    return model


@pytest.mark.parametrize("name", MODELS)
def test_models_agree_on_every_border_and_beside_it(executor: str, name: str):
    model, y = MODELS[name]
    model.fit(X, y)
    rows = traps(model)
    converted = tensorml.convert(model, executor=executor)
    with np.errstate(over="ignore"):
        for x in (rows, rows.astype(np.float32)):
            assert_agrees(model, x, executor, converted)


@settings(max_examples=25)
@given(st.lists(st.one_of(st.floats(-1e30, 1e30), st.just(np.nan)), min_size=8, max_size=40), st.integers(0, 2**32 - 1))
def test_leaves_agree_on_the_numbers_that_the_trees_were_grown_on(values: list[float], seed: int):
    rng = np.random.default_rng(seed)
    x = np.column_stack([values, rng.integers(0, 9, len(values))])
    policy, mode = rng.choice(["SymmetricTree", "Depthwise", "Lossguide"]), rng.choice(["Min", "Max"])
    model = CatBoostRegressor(
        **SMALL | {"iterations": 2}, grow_policy=str(policy), nan_mode=str(mode), bootstrap_type="No"
    )
    model.fit(x, rng.normal(size=len(x)))
    assert_agrees(model, traps(model, x, 100, seed % 1000), "reference")


@pytest.mark.parametrize("mode", ["Min", "Max"])
@pytest.mark.parametrize("policy", ["SymmetricTree", "Depthwise"])
def test_nan_takes_the_side_of_its_mode_and_minus_infinity_follows(executor: str, mode: str, policy: str):
    model = CatBoostRegressor(nan_mode=mode, grow_policy=policy, **SMALL).fit(X, NUMBER)
    rows = np.vstack([np.where(np.isnan(X), fill, X) for fill in (np.nan, -np.inf, np.inf, -3.5e38)])
    converted = assert_agrees(model, rows, executor)
    leaves = converted.calc_leaf_indexes(rows).reshape(4, len(X), -1)
    like = {"Min": 1, "Max": 2}[mode]
    np.testing.assert_array_equal(leaves[0], leaves[like])
    assert not np.array_equal(leaves[0], leaves[3 - like])


@pytest.mark.parametrize("policy", ["SymmetricTree", "Depthwise"])
@pytest.mark.parametrize("mode", ["Min", "Max"])
def test_infinite_borders_agree(mode: str, policy: str):
    x = np.where(np.abs(X) > 1.2, np.copysign(np.inf, X), np.sign(X))
    model = CatBoostRegressor(nan_mode=mode, grow_policy=policy, **SMALL).fit(x, NUMBER)
    assert np.isinf([border for _, border in borders_of(model)]).any()
    assert_agrees(model, traps(model, x), "reference")


@pytest.mark.parametrize("mode", ["Min", "Max", "Forbidden"])
def test_nan_that_training_did_not_see_is_greater_than_no_border(executor: str, mode: str):
    model = CatBoostRegressor(nan_mode=mode, **SMALL).fit(FILLED, NUMBER)
    converted = assert_agrees(model, X, executor)
    below = np.where(np.isnan(X), -np.inf, X)
    np.testing.assert_array_equal(converted.calc_leaf_indexes(X), converted.calc_leaf_indexes(below))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, np.float16])
def test_integers_bools_and_half_precision_are_taken(executor: str, dtype: type):
    model = CatBoostRegressor(**SMALL).fit(X, NUMBER)
    assert_agrees(model, np.abs(FILLED * 2).astype(dtype), executor)


def test_integers_round_to_float32_in_one_step_and_floats_in_two(executor: str):
    x = np.array([[2**54], [2**54 + 2**31]] * 20)
    model = CatBoostRegressor(**SMALL | {"depth": 1}, feature_border_type="MinEntropy").fit(x, np.arange(40) % 2)
    (border,) = model.get_borders()[0]
    low = int(border)
    between = np.array([[low + (int(np.nextafter(np.float32(low), np.float32(np.inf))) - low) // 2 + 1], [low]])
    for dtype in (np.int64, np.float64):
        assert_agrees(model, between.astype(dtype), executor)
    assert model.calc_leaf_indexes(between)[0, 0] != model.calc_leaf_indexes(between.astype(np.float64))[0, 0]


def test_what_is_too_large_for_float32_is_infinite():
    model = CatBoostRegressor(**SMALL).fit(X, NUMBER)
    converted = assert_agrees(model, np.array([[1e39] * 5, [-1e300] * 5, [3.4028236e38] * 5]), "reference")
    np.testing.assert_array_equal(converted.predict([[1e39] * 5]), converted.predict([[np.inf] * 5]))


def test_every_container_of_numbers_gives_the_same(executor: str):
    model = CatBoostRegressor(**SMALL).fit(X, NUMBER)
    converted = tensorml.convert(model, executor=executor)
    names = list("vwxyz")
    for x in (
        np.asfortranarray(X),
        np.repeat(X, 2, axis=0)[::2],
        X[::-1],
        X.tolist(),
        pd.DataFrame(X, columns=names),
        pd.DataFrame(X),
        pd.DataFrame({"v": X[:, 0].astype(np.float32), "w": TWO, "x": X[:, 2], "y": TWO == 1, "z": X[:, 4]}),
        pl.DataFrame(X, schema=names),
        pl.DataFrame({"v": [1.5, None] * 150, "w": [1, None] * 150, "x": X[:, 2], "y": TWO == 1, "z": X[:, 4]}),
    ):
        if RECENT or not isinstance(x, pl.DataFrame):
            assert_agrees(model, x, executor, converted)


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_what_a_sparse_matrix_does_not_store_is_zero(executor: str, form: str, dtype: type):
    model = CatBoostClassifier(**SMALL).fit(X, TWO)
    dense = np.round(FILLED * 2).astype(dtype)
    converted = tensorml.convert(model, executor=executor)
    matrix = scipy.sparse.csr_matrix(dense).asformat(form)
    assert_agrees(model, matrix, executor, converted)
    np.testing.assert_array_equal(converted.predict_proba(matrix), converted.predict_proba(dense))


def test_tensors_return_tensors():
    model = CatBoostClassifier(**SMALL).fit(X, THREE)
    converted = tensorml.convert(model, executor="torch")
    x = torch.tensor(X, dtype=torch.float32)
    for method in ("predict", "predict_proba", "calc_leaf_indexes"):
        result = getattr(converted, method)(x)
        assert isinstance(result, torch.Tensor)
        expected = getattr(model, method)(X.astype(np.float32))
        assert_equal_outputs(result.numpy(), expected, method, **LINK)


def test_columns_of_a_frame_are_found_by_name(executor: str):
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = CatBoostRegressor(**SMALL).fit(frame, NUMBER)
    converted = assert_agrees(model, frame, executor)
    assert converted.feature_names_ == list("abcde")
    for other in (frame[list("ebdac")], frame.assign(f=1.0)[list("fedcba")]):
        assert_agrees(model, other, executor, converted)
    np.testing.assert_array_equal(converted.predict(pl.from_pandas(frame[list("ebdac")])), model.predict(frame))
    assert_agrees(model, X, executor, converted)  # an array has no names: its columns stand in order


def test_a_frame_without_the_model_s_columns_is_refused():
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = CatBoostRegressor(**SMALL).fit(frame, NUMBER)
    converted = tensorml.convert(model)
    other = frame.rename(columns={"a": "z"})
    with pytest.raises(Exception, match="should be feature with name a"):
        model.predict(other)
    with pytest.raises(InputError, match="columns are missing: 'a'"):
        converted.predict(other)
    with pytest.raises(InputError, match="names are not strings"):
        converted.predict(pd.DataFrame(X))
    with pytest.raises(InputError, match=r"column 'b' does not hold numbers"):
        converted.predict(frame.assign(b="text"))


def test_a_column_that_no_split_reads_may_have_any_name():
    frame = pd.DataFrame({"noise": np.zeros(300), "signal": FILLED[:, 0], "other": np.ones(300)})
    model = CatBoostRegressor(**SMALL).fit(frame, FILLED[:, 0])
    assert_agrees(model, frame.rename(columns={"noise": "x", "other": "y"}), "reference")


def test_a_model_without_its_unused_features_reads_the_others():
    x = np.column_stack([np.zeros(300), FILLED[:, 0], np.zeros(300)])
    model = CatBoostRegressor(**SMALL).fit(x, FILLED[:, 0])
    model.drop_unused_features()
    with pytest.raises(UnsupportedModelError, match="does not know its number of features"):
        tensorml.convert(model)
    assert_agrees(model, x, "reference", tensorml.convert(model, x, executor="reference"))


@pytest.mark.parametrize("options", [{"ntree_end": 2}, {"ntree_start": 2, "ntree_end": 5}], ids=str)
@pytest.mark.parametrize("name", ["symmetric", "three classes, leaf by leaf"])
def test_a_range_of_trees_adds_up_without_bias_unless_it_starts_at_the_first(
    executor: str, name: str, options: dict[str, int]
):
    model, y = MODELS[name]
    model.fit(X, y)
    bias = [0.3, 0.2, 0.1] if np.ndim(model.get_scale_and_bias()[1]) else 0.3
    model.set_scale_and_bias(1.7, bias)
    converted = tensorml.convert(model, executor=executor)
    for method in ("predict", "calc_leaf_indexes", *(["predict_proba"] if hasattr(model, "predict_proba") else [])):
        expected = getattr(model, method)(X, **options)
        assert_equal_outputs(getattr(converted, method)(X, **options), expected, method, **LINK)
    assert_equal_outputs(converted.predict(X, **RAW, **options), model.predict(X, **RAW, **options), "raw")


def test_a_range_without_a_tree_is_refused():
    model = CatBoostRegressor(**SMALL).fit(X, NUMBER)
    converted = tensorml.convert(model)
    for options in ({"ntree_end": 7}, {"ntree_start": -1}, {"ntree_start": 3, "ntree_end": 3}, {"ntree_end": -1}):
        for method in ("predict", "calc_leaf_indexes"):
            with pytest.raises(Exception, match=r"range"):
                getattr(model, method)(X, **options)
            with pytest.raises(InputError, match="there is no tree from"):
                getattr(converted, method)(X, **options)


def test_a_start_without_an_end_is_for_leaves_only():
    model = CatBoostRegressor(**SMALL).fit(X, NUMBER)
    converted = tensorml.convert(model, executor="reference")
    expected = model.calc_leaf_indexes(X, ntree_start=2)
    assert_equal_outputs(converted.calc_leaf_indexes(X, ntree_start=2), expected, "leaves")
    with pytest.raises(Exception, match="Empty tree range"):
        model.predict(X, ntree_start=2)
    with pytest.raises(InputError, match="only together with ntree_end"):
        converted.predict(X, ntree_start=2)


@pytest.mark.parametrize(("scale", "bias"), [(1.0, 0.0), (0.123456789, 0.777), (-3.3, -1e-9), (0.0, 2.5), (1e10, 0.0)])
def test_sums_are_scaled_and_shifted(executor: str, scale: float, bias: float):
    model = CatBoostRegressor(**SMALL).fit(X, NUMBER)
    model.set_scale_and_bias(scale, bias)
    assert_agrees(model, X, executor)
    several = CatBoostRegressor(loss_function="MultiRMSE", **SMALL).fit(X, NUMBERS)
    several.set_scale_and_bias(scale, [bias, 0.0, -bias])
    assert_agrees(several, X, executor)


@pytest.mark.parametrize("policy", ["SymmetricTree", "Lossguide"])
def test_sums_of_models_agree(policy: str):
    parts = [CatBoostRegressor(**SMALL | {"depth": d, "grow_policy": policy}).fit(X, NUMBER) for d in (2, 5)]
    assert_agrees(sum_models(parts, weights=[0.3, 0.7]), X, "reference")


def test_a_model_that_went_on_from_another_agrees():
    first = CatBoostRegressor(**SMALL).fit(X, NUMBER)
    model = CatBoostRegressor(**SMALL | {"depth": 2}).fit(X, NUMBER, init_model=first)
    converted = assert_agrees(model, traps(model), "reference")
    assert converted.tree_count_ == 12


def test_the_best_model_and_a_shrunk_one_keep_their_trees():
    model = CatBoostClassifier(**SMALL | {"iterations": 60, "learning_rate": 1.0})
    model.fit(X[:150], THREE[:150], eval_set=(X[150:], THREE[150:]), use_best_model=True)
    assert 1 < model.tree_count_ < 60
    assert assert_agrees(model, X, "reference").tree_count_ == model.tree_count_
    model.shrink(ntree_start=1, ntree_end=model.tree_count_)
    assert_agrees(model, X, "reference")


def test_leaves_that_were_set_by_hand_agree():
    model = CatBoostRegressor(**LEAFWISE).fit(X, NUMBER)
    model.set_leaf_values(np.arange(len(model.get_leaf_values())) / 7)
    assert_agrees(model, X, "reference")


def test_leaf_numbers_survive_a_copy_a_pickle_and_a_file(tmp_path: Path):
    model = CatBoostRegressor(**LEAFWISE).fit(X, NUMBER)
    model.save_model(tmp_path / "model.cbm")
    expected = model.calc_leaf_indexes(X)
    for other in (model.copy(), pickle.loads(pickle.dumps(model)), load_model(tmp_path / "model.cbm")):
        converted = assert_agrees(other, X, "reference")
        np.testing.assert_array_equal(converted.calc_leaf_indexes(X), expected)
        assert converted.n_features_in_ == 5


def test_a_model_read_from_json_numbers_its_leaves_as_the_library_does(tmp_path: Path):
    for model in (CatBoostRegressor(**LEAFWISE), CatBoostClassifier(**SMALL)):
        model.fit(X, THREE).save_model(tmp_path / "model.json", format="json")
        assert_agrees(load_model(tmp_path / "model.json"), X, "reference")


def test_one_row_no_row_and_a_wrong_width(executor: str):
    for model in (CatBoostRegressor(**SMALL).fit(X, NUMBER), CatBoostClassifier(**SMALL).fit(X, THREE)):
        converted = assert_agrees(model, X[:1], executor)
        assert_agrees(model, X[:0], executor, converted)
        with pytest.raises(InputError, match=r"X has 4 features, but CatBoost.* is expecting 5"):
            converted.predict(X[:, :4])


def test_one_column_is_enough(executor: str):
    model = CatBoostRegressor(**SMALL).fit(X[:, :1], NUMBER)
    assert_agrees(model, X[:, :1], executor)


@pytest.mark.skipif(not RECENT, reason="scikit-learn 1.7 breaks on pipelines of this CatBoost")
def test_the_last_step_of_a_pipeline_agrees(executor: str):
    model = make_pipeline(StandardScaler(), CatBoostClassifier(**SMALL)).fit(FILLED, THREE)
    converted = tensorml.convert(model, executor=executor)
    assert_equal_outputs(converted.predict(FILLED), model.predict(FILLED), "predict")
    assert_equal_outputs(converted.predict_proba(FILLED), model.predict_proba(FILLED), "predict_proba", **LINK)


@pytest.mark.parametrize("cls", [CatBoost, CatBoostClassifier, CatBoostRanker, CatBoostRegressor])
def test_an_unfitted_model_is_refused(cls: type):
    with pytest.raises(NotFittedError, match="not fitted"):
        tensorml.convert(cls())


def test_a_model_without_trees_is_refused(tmp_path: Path):
    path = tmp_path / "model.json"
    CatBoostRegressor(**SMALL).fit(X, NUMBER).save_model(path, format="json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"oblivious_trees": []}))
    with pytest.raises(UnsupportedModelError, match="it has no trees, and CatBoost does not predict without any"):
        tensorml.convert(load_model(path))


def test_one_feature_with_many_borders_and_trees_without_a_gain_agree():
    rows = RNG.normal(size=(1000, 1))
    fine = CatBoostRegressor(border_count=1000, **SMALL | {"iterations": 150}).fit(rows, RNG.normal(size=1000))
    assert max(map(len, fine.get_borders().values())) > 255
    assert_agrees(fine, traps(fine, rows), "reference")
    flat = CatBoostRegressor(allow_const_label=True, bootstrap_type="No", **SMALL).fit(rows, np.ones(1000))
    assert_agrees(flat, rows, "reference")


def test_a_subclass_is_refused():
    class Doubled(CatBoostRegressor):
        def predict(self, *args: Any, **options: Any) -> Any:
            return 2 * super().predict(*args, **options)

    with pytest.raises(UnsupportedModelError, match="is a subclass of"):
        tensorml.convert(Doubled(**SMALL).fit(X, NUMBER))


def test_text_features_are_refused_by_name():
    frame = pd.DataFrame({"a": FILLED[:, 0], "words": np.array(["one two", "two three", "one three"])[THREE]})
    model = CatBoostClassifier(text_features=["words"], **SMALL).fit(frame, TWO)
    with pytest.raises(UnsupportedModelError, match=r"text features: 'words'. Compute numbers"):
        tensorml.convert(model)


def test_embedding_features_are_refused_by_name():
    frame = pd.DataFrame({"a": FILLED[:, 0], "vector": list(FILLED)})
    model = CatBoostClassifier(**SMALL).fit(Pool(frame, TWO, embedding_features=["vector"]))
    with pytest.raises(UnsupportedModelError, match=r"embedding features: 'vector'. Compute numbers"):
        tensorml.convert(model)


def test_methods_without_a_converter_are_absent():
    converted = tensorml.convert(CatBoostRegressor(**SMALL).fit(X, NUMBER))
    for method in ("staged_predict", "virtual_ensembles_predict", "iterate_leaf_indexes"):
        with pytest.raises(AttributeError, match=f"CatBoostRegressor.{method} is not converted: .*Call "):
            getattr(converted, method)
    for method in ("predict_proba", "staged_predict_proba"):
        with pytest.raises(AttributeError, match=f"no method or attribute '{method}'"):
            getattr(converted, method)


def test_the_caller_s_rows_are_not_written_to(executor: str):
    x = X.astype(np.float32)
    before = x.copy()
    tensorml.convert(CatBoostClassifier(**SMALL).fit(X, THREE), executor=executor).predict_proba(x)
    np.testing.assert_array_equal(x, before)


def test_a_saved_model_runs_where_catboost_cannot_be_imported(tmp_path: Path):
    model = CatBoostClassifier(**LEAFWISE).fit(X, np.array(["a", "b", "c"])[THREE])
    tensorml.convert(model, executor="reference").save(tmp_path / "model.safetensors")
    np.save(tmp_path / "x.npy", X)
    program = (
        "import sys; sys.modules['catboost'] = None\n"
        "import numpy as np, tensorml\n"
        "m, x = tensorml.load('model.safetensors', executor='reference'), np.load('x.npy')\n"
        "np.savez('y.npz', *(m.predict(x).astype(str), m.predict_proba(x), m.calc_leaf_indexes(x)))\n"
        "assert not any(name.startswith('tensorml_') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    with np.load(tmp_path / "y.npz") as results:
        labels, probabilities, leaves = results.values()
    np.testing.assert_array_equal(labels, model.predict(X).astype(str))
    np.testing.assert_allclose(probabilities, model.predict_proba(X), rtol=2e-15)
    assert_equal_outputs(leaves, model.calc_leaf_indexes(X), "leaves")


def test_ten_thousand_trees_convert_within_ten_seconds():
    part = CatBoostRegressor(**SMALL | {"iterations": 100, "depth": 6}).fit(X, NUMBER)
    model = sum_models([part] * 100)
    assert model.tree_count_ == 10_000
    assert len(model.get_leaf_values()) > 600_000
    start = time.process_time()
    converted = tensorml.convert(model, executor="reference")
    assert time.process_time() - start < 10
    assert_equal_outputs(converted.predict(X[:5]), model.predict(X[:5]), "predict")


@pytest.mark.parametrize("suffix", ["cbm", "json"])
def test_files_of_the_library_are_read(tmp_path: Path, suffix: str):
    source = CatBoostClassifier(**SMALL).fit(X, THREE)
    source.save_model(tmp_path / f"model.{suffix}", format=suffix)
    model = load_model(tmp_path / f"model.{suffix}")
    assert type(model) is CatBoost
    options = {"prediction_type": "Class"}
    assert_equal_outputs(call(model, "predict", X, options), source.predict(X), "predict")
    assert_equal_outputs(tensorml.convert(model).predict(X, **options), source.predict(X), "predict")


@pytest.mark.parametrize("suffix", ["cbm", "json"])
def test_a_file_that_holds_no_model_is_refused(tmp_path: Path, suffix: str):
    (tmp_path / f"model.{suffix}").write_bytes(b"nothing of the kind")
    with pytest.raises(ArtifactError, match="holds no model of CatBoost"):
        load_model(tmp_path / f"model.{suffix}")


def test_bytes_of_another_kind_are_a_value_error():
    with pytest.raises(ValueError, match="not a model of CatBoost"):
        core(b"ONNX, perhaps")


@pytest.mark.parametrize("name", ["symmetric", "leaf by leaf", "three classes, leaf by leaf", "NaN last"])
def test_the_binary_model_reads_as_the_text_export_does(tmp_path: Path, name: str):
    """Every split, its column and border, and every leaf in the order of the nested trees."""
    model, y = MODELS[name]
    model.fit(X, y).save_model(tmp_path / "model.json", format="json")
    text = json.loads((tmp_path / "model.json").read_text())
    read = export(model)
    trees = ensemble(read, 0, read.trees)
    columns = [f["flat_feature_index"] for f in text["features_info"]["float_features"]]
    treatments = [f["nan_value_treatment"] == "AsTrue" for f in text["features_info"]["float_features"]]
    if "oblivious_trees" in text:
        compare_symmetric(trees, text["oblivious_trees"], columns, treatments)
        return
    forest, rows = trees.forest, {node: i for i, node in enumerate(trees.forest.leaf)}

    def compare(node: int, tree: dict[str, Any]) -> None:
        if "split" not in tree:
            np.testing.assert_array_equal(trees.values[rows[node]], tree["value"])
            return
        feature = tree["split"]["float_feature_index"]
        assert forest.feature[node] == columns[feature]
        assert forest.threshold[node] == np.float32(tree["split"]["border"])
        assert forest.nan_right[node] == treatments[feature]
        compare(forest.left[node], tree["left"])
        compare(forest.right[node], tree["right"])

    for root, tree in zip(forest.roots, text["trees"], strict=True):
        compare(root, tree)


def compare_symmetric(trees: Any, text: list[dict[str, Any]], columns: list[int], treatments: list[bool]) -> None:
    """Bit i of a leaf's number is the i-th split, in the text export too."""
    splits = [split for tree in text for split in tree["splits"]]
    features = [split["float_feature_index"] for split in splits]
    np.testing.assert_array_equal(trees.forest.size, [len(tree["splits"]) for tree in text])
    np.testing.assert_array_equal(trees.forest.feature, [columns[f] for f in features])
    np.testing.assert_array_equal(trees.forest.threshold, np.array([s["border"] for s in splits], np.float32))
    np.testing.assert_array_equal(trees.forest.nan_right, [treatments[f] for f in features])
    values = np.concatenate([np.reshape(tree["leaf_values"], (2 ** len(tree["splits"]), -1)) for tree in text])
    np.testing.assert_array_equal(trees.values, values)
