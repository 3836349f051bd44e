"""Converters for the models of sklearn.decomposition whose methods are matrix products."""

from __future__ import annotations

import math
import warnings

import numpy as np
from scipy import linalg
from sklearn.decomposition import (
    PCA,
    FactorAnalysis,
    FastICA,
    IncrementalPCA,
    MiniBatchSparsePCA,
    SparsePCA,
    TruncatedSVD,
)
from sklearn.linear_model import ridge_regression
from sklearn.utils.extmath import fast_logdet

from tensorml.converter import Outputs, converter, fitted, fitted_attribute
from tensorml.errors import InputError
from tensorml.graph import Const, Op
from tensorml.ops import FlatRow, ReduceSum, Sparse, Untyped, cast, ravel
from tensorml_sklearn.describe import SPARSE_TRANSFORM, VERSION
from tensorml_sklearn.validation import FLOATS, finite, floating

WIDE = FLOATS[:2]  # float64, float32


def dense(x: Op) -> Op:
    """X, from a step that returned a sparse matrix as well: what follows is a product, which is the same."""
    return x.x if isinstance(x, Sparse) else x


def numbers(model: object, x: Op) -> Op:
    """X in the dtype that NumPy gives it, finite; of Python objects as float64.

    Source: sklearn.utils.validation.check_array(dtype="numeric").
    """
    return finite(model, x.x if isinstance(x, Untyped) else x)


def require_components(model: object, z: Op, expected: int) -> None:
    """Raise InputError for a way back from another number of columns."""
    if z.columns != expected:
        name = type(model).__name__
        raise InputError(f"X has {z.columns} features, but {name}.inverse_transform is expecting {expected}.")


def pca_inverse(model: PCA | IncrementalPCA, z: Op) -> Op:
    """The rows in the original space: z @ components + mean, the components scaled back where `whiten` divided.

    z: [N, n_components_]; result: [N, F], float32 if z and the components both are, else float64.
    Source: sklearn.decomposition.PCA.inverse_transform. Before 1.8 it checked nothing: NaN and infinity pass, and
    integers and float16 meet the components in NumPy's promotion.
    """
    components = fitted_attribute(model, "components_")
    require_components(model, z, len(components))
    if VERSION >= (1, 8):
        z = finite(model, floating(z, WIDE))
    if model.whiten:
        components = np.sqrt(fitted_attribute(model, "explained_variance_")[:, np.newaxis]) * components
    return z @ Const(components) + fitted(model, "mean_")


@converter(PCA, inverse=pca_inverse, sparse=True)
def pca(model: PCA, x: Op) -> Outputs:
    """The projection on the principal components, and the log-likelihood of each row.

    x: [N, F]; transform: [N, n_components_]; score_samples: [N]; float32 if x and the components are, else float64.
    `score_samples` is absent where scikit-learn's raises for every input, because the precision does not exist.
    Source: sklearn.decomposition.PCA.transform, which subtracts the projected mean from the projected rows.
    """
    x = finite(model, floating(dense(x), WIDE))
    precision = precision_of(model)
    outputs = {"transform": projection(model, x)}
    return outputs if precision is None else outputs | {"score_samples": log_likelihood(model, x, precision)}


@converter(IncrementalPCA, inverse=pca_inverse, sparse=True)
def incremental_pca(model: IncrementalPCA, x: Op) -> Outputs:
    """The projection on the principal components; batches matter to `fit` alone.

    x: [N, F]; result: [N, n_components_], float32 if x and the components are, else float64.
    Source: sklearn.decomposition.IncrementalPCA.transform.
    """
    return {"transform": projection(model, finite(model, floating(dense(x), WIDE)))}


def projection(model: PCA | IncrementalPCA, x: Op) -> Op:
    """The rows on the principal components, over the standard deviations where the model whitens.

    Source: sklearn.decomposition._base._BasePCA._transform.
    """
    components = fitted_attribute(model, "components_")
    projected = x @ Const(components.T)
    dtype = projected.dtype
    projected = cast(projected - Const(np.reshape(model.mean_, (1, -1)) @ components.T), dtype)
    return cast(projected / Const(whitening_scale(model)), dtype) if model.whiten else projected


def whitening_scale(model: PCA | IncrementalPCA) -> np.ndarray:
    """The standard deviation of each component, not below epsilon. Result: [n_components_].

    Source: sklearn.decomposition._base._BasePCA._transform.
    """
    scale = np.sqrt(fitted_attribute(model, "explained_variance_"))
    return np.maximum(scale, np.finfo(scale.dtype).eps)


def precision_of(model: PCA | FactorAnalysis) -> np.ndarray | None:
    """The inverse of the covariance, [F, F]; None where it has none. Computed by scikit-learn's own get_precision.

    Its warnings, of a matrix that is nearly singular, are about score_samples, which may never be called.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return np.asarray(model.get_precision())
        except (np.linalg.LinAlgError, ValueError):
            return None


def log_likelihood(model: PCA | FactorAnalysis, x: Op, precision: np.ndarray) -> Op:
    """The log-density of each row under the Gaussian that the model fitted. x: [N, F]; result: [N].

    Source: sklearn.decomposition.PCA.score_samples, FactorAnalysis.score_samples.
    """
    centered = x - fitted(model, "mean_")
    distance = centered * (centered @ Const(precision))
    log_like = ravel(ReduceSum(distance)) * -0.5
    constant = 0.5 * (x.columns * math.log(2.0 * math.pi) - fast_logdet(precision))
    return cast(log_like - Const(np.asarray(constant)), log_like.dtype)


def truncated_svd_inverse(model: TruncatedSVD, z: Op) -> Op:
    """The rows in the original space: z @ components.

    z: [N, n_components]; result: [N, F]. Source: sklearn.decomposition.TruncatedSVD.inverse_transform.
    """
    components = fitted_attribute(model, "components_")
    require_components(model, z, len(components))
    return numbers(model, z) @ Const(components)


@converter(TruncatedSVD, inverse=truncated_svd_inverse, sparse=True)
def truncated_svd(model: TruncatedSVD, x: Op) -> Outputs:
    """The projection on the right singular vectors.

    x: [N, F]; result: [N, n_components], in NumPy's promotion of x and the components.
    Source: sklearn.decomposition.TruncatedSVD.transform.
    """
    return {"transform": numbers(model, dense(x)) @ Const(fitted_attribute(model, "components_").T)}


def fast_ica_inverse(model: FastICA, z: Op) -> Op:
    """The mixed signals: z @ mixing.T, plus the mean where it was subtracted.

    z: [N, n_components]; result: [N, F], float32 if z and the mixing are, else float64.
    Source: sklearn.decomposition.FastICA.inverse_transform.
    """
    mixing = fitted_attribute(model, "mixing_")
    require_components(model, z, mixing.shape[1])
    x = finite(model, floating(z, WIDE)) @ Const(mixing.T)
    return cast(x + fitted(model, "mean_"), x.dtype) if model.whiten else x


@converter(FastICA, inverse=fast_ica_inverse)
def fast_ica(model: FastICA, x: Op) -> Outputs:
    """The sources: (x - mean) @ components.T, without the mean where `whiten` is False.

    x: [N, F]; result: [N, n_components], float32 if x and the components are, else float64.
    Source: sklearn.decomposition.FastICA.transform, which subtracts in a copy of x, in the dtype of x.
    """
    x = finite(model, floating(x, WIDE))
    if model.whiten:
        x = cast(x - fitted(model, "mean_"), x.dtype)
    return {"transform": x @ Const(fitted_attribute(model, "components_").T)}


@converter(FactorAnalysis)
def factor_analysis(model: FactorAnalysis, x: Op) -> Outputs:
    """The expected mean of the latent variables, and the log-likelihood of each row.

    x: [N, F]; transform: [N, n_components] float64; score_samples: [N] float64.
    Source: sklearn.decomposition.FactorAnalysis.transform, score_samples.
    """
    x = numbers(model, x)
    components = fitted_attribute(model, "components_")
    weights = components / model.noise_variance_
    covariance = linalg.inv(np.eye(len(components)) + np.dot(weights, components.T))
    outputs = {"transform": (x - fitted(model, "mean_")) @ Const(weights.T) @ Const(covariance)}
    precision = precision_of(model)
    return outputs if precision is None else outputs | {"score_samples": log_likelihood(model, x, precision)}


def sparse_pca_inverse(model: SparsePCA | MiniBatchSparsePCA, z: Op) -> Op:
    """The rows in the original space: z @ components + mean.

    z: [N, n_components]; result: [N, F]. Source: sklearn.decomposition._sparse_pca._BaseSparsePCA.inverse_transform.
    """
    components = fitted_attribute(model, "components_")
    require_components(model, z, len(components))
    return numbers(model, z) @ Const(components) + fitted(model, "mean_")


@converter(SparsePCA, MiniBatchSparsePCA, inverse=sparse_pca_inverse)
def sparse_pca(model: SparsePCA | MiniBatchSparsePCA, x: Op) -> Outputs:
    """The ridge regression of each row on the components: the components are fixed, so it is a matrix.

    x: [N, F]; result: [N, n_components], dtype of the components; [n_components] for a single row.
    Source: sklearn.decomposition._sparse_pca._BaseSparsePCA.transform; ridge_regression casts its target to the dtype
    of the components, and returns the coefficients of a single target without the dimension of targets.
    """
    components = fitted_attribute(model, "components_")
    x = cast(numbers(model, x) - fitted(model, "mean_"), components.dtype)
    return {"transform": FlatRow(x @ Const(ridge_matrix(model)))}


def ridge_matrix(model: SparsePCA | MiniBatchSparsePCA) -> np.ndarray:
    """What ridge regression on the components multiplies a row with: its result for the unit vectors.

    Result: [F, n_components], dtype of the components.
    """
    components = model.components_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a matrix that is nearly singular: the source warns at each call
        units = np.eye(components.shape[1], dtype=components.dtype)
        return np.asarray(ridge_regression(components.T, units, model.ridge_alpha, solver="cholesky"))


SPARSE_TRANSFORM.update(dict.fromkeys((PCA, IncrementalPCA, TruncatedSVD), lambda _: "dense"))
