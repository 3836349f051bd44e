"""Products that the `simd` executor computes from the caller's rows where they lie."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from tensorml import ops
from tensorml.errors import InputError
from tensorml.executors.base import Program
from tensorml.executors.simd.machine import Machine
from tensorml.executors.simd.program import SimdExecutor, Steps
from tensorml.executors.simd.straight import in_vectors, way_to_rows
from tensorml.graph import Const, Graph, Input, Op, TensorType

KINDS = (("float32", "float32"), ("float64", "float64"), ("float32", "float64"))
ROWS = (1, 7, 8, 9, 16, 17, 600)


def finite_rows(columns: int, dtype: str) -> ops.Finite:
    """An input of so many columns, checked."""
    return ops.Finite(Input("x", TensorType(("N", columns), np.dtype(dtype))), nan=False, reader="Reader")


def compiled(features: int, width: int, given: str, dtype: str) -> tuple[Program, np.ndarray]:
    """The product with a matrix of normal numbers, and the matrix."""
    y = np.random.default_rng(1).standard_normal((features, width)).astype(dtype)
    x: Op = finite_rows(features, given)
    product = ops.MatMul(x if given == dtype else ops.Cast(x, np.dtype(dtype)), Const(y))
    return SimdExecutor(threads=1).compile(Graph({"out": product})), y


def instructions(program: Program) -> int:
    """How many instructions its only machine has."""
    run = program.run
    assert isinstance(run, Steps)
    (machine,) = run.steps
    assert isinstance(machine, Machine)
    return machine.instructions


def near(found: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Within the rounding of sums in another order."""
    bound = 4 * len(y) * np.finfo(y.dtype).eps * (np.abs(x).astype(np.float64) @ np.abs(y).astype(np.float64))
    assert found.dtype == y.dtype
    assert (np.abs(found - x.astype(np.float64) @ y.astype(np.float64)) <= bound).all()


@pytest.mark.parametrize(("given", "dtype"), KINDS)
@pytest.mark.parametrize("features", [16, 17, 28, 100])
@pytest.mark.parametrize("width", [1, 3, 4])
def test_rows_of_any_number_and_layout_are_multiplied_where_they_lie(
    given: str, dtype: str, features: int, width: int
) -> None:
    program, y = compiled(features, width, given, dtype)
    assert instructions(program) == 2  # the product, and what writes it
    x = np.random.default_rng(0).standard_normal((2 * max(ROWS), features)).astype(given)
    for rows in ROWS:
        for layout in (x[:rows], np.asfortranarray(x[:rows]), x[::2][:rows], x[:rows][::-1]):
            near(program({"x": layout}, rows)["out"], layout, y)


@pytest.mark.parametrize(("given", "dtype"), KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_a_number_that_is_not_finite_is_refused_wherever_it_is(given: str, dtype: str, bad: float, layout: str) -> None:
    program, _ = compiled(28, 2, given, dtype)
    for row, column in ((0, 0), (8, 27), (20, 15), (32, 13), (32, 27)):
        x = np.ones((33, 28), given, order=layout)  # pyright: ignore[reportCallIssue, reportArgumentType]
        program({"x": x}, 33)
        x[row, column] = bad
        with pytest.raises(InputError):
            program({"x": x}, 33)


def test_the_last_vector_of_a_column_ends_where_the_column_does() -> None:
    assert in_vectors(np.arange(1.0, 6)[:, None], 4).tolist() == [[1, 2, 3, 4, 0, 0, 0, 5]]
    assert in_vectors(np.arange(1.0, 5)[:, None], 4).tolist() == [[1, 2, 3, 4]]


def test_rows_that_are_not_checked_or_are_short_or_meet_many_columns_are_turned() -> None:
    checked, many = finite_rows(28, "float32"), np.ones((28, 5), np.float32)
    assert not way_to_rows(ops.MatMul(checked, Const(many)))
    assert not way_to_rows(ops.MatMul(checked.x, Const(many[:, :1])))
    assert not way_to_rows(ops.MatMul(finite_rows(15, "float32"), Const(many[:15, :1])))
    loose = ops.Finite(checked.x, nan=True, reader="Reader")
    assert not way_to_rows(ops.MatMul(loose, Const(many[:, :1])))
    assert way_to_rows(ops.MatMul(checked, Const(many[:, :1]))) == (checked, checked.x)


def test_rows_that_something_else_reads_too_are_turned_once() -> None:
    x = finite_rows(28, "float64")
    y = np.ones((28, 1))
    program = SimdExecutor(threads=1).compile(Graph({"out": ops.Add(ops.MatMul(x, Const(y)), x)}))
    data = np.random.default_rng(0).standard_normal((40, 28))
    np.testing.assert_allclose(program({"x": data}, 40)["out"], data @ y + data, rtol=1e-12)
