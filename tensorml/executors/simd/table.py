"""Operators that find a value in a table: the code of a category, the place of a key."""

from __future__ import annotations

from functools import cache

import numpy as np

from tensorml import ops
from tensorml.executors.simd.addresses import load, store
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Block, Parameter
from tensorml.executors.simd.rules import result, rule


@cache
def looking_up(dtype: str, low: int) -> Kernel:
    """Parameters: columns, categories of each; for each the places of result and x, the table's address.

    A value above `low`, -1 or 0, counts as its whole part; 0 does, too.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        size = load(p, 1, "int64")
        for c in range(load(p, 0, "int64")):
            out, x, table = load(p, 2 + 3 * c, "int64"), load(p, 3 + 3 * c, "int64"), load(p, 4 + 3 * c, "int64")
            for r in range(rows):
                value = load(x, r, dtype)
                inside = ((value > low) | (value == 0)) & (value < size)
                place = int(value if inside else 0.0)
                at = place if inside else size + (value != value)
                store(out, r, load(table, at, "uint8"), "uint8")
        return 0

    return Kernel(kernel)


@rule(ops.Lookup)
def lookup_rule(assembler: Assembler, op: ops.Lookup, x: Block) -> Block:
    """Entry after entry."""
    block = result(assembler, op)
    table, width = assembler.constant(op.table), op.table.shape[1]
    parameters: list[Parameter] = [len(op.source), width - 2]
    for k, (out, source) in enumerate(zip(block.columns, op.source, strict=True)):
        parameters += [out, x.columns[source], table + k * width]
    kernel = looking_up(op.x.dtype.name, -1 if op.truncate_negative else 0)
    assembler.add(kernel, *parameters, cost=1.0 * len(op.source))
    return block


@cache
def positions(dtype: str) -> Kernel:
    """Halving: the first key that is not below the value, if it is equal. Parameters: columns; for each the places of
    result and x, the address of the keys, how many there are, the results where there is none and for NaN.
    """

    def kernel(p: int, first: int, rows: int) -> int:
        for c in range(load(p, 0, "int64")):
            word = p + 8 * (1 + 6 * c)
            out, x, keys = load(word, 0, "int64"), load(word, 1, "int64"), load(word, 2, "int64")
            count, absent, missing = load(word, 3, "int64"), load(word, 4, "int64"), load(word, 5, "int64")
            for r in range(rows):
                value, base, left = load(x, r, dtype), 0, count
                while left > 1:
                    half = left >> 1
                    base += half if load(keys, base + half - 1, dtype) < value else 0
                    left -= half
                base += (count > 0) & (load(keys, base, dtype) < value)
                found = (base < count) & (load(keys, base, dtype) == value)
                store(out, r, missing if value != value else base if found else absent, "int64")
        return 0

    return Kernel(kernel)


def keys_of(assembler: Assembler, keys: np.ndarray) -> int:
    """The address of keys, with one behind them that may be read."""
    return assembler.constant(np.append(keys, np.zeros(1, keys.dtype)))


@rule(ops.Find)
def find_rule(assembler: Assembler, op: ops.Find, x: Block) -> Block:
    """One set of keys for all columns."""
    block = result(assembler, op)
    keys, count = keys_of(assembler, op.keys), len(op.keys)
    parameters: list[Parameter] = [len(x.columns)]
    for out, place in zip(block.columns, x.columns, strict=True):
        parameters += [out, place, keys, count, count, count]
    assembler.add(positions("int64"), *parameters, cost=5.0 * len(x.columns))
    return block


@rule(ops.Position)
def position_rule(assembler: Assembler, op: ops.Position, x: Block) -> Block:
    """Keys of each column's own."""
    block = result(assembler, op)
    parameters: list[Parameter] = [len(x.columns)]
    for k, (out, place) in enumerate(zip(block.columns, x.columns, strict=True)):
        keys = op.keys[op.offsets[k] : op.offsets[k + 1]]
        parameters += [out, place, keys_of(assembler, keys), len(keys), -1, int(op.nan[k])]
    assembler.add(positions(op.x.dtype.name), *parameters, cost=5.0 * len(x.columns))
    return block
