"""Converters for sklearn.tree, and how its trees read as a Forest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from scipy.sparse import hstack
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor
from sklearn.utils import get_tags

from tensorml.converter import Outputs, converter, fitted_attribute, once_per_model
from tensorml.graph import Const, Op
from tensorml.ops import ArgMax, Columns, LabelColumns, Log, Paths, Reshape, Take, cast, concat, ravel
from tensorml.trees import Forest, below
from tensorml_sklearn.output import labelled, sparse_arrays
from tensorml_sklearn.validation import finite

FLOAT32 = np.dtype(np.float32)
Tree = Any  # sklearn.tree._tree.Tree, a Cython class
TREE_CLASSIFIERS = (DecisionTreeClassifier, ExtraTreeClassifier)
TREE_REGRESSORS = (DecisionTreeRegressor, ExtraTreeRegressor)


@dataclass(frozen=True)
class Trees:
    """An ensemble's trees. values: float64 [L, O, C], what each leaf holds; node: int64 [L], its number for `apply`.

    first: the first of the trees.
    """

    forest: Forest
    values: np.ndarray
    node: np.ndarray
    first: Tree

    def apply(self, leaves: Op) -> Op:
        """The node numbers of the leaves. int64, the shape of `leaves`."""
        return Take(Const(self.node), leaves)

    def paths(self, x: Op, leaves: Op, *, single: bool = False) -> Outputs:
        """`decision_path` of x, with its leaves [N, T]; nothing where scikit-learn is set to return sparse arrays.

        The dtype of the matrix's indices depends on the versions of scikit-learn and SciPy: a tree is asked for it.
        Source: sklearn.tree._tree.Tree.decision_path, sklearn.ensemble._forest.BaseForest.decision_path.
        """
        if sparse_arrays():
            return {}
        forest, inner = self.forest, self.forest.inner
        parent = np.full(len(forest.left), -1, np.int64)
        parent[forest.left[inner]] = inner
        parent[forest.right[inner]] = inner
        starts = np.append(forest.roots, len(forest.left))
        if not paths_follow_nan():
            leaves = replace(forest, nan_right=np.ones_like(forest.nan_right)).descend(x)
        path = self.first.decision_path(np.zeros((1, self.first.n_features), FLOAT32))
        index = (path if single else hstack([path, path]).tocsr()).indices.dtype
        return {"decision_path": Paths(leaves, parent, forest.leaf, starts, single, index)}


def read_trees(trees: Sequence[Tree], columns: Sequence[np.ndarray] | None = None) -> Trees:
    """The trees of an ensemble. A row goes right if its float32 value is greater than the float64 threshold.

    columns: for each tree, the columns of X that its features are; without it, they are the same.
    Source: sklearn.tree._tree.Tree._apply_dense: X is float32, `X[i, feature] <= threshold` goes left, and NaN as
    `missing_go_to_left` says.
    """
    counts = [tree.node_count for tree in trees]
    roots = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    shift = np.repeat(roots, counts)
    left = np.concatenate([tree.children_left for tree in trees])
    right = np.concatenate([tree.children_right for tree in trees])
    features = [tree.feature for tree in trees]
    if columns is not None:
        features = [np.asarray(own)[np.maximum(f, 0)] for f, own in zip(features, columns, strict=True)]
    forest = Forest(
        roots=roots,
        feature=np.concatenate(features),
        threshold=below(np.concatenate([tree.threshold for tree in trees]), FLOAT32),
        nan_right=~np.concatenate([tree.missing_go_to_left for tree in trees]).astype(bool),
        left=np.where(left < 0, -1, left + shift),
        right=np.where(right < 0, -1, right + shift),
        strict=True,
    )
    values = np.concatenate([tree.value for tree in trees])[forest.leaf]
    return Trees(forest, values, (np.arange(len(left)) - shift)[forest.leaf], trees[0])


@cache
def paths_follow_nan() -> bool:
    """Whether `decision_path` sends NaN where `apply` does. scikit-learn 1.6 sends it right there, everywhere."""
    x = np.array([[np.nan], [0], [1]], FLOAT32)
    tree = DecisionTreeRegressor().fit(x, [0, 0, 1]).tree_
    return int(tree.decision_path(x[:1]).indices[-1]) == int(tree.apply(x[:1])[0])


def tree_input(model: object, x: Op, *, nan: bool) -> Op:
    """X as float32, without infinities. Source: sklearn.tree._classes.BaseDecisionTree._validate_X_predict."""
    return finite(model, cast(x, FLOAT32), nan=nan)


def takes_nan(tree: Any) -> bool:
    """Whether a fitted tree takes NaN. Source: BaseDecisionTree._support_missing_values, with no sparse input."""
    return bool(tree._support_missing_values(np.empty((0, 0)))) and get_tags(tree).input_tags.allow_nan


@once_per_model
def _single(model: Any) -> Trees:
    return read_trees([fitted_attribute(model, "tree_")])


def _held(model: Any, x: Op) -> tuple[Trees, Op, Outputs]:
    """The tree, what the leaf of each row holds, [N, O, C], and the methods of all trees."""
    trees = _single(model)
    x = tree_input(model, x, nan=takes_nan(model))
    leaves = trees.forest.descend(x)
    leaf = ravel(leaves)
    held = Take(Const(trees.values), leaf)
    return trees, held, {"apply": trees.apply(leaf), **trees.paths(x, leaves, single=True)}


@converter(*TREE_REGRESSORS)
def tree_regressor(model: Any, x: Op) -> Outputs:
    """What the leaf holds: [N], or [N, O] for several outputs. Source: BaseDecisionTree.predict."""
    _, held, leaves = _held(model, x)
    return {"predict": Reshape(held, () if model.n_outputs_ == 1 else (model.n_outputs_,)), **leaves}


@converter(*TREE_CLASSIFIERS)
def tree_classifier(model: Any, x: Op) -> Outputs:
    """The class fractions of the leaf. Source: sklearn.tree._classes.DecisionTreeClassifier.predict_proba."""
    trees, held, leaves = _held(model, x)
    flat = Reshape(held, (trees.values.shape[1] * trees.values.shape[2],))
    return {**classify(model, by_output(model, flat, trees.values.shape[2])), **leaves}


def by_output(model: Any, held: Op, width: int) -> list[Op]:
    """The columns of each output, [N, number of its classes], from [N, O * width]."""
    counts = [model.n_classes_] if model.n_outputs_ == 1 else model.n_classes_
    return [Columns(held, np.arange(int(count)) + k * width) for k, count in enumerate(counts)]


def classify(model: Any, probabilities: list[Op]) -> Outputs:
    """The methods of a classifier of one or several outputs, from the probabilities of each.

    Source: sklearn.tree._classes.DecisionTreeClassifier, sklearn.ensemble._forest.ForestClassifier.
    """
    if model.n_outputs_ == 1:
        (p,) = probabilities
        return {"predict": labelled(p, model.classes_), "predict_proba": p, "predict_log_proba": Log(p)}
    chosen = concat([Reshape(ArgMax(p), (1,)) for p in probabilities])
    outputs: Outputs = {"predict": LabelColumns(chosen, tuple(np.asarray(c) for c in model.classes_))}
    outputs |= {f"predict_proba[{k}]": p for k, p in enumerate(probabilities)}
    return outputs | {f"predict_log_proba[{k}]": Log(p) for k, p in enumerate(probabilities)}
