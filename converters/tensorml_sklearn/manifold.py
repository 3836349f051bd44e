"""Converters for sklearn.manifold."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.manifold import Isomap, LocallyLinearEmbedding

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import Barycentre, MinPlus, ReduceSum, Untyped, WeightedRows, cast
from tensorml_sklearn.neighbors.search import FLOAT32, FLOAT64, search


@converter(Isomap)
def isomap(model: Any, x: Op) -> Outputs:
    """The projection of the squared lengths of the shortest paths through the row's neighbours.

    x: [N, F]; result: [N, components]. Source: sklearn.manifold.Isomap.transform.
    """
    if model.n_neighbors is None:
        raise unsupported(model, "its neighbours are all within a radius", "Fit it with n_neighbors")
    found = search(fitted_attribute(model, "nbrs_"), x)
    index = found.nearest(model.n_neighbors)
    paths = np.asarray(fitted_attribute(model, "dist_matrix_"))
    distance = found.distances_to(index)
    both = np.result_type(paths.dtype, distance.dtype)
    shortest = MinPlus(Const(paths.astype(both)), index, cast(distance, both))
    shortest = cast(shortest, FLOAT32 if x.dtype == FLOAT32 and not isinstance(x, Untyped) else FLOAT64)
    return {"transform": _projected(model.kernel_pca_, shortest * shortest * -0.5)}


def _projected(model: Any, kernel: Op) -> Op:
    """The kernel [N, M], centred and projected. Source: sklearn.decomposition.KernelPCA.transform, KernelCenterer."""
    centre = model._centerer
    rows, overall = np.asarray(centre.K_fit_rows_), centre.K_fit_all_
    dtype = kernel.dtype
    mean = ReduceSum(kernel) / len(rows)
    kernel = cast(cast(cast(kernel - rows, dtype) - mean, dtype) + overall, dtype)
    values, vectors = model.eigenvalues_, model.eigenvectors_
    scaled = np.zeros_like(vectors)
    known = np.flatnonzero(values)
    scaled[:, known] = vectors[:, known] / np.sqrt(values[known])
    both = np.result_type(dtype, scaled.dtype)
    return cast(kernel, both) @ np.ascontiguousarray(scaled.astype(both))


@converter(LocallyLinearEmbedding)
def locally_linear_embedding(model: Any, x: Op) -> Outputs:
    """The neighbours' embedding, weighted as the row is made of its neighbours.

    x: [N, F]; result: float64 [N, components]. Source: sklearn.manifold.LocallyLinearEmbedding.transform.
    """
    neighbours = fitted_attribute(model, "nbrs_")
    found = search(neighbours, x)
    index = found.nearest(model.n_neighbors)
    x = x if x.dtype.kind == "f" else cast(x, FLOAT64)
    rows = np.asarray(neighbours._fit_X)
    both = np.result_type(x.dtype, rows.dtype)
    if both.kind != "f":
        both = FLOAT64
    weight = Barycentre(cast(x, both), Const(rows.astype(both)), index, float(model.reg))
    weight = cast(cast(weight, x.dtype), FLOAT64)
    return {"transform": WeightedRows(Const(np.asarray(model.embedding_, np.float64)), index, weight)}
