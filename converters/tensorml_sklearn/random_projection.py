"""Converters for sklearn.random_projection."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from tensorml.converter import Outputs, converter, fitted_attribute
from tensorml.errors import InputError
from tensorml.graph import Const, Op
from tensorml.ops import Sparse
from tensorml_sklearn.describe import SPARSE_TRANSFORM
from tensorml_sklearn.validation import FLOATS, finite, floating

Projection = GaussianRandomProjection | SparseRandomProjection
WIDE = FLOATS[:2]  # float64, float32


def projection_inverse(model: Projection, z: Op) -> Op:
    """The rows in the original space: z times the pseudo-inverse of the components.

    z: [N, n_components]; result: [N, F], float32 if z and the components are, else float64.
    Source: sklearn.random_projection.BaseRandomProjection.inverse_transform, which computes the pseudo-inverse in each
    call unless `compute_inverse_components`.
    """
    kept = model.compute_inverse_components
    inverse: Any = fitted_attribute(model, "inverse_components_") if kept else model._compute_inverse_components()
    if z.columns != inverse.shape[1]:
        name = type(model).__name__
        raise InputError(f"X has {z.columns} features, but {name}.inverse_transform is expecting {inverse.shape[1]}.")
    return finite(model, floating(z, WIDE)) @ Const(np.ascontiguousarray(inverse.T))


@converter(GaussianRandomProjection, SparseRandomProjection, inverse=projection_inverse, sparse=True)
def random_projection(model: Projection, x: Op) -> Outputs:
    """The rows on the random components; sparse for a sparse X, unless the components or `dense_output` say dense.

    x: [N, F]; result: [N, n_components], float32 if x and the components are, else float64.
    Source: sklearn.random_projection.GaussianRandomProjection.transform, SparseRandomProjection.transform.
    """
    rows = finite(model, floating(x.x if isinstance(x, Sparse) else x, WIDE))
    projected = rows @ Const(array(fitted_attribute(model, "components_").T))
    return {"transform": Sparse(projected) if isinstance(x, Sparse) and of_sparse(model) == "same" else projected}


def array(matrix: Any) -> np.ndarray:
    """A matrix, sparse or not, as an array."""
    return np.ascontiguousarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix)


def of_sparse(model: Projection) -> str:
    """What becomes of a sparse matrix."""
    sparse = isinstance(model, SparseRandomProjection) and not model.dense_output
    return "same" if sparse and hasattr(model.components_, "toarray") else "dense"


SPARSE_TRANSFORM.update(dict.fromkeys((GaussianRandomProjection, SparseRandomProjection), of_sparse))
