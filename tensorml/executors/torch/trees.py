"""Trees in PyTorch: all nodes at once where trees are shallow, else a walk from the root.

*All nodes* pads each tree to a perfect one of 2^depth leaves, compares every node for many rows in one operator and
selects bottom-up: no gathers, no branches, one byte per node and row. The cost doubles with each level.
*Walk* follows each row down with gathers: the cost grows with the depth of the deepest path.

Both end in slots: numbers of places in a table of leaves, [T, N], so that what a leaf holds can be read without a
detour over the leaf's own number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from tensorml.executors.torch.forests import BLOCK, AllNodes, BagSum, OrderedSum, Walk
from tensorml.ops import Descend, LeafSum

if TYPE_CHECKING:
    from torch.fx import Proxy

    from tensorml.executors.torch.program import Emitter

DEEPEST = 8  # levels up to which a position fits a byte and all nodes are faster than a walk
GROUP_BYTES = 5_000_000  # compares of one block that stay in the caches: measured, flat between 3 and 6 MB


@dataclass(frozen=True)
class Placed:
    """A forest as a module, codes to slots, and the leaf that each slot is (0 where no row ends). leaf: int64 [S]."""

    module: nn.Module
    leaf: np.ndarray


def place(op: Descend) -> Placed:
    """The forest in the way that is faster for its depth."""
    depth = int(op.depths().max(initial=0))
    return place_all_nodes(op, max(depth, 1)) if depth <= DEEPEST else place_nodes(op, depth)


def place_all_nodes(op: Descend, depth: int) -> Placed:
    """Every tree as a perfect one: below a leaf that comes early, all positions are that leaf."""
    column, rank, nodes = [], [], op.roots[:, None].astype(np.int64)
    for _ in range(depth):
        inner = nodes >= 0
        column.append(np.where(inner, _at(op.column, nodes), 0))
        rank.append(np.where(inner, _at(op.rank, nodes), 0))
        children = (np.where(inner, _at(side, nodes), nodes) for side in (op.left, op.right))
        nodes = np.concatenate(list(children), axis=1)
    group = max(1, GROUP_BYTES // (BLOCK * 2**depth * op.codes.dtype.itemsize))
    tests = (np.concatenate(column, axis=1), np.concatenate(rank, axis=1).astype(op.codes.dtype))
    grouped = (_side_by_side(test, group) for test in tests)
    leaf = ~nodes[:, _reversed_bits(depth)].reshape(-1)
    return Placed(AllNodes(*grouped, depth, len(op.roots)), leaf)


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


def place_nodes(op: Descend, depth: int) -> Placed:
    """Trees as nodes in one table: the children of inner node i at T + 2i and T + 2i + 1, after the T roots."""
    trees, inner = len(op.roots), len(op.column)
    content = np.concatenate([op.roots, np.stack([op.left, op.right], axis=1).reshape(-1)]).astype(np.int64)
    is_inner = content >= 0
    test = np.where(is_inner, (_at(op.column, content) << 32) + _at(op.rank, content), 0x7FFFFFFF)
    left = np.where(is_inner, trees + 2 * content, np.arange(trees + 2 * inner))
    leaf = np.where(is_inner, 0, ~content)
    return Placed(Walk(test, left, np.arange(trees), depth), leaf)


def descend(op: Descend, emitter: Emitter, codes: Proxy) -> Proxy:
    """The leaf's number, read from its slot."""
    placed, slots = _slots(op, emitter, codes)
    leaf = emitter.constant(placed.leaf.astype(np.int32))
    return leaf.index_select(0, slots.reshape([-1])).reshape([len(op.roots), slots.size(1)]).t()


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
