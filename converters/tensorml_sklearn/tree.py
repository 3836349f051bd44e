"""Converters for sklearn.tree, and how its trees read as a Forest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from tensorml.converter import Outputs, converter, fitted_attribute, once_per_model
from tensorml.graph import Const, Op
from tensorml.ops import Div, LeafSum, Log, ReduceSum, Take, cast
from tensorml.ops.index import Columns
from tensorml.trees import Forest, above
from tensorml_sklearn.describe import finite, labelled

SklearnTree = Any
FLOAT32 = np.dtype(np.float32)


def forest_of(trees: Sequence[SklearnTree]) -> Forest:
    """The trees of an ensemble. A row goes right if its float32 value is greater than the float64 threshold.

    Source: sklearn.tree._tree.Tree._apply_dense: X is float32, `X[i, feature] <= threshold` goes left, and NaN as
    `missing_go_to_left` says.
    """
    counts = [tree.node_count for tree in trees]
    roots = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    shift = np.repeat(roots, counts)
    left = np.concatenate([tree.children_left for tree in trees])
    right = np.concatenate([tree.children_right for tree in trees])
    return Forest(
        roots=roots,
        feature=np.concatenate([tree.feature for tree in trees]),
        threshold=above(np.concatenate([tree.threshold for tree in trees]), FLOAT32),
        nan_right=~np.concatenate([tree.missing_go_to_left for tree in trees]).astype(bool),
        left=np.where(left < 0, -1, left + shift),
        right=np.where(right < 0, -1, right + shift),
    )


def node_in_tree(forest: Forest) -> np.ndarray:
    """Each leaf's node number within its own tree, as `apply` returns it. int64 [L]."""
    tree = np.searchsorted(forest.roots, forest.leaf, side="right") - 1
    return forest.leaf - forest.roots[tree]
