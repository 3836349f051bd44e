"""Converters for sklearn.cross_decomposition. `transform(X, y)` is refused: a converted model takes X alone."""

from __future__ import annotations

import numpy as np
from sklearn.cross_decomposition import CCA, PLSSVD, PLSCanonical, PLSRegression

from tensorml.converter import Outputs, converter, fitted, fitted_attribute
from tensorml.errors import InputError
from tensorml.graph import Const, Op
from tensorml.ops import cast, ravel
from tensorml_sklearn.validation import finite, floating

Pls = PLSRegression | PLSCanonical | CCA
FLOAT64 = np.dtype(np.float64)


def pls_inverse(model: Pls, z: Op) -> Op:
    """The rows in the original space: z @ loadings.T, times the standard deviations, plus the means.

    z: [N, n_components]; result: [N, F] float64. Source: sklearn.cross_decomposition._pls._PLS.inverse_transform.
    """
    loadings = fitted_attribute(model, "x_loadings_")
    if z.columns != loadings.shape[1]:
        name = type(model).__name__
        raise InputError(f"X has {z.columns} features, but {name}.inverse_transform is expecting {loadings.shape[1]}.")
    x = finite(model, floating(z)) @ Const(loadings.T)
    return x * fitted(model, "_x_std") + fitted(model, "_x_mean")


@converter(PLSRegression, PLSCanonical, CCA, inverse=pls_inverse)
def pls(model: Pls, x: Op) -> Outputs:
    """The scores of X, and the predicted targets.

    x: [N, F]; transform: [N, n_components] float64; predict: [N, targets] float64, [N] if y was one-dimensional in fit.
    Source: sklearn.cross_decomposition._pls._PLS.transform, predict: each scales a copy of X, in the dtype of X.
    """
    x = finite(model, floating(x))
    centered = cast(x - fitted(model, "_x_mean"), x.dtype)
    scaled = cast(centered / fitted(model, "_x_std"), x.dtype)
    predicted = centered @ Const(fitted_attribute(model, "coef_").T) + fitted(model, "intercept_")
    return {
        "transform": scaled @ fitted(model, "x_rotations_"),
        "predict": ravel(predicted) if fitted_attribute(model, "_predict_1d") else predicted,
    }


@converter(PLSSVD)
def pls_svd(model: PLSSVD, x: Op) -> Outputs:
    """The scores of X.

    x: [N, F]; result: [N, n_components] float64. Source: sklearn.cross_decomposition.PLSSVD.transform.
    """
    x = finite(model, floating(x, (FLOAT64,)))
    scaled = (x - fitted(model, "_x_mean")) / fitted(model, "_x_std")
    return {"transform": scaled @ fitted(model, "x_weights_")}
