"""Trees in memory, followed by walkers: the sums of the reference for every row, at the promised time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import tensorml
from tensorml import ops
from tensorml.executors.fpga import walkers
from tensorml.executors.fpga.area import Limit
from tensorml.executors.fpga.circuit import Circuit, Field
from tensorml.executors.fpga.compares import Column, Words, columns_of, words_of
from tensorml.executors.fpga.grid import RankWhole
from tensorml.executors.fpga.memory import Ensemble
from tensorml.executors.fpga.patterns import FloatBits, RankBits
from tensorml.executors.fpga.program import FpgaExecutor
from tensorml.executors.fpga.room import area
from tensorml.executors.fpga.simulate import Simulator
from tensorml.executors.reference import evaluate
from tensorml.graph import Graph, Input, Op, TensorType
from tests.executors.fpga.stand import core_of
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
    core = core_of(model, "predict_proba")
    assert core.walkers > 0
    assert core.circuit.interval > 1
    pipelined = tensorml.convert(source, X, executor=replace(executor, area=Limit(10**6, 0, family="xc7")))
    assert core_of(pipelined, "predict_proba").circuit.interval == 1
    expected = evaluate(core.split.whole, {"x": X})["predict_proba"]
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    assert (model.predict(X) != source.predict(X)).mean() <= 0.01


def test_more_room_means_more_walkers() -> None:
    found = [
        core_of(tensorml.convert(forest(), X, executor=FpgaExecutor(area=replace(SMALL, luts=luts))), "predict")
        for luts in (130, 400)
    ]
    assert found[0].walkers < found[1].walkers
    assert found[0].circuit.interval > found[1].circuit.interval


def test_what_fits_in_no_way_is_refused_with_its_size() -> None:
    with pytest.raises(tensorml.UnsupportedModelError, match=r"needs about [\d,]+ LUTs.*the limit is 60, 0 and 1"):
        tensorml.convert(forest(), X, executor=FpgaExecutor(area=Limit(60, 0, 1, "xc7")))
    with pytest.raises(tensorml.UnsupportedModelError, match=r"trees in memory, one walker needs up to \d+ LUTs"):
        tensorml.convert(forest(), X, executor=FpgaExecutor(area=Limit(60, 0, family="xc7")))
    with pytest.raises(tensorml.UnsupportedModelError, match=r"the limit is 60, 0 and any number\. Make"):
        tensorml.convert(forest(), X, executor=FpgaExecutor(area=Limit(60, 0, family="xc7"), walkers=0))


def test_values_that_come_as_they_are_are_kept_in_memory_where_they_do_not_fit() -> None:
    small = Limit(luts=1000, dsps=0, block_rams=9, family="xc7")
    model = tensorml.convert(forest(), X, executor=FpgaExecutor(area=small, encoder="circuit"))
    core = core_of(model, "predict_proba")
    assert core.walkers > 0
    assert core.trees is not None
    assert core.trees.words == Words(32, "float")
    expected = evaluate(core.split.whole, {"x": X})["predict_proba"]
    np.testing.assert_array_equal(model.predict_proba(X), expected)


@pytest.mark.parametrize(
    "source",
    [
        LogisticRegression(),
        VotingClassifier([("tree", DecisionTreeClassifier(max_depth=3)), ("linear", LogisticRegression())]),
    ],
    ids=lambda v: type(v).__name__,
)
def test_walkers_follow_trees_only(source) -> None:
    with pytest.raises(tensorml.UnsupportedModelError, match="only a single sum of trees, or the leaves of trees"):
        tensorml.convert(source.fit(X, Y), X, executor=FpgaExecutor(walkers=2))


TESTS = 12  # distinct boundaries of a column
COUNTS = np.full(5, TESTS)
RAW = Input("raw", TensorType(("N", 3), np.dtype(np.int64)))
MEMBERS = Input("members", TensorType(("N", 1), np.dtype(np.uint8)))
SOURCE = np.array([0, 0, 1, 1, 2])


def of_ranks(ranks: Op) -> tuple[ops.Descend, ops.LeafSum]:
    """Trees that read ranks and a category beside them, and what their leaves add up to."""
    codes = ops.Concat((ops.Cast(ranks, np.dtype(np.uint8)), MEMBERS))
    descend = random_trees(codes, 9, 5, TESTS)
    return descend, sums(descend, len(descend.left) + len(descend.roots), 2, False)


def raw_ensemble(descend: ops.Descend, added: ops.LeafSum | None, width: int, signed: bool = True) -> Ensemble:
    """Trees on three fields of so many bits and a code."""
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
    inputs = {"raw": [Column(c, low, high) for c in range(3)], "members": [Column(3, 0, TESTS)]}
    fields = (*(Field(f"raw_{c}", width, signed) for c in range(3)), Field("members_0", 4))
    columns = columns_of(descend.codes, inputs)
    assert columns is not None
    words = words_of(fields, columns)
    assert words is not None
    return Ensemble(descend, added, fields, tuple(columns), words)


def floats_and_bits(dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Boundaries [5, TESTS] and bit patterns [N, 3] at each of them, beside them, and odd ones."""
    tiny, most = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    own = [-np.inf, -most, -1.5, -tiny, 0.0, tiny, 1e-30, 0.1, 1.0, 3.0, most, np.inf]
    boundaries = np.array(own, dtype)
    with np.errstate(all="ignore"):
        beside = [boundaries, np.nextafter(boundaries, dtype(np.inf)), np.nextafter(boundaries, dtype(-np.inf))]
    odd = np.array([-0.0, np.nan, -np.nan], dtype)
    payloads = np.array([1, -1], np.int32 if dtype is np.float32 else np.int64).view(dtype)  # the least, and a NaN
    numbers = np.concatenate([*beside, odd, payloads])
    x = np.random.default_rng(0).choice(numbers, (600, 3))
    x[: len(numbers)] = numbers[:, None]
    bits = FloatBits(Input("x", TensorType(("N", 3), np.dtype(dtype)))).reference(x)
    return np.tile(boundaries, (5, 1)), bits


@pytest.mark.parametrize(
    ("dtype", "strict", "leaves"), [(np.float32, False, False), (np.float64, True, True)], ids=["float32", "float64"]
)
def test_floats_are_compared_to_the_last_bit(dtype: type, strict: bool, leaves: bool) -> None:
    boundaries, bits = floats_and_bits(dtype)
    missing = np.array([0, TESTS + 1, 5, TESTS, 1])  # the ranks of NaN: below all, above all, and in between
    ends = np.append(0, np.cumsum(COUNTS))
    descend, added = of_ranks(RankBits(RAW, SOURCE, boundaries.ravel(), ends, missing, strict))
    ensemble = raw_ensemble(descend, None if leaves else added, np.dtype(dtype).itemsize * 8)
    assert ensemble.words.kind == "float"
    assert_results(ensemble, descend if leaves else added, bits)


@pytest.mark.parametrize("signed", [True, False])
def test_fixed_point_is_compared_to_the_last_bit(signed: bool) -> None:
    low, high = (-64, 63) if signed else (0, 127)
    own = [low - 1, low, low + 1, -1, 0, 1, 7, 20, 33, 61, high, high + 1]
    boundaries = np.tile(np.sort(np.clip(own, low - 1, high + 1)), (5, 1))
    descend, added = of_ranks(RankWhole(RAW, SOURCE, boundaries.ravel(), np.append(0, np.cumsum(COUNTS))))
    ensemble = raw_ensemble(descend, added, 7, signed)
    assert ensemble.words == Words(7, "signed" if signed else "unsigned")
    x = np.random.default_rng(0).integers(low, high, (600, 3), endpoint=True)
    x[: high - low + 1] = np.arange(low, high + 1)[:, None]
    assert_results(ensemble, added, x)


def test_the_leaves_of_symmetric_trees_come_in_their_order() -> None:
    descend = symmetric(8)
    ensemble = Ensemble(descend, None, FIELDS, tuple(Column(c, 0, 7) for c in range(3)), Words(3))
    circuit = walkers.circuit(ensemble, 3, "core", "Trees in memory.")
    assert_sums(descend, circuit)


def test_wider_words_are_known_to_take_more() -> None:
    boundaries = np.tile(np.arange(-5.0, -5.0 + TESTS), (5, 1))
    ends, missing = np.append(0, np.cumsum(COUNTS)), np.zeros(5, int)
    whole, added = of_ranks(RankWhole(RAW, SOURCE, boundaries.ravel().astype(np.int64), ends))
    found = [raw_ensemble(whole, added, 7), raw_ensemble(whole, added, 18)]
    for dtype in (np.float32, np.float64):
        floats, added = of_ranks(RankBits(RAW, SOURCE, boundaries.ravel().astype(dtype), ends, missing))
        found.append(raw_ensemble(floats, added, np.dtype(dtype).itemsize * 8))
    sizes = [area(ensemble, 2, "xc7") for ensemble in found]
    assert sizes[0].luts < sizes[1].luts < sizes[2].luts < sizes[3].luts
    assert sizes[0].flip_flops < sizes[1].flip_flops < sizes[2].flip_flops < sizes[3].flip_flops
    assert all(area(ensemble, 2, "ecp5").luts > size.luts for ensemble, size in zip(found, sizes, strict=True))
    leaves = area(replace(found[0], sums=None), 2, "xc7")
    assert leaves.luts < sizes[0].luts
    assert leaves.flip_flops > sizes[0].flip_flops


def test_floats_of_two_types_are_no_words() -> None:
    columns = [Column(0, 0, 1, (1,), 0, np.dtype(np.float32)), Column(1, 0, 1, (1,), 0, np.dtype(np.float64))]
    fields = [Field("a", 32, True), Field("b", 64, True)]
    assert words_of(fields, columns) is None
    assert words_of([fields[0], Field("code", 31)], columns[:1]) is None
    assert words_of([fields[0], Field("code", 30)], columns[:1]) == Words(32, "float")


def assert_results(ensemble: Ensemble, result: Op, bits: np.ndarray) -> None:
    """The circuit of two walkers gives what the reference gives of rows of bits, and of all codes."""
    rows = np.column_stack([bits, np.arange(len(bits)) % (TESTS + 1)])
    circuit = walkers.circuit(ensemble, 2, "core", "Trees in memory.")
    inputs = {"raw": bits, "members": rows[:, 3:].astype(np.uint8)}
    expected = evaluate(Graph({"result": result}), inputs)["result"]
    np.testing.assert_array_equal(Simulator(circuit).run(rows), expected)


def circuit_of(descend: ops.Descend | ops.DescendSymmetric, added: ops.LeafSum, count: int) -> Circuit:
    """The circuit of an ensemble of three codes."""
    columns = tuple(Column(c, 0, 7) for c in range(3))
    ensemble = Ensemble(descend, added, FIELDS, columns, Words(3))
    return walkers.circuit(ensemble, count, "core", "Trees in memory.")


def assert_sums(added: Op, circuit: Circuit) -> None:
    """All rows that there are, twice in another order; a row each `interval` cycles."""
    rows = np.stack(np.meshgrid(*[np.arange(8)] * 3), axis=-1).reshape(-1, 3)
    rows = np.concatenate([rows, np.random.default_rng(0).permutation(rows)])
    expected = evaluate(Graph({"sums": added}), {"codes": rows.astype(np.uint8)})["sums"]
    simulation = Simulator(circuit).simulate(rows)
    np.testing.assert_array_equal(simulation.results, expected)
    assert simulation.cycles >= len(rows) * circuit.interval
