"""Operators that compute each element apart, with NumPy's broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Const, Dim, Op, TensorType

BOOL = np.dtype(bool)


def cast(x: Op, dtype: np.dtype | type) -> Op:
    """`x` in `dtype`: itself where it already is, and a constant stays a constant."""
    dtype = np.dtype(dtype)
    if x.dtype == dtype:
        return x
    return Const(x.value.astype(dtype)) if isinstance(x, Const) else Cast(x, dtype)


def broadcast(*shapes: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """The shape that NumPy would broadcast these to. A named dimension fits itself and 1."""
    rank = max(map(len, shapes))
    result: list[Dim] = []
    for dims in zip(*((1,) * (rank - len(shape)) + shape for shape in shapes), strict=True):
        distinct = {dim for dim in dims if dim != 1}
        if len(distinct) > 1:
            raise GraphTypeError(f"shapes {' and '.join(map(str, shapes))} do not broadcast")
        result.append(distinct.pop() if distinct else 1)
    return tuple(result)


class Cast(Op):
    """`x` converted to `dtype` as C does: a float loses its fraction, float64 to float32 rounds to nearest, even."""

    x: Op
    dtype_: np.dtype

    def infer(self) -> TensorType:
        return TensorType(self.x.shape, self.dtype_)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return operands[0].astype(self.dtype_)


class Unary(Op):
    """The base of operators of one operand. `domain`: the dtype kinds that it takes, by NumPy's letters."""

    x: Op
    function: ClassVar[Callable[[np.ndarray], np.ndarray]]
    domain: ClassVar[str] = "f"

    def infer(self) -> TensorType:
        if self.x.dtype.kind not in self.domain:
            raise GraphTypeError(f"{type(self).__name__} does not take {self.x.type}")
        return TensorType(self.x.shape, self.x.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return type(self).function(*operands)


class Neg(Unary):
    """-x."""

    domain: ClassVar[str] = "fi"
    function = np.negative


class Abs(Unary):
    """The absolute value."""

    domain: ClassVar[str] = "fi"
    function = np.abs


class Sqrt(Unary):
    """The square root; NaN below zero. Torch may be off by one unit in the last place: MKL's vector routine is."""

    function = np.sqrt


class Exp(Unary):
    """e to the power of x. Executors agree within a few units in the last place."""

    function = np.exp


class Log(Unary):
    """The natural logarithm: -inf at 0, NaN below. Executors agree within a few units in the last place."""

    function = np.log


class Log1p(Unary):
    """log(1 + x), exact near 0."""

    function = np.log1p


class Sigmoid(Unary):
    """1 / (1 + exp(-x)), in the dtype of x. Executors agree within a few units in the last place.

    0 where exp(-x) overflows: below -88.7 in float32, -709.8 in float64, as scipy.special.expit is.
    """

    @staticmethod
    def function(x: np.ndarray) -> np.ndarray:
        """The logistic function of an array."""
        return 1 / (1 + np.exp(-x))


class IsNaN(Unary):
    """Where x is NaN. Result: bool."""

    function = np.isnan

    def infer(self) -> TensorType:
        return TensorType(super().infer().shape, BOOL)


class Not(Unary):
    """Logical not, of bool."""

    domain: ClassVar[str] = "b"
    function = np.logical_not


class Binary(Op):
    """The base of operators of two operands of one dtype, which broadcast."""

    x: Op
    y: Op
    function: ClassVar[Callable[[np.ndarray, np.ndarray], np.ndarray]]
    domain: ClassVar[str] = "fiu"
    result: ClassVar[np.dtype | None] = None

    def infer(self) -> TensorType:
        if self.x.dtype != self.y.dtype or self.x.dtype.kind not in self.domain:
            raise GraphTypeError(f"{type(self).__name__} does not take {self.x.type} and {self.y.type}")
        return TensorType(broadcast(self.x.shape, self.y.shape), self.result or self.x.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return type(self).function(*operands)


class Add(Binary):
    """x + y, correctly rounded."""

    function = np.add


class Sub(Binary):
    """x - y, correctly rounded."""

    function = np.subtract


class Mul(Binary):
    """x * y, correctly rounded."""

    function = np.multiply


class Div(Binary):
    """x / y of floats, correctly rounded."""

    domain: ClassVar[str] = "f"
    function = np.divide


class Pow(Binary):
    """x to the power of y. Executors agree within a few units in the last place."""

    domain: ClassVar[str] = "f"
    function = np.power


class Max(Binary):
    """The larger one; NaN if either is NaN."""

    function = np.maximum


class Min(Binary):
    """The smaller one; NaN if either is NaN."""

    function = np.minimum


class Less(Binary):
    """x < y. Result: bool; false for NaN."""

    function = np.less
    result: ClassVar[np.dtype | None] = BOOL


class LessOrEqual(Binary):
    """x <= y. Result: bool; false for NaN."""

    function = np.less_equal
    result: ClassVar[np.dtype | None] = BOOL


class Greater(Binary):
    """x > y. Result: bool; false for NaN."""

    function = np.greater
    result: ClassVar[np.dtype | None] = BOOL


class GreaterOrEqual(Binary):
    """x >= y. Result: bool; false for NaN."""

    function = np.greater_equal
    result: ClassVar[np.dtype | None] = BOOL


class Equal(Binary):
    """x == y. Result: bool; false for NaN."""

    domain: ClassVar[str] = "fiub"
    function = np.equal
    result: ClassVar[np.dtype | None] = BOOL


class And(Binary):
    """Logical and, of bool."""

    domain: ClassVar[str] = "b"
    function = np.logical_and


class Or(Binary):
    """Logical or, of bool."""

    domain: ClassVar[str] = "b"
    function = np.logical_or


class Where(Op):
    """`x` where `condition` holds, `y` elsewhere. condition: bool; x and y of one dtype; all broadcast."""

    condition: Op
    x: Op
    y: Op

    def infer(self) -> TensorType:
        if self.condition.dtype != BOOL or self.x.dtype != self.y.dtype:
            raise GraphTypeError(f"Where does not take {self.condition.type}, {self.x.type} and {self.y.type}")
        return TensorType(broadcast(self.condition.shape, self.x.shape, self.y.shape), self.x.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return np.where(*operands)
