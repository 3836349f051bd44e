"""Converters for sklearn.impute."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.impute._iterative import IterativeImputer  # sklearn.impute offers it after an import for experiments

from tensorml.converter import Outputs, apply, converter, fitted_attribute, unsupported
from tensorml.errors import InputError
from tensorml.frames import OBJECTS, PANDAS, Frame, width_differs
from tensorml.graph import Const, Op
from tensorml.ops import (
    Columns,
    Equal,
    FillMissing,
    IsNaN,
    NeighborImputation,
    Not,
    Or,
    Require,
    Reshape,
    Table,
    Untyped,
    Where,
    cast,
    concat,
    full,
)
from tensorml_sklearn.categories import columns_of
from tensorml_sklearn.describe import VERSION, imputes_objects
from tensorml_sklearn.validation import finite, floating

BOOL, FLOAT32, FLOAT64 = np.dtype(bool), np.dtype(np.float32), np.dtype(np.float64)
NAN = float("nan")
Imputer = SimpleImputer | KNNImputer | IterativeImputer


def is_nan(value: Any) -> bool:
    """Whether missing values are marked by NaN, or by pandas.NA, which columns of numbers hold as NaN.

    Source: sklearn.utils._missing.is_scalar_nan, and sklearn.utils._mask._get_dense_mask for pandas.NA.
    """
    return is_pandas_na(value) or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def is_pandas_na(value: Any) -> bool:
    """Whether this is pandas.NA; pandas itself need not be installed."""
    return type(value).__module__.partition(".")[0] == "pandas" and type(value).__name__ == "NAType"


def indicated(model: Imputer) -> np.ndarray:
    """The columns that have an indicator column: those with missing values in fit. int64."""
    return np.asarray(fitted_attribute(fitted_attribute(model, "indicator_"), "features_"), np.int64)


def simple_imputer_inverse(model: SimpleImputer, z: Op) -> Op:
    """What was missing made missing again, by the indicator columns; dropped columns come back as missing.

    z: [N, kept columns + indicator columns], any dtype, NaN and infinity too. Result: float64 [N, F].
    Source: sklearn.impute.SimpleImputer.inverse_transform. That finds the dropped columns as those whose indicator is 1
    in every row of the batch. Here they are known from fit, so that rows are computed apart, and a batch where all rows
    of another column are missing (one row is enough) has an answer, where scikit-learn raises IndexError.
    Raises InputError where a dropped column is marked as present: its value is gone, and scikit-learn shifts columns.
    """
    check_invertible(model)
    kept, features = kept_columns(model), indicated(model)
    if z.columns != len(kept) + len(features):
        raise InputError(
            f"X has {z.columns} features, but SimpleImputer.inverse_transform is expecting {len(kept)} imputed columns "
            f"and {len(features)} indicator columns."
        )
    width = len(fitted_attribute(model, "statistics_"))
    dropped = np.setdiff1d(np.arange(width), kept)
    is_zero = Equal(z, Const(np.zeros((), z.dtype)))
    if len(dropped):
        gone = Columns(is_zero, len(kept) + np.searchsorted(features, dropped))
        z = Require(z, Not(gone), f"SimpleImputer dropped the columns {dropped.tolist()}: their values are not known.")
    marker, marked = np.full(width, z.columns), concat([is_zero, full(z, (1,), 1.0, BOOL)])
    marker[features] = len(kept) + np.arange(len(features))
    values = cast(Columns(z, np.searchsorted(kept, np.arange(width)).clip(max=max(0, len(kept) - 1))), FLOAT64)
    return Where(Columns(marked, marker), values, Const(np.asarray(model.missing_values, FLOAT64)))


def check_invertible(model: SimpleImputer) -> None:
    """Raise UnsupportedModelError if the imputer's options leave no way back."""
    if imputes_objects(model):
        raise unsupported(model, "inverse_transform returns an array of objects", "Keep the source model for that")
    if not model.add_indicator:
        raise unsupported(
            model, "inverse_transform works only with add_indicator=True", "Fit it with add_indicator=True"
        )
    if is_pandas_na(model.missing_values):
        raise unsupported(
            model, "inverse_transform cannot write pandas.NA into an array", "Fit it with missing_values=numpy.nan"
        )
    width = len(fitted_attribute(model, "statistics_"))
    unmarked = sorted({*range(width)} - {*kept_columns(model).tolist(), *indicated(model).tolist()})
    if unmarked:
        raise unsupported(
            model,
            f"inverse_transform has no indicator for the dropped columns {unmarked}",
            "Fit it with keep_empty_features=True",
        )


def imputed_objects(model: SimpleImputer, x: Op | Frame) -> Table:
    """The columns of objects, those without a statistic left out, with the statistic where a value is missing.

    They are for the encoder that reads them: a converted model returns numbers.
    Source: sklearn.impute.SimpleImputer.transform: NaN marks missing values, None does not; pandas.NA stands for all.
    """
    if model.add_indicator:
        raise unsupported(model, "it adds indicators to an array of objects", "Fit it with add_indicator=False")
    marker, columns = model.missing_values, columns_of(x)
    missing = "na" if is_pandas_na(marker) else "nan" if is_nan(marker) else "value"
    statistics = fitted_attribute(model, "statistics_")
    if len(columns) != len(statistics):
        raise InputError(width_differs(len(columns), "SimpleImputer", len(statistics)))
    always = model.keep_empty_features or (model.strategy == "constant" and VERSION < (1, 8))
    kept = [i for i, value in enumerate(statistics) if always or not is_nan(value)]
    by_pandas = x.categorical if isinstance(x, Frame) and x.library == PANDAS else ()
    marker = marker if missing == "value" else None
    parts = (FillMissing(columns[i], missing, marker, statistics[i], i in by_pandas) for i in kept)
    return Table(tuple(parts), tuple(f"x{i}" for i in kept), OBJECTS, indexed=False)


@converter(SimpleImputer, inverse=simple_imputer_inverse, frames=True)
def simple_imputer(model: SimpleImputer, x: Op | Frame) -> Outputs:
    """The input with missing values replaced by each column's statistic, then the indicator columns if it has them.

    x: [N, F]; result: [N, kept columns + indicator columns], dtype of x; for the strategies that compute a mean, a
    median or a function of their own, integers become float64.
    Source: sklearn.impute.SimpleImputer.transform.
    """
    if imputes_objects(model):
        return {"transform": imputed_objects(model, x)}
    x = checked_input(model, x.matrix() if isinstance(x, Frame) else x)
    missing, kept = missing_mask(model, x), kept_columns(model)
    parts = [x if len(kept) == x.columns else Columns(x, kept)]
    if missing is not None:
        mask = missing if len(kept) == x.columns else Columns(missing, kept)
        parts[0] = Where(mask, Const(replacements(model, kept, x.dtype)), parts[0])
    return {"transform": with_indicator(model, x, missing, parts[0])}


def with_indicator(model: Imputer, x: Op, missing: Op | None, imputed: Op) -> Op:
    """The imputed columns, then those of the indicator if the imputer has one, in the dtype of x.

    missing: bool [N, F], None where nothing can be. Source: sklearn.impute._base._BaseImputer._concatenate_indicator.
    """
    if not model.add_indicator:
        return imputed
    features = indicated(model)
    absent = full(x, (len(features),), 0.0, imputed.dtype)
    return concat([imputed, absent if missing is None else cast(Columns(missing, features), imputed.dtype)])


def checked_input(model: SimpleImputer, x: Op) -> Op:
    """The input after SimpleImputer's own checks of dtypes, and of infinity.

    Source: sklearn.impute.SimpleImputer._validate_input. Raises InputError for a dtype that it does not take.
    """
    check_marker(model)
    keeps_dtype = model.strategy in ("most_frequent", "constant")
    if keeps_dtype and isinstance(x, Untyped) and x.container == "objects":
        raise InputError(f"SimpleImputer(strategy={model.strategy!r}) would return an array of objects. Pass numbers.")
    x = x if keeps_dtype else floating(x)
    if x.dtype.kind == "b":
        raise InputError("SimpleImputer does not support data with dtype bool. Convert it to a number first.")
    if model.strategy == "constant":
        check_fill_dtype(model, x.dtype)
    return finite(model, x, nan=is_nan(model.missing_values))


def check_marker(model: Imputer | MissingIndicator) -> None:
    """Raise UnsupportedModelError if missing values are not marked by a number."""
    marker = model.missing_values
    if not is_nan(marker) and not isinstance(marker, int | float | np.integer | np.floating):
        raise unsupported(
            model,
            f"missing_values={marker!r} is not a number, and the data are",
            "Fit it with a number, or numpy.nan, for missing_values",
        )


def check_fill_dtype(model: SimpleImputer, dtype: np.dtype) -> None:
    """Raise InputError if a constant of the dtype seen in fit cannot stand among the input's dtype.

    Source: sklearn.impute.SimpleImputer._validate_input.
    """
    fill = fitted_attribute(model, "_fill_dtype") if VERSION >= (1, 8) else fitted_attribute(model, "statistics_").dtype
    if not np.can_cast(fill, dtype, casting="same_kind"):
        raise InputError(
            f"The dtype of the filling value (i.e. {fill!r}) cannot be cast to the input data that is {dtype!r}. "
            "Make sure that the dtypes of the input data are of the same kind between fit and transform."
        )


def missing_mask(model: Imputer | MissingIndicator, x: Op) -> Op | None:
    """Where x is missing: bool [N, F]; None where no value of this dtype can be.

    Source: sklearn.utils._mask._get_dense_mask: NaN, or `x == missing_values` with NumPy's promotion.
    """
    value = model.missing_values
    if is_nan(value):
        return IsNaN(x) if x.dtype.kind == "f" else None
    if isinstance(value, int | np.integer) and x.dtype.kind in "iu":
        bounds = np.iinfo(x.dtype)
        return Equal(x, Const(np.asarray(value, x.dtype))) if bounds.min <= value <= bounds.max else None
    dtype = np.result_type(x.dtype, value)
    with np.errstate(over="ignore"):
        return Equal(cast(x, dtype), Const(np.asarray(value).astype(dtype)))


def kept_columns(model: SimpleImputer) -> np.ndarray:
    """The columns that transform keeps: all but those without a statistic. int64.

    Source: sklearn.impute.SimpleImputer.transform; before 1.8 the strategy 'constant' kept all columns.
    """
    statistics = fitted_attribute(model, "statistics_")
    if model.keep_empty_features or (model.strategy == "constant" and VERSION < (1, 8)):
        return np.arange(len(statistics))
    return np.flatnonzero(~np.isnan(statistics.astype(np.float64)))


def replacements(model: SimpleImputer, kept: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """What stands in for a missing value, in the dtype of the input. Result: [kept columns].

    Source: sklearn.impute.SimpleImputer.transform: since 1.8 it passes through the dtype seen in fit.
    """
    values = fitted_attribute(model, "statistics_")[kept]
    with np.errstate(over="ignore", invalid="ignore"):
        if VERSION >= (1, 8):
            values = values.astype(fitted_attribute(model, "_fill_dtype"))
        return values.astype(dtype)


@converter(MissingIndicator)
def missing_indicator(model: MissingIndicator, x: Op) -> Outputs:
    """Where values are missing, in the columns that had missing ones in fit, or in all.

    x: [N, F] of numbers; result: bool [N, columns].
    Source: sklearn.impute.MissingIndicator.transform.
    """
    if model.sparse is True:
        raise unsupported(
            model, "its result is a sparse matrix in CSC format (sparse=True)", "Fit it with sparse=False"
        )
    if model._precomputed:
        raise unsupported(model, "it was fitted on a mask inside an imputer", "Convert the imputer, or fit it on data")
    check_marker(model)
    x = finite(model, x.x if isinstance(x, Untyped) else x, nan=is_nan(model.missing_values))
    if x.dtype.kind == "b":
        raise InputError("MissingIndicator does not support data with dtype bool. Convert it to a number first.")
    missing = missing_mask(model, x)
    mask = full(x, (x.columns,), 0.0, BOOL) if missing is None else missing
    if model.features == "all":
        return {"transform": mask}
    features = np.asarray(fitted_attribute(model, "features_"), np.int64)
    others = np.setdiff1d(np.arange(x.columns), features)
    if model.error_on_new and len(others):
        words = "have missing values in transform but have no missing values in fit."
        mask = Require(mask, Not(Columns(mask, others)), f"Some of the features {others.tolist()} {words}")
    return {"transform": Columns(mask, features)}


def marked_missing(model: KNNImputer | IterativeImputer, x: Op) -> tuple[Op, Op]:
    """The input of floats as the imputer checks it, and where it is missing.

    Source: the call of validate_data in the imputers' transform.
    """
    check_marker(model)
    x = finite(model, floating(x), nan=is_nan(model.missing_values))
    missing = missing_mask(model, x)
    return x, full(x, (x.columns,), 0.0, BOOL) if missing is None else missing


@converter(KNNImputer)
def knn_imputer(model: KNNImputer, x: Op) -> Outputs:
    """The input with missing values replaced by means over the nearest rows of `fit` that have them.

    x: [N, F]; result: [N, kept columns + indicator columns], the same dtype, float64 for integers. Where the last donor
    and the next row are equally far, the source's choice depends on the processor; that made here is a valid one.
    The donors' mean is within rounding of the source's: a sum in another order.
    Source: sklearn.impute.KNNImputer.transform: distances in float32 if both x and the rows of `fit` are.
    """
    if callable(model.metric) or callable(model.weights):
        name = "metric" if callable(model.metric) else "weights"
        raise unsupported(
            model, f"{name} is a Python function", "Use metric='nan_euclidean', weights 'uniform', 'distance'"
        )
    x, missing = marked_missing(model, x)
    rows, lacks = np.asarray(fitted_attribute(model, "_fit_X")), np.asarray(model._mask_fit_X)
    dtype = FLOAT32 if x.dtype == rows.dtype == FLOAT32 else FLOAT64
    marked = np.where(lacks, np.nan, rows).astype(dtype)
    means = np.array([NAN if column.mask.all() else column.mean() for column in np.ma.array(rows, mask=lacks).T], dtype)
    z = Where(missing, Const(np.asarray(np.nan, dtype)), cast(x, dtype))
    imputed = NeighborImputation(z, marked, means, int(model.n_neighbors), model.weights == "distance")
    filled, valid = Where(missing, cast(imputed, x.dtype), x), np.asarray(model._valid_mask)
    if model.keep_empty_features:
        filled = filled if valid.all() else Where(Const(valid), filled, Const(np.zeros((), x.dtype)))
    else:
        filled = filled if valid.all() else Columns(filled, np.flatnonzero(valid))
    return {"transform": with_indicator(model, x, missing, filled)}


@converter(IterativeImputer, steps=lambda model: [(f"of feature {t.feat_idx}", t.estimator) for t in chain_of(model)])
def iterative_imputer(model: IterativeImputer, x: Op) -> Outputs:
    """The initial fill, then each round's predictions of each feature from the others, one after the other.

    x: [N, F]; result: [N, kept columns + indicator columns], the same dtype, float64 for integers. A row that misses
    all columns is refused: whether scikit-learn imputes it depends on whether another row has a value.
    Source: sklearn.impute.IterativeImputer.transform.
    """
    if model.sample_posterior:
        raise unsupported(model, "sample_posterior=True draws random values", "Fit it with sample_posterior=False")
    x, missing = marked_missing(model, x)
    initial = apply(model.initial_imputer_, x, step="initial_imputer_")["transform"]
    empty = np.asarray(model._is_empty_feature)
    kept = np.arange(len(empty)) if model.keep_empty_features else np.flatnonzero(~empty)
    if initial.columns != len(kept):  # until 1.7 the strategy "constant" kept them
        initial = Columns(initial, kept)
    absent = missing if len(kept) == len(empty) else Columns(missing, kept)
    if model.keep_empty_features and empty.any():
        absent = Where(Const(~empty), absent, Const(np.zeros((), BOOL)))
    elif chain_of(model):
        words = "a row misses all columns; what becomes of it depends on the other rows."
        initial = Require(initial, some(Not(absent)), words)
    columns: list[Op] = [Columns(initial, np.array([k])) for k in range(initial.columns)]
    for place, (feature, neighbors, estimator) in enumerate(chain_of(model)):
        step = f"imputation_sequence_[{place}]"
        predicted = apply(estimator, concat([columns[k] for k in neighbors]), step=step)["predict"]
        lacks = Columns(absent, np.array([feature]))
        columns[feature] = imputed_feature(model, columns[feature], lacks, Reshape(predicted, (1,)), feature)
    return {"transform": with_indicator(model, x, missing, concat(columns) if columns else initial)}


def chain_of(model: IterativeImputer) -> list[Any]:
    """The fitted models, each with the feature that it predicts and those that it reads, in their order."""
    return list(fitted_attribute(model, "imputation_sequence_")) if model.n_iter_ else []


def some(mask: Op) -> Op:
    """Whether a row holds a true element. mask: bool [N, C]; result: bool [N, 1]."""
    columns = [Columns(mask, np.array([k])) for k in range(mask.columns)]
    while len(columns) > 1:
        columns = [
            *(Or(a, b) for a, b in zip(columns[::2], columns[1::2], strict=False)),
            *columns[len(columns) // 2 * 2 :],
        ]
    return columns[0]


def imputed_feature(model: IterativeImputer, own: Op, absent: Op, predicted: Op, feature: int) -> Op:
    """A column, predicted within the feature's limits where it is absent. own, predicted: [N, 1]; absent: bool [N, 1].

    Source: sklearn.impute.IterativeImputer._impute_one_feature.
    """
    low, high = (np.asarray(limit)[feature] for limit in (model._min_value, model._max_value))
    return Where(absent, cast(clipped(predicted, low, high), own.dtype), own)


def clipped(x: Op, low: np.floating, high: np.floating) -> Op:
    """x, not below `low` and not above `high`, with NumPy's promotion of dtypes. Source: numpy.clip."""
    dtype = np.result_type(x.dtype, np.asarray(low), np.asarray(high))
    x, bottom, top = cast(x, dtype), Const(np.asarray(low, dtype)), Const(np.asarray(high, dtype))
    x = Where(x < bottom, bottom, x)
    return Where(x > top, top, x)
