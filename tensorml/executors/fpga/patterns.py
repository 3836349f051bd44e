"""Operators on the bit patterns of floats, which go into a circuit as they are. No other executor meets them."""

from __future__ import annotations

import numpy as np

from tensorml import ops
from tensorml.errors import GraphTypeError
from tensorml.graph import Const, Op, TensorType


class FloatBits(Op):
    """The bit patterns of floats as signed integers. x: [N, C] float32 or float64. Result: int64 [N, C]."""

    x: Op

    def infer(self) -> TensorType:
        """int64 columns."""
        if self.x.dtype not in (np.float32, np.float64):
            raise GraphTypeError(f"FloatBits does not take {self.x.type}")
        return TensorType(self.x.shape, np.dtype(np.int64))

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        """By the memory of the arrays."""
        x = np.ascontiguousarray(operands[0])
        return x.view(np.int32 if x.dtype == np.float32 else np.int64).astype(np.int64)


class RankBits(Op):
    """As `Rank`, of the floats that have these bit patterns. bits: int64 [N, C]. Result: int64 [N, K]."""

    bits: Op
    source: np.ndarray
    boundaries: np.ndarray
    offsets: np.ndarray
    nan: np.ndarray
    strict: bool = False

    def infer(self) -> TensorType:
        """int64 columns."""
        if self.bits.dtype != np.dtype(np.int64) or self.boundaries.dtype not in (np.float32, np.float64):
            raise GraphTypeError(f"RankBits among {self.boundaries.dtype} boundaries does not take {self.bits.type}")
        return TensorType((self.bits.shape[0], len(self.source)), np.dtype(np.int64))

    @property
    def ranks(self) -> ops.Rank:
        """The ranks of floats."""
        columns = int(self.source.max(initial=0)) + 1
        x = Const(np.zeros((1, columns), self.boundaries.dtype))
        return ops.Rank(x, self.source, self.boundaries, self.offsets, self.nan, np.dtype(np.int64), self.strict)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        """By the memory of the arrays."""
        bits = operands[0].astype(np.int32 if self.boundaries.dtype == np.float32 else np.int64)
        floats = bits.view(self.boundaries.dtype)
        return self.ranks.reference(floats)
