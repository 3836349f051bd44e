from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import xgboost
from xgboost import DMatrix, XGBClassifier, XGBRanker, XGBRegressor

import tensorml
from tensorml.errors import UnsupportedModelError
from tensorml.executors.reference import evaluate
from tensorml.graph import Graph, Input, TensorType
from tensorml_xgboost.objectives import LINKS, logit, sigmoid, softmax
from tensorml_xgboost.trees import export
from tests.parity import assert_equal_outputs

LINK = 3e-7  # relative, of what exp is in; two units in the last place of float32
SINCE_31 = tuple(map(int, xgboost.__version__.split(".")[:2])) >= (3, 1)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5)).astype(np.float32)
X[RNG.random(X.shape) < 0.1] = np.nan
NUMBER = np.nan_to_num(X[:, 0]) + np.nan_to_num(X[:, 1]) * 0.5
TWO = (NUMBER > 0).astype(int)
THREE = np.digitize(NUMBER, [-0.4, 0.4])
COUNT = np.round(np.exp(NUMBER)).astype(int)
QUERY = np.repeat(np.arange(15), 20)
SMALL: dict[str, Any] = {"n_estimators": 6, "max_depth": 3, "n_jobs": 1}

TARGETS = {
    "reg:squarederror": NUMBER,
    "reg:squaredlogerror": COUNT,
    "reg:logistic": TWO,
    "reg:pseudohubererror": NUMBER,
    "reg:absoluteerror": NUMBER,
    "reg:quantileerror": NUMBER,
    "reg:gamma": COUNT + 1,
    "reg:tweedie": COUNT,
    "count:poisson": COUNT,
    "survival:cox": COUNT + 1,
    "binary:logistic": TWO,
    "binary:logitraw": TWO,
    "binary:hinge": TWO,
    "multi:softprob": THREE,
    "multi:softmax": THREE,
}
OWN: dict[str, dict[str, Any]] = {
    "reg:quantileerror": {"quantile_alpha": 0.3},
    "multi:softprob": {"num_class": 3},
    "multi:softmax": {"num_class": 3},
}


def assert_agrees(source: Any, x: np.ndarray, executor: str) -> Any:
    """Margins have equal bits, predictions and probabilities agree within rounding of the link, labels exactly."""
    model = tensorml.convert(source, executor=executor)
    margin = {"output_margin": True}
    assert_equal_outputs(model.predict(x, **margin), source.predict(x, **margin), "margin")
    assert_equal_outputs(model.predict(x), source.predict(x), "predict", rtol=LINK)
    if hasattr(source, "predict_proba"):
        assert_equal_outputs(model.predict_proba(x), source.predict_proba(x), "predict_proba", rtol=LINK, atol=1e-7)
    return model


@pytest.mark.parametrize("base_score", [None, 0.3, 0.8])
@pytest.mark.parametrize("objective", TARGETS)
def test_every_objective_of_a_regressor(executor: str, objective: str, base_score: float | None):
    model = XGBRegressor(objective=objective, base_score=base_score, **SMALL, **OWN.get(objective, {}))
    assert_agrees(model.fit(X, TARGETS[objective]), X, executor)


@pytest.mark.parametrize("base_score", [None, 0.3])
@pytest.mark.parametrize("objective", ["binary:logistic", "binary:logitraw", "binary:hinge", "reg:logistic"])
def test_every_objective_of_a_classifier_of_two_classes(executor: str, objective: str, base_score: float | None):
    assert_agrees(XGBClassifier(objective=objective, base_score=base_score, **SMALL).fit(X, TWO), X, executor)


@pytest.mark.parametrize("base_score", [None, 0.3])
@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax"])
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two classes", "three classes"])
def test_every_objective_of_a_classifier_of_many_classes(
    executor: str, objective: str, base_score: float | None, y: np.ndarray
):
    options = {"num_class": 2} if y is TWO else {}
    assert_agrees(XGBClassifier(objective=objective, base_score=base_score, **SMALL, **options).fit(X, y), X, executor)


@pytest.mark.parametrize("objective", ["reg:squarederror", "count:poisson"])
def test_a_classifier_with_an_objective_for_numbers_follows_the_library(executor: str, objective: str):
    assert_agrees(XGBClassifier(objective=objective, **SMALL).fit(X, TWO), X, executor)


@pytest.mark.parametrize("objective", ["rank:ndcg", "rank:pairwise", "rank:map"])
def test_every_objective_of_a_ranker(executor: str, objective: str):
    y = TWO if objective == "rank:map" else THREE
    assert_agrees(XGBRanker(objective=objective, **SMALL).fit(X, y, qid=QUERY), X, executor)


@pytest.mark.parametrize("base_score", [None, 1.7])
def test_several_quantiles_are_several_columns(executor: str, base_score: float | None):
    alphas = np.array([0.1, 0.5, 0.9])
    model = XGBRegressor(objective="reg:quantileerror", quantile_alpha=alphas, base_score=base_score, **SMALL)
    converted = assert_agrees(model.fit(X, NUMBER), X, executor)
    assert converted.predict(X).shape == (300, 3)


@pytest.mark.parametrize("base_score", [None, 0.3, 1.7])
def test_survival_times_agree(executor: str, base_score: float | None):
    data = DMatrix(X)
    data.set_float_info("label_lower_bound", np.exp(NUMBER))
    data.set_float_info("label_upper_bound", np.exp(NUMBER) + 0.5)
    parameters = {"objective": "survival:aft", "max_depth": 3, "nthread": 1}
    source = xgboost.train(parameters | ({} if base_score is None else {"base_score": base_score}), data, 5)
    converted = tensorml.convert(source, executor=executor)
    for options in ({}, {"output_margin": True}):
        expected = source.predict(DMatrix(X), **options)
        assert_equal_outputs(converted.predict(X, **options), expected, str(options), rtol=0 if options else LINK)


@pytest.mark.skipif(not SINCE_31, reason="base scores are one number before 3.1")
def test_base_scores_are_one_for_each_class_and_target(executor: str):
    classes = XGBClassifier(**SMALL).fit(X, THREE)
    targets = XGBRegressor(**SMALL).fit(X, np.stack([NUMBER, NUMBER + 7], axis=1))
    for model, columns in ((classes, 3), (targets, 2)):
        assert len(np.unique(export(model.get_booster()).base_score)) == columns
        assert_agrees(model, X, executor)


@pytest.mark.parametrize("base_score", [None, 0.3])
def test_an_own_loss_predicts_by_the_objective_that_the_booster_keeps(executor: str, base_score: float | None):
    def loss(y: np.ndarray, margin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = 1 / (1 + np.exp(-margin))
        return p - y, p * (1 - p)

    for cls in (XGBClassifier, XGBRegressor):
        assert_agrees(cls(objective=loss, base_score=base_score, **SMALL).fit(X, TWO), X, executor)


def test_an_objective_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(LINKS, "reg:squarederror")
    with pytest.raises(UnsupportedModelError, match=r"'reg:squarederror' is not known.*Train with one of binary:hinge"):
        tensorml.convert(XGBRegressor(**SMALL).fit(X, NUMBER))


def test_all_objectives_of_the_library_are_known():
    """The library lists them in its message about one that it does not know."""
    with pytest.raises(ValueError, match="Unknown objective") as message:
        xgboost.train({"objective": "no:such"}, DMatrix(X, TWO), 1)
    listed = {line.split()[-1] for line in str(message.value).splitlines() if line.startswith("Objective candidate")}
    assert len(listed) >= 15
    assert listed - {"reg:linear"} <= set(LINKS)  # reg:linear is the old name of reg:squarederror


def given_and_computed(y: np.ndarray, margins: np.ndarray, function: Any) -> tuple[np.ndarray, np.ndarray]:
    """What the library and a link make of margins: those of a model whose only leaf is 0, from a base margin."""
    booster = XGBClassifier(n_estimators=1, learning_rate=0, gamma=1e9, n_jobs=1).fit(X, y).get_booster()
    rows = np.repeat(X[:1], len(margins), axis=0)
    given = booster.inplace_predict(rows, base_margin=margins)
    reached = booster.inplace_predict(rows, base_margin=margins, predict_type="margin")
    np.testing.assert_array_equal(reached.reshape(margins.shape), margins)
    x = Input("x", TensorType(("N", margins.shape[1]), margins.dtype))
    return given.reshape(len(margins), -1), evaluate(Graph({"y": function(x)}), {"x": margins})["y"]


@pytest.mark.parametrize("scale", [1e-8, 1e-7, 1.0, 30.0, 200.0])
def test_the_logistic_function_agrees_far_out_and_beside_a_half(scale: float):
    margins = (RNG.normal(size=(4000, 1)) * scale).astype(np.float32)
    given, computed = given_and_computed(TWO, margins, sigmoid)
    np.testing.assert_allclose(computed, given, rtol=LINK)
    assert (computed != given).mean() < 0.01
    np.testing.assert_array_equal(computed > 0.5, given > 0.5)


@pytest.mark.parametrize("scale", [1e-8, 1e-7, 1.0, 100.0])
def test_softmax_has_the_same_largest_class_where_margins_are_almost_equal(scale: float):
    margins = (RNG.normal(size=(4000, 3)) * scale).astype(np.float32)
    given, computed = given_and_computed(THREE, margins, softmax)
    np.testing.assert_allclose(computed, given, rtol=LINK)
    assert (computed != given).mean() < 0.01
    np.testing.assert_array_equal(computed.argmax(axis=1), given.argmax(axis=1))


def test_the_logit_of_a_base_score_has_the_library_s_bits():
    for base_score in RNG.uniform(0.001, 0.999, 50):
        model = XGBClassifier(base_score=base_score, gamma=1e9, n_estimators=1, learning_rate=0, n_jobs=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            model.fit(X, TWO)
        margin = model.predict(X[:1], output_margin=True)
        np.testing.assert_array_equal(logit(np.float32([base_score])), margin)
