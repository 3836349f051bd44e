"""Operators between floating-point numbers and the integers that stand for them: q for q * step + offset."""

from __future__ import annotations

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Op, TensorType

INT64 = np.dtype(np.int64)
NOT_A_NUMBER = -np.iinfo(np.int64).max  # what NaN is quantised to: outside of every range
FURTHEST = 2.0**62


class Quantize(Op):
    """The nearest multiple of a step, as the number of steps: floor(x / step + 0.5). Half a step goes up.

    x: [N, C] float; step: float64 [C], positive. Result: int64 [N, C], within +-2^62; NaN becomes 1 - 2^63.
    """

    x: Op
    step: np.ndarray

    def infer(self) -> TensorType:
        if self.x.dtype.kind != "f" or self.x.shape[1:] != self.step.shape or not (self.step > 0).all():
            raise GraphTypeError(f"Quantize by {self.step.shape} steps does not take {self.x.type}")
        return TensorType(self.x.shape, INT64)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            steps = np.clip(np.floor(operands[0].astype(np.float64) / self.step + 0.5), -FURTHEST, FURTHEST)
            return np.where(np.isnan(steps), NOT_A_NUMBER, steps.astype(INT64))


class Saturate(Op):
    """The nearest integer of a range. x: int64 [N, C]; low, high: int64 [C]. Result: the type of x."""

    x: Op
    low: np.ndarray
    high: np.ndarray

    def infer(self) -> TensorType:
        if self.x.dtype != INT64 or not self.x.shape[1:] == self.low.shape == self.high.shape:
            raise GraphTypeError(f"Saturate to {self.low.shape} ranges does not take {self.x.type}")
        return self.x.type

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return np.clip(operands[0], self.low, self.high)


class ShiftRight(Op):
    """x / 2^shift for shift > 0: the nearest integer, half up, (x + 2^(shift - 1)) >> shift; or the one below.

    x: int64, any shape. nearest: or else x >> shift. Result: the type of x.
    """

    x: Op
    shift: int
    nearest: bool = True

    def infer(self) -> TensorType:
        if self.x.dtype != INT64 or not 0 < self.shift < 62:
            raise GraphTypeError(f"ShiftRight by {self.shift} does not take {self.x.type}")
        return self.x.type

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return (operands[0] + (int(self.nearest) << self.shift - 1)) >> self.shift


class WeightedSum(Op):
    """The matrix product with integer weights. x: int64 [N, F]; weights: int64 [F, C]. Result: int64 [N, C]."""

    x: Op
    weights: np.ndarray

    def infer(self) -> TensorType:
        if self.x.dtype != INT64 or self.x.shape[1:] != self.weights.shape[:1] or self.weights.dtype != INT64:
            raise GraphTypeError(f"WeightedSum by {self.weights.shape} weights does not take {self.x.type}")
        return TensorType((self.x.shape[0], self.weights.shape[1]), INT64)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return operands[0] @ self.weights


class Lines(Op):
    """A function by straight lines: (base[x >> low] + slope[x >> low] * (x mod 2^low)) >> shift.

    x: int64, any shape, from 0 to the number of lines * 2^low - 1. base, slope: int64 [L]. Result: the type of x.
    """

    x: Op
    base: np.ndarray
    slope: np.ndarray
    low: int
    shift: int

    def infer(self) -> TensorType:
        integers = self.x.dtype == self.base.dtype == self.slope.dtype == INT64
        if not integers or self.base.shape != self.slope.shape or min(self.low, self.shift) < 0:
            raise GraphTypeError(f"Lines of {self.base.shape} pieces do not take {self.x.type}")
        return self.x.type

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return self.at(operands[0])

    def at(self, x: np.ndarray) -> np.ndarray:
        """The function at integers."""
        line = x >> self.low
        return (self.base[line] + self.slope[line] * (x & (1 << self.low) - 1)) >> self.shift
