from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer
from xgboost import Booster, DMatrix, XGBClassifier, XGBRanker, XGBRegressor, XGBRFClassifier, XGBRFRegressor

import tensorml
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tensorml_xgboost import trees
from tensorml_xgboost.ubjson import loads
from tests.parity import assert_equal_outputs
from tests.traps import trap_rows

LINK = 3e-7  # relative: what the link functions may differ by; margins, leaves and labels have equal bits
FINITE = (np.nan, -0.0, 0.0, 5e-324, 1e-45, -1e-45, 1e-38, 3e38, -3e38)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5)).round(2)
X[RNG.random(X.shape) < 0.1] = np.nan
FILLED = np.nan_to_num(X)
NUMBER = FILLED[:, 0] * FILLED[:, 1] + FILLED[:, 2]
NUMBERS = np.stack([NUMBER, FILLED[:, 3] ** 2, FILLED[:, 4] - 1], axis=1)
TWO = (NUMBER > 0).astype(int)
THREE = np.digitize(NUMBER, [-0.4, 0.4])
SMALL: dict[str, Any] = {"n_estimators": 6, "max_depth": 4, "n_jobs": 1}

CLASSIFIERS = {
    "two classes": (XGBClassifier(**SMALL), TWO),
    "three classes": (XGBClassifier(**SMALL), THREE),
    "parallel trees": (XGBClassifier(num_parallel_tree=3, **SMALL), THREE),
    "random forest": (XGBRFClassifier(**SMALL), THREE),
    "dart": (XGBClassifier(booster="dart", rate_drop=0.4, **SMALL), TWO),
    "dart of three classes": (XGBClassifier(booster="dart", rate_drop=0.4, **SMALL), THREE),
    "labels": (XGBClassifier(**SMALL), (NUMBERS > 0).astype(int)),
    "two labels": (XGBClassifier(**SMALL), (NUMBERS[:, :2] > 0).astype(int)),
    "one label in a column": (XGBClassifier(**SMALL), TWO[:, None]),
    "vector leaves": (
        XGBClassifier(multi_strategy="multi_output_tree", tree_method="hist", **SMALL),
        (NUMBERS > 0).astype(int),
    ),
    "one class": (XGBClassifier(base_score=0.2, **SMALL), np.zeros(300, int)),
    "one tree": (XGBClassifier(n_estimators=1, n_jobs=1), TWO),
    "single leaves": (XGBClassifier(gamma=1e9, **SMALL), THREE),
}
REGRESSORS = {
    "one output": (XGBRegressor(**SMALL), NUMBER),
    "several outputs": (XGBRegressor(**SMALL), NUMBERS),
    "vector leaves": (XGBRegressor(multi_strategy="multi_output_tree", tree_method="hist", **SMALL), NUMBERS),
    "random forest": (XGBRFRegressor(**SMALL), NUMBER),
    "dart": (XGBRegressor(booster="dart", rate_drop=0.4, **SMALL), NUMBER),
    "exact, pruned": (XGBRegressor(tree_method="exact", gamma=4, n_estimators=6, n_jobs=1), NUMBER),
    "approx": (XGBRegressor(tree_method="approx", **SMALL), NUMBER),
    "deep": (XGBRegressor(max_depth=20, n_estimators=2, n_jobs=1), NUMBER),
    "leaf by leaf": (
        XGBRegressor(grow_policy="lossguide", max_leaves=40, max_depth=0, n_estimators=4, n_jobs=1),
        NUMBER,
    ),
    "a single leaf": (XGBRegressor(gamma=1e9, n_estimators=1, n_jobs=1), NUMBER),
}


def thresholds_of(model: Any) -> list[tuple[int, float]]:
    """All pairs of feature and threshold, from the JSON export, which the converter does not read."""
    booster = model if isinstance(model, Booster) else model.get_booster()
    gradient_booster = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]
    exported = gradient_booster.get("gbtree", gradient_booster)["model"]["trees"]
    return [
        (f, float(np.float32(t)))
        for tree in exported
        for f, t, left in zip(tree["split_indices"], tree["split_conditions"], tree["left_children"], strict=True)
        if left >= 0
    ]


def traps(model: Any, rows: int = 1500) -> np.ndarray:
    return trap_rows(X, thresholds_of(model), rows, odd=FINITE)


def assert_agrees(source: Any, x: Any, executor: str, *, link: float = LINK, leaves: bool = True) -> Any:
    """Margins, leaves and labels have equal bits; probabilities and linked predictions agree within `link`."""
    model = tensorml.convert(source, executor=executor)
    margin = {"output_margin": True}
    assert_equal_outputs(model.predict(x, **margin), source.predict(x, **margin), "margin")
    assert_equal_outputs(model.predict(x), source.predict(x), "predict", rtol=link)
    assert hasattr(model, "predict_proba") == hasattr(source, "predict_proba")
    if hasattr(source, "predict_proba"):
        assert_equal_outputs(model.predict_proba(x), source.predict_proba(x), "predict_proba", rtol=link, atol=1e-7)
        np.testing.assert_array_equal(model.classes_, source.classes_)
    if leaves:
        assert_equal_outputs(model.apply(x), source.apply(x), "apply")
    return model


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_agree_on_every_threshold_and_beside_it(executor: str, name: str):
    model, y = CLASSIFIERS[name]
    model.fit(X, y)
    rows = traps(model)
    with np.errstate(over="ignore"):
        for x in (rows, rows.astype(np.float32)):
            assert_agrees(model, x, executor)


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_agree_on_every_threshold_and_beside_it(executor: str, name: str):
    model, y = REGRESSORS[name]
    model.fit(X, y)
    rows = traps(model)
    with np.errstate(over="ignore"):
        for x in (rows, rows.astype(np.float32)):
            assert_agrees(model, x, executor)


@settings(max_examples=25)
@given(st.lists(st.one_of(st.floats(-1e30, 1e30), st.just(np.nan)), min_size=8, max_size=40), st.integers(0, 2**32 - 1))
def test_leaves_agree_on_the_numbers_that_the_trees_were_grown_on(values: list[float], seed: int):
    rng = np.random.default_rng(seed)
    x = np.array(values)[:, None]
    y = rng.normal(size=len(x))
    model = XGBRegressor(n_estimators=2, max_depth=4, min_child_weight=0, tree_method="exact", n_jobs=1).fit(x, y)
    assert_agrees(model, trap_rows(x, thresholds_of(model), 100, seed % 1000, odd=FINITE), "reference")


def test_infinity_is_a_number_to_predict_and_refused_by_apply(executor: str):
    model = XGBClassifier(**SMALL).fit(X, TWO)
    x = np.array([[np.inf] * 5, [-np.inf] * 5, [1e39] * 5])
    converted = assert_agrees(model, x, executor, leaves=False)
    for row in x:
        with pytest.raises(ValueError, match="inf"):
            model.apply(row[None])
        with pytest.raises(InputError, match="infinity or a value too large"):
            converted.apply(row[None])


@pytest.mark.parametrize("missing", [0.1, 0.0, -999.0, 3.0, np.inf, -np.inf])
def test_the_missing_value_takes_the_default_side_and_so_does_nan(executor: str, missing: float):
    x = X.copy()
    x[RNG.random(x.shape) < 0.2] = missing
    x[RNG.random(x.shape) < 0.1] = -0.0
    trained = x if np.isfinite(missing) else X
    model = XGBClassifier(missing=missing, **SMALL).fit(trained, TWO)
    for dtype in (np.float64, np.float32):
        assert_agrees(model, x.astype(dtype), executor)
    assert not np.array_equal(model.apply(x), model.set_params(missing=np.nan).apply(trained))


def test_with_an_infinite_missing_value_apply_takes_both_infinities(executor: str):
    model = XGBClassifier(missing=np.inf, **SMALL).fit(X, TWO)
    assert_agrees(model, np.array([[np.inf] * 5, [-np.inf] * 5]), executor)


def test_missing_none_is_refused():
    model = XGBClassifier(**SMALL).fit(X, TWO).set_params(missing=None)
    with pytest.raises(UnsupportedModelError, match=r"missing=None.*Set missing to NaN or to a number"):
        tensorml.convert(model)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int16, np.int32, np.int64, np.float16])
def test_integers_bools_and_half_precision_are_taken(executor: str, dtype: type):
    model = XGBRegressor(**SMALL).fit(X, NUMBER)
    assert_agrees(model, np.abs(FILLED * 2).astype(dtype), executor)


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_what_a_sparse_matrix_does_not_store_is_missing(executor: str, form: str, dtype: type):
    model = XGBClassifier(**SMALL).fit(X, TWO)
    stored = np.round(FILLED * 3)
    matrix = scipy.sparse.csr_matrix(stored.astype(dtype))
    matrix.data[::7] = 0  # zeros that are stored are values
    x = matrix.asformat(form)
    converted = assert_agrees(model, x, executor)
    assert not np.array_equal(converted.apply(x), converted.apply(stored))


@pytest.mark.skipif(
    "__sklearn_tags__" not in vars(xgboost.XGBModel), reason="scikit-learn 1.6 breaks on pipelines of this XGBoost"
)
def test_zeros_of_a_sparse_step_in_a_pipeline_are_missing(executor: str):
    step = KBinsDiscretizer(4, encode="onehot", strategy="uniform")
    model = make_pipeline(step, XGBClassifier(**SMALL)).fit(FILLED, TWO)
    converted = tensorml.convert(model, executor=executor)
    np.testing.assert_array_equal(converted.predict(FILLED), model.predict(FILLED))
    np.testing.assert_allclose(converted.predict_proba(FILLED), model.predict_proba(FILLED), rtol=LINK)
    dense = model[-1].predict_proba(model[0].transform(FILLED).toarray())
    assert not np.allclose(dense, model.predict_proba(FILLED))


@pytest.mark.parametrize("onehot", [1, 100], ids=["sets", "one category a split"])
def test_categories_in_the_set_go_right_all_others_left(executor: str, onehot: int):
    x = X.copy()
    x[:, 0], x[:, 1] = RNG.integers(0, 12, 300), RNG.integers(0, 3, 300)
    x[RNG.random(x.shape) < 0.05] = np.nan
    model = XGBRegressor(
        feature_types=["c", "c", "q", "q", "q"],
        enable_categorical=True,
        tree_method="hist",
        max_cat_to_onehot=onehot,
        **SMALL,
    ).fit(x, NUMBER + (x[:, 0] % 3 == 0))
    odd = np.tile(x, (3, 1))
    odd[:, 0] = RNG.choice([-1, -0.5, -0.0, 0.4, 1.7, 2.999, 11, 11.5, 12, 13, 99, 1e7, 2.0**24, 1e20, np.nan], 900)
    odd[:, 1] = RNG.choice([-1, 0, 1, 2, 3, 0.99, np.nan], 900)
    for rows in (x, odd, odd.astype(np.float32)):
        assert_agrees(model, rows, executor)


def test_columns_of_a_frame_are_checked_by_name_and_rounded_one_by_one(executor: str):
    frame = pd.DataFrame(
        {"ab": np.arange(300) - 5, "a": FILLED[:, 0].astype(np.float32), "c": FILLED[:, 2], "d": TWO == 1}
    )
    model = XGBRegressor(**SMALL).fit(frame, NUMBER)
    converted = assert_agrees(model, frame, executor)
    with pytest.raises(ValueError, match="feature_names mismatch"):
        model.predict(frame[["a", "ab", "c", "d"]])
    with pytest.raises(InputError, match="same order"):
        converted.predict(frame[["a", "ab", "c", "d"]])


def test_prediction_stops_at_the_best_iteration_but_the_booster_does_not(executor: str):
    model = XGBClassifier(n_estimators=60, early_stopping_rounds=5, learning_rate=1.0, n_jobs=1)
    model.fit(X[:150], THREE[:150], eval_set=[(X[150:], THREE[150:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    assert_agrees(model, X, executor)
    booster = tensorml.convert(model.get_booster(), executor=executor)
    assert_equal_outputs(
        booster.predict(X, output_margin=True), model.get_booster().predict(DMatrix(X), output_margin=True), "margin"
    )
    assert booster.predict(X, pred_leaf=True).shape[1] > model.apply(X).shape[1]


def test_a_best_iteration_beyond_the_last_one_is_refused():
    model = XGBRegressor(**SMALL).fit(X, NUMBER)
    model.get_booster().set_attr(best_iteration="6")
    with pytest.raises(UnsupportedModelError, match="best_iteration=6 of 6 rounds"):
        tensorml.convert(model)


@pytest.mark.parametrize(
    "parameters", [{}, {"booster": "dart", "rate_drop": 0.5, "num_class": 3}], ids=["trees", "dart"]
)
def test_a_booster_predicts_as_from_a_matrix_of_its_own(executor: str, parameters: dict[str, Any]):
    objective = "multi:softprob" if parameters else "binary:logistic"
    source = xgboost.train(
        {"objective": objective, "nthread": 1, "max_depth": 3, **parameters},
        DMatrix(X, THREE if parameters else TWO),
        5,
    )
    x = traps(source)
    converted = tensorml.convert(source, executor=executor)
    for options in ({}, {"output_margin": True}, {"pred_leaf": True}):
        expected = source.predict(DMatrix(x), **options)
        assert_equal_outputs(converted.predict(x, **options), expected, str(options), rtol=0 if options else LINK)
    with pytest.raises(InputError, match="infinity"):
        converted.predict(np.full((1, 5), np.inf))


def test_a_ranker_agrees(executor: str):
    model = XGBRanker(**SMALL).fit(X, THREE, qid=np.repeat(np.arange(15), 20))
    assert_agrees(model, traps(model), executor)


@pytest.mark.parametrize("base_score", [None, 0.3])
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two classes", "three classes"])
def test_without_trees_the_base_score_remains(executor: str, y: np.ndarray, base_score: float | None):
    model = XGBClassifier(n_estimators=0, base_score=base_score, n_jobs=1).fit(X, y)
    converted = assert_agrees(model, X, executor, leaves=False)
    assert not hasattr(converted, "apply")


@pytest.mark.parametrize("y", [TWO, THREE], ids=["two classes", "three classes"])
def test_linear_classifiers_agree_within_rounding(executor: str, y: np.ndarray):
    model = XGBClassifier(booster="gblinear", n_estimators=5, n_jobs=1).fit(X, y)
    converted = tensorml.convert(model, executor=executor)
    margin, expected = converted.predict(X, output_margin=True), model.predict(X, output_margin=True)
    assert_equal_outputs(margin, expected, "margin", rtol=1e-6, atol=2e-6)
    assert_equal_outputs(converted.predict_proba(X), model.predict_proba(X), "predict_proba", rtol=4e-6)
    assert_equal_outputs(converted.predict(X), model.predict(X), "predict")
    assert not hasattr(converted, "apply")  # the library's raises: gblinear has no leaves


@pytest.mark.parametrize("y", [NUMBER, NUMBERS + np.array([3, 0, -2])], ids=["one output", "several outputs"])
def test_linear_regressors_agree_within_rounding(executor: str, y: np.ndarray):
    model = XGBRegressor(booster="gblinear", n_estimators=5, n_jobs=1).fit(X, y)
    converted = tensorml.convert(model, executor=executor)
    assert_equal_outputs(converted.predict(X), model.predict(X), "predict", rtol=1e-6, atol=2e-6)
    with pytest.raises(InputError, match="infinity"):
        converted.predict(np.full((1, 5), np.inf))


def test_one_row_no_row_and_a_wrong_width(executor: str):
    model = XGBClassifier(**SMALL).fit(X, TWO)
    converted = assert_agrees(model, X[:1], executor)
    for method in ("predict", "predict_proba"):
        assert_equal_outputs(getattr(converted, method)(X[:0]), getattr(model, method)(X[:0]), method)
    for width in (4, 6):
        with pytest.raises(ValueError, match="Feature shape mismatch"):
            model.predict(np.ones((2, width)))
        with pytest.raises(InputError, match=f"X has {width} features, but XGBClassifier is expecting 5"):
            converted.predict(np.ones((2, width)))


def test_no_row_is_refused_where_the_library_loses_the_width(executor: str):
    model = XGBClassifier(**SMALL).fit(X, THREE)
    assert model.predict_proba(X[:0]).shape == (0, 2)
    with pytest.raises(InputError, match="0 sample"):
        tensorml.convert(model, executor=executor).predict_proba(X[:0])


def test_margins_given_at_call_time_are_refused():
    converted = tensorml.convert(XGBClassifier(**SMALL).fit(X, TWO), executor="reference")
    with pytest.raises(InputError, match=r"predict\(\) does not take base_margin=.*it takes iteration_range, output_m"):
        converted.predict(X, base_margin=np.ones(len(X)))


RANGED = {
    "regressor": XGBRegressor(**SMALL).fit(X, NUMBER),
    "three classes": XGBClassifier(**SMALL).fit(X, THREE),
    "parallel trees": XGBClassifier(num_parallel_tree=3, **SMALL).fit(X, THREE),
    "dart": XGBRegressor(booster="dart", rate_drop=0.4, **SMALL).fit(X, NUMBER),
    "vector leaves": XGBRegressor(multi_strategy="multi_output_tree", tree_method="hist", **SMALL).fit(X, NUMBERS),
}


@pytest.mark.parametrize("rounds", [(2, 5), (3, 0), [0, 4], None])
@pytest.mark.parametrize("name", RANGED)
def test_a_range_of_rounds_agrees(executor: str, name: str, rounds: Any):
    source, x = RANGED[name], traps(RANGED[name], 300)
    model, native = (tensorml.convert(m, executor=executor) for m in (source, source.get_booster()))
    for options in ({}, {"output_margin": True}):
        expected = source.predict(x, iteration_range=rounds, **options)
        assert_equal_outputs(model.predict(x, iteration_range=rounds, **options), expected, "predict", LINK)
    if hasattr(source, "predict_proba"):
        expected = source.predict_proba(x, iteration_range=rounds)
        assert_equal_outputs(model.predict_proba(x, iteration_range=rounds), expected, "predict_proba", LINK, 1e-7)
    if not rounds or rounds[0] == 0:
        assert_equal_outputs(model.apply(x, iteration_range=rounds), source.apply(x, iteration_range=rounds), "apply")
    given = tuple(rounds or (0, 0))
    expected = source.get_booster().predict(DMatrix(x), iteration_range=given, output_margin=True)
    assert_equal_outputs(native.predict(x, iteration_range=given, output_margin=True), expected, "margin")


def test_a_range_that_ends_at_0_ends_at_the_best_iteration(executor: str):
    source = XGBClassifier(n_estimators=60, early_stopping_rounds=3, n_jobs=1)
    source.fit(X, THREE, eval_set=[(X[::2], THREE[::-2])], verbose=False)
    assert source.best_iteration + 1 < source.get_booster().num_boosted_rounds()
    model = tensorml.convert(source, executor=executor)
    for rounds in ((0, 0), (1, 0), (0, source.best_iteration + 2)):
        expected = source.predict(X, iteration_range=rounds, output_margin=True)
        assert_equal_outputs(model.predict(X, iteration_range=rounds, output_margin=True), expected, str(rounds))


@pytest.mark.parametrize("rounds", [(0, 7), (3, 3), (5, 2), (-1, 3), (0, -1), (6, 6), 3, (0.0, 2.0), (0, 1, 2)])
def test_a_range_of_no_rounds_is_refused(rounds: Any):
    for source in (RANGED["regressor"], RANGED["regressor"].get_booster()):
        with pytest.raises(InputError, match=r"iteration_range(=.* of 6 rounds names none| is a pair of rounds)"):
            tensorml.convert(source).predict(X, iteration_range=rounds)


def test_leaves_of_rounds_after_the_first_are_refused_as_the_library_does():
    source = RANGED["regressor"]
    with pytest.raises(xgboost.core.XGBoostError, match="Predict leaf supports only"):
        source.apply(X, iteration_range=(1, 3))
    with pytest.raises(InputError, match=r"apply\(\) is not there with iteration_range=\(1, 3\)"):
        tensorml.convert(source).apply(X, iteration_range=(1, 3))


def test_linear_models_have_no_rounds(executor: str):
    source = XGBRegressor(booster="gblinear", updater="coord_descent", n_estimators=6, n_jobs=1).fit(FILLED, NUMBER)
    model = tensorml.convert(source, executor=executor)
    np.testing.assert_array_equal(model.predict(FILLED, iteration_range=(2, 3)), model.predict(FILLED))
    np.testing.assert_array_equal(source.predict(FILLED, iteration_range=(2, 3)), source.predict(FILLED))
    with pytest.raises(InputError, match="gblinear has no rounds to begin at"):
        tensorml.convert(source.get_booster()).predict(FILLED, iteration_range=(2, 3))


@pytest.mark.parametrize("cls", [XGBClassifier, XGBRegressor, XGBRanker, XGBRFClassifier, XGBRFRegressor])
def test_an_unfitted_model_is_refused(cls: type):
    with pytest.raises(NotFittedError, match="not fitted"):
        tensorml.convert(cls())


def test_the_caller_s_rows_are_not_written_to(executor: str):
    x = FILLED.astype(np.float32)
    before = x.copy()
    model = XGBClassifier(missing=0.0, **SMALL).fit(X, TWO)
    tensorml.convert(model, executor=executor).predict_proba(x)
    np.testing.assert_array_equal(x, before)


def test_too_many_categories_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trees, "LARGEST_TABLE", 3)
    x = RNG.integers(0, 6, size=(200, 1)).astype(float)
    model = XGBRegressor(feature_types=["c"], enable_categorical=True, tree_method="hist", **SMALL)
    with pytest.raises(UnsupportedModelError, match=r"sets of up to \d categories.*Train on fewer categories"):
        tensorml.convert(model.fit(x, x[:, 0] % 2))


def test_the_binary_export_reads_as_the_text_export_does():
    booster = XGBClassifier(**SMALL).fit(X, THREE).get_booster()
    binary, text = loads(booster.save_raw("ubj")), json.loads(booster.save_raw("json"))
    assert binary["version"] == text["version"]
    for read, expected in zip(
        binary["learner"]["gradient_booster"]["model"]["trees"],
        text["learner"]["gradient_booster"]["model"]["trees"],
        strict=True,
    ):
        assert read.keys() == expected.keys()
        np.testing.assert_array_equal(read["split_conditions"], np.array(expected["split_conditions"], np.float32))
        np.testing.assert_array_equal(read["left_children"], expected["left_children"])


@pytest.mark.parametrize(
    ("document", "value"),
    [
        (b"Z", None),
        (b"T", True),
        (b"i\xff", -1),
        (b"U\xff", 255),
        (b"I\x01\x00", 256),
        (b"D?\xf0\x00\x00\x00\x00\x00\x00", 1.0),
        (b"Ca", "a"),
        (b"SU\x02ab", "ab"),
        (b"[TFZ]", [True, False, None]),
        (b"[#U\x02i\x01Si\x00", [1, ""]),
        (b"{i\x01a[$I#i\x02\x00\x01\x00\x02}", {"a": [1, 2]}),
    ],
)
def test_ubjson_values_read(document: bytes, value: Any):
    read = loads(document)
    assert {k: list(v) for k, v in read.items()} == value if isinstance(read, dict) else read == value


@pytest.mark.parametrize("document", [b"", b"?", b"I\x01", b"SU\x05ab", b"[T", b"{i\x01a", b"TT", b"[$d#U\x02\x00"])
def test_a_damaged_export_is_a_value_error(document: bytes):
    with pytest.raises(ValueError, match=r"not a UBJSON document|buffer"):
        loads(document)
