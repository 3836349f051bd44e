"""How many bits: the fewest with which the circuit's results are close enough to the source's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.fixed import DoesNotFit, Fixed, leaf_ranges
from tensorml.executors.fpga.split import Ranges, Split, meaning, measured, split
from tensorml.executors.reference import evaluate
from tensorml.graph import Graph, Op

FEWEST, MOST = 2, 24
SAMPLE = 4096  # calibration rows that errors are measured on

Rows = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class FixedPoint:
    """How numbers become integers in a circuit. Which leaf a row reaches does not depend on it.

    bits: of weights, of what leaves hold and of values that are passed on, at most; None: the fewest with which the
        results are accurate enough. Sums keep all bits that they need; nothing overflows inside the circuit.
    accuracy: the largest error of a result, relative to the range that the result has (over the calibration rows; over
        what the trees can give if there are none), and the largest share of calibration rows whose label changes.
    outside: what becomes of values outside the range that the calibration rows have, as far as the bits for these do
        not hold them: "saturate" takes the nearest that they hold, and counts, "refuse" raises InputError.
    """

    bits: int | None = None
    accuracy: float = 0.01
    outside: Literal["saturate", "refuse"] = "saturate"

    def __post_init__(self) -> None:
        if self.bits is not None and not 1 <= self.bits <= 32:
            raise ValueError(f"bits is 1 to 32 or None, not {self.bits!r}")
        if not 0 < self.accuracy < 1:
            raise ValueError(f"accuracy is between 0 and 1, not {self.accuracy!r}")
        if self.outside not in ("saturate", "refuse"):
            raise ValueError(f"outside is 'saturate' or 'refuse', not {self.outside!r}")


@dataclass(frozen=True)
class Loss:
    """What fixed point costs. error: the largest error of a result, in the result's own unit, and relative to its range.

    rows: calibration rows that it was measured on; 0: it is a bound for all rows. labels: the share of these rows of
    which a label, or another integer that the host makes of the results, is another one.
    """

    error: float
    relative: float
    rows: int
    labels: float = 0.0

    @property
    def worst(self) -> float:
        """What the accuracy is compared with."""
        return max(self.relative, self.labels)


def fit(graph: Graph, policy: FixedPoint, rows: Rows | None) -> tuple[Split, Loss]:
    """The graph in fixed point with the fewest bits that are accurate enough, or those that the policy says.

    Raises DoesNotFit if there is nothing for a circuit, or no number of bits is enough.
    """
    ranges = unknown if rows is None else measured(graph, rows)
    if policy.bits is not None:
        found = split(graph, policy.bits, ranges)
        return found, loss(found, rows)
    enough = fewest(lambda bits: loss(split(graph, bits, ranges), rows).worst <= policy.accuracy)
    if enough is None:
        raise DoesNotFit(f"{MOST} bits do not bring the error below {policy.accuracy:g} of the range of the results")
    found = split(graph, enough, ranges)
    return found, loss(found, rows)


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


class NoRows(DoesNotFit):
    """Raised for a model whose inputs become fixed point, without rows to see their ranges from."""


def loss(found: Split, rows: Rows | None) -> Loss:
    """What the exits lose: measured on rows, else as a bound."""
    if rows is None:
        losses = [bound(op, fixed) for op, fixed in found.exits.items()]
        return max(losses, key=lambda lost: lost.relative)
    exact = evaluate(Graph({str(i): op for i, op in enumerate(found.exits)}), rows)
    given = {str(i): meaning(fixed, fixed.op, op) for i, (op, fixed) in enumerate(found.exits.items())}
    close = evaluate(Graph(given), rows)
    worst = max((_difference(exact[name], close[name]) for name in exact), key=lambda lost: lost.relative)
    return replace(worst, labels=changed(found, rows))


def changed(found: Split, rows: Rows) -> float:
    """The largest share of rows in which an output of integers is another one than the source's."""
    names = [name for name, op in found.source.outputs.items() if op.dtype.kind in "iub"]
    if not names:
        return 0.0
    exact, close = (evaluate(graph.select(*names), rows) for graph in (found.source, found.whole))
    differ = ((exact[name] != close[name]).reshape(len(exact[name]), -1) for name in names)
    return max(float(d.any(axis=1).mean()) if len(d) else 0.0 for d in differ)


def _difference(exact: np.ndarray, close: np.ndarray) -> Loss:
    exact = exact.astype(np.float64)
    error = float(np.abs(exact - close).max(initial=0))
    return Loss(error, _relative(error, float(np.ptp(exact)) if exact.size else 0.0), len(exact))


def _relative(error: float, spread: float) -> float:
    return 0.0 if error == 0 else error / spread if spread > 0 else np.inf


def bound(op: Op, fixed: Fixed) -> Loss:
    """The largest error of a sum of leaves; nothing for integers."""
    if fixed.integers:
        return Loss(0.0, 0.0, 0)
    while isinstance(op, ops.Add | ops.Sub | ops.Reshape | ops.Cast):
        op = next(o for o in op.operands if not o.operands == () or o.type.batched)
    integers = fixed.op
    while isinstance(integers, ops.Reshape):
        integers = integers.x
    if not isinstance(op, ops.LeafSum) or not isinstance(integers, ops.LeafSum):
        raise NoRows("how far its results may be off is not known")
    step, spread, error = float(fixed.step[0]), 0.0, 0.0
    values = op.values.astype(np.float64)
    for part in leaf_ranges(integers.leaves):
        above = values[part] - values[part].min(0)
        spread += float(above.max(initial=0))
        error += float(np.abs(integers.values[part] * step - above).max(initial=0))
    return Loss(error, _relative(error, spread), 0)
