"""Operators that evaluate a curve at each element: lines between points, splines."""

from __future__ import annotations

from functools import cache

import numpy as np

from tensorml import ops
from tensorml.executors.simd.addresses import load, store
from tensorml.executors.simd.codes import FAN, LEVELS, reached, search
from tensorml.executors.simd.elementwise import combine
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Block, Parameter
from tensorml.executors.simd.rules import result, rule


@cache
def interpolating() -> Kernel:
    """Parameters: columns; for each the places of result and x, the address of its segments, the levels of the search,
    its address, and where the levels after the first begin. A segment: its begin, the value there, the slope, nothing.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        for c in range(load(p, 0, "int64")):
            word = p + 8 * (1 + (4 + LEVELS) * c)
            out, x, segments = load(word, 0, "int64"), load(word, 1, "int64"), load(word, 2, "int64")
            levels, tree = load(word, 3, "int64"), load(word, 4, "int64")
            for r in range(rows):
                value, node, at = load(x, r, "float64"), 0, 0
                for level in range(levels - 1):
                    node = (FAN + 1) * node + reached(tree, at + node, value, 0, "float64")
                    at = load(word, 5 + level, "int64")
                segment = segments + 32 * (FAN * node + reached(tree, at + node, value, 0, "float64"))
                line = (value - load(segment, 0, "float64")) * load(segment, 2, "float64")
                store(out, r, line + load(segment, 1, "float64"), "float64")
        return 0

    return Kernel(kernel)


def segments_of(points: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[points + 1, 4]: from each point to the next, by the number of points that a value has reached; level outside."""
    with np.errstate(all="ignore"):
        slopes = np.diff(values) / np.diff(points)
    table = np.zeros((len(points) + 1, 4))
    table[0, 1] = values[0]
    table[1:, 0], table[1:, 1] = points, values
    table[1:-1, 2] = np.where(np.isfinite(slopes), slopes, 0.0)
    return table


def few_points(op: object) -> bool:
    """Whether the search has no more levels than its instruction has room for."""
    return isinstance(op, ops.Interpolate) and int(np.diff(op.offsets).max(initial=0)) < FAN * (FAN + 1) ** (LEVELS - 1)


@rule(ops.Interpolate, accepts=few_points)
def interpolate_rule(assembler: Assembler, op: ops.Interpolate, x: Block) -> Block:
    """A search among the points, then the segment that it finds."""
    block = result(assembler, op)
    parameters: list[Parameter] = [len(x.columns)]
    for k, (out, place) in enumerate(zip(block.columns, x.columns, strict=True)):
        nodes, starts = search(op.column(k)[0])
        later = [*starts[1:], *[0] * (LEVELS - len(starts))]
        table = assembler.constant(segments_of(*op.column(k)))
        parameters += [out, place, table, len(starts), assembler.constant(nodes), *later]
    assembler.add(interpolating(), *parameters, cost=8.0 * len(x.columns))
    return block


@cache
def placing() -> Kernel:
    """The last inner knot that x has reached, and 0, or NaN where the result is.

    Parameters: columns, places of each column's knots, results and x: `b_spline_rule`.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        x, place, blank = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        knots, degree, count, open_ends = (
            load(p, 3, "int64"), load(p, 4, "int64"), load(p, 5, "int64"), load(p, 6, "int64"),
        )  # fmt: skip
        low, high = load(knots, degree, "float64"), load(knots, count, "float64")
        for r in range(rows):
            value = load(x, r, "float64")
            outside = (value != value) | ((open_ends == 0) & ((value < low) | (value > high)))
            store(blank, r, np.nan if outside else 0.0, "float64")
            store(place, r, degree, "int64")
        for k in range(degree + 1, count):
            knot = load(knots, k, "float64")
            for r in range(rows):
                store(place, r, load(place, r, "int64") + (load(x, r, "float64") >= knot), "int64")
        return 0

    return Kernel(kernel)


@cache
def recursion() -> Kernel:
    """De Boor's recursion: the splines that are not 0. Parameters: places of x, place, two rooms, the address of the
    knots, the degree, the places of the splines. Source: `tensorml.ops.curves.de_boor`, in its order.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        x, place, carry = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        knots, degree = load(p, 3, "int64"), load(p, 4, "int64")
        for r in range(rows):
            store(load(p, 5, "int64"), r, 1.0, "float64")
        for j in range(1, degree + 1):
            for r in range(rows):
                store(carry, r, 0.0, "float64")
            for n in range(1, j + 1):
                h = load(p, 4 + n, "int64")
                for r in range(rows):
                    at, value = load(place, r, "int64") + n, load(x, r, "float64")
                    after, before = load(knots, at, "float64"), load(knots, at - j, "float64")
                    same = after == before
                    w = combine("Div", load(h, r, "float64"), 1.0 if same else after - before)
                    kept = load(carry, r, "float64")
                    store(h, r, kept if same else kept + w * (after - value), "float64")
                    store(carry, r, 0.0 if same else w * (value - before), "float64")
            last = load(p, 5 + j, "int64")
            for r in range(rows):
                store(last, r, load(carry, r, "float64"), "float64")
        return 0

    return Kernel(kernel)


@cache
def spreading() -> Kernel:
    """Each spline of a column, 0 or NaN where the recursion has none. Parameters: places of `place` and `blank`, the
    degree, the splines, the places of those that are not 0, those of the results.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        place, blank, degree = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        for k in range(load(p, 3, "int64")):
            out = load(p, 5 + degree + k, "int64")
            for r in range(rows):
                store(out, r, load(blank, r, "float64"), "float64")
            for m in range(degree + 1):
                h, at = load(p, 4 + m, "int64"), k + degree - m
                for r in range(rows):
                    here = load(place, r, "int64") == at
                    value = load(h, r, "float64") + load(blank, r, "float64")
                    store(out, r, value if here else load(out, r, "float64"), "float64")
        return 0

    return Kernel(kernel)


@rule(ops.BSpline)
def b_spline_rule(assembler: Assembler, op: ops.BSpline, x: Block) -> Block:
    """Column after column, in room for the knot, for what is blank, for what is carried on, and for the splines."""
    block = result(assembler, op)
    room = assembler.allocate(4 + op.degree, x.dtype)
    place, blank, carry, *splines = room.columns
    for f, column in enumerate(x.columns):
        knots = assembler.constant(op.knots[f])
        outs = block.columns[f * op.count : (f + 1) * op.count]
        assembler.add(placing(), column, place, blank, knots, op.degree, op.count, int(op.extrapolate), cost=1.0)
        assembler.add(recursion(), column, place, carry, knots, op.degree, *splines, cost=5.0)
        assembler.add(spreading(), place, blank, op.degree, op.count, *splines, *outs, cost=5.0)
    assembler.release(*room.buffers)
    return block
