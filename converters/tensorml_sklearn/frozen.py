"""Converter for sklearn.frozen."""

from __future__ import annotations

from typing import Any

from sklearn.frozen import FrozenEstimator

from tensorml.converter import Outputs, apply_inverse, converter
from tensorml.frames import Frame
from tensorml.graph import Op
from tensorml_sklearn.pipeline import outputs_of

LABEL = "FrozenEstimator estimator"


def frozen_steps(model: FrozenEstimator) -> list[tuple[str, Any]]:
    """The estimator inside."""
    return [(LABEL, model.estimator)]


def back(model: FrozenEstimator, z: Op) -> Op:
    """The inverse_transform of the estimator inside."""
    return apply_inverse(model.estimator, z, step=LABEL)


@converter(FrozenEstimator, inverse=back, steps=frozen_steps, frames=True, sparse=True)
def frozen_estimator(model: FrozenEstimator, x: Op | Frame) -> Outputs:
    """All methods of the estimator inside. Source: sklearn.frozen.FrozenEstimator.__getattr__."""
    return outputs_of(model.estimator, x, LABEL)
