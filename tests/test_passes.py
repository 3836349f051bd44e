from __future__ import annotations

import numpy as np
import pytest

from tensorml import ops
from tensorml.executors.reference import evaluate
from tensorml.graph import Const, Graph, Input, Op, TensorType
from tensorml.passes import EXACT, FAST, optimize
from tests.samples import AT_OUTPUTS, SAMPLES, batch

X = Input("x", TensorType(("N", 4), np.float64))
SCALE, MEAN = np.array([2.0, 3.0, 0.5, 10.0]), np.array([1.0, -1.0, 5.0, 0.25])
WEIGHTS = Const(np.arange(12.0).reshape(4, 3))
VALUES = np.random.default_rng(0).normal(size=(50, 4))


def exact(outputs: dict[str, Op]) -> Graph:
    return optimize(Graph(outputs), EXACT)


def kinds(graph: Graph) -> list[str]:
    return [type(op).__name__ for op in graph.order if not isinstance(op, Const | Input)]


@pytest.mark.parametrize("name", [*SAMPLES, *AT_OUTPUTS])
def test_exact_passes_keep_every_bit(name: str):
    op = SAMPLES[name][0] if name in SAMPLES else AT_OUTPUTS[name]
    inputs = batch(200)
    before = evaluate(Graph({"out": op}), inputs)["out"]
    after = evaluate(exact({"out": op}), inputs)["out"]
    np.testing.assert_array_equal(before, after)
    assert before.dtype == after.dtype


def test_constants_are_folded():
    graph = exact({"out": X + (Const(SCALE) * 2.0 - Const(MEAN))})
    assert kinds(graph) == ["Add"]


def test_a_cast_to_the_same_dtype_and_a_repeated_check_disappear():
    graph = exact({"out": ops.Finite(ops.Finite(ops.Cast(X, X.dtype), False, "A"), True, "B")})
    assert kinds(graph) == ["Finite"]


def test_a_stricter_check_after_a_looser_one_stays():
    graph = exact({"out": ops.Finite(ops.Finite(X, True, "A"), False, "B")})
    with pytest.raises(ValueError, match="contains NaN; B"):
        evaluate(graph, {"x": np.full((1, 4), np.nan)})


def test_common_subexpressions_become_one():
    def scaled() -> Op:
        return ops.Exp((X - MEAN.copy()) / SCALE.copy())

    graph = exact({"a": scaled() + 1.0, "b": scaled() + 2.0, "c": scaled() + 1.0})
    assert kinds(graph).count("Exp") == 1
    assert graph.outputs["a"] is graph.outputs["c"]


def test_operators_that_differ_in_an_attribute_stay_apart():
    graph = exact({"a": ops.Columns(X, np.array([0, 2])), "b": ops.Columns(X, np.array([0, 3]))})
    assert graph.outputs["a"] is not graph.outputs["b"]


def test_positive_and_negative_zero_are_different_constants():
    graph = exact({"a": X / Const(np.array(0.0)), "b": X / Const(np.array(-0.0))})
    assert graph.outputs["a"] is not graph.outputs["b"]


def test_columns_that_nobody_reads_are_not_computed():
    scaled = (X - MEAN) / SCALE
    graph = exact({"out": ops.Columns(ops.Exp(scaled), np.array([2]))})
    assert all(op.columns == 1 for op in graph.order if not isinstance(op, Const | Input))
    expected = np.exp((VALUES - MEAN) / SCALE)[:, [2]]
    np.testing.assert_array_equal(evaluate(graph, {"x": VALUES})["out"], expected)


def test_a_tree_reads_only_the_columns_it_tests():
    scaled = ops.Neg((X - MEAN) / SCALE)
    rank = ops.Rank(
        scaled, np.array([3, 1]), np.array([0.0, 1.0]), np.array([0, 1, 2]), np.array([0, 0]), np.dtype(np.uint8)
    )
    graph = exact({"out": rank})
    assert max(op.columns for op in graph.order if isinstance(op, ops.Div)) == 2
    np.testing.assert_array_equal(
        evaluate(graph, {"x": VALUES})["out"], evaluate(Graph({"out": rank}), {"x": VALUES})["out"]
    )


def test_columns_of_a_concat_come_from_the_parts_that_hold_them():
    parts = (ops.Exp(X), ops.Neg(X))
    graph = exact({"out": ops.Columns(ops.Concat(parts), np.array([1, 5, 6]))})
    assert "Concat" in kinds(graph)
    assert [op.columns for op in graph.order if isinstance(op, ops.Exp | ops.Neg)] == [1, 2]


def test_a_shared_operator_is_kept_whole():
    scaled = ops.Exp(X)
    graph = exact({"a": scaled, "b": ops.Columns(scaled, np.array([0]))})
    assert kinds(graph).count("Exp") == 1


def test_a_check_still_sees_the_columns_that_nobody_reads():
    graph = exact({"out": ops.Columns(ops.Finite(X, False, "Reader"), np.array([0]))})
    bad = VALUES.copy()
    bad[0, 3] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        evaluate(graph, {"x": bad})


def test_a_part_of_a_concat_that_nobody_reads_still_refuses():
    parts = (ops.Exp(X), ops.Neg(ops.Finite(X, False, "Reader")))
    graph = exact({"out": ops.Columns(ops.Concat(parts), np.array([1]))})
    with pytest.raises(ValueError, match="infinity"):
        evaluate(graph, {"x": np.full((1, 4), np.inf)})


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fast_passes_fold_scaling_into_the_matrix_product(dtype: type):
    x = Input("x", TensorType(("N", 4), dtype))
    scaled = (x - MEAN.astype(dtype)) / SCALE.astype(dtype)
    op = ops.MatMul(scaled, Const(WEIGHTS.value.astype(dtype))) + np.array([1, 2, 3], dtype)
    graph = optimize(Graph({"out": op}), (*EXACT, *FAST))
    assert kinds(graph) == ["MatMul", "Add"]
    expected = evaluate(Graph({"out": op}), {"x": VALUES.astype(dtype)})["out"]
    actual = evaluate(graph, {"x": VALUES.astype(dtype)})["out"]
    assert actual.dtype == dtype
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert error < (3e-6 if dtype == np.float32 else 1e-14)


def test_exact_passes_do_not_touch_the_scaling():
    op = ops.MatMul((X - MEAN) / SCALE, WEIGHTS)
    assert kinds(exact({"out": op})) == ["Sub", "Div", "MatMul"]
