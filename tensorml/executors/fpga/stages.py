"""The numbers of a circuit, stage by stage: how many bits they have, and what these stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.fixed import Fixed, width
from tensorml.executors.fpga.split import Split
from tensorml.graph import Const, Op
from tensorml.report import Table

NAMES: dict[type[Op], str] = {
    ops.Mul: "products of two",
    ops.MatMul: "sums of products",
    ops.ReduceSum: "sums",
    ops.AddColumns: "sums",
    ops.LeafSum: "sums of leaves",
    ops.Exp: "exp",
    ops.Tanh: "tanh",
    ops.Sigmoid: "sigmoid",
}


@dataclass(frozen=True)
class Stage:
    """Numbers of one kind. name: what they are. count: how many of them. bits: of the widest, with a sign if `signed`.

    fraction: how many of the bits are behind the binary point, in the coarsest column and in the finest; None if steps
    are no powers of two. low, high: the least and the largest that they can stand for.
    """

    name: str
    count: int
    bits: int
    signed: bool
    fraction: tuple[int, int] | None
    low: float
    high: float

    @property
    def cells(self) -> list[str]:
        """As a row of a table."""
        kind = f"{'signed' if self.signed else 'unsigned'}, {self.bits}"
        least, most = self.fraction or ("", "")
        fraction = f"{least}" if least == most else f"{least} to {most}"
        return [self.name, f"{self.count:,}", kind, fraction, f"{self.low:.6g}", f"{self.high:.6g}"]


def stages(split: Split) -> list[Stage]:
    """From what enters to what leaves; what only selects, scales or moves columns is left out."""
    found = [stage("values that enter", entrance.fixed) for entrance in split.entrances.values()]
    for op in split.source.order:
        fixed = split.values.get(op)
        if fixed is not None and type(op) in NAMES and op not in split.entrances:
            found += [*constants(op, fixed), stage(NAMES[type(op)] + kind_of(fixed.op), fixed)]
    return found + [stage("results", fixed) for fixed in split.exits.values()]


def stage(name: str, fixed: Fixed) -> Stage:
    """Of columns."""
    ends = np.stack([end * fixed.step + fixed.offset for end in (fixed.low, fixed.high)])
    low, high = float(ends.min(initial=np.inf)) + 0.0, float(ends.max(initial=-np.inf)) + 0.0  # no -0
    return Stage(name, len(fixed.low), fixed.bits, bool((fixed.low < 0).any()), fraction(fixed.step), low, high)


def fraction(steps: np.ndarray) -> tuple[int, int] | None:
    """The bits behind the binary point, the fewest and the most, of numbers in these steps."""
    places = -np.log2(np.abs(steps[steps != 0]))
    if not len(places) or (places != np.round(places)).any():
        return None
    return int(places.min()), int(places.max())


def constants(op: Op, fixed: Fixed) -> Iterator[Stage]:
    """The weights of a product, or what leaves hold above the least of their tree."""
    match op, fixed.op:
        case ops.MatMul(y=Const(value=weights)), ops.WeightedSum(weights=whole):
            low, high = int(whole.min(initial=0)), int(whole.max(initial=0))
            ends = float(weights.min(initial=0)), float(weights.max(initial=0))
            yield Stage("weights", whole.size, width(low, high), low < 0, None, *ends)
        case ops.LeafSum(), ops.LeafSum(values=whole):
            high, step = int(whole.max(initial=0)), fixed.step[:1]
            yield Stage("leaves", whole.size, width(0, high), False, fraction(step), 0.0, high * float(step[0]))


def kind_of(op: Op) -> str:
    """How a function is computed."""
    match op:
        case ops.Lines():
            return f", {len(op.base)} straight lines"
        case ops.Take(table=Const(value=value)):
            return f", {len(value)} values"
    return ""


def table(name: str, stages: Sequence[Stage]) -> Table:
    """The stages, one a row."""
    headers = ["Numbers", "Count", "Bits", "Fraction bits", "From", "To"]
    return Table(headers, [s.cells for s in stages], f"Numbers of circuit '{name}'", right=(1, 4, 5))
