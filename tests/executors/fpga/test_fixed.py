"""Fixed point: options, sizes, and which part of a graph is the circuit's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeRegressor

import tensorml
from tensorml import ops
from tensorml.errors import UnsupportedModelError, UnsupportedOperatorError
from tensorml.executors.fpga.accuracy import NOT_MEASURED, FixedPoint, Loss, difference, fewest, fit, share
from tensorml.executors.fpga.area import DEVICES, Limit, amount, size
from tensorml.executors.fpga.circuit import Field
from tensorml.executors.fpga.fixed import Fixed, Numbers, exact, narrowed, power_of_two, shifted, together, weigh, width
from tensorml.executors.fpga.program import Core, FpgaExecutor
from tensorml.executors.fpga.split import measured, split
from tensorml.executors.reference import evaluate
from tensorml.graph import Const, Graph, Input, TensorType
from tests.executors.fpga.circuits import random_rows
from tests.executors.fpga.stand import Stand, core_of, integers

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5))


@pytest.fixture
def _unbuilt(monkeypatch):
    monkeypatch.setattr(Core, "simulator", property(Stand))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bits": 0}, "bits is 1 to 32 or None, not 0"),
        ({"bits": 33}, "bits is 1 to 32 or None, not 33"),
        ({"accuracy": 0}, "accuracy is between 0 and 1, not 0"),
        ({"accuracy": 1.0}, r"accuracy is between 0 and 1, not 1\.0"),
        ({"bits": 3.5}, r"bits is 1 to 32 or None, not 3\.5"),
        ({"outside": "wrap"}, "outside is 'saturate' or 'refuse', not 'wrap'"),
        ({"rounding": "even"}, "rounding is 'nearest' or 'down', not 'even'"),
        ({"fraction": 10}, "fraction is -64 to 64, of the bits that are given too, or None, not 10"),
        ({"bits": 18, "fraction": 65}, "fraction is -64 to 64, .* not 65"),
        ({"bits": 18, "fraction": 2.5}, r"fraction is -64 to 64, .* not 2\.5"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        FixedPoint(**options)


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match=r"area is a Limit or one of ecp5-25k, .*, not 'board'"):
        FpgaExecutor(area="board")


@pytest.mark.parametrize("area", ["ecp5-25k", Limit(1000, 10)])
@pytest.mark.parametrize(
    "model",
    [
        RandomForestRegressor(300, n_jobs=1),
        SVR(epsilon=0),
        MLPRegressor(hidden_layer_sizes=64, max_iter=2, random_state=0),
    ],
    ids=lambda v: type(v).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_model_that_does_not_fit_is_refused_with_its_size(model, area):
    model.fit(X, X[:, 0] + RNG.normal(size=len(X)))
    with pytest.raises(UnsupportedModelError, match=r"it needs about .* LUTs, .* DSPs .*; the limit.* Make it smaller"):
        tensorml.convert(model, X, executor=FpgaExecutor(area=area, walkers=0))


def test_a_model_that_fits_is_estimated():
    model = DecisionTreeRegressor(max_depth=4).fit(X, X[:, 0])
    executor = FpgaExecutor(area="ecp5-25k")
    converted = tensorml.convert(model, X, executor=executor)
    found, _ = executor.fitted(converted.graph.select("predict"))
    assert 5 < size(found, "ecp5").luts < 500
    assert DEVICES["ecp5-25k"].room(size(found, "ecp5"))


def test_amounts_are_words():
    assert [amount(n) for n in (0, 4800, 1_234_567)] == ["0", "4,800", "1.2 million"]


def test_given_bits_are_used_whatever_they_lose():
    model = LinearRegression().fit(X, X @ [1, 2, 3, 4, 5])
    converted = tensorml.convert(model, X, executor=FpgaExecutor(fixed=FixedPoint(bits=3)))
    core = converted._programs.program(converted._schema, ("predict",)).core
    assert core.split.bits == 3
    assert core.loss.relative > 0.01


@pytest.mark.parametrize("bits", [2, 5, 8, 16])
def test_more_bits_are_more_accurate(bits):
    x = Input("x", TensorType(("N", 5), np.dtype(np.float64)))
    graph = Graph({"predict": ops.MatMul(x, Const(RNG.normal(size=(5, 2))))})
    _, lost = fit(graph, FixedPoint(bits=bits), {"x": X})
    assert lost.relative < 2.0 ** (3 - bits)


def column(values: np.ndarray, step: float, offset: float = 0.0) -> Fixed:
    """Integers [N, C] of a constant, as if they came from outside."""
    x = Input("x", TensorType(("N", values.shape[1]), np.dtype(np.int64)))
    whole = exact(x, values.min(0), values.max(0))
    count = values.shape[1]
    return Fixed(x, whole.low, whole.high, np.full(count, step), np.full(count, offset))


def meant(fixed: Fixed, values: np.ndarray) -> np.ndarray:
    result = evaluate(Graph({"": fixed.op}), {"x": values})[""]
    assert (result >= fixed.low).all()
    assert (result <= fixed.high).all()
    return result * fixed.step + fixed.offset


WHOLE = RNG.integers(-1000, 1000, (50, 3)) * np.array([1, 100, 10**6])


def test_each_column_keeps_its_own_bits():
    x = narrowed(column(WHOLE, 0.5), Numbers(8))
    assert x.bits <= 8
    error = np.abs(meant(x, WHOLE) - WHOLE * 0.5) / np.abs(WHOLE * 0.5).max(0)
    assert (error.max(0) <= 2.0**-7).all()


def test_a_product_with_weights_is_as_close_as_the_weights():
    weights = RNG.normal(size=(3, 4))
    x = weigh(column(WHOLE, 0.25, 3.0), weights, Numbers(20))
    expected = (WHOLE * 0.25 + 3.0) @ weights
    np.testing.assert_allclose(meant(x, WHOLE), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("step", [0.25, -0.25, 1e-3, 3.0])
def test_a_sum_of_different_steps_is_close(step):
    x = together(column(WHOLE, 0.25, 1.0), column(WHOLE, step, 2.0), Numbers(20))
    expected = WHOLE * 0.25 + WHOLE * step + 3.0
    np.testing.assert_allclose(meant(x, WHOLE), expected, atol=1e-5 * np.abs(WHOLE).max())


def test_sums_that_would_not_fit_lose_their_lowest_bits_and_never_wrap():
    wide = RNG.integers(-(2**52), 2**52, (50, 3))
    x = weigh(column(wide, 1.0), RNG.normal(size=(3, 2)), Numbers(24))
    assert x.bits <= 62
    meant(x, wide)


@pytest.mark.parametrize(("low", "high", "bits"), [(0, 0, 0), (0, 1, 1), (0, 255, 8), (-1, 0, 1), (-128, 127, 8)])
def test_widths(low, high, bits):
    assert width(low, high) == bits


@pytest.mark.parametrize("largest", [1e-300, 0.3, 1.0, 127.4, 127.6, 1e300])
def test_steps_are_powers_of_two_that_reach(largest):
    step = power_of_two(largest, 8)
    assert np.log2(step) == np.round(np.log2(step))
    assert largest / step <= 127.5 < 4 * largest / step


def test_the_fewest_bits_are_found():
    for needed in range(2, 25):
        assert fewest(lambda bits, needed=needed: bits >= needed) == needed
    assert fewest(lambda bits: False) is None


def test_rows_of_votes_that_are_off_are_counted():
    assert share(np.array([0.0, 0.0, 0.5, 0.0])) == 0.25
    assert share(np.zeros(5)) == 0
    exact_value = np.array([[0.0], [1.0], [2.0], [4.0]])
    close = exact_value + np.array([[0], [0], [0.4], [0]])
    assert difference(exact_value, close, apart=False, decided=False).relative == pytest.approx(0.1)
    assert difference(exact_value, close, apart=False, decided=True) == Loss(0.0, 0.0, 4, pytest.approx(0.1))


def test_columns_with_units_of_their_own_are_compared_apart():
    exact_value = np.array([[0.0, 0.0], [1.0, 1000.0]])
    close = exact_value + np.array([[0.1, 0.0], [0, 0]])
    assert difference(exact_value, close, apart=True, decided=False).relative == pytest.approx(0.1)
    assert difference(exact_value, close, apart=False, decided=False).relative == pytest.approx(1e-4)


def test_the_heavier_part_is_the_circuits():
    x = Input("x", TensorType(("N", 5), np.dtype(np.float64)))
    norm = ops.Sqrt(ops.ReduceSum(x * x))
    graph = Graph({"predict": ops.MatMul(x / norm, Const(RNG.normal(size=(5, 7))))})
    inside = {type(op) for op in split(graph, Numbers(8), measured(graph, {"x": X})).circuit.order}
    assert ops.WeightedSum in inside
    assert ops.Mul not in inside


GIVEN = [FixedPoint(18, 10), FixedPoint(9, 5), FixedPoint(6, 0), FixedPoint(8, -2), FixedPoint(10, 12)]


@pytest.mark.parametrize("policy", GIVEN, ids=lambda p: f"{p.bits} bits, {p.fraction}")
@pytest.mark.usefixtures("_unbuilt")
def test_given_numbers_are_those_of_inputs_and_weights(policy):
    model = LinearRegression().fit(X, X @ [0.3, -2, 3, 0, 0.07])
    x = np.concatenate([X, 100 * X, np.arange(-25, 25).reshape(10, 5) / 2**11])  # also out of range, and ties
    converted = tensorml.convert(model, executor=FpgaExecutor(fixed=policy))
    step = 2.0**-policy.fraction
    low, high = -(2 ** (policy.bits - 1)), 2 ** (policy.bits - 1) - 1
    inputs, weights = (np.clip(np.floor(v / step + 0.5), low, high) for v in (x, model.coef_))
    np.testing.assert_allclose(converted.predict(x), inputs @ weights * step**2 + model.intercept_, rtol=1e-12)


@pytest.mark.usefixtures("_unbuilt")
def test_the_host_scales_values_for_given_numbers():
    scaler = StandardScaler().fit(1000 * X)
    model = make_pipeline(scaler, LinearRegression()).fit(1000 * X, X @ [1, 2, 3, 4, 5])
    converted = tensorml.convert(model, executor=FpgaExecutor(fixed=FixedPoint(18, 10)))
    [entrance] = core_of(converted, "predict").split.entrances.values()
    np.testing.assert_array_equal(entrance.fixed.step, 2.0**-10)
    assert np.abs(converted.predict(1000 * X) - model.predict(1000 * X)).max() < 0.05


def test_a_weight_outside_of_given_numbers_is_refused_or_taken_to_their_end():
    model = LinearRegression().fit(X, 300 * X[:, 0])
    words = r"a weight of 300 is outside of -128 to 127\.999, which 18 bits with 10 .* hold\. Give it more bits before"
    with pytest.raises(UnsupportedModelError, match=words):
        tensorml.convert(model, X, executor=FpgaExecutor(fixed=FixedPoint(18, 10, outside="refuse")))
    converted = tensorml.convert(model, X, executor=FpgaExecutor(fixed=FixedPoint(18, 10)))
    assert 0.25 < core_of(converted, "predict").loss.relative < 0.6


@pytest.mark.usefixtures("_unbuilt")
def test_a_leaf_outside_of_given_numbers_is_refused_or_taken_to_their_end():
    model = RandomForestRegressor(2, max_depth=1, bootstrap=False).fit(X, np.where(X[:, 0] > 0, 500, 0))
    refusing = tensorml.convert(model, X, executor=FpgaExecutor(fixed=FixedPoint(18, 10, outside="refuse")))
    with pytest.raises(UnsupportedOperatorError, match="a leaf of 500 is outside of -128 to"):
        refusing.predict(X)
    converted = tensorml.convert(model, X, executor=FpgaExecutor(fixed=FixedPoint(18, 10)))
    np.testing.assert_allclose(np.unique(converted.predict(X)), [0, 2 * 128 / 2], atol=0.01)


def test_without_rows_what_given_numbers_lose_is_not_known():
    model = LinearRegression().fit(X, X[:, 0])
    report = tensorml.convert(model, executor=FpgaExecutor(fixed=FixedPoint(18, 10))).report(fast=True)
    assert "Fixed point: no calibration rows, so its error was not measured; constants 18 bits" in str(report)


@pytest.mark.parametrize("shift", [1, 2, 5])
def test_values_that_are_passed_on_go_to_the_nearest_half_up_or_down(shift):
    values = np.append(np.arange(-70, 70), [-(2**61), 2**61])[:, None]
    x = Fixed(column(values, 1.0).op, *(np.array([v]) for v in (-(2**61), 2**61, 0.5, 3.0)))
    for rounding, expected in [("nearest", np.floor(values / 2**shift + 0.5)), ("down", values // 2**shift)]:
        found = shifted(x, shift, rounding)
        result = evaluate(Graph({"": found.op}), {"x": values})[""]
        np.testing.assert_array_equal(result, expected)
        assert (found.low, found.high) == (-(2**61) >> shift, 2**61 >> shift)
        error = result * found.step + found.offset - (values * 0.5 + 3.0)
        assert np.abs(error[:-2]).max() <= 0.5 * 2**shift / 2


MODES = [Numbers(7), Numbers(7, None, "down"), Numbers(9, 5), Numbers(9, 5, "down", "refuse")]


def network() -> Graph:
    """Two layers with two functions between them, of three inputs."""
    x = Input("x", TensorType(("N", 3), np.dtype(np.float64)))
    rng = np.random.default_rng(3)
    hidden = ops.MatMul(x, Const(rng.normal(size=(3, 4)))) + rng.normal(size=4)
    first, last = (ops.Columns(hidden, np.array(c)) for c in ([0, 1], [2, 3]))
    hidden = ops.concat([ops.Max(first, Const(np.zeros(()))), ops.Tanh(last)])
    return Graph({"predict": ops.MatMul(hidden * hidden, Const(rng.normal(size=(4, 2))))})


@pytest.mark.parametrize("numbers", MODES, ids=str)
def test_a_circuit_in_every_mode_is_its_graph_bit_for_bit(numbers, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORML_CACHE", str(tmp_path))
    graph = network()
    core = Core(split(graph, numbers, measured(graph, {"x": X[:, :3]})), NOT_MEASURED, FixedPoint())
    rows = np.concatenate([random_rows(core.circuit.inputs, 500), ends(core.circuit.inputs)])
    np.testing.assert_array_equal(core.simulator.run(rows), integers(core, rows))


def ends(fields: Sequence[Field]) -> np.ndarray:
    """Every combination of the least, the middle and the largest value of each field."""
    return np.array(list(product(*([f.lowest, 0, f.highest] for f in fields))), np.int64)
