"""Instructions that read the caller's arrays and write the results: rows there, columns here."""

from __future__ import annotations

import math
from functools import cache

from tensorml.executors.simd.addresses import load, store
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Block, Outer
from tensorml.graph import TensorType

TILE = 16  # rows that are moved together: each line of the cache is written whole
OF_SIZE = {1: "uint8", 2: "int16", 4: "int32", 8: "int64"}


@cache
def reading(bits: str, size: int) -> Kernel:
    """Columns from an array of any strides. Parameters: address, strides of rows and columns, columns, places."""

    def kernel(p: int, first: int, rows: int) -> int:
        row, column = load(p, 1, "int64"), load(p, 2, "int64")
        begin = load(p, 0, "int64") + first * row
        for start in range(0, rows, TILE):
            stop = min(start + TILE, rows)
            for c in range(load(p, 3, "int64")):
                place, source = load(p, 4 + c, "int64"), begin + c * column
                for r in range(start, stop):
                    store(place, r, load(source + r * row, 0, bits), bits)
        return 0

    return Kernel(kernel)


@cache
def writing(bits: str, size: int) -> Kernel:
    """Columns to an array in row-major order. Parameters: address, columns, places."""

    def kernel(p: int, first: int, rows: int) -> int:
        columns = load(p, 1, "int64")
        begin = load(p, 0, "int64") + first * columns * size
        for start in range(0, rows, TILE):
            stop = min(start + TILE, rows)
            for c in range(columns):
                place = load(p, 2 + c, "int64")
                for r in range(start, stop):
                    store(begin, r * columns + c, load(place, r, bits), bits)
        return 0

    return Kernel(kernel)


def read_input(assembler: Assembler, name: str, kind: TensorType) -> tuple[Block, Outer]:
    """An input as a block."""
    block = assembler.allocate(math.prod(map(int, kind.shape[1:])), kind.dtype)
    size = kind.dtype.itemsize
    kernel = reading(OF_SIZE[size], size)
    word = assembler.add(kernel, 0, 0, 0, len(block.columns), *block.columns, cost=0.7 * len(block.columns))
    return block, Outer(name, word, kind.dtype)


def write_output(assembler: Assembler, name: str, kind: TensorType, block: Block) -> Outer:
    """A block as an output."""
    kernel = writing(OF_SIZE[kind.dtype.itemsize], kind.dtype.itemsize)
    word = assembler.add(kernel, 0, len(block.columns), *block.columns, cost=0.7 * len(block.columns))
    shape = tuple(int(dim) for dim in kind.shape[1:])
    return Outer(name, word, kind.dtype, shape)
