"""Which operators of a part are computed in rows, and which in columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tensorml import ops
from tensorml.executors.simd.families import handles, rules
from tensorml.executors.simd.rows import by_rows
from tensorml.executors.simd.rules import own_operands
from tensorml.graph import Const, Op

SINGLE, DOUBLE = "float32", "float64"


def reads(op: Op) -> tuple[Op, ...]:
    """The operators whose values this one is computed from."""
    return rules[type(op)].reads(op) if handles(op) else own_operands(op)


@dataclass(frozen=True)
class Layout:
    """rows: what is computed in rows. skipped: the casts of these that the product after them does as it reads.

    doubts: the products that refuse what their operand's check would, if there is anything: then their results show it.
    """

    rows: frozenset[Op] = frozenset()
    skipped: frozenset[Op] = frozenset()
    doubts: Mapping[Op, Op] = field(default_factory=dict)

    def sources(self, op: Op) -> tuple[Op, ...]:
        """The operators whose values its instructions read."""
        if op not in self.rows:
            return reads(op)
        found = tuple(each.operands[0] if each in self.skipped else each for each in op.operands)
        return (*found, self.doubts[op]) if op in self.doubts else found


class Readers:
    """Who reads the values of some operators. made: what is read from outside of them."""

    def __init__(self, order: Sequence[Op], made: Collection[Op]):
        self.found: dict[Op, list[Op]] = {}
        self.made = frozenset(made)
        for op in order:
            for each in reads(op):
                self.found.setdefault(each, []).append(op)

    def of(self, op: Op) -> list[Op]:
        """The operators that read one."""
        return self.found.get(op, [])

    def alone(self, op: Op) -> bool:
        """Whether one operator reads it, and nobody else."""
        return len(self.of(op)) == 1 and op not in self.made


def layout(order: Sequence[Op], given: Collection[Op], made: Collection[Op]) -> Layout:
    """Rows from what is given on, as far as all that reads them takes rows.

    order: all operators; given: what they read from elsewhere; made: what is read of them from elsewhere, as rows.
    """
    readers = Readers(order, made)
    rows = {op for op in order if by_rows(op)}
    before: set[Op] = set()
    while rows != before:
        before, rows = rows, {op for op in rows if stays(op, rows, given, readers)}
    products = [op for op in rows if isinstance(op, ops.MatMul)]
    skipped = {op.x for op in products if widens(op.x) and op.x in rows and readers.alone(op.x)}
    doubts: dict[Op, Op] = {op: check for op in products if (check := doubted(op, rows, readers))}
    return Layout(frozenset(rows), frozenset(skipped), doubts)


def stays(op: Op, rows: Collection[Op], given: Collection[Op], readers: Readers) -> bool:
    """Whether an operator finds rows, and its readers take them."""
    found, rule = all(isinstance(each, Const) or each in rows or each in given for each in op.operands), by_rows(op)
    taken = all(each in rows for each in readers.of(op))
    return found and rule is not None and (taken or rule.turns(op))


def widens(op: Op) -> bool:
    """Whether it is a cast that a product does by itself."""
    return isinstance(op, ops.Cast) and (op.x.dtype.name, op.dtype.name) == (SINGLE, DOUBLE)


def doubted(product: ops.MatMul, rows: Collection[Op], readers: Readers) -> Op | None:
    """The check of what a product is computed from, if that is all that it is for; None if there is none.

    What leads from there to the product keeps infinities and NaN, or makes the one of the other.
    """
    op = product.x
    while op in rows and readers.alone(op):
        match op:
            case ops.Finite(nan=False):
                return op
            case ops.Add(x=x, y=Const()) | ops.Sub(x=x, y=Const()) | ops.Mul(x=x, y=Const()) | ops.Div(x=x, y=Const()):
                op = x
            case ops.Cast(x=x) if op.dtype.kind == "f" == x.dtype.kind:
                op = x
            case _:
                return None
    return None
