from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

import tensorml
from tensorml.errors import InputError, NotFittedError
from tests.parity import assert_equal_outputs, assert_same
from tests.traps import trap_rows

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5)).round(2)
WITH_NAN = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
THREE = RNG.integers(0, 3, 300)
TWO = (X[:, 0] + RNG.normal(size=300) > 0).astype(int)
NUMBER = X[:, 0] * X[:, 1] + X[:, 2]
NUMBERS = np.stack([NUMBER, X[:, 3] ** 2], axis=1)
WORDS = np.array(["ash", "birch", "oak"])[THREE]
UNEQUAL = np.stack([THREE, TWO * 4], axis=1)
WORD_PAIRS = np.array([["x", "y"], ["long", "y"], ["x", "zz"]])[THREE]

SINGLE = {
    "tree": DecisionTreeClassifier(random_state=0),
    "extra tree": ExtraTreeClassifier(random_state=0),
    "forest": RandomForestClassifier(12, random_state=0),
    "extra trees": ExtraTreesClassifier(12, random_state=0),
}
SINGLE_REGRESSORS = {
    "tree": DecisionTreeRegressor(random_state=0),
    "extra tree": ExtraTreeRegressor(random_state=0),
    "forest": RandomForestRegressor(12, random_state=0),
    "extra trees": ExtraTreesRegressor(12, random_state=0),
}


def thresholds_of(model: Any) -> list[tuple[int, float]]:
    """All pairs of feature and threshold of a fitted scikit-learn tree model."""
    if hasattr(model, "_predictors"):
        nodes = np.concatenate([tree.nodes for stage in model._predictors for tree in stage])
        inner = nodes[(nodes["is_leaf"] == 0) & (nodes["is_categorical"] == 0)]
        return list(zip(inner["feature_idx"].tolist(), inner["num_threshold"].tolist(), strict=True))
    parts = [part.tree_ for part in np.ravel(getattr(model, "estimators_", [model]))]
    pairs = [(f, t) for tree in parts for f, t in zip(tree.feature, tree.threshold, strict=True)]
    return [(int(f), float(t)) for f, t in pairs if f >= 0]


def traps(model: Any, *, nan: bool, infinite: bool = False, rows: int = 2000) -> np.ndarray:
    odd = (*((np.nan,) if nan else ()), *((np.inf, -np.inf) if infinite else ()), -0.0, 5e-324, 1e-45, 3e38)
    finite = [(f, t) for f, t in thresholds_of(model) if infinite or np.isfinite(t)]
    return trap_rows(X, finite, rows, odd=odd)


@pytest.mark.parametrize("y", [THREE, TWO == 1, WORDS, UNEQUAL, WORD_PAIRS], ids=["3", "bool", "words", "two", "pairs"])
@pytest.mark.parametrize("name", SINGLE)
def test_classifiers_agree_bit_for_bit(executor: str, name: str, y: np.ndarray):
    model = SINGLE[name].fit(X, y)
    for dtype in (np.float64, np.float32):
        rtol = 1e-14 if executor != "reference" else 1e-15  # of the logarithm; the rest has equal bits
        assert_same(model, traps(model, nan=False).astype(dtype), executor, rtol=rtol)


@pytest.mark.parametrize("y", [NUMBER, NUMBERS], ids=["one output", "two outputs"])
@pytest.mark.parametrize("name", SINGLE_REGRESSORS)
def test_regressors_agree_bit_for_bit(executor: str, name: str, y: np.ndarray):
    model = SINGLE_REGRESSORS[name].fit(X, y)
    for dtype in (np.float64, np.float32):
        assert_same(model, traps(model, nan=False).astype(dtype), executor)


@pytest.mark.parametrize("trained", [X, WITH_NAN], ids=["nan first seen at predict", "nan in training"])
@pytest.mark.parametrize("name", ["tree", "forest", "extra trees"])
def test_nan_goes_where_the_library_sends_it(executor: str, name: str, trained: np.ndarray):
    model = SINGLE_REGRESSORS[name].fit(trained, NUMBER)
    assert_same(model, traps(model, nan=True), executor)


@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeRegressor(criterion="absolute_error", max_depth=4),
        DecisionTreeRegressor(criterion="poisson", max_depth=4),
        DecisionTreeClassifier(criterion="log_loss", max_leaf_nodes=9),
        DecisionTreeClassifier(class_weight="balanced", ccp_alpha=0.01),
        DecisionTreeClassifier(max_depth=1),
        DecisionTreeClassifier(min_samples_leaf=1000),
        RandomForestClassifier(5, oob_score=True, max_samples=0.5, random_state=1),
        RandomForestRegressor(5, monotonic_cst=[1, -1, 0, 0, 0], random_state=1),
        RandomForestClassifier(1, random_state=1),
        ExtraTreesClassifier(5, criterion="entropy", bootstrap=True, random_state=1),
        RandomForestClassifier(7, max_depth=8, random_state=1),
        RandomForestClassifier(5, max_features=2, warm_start=True, ccp_alpha=0.005, random_state=1),
        GradientBoostingRegressor(n_estimators=5, max_features=2, ccp_alpha=0.01, warm_start=True, random_state=1),
        GradientBoostingRegressor(n_estimators=9, n_iter_no_change=2, validation_fraction=0.3, random_state=1),
        RandomForestClassifier(7, max_depth=9, random_state=1),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Some inputs do not have OOB:UserWarning")
def test_options_of_trees_change_only_the_trees(model: Any):
    model.fit(X, np.abs(NUMBER) if hasattr(model, "criterion") and "Regressor" in type(model).__name__ else TWO)
    for executor in ("reference", "torch", "torchscript"):
        assert_same(model, traps(model, nan=False, rows=500), executor, rtol=1e-14)


def test_wide_and_narrow_thresholds_use_codes_of_each_width(executor: str):
    rng = np.random.default_rng(0)
    for features, rows in ((1, 100), (1, 2000), (1, 40_000)):
        x = rng.normal(size=(rows, features))
        model = DecisionTreeRegressor(max_depth=20 if rows > 2000 else None).fit(x, rng.normal(size=rows))
        assert_same(model, trap_rows(x, thresholds_of(model), 3000, odd=()), executor)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, np.float16, bool])
def test_other_dtypes_are_cast_to_float32_as_the_library_does(executor: str, dtype: type):
    x = (X * 10).astype(dtype)
    model = RandomForestClassifier(5, random_state=0).fit(x, THREE)
    assert_same(model, x, executor, rtol=1e-14)


def test_large_integers_round_to_float32_once(executor: str):
    x = np.array([[2**53 + 1, 0], [2**60 + 2**36, 1], [2**60 + 2**36 + 1, 1], [5, 0]])
    model = DecisionTreeRegressor().fit(x, np.arange(4.0))
    assert_same(model, x, executor)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "options",
    [{}, {"init": "zero"}, {"init": LogisticRegression()}, {"subsample": 0.5, "max_depth": 5}, {"max_leaf_nodes": 6}],
    ids=str,
)
def test_gradient_boosting_classifiers_agree(executor: str, n_classes: int, options: dict[str, Any]):
    y = WORDS if n_classes == 3 else TWO == 1
    model = GradientBoostingClassifier(n_estimators=12, random_state=0, **options).fit(X, y)
    x = trap_rows(X, thresholds_of(model), 1000, odd=())
    in_float32 = isinstance(model.init_, LogisticRegression)  # GradientBoosting passes float32 rows to it
    rtol, atol = (1e-5, 2e-6) if in_float32 else (1e-11, 1e-15)
    assert_same(model, x, executor, rtol=rtol, atol=atol)
    assert_same(model, x.astype(np.float32), executor, rtol=rtol, atol=atol)


def test_exponential_loss_takes_the_logistic_function_of_twice_the_value(executor: str):
    model = GradientBoostingClassifier(loss="exponential", n_estimators=9, random_state=0).fit(X, TWO)
    assert_same(model, traps(model, nan=False, rows=500), executor, rtol=1e-13)
    model = GradientBoostingClassifier(loss="exponential", n_estimators=9, init=LogisticRegression()).fit(X, TWO)
    assert_same(model, X, executor, rtol=1e-5)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "quantile"])
def test_gradient_boosting_regressors_agree_bit_for_bit(executor: str, loss: str):
    model = GradientBoostingRegressor(loss=loss, n_estimators=12, random_state=0).fit(X, NUMBER)
    for dtype in (np.float64, np.float32):
        assert_same(model, traps(model, nan=False).astype(dtype), executor)


def test_gradient_boosting_starts_from_any_estimator_that_converts(executor: str):
    model = GradientBoostingRegressor(n_estimators=5, init=LinearRegression(), random_state=0).fit(X, NUMBER)
    assert_same(model, X, executor, rtol=1e-5, atol=1e-6)  # the linear model computes in float32 here


@pytest.mark.parametrize("trained", [X, WITH_NAN], ids=["nan first seen at predict", "nan in training"])
@pytest.mark.parametrize("y", [WORDS, TWO == 1], ids=["3 classes", "2 classes"])
def test_histogram_boosting_classifiers_agree(executor: str, y: np.ndarray, trained: np.ndarray):
    model = HistGradientBoostingClassifier(max_iter=10, random_state=0).fit(trained, y)
    x = traps(model, nan=True, infinite=True)
    assert_same(model, x, executor, rtol=1e-13)
    with np.errstate(over="ignore"):
        assert_same(model, x.astype(np.float32), executor, rtol=1e-13)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "gamma", "poisson", "quantile"])
def test_histogram_boosting_regressors_agree(executor: str, loss: str):
    options = {"quantile": 0.3} if loss == "quantile" else {}
    y = np.abs(NUMBER) + 0.1
    model = HistGradientBoostingRegressor(loss=loss, max_iter=10, monotonic_cst=[1, 0, 0, 0, -1], **options).fit(X, y)
    exact = loss not in ("gamma", "poisson")
    assert_same(model, traps(model, nan=True, infinite=True), executor, rtol=0 if exact else 1e-14)


def categorical(rng: np.random.Generator, rows: int, *, missing: bool) -> np.ndarray:
    """Columns 1 and 3 hold categories: multiples of 10.5, and the integers 0 to 59."""
    x = rng.normal(size=(rows, 5))
    x[:, 1], x[:, 3] = rng.integers(0, 6, rows) * 10.5, rng.integers(0, 60, rows)
    return np.where(rng.random(x.shape) < 0.1, np.nan, x) if missing else x


@pytest.mark.parametrize("missing", [False, True], ids=["no nan in training", "nan in training"])
@pytest.mark.parametrize("which", [[1, 3], [False, False, False, True, False], [3]], ids=str)
def test_category_sets_send_every_value_where_the_library_does(executor: str, which: list[Any], missing: bool):
    rng = np.random.default_rng(1)
    x = categorical(rng, 500, missing=missing)
    y = np.nan_to_num(x[:, 3] % 7 + x[:, 0] + (x[:, 1] == 21.0))
    model = HistGradientBoostingRegressor(max_iter=20, categorical_features=which).fit(x, y)
    probe = categorical(rng, 1000, missing=True)
    strange = rng.random(1000) < 0.3
    probe[strange, 3] = rng.choice([-1.0, -0.5, 0.5, 59.5, 60, 255, 256, 300, 1e9, -0.0], strange.sum())
    probe[strange, 1] = rng.choice([10.499999999999998, 10.500000000000002, -10.5, 1, 63.0], strange.sum())
    assert_same(model, probe, executor)
    assert_same(model, probe.astype(np.float32), executor)


def test_an_infinite_category_is_refused_as_the_library_refuses_it(executor: str):
    x = categorical(np.random.default_rng(1), 300, missing=False)
    model = HistGradientBoostingRegressor(max_iter=5, categorical_features=[3]).fit(x, x[:, 0])
    converted = tensorml.convert(model, executor=executor)
    x[7, 3] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        model.predict(x)
    with pytest.raises(InputError, match=r"infinity.*OrdinalEncoder"):
        converted.predict(x)


def test_trees_refuse_nan_and_infinity_where_the_library_does(executor: str):
    model = GradientBoostingRegressor(n_estimators=3).fit(X, NUMBER)
    converted = tensorml.convert(model, executor=executor)
    for value, words in ((np.nan, "contains NaN"), (np.inf, "infinity"), (1e300, "infinity or a value too large")):
        x = X.copy()
        x[5, 2] = value
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(ValueError, match=words):
                model.predict(x)
        with pytest.raises(InputError, match=words):
            converted.predict(x)


def test_an_unfitted_forest_is_refused():
    with pytest.raises(NotFittedError, match=r"RandomForestClassifier is not fitted\. Call fit\(\)"):
        tensorml.convert(RandomForestClassifier())


def test_a_change_to_the_model_after_conversion_does_not_matter():
    model = RandomForestRegressor(5, random_state=0).fit(X, NUMBER)
    before = model.predict(X.astype(np.int64))
    converted = tensorml.convert(model)
    model.fit(X, -NUMBER)
    np.testing.assert_array_equal(converted.predict(X.astype(np.int64)), before)


def test_real_data_sets_agree(executor: str):
    x, y = load_wine(return_X_y=True)
    assert_same(RandomForestClassifier(30, random_state=0).fit(x, y), x, executor, rtol=1e-14)
    x, y = load_diabetes(return_X_y=True)
    assert_same(GradientBoostingRegressor(random_state=0).fit(x, y), x, executor)


def test_several_jobs_in_the_source_change_nothing_beyond_rounding(executor: str):
    model = RandomForestRegressor(20, n_jobs=2, random_state=0).fit(X, NUMBER)
    converted = tensorml.convert(model, executor=executor)
    assert_equal_outputs(converted.predict(X), model.predict(X), "predict", rtol=1e-13, atol=1e-13)
