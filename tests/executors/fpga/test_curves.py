"""Functions as tables: how far they are off, and that a circuit reads them as NumPy does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tensorml import ops
from tensorml.executors.fpga.curves import TOLERANCE, table
from tensorml.executors.fpga.fixed import Fixed, Numbers, clipped, exact, moved, together
from tensorml.executors.fpga.lower import lower
from tensorml.executors.fpga.rules import rules
from tensorml.executors.fpga.simulate import Simulator
from tensorml.executors.reference import evaluate
from tensorml.graph import Const, Graph, Input, TensorType

INDEX = Input("x", TensorType(("N", 1), np.dtype(np.int64)))
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "falling": lambda x: np.exp(-x - 8),
    "straight": lambda x: x / 16 + 0.5,
}


def values(function: str, bits: int) -> np.ndarray:
    """In steps, of twice as many bits of arguments as the values' bits and two."""
    argument = np.linspace(-8, 0 if function == "exp" else 8, 3 * 2**bits)
    return FUNCTIONS[function](argument) * (2 ** (bits - 1) - 1)


@pytest.mark.parametrize("bits", [2, 5, 8, 10, 12, 14])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_value_of_a_table_is_further_off_than_promised(function, bits):
    wanted = values(function, bits)
    op, every = table(wanted, INDEX)
    x = np.arange(len(wanted))[:, None]
    np.testing.assert_array_equal(evaluate(Graph({"": op}), {"x": x})[""], every[:, None])
    assert np.abs(every - wanted).max() <= (TOLERANCE if isinstance(op, ops.Lines) else 0.5)


@pytest.mark.parametrize(("bits", "kind"), [(5, ops.Take), (10, ops.Lines), (14, ops.Lines)])
def test_the_smaller_kind_of_table_is_taken(bits, kind):
    op, _ = table(values("tanh", bits), INDEX)
    assert isinstance(op, kind)
    if isinstance(op, ops.Lines):
        assert len(op.base) <= 2 ** (bits // 2 + 3)


def test_values_that_no_lines_come_near_are_a_plain_table():
    rough = np.random.default_rng(0).integers(-100, 100, 1024).astype(float)
    op, every = table(rough, INDEX)
    assert isinstance(op, ops.Take)
    np.testing.assert_array_equal(every, rough)


def integers(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


LINES = [
    ops.Lines(INDEX, integers(5, -9, 130, 7), integers(3, -2, 0, 15), 4, 2),
    ops.Lines(INDEX, integers(64, -128, 256, 0), integers(1, 2, 3, 4), 4, 5),  # zeros at the end of all bases
    ops.Lines(INDEX, integers(8, 8, 8, 8), integers(-5, 2, -3, 1), 4, 1),  # of one base
    ops.Lines(INDEX, integers(8, -8, 1, 2), integers(3, 3, 3, 3), 4, 1),  # of one slope
    ops.Lines(INDEX, integers(8, 8, 8, 8), integers(3, 3, 3, 3), 4, 1),  # one line
    ops.Lines(INDEX, integers(-7), integers(-3), 6, 3),
    ops.Lines(INDEX, np.arange(64), np.zeros(64, int), 0, 0),
    ops.Lines(INDEX, np.arange(-32, 32), integers(*[2, -1] * 32), 0, 1),
    ops.Lines(INDEX, np.zeros(4, int), integers(0, 1, 0, -1), 4, 0),
    ops.Lines(ops.Saturate(INDEX, integers(9), integers(9)), integers(1, 2), integers(3, 4), 4, 1),  # of a constant
]


def test_a_circuit_reads_lines_as_numpy_does(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORML_CACHE", str(tmp_path))
    curves = [table(values(f, 6)[:64] * 8, INDEX)[0] for f in FUNCTIONS]
    long = [ops.Lines(INDEX, integers(*range(0, 640, 10)), integers(*range(64)), 0, 0)]
    graph = Graph({f"y{i}": op for i, op in enumerate([*LINES, *curves, *long])})
    circuit = lower(graph, {"x": (integers(0), integers(63))}, "core", "Functions")
    x = np.arange(64)[:, None]
    expected = np.concatenate(list(evaluate(graph, {"x": x}).values()), axis=1)
    np.testing.assert_array_equal(Simulator(circuit).run(x), expected)


@pytest.mark.parametrize("bits", [4, 8, 11, 20])
@pytest.mark.parametrize("sign", [1, -1, "both"])
@pytest.mark.parametrize("function", [ops.Sigmoid, ops.Tanh, ops.Exp], ids=lambda f: f.__name__)
def test_a_function_is_as_close_as_its_bits_whatever_its_arguments_stand_for(function, sign, bits):
    x = Input("x", TensorType(("N", 3), np.dtype(np.int64)))
    steps = np.full(3, 1e-3) * (np.array([1, -1, 1]) if sign == "both" else sign)
    whole = exact(x, integers(-20000, -5000, 0), integers(0, 5000, 0))
    fixed = Fixed(x, whole.low, whole.high, steps, np.array([0.3, -1.7, 2.5]))
    given = np.stack([np.linspace(a, b, 999).astype(np.int64) for a, b in zip(fixed.low, fixed.high, strict=True)], 1)
    op = function(Input("v", TensorType(("N", 3), np.dtype(np.float64))))
    found = rules[op](op, Numbers(bits), fixed)
    result = evaluate(Graph({"": found.op}), {"x": given})[""]
    assert (result >= found.low).all()
    assert (result <= found.high).all()
    exact_value = op.reference(given * steps + fixed.offset)
    error = np.abs(result * found.step + found.offset - exact_value).max()
    assert error <= 8 * np.abs(exact_value).max() / 2 ** min(bits, 14)


def test_sums_of_steps_that_are_powers_of_two_are_exact():
    x = Input("x", TensorType(("N", 2), np.dtype(np.int64)))
    whole = exact(x, -99, 99)
    a, b = (Fixed(x, whole.low, whole.high, np.array(s), np.zeros(2)) for s in ([0.25, 0.5], [-2.0, 0.25]))
    found = together(a, b, Numbers(4))
    rows = np.arange(-99, 99).reshape(-1, 2)
    result = evaluate(Graph({"": found.op}), {"x": rows})[""] * found.step
    np.testing.assert_array_equal(result, rows * np.array([0.25, 0.5]) + rows * np.array([-2.0, 0.25]))


def test_columns_that_are_outside_of_limits_are_at_their_ends():
    x = exact(Input("x", TensorType(("N", 3), np.dtype(np.int64))), integers(-9, 5, 2), integers(-5, 9, 7))
    found = clipped(x, 0, 4)
    assert (found.low.tolist(), found.high.tolist()) == ([0, 4, 2], [0, 4, 4])
    rows = np.array([[-9, 5, 2], [-5, 9, 7]])
    np.testing.assert_array_equal(evaluate(Graph({"": found.op}), {"x": rows})[""], [[0, 4, 2], [0, 4, 4]])


def test_constants_and_limits_one_after_the_other_become_one_of_each():
    x = exact(Input("x", TensorType(("N", 2), np.dtype(np.int64))), -50, 50)
    first = clipped(x, np.array([-20, -30]), np.array([20, 10]))
    by = integers(3, -3)
    found = clipped(Fixed(moved(first.op, by), first.low + by, first.high + by, x.step, x.offset), -5, 9)
    found = Fixed(moved(found.op, integers(1, 1)), found.low, found.high, x.step, x.offset)
    kinds = [type(op) for op in Graph({"": found.op}).order if not isinstance(op, Const)]
    assert kinds == [Input, ops.Add, ops.Saturate]
    rows = np.arange(-50, 50).reshape(-1, 2)
    expected = np.clip(np.clip(rows, [-20, -30], [20, 10]) + by, -5, 9) + 1
    np.testing.assert_array_equal(evaluate(Graph({"": found.op}), {"x": rows})[""], expected)
