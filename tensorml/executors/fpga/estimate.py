"""What a circuit takes of a device, from what its design counts: at once, without tools, and not exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tensorml.executors.fpga.synthesis import FAMILIES, Area

Counts = Mapping[tuple[str, int], int]
"""How many operations of a kind there are, by kind and bits, as Design.counts has them:

register: registers of that width. compare: of a value of that width with a constant. choice: between two values of that
width, by one bit (an inner node of a tree). adder: with sums of that width. counter: carry chains of so many positions,
whose LUTs count further bits (sums.py). multiplier, constant multiplier: the wider of the two factors, of the latter
without powers of two. table, memory, leaf memory: words of that width. What else is counted is left out.
"""

MEMORIES = ("table", "memory", "leaf memory")
MULTIPLIERS = ("multiplier", "constant multiplier")

MEMORY_BLOCK = 16384  # bits of a block RAM that a table takes before the next: the other 2048 are for parity
LEAST_MEMORY = 1024  # bits; what is smaller is LUTs


@dataclass(frozen=True)
class Costs:
    """LUTs of operations in a family, as Yosys makes them.

    compares: by the bits of the value, from 1 on, the mean of many compares of one value with constants;
    wide_compare: for each bit of a wider value. choice, adder, counter: for each bit of the result. products: of one
    with a constant, by the bits of the wider factor, from 1 on; factor: the bits that a DSP multiplies at most; least:
    the bits from which on there is a DSP.
    """

    compares: tuple[float, ...]
    wide_compare: float
    choice: float
    adder: float
    counter: float
    products: tuple[float, ...]
    factor: int
    least: int = 1


AMD = Costs((0, 0.5, 0.75, 0.9, 0.95), 0.37, 0.25, 0.6, 0.4, (0, 3, 8, 8.6, 2.8, 1.5, 1.5), 25, 5)
COSTS = {
    "ecp5": Costs((0, 0.5, 0.75, 0.93, 1.5), 0.95, 0.28, 1.002, 2.3, (), 18),
    "xc7": AMD,
    "xcup": AMD,  # Yosys maps both with the same rules
}
"""Fitted to what Yosys 0.70 makes of XGBoost's trees, 10 to 100 of depth 2 to 4 with 4-bit leaves on 8 to 512 features,
and of logistic regressions, a ridge and a network of 4 to 12 bits: LUTs of trees within 9 % on AMD and 13 % on ECP5, of
the others within 17 %. Before there is a circuit (area.py) they are within 30 %. DSPs are as many as Yosys takes, or up
to 2.5 times as many on AMD, where small products become LUTs."""


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
    dsps = sum(
        count * math.ceil(bits / costs.factor)
        for (kind, bits), count in counts.items()
        if kind in MULTIPLIERS and bits >= costs.least
    )
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
        case "counter":
            return costs.counter * bits
        case "constant multiplier":
            return costs.products[bits - 1] if bits <= len(costs.products) else 0.0
    return 0.0
