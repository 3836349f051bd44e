"""Whether a model fits a device: its size, estimated from the integers that it becomes, before any circuit is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.curves import word_bits
from tensorml.executors.fpga.design import AT_ONCE, GATED
from tensorml.executors.fpga.estimate import Counts, estimate
from tensorml.executors.fpga.fixed import DoesNotFit, width
from tensorml.executors.fpga.grid import RankWhole
from tensorml.executors.fpga.leaves import leaf_ranges
from tensorml.executors.fpga.patterns import RankBits
from tensorml.executors.fpga.split import Split
from tensorml.executors.fpga.synthesis import Area
from tensorml.graph import Const, Graph, Input, Op


@dataclass(frozen=True)
class Limit:
    """What a circuit may take: LUTs, DSPs and block RAM of 18 kbit, of a family ('ecp5', 'xc7', 'xcup')."""

    luts: int
    dsps: int
    block_rams: int = 10**9
    family: str = "xcup"

    def room(self, area: Area) -> bool:
        """Whether a circuit of this size fits."""
        return area.luts <= self.luts and area.dsps <= self.dsps and area.block_rams <= self.block_rams


DEVICES = {
    "ecp5-25k": Limit(24_288, 28, 56, "ecp5"),
    "ecp5-45k": Limit(43_848, 72, 108, "ecp5"),
    "ecp5-85k": Limit(83_640, 156, 208, "ecp5"),
    "xc7a35t": Limit(20_800, 90, 100, "xc7"),
    "xc7a100t": Limit(63_400, 240, 270, "xc7"),
    "xc7z020": Limit(53_200, 220, 280, "xc7"),
    "xc7k325t": Limit(203_800, 840, 890, "xc7"),
    "xczu9eg": Limit(274_080, 2_520, 1_824),
    "xcvu9p": Limit(1_182_240, 6_840, 4_320),
    "xcvu13p": Limit(1_728_000, 12_288, 5_376),
}
"""What whole devices have. AMD counts block RAM of 36 kbit, each of which is two of 18.

**Source:** nextpnr-ecp5's totals of TRELLIS_COMB, MULT18X18D and DP16KD, as in Lattice FPGA-DS-02012 (ECP5 family);
the totals of Vivado's utilisation reports (of the xcvu13p those of the xcu250, the same die), as in AMD DS180 (7 series
overview), DS190 (Zynq-7000), DS890 (UltraScale architecture) and DS891 (Zynq UltraScale+).
"""

LARGEST = "xcvu13p"

# Of the bits that trees choose between, those that a circuit has: not all leaves need all bits of the tree's largest.
# Of the bits that are added, the positions of carry chains.
CHOSEN, ADDED = 0.95, 0.61
GROWING = 0.68  # of the bits of a sum of products, the mean of all adders on the way to it


class TooLarge(DoesNotFit):
    """Raised for a model that needs more than the limit."""


def limit_of(area: str | Limit) -> Limit:
    """The limit of a device. Raises ValueError for an unknown name."""
    if isinstance(area, Limit):
        return area
    if area not in DEVICES:
        raise ValueError(f"area is a Limit or one of {', '.join(DEVICES)}, not {area!r}")
    return DEVICES[area]


def require_room(split: Split, area: str | Limit) -> None:
    """Raise TooLarge if the circuit of a graph does not fit."""
    require(size(split, limit_of(area).family), area)


def require(needed: Area, area: str | Limit) -> None:
    """Raise TooLarge for what does not fit."""
    limit = limit_of(area)
    if limit.room(needed):
        return
    name = f" ({area})" if isinstance(area, str) else ""
    raise TooLarge(
        f"it needs about {amount(needed.luts)} LUTs, {amount(needed.dsps)} DSPs and {amount(needed.block_rams)} block "
        f"RAMs; the limit{name} is {amount(limit.luts)}, {amount(limit.dsps)} and {amount(limit.block_rams)}"
    )


def amount(count: int) -> str:
    """A number in words: 4,800, 1.2 million."""
    return f"{count / 1e6:.1f} million" if count >= 1_000_000 else f"{count:,}"


def size(split: Split, family: str) -> Area:
    """About what the circuit of a graph takes of a family."""
    return estimate(counts(split), family)


def counts(split: Split) -> Counts:
    """About how many operations of each kind the circuit has, by the bits that they take: see `estimate.Counts`."""
    graph = Graph({str(i): fixed.op for i, fixed in enumerate(split.exits.values())})
    outside = {e.before for e in split.entrances.values()}
    inside = [op for op in within(graph, outside) if not isinstance(op, Input | Const)]
    found: Counter[tuple[str, int]] = Counter()
    for op in inside:
        bits = max((split.widths.get(o, 0) for o in (op, *op.operands)), default=0) or 16
        found.update(operations(op, bits))
    for fixed in split.exits.values():
        if isinstance(fixed.op, ops.Descend | ops.DescendSymmetric):
            found["choice", fixed.bits] += sum(part.stop - part.start - 1 for part in leaf_ranges(fixed.op))
    return found


def within(graph: Graph, outside: set[Op]) -> list[Op]:
    """The operators of a graph without what these need."""
    stops: Mapping[Op, Op] = {op: Input(f"row{i}", op.type) for i, op in enumerate(outside)}
    kept: list[Op] = []
    needed = set(graph.outputs.values())
    for op in reversed(graph.order):
        if op in needed and op not in stops:
            kept.append(op)
            needed.update(op.operands)
    return kept


def wide_compares(op: RankBits | RankWhole) -> Counter[tuple[str, int]]:
    """Of what comes as it is with thresholds."""
    if isinstance(op, RankWhole):
        return Counter(("compare", 1 + int(bound).bit_length()) for bound in op.boundaries)
    wide = op.boundaries.dtype.itemsize * 8
    return Counter({("compare", wide): len(op.boundaries), ("adder", wide): 2 * len(op.source)})


def operations(op: Op, bits: int) -> Counter[tuple[str, int]]:
    """What an operator takes. bits: of the widest value around it."""
    columns = int(np.prod([int(d) for d in op.shape[1:]]))
    match op:
        case ops.Descend() | ops.DescendSymmetric():
            return compares(op.column, op.rank)
        case RankBits() | RankWhole():
            return wide_compares(op)
        case ops.LeafSum():
            return sum_of_leaves(op)
        case ops.WeightedSum():
            weights = np.unique(op.weights, axis=1)
            factors = int((~powers(weights)).sum())
            terms = int(np.maximum((weights != 0).sum(axis=0) - 1, 0).sum())
            added = round(GROWING * bits * terms)
            return Counter({("constant multiplier", bits_of_factors(op, bits)): factors, ("adder", 1): added})
        case ops.Mul(y=Const(value=value)):
            factors = np.broadcast_to(value.reshape(-1), columns)
            return Counter({("constant multiplier", bits): int((~powers(factors)).sum())})
        case ops.Mul():
            return Counter({("multiplier", (bits + 1) // 2): columns})
        case ops.Add() | ops.Sub() | ops.ShiftRight() | ops.Saturate():
            return Counter({("adder", bits): columns})
        case ops.Take():
            table = op.operands[0]
            entries = table.value if isinstance(table, Const) else np.zeros(1)
            return Counter({("table", width(int(entries.min()), int(entries.max()))): entries.size * columns})
        case ops.Lines():
            slope = width(int(op.slope.min()), int(op.slope.max()))
            word, factor = ("table", word_bits(op)), ("multiplier", max(slope, op.low))
            return Counter({word: len(op.base) * columns, factor: columns, ("adder", bits): columns})
    return Counter()


def compares(column: np.ndarray, rank: np.ndarray) -> Counter[tuple[str, int]]:
    """The compares of codes with ranks, each once. The codes of a column are as wide as its largest rank."""
    found: Counter[tuple[str, int]] = Counter()
    pairs = np.unique(column.astype(np.int64) << 32 | rank)
    for ranks in np.split(pairs & 0xFFFFFFFF, np.flatnonzero(np.diff(pairs >> 32)) + 1):
        found.update(compares_of(int(ranks.max(initial=1)).bit_length(), set(ranks.tolist())))
    return found


def compares_of(bits: int, ranks: set[int]) -> Counter[tuple[str, int]]:
    """The compares of one value with ranks; wide ones are made of those of its halves, as Design.at_least does."""
    if not AT_ONCE < bits <= GATED:
        return Counter({("compare", bits): len(ranks)})
    half = (bits + 1) // 2
    high = {r >> half for r in ranks} | {(r >> half) + 1 for r in ranks if r % (1 << half)}
    low = {r % (1 << half) for r in ranks}
    parts = compares_of(bits - half, high & set(range(1, 1 << bits - half))) + compares_of(half, low - {0})
    return parts + Counter({("compare", 3): len(ranks)})


def sum_of_leaves(op: ops.LeafSum) -> Counter[tuple[str, int]]:
    """What chooses the leaves of trees and adds them up: a tree's numbers are as wide as its largest needs."""
    parts = leaf_ranges(op.leaves)
    starts, leaves = [part.start for part in parts], np.array([part.stop - part.start for part in parts])
    widths = np.frexp(np.maximum.reduceat(op.values, starts, axis=0))[1]  # [T, K]
    chosen, added = int(((leaves - 1) @ widths).sum()), int(widths.sum())
    return Counter({("choice", 1): round(CHOSEN * chosen), ("counter", 1): round(ADDED * added)})


def bits_of_factors(op: ops.WeightedSum, bits: int) -> int:
    """The wider factor of a product of a sum, of which `bits` is the widest value around."""
    return min(bits, max(width(int(op.weights.min(initial=0)), int(op.weights.max(initial=0))), bits // 2))


def powers(weights: np.ndarray) -> np.ndarray:
    """Which of these are 0 or +-2^k, so that no product is needed."""
    size = np.abs(weights)
    return (size & (size - 1)) == 0
