from functools import cache

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

import tensorml
from benchmarks.circuit_models import CASES
from tensorml.executors.fpga.area import size
from tensorml.executors.fpga.estimate import COSTS, estimate
from tensorml.executors.fpga.program import Core, core_of
from tensorml.executors.fpga.synthesis import FAMILIES

# LUTs, flip-flops and DSPs that Yosys 0.70 made of circuits of benchmarks/circuit_models.py, of given bits.
MADE = {
    "linear: Ridge on diabetes, 14 bits": {"xc7": (127, 193, 10), "xcup": (227, 533, 10), "ecp5": (236, 539, 10)},
    "linear: LinearRegression on diabetes, 24 bits": {
        "xc7": (405, 662, 19), "xcup": (654, 948, 19), "ecp5": (1012, 956, 36),
    },
    "nearest centroid: wine, 11 bits": {"xc7": (426, 538, 38), "xcup": (659, 1521, 38), "ecp5": (720, 1545, 38)},
    "pipelines: limits before LinearSVC, wine, 10 bits": {"xc7": (465, 756, 36), "ecp5": (997, 1576, 36)},
    "trees of codes: extra trees on diabetes, 8 bits": {"xc7": (603, 709, 0), "ecp5": (839, 728, 0)},
    "trees of codes: breast cancer, 50 trees of depth 4, 4 bits": {"xc7": (259, 343, 0), "ecp5": (472, 371, 0)},
    "pipelines: a tree and Ridge, diabetes, 10 bits": {
        "xc7": (326, 399, 10), "xcup": (408, 655, 10), "ecp5": (523, 754, 10),
    },
}  # fmt: skip


@cache
def make_circuit(name: str) -> Core:
    """The circuit of a case. Its models may be fitted a little differently by other versions of the libraries."""
    return next(case for case in CASES if case.words == name).core()


def test_every_family_has_its_costs():
    assert list(COSTS) == list(FAMILIES)


@pytest.mark.parametrize(("name", "family"), [(name, family) for name, made in MADE.items() for family in made])
def test_circuits_take_about_what_yosys_makes_of_them(name, family):
    luts, flip_flops, dsps = MADE[name][family]
    found = estimate(make_circuit(name).circuit.counts, family)
    assert found.luts == pytest.approx(luts, rel=0.2)
    assert 0.95 * flip_flops <= found.flip_flops <= 1.5 * flip_flops
    assert found.dsps == pytest.approx(dsps, rel=0.1)
    assert found.block_rams == 0


@pytest.mark.parametrize("name", MADE)
def test_what_is_known_before_a_circuit_is_made_is_about_what_it_has(name):
    core = make_circuit(name)
    for family in FAMILIES:
        early, found = size(core.split, family), estimate(core.circuit.counts, family)
        assert early.luts == pytest.approx(found.luts, rel=0.35)
        assert early.dsps == pytest.approx(found.dsps, rel=0.1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("make", [GradientBoostingRegressor, LogisticRegression], ids=["trees", "products"])
def test_what_is_too_large_is_said_from_about_as_much_as_the_circuit_has(make, family):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 12))
    model = make().fit(x, (x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(size=300) > 0).astype(int))
    core = core_of(tensorml.convert(model, x, executor="fpga").program("predict"))
    assert size(core.split, family).luts == pytest.approx(estimate(core.circuit.counts, family).luts, rel=0.3)


@pytest.mark.parametrize("family", FAMILIES)
def test_more_of_anything_takes_more(family):
    one = {("compare", 7): 5, ("choice", 3): 9, ("adder", 9): 4, ("register", 9): 4}
    for key, count in one.items():
        more = estimate(one | {key: count + 100}, family)
        assert (more.luts, more.flip_flops) > (estimate(one, family).luts, estimate(one, family).flip_flops)


def test_wider_compares_take_more():
    for family in FAMILIES:
        takes = [estimate({("compare", bits): 1000}, family).luts for bits in range(1, 40)]
        assert takes == sorted(takes)


def test_products_take_dsps_as_many_as_their_factors_need():
    assert estimate({("constant product", 8, 4, 12): 30, ("product", 18, 18, 36): 2}, "ecp5").dsps == 32
    wide = {("product", 26, 18, 44): 3}
    assert [estimate(wide, family).dsps for family in ("ecp5", "xc7", "xcup")] == [6, 6, 3]
    assert [estimate({("product", 30, 20, 50): 1}, family).dsps for family in ("ecp5", "xc7", "xcup")] == [4, 4, 4]


def test_small_products_take_no_dsp_on_amd():
    small = {("constant product", 5, 4, 8): 10}
    assert [estimate(small, family).dsps for family in ("ecp5", "xc7", "xcup")] == [10, 0, 0]
    assert estimate(small, "xc7").luts > 0


def test_the_7_series_has_sums_and_their_registers_in_dsps():
    one = {("product", 12, 12, 23): 1, ("register", 23): 2, ("adder of product", 24, 12, 12, 23): 1}
    series7, plus = estimate(one, "xc7"), estimate(one, "xcup")
    assert (series7.luts, series7.flip_flops) == (0, 0)
    assert (plus.luts, plus.flip_flops) == (22, 46)


def test_long_delays_are_shift_registers_on_amd():
    found = estimate({("delay", 5, 3): 1, ("delay", 7, 2): 1}, "xc7")
    assert (found.memory_luts, found.flip_flops) == (5, 14)
    assert estimate({("delay", 5, 3): 1, ("delay", 7, 2): 1}, "ecp5").flip_flops == 29


def test_tables_take_blocks_unless_they_are_small():
    assert estimate({("table", 12, 4096): 16}, "xc7").block_rams == 48  # what Yosys took for them
    assert [estimate({("table", 19, 134): 20}, family).block_rams for family in ("xc7", "ecp5")] == [0, 20]
    assert estimate({("table", 14, 28): 8}, "xc7").luts == 8 * 14
    assert estimate({("memory", 60, 273): 2}, "ecp5").block_rams == 4


def test_what_is_not_known_is_left_out_and_nothing_takes_nothing():
    assert estimate({}, "xcup").luts == 0
    assert estimate({("walker", 20): 4}, "xcup").flip_flops == 0


def test_a_family_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="one of ecp5, xc7, xcup, not 'spartan'"):
        estimate({}, "spartan")
