"""Products that the `simd` executor computes from rows where they lie."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from tensorml import ops
from tensorml.errors import InputError
from tensorml.executors.base import Program
from tensorml.executors.reference import evaluate
from tensorml.executors.simd.machine import Machine
from tensorml.executors.simd.panels import panels
from tensorml.executors.simd.program import SimdExecutor, Steps
from tensorml.graph import Const, Graph, Input, Op, TensorType

KINDS = (("float32", "float32"), ("float64", "float64"), ("float32", "float64"))
ROWS = (1, 2, 7, 8, 9, 37, 63, 64, 65, 600)
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 70)
MOST = max(ROWS)
RANDOM = np.random.default_rng(0)


def rows_of(columns: int, dtype: str) -> Input:
    """An input of so many columns."""
    return Input("x", TensorType(("N", columns), np.dtype(dtype)))


def checked(columns: int, dtype: str) -> ops.Finite:
    """An input of so many columns that refuses what is not finite."""
    return ops.Finite(rows_of(columns, dtype), nan=False, reader="Reader")


def machine(program: Program) -> Machine:
    """Its only one."""
    run = program.run
    assert isinstance(run, Steps)
    (found,) = run.steps
    assert isinstance(found, Machine)
    return found


def product(x: Op, y: np.ndarray) -> Program:
    """X times a matrix, in the matrix's dtype, and nothing but instructions for that."""
    x = x if x.dtype == y.dtype else ops.Cast(x, y.dtype)
    return SimdExecutor(threads=1).compile(Graph({"out": ops.MatMul(x, Const(y))}))


def matrix(features: int, width: int, dtype: str) -> np.ndarray:
    """Normal numbers."""
    return np.random.default_rng(width).standard_normal((features, width)).astype(dtype)


def near(found: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Within the rounding of sums in another order."""
    bound = 4 * len(y) * np.finfo(y.dtype).eps * (np.abs(x).astype(np.float64) @ np.abs(y).astype(np.float64))
    assert found.dtype == y.dtype
    assert (np.abs(found - x.astype(np.float64) @ y.astype(np.float64)) <= bound).all()


def unaligned(x: np.ndarray) -> np.ndarray:
    """The rows one byte after an address that suits their numbers."""
    moved = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    moved[...] = x
    return moved


def layouts(x: np.ndarray) -> list[np.ndarray]:
    """The same rows in memory in other ways."""
    wide, sparse = np.repeat(x, 2, axis=0), np.repeat(x, 3, axis=1)
    backwards, mirrored = x[::-1].copy()[::-1], x[:, ::-1].copy()[:, ::-1]
    part = np.concatenate([x, x], axis=1)[:, : x.shape[1]]
    return [np.asfortranarray(x), wide[::2], sparse[:, ::3], backwards, mirrored, part, unaligned(x)]


@pytest.mark.parametrize(("given", "dtype"), KINDS)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_row_has_the_same_product_in_any_batch_and_layout(given: str, dtype: str, width: int) -> None:
    """To the bit, and near that of the matrices."""
    for features in (28, 1 + width % 19):
        y = matrix(features, width, dtype)
        program = product(checked(features, given), y)
        x = RANDOM.standard_normal((MOST, features)).astype(given)
        expected = program({"x": x}, MOST)["out"]
        near(expected, x, y)
        for rows in ROWS:
            np.testing.assert_array_equal(program({"x": x[:rows]}, rows)["out"], expected[:rows])
            np.testing.assert_array_equal(program({"x": x[-rows:]}, rows)["out"], expected[-rows:])
        for other in layouts(x[:70]):
            np.testing.assert_array_equal(program({"x": other}, 70)["out"], expected[:70])


@pytest.mark.parametrize("features", [1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 33, 100, 784])
@pytest.mark.parametrize("width", [1, 3, 6, 10])
def test_rows_of_any_number_of_columns_are_multiplied(features: int, width: int) -> None:
    y = matrix(features, width, "float32")
    x = RANDOM.standard_normal((37, features)).astype(np.float32)
    near(product(checked(features, "float32"), y)({"x": x}, 37)["out"], x, y)


def test_a_row_of_many_columns_is_read_by_one_instruction_and_multiplied_by_one_for_each_kind_of_panel() -> None:
    assert machine(product(checked(28, "float32"), matrix(28, 8, "float32"))).instructions == 2
    cast = product(checked(28, "float32"), matrix(28, 8, "float64"))
    assert machine(cast).instructions == 2  # the product reads the narrower numbers itself


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_panels_are_all_columns_once_and_what_one_writes_too_much_comes_after_it(lanes: int) -> None:
    for depth in (*range(1, 20), 28, 100):
        for columns in range(1, 80):
            found, end = panels(depth, columns, lanes), columns
            for panel in found:  # from the right
                wide, most = panel.count * panel.times, lanes * panel.vectors // panel.each
                assert panel.begin + wide == end
                assert panel.count == most or end == columns
                assert 1 <= panel.each <= max(1, depth - 1)
                end = panel.begin
            assert end == 0


@pytest.mark.parametrize(("given", "dtype"), KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("width", [2, 5, 33])
def test_a_number_that_is_not_finite_is_refused_wherever_it_is(
    given: str, dtype: str, bad: float, order: str, width: int
) -> None:
    y = matrix(28, width, dtype)
    y[:, 1] = 0  # an infinity times 0 is no number
    program = product(checked(28, given), y)
    for row, column in ((0, 0), (8, 27), (20, 15), (32, 13), (32, 27)):
        x = np.ones((33, 28), given, order=order)  # pyright: ignore[reportCallIssue, reportArgumentType]
        program({"x": x}, 33)
        x[row, column] = bad
        with pytest.raises(InputError):
            program({"x": x}, 33)


def scaled(x: Op) -> Op:
    """What leads from a check to a product: it keeps infinities and NaN."""
    dtype, one = x.dtype, np.ones(28, x.dtype)
    wide = ops.Cast(ops.Div(ops.Mul(ops.Sub(x, Const(one)), Const(0 * one)), Const(2 * one)), np.dtype(np.float64))
    return ops.Cast(ops.Add(wide, Const(np.array(1.0))), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_scaled_before_the_product_is_refused_too(dtype: str) -> None:
    program = product(scaled(checked(28, dtype)), matrix(28, 6, dtype))
    x = np.ones((600, 28), dtype)
    program({"x": x}, 600)
    for bad in (np.nan, np.inf, -np.inf):
        x[599, 27] = bad
        with pytest.raises(InputError):
            program({"x": x}, 600)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finite_rows_whose_product_is_not_finite_are_not_refused(dtype: str) -> None:
    x, y = np.ones((600, 28), dtype), matrix(28, 6, dtype)
    x[77] = np.finfo(dtype).max
    y[:, 3] = 2
    found = product(checked(28, dtype), y)({"x": x}, 600)["out"]
    assert found[77, 3] == np.inf
    assert np.isfinite(found[:77]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("features", [5, 17, 28])
@pytest.mark.parametrize("width", [1, 2, 3, 5, 8, 13, 33])
def test_what_nobody_checks_is_multiplied_as_it_is(dtype: str, features: int, width: int) -> None:
    """Infinities and NaN are where the reference has them: no lane meets a number that is not its own."""
    x, y = RANDOM.standard_normal((40, features)).astype(dtype), np.abs(matrix(features, width, dtype)) + 0.1
    for row in range(features):
        x[row, row] = (np.inf, -np.inf, np.nan)[row % 3]
    y = y.astype(dtype)
    graph = Graph({"out": ops.MatMul(rows_of(features, dtype), Const(y))})
    found, expected = (
        run({"x": x}, 40)["out"] for run in (product(rows_of(features, dtype), y), lambda a, _: evaluate(graph, a))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3 if dtype == "float32" else 1e-10, atol=1e-3)


def test_rows_that_something_else_reads_too_are_read_in_rows_and_in_columns() -> None:
    x = checked(28, "float64")
    y = np.ones((28, 1))
    graph = Graph({"out": ops.Add(ops.MatMul(x, Const(y)), x), "most": ops.ArgMax(x)})
    data = RANDOM.standard_normal((40, 28))
    found = SimdExecutor(threads=1).compile(graph)({"x": data}, 40)
    np.testing.assert_allclose(found["out"], data @ y + data, rtol=1e-12)
    np.testing.assert_array_equal(found["most"], data.argmax(1))


@pytest.mark.parametrize("width", [1, 5, 20])
def test_a_product_is_turned_for_what_reads_columns(width: int) -> None:
    scores = ops.MatMul(checked(28, "float32"), Const(matrix(28, width, "float32")))
    graph = Graph({"most": ops.ArgMax(scores), "scores": scores, "shares": ops.Softmax(scores)})
    x = RANDOM.standard_normal((300, 28)).astype(np.float32)
    program = SimdExecutor(threads=1).compile(graph)
    found, expected = program({"x": x}, 300), evaluate(graph, {"x": x})
    np.testing.assert_array_equal(found["most"], found["scores"].argmax(1))
    np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["shares"], expected["shares"], rtol=1e-4, atol=1e-5)


def test_layers_of_products_are_computed_in_rows() -> None:
    op: Op = checked(28, "float32")
    for width in (64, 40, 7):
        op = ops.Max(
            ops.Add(ops.MatMul(op, Const(matrix(op.columns, width, "float32"))), Const(np.ones(width, np.float32))),
            Const(np.zeros((), np.float32)),
        )
    graph = Graph({"out": op})
    x = RANDOM.standard_normal((700, 28)).astype(np.float32)
    found = SimdExecutor(threads=1).compile(graph)({"x": x}, 700)["out"]
    np.testing.assert_allclose(found, evaluate(graph, {"x": x})["out"], rtol=1e-3, atol=1e-2)
