"""The kernels of sklearn.metrics.pairwise, as estimators use them: by name, between the input and rows they stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics.pairwise import KERNEL_PARAMS
from sklearn.preprocessing import normalize

from tensorml.converter import unsupported
from tensorml.errors import InputError
from tensorml.graph import Const, Op
from tensorml.ops import BatchKernel, BatchProduct, Kernel, KernelExpansion, ReduceSum, Require, Sqrt, Where, cast, full
from tensorml_sklearn.validation import finite, floating

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
OPERATORS = {"poly": "polynomial", "additive_chi2": "additive chi2"}  # where the operator has another name
PRODUCTS = ("linear", "cosine")  # kernels that are a matrix product and nothing more
PRECOMPUTED = "precomputed"


@dataclass(frozen=True)
class Pairs:
    """Rows of the batch and rows that the model stored, ready for a kernel, with its name and numbers.

    x: [N, F]; y: [M, F], of one dtype, float32 or float64. For "precomputed" x is the kernel matrix [N, M].
    """

    x: Op
    y: np.ndarray
    metric: str
    gamma: float
    coef0: float
    degree: float

    def matrix(self) -> Op:
        """The kernel matrix, [N, M]."""
        if self.metric == PRECOMPUTED:
            return self.x
        if self.metric in PRODUCTS:
            return self.x @ Const(np.ascontiguousarray(self.y.T))
        return Kernel(self.x, self.y, self.operator, self.gamma, self.coef0, self.degree)

    def expansion(self, coef: np.ndarray) -> Op:
        """The kernel matrix times coef [M, K], without the matrix: [N, K], of the dtype that NumPy promotes to."""
        dtype = np.result_type(self.x.dtype, coef.dtype)
        x, y, coef = cast(self.x, dtype), self.y.astype(dtype), coef.astype(dtype)
        if not len(coef):
            return full(x, (coef.shape[1],), 0.0, dtype)
        if self.metric == PRECOMPUTED:
            return x @ Const(coef)
        if self.metric in PRODUCTS:
            return x @ Const(y.T @ coef)
        return KernelExpansion(x, y, self.operator, self.gamma, self.coef0, self.degree, coef)

    def batch(self) -> Op:
        """The kernel matrix of the rows of the batch with each other, [N, N]."""
        if self.metric in PRODUCTS:
            return BatchProduct(self.x, self.x)
        return BatchKernel(self.x, self.operator, self.gamma, self.coef0, self.degree)

    @property
    def operator(self) -> str:
        """The operator's name of the kernel."""
        return OPERATORS.get(self.metric, self.metric)


def dense(rows: Any) -> np.ndarray:
    """Stored rows as an array, where the model was fitted on a sparse matrix too."""
    return rows.toarray() if hasattr(rows, "toarray") else np.asarray(rows)


def require_named(model: Any, kernel: Any) -> str:
    """The kernel's name. Raises UnsupportedModelError for a callable."""
    if not isinstance(kernel, str):
        raise unsupported(
            model,
            f"its kernel is a Python callable, {kernel!r}",
            "Fit it with a named kernel, or with kernel='precomputed' on the matrix that the callable returns",
        )
    return kernel


def pairs(model: Any, x: Op, rows: Any, kernel: Any, parameters: Mapping[str, Any]) -> Pairs:
    """The batch and the stored rows for a kernel. Missing parameters and gamma None have scikit-learn's defaults.

    x: [N, F]; both are read as float32 if both are, else as float64; negative numbers are refused for chi2.
    Source: sklearn.metrics.pairwise.pairwise_kernels(filter_params=True), check_pairwise_arrays.
    """
    metric, y = require_named(model, kernel), dense(rows)
    dtype = FLOAT32 if x.dtype == y.dtype == FLOAT32 else FLOAT64
    x = cast(finite(model, floating(x)), dtype)
    if metric == PRECOMPUTED:
        return precomputed(x, y)
    y = y.astype(dtype)
    taken = {name: value for name, value in parameters.items() if name in KERNEL_PARAMS[metric]}
    gamma = taken.get("gamma")
    gamma = (1.0 if metric == "chi2" else 1.0 / y.shape[1]) if gamma is None else float(gamma)
    numbers = gamma, float(taken.get("coef0", 1)), float(taken.get("degree", 3))
    if metric == "laplacian":  # distances are float64 there, whatever the input
        x, y = cast(x, FLOAT64), y.astype(FLOAT64)
    if metric.endswith("chi2"):
        x = Require(x, x >= 0.0, "X contains negative values.")
    if metric == "cosine":
        x, y = normalized(x), np.asarray(normalize(y))
    return Pairs(x, y, "polynomial" if metric == "poly" else metric, *numbers)


def precomputed(x: Op, y: np.ndarray) -> Pairs:
    """The input as the kernel matrix. Raises InputError unless it has a column for each of the stored rows."""
    if x.columns != len(y):
        raise InputError(
            f"Precomputed metric requires shape (n_queries, n_indexed). Got (n, {x.columns}) for {len(y)} indexed."
        )
    return Pairs(x, y, PRECOMPUTED, 0.0, 0.0, 0.0)


def normalized(x: Op) -> Op:
    """Each row over its length; rows no longer than ten times epsilon as they are. x: [N, F] float.

    Source: sklearn.preprocessing.normalize.
    """
    length = Sqrt(ReduceSum(x * x))
    one, least = (Const(np.array(value, x.dtype)) for value in (1, 10 * np.finfo(x.dtype).eps))
    return x / Where(length < least, one, length)
