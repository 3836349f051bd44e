"""Fixed point: options, sizes, and which part of a graph is the circuit's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeRegressor

import tensorml
from tensorml import ops
from tensorml.errors import UnsupportedModelError
from tensorml.executors.fpga.accuracy import FixedPoint, Loss, difference, fewest, fit, share
from tensorml.executors.fpga.area import DEVICES, Limit, amount, size
from tensorml.executors.fpga.fixed import Fixed, exact, narrowed, power_of_two, together, weigh, width
from tensorml.executors.fpga.program import FpgaExecutor
from tensorml.executors.fpga.split import measured, split
from tensorml.executors.reference import evaluate
from tensorml.graph import Const, Graph, Input, TensorType

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bits": 0}, "bits is 1 to 32 or None, not 0"),
        ({"bits": 33}, "bits is 1 to 32 or None, not 33"),
        ({"accuracy": 0}, "accuracy is between 0 and 1, not 0"),
        ({"accuracy": 1.0}, r"accuracy is between 0 and 1, not 1\.0"),
        ({"outside": "wrap"}, "outside is 'saturate' or 'refuse', not 'wrap'"),
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
    from sklearn.linear_model import LinearRegression

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
    x = narrowed(column(WHOLE, 0.5), 8)
    assert x.bits <= 8
    error = np.abs(meant(x, WHOLE) - WHOLE * 0.5) / np.abs(WHOLE * 0.5).max(0)
    assert (error.max(0) <= 2.0**-7).all()


def test_a_product_with_weights_is_as_close_as_the_weights():
    weights = RNG.normal(size=(3, 4))
    x = weigh(column(WHOLE, 0.25, 3.0), weights, 20)
    expected = (WHOLE * 0.25 + 3.0) @ weights
    np.testing.assert_allclose(meant(x, WHOLE), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("step", [0.25, -0.25, 1e-3, 3.0])
def test_a_sum_of_different_steps_is_close(step):
    x = together(column(WHOLE, 0.25, 1.0), column(WHOLE, step, 2.0), 20)
    expected = WHOLE * 0.25 + WHOLE * step + 3.0
    np.testing.assert_allclose(meant(x, WHOLE), expected, atol=1e-5 * np.abs(WHOLE).max())


def test_sums_that_would_not_fit_lose_their_lowest_bits_and_never_wrap():
    wide = RNG.integers(-(2**52), 2**52, (50, 3))
    x = weigh(column(wide, 1.0), RNG.normal(size=(3, 2)), 24)
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
    inside = {type(op) for op in split(graph, 8, measured(graph, {"x": X})).circuit.order}
    assert ops.WeightedSum in inside
    assert ops.Mul not in inside
