"""A pipeline under construction: integers on wires, each valid at one stage, and the Verilog that they become."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tensorml.executors.fpga.circuit import Circuit, Field, Kind
from tensorml.executors.fpga.fixed import width

ALWAYS = -1  # the stage of constants
GATED = 16  # bits, up to which a compare with a constant is gates: `>=` takes a carry chain in some families
AT_ONCE = 5  # bits, up to which such a compare takes one stage
PARTS = "Compares of the high and the low bits of codes, which the thresholds of a column share"


@dataclass(frozen=True)
class Signal:
    """An integer from `low` to `high` under a name, valid `stage` cycles after the row came in.

    It is signed, in two's complement, if it can be negative.
    """

    name: str
    low: int
    high: int
    stage: int

    @property
    def signed(self) -> bool:
        """Whether it is declared so."""
        return self.low < 0

    @property
    def width(self) -> int:
        """Its bits."""
        return max(1, width(self.low, self.high))

    @property
    def constant(self) -> bool:
        """Whether it is a number."""
        return self.stage == ALWAYS

    def text(self, signed: bool) -> str:
        """In an expression whose operands are all signed, or all unsigned."""
        if self.constant:
            size = abs(self.low).bit_length() + signed
            return f"{'-' if self.low < 0 else ''}{max(1, size)}'{'s' if signed else ''}d{abs(self.low)}"
        return f"$signed({{1'b0, {self.name}}})" if signed and not self.signed else self.name


@dataclass(frozen=True)
class Coded:
    """A code that is not formed: it is at least k + 1 where an integer is at least bounds[k]."""

    signal: Signal
    bounds: tuple[int, ...]


def number(value: int) -> Signal:
    """A constant."""
    return Signal("", value, value, ALWAYS)


def stages_of_compares(x: Signal) -> int:
    """How many stages Design.at_least takes."""
    if x.constant or (x.low, x.high) == (0, 1):
        return 0
    if x.signed or not AT_ONCE < x.width <= GATED:
        return 1
    half = (x.width + 1) // 2
    return 1 + stages_of_compares(Signal("", 0, (1 << half) - 1, 0))


def at_least_by_gates(x: Signal, bound: int) -> str:
    """X >= bound, for x that is not negative and bound from 1 on: bit after bit of bound - 1, which x has to exceed."""
    text = ""
    for place in range(x.width):
        bit = f"{x.name}[{place}]" if x.width > 1 else x.name
        if (bound - 1) >> place & 1:
            text = text and f"{bit} & {text if '|' not in text else f'({text})'}"
        else:
            text = f"{bit} | {text}" if text else bit
    return text


def kind_of_product(x: Signal, y: Signal, size: int) -> Kind:
    """Of a product of `size` bits: of two values, or of one with a constant, the bits of the wider and the other one.

    The bits are those of signed numbers, as DSPs multiply them; what makes a constant even is left out.
    """
    low = y.low // max(1, y.low & -y.low) if y.constant else 0
    bit = x.width == 1 and not x.signed and not y.signed  # which chooses, without a sign
    first = 1 if bit else x.width + (not x.signed)
    factors = first, width(low, low) + (low > 0) if y.constant else y.width + (not y.signed)
    return "constant product" if y.constant else "product", max(factors), min(factors), size


@dataclass
class Stage:
    """What is computed from one edge of the clock to the next: the registers that it ends in, by what they are for."""

    notes: dict[str, list[tuple[Signal, str]]] = field(default_factory=lambda: defaultdict(list))
    delays: list[tuple[Signal, str]] = field(default_factory=list)


class Design:
    """Registers, stage after stage. Every expression becomes a register, so a stage is one operation deep.

    Ranges are computed with the expressions: a register always has the bits that its values need.
    """

    def __init__(self) -> None:
        self.inputs: list[Signal] = []
        self.stages: dict[int, Stage] = defaultdict(Stage)
        self.wires: list[tuple[Signal, str]] = []
        self.tables: dict[tuple[int, ...], str] = {}
        self.counters: dict[tuple[int, int], str] = {}
        self.counts: Counter[Kind] = Counter()
        self.functions: set[object] = set()  # that bits of trees' leaves are, each counted once
        self._products: dict[str, Kind] = {}  # those whose lowest bit is not always 0
        self._sums: dict[str, tuple[int, list[str]]] = {}  # that read products: their bits, and which ones
        self._names: Counter[str] = Counter()
        self._known: dict[tuple[str, int], Signal] = {}
        self._delayed: dict[Signal, list[Signal]] = {}
        self._bits: dict[Signal, int] = {}  # those that differ from each other
        self._read: dict[Signal, Counter[int]] = defaultdict(Counter)  # bits, by how many stages later

    def name(self, stem: str) -> str:
        """A name that no other signal has."""
        self._names[stem] += 1
        return f"{stem}_{self._names[stem] - 1}"

    def input(self, name: str, low: int, high: int) -> Signal:
        """A field of the row."""
        signal = Signal(name, low, high, 0)
        self.inputs.append(signal)
        return signal

    def register(
        self,
        stem: str,
        note: str,
        expression: str,
        low: int,
        high: int,
        stage: int,
        made_of: Kind | None = None,
        times: int = 1,
        bits: int | None = None,
    ) -> Signal:
        """The value of an expression of signals of `stage`, one stage later. The same expression is computed once.

        made_of: the kind and the bits of the operations in it, for `counts`; times: how many they are; bits: those of
        the value that are not always alike, if that is known.
        """
        if low == high:
            return number(low)
        known = self._known.get((expression, stage))
        if known is None:
            known = Signal(self.name(stem), low, high, stage + 1)
            self.stages[stage].notes[note].append((known, expression))
            self._bits[known] = known.width if bits is None else bits
            self.counts["register", self._bits[known]] += 1
            if made_of is not None:
                self.counts[made_of] += times
            self._known[expression, stage] = known
        return known

    def wire(self, stem: str, expression: str, low: int, high: int, stage: int) -> Signal:
        """The value of an expression in the same stage."""
        known = self._known.get((expression, stage))
        if known is None:
            known = Signal(self.name(stem), low, high, stage)
            self.wires.append((known, expression))
            self._known[expression, stage] = known
        return known

    def at(self, signal: Signal, stage: int, bits: int | None = None) -> Signal:
        """The signal, delayed to a stage. bits: how many of it are read there; None: all."""
        self._read[signal][stage - signal.stage] += signal.width if bits is None else bits
        if signal.constant or signal.stage == stage:
            return signal
        chain = self._delayed.setdefault(signal, [signal])
        while signal.stage + len(chain) <= stage:
            last = chain[-1]
            later = Signal(f"{signal.name}_d{len(chain)}", signal.low, signal.high, last.stage + 1)
            self.stages[last.stage].delays.append((later, last.name))
            chain.append(later)
        return chain[stage - signal.stage]

    def aligned(self, *signals: Signal) -> tuple[int, list[Signal]]:
        """The signals at the stage of the latest of them, and that stage."""
        stage = max((s.stage for s in signals), default=0)
        return max(0, stage), [self.at(s, stage) for s in signals]

    def sum(self, stem: str, note: str, terms: Sequence[Signal], unread: int = 0) -> Signal:
        """The sum of some signals, in one stage. unread: how many of its lowest bits nothing reads."""
        fixed = sum(t.low for t in terms if t.constant)
        parts = [t for t in terms if not t.constant]
        parts += [number(fixed)] if fixed or not parts else []
        if len(parts) == 1:
            return parts[0]
        stage, parts = self.aligned(*parts)
        low, high = sum(t.low for t in parts), sum(t.high for t in parts)
        signed = any(t.signed for t in parts)
        text = " + ".join(t.text(signed) for t in parts)
        size, constant = width(low, high), fixed and len(parts) == 2
        kind = ("constant adder", size - (fixed & -fixed).bit_length() + 1) if constant else ("adder", size)
        result = self.register(stem, note, text, low, high, stage, kind, len(parts) - 1, size - unread)
        products = [part.name for part in parts if part.name in self._products]
        if kind[0] == "adder" and products:
            self._sums[result.name] = kind[1], products
        return result

    def adder_tree(self, stem: str, note: str, terms: Sequence[Signal], at_once: int = 2) -> Signal:
        """The sum of many signals, `at_once` of them a stage."""
        fixed = sum(t.low for t in terms if t.constant)
        level = [t for t in terms if not t.constant]
        while len(level) > 1:
            level.sort(key=lambda t: (t.stage, t.width))
            groups = math.ceil(len(level) / at_once)
            level = [self.sum(stem, note, level[g * at_once : (g + 1) * at_once]) for g in range(groups)]
        return self.sum(stem, note, [*level, number(fixed)])

    def product(self, stem: str, note: str, x: Signal, y: Signal) -> Signal:
        """The product x * y."""
        x, y = (y, x) if x.constant else (x, y)
        if y.constant and y.low == 1:
            return x
        corners = [p * q for p in (x.low, x.high) for q in (y.low, y.high)]
        low = max(0, min(corners)) if x == y else min(corners)
        stage, (x, y) = self.aligned(x, y)
        signed, size = x.signed or y.signed, width(low, max(corners))
        kind: Kind = kind_of_product(x, y, size)
        if y.constant and abs(y.low) & (abs(y.low) - 1) == 0:  # a shift, and the negative of it
            kind = "constant adder" if y.low < 0 else "shift", size
        result = self.register(stem, note, f"{x.text(signed)} * {y.text(signed)}", low, max(corners), stage, kind)
        if kind[0] == "product" or (kind[0] == "constant product" and y.low % 2):
            self._products[result.name] = kind
        return result

    def shift_right(self, stem: str, note: str, x: Signal, shift: int, nearest: bool = True) -> Signal:
        """The quotient x / 2^shift: the nearest, half up, or the one below."""
        half = int(nearest) << shift - 1
        rounded = self.sum(stem, note, [x, number(half)], unread=shift)
        low, high = (x.low + half) >> shift, (x.high + half) >> shift
        if low == high or rounded.constant:
            return number(low)
        operator = ">>>" if rounded.signed else ">>"
        return self.wire(f"{stem}_shifted", f"{rounded.name} {operator} {shift}", low, high, rounded.stage)

    def clamp(self, stem: str, note: str, x: Signal, low: int, high: int) -> Signal:
        """The nearest number from `low` to `high`."""
        if low <= x.low and x.high <= high:
            return x
        if x.high <= low or high <= x.low:
            return number(low if x.high <= low else high)
        text, expression = x.text(x.signed), ""
        if x.low < low:
            expression += f"{text} < {number(low).text(x.signed)} ? {number(low).text(x.signed)} : "
        if x.high > high:
            expression += f"{text} > {number(high).text(x.signed)} ? {number(high).text(x.signed)} : "
        kind, times = ("limit", x.width), expression.count("?") - (x.low < low == 0)  # registers can be reset to 0
        return self.register(stem, note, expression + text, max(low, x.low), min(high, x.high), x.stage, kind, times)

    def at_least(self, stem: str, note: str, x: Signal | Coded, bound: int) -> Signal:
        """Whether x >= bound, as 0 or 1."""
        if isinstance(x, Coded):
            known = 0 < bound <= len(x.bounds)
            return self.at_least(stem, note, x.signal, x.bounds[bound - 1]) if known else number(int(bound <= 0))
        if bound <= x.low or bound > x.high:
            return number(int(bound <= x.low))
        if (x.low, x.high, bound) == (0, 1, 1):
            return x
        gates = not x.signed and x.width <= GATED
        if gates and x.width > AT_ONCE:
            return self._at_least_by_halves(stem, note, x, bound)
        text = at_least_by_gates(x, bound) if gates else f"{x.text(x.signed)} >= {number(bound).text(x.signed)}"
        return self.register(stem, note, text, 0, 1, x.stage, ("compare", x.width))

    def _at_least_by_halves(self, stem: str, note: str, x: Signal, bound: int) -> Signal:
        """As at_least, from compares of the high bits and of the low bits, which many bounds share."""
        half = (x.width + 1) // 2
        above, below = bound >> half, bound & (1 << half) - 1
        high = self.wire(f"{x.name}_high", f"{x.name}[{x.width - 1}:{half}]", 0, x.high >> half, x.stage)
        low = self.wire(f"{x.name}_low", f"{x.name}[{half - 1}:0]", 0, (1 << half) - 1, x.stage)
        reached = self.at_least(f"{high.name}_ge{above}", PARTS, high, above)
        beyond = self.at_least(f"{low.name}_ge{below}", PARTS, low, below)
        passed = self.at_least(f"{high.name}_ge{above + 1}", PARTS, high, above + 1) if below else number(0)
        stage, (reached, passed, beyond) = self.aligned(reached, passed, beyond)
        both = " & ".join(part.name for part in (reached, beyond) if not part.constant)
        text = both if passed.constant else f"{passed.name} | {both}"
        inputs = sum(not part.constant for part in (reached, passed, beyond))
        return self.register(stem, note, text, 0, 1, stage, ("choice", inputs))

    def table(self, stem: str, note: str, index: Signal, values: Sequence[int]) -> Signal:
        """values[index]. index: from 0 to the number of values - 1."""
        values = tuple(values)
        name = self.tables.setdefault(values, f"{stem}_table_{len(self.tables)}")
        low, high = min(values), max(values)
        kind = "table", width(low, high), len(values)
        return self.register(stem, note, f"{name}({index.name})", low, high, index.stage, kind)

    def counter(self, units: int, twos: int) -> str:
        """The function that counts bits: so many ones, in its lowest bits, and so many twos."""
        return self.counters.setdefault((units, twos), f"count_{units}" + (f"_{twos}" if twos else ""))

    def finished(self, name: str, title: str, outputs: Sequence[tuple[str, Signal]]) -> Circuit:
        """The circuit with these results, all at one stage."""
        from tensorml.executors.fpga.verilog import module

        latest = max([1, *(signal.stage for _, signal in outputs)])
        results = [(label, self.at(signal, latest)) for label, signal in outputs]
        fields = tuple(Field(label, s.width, s.signed) for label, s in results)
        rows = tuple(Field(s.name, s.width, s.signed) for s in self.inputs)
        verilog = module(self, name, title, results, latest)
        return Circuit(name, verilog, rows, fields, latest, counts=self._counted(latest))

    def _counted(self, latency: int) -> Counter[Kind]:
        """The counts, with the valid bits, and those sums and delays apart that other cells than LUTs can be.

        A product's DSP can compute the sum that alone reads the product. A delay that nothing reads on its way can be a
        shift register.
        """
        counts = self.counts + Counter({("register", 1): latency})
        readers = Counter(name for _, products in self._sums.values() for name in products)
        readers.update(signal.name for signal, chain in self._delayed.items() if len(chain) > 1)
        for size, products in self._sums.values():
            own = [self._products[name] for name in products if readers[name] == 1]
            if own:
                counts["adder", size] -= 1
                counts["adder of product", size, *max(own)[1:]] += 1
        for signal in self._delayed:
            self._count_delays(signal, counts)
        return Counter({kind: count for kind, count in counts.items() if count})

    def _count_delays(self, signal: Signal, counts: Counter[Kind]) -> None:
        """Count the delays of a signal; where nothing reads its register, that is the first of them."""
        read, differing = self._read[signal], self._bits.get(signal)
        share = 1.0 if differing is None else differing / signal.width
        first = differing is not None and 0 not in read
        apart = read.total() <= signal.width  # each bit is read once
        for begin, end in pairwise(sorted({0, *read})):
            longer = sum(bits for stages, bits in read.items() if stages >= end)
            bits = round(share * (read[end] if apart else min(longer, signal.width)))
            length = end if apart else end - begin
            if first and (apart or begin == 0):
                length += 1
                counts["register", 1] -= bits
            counts["delay", bits, length] += 1
