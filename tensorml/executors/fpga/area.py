"""Whether a model fits a device: its size, estimated from the integers that it becomes, before any circuit is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.circuit import Kind
from tensorml.executors.fpga.curves import word_bits
from tensorml.executors.fpga.design import AT_ONCE, GATED
from tensorml.executors.fpga.estimate import estimate
from tensorml.executors.fpga.fixed import DoesNotFit, width
from tensorml.executors.fpga.grid import RankWhole
from tensorml.executors.fpga.leaves import leaf_ranges
from tensorml.executors.fpga.patterns import RankBits
from tensorml.executors.fpga.split import Split
from tensorml.executors.fpga.synthesis import Area
from tensorml.graph import Const, Graph, Input, Op

NO_LIMIT = 10**9


@dataclass(frozen=True)
class Limit:
    """What a circuit may take: LUTs, DSPs and block RAM of 18 kbit, of a family ('ecp5', 'xc7', 'xcup')."""

    luts: int
    dsps: int
    block_rams: int = NO_LIMIT
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

**Source:** of the ECP5, what nextpnr-ecp5 0.11 says that it has of TRELLIS_COMB, MULT18X18D and DP16KD. Of AMD's,
copies in public repositories: totals in reports of Vivado and HLS (xc7z020, xc7k325t, xczu9eg, xcvu9p, and xcu250:
the same die as xcvu13p), and boards' manuals (xc7a35t, xc7a100t). The data sheets (AMD DS180, DS190, DS890, DS891;
Lattice FPGA-DS-02012) were not opened.
"""

LARGEST = "xcvu13p"

ADDED = 0.61  # of the bits of leaves that are added, the positions of carry chains
FEW = 16  # leaves, up to which it is looked which bits of them are alike


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
    """A number in words: 4,800, 1.2 million; or that there is no limit."""
    if count >= NO_LIMIT:
        return "any number"
    return f"{count / 1e6:.1f} million" if count >= 1_000_000 else f"{count:,}"


def size(split: Split, family: str) -> Area:
    """About what the circuit of a graph takes of a family."""
    return estimate(counts(split), family)


def counts(split: Split) -> Counter[Kind]:
    """About how many operations of each kind the circuit has: see `estimate.Counts`. Registers are left out."""
    graph = Graph({str(i): fixed.op for i, fixed in enumerate(split.exits.values())})
    outside = {e.before for e in split.entrances.values()}
    inside = [op for op in within(graph, outside) if not isinstance(op, Input | Const)]
    sizes = Sizes(split)
    found: Counter[Kind] = Counter()
    for op in inside:
        found.update(operations(op, sizes))
    for fixed in split.exits.values():
        if isinstance(fixed.op, ops.Descend | ops.DescendSymmetric):
            for part in leaf_ranges(fixed.op):
                found["choice", chosen_by(part, fixed.op)] += fixed.bits
    return found


class Sizes:
    """The ranges and the bits of the columns of the operators of a split's circuit."""

    def __init__(self, split: Split):
        known = [*split.values.values(), *(e.fixed for e in split.entrances.values())]
        self._found = {fixed.op: (fixed.low, fixed.high) for fixed in known}
        self._found |= {e.before: (e.fixed.low, e.fixed.high) for e in split.entrances.values()}

    def ends(self, op: Op) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest integer of each column, int64."""
        if op not in self._found:
            low, high = self._computed(op)
            self._found[op] = np.minimum(low, high), np.maximum(low, high)
        return self._found[op]

    def _computed(self, op: Op) -> tuple[np.ndarray, np.ndarray]:
        """From the operands; where there is no rule, as far as these reach."""
        given = [self.ends(o) for o in op.operands if not isinstance(o, Const)]
        low, high = given[0] if given else (np.zeros(1, np.int64), np.zeros(1, np.int64))
        match op:
            case ops.WeightedSum(weights=w):
                more, less = np.maximum(w, 0), np.minimum(w, 0)
                return low @ more + high @ less, high @ more + low @ less
            case ops.Add(y=Const(value=value)):
                return low + value.reshape(-1), high + value.reshape(-1)
            case ops.Mul(y=Const(value=value)):
                return low * value.reshape(-1), high * value.reshape(-1)
            case ops.Add():
                return low + given[1][0], high + given[1][1]
            case ops.ShiftRight():
                half = int(op.nearest) << op.shift - 1
                return low + half >> op.shift, high + half >> op.shift
            case ops.Saturate():
                return op.low.reshape(-1), op.high.reshape(-1)
            case ops.Columns():
                return low[op.indices], high[op.indices]
        ends = [int(f(end)) for f, end in ((np.min, low), (np.max, high))] if given else [0, 1]
        return np.full(columns_of(op), ends[0]), np.full(columns_of(op), ends[1])

    def largest(self, op: Op) -> np.ndarray:
        """The largest absolute value of each column, float64."""
        low, high = self.ends(op)
        return np.maximum(np.abs(low), np.abs(high)).astype(np.float64)

    def bits(self, op: Op) -> np.ndarray:
        """The bits of each column with a sign, int64."""
        return bits_of(self.largest(op))


def bits_of(values: np.ndarray) -> np.ndarray:
    """The bits of integers and their sign."""
    return np.frexp(np.abs(values).astype(np.float64))[1].astype(np.int64) + 1


def columns_of(op: Op) -> int:
    """How many numbers a row has."""
    return int(np.prod([int(d) for d in op.shape[1:]]))


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


def wide_compares(op: RankBits | RankWhole) -> Counter[Kind]:
    """Of what comes as it is with thresholds."""
    if isinstance(op, RankWhole):
        found: Counter[Kind] = Counter()
        for bounds in (op.column(k) for k in range(len(op.source))):
            found["compare", 1 + int(np.abs(bounds).max(initial=0)).bit_length()] += len(bounds)
        return found
    wide = op.boundaries.dtype.itemsize * 8
    return Counter({("compare", wide): len(op.boundaries) + 2 * len(op.source), ("adder", wide): len(op.source)})


def operations(op: Op, sizes: Sizes) -> Counter[Kind]:
    """What an operator takes."""
    columns = columns_of(op)
    match op:
        case ops.Descend() | ops.DescendSymmetric():
            return Counter() if isinstance(op.codes, RankBits | RankWhole) else compares(op.column, op.rank)
        case RankBits() | RankWhole():
            return wide_compares(op)
        case ops.LeafSum():
            return sum_of_leaves(op)
        case ops.WeightedSum():
            return weighted(op, sizes)
        case ops.Take():
            table = op.operands[0]
            entries = table.value if isinstance(table, Const) else np.zeros(1)
            return Counter({("table", width(int(entries.min()), int(entries.max())), entries.size): columns})
        case ops.Lines():
            return lines(op, int(sizes.bits(op).max()) + op.shift, columns)
    return elementwise(op, sizes)


def elementwise(op: Op, sizes: Sizes) -> Counter[Kind]:
    """What an operator takes that computes each column by itself."""
    match op:
        case ops.Mul(y=Const(value=value)):
            weights = np.broadcast_to(value.reshape(-1), columns_of(op))
            return shapes_of(weights, sizes.largest(op.x))[0]
        case ops.Mul():
            factors = np.sort(np.stack(np.broadcast_arrays(sizes.bits(op.x), sizes.bits(op.y))), axis=0)
            return Counter(("product", int(b), int(a), int(a + b - 1)) for a, b in factors.T)
        case ops.ShiftRight(nearest=False):
            return Counter()
        case ops.Add(y=Const()) | ops.Sub(y=Const()) | ops.ShiftRight():
            return Counter(("constant adder", int(b)) for b in sizes.bits(op))
        case ops.Add():
            return Counter(("adder", int(b)) for b in sizes.bits(op))
        case ops.Saturate():
            low, high = sizes.ends(op.x)
            below, above = op.low.reshape(-1), op.high.reshape(-1)
            sides = ((low < below) & (below != 0)).astype(int) + (high > above)
            return Counter({("limit", int(b)): int(n) for b, n in zip(sizes.bits(op.x), sides, strict=True)})
    return Counter()


def lines(op: ops.Lines, bits: int, columns: int) -> Counter[Kind]:
    """Of a function by straight lines. bits: of its result before the lowest ones are left out."""
    slope = width(int(op.slope.min()), int(op.slope.max()))
    rise = max(slope, op.low + 1), min(slope, op.low + 1), slope + op.low
    found: Counter[Kind] = Counter({("table", word_bits(op), len(op.base)): columns, ("product", *rise): columns})
    return found + Counter({("adder of product", bits, *rise): columns})


def weighted(op: ops.WeightedSum, sizes: Sizes) -> Counter[Kind]:
    """Products with weights, each once, and their sums, two at a time."""
    weights = np.unique(op.weights, axis=1)
    ordered, largest = np.sort(weights, axis=1), sizes.largest(op.x)
    first = np.diff(ordered, axis=1, prepend=ordered[:, :1] - 1) != 0
    found, odd = shapes_of(np.where(first, ordered, 0).ravel(), np.repeat(largest, weights.shape[1]))
    terms = (weights != 0).sum(axis=0)
    single = odd.total() / max(1, int(terms.sum()))  # the share of terms that a DSP of their own can add to others
    shape = max(odd, default=None)
    ends = bits_of(np.abs(weights).T.astype(np.float64) @ largest)
    for count, end in zip(terms.tolist(), ends.tolist(), strict=True):
        level = 0
        levels = (count - 1).bit_length() if count > 1 else 0
        while count > 1:
            level, pairs = level + 1, count // 2
            taken = round(pairs * (1 - (1 - single) ** 2)) if level == 1 and shape else 0
            size = max(2, end - (levels - level))
            found["adder", size] += pairs - taken
            if taken and shape:
                found["adder of product", size, *shape[1:]] += taken
            count -= pairs
    return found


def shapes_of(weights: np.ndarray, largest: np.ndarray) -> tuple[Counter[Kind], Counter[Kind]]:
    """The products of values, the largest of which are given, with weights, one of each, and those with odd weights."""
    kept = ~powers(weights)
    weights, largest = weights[kept], largest[kept]
    low = np.maximum(weights & -weights, 1)
    values = bits_of(largest) - ((largest == 1) & (weights > 0))  # a bit chooses a weight, without a sign
    factors = np.sort(np.stack([bits_of(weights // low), values]), axis=0)
    every = np.stack([factors[1], factors[0], bits_of(weights * largest)], axis=1)
    found, odd = (
        Counter({("constant product", *map(int, shape)): int(n) for shape, n in zip(*unique(rows), strict=True)})
        for rows in (every, every[low == 1])
    )
    return found, odd


def unique(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Different rows, and how many there are of each."""
    return np.unique(rows, axis=0, return_counts=True)


def compares(column: np.ndarray, rank: np.ndarray) -> Counter[Kind]:
    """The compares of codes with ranks, each once. The codes of a column are as wide as its largest rank."""
    found: Counter[Kind] = Counter()
    pairs = np.unique(column.astype(np.int64) << 32 | rank)
    for ranks in np.split(pairs & 0xFFFFFFFF, np.flatnonzero(np.diff(pairs >> 32)) + 1):
        found.update(compares_of(int(ranks.max(initial=1)).bit_length(), set(ranks.tolist())))
    return found


def compares_of(bits: int, ranks: set[int]) -> Counter[Kind]:
    """The compares of one value with ranks; wide ones are made of those of its halves, as Design.at_least does."""
    if not AT_ONCE < bits <= GATED:
        return Counter({("compare", bits): len(ranks)})
    half = (bits + 1) // 2
    high = {r >> half for r in ranks} | {(r >> half) + 1 for r in ranks if r % (1 << half)}
    low = {r % (1 << half) for r in ranks}
    parts = compares_of(bits - half, high & set(range(1, 1 << bits - half))) + compares_of(half, low - {0})
    return parts + Counter({("choice", 3): len(ranks)})


def sum_of_leaves(op: ops.LeafSum) -> Counter[Kind]:
    """What chooses the leaves of trees and adds them up: a tree's numbers are as wide as its largest needs."""
    parts = leaf_ranges(op.leaves)
    found: Counter[Kind] = Counter()
    starts = [part.start for part in parts]
    widths = np.frexp(np.maximum.reduceat(op.values, starts, axis=0))[1]  # [T, K]
    for part, sizes in zip(parts, widths, strict=True):
        values = op.values[part.start : part.stop]
        bits = [different(values[:, k], int(size)) for k, size in enumerate(sizes)]
        found["choice", chosen_by(part, op.leaves)] += sum(bits)
    found["counter", 1] += round(ADDED * int(widths.sum()))
    return found


def chosen_by(part: slice, leaves: Op) -> int:
    """How many bits choose between a tree's leaves, at most."""
    others = part.stop - part.start - 1
    return others.bit_length() if isinstance(leaves, ops.DescendSymmetric) else others


def different(values: np.ndarray, size: int) -> int:
    """Of the bits of a tree's leaves those that are neither constant nor like another one."""
    if len(values) > FEW:
        return size
    bits = values.astype(np.int64)[:, None] >> np.arange(size) & 1
    return len({column.tobytes() for column in bits.T if np.ptp(column)})


def powers(weights: np.ndarray) -> np.ndarray:
    """Which of these are 0 or +-2^k, so that no product is needed."""
    size = np.abs(weights)
    return (size & (size - 1)) == 0
