"""The two integer steps that every tree model ends in: descend to a leaf, add up what the leaves hold.

The step before them, from values to codes, is `Rank` and `Lookup` in `table.py`; `tensorml.trees` builds all three.
"""

from __future__ import annotations

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Op, TensorType

INT32 = np.dtype(np.int32)


class Descend(Op):
    """The leaf that each row reaches in each tree. Integer compares only; exact in every executor.

    Inner node i sends a row right if `codes[row, column[i]] >= rank[i]`, else left. A child or root c >= 0 is the
    inner node c; c < 0 is the leaf ~c. Leaves are numbered through all trees, inner nodes too, tree after tree.

    codes: integer [N, C]; column, rank, left, right: int32 [I]; roots: int32 [T]. Result: int32 [N, T].
    """

    codes: Op
    column: np.ndarray
    rank: np.ndarray
    left: np.ndarray
    right: np.ndarray
    roots: np.ndarray

    def infer(self) -> TensorType:
        if self.codes.dtype.kind not in "iu" or len(self.codes.shape) != 2:
            raise GraphTypeError(f"Descend takes integer codes [N, C], not {self.codes.type}")
        if len(self.column) and max(self.column) >= self.codes.columns:
            raise GraphTypeError(f"Descend reads column {max(self.column)} of {self.codes.type}")
        return TensorType((self.codes.shape[0], len(self.roots)), INT32)

    def scratch_bytes(self) -> int:
        """A state for each tree."""
        return 8 * len(self.roots)

    def depths(self) -> np.ndarray:
        """The number of compares on the longest path of each tree. Result: int64 [T]."""
        depth = np.zeros(len(self.roots), np.int64)
        node, tree = self.roots[self.roots >= 0], np.flatnonzero(self.roots >= 0)
        while len(node):
            depth[tree] += 1  # once a level: a repeated index counts once
            child, owner = np.concatenate([self.left[node], self.right[node]]), np.concatenate([tree, tree])
            node, tree = child[child >= 0], owner[child >= 0]
        return depth

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (codes,) = operands
        state = np.repeat(self.roots[None, :].astype(INT32), len(codes), axis=0)
        while (state >= 0).any():
            row, tree = np.nonzero(state >= 0)
            node = state[row, tree]
            right = codes[row, self.column[node]].astype(np.int64) >= self.rank[node]
            state[row, tree] = np.where(right, self.right[node], self.left[node])
        return ~state


class DescendSymmetric(Op):
    """The leaf that each row reaches in each symmetric tree. Integer compares only; exact in every executor.

    A symmetric tree has the same test at all nodes of a level. Test j is `codes[row, column[j]] >= rank[j]`; tree t
    has size[t] of them, after those of the trees before. Its i-th test is bit i of its leaf's number. Leaves
    are numbered through all trees, 2^size[t] for each.

    codes: integer [N, C]; column, rank: int32 [S]; size: int64 [T]. Result: int32 [N, T].
    """

    codes: Op
    column: np.ndarray
    rank: np.ndarray
    size: np.ndarray

    def infer(self) -> TensorType:
        if self.codes.dtype.kind not in "iu" or len(self.codes.shape) != 2:
            raise GraphTypeError(f"DescendSymmetric takes integer codes [N, C], not {self.codes.type}")
        if len(self.column) != self.size.sum() or max(self.column, default=0) >= self.codes.columns:
            raise GraphTypeError(f"DescendSymmetric of {len(self.column)} tests does not take {self.codes.type}")
        return TensorType((self.codes.shape[0], len(self.size)), INT32)

    def scratch_bytes(self) -> int:
        """A leaf for each tree, in two orders."""
        return 8 * len(self.size)

    @property
    def first_leaf(self) -> np.ndarray:
        """The number of each tree's first leaf. int64 [T]."""
        leaves = 2**self.size
        return np.cumsum(leaves) - leaves

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (codes,) = operands
        leaf = np.repeat(self.first_leaf[None, :], len(codes), axis=0)
        start = np.cumsum(self.size) - self.size
        for i in range(int(self.size.max(initial=0))):
            tree = np.flatnonzero(self.size > i)
            test = start[tree] + i
            leaf[:, tree] += (codes[:, self.column[test]].astype(np.int64) >= self.rank[test]) << i
        return leaf.astype(INT32)


class AddColumns(Op):
    """The columns of x, added to `start` one after the other: column t to output `output[t]`.

    x: [N, T] float; start: [K], dtype of x; output: int64 [T], from 0 to K - 1. Result: [N, K], dtype of x. The same
    bits in every executor: additions are not reordered.
    """

    x: Op
    start: np.ndarray
    output: np.ndarray

    def infer(self) -> TensorType:
        if self.x.dtype != self.start.dtype or self.x.columns != len(self.output):
            raise GraphTypeError(f"AddColumns of {len(self.output)} {self.start.dtype} does not take {self.x.type}")
        return TensorType((self.x.shape[0], len(self.start)), self.x.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        total = np.repeat(self.start[None, :], len(x), axis=0)
        with np.errstate(all="ignore"):
            for column, output in enumerate(self.output):
                total[:, output] += x[:, column]
        return total


class LeafSum(Op):
    """What the leaves of a row hold, added to `start` tree by tree, in that order, in the dtype of `values`.

    Without `output` a leaf holds a vector of all K outputs. With it a leaf holds one number, which tree t adds to
    output `output[t]`.

    leaves: int32 [N, T]; values: [L, K], or [L, 1] with `output`; start: [K], dtype of values; output: int64 [T].
    Result: [N, K], dtype of values. The same bits in every executor: additions are not reordered.
    """

    leaves: Op
    values: np.ndarray
    start: np.ndarray
    output: np.ndarray | None

    def infer(self) -> TensorType:
        width = 1 if self.output is not None else len(self.start)
        if self.leaves.dtype != INT32 or self.values.shape[1:] != (width,) or self.values.dtype != self.start.dtype:
            raise GraphTypeError(f"LeafSum of {self.values.dtype}{self.values.shape} does not take {self.leaves.type}")
        return TensorType((self.leaves.shape[0], len(self.start)), self.values.dtype)

    def scratch_bytes(self) -> int:
        """Places of leaves, in two orders, and a sum."""
        return 12 * self.leaves.columns + self.type.row_bytes()

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (leaves,) = operands
        total = np.repeat(self.start[None, :], len(leaves), axis=0)
        for tree in range(leaves.shape[1]):
            columns = slice(None) if self.output is None else slice(self.output[tree], self.output[tree] + 1)
            total[:, columns] += self.values[leaves[:, tree]]
        return total
