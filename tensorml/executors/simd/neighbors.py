"""Operators on neighbours that were found: votes, and weighted sums of chosen rows."""

from __future__ import annotations

from functools import cache

from tensorml import ops
from tensorml.executors.simd.addresses import load, store
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Block
from tensorml.executors.simd.rules import result, rule
from tensorml.graph import Const, Op


@cache
def ballot(labels: str) -> Kernel:
    """Parameters: votes, classes; places of labels, of weights and of results."""

    def kernel(p: int, first: int, rows: int) -> int:
        votes, classes = load(p, 0, "int64"), load(p, 1, "int64")
        label, weight, out = p + 16, p + 16 + 8 * votes, p + 16 + 16 * votes
        for c in range(classes):
            place = load(out, c, "int64")
            for r in range(rows):
                store(place, r, 0.0, "float64")
        for k in range(votes):
            own, heavy = load(label, k, "int64"), load(weight, k, "int64")
            for r in range(rows):
                place = load(out, load(own, r, labels), "int64")
                store(place, r, load(place, r, "float64") + load(heavy, r, "float64"), "float64")
        return 0

    return Kernel(kernel)


@rule(ops.Votes)
def votes_rule(assembler: Assembler, op: ops.Votes, label: Block, weight: Block) -> Block:
    """Vote by vote."""
    block, votes = result(assembler, op), len(label.columns)
    places = (*label.columns, *weight.columns, *block.columns)
    cost = 2.0 * votes + 0.1 * len(block.columns)
    assembler.add(ballot(op.label.dtype.name), votes, len(block.columns), *places, cost=cost)
    return block


@cache
def weighing(dtype: str) -> Kernel:
    """Parameters: the table's address, chosen rows, results; places of the choices, of weights and of results."""

    def kernel(p: int, first: int, rows: int) -> int:
        table, count, width = load(p, 0, "int64"), load(p, 1, "int64"), load(p, 2, "int64")
        index, weight, out = p + 24, p + 24 + 8 * count, p + 24 + 16 * count
        for c in range(width):
            place = load(out, c, "int64")
            for k in range(count):
                here, heavy = load(index, k, "int64"), load(weight, k, "int64")
                for r in range(rows):
                    part = load(heavy, r, dtype) * load(table, load(here, r, "int64") * width + c, dtype)
                    store(place, r, part if k == 0 else load(place, r, dtype) + part, dtype)
        return 0

    return Kernel(kernel)


def has_table(op: Op) -> bool:
    """Whether the rows to choose from are known."""
    return isinstance(op, ops.WeightedRows) and isinstance(op.table, Const) and op.index.columns > 0


@rule(ops.WeightedRows, accepts=has_table)
def weighted_rows_rule(assembler: Assembler, op: ops.WeightedRows, table: Const, index: Block, weight: Block) -> Block:
    """Row by row of the table."""
    block, count, width = result(assembler, op), len(index.columns), len(table.value[0])
    address, places = assembler.constant(table.value), (*index.columns, *weight.columns, *block.columns)
    assembler.add(weighing(op.dtype.name), address, count, width, *places, cost=1.5 * count * width)
    return block
