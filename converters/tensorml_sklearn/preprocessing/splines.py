"""Converter for SplineTransformer."""

from __future__ import annotations

import numpy as np
from sklearn.preprocessing import SplineTransformer

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import BSpline, Columns, IsNaN, Max, Min, Mod, Not, Require, Untyped, Where, cast, concat
from tensorml_sklearn.validation import FLOATS, finite

FLOAT64 = np.dtype(np.float64)
BEYOND = "X contains values beyond the limits of the knots."


@converter(SplineTransformer)
def spline_transformer(model: SplineTransformer, x: Op) -> Outputs:
    """The values of the B-splines of each column.

    x: [N, F]; result: [N, F * splines], without each column's last one if not `include_bias`; dtype of x if that is a
    float, else float64. `order` does not change values. NaN becomes zeros with handle_missing="zeros" (since 1.8).
    Source: sklearn.preprocessing.SplineTransformer.transform.
    """
    if model.sparse_output:
        raise unsupported(
            model, "its result is a sparse matrix (sparse_output=True)", "Fit it with sparse_output=False"
        )
    x = x.x if isinstance(x, Untyped) else x
    zeros = getattr(model, "handle_missing", "error") == "zeros"
    x = x if zeros else finite(model, x)
    dtype = x.dtype if x.dtype in FLOATS else FLOAT64
    wide = cast(x, FLOAT64)
    outer = model.extrapolation in ("constant", "linear")
    splines = inside_only(model, wide) if outer else everywhere(model, wide)
    missing = Columns(IsNaN(wide), np.repeat(np.arange(x.columns), splines.columns // x.columns))
    splines = cast(splines, dtype)
    splines = Where(missing, Const(np.zeros((), dtype)), splines) if zeros else splines
    if model.extrapolation == "error":
        splines = Require(splines, Not(IsNaN(splines)), BEYOND)
    count = splines.columns // x.columns
    kept = [i for i in range(splines.columns) if model.include_bias or (i + 1) % count]
    return {"transform": splines if model.include_bias else Columns(splines, np.array(kept, np.int64))}


def knots_of(model: SplineTransformer) -> np.ndarray:
    """All knots of each column, those before and behind its range too. float64 [F, T]."""
    return np.array([spline.t for spline in fitted_attribute(model, "bsplines_")], FLOAT64)


def everywhere(model: SplineTransformer, x: Op) -> Op:
    """The splines for the extrapolations "continue", "error" and "periodic". x: float64 [N, F].

    Result: float64 [N, F * splines]. Periodic: x is brought into the range, and the last `degree` splines are the first
    ones again.
    """
    knots, degree = knots_of(model), model.degree
    if model.extrapolation != "periodic":
        return BSpline(x, knots, degree, model.extrapolation == "continue")
    first, period = knots[:, degree], knots[:, -degree - 1] - knots[:, degree]
    inside = Mod(x - first, Const(period)) + first
    if hasattr(model, "handle_missing") and (period == 0).any():  # before, NumPy's remainder was NaN
        inside = Where(Const(period == 0), Const(np.zeros(())), inside)
    splines = BSpline(inside, knots, degree, True)
    count = splines.columns // x.columns
    parts: list[Op] = []
    for start in range(0, splines.columns, count):
        part, rest = (Columns(splines, start + np.arange(count)[chosen]) for chosen in ends(count, degree))
        parts.append(part if not degree else concat([Columns(part, np.arange(degree)) + rest, *beyond(part, degree)]))
    return concat(parts)


def ends(count: int, degree: int) -> tuple[slice, slice]:
    """All but the last `degree` splines, and these."""
    return slice(0, count - degree), slice(count - degree, count)


def beyond(part: Op, degree: int) -> list[Op]:
    """The columns behind the first `degree` ones, if there are any."""
    return [Columns(part, np.arange(degree, part.columns))] if part.columns > degree else []


def inside_only(model: SplineTransformer, x: Op) -> Op:
    """The splines for the extrapolations "constant" and "linear". x: float64 [N, F]; float64 [N, F * splines]."""
    knots, linear = knots_of(model), model.extrapolation == "linear"
    starts = boundary_knots(model.degree, len(knots)) if linear else np.full(len(knots), model.degree)
    column = np.arange(len(knots))
    low, high = knots[column, starts], knots[column, -starts - 1]
    if model.degree > 0 and not linear:  # at the boundaries the other splines are exactly 0
        return BSpline(clipped_by_column(x, low, high), knots, model.degree, True)
    if not linear:
        x = Require(x, Not(x > high), f"{BEYOND} scikit-learn raises above them for degree=0.")
    inside = (x >= low) & (x <= high)
    splines = BSpline(Where(inside, x, Const(low)), knots, model.degree, True)
    repeat = np.repeat(column, splines.columns // x.columns)
    splines = Where(Columns(inside, repeat), splines, Const(np.zeros(())))
    outer = starts + (starts <= 1) if linear else starts
    for mask, edge, behind in ((x < low, low, False), (x > high, high, True)):
        splines = Where(Columns(mask, repeat), outside(model, x, edge, outer, behind=behind), splines)
    return splines


def clipped_by_column(x: Op, low: np.ndarray, high: np.ndarray) -> Op:
    """x, not below `low` and not above `high`; NaN stays. x: float64 [N, F]; low, high: float64 [F]."""
    return Min(Max(x, Const(low)), Const(high))


def boundary_knots(degree: int, columns: int) -> np.ndarray:
    """Which knot, counted from either end, is each column's boundary for "linear". int64 [columns].

    Source: sklearn.preprocessing.SplineTransformer.transform: `degree += 1`, for degrees up to 1, is written in the
    loop over columns, so that it holds for the columns that follow too.
    """
    return np.minimum(degree + np.arange(columns), max(degree, 2))


def outside(model: SplineTransformer, x: Op, edge: np.ndarray, outer: np.ndarray, *, behind: bool) -> Op:
    """The splines on one side of the range: their values at the edge, and for "linear" the line through them there.

    edge: float64 [F]; outer: int64 [F], how many splines of that side are not 0. Result: float64 [N, F * splines].
    """
    values = np.array([s(at) for s, at in zip(model.bsplines_, edge, strict=True)])
    count = values.shape[1]
    place = count - 1 - np.arange(count) if behind else np.arange(count)
    chosen = (place < outer[:, None]).reshape(-1)
    if model.extrapolation == "constant":
        return Const(np.where(chosen, values.reshape(-1), 0.0))
    slopes = np.array([s(at, nu=1) for s, at in zip(model.bsplines_, edge, strict=True)])
    distance = Columns(x - edge, np.repeat(np.arange(x.columns), count))
    return Where(Const(chosen), distance * slopes.reshape(-1) + values.reshape(-1), Const(np.zeros(())))
