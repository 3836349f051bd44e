"""Columns chosen from rows: each vector of the result from a few vectors of a row, by permutes, or one by one."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from tensorml import ops
from tensorml.executors.simd.addresses import I32, I64, SIZES, constant, intrinsic, load, pointer, store
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Parameter, Word
from tensorml.executors.simd.outside import OF_SIZE
from tensorml.executors.simd.rows import Rows, To, row_rule
from tensorml.executors.simd.straight import vector_bytes, write
from tensorml.executors.simd.vectors import Lanes
from tensorml.graph import Op

HEIGHT = 8  # rows at a time
MOST_STEPS = 6  # permutes of a vector: beyond, its numbers are sooner moved one by one
FLOATS = {4: "float32", 8: "float64"}


@intrinsic
def permute(
    typing: Any, x: Any, stride: Any, table: Any, out: Any, line: Any, some: Any, count: Any, steps: Any, dtype: Any
) -> Any:
    """Write a vector of chosen numbers for each of 8 rows.

    x, out: the addresses of the first row and of its result; stride, line: in bytes from row to row. table: as of
    `windows`. count, some: how many numbers are chosen, and whether no more may be written.
    """
    name, turns = dtype.literal_value, steps.literal_value
    signature = types.void(x, stride, table, out, line, some, count, steps, dtype)

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        begin, step, words, to, between, careful, columns = arguments[:7]
        v, whole = Lanes(context, b, name), I32 if SIZES[name] == 4 else I64
        kind = ir.VectorType(whole, v.count)
        choose = b.module.declare_intrinsic(
            f"llvm.x86.avx512.vpermi2var.{'ps' if v.size == 4 else 'pd'}.512",
            (),
            ir.FunctionType(v.vector, [v.vector, kind, v.vector]),
        )
        offsets = [b.load(pointer(b, words, constant(k), I64)) for k in range(turns)]
        indices = [
            b.load(pointer(b, words, constant(8 * (-(-turns // 8) + k)), I64, kind), align=8)
            for k in range(max(1, turns - 1))
        ]
        found = []
        for r in range(HEIGHT):
            row = b.add(begin, b.mul(step, constant(r)))
            parts = [b.load(b.inttoptr(b.add(row, at), v.vector.as_pointer()), align=v.size) for at in offsets]
            chosen = b.call(choose, [parts[0], indices[0], parts[min(1, turns - 1)]])
            for index, more in zip(indices[1:], parts[2:], strict=True):
                chosen = b.call(choose, [chosen, index, more])
            found.append(chosen)
        write(v, found, HEIGHT, to, between, 1, careful, columns)
        return context.get_dummy_value()

    return signature, generate


@cache
def permuting(dtype: str, steps: int) -> Kernel:
    """Parameters: as of `columns_rows`."""

    def kernel(p: int, first: int, rows: int) -> int:
        out = load(load(p, 2, "int64"), 0, "int64") + first * load(p, 1, "int64") + load(p, 3, "int64")
        x, line, stride = load(load(p, 4, "int64"), 0, "int64"), load(p, 5, "int64"), load(p, 6, "int64")
        table, count, spill = load(p, 7, "int64"), load(p, 8, "int64"), load(p, 9, "int64")
        step = HEIGHT if rows >= HEIGHT else 1  # of fewer rows each is taken 8 times
        if rows < HEIGHT:
            stride = line = 0
        for r in range(0, rows, step):
            at = min(r, rows - step)  # the last rows again, together with some before them
            some = int(spill > 0 and at + step + spill > rows)
            permute(
                x + at * load(p, 6, "int64"), stride, table, out + at * load(p, 5, "int64"), line, some, count,
                steps, dtype,
            )  # fmt: skip
        return 0

    return Kernel(kernel)


@cache
def moving(bits: str) -> Kernel:
    """Parameters: where to write; the word of x's address; columns of x and of the result; which ones they are."""

    def kernel(p: int, first: int, rows: int) -> int:
        out, x = load(p, 0, "int64") + first * load(p, 1, "int64"), load(load(p, 2, "int64"), 0, "int64")
        width, count = load(p, 3, "int64"), load(p, 4, "int64")
        for r in range(rows):
            for k in range(count):
                store(out, r * count + k, load(x, r * width + load(p, 5 + k, "int64"), bits), bits)
        return 0

    return Kernel(kernel)


def windows(indices: np.ndarray, width: int, size: int) -> tuple[int, np.ndarray]:
    """From where in a row of `width` numbers of `size` bytes so many vectors are read that hold all of these.

    Result: how many; their offsets in bytes, int64, and for each permute (of the first two, then of what was chosen
    and the next one) the index of each lane, in whole vectors.
    """
    lanes = 64 // size
    starts: list[int] = []
    for index in np.unique(indices):
        if not starts or index >= starts[-1] + lanes:
            starts.append(min(int(index), width - lanes))
    steps = len(starts)
    window = np.searchsorted(starts, indices, side="right") - 1
    place = indices - np.array(starts)[window]
    turns = np.tile(np.arange(lanes), (max(1, steps - 1), 1))
    turns[0, : len(indices)] = np.where(window < 2, place + window * lanes, 0)
    for k in range(2, steps):
        turns[k - 1, : len(indices)] = np.where(window == k, place + lanes, np.arange(lanes)[: len(indices)])
    offsets = np.zeros(-(-steps // 8) * 8, np.int64)
    offsets[:steps] = np.array(starts) * size
    return steps, np.concatenate([offsets, turns.astype(f"i{size}").reshape(-1).view(np.int64)])


def parts(op: ops.Columns) -> list[tuple[int, np.ndarray, int, np.ndarray]] | None:
    """Of each vector of the result, from the right: its first column, its columns, and what `windows` says of them.

    None where columns are sooner moved one by one.
    """
    size, width = op.dtype.itemsize, op.x.columns
    if size not in FLOATS or vector_bytes() < 64 or width * size < 64:
        return None
    lanes, found = 64 // size, []
    for begin in range(0, op.columns, lanes):
        indices = op.indices[begin : begin + lanes]
        found.append((begin, indices, *windows(indices, width, size)))
    return None if any(steps > MOST_STEPS for _, _, steps, _ in found) else found[::-1]


def soon_chosen(op: Op) -> bool:
    """Whether choosing columns of rows takes less than turning all of them."""
    return isinstance(op, ops.Columns) and (parts(op) is not None or 3 * op.columns <= op.x.columns)


@row_rule(ops.Columns, accepts=soon_chosen)
def columns_rows(assembler: Assembler, op: ops.Columns, to: To, x: Rows) -> int:
    """An instruction for each vector. Parameters: where to write, the word of its address, from where on; the word of

    x's address; bytes of a row of the result and of x; the table's address; columns, by how many rows it may write too
    far.
    """
    found, size, start, line = parts(op), op.dtype.itemsize, assembler.next, op.columns * op.dtype.itemsize
    if found is None:
        kernel = moving(OF_SIZE[size])
        return assembler.add(kernel, *to, x.place, x.columns, op.columns, *op.indices, cost=0.5 * op.columns)
    for number, (begin, indices, steps, table) in enumerate(found):
        first: Parameter = 0 if number else to[0]
        beyond = 64 // size - len(indices)
        assembler.add(
            permuting(FLOATS[size], steps), first, to[1], Word(start), begin * size, x.place, line, x.bytes,
            assembler.constant(table), len(indices), -(-beyond // op.columns), cost=1.0 * steps,
        )  # fmt: skip
    return start
