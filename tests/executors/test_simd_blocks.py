"""Deep trees by blocks on float32 values beside every threshold; sums over symmetric trees, and ranks, in registers."""

from __future__ import annotations

import numpy as np
import pytest

from tensorml import ops
from tensorml.executors.reference import evaluate
from tensorml.executors.simd import plans, symmetric
from tensorml.executors.simd.blocks import VALUES
from tensorml.executors.simd.program import SimdExecutor
from tensorml.graph import Graph, Input, Op, TensorType
from tests.samples import leaf_sum, random_trees

ROWS = [1, 16, 17, 63, 64, 65, 127, 128, 129, 700, 2500]
GRID = np.array([-3.4028235e38, -1.0, -1e-45, 0.0, 1e-45, 1.1754944e-38, 1.0, 3.4028235e38], np.float32)
with np.errstate(over="ignore"):
    BESIDE = [np.nextafter(GRID, np.float32(end)) for end in (-np.inf, np.inf)]
TRAPS = np.concatenate([GRID, *BESIDE, np.array([-0.0, np.nan, np.inf, -np.inf], np.float32)])
NO_AVX512 = not symmetric.has_avx512(symmetric.cpu_target.target_context)
needs_avx512 = pytest.mark.skipif(NO_AVX512, reason="permutes of AVX-512")


def rank(columns: int, *, strict: bool) -> ops.Rank:
    """Each column of x [N, columns] twice, NaN left and NaN right."""
    x = Input("x", TensorType(("N", columns), np.dtype(np.float32)))
    nan = np.tile([0, len(GRID) + 1], columns)
    offsets = np.arange(2 * columns + 1) * len(GRID)
    boundaries = np.tile(GRID, 2 * columns)
    return ops.Rank(x, np.repeat(np.arange(columns), 2), boundaries, offsets, nan, np.dtype(np.uint8), strict)


def trees(depth: int, *, columns: int = 5, strict: bool = True, never: bool = False, seed: int = 0) -> ops.Descend:
    """Trees on the grid. never: some tests are passed by no number; on columns where NaN goes left."""
    codes = rank(columns, strict=strict)
    found = random_trees(codes, 7, depth, len(GRID), seed)
    limit = np.maximum(found.rank, 1)
    if not never:
        limit = np.minimum(limit, len(GRID))
    column = np.where(limit > len(GRID), found.column // 2 * 2, found.column).astype(np.int32)
    return ops.Descend(codes, column, limit, found.left, found.right, found.roots)


def check(op: Op, columns: int, rows: int) -> None:
    x = np.random.default_rng(rows).choice(TRAPS, size=(rows, columns))
    graph = Graph({"out": op})
    expected = evaluate(graph, {"x": x})["out"]
    actual = SimdExecutor(threads=1).compile(graph)({"x": x}, rows)["out"]
    np.testing.assert_array_equal(actual.view(np.uint8), expected.view(np.uint8))


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks cost nothing."""
    monkeypatch.setattr(plans, "BLOCK", 0.0)
    monkeypatch.setattr(plans, "COPY", 0.0)


@needs_avx512
@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("never", [False, True])
@pytest.mark.parametrize("depth", [1, 4, 5, 8, 9, 13])
def test_blocks_find_the_leaves_of_values_beside_thresholds(depth: int, *, never: bool, strict: bool):
    op = trees(depth, strict=strict, never=never)
    assert plans.plan_trees(op).kind == "blocks"
    for rows in ROWS if depth in (5, 9) else (17, 700):
        check(op, 5, rows)


@needs_avx512
@pytest.mark.usefixtures("blocks")
def test_blocks_read_as_many_columns_as_two_registers_hold():
    assert plans.plan_trees(trees(9, columns=VALUES)).kind == "blocks"
    assert plans.plan_trees(trees(9, columns=VALUES + 1)).kind != "blocks"
    check(trees(9, columns=VALUES), VALUES, 700)
    check(trees(9, columns=VALUES + 1), VALUES + 1, 700)


@pytest.mark.usefixtures("blocks")
def test_trees_that_blocks_cannot_say_go_another_way():
    plain = trees(6)
    only_nan = ops.Descend(
        plain.codes, plain.column | 1, np.full_like(plain.rank, len(GRID) + 1), plain.left, plain.right, plain.roots
    )
    codes = plain.codes
    assert isinstance(codes, ops.Rank)
    infinite = ops.Rank(
        codes.x,
        codes.source,
        np.where(codes.boundaries == GRID[-1], np.float32(np.inf), codes.boundaries),
        codes.offsets,
        codes.nan,
        codes.dtype,
        codes.strict,
    )
    endless = ops.Descend(infinite, plain.column, plain.rank, plain.left, plain.right, plain.roots)
    for op in (only_nan, endless):
        assert plans.plan_trees(op).kind != "blocks"
        check(op, 5, 700)


@needs_avx512
@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("outputs", "grouped"), [(1, False), (2, False), (3, True), (17, False)])
def test_sums_over_blocks_have_every_bit_of_the_reference(dtype: type, outputs: int, *, grouped: bool):
    for rows in (1, 65, 700, 2500):
        check(leaf_sum(trees(9), outputs, dtype, grouped=grouped), 5, rows)


@needs_avx512
def test_a_few_rows_go_without_blocks(monkeypatch: pytest.MonkeyPatch):
    op = trees(9)
    monkeypatch.setattr(plans, "blocks_cost", lambda shape: 0.0)
    assert plans.plan_trees(op).kind == "blocks"
    assert plans.plan_trees(op, few=True).kind != "blocks"


def symmetric_sum(sizes: list[int], *, wide: bool = False) -> ops.LeafSum:
    """Sums over symmetric trees of so many tests."""
    codes = rank(5, strict=True)
    dtype = np.dtype(np.int16 if wide else np.uint8)
    codes = ops.Rank(codes.x, codes.source, codes.boundaries, codes.offsets, codes.nan, dtype, codes.strict)
    rng, tests = np.random.default_rng(len(sizes)), sum(sizes)
    column, limit = rng.integers(0, 10, tests), rng.integers(0, len(GRID) + 2, tests)
    leaves = ops.DescendSymmetric(codes, column, limit, np.array(sizes))
    values = rng.normal(size=(sum(2**size for size in sizes), 1)) * 10.0 ** rng.integers(-9, 9)
    return ops.LeafSum(leaves, values, np.array([0.1]), None)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("sizes", [[6] * 100, [6], [1, 0, 3], [5, 2] * 16, [6] * 33, [7, 2]], ids=str)
def test_sums_over_symmetric_trees_have_every_bit_of_the_reference(sizes: list[int], *, wide: bool):
    op = symmetric_sum(sizes, wide=wide)
    assert symmetric.sums_in_registers(op, plans.plan_trees(op.leaves)) == (max(sizes) <= 6 and not NO_AVX512)
    for rows in (1, 4, 5, 37, *ROWS[3:]):
        check(op, 5, rows)


def test_every_sum_is_put_in_its_row():
    np.testing.assert_array_equal(np.sort(symmetric.order()), np.arange(64))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
@pytest.mark.parametrize("count", [0, 1, 15, 16, 31, 32, 63, 64, 127, 128, 254, 255, 300])
def test_ranks_among_any_number_of_boundaries(count: int, dtype: type, *, strict: bool):
    if count == 300 and dtype == np.uint8:
        dtype = np.int32
    rng = np.random.default_rng(count)
    drawn = np.concatenate([rng.normal(size=400).astype(np.float32), TRAPS[np.abs(TRAPS) >= 0]])
    boundaries = np.unique(rng.permutation(drawn)[:count])
    few = boundaries[:3]
    offsets = np.cumsum([0, len(boundaries), len(few)])
    x = Input("x", TensorType(("N", 2), np.dtype(np.float32)))
    nan = np.array([min(len(boundaries) + 1, 255), 0])
    op = ops.Rank(x, np.array([1, 0]), np.concatenate([boundaries, few]), offsets, nan, np.dtype(dtype), strict)
    values = np.concatenate([boundaries, np.nextafter(boundaries, np.float32(0)), TRAPS])
    inputs = {"x": rng.choice(values, size=(777, 2))}
    graph = Graph({"out": op})
    actual = SimdExecutor(threads=1).compile(graph)(inputs, 777)["out"]
    np.testing.assert_array_equal(actual, evaluate(graph, inputs)["out"])
