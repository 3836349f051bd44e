import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

import tensorml
from tensorml.executors.fpga.area import size
from tensorml.executors.fpga.estimate import COSTS, LEAST_MEMORY, estimate
from tensorml.executors.fpga.program import core_of
from tensorml.executors.fpga.synthesis import FAMILIES

# What designs counted, and the LUTs and flip-flops that Yosys 0.70 made of them, by family. XGBoost on 32 features with
# 4-bit leaves; the kinds of which each bit takes as much as the next are counted as bits.
MADE = {
    "100 trees of depth 2": (
        {("compare", 3): 62, ("compare", 4): 157, ("compare", 5): 31, ("choice", 1): 531, ("counter", 1): 129,
         ("register", 1): 744},
        {"xc7": (382, 578), "ecp5": (723, 599)},
    ),
    "30 trees of depth 4": (
        {("compare", 4): 307, ("compare", 5): 101, ("choice", 1): 1425, ("counter", 1): 64, ("register", 1): 883},
        {"xc7": (731, 821), "ecp5": (961, 827)},
    ),
    "100 trees of depth 3": (
        {("compare", 4): 62, ("compare", 5): 538, ("choice", 1): 1928, ("counter", 1): 194, ("register", 1): 1356},
        {"xc7": (1037, 1128), "ecp5": (1656, 1188)},
    ),
    "100 trees of depth 4": (
        {("compare", 3): 1619, ("compare", 5): 29, ("choice", 1): 4730, ("counter", 1): 227, ("register", 1): 3234},
        {"xc7": (2596, 3032), "ecp5": (3461, 3061)},
    ),
    "logistic regression of 6 bits": (
        {("constant multiplier", 5): 19, ("constant multiplier", 6): 2, ("adder", 1): 321, ("register", 1): 567},
        {"xc7": (264, 363), "ecp5": (310, 545)},
    ),
    "logistic regression of 12 bits": (
        {("constant multiplier", 11): 27, ("constant multiplier", 12): 3, ("adder", 1): 655, ("register", 1): 1298},
        {"xc7": (386, 438), "ecp5": (634, 1262)},
    ),
}  # fmt: skip


def test_every_family_has_its_costs():
    assert list(COSTS) == list(FAMILIES)


@pytest.mark.parametrize(("counts", "made"), MADE.values(), ids=MADE)
@pytest.mark.parametrize("family", ["xc7", "ecp5"])
def test_circuits_take_about_what_yosys_makes_of_them(counts, made, family):
    luts, flip_flops = made[family]
    found = estimate(counts, family)
    assert found.luts == pytest.approx(luts, rel=0.15)
    assert flip_flops <= found.flip_flops <= 3 * flip_flops
    assert found.block_rams == 0


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
    assert estimate({("constant multiplier", 8): 30, ("multiplier", 18): 2}, "ecp5").dsps == 32
    assert estimate({("multiplier", 20): 3}, "ecp5").dsps == 6
    assert estimate({("multiplier", 20): 3}, "xc7").dsps == 3


def test_memories_take_blocks_unless_they_are_small():
    assert estimate({("table", 9): 14200}, "xc7").block_rams == 8  # what Yosys took for it
    assert estimate({("memory", 20): 4096, ("leaf memory", 8): 100}, "ecp5").block_rams == 6
    assert estimate({("table", 4): LEAST_MEMORY // 4}, "xc7").block_rams == 0


def test_what_is_not_known_is_left_out_and_nothing_takes_nothing():
    assert estimate({}, "xcup").luts == 0
    assert estimate({("walker", 20): 4}, "xcup").flip_flops == 0


def test_a_family_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="one of ecp5, xc7, xcup, not 'spartan'"):
        estimate({}, "spartan")
