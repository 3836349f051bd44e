"""Columns at their places in a wider row."""

from __future__ import annotations

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Op, TensorType


class Place(Op):
    """The columns of x at their places, zeros at all others. The way back from `Columns`.

    x: [N, C] of any dtype; places: int64 [C], distinct, from 0 to width - 1. Result: [N, width], dtype of x.
    """

    x: Op
    places: np.ndarray
    width: int

    def infer(self) -> TensorType:
        if len(self.x.shape) != 2 or len(set(self.places.tolist()) & set(range(self.width))) != self.x.columns:
            raise GraphTypeError(f"{self.x.type} has no places {self.places.tolist()} in {self.width} columns")
        return TensorType((self.x.shape[0], self.width), self.x.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        result = np.zeros((len(x), self.width), x.dtype)
        result[:, self.places] = x
        return result
