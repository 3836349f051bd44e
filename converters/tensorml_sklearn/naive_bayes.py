"""Converters for sklearn.naive_bayes: each model's joint likelihood, and what all read from it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB

from tensorml.converter import Outputs, converter, fitted, fitted_attribute
from tensorml.graph import Const, Op
from tensorml.ops import Exp, LeafSum, LogSumExp, ReduceSum, Require, Untyped, cast, concat
from tensorml_sklearn.output import labelled
from tensorml_sklearn.preprocessing import above_threshold
from tensorml_sklearn.validation import finite

INT32, INT64 = np.dtype(np.int32), np.dtype(np.int64)


def posterior(model: Any, joint: Op) -> Outputs:
    """Labels, probabilities and their logarithms from the joint log likelihood of X and each class, float [N, C].

    Source: sklearn.naive_bayes._BaseNB.
    """
    logarithm = joint - LogSumExp(joint)
    return {
        "predict": labelled(joint, fitted_attribute(model, "classes_")),
        "predict_proba": Exp(logarithm),
        "predict_log_proba": logarithm,
        "predict_joint_log_proba": joint,
    }


@converter(GaussianNB)
def gaussian_nb(model: Any, x: Op) -> Outputs:
    """A Gaussian density of each feature in each class, in the dtype that NumPy finds for X and the fitted arrays.

    Source: sklearn.naive_bayes.GaussianNB._joint_log_likelihood.
    """
    x = finite(model, x)
    variances, joint = fitted_attribute(model, "var_"), []
    for theta, variance, prior in zip(model.theta_, variances, model.class_prior_, strict=True):
        with np.errstate(divide="ignore"):  # a prior or a variance of 0
            volume = -0.5 * np.sum(np.log(2.0 * np.pi * variance))
            logarithm = np.log(prior)
        distance = x - Const(theta)
        exponent = ReduceSum(distance * distance / Const(variance))
        joint.append(Const(np.asarray(logarithm)) + (Const(np.asarray(volume)) - 0.5 * exponent))
    return posterior(model, concat(joint))


@converter(MultinomialNB)
def multinomial_nb(model: Any, x: Op) -> Outputs:
    """Counts times their log probabilities, and the log priors.

    Source: sklearn.naive_bayes.MultinomialNB._joint_log_likelihood.
    """
    return posterior(model, _log_likelihood(model, finite(model, x)) + fitted(model, "class_log_prior_"))


@converter(ComplementNB)
def complement_nb(model: Any, x: Op) -> Outputs:
    """Counts times the weights of the other classes; the prior counts where there is one class alone.

    Source: sklearn.naive_bayes.ComplementNB._joint_log_likelihood.
    """
    joint = _log_likelihood(model, finite(model, x))
    alone = len(fitted_attribute(model, "classes_")) == 1
    return posterior(model, joint + fitted(model, "class_log_prior_") if alone else joint)


def _log_likelihood(model: Any, x: Op) -> Op:
    return x @ np.asarray(fitted_attribute(model, "feature_log_prob_")).T


@converter(BernoulliNB)
def bernoulli_nb(model: Any, x: Op) -> Outputs:
    """Log probabilities of the features that are there, and of those that are not; X is first made binary.

    Source: sklearn.naive_bayes.BernoulliNB._joint_log_likelihood.
    """
    x = finite(model, x)
    if model.binarize is not None:
        x = cast(above_threshold(x, model.binarize), x.dtype)
    there = np.asarray(fitted_attribute(model, "feature_log_prob_"))
    with np.errstate(divide="ignore", invalid="ignore"):  # a feature that is always there, or never
        absent = np.log(1 - np.exp(there))
        weights, offset = (there - absent).T, model.class_log_prior_ + absent.sum(axis=1)
    return posterior(model, x @ weights + offset)


@converter(CategoricalNB)
def categorical_nb(model: Any, x: Op) -> Outputs:
    """The log probabilities of the categories, added feature by feature, and the log priors. float64.

    X is truncated to integers. Raises InputError for a negative category and for one beyond those of the fit.
    Source: sklearn.naive_bayes.CategoricalNB._check_X, _joint_log_likelihood.
    """
    tables = [np.asarray(table) for table in fitted_attribute(model, "feature_log_prob_")]
    sizes = np.array([table.shape[1] for table in tables])
    x = _known_categories(finite(model, x.x if isinstance(x, Untyped) else x), sizes)
    first = np.cumsum([0, *sizes[:-1]])
    leaves = cast(cast(x, INT64) + first, INT32)
    values = np.ascontiguousarray(np.concatenate(tables, axis=1).T, np.float64)
    joint = LeafSum(leaves, values, np.zeros(values.shape[1]), None)
    return posterior(model, joint + fitted(model, "class_log_prior_"))


def _known_categories(x: Op, sizes: np.ndarray) -> Op:
    """X itself, if each value, truncated, is a category of its feature. sizes: int64 [F]."""
    if x.dtype.kind == "b":
        x = cast(x, np.dtype(np.int8))
    if x.dtype.kind != "u":
        least = x > -1 if x.dtype.kind == "f" else x >= 0
        x = Require(x, least, "Negative values in data passed to CategoricalNB (input X).")
    message = (
        "CategoricalNB was given a category that is out of bounds: its features have "
        f"{', '.join(map(str, sizes[:8]))}{', ...' * (len(sizes) > 8)} categories, numbered from 0."
    )
    return Require(x, cast(x, np.dtype(np.float64)) < Const(sizes.astype(np.float64)), message)
