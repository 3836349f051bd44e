"""Converters for sklearn.decomposition."""

from __future__ import annotations

import math
import warnings

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils.extmath import fast_logdet

from tensorml.converter import Outputs, converter, fitted, fitted_attribute
from tensorml.errors import InputError
from tensorml.graph import Const, Op
from tensorml.ops import ReduceSum, cast, ravel
from tensorml_sklearn.describe import FLOATS, VERSION, finite, floating


def pca_inverse(model: PCA, z: Op) -> Op:
    """The rows in the original space: z @ components + mean, the components scaled back where `whiten` divided.

    z: [N, n_components_]; result: [N, F], float32 if z and the components both are, else float64.
    Source: sklearn.decomposition.PCA.inverse_transform. Before 1.8 it checked nothing: NaN and infinity pass, and
    integers and float16 meet the components in NumPy's promotion.
    """
    components = fitted_attribute(model, "components_")
    if z.columns != len(components):
        raise InputError(f"X has {z.columns} features, but PCA.inverse_transform is expecting {len(components)}.")
    if VERSION >= (1, 8):
        z = finite(model, floating(z, FLOATS[:2]))
    if model.whiten:
        components = np.sqrt(model.explained_variance_[:, np.newaxis]) * components
    return z @ Const(components) + fitted(model, "mean_")


@converter(PCA, inverse=pca_inverse)
def pca(model: PCA, x: Op) -> Outputs:
    """The projection on the principal components, and the log-likelihood of each row.

    x: [N, F]; transform: [N, n_components_]; score_samples: [N]; float32 if x and the components are, else float64.
    `score_samples` is absent where scikit-learn's raises for every input, because the precision does not exist.
    Source: sklearn.decomposition.PCA.transform, which subtracts the projected mean from the projected rows.
    """
    x = finite(model, floating(x, FLOATS[:2]))
    components = fitted_attribute(model, "components_")
    projected = x @ Const(components.T)
    dtype = projected.dtype
    projected = cast(projected - Const(np.reshape(model.mean_, (1, -1)) @ components.T), dtype)
    if model.whiten:
        projected = cast(projected / Const(whitening_scale(model)), dtype)
    precision = precision_of(model)
    outputs = {"transform": projected}
    return outputs if precision is None else outputs | {"score_samples": log_likelihood(model, x, precision)}


def whitening_scale(model: PCA) -> np.ndarray:
    """The standard deviation of each component, not below epsilon. Result: [n_components_].

    Source: sklearn.decomposition._base._BasePCA._transform.
    """
    scale = np.sqrt(model.explained_variance_)
    return np.maximum(scale, np.finfo(scale.dtype).eps)


def precision_of(model: PCA) -> np.ndarray | None:
    """The inverse of the covariance, [F, F]; None where it has none. Computed by scikit-learn's own get_precision.

    Its warnings, of a matrix that is nearly singular, are about score_samples, which may never be called.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return np.asarray(model.get_precision())
        except (np.linalg.LinAlgError, ValueError):
            return None


def log_likelihood(model: PCA, x: Op, precision: np.ndarray) -> Op:
    """The log-density of each row under the Gaussian that the model fitted. x: [N, F]; result: [N].

    Source: sklearn.decomposition.PCA.score_samples.
    """
    centered = x - fitted(model, "mean_")
    distance = centered * (centered @ Const(precision))
    log_like = ravel(ReduceSum(distance)) * -0.5
    constant = 0.5 * (x.columns * math.log(2.0 * math.pi) - fast_logdet(precision))
    return cast(log_like - Const(np.asarray(constant)), log_like.dtype)
