"""The `simd` executor's kernels for rows of numbers: what the samples of all operators do not reach."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("numba")

from tensorml import ops
from tensorml.errors import InputError
from tensorml.executors.base import Program
from tensorml.executors.reference import evaluate
from tensorml.executors.simd.program import SimdExecutor
from tensorml.executors.simd.rules import handles
from tensorml.graph import Const, Graph, Input, Op, TensorType

ROWS = (1, 15, 16, 17, 63, 64, 65, 129, 600)
DTYPES = ("bool", "uint8", "int16", "int32", "int64", "float32", "float64")
FUNCTIONS: dict[type[Op], Callable[[np.ndarray], np.ndarray]] = {
    ops.Exp: np.exp,
    ops.Exp2: np.exp2,
    ops.Expm1: np.expm1,
    ops.Log: np.log,
    ops.Log1p: np.log1p,
    ops.Log2: np.log2,
    ops.Log10: np.log10,
    ops.Tanh: np.tanh,
    ops.Sinh: np.sinh,
    ops.Cosh: np.cosh,
    ops.Sin: np.sin,
    ops.Cos: np.cos,
}
UNITS = {
    ops.Expm1: 3.0,
    ops.Tanh: 3.0,
    ops.Sinh: 3.0,
    ops.Cosh: 2.0,
    ops.Sin: 2.0,
    ops.Cos: 2.0,
}  # else 1; of float32 0.6 but for waves


def column(columns: int, dtype: str) -> Input:
    """An input of so many columns."""
    return Input("x", TensorType(("N", columns), np.dtype(dtype)))


def program(op: Op) -> Program:
    """One operator and those before it, all of them kernels."""
    graph = Graph({"out": op})
    assert all(handles(each) for each in graph.order if not isinstance(each, Const | Input))
    return SimdExecutor(threads=1).compile(graph)


def numbers(dtype: str) -> np.ndarray:
    """Numbers of all sizes, [N, 1]: normal ones, those near 1, multiples of pi / 2, the ends of the range."""
    random, kind = np.random.default_rng(0), np.finfo(dtype)
    edges = [0.0, kind.tiny, kind.smallest_subnormal, kind.max, 1.0, 2.0, 1e9, 1e22, 88.72, 88.73, 709.78, 710.0, 745.2]
    parts = (
        random.normal(size=20000) * 10.0 ** random.uniform(-12, 3, 20000),
        random.uniform(-4, 4, 20000),
        random.uniform(-900, 900, 20000),  # in float32, sine and cosine have another way up to 1,000
        random.uniform(-9e5, 9e5, 5000),
        1 + random.normal(size=20000) * 10.0 ** random.uniform(-15, 0, 20000),
        np.exp(random.uniform(np.log(float(kind.smallest_subnormal)), np.log(float(kind.max)), 20000)),
        np.arange(-3000, 3000) * np.pi / 2,
        np.array([*edges, np.inf, np.nan]),
        -np.array([*edges, np.inf]),
    )
    return np.concatenate(parts).astype(dtype)[:, None]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 2, 3, 7, 8, 9, 15, 16, 17, 28, 40])
def test_rows_of_any_layout_are_turned_into_columns_and_back(columns: int, dtype: str) -> None:
    compiled = program(ops.Columns(column(columns, dtype), np.arange(columns)[::-1].copy()))
    for rows in ROWS:
        x = np.random.default_rng(rows).integers(0, 2 if dtype == "bool" else 100, (rows, columns)).astype(dtype)
        views = (
            x[::-1],
            np.repeat(x, 2, axis=0)[::2],
            np.repeat(x, 2, axis=1)[:, ::2],
            np.broadcast_to(x[:1], x.shape),
        )
        for view in (x, np.asfortranarray(x), *views):
            np.testing.assert_array_equal(compiled({"x": view}, rows)["out"], view[:, ::-1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", FUNCTIONS, ids=lambda kind: kind.__name__)
def test_functions_are_within_their_units_in_the_last_place(kind: type[Op], dtype: str) -> None:
    x = numbers(dtype)
    actual = program(kind(column(1, dtype)))({"x": x}, len(x))["out"]  # pyright: ignore[reportCallIssue]
    with np.errstate(all="ignore"):
        exact = FUNCTIONS[kind](x.astype(np.longdouble))
        expected = exact.astype(dtype)
        same = np.isfinite(expected) & np.isfinite(actual)
        error = np.abs(actual[same] - exact[same])
        unit = np.spacing(np.maximum(np.abs(expected[same]), np.finfo(dtype).tiny))
    np.testing.assert_array_equal(actual[~same], expected[~same])
    units = UNITS.get(kind, 1.0) if dtype == "float64" or kind in (ops.Sin, ops.Cos) else 0.6
    assert (error / unit).max() < units


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_powers_of_two_have_the_bits_of_the_function(dtype: str) -> None:
    x, two = numbers(dtype), Const(np.array(2, dtype))
    actual = program(ops.Pow(two, column(1, dtype)))({"x": x}, len(x))["out"]
    np.testing.assert_array_equal(actual, program(ops.Exp2(column(1, dtype)))({"x": x}, len(x))["out"])
    assert not handles(ops.Pow(Const(np.array(3, dtype)), column(1, dtype)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [ops.Softmax, ops.LogSoftmax, ops.LogSumExp], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("columns", [1, 2, 5, 33])
def test_sums_of_exponentials_agree_with_the_reference(kind: type[Op], columns: int, dtype: str) -> None:
    random = np.random.default_rng(columns)
    x = (random.normal(size=(257, columns)) * 10.0 ** random.uniform(-2, 3, (257, 1))).astype(dtype)
    x[random.random(x.shape) < 0.1] = -np.inf
    x[200:210] = x[200:210, :1]
    x[7, 0], x[8, 0], x[9] = np.nan, np.inf, -np.inf
    graph = Graph({"out": kind(column(columns, dtype))})  # pyright: ignore[reportCallIssue]
    actual = program(graph.outputs["out"])({"x": x}, len(x))["out"]
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(actual, evaluate(graph, {"x": x})["out"], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("count", [1, 2, 16, 17, 63, 64, 200, 254])
def test_ranks_are_the_same_for_few_rows_and_for_many(count: int, strict: bool) -> None:
    edges = np.unique(np.append(np.random.default_rng(count).normal(size=count), 0.0)).astype(np.float32)
    beside = [np.nextafter(edges, np.float32(end)) for end in (np.inf, -np.inf)]
    x = np.concatenate([edges, *beside, np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45], np.float32)])[:, None]
    offsets, nan = np.array([0, len(edges)]), np.array([len(edges) + 1])
    op = ops.Rank(column(1, "float32"), np.array([0]), edges, offsets, nan, np.dtype(np.int16), strict)
    compiled, expected = program(op), op.reference(x)
    for rows in (1, 7, 8, 9, 64):
        parts = [compiled({"x": x[r : r + rows]}, len(x[r : r + rows]))["out"] for r in range(0, len(x), rows)]
        np.testing.assert_array_equal(np.concatenate(parts), expected)


@pytest.mark.parametrize("nan", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_number_that_is_not_finite_is_found_wherever_it_is(dtype: str, nan: bool) -> None:
    compiled = program(ops.Finite(column(3, dtype), nan, "Reader"))
    x = np.full((600, 3), np.finfo(dtype).max, dtype)
    np.testing.assert_array_equal(compiled({"x": x}, 600)["out"], x)
    for row in (0, 63, 64, 511, 512, 599):
        for value in (np.nan, np.inf, -np.inf):
            bad = x.copy()
            bad[row, row % 3] = value
            if nan and np.isnan(value):
                np.testing.assert_array_equal(compiled({"x": bad}, 600)["out"], bad)
                continue
            with pytest.raises(InputError, match="contains"):
                compiled({"x": bad}, 600)


@pytest.mark.parametrize("count", [1, 2, 16, 17, 272, 273, 1000])
def test_lines_have_the_bits_of_numpy_for_any_number_of_points(count: int) -> None:
    random = np.random.default_rng(count)
    points, values = np.sort(random.normal(size=count)), random.normal(size=count)
    points[count // 2 : count // 2 + 3] = points[count // 2]
    points.sort()
    x = np.concatenate(
        [random.normal(size=300) * 2, points, np.nextafter(points, 9), np.nextafter(points, -9), [np.nan]]
    )
    graph = Graph({"out": ops.Interpolate(column(1, "float64"), points, values, np.array([0, count]))})
    actual = program(graph.outputs["out"])({"x": x[:, None]}, len(x))["out"]
    np.testing.assert_array_equal(actual, evaluate(graph, {"x": x[:, None]})["out"])


@pytest.mark.parametrize("extrapolate", [False, True])
@pytest.mark.parametrize("degree", [0, 1, 3, 5])
def test_splines_have_the_bits_of_the_reference(degree: int, extrapolate: bool) -> None:
    random = np.random.default_rng(degree)
    knots = np.sort(random.normal(size=(3, 12)))
    knots[1, 4:7] = knots[1, 4]
    x = np.concatenate([random.normal(size=(200, 3)), knots.T, np.full((1, 3), np.nan)])
    graph = Graph({"out": ops.BSpline(column(3, "float64"), knots, degree, extrapolate)})
    actual = program(graph.outputs["out"])({"x": x}, len(x))["out"]
    np.testing.assert_array_equal(actual, evaluate(graph, {"x": x})["out"])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 64, 1000])
def test_positions_among_any_number_of_keys_are_exact(count: int, dtype: str) -> None:
    keys = np.sort(np.random.default_rng(0).integers(-900, 900, count)).astype(dtype)
    x = np.arange(-1000, 1000).astype(dtype)[:, None]
    if dtype != "int64":
        x = np.concatenate([x, x + x.dtype.type(0.5), np.array([[np.nan], [np.inf], [-np.inf], [-0.0]], dtype)])
    op = ops.Position(column(1, dtype), keys, np.array([0, count]), np.array([5]))
    np.testing.assert_array_equal(program(op)({"x": x}, len(x))["out"], op.reference(x))
    if dtype == "int64":
        found = ops.Find(column(1, dtype), np.unique(keys))
        np.testing.assert_array_equal(program(found)({"x": x}, len(x))["out"], found.reference(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("truncate", [False, True])
def test_categories_outside_of_the_table_read_its_last_entries(truncate: bool, dtype: str) -> None:
    table = np.random.default_rng(0).integers(0, 250, (2, 12)).astype(np.uint8)
    edges = [-2, -1, -0.5, -0.0, 0, 0.5, 8, 9, 9.5, 10, 11, 12, 1e30, np.inf, -np.inf, np.nan]
    x = np.array([edges, edges[::-1]], dtype).T
    op = ops.Lookup(column(2, dtype), np.array([1, 0]), table, truncate)
    np.testing.assert_array_equal(program(op)({"x": x}, len(x))["out"], op.reference(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (28, 1), (28, 2), (28, 3), (28, 5), (64, 32), (28, 100), (435, 1)])
def test_products_of_any_shape_agree_within_rounding(shape: tuple[int, int], dtype: str) -> None:
    random = np.random.default_rng(shape[1])
    x, weights = random.normal(size=(200, shape[0])).astype(dtype), random.normal(size=shape).astype(dtype)
    actual = program(ops.MatMul(column(shape[0], dtype), Const(weights)))({"x": x}, len(x))["out"]
    scale = np.abs(x.astype(np.float64)) @ np.abs(weights.astype(np.float64))
    error = np.abs(actual - x.astype(np.float64) @ weights.astype(np.float64))
    assert (error / scale).max() < 30 * np.finfo(dtype).eps
