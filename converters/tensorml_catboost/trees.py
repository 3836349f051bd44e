"""How CatBoost's own serialized model reads: its splits as columns and borders, its trees as a Forest.

**Source:** TModelTrees (catboost/libs/model/model.cpp, model.h), its FlatBuffer in model.fbs, and how it is evaluated:
BinarizeFeatures (cpu/quantization.h), CalcTreesBlockedImpl and CalcNonSymmetricTrees (cpu/evaluator_impl.cpp).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tensorml.converter import Model, once_per_model
from tensorml.trees import Forest, SymmetricForest
from tensorml_catboost.categories import Features, features, split_places
from tensorml_catboost.cbm import Table, core

FLOAT32 = np.dtype(np.float32)
TREES = 1  # fields of TModelCore and TModelTrees by number, in the order of model.fbs
DIMENSION, SPLITS, SIZES, STARTS, FLOATS, VALUES, STEPS, LEAVES = 0, 1, 2, 3, 5, 8, 10, 11
HAS_NANS, FLAT_INDEX, BORDERS, NAME, NAN_TREATMENT = 0, 2, 3, 4, 5  # of TFloatFeature
AS_TRUE = 2  # of ENanValueTreatment


@dataclass(frozen=True)
class Splits:
    """The tests that trees refer to by number: `column > border`, where column is one of the columns of `matrix`.

    column: int64 [B]; border: float32 [B]; nan_right: bool [B], whether NaN passes the test.
    """

    column: np.ndarray
    border: np.ndarray
    nan_right: np.ndarray

    @property
    def nan_passes(self) -> np.ndarray:
        """Whether NaN passes each test. bool [B].

        Training on infinities may make a border infinite, or NaN between two of them: not even plus infinity, for which
        NaN stands where it goes right, is greater.
        """
        return self.nan_right & (self.border < np.inf)


@dataclass(frozen=True)
class Export:
    """What a serialized model says of its trees. Numbers of splits, nodes and leaves count through all trees.

    outputs: K; features: the column of each feature; used: those among them that splits read, with their names, which
    are empty where training saw none; categorical: all features, if some are categorical; size, start: int64 [T], each
    tree's number of splits and its first one; split: int64 [S]; values: float64 [L, K], of the leaves; step: int64
    [S, 2], where trees are not symmetric: how far it is from a node to its left and right child, 0 where a leaf ends
    it; leaf: int64 [S], its leaf.
    """

    outputs: int
    features: tuple[int, ...]
    used: Mapping[int, str]
    categorical: Features | None
    splits: Splits
    size: np.ndarray
    start: np.ndarray
    split: np.ndarray
    values: np.ndarray
    step: np.ndarray
    leaf: np.ndarray

    @property
    def trees(self) -> int:
        """The number of trees."""
        return len(self.size)


@once_per_model
def export(model: Model) -> Export:
    """The model's trees, read from what pickling it serializes: in memory, every number with its bits."""
    trees = core(model.__getstate__()["__model"]).table(TREES)
    outputs, numeric, known = trees.integer(DIMENSION, 1), trees.tables(FLOATS), features(trees)
    return Export(
        outputs=outputs,
        features=tuple(sorted([*(column_of(feature) for feature in numeric), *known.columns])),
        used={column_of(f): f.text(NAME) for f in numeric if len(f.array(BORDERS, FLOAT32))} | known.names,
        categorical=known if known.columns else None,
        splits=Splits(*split_places(known)) if known.columns else float_splits(numeric),
        size=trees.array(SIZES, np.int32).astype(np.int64),
        start=trees.array(STARTS, np.int32).astype(np.int64),
        split=trees.array(SPLITS, np.int32).astype(np.int64),
        values=trees.array(VALUES, np.float64).astype(np.float64).reshape(-1, outputs),
        step=trees.array(STEPS, np.uint32).view("<u2").astype(np.int64).reshape(-1, 2),
        leaf=trees.array(LEAVES, np.uint32).astype(np.int64) // outputs,
    )


def column_of(feature: Table) -> int:
    """The column of the model's input that holds a feature."""
    return feature.integer(FLAT_INDEX, -1)


def float_splits(features: Sequence[Table]) -> Splits:
    """The splits on numeric features, which come first: those of each feature in ascending order of borders.

    NaN stands for plus infinity (AsTrue) or minus infinity (AsFalse) where there was NaN in training, else for itself,
    which is greater than no border. Source: BinarizeFeatures.
    """
    borders = [feature.array(BORDERS, FLOAT32) for feature in features]
    counts = [len(own) for own in borders]
    right = [bool(feature.byte(HAS_NANS)) and feature.byte(NAN_TREATMENT) == AS_TRUE for feature in features]
    return Splits(
        column=np.repeat(np.array([column_of(feature) for feature in features], np.int64), counts),
        border=np.concatenate([np.empty(0, FLOAT32), *borders]).astype(FLOAT32),
        nan_right=np.repeat(np.array(right, bool), counts),
    )


@dataclass(frozen=True)
class Ensemble:
    """Trees ready for the graph.

    values: what leaf i holds, float64 [L, K]; number: int64 [L], each leaf's number in its tree, as
    `calc_leaf_indexes` returns it.
    """

    forest: Forest | SymmetricForest
    values: np.ndarray
    number: np.ndarray


@dataclass(frozen=True)
class Nodes:
    """The nodes of some trees in the order of a Forest: of each tree its inner nodes, then its leaves by number.

    roots: int64 [T]; split, left, right: int64 [M], split and children of a node, left is -1 at a leaf; leaf: int64
    [L], the row of `Export.values` of each leaf; number: int64 [L].
    """

    roots: np.ndarray
    split: np.ndarray
    left: np.ndarray
    right: np.ndarray
    leaf: np.ndarray
    number: np.ndarray


def ensemble(read: Export, first: int, last: int) -> Ensemble:
    """The trees `first` to `last - 1`, of which there is at least one."""
    if not len(read.step):
        return symmetric(read, first, last)
    nodes = stepped(read, first, last)
    inner = nodes.left >= 0
    splits = read.splits
    forest = Forest(
        roots=nodes.roots,
        feature=_at_inner(splits.column, nodes.split, inner),
        threshold=_at_inner(splits.border, nodes.split, inner),
        nan_right=_at_inner(splits.nan_passes, nodes.split, inner),
        left=nodes.left,
        right=nodes.right,
        strict=True,
    )
    return Ensemble(forest, read.values[nodes.leaf], nodes.number)


def _at_inner(values: np.ndarray, split: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """The value of each inner node's split; 0 at leaves."""
    result = np.zeros(len(inner), values.dtype)
    result[inner] = values[split[inner]]
    return result


def symmetric(read: Export, first: int, last: int) -> Ensemble:
    """Trees that test one split at each depth: bit i of a leaf's number is the i-th test."""
    size, splits = read.size[first:last], read.splits
    begin = int(read.start[first])
    split = read.split[begin : begin + int(size.sum())]
    forest = SymmetricForest(
        size=size,
        feature=splits.column[split],
        threshold=splits.border[split],
        nan_right=splits.nan_passes[split],
        strict=True,
    )
    leaves = 2**size
    before = int((2 ** read.size[:first]).sum())
    number = np.arange(leaves.sum()) - np.repeat(np.cumsum(leaves) - leaves, leaves)
    return Ensemble(forest, read.values[before : before + len(number)], number)


def stepped(read: Export, first: int, last: int) -> Nodes:
    """The nodes of trees that grew leaf by leaf or level by level.

    A node without one of its children is that leaf itself; a node without both is a leaf and tests nothing.
    Source: CalcIndexesNonSymmetric; TModelTrees::TForApplyData, whose first leaf of a tree is its smallest one.
    """
    low, high = int(read.start[first]), int(read.start[last - 1] + read.size[last - 1])
    step, split, leaf = read.step[low:high], read.split[low:high], read.leaf[low:high]
    tree = np.repeat(np.arange(last - first), read.size[first:last])
    inner, ends = np.flatnonzero(step.any(axis=1)), np.flatnonzero((step == 0).any(axis=1))
    leaves = ends[np.lexsort((leaf[ends], tree[ends]))]
    as_inner, as_leaf = places(tree, inner, leaves)
    entry = np.where(as_inner >= 0, as_inner, as_leaf)
    child = np.where(step == 0, as_leaf[:, None], entry[np.arange(len(step))[:, None] + step])
    nodes = np.full((3, len(inner) + len(leaves)), -1, np.int64)
    nodes[:, as_inner[inner]] = split[inner], child[inner, 0], child[inner, 1]
    smallest = leaf[leaves][np.searchsorted(tree[leaves], np.arange(last - first))]
    return Nodes(
        roots=entry[read.start[first:last] - low],
        split=nodes[0],
        left=nodes[1],
        right=nodes[2],
        leaf=leaf[leaves],
        number=leaf[leaves] - smallest[tree[leaves]],
    )


def places(tree: np.ndarray, inner: np.ndarray, leaves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each node comes to stand as an inner node, and where the leaf stands that it ends in; -1 for none.

    tree: int64 [S], the tree of each node; inner, leaves: the nodes that are one and that end in one, in the order in
    which those of a tree are to stand: first its inner nodes, then its leaves. Results: int64 [S].
    """
    both = np.concatenate([inner, leaves])
    order = np.argsort(tree[both], kind="stable")
    place = np.empty(len(both), np.int64)
    place[order] = np.arange(len(both))
    as_inner, as_leaf = np.full(len(tree), -1, np.int64), np.full(len(tree), -1, np.int64)
    as_inner[inner], as_leaf[leaves] = place[: len(inner)], place[len(inner) :]
    return as_inner, as_leaf
