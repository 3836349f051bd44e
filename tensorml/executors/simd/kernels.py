"""Kernel machines: kernels between a block's rows and stored rows, and their weighted sums, without leaving registers.

Each vector of rows meets some stored rows at once: their sums over the features are formed together, become kernels
together and are added to the results. Distances are sums of squared differences, in which nothing cancels; subtracting
and multiplying go side by side on processors that have units for both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target

from tensorml import ops
from tensorml.executors.simd.addresses import I64, constant, has_avx512, intrinsic, load, loop, pointer, store
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Block
from tensorml.executors.simd.rules import result, rule
from tensorml.executors.simd.vectors import Lanes
from tensorml.graph import Op
from tensorml.ops.kernel import KernelOp

Term = Callable[[Any, Any, Any], Any]
PART = 16  # features whose float32 terms are added before they meet the sum of others
CHUNK = 64 * 1024  # bytes of stored rows that all rows of a block meet before the next ones: a part of the L2 cache
LOG2_E = math.log2(math.e)
ROOTS = {"matern 0.5": 1.0, "matern 1.5": math.sqrt(3), "matern 2.5": math.sqrt(5)}
MOST = 16  # the highest power that is a product
NANOSECONDS = {4: 0.018, 8: 0.036}  # of one feature of one stored row: a fused product on one vector a cycle
FIXED = {"polynomial": 4, "laplacian": 14, "chi2": 14, "additive chi2": 2, "rational quadratic": 40}  # in features
STEEP = {"laplacian": 1.5, "chi2": 10.0, "additive chi2": 10.0}  # a feature's time where it is more than a product


def term(v: Lanes, metric: str, total: Any, x: Any, y: Any) -> Any:
    """The sum with one feature more."""
    b = v.b
    if metric in ("polynomial", "sigmoid"):
        return v.fma(x, y, total)
    difference = b.fsub(x, y)
    if metric == "laplacian":
        return b.fadd(total, v.call("fabs", difference))
    if metric.endswith("chi2"):
        both = b.fadd(x, y)
        part = b.fdiv(b.fmul(difference, difference), both)
        return b.fadd(total, b.select(b.fcmp_ordered("==", both, v.number(0)), v.number(0), part))
    return v.fma(difference, difference, total)


def value(v: Lanes, metric: str, power: int, total: Any, scale: Any, shift: Any) -> Any:
    """The kernel, of the sum over all features. scale, shift: what `numbers` gives."""
    b = v.b
    if metric == "additive chi2":
        return b.fneg(total)
    if metric == "rational quadratic":
        return v.exp2(b.fmul(v.log2(v.fma(total, scale, v.number(1))), shift))
    if metric in ROOTS:
        return matern(v, metric, b.fmul(v.call("sqrt", total), scale))
    product = b.fmul(total, scale)
    if metric == "sigmoid":
        return v.tanh(b.fadd(product, shift))
    return v.power(b.fadd(product, shift), power) if metric == "polynomial" else v.exp2(product)


def matern(v: Lanes, metric: str, t: Any) -> Any:
    """A kernel of ROOTS, of the distance times its root."""
    b, one = v.b, v.number(1)
    decay = v.exp2(b.fmul(t, v.number(-LOG2_E)))
    if metric == "matern 0.5":
        return decay
    far = b.fcmp_ordered("==", decay, v.number(0))  # there t may be infinite
    factor = b.fadd(one, t)
    if metric == "matern 2.5":
        factor = b.fadd(factor, b.fdiv(b.fmul(t, t), v.number(3)))
    return b.select(far, decay, b.fmul(factor, decay))


def sums(
    v: Lanes, add: Term, column: Callable[[Any], Any], y: Any, features: Any, together: int, first: Any = None
) -> list[Any]:
    """The sums over the features for one vector of rows and some stored rows, that lie beside each other at y.

    add: the sum with one feature more, of the sum, x and y; column: a feature of the rows. features: where to end;
    first: where to begin.
    """
    b = v.b

    def feature(f: Any, totals: list[Any]) -> list[Any]:
        values, at = column(f), b.mul(f, constant(together))
        return [add(total, values, v.each(y, b.add(at, constant(k)))) for k, total in enumerate(totals)]

    return loop(b, constant(0) if first is None else first, features, 1, [v.number(0)] * together, feature)


def sums_of_sums(v: Lanes, add: Term, column: Callable[[Any], Any], y: Any, features: Any, together: int) -> list[Any]:
    """The same, of the sums over PART features each: float32 loses fewer digits."""
    b = v.b

    def part(f: Any, totals: list[Any]) -> list[Any]:
        following = b.add(f, constant(PART))
        stop = b.select(b.icmp_signed("<", following, features), following, features)
        parts = sums(v, add, column, y, stop, together, f)
        return [b.fadd(total, part) for total, part in zip(totals, parts, strict=True)]

    return loop(b, constant(0), features, PART, [v.number(0)] * together, part)


def add_products(v: Lanes, found: list[Any], coef: Any, out: Any, row: Any, outputs: Any) -> None:
    """Add kernels times their coefficients to each result."""
    b = v.b

    def output(k: Any, totals: list[Any]) -> list[Any]:
        place, at = b.load(pointer(b, out, k, I64)), b.mul(k, constant(len(found)))
        total = v.load(place, row)
        for i, kernel in enumerate(found):
            total = v.fma(kernel, v.each(coef, b.add(at, constant(i))), total)
        v.store(total, place, row)
        return totals

    loop(b, constant(0), outputs, 1, [], output)


@intrinsic
def kernels(
    typing: Any, x: Any, y: Any, coef: Any, numbers: Any, out: Any, row: Any, features: Any, outputs: Any,
    metric: Any, power: Any, together: Any, dtype: Any,
) -> Any:  # fmt: skip
    """The kernels between a vector of rows and some stored rows: written, or added to `outputs` results if not 0."""
    arguments_ = (x, y, coef, numbers, out, row, features, outputs, metric, power, together, dtype)
    name, exponent, count = metric.literal_value, power.literal_value, together.literal_value

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        px, py, pc, pn, po, first, depth, width = arguments[:8]
        v = Lanes(context, b, dtype.literal_value)
        scale, shift = v.each(pn, constant(0)), v.each(pn, constant(1))
        add = partial(term, v, name)
        summed = sums_of_sums if v.name == "float32" else sums
        totals = summed(v, add, lambda f: v.load(b.load(pointer(b, px, f, I64)), first), py, depth, count)
        found = [value(v, name, exponent, total, scale, shift) for total in totals]
        if isinstance(outputs, types.IntegerLiteral):
            for k, kernel in enumerate(found):
                v.store(kernel, b.load(pointer(b, po, constant(k), I64)), first)
        else:
            add_products(v, found, pc, po, first, width)
        return context.get_dummy_value()

    return types.void(*arguments_), generate


@cache
def expansion(metric: str, power: int, together: int, dtype: str, size: int) -> Kernel:
    """Parameters: features, groups of stored rows, groups in a chunk, results, addresses of stored rows, coefficients

    and numbers; places of all features, then of all results.
    """
    lanes = 64 // size

    def kernel(p: int, first: int, rows: int) -> int:
        features, groups, chunk, outputs = (
            load(p, 0, "int64"),
            load(p, 1, "int64"),
            load(p, 2, "int64"),
            load(p, 3, "int64"),
        )
        y, coef, numbers = load(p, 4, "int64"), load(p, 5, "int64"), load(p, 6, "int64")
        x, out = p + 56, p + 56 + 8 * features
        for k in range(outputs):
            place = load(out, k, "int64")
            for r in range(rows):
                store(place, r, 0, dtype)
        for begin in range(0, groups, chunk):
            for row in range(0, rows, lanes):
                for g in range(begin, min(begin + chunk, groups)):
                    stored, weights = y + g * features * together * size, coef + g * outputs * together * size
                    kernels(x, stored, weights, numbers, out, row, features, outputs, metric, power, together, dtype)
        return 0

    return Kernel(kernel)


@cache
def matrix(metric: str, power: int, together: int, dtype: str, size: int) -> Kernel:
    """Parameters: features, groups, groups in a chunk, addresses of stored rows and numbers; places of all columns."""
    lanes = 64 // size

    def kernel(p: int, first: int, rows: int) -> int:
        features, groups, chunk = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        y, numbers = load(p, 3, "int64"), load(p, 4, "int64")
        x, out = p + 40, p + 40 + 8 * features
        for begin in range(0, groups, chunk):
            for row in range(0, rows, lanes):
                for g in range(begin, min(begin + chunk, groups)):
                    stored, to = y + g * features * together * size, out + 8 * g * together
                    kernels(x, stored, 0, numbers, to, row, features, 0, metric, power, together, dtype)
        return 0

    return Kernel(kernel)


def numbers(op: KernelOp) -> np.ndarray:
    """The factor of the sums and what is added, in the way `value` uses them."""
    scale, shift = op.gamma, op.coef0
    if op.metric in ("rbf", "laplacian", "chi2"):
        scale = -op.gamma * LOG2_E
    elif op.metric == "rational quadratic":
        shift = op.degree
    elif op.metric in ROOTS:
        scale = ROOTS[op.metric]
    return np.array([scale, shift], op.dtype)


def power_of(op: KernelOp) -> int:
    """The exponent of a polynomial kernel."""
    return int(op.degree) if op.metric == "polynomial" else 0


def together_at() -> int:
    """How many stored rows meet a vector at once: what the registers hold."""
    return 8 if has_avx512(cpu_target.target_context) else 4


def grouped(rows: np.ndarray, count: int) -> np.ndarray:
    """Rows [M, C] in groups of `count`, the last one filled up with zeros: [groups, C, count]."""
    groups = -(-len(rows) // count)
    padded = np.zeros((groups * count, rows.shape[1]), rows.dtype)
    padded[: len(rows)] = rows
    return np.ascontiguousarray(padded.reshape(groups, count, -1).transpose(0, 2, 1))


def can(op: Op) -> bool:
    """Whether there is a kernel: no sines, no powers but small whole ones."""
    if not isinstance(op, KernelOp) or not op.x.columns or not len(op.y) or op.metric == "periodic":
        return False
    whole = float(op.degree).is_integer() and 1 <= op.degree <= MOST
    return op.type.shape[1:] != (0,) and (whole or op.metric != "polynomial")


def cost(op: KernelOp, outputs: int) -> float:
    """Nanoseconds a row."""
    steps = op.x.columns * STEEP.get(op.metric, 1.0) + FIXED.get(op.metric, 40 if op.metric in ROOTS else 16)
    return NANOSECONDS[op.dtype.itemsize] * len(op.y) * (steps + outputs)


@rule(ops.KernelExpansion, accepts=can)
def kernel_expansion_rule(assembler: Assembler, op: ops.KernelExpansion, x: Block) -> Block:
    """No kernel leaves its register."""
    block, together, size = result(assembler, op), together_at(), op.dtype.itemsize
    stored, coef = grouped(op.y, together), grouped(op.coef, together)
    chunk = max(1, CHUNK // stored[0].nbytes)
    addresses = [assembler.constant(array) for array in (stored, coef, numbers(op))]
    parameters = (len(x.columns), len(stored), chunk, len(block.columns), *addresses, *x.columns, *block.columns)
    kernel = expansion(op.metric, power_of(op), together, op.dtype.name, size)
    assembler.add(kernel, *parameters, cost=cost(op, len(block.columns)))
    return block


@rule(ops.Kernel, accepts=can)
def kernel_rule(assembler: Assembler, op: ops.Kernel, x: Block) -> Block:
    """The kernels themselves. What fills up the last group goes to one place of no use."""
    block, together, size = result(assembler, op), together_at(), op.dtype.itemsize
    stored = grouped(op.y, together)
    room = assembler.reserve(size)
    beyond = [assembler.place(room)] * (len(stored) * together - len(op.y))
    chunk = max(1, CHUNK // stored[0].nbytes)
    addresses = [assembler.constant(array) for array in (stored, numbers(op))]
    parameters = (len(x.columns), len(stored), chunk, *addresses, *x.columns, *block.columns, *beyond)
    kernel = matrix(op.metric, power_of(op), together, op.dtype.name, size)
    assembler.add(kernel, *parameters, cost=cost(op, 1))
    assembler.release(room)
    return block
