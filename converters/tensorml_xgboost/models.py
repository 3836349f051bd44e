"""Converters for XGBoost's scikit-learn interface and its Booster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from xgboost import Booster, DMatrix, XGBClassifier, XGBRanker, XGBRegressor, XGBRFClassifier, XGBRFRegressor

from tensorml.converter import Description, Outputs, converter, once_per_model, unsupported
from tensorml.errors import NotFittedError, qualified_name
from tensorml.frames import Frame
from tensorml.graph import Const, Op
from tensorml.ops import (
    ArgMax,
    Concat,
    Equal,
    Fill,
    Finite,
    IsNaN,
    Label,
    LeafSum,
    Softmax,
    Sparse,
    Take,
    Where,
    cast,
    ravel,
)
from tensorml_xgboost.objectives import FLOAT32, FLOAT64, Link, link
from tensorml_xgboost.trees import Ensemble, Export, ensemble, export

SklearnModel = Any


def describe(model: SklearnModel | Booster) -> Description:
    """Width, names and classes of an XGBoost model. Raises NotFittedError.

    Entries that a sparse matrix does not store are missing. A batch of no rows is taken where results have one column:
    XGBoost gives results of several columns another number of columns then.
    """
    booster = booster_of(model)
    names = booster.feature_names
    return Description(
        n_features=booster.num_features(),
        feature_names=None if names is None else tuple(names),
        attributes={"classes_": model.classes_} if isinstance(model, XGBClassifier) else {},
        absent=np.nan,
        empty=export(booster).outputs == 1,
    )


def booster_of(model: SklearnModel | Booster) -> Booster:
    """The booster inside a model. Raises NotFittedError."""
    if isinstance(model, Booster):
        return model
    try:
        return model.get_booster()
    except SklearnNotFittedError:
        raise NotFittedError(f"{qualified_name(model)} is not fitted. Call fit() before converting it.") from None


@dataclass(frozen=True)
class Reading:
    """What the graph is made from. trees: those that predictions use, None for none; missing: NaN or a value."""

    model: SklearnModel | Booster
    export: Export
    links: Link
    trees: Ensemble | None
    missing: np.float32


@once_per_model
def reading(model: SklearnModel | Booster) -> Reading:
    """The model, read from its export. Raises UnsupportedModelError for an objective that is not known."""
    known = export(booster_of(model))
    count = used_trees(model, known)
    return Reading(
        model=model,
        export=known,
        links=link(model, known.objective),
        trees=ensemble(model, known, count) if count else None,
        missing=np.float32(np.nan) if isinstance(model, Booster) else missing_value(model),
    )


@converter(XGBRegressor, XGBRFRegressor, XGBRanker, frames=True, sparse=True)
def xgb_regressor(model: SklearnModel, x: Op | Frame | Sparse) -> Outputs:
    """Predictions, margins and leaves.

    x: [N, F]; predict: float32 [N], or [N, K] for K targets or quantiles; apply: float32 [N, T], [N] for one tree.
    Source: xgboost.sklearn.XGBModel.predict, apply.
    """
    known = reading(model)
    margin = margins(known, x)
    return {
        "predict": squeezed(known.links.value(margin)),
        "predict(output_margin=True)": squeezed(margin),
        **leaves(known, x, "apply"),
    }


@converter(XGBClassifier, XGBRFClassifier, frames=True, sparse=True)
def xgb_classifier(model: XGBClassifier, x: Op | Frame | Sparse) -> Outputs:
    """Labels 0 to k - 1, probabilities, margins and leaves; for several labels a column each.

    x: [N, F]; predict: int64 [N], or float64 [N, K] of 0 and 1; predict_proba: float32 [N, K].
    Source: xgboost.sklearn.XGBClassifier.predict, predict_proba.
    """
    known = reading(model)
    margin = margins(known, x)
    value = known.links.value(margin)
    return {
        "predict": labels(model, value, known.export.outputs),
        "predict(output_margin=True)": squeezed(margin),
        "predict_proba": probabilities(model, margin, value),
        **leaves(known, x, "apply"),
    }


@converter(Booster, frames=True, sparse=True)
def booster(model: Booster, x: Op | Frame | Sparse) -> Outputs:
    """What `predict(DMatrix(X))` returns, of all trees, NaN missing.

    Source: xgboost.Booster.predict, which does not stop at the best iteration.
    """
    known = reading(model)
    margin = margins(known, x)
    return {
        "predict": squeezed(known.links.value(margin)),
        "predict(output_margin=True)": squeezed(margin),
        **leaves(known, x, "predict(pred_leaf=True)"),
    }


def missing_value(model: SklearnModel) -> np.float32:
    """The value that stands for a missing one, in the precision in which it is compared."""
    if model.missing is None:
        raise unsupported(model, "missing=None, which XGBoost refuses too", "Set missing to NaN or to a number")
    return np.float32(model.missing)


def entries(known: Reading, x: Op | Frame | Sparse, *, checked: bool) -> Op:
    """The input in float32 with NaN for what is missing: NaN, `missing`, and what a sparse matrix does not store.

    checked: infinity is refused unless `missing` is infinite.
    Source: data::IsValidFunctor (src/data/adapter.h); SparsePage::Push (src/data/data.cc) for the refusal.
    """
    absent_zero = isinstance(x, Sparse)
    x = columns(known.model, x) if isinstance(x, Frame) else cast(x.x if isinstance(x, Sparse) else x, FLOAT32)
    if checked and not np.isinf(known.missing):
        x = Finite(x, True, qualified_name(known.model))
    for value in (known.missing, np.float32(0)) if absent_zero else (known.missing,):
        if not np.isnan(value):
            x = Where(Equal(x, Const(np.asarray(value))), Const(np.asarray(np.nan, FLOAT32)), x)
    return x


def columns(model: SklearnModel | Booster, frame: Frame) -> Op:
    """The columns of a DataFrame, each rounded to float32 by itself."""
    if frame.whole is not None:
        return cast(frame.whole, FLOAT32)
    parts: list[Op] = []
    for i, column in enumerate(frame.columns):
        if column is None:
            raise unsupported(
                model,
                f"column {i if frame.names is None else frame.names[i]!r} does not hold numbers",
                "Pass the codes of its categories in the order of training, for example frame[name].cat.codes, "
                "with NaN for missing ones",
            )
        parts.append(cast(column, FLOAT32))
    return Concat(tuple(parts))


def used_trees(model: SklearnModel | Booster, known: Export) -> int:
    """The number of trees that predictions use: the scikit-learn interface stops at the best iteration."""
    best = None if isinstance(model, Booster) else booster_of(model).attr("best_iteration")
    if best is None or known.booster == "gblinear":
        return len(known.trees)
    if not 0 <= int(best) < len(known.round_ends):
        raise unsupported(model, f"best_iteration={best} of {len(known.round_ends)} rounds", "Delete that attribute")
    return int(known.round_ends[int(best)])


def margins(known: Reading, x: Op | Frame | Sparse) -> Op:
    """The sum of base score and trees, or the linear model. float32 [N, K].

    Source: CPUPredictor (src/predictor/cpu_predictor.cc) adds in float32, the base score first, then tree after tree;
    GBLinear::Pred (src/gbm/gblinear.cc) likewise feature by feature, here in the executor's own order.
    """
    outputs = known.export.outputs
    if known.export.booster == "gblinear":
        x = entries(known, x, checked=True)
        present = Where(IsNaN(x), Const(np.zeros((), FLOAT32)), x)
        return present @ known.export.weights[:-1] + margin_of_nothing(known.model, outputs)
    x = entries(known, x, checked=isinstance(known.model, Booster))
    if known.trees is None:
        return Fill(x, (outputs,), -0.0, FLOAT32) + margin_of_nothing(known.model, outputs)
    base = np.broadcast_to(known.links.margin(known.export.base_score), (outputs,)).astype(FLOAT32)
    values = weighted(known, known.trees, base) if known.export.booster == "dart" else known.trees.values
    return LeafSum(known.trees.forest.descend(x), values, base, known.trees.output)


def weighted(known: Reading, trees: Ensemble, base: np.ndarray) -> np.ndarray:
    """What dart's leaves add. float32 [L, 1].

    Source: Dart::PredictBatchImpl multiplies a leaf with its tree's weight; Dart::InplacePredict, which the
    scikit-learn interface uses, adds the base score to the leaf and takes it off again before (src/gbm/gbtree.cc).
    """
    if trees.output is None:
        raise unsupported(known.model, "dart with vector leaves", "Train with multi_strategy='one_output_per_tree'")
    tree = np.searchsorted(trees.forest.roots, trees.forest.leaf, side="right") - 1
    values, start = trees.values[:, 0], base[trees.output[tree]]
    if not isinstance(known.model, Booster):
        values = (start + values) - start
    return (values * known.export.tree_weight[tree])[:, None]


def margin_of_nothing(model: SklearnModel | Booster, outputs: int) -> np.ndarray:
    """The margin of a row in which all is missing, asked of the model itself. float32 [K].

    Where it is all that matters, this is surer than the export. Without a tree, XGBoost 3.1 and later take a base
    score that was not given for a margin, which the export does not tell; and with gblinear, they add the first
    class's base score to all classes.
    """
    booster = booster_of(model)
    row = DMatrix(np.full((1, booster.num_features()), np.nan, FLOAT32))
    margin = booster.predict(row, output_margin=True, validate_features=False)
    return np.broadcast_to(margin.reshape(-1), (outputs,)).astype(FLOAT32)


def leaves(known: Reading, x: Op | Frame | Sparse, name: str) -> Outputs:
    """The number of the leaf that each row reaches within each tree, under `name`; nothing if there are no trees.

    float32 [N, T], [N] for one tree. Infinity is refused: XGBoost makes a DMatrix of the input.
    """
    if known.trees is None:
        return {}
    leaf = known.trees.forest.descend(entries(known, x, checked=True))
    return {name: squeezed(Take(Const(known.trees.number), leaf))}


def squeezed(x: Op) -> Op:
    """[N, 1] as [N], other shapes as they are."""
    return ravel(x) if x.columns == 1 else x


def labels(model: XGBClassifier, value: Op, outputs: int) -> Op:
    """The predicted labels, by the number of classes and the width of the booster's prediction.

    value: float32 [N, V]. Source: xgboost.sklearn.XGBClassifier.predict.
    """
    if value.columns > 1 and model.n_classes_ != 2:
        return Label(ArgMax(value), np.arange(value.columns))
    above_half = value > 0.5
    if value.columns > 1:
        return cast(above_half, FLOAT64)
    if model.objective == "multi:softmax":
        return Label(ravel(cast(value, np.int64)), np.arange(outputs, dtype=np.int32))
    return Label(ravel(cast(above_half, np.int64)), np.arange(2))


def probabilities(model: XGBClassifier, margin: Op, value: Op) -> Op:
    """The predicted probabilities, float32 [N, K]; for one column p the pair 1 - p, p.

    Source: xgboost.sklearn.XGBClassifier.predict_proba, _cls_predict_proba.
    """
    if model.objective == "multi:softmax":
        return Softmax(margin)
    if value.columns == 1:
        return Concat((1 - value, value))
    if value.columns != model.n_classes_ and model.n_classes_ != 2:
        raise unsupported(
            model,
            f"{value.columns} columns of predictions for {model.n_classes_} classes",
            "Fit it again with labels 0 to k - 1",
        )
    return value
