"""Searches among stored rows: the closest centre, and the nearest rows in the very order of the source.

The nearest are found in two steps. Vectors of rows meet all stored rows: by float32 products, whose error has a bound,
or by the exact distances. What may be among the nearest is listed; of each row's list, exact distances decide, formed
as the reference forms them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from tensorml import ops
from tensorml.executors.simd.addresses import I64, constant, intrinsic, load, pointer, store
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.kernels import NANOSECONDS, Term, grouped, sums, together_at
from tensorml.executors.simd.machine import LANES, Assembler, Block
from tensorml.executors.simd.rules import result, rule
from tensorml.executors.simd.vectors import Lanes
from tensorml.graph import Const, Op

FEW = 64  # stored rows below which exact distances are formed at once
MOST_NEAREST = 64
SORTED = 15  # nearest rows up to which the source's sort keeps the order of equal ones
CHUNK_BYTES = 256 * 1024  # of the distances that wait to be read again
CLOSE = 3 * 2.0**-24  # the relative error of each term of a product, and a half more
METRICS = {"euclidean": 0, "manhattan": 1, "chebyshev": 2}
TIES = {"index": 0, "heap": 1, "heaps": 2}
BYTES = 64  # of a vector


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
        before, loop, after = b.block, b.append_basic_block("group"), b.append_basic_block("found")
        b.branch(loop)
        b.position_at_end(loop)
        g, least, place = b.phi(I64), b.phi(v.vector), b.phi(v.whole)
        at = b.mul(g, constant(count))
        stored = b.add(py, b.mul(b.mul(at, depth), constant(size)))
        found = sums(v, products(v), lambda f: v.load(b.load(pointer(b, px, f, I64)), first), stored, depth, count)
        best, where = least, place
        for k, total in enumerate(found):
            index = b.add(at, constant(k))
            value = v.fma(total, v.number(-2), v.each(ps, index))
            closer = b.fcmp_ordered("<", value, best)
            if k == 0:  # the very first one stays even if it is NaN
                start = v.spread(b.icmp_signed("==", g, constant(0)))
                closer = b.or_(closer, start)
            best = b.select(closer, value, best)
            where = b.select(closer, v.spread(b.trunc(index, v.whole.element) if size == 4 else index), where)
        following = b.add(g, constant(1))
        last = b.block
        b.cbranch(b.icmp_signed("<", following, number), loop, after)
        for phi, start, new in ((g, constant(0), following), (least, v.number(0), best), (place, v.integer(0), where)):
            phi.add_incoming(start, before)
            phi.add_incoming(new, last)
        b.position_at_end(after)
        long = ir.VectorType(I64, v.count)
        b.store(b.sext(where, long) if size == 4 else where, pointer(b, po, first, I64, long), align=8)
        return context.get_dummy_value()

    return signature, generate


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
    known = isinstance(op, ops.ClosestCentre) and isinstance(op.table, Const) and isinstance(op.squares, Const)
    return known and op.x.columns > 0 and len(op.table.value) > 0 and op.x.dtype.kind == "f"


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


@intrinsic
def scan(
    typing: Any, x: Any, y: Any, squares: Any, values: Any, least: Any, best: Any, features: Any, count: Any,
    metric: Any, together: Any, dtype: Any,
) -> Any:  # fmt: skip
    """What a vector of rows has to a group of stored rows: written to `values`, the least of it to `least`.

    That also goes into `best`, the `count` least ones so far of each row, in ascending order. x: the address of one
    vector for each feature.
    """
    given = (x, y, squares, values, least, best, features, count, metric, together, dtype)
    name, several, kind = metric.literal_value, together.literal_value, dtype.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        px, py, ps, pv, pm, pb, depth, slots = arguments[:8]
        v = Lanes(context, b, kind)
        step = constant(v.count)
        found = sums(v, terms(v, name), lambda f: v.load(px, b.mul(f, step)), py, depth, several)
        if kind == "float32":
            found = [v.fma(total, v.number(-2), v.each(ps, constant(k))) for k, total in enumerate(found)]
        lowest = found[0]
        for k, value in enumerate(found):
            v.store(value, pv, constant(k * v.count))
            lowest = v.lower(value, lowest)
        v.store(lowest, pm, constant(0))
        last = v.load(pb, b.mul(b.sub(slots, constant(1)), step))
        with b.if_then(b.icmp_unsigned("!=", v.mask(b.fcmp_ordered("<", lowest, last)), constant(0)), likely=False):
            insert(v, lowest, pb, slots)
        return context.get_dummy_value()

    return types.void(*given), generate


def insert(v: Lanes, value: Any, best: Any, slots: Any) -> None:
    """Put a vector among sorted ones; what falls off the end is lost."""
    b = v.b
    before, loop, after = b.block, b.append_basic_block("slot"), b.append_basic_block("inserted")
    b.branch(loop)
    b.position_at_end(loop)
    i, carried = b.phi(I64), b.phi(v.vector)
    at = b.mul(i, constant(v.count))
    held = v.load(best, at)
    smaller = b.fcmp_ordered("<", carried, held)
    v.store(b.select(smaller, carried, held), best, at)
    larger, following = b.select(smaller, held, carried), b.add(i, constant(1))
    b.cbranch(b.icmp_signed("<", following, slots), loop, after)
    i.add_incoming(constant(0), before)
    i.add_incoming(following, loop)
    carried.add_incoming(value, before)
    carried.add_incoming(larger, loop)
    b.position_at_end(after)


@intrinsic
def at_most(typing: Any, values: Any, limits: Any, dtype: Any) -> Any:
    """Which of a vector's numbers are at most the limits, as bits."""
    kind = dtype.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v = Lanes(context, b, kind)
        left, right = (v.load(address, constant(0)) for address in arguments[:2])
        return v.mask(b.fcmp_ordered("<=", left, right))

    return types.int64(values, limits, dtype), generate


@intrinsic
def trailing_zeros(typing: Any, x: Any) -> Any:
    """The place of the lowest bit."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return b.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(x), generate


@njit(error_model="numpy", forceinline=True)
def distance(row, y, features, kind):
    """The exact surrogate between two rows of float64. kind: a value of METRICS."""
    total = 0.0
    for f in range(features):
        gap = abs(load(row, f, "float64") - load(y, f, "float64"))
        if kind == 0:
            total += gap * gap
        elif kind == 1:
            total += gap
        else:
            total = max(total, gap)
    return total


@njit(error_model="numpy", forceinline=True)
def push(heap, points, size, value, point):
    """Push onto a max-heap of fixed size, unless it is not below the largest. See `ops.sorting.push`."""
    if not value < load(heap, 0, "float64"):
        return
    place, moving = 0, True
    while moving:
        child = 2 * place + 1
        if child + 1 < size and load(heap, child, "float64") < load(heap, child + 1, "float64"):
            child += 1
        moving = child < size and value < load(heap, min(child, size - 1), "float64")
        if moving:
            store(heap, place, load(heap, child, "float64"), "float64")
            store(points, place, load(points, child, "int64"), "int64")
            place = child
    store(heap, place, value, "float64")
    store(points, place, point, "int64")


@njit(error_model="numpy", forceinline=True)
def keep(near, points, held, most, value, point):
    """Put one into a list that is sorted by distance, behind equal ones. Result: how many the list holds, `most` at

    most.
    """
    if held == most and not value < load(near, most - 1, "float64"):
        return held
    i = held if held < most else most - 1
    while i > 0 and load(near, i - 1, "float64") > value:
        store(near, i, load(near, i - 1, "float64"), "float64")
        store(points, i, load(points, i - 1, "int64"), "int64")
        i -= 1
    store(near, i, value, "float64")
    store(points, i, point, "int64")
    return min(held + 1, most)


@njit(error_model="numpy")
def all_by_index(row, table, features, count, kind, near, points, most):
    """The nearest of the whole table, of equal ones the first."""
    held = 0
    for j in range(count):
        value = distance(row, table + 8 * j * features, features, kind)
        held = keep(near, points, held, most, value, j)


@njit(error_model="numpy")
def all_by_heaps(row, table, features, count, kind, near, points, k, heap, kept, twice):
    """The nearest as the source's heaps keep them, sorted so that equal ones stay in their order."""
    for i in range(2 * k):
        store(heap, i, np.inf, "float64")
        store(kept, i, 0, "int64")
    for j in range(count):
        push(heap, kept, k, distance(row, table + 8 * j * features, features, kind), j)
    if twice:
        for i in range(k):
            push(heap + 8 * k, kept + 8 * k, k, load(heap, i, "float64"), load(kept, i, "int64"))
        heap, kept = heap + 8 * k, kept + 8 * k
    held = 0
    for i in range(k):
        held = keep(near, points, held, k, load(heap, i, "float64"), load(kept, i, "int64"))


@njit(error_model="numpy", forceinline=True)
def tied(near, last):
    """Whether two neighbours in a sorted list are equal, the last being `last`."""
    for i in range(last):
        if load(near, i, "float64") == load(near, i + 1, "float64"):
            return True
    return False


@njit(error_model="numpy", forceinline=True)
def prepare(x, row, features, centre, vectors, sizes, lanes, dtype):
    """Features of a vector of rows beside each other, less the centre; the sum of their squares."""
    for r in range(lanes):
        store(sizes, r, 0.0, dtype)
    for f in range(features):
        column, middle, at = load(x, f, "int64") + 8 * row, load(centre, f, "float64"), f * lanes
        for r in range(lanes):
            value = load(column, r, "float64") - middle
            store(vectors, at + r, value, dtype)
            store(sizes, r, load(sizes, r, dtype) + load(vectors, at + r, dtype) * load(vectors, at + r, dtype), dtype)


@njit(error_model="numpy", forceinline=True)
def listed(values, least, limits, groups, together, start, lists, counts, most, dtype):
    """Add the stored rows at or below the limits to each row's list. start: the number of the first of them."""
    for g in range(groups):
        if at_most(least + 64 * g, limits, dtype) != 0:
            for k in range(together):
                hits = at_most(values + 64 * (g * together + k), limits, dtype)
                while hits != 0:
                    lane = trailing_zeros(hits)
                    hits &= hits - 1
                    n = load(counts, lane, "int64")
                    if n < most:
                        store(lists, lane * most + n, start + g * together + k, "int64")
                    store(counts, lane, n + 1, "int64")


@cache
def nearest(metric: str, kind: int, together: int, dtype: str, size: int) -> Kernel:
    """Parameters: features, groups, groups in a chunk, k, stored rows, how many a list holds, the way of ties, whether

    that is known; addresses: groups, their squares, the table, its centre, two numbers of the error; the place of room;
    places of the features and of the results.
    """
    lanes, finite = 64 // size, float(np.finfo(dtype).max)

    def kernel(p: int, first: int, rows: int) -> int:
        features, groups, chunk, k = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64"), load(p, 3, "int64")
        count, most, ties, known = load(p, 4, "int64"), load(p, 5, "int64"), load(p, 6, "int64"), load(p, 7, "int64")
        y, squares, table, centre = load(p, 8, "int64"), load(p, 9, "int64"), load(p, 10, "int64"), load(p, 11, "int64")
        error, wanted = load(p, 12, "int64"), min(k + 1, count)
        x, out = p + 112, p + 112 + 8 * features
        best = (load(p, 13, "int64") + 63) // 64 * 64
        least = best + 64 * wanted
        values = least + 64 * chunk
        vectors = values + 64 * chunk * together
        sizes = vectors + 64 * features
        limits, counts = sizes + 64, sizes + 128
        lists = counts + 8 * lanes
        row_, near = lists + 8 * lanes * most, lists + 8 * lanes * most + 8 * features
        points = near + 8 * wanted
        heap, kept = points + 8 * wanted, points + 8 * wanted + 16 * k
        for row in range(0, rows, lanes):
            prepare(x, row, features, centre, vectors, sizes, lanes, dtype)
            for i in range(wanted * lanes):
                store(best, i, np.inf, dtype)
            for r in range(lanes):
                store(counts, r, 0, "int64")
            for begin in range(0, groups, chunk):
                end = min(begin + chunk, groups)
                for g in range(begin, end):
                    at = g - begin
                    scan(
                        vectors, y + g * features * together * size, squares + g * together * size,
                        values + 64 * at * together, least + 64 * at, best, features, wanted, metric, together, dtype,
                    )  # fmt: skip
                for r in range(lanes):
                    doubt = (load(sizes, r, dtype) + load(error, 0, "float64")) * load(error, 1, "float64")
                    last = load(best, (wanted - 1) * lanes + r, dtype)
                    store(limits, r, min(last + doubt, finite), dtype)
                listed(values, least, limits, end - begin, together, begin * together, lists, counts, most, dtype)
            for r in range(min(lanes, rows - row)):
                for f in range(features):
                    store(row_, f, load(load(x, f, "int64"), row + r, "float64"), "float64")
                n, held = load(counts, r, "int64"), 0
                doubt = (load(sizes, r, dtype) + load(error, 0, "float64")) * load(error, 1, "float64")
                if n > most or n < wanted or not doubt < 1e30:
                    all_by_index(row_, table, features, count, kind, near, points, wanted)
                else:
                    for i in range(n):
                        j = load(lists, r * most + i, "int64")
                        value = distance(row_, table + 8 * j * features, features, kind)
                        held = keep(near, points, held, wanted, value, j)
                if ties != 0 and tied(near, wanted - 1):
                    if known == 0:
                        return 1
                    all_by_heaps(row_, table, features, count, kind, near, points, k, heap, kept, ties == 2)
                for i in range(k):
                    store(load(out, i, "int64"), row + r, load(points, i, "int64"), "int64")
        return 0

    return Kernel(kernel)


def can_search(op: Op) -> bool:
    """Whether there is a kernel."""
    if not isinstance(op, ops.Nearest) or not isinstance(op.table, Const) or op.metric not in METRICS or op.true:
        return False
    return op.x.dtype == np.dtype(np.float64) and 0 < op.k <= MOST_NEAREST and op.x.columns > 0


@rule(ops.Nearest, accepts=can_search)
def nearest_rule(assembler: Assembler, op: ops.Nearest, x: Block, table: Const) -> Block:
    """By products where the metric has them and the table is long, else by exact distances."""
    block, rows = result(assembler, op), table.value
    by_products = op.metric == "euclidean" and len(rows) >= FEW
    dtype, together, wanted = (
        np.dtype(np.float32 if by_products else np.float64),
        together_at(),
        min(op.k + 1, len(rows)),
    )
    lanes, groups, most = 64 // dtype.itemsize, -(-len(rows) // together), 4 * wanted + 32
    chunk = min(groups, max(1, CHUNK_BYTES // (BYTES * together)))
    stored, squares, centre, error = stored_rows(rows, together, by_products)
    sizes = BYTES * (wanted + chunk * (together + 1) + rows.shape[1] + 3)
    sizes += 8 * (lanes * (most + 1) + rows.shape[1] + 2 * wanted + 4 * op.k)
    room = assembler.reserve(-(-sizes // LANES) + 1)
    known = not op.tree and op.sort == "introsort" and op.k <= SORTED
    parameters = [rows.shape[1], groups, chunk, op.k, len(rows), most, TIES[op.ties], int(known)]
    parameters += [assembler.constant(array) for array in (stored, squares, rows, centre, error)]
    kernel = nearest(op.metric, METRICS[op.metric], together, dtype.name, dtype.itemsize)
    time = NANOSECONDS[dtype.itemsize] * len(rows) * (rows.shape[1] * (1 if by_products else 2) + 6)
    time += 5.0 * wanted * rows.shape[1] + 100
    assembler.add(kernel, *parameters, assembler.place(room), *x.columns, *block.columns, cost=time)
    assembler.release(room)
    return block


def stored_rows(
    rows: np.ndarray, together: int, by_products: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The groups, their squares, the centre that was taken off, and the error's bound: a size, and its factor.

    A product's error is at most CLOSE (F + 8) times the squares of both rows; two of these lie between the least
    products and what may be as near. What fills up the last group is infinitely far.
    """
    if not by_products:
        filled = np.full((-(-len(rows) // together) * together, rows.shape[1]), np.inf)
        filled[: len(rows)] = rows
        return grouped(filled, together), np.empty(1), np.zeros(rows.shape[1]), np.zeros(2)
    with np.errstate(over="ignore"):
        centre = rows.mean(axis=0)
        close = (rows - centre).astype(np.float32)
        squares = np.full(-(-len(rows) // together) * together, np.inf, np.float32)
        squares[: len(rows)] = (close * close).sum(axis=1)
        error = np.array([float(squares[: len(rows)].max()) + 1e-30, 2 * CLOSE * (rows.shape[1] + 8)])
    return grouped(close, together), squares, centre, error
