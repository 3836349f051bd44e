"""Converters for histogram gradient boosting."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from tensorml.converter import Outputs, converter, fitted_attribute, once_per_model, unsupported
from tensorml.frames import OBJECT, Frame
from tensorml.graph import Const, Op
from tensorml.ops import Code, Columns, Equal, Exp, LeafSum, Max, Rank, Require, Take, Where, cast, concat, ravel
from tensorml.trees import Forest
from tensorml_sklearn.compose import checked_columns, selected_columns
from tensorml_sklearn.ensemble.gradient_boosting import boosted_classes
from tensorml_sklearn.validation import finite

FLOAT64 = np.dtype(np.float64)


@once_per_model
def _histogram_trees(model: Any) -> tuple[Forest, np.ndarray]:
    """The trees of a histogram gradient boosting model, and what their leaves hold, float64 [L].

    Source: sklearn.ensemble._hist_gradient_boosting._predictor._predict_one_from_raw_data: float64 `x <= threshold`
    goes left, NaN as `missing_go_to_left` says.
    """
    trees = [tree for stage in fitted_attribute(model, "_predictors") for tree in stage]
    nodes = np.concatenate([tree.nodes for tree in trees])
    counts = [len(tree.nodes) for tree in trees]
    roots = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    leaf, shift = nodes["is_leaf"].astype(bool), np.repeat(roots, counts)
    categorical = nodes["is_categorical"].astype(bool) & ~leaf
    forest = Forest(
        roots=roots,
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(FLOAT64),
        nan_right=~nodes["missing_go_to_left"].astype(bool),
        left=np.where(leaf, -1, nodes["left"] + shift),
        right=np.where(leaf, -1, nodes["right"] + shift),
        category=np.where(categorical, np.cumsum(categorical) - 1, -1),
        tables=_tables(model, trees),
        strict=True,
    )
    return forest, nodes["value"][forest.leaf]


def _tables(model: Any, trees: list[Any]) -> np.ndarray:
    """Where each category goes at each categorical node: 0 left, 1 right. uint8 [nodes, 256 + 2].

    In the node's set: left. Known in training, but not in the set: right. Not known, or NaN: as missing values go.
    Source: _predict_one_from_raw_data, make_known_categories_bitsets.
    """
    known_bitsets, place = model._bin_mapper.make_known_categories_bitsets()
    tables: list[np.ndarray] = []
    for tree in trees:
        nodes = tree.nodes[(tree.nodes["is_categorical"] == 1) & (tree.nodes["is_leaf"] == 0)]
        left = _members(tree.raw_left_cat_bitsets[nodes["bitset_idx"]])
        known = _members(known_bitsets[place[nodes["feature_idx"]]])
        missing = (nodes["missing_go_to_left"] == 0).astype(np.uint8)[:, None]
        tables.append(np.concatenate([np.where(left, 0, np.where(known, 1, missing)), missing, missing], axis=1))
    return np.concatenate(tables).astype(np.uint8) if tables else np.empty((0, 258), np.uint8)


def _members(bitsets: np.ndarray) -> np.ndarray:
    """Bit sets of 8 words as a bool for each of 256 values. uint32 [K, 8] to bool [K, 256]."""
    words = np.ascontiguousarray(bitsets, "<u4").reshape(-1, 8)
    return np.unpackbits(words.view(np.uint8), axis=1, bitorder="little").astype(bool)


def _histogram_sum(model: Any, x: Op | Frame) -> Op:
    """The raw predictions [N, K]: the baseline, then tree after tree.

    Source: sklearn.ensemble._hist_gradient_boosting.gradient_boosting.BaseHistGradientBoosting._raw_predict.
    """
    forest, values = _histogram_trees(model)
    outputs = model.n_trees_per_iteration_
    start = np.asarray(model._baseline_prediction).reshape(-1)
    leaves = forest.descend(_preprocessed(model, x))
    output = np.tile(np.arange(outputs), len(model._predictors)) if outputs > 1 else None
    return LeafSum(leaves, values[:, None].astype(start.dtype), start, output)


def _preprocessed(model: Any, x: Op | Frame) -> Op:
    """float64 columns; with categorical features, their ordinal codes first and then the others.

    Source: BaseHistGradientBoosting._preprocess_X: a ColumnTransformer of OrdinalEncoder (unknown and missing: NaN) on
    the categorical columns, and the rest as it is. It finds the columns of a DataFrame by name.
    """
    if model._preprocessor is None:
        return cast(x.matrix() if isinstance(x, Frame) else x, FLOAT64)
    x = checked_columns(model._preprocessor, x)
    encoder = model._preprocessor.named_transformers_["encoder"]
    encoded = selected_columns(model._preprocessor, "encoder", x)
    parts = [
        _ordinal(encoder, _column(encoded, i), np.asarray(categories), _label(encoded, i))
        for i, categories in enumerate(encoder.categories_)
    ]
    if len(parts) < model.n_features_in_:
        others = selected_columns(model._preprocessor, "numerical", x)
        parts.append(cast(others.matrix() if isinstance(others, Frame) else others, FLOAT64))
    return concat(parts)


def _column(x: Op | Frame, i: int) -> Op:
    return x.columns[i] if isinstance(x, Frame) else Columns(x, np.array([i]))


def _label(x: Op | Frame, i: int) -> str:
    return x.label(i) if isinstance(x, Frame) else str(i)


def _ordinal(encoder: Any, x: Op, categories: np.ndarray, label: str) -> Op:
    """The position of each value among the categories, NaN where it is none of them. x: [N, 1]; result: float64.

    Source: sklearn.preprocessing.OrdinalEncoder with unknown_value and encoded_missing_value NaN.
    """
    if categories.dtype.kind not in "biufOU" or any(value is None for value in categories.tolist()):
        raise unsupported(
            encoder,
            f"the categories of column {label} are {categories.dtype} or None",
            "Encode them with an OrdinalEncoder before the model and pass the codes",
        )
    known = categories[[value == value for value in categories.tolist()]]  # NaN, behind the others, has no code
    if x.dtype == OBJECT:
        code = Code(x, known)
        return Where(code < 0, Const(np.array(np.nan)), cast(code, FLOAT64))
    if not all(isinstance(value, bool | int | float) for value in known.tolist()):
        text = f"column {label} holds numbers, and the categories that the model was fitted on are none"
        return Require(cast(x, FLOAT64), Const(np.array(False)), f"{text}. Pass what it was fitted on.")
    return _rank(encoder, x, np.sort(known.astype(FLOAT64)))


def _rank(encoder: Any, x: Op, categories: np.ndarray) -> Op:
    """The position of a number among the categories, which ascend, NaN where it is none of them."""
    x = cast(finite(encoder, x, nan=True), FLOAT64)
    offsets = np.array([0, len(categories)])
    reached = Rank(x, np.array([0]), categories, offsets, np.array([0]), np.dtype(np.int64))
    position = Max(reached, Const(np.array(1))) - 1
    met = Equal(Take(Const(np.append(categories, np.nan)), position), x)
    return Where(met, cast(position, FLOAT64), Const(np.array(np.nan)))


@converter(HistGradientBoostingRegressor, frames=True)
def hist_gradient_boosting_regressor(model: HistGradientBoostingRegressor, x: Op | Frame) -> Outputs:
    """The raw prediction, or its exponential for the Poisson and gamma losses. [N].

    Source: HistGradientBoostingRegressor.predict; sklearn._loss.link.LogLink.
    """
    raw = ravel(_histogram_sum(model, x))
    return {"predict": Exp(raw) if model.loss in ("poisson", "gamma") else raw}


@converter(HistGradientBoostingClassifier, frames=True)
def hist_gradient_boosting_classifier(model: HistGradientBoostingClassifier, x: Op | Frame) -> Outputs:
    """Softmax or logistic function of the raw predictions. A raw prediction of exactly 0 is the first class.

    Source: HistGradientBoostingClassifier.predict.
    """
    return boosted_classes(model, _histogram_sum(model, x), scale=1.0, zero_is_positive=False)
