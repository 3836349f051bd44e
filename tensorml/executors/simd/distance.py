"""Distances between a block's rows and stored rows; the closest centre of each row."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from tensorml import ops
from tensorml.executors.simd.addresses import I64, constant, intrinsic, load, pointer, repeated, store
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.kernels import NANOSECONDS, Term, grouped, sums, together_at
from tensorml.executors.simd.machine import Assembler, Block
from tensorml.executors.simd.rules import result, rule
from tensorml.executors.simd.vectors import Lanes
from tensorml.graph import Const, Op

METRICS = {"euclidean": 0, "manhattan": 1, "chebyshev": 2}  # those with exact distances here, and their numbers


@intrinsic
def closest(
    typing: Any, x: Any, y: Any, squares: Any, out: Any, row: Any, features: Any, groups: Any, together: Any, dtype: Any
) -> Any:
    """The first stored row of the least square - 2 x y, for a vector of rows. Written as int64 numbers."""
    signature = types.void(x, y, squares, out, row, features, groups, together, dtype)
    count, size = together.literal_value, 4 if dtype.literal_value == "float32" else 8

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        px, py, ps, po, first, depth, number = arguments[:7]
        v = Lanes(context, b, dtype.literal_value)

        def group(carried: list[Any]) -> tuple[Any, list[Any]]:
            g, least, place = carried
            at = b.mul(g, constant(count))
            stored = b.add(py, b.mul(b.mul(at, depth), constant(size)))
            found = sums(v, products(v), lambda f: v.load(b.load(pointer(b, px, f, I64)), first), stored, depth, count)
            values = (v.fma(total, v.number(-2), v.each(ps, b.add(at, constant(k)))) for k, total in enumerate(found))
            least, place = least_of(v, values, at, b.icmp_signed("==", g, constant(0)), least, place)
            following = b.add(g, constant(1))
            return b.icmp_signed("<", following, number), [following, least, place]

        _, _, where = repeated(b, [constant(0), v.number(0), v.integer(0)], group)
        long = ir.VectorType(I64, v.count)
        b.store(b.sext(where, long) if size == 4 else where, pointer(b, po, first, I64, long), align=8)
        return context.get_dummy_value()

    return signature, generate


def least_of(v: Lanes, values: Iterable[Any], at: Any, first: Any, least: Any, place: Any) -> tuple[Any, Any]:
    """The least value so far of each lane, and its number. at: that of the first value; first: whether it is 0."""
    b = v.b
    for k, value in enumerate(values):
        number = b.add(at, constant(k))
        closer = b.fcmp_ordered("<", value, least)
        if k == 0:  # the very first one stays even if it is NaN
            closer = b.or_(closer, v.spread(first))
        least = b.select(closer, value, least)
        place = b.select(closer, v.spread(b.trunc(number, v.whole.element) if v.size == 4 else number), place)
    return least, place


def products(v: Lanes) -> Term:
    """The sum of products with one more."""
    return lambda total, x, y: v.fma(x, y, total)


@cache
def closest_centre(together: int, dtype: str, size: int) -> Kernel:
    """Parameters: features, groups, addresses of centres and squares; places of the result and of the features."""

    def kernel(p: int, first: int, rows: int) -> int:
        features, groups, out = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 4, "int64")
        for row in range(0, rows, 64 // size):
            closest(p + 40, load(p, 2, "int64"), load(p, 3, "int64"), out, row, features, groups, together, dtype)
        return 0

    return Kernel(kernel)


def has_constants(op: Op) -> bool:
    """Whether the centres are known."""
    if not isinstance(op, ops.ClosestCentre) or not isinstance(op.table, Const) or not isinstance(op.squares, Const):
        return False
    return op.x.columns > 0 and len(op.table.value) > 0 and op.x.dtype.kind == "f"


@rule(ops.ClosestCentre, accepts=has_constants)
def closest_centre_rule(assembler: Assembler, op: ops.ClosestCentre, x: Block, table: Const, squares: Const) -> Block:
    """Centres that fill up the last group are infinitely far."""
    block, together, size = result(assembler, op), together_at(), x.dtype.itemsize
    stored = grouped(table.value, together)
    far = np.full(len(stored) * together, np.inf, x.dtype)
    far[: len(table.value)] = squares.value[:, 0]
    addresses = assembler.constant(stored), assembler.constant(far)
    cost = NANOSECONDS[size] * len(far) * (len(x.columns) + 4)
    kernel = closest_centre(together, x.dtype.name, size)
    assembler.add(kernel, len(x.columns), len(stored), *addresses, block.columns[0], *x.columns, cost=cost)
    return block


def terms(v: Lanes, metric: str) -> Term:
    """How a sum grows by a feature. Products of float32; else distances as the reference rounds them."""
    b = v.b

    def exact(total: Any, x: Any, y: Any) -> Any:
        gap = b.fsub(x, y)
        if metric == "euclidean":
            return b.fadd(total, b.fmul(gap, gap))
        gap = v.call("fabs", gap)
        if metric == "manhattan":
            return b.fadd(total, gap)
        return b.select(b.fcmp_ordered(">", gap, total), gap, total)

    return products(v) if v.name == "float32" else exact


@njit(error_model="numpy", forceinline=True)
def grown(total, gap, kind):
    """The exact surrogate of a distance with one feature more. gap: the difference, not below 0; kind: of METRICS."""
    if kind == 0:
        return total + gap * gap
    return total + gap if kind == 1 else max(total, gap)


@njit(error_model="numpy", forceinline=True)
def distance(row, y, features, kind):
    """The exact surrogate between two rows of float64. kind: a value of METRICS."""
    total = 0.0
    for f in range(features):
        total = grown(total, abs(load(row, f, "float64") - load(y, f, "float64")), kind)
    return total


@intrinsic
def distances(
    typing: Any, x: Any, y: Any, out: Any, row: Any, features: Any, metric: Any, root: Any, together: Any
) -> Any:
    """The exact distances of a vector of rows to a group of stored rows, written to as many columns."""
    signature = types.void(x, y, out, row, features, metric, root, together)
    name, rooted, count = metric.literal_value, root.literal_value, together.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        px, py, po, first, depth = arguments[:5]
        v = Lanes(context, b, "float64")
        found = sums(v, terms(v, name), lambda f: v.load(b.load(pointer(b, px, f, I64)), first), py, depth, count)
        for k, total in enumerate(found):
            value = v.call("sqrt", total) if rooted else total
            v.store(value, b.load(pointer(b, po, constant(k), I64)), first)
        return context.get_dummy_value()

    return signature, generate


@cache
def all_distances(metric: str, root: int, together: int) -> Kernel:
    """Parameters: features, groups, the address of the groups; places of features and of results."""

    def kernel(p: int, first: int, rows: int) -> int:
        features, groups, y = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        x, out = p + 24, p + 24 + 8 * features
        for row in range(0, rows, 8):
            for g in range(groups):
                at = g * together
                distances(x, y + 8 * at * features, out + 8 * at, row, features, metric, root, together)
        return 0

    return Kernel(kernel)


def rooted(op: ops.Distance | ops.DistanceTo) -> int:
    """Whether the distance is a root."""
    return int(op.true and op.metric == "euclidean")


@cache
def chosen_distances(kind: int, root: int) -> Kernel:
    """Parameters: features, the table's address, chosen rows; places of features, of the choices and of results."""

    def kernel(p: int, first: int, rows: int) -> int:
        features, table, count = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        x, index, out = p + 24, p + 24 + 8 * features, p + 24 + 8 * (features + count)
        for k in range(count):
            here, to = load(index, k, "int64"), load(out, k, "int64")
            for r in range(rows):
                y = table + 8 * load(here, r, "int64") * features
                total = 0.0
                for f in range(features):
                    gap = abs(load(load(x, f, "int64"), r, "float64") - load(y, f, "float64"))
                    total = grown(total, gap, kind)
                store(to, r, math.sqrt(total) if root == 1 else total, "float64")
        return 0

    return Kernel(kernel)


def has_exact(op: Op) -> bool:
    """Whether its distances are exact here: of float64 rows, by a metric of METRICS."""
    if not isinstance(op, ops.Distance | ops.DistanceTo) or not isinstance(op.table, Const):
        return False
    known = op.metric in METRICS and op.x.dtype == np.dtype(np.float64)
    return known and op.x.columns > 0 and len(op.table.value) > 0


@rule(ops.Distance, accepts=has_exact)
def distance_rule(assembler: Assembler, op: ops.Distance, x: Block, table: Const) -> Block:
    """All of them. What fills up the last group goes to one place of no use."""
    block, together, width = result(assembler, op), together_at(), len(x.columns)
    stored, room = grouped(table.value, together), assembler.reserve(8)
    beyond = [assembler.place(room)] * (len(stored) * together - len(table.value))
    kernel, address = all_distances(op.metric, rooted(op), together), assembler.constant(stored)
    cost = NANOSECONDS[8] * len(block.columns) * (2 * width + 4 + 10 * rooted(op))
    assembler.add(kernel, width, len(stored), address, *x.columns, *block.columns, *beyond, cost=cost)
    assembler.release(room)
    return block


@rule(ops.DistanceTo, accepts=has_exact)
def distance_to_rule(assembler: Assembler, op: ops.DistanceTo, x: Block, table: Const, index: Block) -> Block:
    """Row by row, in the order of the reference."""
    block, width, count = result(assembler, op), len(x.columns), len(index.columns)
    kernel = chosen_distances(METRICS[op.metric], rooted(op))
    address = assembler.constant(table.value)
    places = (*x.columns, *index.columns, *block.columns)
    assembler.add(kernel, width, address, count, *places, cost=(1.5 * width + 5) * count)
    return block
