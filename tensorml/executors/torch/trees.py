"""Trees in PyTorch: all nodes at once where trees are small, else a walk from the root. A cost model chooses.

*AllNodes* pads each tree to a perfect one of 2^depth leaves, compares every node for many rows in one operator and
selects bottom-up: no gathers, no branches, one byte per node and row. The cost doubles with each level.
*Select* does the same for trees of any shape, height by height: the cost grows with the number of nodes.
*Descent* compares all nodes of the first levels of deep trees, and walks from there.
*Levels*, for symmetric trees, compares once for each level.
*Walk* follows each row down with gathers: the cost grows with the length of the paths.

Both end in slots: numbers of places in a table of leaves, [T, N], so that what a leaf holds can be read without a
detour over the leaf's own number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from tensorml.executors.torch.forests import BLOCK, AllNodes, BagSum, BySize, Descent, Levels, OrderedSum, Select, Walk
from tensorml.ops import Descend, DescendSymmetric, LeafSum
from tensorml.trees import code_dtype

if TYPE_CHECKING:
    from torch.fx import Proxy

    from tensorml.executors.torch.program import Emitter

DEEPEST = 8  # levels up to which a position fits a byte
HEAD = 6  # levels of deep trees in which all nodes are compared before the walk
GROUP_BYTES = 5_000_000  # compares of one block that stay in the caches: measured, flat between 3 and 6 MB
TABLE_BYTES = 1_500_000  # values of one block and group, of which Select holds about three copies
FEW_ROWS = {AllNodes: 512, Select: 1024, Descent: 512}  # rows below which a walk is faster, measured with 100 trees
LEAST_BLOCK = 512  # rows below which the operators' own overhead shows

# Costs measured on one core with AVX-512, in nanoseconds per row: a padded position in AllNodes and a node in Select,
# per byte of its integer; a level in Walk. HEIGHT_STEP is for a block of rows: what calling Select's operators costs.
POSITION_STEP, NODE_STEP, WALK_STEP, HEIGHT_STEP = 0.1, 0.6, 10.0, 12_000.0


@dataclass(frozen=True)
class Placed:
    """A forest as a module, codes to slots, and the leaf that each slot is (0 where no row ends). leaf: int64 [S]."""

    module: nn.Module
    leaf: np.ndarray


@dataclass(frozen=True)
class Shape:
    """What a forest looks like. Inner nodes are numbered as in Descend.

    tree: int64 [I], the tree of each inner node; height: int64 [I], 1 above two leaves; leaves: int64 [I], below each
    inner node; depth: int64 [T].
    """

    tree: np.ndarray
    height: np.ndarray
    leaves: np.ndarray
    depth: np.ndarray

    @property
    def most_leaves(self) -> int:
        """The number of leaves of the largest tree."""
        return int(self.leaves.max(initial=1))

    def value_dtype(self, codes: np.dtype) -> np.dtype:
        """The integer that holds both a code and the number of a leaf in its tree."""
        return max(codes, code_dtype(self.most_leaves), key=lambda dtype: dtype.itemsize)


def shape_of(op: Descend) -> Shape:
    """The forest's shape, level by level from the leaves."""
    inner = np.flatnonzero(op.roots >= 0)
    tree = inner[np.searchsorted(op.roots[inner], np.arange(len(op.column)), side="right") - 1]
    height, leaves = np.zeros(len(tree), np.int64), np.zeros(len(tree), np.int64)
    level = 0
    while (height == 0).any():
        level += 1
        left, right = (np.where(side < 0, 1, _at(leaves, side)) for side in (op.left, op.right))
        ready = (height == 0) & (left > 0) & (right > 0)
        leaves[ready] = (left + right)[ready]
        height[ready] = level
    return Shape(tree, height, leaves, op.depths())


def place(op: Descend) -> Placed:
    """The forest in the way that costs least; by a walk where there are few rows."""
    shape = shape_of(op)
    way = cheapest(op, shape)
    walk = walk_of(op, shape)
    if way is Walk:
        return Placed(walk, walked_leaves(op))
    chosen = Placed(descent_of(op, walk), walked_leaves(op)) if way is Descent else PLACES[way](op, shape)
    slot_of_leaf = np.zeros(int(chosen.leaf.max()) + 1, np.int32)
    slot_of_leaf[chosen.leaf] = np.arange(len(chosen.leaf))
    return Placed(BySize(walk, chosen.module, slot_of_leaf[walked_leaves(op)], FEW_ROWS[way]), chosen.leaf)


def cheapest(op: Descend, shape: Shape) -> type[nn.Module]:
    """The module that costs least, in nanoseconds per row on one core."""
    deepest, trees = max(int(shape.depth.max(initial=0)), 1), len(op.roots)
    position = POSITION_STEP * trees * op.codes.dtype.itemsize
    costs: dict[type[nn.Module], float] = {
        Select: _select_cost(op, shape),
        Walk: WALK_STEP * float(shape.depth.sum()),
        Descent: position * 2**HEAD + WALK_STEP * float(np.maximum(shape.depth - HEAD, 1).sum()),
    }
    if deepest <= DEEPEST:
        costs[AllNodes] = position * 2**deepest
    return min(costs, key=lambda module: costs[module])


def place_all_nodes(op: Descend, shape: Shape) -> Placed:
    """Every tree as a perfect one: below a leaf that comes early, all positions are that leaf."""
    module, nodes = _perfect(op, max(int(shape.depth.max(initial=0)), 1))
    return Placed(module, ~nodes)


def _perfect(op: Descend, depth: int) -> tuple[AllNodes, np.ndarray]:
    """The first levels of every tree, and the node or leaf at each slot, as in Descend. int64 [T * 2^depth]."""
    column, rank, nodes = [], [], op.roots[:, None].astype(np.int64)
    for _ in range(depth):
        inner = nodes >= 0
        column.append(np.where(inner, _at(op.column, nodes), 0))
        rank.append(np.where(inner, _at(op.rank, nodes), 0))
        children = (np.where(inner, _at(side, nodes), nodes) for side in (op.left, op.right))
        nodes = np.concatenate(list(children), axis=1)
    group = max(1, GROUP_BYTES // (BLOCK * 2**depth * op.codes.dtype.itemsize))
    tests = (np.concatenate(column, axis=1), np.concatenate(rank, axis=1).astype(op.codes.dtype))
    columns, ranks = (_side_by_side(test, group) for test in tests)
    return AllNodes(columns, ranks, depth, len(op.roots)), nodes[:, _reversed_bits(depth)].reshape(-1)


def _at(values: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """values[node], and anything for a leaf."""
    return values[np.maximum(nodes, 0)].astype(np.int64) if len(values) else np.zeros_like(nodes)


def _side_by_side(tests: np.ndarray, group: int) -> np.ndarray:
    """[T, nodes] as [groups, nodes * G]; the last group is filled up with the last tree."""
    group = min(group, len(tests))
    groups = -(-len(tests) // group)
    filled = tests[np.minimum(np.arange(groups * group), len(tests) - 1)]
    return np.ascontiguousarray(filled.reshape(groups, group, -1).transpose(0, 2, 1).reshape(groups, -1))


def _reversed_bits(depth: int) -> np.ndarray:
    """The numbers 0 to 2^depth - 1 with their bits in reverse order: the root's decision is the highest bit."""
    number = np.arange(2**depth)
    return sum(((number >> bit) & 1) << (depth - 1 - bit) for bit in range(depth))  # pyright: ignore[reportReturnType]


def _blocks(op: Descend, shape: Shape) -> tuple[int, int]:
    """Rows of a block and trees of a group for Select, so that a table of values stays in the caches."""
    size, trees = shape.value_dtype(op.codes.dtype).itemsize, len(op.roots)
    nodes = max(1, len(op.column) // trees)
    rows = int(np.clip(TABLE_BYTES // (size * nodes), LEAST_BLOCK, BLOCK))
    return rows, min(max(1, TABLE_BYTES // (size * nodes * rows)), trees)


def _select_cost(op: Descend, shape: Shape) -> float:
    rows, group = _blocks(op, shape)
    calls = HEIGHT_STEP * int(shape.height.max(initial=0)) * len(op.roots) / group / rows
    return NODE_STEP * len(op.column) * shape.value_dtype(op.codes.dtype).itemsize + calls


def place_select(op: Descend, shape: Shape) -> Placed:
    """Nodes by height, for groups of trees whose values stay in the caches; leaves numbered from left to right."""
    dtype, trees = shape.value_dtype(op.codes.dtype), len(op.roots)
    rows, group = _blocks(op, shape)
    row, heights = _rows_by_height(shape, group)
    groups, width = -(-trees // group), heights[-1]
    filled = {name: np.zeros((groups, width), np.int64) for name in ("column", "rank", "leaves_left", "left", "right")}
    at = (shape.tree // group, row - 1)
    filled["column"][at], filled["rank"][at] = op.column, op.rank
    filled["leaves_left"][at] = np.where(op.left < 0, 1, _at(shape.leaves, op.left))
    filled["left"][at], filled["right"][at] = (np.where(s < 0, 0, _at(row, s)) for s in (op.left, op.right))
    root = np.zeros(groups * group, np.int64)
    root[:trees] = np.where(op.roots < 0, 0, _at(row, op.roots))
    counts = np.where(op.roots < 0, 1, _at(shape.leaves, op.roots))
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    tests = {name: array.astype(dtype) if name in ("rank", "leaves_left") else array for name, array in filled.items()}
    tables = {**tests, "root": root.reshape(groups, group), "first": first.astype(np.int32)}
    return Placed(Select(tables, heights, rows), _left_to_right(op, shape, first, int(counts.sum())))


def _rows_by_height(shape: Shape, group: int) -> tuple[np.ndarray, list[int]]:
    """Each inner node's row in its group's table, from 1, and where each height begins, counted from 0."""
    groups, tallest = int(shape.tree.max(initial=0)) // group + 1, int(shape.height.max(initial=0))
    place = (shape.tree // group) * (tallest + 1) + shape.height
    counts = np.bincount(place, minlength=groups * (tallest + 1)).reshape(groups, tallest + 1)
    heights = np.concatenate([[0], np.cumsum(counts[:, 1:].max(axis=0))])
    order = np.argsort(place, kind="stable")
    rank = np.empty(len(place), np.int64)
    rank[order] = np.arange(len(place)) - np.searchsorted(place[order], place[order])
    return heights[shape.height - 1] + rank + 1, heights.tolist()


def _left_to_right(op: Descend, shape: Shape, first: np.ndarray, count: int) -> np.ndarray:
    """The leaves of each tree from left to right. int64 [L]."""
    leaf, start = np.empty(count, np.int64), np.empty(len(shape.tree), np.int64)
    lone = op.roots < 0
    leaf[first[lone]] = ~op.roots[lone]
    start[op.roots[~lone]] = first[~lone]
    for height in range(int(shape.height.max(initial=0)), 0, -1):
        nodes = np.flatnonzero(shape.height == height)
        on_left = np.where(op.left[nodes] < 0, 1, _at(shape.leaves, op.left[nodes]))
        for side, begin in ((op.left[nodes], start[nodes]), (op.right[nodes], start[nodes] + on_left)):
            leaf[begin[side < 0]] = ~side[side < 0]
            start[side[side >= 0]] = begin[side >= 0]
    return leaf


PLACES = {AllNodes: place_all_nodes, Select: place_select}


def descent_of(op: Descend, walk: Walk) -> Descent:
    """The first levels of deep trees by comparing all their nodes, the others by the walk."""
    content = _walked(op)
    head, nodes = _perfect(op, HEAD)
    place = np.empty(len(content), np.int64)
    place[content + (content < 0) * len(content)] = np.arange(len(content))  # a leaf ~l is counted from the end
    return Descent(head, walk, place[nodes + (nodes < 0) * len(content)])


def _walked(op: Descend) -> np.ndarray:
    """The nodes and leaves in the order of the walk: the roots, then the children of each inner node. int64 [M]."""
    return np.concatenate([op.roots, np.stack([op.left, op.right], axis=1).reshape(-1)]).astype(np.int64)


def walked_leaves(op: Descend) -> np.ndarray:
    """The leaf at each slot of the walk, 0 at inner nodes. int64 [M]."""
    content = _walked(op)
    return np.where(content >= 0, 0, ~content)


def walk_of(op: Descend, shape: Shape) -> Walk:
    """Trees as nodes in one table: the children of inner node i at T + 2i and T + 2i + 1, after the T roots."""
    depth = max(int(shape.depth.max(initial=0)), 1)
    trees, inner, content = len(op.roots), len(op.column), _walked(op)
    is_inner = content >= 0
    test = np.where(is_inner, (_at(op.column, content) << 32) + _at(op.rank, content), 0x7FFFFFFF)
    left = np.where(is_inner, trees + 2 * content, np.arange(trees + 2 * inner))
    return Walk(test, left, np.arange(trees), depth)


def descend(op: Descend, emitter: Emitter, codes: Proxy) -> Proxy:
    """The leaf's number, read from its slot."""
    placed, slots = _slots(op, emitter, codes)
    leaf = emitter.constant(placed.leaf.astype(np.int32))
    return leaf.index_select(0, slots.reshape([-1])).reshape([len(op.roots), slots.size(1)]).t()


def descend_symmetric(op: DescendSymmetric, emitter: Emitter, codes: Proxy) -> Proxy:
    """A compare for each level of each tree."""
    levels, start = max(int(op.size.max(initial=0)), 1), np.cumsum(op.size) - op.size
    column = np.full((levels, len(op.size)), op.codes.columns)
    rank = np.ones(column.shape, op.codes.dtype)
    for i in range(levels):
        tree = np.flatnonzero(op.size > i)
        column[i, tree], rank[i, tree] = op.column[start[tree] + i], op.rank[start[tree] + i]
    dtype = max(op.codes.dtype, code_dtype(2**levels - 1), key=lambda dtype: dtype.itemsize)
    group = max(1, GROUP_BYTES // (BLOCK * 2 * dtype.itemsize))
    module = Levels(column, rank, op.first_leaf.astype(np.int32), np.empty(0, dtype), group)
    return emitter.call(module, codes).t()


def leaf_sum(op: LeafSum, emitter: Emitter, leaves: Proxy) -> Proxy:
    """Sums over slots where the leaves come from a descent in this graph, else over leaves."""
    if isinstance(op.leaves, Descend):
        placed, slots = _slots(op.leaves, emitter, None)
        values = op.values[placed.leaf]
    else:
        slots, values = leaves.t(), op.values
    ordered = op.values.dtype != np.float32
    return emitter.call(_ordered_sum(op, values) if ordered else _bag_sum(op, values), slots)


def _slots(op: Descend, emitter: Emitter, codes: Proxy | None) -> tuple[Placed, Proxy]:
    """The placed forest and its slots, computed once for all that read the descent."""
    if op not in emitter.shared:
        if codes is None:
            raise KeyError(op)
        placed = place(op)
        emitter.shared[op] = (placed, emitter.call(placed.module, codes))
    return emitter.shared[op]


def _ordered_sum(op: LeafSum, values: np.ndarray) -> nn.Module:
    output = [] if op.output is None else [int(k) for k in op.output]
    return OrderedSum(np.ascontiguousarray(values.T), op.start.copy(), output)


def _bag_sum(op: LeafSum, values: np.ndarray) -> nn.Module:
    slots, trees, width = len(values), int(op.leaves.columns), len(op.start)
    if op.output is None:
        table = np.concatenate([values, op.start[None, :], np.full((1, width), -0.0, values.dtype)])
        reads = np.concatenate([[trees], np.arange(trees)])[None, :]
        return BagSum(table, reads, np.array([slots], np.int32))
    own = [np.concatenate([[trees + k], np.flatnonzero(op.output == k)]) for k in range(width)]
    reads = np.full((width, max(map(len, own))), trees + width)
    for k, order in enumerate(own):
        reads[k, : len(order)] = order
    table = np.concatenate([values, op.start[:, None], np.full((1, 1), -0.0, values.dtype)])
    return BagSum(table, reads, np.arange(slots, slots + width + 1, dtype=np.int32))
