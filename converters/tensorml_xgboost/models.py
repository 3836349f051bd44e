"""Converters for XGBoost's scikit-learn interface and its Booster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from xgboost import Booster, DMatrix, XGBClassifier, XGBRanker, XGBRegressor, XGBRFClassifier, XGBRFRegressor

from tensorml.converter import Description, Outputs, converter, once_per_model, unsupported
from tensorml.errors import InputError, NotFittedError, qualified_name
from tensorml.frames import OBJECT, PANDAS, Frame
from tensorml.graph import Const, Op
from tensorml.ops import (
    ArgMax,
    Code,
    Concat,
    Equal,
    Fill,
    Finite,
    IsNaN,
    Label,
    LeafSum,
    OwnCode,
    Require,
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
CODES = (
    "Pass the codes of its categories in the order of training, for example frame[name].cat.codes, "
    "with NaN for missing ones"
)
UNKNOWN = -2  # the code of a category that training did not see
Range = tuple[int, int]  # of rounds: the first one, and the one after the last, or 0


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
    """What the graph is made from.

    used: the trees that predictions use; trees: these as a forest, None if there are none; missing: NaN or a value.
    """

    model: SklearnModel | Booster
    export: Export
    links: Link
    used: slice
    trees: Ensemble | None
    missing: np.float32


def reading(model: SklearnModel | Booster, iteration_range: Range | None) -> Reading:
    """The model with the trees of these rounds. Raises UnsupportedModelError for an objective that is not known."""
    return whole(model) if iteration_range is None else read(model, iteration_range)


@once_per_model
def whole(model: SklearnModel | Booster) -> Reading:
    """The model with the trees that it predicts with by itself."""
    return read(model, (0, 0))


def read(model: SklearnModel | Booster, iteration_range: Range) -> Reading:
    """The model, read from its export, with the trees of these rounds."""
    known = export(booster_of(model))
    used = used_trees(model, known, iteration_range)
    return Reading(
        model=model,
        export=known,
        links=link(model, known.objective),
        used=used,
        trees=ensemble(model, booster_of(model), known, used) if used.start < used.stop else None,
        missing=np.float32(np.nan) if isinstance(model, Booster) else missing_value(model),
    )


@converter(XGBRegressor, XGBRFRegressor, XGBRanker, frames=True, sparse=True)
def xgb_regressor(model: SklearnModel, x: Op | Frame | Sparse, *, iteration_range: Range | None = None) -> Outputs:
    """Predictions, margins and leaves.

    x: [N, F]; predict: float32 [N], or [N, K] for K targets or quantiles; apply: float32 [N, T], [N] for one tree.
    Source: xgboost.sklearn.XGBModel.predict, apply.
    """
    known = reading(model, iteration_range)
    margin = margins(known, x)
    return {
        "predict": squeezed(known.links.value(margin)),
        "predict(output_margin=True)": squeezed(margin),
        **leaves(known, x, "apply"),
    }


@converter(XGBClassifier, XGBRFClassifier, frames=True, sparse=True)
def xgb_classifier(model: XGBClassifier, x: Op | Frame | Sparse, *, iteration_range: Range | None = None) -> Outputs:
    """Labels 0 to k - 1, probabilities, margins and leaves; for several labels a column each.

    x: [N, F]; predict: int64 [N], or float64 [N, K] of 0 and 1; predict_proba: float32 [N, K].
    Source: xgboost.sklearn.XGBClassifier.predict, predict_proba.
    """
    known = reading(model, iteration_range)
    margin = margins(known, x)
    value = known.links.value(margin)
    return {
        "predict": labels(model, value, known.export.outputs),
        "predict(output_margin=True)": squeezed(margin),
        "predict_proba": probabilities(model, margin, value),
        **leaves(known, x, "apply"),
    }


@converter(Booster, frames=True, sparse=True)
def booster(model: Booster, x: Op | Frame | Sparse, *, iteration_range: Range | None = None) -> Outputs:
    """What `predict(DMatrix(X))` returns, of all trees, NaN missing.

    Source: xgboost.Booster.predict, which does not stop at the best iteration.
    """
    known = reading(model, iteration_range)
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
    x = columns(known, x) if isinstance(x, Frame) else cast(x.x if isinstance(x, Sparse) else x, FLOAT32)
    if checked and not np.isinf(known.missing):
        x = Finite(x, True, qualified_name(known.model))
    for value in (known.missing, np.float32(0)) if absent_zero else (known.missing,):
        if not np.isnan(value):
            x = Where(Equal(x, Const(np.asarray(value))), Const(np.asarray(np.nan, FLOAT32)), x)
    return x


def columns(known: Reading, frame: Frame) -> Op:
    """The columns of a DataFrame, each rounded to float32 by itself; categories as the codes of training."""
    recorded = any(categories is not None for categories in known.export.categories)
    if frame.whole is not None and not recorded:
        return cast(frame.whole, FLOAT32)
    parts: list[Op] = []
    for i, column in enumerate(frame.columns):
        if column.dtype == OBJECT and i not in frame.categorical:
            raise unsupported(known.model, f"column {frame.label(i)} does not hold numbers", CODES)
        if recorded and (known.export.categories[i] is not None) != (i in frame.categorical):
            kind = "numbers" if known.export.categories[i] is None else "categories"
            raise unsupported(known.model, f"column {frame.label(i)} held {kind} in training", "Pass it as such")
        parts.append(category_codes(known, frame, i) if i in frame.categorical else cast(column, FLOAT32))
    return Concat(tuple(parts))


def category_codes(known: Reading, frame: Frame, i: int) -> Op:
    """A column of categories as the codes of training, NaN where it is missing. float32 [N, 1].

    Where the export does not tell the categories of training, the frame's own codes are read, as XGBoost does.
    Source: src/encoder/ordinal.h, Recode, since 3.1; before, xgboost.data._transform_pandas_df takes the frame's codes.
    """
    column, recorded = frame.columns[i], known.export.categories
    categories = recorded[i] if recorded else None
    if categories is not None:
        if not np.isnan(known.missing):
            raise unsupported(known.model, f"missing={known.missing} with columns of categories", "Use missing=nan")
        require_ascii(known.model, frame.label(i), categories)
        code: Op = Code(column, categories, UNKNOWN)
        code = Require(code, code > UNKNOWN, f"column {frame.label(i)} holds a category that training did not see.")
    elif frame.library != PANDAS:
        raise unsupported(known.model, f"column {frame.label(i)} is of categories whose codes were not stored", CODES)
    else:
        code = OwnCode(column)
    return Where(code < 0, Const(np.array(np.nan, FLOAT32)), cast(code, FLOAT32))


def require_ascii(model: SklearnModel | Booster, label: str, categories: np.ndarray) -> None:
    """Raise UnsupportedModelError for categories that XGBoost has cut at the wrong places.

    Source: xgboost._data_utils, which counts characters where the text is in bytes: in 3.2, every category after one
    beyond ASCII begins too early, so that the same categories in another order are other ones.
    """
    if not all(str(category).isascii() for category in categories):
        raise unsupported(model, f"column {label} has categories beyond ASCII, which XGBoost stores cut", CODES)


def used_trees(model: SklearnModel | Booster, known: Export, iteration_range: Range) -> slice:
    """The trees that predictions use: the scikit-learn interface stops at the best iteration by itself.

    Raises InputError for a range that holds no round or rounds that are not there.
    Source: XGBModel._get_iteration_range; detail::LayerToTree (src/gbm/gbtree.h).
    """
    begin, end = checked_range(iteration_range)
    sklearn, rounds = not isinstance(model, Booster), len(known.round_ends)
    if known.booster == "gblinear":
        if begin and not sklearn:
            raise InputError("gblinear has no rounds to begin at: iteration_range begins at 0.")
        return slice(0, 0)
    if sklearn and not end:
        begin, end = 0, best_round(model, rounds)
    if end > rounds or begin >= (end or max(rounds, 1)):
        raise InputError(f"iteration_range={iteration_range} of {rounds} rounds names none, or some that do not exist.")
    ends = np.concatenate([[0], known.round_ends]).astype(int)
    return slice(int(ends[begin]), int(ends[end or rounds]))


def best_round(model: SklearnModel, rounds: int) -> int:
    """The round after the best iteration; 0 where training did not note one."""
    best = booster_of(model).attr("best_iteration")
    if best is not None and not 0 <= int(best) < rounds:
        raise unsupported(model, f"best_iteration={best} of {rounds} rounds", "Delete that attribute")
    return 0 if best is None else int(best) + 1


def checked_range(iteration_range: Range) -> Range:
    """The range, if it is two numbers that are not negative. Raises InputError."""
    numbers = isinstance(iteration_range, tuple) and len(iteration_range) == 2
    if not numbers or not all(isinstance(i, int) and i >= 0 for i in iteration_range):
        raise InputError(f"iteration_range is a pair of rounds, (0, 10) for the first ten, not {iteration_range!r}.")
    return iteration_range


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
    return (values * known.export.tree_weight[known.used][tree])[:, None]


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

    float32 [N, T], [N] for one tree. Infinity is refused: XGBoost makes a DMatrix of the input, and does not return
    the leaves of rounds that begin after the first.
    """
    if known.trees is None or known.used.start > 0:
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
