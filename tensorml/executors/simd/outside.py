"""Instructions that read the caller's arrays and write the results: rows there, columns here.

A square of elements at a time is turned in registers: vectors of rows become vectors of columns, and the other way.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types

from tensorml.executors.simd.addresses import I32, I64, LLVM, SIZES, constant, intrinsic, load, pointer, store
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Block, Outer, Word
from tensorml.graph import TensorType

SIDES = {1: 16, 2: 16, 4: 16, 8: 8}  # elements that are turned together, by their size: a vector of up to 64 bytes
OF_SIZE = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}


def turned(b: ir.IRBuilder, vectors: list[Any]) -> list[Any]:
    """The transpose of a square: the elements k of all vectors become vector k. Each round interleaves two halves."""
    count = len(vectors)
    mask = ir.VectorType(I32, count)
    low = ir.Constant(mask, [k // 2 + (k % 2) * count for k in range(count)])
    high = ir.Constant(mask, [k // 2 + (k % 2) * count + count // 2 for k in range(count)])
    for _ in range(count.bit_length() - 1):
        half = count // 2
        pairs = [(vectors[k], vectors[k + half]) for k in range(half)]
        vectors = [b.shuffle_vector(x, y, part) for x, y in pairs for part in (low, high)]
    return vectors


def row_at(b: ir.IRBuilder, address: Any, stride: Any, k: int, vector: ir.VectorType) -> Any:
    """The pointer to row k of a square, of rows so many bytes apart."""
    return b.inttoptr(b.add(address, b.mul(stride, constant(k))), vector.as_pointer())


def column_at(b: ir.IRBuilder, places: Any, k: Any, row: Any, vector: ir.VectorType) -> Any:
    """The pointer to column k of a square, from `row` on."""
    return pointer(b, b.load(pointer(b, places, k, I64)), row, vector.element, vector)


@intrinsic
def read_square(typing: Any, source: Any, stride: Any, places: Any, row: Any, count: Any, bits: Any) -> Any:
    """Turn a square of rows into columns: the first `count` ones, whose places lie at `places`, from `row` on.

    source: the address of the first row's first element; stride: in bytes from row to row.
    """
    name = bits.literal_value
    size = SIZES[name]

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        begin, step, table, first, columns = arguments[:5]
        side = SIDES[size]
        vector = ir.VectorType(LLVM[name], side)
        rows = [b.load(row_at(b, begin, step, k, vector), align=size) for k in range(side)]
        for k, column in enumerate(turned(b, rows)):
            with b.if_then(b.icmp_signed("<", constant(k), columns)):
                b.store(column, column_at(b, table, constant(k), first, vector), align=size)
        return context.get_dummy_value()

    return types.void(source, stride, places, row, count, bits), generate


@intrinsic
def write_square(typing: Any, to: Any, stride: Any, places: Any, row: Any, count: Any, bits: Any) -> Any:
    """Turn a square of columns into rows, which are written whole: beyond `count` elements with what follows.

    The next row puts that right. to: the address of the first row's first element; stride: in bytes from row to row.
    """
    name = bits.literal_value
    size = SIZES[name]

    def generate(context: Any, b: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        begin, step, table, first, columns = arguments[:5]
        side = SIDES[size]
        vector = ir.VectorType(LLVM[name], side)
        read = []
        for k in range(side):
            valid = b.select(b.icmp_signed("<", constant(k), columns), constant(k), constant(0))
            read.append(b.load(column_at(b, table, valid, first, vector), align=size))
        for k, line in enumerate(turned(b, read)):
            b.store(line, row_at(b, begin, step, k, vector), align=size)
        return context.get_dummy_value()

    return types.void(to, stride, places, row, count, bits), generate


@cache
def reading(bits: str, size: int, side: int, inside: bool) -> Kernel:
    """Columns from an array of any strides. Parameters: address, strides of rows and columns, columns, places.

    inside: of a block's rows in the machine's own memory, whose address is in the word that the first parameter points
    to. A square is read whole, so fewer columns than it has are read with the rows that follow, which must exist.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        row, column, columns = load(p, 1, "int64"), load(p, 2, "int64"), load(p, 3, "int64")
        begin, whole = load(p, 0, "int64"), 0
        begin = load(begin, 0, "int64") if inside else begin + first * row
        together, beyond = (side, columns - side) if columns > side else (columns, 0)
        if column == size and (columns >= side or (row >= columns * size and columns > 1)):
            whole = rows // side * side
            if columns < side and whole > 0:
                whole -= side
            for r in range(0, whole, side):
                for c in range(0, columns - side, side):
                    read_square(begin + r * row + c * size, row, p + 32 + 8 * c, r, side, bits)
                read_square(begin + r * row + beyond * size, row, p + 32 + 8 * beyond, r, together, bits)
        for c in range(columns):
            place, source = load(p, 4 + c, "int64"), begin + c * column
            if row == size:
                for r in range(whole, rows):
                    store(place, r, load(source, r, bits), bits)
            else:
                for r in range(whole, rows):
                    store(place, r, load(source + r * row, 0, bits), bits)
        return 0

    return Kernel(kernel)


@njit(error_model="numpy", forceinline=True)
def turn_back(places, columns, out, rows, bits, size, side):
    """Write columns, whose addresses lie at `places`, as rows that follow each other.

    A row of fewer columns than a square has is written with a part of those that follow, but for the last ones.
    """
    row, whole = columns * size, 0
    together, beyond = (side, columns - side) if columns > side else (columns, 0)
    if columns > 1:
        whole = rows // side * side
        if columns < side and whole > 0:
            whole -= side
        for r in range(0, whole, side):
            for c in range(0, columns - side, side):
                write_square(out + r * row + c * size, row, places + 8 * c, r, side, bits)
            write_square(out + r * row + beyond * size, row, places + 8 * beyond, r, together, bits)
    for c in range(columns):
        place = load(places, c, "int64")
        if columns == 1:
            for r in range(rows):
                store(out, r, load(place, r, bits), bits)
        else:
            for r in range(whole, rows):
                store(out, r * columns + c, load(place, r, bits), bits)


@cache
def writing(bits: str, size: int, side: int) -> Kernel:
    """Columns to an array in row-major order. Parameters: address, columns, places."""

    def kernel(p: int, first: int, rows: int) -> int:
        columns = load(p, 1, "int64")
        turn_back(p + 16, columns, load(p, 0, "int64") + first * columns * size, rows, bits, size, side)
        return 0

    return Kernel(kernel)


def read_input(assembler: Assembler, name: str, kind: TensorType) -> tuple[Block, Outer]:
    """An input as a block."""
    block = assembler.allocate(math.prod(map(int, kind.shape[1:])), kind.dtype)
    size = kind.dtype.itemsize
    kernel = reading(OF_SIZE[size], size, SIDES[size], False)
    word = assembler.add(kernel, 0, 0, 0, len(block.columns), *block.columns, cost=0.2 * len(block.columns))
    return block, Outer(name, word, kind.dtype)


def read_rows(assembler: Assembler, place: Word, columns: int, dtype: np.dtype) -> Block:
    """A value in rows, whose address is in a word, as a block."""
    block, size = assembler.allocate(columns, dtype), dtype.itemsize
    kernel = reading(OF_SIZE[size], size, SIDES[size], True)
    assembler.add(kernel, place, columns * size, size, columns, *block.columns, cost=0.2 * columns)
    return block


def write_output(assembler: Assembler, name: str, kind: TensorType, block: Block) -> Outer:
    """A block as an output."""
    size = kind.dtype.itemsize
    kernel = writing(OF_SIZE[size], size, SIDES[size])
    word = assembler.add(kernel, 0, len(block.columns), *block.columns, cost=0.2 * len(block.columns))
    shape = tuple(int(dim) for dim in kind.shape[1:])
    return Outer(name, word, kind.dtype, shape)
