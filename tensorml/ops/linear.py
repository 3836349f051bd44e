"""Matrix products."""

from __future__ import annotations

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Op, TensorType


class MatMul(Op):
    """Matrix product of the batch with a matrix.

    x: [N, F] float; y: [F, C], dtype of x. Result: [N, C], dtype of x.
    The order of summation is the executor's own: results agree within rounding, not bit for bit.
    """

    x: Op
    y: Op

    def infer(self) -> TensorType:
        match self.x.shape, self.y.shape:
            case (n, f), (g, c) if f == g and self.x.dtype == self.y.dtype and self.x.dtype.kind == "f":
                return TensorType((n, c), self.x.dtype)
        raise GraphTypeError(f"MatMul takes [N, F] and [F, C] of one dtype, not {self.x.type} and {self.y.type}")

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.matmul(*operands)
