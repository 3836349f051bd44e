"""Converters for forests: what their trees hold, averaged."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    RandomTreesEmbedding,
)

from tensorml.converter import Outputs, converter, fitted_attribute, once_per_model, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import LeafSum, OneHot, Sparse, ravel
from tensorml_sklearn.tree import Trees, by_output, classify, read_trees, takes_nan, tree_input


@once_per_model
def _forest(model: Any) -> Trees:
    return read_trees([tree.tree_ for tree in fitted_attribute(model, "estimators_")])


def _descended(model: Any, x: Op) -> tuple[Trees, Op, Outputs]:
    """The trees, the leaves [N, T], and the methods that return where a row ends and how it gets there."""
    trees = _forest(model)
    x = tree_input(model, x, nan=takes_nan(model.estimators_[0]))
    leaves = trees.forest.descend(x)
    return trees, leaves, {"apply": trees.apply(leaves), **trees.paths(x, leaves)}


def _mean(model: Any, trees: Trees, leaves: Op) -> Op:
    """The mean of what the leaves hold, [N, O * C], added up in order, then divided.

    With n_jobs other than 1 the source adds in the order in which its threads end: then within rounding.
    Source: sklearn.ensemble._forest._accumulate_prediction.
    """
    values = trees.values.reshape(len(trees.values), -1)
    total = LeafSum(leaves, values, np.zeros(values.shape[1]), None)
    return total / float(len(model.estimators_))


@converter(RandomForestRegressor, ExtraTreesRegressor)
def forest_regressor(model: Any, x: Op) -> Outputs:
    """The mean of the trees: [N], or [N, O] for several outputs.

    Source: sklearn.ensemble._forest.ForestRegressor.predict.
    """
    trees, leaves, others = _descended(model, x)
    mean = _mean(model, trees, leaves)
    return {"predict": ravel(mean) if model.n_outputs_ == 1 else mean, **others}


@converter(RandomForestClassifier, ExtraTreesClassifier)
def forest_classifier(model: Any, x: Op) -> Outputs:
    """The mean of the trees' class fractions. Source: sklearn.ensemble._forest.ForestClassifier.predict_proba."""
    trees, leaves, others = _descended(model, x)
    return {**classify(model, by_output(model, _mean(model, trees, leaves), trees.values.shape[2])), **others}


@converter(RandomTreesEmbedding)
def random_trees_embedding(model: RandomTreesEmbedding, x: Op) -> Outputs:
    """A 1 in the column of the leaf that a row reaches in each tree. float64 [N, leaves], sparse if so set.

    Source: sklearn.ensemble._forest.RandomTreesEmbedding.transform: a OneHotEncoder of `apply`.
    """
    trees, leaves, others = _descended(model, x)
    counts = np.diff(np.append(np.searchsorted(trees.forest.leaf, trees.forest.roots), len(trees.forest.leaf)))
    known = model.one_hot_encoder_.categories_
    if not np.array_equal(np.concatenate(known), trees.node):
        raise unsupported(model, "its encoder does not know all leaves of its trees", "Fit it anew, in one call of fit")
    codes = leaves - Const((np.cumsum(counts) - counts).astype(np.int32))
    columns = OneHot(codes, tuple(int(count) for count in counts), np.dtype(np.float64))
    transformed = Sparse(columns) if model.one_hot_encoder_.sparse_output else columns
    return {"transform": transformed, **others}
