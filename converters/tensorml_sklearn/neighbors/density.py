"""The converter for kernel densities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.neighbors import KDTree, KernelDensity

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import Cos, Distance, Log, LogSumExp, Where, cast, ravel
from tensorml.ops.distance import METRICS, NO_WEIGHTS
from tensorml_sklearn.neighbors.search import FLOAT64, NAMES
from tensorml_sklearn.validation import finite

KERNELS: dict[str, Callable[[Op, float], Op]] = {
    "gaussian": lambda d, h: (d * d) * -0.5 / (h * h),
    "tophat": lambda d, h: d * 0.0,
    "epanechnikov": lambda d, h: Log(1.0 - (d * d) / (h * h)),
    "exponential": lambda d, h: -d / h,
    "linear": lambda d, h: Log(1.0 - d / h),
    "cosine": lambda d, h: Log(Cos(d * (0.5 * np.pi) / h)),
}


@converter(KernelDensity)
def kernel_density(model: Any, x: Op) -> Outputs:
    """The logarithm of the mean of kernels around the training rows.

    x: [N, F]; result: float64 [N], -inf where no kernel reaches.
    Source: sklearn.neighbors.KernelDensity.score_samples, which leaves out what is below its tolerances (rtol 1e-8).
    """
    if model.atol > 0 or model.rtol > 1e-6:
        raise unsupported(
            model, f"atol={model.atol}, rtol={model.rtol}: scikit-learn stops early", "Fit it with atol=0, rtol=1e-8"
        )
    name = NAMES.get(model.metric, model.metric)
    parameters = dict(model.metric_params or {})
    p = float(parameters.pop("p", 2))
    if parameters or name not in METRICS or name in ("seuclidean", "mahalanobis"):
        raise unsupported(
            model, f"metric {model.metric!r} with {model.metric_params} is not reproduced", "Use metric='euclidean'"
        )
    x = cast(finite(model, x), FLOAT64)
    tree, h = fitted_attribute(model, "tree_"), float(fitted_attribute(model, "bandwidth_"))
    rows, weight = np.asarray(tree.data), tree.sample_weight
    log_kernel = _log_kernels(model.kernel, Distance(x, Const(rows), name, p, NO_WEIGHTS, True), h)
    if weight is not None:
        log_kernel = log_kernel + Const(np.log(np.asarray(weight)))
    total = len(rows) if weight is None else tree.sum_weight
    return {"score_samples": ravel(LogSumExp(log_kernel)) + (_norm(model, rows.shape[1], h) - np.log(total))}


def _log_kernels(kernel: str, distance: Op, h: float) -> Op:
    """The logarithms of the kernels at these distances. Source: sklearn.neighbors._binary_tree.compute_log_kernel."""
    value = KERNELS[kernel](distance, h)
    if kernel in ("gaussian", "exponential"):
        return value
    return Where(distance < Const(np.array(h)), value, Const(np.array(-np.inf)))


def _norm(model: Any, width: int, h: float) -> float:
    """The logarithm of the kernel's norm: its density at its only training row."""
    origin = np.zeros((1, width))
    return float(KDTree(origin).kernel_density(origin, h, kernel=model.kernel, return_log=True)[0])
