"""The order of equal distances: heaps as the source keeps them, filled in the order in which it goes through its rows.

Through all rows of the table, or through the leaves of the source's own tree, the closer child of each node first.
Nodes that lie farther than what is kept are left out: nothing of them could enter. Words of a search's parameters are
named by constants.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from tensorml.executors.simd.addresses import constant, intrinsic, load, store
from tensorml.executors.simd.distance import distance, grown, terms
from tensorml.executors.simd.kernels import sums
from tensorml.executors.simd.vectors import Lanes

FEATURES, K, WANTED, COUNT, TIES, STABLE, LEAVES, TABLE = range(8)  # words among a search's parameters
BOUND, START, GROUPED, POINT, ROW, NEAR, POINTS, HEAP, KEPT, STACK = range(8, 18)
SHARED = 18  # words of every search
LANES_OF_LEAF = 8  # points of a leaf whose distances are formed at once


@njit(error_model="numpy", forceinline=True)
def word(p, i):
    """A parameter."""
    return load(p, i, "int64")


@intrinsic
def closer(typing: Any, row: Any, y: Any, out: Any, limit: Any, features: Any, metric: Any) -> Any:
    """Which of 8 points are closer than the limit to a row, as bits; all distances are written."""
    name = metric.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        own, points, to, most, depth = arguments[:5]
        v = Lanes(context, b, "float64")
        step = constant(v.count)
        (total,) = sums(v, terms(v, name), lambda f: v.load(points, b.mul(f, step)), own, depth, 1)
        v.store(total, to, constant(0))
        return v.mask(b.fcmp_ordered("<", total, v.spread(most)))

    return types.int64(row, y, out, limit, features, metric), generate


@intrinsic
def trailing_zeros(typing: Any, x: Any) -> Any:
    """The place of the lowest bit."""

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return b.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(x), generate


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


@njit(error_model="numpy", forceinline=True)
def tied(near, last):
    """Whether two neighbours in a sorted list are equal, the last being `last`."""
    equal = False
    for i in range(last):
        equal |= load(near, i, "float64") == load(near, i + 1, "float64")
    return equal


@njit(error_model="numpy", forceinline=True)
def node_distance(p, node, kind):
    """A lower bound of the distances from a row to a node's points. See `ops.nearest.node_distances`."""
    features, row = word(p, FEATURES), word(p, ROW)
    low = word(p, BOUND) + 16 * node * features
    total = 0.0
    for f in range(features):
        x = load(row, f, "float64")
        gap = max(load(low, f, "float64") - x, 0.0) + max(x - load(low, features + f, "float64"), 0.0)
        total = grown(total, gap, kind)
    return total


@njit(error_model="numpy")
def through_table(p, kind):
    """Push all rows of the table, one after the other."""
    features, k, table = word(p, FEATURES), word(p, K), word(p, TABLE)
    for j in range(word(p, COUNT)):
        value = distance(word(p, ROW), table + 8 * j * features, features, kind)
        push(word(p, HEAP), word(p, KEPT), k, value, j)


@njit(error_model="numpy", forceinline=True)
def through_leaf(p, leaf, metric):
    """Push the points of a leaf."""
    features, k, heap, out = word(p, FEATURES), word(p, K), word(p, HEAP), word(p, STACK)
    for g in range(load(word(p, START), leaf, "int64"), load(word(p, START), leaf + 1, "int64")):
        points = word(p, GROUPED) + 64 * g * features
        hits = closer(word(p, ROW), points, out, load(heap, 0, "float64"), features, metric)
        while hits != 0:
            lane = trailing_zeros(hits)
            hits &= hits - 1
            point = load(word(p, POINT), LANES_OF_LEAF * g + lane, "int64")
            push(heap, word(p, KEPT), k, load(out, lane, "float64"), point)


@njit(error_model="numpy")
def through_tree(p, kind, metric):
    """Push the points of all leaves that may be near, depth first. The stack begins behind 8 distances."""
    inner, stack, top = word(p, LEAVES) - 1, word(p, STACK) + 64, 1
    store(stack, 0, 0, "int64")
    store(stack, 1, node_distance(p, 0, kind), "float64")
    while top > 0:
        top -= 1
        node = load(stack, 2 * top, "int64")
        if load(stack, 2 * top + 1, "float64") >= load(word(p, HEAP), 0, "float64"):
            continue
        if node >= inner:
            through_leaf(p, node - inner, metric)
            continue
        left, right = node_distance(p, 2 * node + 1, kind), node_distance(p, 2 * node + 2, kind)
        second = 2 * node + 1 if left > right else 2 * node + 2
        store(stack, 2 * top, second, "int64")
        store(stack, 2 * top + 1, max(left, right), "float64")
        store(stack, 2 * top + 2, 4 * node + 3 - second, "int64")
        store(stack, 2 * top + 3, min(left, right), "float64")
        top += 2


@njit(error_model="numpy")
def by_heaps(p, kind, metric):
    """The k nearest as the source keeps them, sorted so that equal ones stay in their order."""
    k, heap, kept = word(p, K), word(p, HEAP), word(p, KEPT)
    for i in range(2 * k):
        store(heap, i, np.inf, "float64")
        store(kept, i, 0, "int64")
    if word(p, LEAVES) > 0:
        through_tree(p, kind, metric)
    else:
        through_table(p, kind)
    if word(p, TIES) == 2:
        for i in range(k):
            push(heap + 8 * k, kept + 8 * k, k, load(heap, i, "float64"), load(kept, i, "int64"))
        heap, kept = heap + 8 * k, kept + 8 * k
    held = 0
    for i in range(k):
        value, point = load(heap, i, "float64"), load(kept, i, "int64")
        held = keep(word(p, NEAR), word(p, POINTS), held, k, value, point)
