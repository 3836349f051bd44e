"""Tables of the rows of the batch against each other: such a graph is not computed in tiles."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Op, TensorType
from tensorml.ops.kernel import METRICS, Kernel


class BatchKernel(Op):
    """The kernel matrix of the rows with each other: `Kernel` with the rows of the batch in place of stored ones.

    x: [N, F] float; metric, gamma, coef0, degree: as in `KernelOp`. Result: [N, N], dtype of x.
    """

    whole_batch: ClassVar[bool] = True

    x: Op
    metric: str
    gamma: float
    coef0: float
    degree: float

    def infer(self) -> TensorType:
        if self.metric not in METRICS or len(self.x.shape) != 2 or self.x.dtype.kind != "f":
            raise GraphTypeError(f"BatchKernel {self.metric!r} does not take {self.x.type}")
        return TensorType((self.x.shape[0], self.x.shape[0]), self.x.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        return Kernel(self.x, x, self.metric, self.gamma, self.coef0, self.degree).reference(x)


class BatchProduct(Op):
    """The product of each row of x with each row of y, x @ y.T. x, y: [N, M] of one float dtype. Result: [N, N].

    The order of summation is the executor's own.
    """

    whole_batch: ClassVar[bool] = True

    x: Op
    y: Op

    def infer(self) -> TensorType:
        if self.x.type != self.y.type or len(self.x.shape) != 2 or self.x.dtype.kind != "f":
            raise GraphTypeError(
                f"BatchProduct takes [N, M] twice, of one float dtype, not {self.x.type} {self.y.type}"
            )
        return TensorType((self.x.shape[0], self.x.shape[0]), self.x.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        x, y = operands
        return x @ y.T


class BatchDiagonal(Op):
    """The matrix with x on its diagonal and 0 beside it. x: [N, 1] float. Result: [N, N], dtype of x."""

    whole_batch: ClassVar[bool] = True

    x: Op

    def infer(self) -> TensorType:
        if self.x.shape[1:] != (1,) or self.x.dtype.kind != "f":
            raise GraphTypeError(f"BatchDiagonal takes [N, 1] float, not {self.x.type}")
        return TensorType((self.x.shape[0], self.x.shape[0]), self.x.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return np.diagflat(operands[0])


class Outer(Op):
    """Each element times each of the factors. x: any shape; factors: [T], dtype of x. Result: [*shape of x, T]."""

    x: Op
    factors: np.ndarray

    def infer(self) -> TensorType:
        if self.factors.ndim != 1 or self.factors.dtype != self.x.dtype:
            raise GraphTypeError(f"Outer of {self.x.type} and {self.factors.dtype}{self.factors.shape}")
        return TensorType((*self.x.shape, len(self.factors)), self.x.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return np.multiply.outer(operands[0], self.factors)
