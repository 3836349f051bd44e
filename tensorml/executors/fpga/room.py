"""How many walkers fit: what they take, before their circuit is made."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tensorml.executors.fpga.area import Limit, TooLarge, amount, limit_of, require
from tensorml.executors.fpga.estimate import LEAST_MEMORY
from tensorml.executors.fpga.fixed import DoesNotFit
from tensorml.executors.fpga.memory import Ensemble, bits_of, leaves_of, nodes_of, sizes_of
from tensorml.executors.fpga.synthesis import Area

SHAPES = ((512, 36), (1024, 18), (2048, 9))  # words and bits of a block RAM of 18 kbit
BLOCK = 16384  # bits of one of several, that words of any width use


@dataclass(frozen=True)
class Costs:
    """LUTs of walkers in a family, as Yosys makes them.

    top: what keeps time. Of each walker: all of it; a bit of the row, in which it chooses; of a float, which it puts in
    the order of the numbers; of a leaf that it adds; of a memory without block RAM; a block beyond its second.
    """

    top: float
    walker: float
    row: float
    number: float
    leaf: float
    small: float
    block: float


AMD = Costs(25, 0, 0.48, 0.57, 1.82, 1 / 47, 7.4)
COSTS = {"ecp5": Costs(165, 0, 1.05, 2.5, 4.1, 1 / 34, 0), "xc7": AMD, "xcup": AMD}
"""Fitted to what Yosys makes for the 7 series of 24 circuits: 1 to 16 walkers of 48 trees of depth 4 to 10; 4 to 128
codes of 6 and 8 bits, 8 and 16 columns in fixed point of 12 and 18 bits, 16 and 64 floats of 32 and 64 bits; 1 to 10
outputs, and leaves; and 6 to 64 walkers of forests of 300 and 1,000 trees of depth 6 on 32 codes. The root of the mean
square of the error is 10 %, the largest 19 %, too many or too few. (Not among them: 7 walkers of 300 trees of depth 8,
whose 15,471 words fit block RAMs of a bit each without LUTs to choose among them; for these it is twice too many.) For
ECP5 of 9 circuits of 48 trees of depth 6: 18 %, at most 23 % too many (8 floats, four walkers) and 44 % too few (16
floats, one walker, where Yosys takes twice as many LUTs for a bit as with codes). Block RAMs are as many as Yosys
takes, or up to a third more."""
SPARE = 1.2  # times as many LUTs have to fit where the number of walkers is chosen: see how far these are off
FLIP_FLOPS = (40, 2.0, 2.5)  # of a walker and of all together, of a bit of a word, of a bit of a leaf


def area(found: Ensemble, walkers: int, family: str) -> Area:
    """About what so many walkers take: LUTs by COSTS, block RAM by the memories' words."""
    groups = found.groups(walkers)
    sizes, word, leaf = sizes_of(found, groups), found.words.bits, leaf_bits(found)
    row = word * len(found.fields)
    nodes, leaves = (max(sum(1 for t in g for _ in of(t)) for g in groups) for of in (nodes_of, leaves_of))
    memories = (nodes, sizes.word), (leaves, leaf)
    blocks = sum(blocks_of(words, bits) for words, bits in memories)
    small = sum(words * bits for words, bits in memories if not blocks_of(words, bits))
    costs = COSTS[family]
    luts = costs.walker + row * costs.row + small * costs.small + max(blocks - 2, 0) * costs.block
    luts += word * costs.number if found.words.kind == "float" else 0
    luts += leaf * costs.leaf if found.sums is not None else 0
    each, of_word, of_leaf = FLIP_FLOPS
    flip_flops = row + each + walkers * (each + of_word * word + of_leaf * leaf)
    flip_flops += len(found.trees) * leaf if found.sums is None else 0
    return Area(family, round(costs.top + walkers * luts), round(flip_flops), block_rams=walkers * blocks)


def leaf_bits(found: Ensemble) -> int:
    """About the bits of a leaf."""
    if found.sums is None:
        return bits_of((0, found.leaves - 1))
    ends = int(found.sums.values.min(initial=0)), int(found.sums.values.max(initial=0))
    return bits_of(ends) * len(found.sums.start)


def blocks_of(words: int, bits: int) -> int:
    """About how many block RAMs hold so many words; none if they are few: see `style`."""
    if words * bits <= LEAST_MEMORY:
        return 0
    fitting = [-(-bits // width) for depth, width in SHAPES if words <= depth]
    return min(fitting, default=-(-words * bits // BLOCK))


def most(found: Ensemble, limit: str | Limit, reason: TooLarge) -> int:
    """The most walkers that fit, where circuits of the trees do not for this reason. Raises TooLarge if none does."""
    limit = limit_of(limit)
    fits, not_any_more = 0, len(found.trees) + 1
    while not_any_more - fits > 1:
        middle = (fits + not_any_more) // 2
        room = limit.room(at_most(found, middle, limit.family))
        fits, not_any_more = (middle, not_any_more) if room else (fits, middle)
    if not fits:
        least = at_most(found, 1, limit.family)
        raise TooLarge(
            f"{reason}. With its trees in memory, one walker needs up to {amount(least.luts)} LUTs and "
            f"{amount(least.block_rams)} block RAMs"
        ) from reason
    return fits


def at_most(found: Ensemble, walkers: int, family: str) -> Area:
    """What so many walkers hardly take more than."""
    needed = area(found, walkers, family)
    return replace(needed, luts=round(needed.luts * SPARE))


def require_walkers(found: Ensemble | None, walkers: int, limit: str | Limit) -> int:
    """So many walkers, if they fit. Raises DoesNotFit for what is no ensemble, TooLarge."""
    if found is None:
        raise DoesNotFit("only a single sum of trees, or the leaves of trees, can be kept in memory for walkers")
    require(area(found, walkers, limit_of(limit).family), limit)
    return walkers
