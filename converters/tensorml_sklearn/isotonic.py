"""Converter for sklearn.isotonic."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import Equal, Max, Min, Rank, Require, Take, Where, cast, full, ravel
from tensorml_sklearn.validation import finite

INT32 = np.dtype(np.int32)
FLOAT64 = np.dtype(np.float64)
OUTSIDE = "IsotonicRegression(out_of_bounds='raise') was given a value outside of the range that it was fitted on:"


@converter(IsotonicRegression)
def isotonic_regression(model: Any, x: Op) -> Outputs:
    """The line through the fitted points at x, [N], in their dtype; outside of them as `out_of_bounds` says.

    x: [N, 1]. Source: sklearn.isotonic.IsotonicRegression._transform.
    """
    points, values = (np.asarray(fitted_attribute(model, f"{axis}_thresholds_")) for axis in "Xy")
    if x.columns != 1:
        raise unsupported(model, f"it was given {x.columns} columns", "Isotonic regression takes 1 feature")
    x = finite(model, cast(x, points.dtype))
    if model.out_of_bounds == "clip":
        x = Min(Max(x, Const(np.array(model.X_min_, x.dtype))), Const(np.array(model.X_max_, x.dtype)))
    y = _bounded(model, x, points, values)
    return {"predict": y, "transform": y}


def _bounded(model: Any, x: Op, points: np.ndarray, values: np.ndarray) -> Op:
    """The line at x, NaN outside of its points, or an InputError with out_of_bounds="raise". [N].

    A single point has no bounds. Source: scipy.interpolate.interp1d._evaluate.
    """
    if len(points) == 1:
        return full(x, (), float(values[0]), values.dtype)
    if model.out_of_bounds == "clip":
        return _line(x, points, values)
    inside = (x >= Const(points[0])) & (x <= Const(points[-1]))
    if model.out_of_bounds == "raise":
        return _line(Require(x, inside, f"{OUTSIDE} {points[0]} to {points[-1]}."), points, values)
    return Where(ravel(inside), _line(x, points, values), Const(np.array(np.nan, values.dtype)))


def _line(x: Op, points: np.ndarray, values: np.ndarray) -> Op:
    """The line of the segment that x is in, slope * (x - point) + value: float64 as NumPy has it, float32 as SciPy.

    At a point float64 takes the value itself, float32 the line that ends there; outside of the points any number.
    Source: numpy.interp; scipy.interpolate.interp1d._call_linear.
    """
    double, last = points.dtype == FLOAT64, len(points) - 1
    with np.errstate(over="ignore"):
        slopes = np.append((values[1:] - values[:-1]) / (points[1:] - points[:-1]), values.dtype.type(0))
    offsets, none = np.array([0, len(points)]), np.zeros(1, np.int64)
    reached = ravel(Rank(x, none, points, offsets, none, INT32, strict=not double))
    zero, one, highest = (Const(np.array(k, INT32)) for k in (0, 1, last if double else last - 1))
    segment = Min(Max(reached - one, zero), highest)
    slope, start, value = (Take(Const(table), segment) for table in (slopes, points, values))
    x = ravel(x)
    line = slope * (x - start) + value
    exact = np.isfinite(slopes).all() and not (values == 0).any()  # else a point's value is lost, or its sign
    return line if exact or not double else Where(Equal(x, start), value, line)
