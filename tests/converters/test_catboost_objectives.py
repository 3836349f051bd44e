from __future__ import annotations

import math
import platform
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from catboost import (
    CatBoost,
    CatBoostClassifier,
    CatBoostRanker,
    CatBoostRegressor,
    Pool,
    sum_models,
    to_classifier,
    to_ranker,
    to_regressor,
)

import tensorml
from tensorml.errors import InputError
from tensorml.graph import Graph, Input, TensorType
from tensorml_catboost.objectives import LARGEST, SMALLEST, fast_exp
from tests.parity import assert_equal_outputs

TYPES = ("RawFormulaVal", "Probability", "LogProbability", "Exponent", "RMSEWithUncertainty", "Class")
LINKED = {"rtol": 2e-15, "atol": 5e-16}  # probabilities and their logarithms; all else has equal bits
SAME_EXPONENTIAL = platform.machine().lower() in ("x86_64", "amd64")  # elsewhere CatBoost computes another one

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4)).round(2)
X[RNG.random(X.shape) < 0.1] = np.nan
ROWS = RNG.normal(size=(400, 4))  # a multiple of 4: of what remains, CatBoost computes exponentials one by one
FILLED = np.nan_to_num(X)
NUMBER = FILLED[:, 0] * FILLED[:, 1] + FILLED[:, 2]
POSITIVE = np.abs(NUMBER) + 0.1
NUMBERS = np.stack([NUMBER, FILLED[:, 3], FILLED[:, 1] - 1], axis=1)
TWO = (NUMBER > 0).astype(int)
THREE = np.digitize(NUMBER, [-0.4, 0.4])
SEVEN = np.digitize(NUMBER, np.linspace(-1, 1, 6))
YES = (NUMBERS > 0).astype(int)
GROUPS = np.repeat(np.arange(15), 20)
SMALL: dict[str, Any] = {
    "iterations": 6,
    "depth": 3,
    "learning_rate": 0.4,
    "thread_count": 1,
    "allow_writing_files": False,
    "logging_level": "Silent",
}

REGRESSION: dict[str, np.ndarray] = {
    "RMSE": NUMBER,
    "MAE": NUMBER,
    "Quantile:alpha=0.3": NUMBER,
    "MultiQuantile:alpha=0.1,0.5,0.9": NUMBER,
    "LogLinQuantile": POSITIVE,
    "Poisson": POSITIVE,
    "Tweedie:variance_power=1.5": POSITIVE,
    "Lq:q=3": NUMBER,
    "Huber:delta=1": NUMBER,
    "Expectile:alpha=0.3": NUMBER,
    "MAPE": POSITIVE,
    "RMSPE": POSITIVE,
    "LogCosh": NUMBER,
    "RMSEWithUncertainty": NUMBER,
    "Cox": POSITIVE,
    "SurvivalAft": np.stack([POSITIVE, POSITIVE + 1], axis=1),
    "MultiRMSE": NUMBERS,
    "MultiRMSEWithMissingValues": np.where(NUMBERS > 1, np.nan, NUMBERS),
}
RANKING = (
    "YetiRank",
    "YetiRankPairwise",
    "PairLogit",
    "PairLogitPairwise",
    "QueryRMSE",
    "QuerySoftMax",
    "StochasticRank:metric=NDCG",
    "LambdaMart",
)
LABELS: dict[str, np.ndarray] = {
    "ints": TWO * 4 + 3,
    "large ints": TWO * 2**40,
    "negative": TWO * 2 - 1,
    "bools": TWO == 1,
    "floats": TWO * 2.5,
    "single floats": (TWO * 0.1).astype(np.float32),
    "strings": np.array(["no", "yes"])[TWO],
    "objects": np.array(["no", "yes"], dtype=object)[TWO],
}


def assert_agrees(source: Any, x: np.ndarray, executor: str) -> Any:
    """Every prediction type, default and method as the library's; what it lacks is absent."""
    model = tensorml.convert(source, executor=executor)
    several = np.ndim(source.get_scale_and_bias()[1]) > 0
    for name in TYPES:
        assert_type_agrees(source, model, x, name, several)
    if "predict" in model.outputs:
        assert_equal_outputs(model.predict(x), source.predict(x), "predict", **LINKED)
    for method in ("predict_proba", "predict_log_proba"):
        assert (method in model.methods) == hasattr(source, method), method
        if hasattr(source, method):
            assert_equal_outputs(getattr(model, method)(x), getattr(source, method)(x), method, **LINKED)
    assert_equal_outputs(model.calc_leaf_indexes(x), source.calc_leaf_indexes(x), "leaves")
    np.testing.assert_array_equal(model.classes_, source.classes_)
    return model


def assert_type_agrees(source: Any, model: Any, x: np.ndarray, name: str, several: bool) -> None:
    """One prediction type: the same, or absent where the library fails (for one output, uncertainty crashes it)."""
    output = f"predict(prediction_type={name!r})"
    if name == "RMSEWithUncertainty" and not several:
        assert output not in model.outputs
        return
    try:
        expected = source.predict(x, prediction_type=name)
    except (IndexError, TypeError):
        assert output not in model.outputs
        return
    exact = name in ("RawFormulaVal", "Class") or (name in ("Exponent", "RMSEWithUncertainty") and SAME_EXPONENTIAL)
    tolerance = {} if exact else LINKED if SAME_EXPONENTIAL else {"rtol": 1e-13, "atol": 1e-13}
    assert_equal_outputs(model.predict(x, prediction_type=name), expected, name, **tolerance)


@pytest.mark.parametrize("loss", REGRESSION)
def test_losses_for_numbers_agree(loss: str):
    if loss == "RMSPE" and not hasattr(CatBoost, "__sklearn_tags__"):
        pytest.skip("CatBoost has it since 1.2.9")
    model = CatBoostRegressor(loss_function=loss, **SMALL).fit(X, REGRESSION[loss])
    assert_agrees(model, ROWS, "reference")


@pytest.mark.parametrize("loss", ["Poisson", "MultiQuantile:alpha=0.1,0.5,0.9", "RMSEWithUncertainty"])
def test_prediction_types_for_numbers_agree(executor: str, loss: str):
    model = CatBoostRegressor(loss_function=loss, **SMALL).fit(X, REGRESSION[loss])
    assert_agrees(model, ROWS, executor)


@pytest.mark.parametrize("loss", ["Poisson", "Tweedie:variance_power=1.5", "RMSEWithUncertainty", "RMSE"])
def test_the_default_prediction_type_follows_the_loss_in_regressors_alone(loss: str):
    parameters = {"loss_function": loss, **SMALL}
    models = [CatBoostRegressor(**parameters), CatBoost(parameters)]
    for model in models:
        assert_agrees(model.fit(X, REGRESSION[loss]), ROWS, "reference")
    regressor, base = (tensorml.convert(model, executor="reference").predict(ROWS) for model in models)
    assert np.array_equal(regressor, base) == (loss == "RMSE")


@pytest.mark.parametrize("form", ["cbm", "json"])
def test_the_default_prediction_type_survives_a_file(tmp_path: Path, form: str):
    model = CatBoostRegressor(objective="Poisson", **SMALL).fit(X, POSITIVE)
    model.save_model(tmp_path / "model", format=form)
    loaded = CatBoostRegressor()
    loaded.load_model(tmp_path / "model", format=form)
    for source in (model, loaded):
        converted = assert_agrees(source, ROWS, "reference")
        np.testing.assert_array_equal(converted.predict(ROWS), converted.predict(ROWS, prediction_type="Exponent"))


@pytest.mark.parametrize("loss", RANKING)
def test_rankers_return_scores(loss: str):
    model = CatBoostRanker(loss_function=loss, **SMALL).fit(X, THREE, group_id=GROUPS)
    converted = assert_agrees(model, ROWS, "reference")
    with pytest.raises(InputError, match="does not take prediction_type='RawFormulaVal'"):
        converted.predict(ROWS, prediction_type="RawFormulaVal")


@pytest.mark.parametrize("loss", ["YetiRank", "QueryRMSE"])
def test_rankings_of_the_base_class_return_scores(loss: str):
    model = CatBoost({"loss_function": loss, **SMALL}).fit(Pool(X, THREE, group_id=GROUPS))
    assert_agrees(model, ROWS, "reference")


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("loss", ["Logloss", "MultiClass"])
def test_labels_of_every_type_return_as_the_library_returns_them(executor: str, loss: str, labels: str):
    model = CatBoostClassifier(loss_function=loss, **SMALL).fit(X, LABELS[labels])
    converted = tensorml.convert(model, executor=executor)
    assert_equal_outputs(converted.predict(ROWS), model.predict(ROWS), "predict")
    assert converted.classes_.dtype == model.classes_.dtype
    np.testing.assert_array_equal(converted.classes_, model.classes_)


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("CrossEntropy", 1 / (1 + np.exp(-NUMBER))),
        ("Focal:focal_alpha=0.3;focal_gamma=2", TWO),
        ("MultiClass", THREE),
        ("MultiClass", np.array(["a", "bb", "c"])[THREE]),
        ("MultiClass", SEVEN),
        ("MultiClassOneVsAll", np.array(["a", "bb", "c"])[THREE]),
        ("MultiLogloss", YES),
        ("MultiLogloss", YES[:, :1]),
        ("MultiCrossEntropy", 1 / (1 + np.exp(-NUMBERS))),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.dtype}{value.shape}",
)
def test_losses_for_classes_agree(executor: str, loss: str, y: np.ndarray):
    model = CatBoostClassifier(loss_function=loss, **SMALL).fit(X, y)
    assert_agrees(model, ROWS, executor)


@pytest.mark.parametrize(
    "options",
    [{"class_names": [1, 0]}, {"class_weights": [1, 5]}, {"auto_class_weights": "Balanced"}, {"scale_pos_weight": 3}],
    ids=str,
)
def test_class_options_agree(options: dict[str, Any]):
    assert_agrees(CatBoostClassifier(**options, **SMALL).fit(X, TWO), ROWS, "reference")


@pytest.mark.parametrize("loss", ["MultiClass", "MultiClassOneVsAll"])
@pytest.mark.parametrize(
    "options",
    [
        {"classes_count": 5},
        {"classes_count": 7},
        {"class_names": [2, 9, 0, 1]},
        {"class_names": [9, 2, 0, 1]},
    ],
    ids=str,
)
def test_classes_that_training_did_not_see_are_impossible(executor: str, loss: str, options: dict[str, Any]):
    model = CatBoostClassifier(loss_function=loss, **options, **SMALL).fit(X, THREE)
    converted = assert_agrees(model, ROWS, executor)
    raw = converted.predict(ROWS, prediction_type="RawFormulaVal")
    assert np.isneginf(raw).all(axis=0).sum() == raw.shape[1] - 3


def test_names_of_labels_are_not_what_is_predicted(executor: str):
    model = CatBoostClassifier(loss_function="MultiLogloss", class_names=["p", "q", "r"], **SMALL).fit(X, YES)
    converted = assert_agrees(model, ROWS, executor)
    assert converted.predict(ROWS).dtype == np.int64
    assert converted.classes_.tolist() == ["p", "q", "r"]


def test_a_classifier_of_the_base_class_predicts_raw_values():
    for loss, y in (("Logloss", LABELS["strings"]), ("MultiClass", THREE)):
        assert_agrees(CatBoost({"loss_function": loss, **SMALL}).fit(X, y), ROWS, "reference")


def test_models_that_changed_their_class_agree():
    base = CatBoost({"loss_function": "Logloss", **SMALL}).fit(X, TWO)
    assert_agrees(to_classifier(base), ROWS, "reference")
    assert_agrees(to_regressor(CatBoost({"loss_function": "Poisson", **SMALL}).fit(X, POSITIVE)), ROWS, "reference")
    ranking = CatBoost({"loss_function": "YetiRank", **SMALL}).fit(Pool(X, THREE, group_id=GROUPS))
    assert_agrees(to_ranker(ranking), ROWS, "reference")


@pytest.mark.parametrize(("loss", "y"), [("Logloss", TWO), ("MultiClassOneVsAll", THREE)])
def test_sums_of_classifiers_know_their_loss_and_classes(loss: str, y: np.ndarray):
    parts = [CatBoostClassifier(loss_function=loss, random_seed=k, **SMALL).fit(X, y) for k in (1, 2)]
    assert_agrees(sum_models(parts, weights=[0.3, 0.7]), ROWS, "reference")


@pytest.mark.parametrize("probability", [0.0, 0.123456, 0.7, 1.0])
def test_the_probability_threshold_moves_the_raw_value_that_parts_classes(executor: str, probability: float):
    for model in (
        CatBoostClassifier(**SMALL).fit(X, LABELS["strings"]),
        CatBoostClassifier(loss_function="MultiLogloss", **SMALL).fit(X, YES),
        CatBoostClassifier(loss_function="MultiClass", **SMALL).fit(X, THREE),
    ):
        model.set_probability_threshold(probability)
        converted = tensorml.convert(model, executor=executor)
        assert_equal_outputs(converted.predict(ROWS), model.predict(ROWS), "predict")


@pytest.mark.parametrize("probability", [None, 0.123456, 0.3, 0.7, 0.9])
def test_a_raw_value_on_the_threshold_is_of_the_lower_class(probability: float | None):
    model = CatBoostClassifier(**SMALL).fit(X, TWO)
    model.set_probability_threshold(probability)
    border = 0.0 if probability is None else -math.log(1 / probability - 1)
    found = []
    for raw in (np.nextafter(border, -9), border, np.nextafter(border, 9)):
        model.set_scale_and_bias(0.0, float(raw))
        converted = tensorml.convert(model, executor="reference")
        np.testing.assert_array_equal(converted.predict(X), model.predict(X))
        found.append(converted.predict(X)[0])
    assert found == [0, 0, 1]


@pytest.mark.parametrize("bias", [-1000.0, -720.0, 708.0, 709.9, 1000.0])
def test_links_agree_at_the_ends_of_their_range(executor: str, bias: float):
    """Of the last N % 4 rows CatBoost computes the exponential in another way, which reaches 0."""
    model = CatBoostRegressor(**SMALL).fit(X, NUMBER)
    model.set_scale_and_bias(1.0, bias)
    assert_agrees(model, ROWS, executor)
    rest = tensorml.convert(model, executor=executor).predict(ROWS[:3], prediction_type="Exponent")
    expected = model.predict(ROWS[:3], prediction_type="Exponent")
    np.testing.assert_allclose(rest, expected, rtol=1e-15, atol=2.3e-308)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 200.0])
def test_exponentials_agree_for_small_and_large_values(executor: str, scale: float):
    model = CatBoostRegressor(loss_function="Poisson", **SMALL).fit(X, POSITIVE)
    model.set_scale_and_bias(scale, 0.1)
    assert_agrees(model, ROWS, executor)
    several = CatBoostClassifier(loss_function="MultiClass", **SMALL).fit(X, SEVEN)
    several.set_scale_and_bias(scale, [0.1] * 7)
    assert_agrees(several, ROWS, executor)


@pytest.mark.skipif(not SAME_EXPONENTIAL, reason="CatBoost computes another exponential on this processor")
def test_the_fast_exponential_has_the_source_s_bits_for_every_size_of_number():
    model = CatBoostRegressor(**SMALL | {"iterations": 1}).fit(X, NUMBER)
    op = fast_exp(Input("x", TensorType(("N", 1), np.dtype(np.float64))))
    for raw in [*RNG.uniform(SMALLEST, LARGEST, 200), *RNG.normal(0, 1e-8, 20), 0.0, SMALLEST, LARGEST]:
        model.set_scale_and_bias(0.0, float(raw))
        expected = model.predict(X[:4], prediction_type="Exponent")
        steps: dict[Any, np.ndarray] = {}
        for node in Graph({"y": op}).order:
            operands = (steps[operand] for operand in node.operands)
            steps[node] = np.full((4, 1), raw) if isinstance(node, Input) else node.reference(*operands)
        np.testing.assert_array_equal(steps[op][:, 0], expected)


class Likelihood:
    """Logloss, in Python."""

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> list[tuple[float, float]]:
        p = 1 / (1 + np.exp(-np.array(approxes)))
        return list(zip(np.array(targets) - p, -p * (1 - p), strict=True))


class Squares:
    """RMSE, in Python."""

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> list[tuple[float, float]]:
        return [(target - approx, -1.0) for approx, target in zip(approxes, targets, strict=True)]


@pytest.mark.filterwarnings("ignore:Failed to import numba", "ignore:Failed to optimize method")
def test_own_losses_predict_as_the_library_does(monkeypatch: pytest.MonkeyPatch):
    refused = SimpleNamespace(njit=lambda function, **options: function, jit=lambda function, **options: function)
    monkeypatch.setitem(sys.modules, "numba", refused)  # CatBoost would compile them, which fails for NumPy's functions
    classifier = CatBoostClassifier(loss_function=Likelihood(), eval_metric="Logloss", **SMALL).fit(X, TWO)
    assert_agrees(classifier, ROWS, "reference")
    regressor = CatBoostRegressor(loss_function=Squares(), eval_metric="RMSE", **SMALL).fit(X, NUMBER)
    assert_agrees(regressor, ROWS, "reference")


def test_a_prediction_type_that_a_model_lacks_is_refused():
    converted = tensorml.convert(CatBoostRegressor(**SMALL).fit(X, NUMBER))
    for name in ("Class", "RMSEWithUncertainty", "Nonsense"):
        with pytest.raises(InputError, match=re.escape(f"does not take prediction_type={name!r}")):
            converted.predict(X, prediction_type=name)


def test_variants_and_ranges_of_trees_combine(executor: str):
    model = CatBoostClassifier(loss_function="MultiClass", **SMALL).fit(X, THREE)
    converted = tensorml.convert(model, executor=executor)
    for name in ("Class", "Probability", "RawFormulaVal"):
        options = {"prediction_type": name, "ntree_start": 1, "ntree_end": 4}
        assert_equal_outputs(converted.predict(X, **options), model.predict(X, **options), name, **LINKED)


def test_verify_finds_no_difference(executor: str):
    model = CatBoostClassifier(**SMALL).fit(X, LABELS["strings"])
    report = tensorml.verify(model, tensorml.convert(model, executor=executor), X)
    assert report.ok, str(report)
