"""Products of the caller's rows where they lie: a row times a few columns of a matrix, without turning it first.

Reading columns costs more than a product with one to four of them. Here vectors go along a row; their sums are turned.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from tensorml import ops
from tensorml.executors.simd.addresses import I32, LLVM, SIZES, constant, intrinsic, load, loop, pointer, store
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Block, Outer
from tensorml.executors.simd.rules import result
from tensorml.executors.simd.vectors import Lanes
from tensorml.graph import Const, Op

WIDEST = 4  # results of a row: beyond, columns are read sooner than all rows again
CHAINS = 4  # sums of zeros that do not wait for each other


def row_sums(b: ir.IRBuilder, vectors: list[Any]) -> Any:
    """The sum of vector k in lane k: each round adds the halves of two vectors, interleaved."""
    count = len(vectors)
    mask = ir.VectorType(I32, count)
    low = ir.Constant(mask, [k // 2 + (k % 2) * count for k in range(count)])
    high = ir.Constant(mask, [k // 2 + (k % 2) * count + count // 2 for k in range(count)])
    while len(vectors) > 1:
        half = len(vectors) // 2
        pairs = [(vectors[k], vectors[k + half]) for k in range(half)]
        vectors = [b.fadd(b.shuffle_vector(x, y, low), b.shuffle_vector(x, y, high)) for x, y in pairs]
    return vectors[0]


@intrinsic
def dots(
    typing: Any, x: Any, stride: Any, last: Any, weights: Any, depth: Any, out: Any, row: Any, check: Any, given: Any,
    dtype: Any,
) -> Any:  # fmt: skip
    """Write the products of a vector's number of rows with one column to `out`, from `row` on.

    x: the address of the first row's first element; stride: in bytes from row to row; last: of these rows, the number
    of the last one that there is. weights: as `in_vectors` gives them. given: the dtype of the rows. Result: lanes that
    met an infinity or NaN, if `check`.
    """
    signature = types.int64(x, stride, last, weights, depth, out, row, check, given, dtype)
    source, checked = given.literal_value, bool(check.literal_value)

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        begin, step, final, matrix, features, to, first = arguments[:7]
        v = Lanes(context, b, dtype.literal_value)
        short = ir.VectorType(LLVM[source], v.count)
        most = [b.select(b.icmp_signed("<", constant(k), final), constant(k), final) for k in range(v.count)]
        rows = [b.add(begin, b.mul(step, k)) for k in most]
        beyond = b.sub(features, constant(v.count))  # where the last vector begins, which may overlap the one before

        def vector(f: Any, totals: list[Any]) -> list[Any]:
            weight, at = v.load(matrix, f), b.select(b.icmp_signed("<", f, beyond), f, beyond)
            added, zeros = totals[: v.count], totals[v.count :]
            for k, address in enumerate(rows):
                values = b.load(pointer(b, address, at, LLVM[source], short), align=SIZES[source])
                values = values if source == v.name else b.fpext(values, v.vector)
                added[k] = v.fma(values, weight, added[k])
                if checked:
                    zeros[k % CHAINS] = v.fma(values, v.number(0), zeros[k % CHAINS])
            return added + zeros

        nothing = [v.number(0)] * (v.count + (CHAINS if checked else 0))
        totals = loop(b, constant(0), features, v.count, nothing, vector)
        v.store(row_sums(b, totals[: v.count]), to, first)
        bad = [v.mask(b.fcmp_unordered("uno", one, one)) for one in totals[v.count :]]
        return b.or_(b.or_(bad[0], bad[1]), b.or_(bad[2], bad[3])) if checked else constant(0)

    return signature, generate


@cache
def straight(given: str, dtype: str, size: int, lanes: int) -> Kernel:
    """Parameters: address, strides of rows and columns, features, columns, the columns' address; places of results.

    given, size: of the rows; lanes: of 64 bytes of the dtype. Rows with an infinity or NaN fail.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        row, column = load(p, 1, "int64"), load(p, 2, "int64")
        begin = load(p, 0, "int64") + first * row
        depth, width, y = load(p, 3, "int64"), load(p, 4, "int64"), load(p, 5, "int64")
        vectors = -(-depth // lanes)
        bad = 0
        if column == size:
            for r in range(0, rows, lanes):
                at, last = begin + r * row, min(rows - r, lanes) - 1
                bad |= dots(at, row, last, y, depth, load(p, 6, "int64"), r, True, given, dtype)
                for k in range(1, width):
                    dots(at, row, last, y + 64 * vectors * k, depth, load(p, 6 + k, "int64"), r, False, given, dtype)
            return 1 if bad != 0 else 0
        for k in range(width):
            out = load(p, 6 + k, "int64")
            for r in range(rows):
                store(out, r, 0, dtype)
            for f in range(depth):
                place = f if f < (vectors - 1) * lanes else vectors * lanes - depth + f
                weight, x = load(y + 64 * vectors * k, place, dtype), begin + f * column
                for r in range(rows):
                    value = load(x + r * row, 0, given)
                    store(out, r, load(out, r, dtype) + value * weight, dtype)
                    bad |= value - value != 0
        return 1 if bad else 0

    return Kernel(kernel)


def in_vectors(matrix: np.ndarray, lanes: int) -> np.ndarray:
    """The columns [F, C] in vectors [C, vectors, lanes]. The last one ends where the column does, after zeros for what

    the one before has already. F is not less than the lanes.
    """
    depth, width = matrix.shape
    vectors = -(-depth // lanes)
    found = np.zeros((width, vectors * lanes), matrix.dtype)
    whole = (vectors - 1) * lanes
    found[:, :whole] = matrix[:whole].T
    found[:, vectors * lanes - (depth - whole) :] = matrix[whole:].T
    return found


def way_to_rows(op: Op) -> tuple[Op, ...]:
    """The operators between a product of a few columns and the rows that it can read where they lie, these last.

    Empty where it cannot. The rows are checked to be finite: where vectors overlap, numbers are multiplied by 0.
    """
    match op:
        case ops.MatMul(x=x, y=Const()) if op.columns <= WIDEST and x.columns * x.dtype.itemsize >= 64:
            between: tuple[Op, ...] = ()
            if isinstance(x, ops.Cast) and (x.x.dtype.name, x.dtype.name) == ("float32", "float64"):
                between, x = (x,), x.x
            if isinstance(x, ops.Finite) and not x.nan and len(x.shape) == 2:
                return (*between, x, x.x)
    return ()


def straight_product(assembler: Assembler, op: Op, name: str, given: np.dtype) -> tuple[Block, Outer]:
    """The product of the rows of the input `name`, of dtype `given`, that `way_to_rows` led to."""
    block, y = result(assembler, op), op.operands[1].value  # pyright: ignore[reportAttributeAccessIssue]
    lanes, (depth, width) = 64 // op.dtype.itemsize, y.shape
    kernel = straight(given.name, op.dtype.name, given.itemsize, lanes)
    parameters = (0, 0, 0, depth, width, assembler.constant(in_vectors(y, lanes)))
    word = assembler.add(kernel, *parameters, *block.columns, cost=0.02 * op.dtype.itemsize * depth * width)
    return block, Outer(name, word, given)
