"""Converters for CatBoost's models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from catboost import CatBoost, CatBoostClassifier, CatBoostRanker, CatBoostRegressor

from tensorml.converter import Description, Outputs, converter, once_per_model, unsupported
from tensorml.errors import InputError, NotFittedError, qualified_name
from tensorml.frames import OBJECTS, Frame
from tensorml.graph import Const, Op
from tensorml.ops import ArgMax, Cast, Columns, Concat, Label, LeafSum, Require, Reshape, Take, cast, ravel
from tensorml_catboost.categories import require_kinds
from tensorml_catboost.categories import split_columns as categorical_columns
from tensorml_catboost.objectives import (
    FLOAT64,
    INT64,
    LABELS,
    external,
    fast_exp,
    log_probability,
    loss,
    probability,
    threshold,
    with_uncertainty,
)
from tensorml_catboost.trees import FLOAT32, Ensemble, Export, ensemble, export

STAGES = "a converted model computes the result of a range of trees. Call predict(X, ntree_end=...)"
NOT_CONVERTED = {  # inference methods: what to say of them
    "staged_predict": STAGES,
    "staged_predict_proba": STAGES,
    "staged_predict_log_proba": STAGES,
    "iterate_leaf_indexes": "it returns rows one by one. Call calc_leaf_indexes(X)",
    "virtual_ensembles_predict": "it is several predictions of parts of the trees. Call it on the source model",
}
UINT32 = np.dtype(np.uint32)
RAW = "RawFormulaVal"


def describe(model: CatBoost) -> Description:
    """Width, names and classes of a CatBoost model. Raises NotFittedError.

    Where features have names, a DataFrame reaches the converter as one, which finds columns by name. CatBoost's own
    `n_features_in_` is 0 once a model was copied or loaded; here it stays the number of features.
    """
    require_fitted(model)
    refuse_features(model)
    read, names = export(model), list(model.feature_names_ or ())
    if not read.trees:
        raise unsupported(model, "it has no trees, and CatBoost does not predict without any", "Fit it with iterations")
    width_known = read.features == tuple(range(len(names)))  # not once drop_unused_features() was called
    return Description(
        n_features=len(names) if width_known else None,
        feature_names=tuple(names) if has_names(read) else None,
        attributes={"classes_": model.classes_, "feature_names_": names, "n_features_in_": len(names)}
        | {"tree_count_": model.tree_count_},
        empty=True,
        refused={name: reason for name, reason in NOT_CONVERTED.items() if hasattr(model, name)},
        by_name=has_names(read),
        objects=read.categorical is not None,
        categorical=() if read.categorical is None else read.categorical.columns,
    )


def has_names(read: Export) -> bool:
    """Whether columns of a DataFrame are found by name: training saw names."""
    return any(read.used.values())


def require_fitted(model: CatBoost) -> None:
    """Raise NotFittedError for a model that was not fitted."""
    if not model.is_fitted():
        raise NotFittedError(f"{qualified_name(model)} is not fitted. Call fit() before converting it.")


@converter(CatBoost, frames=True)
def cat_boost(model: CatBoost, x: Op | Frame, *, ntree_start: int = 0, ntree_end: int = 0) -> Outputs:
    """Every prediction type, and leaves.

    x: [N, F]. Source: catboost.CatBoost.predict, calc_leaf_indexes.
    """
    used = used_trees(model, x, ntree_start, ntree_end)
    types = prediction_types(model, raw_values(used))
    return {**predictions(types, RAW), **leaves(used)}


@converter(CatBoostRegressor, frames=True)
def cat_boost_regressor(
    model: CatBoostRegressor, x: Op | Frame, *, ntree_start: int = 0, ntree_end: int = 0
) -> Outputs:
    """Every prediction type, and leaves; what `predict` returns depends on the loss.

    x: [N, F]. Source: catboost.CatBoostRegressor.predict, _get_default_prediction_type.
    """
    used = used_trees(model, x, ntree_start, ntree_end)
    types = prediction_types(model, raw_values(used))
    default = model._get_default_prediction_type()
    return {**predictions(types, default), **leaves(used)}


@converter(CatBoostClassifier, frames=True)
def cat_boost_classifier(
    model: CatBoostClassifier, x: Op | Frame, *, ntree_start: int = 0, ntree_end: int = 0
) -> Outputs:
    """Labels, every other prediction type, and leaves.

    x: [N, F]. Source: catboost.CatBoostClassifier.predict, predict_proba, predict_log_proba.
    """
    used = used_trees(model, x, ntree_start, ntree_end)
    types = prediction_types(model, raw_values(used))
    return {
        **predictions(types, "Class"),
        "predict_proba": types["Probability"],
        "predict_log_proba": types["LogProbability"],
        **leaves(used),
    }


@converter(CatBoostRanker, frames=True)
def cat_boost_ranker(model: CatBoostRanker, x: Op | Frame, *, ntree_start: int = 0, ntree_end: int = 0) -> Outputs:
    """Scores, and leaves.

    x: [N, F]. Source: catboost.CatBoostRanker.predict, which has no prediction types.
    """
    used = used_trees(model, x, ntree_start, ntree_end)
    return {"predict": squeezed(raw_values(used)), **leaves(used)}


def split_columns(model: CatBoost, x: Op | Frame) -> Op:
    """The columns that splits compare with borders: the model's features in float32. [N, F].

    Each column is rounded to float32 by itself; what is too large becomes infinite, and infinity is a number.
    A model with categorical features reads other columns: see `categories.split_columns`.
    """
    refuse_features(model)
    read = export(model)
    if read.categorical is not None:
        return categorical_columns(model, read.categorical, x if isinstance(x, Op) else arranged(read, x))
    if isinstance(x, Op):
        return cast(x, FLOAT32)
    frame = arranged(read, x)
    if frame.whole is not None:
        return cast(frame.whole, FLOAT32)
    parts: list[Op] = []
    for i, column in enumerate(frame.columns):
        if column.dtype.kind not in "biuf":
            name = repr(i if frame.names is None else frame.names[i])
            raise InputError(f"column {name} does not hold numbers, as it did in training.")
        parts.append(cast(column, FLOAT32))
    return Concat(tuple(parts))


def arranged(read: Export, frame: Frame) -> Frame:
    """The frame's columns in the places of the model's features, by name if training saw names, as the frame has.

    Only what splits read is looked for; any column stands for what they do not. Raises InputError.
    Source: CheckColumnRemappingPossible (catboost/libs/data/model_dataset_compatibility.cpp).
    """
    if not has_names(read) or frame.library == OBJECTS:
        return frame
    if frame.names is None:
        raise InputError("the columns' names are not strings. Make them strings: X.columns = X.columns.astype(str).")
    place = {feature: frame.position(name) for feature, name in read.used.items()}
    if read.categorical is not None:
        require_kinds(read.categorical, frame, place)
    first = next(iter(place.values()))
    return frame.select([place.get(feature, first) for feature in range(max(place) + 1)])


def refuse_features(model: CatBoost) -> None:
    """Raise UnsupportedModelError for a model of features that are neither numbers nor categories."""
    for kind, indices in {
        "text": model.get_text_feature_indices(),
        "embedding": model.get_embedding_feature_indices(),
    }.items():
        if indices:
            raise unsupported(
                model,
                f"it has {kind} features: {named(model, indices)}",
                "Compute numbers from them before the model, and fit it on these",
            )


def named(model: CatBoost, indices: list[int]) -> str:
    """The names of some features."""
    names = list(model.feature_names_ or ())
    return ", ".join(repr(names[i]) for i in indices)


@dataclass(frozen=True)
class Used:
    """The trees that a call uses.

    first: the number of the first one; leaf: the leaf that each row reaches in each, int32 [N, T]; predicts: whether
    `predict` takes the call too, and not only `calc_leaf_indexes`.
    """

    model: CatBoost
    first: int
    trees: Ensemble
    leaf: Op
    predicts: bool


@once_per_model
def all_trees(model: CatBoost) -> Ensemble:
    """All trees of the model."""
    read = export(model)
    return ensemble(read, 0, read.trees)


def used_trees(model: CatBoost, x: Op | Frame, start: int, end: int) -> Used:
    """The trees `start` to `end - 1`, where an `end` of 0 is the number of all trees, and the leaves that x reaches.

    Raises InputError for a range that holds no tree. Without `end`, `predict` takes no other start than 0.
    Source: FixupTreeEnd (catboost/private/libs/algo/apply.cpp), catboost.CatBoost._calc_leaf_indexes.
    """
    columns, read = split_columns(model, x), export(model)
    last = end or read.trees
    if not 0 <= start < last <= read.trees:
        raise InputError(f"there is no tree from ntree_start={start} to ntree_end={last}, of {read.trees} trees.")
    trees = all_trees(model) if last - start == read.trees else ensemble(read, start, last)
    return Used(model, start, trees, trees.forest.descend(columns), predicts=start == 0 or end != 0)


def raw_values(used: Used) -> Op:
    """The sum of what the leaves hold, tree by tree from 0, times scale; plus bias if the first tree is among them.

    Result: float64 [N, K], the bits of the source. Source: TScaleAndBias, ApplyScaleAndBias (catboost/libs/model).
    """
    outputs = used.trees.values.shape[1]
    total = LeafSum(used.leaf, used.trees.values, np.zeros(outputs), None)
    if not used.predicts:
        total = Require(total, Const(np.array(False)), "predict() takes ntree_start only together with ntree_end.")
    scale, bias = used.model.get_scale_and_bias()
    offset = np.broadcast_to(np.asarray(0.0 if used.first else bias, FLOAT64), (outputs,))
    return total if scale == 1 and not offset.any() else total * float(scale) + offset


def leaves(used: Used) -> Outputs:
    """The number of the leaf that each row reaches in each tree. uint32 [N, T].

    Source: catboost.CatBoost.calc_leaf_indexes.
    """
    return {"calc_leaf_indexes": Cast(Take(Const(used.trees.number), used.leaf), UINT32)}


def prediction_types(model: CatBoost, raw: Op) -> Mapping[str, Op]:
    """What `predict` returns for each prediction type that the model has.

    raw: float64 [N, K]. Source: transform_predictions (_catboost.pyx), PrepareEval.
    """
    metadata = dict(model.get_metadata().items())
    classes, name = np.asarray(model.classes_), loss(metadata)
    raw = external(metadata, raw, len(classes))
    types = {
        RAW: squeezed(raw),
        "Probability": probability(name, raw),
        "LogProbability": log_probability(name, raw),
        "Exponent": fast_exp(ravel(raw) if raw.columns == 1 else Columns(raw, np.array([0]))),
    }
    if raw.columns > 1:
        types["RMSEWithUncertainty"] = with_uncertainty(raw)
    if len(classes):
        types["Class"] = labels(name, raw, classes, threshold(metadata))
    return types


def labels(name: str, raw: Op, classes: np.ndarray, border: float) -> Op:
    """The predicted labels: [N] for two classes, [N, 1] for several, int64 [N, C] of 0 and 1 for several labels."""
    if name in LABELS:
        return squeezed(cast(raw > border, INT64))
    if raw.columns == 1:
        return Label(ravel(cast(raw > border, INT64)), classes)
    return Label(Reshape(ArgMax(raw), (1,)), classes)


def predictions(types: Mapping[str, Op], default: str) -> dict[str, Any]:
    """`predict` for each prediction type by name, and without a name for the default one."""
    outputs = {f"predict(prediction_type={name!r})": value for name, value in types.items()}
    return ({"predict": types[default]} if default in types else {}) | outputs


def squeezed(x: Op) -> Op:
    """[N, 1] as [N], other shapes as they are."""
    return ravel(x) if x.columns == 1 else x
