"""Converter for sklearn.decomposition.KernelPCA."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.decomposition import KernelPCA

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.errors import InputError
from tensorml.graph import Const, Op
from tensorml_sklearn.describe import SPARSE_TRANSFORM
from tensorml_sklearn.pairwise import pairs


def parameters(model: KernelPCA) -> dict[str, Any]:
    """What the kernel is called with. Source: sklearn.decomposition.KernelPCA._get_kernel."""
    return {"gamma": model.gamma_, "degree": model.degree, "coef0": model.coef0}


def kernel_pca_inverse(model: KernelPCA, z: Op) -> Op:
    """The rows in the original space, by kernel ridge regression: kernels between z and the transformed rows of `fit`.

    z: [N, components]; result: [N, F]. Source: sklearn.decomposition.KernelPCA.inverse_transform.
    """
    if not model.fit_inverse_transform:
        raise unsupported(
            model,
            "it was fitted with fit_inverse_transform=False, so that its inverse_transform raises",
            "Fit it with fit_inverse_transform=True",
        )
    stored = fitted_attribute(model, "X_transformed_fit_")
    if z.columns != stored.shape[1]:
        raise InputError(f"X has {z.columns} features, but KernelPCA.inverse_transform is expecting {stored.shape[1]}.")
    return pairs(model, z, stored, model.kernel, parameters(model)).expansion(np.asarray(model.dual_coef_))


@converter(KernelPCA, inverse=kernel_pca_inverse)
def kernel_pca(model: KernelPCA, x: Op) -> Outputs:
    """The centred kernel matrix times the scaled eigenvectors: [N, components], 0 for components of eigenvalue 0.

    k - rows - mean(k) + all, times a, is k @ (a - mean(a)) - rows @ a + all * sum(a): the kernel matrix is never whole.
    float32 if x, the rows of `fit` and the eigenvectors are, else float64.
    Source: sklearn.decomposition.KernelPCA.transform, sklearn.preprocessing.KernelCenterer.transform.
    """
    vectors, values = np.asarray(fitted_attribute(model, "eigenvectors_")), np.asarray(model.eigenvalues_)
    known = values != 0
    scaled = np.zeros_like(vectors)
    scaled[:, known] = vectors[:, known] / np.sqrt(values[known])
    projected = pairs(model, x, model.X_fit_, model.kernel, parameters(model)).expansion(centered(scaled))
    rows, everything = model._centerer.K_fit_rows_, model._centerer.K_fit_all_
    offset = everything * scaled.sum(axis=0, dtype=np.float64) - rows.astype(np.float64) @ scaled
    return {"transform": projected + Const(offset.astype(projected.dtype))}


def centered(scaled: np.ndarray) -> np.ndarray:
    """The columns minus their means, which subtracts from every kernel value the mean of its row."""
    return (scaled - scaled.mean(axis=0, dtype=np.float64)).astype(scaled.dtype)


SPARSE_TRANSFORM[KernelPCA] = lambda _: "dense"
