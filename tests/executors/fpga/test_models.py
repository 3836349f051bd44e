"""Models of every family as circuits: the same integers as NumPy, results as accurate as promised, leaves exact."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBRegressor

import tensorml
from tensorml.errors import InputError, UnsupportedModelError, UnsupportedOperatorError
from tensorml.executors.fpga.accuracy import FixedPoint
from tensorml.executors.fpga.program import Core, FpgaExecutor
from tensorml.executors.reference import evaluate
from tests.executors.fpga.circuits import random_rows
from tests.executors.fpga.models import CASES, MISSING, NUMBER, PAIR, THREE, TWO, X, fitted
from tests.executors.fpga.stand import Stand, core_of, integers
from tests.traps import trap_rows

ACCURACY = 0.01
BUILT = (
    "LogisticRegression, three classes",
    "MinMaxScaler(clip=True) before LogisticRegression",
    "PolynomialFeatures() before LogisticRegression",
    "GaussianNB",
    "CategoricalNB",
    "MLPClassifier, relu, two layers",
    "MLPRegressor, tanh",
    "SVC, rbf, few vectors",
    "SVC, poly",
    "RandomForestClassifier",
    "VotingRegressor",
    "CatBoostClassifier",
)


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORML_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def _unbuilt(monkeypatch):
    monkeypatch.setattr(Core, "simulator", property(Stand))


@cache
def converted(name: str) -> Any:
    return tensorml.convert(fitted(name), CASES[name].x, executor="fpga")


def odd_rows(core: Core, rows: int = 60) -> np.ndarray:
    """Rows of a circuit over the whole range of each field, and at its ends."""
    return random_rows(core.circuit.inputs, rows)


@pytest.mark.parametrize("name", CASES)
def test_a_circuit_between_two_parts_of_the_host_is_the_graph_in_fixed_point(name):
    x = CASES[name].x
    for output in converted(name).outputs:
        core = core_of(converted(name), output)
        core.__dict__["_simulator"] = Stand(core)
        for rows in (x, x[:1], x[:0], np.nan_to_num(x) * (1 if "Categorical" in name else 7)):
            passed = {"x": rows}
            actual, expected = core.run(passed), evaluate(core.split.whole, passed)
            np.testing.assert_array_equal(actual[output], expected[output])


@pytest.mark.parametrize("name", CASES)
def test_no_integer_leaves_the_range_that_its_wires_have(name):
    core = core_of(converted(name), next(iter(converted(name).outputs)))
    low = np.concatenate([e.fixed.low for e in core.split.entrances.values()])
    high = np.concatenate([e.fixed.high for e in core.split.entrances.values()])
    corners = np.where(np.random.default_rng(1).random((200, len(low))) < 0.5, low, high)
    results = integers(core, corners.astype(np.int64))
    fields = core.circuit.outputs
    assert (results >= [f.lowest for f in fields]).all()
    assert (results <= [f.highest for f in fields]).all()


@pytest.mark.usefixtures("_unbuilt")
@pytest.mark.parametrize("name", CASES)
def test_results_are_within_the_accuracy_of_the_source(name):
    model, source, x = converted(name), fitted(name), CASES[name].x
    for method in model.methods:
        if method in ("inverse_transform", "decision_path"):
            continue
        with np.errstate(divide="ignore"):
            exact, close = getattr(source, method)(x), getattr(model, method)(x)
        if method.endswith("log_proba") and "joint" not in method:
            exact, close = np.exp(exact), np.exp(close)
        for a, b in zip(*((v if isinstance(v, list) else [v]) for v in (exact, close)), strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            assert off(a, b, method) <= ACCURACY, method


def off(exact: np.ndarray, close: np.ndarray, method: str) -> float:
    """The largest error relative to the range of the result; of labels and of votes the share of rows."""
    if exact.dtype.kind not in "f":
        return float((exact != close).reshape(len(exact), -1).any(axis=1).mean())
    exact, close = (v.reshape(len(exact), -1).astype(np.float64) for v in (exact, close))
    spread = np.ptp(exact, axis=0) if method in ("predict", "transform") else np.ptp(exact)
    error = np.where(exact == close, 0, np.abs(exact - close) / np.where(spread > 0, spread, 1)).max(axis=1)
    votes = exact.shape[1] > 2 and method == "decision_function" and error.max() > ACCURACY
    return float((error > ACCURACY).mean()) if votes else float(error.max())


@pytest.mark.parametrize("name", BUILT)
def test_a_simulated_circuit_gives_the_integers_of_numpy(name):
    core = core_of(converted(name), list(converted(name).outputs)[-1])
    rows = np.concatenate([odd_rows(core), core.rows({"x": CASES[name].x})])
    np.testing.assert_array_equal(core.simulator.run(rows), integers(core, rows))
    assert core.simulator.run(rows[:0]).shape == (0, len(core.circuit.outputs))


@pytest.mark.usefixtures("_unbuilt")
@pytest.mark.parametrize(
    ("name", "method", "options", "odd"),
    [
        ("DecisionTreeClassifier, missing values", "apply", {}, (np.nan,)),
        ("RandomForestClassifier", "apply", {}, ()),
        ("GradientBoostingClassifier", "apply", {}, ()),
        ("XGBRegressor, missing values", "apply", {}, (np.nan,)),
        ("LGBMRegressor, missing values", "predict", {"pred_leaf": True}, (np.nan, np.inf, -np.inf)),
        ("CatBoostRegressor, missing values", "calc_leaf_indexes", {}, (np.nan, np.inf, -np.inf)),
    ],
)
def test_leaves_are_those_of_the_source(name, method, options, odd):
    model, source = converted(name), fitted(name)
    rows = beside_thresholds(model, CASES[name].x, odd=(-0.0, 5e-324, 1e-45, 3e38, *odd))
    np.testing.assert_array_equal(getattr(model, method)(rows, **options), getattr(source, method)(rows, **options))


def beside_thresholds(model: Any, x: np.ndarray, odd: tuple[float, ...], rows: int = 500) -> np.ndarray:
    """Rows at the thresholds of a model's trees, one unit in the last place beside them, and with odd values."""
    ranks = [op for op in model.graph.order if type(op).__name__ == "Rank"]
    pairs = [
        (int(c), float(t)) for op in ranks for k, c in enumerate(op.source) for t in op.column(k) if np.isfinite(t)
    ]
    return trap_rows(x, pairs, rows, odd=odd)


@pytest.mark.usefixtures("_unbuilt")
def test_what_is_before_trees_stays_in_floating_point():
    source, model = fitted("PCA before a tree"), converted("PCA before a tree")
    rows = np.random.default_rng(2).normal(size=(3000, 4)) * [1, 1, 30, 1] + [0, 0, 100, 0]
    np.testing.assert_array_equal(model.predict(rows), source.predict(rows))


@pytest.mark.usefixtures("_unbuilt")
def test_values_outside_the_range_are_counted_and_never_wrap():
    model = converted("LinearRegression")
    core = core_of(model, "predict")
    before = core.saturated
    core.__dict__["_simulator"] = Stand(core)
    model.predict(X)
    assert core.saturated == before
    far = np.zeros((3, 4))
    far[:, 0] = [1e3, 1e30, np.finfo(np.float64).max]
    at_most = model.predict(far)
    assert core.saturated >= before + 3
    assert (at_most == at_most[0]).all()
    assert at_most[0] > model.predict(np.zeros((1, 4)))[0]


@pytest.mark.usefixtures("_unbuilt")
def test_values_outside_the_range_are_refused_where_the_policy_says_so():
    policy = tensorml_policy(outside="refuse")
    model = tensorml.convert(fitted("LinearRegression"), X, executor=FpgaExecutor(fixed=policy))
    model.predict(X)
    rows = X.copy()
    rows[3, 1] = -1e6
    with pytest.raises(InputError, match=r"1 values are outside the range .* row 3, column 1\. Convert with calib"):
        model.predict(rows)


def tensorml_policy(**options: Any) -> Any:
    return FixedPoint(**options)


@pytest.mark.usefixtures("_unbuilt")
@pytest.mark.parametrize("name", ["LinearRegression", "LogisticRegression, two classes", "MLPRegressor, relu"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(name, value):
    rows = X.copy()
    rows[5, 2] = value
    with pytest.raises(InputError, match="NaN" if np.isnan(value) else "infinity"):
        converted(name).predict(rows)


def test_a_linear_model_needs_rows():
    with pytest.raises(UnsupportedModelError, match=r"range of its inputs is not known\. Pass rows of the usual kind"):
        tensorml.convert(fitted("LinearRegression"), executor="fpga")
    with pytest.raises(UnsupportedModelError, match=r"range of its inputs is not known\. Pass rows of the usual kind"):
        tensorml.convert(fitted("LinearRegression"), X[:0], executor="fpga")


@pytest.mark.usefixtures("_unbuilt")
def test_trees_need_no_rows_and_promise_a_bound():
    source = fitted("XGBRegressor, missing values")
    model = tensorml.convert(source, executor="fpga")
    core = core_of(model, "predict")
    error = np.abs(model.predict(MISSING) - source.predict(MISSING)).max()
    assert core.loss.rows == 0
    assert error <= core.loss.error * (1 + 1e-6)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (KNeighborsClassifier().fit(X, TWO), "KNeighborsClassifier: Nearest is not one of the operators"),
        (NearestCentroid(metric="manhattan").fit(X, TWO), "NearestCentroid: Nearest is not one of the operators"),
        (
            GaussianProcessClassifier().fit(X[:30], TWO[:30]),
            "GaussianProcessClassifier: 24 bits do not bring the error",
        ),
        (StandardScaler().fit(X), "StandardScaler: it has no tree and no product that a circuit computes"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_a_model_without_a_circuit_is_refused_by_name(source, words):
    with pytest.raises(UnsupportedModelError, match=words + r".*\. Choose another executor"):
        tensorml.convert(source, X, executor="fpga")


def test_an_output_that_is_not_accurate_enough_is_refused():
    source = RandomForestRegressor(3, max_depth=3, random_state=0).fit(X, NUMBER)
    model = tensorml.convert(source, X, executor=FpgaExecutor(fixed=FixedPoint(accuracy=1e-9)))
    with pytest.raises(UnsupportedOperatorError, match=r"24 bits do not bring the error below 1e-09"):
        model.predict(X)


def test_methods_share_a_circuit():
    model = converted("LogisticRegression, three classes")
    outputs = ("predict", "predict_proba", "decision_function")
    assert len({core_of(model, output).circuit.digest for output in outputs}) == 1


@pytest.mark.usefixtures("_unbuilt")
def test_a_constant_column_of_the_calibration_rows_is_as_accurate_as_the_others():
    x = X.copy()
    x[:, 1] = 0.3
    source = make_pipeline(LinearRegression()).fit(X, NUMBER)
    model = tensorml.convert(source, x, executor="fpga")
    assert off(source.predict(x), model.predict(x), "predict") <= ACCURACY


@pytest.mark.usefixtures("_unbuilt")
def test_one_calibration_row_is_enough():
    source = LinearRegression().fit(X, NUMBER)
    model = tensorml.convert(source, X[:1], executor="fpga")
    assert abs(model.predict(X[:1]) - source.predict(X[:1])) <= ACCURACY * abs(source.predict(X[:1]))


@pytest.mark.usefixtures("_unbuilt")
def test_rows_of_another_type_use_the_same_calibration():
    source = LogisticRegression(max_iter=2000).fit(X, THREE)
    model = tensorml.convert(source, X, executor="fpga")
    single = X.astype(np.float32)
    assert off(source.predict_proba(single), model.predict_proba(single), "predict_proba") <= ACCURACY
    assert off(source.predict(single), model.predict(single), "predict") <= ACCURACY


@pytest.mark.usefixtures("_unbuilt")
def test_forests_of_stumps_and_of_single_leaves_have_circuits():
    constant = np.zeros(len(X))
    for source, y in [
        (XGBRegressor(n_estimators=2, max_depth=1), NUMBER),
        (DecisionTreeRegressor(), constant),
        (LGBMRegressor(n_estimators=2, verbose=-1, min_child_samples=10**6), NUMBER),
        (RandomForestRegressor(3, max_depth=1, random_state=0), PAIR),
    ]:
        model = tensorml.convert(source.fit(X, y), X, executor="fpga")
        assert off(source.predict(X), model.predict(X), "predict") <= ACCURACY
