import pytest

from tensorml.executors.fpga.estimate import COSTS, LEAST_MEMORY, estimate
from tensorml.executors.fpga.synthesis import FAMILIES

# What designs of XGBoost ensembles counted, and what Yosys 0.70 made of them. 3-bit and 4-bit leaves.
BREAST_CANCER_10_X_3 = (
    {
        ("register", 1): 55, ("compare", 2): 13, ("compare", 3): 33, ("compare", 4): 9, ("register", 3): 8,
        ("choice", 3): 40, ("register", 2): 4, ("choice", 2): 26, ("adder", 3): 2, ("register", 4): 5, ("adder", 4): 4,
        ("register", 5): 3, ("adder", 5): 2, ("register", 6): 1, ("adder", 6): 1,
    },
    {"xc7": (101, 130), "ecp5": (150, 133)},
)  # fmt: skip
BREAST_CANCER_50_X_4 = (
    {
        ("register", 1): 148, ("compare", 3): 40, ("compare", 4): 55, ("compare", 5): 33, ("compare", 2): 17,
        ("register", 4): 20, ("choice", 4): 60, ("register", 3): 30, ("choice", 3): 113, ("register", 2): 23,
        ("choice", 2): 48, ("choice", 1): 4, ("adder", 2): 2, ("adder", 3): 12, ("adder", 4): 14, ("register", 5): 13,
        ("adder", 5): 12, ("register", 6): 6, ("adder", 6): 4, ("register", 7): 3, ("adder", 7): 3, ("register", 8): 2,
        ("adder", 8): 2,
    },
    {"xc7": (408, 497), "ecp5": (578, 497)},
)  # fmt: skip


def test_every_family_has_its_costs():
    assert list(COSTS) == list(FAMILIES)


@pytest.mark.parametrize(("counts", "made"), [BREAST_CANCER_10_X_3, BREAST_CANCER_50_X_4], ids=["10 x 3", "50 x 4"])
@pytest.mark.parametrize("family", ["xc7", "ecp5"])
def test_trees_take_about_what_yosys_makes_of_them(counts, made, family):
    luts, flip_flops = made[family]
    found = estimate(counts, family)
    assert found.luts == pytest.approx(luts, rel=0.2)
    assert 0.9 * found.flip_flops <= flip_flops <= found.flip_flops + 10  # and the valid bits
    assert (found.dsps, found.block_rams) == (0, 0)


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
