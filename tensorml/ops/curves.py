"""Operators that evaluate a curve at each element: functions of mathematics, tables of points, splines."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Op, TensorType
from tensorml.ops.elementwise import Binary, Unary

FLOAT64 = np.dtype(np.float64)


class Expm1(Unary):
    """exp(x) - 1, exact near 0. Executors agree within a few units in the last place."""

    function = np.expm1


class Exp2(Unary):
    """2 to the power of x. Executors agree within a few units in the last place."""

    function = np.exp2


class Log2(Unary):
    """The logarithm to base 2. Executors agree within a few units in the last place."""

    function = np.log2


class Log10(Unary):
    """The logarithm to base 10. Executors agree within a few units in the last place."""

    function = np.log10


class Tan(Unary):
    """The tangent. Executors agree within a few units in the last place."""

    function = np.tan


class Atan(Unary):
    """The inverse of the tangent. Executors agree within a few units in the last place."""

    function = np.arctan


class Sinh(Unary):
    """The hyperbolic sine. Executors agree within a few units in the last place."""

    function = np.sinh


class Cosh(Unary):
    """The hyperbolic cosine. Executors agree within a few units in the last place."""

    function = np.cosh


class Asinh(Unary):
    """The inverse of the hyperbolic sine. Executors agree within a few units in the last place, absolutely near 0."""

    function = np.arcsinh


class Floor(Unary):
    """The largest integer that is not above x."""

    function = np.floor


class Ceil(Unary):
    """The smallest integer that is not below x."""

    function = np.ceil


class Round(Unary):
    """The nearest integer, the even one of two."""

    function = np.rint


class Trunc(Unary):
    """x without its fraction."""

    function = np.trunc


class Sign(Unary):
    """-1, 0 or 1, as x is below, equal to or above 0; NaN for NaN."""

    domain: ClassVar[str] = "fi"
    function = np.sign


class NormalCdf(Unary):
    """The probability that a standard normal variable is below x. Executors agree within 1e-14, relatively.

    Source: scipy.special.ndtr.
    """

    @staticmethod
    def function(x: np.ndarray) -> np.ndarray:
        """The distribution function, of an array."""
        from scipy.special import ndtr

        return ndtr(x)


class NormalQuantile(Unary):
    """The x below which a standard normal variable is with probability p; -inf at 0, inf at 1, NaN outside.

    Source: scipy.special.ndtri. Executors agree within a few units in the last place.
    """

    @staticmethod
    def function(x: np.ndarray) -> np.ndarray:
        """The quantile function, of an array."""
        from scipy.special import ndtri

        return ndtri(x)


class Mod(Binary):
    """What is left of x after division by y, with the sign of y; NaN for y = 0. Exact, of floats."""

    domain: ClassVar[str] = "f"
    function = np.mod


class Interpolate(Op):
    """The value at x of the line through a column's points; the first and last value outside of them; NaN for NaN.

    Column k has the points `points[offsets[k]:offsets[k + 1]]`, at least one, which do not descend, and `values` there;
    of points at one place the last counts. x: float64 [N, K], without infinities; points, values: float64 [B], finite,
    no two so far apart, nor steps so steep, that their difference or slope overflows. Result: float64 [N, K].
    Source: numpy.interp. Exact in every executor.
    """

    x: Op
    points: np.ndarray
    values: np.ndarray
    offsets: np.ndarray

    def infer(self) -> TensorType:
        whole = len(self.points) == len(self.values) == self.offsets[-1]
        if self.x.dtype != FLOAT64 or self.x.columns != len(self.offsets) - 1 or not whole:
            raise GraphTypeError(f"Interpolate of {len(self.offsets) - 1} columns does not take {self.x.type}")
        return self.x.type

    def column(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The points and values of column k."""
        part = slice(self.offsets[k], self.offsets[k + 1])
        return self.points[part], self.values[part]

    def scratch_bytes(self) -> int:
        """The segment of each element, where it begins, its value there and its slope."""
        return 48 * self.x.columns

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        line = np.column_stack([np.interp(x[:, k], *self.column(k)) for k in range(x.shape[1])])
        return np.where(np.isnan(x), x, line)  # numpy.interp is not NaN there if there is one point alone


class BSpline(Op):
    """The B-splines of each column's knots at its elements: `degree` + 1 of them are not 0.

    x: float64 [N, F]; knots: float64 [F, T], ascending. Result: float64 [N, F * (T - degree - 1)], each column's
    splines side by side; NaN for NaN, and outside of the inner knots unless `extrapolate` continues the outermost ones.
    Source: scipy.interpolate.BSpline, which runs de Boor's recursion in this order. Exact in every executor.
    """

    x: Op
    knots: np.ndarray
    degree: int
    extrapolate: bool

    def infer(self) -> TensorType:
        if self.x.dtype != FLOAT64 or len(self.knots) != self.x.columns or self.knots.dtype != FLOAT64:
            raise GraphTypeError(f"BSpline of knots {self.knots.shape} does not take {self.x.type}")
        return TensorType((self.x.shape[0], self.x.columns * self.count), FLOAT64)

    @property
    def count(self) -> int:
        """The number of splines of one column."""
        return self.knots.shape[1] - self.degree - 1

    def scratch_bytes(self) -> int:
        """The splines that are not 0 in two steps of the recursion, their places, the knots about them and how far."""
        return 48 * (self.degree + 1) * self.x.columns

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        result = np.zeros((*x.shape, self.count))
        for f, knots in enumerate(self.knots):
            last = self.count - 1
            value = x[:, f]
            place = np.clip(np.searchsorted(knots, value, side="right") - 1, self.degree, last)
            with np.errstate(all="ignore"):
                splines = de_boor(value, knots, place, self.degree)
            rows, columns = np.arange(len(x))[:, None], place[:, None] - self.degree + np.arange(self.degree + 1)
            result[rows, f, columns] = splines
            outside = (value < knots[self.degree]) | (value > knots[last + 1])
            result[np.isnan(value) | (outside & (not self.extrapolate)), f] = np.nan
        return result.reshape(len(x), self.columns)


def de_boor(x: np.ndarray, knots: np.ndarray, place: np.ndarray, degree: int) -> np.ndarray:
    """The splines that are not 0 at x. x: [N]; place: int64 [N], the knot before x. Result: [N, degree + 1].

    Source: scipy.interpolate, _deBoor_D.
    """
    h = [np.ones_like(x)]
    for j in range(1, degree + 1):
        last, h = h, [np.zeros_like(x)]
        for n in range(1, j + 1):
            after, before = knots[place + n], knots[place + n - j]
            same = after == before
            w = np.where(same, 0.0, last[n - 1] / np.where(same, 1.0, after - before))
            h[n - 1] = np.where(same, h[n - 1], h[n - 1] + w * (after - x))
            h.append(np.where(same, 0.0, w * (x - before)))
    return np.stack(h, axis=1)
