"""The rows of a table nearest to each row, in the very order in which the source finds and keeps them."""

from __future__ import annotations

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import TensorType
from tensorml.ops import sorting
from tensorml.ops.distance import BLOCK, MetricOp, distances


class Nearest(MetricOp):
    """The rows of the table nearest to each row, by distance: int64 [N, k].

    What decides between equal distances is the source's way of going through the table and of keeping the best so far:
    ties: "index", the lower index first; "heap", as one heap keeps them and `sort` leaves them; "heaps", as a heap
    keeps them that gets what another one kept. sort: "introsort" or "quicksort" (older versions), both unstable.
    tree: "kd" or "ball" if a binary tree is searched, in which `point` is the order of the table's rows, `start` where
    the leaves begin, and `bound`, `radius` the nodes' boxes [2, nodes, F] or centres [1, nodes, F] and radii; a node's
    closer child is searched first. Without a tree (""), the table is searched row by row. All these are empty then.
    Memory: a block of rows at a time, so that BLOCK distances are held whatever the table's length.
    Source: sklearn.metrics._pairwise_distances_reduction._argkmin.ArgKmin and sklearn.neighbors._binary_tree.query.
    """

    k: int
    ties: str
    sort: str
    tree: str
    point: np.ndarray
    start: np.ndarray
    bound: np.ndarray
    radius: np.ndarray

    def infer(self) -> TensorType:
        if self.ties not in ("index", "heap", "heaps") or not 0 < self.k <= int(self.table.shape[0]):
            raise GraphTypeError(f"no {self.k} nearest rows, ties by '{self.ties}', of {self.table.type}")
        return TensorType(super().infer().shape, np.dtype(np.int64))

    def width(self) -> tuple[int, ...]:
        """The k nearest."""
        return (self.k,)

    def scratch_bytes(self) -> int:
        """Candidates, their distances and their order; what is held by blocks is bounded apart."""
        return 64 * (self.k + 16) + 8 * self.x.columns

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        x, table = operands
        rows = max(1, BLOCK // len(table))
        found = [self.of_block(x[i : i + rows], table) for i in range(0, len(x), rows)]
        return np.concatenate(found) if found else np.empty((0, self.k), np.int64)

    def of_block(self, x: np.ndarray, table: np.ndarray) -> np.ndarray:
        """The nearest of a few rows."""
        distance = x if self.metric == "precomputed" else self.between(x, list(table.T))
        order = np.argsort(distance, axis=1, kind="stable")[:, : self.k + 1].copy()
        nearest = np.take_along_axis(distance, order, axis=1)
        if self.ties != "index":
            for row in np.flatnonzero((nearest[:, 1:] == nearest[:, :-1]).any(axis=1)):
                order[row, : self.k] = self.kept(distance[row], x[row])
        return order[:, : self.k]

    def kept(self, distance: np.ndarray, x: np.ndarray) -> list[int]:
        """What the source keeps of one row's distances, in its order."""
        values, order = [np.inf] * self.k, [0] * self.k
        for i in self.visited(x).tolist():
            sorting.push(values, order, float(distance[i]), i)
        if self.ties == "heaps":
            first, values, order = (values, order), [np.inf] * self.k, [0] * self.k
            for value, i in zip(*first, strict=True):
                sorting.push(values, order, value, i)
        (sorting.introsort if self.sort == "introsort" else sorting.quicksort)(values, order)
        return order

    def visited(self, x: np.ndarray) -> np.ndarray:
        """The rows of the table in the order in which they are searched for one row x."""
        if not self.tree:
            return np.arange(int(self.table.shape[0]))
        leaves = len(self.start) - 1
        order = leaf_order(node_distances(self, x[None].astype(np.float64)), leaves)[0]
        return np.concatenate([self.point[self.start[leaf] : self.start[leaf + 1]] for leaf in order])


def leaf_order(bound: np.ndarray, leaves: int) -> np.ndarray:
    """The order in which the leaves are searched. bound: [N, 2 * leaves - 1], least distances to nodes; int [N, L]."""
    far = bound[:, 1::2] > bound[:, 2::2]  # of each inner node: whether its right child comes first
    key = np.zeros((len(bound), 1), np.int64)
    first = 0
    while key.shape[1] < leaves:
        right_first = far[:, first : first + key.shape[1]]
        key = np.stack([2 * key + right_first, 2 * key + ~right_first], axis=2).reshape(len(bound), -1)
        first = 2 * first + 1
    return np.argsort(key, axis=1)


def node_distances(op: Nearest, x: np.ndarray) -> np.ndarray:
    """Lower bounds of the distances of x [N, F] to all nodes of the tree: [N, nodes].

    Source: min_rdist of sklearn.neighbors._kd_tree and _ball_tree.
    """
    if op.tree == "ball":
        to_centre = distances(op.metric, x, list(op.bound[0].T), op.p, op.w, true=True)
        least = np.maximum(0, to_centre - op.radius)
        return np.sin(0.5 * least) if op.metric == "haversine" else least
    total = np.zeros((len(x), op.bound.shape[1]))
    for j in range(x.shape[1]):
        low, high = op.bound[0, :, j] - x[:, j, None], x[:, j, None] - op.bound[1, :, j]
        gap = 0.5 * ((low + np.abs(low)) + (high + np.abs(high)))
        if op.metric == "chebyshev":
            np.maximum(total, gap, out=total)
        else:
            total += gap ** {"euclidean": 2.0, "manhattan": 1.0}.get(op.metric, op.p)
    return total
