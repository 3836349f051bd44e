"""What each integer operator becomes in a circuit. A rule gets the operator, the design and its operands' columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tensorml import ops
from tensorml.executors.base import Rules
from tensorml.executors.fpga import raw
from tensorml.executors.fpga.circuit import Circuit
from tensorml.executors.fpga.design import Coded, Design, Signal, number, stages_of_compares
from tensorml.executors.fpga.fixed import width
from tensorml.executors.fpga.grid import RankWhole
from tensorml.executors.fpga.patterns import RankBits
from tensorml.executors.fpga.sums import total
from tensorml.executors.fpga.trees import chooser, nested, nested_symmetric
from tensorml.graph import Const, Graph, Input, Op

Columns = list[Signal]
Rule = Callable[..., list[Any]]
rules: Rules[Rule] = Rules("fpga")


def lower(graph: Graph, ranges: Mapping[str, tuple[np.ndarray, np.ndarray]], name: str, title: str) -> Circuit:
    """The circuit of a graph of integers.

    ranges: the least and the largest value of each column of each input, in the order that they have in a row.
    """
    design, results = designed(graph, ranges)
    return design.finished(name, title, results)


def designed(
    graph: Graph, ranges: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> tuple[Design, list[tuple[str, Signal]]]:
    """The pipeline of a graph of integers, and its results."""
    design = Design()
    fields = {
        name: [
            design.input(f"{name}_{c}", int(low), int(high)) for c, (low, high) in enumerate(zip(*ends, strict=True))
        ]
        for name, ends in ranges.items()
    }
    values: dict[Op, Any] = {}
    for op in graph.order:
        if isinstance(op, Input):
            values[op] = fields[op.name]
        elif isinstance(op, Const):
            values[op] = op.value
        elif isinstance(op, ops.Descend | ops.DescendSymmetric):
            values[op] = values[op.codes]
        else:
            values[op] = rules[op](op, design, *(values[o] for o in op.operands))
    results = []
    for label, op in graph.outputs.items():
        found = leaves(op, design, values[op]) if isinstance(op, ops.Descend | ops.DescendSymmetric) else values[op]
        results += [(f"{label}_{c}", signal) for c, signal in enumerate(found)]
    return design, results


@rules.rule(ops.Reshape, ops.Cast)
def same(op: Op, design: Design, x: Columns) -> Columns:
    """Columns keep their order."""
    return x


@rules.rule(ops.Columns)
def chosen(op: ops.Columns, design: Design, x: Columns) -> Columns:
    """Wires."""
    return [x[i] for i in op.indices]


@rules.rule(ops.Fill)
def filled(op: ops.Fill, design: Design, like: Columns) -> Columns:
    """Constants."""
    return [number(int(op.value))] * int(np.prod(op.shape_))


@rules.rule(ops.Concat)
def joined(op: ops.Concat, design: Design, *parts: Columns) -> Columns:
    """Wires."""
    return [signal for part in parts for signal in part]


def spread(value: Columns | np.ndarray, count: int) -> Columns:
    """An operand as signals; a constant for each column."""
    if isinstance(value, np.ndarray):
        return [number(int(v)) for v in np.broadcast_to(value.reshape(-1) if value.ndim else value, count)]
    return value


@rules.rule(ops.Add)
def add(op: ops.Add, design: Design, x: Columns, y: Columns | np.ndarray) -> Columns:
    """An adder for each column."""
    return [design.sum("moved", "Offsets", [a, b]) for a, b in zip(x, spread(y, len(x)), strict=True)]


@rules.rule(ops.Sub)
def subtract(op: ops.Sub, design: Design, x: Columns, y: np.ndarray) -> Columns:
    """Of a constant."""
    return add(op, design, x, np.asarray(-y))  # pyright: ignore[reportArgumentType]


@rules.rule(ops.Mul)
def multiply(op: ops.Mul, design: Design, x: Columns, y: Columns | np.ndarray) -> Columns:
    """A multiplier for each column."""
    return [design.product("product", "Products", a, b) for a, b in zip(x, spread(y, len(x)), strict=True)]


@rules.rule(ops.Saturate)
def saturate(op: ops.Saturate, design: Design, x: Columns) -> Columns:
    """Two compares and a choice."""
    limits = zip(x, op.low.reshape(-1), op.high.reshape(-1), strict=True)
    return [design.clamp("limited", "Limits", a, int(low), int(high)) for a, low, high in limits]


@rules.rule(ops.ShiftRight)
def shift_right(op: ops.ShiftRight, design: Design, x: Columns) -> Columns:
    """Half is added, the low bits are left out."""
    return [design.shift_right("rounded", "Rounding", a, op.shift, op.nearest) for a in x]


@rules.rule(ops.WeightedSum)
def weighted_sum(op: ops.WeightedSum, design: Design, x: Columns) -> Columns:
    """Multipliers by constants, then adders."""
    results = []
    for column in range(op.weights.shape[1]):
        weights = op.weights[:, column]
        terms = [
            design.product("product", "Products with weights", a, number(int(w)))
            for a, w in zip(x, weights, strict=True)
            if w
        ]
        results.append(design.adder_tree("sum", "Sums of products", terms))
    return results


@rules.rule(ops.Take)
def take(op: ops.Take, design: Design, table: np.ndarray, index: Columns) -> Columns:
    """A table, read by a case statement."""
    return [design.table("curve", "A function's values", i, [int(v) for v in table]) for i in index]


@rules.rule(ops.Lines)
def lines(op: ops.Lines, design: Design, x: Columns) -> Columns:
    """A table read by the high bits, a product with the low ones, a sum."""
    return [line(op, design, index) for index in x]


def line(op: ops.Lines, design: Design, index: Signal) -> Signal:
    """Of one column. The zeros at the end of all bases are not in the table."""
    if index.constant:
        return number(int(op.at(np.array(index.low))))
    note, every = "A function by straight lines", int(np.bitwise_or.reduce(op.base))
    zeros = (every & -every).bit_length() - 1 if every else 0
    piece = shifted(design, "piece", note, index, op.low)
    rest = cut(design, "rest", index, 0, op.low, 0, min(index.high, 2**op.low - 1)) if op.low else number(0)
    base, slope = beside(design, "line", note, piece, [op.base >> zeros, op.slope])
    if base.constant:
        base = number(base.low << zeros)
    elif zeros:
        limits = base.low << zeros, base.high << zeros
        base = design.wire("base", f"{{{base.name}, {zeros}'d0}}", *limits, base.stage)
    rise = design.product("rise", note, slope, rest)
    return shifted(design, "curve", note, design.sum("curve", note, [base, rise]), op.shift)


def shifted(design: Design, stem: str, note: str, x: Signal, shift: int) -> Signal:
    """X >> shift."""
    return design.shift_right(stem, note, x, shift, nearest=False) if shift else x


def cut(design: Design, stem: str, x: Signal, first: int, count: int, low: int, high: int) -> Signal:
    """Some bits of a signal, as an integer from `low` to `high`."""
    if first == 0 and count >= x.width:
        return x
    place = f"{first + count - 1}:{first}" if count > 1 else f"{first}"
    return design.wire(stem, f"{x.name}[{place}]", low, high, x.stage)


def beside(design: Design, stem: str, note: str, index: Signal, tables: Sequence[np.ndarray]) -> list[Signal]:
    """What is at a place of some tables: one table whose words hold all of it."""
    if index.constant:
        return [number(int(table[index.low])) for table in tables]
    ends = [(int(table.min()), int(table.max())) for table in tables]
    sizes = [max(1, width(*end)) if end[0] < end[1] else 0 for end in ends]
    if sum(size > 0 for size in sizes) < 2:  # no words of several parts
        return [design.table(stem, note, index, [int(v) for v in table]) for table in tables]
    places = np.cumsum([0, *sizes])
    words = [
        sum((int(v) & (1 << size) - 1) << int(place) for v, size, place in zip(values, sizes, places, strict=False))
        for values in zip(*tables, strict=True)
    ]
    word = design.table(stem, note, index, words)
    return [
        cut(design, f"{stem}_part", word, int(place), size, *end) if size else number(end[0])
        for size, place, end in zip(sizes, places, ends, strict=False)
    ]


@rules.rule(RankBits)
def ranked(op: RankBits, design: Design, bits: Columns) -> list[Coded]:
    """The patterns in the order of the floats, NaN at its end; nodes compare them with thresholds."""
    return [raw.coded(design, bits[int(source)], op, k) for k, source in enumerate(op.source)]


@rules.rule(RankWhole)
def ranked_whole(op: RankWhole, design: Design, x: Columns) -> list[Coded]:
    """The numbers themselves; nodes compare them with thresholds."""
    return [Coded(x[int(c)], tuple(op.column(k).tolist())) for k, c in enumerate(op.source)]


@rules.rule(ops.LeafSum)
def leaf_sum(op: ops.LeafSum, design: Design, codes: Columns) -> Columns:
    """A choice among leaves for each tree and output, then adders."""
    terms: list[Columns] = [[] for _ in op.start]
    for tree, choose in enumerate(choices(op.leaves, design, codes)):
        for k in range(op.values.shape[1]):
            output = k if op.output is None else int(op.output[tree])
            value = choose(lambda leaf, k=k: int(op.values[leaf, k]))
            terms[output].append(value)
    return [total(design, "sum", "Sums of leaves", [*t, number(int(s))]) for t, s in zip(terms, op.start, strict=True)]


def leaves(op: ops.Descend | ops.DescendSymmetric, design: Design, codes: Columns) -> Columns:
    """The number of each tree's leaf."""
    return [choose(lambda leaf: leaf) for choose in choices(op, design, codes)]


Choose = Callable[[Callable[[int], int]], Signal]  # from what each leaf holds to what the row's leaf holds


def choices(op: Op, design: Design, codes: Columns) -> Sequence[Choose]:
    """For each tree what chooses among values of its leaves."""
    build = nested_symmetric if isinstance(op, ops.DescendSymmetric) else nested
    ready = level(design, codes)
    return [chooser(design, ready, tree) for tree in build(op)]  # pyright: ignore[reportArgumentType]


def level(design: Design, codes: Sequence[Signal | Coded]) -> list[Signal | Coded]:
    """Codes at such stages that all compares end in the same one: the codes wait, which are fewer bits."""
    signals = [x.signal if isinstance(x, Coded) else x for x in codes]
    latest = max((x.stage + stages_of_compares(x) for x in signals), default=0)
    later = [design.at(x, latest - stages_of_compares(x)) for x in signals]
    return [replace(x, signal=s) if isinstance(x, Coded) else s for x, s in zip(codes, later, strict=True)]
