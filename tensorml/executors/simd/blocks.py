"""Trees cut into blocks of four levels, whose nodes are compared with a row's values all at once: see `descents.py`."""

from __future__ import annotations

import numpy as np

from tensorml import ops
from tensorml.executors.simd.machine import LINE
from tensorml.executors.simd.shapes import INT32, Shape

DEPTH = 4  # levels of a block
SLOTS = 2**DEPTH  # its nodes, and a slot that stays empty
SIZE = 2 * LINE  # bytes of a block: thresholds, columns, what follows each path
TESTS, AFTER = LINE, LINE + SLOTS  # where the latter two begin in it
VALUES = 2 * SLOTS  # of a row that permutes reach: two vectors
TURNED = 0x80  # added to the column of a node that compares the negative value
MOST_NUMBERS = 2**15  # of a tree's blocks and leaves


class Blocks:
    """The blocks of all trees, tree after tree; the first of each tree begins at its root.

    bytes: uint8 [blocks, SIZE]. count: int64 [T], of each tree's blocks. What follows a path is the number of a block
    of the same tree; from its count on, that of a leaf from the left. of_leaf: the leaf that each of these stands for.

    Every node goes on to the second child if a value exceeds a threshold, so not if it is NaN. Where NaN goes right,
    children have changed places, and the negative value is compared with a negative threshold.
    """

    def __init__(self, shape: Shape, codes: ops.Rank):
        op = shape.op
        self.features, column = np.unique(codes.source, return_inverse=True)
        self.turned = codes.nan[op.column] >= op.rank
        self.test = (column[op.column] + TURNED * self.turned).astype(np.uint8)
        self.limit = limits(op, codes, self.turned)
        self.first = np.where(self.turned, op.right, op.left).astype(np.int64)
        self.second = np.where(self.turned, op.left, op.right).astype(np.int64)
        tree, head, slots, ends = self.cut(op.roots)
        self.count = np.bincount(tree)
        self.starts = np.cumsum([0, *self.count])
        number = np.zeros(len(op.column) + 1, np.int64)  # of the block that begins at a node
        number[head] = np.arange(len(head)) - self.starts[tree]
        leaf = shape.first[1][~np.minimum(ends, -1)] + self.count[tree, None]
        after = np.where(ends >= 0, number[np.maximum(ends, 0)], leaf)
        self.bytes = np.zeros((len(head), SIZE), np.uint8)
        slots = np.maximum(slots, 0)  # of paths that have ended: whatever is compared there
        self.bytes[:, : TESTS - 4] = self.limit[slots].view(np.uint8)
        self.bytes[:, TESTS : AFTER - 1] = self.test[slots]
        self.bytes[:, AFTER : AFTER + 2 * SLOTS] = after.astype(np.int16).view(np.uint8)
        self.of_leaf = leaves_by_place(shape, self.count)

    def cut(self, roots: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The blocks ordered by tree: the tree, the node that each begins at, its nodes [B, 15], its ends [B, 16].

        A leaf is ~its number; it has the places of all that would be below it.
        """
        tree, head, found = np.arange(len(roots)), roots.astype(np.int64), []
        while len(head):
            slots, ends = self.levels(head)
            found.append((tree, head, slots, ends))
            goes_on = ends >= 0
            tree, head = np.broadcast_to(tree[:, None], ends.shape)[goes_on], ends[goes_on]
        trees, heads, slots, ends = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.argsort(trees, kind="stable")
        return trees[order], heads[order], slots[order], ends[order]

    def levels(self, head: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nodes of blocks that begin at some nodes, in heap order, and where their paths end."""
        now, slots = head[:, None], []
        for _ in range(DEPTH):
            slots.append(now)
            node = np.maximum(now, 0)
            children = np.stack([self.first[node], self.second[node]], axis=-1)
            now = np.where(now[..., None] >= 0, children, now[..., None]).reshape(len(head), -1)
        return np.concatenate(slots, axis=1), now


def limits(op: ops.Descend, codes: ops.Rank, turned: np.ndarray) -> np.ndarray:
    """What a node's value, or its negative if `turned`, exceeds where the row goes on to the second child. float32 [I].

    NaN where no number goes right.
    """
    real = op.rank <= np.diff(codes.offsets)[op.column]
    threshold = np.full(len(op.column), np.nan, np.float32)
    threshold[real] = codes.boundaries[codes.offsets[op.column[real]] + op.rank[real] - 1]
    threshold = np.where(turned, -threshold, threshold)
    reached = turned if codes.strict else ~turned  # goes on at the threshold itself, too
    with np.errstate(over="ignore"):  # the least number exceeds minus infinity
        return np.where(reached, np.nextafter(threshold, np.float32(-np.inf)), threshold)


def leaves_by_place(shape: Shape, count: np.ndarray) -> list[np.ndarray]:
    """Of each tree the leaf that each number stands for, 0 for blocks: int32."""
    number, tree = shape.leaf
    ordered = number[np.lexsort((shape.first[1][number], tree))]
    parts = np.split(ordered, np.cumsum(shape.leaves)[:-1])
    return [
        np.concatenate([np.zeros(blocks, INT32), part.astype(INT32)]) for blocks, part in zip(count, parts, strict=True)
    ]


def fits_blocks(shape: Shape) -> bool:
    """Whether blocks can say all that the nodes of trees test. The values must be known, not their codes alone."""
    op, codes = shape.op, shape.op.codes
    if not isinstance(codes, ops.Rank) or codes.x.dtype != np.float32 or not len(op.column):
        return False
    if len(np.unique(codes.source)) > VALUES or not np.isfinite(codes.boundaries).all():
        return False
    never = op.rank > np.diff(codes.offsets)[op.column]
    only_nan = never & (codes.nan[op.column] >= op.rank)
    return not only_nan.any() and int(op.rank.min()) > 0 and 2 * int(shape.leaves.max()) <= MOST_NUMBERS
