"""What a circuit takes of a device, from what its design counts: at once, without tools, and not exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tensorml.executors.fpga.circuit import Kind
from tensorml.executors.fpga.synthesis import FAMILIES, Area

Counts = Mapping[Kind, int]
"""How many operations of a kind there are, by kind and sizes, as Design.counts has them. The sizes are bits:

register: of the value.
delay: of the value, and through how many registers it goes that nothing else reads.
compare: of a value that is compared with a constant. limit: of a value that a constant limits on one side.
choice: that a bit of a leaf is chosen by; counted for each such bit.
adder, constant adder: of the sum, of two values or of one and a constant.
counter: positions of carry chains whose LUTs count further bits (sums.py).
product, constant product: of the wider factor, of the other one (both with a sign) and of the result.
adder of product: of a sum that a DSP can compute with the product before it, and of that product's.
table, memory: of a word, and how many words.
What else is counted is left out.
"""

MEMORIES = ("table", "memory")
PRODUCTS = ("product", "constant product")
SHAPES = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))  # words and bits of 18 kbit
LEAST_MEMORY = 1024  # bits of a walker's memory; what is smaller is LUTs
LEAST_DELAY, LONGEST_DELAY = 3, 16  # registers that a LUT is as a shift register


@dataclass(frozen=True)
class Multiplier:
    """A DSP: the bits of its factors, and the bits of a product from which on Yosys takes one.

    partial: the bits of a factor that each further DSP takes of a wider one. adds: its registers take in the product's,
    and its adder a sum behind it.
    """

    wide: int
    narrow: int
    partial: int
    least: int
    adds: bool

    def count(self, wide: int, narrow: int, result: int) -> int:
        """How many a product takes; 0 if it is LUTs."""
        if result < self.least or narrow < 2:
            return 0
        pairs = (wide, self.wide), (narrow, self.narrow)
        return math.prod(1 + max(0, math.ceil((bits - most) / self.partial)) for bits, most in pairs)


@dataclass(frozen=True)
class Costs:
    """LUTs of operations in a family, as Yosys makes them.

    compares: by the bits of the value, from 1 on; wide_compare: for each bit of a wider value, but so many. choice: of
    a bit of a leaf, and more for each bit that chooses it but the first. adder, constant_adder, counter, limit: for
    each bit. product: for each bit of a result without DSP. words: of a table, that take a LUT for each bit. block: the
    bits of a table from which on it is block RAM. shifts: whether LUTs are shift registers.
    """

    compares: tuple[float, ...]
    wide_compare: tuple[float, int]
    choice: tuple[float, float]
    adder: float
    constant_adder: float
    counter: float
    limit: float
    product: float
    words: int
    block: int
    shifts: bool
    dsp: Multiplier

    def luts(self, kind: str, bits: int, *sizes: int) -> float:
        """Of one operation."""
        match kind:
            case "compare":
                narrow, (each, free) = self.compares[:bits][-1], self.wide_compare
                return narrow if bits <= len(self.compares) else max(narrow, each * (bits - free))
            case "choice":
                return self.choice[0] + self.choice[1] * (bits - 1) if bits > 1 else 0
            case "adder":
                return self.adder * bits
            case "constant adder":
                return self.constant_adder * bits
            case "adder of product":
                return 0 if self.dsp.adds and self.dsp.count(*sizes) == 1 else self.adder * bits
            case "counter":
                return self.counter * bits
            case "limit":
                return self.limit * bits
            case "product" | "constant product":
                return self.luts_of_product(bits, *sizes)
            case "table":
                return 0 if self.blocks(bits, *sizes) else bits * max(1, sizes[0] / self.words)
        return 0

    def luts_of_product(self, wide: int, narrow: int, result: int) -> float:
        """Without DSPs, or of the adders that join several of those."""
        count = self.dsp.count(wide, narrow, result)
        if not count:
            return self.product * result if narrow > 2 else 0
        return 0 if self.dsp.adds or count == 1 else self.adder * (result - self.dsp.partial) * count / 2

    def blocks(self, bits: int, words: int) -> int:
        """The block RAMs of a table; 0 if it is LUTs."""
        if bits * words < self.block:
            return 0
        return min(math.ceil(bits / width) * math.ceil(words / depth) for depth, width in SHAPES)

    def flip_flops(self, kind: str, bits: int, *sizes: int) -> int:
        """What an operation adds to the registers behind it, which are counted apart; less than 0: it takes them in."""
        match kind:
            case "register":
                return bits
            case "delay":
                return 0 if self.shifts and sizes[0] >= LEAST_DELAY else bits * sizes[0]
            case "table" | "memory" if self.blocks(bits, *sizes):
                return -bits
        if not self.dsp.adds:
            return 0
        if kind in PRODUCTS and (count := self.dsp.count(bits, *sizes)):
            kept = self.dsp.partial * (count - 1)  # the lowest bits, which the first DSPs give
            return min(0, kept - sizes[-1]) - (bits if kind == "product" else 0)
        return -bits if kind == "adder of product" and self.dsp.count(*sizes) == 1 else 0


def amd(wide: int, adds: bool) -> Costs:
    """The families of AMD, which differ in the wider factor of a DSP, and in what Yosys puts into it."""
    return Costs(
        compares=(0, 0.5, 0.75, 0.9, 0.95),
        wide_compare=(0.29, 3),
        choice=(0.67, 0.145),
        adder=0.93,
        constant_adder=0.0,  # its carry chain reads registers, with no LUT between
        counter=0.74,
        limit=0.65,
        product=0.6,
        words=64,
        block=8256,
        shifts=True,
        dsp=Multiplier(wide, 18, 17, 9, adds),
    )


LATTICE = Costs(
    compares=(0, 0.33, 0.5, 0.62, 1.0),
    wide_compare=(0.98, 2),
    choice=(1.5, 0.2),
    adder=0.98,
    constant_adder=1.0,
    counter=2.0,
    limit=1.75,
    product=1.0,
    words=16,
    block=2048,
    shifts=False,
    dsp=Multiplier(18, 18, 18, 0, False),
)
COSTS = {"ecp5": LATTICE, "xc7": amd(25, adds=True), "xcup": amd(27, adds=False)}
"""What is not a bit count is fitted to what Yosys 0.70 makes of the circuits of benchmarks/circuit_models.py, small
compares to such compares alone; docs/circuits.md has the errors.

**Source:** of the bit counts, Yosys 0.70: mul2dsp.v with the options of synth_xilinx and synth_lattice (factors, the
least product), xilinx_srl -minlen 3, and memory_libmap's cost of a block beside that of logic (129 blocks of 64 bits,
128 of 16). Measured: that xilinx_dsp puts registers and sums into the DSPs of the 7 series only.
"""


def estimate(counts: Counts, family: str) -> Area:
    """About what a circuit takes of a family, of 'ecp5', 'xc7' and 'xcup'. Carry cells are left out.

    Flip-flops are mostly too many: the 7 series' DSPs take in more registers than are known to have no other reader.
    """
    if family not in FAMILIES:
        raise ValueError(f"family is one of {', '.join(FAMILIES)}, not {family!r}")
    costs = COSTS[family]
    return Area(
        family,
        round(sum(count * costs.luts(*kind) for kind, count in counts.items())),
        max(0, sum(count * costs.flip_flops(*kind) for kind, count in counts.items())),
        memory_luts=sum(count * shift_registers(costs, *kind) for kind, count in counts.items()),
        dsps=sum(count * costs.dsp.count(*kind[1:]) for kind, count in counts.items() if kind[0] in PRODUCTS),
        block_rams=sum(count * costs.blocks(*kind[1:]) for kind, count in counts.items() if kind[0] in MEMORIES),
    )


def shift_registers(costs: Costs, kind: str, bits: int, *sizes: int) -> int:
    """The LUTs of a delay."""
    if kind != "delay" or not costs.shifts or sizes[0] < LEAST_DELAY:
        return 0
    return bits * math.ceil(sizes[0] / LONGEST_DELAY)
