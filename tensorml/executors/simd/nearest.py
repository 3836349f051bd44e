"""The nearest stored rows, in the very order of the source.

They are found in two steps. Vectors of rows meet all stored rows: by float32 products, whose error has a bound, or by
the exact distances. What may be among the nearest is listed; of each row's list, exact distances decide, formed as the
reference forms them. Among few features, each row goes through the source's tree instead. Where distances are equal,
`heaps` finds what the source keeps.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from tensorml import ops
from tensorml.executors.simd.addresses import constant, intrinsic, load, repeated, store
from tensorml.executors.simd.distance import METRICS, distance, terms
from tensorml.executors.simd.heaps import (
    COUNT,
    FEATURES,
    LANES_OF_LEAF,
    NEAR,
    POINTS,
    ROW,
    SHARED,
    STABLE,
    TABLE,
    TIES,
    WANTED,
    K,
    by_heaps,
    keep,
    tied,
    trailing_zeros,
    word,
)
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.kernels import NANOSECONDS, grouped, sums, together_at
from tensorml.executors.simd.machine import LANES, Assembler, Block, Buffer, Parameter, Place
from tensorml.executors.simd.rules import result, rule
from tensorml.executors.simd.vectors import Lanes
from tensorml.graph import Const, Op

FEW = 64  # stored rows below which exact distances are formed at once
MOST_NEAREST = 64
SORTED = 15  # nearest rows up to which the source's sort keeps the order of equal ones
CHUNK_BYTES = 256 * 1024  # of the distances that wait to be read again
CLOSE = 3 * 2.0**-24  # the relative error of each term of a product, and a half more
VECTOR = 64  # bytes
GROUPS, CHUNK, MOST, Y, SQUARES, CENTRE, ERROR = range(SHARED, SHARED + 7)  # more words of a search by all stored rows
BEST, LEAST, VALUES, VECTORS, SIZES, LIMITS, COUNTS, LISTS = range(SHARED + 7, SHARED + 15)
SCANNED = SHARED + 15
KINDS = {"index": 0, "heap": 1, "heaps": 2}


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

    def slot(carried: list[Any]) -> tuple[Any, list[Any]]:
        i, falling = carried
        at = b.mul(i, constant(v.count))
        held = v.load(best, at)
        smaller = b.fcmp_ordered("<", falling, held)
        v.store(b.select(smaller, falling, held), best, at)
        larger, following = b.select(smaller, held, falling), b.add(i, constant(1))
        return b.icmp_signed("<", following, slots), [following, larger]

    repeated(b, [constant(0), value], slot)


@intrinsic
def at_most(typing: Any, values: Any, limits: Any, dtype: Any) -> Any:
    """Which of a vector's numbers are at most the limits, as bits."""
    kind = dtype.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        v = Lanes(context, b, kind)
        left, right = (v.load(address, constant(0)) for address in arguments[:2])
        return v.mask(b.fcmp_ordered("<=", left, right))

    return types.int64(values, limits, dtype), generate


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


@njit(error_model="numpy", forceinline=True)
def doubt(p, r, dtype):
    """Within what the approximate distances of a row may be wrong, twice."""
    return (load(word(p, SIZES), r, dtype) + load(word(p, ERROR), 0, "float64")) * load(word(p, ERROR), 1, "float64")


@njit(error_model="numpy", forceinline=True)
def scan_all(p, finite, lanes, metric, together, dtype, size):
    """List for each row of a vector what may be among its nearest: chunk after chunk of the stored rows."""
    features, wanted, most = word(p, FEATURES), word(p, WANTED), word(p, MOST)
    for i in range(wanted * lanes):
        store(word(p, BEST), i, np.inf, dtype)
    for r in range(lanes):
        store(word(p, COUNTS), r, 0, "int64")
    for begin in range(0, word(p, GROUPS), word(p, CHUNK)):
        groups = min(word(p, CHUNK), word(p, GROUPS) - begin)
        for g in range(groups):
            first = (begin + g) * together
            scan(
                word(p, VECTORS), word(p, Y) + first * features * size, word(p, SQUARES) + first * size,
                word(p, VALUES) + 64 * g * together, word(p, LEAST) + 64 * g, word(p, BEST), features, wanted,
                metric, together, dtype,
            )  # fmt: skip
        for r in range(lanes):
            last = load(word(p, BEST), (wanted - 1) * lanes + r, dtype)
            store(word(p, LIMITS), r, min(last + doubt(p, r, dtype), finite), dtype)
        lists, counts = word(p, LISTS), word(p, COUNTS)
        first = begin * together
        listed(word(p, VALUES), word(p, LEAST), word(p, LIMITS), groups, together, first, lists, counts, most, dtype)


@njit(error_model="numpy", forceinline=True)
def decide(p, r, kind, dtype):
    """The nearest of a row's list, sorted by their exact distances; of all stored rows where there is none."""
    features, wanted, count = word(p, FEATURES), word(p, WANTED), load(word(p, COUNTS), r, "int64")
    most, listed_ = word(p, MOST), doubt(p, r, dtype) < 1e30
    listed_ = listed_ and wanted <= count <= most
    held = 0
    for i in range(count if listed_ else word(p, COUNT)):
        j = load(word(p, LISTS), r * most + i, "int64") if listed_ else i
        value = distance(word(p, ROW), word(p, TABLE) + 8 * j * features, features, kind)
        held = keep(word(p, NEAR), word(p, POINTS), held, wanted, value, j)


@njit(error_model="numpy", forceinline=True)
def take_row(p, x, r):
    """A row's features beside each other."""
    for f in range(word(p, FEATURES)):
        store(word(p, ROW), f, load(load(x, f, "int64"), r, "float64"), "float64")


@njit(error_model="numpy", forceinline=True)
def give(p, out, r):
    """Write the numbers of the nearest."""
    for i in range(word(p, K)):
        store(load(out, i, "int64"), r, load(word(p, POINTS), i, "int64"), "int64")


@cache
def by_all(metric: str, kind: int, together: int, dtype: str, size: int) -> Kernel:
    """Parameters: the words of a search by all stored rows; places of the features and of the results."""
    lanes, finite = 64 // size, float(np.finfo(dtype).max)

    def kernel(p: int, first: int, rows: int) -> int:
        features = word(p, FEATURES)
        x, out = p + 8 * SCANNED, p + 8 * (SCANNED + features)
        for row in range(0, rows, lanes):
            prepare(x, row, features, word(p, CENTRE), word(p, VECTORS), word(p, SIZES), lanes, dtype)
            scan_all(p, finite, lanes, metric, together, dtype, size)
            for r in range(min(lanes, rows - row)):
                take_row(p, x, row + r)
                decide(p, r, kind, dtype)
                if word(p, TIES) != 0 and tied(word(p, NEAR), word(p, WANTED) - 1):
                    if word(p, STABLE) == 0:
                        return 1
                    by_heaps(p, kind, metric)
                give(p, out, row + r)
        return 0

    return Kernel(kernel)


@cache
def by_tree(metric: str, kind: int) -> Kernel:
    """Parameters: the words of a search; places of the features and of the results."""

    def kernel(p: int, first: int, rows: int) -> int:
        x, out = p + 8 * SHARED, p + 8 * (SHARED + word(p, FEATURES))
        for r in range(rows):
            take_row(p, x, r)
            by_heaps(p, kind, metric)
            if word(p, STABLE) == 0 and tied(word(p, NEAR), word(p, K) - 1):
                return 1
            give(p, out, r)
        return 0

    return Kernel(kernel)


def can_search(op: Op) -> bool:
    """Whether there is a kernel."""
    if not isinstance(op, ops.Nearest) or not isinstance(op.table, Const) or op.metric not in METRICS or op.true:
        return False
    return op.x.dtype == np.dtype(np.float64) and 0 < op.k <= MOST_NEAREST and op.x.columns > 0


class Room:
    """A search's memory, piece by piece; whole lines of the cache."""

    def __init__(self) -> None:
        self.pieces: list[int] = []

    def sized(self, *sizes: int) -> list[int]:
        """Where pieces of so many bytes begin."""
        starts = []
        for size in sizes:
            starts.append(sum(self.pieces))
            self.pieces.append(-(-size // VECTOR) * VECTOR)
        return starts

    def reserve(self, assembler: Assembler) -> Buffer:
        """Memory for all pieces: so many bytes a row of the shortest block."""
        return assembler.reserve(-(-sum(self.pieces) // LANES))


@rule(ops.Nearest, accepts=can_search)
def nearest_rule(assembler: Assembler, op: ops.Nearest, x: Block, table: Const) -> Block:
    """Through the tree, or by all stored rows: what is estimated to take less time."""
    block, room, rows = result(assembler, op), Room(), table.value
    wanted, tree = min(op.k + 1, len(rows)), op.tree == "kd" and op.ties == "heap"
    width, levels = rows.shape[1], len(op.start).bit_length() + 2
    stable = op.sort == "introsort" and op.k <= SORTED and (tree or not op.tree)
    leaves = len(op.start) - 1 if tree else 0
    words: list[int] = [width, op.k, wanted, len(rows), KINDS[op.ties], int(stable), leaves, assembler.constant(rows)]
    words += [assembler.constant(array) for array in leaves_of(op, rows, tree)]
    pieces = room.sized(8 * width, 8 * wanted, 8 * wanted, 16 * op.k, 16 * op.k, VECTOR + 16 * levels)
    time, least = time_of_tree(op) if tree else math.inf, time_of_all(op)
    kernel = by_tree(op.metric, METRICS[op.metric])
    more: list[int] = []
    scratch: list[int] = []
    if least <= time:
        kernel, more, scratch = by_all_stored(assembler, op, rows, room)
    buffer = room.reserve(assembler)
    places: list[Parameter] = [Place(buffer.unit, start) for start in pieces]
    own: list[Parameter] = [Place(buffer.unit, start) for start in scratch]
    assembler.add(kernel, *words, *places, *more, *own, *x.columns, *block.columns, cost=min(time, least))
    assembler.release(buffer)
    return block


def by_products(op: ops.Nearest) -> bool:
    """Whether products choose what may be near."""
    return op.metric == "euclidean" and int(op.table.shape[0]) >= FEW


def time_of_all(op: ops.Nearest) -> float:
    """Nanoseconds a row by all stored rows."""
    width, wanted = op.x.columns, op.k + 1
    each = NANOSECONDS[4] * (width + 12) if by_products(op) else NANOSECONDS[8] * (2 * width + 12)
    return each * int(op.table.shape[0]) + 5.0 * wanted * width + 100


def time_of_tree(op: ops.Nearest) -> float:
    """Nanoseconds a row through the tree."""
    leaves, width = len(op.start) - 1, op.x.columns
    visited = min(float(leaves), (1 + (op.k * leaves / len(op.point)) ** (1 / width)) ** width)
    return visited * (50.0 + 5.0 * width + 16.0 * math.log2(leaves + 1)) + 30.0 * op.k


def leaves_of(op: ops.Nearest, rows: np.ndarray, tree: bool) -> list[np.ndarray]:
    """The nodes' boxes [nodes, 2, F], where each leaf's groups begin, the groups, the points in them."""
    if not tree:
        return [np.empty(1)] * 4
    parts = [op.point[a:b] for a, b in zip(op.start[:-1], op.start[1:], strict=True)]
    counts = [-(-len(part) // LANES_OF_LEAF) for part in parts]
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    point = np.full(start[-1] * LANES_OF_LEAF, -1, np.int64)
    for part, first in zip(parts, start.tolist(), strict=False):
        point[LANES_OF_LEAF * first : LANES_OF_LEAF * first + len(part)] = part
    filled = np.where(point[:, None] < 0, np.inf, rows[point])
    return [op.bound.transpose(1, 0, 2).astype(np.float64), start, grouped(filled, LANES_OF_LEAF), point]


def by_all_stored(
    assembler: Assembler, op: ops.Nearest, rows: np.ndarray, room: Room
) -> tuple[Kernel, list[int], list[int]]:
    """The kernel by all stored rows, its words and where its pieces of memory begin."""
    dtype, together = np.dtype(np.float32 if by_products(op) else np.float64), together_at()
    lanes, groups, wanted = VECTOR // dtype.itemsize, -(-len(rows) // together), min(op.k + 1, len(rows))
    chunk, most = min(groups, max(1, CHUNK_BYTES // (VECTOR * together))), 4 * wanted + 32
    arrays = stored_rows(rows, together, by_products(op))
    words = [groups, chunk, most, *(assembler.constant(array) for array in arrays)]
    vectors = [VECTOR * count for count in (wanted, chunk, chunk * together, rows.shape[1], 1, 1)]
    pieces = room.sized(*vectors, 8 * lanes, 8 * lanes * most)
    return by_all(op.metric, METRICS[op.metric], together, dtype.name, dtype.itemsize), words, pieces


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
