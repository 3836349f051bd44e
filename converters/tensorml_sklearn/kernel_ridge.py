"""Converters for sklearn.kernel_ridge."""

from __future__ import annotations

import numpy as np
from sklearn.kernel_ridge import KernelRidge

from tensorml.converter import Outputs, converter, fitted_attribute
from tensorml.graph import Op
from tensorml.ops import ravel
from tensorml_sklearn.pairwise import pairs


@converter(KernelRidge)
def kernel_ridge(model: KernelRidge, x: Op) -> Outputs:
    """Kernels between x and the rows of `fit`, times the dual coefficients: [N], or [N, K] for several targets.

    float32 if x, the rows of `fit` and the coefficients are, else float64.
    Source: sklearn.kernel_ridge.KernelRidge.predict.
    """
    coef = np.asarray(fitted_attribute(model, "dual_coef_"))
    parameters = {"gamma": model.gamma, "degree": model.degree, "coef0": model.coef0}
    predicted = pairs(model, x, model.X_fit_, model.kernel, parameters).expansion(coef.reshape(len(coef), -1))
    return {"predict": ravel(predicted) if coef.ndim == 1 else predicted}
