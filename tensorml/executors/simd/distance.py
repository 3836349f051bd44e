"""Distances between a block's rows and stored rows; the closest centre of each row."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from tensorml import ops
from tensorml.executors.simd.addresses import I64, constant, intrinsic, load, pointer
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
