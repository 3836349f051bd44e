"""Every way down a tree on every ensemble of the samples, whatever the cost model would choose."""

from __future__ import annotations

import numpy as np
import pytest

from tensorml import ops
from tensorml.executors.reference import evaluate
from tensorml.executors.simd import plans
from tensorml.executors.simd.program import SimdExecutor
from tensorml.graph import Graph, Op
from tests import exactness
from tests.samples import SAMPLES, X, batch, leaf_sum, random_trees, trees_by_values

ROWS = [1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 150, 700]
MOST = [0, 8, 127]  # rows that are few: none, some, as many as can be
KINDS = ["perfect", "any", "walk", "values"]
ENSEMBLES = {name: op for name, (op, _) in SAMPLES.items() if isinstance(op, ops.Descend)}
SYMMETRIC = {name: op for name, (op, _) in SAMPLES.items() if isinstance(op, ops.DescendSymmetric)}
ENSEMBLES["one deep tree"] = trees_by_values(X["special"], 1, 7, strict=False)
ENSEMBLES["codes of 32 bits"] = random_trees(ops.Cast(X["wide"], np.dtype(np.int32)), 6, 5, 2999, seed=8)
ENSEMBLES["wide codes"] = random_trees(X["wide"], 6, 7, 2999, seed=8)


COSTS = {kind: getattr(plans, f"{kind}_cost") for kind in KINDS}
POSSIBLE = [
    (kind, name) for name, op in ENSEMBLES.items() for kind in KINDS if np.isfinite(COSTS[kind](plans.Shape(op)))
]


@pytest.fixture
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The wanted way down, made the cheapest one."""
    for other in KINDS:
        if other != request.param:
            monkeypatch.setattr(plans, f"{other}_cost", lambda shape, other=other: COSTS[other](shape) + 1e9)
    return request.param


@pytest.fixture(params=MOST)
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many rows go down one by one, whatever that costs."""
    monkeypatch.setattr(plans, "fewest", lambda all_rows, row: request.param)
    monkeypatch.setattr(plans, "BY_NODES", request.param)
    return request.param


def check(op: Op, rows: int) -> None:
    inputs = batch(rows, seed=rows)
    graph = Graph({"out": op})
    expected = evaluate(graph, inputs)["out"]
    actual = SimdExecutor(threads=1).compile(graph)(inputs, rows)["out"]
    np.testing.assert_array_equal(actual.view(np.uint8), expected.view(np.uint8))


@pytest.mark.parametrize(("kind", "name"), POSSIBLE, indirect=["kind"])
def test_every_way_down_finds_the_same_leaves(kind: str, name: str, few: int):
    op = ENSEMBLES[name]
    plan = plans.plan_trees(op)
    assert plan.kind == kind
    one_by_one = kind == "perfect" or (kind != "values" and plans.can_walk(op))
    assert plan.few == (few if one_by_one else 0)
    for rows in ROWS:
        check(op, rows)


@pytest.mark.parametrize("name", [name for name, op in SYMMETRIC.items() if plans.descendable(op)])
def test_symmetric_trees_find_the_same_leaves(name: str, few: int):
    assert plans.plan_trees(SYMMETRIC[name]).few == few
    for rows in ROWS:
        check(SYMMETRIC[name], rows)


@pytest.mark.parametrize("few", [8], indirect=True)
@pytest.mark.parametrize("kind", KINDS, indirect=True)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("outputs", "grouped"), [(1, False), (2, False), (3, True), (5, False), (17, False)])
def test_sums_have_every_bit_of_the_reference(kind: str, few: int, dtype: type, outputs: int, *, grouped: bool):
    leaves = trees_by_values(X["special"], 70, 3, strict=False)
    assert plans.plan_trees(leaves).kind == kind
    for rows in ROWS:
        check(leaf_sum(leaves, outputs, dtype, grouped=grouped), rows)


def test_few_rows_are_more_where_all_at_once_cost_more():
    shallow, deep = random_trees(X["code"], 100, 3, 5), random_trees(X["code"], 100, 8, 5)
    assert 0 < plans.plan_trees(shallow).few < plans.plan_trees(deep).few < 128


def test_outputs_of_trees_in_any_order_have_every_bit_of_the_reference():
    leaves = trees_by_values(X["special"], 20, 3, strict=False)
    output = np.array([0, 0, 2, 1, 1, 2, 0, 2, 2, 1] * 2)
    held = leaf_sum(leaves, 3, np.float32, grouped=True)
    for rows in ROWS:
        check(ops.LeafSum(leaves, held.values, held.start, output), rows)


@pytest.mark.parametrize("library", ["scikit-learn", "xgboost", "lightgbm", "catboost"])
def test_small_batches_have_the_library_s_leaves_and_margins(library: str):
    pytest.importorskip("lightgbm")
    pytest.importorskip("catboost")
    _, total = exactness.run(library, 100_000, 500, "simd", (1, 2, 7, 8, 9, 16, 17, 63, 64, 65))
    assert total.pairs >= 100_000
    assert total.wrong_leaves == 0
    assert total.wrong_margins == 0


def test_the_cost_model_takes_each_way_where_it_is_cheap():
    values = trees_by_values(X["special"], 1, 7, strict=False)
    assert plans.plan_trees(random_trees(X["code"], 100, 3, 5)).kind == "perfect"
    assert plans.plan_trees(ENSEMBLES["descend deep"]).kind == "walk"
    assert plans.plan_trees(ENSEMBLES["descend 8 levels"]).kind == "any"
    assert np.isfinite(plans.values_cost(plans.Shape(values)))
