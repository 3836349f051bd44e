from __future__ import annotations

import numpy as np
import pytest

from tensorml import ops
from tensorml.errors import InputError, UnsupportedOperatorError
from tensorml.executors.base import Executor, Rules, executor_class
from tensorml.executors.reference import evaluate
from tensorml.graph import Const, Graph, Input, Op
from tensorml.plan import ALL_ROWS, needs_batch
from tensorml.save import operators_by_name
from tests.samples import AT_OUTPUTS, SAMPLES, X, batch

BATCHES = [0, 1, 37, 3000]


@pytest.fixture
def runner(executor: str) -> Executor:
    return executor_class(executor)()


@pytest.mark.parametrize("rows", BATCHES, ids=lambda rows: f"{rows} rows")
@pytest.mark.parametrize("name", SAMPLES)
def test_executor_agrees_with_reference(runner: Executor, name: str, rows: int):
    op, rtol = SAMPLES[name]
    graph, inputs = Graph({"out": op}), batch(rows)
    expected = evaluate(graph, inputs)["out"]
    actual = runner.compile(graph)(inputs, rows)["out"]
    assert actual.dtype == expected.dtype == op.dtype
    assert actual.shape == expected.shape
    if expected.dtype.kind == "f" and rtol:
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * 1e-2)
    else:
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("name", SAMPLES)
def test_tiles_change_no_bit_of_exact_operators(runner: Executor, name: str):
    op, rtol = SAMPLES[name]
    graph, inputs = Graph({"out": op}), batch(500)
    program = runner.compile(graph)
    if needs_batch(graph):
        assert program.tile == ALL_ROWS
        return
    in_tiles = type(program)(program.inputs, program.run, tile=64)(inputs, 500)["out"]
    np.testing.assert_allclose(in_tiles, program(inputs, 500)["out"], rtol=rtol, atol=rtol * 1e-2)


def test_every_operator_has_a_sample():
    sampled = {type(op) for root in (*SAMPLES.values(),) for op in Graph({"out": root[0]}).order}
    sampled |= {type(op) for op in AT_OUTPUTS.values()}
    on_host = {cls for cls in operators_by_name().values() if issubclass(cls, ops.HostOp)}  # tests/test_host.py
    missing = {cls for cls in operators_by_name().values() if cls not in sampled | on_host}
    assert not missing


def test_every_operator_states_its_meaning():
    for name, cls in operators_by_name().items():
        assert cls.__doc__, name


def test_inputs_are_never_written_to(runner: Executor):
    inputs = batch(100)
    for array in inputs.values():
        array.flags.writeable = False
    before = {name: array.copy() for name, array in inputs.items()}
    for op, _ in SAMPLES.values():
        runner.compile(Graph({"out": op}))(inputs, 100)
    for name, array in inputs.items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, "Input X contains NaN; Reader"), (np.inf, "contains infinity"), (-np.inf, "infinity")]
)
def test_finite_refuses_what_its_reader_refuses(runner: Executor, value: float, words: str):
    inputs = batch(5)
    inputs["plain"][3, 2] = value
    with pytest.raises(InputError, match=words):
        runner.compile(Graph({"out": ops.Finite(X["plain"], False, "Reader")}))(inputs, 5)


def test_finite_takes_nan_where_its_reader_does_but_no_infinity(runner: Executor):
    inputs = batch(5)
    inputs["plain"][3, 2] = np.nan
    program = runner.compile(Graph({"out": ops.Finite(X["plain"], True, "Reader")}))
    np.testing.assert_array_equal(program(inputs, 5)["out"], inputs["plain"])
    inputs["plain"][1, 1] = -np.inf
    with pytest.raises(InputError, match="infinity"):
        program(inputs, 5)


@pytest.mark.parametrize("rows", [5, 700])
@pytest.mark.parametrize("dtype", ["plain", "plain32"])
def test_within_refuses_what_is_outside_the_range_of_its_column(runner: Executor, dtype: str, rows: int):
    x, inputs = X[dtype], batch(rows)
    low, high = np.array([-9, -np.inf, -np.inf, -9], x.dtype), np.array([np.inf, 9, np.inf, 9], x.dtype)
    op = ops.Within(x, low, high, np.array([True, True, False, True]), "Reader", np.dtype(np.float32))
    program, plain = runner.compile(Graph({"out": op})), inputs[dtype].copy()
    for column, value, words in (
        (0, np.inf, ""),
        (0, np.nan, ""),
        (0, -9.0, ""),
        (0, np.nextafter(x.dtype.type(-9), x.dtype.type(-10)), "value too large for dtype..float32..; Reader"),
        (1, -np.inf, ""),
        (1, np.inf, "contains infinity"),
        (2, -np.inf, ""),
        (2, np.nan, "Input X contains NaN; Reader"),
        (3, 10.0, "too large"),
        (3, np.nan, ""),
    ):
        inputs[dtype] = plain.copy()
        inputs[dtype][-2, column] = value
        if not words:
            np.testing.assert_array_equal(program(inputs, rows)["out"], inputs[dtype])
            continue
        with pytest.raises(InputError, match=words):
            program(inputs, rows)


def test_require_refuses_rows_where_its_condition_fails(runner: Executor):
    inputs = batch(5)
    inputs["code"][4, 2] = 7
    condition = ops.Less(X["code"], Const(np.array(6, np.uint8)))
    with pytest.raises(InputError, match="six or more"):
        runner.compile(Graph({"out": ops.Require(X["special"], condition, "six or more")}))(inputs, 5)


def test_a_result_that_is_a_view_of_the_input_is_copied(runner: Executor):
    inputs = batch(5)
    for op in (X["plain"], ops.Columns(X["plain"], np.array([1, 2])), ops.Finite(X["plain"], False, "Reader")):
        result = runner.compile(Graph({"out": op}))(inputs, 5)["out"]
        assert not np.shares_memory(result, inputs["plain"])


def test_a_sum_that_overflows_is_not_mistaken_for_infinity(runner: Executor):
    inputs = {"plain": np.full((4, 4), 1.7e308)}
    out = runner.compile(Graph({"out": ops.Finite(X["plain"], False, "Reader")}))(inputs, 4)["out"]
    np.testing.assert_array_equal(out, inputs["plain"])


class Unknown(Op):
    """An operator that no executor but the reference knows."""

    x: Op

    def infer(self):
        return self.x.type

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return operands[0]


def test_an_operator_without_rule_is_refused_by_name(runner: Executor):
    graph = Graph({"out": Unknown(X["plain"])})
    if runner.supports(Unknown):
        assert runner.name == "reference"
        return
    with pytest.raises(UnsupportedOperatorError, match=rf"'{'torch'}.*no rule for Unknown"):
        runner.compile(graph)


def test_rules_cover_all_operators_that_reach_an_executor(runner: Executor):
    host_only = {type(op) for op in AT_OUTPUTS.values()}
    for cls in operators_by_name().values():
        if cls not in host_only and not issubclass(cls, ops.HostOp):
            assert runner.supports(cls), cls


def test_inputs_and_constants_need_no_rule():
    assert Rules("any").supports(Input)
    assert Rules("any").supports(Const)


def test_unknown_executor_is_refused_with_the_names_that_exist():
    with pytest.raises(
        ValueError, match="no executor 'cuda'; there are: auto, fpga, reference, simd, torch, torchscript"
    ):
        executor_class("cuda")
