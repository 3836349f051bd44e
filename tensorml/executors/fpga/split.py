"""Which part of a graph becomes a circuit, and what the host does before and after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.decompose import ON_HOST
from tensorml.executors.fpga.fixed import DoesNotFit, Fixed, NoRows, Numbers, OutOfRange, exact
from tensorml.executors.fpga.leaves import sum_range
from tensorml.executors.fpga.patterns import FloatBits
from tensorml.executors.fpga.rules import HEAVY, rules
from tensorml.executors.reference import evaluate
from tensorml.graph import Const, Graph, Input, Op, TensorType

LINEAR = (ops.Add, ops.Sub, ops.Neg, ops.Cast, ops.Columns, ops.Concat, ops.Reshape)
SCALING = (ops.Add, ops.Sub, ops.Mul, ops.Div, ops.Cast, ops.Finite, ops.Require)
Ranges = Callable[[Op], tuple[np.ndarray, np.ndarray]]  # the least and the largest value of each column of a float


@dataclass(frozen=True, eq=False)
class Entrance:
    """A value that the host passes to the circuit. before: how it computes the integers; fixed: what these mean."""

    before: Op
    fixed: Fixed


@dataclass(frozen=True, eq=False)
class Split:
    """A graph in three parts. bits: of weights, leaves and what is passed on, at most. widths: of its integers.

    entrances: what the host passes in, by the operator that it stands for. exits: what the circuit returns, likewise.
    checks: operators that the host evaluates only because they refuse some values.
    """

    source: Graph
    entrances: Mapping[Op, Entrance]
    exits: Mapping[Op, Fixed]
    checks: tuple[Op, ...]
    bits: int
    widths: Mapping[Op, int] = field(default_factory=dict)
    names: Mapping[Op, str] = field(init=False)

    def __post_init__(self) -> None:
        names = {entrance.before: f"row{i}" for i, entrance in enumerate(self.entrances.values())}
        object.__setattr__(self, "names", names)

    @cached_property
    def before(self) -> Graph:
        """From the inputs to the integers that go into the circuit, before they are limited to their ranges."""
        outputs: dict[str, Op] = {name: op for op, name in self.names.items()}
        return Graph(outputs | {f"check{i}": op for i, op in enumerate(self.checks)})

    @cached_property
    def circuit(self) -> Graph:
        """Integers to integers."""
        inputs: dict[Op, Op] = {}
        for entrance in self.entrances.values():
            op, name = entrance.before, self.names[entrance.before]
            inputs[op] = Input(name, TensorType(op.shape, op.dtype))
        graph = Graph({f"sum{i}": fixed.op for i, fixed in enumerate(self.exits.values())})
        return graph.rewrite(lambda _: None, inputs)

    @cached_property
    def after(self) -> Graph:
        """From the circuit's integers, and the inputs where the host needs them again, to the outputs."""
        given: dict[Op, Op] = {}
        for i, (op, fixed) in enumerate(self.exits.items()):
            given[op] = meaning(fixed, Input(f"sum{i}", fixed.op.type), op)
        return self.source.rewrite(lambda _: None, given)

    @cached_property
    def whole(self) -> Graph:
        """The three parts as one graph: what the circuit and the host compute together, for every executor."""
        given = {op: meaning(fixed, fixed.op, op) for op, fixed in self.exits.items()}
        return self.source.rewrite(lambda _: None, given)


def meaning(fixed: Fixed, integers: Op, source: Op) -> Op:
    """What integers stand for, in the dtype of `source`. A sum of leaves stays in the range that it can have."""
    if fixed.integers:
        return ops.cast(integers, source.dtype)
    shape = tuple(int(d) for d in source.shape[1:])
    step, offset = (Const(a.reshape(shape)) for a in (fixed.step, fixed.offset))
    value: Op = ops.Add(ops.Mul(ops.cast(integers, np.float64), step), offset)
    if isinstance(source, ops.LeafSum):
        least, most = map(Const, sum_range(source))
        value = ops.Min(ops.Max(value, least), most)
    return ops.cast(value, source.dtype)


def split(graph: Graph, numbers: Numbers, ranges: Ranges, raw: bool = False) -> Split:
    """The graph in three parts. Raises DoesNotFit if there is nothing for a circuit.

    raw: floats go in as they are where trees compare them, else their codes do.
    """
    codes = DoesNotFit("the host makes codes")
    refused: dict[Op, DoesNotFit] = {op: codes for op in graph.order if isinstance(op, ops.Rank) and not raw}
    if numbers.fraction is not None:
        refused |= dict.fromkeys(scaling(graph), DoesNotFit("the host scales values"))
    while True:
        inside = region(graph, refused)
        left = next((op for op in graph.order if isinstance(op, ON_HOST) and op not in inside), None)
        if not inside or left is not None:
            raise reason(left, refused)
        values: dict[Op, Fixed] = {}
        entrances: dict[Op, Entrance] = {}
        for op in (op for op in graph.order if op in inside):
            try:
                place(op, numbers, values, entrances, ranges)
            except OutOfRange:
                raise
            except DoesNotFit as why:
                refused[op] = why
                break
        else:
            break
    users = {o for op in graph.order if op not in inside for o in op.operands} | set(graph.outputs.values())
    exits = {op: values[op] for op in graph.order if op in inside and op in users and op not in entrances}
    checks = tuple(op for op in graph.order if op in inside and isinstance(op, ops.Finite | ops.Require))
    return Split(graph, entrances, exits, checks, numbers.bits, {fixed.op: fixed.bits for fixed in values.values()})


def reason(left: Op | None, refused: Mapping[Op, DoesNotFit]) -> DoesNotFit:
    """Why there is nothing for a circuit. left: what would stay on the host."""
    if left is not None and left not in refused:
        return DoesNotFit(f"{type(left).__name__} is not one of the operators that a circuit computes")
    heavy = [why for op, why in refused.items() if type(op) in HEAVY]
    unknown = [why for why in refused.values() if isinstance(why, NoRows)]
    return next(iter(unknown + heavy), DoesNotFit("it has no tree and no product that a circuit computes"))


def place(op: Op, numbers: Numbers, values: dict[Op, Fixed], entrances: dict[Op, Entrance], ranges: Ranges) -> None:
    """Find what an operator becomes on integers. Raises DoesNotFit if it becomes nothing."""
    operands = []
    for operand in op.operands:
        if isinstance(operand, Const):
            operands.append(operand.value)
            continue
        if isinstance(op, ops.Rank):
            operands.append(raw_entrance(operand, entrances).fixed)
            continue
        if operand not in values:
            entrances[operand] = entrance(operand, numbers, ranges)
            values[operand] = entrances[operand].fixed
        operands.append(values[operand])
    values[op] = rules[op](op, numbers, *operands)


def region(graph: Graph, refused: Container[Op]) -> set[Op]:
    """The operators of the circuit: what is heavy, and what lies between and after.

    It is one region: what needs a result of the host that needs a result of the circuit is the host's.
    """
    taken = (op for op in graph.order if rules.supports(type(op)) and not isinstance(op, Input | Const))
    inside = {op for op in taken if op not in refused} - exactly(graph)
    while True:
        trimmed = wanted(graph, inside)
        inside = early(graph, trimmed)
        if len(inside) == len(trimmed):
            return inside


def wanted(graph: Graph, inside: set[Op]) -> set[Op]:
    """Of these operators the heavy ones, those that others of them need, and sums of what heavy ones give."""
    worth: set[Op] = set()
    for op in graph.order:
        if op in inside and (type(op) in HEAVY or (isinstance(op, LINEAR) and any(o in worth for o in op.operands))):
            worth.add(op)
    used: set[Op] = set()
    for op in reversed(graph.order):
        if op in inside and (op in used or type(op) in HEAVY or (isinstance(op, ops.Add | ops.Sub) and op in worth)):
            used.update({op, *op.operands})
    return inside & used


def early(graph: Graph, inside: set[Op]) -> set[Op]:
    """Those of these operators that need nothing which the host makes from results of the others; or the later ones.

    The later ones stay instead if they are more work than those that the host needs for them.
    """
    reached: set[Op] = set()
    late: set[Op] = set()
    for op in graph.order:
        if any(o in late or (o in reached and o not in inside) for o in op.operands):
            late.add(op)
        if op in inside or any(o in reached for o in op.operands):
            reached.add(op)
    first = needed(graph, inside, late & inside)
    return inside - (first if work(late & inside) > work(first) else late)


def needed(graph: Graph, inside: set[Op], late: set[Op]) -> set[Op]:
    """The operators of the circuit that the host needs for these later ones, and what they are computed from."""
    between: set[Op] = set()  # the host's, on the way to late ones
    found: set[Op] = set()
    for op in reversed(graph.order):
        if op in found or op in between:
            between.update(o for o in op.operands if o not in inside and op in between)
            found.update(o for o in op.operands if o in inside)
        elif op in late:
            between.update(o for o in op.operands if o not in inside)
    return found - late


def work(operators: set[Op]) -> int:
    """About how many products and compares they are."""
    total = 0
    for op in operators:
        match op:
            case ops.MatMul():
                total += op.operands[0].columns * op.columns
            case ops.Descend() | ops.DescendSymmetric():
                total += len(op.column)
            case ops.LeafSum():
                total += op.values.size
            case _ if type(op) in HEAVY or isinstance(op, ops.Mul):
                total += int(np.prod([int(d) for d in op.shape[1:]]))
    return total


def exactly(graph: Graph) -> set[Op]:
    """What codes are made of: the host's, since the least error could change a leaf."""
    found: set[Op] = set()
    for op in reversed(graph.order):
        if op in found or isinstance(op, ops.Rank | ops.Lookup):
            found.update(op.operands)
    return found


def scaling(graph: Graph) -> set[Op]:
    """Constant factors and terms of inputs that nothing else reads. They are the host's, for given numbers to suit."""
    readers = Counter(o for op in graph.order for o in op.operands)
    found: set[Op] = set()
    for op in graph.order:
        values = [o for o in op.operands if not isinstance(o, Const)]
        if isinstance(op, SCALING) and len(values) == 1 and readers[values[0]] == 1:
            found.update({op} if isinstance(values[0], Input) or values[0] in found else ())
    return found


def entrance(op: Op, numbers: Numbers, ranges: Ranges) -> Entrance:
    """How a value goes into the circuit: codes as they are, floats in steps of a power of two for each column."""
    if op.dtype.kind in "iu":
        low, high = code_range(op)
        whole = ops.cast(op, np.int64)
        return Entrance(whole, exact(whole, low, high))
    if op.dtype.kind != "f" or len(op.shape) != 2:
        raise DoesNotFit(f"{op} does not go into a circuit")
    if one_bit(op):
        whole = ops.cast(op, np.int64)
        return Entrance(whole, exact(whole, 0, 1))
    if numbers.fraction is not None:
        columns = np.ones(op.columns)
        return quantized(op, columns * numbers.step(0), numbers.low, numbers.high, 0 * columns)
    least, most = ranges(op)
    far = (np.minimum(np.abs(least), np.abs(most)) > most - least) & (most > least)
    middle = np.where(far, (least + most) / 2, 0.0)
    step = np.array([numbers.step(float(v)) for v in np.maximum(np.abs(least - middle), np.abs(most - middle))])
    middle = np.floor(middle / step + 0.5) * step
    return quantized(op, step, np.where(least < middle, numbers.low, 0), numbers.high, middle)


def quantized(op: Op, step: np.ndarray, low: np.ndarray | int, high: int, middle: np.ndarray) -> Entrance:
    """How floats go into the circuit in these steps from the middle. All but high: of each column."""
    moved = ops.Sub(ops.cast(op, np.float64), Const(middle)) if middle.any() else op
    low, high_ = (np.broadcast_to(np.asarray(b, np.int64), step.shape) for b in (low, high))
    whole = ops.Quantize(moved, step)
    return Entrance(whole, Fixed(ops.Saturate(whole, low, high_), low, high_, step, middle))


def raw_entrance(op: Op, entrances: dict[Op, Entrance]) -> Entrance:
    """How floats go into the circuit as they are: their bit patterns, beside what they may go in as otherwise."""
    known = next((e for e in entrances.values() if isinstance(e.before, FloatBits) and e.before.x is op), None)
    if known is None:
        if op.dtype not in (np.float32, np.float64):
            raise DoesNotFit(f"{op} as bits")
        patterns = FloatBits(op)
        limits = np.iinfo(np.int32 if op.dtype == np.float32 else np.int64)
        known = entrances[patterns] = Entrance(patterns, exact(patterns, limits.min, limits.max))
    return known


def one_bit(op: Op) -> bool:
    """Whether all values are 0 or 1."""
    match op:
        case ops.OneHot():
            return True
        case ops.Cast():
            return op.x.dtype.kind == "b" or one_bit(op.x)
        case ops.Columns() | ops.Reshape():
            return one_bit(op.x)
        case ops.Finite() | ops.Require():
            return one_bit(op.operands[0])
        case ops.Concat():
            return all(one_bit(part) for part in op.parts)
    return False


def code_range(op: Op) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest value of each column of integers."""
    match op:
        case ops.Rank():
            high = np.maximum(np.diff(op.offsets), op.nan)
            return np.zeros(len(high), np.int64), high
        case ops.Lookup():
            return np.zeros(len(op.table), np.int64), op.table.max(1).astype(np.int64)
        case ops.Cast() if op.x.dtype.kind in "iu":
            return code_range(op.x)
        case ops.Columns():
            low, high = code_range(op.x)
            return low[op.indices], high[op.indices]
        case ops.Concat():
            low, high = zip(*(code_range(part) for part in op.parts), strict=True)
            return np.concatenate(low), np.concatenate(high)
    limits = np.iinfo(op.dtype)
    if limits.bits > 16:
        raise DoesNotFit(f"{op} has no known range")
    columns = int(np.prod([int(d) for d in op.shape[1:]]))
    return np.full(columns, limits.min), np.full(columns, limits.max)


def measured(graph: Graph, rows: Mapping[str, np.ndarray]) -> Ranges:
    """The ranges that the values of some rows have."""

    def ranges(op: Op) -> tuple[np.ndarray, np.ndarray]:
        value = evaluate(Graph({"value": op}), rows)["value"].astype(np.float64)
        return value.min(0), value.max(0)

    return ranges
