"""Circuits of trees give the integers that `reference` gives, whatever the trees, and their parts do what they say."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tensorml import ops
from tensorml.executors.fpga.design import Design, Signal, stages_of_compares
from tensorml.executors.fpga.leaves import whole_steps
from tensorml.executors.fpga.lower import lower
from tensorml.executors.fpga.simulate import Simulator
from tensorml.executors.fpga.sums import LONGEST, total
from tensorml.executors.fpga.tools import require
from tensorml.executors.reference import evaluate
from tensorml.graph import Graph, Input, Op, TensorType
from tests.samples import random_trees


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORML_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def codes(columns: int) -> Input:
    """The input of a circuit of trees."""
    return Input("row", TensorType(("N", columns), np.dtype(np.int64)))


def leaf_count(trees: ops.Descend) -> int:
    """The leaves of all trees."""
    return int(max(~trees.left.min(initial=-1), ~trees.right.min(initial=-1), ~trees.roots.min())) + 1


def sums(trees: ops.Descend, low: int, high: int, outputs: int, *, grouped: bool, seed: int = 0) -> ops.LeafSum:
    """Sums of random integers from low to high, as vectors or one number per tree, tree t to output t % outputs."""
    random = np.random.default_rng(seed)
    values = random.integers(low, high, (leaf_count(trees), 1 if grouped else outputs), endpoint=True)
    output = np.arange(len(trees.roots)) % outputs if grouped else None
    return ops.LeafSum(trees, values, random.integers(-3, 4, outputs), output)


def simulated(graph: Graph, high: Sequence[int], rows: np.ndarray) -> None:
    """Compare the circuit of a graph whose codes go from 0 to `high` with `reference`."""
    ranges = {"row": (np.zeros(len(high), np.int64), np.array(high))}
    result = Simulator(lower(graph, ranges, "trees", "Trees.")).run(rows)
    expected = np.concatenate(list(evaluate(graph, {"row": rows}).values()), axis=1)
    np.testing.assert_array_equal(result, expected)


def every(high: Sequence[int]) -> np.ndarray:
    """All rows of codes from 0 to `high`. int64 [N, C]."""
    return np.stack(np.meshgrid(*(np.arange(h + 1) for h in high), indexing="ij"), axis=-1).reshape(-1, len(high))


def test_circuits_of_trees_are_right_on_every_input():
    high = [1, 3, 6, 15, 4]
    x = codes(len(high))
    shallow, single = random_trees(x, 40, 3, 9, seed=1), random_trees(x, 3, 0, 5)
    symmetric = ops.DescendSymmetric(
        x, np.array([0, 2, 3, 3, 4, 1, 2, 2]), np.array([1, 3, 7, 20, 4, 0, 2, 5]), np.array([3, 0, 4, 1])
    )
    outputs: dict[str, Op] = {
        "bits": sums(shallow, 0, 1, 1, grouped=True),
        "small": sums(shallow, 0, 7, 3, grouped=True, seed=1),
        "signed": sums(random_trees(x, 9, 4, 9, seed=2), -20, 20, 2, grouped=False),
        "single": sums(single, 1, 9, 2, grouped=False),
        "same": sums(random_trees(x, 5, 3, 9, seed=3), 4, 4, 1, grouped=True),
        "leaves": random_trees(x, 6, 5, 9, seed=4),
        "symmetric": symmetric,
        "symmetric sum": ops.LeafSum(symmetric, np.arange(54).reshape(27, 2) % 11, np.array([0, 5]), None),
    }
    simulated(Graph(outputs), high, every(high))


def test_circuits_of_deep_trees_of_wide_codes_are_right():
    high = [2999, 255, 63, 600]
    x = codes(len(high))
    deep, mixed = random_trees(x, 4, 12, 3000, seed=5), random_trees(x, 30, 6, 300, seed=6)
    outputs: dict[str, Op] = {
        "deep": sums(deep, 0, 15, 1, grouped=True),
        "mixed": sums(mixed, 0, 3, 1, grouped=True),
        "two": sums(mixed, 0, 5, 2, grouped=True, seed=2),
        "leaves": deep,
    }
    random = np.random.default_rng(0)
    rows = random.integers(0, np.array(high) + 1, (20_000, len(high)))
    rows[:2] = np.zeros(len(high)), high
    near = np.clip(random.choice(deep.rank, rows.shape) - random.integers(0, 2, rows.shape), 0, high)
    simulated(Graph(outputs), high, np.concatenate([rows, near]))


def numbers(design: Design, ranges: Sequence[tuple[int, int]]) -> list[Signal]:
    """Inputs of these ranges."""
    return [design.input(f"x{i}", low, high) for i, (low, high) in enumerate(ranges)]


def test_sums_of_many_numbers_are_right():
    random = np.random.default_rng(0)
    ranges = [(0, int(h)) for h in [*[1] * 30, *random.integers(1, 8, 30), *random.integers(1, 300, 8)]]
    ranges += [(-5, 9), (-300, -1), (3, 12)]
    design = Design()
    x = numbers(design, ranges)
    chosen = [random.permutation(len(x))[: int(n)] for n in [1, 2, 3, 4, 5, 7, 9, 12, 20, 35, 50, len(x)]]
    chosen += [np.arange(n) for n in range(3, 31)]
    results = []
    for k, group in enumerate(chosen):
        late = [design.at(x[i], int(s)) for i, s in zip(group, random.integers(0, 2 + k % 3, len(group)), strict=True)]
        results.append((f"sum_{k}", total(design, "sum", "Sums", late)))
    low, high = np.array(ranges).T
    rows = random.integers(low, high, (5000, len(x)), endpoint=True)
    rows[:2] = low, high
    result = Simulator(design.finished("sums", "Sums.", results)).run(rows)
    np.testing.assert_array_equal(result, np.stack([rows[:, group].sum(1) for group in chosen], axis=1))


def test_counters_count():
    shapes = [(units, twos) for units in range(1, 6) for twos in range(3) if 1 < units + twos < 6]
    design = Design()
    row = design.input("x", 0, 31)
    results = []
    for units, twos in shapes:
        call = f"{design.counter(units, twos)}(x[{units + twos - 1}:0])"
        results.append((f"n_{units}_{twos}", design.register("n", "Counts", call, 0, units + 2 * twos, row.stage)))
    rows = np.arange(32)[:, None]
    bits = rows >> np.arange(5) & 1
    expected = [bits[:, :units].sum(1) + 2 * bits[:, units : units + twos].sum(1) for units, twos in shapes]
    result = Simulator(design.finished("counters", "Counts.", results)).run(rows)
    np.testing.assert_array_equal(result, np.stack(expected, axis=1))


def test_compares_are_right_at_every_bound():
    design = Design()
    highs = [1, 2, 3, 7, 12, 31, 32, 63, 64, 100, 127, 128, 255, 300, 511, 700]
    x = numbers(design, [(0, high) for high in highs])
    bounds = [(c, b) for c, high in enumerate(highs) for b in range(high + 2) if high < 70 or not b % 7 or b > high - 3]
    results = [(f"c{c}_{b}", design.at_least("ge", "Compares", x[c], b)) for c, b in bounds]
    assert all(
        signal.constant or signal.stage == stages_of_compares(x[c])
        for (c, _), (_, signal) in zip(bounds, results, strict=True)
    )
    rows = np.minimum(np.arange(701)[:, None], highs)
    result = Simulator(design.finished("compares", "Compares.", results)).run(rows)
    np.testing.assert_array_equal(result, np.stack([rows[:, c] >= b for c, b in bounds], axis=1))


def test_compares_of_codes_of_many_bits_are_right():
    design = Design()
    highs = [2000, 5000, 65_535, 40_000, 70_000]
    x = numbers(design, [(0, high) for high in highs])
    random = np.random.default_rng(0)
    bounds = [(c, int(b)) for c, h in enumerate(highs) for b in [1, 32, 1024, h - 1, h, *random.integers(1, h, 20)]]
    results = [(f"c{c}_{b}", design.at_least("ge", "Compares", x[c], b)) for c, b in bounds]
    assert all(signal.stage <= stages_of_compares(x[c]) for (c, _), (_, signal) in zip(bounds, results, strict=True))
    near = np.array([b for _, b in bounds])[:, None] + np.array([-1, 0, 1])
    rows = np.concatenate([np.minimum(near.reshape(-1, 1), highs), random.integers(0, highs, (2000, len(highs)))])
    result = Simulator(design.finished("compares", "Compares.", results)).run(rows)
    np.testing.assert_array_equal(result, np.stack([rows[:, c] >= b for c, b in bounds], axis=1))


def test_compares_share_what_they_are_made_of():
    design = Design()
    x = design.input("x", 0, 255)
    for bound in range(256):
        design.at_least("ge", "Compares", x, bound)
    assert design.counts["compare", 4] == 2 * 15  # of the high bits, of the low bits
    assert sum(design.counts["choice", n] for n in (1, 2, 3)) == 255  # each of one to three of these


def searching(x: Input, columns: Sequence[int], ranks: Sequence[Sequence[int]]) -> ops.Descend:
    """For each of some columns a tree that finds between which of its ranks, in rising order, a code is."""
    column, rank, left, right, roots = [], [], [], [], []
    leaves = 0

    def grow(c: int, below: Sequence[int]) -> int:
        nonlocal leaves
        if not below:
            leaves += 1
            return ~(leaves - 1)
        node, middle = len(column), len(below) // 2
        column.append(c)
        rank.append(below[middle])
        left.append(0)
        right.append(0)
        left[node], right[node] = grow(c, below[:middle]), grow(c, below[middle + 1 :])
        return node

    roots = [grow(c, below) for c, below in zip(columns, ranks, strict=True)]
    return ops.Descend(x, *(np.array(part, np.int32) for part in (column, rank, left, right, roots)))


def test_trees_of_all_thresholds_of_a_column_find_its_codes():
    high = [1, 3, 5, 15, 31, 40, 127, 255, 300]  # codes of 1 to 9 bits
    x = codes(len(high))
    trees = searching(x, range(len(high)), [range(1, h + 1) for h in high])
    rows = np.minimum(np.arange(301)[:, None], high)
    simulated(Graph({"leaves": trees}), high, rows)
    found = trees.reference(rows)
    np.testing.assert_array_equal(found - found[0], rows)  # a tree's leaves count its codes


def test_trees_of_few_thresholds_are_right():
    high = [2**bits - 1 for bits in range(1, 10)]
    x = codes(len(high))
    one = searching(x, range(len(high)), [[h // 2 + 1] for h in high])
    ends = searching(x, range(len(high)), [[0, 1, h, h + 1] for h in high])  # of the codes, and beyond
    outputs: dict[str, Op] = {
        "one": one,
        "one sum": sums(one, 0, 3, 1, grouped=True),
        "ends": ends,
        "narrow": sums(random_trees(x, 12, 4, 15, seed=1), 0, 7, 2, grouped=True),
        "wide": sums(random_trees(x, 12, 5, 511, seed=2), 0, 7, 2, grouped=True),
    }
    rows = np.random.default_rng(0).integers(0, np.array(high) + 1, (3000, len(high)))
    rows[:512] = np.minimum(np.arange(512)[:, None], high)
    simulated(Graph(outputs), high, rows)


def test_symmetric_trees_of_codes_of_all_widths_are_right():
    high = [1, 1, 6, 31, 100, 255, 400]  # sets of categories are columns of one bit
    x = codes(len(high))
    random = np.random.default_rng(0)
    size = np.array([6, 6, 3, 0, 1, 5])
    column = random.integers(0, len(high), size.sum())
    rank = random.integers(0, np.array(high)[column] + 2)
    trees = ops.DescendSymmetric(x, column, rank, size)
    values = random.integers(0, 16, (int((2**size).sum()), 1))
    outputs: dict[str, Op] = {"leaves": trees, "sum": ops.LeafSum(trees, values, np.array([-7]), None)}
    simulated(Graph(outputs), high, random.integers(0, np.array(high) + 1, (5000, len(high))))


def test_short_sums_are_side_by_side_in_one_chain():
    design = Design()
    result = total(design, "sum", "Sums", numbers(design, [(0, 7)] * 40))
    text = design.finished("sums", "Sums.", [("sum", result)]).verilog
    widths = [int(found) + 1 for found in re.findall(r"reg \[(\d+):0\] sums_", text)]
    assert widths
    assert max(widths) <= LONGEST


@pytest.mark.parametrize(("count", "high"), [(30, 1), (100, 1), (50, 3), (100, 15)])
def test_two_luts_take_three_bits_away(count, high):
    design = Design()
    result = total(design, "sum", "Sums", numbers(design, [(0, high)] * count))
    less = count * high.bit_length() - result.width
    assert sum(width * times for (kind, width), times in design.counts.items() if kind == "counter") < 0.8 * less


def test_verilog_of_trees_is_free_of_lint(tmp_path):
    high = [1, 3, 6, 15, 300]
    trees = random_trees(codes(5), 40, 6, 9, seed=1)
    graph = Graph({"sum": sums(trees, 0, 7, 3, grouped=True), "leaves": trees})
    circuit = lower(graph, {"row": (np.zeros(5, np.int64), np.array(high))}, "trees", "Trees.")
    (tmp_path / "trees.v").write_text(circuit.verilog)
    (verilator,) = require("verilator")
    waived = "-Wno-DECLFILENAME -Wno-UNUSEDSIGNAL -Wno-WIDTHEXPAND"  # shorter operands are meant to be extended
    lint = f"--lint-only -Wall {waived} --default-language 1364-2005 trees.v"
    verilator.run(*lint.split(), folder=tmp_path)


steps = arrays(np.float64, st.integers(1, 40), elements=st.floats(-20, 20, width=32))


@given(steps)
def test_no_leaf_is_further_off_than_above_the_least(values):
    whole, start = whole_steps(values)
    above = values - values.min()
    plain = np.floor(above + 0.5)
    assert whole.dtype == np.int64
    assert whole.min() == 0
    assert whole.max().item().bit_length() <= int(plain.max()).bit_length()
    assert np.abs(whole + start - values).max() <= np.abs(plain - above).max() + 1e-9


@given(arrays(np.int64, st.integers(1, 40), elements=st.integers(-20, 20)), st.floats(-5, 5))
def test_leaves_that_are_whole_steps_apart_lose_nothing(values, offset):
    whole, start = whole_steps(values + offset)
    np.testing.assert_allclose(whole + start, values + offset, rtol=0, atol=1e-12)
    np.testing.assert_allclose(whole, values - values.min(), rtol=0, atol=0)


def test_a_tree_takes_fewer_bits_from_another_start():
    whole, start = whole_steps(np.array([0.0, 0.45, 0.8]))  # above the least: 0, 0, 1
    assert whole.tolist() == [0, 0, 0]
    assert start == pytest.approx(0.4)
