"""What a circuit takes of a device, from what its design counts: at once, without tools, and not exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tensorml.executors.fpga.synthesis import FAMILIES, Area

Counts = Mapping[tuple[str, int], int]
"""How many operations of a kind there are, by kind and bits, as Design.counts has them:

register: registers of that width. compare: of a value of that width with a constant. choice: between two values of that
width, by one bit (an inner node of a tree). adder: with sums of that width. multiplier, constant multiplier: the wider
of the two factors. table, memory, leaf memory: words of that width. What else is counted is left out.
"""

MEMORIES = ("table", "memory", "leaf memory")
MULTIPLIERS = ("multiplier", "constant multiplier")

MEMORY_BLOCK = 16384  # bits of a block RAM that a table takes before the next: the other 2048 are for parity
LEAST_MEMORY = 1024  # bits; what is smaller is LUTs


@dataclass(frozen=True)
class Costs:
    """LUTs of operations in a family, as Yosys makes them.

    compares: by the bits of the value, from 1 on, the mean of many compares of one value with constants;
    wide_compare: for each bit of a wider value. choice, adder: for each bit of the result. factor: the bits that a DSP
    multiplies at most.
    """

    compares: tuple[float, ...]
    wide_compare: float
    choice: float
    adder: float
    factor: int


# Fitted to tree ensembles of 101 to 8,224 LUTs whose sums were trees of adders of two numbers. The largest error there
# was 7 % (AMD) and 20 % (ECP5), the root of the mean square 4 % and 11 %. Sums by carry chains with counters in their
# LUTs (sums.py) take more for each bit than this says: on ECP5 the estimate is half of what Yosys makes, until
# benchmarks/estimates.py is run on them and `adder` is set to what it prints.
AMD = Costs((0, 0.5, 0.75, 0.88, 0.95, 0.96, 1.1, 1.1), 0.25, 0.201, 0.688, 25)
COSTS = {
    "ecp5": Costs((0, 0.5, 0.75, 0.88, 2.5, 4.05, 4.5, 6.3), 0.9, 0.307, 1.002, 18),
    "xc7": AMD,
    "xcup": AMD,  # Yosys maps both with the same rules
}


def estimate(counts: Counts, family: str) -> Area:
    """About what a circuit takes of a family, of 'ecp5', 'xc7' and 'xcup'.

    LUTs of tree ensembles: see COSTS. Flip-flops are an upper bound: Yosys leaves out constant bits, and AMD's DSPs and
    shift registers take some in. DSPs are an upper bound, too: Yosys makes adders of products with some constants.
    Memories of more than LEAST_MEMORY bits in all go into block RAM.
    """
    if family not in FAMILIES:
        raise ValueError(f"family is one of {', '.join(FAMILIES)}, not {family!r}")
    costs = COSTS[family]
    luts = sum(count * _luts(costs, kind, bits) for (kind, bits), count in counts.items())
    registers = sum(count * bits for (kind, bits), count in counts.items() if kind == "register")
    dsps = sum(count * math.ceil(bits / costs.factor) for (kind, bits), count in counts.items() if kind in MULTIPLIERS)
    memory = sum(count * bits for (kind, bits), count in counts.items() if kind in MEMORIES)
    blocks = math.ceil(memory / MEMORY_BLOCK) if memory > LEAST_MEMORY else 0
    return Area(family, round(luts), registers, dsps=dsps, block_rams=blocks)


def _luts(costs: Costs, kind: str, bits: int) -> float:
    """Of one operation."""
    match kind:
        case "compare":
            return costs.compares[bits - 1] if bits <= len(costs.compares) else costs.wide_compare * bits
        case "choice":
            return costs.choice * bits
        case "adder":
            return costs.adder * bits
    return 0.0
