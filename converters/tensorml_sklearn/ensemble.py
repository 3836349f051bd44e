"""Converters for sklearn.ensemble: forests and gradient boosting."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from tensorml.converter import Outputs, apply, converter, fitted_attribute, once_per_model, unsupported
from tensorml.frames import Frame
from tensorml.graph import Const, Op
from tensorml.ops import (
    Columns,
    Equal,
    Exp,
    Label,
    LeafSum,
    Log,
    Max,
    Min,
    Rank,
    ReduceSum,
    Reshape,
    Sigmoid,
    Softmax,
    Take,
    Where,
    cast,
    concat,
    ravel,
)
from tensorml.trees import Forest
from tensorml_sklearn.describe import finite, labelled
from tensorml_sklearn.tree import Trees, by_output, classify, read_trees, takes_nan, tree_input

FLOAT64 = np.dtype(np.float64)


@once_per_model
def _forest(model: Any) -> Trees:
    return read_trees([tree.tree_ for tree in fitted_attribute(model, "estimators_")])


def _mean(model: Any, x: Op) -> tuple[Trees, Op, Op]:
    """The trees, the leaves [N, T], and the mean of what they hold, [N, O * C], added up in order, then divided.

    With n_jobs other than 1 the source adds in the order in which its threads end: then within rounding.
    Source: sklearn.ensemble._forest._accumulate_prediction.
    """
    trees = _forest(model)
    leaves = trees.forest.descend(tree_input(model, x, nan=takes_nan(model.estimators_[0])))
    values = trees.values.reshape(len(trees.values), -1)
    total = LeafSum(leaves, values, np.zeros(values.shape[1]), None)
    return trees, leaves, total / float(len(model.estimators_))


@converter(RandomForestRegressor, ExtraTreesRegressor)
def forest_regressor(model: Any, x: Op) -> Outputs:
    """The mean of the trees: [N], or [N, O] for several outputs.

    Source: sklearn.ensemble._forest.ForestRegressor.predict.
    """
    trees, leaves, mean = _mean(model, x)
    return {"predict": ravel(mean) if model.n_outputs_ == 1 else mean, "apply": trees.apply(leaves)}


@converter(RandomForestClassifier, ExtraTreesClassifier)
def forest_classifier(model: Any, x: Op) -> Outputs:
    """The mean of the trees' class fractions. Source: sklearn.ensemble._forest.ForestClassifier.predict_proba."""
    trees, leaves, mean = _mean(model, x)
    return {**classify(model, by_output(model, mean, trees.values.shape[2])), "apply": trees.apply(leaves)}


@once_per_model
def _boosted(model: Any) -> Trees:
    return read_trees([tree.tree_ for tree in fitted_attribute(model, "estimators_").ravel()])


def _boosted_sum(model: Any, x: Op) -> tuple[Op, Op]:
    """The raw predictions [N, K], and `apply` [N, stages * K]: the start, then stage by stage, rate times leaf.

    Source: sklearn.ensemble._gradient_boosting.predict_stages, which adds the float64 product.
    """
    trees, outputs = _boosted(model), model.n_trees_per_iteration_
    x = tree_input(model, x, nan=False)
    leaves = trees.forest.descend(x)
    values = model.learning_rate * trees.values.reshape(-1, 1)
    output = np.tile(np.arange(outputs), len(model.estimators_))
    constant = isinstance(model.init_, str | DummyClassifier | DummyRegressor)
    start = _constant_start(model) if constant else np.zeros(outputs)
    raw = LeafSum(leaves, values, start, output if outputs > 1 else None)
    return raw if constant else raw + _start(model, x), cast(trees.apply(leaves), FLOAT64)


def _constant_start(model: Any) -> np.ndarray:
    """What the initial estimator predicts for every row. float64 [K]."""
    return model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32))[0]


def _start(model: Any, x: Op) -> Op:
    """What an initial estimator of the user's predicts, on the scale of the raw predictions, [N, K].

    Source: sklearn.ensemble._gb._init_raw_predictions.
    """
    outputs = apply(model.init_, x, step="init")
    if not hasattr(model, "classes_"):
        return Reshape(cast(outputs["predict"], FLOAT64), (1,))
    tiny = _least_probability()
    p = Min(Max(cast(outputs["predict_proba"], FLOAT64), Const(np.array(tiny))), Const(np.array(1 - tiny)))
    if model.n_trees_per_iteration_ > 1:
        log = Log(p)
        return log - ReduceSum(log) / float(log.columns)
    p = Columns(p, np.array([1]))
    logit = Log(p / (1.0 - p))
    return logit * 0.5 if model.loss == "exponential" else logit


def _least_probability() -> float:
    """How far scikit-learn keeps an initial probability from 0 and 1: a constant in its source, which has changed."""
    from sklearn.ensemble import _gb

    names = _gb._init_raw_predictions.__code__.co_names
    return float(np.finfo(np.float32 if "float32" in names else np.float64).eps)


@converter(GradientBoostingRegressor)
def gradient_boosting_regressor(model: GradientBoostingRegressor, x: Op) -> Outputs:
    """The raw prediction. [N]. Source: sklearn.ensemble._gb.GradientBoostingRegressor."""
    raw, leaves = _boosted_sum(model, x)
    return {"predict": ravel(raw), "apply": leaves}


@converter(GradientBoostingClassifier)
def gradient_boosting_classifier(model: GradientBoostingClassifier, x: Op) -> Outputs:
    """Softmax of the raw predictions, or the logistic function, of twice the value for the exponential loss.

    Source: sklearn.ensemble._gb.GradientBoostingClassifier; sklearn._loss.loss: HalfBinomialLoss, ExponentialLoss.
    """
    raw, leaves = _boosted_sum(model, x)
    outputs = boosted_classes(model, raw, scale=2.0 if model.loss == "exponential" else 1.0, zero_is_positive=True)
    shape = (len(model.estimators_), model.n_trees_per_iteration_)
    return {**outputs, "predict_log_proba": Log(outputs["predict_proba"]), "apply": Reshape(leaves, shape)}


def boosted_classes(model: Any, raw: Op, *, scale: float, zero_is_positive: bool) -> Outputs:
    """predict, predict_proba and decision_function from raw predictions [N, K]; K = 1 for two classes.

    scale: what the logistic function is taken of, as a multiple of the raw prediction.
    """
    classes = np.asarray(model.classes_)
    if raw.columns > 1:
        return {"predict": labelled(raw, classes), "predict_proba": Softmax(raw), "decision_function": raw}
    decision, p = ravel(raw), Sigmoid(raw if scale == 1 else raw * scale)
    positive = decision >= 0.0 if zero_is_positive else decision > 0.0
    return {
        "predict": Label(cast(positive, np.int64), classes),
        "predict_proba": concat([1.0 - p, p]),
        "decision_function": decision,
    }


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
    the categorical columns, and the rest as it is.
    """
    if model._preprocessor is None:
        return cast(x.matrix() if isinstance(x, Frame) else x, FLOAT64)
    categorical = np.asarray(model.is_categorical_)
    encoder = model._preprocessor.named_transformers_["encoder"]
    return concat(
        [
            *(
                _ordinal(encoder, _column(x, int(i)), np.asarray(categories))
                for i, categories in zip(np.flatnonzero(categorical), encoder.categories_, strict=True)
            ),
            *(cast(_column(x, int(i)), FLOAT64) for i in np.flatnonzero(~categorical)),
        ]
    )


def _column(x: Op | Frame, i: int) -> Op:
    return x.select([i]).matrix() if isinstance(x, Frame) else Columns(x, np.array([i]))


def _ordinal(encoder: Any, x: Op, categories: np.ndarray) -> Op:
    """The position of each value among the categories, NaN where it is none of them. x: [N, 1]; result: float64.

    Source: sklearn.preprocessing.OrdinalEncoder with unknown_value and encoded_missing_value NaN.
    """
    if categories.dtype.kind not in "biuf":
        raise unsupported(
            encoder,
            f"its categories are not numbers ({categories.dtype})",
            "Encode them with an OrdinalEncoder before the model and pass the codes",
        )
    numbers = categories[~np.isnan(categories)] if categories.dtype.kind == "f" else categories
    values = np.append(numbers, np.nan).astype(FLOAT64)
    x = cast(finite(encoder, x, nan=True), FLOAT64)
    reached = Rank(x, np.array([0]), values[:-1], np.array([0, len(numbers)]), np.array([0]), np.dtype(np.int64))
    position = Max(reached, Const(np.array(1))) - 1
    known = Equal(Take(Const(values), position), x)
    return Where(known, cast(position, FLOAT64), Const(np.array(np.nan)))


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
