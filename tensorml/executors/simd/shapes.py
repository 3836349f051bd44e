"""What is known of the nodes of trees, and the orders in which the kernels read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tensorml import ops
from tensorml.executors.simd.addresses import LANES

SMALL = 6  # levels that one piece of code compares
WORDS = 8  # of a line of the cache
TOGETHER = 8  # trees that few rows go down: as many nodes as registers hold; 16 are not faster, measured
INT32 = np.dtype(np.int32)


@dataclass(frozen=True, eq=False)
class Shape:
    """What is known of each node: its tree, its leaves, its height. Nodes as in `ops.Descend`."""

    op: ops.Descend

    @property
    def codes(self) -> np.dtype:
        """The dtype that nodes compare."""
        return self.op.codes.dtype

    @cached_property
    def levels(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each level the tree and the number of each node on it; a leaf is ~its number. Ordered by tree."""
        tree, node = np.arange(len(self.op.roots)), self.op.roots.astype(np.int64)
        found = []
        while len(node):
            found.append((tree, node))
            inner = node >= 0
            children = np.stack([self.op.left[node[inner]], self.op.right[node[inner]]], axis=1)
            tree, node = np.repeat(tree[inner], 2), children.reshape(-1).astype(np.int64)
        return found

    @cached_property
    def depth(self) -> int:
        """Levels of compares on the longest path."""
        return len(self.levels) - 1

    @cached_property
    def tree(self) -> np.ndarray:
        """The tree of each inner node. int64 [I]."""
        owner = np.zeros(len(self.op.column), np.int64)
        for tree, node in self.levels:
            owner[node[node >= 0]] = tree[node >= 0]
        return owner

    @cached_property
    def leaf(self) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the leaves that trees have, and the tree of each. Pruned trees leave numbers out."""
        found = [(~node[node < 0], tree[node < 0]) for tree, node in self.levels]
        return np.concatenate([number for number, _ in found]), np.concatenate([tree for _, tree in found])

    @cached_property
    def leaves(self) -> np.ndarray:
        """The number of leaves of each tree. int64 [T]."""
        return np.bincount(self.tree, minlength=len(self.op.roots)) + 1

    def from_below(self, leaf: int, join: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """What joins a number of each inner node's children, of which a leaf has `leaf`. int64 [I]."""
        found = np.zeros(len(self.op.column), np.int64)
        for _, node in self.levels[::-1]:
            inner = node[node >= 0]
            left, right = self.op.left[inner], self.op.right[inner]
            on_left, on_right = (np.where(x >= 0, found[np.maximum(x, 0)], leaf) for x in (left, right))
            found[inner] = join(on_left, on_right)
        return found

    @cached_property
    def under(self) -> np.ndarray:
        """How many leaves are under each inner node. int64 [I]."""
        return self.from_below(1, np.add)

    @cached_property
    def height(self) -> np.ndarray:
        """The levels under each inner node. int64 [I]."""
        return self.from_below(-1, lambda left, right: np.maximum(left, right) + 1)

    @cached_property
    def first(self) -> tuple[np.ndarray, np.ndarray]:
        """For each inner node the place from the left of its first leaf within the tree; for each leaf its place."""
        inner, leaf = np.zeros(len(self.op.column), np.int64), np.zeros(int(self.leaf[0].max()) + 1, np.int64)
        for _, node in self.levels:
            node = node[node >= 0]
            left, right = self.op.left[node].astype(np.int64), self.op.right[node].astype(np.int64)
            after = inner[node] + np.where(left >= 0, self.under[np.maximum(left, 0)], 1)
            for child, place in ((left, inner[node]), (right, after)):
                inner[child[child >= 0]] = place[child >= 0]
                leaf[~child[child < 0]] = place[child < 0]
        return inner, leaf


class Heap:
    """The first levels of all trees as perfect trees, nodes in heap order.

    column, rank: [T, 2^depth - 1]; end: [T, 2^depth], the node where each path goes on, or ~ the leaf where it ended.
    """

    def __init__(self, shape: Shape, depth: int):
        trees, op = len(shape.op.roots), shape.op
        self.depth, self.codes = depth, shape.codes
        self.column = np.zeros((trees, 2**depth - 1), np.int64)
        self.rank = np.zeros((trees, 2**depth - 1), shape.codes)
        self.end = np.zeros((trees, 2**depth), np.int64)
        place = np.zeros(trees, np.int64)
        for level, (tree, node) in enumerate(shape.levels[: depth + 1]):
            inner = (node >= 0) & (level < depth)
            at = 2**level - 1 + place[inner]
            self.column[tree[inner], at] = op.column[node[inner]]
            self.rank[tree[inner], at] = op.rank[node[inner]]
            self.fill(tree[~inner], node[~inner], place[~inner], 2 ** (depth - level))
            place = (2 * place[inner, None] + np.arange(2)).reshape(-1)

    def fill(self, tree: np.ndarray, node: np.ndarray, place: np.ndarray, width: int) -> None:
        """Paths that end above the last level do so wherever they would have gone on."""
        self.end[tree[:, None], place[:, None] * width + np.arange(width)] = node[:, None]

    def nodes(self, begin: int, end: int) -> list[np.ndarray]:
        """The offsets of the columns, int32, and the ranks; zeros for trees up to a multiple of 8."""
        order, more = stacked(self.depth), ((0, -(end - begin) % TOGETHER), (0, 0))
        offsets = self.column[begin:end, order] * (LANES * self.codes.itemsize)
        return [np.pad(offsets.astype(INT32), more), np.pad(self.rank[begin:end, order], more)]


def stacked(depth: int) -> np.ndarray:
    """The nodes of a perfect tree: of each tree of 6 levels at its end in heap order, then of the tree above them."""
    top = max(0, depth - SMALL)
    parts = [np.arange(2**top - 1)]
    for root in range(2 ** (top + 1) - 2, 2**top - 2, -1):
        levels = [(root + 1) * 2**level - 1 + np.arange(2**level) for level in range(depth - top)]
        parts.insert(0, np.concatenate(levels))
    return np.concatenate(parts)


class Numbering:
    """The nodes of each tree level by level, so that the children of a node are neighbours: a word for each.

    words: int64, left child * 2^32 + what `inner` says of a node; of a leaf its own number * 2^32 + `leaf`. starts: of
    each tree, in them, each behind the beginning of a line of the cache, so that the first three levels fill one.
    leaves: int32, of each word the leaf, 0 for an inner node. of_inner, of_leaf: the number of each inner node, and of
    each leaf, within its tree.
    """

    def __init__(self, shape: Shape, inner: np.ndarray, leaf: int):
        self.sizes = 2 * shape.leaves - 1
        self.starts = 1 + np.cumsum([0, *(-(-(self.sizes + 1) // WORDS) * WORDS)])
        self.words = np.zeros(self.starts[-1] - 1, np.int64)
        self.leaves = np.zeros(self.starts[-1] - 1, INT32)
        self.of_inner = np.zeros(len(inner) or 1, np.int64)
        self.of_leaf = np.zeros(int(shape.leaf[0].max()) + 1, np.int64)
        taken = np.zeros(len(shape.op.roots), np.int64)
        for tree, node in shape.levels:
            first, within = np.searchsorted(tree, tree), np.cumsum(node >= 0) - 1
            own = taken[tree] + np.arange(len(tree)) - first
            np.add.at(taken, tree, 1)
            is_inner = node >= 0
            left = taken[tree] + 2 * np.maximum(within - within[first] + is_inner[first] - 1, 0)
            known, ends, place = node[is_inner], ~node[~is_inner], self.starts[tree] + own
            self.words[place] = (own << 32) | leaf
            self.words[place[is_inner]] = (left[is_inner] << 32) | inner[known]
            self.leaves[place[~is_inner]] = ends
            self.of_inner[known], self.of_leaf[ends] = own[is_inner], own[~is_inner]

    def of(self, tree: int) -> slice:
        """The nodes of a tree."""
        return slice(self.starts[tree], self.starts[tree] + self.sizes[tree])

    def between(self, begin: int, end: int) -> slice:
        """The words of some trees."""
        return slice(self.starts[begin] - 1, self.starts[end] - 1)

    def nodes(self, begin: int, end: int) -> list[np.ndarray]:
        """The words of some trees, and the place of each tree among them, in bytes, int64.

        The last place is repeated to a multiple of 8.
        """
        places = 8 * (self.starts[begin:end] - self.starts[begin] + 1)
        return [self.words[self.between(begin, end)], np.pad(places, (0, -len(places) % TOGETHER), "edge")]
