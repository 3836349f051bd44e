"""Converters for sklearn.ensemble.VotingClassifier and VotingRegressor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import VotingClassifier, VotingRegressor

from tensorml.converter import Outputs, converter, unsupported
from tensorml.frames import Frame
from tensorml.graph import Const, Op
from tensorml.ops import BatchSecond, Reshape, Take, cast, concat, ravel
from tensorml_sklearn.ensemble.members import FLOAT64, INT64, column, named_members, numbers, one, total
from tensorml_sklearn.output import labelled


@converter(VotingRegressor, steps=named_members, frames=True, sparse=True)
def voting_regressor(model: Any, x: Op | Frame) -> Outputs:
    """The mean of the members' predictions, each times its weight. predict: [N]; transform: [N, members].

    Source: sklearn.ensemble._voting.VotingRegressor.
    """
    predictions = _predictions(model, x)
    mean = average(model, [column(p) for p in predictions], weights_of(model))
    return {"predict": ravel(mean), "transform": concat([column(p) for p in predictions])}


@converter(VotingClassifier, steps=named_members, frames=True, sparse=True)
def voting_classifier(model: Any, x: Op | Frame) -> Outputs:
    """The class with most votes, or with the largest mean probability.

    transform: [N, members] labels as numbers from 0, or [N, members * C] probabilities, [members, N, C] without
    flatten_transform. Source: sklearn.ensemble._voting.VotingClassifier.
    """
    if model.voting != "soft":
        predictions = _predictions(model, x)
        winner = labelled(_votes(model, predictions), model.classes_)
        return {"predict": winner, "transform": concat([column(p) for p in predictions])}
    parts = [one(member, x, "predict_proba", step) for step, member in named_members(model)]
    mean = average(model, parts, weights_of(model))
    flat = concat(parts)
    shape = (len(parts), len(model.classes_))
    return {
        "predict": labelled(mean, model.classes_),
        "predict_proba": mean,
        "transform": flat if model.flatten_transform else BatchSecond(Reshape(flat, shape)),
    }


def weights_of(model: Any) -> np.ndarray | None:
    """The weights of the members that were not dropped, or None."""
    weights = model._weights_not_none
    return None if weights is None else np.asarray(weights)


def _predictions(model: Any, x: Op | Frame) -> list[Op]:
    """What each member predicts, [N], labels as the numbers that they were encoded to."""
    found = [numbers(member, one(member, x, "predict", step), step) for step, member in named_members(model)]
    if any(len(p.shape) != 1 for p in found):
        raise unsupported(model, "one of its members predicts several columns", "Use members that predict one number")
    return found


def _votes(model: Any, predictions: Sequence[Op]) -> Op:
    """The weight that each class gets, added up member by member. float64 [N, C]. Source: numpy.bincount."""
    weights = weights_of(model)
    weights = np.ones(len(predictions)) if weights is None else weights.astype(FLOAT64)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise unsupported(
            model,
            f"its weights are {weights.tolist()}: with a negative one, classes without a vote count or do not count, "
            "depending on the other rows' votes",
            "Use weights of 0 and more, or voting='soft'",
        )
    count = len(model.classes_)
    return total(
        [
            Take(Const(np.diag(np.full(count, weight))), cast(p, INT64))
            for p, weight in zip(predictions, weights, strict=True)
        ]
    )


def average(model: Any, parts: Sequence[Op], weights: np.ndarray | None) -> Op:
    """The mean of operators [N, C], in the dtype that NumPy gives it; added from the first to the last, then divided.

    NumPy adds a single row's numbers in another order where there are 8 members or more. Source: numpy.average.
    """
    dtype = np.result_type(*(part.dtype for part in parts))
    if dtype.kind != "f":
        dtype = np.result_type(dtype, FLOAT64)
    if weights is None:
        return total([cast(part, dtype) for part in parts]) / float(len(parts))
    dtype = np.result_type(dtype, weights.dtype)
    scale = weights.sum(dtype=dtype)
    if scale == 0:
        raise unsupported(model, "its weights add up to 0, which NumPy refuses too", "Use other weights")
    weighted = [cast(part, dtype) * Const(np.asarray(w, dtype)) for part, w in zip(parts, weights, strict=True)]
    return total(weighted) / Const(np.asarray(scale, dtype))
