"""Converters for sklearn.mixture: Gaussian densities of four kinds of covariance, and their weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import digamma
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.mixture._gaussian_mixture import _compute_log_det_cholesky, _estimate_log_gaussian_prob

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import ArgMax, Exp, LogSumExp, ReduceSum, cast, concat, ravel
from tensorml_sklearn.validation import finite

FLOAT64 = np.dtype(np.float64)
READ = {"float64", "float32", "float16", "int64", "int32"}


@converter(GaussianMixture)
def gaussian_mixture(model: Any, x: Op) -> Outputs:
    """The component of the largest density, all components' probabilities, and the log density of X.

    Source: sklearn.mixture._base.BaseMixture.
    """
    return _mixture(model, log_density(model, _input(model, x)))


@converter(BayesianGaussianMixture)
def bayesian_gaussian_mixture(model: Any, x: Op) -> Outputs:
    """As of a GaussianMixture, with the expected logarithms of precisions and weights.

    Source: sklearn.mixture._bayesian_mixture.BayesianGaussianMixture._estimate_log_prob.
    """
    freedom = np.asarray(fitted_attribute(model, "degrees_of_freedom_"))
    features = model.means_.shape[1]
    gauss = log_density(model, _input(model, x)) - Const(np.asarray(0.5 * features * np.log(freedom)))
    halves = 0.5 * (freedom - np.arange(0, features)[:, np.newaxis])
    log_lambda = features * np.log(2.0) + np.sum(digamma(halves), 0)
    return _mixture(model, gauss + Const(np.asarray(0.5 * (log_lambda - features / model.mean_precision_))))


def _mixture(model: Any, log_probability: Op) -> Outputs:
    """What each component's log density, [N, K], and its weight make together."""
    with np.errstate(divide="ignore"):  # a weight of 0
        weighted = log_probability + np.asarray(model._estimate_log_weights())
    norm = LogSumExp(weighted)
    return {"predict": ArgMax(weighted), "predict_proba": Exp(weighted - norm), "score_samples": ravel(norm)}


def _input(model: Any, x: Op) -> Op:
    """X as it is, if its dtype holds the squares that the source writes into it. Raises UnsupportedModelError."""
    narrow = x.dtype.name == "float16" and model.covariance_type == "spherical"
    if x.dtype.name not in READ or narrow:
        raise unsupported(
            model,
            f"scikit-learn computes squares of {x.dtype} rows in that dtype, where they overflow",
            "Pass X.astype('float64')",
        )
    return finite(model, x)


def log_density(model: Any, x: Op) -> Op:
    """The log density of each row under each component's Gaussian. Result: [N, K].

    Source: sklearn.mixture._gaussian_mixture._estimate_log_gaussian_prob.
    """
    means, cholesky = np.asarray(fitted_attribute(model, "means_")), np.asarray(model.precisions_cholesky_)
    squares = _squares(x, means, cholesky, model.covariance_type)
    log_det = np.asarray(_compute_log_det_cholesky(cholesky, model.covariance_type, x.columns))
    return -0.5 * (x.columns * math.log(2 * math.pi) + squares) + log_det


def _squares(x: Op, means: np.ndarray, cholesky: np.ndarray, kind: str) -> Op:
    """The squared Mahalanobis distance of each row to each mean. Result: [N, K]."""
    if kind in ("full", "tied"):
        roots = cholesky if kind == "full" else [cholesky]
        products = [x @ Const(root) for root in roots] * (1 if kind == "full" else len(means))
        centers = np.stack([mean @ cholesky[k] if kind == "full" else mean @ cholesky for k, mean in enumerate(means)])
        found = [_square(product - Const(center)) for product, center in zip(products, centers, strict=True)]
        return cast(concat(found), x.dtype if ROUNDS_TO_INPUT else FLOAT64)
    precisions = cholesky**2
    if kind == "diag":
        constant = np.sum(means**2 * precisions, axis=1)
        return constant - 2.0 * (x @ (means * precisions).T) + x * x @ precisions.T
    constant = np.sum(means**2, axis=1) * precisions
    return constant - 2 * (x @ means.T * precisions) + ReduceSum(x * x) * precisions


def _square(y: Op) -> Op:
    return ReduceSum(y * y)


def _rounds_to_input() -> bool:
    """Whether this scikit-learn writes squared distances into an array of the dtype of X, integers too."""
    rows, mean, root = np.array([[2]]), np.array([[1.5]]), np.ones((1, 1, 1))
    found = _estimate_log_gaussian_prob(rows, mean, root, "full")
    return bool(found[0, 0] == -0.5 * math.log(2 * math.pi))


ROUNDS_TO_INPUT = _rounds_to_input()
