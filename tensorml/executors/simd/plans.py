"""How each ensemble of trees is descended: the ways down, what each costs, and what its kernel reads."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numba.core.registry import cpu_target

from tensorml import ops
from tensorml.errors import GraphTypeError
from tensorml.executors.simd.addresses import LANES, has_avx512
from tensorml.executors.simd.blocks import DEPTH, Blocks, fits_blocks
from tensorml.executors.simd.codes import in_registers, searchable
from tensorml.executors.simd.shapes import INT32, SMALL, Heap, Numbering, Shape
from tensorml.graph import Op

Kind = Literal["perfect", "any", "walk", "values", "blocks", "symmetric"]

DEEPEST = 8  # levels of a tree whose leaves a byte can number
MOST = 2**DEEPEST
# Nanoseconds a row, measured: for a node of a perfect tree, for one of any tree, for a step
# of a walk, for a level of a symmetric tree, for a step by values, for a block by values, for coding a value, for
# the same among few boundaries, for copying one.
PERFECT, ANY, WALK, SYMMETRIC, VALUES, BLOCK, CODE, QUICK_CODE, COPY = 0.009, 0.028, 1.7, 0.015, 2.0, 2.4, 2.0, 0.6, 0.4
# The same for a row that goes down several trees: for a level of a perfect tree, for a step of any, for a test of a
# symmetric one.
HEAP, STEP, LEVEL = 0.9, 1.8, 1.0
BY_NODES = 16  # rows that walk sooner through several trees than several rows together
NEVER = 0xFFFF  # a code that no row has


class Plan:
    """A way down. A subclass arranges the nodes.

    kind: the kernel; index: the dtype of the leaves' numbers within a tree, `most` of them at most; cost: nanoseconds a
    row and tree; few: the most rows that go down one by one, through several trees together, sooner than all at once.
    """

    kind: Kind
    index = "uint8"
    depth = 0
    cost = 1.0
    few = 0
    most: int
    trees: int
    codes: np.dtype

    def nodes(self, begin: int, end: int) -> list[np.ndarray]:
        """What the kernel reads for the trees from begin to end."""
        raise NotImplementedError

    def leaves(self, tree: int) -> np.ndarray:
        """The leaf, through all trees, that each number within a tree stands for. int32."""
        raise NotImplementedError

    def values(self, values: np.ndarray, tree: int, size: int) -> np.ndarray:
        """What the leaves of a tree hold, by their number within it: [K, numbers], at least `size` of them."""
        held = values[self.leaves(tree)].T
        return np.ascontiguousarray(np.pad(held, ((0, 0), (0, max(0, size - held.shape[1])))))


class PerfectPlan(Plan):
    """Trees filled up to 2^depth leaves."""

    kind = "perfect"

    def __init__(self, shape: Shape):
        self.depth, self.trees, self.codes = max(1, shape.depth), len(shape.op.roots), shape.codes
        self.most, self.cost = 2**self.depth, perfect_cost(shape)
        self.few = fewest(LANES * self.cost, HEAP * self.depth)
        self.heap = Heap(shape, self.depth)

    def nodes(self, begin: int, end: int) -> list[np.ndarray]:
        """The offsets of the columns, int32, and the ranks."""
        return self.heap.nodes(begin, end)

    def leaves(self, tree: int) -> np.ndarray:
        """By path."""
        return (~self.heap.end[tree]).astype(INT32)


class AnyPlan(Plan):
    """Trees of any shape, up to 256 leaves, numbered from left to right. Children come before their parents."""

    kind = "any"

    def __init__(self, shape: Shape):
        op = shape.op
        self.shape, self.trees, self.codes = shape, len(op.roots), shape.codes
        self.most, self.cost = int(shape.leaves.max()), any_cost(shape)
        self.numbering = Numbering(shape, (op.column.astype(np.int64) << 16) | op.rank, NEVER) if can_walk(op) else None
        self.few = fewest(LANES * self.cost, STEP * path(shape)) if can_walk(op) else 0
        leaf, left = op.left < 0, op.right < 0
        self.pair = leaf & left
        self.order = np.lexsort((shape.height, ~self.pair, shape.tree))
        self.bounds = np.searchsorted(shape.tree[self.order], np.arange(self.trees + 1))
        slot = np.empty(len(op.column), np.int64)
        slot[self.order] = np.arange(len(op.column)) - self.bounds[shape.tree[self.order]]
        self.out = LANES * (self.most + slot)
        self.ends = np.cumsum(shape.leaves)
        number, tree = shape.leaf
        self.by_place = number[np.lexsort((shape.first[1][number], tree))]

    def operand(self, child: np.ndarray) -> np.ndarray:
        """Where a node finds what a child gives: a leaf's number among the constants, a node's result behind them."""
        child = child.astype(np.int64)
        _, leaf = self.shape.first
        return np.where(child >= 0, self.out[np.maximum(child, 0)], LANES * leaf[~np.minimum(child, -1)])

    def nodes(self, begin: int, end: int) -> list[np.ndarray]:
        """int32: of each tree the numbers of its two kinds of nodes, the nodes, and where the root's result is.

        A node of two leaves: the offset of its column, its rank, its first leaf, its place. Another: the offset, the
        rank, the places of its children, its place. For few rows: the nodes as in `WalkPlan`, the number of each leaf
        among them, uint8.
        """
        words = np.concatenate([self.words(tree) for tree in range(begin, end)]).astype(INT32)
        if self.numbering is None:
            return [words, np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.uint8)]
        numbers = self.shape.first[1][self.numbering.leaves[self.numbering.between(begin, end)]]
        return [words, *self.numbering.nodes(begin, end), numbers.astype(np.uint8)]

    def words(self, tree: int) -> np.ndarray:
        """One tree."""
        op, node = self.shape.op, self.order[self.bounds[tree] : self.bounds[tree + 1]]
        offset = op.column[node].astype(np.int64) * (LANES * self.codes.itemsize)
        test = np.stack([offset, op.rank[node]], axis=1)
        pairs = int(self.pair[node].sum())
        first, rest = node[:pairs], node[pairs:]
        twins = np.column_stack([test[:pairs], self.shape.first[0][first], self.out[first]])
        others = np.column_stack(
            [test[pairs:], self.operand(op.left[rest]), self.operand(op.right[rest]), self.out[rest]]
        )
        root = int(op.roots[tree])
        last = self.out[root] if root >= 0 else 0
        return np.concatenate([[pairs, len(rest)], twins.ravel(), others.ravel(), [last]])

    def leaves(self, tree: int) -> np.ndarray:
        """From left to right."""
        start = self.ends[tree] - self.shape.leaves[tree]
        return self.by_place[start : self.ends[tree]].astype(INT32)


class WalkPlan(Plan):
    """Trees of any size: the first levels at once, then from node to node. A leaf has the number of its node."""

    kind, index = "walk", "int32"

    def __init__(self, shape: Shape):
        op = shape.op
        self.trees, self.codes, self.cost = len(op.roots), shape.codes, walk_cost(shape)
        self.most = int(2 * shape.leaves.max() - 1)
        self.numbering = Numbering(shape, (op.column.astype(np.int64) << 16) | op.rank, NEVER)
        self.few = BY_NODES
        self.depth = min(SMALL, max(1, shape.depth))
        self.heap = Heap(shape, self.depth)
        end, numbers = self.heap.end, self.numbering
        on_leaf = numbers.of_leaf[~np.minimum(end, -1)]
        self.begin = np.where(end >= 0, numbers.of_inner[np.maximum(end, 0)], on_leaf).astype(INT32)

    def nodes(self, begin: int, end: int) -> list[np.ndarray]:
        """The first levels as in `Heap`, the node after each path through them, int32 [T, paths], and all nodes.

        These are as in `Numbering`: left child * 2^32 + column * 2^16 + rank.
        """
        return [*self.heap.nodes(begin, end), self.begin[begin:end], *self.numbering.nodes(begin, end)]

    def leaves(self, tree: int) -> np.ndarray:
        """By node; 0 for an inner one."""
        return self.numbering.leaves[self.numbering.of(tree)]


class ValuesPlan(Plan):
    """Few trees: from node to node by the values themselves, as coding all columns would take longer."""

    kind, index = "values", "int32"

    def __init__(self, shape: Shape):
        op, codes = shape.op, rank_of(shape.op)
        self.trees, self.codes, self.cost = len(op.roots), shape.codes, values_cost(shape)
        self.most, self.strict = int(2 * shape.leaves.max() - 1), codes.strict
        nan_right = codes.nan[op.column] >= op.rank
        self.numbering = Numbering(shape, (codes.source[op.column] << 16) | nan_right, 0)
        self.threshold = np.full(len(self.numbering.words), np.nan, codes.x.dtype)
        real = op.rank <= np.diff(codes.offsets)[op.column]
        at = codes.offsets[op.column[real]] + op.rank[real] - 1
        place = self.numbering.starts[shape.tree] + self.numbering.of_inner[: len(op.column)]
        self.threshold[place[real]] = codes.boundaries[at]

    def nodes(self, begin: int, end: int) -> list[np.ndarray]:
        """As in `Numbering`: left child * 2^32 + column * 2^16 + whether NaN goes right; the threshold of each, NaN for

        a leaf.
        """
        return [*self.numbering.nodes(begin, end), self.threshold[self.numbering.between(begin, end)]]

    def leaves(self, tree: int) -> np.ndarray:
        """By node; 0 for an inner one."""
        return self.numbering.leaves[self.numbering.of(tree)]


class BlocksPlan(Plan):
    """Deep trees: four levels at a time, by the values themselves. Leaves are numbered from the left, after blocks."""

    kind, index = "blocks", "int16"

    def __init__(self, shape: Shape):
        self.trees, self.codes, self.cost = len(shape.op.roots), shape.codes, blocks_cost(shape)
        self.blocks = Blocks(shape, rank_of(shape.op))
        self.most = max(map(len, self.blocks.of_leaf))

    def nodes(self, begin: int, end: int) -> list[np.ndarray]:
        """The blocks, and how many each tree has."""
        starts = self.blocks.starts
        return [self.blocks.bytes[starts[begin] : starts[end]], self.blocks.count[begin:end]]

    def leaves(self, tree: int) -> np.ndarray:
        """By number; 0 for a block."""
        return self.blocks.of_leaf[tree]


class SymmetricPlan(Plan):
    """Symmetric trees of up to 8 levels, filled up with tests that do not count: a bit a level."""

    kind = "symmetric"

    def __init__(self, op: ops.DescendSymmetric):
        self.trees, self.codes, self.depth = len(op.size), op.codes.dtype, int(op.size.max())
        self.most, self.cost = 2**self.depth, SYMMETRIC * self.depth * op.codes.dtype.itemsize
        self.few = fewest(LANES * self.cost, LEVEL * self.depth)
        self.size, self.first = op.size, op.first_leaf
        self.tests = np.zeros((self.trees, self.depth, 2), INT32)
        tree = np.repeat(np.arange(self.trees), op.size)
        level = np.arange(len(op.column)) - np.repeat(np.cumsum(op.size) - op.size, op.size)
        self.tests[tree, level, 0] = op.column.astype(np.int64) * (LANES * op.codes.dtype.itemsize)
        self.tests[tree, level, 1] = op.rank

    def nodes(self, begin: int, end: int) -> list[np.ndarray]:
        """int32: of each test the offset of its column and its rank."""
        return [self.tests[begin:end]]

    def leaves(self, tree: int) -> np.ndarray:
        """As they are, whatever the bits of tests that only fill up."""
        return (self.first[tree] + np.arange(self.most) % 2 ** self.size[tree]).astype(INT32)


def fewest(all_rows: float, row: float) -> int:
    """How many rows cost no more one by one than all at once."""
    return min(LANES - 1, int(all_rows / row))


def perfect_cost(shape: Shape) -> float:
    """Nanoseconds a row and tree."""
    return PERFECT * 2.0**shape.depth * shape.codes.itemsize if shape.depth <= DEEPEST else np.inf


def any_cost(shape: Shape) -> float:
    """Nanoseconds a row and tree."""
    if shape.leaves.max() > MOST or not len(shape.op.column):
        return np.inf
    return ANY * float(shape.leaves.mean()) * shape.codes.itemsize


def walk_cost(shape: Shape) -> float:
    """Nanoseconds a row and tree."""
    if not can_walk(shape.op):
        return np.inf
    return PERFECT * 2**SMALL * shape.codes.itemsize + WALK * max(1.0, path(shape) - SMALL)


def values_cost(shape: Shape) -> float:
    """Nanoseconds a row and tree."""
    return VALUES * path(shape) if by_values(shape.op) else np.inf


def blocks_cost(shape: Shape) -> float:
    """Nanoseconds a row and tree."""
    if not has_avx512(cpu_target.target_context) or not fits_blocks(shape):
        return np.inf
    levels = min(path(shape) + DEPTH, shape.depth) - DEPTH  # rows that go down together wait for the last
    return BLOCK * (0.25 + max(1.0, levels / DEPTH))


def path(shape: Shape) -> float:
    """The compares on the way to a leaf, estimated: trees are not balanced."""
    return 1.3 * float(np.log2(shape.leaves + 1).mean())


def can_walk(op: ops.Descend) -> bool:
    """Whether a node fits a word."""
    return op.codes.dtype.itemsize < 4 and op.codes.columns <= NEVER and len(op.column) > 0


def by_values(op: ops.Descend) -> bool:
    """Whether all that nodes compare is known as thresholds."""
    codes = op.codes
    if not isinstance(codes, ops.Rank) or not searchable(codes) or codes.x.dtype.itemsize < 4:
        return False
    return codes.x.columns <= NEVER and len(op.column) > 0 and bool(op.rank.min() > 0)


def rank_of(op: ops.Descend) -> ops.Rank:
    """What codes the values that trees compare."""
    if not isinstance(op.codes, ops.Rank):
        raise GraphTypeError(f"{op} does not read ranks alone")
    return op.codes


def descendable(op: Op) -> bool:
    """Whether there is a plan."""
    if isinstance(op, ops.DescendSymmetric):
        return len(op.size) > 0 and bool(op.size.max() <= DEEPEST)
    if not isinstance(op, ops.Descend) or not len(op.roots):
        return False
    return can_walk(op) or bool(np.isfinite(min(cost(Shape(op)) for cost in (perfect_cost, any_cost))))


def plan_trees(op: Op, *, few: bool = False) -> Plan:
    """The cheapest way down, by estimate; for few rows, if `few`."""
    if isinstance(op, ops.DescendSymmetric):
        return SymmetricPlan(op)
    if not isinstance(op, ops.Descend):
        raise GraphTypeError(f"no kernel descends {op}")
    shape = Shape(op)
    trees, coding = len(op.roots), (QUICK_CODE if in_registers(op.codes) else CODE) * op.codes.columns
    ways = (
        (coding + trees * perfect_cost(shape), PerfectPlan),
        (coding + trees * any_cost(shape), AnyPlan),
        (coding + trees * walk_cost(shape), WalkPlan),
        (trees * values_cost(shape), ValuesPlan),
        (np.inf if few else COPY * op.codes.columns + trees * blocks_cost(shape), BlocksPlan),
    )
    return min(ways, key=lambda way: way[0])[1](shape)
