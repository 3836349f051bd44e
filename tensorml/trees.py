"""Tree models of every library as three steps: encode values as ranks, descend by integer compares, add up leaves.

A converter describes its trees as a `Forest`, in terms that all libraries share; the differences between libraries
(`<` or `<=`, float32 or float64, where NaN goes, category sets) end in that description.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Op
from tensorml.ops import Columns, Concat, Descend, DescendSymmetric, Lookup, Rank, cast

NEVER = np.nan  # the threshold that no number reaches: such a node sends only NaN right, if anything


@dataclass(frozen=True)
class Forest:
    """The nodes of all trees, one array element a node, tree after tree. A node with `left < 0` is a leaf.

    A row goes right at a node if its value is at least the node's threshold, greater than it if `strict` (`NEVER`: no
    number is), and NaN goes right where `nan_right` says so. Where `category` is not negative, the row goes right if
    `tables[category, value]` is 1 instead, read as in `ops.Lookup`; its last two entries are for values out of
    range and for NaN.

    roots: int64 [T]; feature: int64 [M]; threshold: float32 or float64 [M], the dtype in which the library compares;
    nan_right: bool [M]; left, right: int64 [M], node numbers through all trees; category: int64 [M];
    tables: uint8 [number of sets, number of categories + 2].
    """

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    nan_right: np.ndarray
    left: np.ndarray
    right: np.ndarray
    category: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    tables: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.uint8))
    truncate_negative: bool = False
    strict: bool = False

    @cached_property
    def leaf(self) -> np.ndarray:
        """The node numbers of the leaves: leaf i of the graph is node leaf[i]. int64 [L]."""
        return np.flatnonzero(self.left < 0)

    @cached_property
    def inner(self) -> np.ndarray:
        """The node numbers of the inner nodes. int64 [I]."""
        return np.flatnonzero(self.left >= 0)

    @cached_property
    def position(self) -> np.ndarray:
        """Each node's number in the graph: i for the i-th inner node, ~i for the i-th leaf. int32 [M]."""
        position = np.empty(len(self.left), np.int32)
        position[self.inner] = np.arange(len(self.inner))
        position[self.leaf] = ~np.arange(len(self.leaf), dtype=np.int32)
        return position

    @cached_property
    def on_sets(self) -> np.ndarray:
        """Which inner nodes test a category set. bool [I]."""
        return self.category[self.inner] >= 0 if len(self.category) else np.zeros(len(self.inner), bool)

    @cached_property
    def encoding(self) -> Encoding:
        """How values become codes, and what each inner node compares."""
        return encoding(self)

    def descend(self, x: Op) -> Op:
        """The leaf that each row of x reaches in each tree. x: [N, F], dtype of threshold; result: int32 [N, T]."""
        plan = self.encoding
        parts: list[Op] = []
        if len(plan.ranks.source):
            parts.append(plan.ranks.codes(x, self.strict))
        if len(plan.set_source):
            members = Lookup(x, plan.set_source, plan.set_table, self.truncate_negative)
            parts.append(cast(members, plan.ranks.dtype))
        codes = parts[0] if len(parts) == 1 else Concat(tuple(parts)) if parts else _no_codes(x)
        child = self.position
        return Descend(
            codes,
            plan.column,
            plan.rank,
            child[self.left[self.inner]],
            child[self.right[self.inner]],
            child[self.roots],
        )


@dataclass(frozen=True)
class SymmetricForest:
    """Trees with the same test at all nodes of a level, tree after tree. It passes as a node of a Forest goes right.

    size: int64 [T], the number of tests of each tree, of which the i-th is bit i of its leaf's number; feature: int64
    [S]; threshold: float32 or float64 [S]; nan_right: bool [S].
    """

    size: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    nan_right: np.ndarray
    strict: bool = False

    @cached_property
    def ranks(self) -> Ranks:
        """How values become codes, and what each test compares."""
        return ranks(self.feature, self.threshold, self.nan_right)

    def descend(self, x: Op) -> Op:
        """The leaf that each row of x reaches in each tree. x: [N, F], dtype of threshold; result: int32 [N, T]."""
        codes = self.ranks.codes(x, self.strict) if len(self.feature) else _no_codes(x)
        return DescendSymmetric(codes, self.ranks.column, self.ranks.rank, self.size)


@dataclass(frozen=True)
class Ranks:
    """Values as ranks among thresholds: see `ops.Rank`. column, rank: int32 [S], what each test reads and compares."""

    source: np.ndarray
    boundaries: np.ndarray
    offsets: np.ndarray
    nan: np.ndarray
    dtype: np.dtype
    column: np.ndarray
    rank: np.ndarray

    def codes(self, x: Op, strict: bool) -> Op:
        """The coded columns of x. Integer [N, K]."""
        return Rank(x, self.source, self.boundaries, self.offsets, self.nan, self.dtype, strict)


def ranks(feature: np.ndarray, threshold: np.ndarray, nan_right: np.ndarray) -> Ranks:
    """Rank codes for tests of thresholds: a column for each feature and direction of NaN."""
    keys, column = np.unique(feature * 2 + nan_right, return_inverse=True)
    real = ~np.isnan(threshold)
    pairs = np.unique(_pairs(column[real], threshold[real]))
    offsets = np.searchsorted(pairs["column"], np.arange(len(keys) + 1))
    longest = int(np.diff(offsets).max(initial=0)) + 1
    rank = np.where(real, 0, np.diff(offsets)[column] + 1)
    place = np.searchsorted(pairs, _pairs(column[real], threshold[real]))
    rank[real] = place - offsets[column[real]] + 1
    nan = np.where(keys % 2 == 1, np.diff(offsets) + 1, 0)
    return Ranks(
        source=keys // 2,
        boundaries=np.ascontiguousarray(pairs["threshold"]),
        offsets=offsets,
        nan=nan,
        dtype=code_dtype(longest),
        column=column.astype(np.int32),
        rank=rank.astype(np.int32),
    )


@dataclass(frozen=True)
class Encoding:
    """The coded columns of a forest, and what each inner node compares: see `ops.Lookup`, `ops.Descend`."""

    ranks: Ranks
    set_source: np.ndarray
    set_table: np.ndarray
    column: np.ndarray
    rank: np.ndarray


def encoding(forest: Forest) -> Encoding:
    """Codes for a forest: the ranks among its thresholds, then a column for each category set."""
    numeric = forest.inner[~forest.on_sets]
    numbers = ranks(forest.feature[numeric], forest.threshold[numeric], forest.nan_right[numeric])
    set_source, set_table, set_column = _distinct_sets(forest, forest.inner[forest.on_sets])
    column, rank = np.empty(len(forest.inner), np.int32), np.ones(len(forest.inner), np.int32)
    column[~forest.on_sets], rank[~forest.on_sets] = numbers.column, numbers.rank
    column[forest.on_sets] = len(numbers.source) + set_column
    return Encoding(numbers, set_source, set_table, column, rank)


def _pairs(column: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Pairs that sort by column, then by threshold; -0.0 as 0.0."""
    pairs = np.empty(len(column), [("column", np.int64), ("threshold", threshold.dtype)])
    pairs["column"], pairs["threshold"] = column, threshold + 0.0
    return pairs


def _distinct_sets(forest: Forest, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct pairs of feature and table that nodes test: features [K], tables [K, S + 2], each node's pair."""
    if not len(nodes):
        return np.empty(0, np.int64), np.empty((0, 2), np.uint8), np.empty(0, np.int64)
    features, tables = forest.feature[nodes], forest.tables[forest.category[nodes]]
    rows = np.concatenate([features.astype("<i8")[:, None].view(np.uint8), tables], axis=1)
    _, first, pair = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return features[first], tables[first], pair.reshape(-1)


def code_dtype(largest: int) -> np.dtype:
    """The smallest integer dtype that holds the codes 0 to `largest`. Signed above 8 bits: PyTorch has no more."""
    if largest > np.iinfo(np.int32).max:
        raise GraphTypeError(f"{largest} thresholds on one feature")
    return np.dtype(np.uint8 if largest <= 255 else np.int16 if largest <= 32767 else np.int32)


def below(threshold: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """For each threshold t the largest number of `dtype` that is not greater.

    For x of `dtype`, `x > t` and `x > below(t)` are the same. Not `x >= the next number`, which for a threshold of 0
    is denormal: 0 itself to a processor that flushes denormals.
    """
    with np.errstate(all="ignore"):
        near = threshold.astype(dtype)
        down = np.nextafter(near, dtype.type(-np.inf))
        return np.where(near.astype(threshold.dtype) <= threshold, near, down).astype(dtype)


def _no_codes(x: Op) -> Op:
    """A column that no node reads, for a forest in which every tree is a single leaf."""
    if x.columns == 0:
        raise GraphTypeError("a tree model needs at least one column")
    empty = np.empty(0, x.dtype)
    return Rank(Columns(x, np.array([0])), np.array([0]), empty, np.array([0, 0]), np.array([0]), code_dtype(1))
