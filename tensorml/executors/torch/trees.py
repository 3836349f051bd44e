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
import torch
from torch import nn

from tensorml.ops import Descend, LeafSum

if TYPE_CHECKING:
    from torch.fx import Proxy

    from tensorml.executors.torch.program import Emitter

DEEPEST = 8  # levels up to which a position fits a byte and all nodes are faster than a walk
BLOCK = 8192  # rows that pass through a group of trees together
WALK_BLOCK = 1024  # rows whose codes stay in the first-level cache while they walk
GROUP_BYTES = 5_000_000  # compares of one block that stay in the caches: measured, flat between 3 and 6 MB


class AllNodes(nn.Module):
    """Codes [N, C] to slots int32 [T, N] by comparing every node.

    column: int64 [groups, nodes * G]; rank: dtype of the codes, alike. A group's nodes stand level by
    level, in a level all left children before all right ones, and the G trees side by side.
    """

    column: torch.Tensor
    rank: torch.Tensor
    first: torch.Tensor

    def __init__(self, column: np.ndarray, rank: np.ndarray, depth: int, trees: int):
        super().__init__()
        self.depth, self.trees, self.group = depth, trees, column.shape[1] // (2**depth - 1)
        self.register_buffer("column", torch.from_numpy(column))
        self.register_buffer("rank", torch.from_numpy(rank)[..., None])
        self.register_buffer("first", torch.arange(trees, dtype=torch.int32)[:, None] * 2**depth)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Slot = tree * 2^depth + position, block of rows by block of rows."""
        rows = codes.size(0)
        slots = torch.empty([self.trees, rows], dtype=torch.int32, device=codes.device)
        by_column = codes.t()
        for start in range(0, rows, BLOCK):
            stop = min(start + BLOCK, rows)
            block = by_column[:, start:stop].contiguous()
            for g in range(self.column.size(0)):
                last = min((g + 1) * self.group, self.trees)
                slots[g * self.group : last, start:stop] = self.positions(block, g)[: last - g * self.group]
        return slots.add_(self.first)

    def positions(self, codes: torch.Tensor, g: int) -> torch.Tensor:
        """The position, 0 to 2^depth - 1, of each row in the trees of group g. codes: [C, n]; result: [G, n]."""
        right = codes.index_select(0, self.column[g]).ge_(self.rank[g])
        position = right[((1 << (self.depth - 1)) - 1) * self.group :]
        for level in range(self.depth - 2, -1, -1):
            half = (1 << level) * self.group
            goes_right = right[half - self.group : 2 * half - self.group]
            on_left, on_right = position[:half], position[half:]
            on_right.add_(1 << (self.depth - 1 - level)).sub_(on_left).mul_(goes_right)
            position = on_left.add_(on_right)
        return position


class Walk(nn.Module):
    """Codes [N, C] to slots int32 [T, N] by following each row from node to node; a slot is a node's number.

    test: int64 [M], column * 2^32 + rank; left: int64 [M]; root: int64 [T]. The right child is the one after the left.
    A leaf is its own left child, and no code reaches its rank.
    """

    test: torch.Tensor
    left: torch.Tensor
    root: torch.Tensor

    def __init__(self, test: np.ndarray, left: np.ndarray, root: np.ndarray, depth: int):
        super().__init__()
        self.depth = depth
        self.register_buffer("test", torch.from_numpy(test))
        self.register_buffer("left", torch.from_numpy(left))
        self.register_buffer("root", torch.from_numpy(root))

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Slot = the leaf's node number, block of rows by block of rows."""
        rows, trees = codes.size(0), self.root.size(0)
        slots = torch.empty([trees, rows], dtype=torch.int32, device=codes.device)
        for start in range(0, rows, WALK_BLOCK):
            stop = min(start + WALK_BLOCK, rows)
            slots[:, start:stop] = self.leaves(codes[start:stop].contiguous())
        return slots

    def leaves(self, codes: torch.Tensor) -> torch.Tensor:
        """The slots of one block of rows, [T, n]."""
        rows, flat = codes.size(0), codes.reshape([-1])
        offset = torch.arange(rows, device=codes.device, dtype=torch.int64).mul_(codes.size(1))
        node = self.root[:, None].expand(self.root.size(0), rows).contiguous()
        for _ in range(self.depth):
            test = self.test.take(node)
            code = flat.take((test >> 32).add_(offset))
            node = self.left.take(node).add_(code >= (test & 0x7FFFFFFF))
        return node


class OrderedSum(nn.Module):
    """What the slots hold, added up tree by tree: slots int32 [T, N] to [N, K], on any device in the same order.

    values: [K or 1, S]; start: [K]; output: the output that each tree adds its one number to, empty for vectors.
    """

    values: torch.Tensor
    start: torch.Tensor

    def __init__(self, values: np.ndarray, start: np.ndarray, output: list[int]):
        super().__init__()
        self.output: list[int] = output
        self.register_buffer("values", torch.from_numpy(values))
        self.register_buffer("start", torch.from_numpy(start)[:, None])

    def forward(self, slots: torch.Tensor) -> torch.Tensor:
        """The sums, [N, K]."""
        total = self.start.repeat([1, slots.size(1)])
        for tree in range(slots.size(0)):
            held = self.values.index_select(1, slots[tree])
            if len(self.output) > 0:
                total[self.output[tree]].add_(held[0])
            else:
                total.add_(held)
        return total.t().contiguous()


class BagSum(nn.Module):
    """As OrderedSum, by embedding bags: they add float32 in order too, and much faster than tree by tree.

    values: [S + K + 1, K], or one column; after the slots the K starts and a -0.0 that changes no sum.
    trees: int64 [outputs, longest], what each output reads in order: its start, its trees, then the -0.0.
    """

    values: torch.Tensor
    trees: torch.Tensor
    extra: torch.Tensor

    def __init__(self, values: np.ndarray, trees: np.ndarray, extra: np.ndarray):
        super().__init__()
        self.register_buffer("values", torch.from_numpy(values))
        self.register_buffer("trees", torch.from_numpy(trees))
        self.register_buffer("extra", torch.from_numpy(extra)[:, None])

    def forward(self, slots: torch.Tensor) -> torch.Tensor:
        """The sums, [N, K]."""
        rows, (outputs, longest) = slots.size(1), self.trees.shape
        known = torch.cat([slots, self.extra.expand(self.extra.size(0), rows)])
        bags = known.index_select(0, self.trees.reshape([-1])).t().contiguous().reshape([rows * outputs, longest])
        return torch.embedding_bag(self.values, bags.reshape([-1]), self._offsets(rows * outputs, longest))[0].reshape(
            [rows, outputs * self.values.size(1)]
        )

    def _offsets(self, bags: int, longest: int) -> torch.Tensor:
        return torch.arange(0, bags * longest, longest, dtype=torch.int32, device=self.trees.device)


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
