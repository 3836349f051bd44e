from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest
from lightgbm import Booster, Dataset, LGBMClassifier, LGBMModel, LGBMRanker, LGBMRegressor

import tensorml
from tensorml.errors import UnsupportedModelError
from tensorml_lightgbm.objectives import LINKS, link
from tests.parity import assert_equal_outputs

ULP = float(np.finfo(np.float64).eps)
TINY = float(np.finfo(np.float64).tiny)
SMALL: dict[str, Any] = {"n_estimators": 8, "num_leaves": 6, "min_child_samples": 5, "n_jobs": 1, "verbose": -1}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
NUMBER = X[:, 0] * X[:, 1] + X[:, 2]
POSITIVE = np.exp(NUMBER)
TWO = (NUMBER > 0).astype(int)
THREE = np.digitize(NUMBER, [-0.5, 0.5])
SHARE = 1 / (1 + np.exp(-NUMBER))
GROUPS = [30] * 10

# objective, parameters, target
REGRESSIONS = {
    "regression": ({}, NUMBER),
    "regression, square root": ({"reg_sqrt": True}, NUMBER),
    "regression_l1": ({}, NUMBER),
    "regression_l1, square root": ({"reg_sqrt": True}, NUMBER),
    "huber": ({"alpha": 0.5}, NUMBER),
    "huber, square root": ({"reg_sqrt": True}, NUMBER),
    "fair": ({}, NUMBER),
    "fair, square root": ({"reg_sqrt": True}, NUMBER),
    "quantile": ({"alpha": 0.8}, NUMBER),
    "quantile, square root": ({"reg_sqrt": True, "alpha": 0.8}, NUMBER),
    "mape": ({}, NUMBER),
    "mape, square root": ({"reg_sqrt": True}, NUMBER),
    "poisson": ({}, POSITIVE),
    "poisson, square root": ({"reg_sqrt": True}, POSITIVE),
    "gamma": ({}, POSITIVE),
    "tweedie": ({"tweedie_variance_power": 1.3}, POSITIVE),
    "binary": ({}, TWO),
    "binary, slope": ({"sigmoid": 0.7}, TWO),
    "binary, slope of many digits": ({"sigmoid": 1.23456789}, TWO),
    "cross_entropy": ({}, SHARE),
    "cross_entropy, slope": ({"sigmoid": 3.0}, SHARE),
    "cross_entropy_lambda": ({}, SHARE),
    "multiclass": ({"num_class": 3}, THREE),
    "multiclassova": ({"num_class": 3}, THREE),
    "multiclassova, slope": ({"num_class": 3, "sigmoid": 2.5}, THREE),
    "lambdarank": ({}, THREE),
    "rank_xendcg": ({}, THREE),
}

pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")


def trained(name: str) -> Booster:
    parameters, y = REGRESSIONS[name]
    group = GROUPS if "rank" in name else None
    settings = {"objective": name.partition(",")[0], "num_threads": 1, "num_leaves": 6, "verbose": -1, **parameters}
    return lightgbm.train(settings, Dataset(X, y, group=group), 8)


def assert_agrees(source: Any, executor: str, ulps: int = 2) -> Any:
    """Raw scores have equal bits, predictions agree within some units in the last place, labels are equal.

    Of a pair 1 - p, p the first is off by as much as p is. torch's log1p makes 0 of denormals.
    """
    model = tensorml.convert(source, executor=executor)
    assert_equal_outputs(model.predict(X, raw_score=True), source.predict(X, raw_score=True), "raw score")
    assert_equal_outputs(model.predict(X), source.predict(X), "predict", rtol=ulps * ULP, atol=TINY)
    assert hasattr(model, "predict_proba") == hasattr(source, "predict_proba")
    if hasattr(source, "predict_proba"):
        actual, expected = model.predict_proba(X), source.predict_proba(X)
        pair = ulps * ULP if expected.ndim == 2 and expected.shape[1] == 2 else TINY
        assert_equal_outputs(actual, expected, "predict_proba", rtol=ulps * ULP, atol=pair)
    return model


@pytest.mark.parametrize("name", REGRESSIONS)
def test_each_objective_has_its_link(executor: str, name: str):
    model: Any = trained(name)
    converted = assert_agrees(model, executor)
    plain = np.array_equal(model.predict(X), model.predict(X, raw_score=True))
    assert plain == np.array_equal(converted.predict(X), converted.predict(X, raw_score=True))


def test_every_link_was_tried():
    assert {name.partition(",")[0] for name in REGRESSIONS} == set(LINKS)


def test_one_against_all_does_not_add_up_to_one():
    model = LGBMClassifier(objective="multiclassova", **SMALL).fit(X, THREE)
    total = assert_agrees(model, "reference").predict_proba(X).sum(axis=1)
    assert np.abs(total - 1).max() > 0.01


@pytest.mark.parametrize("objective", ["ova", "multiclass_ova", "softmax", "multiclass", "multiclassova"])
def test_two_classes_may_be_trained_as_several(executor: str, objective: str):
    model = LGBMClassifier(objective=objective, num_class=2, **SMALL).fit(X, np.array(["no", "yes"])[TWO])
    assert_agrees(model, executor)


@pytest.mark.parametrize("objective", ["binary", "cross_entropy", "regression", "poisson", "cross_entropy_lambda"])
def test_a_classifier_of_two_classes_pairs_the_prediction_with_its_rest(executor: str, objective: str):
    assert_agrees(LGBMClassifier(objective=objective, **SMALL).fit(X, TWO), executor)


@pytest.mark.parametrize("objective", ["poisson", "quantile", "tweedie", "binary"])
def test_estimators_take_any_objective(executor: str, objective: str):
    y = TWO if objective == "binary" else POSITIVE
    assert_agrees(LGBMRegressor(objective=objective, **SMALL).fit(X, y), executor)
    assert_agrees(LGBMModel(objective=objective, **SMALL).fit(X, y), executor)


def test_a_ranker_returns_raw_scores(executor: str):
    for objective in ("lambdarank", "rank_xendcg"):
        model = LGBMRanker(objective=objective, **SMALL).fit(X, THREE, group=GROUPS)
        converted = assert_agrees(model, executor)
        np.testing.assert_array_equal(converted.predict(X), converted.predict(X, raw_score=True))


def squared(y: Any, score: Any) -> Any:
    return score - y, np.ones_like(score)


def squared_by_class(y: Any, score: Any) -> Any:
    return score - np.eye(3)[y.astype(int)], np.ones_like(score)


@pytest.mark.filterwarnings("ignore:Cannot compute class probabilities")
def test_an_own_loss_function_predicts_raw_scores(executor: str, capfd: pytest.CaptureFixture[str]):
    assert_agrees(LGBMRegressor(objective=squared, **SMALL).fit(X, NUMBER), executor)
    for loss, y in ((squared, TWO), (squared_by_class, THREE)):
        model = LGBMClassifier(objective=loss, **SMALL).fit(X, y)
        converted = assert_agrees(model, executor)
        np.testing.assert_array_equal(converted.predict_proba(X), converted.predict(X, raw_score=True))
        assert_agrees(model.booster_, executor)
    own = {"objective": lambda score, data: squared(data.get_label(), score), "num_threads": 1, "verbose": -1}
    assert_agrees(lightgbm.train(own, Dataset(X, NUMBER), 5), executor)


def test_more_digits_than_the_model_string_keeps_are_refused():
    settings = {"objective": "binary", "sigmoid": 1.23456789, "num_threads": 1, "verbose": -1}
    model: Any = lightgbm.train(settings, Dataset(X, TWO), 8, keep_training_booster=True)
    copy: Any = Booster(model_str=model.model_to_string(num_iteration=-1))
    assert np.abs(copy.predict(X) - model.predict(X)).max() > 1e-8
    with pytest.raises(
        UnsupportedModelError, match=r"sigmoid=1\.23456789 has more digits.*Convert Booster\(model_str="
    ):
        tensorml.convert(model, executor="reference")
    assert_agrees(copy, "reference")
    settings["sigmoid"] = 0.5
    assert_agrees(lightgbm.train(settings, Dataset(X, TWO), 8, keep_training_booster=True), "reference")


def test_parameters_that_no_longer_fit_the_booster_are_refused():
    model = LGBMClassifier(**SMALL).fit(X, TWO).set_params(objective="multiclass")
    with pytest.raises(UnsupportedModelError, match=r"for 2 classes with objective='multiclass'.*Fit it again"):
        tensorml.convert(model, executor="reference")


def test_an_unknown_objective_is_refused():
    with pytest.raises(
        UnsupportedModelError, match=r"objective 'newest' is not known.*Train with one of binary, cross"
    ):
        link(LGBMRegressor(), ("newest",))
    with pytest.raises(UnsupportedModelError, match="does not tell its parameter 'sigmoid'"):
        link(LGBMRegressor(), ("binary",))


SCORES = np.array([0.0, -0.0, 1e-300, 1e-17, 1.0, -1.0, 36.0, -36.0, 709.0, -709.0, 745.0, -745.0, 1e4, -1e4])


@pytest.mark.parametrize(
    "name", ["binary", "cross_entropy", "cross_entropy_lambda", "poisson", "regression, square root"]
)
def test_links_of_extreme_scores(executor: str, name: str):
    """A constant is added to the leaves of a single tree, so that its prediction is the link of that score."""
    model = trained(name)
    for score in SCORES:
        text = model.model_to_string(num_iteration=1)
        leaf = next(line for line in text.split("\n") if line.startswith("leaf_value="))
        same = "leaf_value=" + " ".join([repr(float(score))] * (leaf.count(" ") + 1))
        changed = Booster(model_str=text.replace(leaf, same).replace("tree_sizes=", "sizes="))
        assert_agrees(changed, executor)


def test_several_classes_of_extreme_scores(executor: str):
    model: Any = LGBMClassifier(**{**SMALL, "learning_rate": 3.0, "n_estimators": 60}).fit(X, THREE)
    assert model.predict_proba(X).max() == 1.0
    assert_agrees(model, executor, ulps=4)
