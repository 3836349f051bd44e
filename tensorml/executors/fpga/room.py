"""How many walkers fit: what they take, before their circuit is made."""

from __future__ import annotations

from tensorml.executors.fpga.area import Limit, limit_of, require
from tensorml.executors.fpga.estimate import LEAST_MEMORY
from tensorml.executors.fpga.fixed import DoesNotFit
from tensorml.executors.fpga.memory import Ensemble, bits_of, leaves_of, nodes_of, sizes_of
from tensorml.executors.fpga.synthesis import Area

SHAPES = ((512, 36), (1024, 18), (2048, 9))  # words and bits of a block RAM of 18 kbit
BLOCK = 16384  # bits of one of several, that words of any width use
LUTS = (20.0, 0.4, 1.7)  # of a walker, of a bit of the row that it chooses from, of a bit of a leaf
LUTS_OF_MEMORY = (1 / 46, 5.5)  # of a bit of a memory without block RAM, of a block beyond a walker's second
"""Fitted to what Yosys makes for the 7 series of 13 circuits: 1 to 16 walkers of 48 trees of depth 4 to 10, 4 to 64
codes of 6 bits, 1 and 10 outputs. The root of the mean square of the error is 14 %, the largest 34 % (depth 8, too
many) and 23 % (eight walkers, too few); block RAMs are as many as Yosys takes, or up to seven more where a memory is
almost small enough for LUTs."""


def area(found: Ensemble, walkers: int, family: str) -> Area:
    """About what so many walkers take: LUTs by the formula of LUTS, block RAM by the memories' words."""
    groups = found.groups(walkers)
    sizes = sizes_of(found, groups)
    width_of_leaf = leaf_bits(found)
    nodes, leaves = (max(sum(1 for t in g for _ in of(t)) for g in groups) for of in (nodes_of, leaves_of))
    memories = (nodes, sizes.word), (leaves, width_of_leaf)
    blocks = sum(blocks_of(words, bits) for words, bits in memories)
    small = sum(words * bits for words, bits in memories if not blocks_of(words, bits))
    luts = LUTS[0] + found.words.bits * len(found.fields) * LUTS[1] + width_of_leaf * LUTS[2]
    luts += small * LUTS_OF_MEMORY[0] + max(blocks - 2, 0) * LUTS_OF_MEMORY[1]
    return Area(family, round(walkers * luts), walkers * 100, block_rams=walkers * blocks)


def leaf_bits(found: Ensemble) -> int:
    """About the bits of a leaf."""
    if found.sums is None:
        return bits_of((0, len(found.values)))
    ends = int(found.sums.values.min(initial=0)), int(found.sums.values.max(initial=0))
    return bits_of(ends) * len(found.sums.start)


def blocks_of(words: int, bits: int) -> int:
    """About how many block RAMs hold so many words; none if they are few: see `style`."""
    if words * bits <= LEAST_MEMORY:
        return 0
    fitting = [-(-bits // width) for depth, width in SHAPES if words <= depth]
    return min(fitting, default=-(-words * bits // BLOCK))


def most(found: Ensemble, limit: Limit) -> int:
    """The most walkers that fit; 0 if not even one does."""
    fits, not_any_more = 0, len(found.trees) + 1
    while not_any_more - fits > 1:
        middle = (fits + not_any_more) // 2
        room = limit.room(area(found, middle, limit.family))
        fits, not_any_more = (middle, not_any_more) if room else (fits, middle)
    return fits


def require_walkers(found: Ensemble | None, walkers: int, limit: str | Limit) -> int:
    """So many walkers, if they fit. Raises DoesNotFit for what is no ensemble, TooLarge."""
    if found is None:
        raise DoesNotFit("only a single sum of trees, or the leaves of trees, can be kept in memory for walkers")
    require(area(found, walkers, limit_of(limit).family), limit)
    return walkers
