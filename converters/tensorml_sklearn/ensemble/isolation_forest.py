"""Converter for sklearn.ensemble.IsolationForest."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.ensemble._iforest import _average_path_length

from tensorml.converter import Outputs, converter, fitted_attribute, once_per_model
from tensorml.graph import Const, Op
from tensorml.ops import LeafSum, Pow, Where, cast, ravel
from tensorml_sklearn.tree import FLOAT32, Trees, read_trees


@once_per_model
def _isolation_trees(model: Any) -> tuple[Trees, np.ndarray]:
    """The trees, and the depth that each leaf stands for, float64 [L]: its own and that of a tree of its samples.

    Source: sklearn.ensemble._iforest._parallel_compute_tree_depths.
    """
    bases = fitted_attribute(model, "estimators_")
    subsets = None if model._max_features == model.n_features_in_ else list(model.estimators_features_)
    trees = read_trees([base.tree_ for base in bases], subsets)
    pairs = zip(model._decision_path_lengths, model._average_path_length_per_tree, strict=True)
    depths = np.concatenate([path + average - 1.0 for path, average in pairs])
    return trees, depths[trees.forest.leaf]


@converter(IsolationForest)
def isolation_forest(model: Any, x: Op) -> Outputs:
    """Scores, and 1 for inliers, -1 for outliers. [N].

    X is taken as float32, NaN and infinities too. Labels are decided by the sum of depths, which is the same in every
    executor, not by the score, whose last bit is not.
    Source: sklearn.ensemble._iforest.IsolationForest.
    """
    trees, values = _isolation_trees(model)
    leaves = trees.forest.descend(cast(x, FLOAT32))
    depth = ravel(LeafSum(leaves, values[:, None], np.zeros(1), None))
    longest = _longest(model)
    mean = depth / Const(np.asarray(longest)) if longest != 0 else depth * 0.0 + 1.0
    score = -Pow(Const(np.array(2.0)), -mean)
    inlier = depth >= Const(np.array(_least_depth(longest, float(model.offset_))))
    return {
        "predict": Where(inlier, Const(np.array(1)), Const(np.array(-1))),
        "decision_function": score - Const(np.asarray(model.offset_, np.float64)),
        "score_samples": score,
    }


def _longest(model: Any) -> np.float64:
    """What the sum of depths is divided by; 0 where each tree was fitted on one row."""
    return (len(model.estimators_) * _average_path_length([model._max_samples]))[0]


def _least_depth(longest: np.float64, offset: float) -> float:
    """The smallest sum of depths whose decision is not negative, NaN if there is none.

    Found by bisection over the float64 numbers from 0 on, whose bits are in the order of their values.
    """

    def is_inlier(bits: int) -> bool:
        depth = np.array([bits], np.int64).view(np.float64)
        mean = depth / longest if longest != 0 else np.ones(1)
        return bool((-(2**-mean) - offset >= 0)[0])

    low, high = 0, int(np.array(np.inf).view(np.int64))
    if is_inlier(low):
        return 0.0
    if not is_inlier(high):
        return float("nan")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_inlier(middle) else (middle, high)
    return float(np.array([high], np.int64).view(np.float64)[0])
