"""Every way down a tree on every ensemble of the samples, whatever the cost model would choose."""

from __future__ import annotations

import numpy as np
import pytest

from tensorml import ops
from tensorml.executors.reference import evaluate
from tensorml.executors.simd import plans
from tensorml.executors.simd.program import SimdExecutor
from tensorml.graph import Graph, Op
from tests.samples import SAMPLES, X, batch, leaf_sum, random_trees, trees_by_values

ROWS = [1, 63, 64, 65, 127, 128, 129, 700]
KINDS = ["perfect", "any", "walk", "values"]
ENSEMBLES = {name: op for name, (op, _) in SAMPLES.items() if isinstance(op, ops.Descend)}
ENSEMBLES["one deep tree"] = trees_by_values(X["special"], 1, 7, strict=False)
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


def check(op: Op, rows: int) -> None:
    inputs = batch(rows, seed=rows)
    graph = Graph({"out": op})
    expected = evaluate(graph, inputs)["out"]
    actual = SimdExecutor(threads=1).compile(graph)(inputs, rows)["out"]
    np.testing.assert_array_equal(actual.view(np.uint8), expected.view(np.uint8))


@pytest.mark.parametrize(("kind", "name"), POSSIBLE, indirect=["kind"])
def test_every_way_down_finds_the_same_leaves(kind: str, name: str):
    op = ENSEMBLES[name]
    assert plans.plan_trees(op).kind == kind
    for rows in ROWS:
        check(op, rows)


@pytest.mark.parametrize("kind", KINDS, indirect=True)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("outputs", "grouped"), [(1, False), (2, False), (3, True), (5, False), (17, False)])
def test_sums_have_every_bit_of_the_reference(kind: str, dtype: type, outputs: int, *, grouped: bool):
    leaves = trees_by_values(X["special"], 70, 3, strict=False)
    assert plans.plan_trees(leaves).kind == kind
    for rows in ROWS:
        check(leaf_sum(leaves, outputs, dtype, grouped=grouped), rows)


def test_the_cost_model_takes_each_way_where_it_is_cheap():
    values = trees_by_values(X["special"], 1, 7, strict=False)
    assert plans.plan_trees(random_trees(X["code"], 100, 3, 5)).kind == "perfect"
    assert plans.plan_trees(ENSEMBLES["descend deep"]).kind == "walk"
    assert plans.plan_trees(ENSEMBLES["descend 8 levels"]).kind == "any"
    assert np.isfinite(plans.values_cost(plans.Shape(values)))
