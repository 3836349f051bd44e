"""Kernel machines: kernels between the batch and stored rows, sums over them, and what is computed from those."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Op, TensorType
from tensorml.ops.elementwise import Unary

BLOCK = 512  # stored rows that a sum takes together: measured, executors/torch/kernel.py
MATERN = ("matern 0.5", "matern 1.5", "matern 2.5")
DISTANCES = ("rbf", "rational quadratic", "periodic", *MATERN, "laplacian", "chi2", "additive chi2")
METRICS = ("polynomial", "sigmoid", *DISTANCES)
FLOAT64 = np.dtype(np.float64)


class Sin(Unary):
    """The sine. Executors agree within a few units in the last place."""

    function = np.sin


class Cos(Unary):
    """The cosine. Executors agree within a few units in the last place."""

    function = np.cos


class Erf(Unary):
    """The error function, as scipy.special.erf. Executors agree within a few units in the last place."""

    @staticmethod
    def function(x: np.ndarray) -> np.ndarray:
        """The error function of an array, in its dtype."""
        from scipy.special import erf

        return erf(x)


class KernelOp(Op):
    """The base of operators on a kernel between the rows of x [N, F] and stored rows y [M, F], both of one float dtype.

    metric, with the numbers g = gamma, c = coef0, d = degree:

    - "polynomial": (g x.y + c) ** d; "sigmoid": tanh(g x.y + c)
    - of s = sum (x - y)^2, "rbf": exp(-g s); "rational quadratic": (1 + g s) ** d
    - of its root r, "periodic": exp(-2 (sin(g r) / d)^2); "matern 0.5": exp(-r); "matern 1.5": (1 + t) exp(-t) with
      t = sqrt(3) r; "matern 2.5": (1 + t + t^2 / 3) exp(-t) with t = sqrt(5) r
    - "laplacian": exp(-g sum |x - y|)
    - "additive chi2": -sum (x - y)^2 / (x + y), without the terms of x + y = 0; "chi2": exp(g times that); x, y >= 0

    Sums of float32 differences are formed in float64 and rounded; the order of summation is the executor's own.
    """

    x: Op
    y: np.ndarray
    metric: str
    gamma: float
    coef0: float
    degree: float

    def infer(self) -> TensorType:
        if self.metric not in METRICS:
            raise GraphTypeError(f"{type(self).__name__} knows no kernel {self.metric!r}")
        fits = self.y.ndim == 2 and self.x.shape[1:] == self.y.shape[1:] and self.x.dtype == self.y.dtype
        if not fits or self.x.dtype.kind != "f":
            raise GraphTypeError(f"{type(self).__name__} of {self.x.type} and {self.y.dtype}{self.y.shape}")
        return TensorType((self.x.shape[0], *self.columns_of_result()), self.x.dtype)

    def columns_of_result(self) -> tuple[int, ...]:
        """The dimensions of the result after N."""
        return (len(self.y),)

    def block(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The kernel between x [N, F] and some of the stored rows, y [m, F]. Result: [N, m], their dtype."""
        g, c, d = self.gamma, self.coef0, self.degree
        with np.errstate(all="ignore"):
            if self.metric in DISTANCES:
                return self.of_sums(sums_over_features(x, y, self.metric).astype(x.dtype))
            product = x @ y.T * x.dtype.type(g) + x.dtype.type(c)
            return np.tanh(product) if self.metric == "sigmoid" else product ** x.dtype.type(d)

    def of_sums(self, sums: np.ndarray) -> np.ndarray:
        """The kernel, from its sums over the features."""
        gamma, degree = (sums.dtype.type(value) for value in (self.gamma, self.degree))
        match self.metric:
            case "additive chi2":
                return -sums
            case "rational quadratic":
                return (1 + sums * gamma) ** degree
            case "periodic":
                return np.exp(-2 * (np.sin(gamma * np.sqrt(sums)) / degree) ** 2)
            case name if name in MATERN:
                return matern(np.sqrt(sums), name)
        return np.exp(sums * -gamma)


class Kernel(KernelOp):
    """The kernel matrix. Result: [N, M], dtype of x."""

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return self.block(operands[0], self.y)

    def scratch_bytes(self) -> int:
        """The sums and one feature's part of them, in float64."""
        return 24 * len(self.y)


class KernelExpansion(KernelOp):
    """A sum of kernels, one for each stored row, times its coefficients: Kernel(x, y) @ coef.

    coef: [M, K], dtype of x. Result: [N, K], dtype of x. The kernel matrix is never whole: blocks of stored rows.
    """

    coef: np.ndarray

    def infer(self) -> TensorType:
        if self.coef.ndim != 2 or len(self.coef) != len(self.y) or self.coef.dtype != self.y.dtype:
            raise GraphTypeError(f"coefficients {self.coef.dtype}{self.coef.shape} do not fit {self.y.shape}")
        return super().infer()

    def columns_of_result(self) -> tuple[int, ...]:
        return (self.coef.shape[1],)

    def scratch_bytes(self) -> int:
        """A block of the kernel matrix and of its sums, and the rows of x once more."""
        return 24 * min(BLOCK, len(self.y)) + 16 * (self.x.columns + 2)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        total = np.zeros((len(x), self.coef.shape[1]), self.dtype)
        for start in range(0, len(self.y), BLOCK):
            part = slice(start, start + BLOCK)
            total += self.block(x, self.y[part]) @ self.coef[part]
        return total


def matern(distance: np.ndarray, name: str) -> np.ndarray:
    """A kernel of MATERN, of distances. Source: sklearn.gaussian_process.kernels.Matern."""
    if name == "matern 0.5":
        return np.exp(-distance)
    if name == "matern 1.5":
        t = distance * distance.dtype.type(math.sqrt(3))
        return (1 + t) * np.exp(-t)
    t = distance * distance.dtype.type(math.sqrt(5))
    return (1 + t + t**2 / 3) * np.exp(-t)


def sums_over_features(x: np.ndarray, y: np.ndarray, metric: str) -> np.ndarray:
    """The sum over the features that a kernel of DISTANCES is a function of. x: [N, F]; y: [m, F]; float64 [N, m]."""
    total = np.zeros((len(x), len(y)))
    for a, b in _features(x, y):
        difference = a - b
        if metric == "laplacian":
            total += np.abs(difference)
        elif metric.endswith("chi2"):
            both = a + b
            total += np.divide(difference**2, both, out=np.zeros_like(both), where=both != 0)
        else:
            total += difference**2
    return total


def _features(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Feature by feature, in float64: a column of x [N, 1], and of y [m]."""
    for f in range(x.shape[1]):
        yield x[:, f, None].astype(FLOAT64), y[:, f].astype(FLOAT64)


class SolveTriangular(Op):
    """For each row b of x the v with lower v = b. x: [N, M] float; lower: [M, M], lower triangular, dtype of x.

    Result: [N, M], dtype of x. Source: scipy.linalg.solve_triangular(lower, x.T, lower=True).T.
    """

    x: Op
    lower: np.ndarray

    def infer(self) -> TensorType:
        size = (self.x.columns, self.x.columns)
        if self.lower.shape != size or self.lower.dtype != self.x.dtype or self.x.dtype.kind != "f":
            raise GraphTypeError(f"SolveTriangular of {self.x.type} by {self.lower.dtype}{self.lower.shape}")
        return self.x.type

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        from scipy.linalg import solve_triangular

        return np.ascontiguousarray(solve_triangular(self.lower, operands[0].T, lower=True, check_finite=False).T)

    def scratch_bytes(self) -> int:
        """The rows in the order that the solver reads them."""
        return 2 * self.type.row_bytes()


class PairwiseCoupling(Op):
    """Probabilities of K classes from those of all pairs of classes, by fixed-point iteration.

    x: float64 [N, K (K - 1) / 2], the probability of class i against j for i < j, row by row of the triangle, each
    from 1e-7 to 1 - 1e-7. Result: float64 [N, K]. A row stops at an error below 0.005 / K, or after max(100, K) rounds.
    Source: libsvm's multiclass_probability; Wu, Lin and Weng, JMLR 5 (2004), second method.
    """

    x: Op
    classes: int

    def infer(self) -> TensorType:
        pairs = self.classes * (self.classes - 1) // 2
        if self.x.dtype != FLOAT64 or self.x.columns != pairs:
            raise GraphTypeError(f"PairwiseCoupling of {self.classes} classes does not take {self.x.type}")
        return TensorType((self.x.shape[0], self.classes), FLOAT64)

    def scratch_bytes(self) -> int:
        """The matrix of each row, once more while rows are put aside, and five vectors."""
        return 16 * self.classes**2 + 40 * self.classes

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        q, result = self.matrices(x), np.full((len(x), self.classes), 1.0 / self.classes)
        for row in range(len(x)):
            self.iterate(q[row], result[row])
        return result

    def matrices(self, x: np.ndarray) -> np.ndarray:
        """The matrix Q of each row, [N, K, K]: on the diagonal sums of r_ji^2, beside it -r_ji r_ij."""
        k = self.classes
        r = np.zeros((len(x), k, k))
        i, j = np.triu_indices(k, 1)
        r[:, i, j], r[:, j, i] = x, 1 - x
        q = -r * r.transpose(0, 2, 1)
        q[:, np.arange(k), np.arange(k)] = (r**2).sum(axis=1)
        return q

    def iterate(self, q: np.ndarray, p: np.ndarray) -> None:
        """Improve p [K] in place until it is good enough for q [K, K]."""
        k = self.classes
        for _ in range(max(100, k)):
            qp = q @ p
            pqp = p @ qp
            if np.abs(qp - pqp).max() < 0.005 / k:
                return
            for t in range(k):
                step = (-qp[t] + pqp) / q[t, t]
                p[t] += step
                pqp = (pqp + step * (step * q[t, t] + 2 * qp[t])) / (1 + step) / (1 + step)
                qp[:] = (qp + step * q[t]) / (1 + step)
                p /= 1 + step


class CircularProduct(Op):
    """The circular convolution of several sequences of each row. x: float64 [N, D, C]; result: float64 [N, C].

    Source: sklearn.kernel_approximation.PolynomialCountSketch, which goes through the Fourier transform.
    """

    x: Op

    def infer(self) -> TensorType:
        if self.x.dtype != FLOAT64 or len(self.x.shape) != 3:
            raise GraphTypeError(f"CircularProduct does not take {self.x.type}")
        return TensorType((self.x.shape[0], self.x.columns), FLOAT64)

    def scratch_bytes(self) -> int:
        """The transforms, complex, and their product."""
        return 2 * self.x.type.row_bytes() + 4 * self.type.row_bytes()

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return np.real(np.fft.ifft(np.prod(np.fft.fft(operands[0], axis=2), axis=1)))
