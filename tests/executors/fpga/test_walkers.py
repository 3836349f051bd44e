"""Trees in memory, followed by walkers: the sums of the reference for every row, at the promised time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import tensorml
from tensorml import ops
from tensorml.executors.fpga import walkers
from tensorml.executors.fpga.area import Limit
from tensorml.executors.fpga.circuit import Circuit, Field
from tensorml.executors.fpga.memory import Ensemble
from tensorml.executors.fpga.program import FpgaExecutor
from tensorml.executors.fpga.simulate import Simulator
from tensorml.executors.reference import evaluate
from tensorml.graph import Graph, Input, Op, TensorType
from tests.samples import random_trees

CODES = Input("codes", TensorType(("N", 3), np.dtype(np.uint8)))
FIELDS = tuple(Field(f"code{c}", 3) for c in range(3))


def symmetric(trees: int) -> ops.DescendSymmetric:
    """Symmetric trees of 0 to 4 tests, one of which no code passes."""
    rng = np.random.default_rng(1)
    size = rng.integers(0, 5, trees)
    column, rank = (rng.integers(low, high, size.sum()).astype(np.int32) for low, high in ((0, 3), (1, 10)))
    return ops.DescendSymmetric(CODES, column, rank, size)


def sums(leaves: Op, count: int, outputs: int, vectors: bool) -> ops.LeafSum:
    """Leaves that hold one number, or a vector with negative numbers."""
    rng = np.random.default_rng(2)
    start = rng.integers(-9, 9, outputs)
    if vectors:
        return ops.LeafSum(leaves, rng.integers(-5, 30, (count, outputs)), start, None)
    return ops.LeafSum(leaves, rng.integers(0, 30, (count, 1)), start, rng.integers(0, outputs, leaves.columns))


@pytest.mark.parametrize(
    ("trees", "depth", "count", "outputs", "vectors"),
    [(7, 3, 1, 1, False), (20, 5, 2, 3, False), (11, 4, 3, 2, True), (2, 1, 2, 1, False)],
    ids=["one walker", "several outputs", "vectors", "fewer trees than turns"],
)
def test_sums_are_those_of_the_reference(trees: int, depth: int, count: int, outputs: int, vectors: bool) -> None:
    descend = random_trees(CODES, trees, depth, 6)
    added = sums(descend, len(descend.left) + len(descend.roots), outputs, vectors)
    circuit = circuit_of(descend, added, count)
    assert_sums(added, circuit)


def test_symmetric_trees_and_a_rank_that_no_code_reaches() -> None:
    descend = symmetric(9)
    added = sums(descend, int((2**descend.size).sum()), 1, False)
    assert_sums(added, circuit_of(descend, added, 2))


X = np.random.default_rng(3).normal(size=(300, 6)).astype(np.float32)
Y = (X[:, 0] > 0) + (X[:, 1] * X[:, 2] > 0).astype(int)
SMALL = Limit(luts=400, dsps=0, block_rams=8, family="xc7")


def forest(trees: int = 20) -> RandomForestClassifier:
    return RandomForestClassifier(trees, max_depth=5, random_state=0).fit(X, Y)


def test_a_forest_that_does_not_fit_is_kept_in_memory() -> None:
    source = forest()
    executor = FpgaExecutor(area=SMALL)
    model = tensorml.convert(source, X, executor=executor)
    core = model.program("predict_proba").core
    assert core.walkers > 0
    assert core.circuit.interval > 1
    pipelined = tensorml.convert(source, X, executor=replace(executor, area=Limit(10**6, 0, family="xc7")))
    assert pipelined.program("predict_proba").core.circuit.interval == 1
    expected = evaluate(core.split.whole, {"x": X})["predict_proba"]
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    assert (model.predict(X) != source.predict(X)).mean() <= 0.01


def test_more_room_means_more_walkers() -> None:
    found = [
        tensorml.convert(forest(), X, executor=FpgaExecutor(area=replace(SMALL, luts=luts))).program("predict").core
        for luts in (130, 400)
    ]
    assert found[0].walkers < found[1].walkers
    assert found[0].circuit.interval > found[1].circuit.interval


def test_what_fits_in_no_way_is_refused_with_its_size() -> None:
    with pytest.raises(tensorml.UnsupportedModelError, match=r"needs about [\d,]+ LUTs.*the limit is 60, 0 and 1"):
        tensorml.convert(forest(), X, executor=FpgaExecutor(area=Limit(60, 0, 1, "xc7")))
    with pytest.raises(tensorml.UnsupportedModelError, match="needs about"):
        tensorml.convert(forest(), X, executor=FpgaExecutor(area=SMALL, walkers=0))


def test_walkers_follow_trees_only() -> None:
    source = LogisticRegression().fit(X, Y)
    with pytest.raises(tensorml.UnsupportedModelError, match="only a single sum of trees"):
        tensorml.convert(source, X, executor=FpgaExecutor(walkers=2))


def circuit_of(descend: ops.Descend | ops.DescendSymmetric, added: ops.LeafSum, count: int) -> Circuit:
    """The circuit of an ensemble of three codes."""
    ensemble = Ensemble(descend, added, FIELDS, (0, 1, 2))
    return walkers.circuit(ensemble, count, "core", "Trees in memory.")


def assert_sums(added: ops.LeafSum, circuit: Circuit) -> None:
    """All rows that there are, twice in another order; a row each `interval` cycles."""
    rows = np.stack(np.meshgrid(*[np.arange(8)] * 3), axis=-1).reshape(-1, 3)
    rows = np.concatenate([rows, np.random.default_rng(0).permutation(rows)])
    expected = evaluate(Graph({"sums": added}), {"codes": rows.astype(np.uint8)})["sums"]
    simulation = Simulator(circuit).simulate(rows)
    np.testing.assert_array_equal(simulation.results, expected)
    assert simulation.cycles >= len(rows) * circuit.interval
