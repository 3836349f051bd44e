"""Matrix products: sums over the columns of a block, a few results and a few vectors of rows at a time in registers."""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types

from tensorml import ops
from tensorml.executors.simd.addresses import I64, constant, intrinsic, load, loop, pointer
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Block
from tensorml.executors.simd.rules import result, rule
from tensorml.executors.simd.vectors import Lanes
from tensorml.graph import Const

TOGETHER = 4  # results whose sums are formed at once
VECTORS = 4  # of 64 bytes, the rows of each


@intrinsic
def products(typing: Any, x: Any, y: Any, out: Any, row: Any, depth: Any, width: Any, count: Any, dtype: Any) -> Any:
    """The products of some rows, as many as 4 vectors hold from `row` on, with `count` columns of a matrix.

    x: the address of the places of `depth` columns; y: of the first of these elements, whose rows have `width`; out: of
    the places of the results.
    """
    name, columns = dtype.literal_value, count.literal_value
    signature = types.void(x, y, out, row, depth, width, count, dtype)

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        places, matrix, results, first, terms, stride = arguments[:6]
        v = Lanes(context, b, name)
        rows = [b.add(first, constant(k * v.count)) for k in range(VECTORS)]

        def term(f: Any, sums: list[Any]) -> list[Any]:
            column, at = b.load(pointer(b, places, f, I64)), b.mul(f, stride)
            values = [v.load(column, row) for row in rows]
            weights = [v.each(matrix, b.add(at, constant(k))) for k in range(columns)]
            return [
                v.fma(x, weight, sums[k * VECTORS + i])
                for k, weight in enumerate(weights)
                for i, x in enumerate(values)
            ]

        sums = loop(b, constant(0), terms, 1, [v.number(0)] * (columns * VECTORS), term)
        for k in range(columns):
            place = b.load(pointer(b, results, constant(k), I64))
            for i, row in enumerate(rows):
                v.store(sums[k * VECTORS + i], place, row)
        return context.get_dummy_value()

    return signature, generate


@cache
def product(dtype: str, size: int) -> Kernel:
    """Parameters: columns of x and of the result, the matrix's address; places of all these columns."""
    step = VECTORS * 64 // size

    def kernel(p: int, first: int, rows: int) -> int:
        depth, width, y = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        x, out = p + 24, p + 24 + 8 * depth
        for row in range(0, rows, step):
            for k in range(0, width // TOGETHER * TOGETHER, TOGETHER):
                products(x, y + k * size, out + 8 * k, row, depth, width, TOGETHER, dtype)
            for k in range(width // TOGETHER * TOGETHER, width):
                products(x, y + k * size, out + 8 * k, row, depth, width, 1, dtype)
        return 0

    return Kernel(kernel)


@rule(ops.MatMul, accepts=lambda op: isinstance(op, ops.MatMul) and isinstance(op.y, Const) and op.x.columns > 0)
def mat_mul_rule(assembler: Assembler, op: ops.MatMul, x: Block, y: Const) -> Block:
    """By a constant."""
    block = result(assembler, op)
    depth, width = len(x.columns), len(block.columns)
    kernel = product(op.dtype.name, op.dtype.itemsize)
    parameters = (depth, width, assembler.constant(y.value), *x.columns, *block.columns)
    assembler.add(kernel, *parameters, cost=0.02 * op.dtype.itemsize / 4 * depth * width)
    return block
