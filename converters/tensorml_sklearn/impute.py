"""Converters for sklearn.impute."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.impute import SimpleImputer

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.errors import InputError
from tensorml.graph import Const, Op
from tensorml.ops import Columns, Equal, IsNaN, Not, Require, Untyped, Where, cast, concat, full
from tensorml_sklearn.describe import VERSION, finite, floating

BOOL, FLOAT64 = np.dtype(bool), np.dtype(np.float64)


def is_nan(value: Any) -> bool:
    """Whether missing values are marked by NaN, or by pandas.NA, which columns of numbers hold as NaN.

    Source: sklearn.utils._missing.is_scalar_nan, and sklearn.utils._mask._get_dense_mask for pandas.NA.
    """
    return is_pandas_na(value) or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def is_pandas_na(value: Any) -> bool:
    """Whether this is pandas.NA; pandas itself need not be installed."""
    return type(value).__module__.partition(".")[0] == "pandas" and type(value).__name__ == "NAType"


def indicated(model: SimpleImputer) -> np.ndarray:
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


@converter(SimpleImputer, inverse=simple_imputer_inverse)
def simple_imputer(model: SimpleImputer, x: Op) -> Outputs:
    """The input with missing values replaced by each column's statistic, then the indicator columns if it has them.

    x: [N, F]; result: [N, kept columns + indicator columns], dtype of x; for the strategies that compute a mean, a
    median or a function of their own, integers become float64.
    Source: sklearn.impute.SimpleImputer.transform.
    """
    x = checked_input(model, x)
    missing, kept = missing_mask(model, x), kept_columns(model)
    parts = [x if len(kept) == x.columns else Columns(x, kept)]
    if missing is not None:
        mask = missing if len(kept) == x.columns else Columns(missing, kept)
        parts[0] = Where(mask, Const(replacements(model, kept, x.dtype)), parts[0])
    if model.add_indicator:
        features = indicated(model)
        absent = full(x, (len(features),), 0.0, x.dtype)
        parts.append(absent if missing is None else cast(Columns(missing, features), x.dtype))
    return {"transform": concat(parts)}


def checked_input(model: SimpleImputer, x: Op) -> Op:
    """The input after SimpleImputer's own checks of dtypes, and of infinity.

    Source: sklearn.impute.SimpleImputer._validate_input. Raises UnsupportedModelError for an imputer of strings or
    objects, InputError for a dtype that it does not take.
    """
    if fitted_attribute(model, "_fit_dtype").kind == "O":
        raise unsupported(
            model, "it was fitted on strings or objects", "Impute those columns before the model, and fit on numbers"
        )
    marker = model.missing_values
    if not is_nan(marker) and not isinstance(marker, int | float | np.integer | np.floating):
        raise unsupported(
            model,
            f"missing_values={marker!r} is not a number, and the data are",
            "Fit it with a number, or numpy.nan, for missing_values",
        )
    keeps_dtype = model.strategy in ("most_frequent", "constant")
    if keeps_dtype and isinstance(x, Untyped) and x.container == "objects":
        raise InputError(f"SimpleImputer(strategy={model.strategy!r}) would return an array of objects. Pass numbers.")
    x = x if keeps_dtype else floating(x)
    if x.dtype.kind == "b":
        raise InputError("SimpleImputer does not support data with dtype bool. Convert it to a number first.")
    if model.strategy == "constant":
        check_fill_dtype(model, x.dtype)
    return finite(model, x, nan=is_nan(model.missing_values))


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


def missing_mask(model: SimpleImputer, x: Op) -> Op | None:
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
