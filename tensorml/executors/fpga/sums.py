"""Sums of many small numbers: each stage turns columns of bits into numbers, until one carry chain takes all the rest.

A position of a carry chain adds a bit to what a LUT computes from others. Adding two bits leaves most inputs of that
LUT unused; here it counts up to five more bits. So three positions take nine bits in and give four: a carry, a number
of three bits, and five bits that are counted to another number of three.
**Source:** generalised parallel counters: Kumm and Zipf, "Pipelined compressor tree optimization using integer linear
programming", FPL 2014; here without a LUT's second output, which Yosys does not use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tensorml.executors.fpga.design import Design, Signal, number

Columns = list[list["Bit"]]  # for each power of two the bits to be added


@dataclass(frozen=True)
class Bit:
    """A bit of a number, counted from the lowest."""

    signal: Signal
    place: int


@dataclass(frozen=True)
class Shape:
    """Neighbouring positions of a carry chain, whose LUTs count `units` bits of the lowest one and `twos` of the next.

    Beside them each position takes one bit, and the lowest one of a chain takes a carry.
    """

    units: int
    twos: int = 0

    @property
    def positions(self) -> int:
        """The bits of the largest count."""
        return (self.units + 2 * self.twos).bit_length()

    def takes_all(self, columns: Columns, first: int, carry: bool) -> bool:
        """Whether it leaves no bit at its positions."""
        most = [self.units + 1 + carry, self.twos + 1, 1]
        return all(
            len(column) <= take for column, take in zip(columns[first : first + self.positions], most, strict=False)
        )


# Shapes of a chain with what has to be there in its lowest column and the next. Dense ones take three bits or more for
# two that they give; sparse ones are for what these leave.
DENSE = [(Shape(5), 7, 0), (Shape(4, 1), 6, 2), (Shape(3, 2), 5, 3), (Shape(3), 5, 1)]
SPARSE = [(Shape(3), 5, 0), (Shape(1), 3, 0)]
LAST = [Shape(1), Shape(3), Shape(5), Shape(4, 1), Shape(3, 2)]


LONGEST = 8  # positions of a carry chain of several sums: its end has to wait for its beginning, as tools see it


@dataclass(frozen=True)
class Part:
    """What neighbouring positions of a carry chain add: a bit at each that has one, and the count of other bits."""

    beside: tuple[Bit | None, ...]
    units: tuple[Bit, ...]
    twos: tuple[Bit, ...]


@dataclass(frozen=True)
class Chain:
    """A carry chain from the column `first` on."""

    first: int
    parts: tuple[Part, ...]
    carry: Bit | None

    @property
    def ready(self) -> int:
        """The stage at which all of its bits are there."""
        parts = [bit for part in self.parts for bit in (*part.beside, *part.units, *part.twos)]
        return max(bit.signal.stage for bit in [*parts, self.carry] if bit is not None)

    @property
    def positions(self) -> int:
        """Its bits but the last carry."""
        return sum(len(part.beside) for part in self.parts)

    @property
    def high(self) -> int:
        """Its largest sum, if any of its bits may be 1 when others are."""
        most, place = int(self.carry is not None), 0
        for part in self.parts:
            for i, bit in enumerate(part.beside):
                most += (bit is not None) << place + i
            most += len(part.units) + 2 * len(part.twos) << place
            place += len(part.beside)
        return most


def total(design: Design, stem: str, note: str, terms: Sequence[Signal]) -> Signal:
    """The sum of many signals. Those that can be negative are added two at a time."""
    fixed = sum(t.low for t in terms if t.constant)
    signed = [t for t in terms if t.signed and not t.constant]
    counted = [t for t in terms if not t.signed and not t.constant]
    if len(counted) > 2:
        counted = [compressed(design, stem, note, counted)]
    return design.adder_tree(stem, note, [*signed, *counted, number(fixed)])


def compressed(design: Design, stem: str, note: str, terms: Sequence[Signal]) -> Signal:
    """The sum of signals that are not negative. It is computed modulo the least power of two that it is below."""
    low, high = sum(t.low for t in terms), sum(t.high for t in terms)
    columns: Columns = [[] for _ in range(high.bit_length())]
    waiting = sorted(terms, key=lambda t: t.stage, reverse=True)
    stage = waiting[-1].stage
    while True:
        while waiting and waiting[-1].stage <= stage:
            spread(columns, waiting.pop(), 0)
        chain = None if waiting else last_chain(columns)
        if chain is not None:
            return finished(design, stem, note, columns, chain, stage, (low, high))
        chains = list(reducing(columns, DENSE)) or list(reducing(columns, () if waiting else SPARSE))
        for begin, together in neighbours(chains, stage):
            highs = [min(chain.high, (1 << len(columns) - chain.first) - 1) for chain in together]
            for chain, signal in zip(together, side_by_side(design, stem, note, together, begin, highs), strict=True):
                spread(columns, signal, chain.first)
        stage += 1


def spread(columns: Columns, signal: Signal, first: int) -> None:
    """Put the bits of a signal into the columns from `first` on."""
    for place, column in enumerate(columns[first : first + signal.width]):
        column.append(Bit(signal, place))


def last_chain(columns: Columns) -> Chain | None:
    """The chain after which each column has a bit at most, if there is one; it takes what it adds."""
    first = place = next((i for i, column in enumerate(columns) if len(column) > 1), len(columns))
    shapes: list[Shape] = []
    while place < len(columns):
        shape = next((s for s in LAST if s.takes_all(columns, place, carry=place == first)), None)
        if shape is None:
            return None
        shapes.append(shape)
        place += shape.positions
    return taken(columns, first, shapes)


def reducing(columns: Columns, shapes: Iterable[tuple[Shape, int, int]]) -> Iterator[Chain]:
    """Chains of one part each, as many as there are bits for."""
    for first in range(len(columns)):
        heights = [*(len(column) for column in columns[first:]), 0]
        while fits := [s for s, here, above in shapes if heights[0] >= here and heights[1] >= above]:
            yield taken(columns, first, fits[:1])
            heights = [*(len(column) for column in columns[first:]), 0]


def taken(columns: Columns, first: int, shapes: Iterable[Shape]) -> Chain:
    """A chain of such parts, made of the bits that have waited longest."""
    parts: list[Part] = []
    place = first
    for shape in shapes:
        here = [*columns[place : place + shape.positions], [], []]
        beside = tuple(column.pop(0) if column else None for column in here[: shape.positions])
        units = tuple(here[0].pop(0) for _ in range(min(shape.units, len(here[0]))))
        twos = tuple(here[1].pop(0) for _ in range(min(shape.twos, len(here[1]))))
        parts.append(Part(beside, units, twos))
        place += shape.positions
    carry = columns[first].pop(0) if parts and columns[first] and shapes else None
    return Chain(first, tuple(parts), carry)


def added(design: Design, stem: str, note: str, chain: Chain, stage: int, limits: tuple[int, int]) -> Signal:
    """The sum of a chain, one stage later."""
    beside = [bit for part in chain.parts for bit in part.beside]
    counts = [text for part in chain.parts for text in counted(design, part, stage)]
    terms = [joined(design, beside, stage)]
    if any(part.units or part.twos for part in chain.parts):
        terms.append(counts[0] if len(counts) == 1 else f"{{{', '.join(reversed(counts))}}}")
    if chain.carry is not None:
        terms.append(joined(design, [chain.carry], stage))
    return design.register(stem, note, " + ".join(terms), *limits, stage, ("counter", len(beside)))


def neighbours(chains: Iterable[Chain], stage: int) -> Iterator[tuple[int, list[Chain]]]:
    """The chains that become one, up to so many positions, and the stage that they begin at, `stage` at the latest.

    Of three bits and their sum, the sum waits, which is two. Where it would wait two cycles, bits and sum wait one
    each: what waits two takes the LUT of a shift register.
    """
    by_stage: dict[int, list[Chain]] = {}
    for chain in chains:
        begin = chain.ready + (stage - chain.ready == 2)
        by_stage.setdefault(begin, []).append(chain)
    for begin, ready in by_stage.items():
        together: list[Chain] = []
        for chain in ready:
            if sum(c.positions + 1 for c in [*together, chain]) > LONGEST:
                yield begin, together
                together = []
            together.append(chain)
        yield begin, together


def side_by_side(
    design: Design, stem: str, note: str, chains: Sequence[Chain], stage: int, highs: Sequence[int]
) -> list[Signal]:
    """The sums of chains, one stage later, by one carry chain: short ones of their own would be gates on ECP5.

    Between two of them is a position that ends the one, where its carry comes out, and begins the next: it adds the
    next one's carry to itself.
    """
    if len(chains) == 1:
        return [added(design, stem, note, chains[0], stage, (0, highs[0]))]
    first, second = [], []
    for chain in chains:
        carry = run_text(design, [chain.carry], stage)
        first += [carry] * bool(first) + [joined(design, [b for part in chain.parts for b in part.beside], stage)]
        second += [carry] * bool(second) + [text for part in chain.parts for text in counted(design, part, stage)]
    text = f"{{{', '.join(reversed(first))}}} + {{{', '.join(reversed(second))}}}"
    if chains[0].carry is not None:
        text += f" + {run_text(design, [chains[0].carry], stage)}"
    width = sum(chain.positions + 1 for chain in chains)
    kind = "counter", sum(chain.positions for chain in chains)
    all_sums = design.register(f"{stem}s", note, text, 0, (1 << width) - 1, stage, kind)
    found, place = [], 0
    for chain, high in zip(chains, highs, strict=True):
        size = high.bit_length()
        part = f"{all_sums.name}[{place + size - 1}:{place}]"
        found.append(design.wire(stem, part, 0, high, stage + 1))
        place += chain.positions + 1
    return found


def counted(design: Design, part: Part, stage: int) -> Iterator[str]:
    """The count of a part at all of its positions, from the lowest."""
    positions, units, twos = len(part.beside), len(part.units), len(part.twos)
    size = (units + 2 * twos).bit_length()
    if units > 1 or (units and twos):
        yield f"{design.counter(units, twos)}({joined(design, [*part.units, *part.twos], stage)})"
    elif size:
        yield joined(design, [*(part.units or [None]), *part.twos], stage)
    if size < positions:
        yield f"{positions - size}'d0"


def joined(design: Design, bits: Sequence[Bit | None], stage: int) -> str:
    """Bits side by side, from the lowest to the highest; None is 0."""
    runs: list[list[Bit | None]] = []
    for bit in bits:
        last = runs[-1][-1] if runs else None
        if runs and (bit is last is None or (bit and last and bit == Bit(last.signal, last.place + 1))):
            runs[-1].append(bit)
        else:
            runs.append([bit])
    parts = [run_text(design, run, stage) for run in reversed(runs)]
    return parts[0] if len(parts) == 1 else f"{{{', '.join(parts)}}}"


def run_text(design: Design, run: Sequence[Bit | None], stage: int) -> str:
    """Zeros, or neighbouring bits of a signal."""
    first, last = run[0], run[-1]
    if first is None or last is None:
        return f"{len(run)}'d0"
    name = design.at(first.signal, stage, len(run)).name
    if len(run) == first.signal.width:
        return name
    return f"{name}[{first.place}]" if len(run) == 1 else f"{name}[{last.place}:{first.place}]"


def finished(
    design: Design, stem: str, note: str, columns: Columns, chain: Chain, stage: int, limits: tuple[int, int]
) -> Signal:
    """The last chain's sum, with the bits below it."""
    below = [column[0] if column else None for column in columns[: chain.first]]
    if not below:
        return added(design, stem, note, chain, stage, limits)
    if not chain.parts:
        return design.wire(stem, joined(design, below, stage), *limits, stage)
    upper = added(design, stem, note, chain, stage, (0, limits[1] >> chain.first))
    bits = [*below, *(Bit(upper, place) for place in range(upper.width))]
    return design.wire(stem, joined(design, bits, stage + 1), *limits, stage + 1)
