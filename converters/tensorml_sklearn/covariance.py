"""Converters for sklearn.covariance: the squared Mahalanobis distance, and what outliers are by it."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.covariance import (
    OAS,
    EllipticEnvelope,
    EmpiricalCovariance,
    GraphicalLasso,
    GraphicalLassoCV,
    LedoitWolf,
    MinCovDet,
    ShrunkCovariance,
)

from tensorml.converter import Outputs, converter, fitted_attribute
from tensorml.graph import Const, Op
from tensorml.ops import ReduceSum, Sqrt, Where, cast, ravel
from tensorml_sklearn.validation import finite

FLOAT64 = np.dtype(np.float64)


@converter(EmpiricalCovariance, ShrunkCovariance, LedoitWolf, OAS, MinCovDet, GraphicalLasso, GraphicalLassoCV)
def covariance(model: Any, x: Op) -> Outputs:
    """The squared distance to the mean, in units of the covariance. float64 [N].

    Source: sklearn.covariance._empirical_covariance.EmpiricalCovariance.mahalanobis.
    """
    return {"mahalanobis": mahalanobis(model, x)}


def mahalanobis(model: Any, x: Op) -> Op:
    """The square of what scipy.spatial.distance.cdist(metric="mahalanobis") returns: computed in float64. [N]."""
    centered = cast(finite(model, x), FLOAT64) - Const(np.asarray(fitted_attribute(model, "location_"), np.float64))
    precision = Const(np.asarray(model.get_precision(), np.float64))
    distance = Sqrt(ReduceSum(centered @ precision * centered))
    return ravel(distance * distance)


@converter(EllipticEnvelope)
def elliptic_envelope(model: Any, x: Op) -> Outputs:
    """The distance, negative as a score, less the offset as a decision; 1 for inliers, -1 for outliers. [N].

    Source: sklearn.covariance._elliptic_envelope.EllipticEnvelope.
    """
    distance = mahalanobis(model, x)
    score = -distance
    decision = score - Const(np.asarray(fitted_attribute(model, "offset_")))
    return {
        "predict": Where(decision >= 0.0, Const(np.array(1)), Const(np.array(-1))),
        "decision_function": decision,
        "score_samples": score,
        "mahalanobis": distance,
    }
