"""Kernel machines and distances by vector kernels: shapes and numbers that the samples of all operators lack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KDTree

from tensorml import ops
from tensorml.executors.base import executor_class
from tensorml.executors.reference import evaluate
from tensorml.graph import Const, Graph, Input, Op, TensorType
from tensorml.ops.kernel import METRICS as METRICS_OF_KERNELS

pytest.importorskip("numba")

from tensorml.executors.simd.distance import has_exact
from tensorml.executors.simd.kernels import can
from tensorml.executors.simd.nearest import can_search, time_of_all, time_of_tree
from tensorml.executors.simd.program import SimdExecutor

METRICS = [metric for metric in METRICS_OF_KERNELS if metric != "periodic"]
ROWS = (0, 1, 7, 8, 9, 63, 64, 65, 129, 5001)
OLDER = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma,+sse4.2,+popcnt,+bmi,+bmi2,+avx,+sse4.1"}
ERRORS = {np.float64: 1e-13, np.float32: 2e-5}  # of the sum of the terms' sizes


def features(width: int, dtype: type) -> Input:
    """The input."""
    return Input("x", TensorType(("N", width), np.dtype(dtype)))


def expansion(metric: str, width: int, stored: int, outputs: int, dtype: type = np.float64, spread: float = 1.0):
    """A sum of kernels, with coefficients of both signs."""
    random = np.random.default_rng(stored)
    y = np.abs(random.normal(size=(stored, width)) * spread).astype(dtype)
    coef = random.normal(size=(stored, outputs)).astype(dtype)
    degree = 3.0 if metric == "polynomial" else -1.7
    return ops.KernelExpansion(features(width, dtype), y, metric, 0.7 / width, 0.5, degree, coef)


def rows_of(count: int, width: int, dtype: type, spread: float = 1.0) -> np.ndarray:
    """Positive numbers, as some kernels need them."""
    return np.abs(np.random.default_rng(1).normal(size=(count, width)) * spread).astype(dtype)


def run(op: Op, x: np.ndarray, executor: str = "simd") -> np.ndarray:
    """The operator's result."""
    return executor_class(executor)().compile(Graph({"out": op}))({"x": x}, len(x))["out"]


def expected_and_sizes(op: ops.KernelExpansion, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the operator means, in float64, and the sum of the terms' sizes."""
    wide = ops.KernelExpansion(
        features(x.shape[1], np.float64), op.y.astype(np.float64), op.metric, op.gamma, op.coef0, op.degree,
        op.coef.astype(np.float64),
    )  # fmt: skip
    kernels = wide.block(x.astype(np.float64), wide.y)
    return kernels @ wide.coef, np.abs(kernels) @ np.abs(wide.coef)


def assert_close(op: ops.KernelExpansion, x: np.ndarray) -> None:
    """The result is what the operator means, but for the rounding of terms."""
    actual = run(op, x)
    expected, sizes = expected_and_sizes(op, x)
    assert actual.dtype == op.dtype
    assert actual.shape == expected.shape
    error = ERRORS[x.dtype.type] * (1 + 0.02 * x.shape[1])
    assert np.all(np.abs(actual - expected) <= error * sizes + np.finfo(op.dtype).tiny)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", METRICS)
def test_expansions_are_the_reference_s_for_any_number_of_rows(metric: str, dtype: type):
    op = expansion(metric, 5, 37, 2, dtype)
    assert can(op)
    for rows in ROWS:
        assert_close(op, rows_of(rows, 5, dtype))


@pytest.mark.parametrize("metric", ["rbf", "polynomial", "laplacian"])
@pytest.mark.parametrize("outputs", [1, 3, 10])
@pytest.mark.parametrize("width", [1, 3, 28, 200])
def test_expansions_have_any_number_of_features_and_of_results(width: int, outputs: int, metric: str):
    for stored in (1, 8, 9, 300):
        assert_close(expansion(metric, width, stored, outputs), rows_of(130, width, np.float64))


def test_stored_rows_may_be_more_than_the_cache_holds():
    for dtype in (np.float32, np.float64):
        assert_close(expansion("rbf", 28, 3001, 2, dtype), rows_of(300, 28, dtype))


@pytest.mark.parametrize("metric", METRICS)
def test_kernels_are_the_reference_s(metric: str):
    for dtype, error in ((np.float64, 1e-13), (np.float32, 2e-5)):
        for stored in (1, 7, 8, 100):
            y = rows_of(stored, 6, dtype) + dtype(0.25)
            degree = 3.0 if metric == "polynomial" else -0.4
            op = ops.Kernel(features(6, dtype), y, metric, 0.1, 0.3, degree)
            x = rows_of(65, 6, dtype)
            expected = evaluate(Graph({"out": op}), {"x": x})["out"]
            np.testing.assert_allclose(run(op, x), expected, rtol=error)


def test_exp_is_right_where_it_underflows():
    y = np.zeros((1, 1))
    op = ops.Kernel(features(1, np.float64), y, "rbf", 1.0, 0.0, 0.0)
    x = np.sqrt(np.concatenate([[0.0, 1e-300, 1e-9], np.linspace(600, 760, 500), [1e5, 1e200, np.inf]]))[:, None]
    actual = run(op, x)
    expected = np.exp(-(x**2))
    np.testing.assert_allclose(actual, expected, rtol=4e-13, atol=1e-323)
    assert actual[0] == 1
    assert np.all(actual[-3:] == 0)
    assert np.any((actual > 0) & (actual < 2.2e-308))
    single = ops.Kernel(features(1, np.float32), y.astype(np.float32), "rbf", 1.0, 0.0, 0.0)
    small = np.sqrt(np.linspace(0, 110, 500, dtype=np.float32))[:, None]
    np.testing.assert_allclose(run(single, small), np.exp(-(small.astype(float) ** 2)), rtol=4e-5, atol=3e-45)


def test_rows_far_away_are_zero_and_nan_stays_nan():
    for metric in ("rbf", "matern 0.5", "matern 1.5", "matern 2.5", "laplacian", "rational quadratic"):
        op = expansion(metric, 3, 20, 2)
        x = np.array([[1e200, 1e200, 0], [0.1, np.nan, 0], [0.1, 0.2, 0.3], [np.nan] * 3, [1e308, -1e308, 1]])
        actual = run(op, x)
        assert np.all(np.abs(actual[[0, 4]]) < 1e-150), metric
        assert np.isnan(actual[[1, 3]]).all(), metric
        np.testing.assert_allclose(actual[2], run(op, x, "reference")[2], rtol=1e-12)


def test_distances_lose_nothing_far_from_the_origin():
    op = expansion("rbf", 4, 50, 1)
    moved = ops.KernelExpansion(op.x, op.y + 2.0**30, "rbf", op.gamma, 0.0, 0.0, op.coef)
    x = rows_of(100, 4, np.float64)
    far = x + 2.0**30
    np.testing.assert_allclose(run(moved, far), run(moved, far, "reference"), rtol=1e-11)


def test_many_features_of_float32_lose_few_digits():
    random = np.random.default_rng(0)
    y, x = (random.normal(size=(100, 784)).astype(np.float32) for _ in range(2))
    op = ops.Kernel(features(784, np.float32), y, "rbf", 1 / 784, 0.0, 0.0)
    expected = np.exp(-((x.astype(float)[:, None] - y.astype(float)) ** 2).sum(axis=2) / 784)
    np.testing.assert_allclose(run(op, x), expected, rtol=2e-6)


def test_small_arguments_of_the_hyperbolic_tangent_keep_their_digits():
    x = np.array([[1e-300], [-1e-17], [1e-8], [0.1], [-0.5], [3.0], [-25.0], [1e10], [-0.0]])
    for dtype, error in ((np.float64, 1e-15), (np.float32, 1e-6)):
        op = ops.Kernel(features(1, dtype), np.ones((1, 1), dtype), "sigmoid", 1.0, 0.0, 0.0)
        cast = x.astype(dtype)
        np.testing.assert_allclose(run(op, cast), np.tanh(cast.astype(np.float64)), rtol=error)


def test_what_has_no_kernel_is_left_to_torch():
    assert not can(expansion("periodic", 3, 5, 1))
    halves = ops.Kernel(features(3, np.float64), np.ones((4, 3)), "polynomial", 1.0, 1.0, 0.5)
    assert not can(halves)
    np.testing.assert_allclose(run(halves, np.ones((5, 3))), 2.0)


def test_one_thread_and_two_give_the_same_bits():
    op, x = expansion("rbf", 28, 900, 3), rows_of(5001, 28, np.float64)
    one, two = (SimdExecutor(threads=n).compile(Graph({"out": op}))({"x": x}, len(x))["out"] for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def search(table: np.ndarray, k: int, metric: str, ties: str, sort: str = "introsort") -> ops.Nearest:
    """A search without a tree."""
    none = np.empty(0, np.int64)
    x = features(table.shape[1], np.float64)
    nothing = np.empty((0, 0, 0))
    return ops.Nearest(
        x, Const(table), metric, 2.0, np.empty(0), False, k, ties, sort, "", none, none, nothing, np.empty(0)
    )


def assert_same_search(op: ops.Nearest, x: np.ndarray) -> None:
    """The same rows in the same order."""
    assert can_search(op)
    expected = op.reference(x, op.table.value)  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_array_equal(run(op, x), expected)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev"])
@pytest.mark.parametrize("width", [1, 2, 5, 28, 200])
def test_the_nearest_are_the_reference_s(width: int, metric: str):
    random = np.random.default_rng(width)
    for stored, k in ((1, 1), (5, 5), (63, 3), (64, 1), (65, 10), (300, 30), (3000, 5)):
        table = random.normal(size=(stored, width))
        for rows in (0, 1, 65):
            assert_same_search(search(table, k, metric, "heap"), random.normal(size=(rows, width)))


def test_the_nearest_of_many_rows_are_the_reference_s():
    random = np.random.default_rng(0)
    assert_same_search(search(random.normal(size=(700, 6)), 5, "euclidean", "heaps"), random.normal(size=(5001, 6)))


@pytest.mark.parametrize("ties", ["index", "heap", "heaps"])
@pytest.mark.parametrize("sort", ["introsort", "quicksort"])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev"])
def test_equal_distances_are_decided_as_the_reference_decides(metric: str, sort: str, ties: str):
    random = np.random.default_rng(3)
    for stored in (20, 500):
        table = random.integers(-2, 3, size=(stored, 3)).astype(np.float64)
        x = random.integers(-2, 3, size=(200, 3)).astype(np.float64)
        for k in (1, 5, 15, 17):
            assert_same_search(search(table, k, metric, ties, sort), x)


def through_tree(table: np.ndarray, k: int, metric: str, leaf_size: int) -> ops.Nearest:
    """A search through scikit-learn's tree."""
    _, point, nodes, bound = map(np.asarray, KDTree(table, leaf_size=leaf_size, metric=metric).get_arrays())
    leaf = nodes["is_leaf"].astype(bool)
    start = np.append(nodes["idx_start"][leaf], nodes["idx_end"][leaf][-1:]).astype(np.int64)
    x, none = features(table.shape[1], np.float64), np.empty(0)
    own = ("kd", point.astype(np.int64), start, np.ascontiguousarray(bound), np.ascontiguousarray(nodes["radius"]))
    return ops.Nearest(x, Const(table), metric, 2.0, none, False, k, "heap", "introsort", *own)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev"])
@pytest.mark.parametrize("width", [1, 2, 3, 5, 12])
def test_searches_through_trees_are_the_reference_s(width: int, metric: str):
    random = np.random.default_rng(width)
    for stored, k, leaf_size in ((1, 1, 30), (7, 7, 1), (100, 5, 3), (1000, 15, 30), (1000, 20, 7)):
        table, x = random.normal(size=(stored, width)), random.normal(size=(70, width)) * 1.5
        assert_same_search(through_tree(table, k, metric, leaf_size), x)
        grid, x = np.round(table), np.round(x)
        assert_same_search(through_tree(grid, k, metric, leaf_size), x)


def test_the_estimates_choose_both_ways_of_searching():
    random = np.random.default_rng(0)
    few, many = (through_tree(random.normal(size=(1500, width)), 5, "euclidean", 30) for width in (2, 12))
    assert time_of_tree(few) < time_of_all(few)
    assert time_of_tree(many) > time_of_all(many)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev"])
def test_distances_are_the_reference_s_bits(metric: str):
    random = np.random.default_rng(6)
    for stored, width in ((1, 1), (8, 3), (37, 28)):
        table = Const(random.normal(size=(stored, width)))
        x = features(width, np.float64)
        for true in (False, True):
            op = ops.Distance(x, table, metric, 2.0, np.empty(0), true)
            for rows in (0, 1, 65, 700):
                given = random.normal(size=(rows, width))
                np.testing.assert_array_equal(run(op, given), op.reference(given, table.value))
    assert has_exact(op)


def test_rows_of_any_size_find_their_nearest():
    random = np.random.default_rng(4)
    table = random.normal(size=(400, 4))
    for scale in (1e-170, 1e-30, 1e-18, 1e-5, 1e5, 1e15, 1e25, 1e150):
        assert_same_search(search(table * scale, 5, "euclidean", "index"), random.normal(size=(70, 4)) * scale)
    assert_same_search(search(table + 1e7, 5, "euclidean", "index"), random.normal(size=(70, 4)) + 1e7)
    apart = np.concatenate([table, table * 1e6])
    assert_same_search(search(apart, 5, "euclidean", "index"), random.normal(size=(70, 4)))


def test_rows_of_the_table_find_themselves_among_near_copies():
    random = np.random.default_rng(5)
    table = np.repeat(random.normal(size=(50, 7)), 20, axis=0)
    table += random.normal(size=table.shape) * 1e-9
    assert_same_search(search(table, 5, "euclidean", "heap"), table[::3])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("centres", [1, 7, 8, 9, 130])
def test_the_closest_centre_is_the_reference_s(centres: int, dtype: type):
    random = np.random.default_rng(centres)
    for width in (1, 5, 40):
        table = random.normal(size=(centres, width)).astype(dtype)
        squares = Const((table * table).sum(axis=1, keepdims=True))
        op = ops.ClosestCentre(features(width, dtype), Const(table), squares)
        for rows in (0, 1, 65, 700):
            x = random.normal(size=(rows, width)).astype(dtype)
            np.testing.assert_array_equal(run(op, x), op.reference(x, table, squares.value))


def test_equal_centres_give_the_first_and_nan_is_less_than_nothing():
    table = np.array([[np.inf, 0], [1, 1], [0, 0], [1, 1], [0, 0]], dtype=np.float64)
    squares = Const((table * table).sum(axis=1, keepdims=True))
    x = np.array([[0.1, 0.0], [0.9, 1.0], [0.0, 5.0], [-1.0, 0.0], [1e308, 1e308]])
    for first in (0, 1):
        part = Const(squares.value[first:])
        op = ops.ClosestCentre(features(2, np.float64), Const(table[first:]), part)
        with np.errstate(all="ignore"):
            expected = op.reference(x, table[first:], part.value)
        np.testing.assert_array_equal(run(op, x), expected)


def few_cases() -> None:
    """Some cases of everything; run apart, as an older processor."""
    for metric in ("rbf", "matern 2.5", "sigmoid", "rational quadratic"):
        assert_close(expansion(metric, 5, 37, 3), rows_of(130, 5, np.float64))
    for metric in ("rbf", "polynomial", "rational quadratic"):
        assert_close(expansion(metric, 5, 37, 3, np.float32), rows_of(130, 5, np.float32))
    test_exp_is_right_where_it_underflows()
    test_small_arguments_of_the_hyperbolic_tangent_keep_their_digits()
    test_the_nearest_are_the_reference_s(5, "euclidean")
    test_the_nearest_are_the_reference_s(5, "manhattan")
    test_the_closest_centre_is_the_reference_s(9, np.float32)


def test_processors_without_avx_512_agree(tmp_path: Path):
    environment = {**os.environ, **OLDER, "NUMBA_CACHE_DIR": str(tmp_path)}
    program = "from tests.executors import test_simd_kernels as t; t.few_cases(); print('done')"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "done", done.stderr[-3000:]
