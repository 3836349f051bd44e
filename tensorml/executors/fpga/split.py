"""Which part of a graph becomes a circuit, and what the host does before and after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.decompose import ON_HOST
from tensorml.executors.fpga.entrances import CHECKS, Encoder, Entrance, Entrances, NotRaw, Ranges, input_places
from tensorml.executors.fpga.fixed import DoesNotFit, Fixed, NoRows, Numbers, OutOfRange
from tensorml.executors.fpga.leaves import sum_range
from tensorml.executors.fpga.rules import HEAVY, rules
from tensorml.executors.reference import evaluate
from tensorml.graph import Const, Graph, Input, Op, TensorType

LINEAR = (ops.Add, ops.Sub, ops.Neg, ops.Cast, ops.Columns, ops.Concat, ops.Reshape)
SCALING = (ops.Add, ops.Sub, ops.Mul, ops.Div, ops.Cast, ops.Finite, ops.Within, ops.Require)
MANY = 20_000  # rows that say how long tails are
TAILS = 6.0  # a tail that falls off exponentially reaches so much further once in exp(6) = 400 times as many rows


@dataclass(frozen=True, eq=False)
class Split:
    """A graph in three parts. bits: of weights, leaves and what is passed on, at most. widths: of its integers.
    values: what the graph's operators are in the circuit.

    entrances: what the host passes in, by the operator that it stands for. exits: what the circuit returns, likewise.
    checks: operators that the host evaluates only because they refuse some values.
    """

    source: Graph
    entrances: Mapping[Op, Entrance]
    exits: Mapping[Op, Fixed]
    checks: tuple[Op, ...]
    bits: int
    widths: Mapping[Op, int] = field(default_factory=dict)
    values: Mapping[Op, Fixed] = field(default_factory=dict)
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


def split(graph: Graph, numbers: Numbers, ranges: Ranges, encoder: Encoder = "host") -> Split:
    """The graph in three parts. Raises DoesNotFit if there is nothing for a circuit.

    encoder: the host, and codes go in where trees compare; the circuit, and floats go in as they are there; or what
    fixed-point numbers the columns of the input are, which then all go in as they come.
    """
    refused: dict[Op, DoesNotFit] = {}
    if encoder == "host":
        codes = DoesNotFit("the host makes codes")
        refused = {op: codes for op in graph.order if isinstance(op, ops.Rank)}
    if numbers.fraction is not None and isinstance(encoder, str):
        refused |= dict.fromkeys(scaling(graph), DoesNotFit("the host scales values"))
    entrances = Entrances(numbers, ranges, encoder)
    values, inside = placed(graph, entrances, refused)
    if any(len(set(read)) < start.columns for start, read in entrances.read.items()):
        used = {start: sorted(set(read)) for start, read in entrances.read.items()}
        entrances = Entrances(numbers, ranges, encoder, used)
        values, inside = placed(graph, entrances, refused)
    users = {o for op in graph.order if op not in inside for o in op.operands} | set(graph.outputs.values())
    exits = {op: values[op] for op in graph.order if op in inside and op in users and op not in entrances.found}
    widths = {fixed.op: fixed.bits for fixed in values.values()}
    checks = refusing(graph, inside, entrances)
    return Split(graph, entrances.found, exits, checks, numbers.bits, widths, values)


def placed(graph: Graph, entrances: Entrances, refused: dict[Op, DoesNotFit]) -> tuple[dict[Op, Fixed], set[Op]]:
    """The operators of the circuit on integers, and which ones they are; refused: those that are not, and why not."""
    while True:
        inside = region(graph, refused, entrances.given)
        left = next((op for op in graph.order if isinstance(op, ON_HOST) and op not in inside), None)
        if not inside or left is not None:
            raise reason(left, refused)
        values: dict[Op, Fixed] = {}
        entrances.forget()
        for op in (op for op in graph.order if op in inside):
            try:
                place(op, values, entrances)
            except (OutOfRange, NotRaw):
                raise
            except DoesNotFit as why:
                refused[op] = why
                break
        else:
            return values, inside


def refusing(graph: Graph, inside: set[Op], entrances: Entrances) -> tuple[Op, ...]:
    """The checks before and in the circuit that what enters it is not computed from."""
    before = Graph({str(i): entrance.before for i, entrance in enumerate(entrances.found.values())})
    needed = set(inside)
    for op in reversed(graph.order):
        if op in needed:
            needed.update(op.operands)
    return tuple(op for op in graph.order if isinstance(op, CHECKS) and op in needed and op not in before.order)


def reason(left: Op | None, refused: Mapping[Op, DoesNotFit]) -> DoesNotFit:
    """Why there is nothing for a circuit. left: what would stay on the host."""
    if left is not None and left not in refused:
        return DoesNotFit(f"{type(left).__name__} is not one of the operators that a circuit computes")
    heavy = [why for op, why in refused.items() if type(op) in HEAVY]
    unknown = [why for why in refused.values() if isinstance(why, NoRows)]
    return next(iter(unknown + heavy), DoesNotFit("it has no tree and no product that a circuit computes"))


def place(op: Op, values: dict[Op, Fixed], entrances: Entrances) -> None:
    """Find what an operator becomes on integers. Raises DoesNotFit if it becomes nothing."""
    if isinstance(op, ops.Rank):
        values[op] = entrances.ranks(op)
        return
    operands = []
    for operand in op.operands:
        if isinstance(operand, Const):
            operands.append(operand.value)
            continue
        if operand not in values:
            values[operand] = entrances.fixed(operand)
        operands.append(values[operand])
    values[op] = rules[op](op, entrances.numbers, *operands)


def region(graph: Graph, refused: Container[Op], given: bool = False) -> set[Op]:
    """The operators of the circuit: what is heavy, and what lies between and after.

    It is one region: what needs a result of the host that needs a result of the circuit is the host's. given: what
    codes are made of enters as it comes, so that the least error elsewhere does not matter.
    """
    taken = (op for op in graph.order if computed(type(op)) and not isinstance(op, Input | Const))
    inside = {op for op in taken if op not in refused} - (coming(graph) if given else exactly(graph))
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
            used.update({op} if isinstance(op, ops.Rank) else {op, *op.operands})
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


def computed(op: type[Op]) -> bool:
    """Whether a circuit computes an operator."""
    return rules.supports(op) or op is ops.Rank


def exactly(graph: Graph) -> set[Op]:
    """What codes are made of: the host's, since the least error could change a leaf."""
    found: set[Op] = set()
    for op in reversed(graph.order):
        if op in found or isinstance(op, ops.Rank | ops.Lookup):
            found.update(op.operands)
    return found


def coming(graph: Graph) -> set[Op]:
    """What enters a circuit as it comes, or categories are looked up of, where columns of the input enter so."""
    found: set[Op] = set()
    for op in reversed(graph.order):
        passes = isinstance(op, (ops.Cast, ops.Columns, ops.Concat, *CHECKS))
        if op in found or isinstance(op, ops.Lookup):
            found.update(op.operands)
        elif passes and input_places(op):
            found.add(op)
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


def measured(graph: Graph, rows: Mapping[str, np.ndarray]) -> Ranges:
    """The ranges that values have, as far as some rows show them: with head room for others."""
    known: dict[Op, tuple[np.ndarray, np.ndarray]] = {}

    def ranges(op: Op) -> tuple[np.ndarray, np.ndarray]:
        if op not in known:
            known[op] = with_head_room(evaluate(Graph({"value": op}), rows)["value"].astype(np.float64))
        return known[op]

    return ranges


def with_head_room(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The range of each column, and TAILS times as much beyond each end as the last tenth of the values spreads there.

    So a column that ends at a limit gets nothing, one with a long tail much. Where no value is negative, none will be,
    or no positive one. values: float64 [N, C].
    """
    some = np.array(values[:: -(-len(values) // MANY)].T, order="C")
    count = some.shape[1]
    last = min(count, max(2, -(-count // 10)))
    some.partition([last - 1, count - last], axis=1)
    least, most = values.min(axis=0), values.max(axis=0)
    low = least - TAILS * (some[:, last - 1 : last] - some[:, :last]).mean(axis=1)
    high = most + TAILS * (some[:, count - last :] - some[:, count - last : count - last + 1]).mean(axis=1)
    return np.where(least >= 0, np.maximum(low, 0), low), np.where(most <= 0, np.minimum(high, 0), high)
