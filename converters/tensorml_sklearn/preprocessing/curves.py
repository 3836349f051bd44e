"""Converters for QuantileTransformer and PowerTransformer."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.preprocessing import PowerTransformer, QuantileTransformer

from tensorml.converter import Outputs, apply, apply_inverse, converter, fitted_attribute, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import (
    Equal,
    Exp,
    Expm1,
    Interpolate,
    Log,
    Log1p,
    Max,
    NormalCdf,
    NormalQuantile,
    Not,
    Pow,
    Require,
    Where,
    cast,
)
from tensorml_sklearn.preprocessing.scalers import clipped, scaler_input, way_back

BOUNDS_THRESHOLD = 1e-7  # of sklearn.preprocessing._data
INSIDE = BOUNDS_THRESHOLD - np.spacing(1)  # the least probability that has a normal quantile there
EPSILON = np.spacing(1.0)
LARGEST_EXPONENT = 709.78  # of scipy.special.boxcox: above it, expm1 overflows
NEAR_OVERFLOW = 1.79e308  # of scipy.special.inv_boxcox
FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def lines(model: QuantileTransformer, x: Op, points: np.ndarray, values: np.ndarray) -> Op:
    """The line through (points, values) of each column, at x. x: [N, F] float; points, values: [Q, F]; float64 [N, F].

    Raises UnsupportedModelError where the arithmetic of numpy.interp leaves the range of float64.
    """
    with np.errstate(all="ignore"):
        steps = np.diff(points, axis=0)
        slopes = np.where(steps == 0, 0, np.diff(values, axis=0) / steps)
        spans = np.concatenate([points[-1:] - points[:1], values[-1:] - values[:1]])
    if not (np.isfinite(slopes).all() and np.isfinite(spans).all() and np.isfinite(points).all()):
        raise unsupported(
            model, "quantiles_ are missing (a column without values), or too far apart or too close for float64",
            "Drop or scale the columns before it",
        )  # fmt: skip
    offsets = np.arange(points.shape[1] + 1) * len(points)
    points, values = (np.ascontiguousarray(a.T, FLOAT64).reshape(-1) for a in (points, values))
    return Interpolate(cast(x, FLOAT64), points, values, offsets)


def bounded(x: Op, inside: Op, low: tuple[Any, Any], high: tuple[Any, Any], distribution: str) -> Op:
    """`inside` with the bounds in place of what is at the bounds of x, or, for "normal", within 1e-7 of them or beyond.

    low, high: a bound of x and of the result. x: [N, F]; inside: float64 [N, F]. Result: dtype of x.
    Source: sklearn.preprocessing.QuantileTransformer._transform_col: the lower bound is written last.
    """
    lowest, highest = Const(np.asarray(low[0])), Const(np.asarray(high[0]))
    if distribution == "normal":
        at_low, at_high = x - BOUNDS_THRESHOLD < lowest, x + BOUNDS_THRESHOLD > highest
    else:
        wide = cast(x, np.result_type(x.dtype, lowest.dtype))
        at_low, at_high = Equal(wide, cast(lowest, wide.dtype)), Equal(wide, cast(highest, wide.dtype))
    result = cast(inside, x.dtype)
    result = Where(at_high, Const(np.asarray(high[1]).astype(x.dtype)), result)
    return Where(at_low, Const(np.asarray(low[1]).astype(x.dtype)), result)


def quantile_transformer_inverse(model: QuantileTransformer, z: Op) -> Op:
    """The value at each quantile; for "normal" the quantile is the distribution function of z.

    z: [N, F]; result: the same type, float64 for integers.
    Source: sklearn.preprocessing.QuantileTransformer.inverse_transform.
    """
    z = way_back(model, z)
    dtype, quantiles = z.dtype, fitted_attribute(model, "quantiles_")
    zero, one = np.zeros((), dtype), np.ones((), dtype)
    if model.output_distribution == "normal":
        z = NormalCdf(cast(z, FLOAT64))  # scipy.stats.norm.cdf makes float64 of all
        zero, one = np.zeros(()), np.ones(())
    references = np.repeat(model.references_[:, None], quantiles.shape[1], axis=1)
    inside = lines(model, z, references, quantiles)
    return cast(bounded(z, inside, (zero, quantiles[0]), (one, quantiles[-1]), model.output_distribution), dtype)


@converter(QuantileTransformer, inverse=quantile_transformer_inverse)
def quantile_transformer(model: QuantileTransformer, x: Op) -> Outputs:
    """The share of the fitted values below each value, between quantiles by lines; for "normal" its normal quantile.

    x: [N, F]; result: the same type, float64 for integers. Lines are followed upwards and downwards, and the mean of
    the two is taken, which differs where quantiles are equal.
    Source: sklearn.preprocessing.QuantileTransformer.transform: each step is rounded to the dtype of x.
    """
    x = scaler_input(model, x)
    quantiles = np.asarray(fitted_attribute(model, "quantiles_"), FLOAT64)
    references = np.repeat(model.references_[:, None], quantiles.shape[1], axis=1)
    upward, downward = lines(model, x, quantiles, references), lines(model, -x, -quantiles[::-1], -references[::-1])
    middle = (upward - downward) * 0.5
    share = bounded(x, middle, (quantiles[0], 0), (quantiles[-1], 1), model.output_distribution)
    if model.output_distribution != "normal":
        return {"transform": share}
    score = NormalQuantile(cast(share, FLOAT64))
    if x.dtype.itemsize < 8:
        score = cast(cast(score, FLOAT32), FLOAT64)  # scipy.special.ndtri has no loop for float16
    low, high = NormalQuantile.function(np.array([INSIDE, 1 - INSIDE]))
    return {"transform": cast(clipped(score, low, high), x.dtype)}


def lambdas_of(model: PowerTransformer) -> np.ndarray:
    """The exponent of each column, in the dtype of `fit`. Raises UnsupportedModelError if one is not finite."""
    lambdas = np.asarray(fitted_attribute(model, "lambdas_"))
    if not np.isfinite(lambdas).all():
        raise unsupported(model, "lambdas_ holds an exponent that is not finite", "Drop its column before it")
    return lambdas


def by_column(chosen: np.ndarray, special: Op, general: Op) -> Op:
    """`special` in the chosen columns, `general` in the others. chosen: bool [F]."""
    if not chosen.any():
        return general
    dtype = np.result_type(special.dtype, general.dtype)
    return Where(Const(chosen), cast(special, dtype), cast(general, dtype))


def without(values: np.ndarray, chosen: np.ndarray) -> Const:
    """The values, 1 for the chosen ones."""
    return Const(np.where(chosen, np.ones((), values.dtype), values))


def yeo_johnson(x: Op, lambdas: np.ndarray, *, by_power: bool) -> Op:
    """The transformation of Yeo and Johnson. x: [N, F]; lambdas: [F]. Result: [N, F], dtype of x.

    by_power: computed by a power, not by expm1, which differs in rounding.
    Source: scipy.stats.yeojohnson; until scikit-learn 1.6 PowerTransformer._yeo_johnson_transform.
    """

    def power(base: Op, exponent: np.ndarray) -> Op:
        base = Max(base, Const(np.array(-0.5, base.dtype)))  # below are those of the other sign, and slow logarithms
        none = np.abs(exponent) < EPSILON
        divisor = without(exponent, none)
        logarithm = Log1p(base)
        if by_power:
            dtype = np.result_type(x.dtype, exponent.dtype)
            raised = Pow(cast(base + 1, dtype), cast(divisor, dtype)) - 1
        else:
            raised = Expm1(divisor * logarithm)
        return by_column(none, logarithm, raised / divisor)

    below = power(-x, 2 - lambdas)
    return Where(x >= 0, cast(power(x, lambdas), x.dtype), cast(-below, x.dtype))


def yeo_johnson_inverse(x: Op, lambdas: np.ndarray) -> Op:
    """The way back. x: [N, F]; result: the same type. Source: PowerTransformer._yeo_johnson_inverse_transform."""
    dtype = np.result_type(x.dtype, lambdas.dtype)
    none, two = np.abs(lambdas) < EPSILON, np.abs(lambdas - 2) <= EPSILON
    first, second = without(lambdas, none), without(2 - lambdas, two)
    above = Pow(cast(x * first + 1, dtype), cast(Const(1 / first.value), dtype)) - 1
    above = by_column(none, Exp(x) - 1, above)
    below = 1 - Pow(cast(Const(-second.value) * x + 1, dtype), cast(Const(1 / second.value), dtype))
    below = by_column(two, 1 - Exp(-x), below)
    return Where(x >= 0, cast(above, x.dtype), cast(below, x.dtype))


def box_cox(x: Op, lambdas: np.ndarray) -> Op:
    """The transformation of Box and Cox of positive numbers. x: [N, F]; result: the same type.

    Source: scipy.special.boxcox, computed in float64 and rounded to the wider dtype of x and lambda.
    """
    wide = lambdas.astype(FLOAT64)
    none = np.abs(wide) < 1e-19
    divisor = without(wide, none)
    logarithm = Log(cast(x, FLOAT64))
    exponent = divisor * logarithm
    far = Const(np.sign(divisor.value)) * Exp(exponent - np.log(np.abs(divisor.value))) - 1 / divisor.value
    general = Where(exponent < LARGEST_EXPONENT, Expm1(exponent) / divisor, far)
    return rounded(by_column(none, logarithm, general), x, lambdas)


def box_cox_inverse(x: Op, lambdas: np.ndarray) -> Op:
    """The way back. x: [N, F]; result: the same type. Source: scipy.special.inv_boxcox."""
    wide = lambdas.astype(FLOAT64)
    none = wide == 0
    divisor = without(wide, none)
    z = cast(x, FLOAT64)
    product = z * divisor
    far = Exp((Log(Const(np.sign(divisor.value)) * (z + 1 / divisor.value)) + np.log(np.abs(divisor.value))) / divisor)
    general = Where(product < NEAR_OVERFLOW, Exp(Log1p(product) / divisor), far)
    return rounded(by_column(none, Exp(z), general), x, lambdas)


def rounded(result: Op, x: Op, lambdas: np.ndarray) -> Op:
    """What a ufunc of SciPy returns for x, in the dtype of x: they compute float32 in float64, and know no float16."""
    loop = np.promote_types(np.result_type(x.dtype, lambdas.dtype), FLOAT32)
    return cast(cast(result, loop), x.dtype)


def power_transformer_inverse(model: PowerTransformer, z: Op) -> Op:
    """The way back, first through the scaling. z: [N, F]; result: the same type, float64 for integers.

    Source: sklearn.preprocessing.PowerTransformer.inverse_transform.
    """
    z, lambdas = way_back(model, z), lambdas_of(model)
    if model.standardize:
        z = apply_inverse(model._scaler, z)
    return box_cox_inverse(z, lambdas) if model.method == "box-cox" else yeo_johnson_inverse(z, lambdas)


@converter(PowerTransformer, inverse=power_transformer_inverse)
def power_transformer(model: PowerTransformer, x: Op) -> Outputs:
    """A power of each column, then the scaling to mean 0 and variance 1 if it has one.

    x: [N, F]; result: the same type, float64 for integers.
    Source: sklearn.preprocessing.PowerTransformer.transform.
    """
    x, lambdas = scaler_input(model, x), lambdas_of(model)
    if model.method == "box-cox":
        positive = Not(x <= Const(np.zeros((), x.dtype)))
        x = box_cox(
            Require(x, positive, "The Box-Cox transformation can only be applied to strictly positive data"), lambdas
        )
    else:
        x = yeo_johnson(x, lambdas, by_power=hasattr(model, "_yeo_johnson_transform"))
    return apply(model._scaler, x) if model.standardize else {"transform": x}
