"""Trees: codes of the values, then the leaf of each row in each tree, as its plan says; some trees at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from tensorml import ops
from tensorml.executors.simd.addresses import LANES, load, store
from tensorml.executors.simd.codes import code_sources, grouped_codes
from tensorml.executors.simd.compares import any_trees, perfect_trees, stacked_trees, symmetric_trees
from tensorml.executors.simd.descents import ROW, block_trees, side_by_side, ways
from tensorml.executors.simd.kernel import Kernel
from tensorml.executors.simd.machine import Assembler, Block, Parameter
from tensorml.executors.simd.plans import COPY, BlocksPlan, Plan, ValuesPlan, descendable, plan_trees
from tensorml.executors.simd.rules import result, rule
from tensorml.executors.simd.shapes import SMALL, TOGETHER
from tensorml.executors.simd.walks import walking, walking_values
from tensorml.graph import Op

GROUP = 64  # trees whose leaves are found before they are added up
BIG_GROUP = 16  # big ones
FEW_ROWS = 12  # that go down sooner without blocks


@cache
def naming(index: str) -> Kernel:
    """Numbers within a tree as numbers through all trees. Parameters: trees; places of leaves, a table, of results."""

    def kernel(p: int, first: int, rows: int) -> int:
        for t in range(load(p, 0, "int64")):
            leaves, table, out = load(p, 1 + 3 * t, "int64"), load(p, 2 + 3 * t, "int64"), load(p, 3 + 3 * t, "int64")
            for r in range(rows):
                store(out, r, load(table, load(leaves, r, index), "int32"), "int32")
        return 0

    return Kernel(kernel)


def way_down(plan: Plan) -> tuple[Kernel, int, tuple[int, ...]]:
    """The kernel of a plan, the bytes a row of the room that it takes, and the numbers that it is told after that."""
    dtype, size = plan.codes.name, plan.codes.itemsize
    match plan.kind:
        case "perfect" if plan.depth <= SMALL:
            return perfect_trees(plan.depth, dtype, size), 0, ()
        case "perfect":
            return stacked_trees(plan.depth - SMALL, dtype, size), 2 ** (plan.depth - SMALL), ()
        case "symmetric":
            return symmetric_trees(plan.depth, dtype), 0, ()
        case "walk":
            return walking(plan.depth, dtype, size), 1, ()
    return any_trees(dtype, size), 2 * plan.most, (plan.most,)


def descend(assembler: Assembler, plan: Plan, given: Sequence[Parameter], begin: int, end: int) -> Block:
    """Add the instruction that finds the leaves of some trees. Result: a column of them for each tree.

    given: the codes and the bytes from one group of rows to the next; to a `ValuesPlan` the columns of x. Few rows go
    down 8 trees together, so the kernel has columns for as many.
    """
    trees = end - begin
    columns = assembler.allocate(-(-trees // TOGETHER) * TOGETHER, np.dtype(plan.index))
    leaves = replace(columns, columns=columns.columns[:trees])
    nodes = [assembler.constant(array) for array in plan.nodes(begin, end)]
    if isinstance(plan, ValuesPlan):
        kernel = walking_values(plan.threshold.dtype.name, plan.threshold.itemsize, int(plan.strict))
        assembler.add(kernel, trees, *nodes, len(given), *given, *leaves.columns, cost=plan.cost * trees)
        return leaves
    kernel, bytes_, told = way_down(plan)
    room = assembler.reserve(bytes_) if bytes_ else None
    rest = (assembler.place(room), *told) if room else ()
    assembler.add(kernel, *given, trees, plan.few, *nodes, *rest, *columns.columns, cost=plan.cost * trees)
    if room:
        assembler.release(room)
    return leaves


def descend_blocks(assembler: Assembler, plan: BlocksPlan, x: Block) -> Iterator[tuple[int, Block]]:
    """As `descend_all`, by the columns of x."""
    assembler.at_most, assembler.large = max(assembler.at_most, FEW_ROWS), True
    columns = [x.columns[feature] for feature in plan.blocks.features]
    values, paths = assembler.reserve(ROW), assembler.reserve(4)
    given = assembler.place(values)
    assembler.add(side_by_side(), len(columns), given, *columns, cost=COPY * len(columns))
    told = (assembler.constant(ways()), assembler.place(paths), len(columns), *columns)
    for begin in range(0, plan.trees, BIG_GROUP):
        trees = min(BIG_GROUP, plan.trees - begin)
        leaves = assembler.allocate(trees, np.dtype(plan.index))
        nodes = [assembler.constant(array) for array in plan.nodes(begin, begin + trees)]
        assembler.add(block_trees(), given, trees, *nodes, *told, *leaves.columns, cost=plan.cost * trees)
        yield begin, leaves
        assembler.release(*leaves.buffers)
    assembler.release(values)
    assembler.release(paths)


def descend_all(assembler: Assembler, op: Op, plan: Plan, blocks: tuple[Block, ...]) -> Iterator[tuple[int, Block]]:
    """Add codes and descents, some trees at a time: the first of these, and their leaves, there until the next."""
    (codes,) = op.operands
    if isinstance(plan, BlocksPlan):
        yield from descend_blocks(assembler, plan, *blocks)
        return
    room = None if isinstance(plan, ValuesPlan) else grouped_codes(assembler, codes, blocks)
    jump = LANES * codes.columns * codes.dtype.itemsize
    given = (assembler.place(room), jump) if room else blocks[0].columns
    for begin in range(0, plan.trees, GROUP):
        leaves = descend(assembler, plan, given, begin, min(begin + GROUP, plan.trees))
        yield begin, leaves
        assembler.release(*leaves.buffers)
    if room:
        assembler.release(room)


@rule(ops.Descend, ops.DescendSymmetric, accepts=descendable, reads=code_sources)
def descend_rule(assembler: Assembler, op: ops.Descend, *blocks: Block) -> Block:
    """The leaves themselves."""
    plan, block = plan_trees(op, few=assembler.few), result(assembler, op)
    for begin, found in descend_all(assembler, op, plan, blocks):
        parameters: list[Parameter] = []
        for t, place in enumerate(found.columns, begin):
            parameters += [place, assembler.constant(plan.leaves(t)), block.columns[t]]
        assembler.add(naming(plan.index), len(found.columns), *parameters, cost=0.2 * len(found.columns))
    return block
