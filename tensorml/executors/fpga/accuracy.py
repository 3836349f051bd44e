"""How many bits: the fewest with which the circuit's results are close enough to the source's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.entrances import Encoder
from tensorml.executors.fpga.fixed import DoesNotFit, Fixed, NoRows, Numbers, Outside, Rounding
from tensorml.executors.fpga.leaves import leaf_ranges, sums_of_leaves
from tensorml.executors.fpga.split import Split, meaning, measured, split
from tensorml.executors.reference import evaluate
from tensorml.graph import Graph, Input, Op

FEWEST, MOST = 2, 24
SAMPLE = 4096  # calibration rows that errors are measured on
ROWS = 100_000  # of which the largest error is to be the accuracy asked for, if errors are spread like a Gaussian

APART = ("predict", "transform")  # outputs whose columns have units of their own
DECISIONS = (
    ops.ArgMax,
    ops.Less,
    ops.LessOrEqual,
    ops.Greater,
    ops.GreaterOrEqual,
    ops.Equal,
    ops.WeightedMedian,
)
TREES = (ops.Descend, ops.DescendSymmetric)

Rows = Mapping[str, np.ndarray]
Values = dict[Op, np.ndarray]


@dataclass(frozen=True)
class FixedPoint:
    """How numbers become integers in a circuit. Which leaf a row reaches does not depend on it.

    bits: of what enters, of weights, of what leaves hold and of values that are passed on, at most; None: the fewest
        with which the results are accurate enough. Sums keep all bits that they need, and nothing wraps.
    fraction: how many of the bits are behind the binary point, for all of them: bits=18, fraction=10 are the signed
        numbers from -128 to 128 - 2^-10 in steps of 2^-10, ap_fixed<18, 8> elsewhere. The host scales values before.
        None: of each array as many as leave room for the largest number in it, so that `bits` are significant.
    accuracy: the largest error of a result, relative to the range that the result has (over the calibration rows; over
        what the trees can give if there are none), and the largest share of calibration rows whose label changes, or
        whose result is further away because a label or a comparison is behind it (votes). A logarithm is as accurate
        as what it is of. Predictions and transformed values have a range for each column, others one for all. Errors on
        few calibration rows have to be smaller, for those of other rows to be as small: see `enough`. With bits given,
        what is lost is measured only.
    rounding: of what is passed on, in the circuit: "nearest" is half up, which takes an adder; "down" leaves the lowest
        bits out. The host's values and all constants go to the nearest, half up.
    outside: what becomes of values outside the range that the calibration rows have, with head room for others (see
        `split.with_head_room`), or outside of the numbers that bits and fraction make: "saturate" takes the nearest
        that the bits hold, and counts those that enter; "refuse" raises InputError for these, refuses models with such
        a constant, and lets what is passed on keep its bits.
    """

    bits: int | None = None
    fraction: int | None = None
    accuracy: float = 0.01
    rounding: Rounding = "nearest"
    outside: Outside = "saturate"

    def __post_init__(self) -> None:
        if self.bits is not None and not (is_whole(self.bits) and 1 <= self.bits <= 32):
            raise ValueError(f"bits is 1 to 32 or None, not {self.bits!r}")
        if self.fraction is not None and not (is_whole(self.fraction) and -64 <= self.fraction <= 64 and self.bits):
            raise ValueError(f"fraction is -64 to 64, of the bits that are given too, or None, not {self.fraction!r}")
        if not 0 < self.accuracy < 1:
            raise ValueError(f"accuracy is between 0 and 1, not {self.accuracy!r}")
        if self.rounding not in ("nearest", "down"):
            raise ValueError(f"rounding is 'nearest' or 'down', not {self.rounding!r}")
        if self.outside not in ("saturate", "refuse"):
            raise ValueError(f"outside is 'saturate' or 'refuse', not {self.outside!r}")

    def numbers(self, bits: int) -> Numbers:
        """With so many bits."""
        return Numbers(bits, self.fraction, self.rounding, self.outside)


def is_whole(value: object) -> bool:
    """Whether an option is an integer."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


@dataclass(frozen=True)
class Loss:
    """What fixed point costs.

    error: the largest error of a result, in the result's own unit; relative: to the result's range. rows: calibration
    rows that it was measured on; 0: it is a bound for all rows, or NaN: it was not measured. labels: the share of these
    rows of which a label is another one, or a result that is made of labels or comparisons.
    """

    error: float
    relative: float
    rows: int
    labels: float = 0.0


NOT_MEASURED = Loss(np.nan, np.nan, 0)


def fit(
    graph: Graph,
    policy: FixedPoint,
    rows: Rows | None,
    bits: int | None = None,
    too_large: Callable[[Split], bool] = lambda _: False,
    encoder: Encoder = "host",
    seen: Values | None = None,
) -> tuple[Split, Loss]:
    """The graph in fixed point with the fewest bits that are accurate enough, or those that the policy says.

    bits: these, if they are accurate enough. What is too large is returned before its accuracy is known: with the
    fewest bits that are accurate enough it is no smaller. Raises DoesNotFit if there is nothing for a circuit, or no
    number of bits is enough. encoder: see `split`. seen: what the graph's operators give for the rows, as far as known.
    """
    ranges = unknown if rows is None else measured(graph, rows)
    oracle = None if rows is None else Oracle(graph, some(rows), {} if seen is None else seen)
    if policy.bits is not None:
        found = split(graph, policy.numbers(policy.bits), ranges, encoder)
        return found, NOT_MEASURED if oracle is None and policy.fraction is not None else loss(found, oracle)
    tried: dict[int, tuple[Split, Loss]] = {}

    def accurate(bits: int) -> bool:
        found = split(graph, policy.numbers(bits), ranges, encoder)
        large = too_large(found)
        tried[bits] = found, Loss(0.0, 0.0, 0) if large else loss(found, oracle)
        return large or enough(*tried[bits], policy.accuracy)

    least = fewest(accurate) if bits is None else bits if accurate(bits) else None
    if least is None:
        raise DoesNotFit(f"{MOST} bits do not bring the error below {policy.accuracy:g} of the range of the results")
    return tried[least]


def enough(found: Split, lost: Loss, accuracy: float) -> bool:
    """Whether a circuit is as accurate as asked for, also on other rows than those that its errors were measured on.

    Of Gaussian errors, the largest of n rows grows like the root of log n, so that of few rows has to be smaller.
    Trees do without: what their leaves lose is the same for all rows. A share of labels does not grow with the rows.
    """
    trees = all(fixed.integers or sums_of_leaves(op, fixed) for op, fixed in found.exits.items())
    measured = lost.rows and not trees
    part = math.sqrt(math.log(max(lost.rows, 2)) / math.log(ROWS)) if measured else 1.0
    return lost.relative <= accuracy * part and lost.labels <= accuracy


def smallest(graph: Graph, policy: FixedPoint, rows: Rows | None, encoder: Encoder = "host") -> Split:
    """The graph with the fewest bits that the policy allows: no circuit of it is smaller."""
    return split(
        graph, policy.numbers(policy.bits or FEWEST), unknown if rows is None else measured(graph, rows), encoder
    )


def some(rows: Rows) -> Rows:
    """Rows evenly apart, at most SAMPLE of them."""
    count = max((len(value) for value in rows.values()), default=0)
    return (
        rows if count <= SAMPLE else {name: x[np.linspace(0, count - 1, SAMPLE, dtype=int)] for name, x in rows.items()}
    )


def fewest(enough: Callable[[int], bool]) -> int | None:
    """The least number of bits that is enough: more and more of them, then halving; None if MOST are not."""
    short, bits = FEWEST - 1, FEWEST + 3
    while not enough(bits):
        if bits == MOST:
            return None
        short, bits = bits, min(2 * bits, MOST)
    while bits - short > 1:
        middle = (short + bits) // 2
        short, bits = (short, middle) if enough(middle) else (middle, bits)
    return bits


def unknown(op: Op) -> tuple[np.ndarray, np.ndarray]:
    """Raise DoesNotFit: there are no rows to see the range of a value from."""
    raise NoRows("the range of its inputs is not known")


@dataclass(frozen=True, eq=False)
class Oracle:
    """What a graph gives for some rows, each value computed once."""

    graph: Graph
    rows: Rows
    known: Values = field(default_factory=dict)

    @cached_property
    def count(self) -> int:
        """How many rows there are."""
        return max((len(value) for value in self.rows.values()), default=0)

    def values(self, ops: Iterable[Op]) -> list[np.ndarray]:
        """The values of some operators of the graph."""
        ops = list(ops)
        missing = {str(i): op for i, op in enumerate([*self.trees, *ops]) if op not in self.known}
        if missing:
            found = evaluated(Graph(missing), self.rows, self.known)
            self.known.update((op, found[name]) for name, op in missing.items())
        return [self.known[op] for op in ops]

    @cached_property
    def trees(self) -> list[Op]:
        """The graph's trees, which take the longest."""
        return [op for op in self.graph.order if isinstance(op, TREES)]

    def reached(self, close: Graph) -> Values:
        """What the trees of a graph in fixed point give: whichever compare the same codes as the source's trees do."""
        pairs = [(op, o) for op in close.order if isinstance(op, TREES) for o in self.trees if same_trees(op, o)]
        return dict(zip([op for op, _ in pairs], self.values([o for _, o in pairs]), strict=True))


def loss(found: Split, oracle: Oracle | None, every: Oracle | None = None) -> Loss:
    """What the circuit's results and the outputs lose: measured on rows, else as a bound on the circuit's results.

    every: the rows of which the range of the results is, if these are others.
    """
    if oracle is None:
        losses = [bound(op, fixed) for op, fixed in found.exits.items()]
        return max(losses, key=lambda lost: lost.relative)
    seen = {op: name for name, out in found.source.outputs.items() for op in observed(out, found.exits)}
    watched = [*found.exits, *(op for op in seen if op not in found.exits)]
    given = {op: meaning(fixed, fixed.op, op) for op, fixed in found.exits.items()}
    close = Graph({str(i): op for i, op in enumerate(watched)}).rewrite(lambda _: None, given)
    values = evaluated(close, oracle.rows, oracle.reached(close))
    apart = [seen.get(op, "").partition("(")[0] in APART for op in watched]
    exact, ranged = oracle.values(watched), (every or oracle).values(watched)
    losses = [
        difference(exact[i], values[str(i)], apart[i], decided(op, found.exits), ranged[i])
        for i, op in enumerate(watched)
    ]
    worst = max(losses, key=lambda lost: lost.relative)
    return replace(worst, rows=oracle.count, labels=max(lost.labels for lost in losses))


def evaluated(graph: Graph, rows: Rows, known: Values) -> dict[str, np.ndarray]:
    """The outputs of a graph, of whose operators some are known."""
    inputs = {op: Input(f"known {i}", op.type) for i, op in enumerate(known)}
    given = {inputs[op].name: value for op, value in known.items()}
    return evaluate(graph.rewrite(lambda _: None, dict(inputs)), {**rows, **given})


def same_trees(a: Op, b: Op) -> bool:
    """Whether two operators are the same trees over the same codes."""
    if type(a) is not type(b) or not isinstance(a, TREES) or not isinstance(b, TREES):
        return False
    arrays = zip(a.attributes.values(), b.attributes.values(), strict=True)
    return all(x is y for x, y in arrays) and same_codes(a.codes, b.codes)


def same_codes(a: Op, b: Op) -> bool:
    """Whether two operators give the same integers, in whatever dtype."""
    a, b = widened_from(a), widened_from(b)
    if isinstance(a, ops.Columns) and isinstance(b, ops.Columns):
        return np.array_equal(a.indices, b.indices) and same_codes(a.x, b.x)
    if isinstance(a, ops.Concat) and isinstance(b, ops.Concat):
        return len(a.parts) == len(b.parts) and all(map(same_codes, a.parts, b.parts))
    return a is b


def widened_from(op: Op) -> Op:
    """What an operator is a cast of that loses nothing, or itself."""
    while isinstance(op, ops.Cast) and np.can_cast(op.x.dtype, op.dtype):
        op = op.x
    return op


def observed(output: Op, exits: Iterable[Op]) -> list[Op]:
    """What an output is compared by: itself, or what its logarithms are of."""
    logs = [op for op in late(output, exits) if isinstance(op, ops.Log)]
    return [log.operands[0] for log in logs] or [output]


def late(output: Op, exits: Iterable[Op]) -> list[Op]:
    """What is computed from the exits, on the way to an output."""
    found: dict[Op, None] = dict.fromkeys(exits)
    for op in Graph({"": output}).order:
        if op not in found and any(o in found for o in op.operands):
            found[op] = None
    return [op for op in Graph({"": output}).order if op in found and op not in exits]


def decided(op: Op, exits: Iterable[Op]) -> bool:
    """Whether a value is made of labels or comparisons, so that the least error may move it far."""
    return op.dtype.kind in "iub" or any(isinstance(o, DECISIONS) for o in late(op, exits))


def difference(
    exact: np.ndarray, close: np.ndarray, apart: bool, decided: bool, ranged: np.ndarray | None = None
) -> Loss:
    """What is lost of one value. apart: each column has a range of its own. decided: rows that are off are counted.

    ranged: what the range is of; None: of the exact values.
    """
    rows = len(exact)
    if not exact.size:
        return Loss(0.0, 0.0, rows)
    if exact.dtype.kind in "iub":
        return Loss(0.0, 0.0, rows, float((exact != close).reshape(rows, -1).any(axis=1).mean()))
    rounding = 8 * float(np.finfo(exact.dtype).eps)
    exact, close = (value.reshape(rows, -1).astype(np.float64) for value in (exact, close))
    with np.errstate(all="ignore"):
        alike = (
            (exact == close) | (np.isnan(exact) & np.isnan(close)) | (np.abs(exact - close) <= rounding * np.abs(exact))
        )
        error = np.where(alike, 0.0, np.nan_to_num(np.abs(exact - close), nan=np.inf))
        ranged = exact if ranged is None else ranged.reshape(len(ranged), -1).astype(np.float64)
        spread = spans(ranged) if apart else spans(ranged.reshape(-1, 1))
        relative = np.where(error > 0, error / spread, 0.0).max(axis=1)
    if decided:
        return Loss(0.0, 0.0, rows, share(relative))
    return Loss(float(error.max()), float(relative.max()), rows)


def spans(values: np.ndarray) -> np.ndarray:
    """The range of what is finite in each column; the value itself where there is only one."""
    finite = np.isfinite(values)
    high, low = np.where(finite, values, -np.inf).max(axis=0), np.where(finite, values, np.inf).min(axis=0)
    return np.where(high > low, high - low, np.abs(high))


def share(off: np.ndarray) -> float:
    """The least number such that no more than this share of the values is above it: the distance of Ky Fan."""
    above = np.arange(len(off)) / len(off)
    return float(np.maximum(np.sort(off)[::-1], above).min())


def bound(op: Op, fixed: Fixed) -> Loss:
    """The largest error of a sum of leaves; nothing for integers. Raises NoRows for other values."""
    if fixed.integers:
        return Loss(0.0, 0.0, 0)
    sums = sums_of_leaves(op, fixed)
    if sums is None:
        raise NoRows("how far its results may be off is not known")
    exact, integers = sums
    step, spread, error = float(fixed.step[0]), 0.0, 0.0
    values = exact.values.astype(np.float64)
    for leaves in leaf_ranges(integers.leaves):
        above = values[leaves] - values[leaves].min(0)
        spread += float(above.max(initial=0))
        error += float(np.ptp(integers.values[leaves] * step - above, axis=0).max(initial=0)) / 2  # start in the middle
    return Loss(error, error / spread if error else 0.0, 0)
