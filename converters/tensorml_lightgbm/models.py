"""Converters for LightGBM's scikit-learn interface and its Booster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from lightgbm import Booster, LGBMClassifier, LGBMModel, LGBMRanker, LGBMRegressor
from sklearn.exceptions import NotFittedError as SklearnNotFittedError

from tensorml.converter import Description, Outputs, converter, once_per_model, unsupported
from tensorml.errors import InputError, NotFittedError, qualified_name
from tensorml.frames import OBJECTS, PANDAS, Frame
from tensorml.graph import Const, Op
from tensorml.ops import (
    AddColumns,
    ArgMax,
    Code,
    Concat,
    Fill,
    GatherElements,
    IsNaN,
    Label,
    LeafSum,
    Or,
    Reshape,
    Take,
    Untyped,
    Where,
    cast,
    concat,
    ravel,
)
from tensorml_lightgbm.objectives import STOPPED_EARLY, Link, link
from tensorml_lightgbm.text import Linear, ModelText, loads
from tensorml_lightgbm.trees import FLOAT32, FLOAT64, Ensemble, ensemble, in_band

MULTICLASS = ("multiclass", "softmax", "multiclassova", "multiclass_ova", "ova", "ovr")
OFF = (None, False, "false", "-")
FROM_47 = hasattr(LGBMClassifier, "decision_function")  # 4.7 also reads polars frames
ARROW = ("polars", "pyarrow")
Trees = Ensemble | None


def describe(model: LGBMModel | Booster) -> Description:
    """Width, names and classes of a LightGBM model. Raises NotFittedError.

    Names are those of a DataFrame without columns of categories, for files to hold programs for such frames. Columns
    are found by position, whatever their names. The Booster takes a batch of no rows, of which it makes one
    column; `tensorml` takes it where that is right.
    """
    booster = booster_of(model)
    text = exported(booster)
    return Description(
        n_features=text.features,
        feature_names=tuple(booster.feature_name()) if booster.pandas_categorical == [] else None,
        attributes={"classes_": model.classes_} if isinstance(model, LGBMClassifier) else {},
        empty=isinstance(model, Booster) and text.outputs == 1,
        by_name=True,
    )


def booster_of(model: LGBMModel | Booster) -> Booster:
    """The booster inside a model. Raises NotFittedError."""
    if isinstance(model, Booster):
        return model
    try:
        return model.booster_
    except SklearnNotFittedError:
        raise NotFittedError(f"{qualified_name(model)} is not fitted. Call fit() before converting it.") from None


@once_per_model
def exported(booster: Booster) -> ModelText:
    """The booster's model string, read. Raises UnsupportedModelError for one of a format that is not known."""
    try:
        return loads(booster.model_to_string(num_iteration=-1))
    except ValueError as error:
        raise unsupported(booster, str(error), "Train it with LightGBM 4") from error


@dataclass(frozen=True)
class Reading:
    """What the graph is made from. trees: those that the call uses, None for none; rounds: their iterations."""

    model: LGBMModel | Booster
    text: ModelText
    link: Link
    trees: Trees
    rounds: int


def reading(model: LGBMModel | Booster, start_iteration: int, num_iteration: int | None) -> Reading:
    """The model with the iterations that the call asks for. Raises UnsupportedModelError for an unknown objective.

    Source: lightgbm.Booster.predict, which stops at the best iteration where it is told neither; GBDT::InitPredict.
    """
    booster = booster_of(model)
    text = exported(booster)
    refuse_early_stop(model, text)
    total = len(text.leaves) // text.outputs
    if num_iteration is None:
        num_iteration = booster.best_iteration if start_iteration <= 0 else -1
    start = min(max(start_iteration, 0), total)
    rounds = min(num_iteration, total - start) if num_iteration > 0 else total - start
    whole = rounds == total and total > 0
    trees = all_trees(model) if whole else ensemble(model, text, start, start + rounds) if rounds else None
    return Reading(model, text, link(model, text.objective), trees, rounds)


@once_per_model
def all_trees(model: LGBMModel | Booster) -> Ensemble:
    """The trees of all iterations, for every kind of input."""
    text = exported(booster_of(model))
    return ensemble(model, text, 0, len(text.leaves) // text.outputs)


def refuse_early_stop(model: LGBMModel | Booster, text: ModelText) -> None:
    """Refuse a parameter of the estimator that makes predictions leave out trees."""
    if isinstance(model, Booster) or model.get_params().get("pred_early_stop") in OFF:
        return
    if text.objective and text.objective[0] in STOPPED_EARLY and not text.average:
        raise unsupported(
            model,
            "pred_early_stop=True, with which rows leave out trees, each at another one",
            "Call set_params(pred_early_stop=False) before converting it",
        )


@converter(LGBMModel, LGBMRegressor, LGBMRanker, frames=True)
def lgbm_regressor(
    model: LGBMModel,
    x: Op | Frame,
    *,
    start_iteration: int = 0,
    num_iteration: int | None = None,
    validate_features: bool = False,
) -> Outputs:
    """Predictions, raw scores and leaves.

    x: [N, F]; predict: float64 [N], or [N, K]; predict(pred_leaf=True): int32 [N, T].
    Source: lightgbm.LGBMModel.predict.
    """
    known = reading(model, start_iteration, num_iteration)
    return predictions(known, numbers(model, x, validate_features))


@converter(Booster, frames=True)
def booster(
    model: Booster,
    x: Op | Frame,
    *,
    start_iteration: int = 0,
    num_iteration: int | None = None,
    validate_features: bool = False,
) -> Outputs:
    """What `predict` returns, as for LGBMModel.

    Source: lightgbm.Booster.predict.
    """
    known = reading(model, start_iteration, num_iteration)
    return predictions(known, numbers(model, x, validate_features))


@converter(LGBMClassifier, frames=True)
def lgbm_classifier(
    model: LGBMClassifier,
    x: Op | Frame,
    *,
    start_iteration: int = 0,
    num_iteration: int | None = None,
    validate_features: bool = False,
) -> Outputs:
    """Labels, probabilities, raw scores and leaves; with an own loss function raw scores for all but leaves.

    x: [N, F]; predict_proba: float64 [N, K]; decision_function (from 4.7 on): float64 [N], or [N, K].
    Source: lightgbm.LGBMClassifier.predict, predict_proba.
    """
    known = reading(model, start_iteration, num_iteration)
    found = predictions(known, numbers(model, x, validate_features))
    variants = {name: op for name, op in found.items() if name != "predict"}
    own_loss = callable(model.objective_)
    value = found["predict(raw_score=True)"] if own_loss else probabilities(model, found["predict"])
    label = value if own_loss else Label(ArgMax(value), np.asarray(model.classes_))
    scores = {"decision_function": found["predict(raw_score=True)"]} if FROM_47 else {}
    of_proba = {name.replace("predict", "predict_proba", 1): op for name, op in variants.items()}
    return {"predict": label, **variants, "predict_proba": value, **of_proba, **scores}


def probabilities(model: LGBMClassifier, value: Op) -> Op:
    """The probabilities of the classes, [N, K]; for one column p the pair 1 - p, p.

    Source: lightgbm.LGBMClassifier.predict_proba, _LGBMClassifier__is_multiclass.
    """
    several = model.n_classes_ > 2 or model.objective_ in MULTICLASS
    if several != (len(value.shape) == 2):
        raise unsupported(
            model,
            f"predictions of shape {value.shape} for {model.n_classes_} classes with objective={model.objective_!r}",
            "Fit it again after changing its parameters",
        )
    if several:
        return value
    return Concat((column(1 - value), column(value)))


def predictions(known: Reading, x: Op) -> Outputs:
    """`predict` and its variants. x: [N, F] float32 or float64."""
    score = raw_score(known, x)
    mean = score / float(known.rounds) if known.text.average else score
    leaves = Fill(x, (0,), 0, np.dtype(np.int32)) if known.trees is None else leaf_numbers(known.trees, x)
    return {
        "predict": squeezed(known.link(mean)),
        "predict(raw_score=True)": squeezed(score),
        "predict(pred_leaf=True)": leaves,
    }


def leaf_numbers(trees: Ensemble, x: Op) -> Op:
    """The number of the leaf that each row reaches within each tree. int32 [N, T]."""
    return Take(Const(trees.number), trees.descend(x))


def raw_score(known: Reading, x: Op) -> Op:
    """The sum of the trees from 0 on, each iteration's trees to the outputs in turn. float64 [N, K].

    Source: GBDT::PredictRaw (src/boosting/gbdt_prediction.cpp).
    """
    start = np.zeros(known.text.outputs)
    trees = known.trees
    if trees is None:
        return Fill(x, start.shape, 0.0, FLOAT64)
    if trees.linear is None:
        return LeafSum(trees.descend(x), trees.values, start, trees.output)
    return AddColumns(linear_values(trees, trees.linear, x), start, trees.output)


def linear_values(trees: Ensemble, linear: Linear, x: Op) -> Op:
    """What each tree adds where leaves hold linear models: constant + sum of coefficient * value, in their order.

    A leaf with a NaN among its features adds its plain value, as leaves of other trees do. float64 [N, T].
    Source: Tree::Predict (include/LightGBM/tree.h).
    """
    leaves = trees.descend(x)
    values = cast(x, FLOAT64)
    values = Where(in_band(values), Const(np.zeros(())), values)
    in_linear = np.repeat(linear.tree, np.bincount(tree_of_leaf(trees)))
    total = Take(Const(np.where(in_linear, linear.constant, trees.values[:, 0])), leaves)
    missing: list[Op] = []
    for place in range(int(linear.count.max(initial=0))):
        feature, coefficient, has = padded(linear, place)
        value = GatherElements(values, Take(Const(feature), leaves))
        there = Take(Const(has), leaves)
        missing.append(there & IsNaN(value))
        total = Where(there, total + Take(Const(coefficient), leaves) * value, total)
    if not missing:
        return total
    return Where(reduce(Or, missing), Take(Const(trees.values[:, 0].copy()), leaves), total)


def tree_of_leaf(trees: Ensemble) -> np.ndarray:
    """The tree of each leaf. int64 [L]."""
    return np.searchsorted(trees.forest.roots, trees.forest.leaf, side="right") - 1


def padded(linear: Linear, place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each leaf's linear model, the feature (int64) and coefficient at a place, and whether there is one. [L]."""
    has = linear.count > place
    at = (np.cumsum(linear.count, dtype=np.int64) - linear.count + place)[has]
    feature, coefficient = np.zeros(len(has), np.int64), np.zeros(len(has))
    feature[has], coefficient[has] = linear.feature[at], linear.coefficient[at]
    return feature, coefficient, has


def squeezed(x: Op) -> Op:
    """[N, 1] as [N], other shapes as they are."""
    return ravel(x) if x.columns == 1 else x


def column(x: Op) -> Op:
    """[N] as [N, 1]."""
    return Reshape(x, (1,))


def numbers(model: LGBMModel | Booster, x: Op | Frame, validate: bool) -> Op:
    """The input as LightGBM reads it, float32 or float64 [N, F].

    Arrays of other dtypes become float32, integers too; an array of objects becomes float64 before where scikit-learn
    checks it. Source: lightgbm.basic._np2d_to_np1d.
    """
    if isinstance(x, Frame) and x.library in (PANDAS, *ARROW):
        return frame_numbers(model, x, validate)
    if isinstance(x, Frame):
        x = x.matrix()
    objects = isinstance(x, Untyped) and x.container == OBJECTS
    if x.dtype in (FLOAT32, FLOAT64) and not (objects and isinstance(model, Booster)):
        return x
    return cast(x, FLOAT32)


def frame_numbers(model: LGBMModel | Booster, frame: Frame, validate: bool) -> Op:
    """The columns of a DataFrame, by position, each in float64; of pandas ones, float32 if all fit.

    Source: lightgbm.basic._data_from_pandas; Visitor in src/arrow/array.hpp for other frames.
    """
    expected = exported(booster_of(model)).features
    if len(frame.columns) != expected:
        raise InputError(
            f"The number of features in data ({len(frame.columns)}) is not the same as it was in training data "
            f"({expected})."
        )
    if validate:
        check_names(model, frame)
    if frame.library != PANDAS:
        return arrow_numbers(frame)
    codes = category_codes(model, frame)
    parts = [codes.get(i, op) for i, op in enumerate(frame.columns)]
    require_numbers(frame, parts)
    if frame.whole is not None and not codes:
        return cast(frame.whole, np.result_type(frame.whole.dtype, FLOAT32))
    dtype = np.result_type(FLOAT32, *(part.dtype for part in parts))
    return concat([cast(part, dtype) for part in parts])


def arrow_numbers(frame: Frame) -> Op:
    """The columns of a polars or Arrow table in float64."""
    if frame.library == "polars" and not FROM_47:
        raise InputError("LightGBM reads polars frames from 4.7 on. Pass X.to_numpy().")
    require_numbers(frame, frame.columns)
    return concat([cast(part, FLOAT64) for part in frame.columns])


def require_numbers(frame: Frame, parts: Sequence[Op]) -> None:
    """Raise InputError if one of the columns still holds objects."""
    for i, part in enumerate(parts):
        if part.dtype == object:
            raise InputError(f"column {frame.label(i)} holds no numbers: LightGBM takes int, float and bool columns.")


def check_names(model: LGBMModel | Booster, frame: Frame) -> None:
    """Raise InputError if the columns do not have the names of training, in that order."""
    known = tuple(booster_of(model).feature_name())
    if frame.library == PANDAS and frame.names != known:
        raise InputError(f"Expected the columns {', '.join(known)}, got {', '.join(frame.names or ('no names',))}.")


def category_codes(model: LGBMModel | Booster, frame: Frame) -> dict[int, Op]:
    """The columns of a category dtype as positions among the categories of training, NaN for others. By column.

    The first such column of the frame is the first one of training, whatever its name is.
    """
    known = booster_of(model).pandas_categorical
    if known is None and frame.categorical:
        raise InputError(
            f"column {frame.label(frame.categorical[0])} is of a category dtype, but the model was not trained on a "
            "DataFrame: LightGBM would number the categories of each frame anew. Pass the codes of training."
        )
    known = known or []
    if len(known) != len(frame.categorical):
        raise InputError(
            f"train and valid dataset categorical_feature do not match: {len(known)} columns were of a category dtype "
            f"in training, {len(frame.categorical)} are here."
        )
    codes = {i: Code(frame.columns[i], objects(values)) for i, values in zip(frame.categorical, known, strict=True)}
    nan = Const(np.array(np.nan))
    return {i: Where(code >= 0, cast(code, FLOAT64), nan) for i, code in codes.items()}


def objects(values: list[Any]) -> np.ndarray:
    """The values as an array of Python objects."""
    array = np.empty(len(values), object)
    array[:] = values
    return array
