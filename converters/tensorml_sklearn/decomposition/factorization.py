"""Converters for the models of sklearn.decomposition that solve for non-negative weights: NMF and topics."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import NMF, LatentDirichletAllocation, MiniBatchNMF

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.errors import InputError
from tensorml.graph import Const, Op
from tensorml.ops import MultiplicativeUpdates, NonNegativeDescent, ReduceSum, Require, TopicWeights, Untyped, cast
from tensorml_sklearn.decomposition.components import WIDE, dense
from tensorml_sklearn.describe import SPARSE_TRANSFORM
from tensorml_sklearn.validation import finite, floating

LOSSES = {"frobenius": 2.0, "kullback-leibler": 1.0, "itakura-saito": 0.0}
ZEROS = (
    "When beta_loss <= 0 and X contains zeros, the solver may diverge. Please add small values to X, or use a positive "
    "beta_loss."
)


def not_negative(x: Op, reader: str) -> Op:
    """X after the check that no element is negative. Source: sklearn.utils.validation.check_non_negative."""
    return Require(x, x >= 0, f"Negative values in data passed to {reader}.")


def nmf_inverse(model: NMF | MiniBatchNMF, z: Op) -> Op:
    """The rows in the original space: z @ components.

    z: [N, n_components]; result: [N, F], in NumPy's promotion.
    Source: sklearn.decomposition._nmf._BaseNMF.inverse_transform, which checks nothing.
    """
    components = fitted_attribute(model, "components_")
    if z.columns != len(components):
        name = type(model).__name__
        raise InputError(f"X has {z.columns} features, but {name}.inverse_transform is expecting {len(components)}.")
    if isinstance(z, Untyped):
        raise InputError(f"{type(model).__name__}.inverse_transform takes an array. Convert it: np.asarray(X).")
    return z @ Const(components)


@converter(NMF, inverse=nmf_inverse, sparse=True)
def nmf(model: NMF, x: Op) -> Outputs:
    """The non-negative weights of the components; a row's depend on the batch, whose error stops the solver.

    x: [N, F] float32 or float64, as the components; result: [N, n_components], dtype of x.
    Source: sklearn.decomposition.NMF.transform.
    """
    x = finite(model, floating(dense(x), WIDE))
    components = np.asarray(fitted_attribute(model, "components_"))
    if x.dtype != components.dtype:
        raise unsupported(
            model,
            f"its components are {components.dtype}, and its transform refuses rows of {x.dtype}",
            f"Pass rows of {components.dtype}: convert(model, X)",
        )
    x = not_negative(x, "NMF (input X)")
    if model.solver == "cd":
        return {"transform": by_descent(model, x, components)}
    beta = loss(model)
    x = Require(x, x > 0, ZEROS) if beta <= 0 else x
    gamma = exponent(beta)
    l1, l2 = penalties(model, x)
    updates = MultiplicativeUpdates(
        x, Const(components), beta, l1, l2, gamma, float(model.tol), int(model.max_iter), divergence=True
    )
    return {"transform": updates}


def by_descent(model: NMF, x: Op, components: np.ndarray) -> Op:
    """The weights by coordinate descent. Source: sklearn.decomposition._nmf._update_coordinate_descent."""
    l1, l2 = penalties(model, x)
    gram = np.dot(components, components.T)
    gram.flat[:: len(gram) + 1] += l2
    linear = x @ Const(np.ascontiguousarray(components.T))
    linear = cast(linear - l1, x.dtype) if l1 else linear
    return NonNegativeDescent(linear, Const(gram), coordinates(model, len(gram)), float(model.tol), int(model.max_iter))


def coordinates(model: NMF, count: int) -> np.ndarray:
    """The order of the coordinates in each iteration: one for all, or shuffled by a fixed seed. int64 [R, count]."""
    if not model.shuffle:
        return np.arange(count)[None, :]
    if not isinstance(model.random_state, int | np.integer):
        raise unsupported(
            model,
            f"shuffle=True draws the order of the components from random_state={model.random_state!r}, so that each "
            "call returns another result",
            "Set random_state to an integer, or shuffle=False",
        )
    generator = np.random.RandomState(model.random_state)
    return np.array([generator.permutation(count) for _ in range(model.max_iter)], np.int64)


def loss(model: NMF | MiniBatchNMF) -> float:
    """The beta of the divergence. Source: sklearn.decomposition._nmf._beta_loss_to_float."""
    return LOSSES[model.beta_loss] if isinstance(model.beta_loss, str) else float(model.beta_loss)


def exponent(beta: float) -> float:
    """The exponent of a multiplicative update. Source: sklearn.decomposition._nmf._fit_multiplicative_update."""
    if beta < 1:
        return 1.0 / (2.0 - beta)
    return 1.0 / (beta - 1.0) if beta > 2 else 1.0


def penalties(model: NMF | MiniBatchNMF, x: Op) -> tuple[float, float]:
    """The penalties l1 and l2 of the weights. Source: sklearn.decomposition._nmf._BaseNMF._compute_regularization."""
    scale = x.columns * model.alpha_W
    return float(scale * model.l1_ratio), float(scale * (1.0 - model.l1_ratio))


@converter(MiniBatchNMF, inverse=nmf_inverse, sparse=True)
def mini_batch_nmf(model: MiniBatchNMF, x: Op) -> Outputs:
    """The non-negative weights of the components, by multiplicative updates of all rows together.

    x: [N, F], not checked for negative values; result: [N, n_components], dtype of x, float64 for integers.
    Source: sklearn.decomposition.MiniBatchNMF.transform, _solve_W.
    """
    x = finite(model, floating(dense(x), WIDE))
    beta, (l1, l2) = loss(model), penalties(model, x)
    most = model.max_iter if model.transform_max_iter is None else model.transform_max_iter
    components = Const(fitted_attribute(model, "components_"))
    updates = MultiplicativeUpdates(x, components, beta, l1, l2, exponent(beta), float(model.tol), int(most), False)
    return {"transform": updates}


@converter(LatentDirichletAllocation, sparse=True)
def latent_dirichlet_allocation(model: LatentDirichletAllocation, x: Op, *, normalize: bool = True) -> Outputs:
    """The weights of the topics in each document, as shares unless `normalize` is False.

    x: [N, F] counts; result: [N, n_components], dtype of the components. Each row is solved by itself.
    Source: sklearn.decomposition.LatentDirichletAllocation.transform.
    """
    topics = np.asarray(fitted_attribute(model, "exp_dirichlet_component_"))
    dtype = fitted_attribute(model, "components_").dtype
    rows = dense(x)
    x = finite(model, cast(rows.x if isinstance(rows, Untyped) else rows, dtype))
    x = not_negative(x, "LatentDirichletAllocation.transform")
    prior, tol = float(model.doc_topic_prior_), float(model.mean_change_tol)
    weights = TopicWeights(x, Const(topics.astype(dtype)), prior, int(model.max_doc_update_iter), tol)
    return {"transform": weights / ReduceSum(weights) if normalize else weights}


def of_sparse(model: NMF | MiniBatchNMF) -> str:
    """What becomes of a sparse matrix. Multiplicative updates but those of beta 2 err on CSC matrices.

    Source: sklearn.decomposition._nmf._multiplicative_update_w pairs the elements of a CSC matrix, by columns, with
    those of a CSR one, by rows.
    """
    updates = isinstance(model, MiniBatchNMF) or model.solver == "mu"
    return "dense of csr" if updates and loss(model) != 2 else "dense"


SPARSE_TRANSFORM.update(dict.fromkeys((NMF, MiniBatchNMF), of_sparse))
SPARSE_TRANSFORM[LatentDirichletAllocation] = lambda _: "dense"
