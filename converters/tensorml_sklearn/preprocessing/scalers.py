"""Converters for sklearn.preprocessing."""

from __future__ import annotations

import math
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    KernelCenterer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)

from tensorml.converter import Outputs, converter, fitted, fitted_attribute, unsupported
from tensorml.errors import InputError
from tensorml.graph import Const, Op
from tensorml.ops import (
    Abs,
    ArgMax,
    Columns,
    Equal,
    Not,
    OneHot,
    Rank,
    ReduceMax,
    ReduceSum,
    Require,
    Reshape,
    Sparse,
    Sqrt,
    Take,
    Untyped,
    Where,
    cast,
    concat,
    full,
)
from tensorml_sklearn.describe import VERSION
from tensorml_sklearn.validation import FLOATS, finite, floating

NO_BIN = "KBinsDiscretizer.inverse_transform was given rows where all columns of a feature are 0:"
INT32, INT64 = np.dtype(np.int32), np.dtype(np.int64)


def scaler_input(model: Any, x: Op) -> Op:
    """The input as every scaler reads it: its own dtype if that is a float, else float64; NaN passes, infinity not.

    Source: the call of check_array in the scalers' transform and inverse_transform.
    """
    return finite(model, floating(x), nan=True)


def way_back(model: Any, z: Op) -> Op:
    """The input of a scaler's inverse_transform, [N, F]; NumPy refuses one column in place of F, an Op would repeat it.

    Raises InputError for another width than the scaler's.
    """
    width = fitted_attribute(model, "n_features_in_")
    if z.columns != width:
        name = type(model).__name__
        raise InputError(f"X has {z.columns} features, but {name} is expecting {width} features as input.")
    return scaler_input(model, z)


def scaler_constant(model: StandardScaler, name: str, dtype: np.dtype) -> Const:
    """A fitted array of a StandardScaler, in the dtype in which it meets X.

    Source: since 1.8 it is cast to the dtype of X; before, NumPy promoted X to it and rounded the result.
    """
    return fitted(model, name, dtype if VERSION >= (1, 8) else None)


def clipped(x: Op, low: float, high: float) -> Op:
    """x, not below `low` and not above `high`, both in the dtype of x; NaN stays, and -0.0 too where `low` is 0.

    Source: numpy.clip, which compares and replaces: Max and Min would leave open which zero wins.
    """
    bottom, top = Const(np.asarray(low, x.dtype)), Const(np.asarray(high, x.dtype))
    x = Where(x < bottom, bottom, x)
    return Where(x > top, top, x)


def standard_scaler_inverse(model: StandardScaler, z: Op) -> Op:
    """Z * scale + mean.

    z: [N, F]; result: the same type, float64 for integers.
    Source: sklearn.preprocessing.StandardScaler.inverse_transform.
    """
    x = way_back(model, z)
    if model.with_std:
        x = cast(x * scaler_constant(model, "scale_", x.dtype), x.dtype)
    if model.with_mean:
        x = cast(x + scaler_constant(model, "mean_", x.dtype), x.dtype)
    return x


@converter(StandardScaler, inverse=standard_scaler_inverse)
def standard_scaler(model: StandardScaler, x: Op) -> Outputs:
    """(x - mean) / scale.

    x: [N, F]; result: the same type, float64 for integers.
    Source: sklearn.preprocessing.StandardScaler.transform, which rounds to the dtype of x after each of the two steps.
    """
    x = scaler_input(model, x)
    if model.with_mean:
        x = cast(x - scaler_constant(model, "mean_", x.dtype), x.dtype)
    if model.with_std:
        x = cast(x / scaler_constant(model, "scale_", x.dtype), x.dtype)
    return {"transform": x}


def min_max_scaler_inverse(model: MinMaxScaler, z: Op) -> Op:
    """(z - min) / scale: `clip` plays no part on the way back.

    z: [N, F]; result: the same type, float64 for integers.
    Source: sklearn.preprocessing.MinMaxScaler.inverse_transform.
    """
    x = way_back(model, z)
    x = cast(x - fitted(model, "min_"), x.dtype)
    return cast(x / fitted(model, "scale_"), x.dtype)


@converter(MinMaxScaler, inverse=min_max_scaler_inverse)
def min_max_scaler(model: MinMaxScaler, x: Op) -> Outputs:
    """(x * scale) + min, with `clip` kept inside the feature range.

    x: [N, F]; result: the same type, float64 for integers.
    Source: sklearn.preprocessing.MinMaxScaler.transform, in place: a float32 x meets a float64 scale in float64, and
    each step's result is rounded to the dtype of x.
    """
    x = scaler_input(model, x)
    x = cast(x * fitted(model, "scale_"), x.dtype)
    x = cast(x + fitted(model, "min_"), x.dtype)
    return {"transform": clipped(x, *model.feature_range) if model.clip else x}


def max_abs_scaler_inverse(model: MaxAbsScaler, z: Op) -> Op:
    """Z * scale.

    z: [N, F]; result: the same type, float64 for integers.
    Source: sklearn.preprocessing.MaxAbsScaler.inverse_transform.
    """
    x = way_back(model, z)
    return cast(x * fitted(model, "scale_"), x.dtype)


@converter(MaxAbsScaler, inverse=max_abs_scaler_inverse)
def max_abs_scaler(model: MaxAbsScaler, x: Op) -> Outputs:
    """(x / scale), with `clip` (since 1.9) kept between -1 and 1.

    x: [N, F]; result: the same type, float64 for integers.
    Source: sklearn.preprocessing.MaxAbsScaler.transform.
    """
    x = scaler_input(model, x)
    x = cast(x / fitted(model, "scale_"), x.dtype)
    return {"transform": clipped(x, -1.0, 1.0) if getattr(model, "clip", False) else x}


def robust_scaler_inverse(model: RobustScaler, z: Op) -> Op:
    """Z * scale + center.

    z: [N, F]; result: the same type, float64 for integers.
    Source: sklearn.preprocessing.RobustScaler.inverse_transform.
    """
    x = way_back(model, z)
    if model.with_scaling:
        x = cast(x * fitted(model, "scale_"), x.dtype)
    if model.with_centering:
        x = cast(x + fitted(model, "center_"), x.dtype)
    return x


@converter(RobustScaler, inverse=robust_scaler_inverse)
def robust_scaler(model: RobustScaler, x: Op) -> Outputs:
    """(x - center) / scale.

    x: [N, F]; result: the same type, float64 for integers.
    Source: sklearn.preprocessing.RobustScaler.transform.
    """
    x = scaler_input(model, x)
    if model.with_centering:
        x = cast(x - fitted(model, "center_"), x.dtype)
    if model.with_scaling:
        x = cast(x / fitted(model, "scale_"), x.dtype)
    return {"transform": x}


@converter(Normalizer)
def normalizer(model: Normalizer, x: Op) -> Outputs:
    """Each row over its norm; a row whose norm is below 10 epsilon stays as it is.

    x: [N, F]; result: the same type, float64 for integers.
    Source: sklearn.preprocessing.normalize and _handle_zeros_in_scale.
    """
    x = x.x if isinstance(x, Untyped) else x  # transform makes an array of a list before normalize asks for its dtype
    x = finite(model, floating(x))
    norms = row_norms(model, x)
    near_zero = norms < Const(np.asarray(10 * np.finfo(x.dtype).eps, x.dtype))
    return {"transform": x / Where(near_zero, Const(np.ones((), x.dtype)), norms)}


def row_norms(model: Normalizer, x: Op) -> Op:
    """The norm of each row. x: [N, F] float; result: [N, 1], dtype of x. The order of summation is the executor's own.

    Source: sklearn.utils.extmath.row_norms: np.einsum adds float16 in float32, so small squares do not vanish.
    """
    if model.norm not in ("l1", "l2", "max"):
        raise unsupported(
            model, f"norm={model.norm!r} is not one that its transform takes", "Choose 'l1', 'l2' or 'max'"
        )
    if model.norm == "max":
        return ReduceMax(Abs(x))
    if model.norm == "l1":
        return ReduceSum(Abs(x))
    wide = cast(x, np.float32) if x.dtype.itemsize == 2 else x
    return Sqrt(cast(ReduceSum(wide * wide), x.dtype))


@converter(KernelCenterer)
def kernel_centerer(model: KernelCenterer, x: Op) -> Outputs:
    """The kernel less its rows' means, less the fitted columns' means, plus the mean of all.

    x: [N, rows of fit]; result: the same type, float64 for integers.
    Source: sklearn.preprocessing.KernelCenterer.transform, in place: each step is rounded to the dtype of x.
    """
    x = finite(model, floating(x))
    rows = fitted(model, "K_fit_rows_")
    means = ReduceSum(x) / Const(np.asarray(rows.value.shape[0], x.dtype))
    x = cast(x - rows, x.dtype)
    return {"transform": cast(x - means + fitted(model, "K_fit_all_"), x.dtype)}


@converter(Binarizer)
def binarizer(model: Binarizer, x: Op) -> Outputs:
    """One where x is above the threshold, else 0, in the dtype of x.

    x: [N, F] of any dtype, bool and integers too; result: the same type.
    Source: sklearn.preprocessing.binarize.
    """
    if not math.isfinite(model.threshold):
        raise unsupported(
            model,
            f"threshold={model.threshold!r} is not a finite number, which its transform refuses",
            "Choose another",
        )
    return {"transform": cast(above_threshold(finite(model, x), model.threshold), x.dtype)}


def above_threshold(x: Op, threshold: Any) -> Op:
    """Where x is above the threshold, compared in the dtype that scikit-learn compares in. bool [N, F].

    Source: sklearn.preprocessing.binarize: before 1.7 NumPy's promotion of the two; since then a float dtype, that of x
    and of the threshold where it is a NumPy scalar, and float64 where neither is a float.
    """
    if VERSION < (1, 7):
        if isinstance(threshold, int) and x.dtype.kind in "iu":
            return above_integer(x, threshold)
        dtype = np.result_type(x.dtype, threshold)
    else:
        dtypes = [dtype for dtype in (x.dtype, getattr(threshold, "dtype", x.dtype)) if dtype.kind == "f"]
        dtype = np.result_type(*dtypes) if dtypes else np.dtype(np.float64)
    with np.errstate(over="ignore"):
        return cast(x, dtype) > Const(np.asarray(threshold).astype(dtype))


def above_integer(x: Op, threshold: int) -> Op:
    """Where integers are above a Python integer, which need not fit their dtype. bool [N, F]."""
    bounds = np.iinfo(x.dtype)
    if threshold < bounds.min:
        return x >= Const(np.asarray(bounds.min, x.dtype))
    return x > Const(np.asarray(min(threshold, bounds.max), x.dtype))


@converter(PolynomialFeatures)
def polynomial_features(model: PolynomialFeatures, x: Op) -> Outputs:
    """All products of columns of the degrees asked for, in the order of itertools.combinations.

    x: [N, F]; result: [N, n_output_features_], dtype of x, float64 for integers. `order` does not change values.
    Source: sklearn.preprocessing.PolynomialFeatures.transform, which multiplies from the last column to the first, so
    x0 x1 x2 is (x2 * x1) * x0.
    """
    x = finite(model, floating(x))
    least, most = fitted_attribute(model, "_min_degree"), fitted_attribute(model, "_max_degree")
    parts = [full(x, (1,), 1.0, x.dtype)] if model.include_bias else []
    products = product_columns(x, most, interaction_only=model.interaction_only)
    parts += [product for degree, product in enumerate(products, start=1) if degree >= least and product.columns]
    result = concat(parts) if parts else Columns(x, np.empty(0, np.int64))
    if result.columns != model.n_output_features_:
        raise unsupported(
            model, "its parameters were changed after fit", "Fit it again with the parameters that it has now"
        )
    return {"transform": result}


def product_columns(x: Op, degree: int, *, interaction_only: bool) -> list[Op]:
    """For each degree from 1 on the products of that many columns: [N, combinations], dtype of x."""
    choose = combinations if interaction_only else combinations_with_replacement
    blocks: list[Op] = [x] if degree else []
    known: dict[tuple[int, ...], int] = {(i,): i for i in range(x.columns)}
    for d in range(2, degree + 1):
        chosen = list(choose(range(x.columns), d))
        first = np.fromiter((combination[0] for combination in chosen), np.int64, len(chosen))
        rest = np.fromiter((known[combination[1:]] for combination in chosen), np.int64, len(chosen))
        blocks.append(Columns(blocks[-1], rest) * Columns(x, first))
        known = {combination: i for i, combination in enumerate(chosen)}
    return blocks


@converter(KBinsDiscretizer, inverse=lambda model, z: k_bins_discretizer_inverse(model, z))
def k_bins_discretizer(model: KBinsDiscretizer, x: Op) -> Outputs:
    """The bin that each value falls into: as a number, or one-hot; sparse for encode='onehot'.

    x: [N, F]; result: [N, F], or [N, sum of n_bins_] one-hot; of `dtype`, else float32 for float32 and float64 for all.
    Source: sklearn.preprocessing.KBinsDiscretizer.transform: the bin is the number of inner edges <= x.
    """
    x = floating(x, FLOATS[:2]) if model.dtype is None else cast(x, np.dtype(model.dtype))
    x = finite(model, x)
    edges = [inner_edges(edge, x.dtype) for edge in fitted_attribute(model, "bin_edges_")]
    width = len(edges)
    offsets = np.cumsum([0, *map(len, edges)])
    codes = Rank(x, np.arange(width), np.concatenate(edges), offsets, np.zeros(width, np.int64), INT32)
    if model.encode == "ordinal":
        return {"transform": cast(codes, x.dtype)}
    columns = OneHot(codes, tuple(map(int, model.n_bins_)), x.dtype)
    return {"transform": Sparse(columns) if model.encode == "onehot" else columns}


def inner_edges(edges: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The edges between bins, in `dtype`, such that `x >= edge` holds for the same x of that dtype as before.

    edges: [B + 1] float32 or float64. Result: [B - 1].
    Source: np.searchsorted compares in the wider of the two dtypes, so an edge between two float32 numbers counts as
    the upper one. An edge that is NaN (a range of values that overflows) is above every number, as NumPy sorts it.
    """
    inner = np.asarray(edges)[1:-1]
    with np.errstate(over="ignore"):
        rounded = inner.astype(dtype)
    upward = np.where(rounded < inner, np.nextafter(rounded, np.asarray(np.inf, dtype)), rounded)
    return np.where(np.isnan(inner), np.asarray(np.inf, dtype), upward)


def k_bins_discretizer_inverse(model: KBinsDiscretizer, z: Op) -> Op:
    """The middle of each bin; NaN for a column that was constant in fit, whose only bin has no middle.

    z: [N, F] bin numbers, or [N, sum of n_bins_] one-hot. Result: [N, F] float64; float32 for float32 bin numbers.
    Source: sklearn.preprocessing.KBinsDiscretizer.inverse_transform.
    """
    n_bins = np.asarray(fitted_attribute(model, "n_bins_"), np.int64)
    expected = len(n_bins) if model.encode == "ordinal" else int(n_bins.sum())
    if z.columns != expected:
        raise InputError(f"Incorrect number of features. Expecting {expected}, received {z.columns}.")
    starts = np.cumsum(n_bins) - n_bins
    with np.errstate(invalid="ignore"):
        middles = np.concatenate([(edges[1:] + edges[:-1]) * 0.5 for edges in model.bin_edges_])
    if model.encode == "ordinal":
        z = finite(model, floating(z, FLOATS[:2]))
        return Take(Const(middles.astype(z.dtype)), bin_numbers(z, n_bins) + starts)
    return Take(Const(middles.astype(np.float64)), hot_columns(finite(model, z), n_bins) + starts)


def bin_numbers(z: Op, n_bins: np.ndarray) -> Op:
    """Bin numbers as integers from 0 on: fractions are cut off, -1 is the last bin. z: [N, F]; result: int64 [N, F].

    Source: the index of `bin_centers[X.astype(np.int64)]`, where NumPy raises IndexError for what is out of range.
    """
    inside = (z < Const(n_bins.astype(z.dtype))) & (z > Const((-n_bins - 1).astype(z.dtype)))
    z = Require(z, inside, "KBinsDiscretizer.inverse_transform was given the number of a bin that does not exist.")
    index = cast(z, INT64)
    return Where(index < 0, index + Const(n_bins), index)


def hot_columns(z: Op, n_bins: np.ndarray) -> Op:
    """The column of the largest element among each feature's own. z: [N, sum of n_bins]; result: int64 [N, F].

    Source: sklearn.preprocessing.OneHotEncoder.inverse_transform, which raises for a row that sums to 0.
    """
    z = cast(z, INT64) if z.dtype.kind == "b" else z
    starts = np.cumsum(n_bins) - n_bins
    hot: list[Op] = []
    for start, size in zip(starts, n_bins, strict=True):
        part = Columns(z, np.arange(start, start + size))
        empty = Equal(ReduceSum(part), Const(np.zeros((), z.dtype)))
        part = Require(part, Not(empty), f"{NO_BIN} they are columns {start} to {start + size - 1}.")
        hot.append(Reshape(ArgMax(part), (1,)))
    return concat(hot)
