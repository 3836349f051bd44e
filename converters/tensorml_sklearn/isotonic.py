"""Converter for sklearn.isotonic."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import Equal, Max, Min, Rank, Require, Take, Where, cast, full, ravel
from tensorml_sklearn.describe import finite

INT64 = np.dtype(np.int64)
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
    y = ravel(_bounded(model, x, points, values))
    return {"predict": y, "transform": y}


def _bounded(model: Any, x: Op, points: np.ndarray, values: np.ndarray) -> Op:
    """The line at x, NaN outside of its points, or an InputError with out_of_bounds="raise". [N, 1].

    A single point has no bounds. Source: scipy.interpolate.interp1d._evaluate.
    """
    if len(points) == 1:
        return full(x, (1,), float(values[0]), values.dtype)
    inside = (x >= Const(points[0])) & (x <= Const(points[-1]))
    if model.out_of_bounds == "raise":
        return _line(Require(x, inside, f"{OUTSIDE} {points[0]} to {points[-1]}."), points, values)
    line = _line(x, points, values)
    return line if model.out_of_bounds == "clip" else Where(inside, line, Const(np.array(np.nan, line.dtype)))


def _line(x: Op, points: np.ndarray, values: np.ndarray) -> Op:
    """The line of the segment that x is in, slope * (x - point) + value: float64 as NumPy has it, float32 as SciPy.

    At a point float64 takes the value itself, float32 the line that ends there; outside of the points any number.
    Source: numpy.interp; scipy.interpolate.interp1d._call_linear.
    """
    double, last = points.dtype == FLOAT64, len(points) - 1
    with np.errstate(over="ignore"):
        slopes = (values[1:] - values[:-1]) / (points[1:] - points[:-1])
    offsets, none = np.array([0, len(points)]), np.zeros(1, np.int64)
    reached = cast(Rank(x, none, points, offsets, none, np.dtype(np.int32), strict=not double), INT64)
    highest = Const(np.array(last if double else last - 1))
    segment = ravel(Min(Max(reached - 1, Const(np.array(0))), highest))
    start, value = (Take(Const(table[:, None]), segment) for table in (points, values))
    slope = Take(Const(np.append(slopes, slopes.dtype.type(0))[:, None]), segment)
    line = slope * (x - start) + value
    return Where(Equal(x, start), value, line) if double else line
