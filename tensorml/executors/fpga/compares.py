"""What walkers compare: the fields of a row as words of one width, and the bounds that nodes in memory hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.circuit import Field
from tensorml.executors.fpga.grid import RankWhole
from tensorml.executors.fpga.patterns import RankBits
from tensorml.executors.fpga.raw import bound, order
from tensorml.graph import Input, Op
from tensorml.passes.columns import by_column

Kind = Literal["unsigned", "signed", "float"]


@dataclass(frozen=True)
class Column:
    """A column of codes, which is not formed: where it reaches rank r, field `place` is at least bounds[r - 1].

    bounds: None where the field is the code itself. low, high: the range of the field's numbers. nan: the code of NaN;
    None where there is none. dtype: of floats, whose bit patterns the field has.
    """

    place: int
    low: int
    high: int
    bounds: tuple[int, ...] | None = None
    nan: int | None = None
    dtype: np.dtype | None = None

    def bound(self, rank: int) -> int:
        """The least number that reaches a rank; one more than the highest where none does."""
        if self.bounds is not None:
            rank = self.low if rank <= 0 else self.bounds[rank - 1] if rank <= len(self.bounds) else self.high + 1
        return min(max(rank, self.low), self.high + 1)

    def always(self, rank: int) -> bool | None:
        """What a test for a rank says of every row; None if that depends on the row."""
        least = self.bound(rank)
        said = {least <= self.low, least <= self.high} | (set() if self.nan is None else {self.nan >= rank})
        return said.pop() if len(said) == 1 else None


def columns_of(codes: Op, fields: Mapping[str, Sequence[Column]]) -> list[Column] | None:
    """The columns of codes; None if they are computed otherwise. fields: of each input, by name."""

    def answer(op: Op) -> Sequence[Column | None] | Op:
        match op:
            case Input():
                return fields[op.name]
            case RankBits() | RankWhole():
                of = by_column(op.operands[0], answer)
                return [ranked(op, k, of[c]) for k, c in enumerate(op.source)]
            case ops.Cast():
                return op.x
        return [None] * op.columns

    found = by_column(codes, answer)
    known = [column for column in found if column is not None]
    return known if len(known) == len(found) else None


def ranked(op: RankBits | RankWhole, k: int, field: Column | None) -> Column | None:
    """Column k of the ranks of a field's numbers."""
    if field is None:
        return None
    if isinstance(op, RankWhole):
        return Column(field.place, field.low, field.high, tuple(op.column(k).tolist()))
    boundaries = op.boundaries[op.offsets[k] : op.offsets[k + 1]]
    low, high = (order(op.boundaries.dtype.type(end)) for end in (-np.inf, np.inf))
    bounds = tuple(bound(value, op.strict) for value in boundaries)
    return Column(field.place, low, high, bounds, int(op.nan[k]), op.boundaries.dtype)


@dataclass(frozen=True)
class Words:
    """Fields as words of so many bits. kind: of what; codes may be beside all of them.

    Words of floats are their patterns, as which codes compare like the tiny floats that have their bits.
    """

    bits: int
    kind: Kind = "unsigned"

    @property
    def rank(self) -> int:
        """The bits of what a node compares with: a word, and for floats whether NaN passes."""
        return self.bits + (self.kind == "float")

    def rank_of(self, column: Column, rank: int) -> int:
        """What a node compares with, as an unsigned integer."""
        offset = 0 if self.kind == "unsigned" else 1 << self.bits - 1
        passes = column.nan is not None and column.nan >= rank
        return (passes << self.bits) + column.bound(rank) + offset

    def extended(self, field: Field, low: int) -> str:
        """A field of the row that comes in, from bit `low` on, as a word."""
        high, more = low + field.width - 1, self.bits - field.width
        text = f"in_row[{high}:{low}]" if field.width > 1 else f"in_row[{low}]"
        filling = f"{more}'d0" if not field.signed else f"{{{more}{{in_row[{high}]}}}}"
        return f"{{{filling}, {text}}}" if more else text

    @property
    def ordered(self) -> str:
        """The register `code`, as an unsigned integer in the order of the numbers."""
        match self.kind:
            case "unsigned":
                return "code"
            case "signed":
                return f"code ^ {self.bits}'h{1 << self.bits - 1:x}"
        return f"code ^ {{1'b1, {{{self.bits - 1}{{code[{self.bits - 1}]}}}}}}"

    def passes(self, start: int) -> str:
        """Whether `ordered` passes the node `held`, whose rank is there from bit `start` on."""
        reached = f"ordered >= held[{start} +: {self.bits}]"
        if self.kind != "float":
            return reached
        fraction = np.finfo(f"f{self.bits // 8}").nmant
        nan = f"&code[{self.bits - 2}:{fraction}] && |code[{fraction - 1}:0]"
        return f"({nan}) ? held[{start + self.bits}] : {reached}"


def words_of(fields: Sequence[Field], columns: Sequence[Column]) -> Words | None:
    """The words that hold all fields; None if they would have to be floats of two types."""
    floats = {column.dtype for column in columns if column.dtype is not None}
    signed = any(field.signed for field in fields)
    if not floats:
        bits = max((field.width + (signed and not field.signed) for field in fields), default=1)
        return Words(bits, "signed" if signed else "unsigned")
    bits = 8 * max(dtype.itemsize for dtype in floats)
    patterns = {column.place for column in columns if column.dtype is not None}
    codes = [field for place, field in enumerate(fields) if place not in patterns]
    fits = len(floats) == 1 and all(not field.signed and field.width < bits - 1 for field in codes)
    return Words(bits, "float") if fits else None
