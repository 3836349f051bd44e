"""Converter for sklearn.frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.frozen import FrozenEstimator

from tensorml.converter import Outputs, apply_inverse, converter
from tensorml.frames import Frame
from tensorml.graph import Op
from tensorml_sklearn.pipeline import NONE, outputs_of

LABEL = "FrozenEstimator estimator"


def frozen_steps(model: FrozenEstimator) -> list[tuple[str, Any]]:
    """The estimator inside."""
    return [(LABEL, model.estimator)]


def back(model: FrozenEstimator, z: Op) -> Op:
    """The inverse_transform of the estimator inside."""
    return apply_inverse(model.estimator, z, step=LABEL)


def estimator(model: FrozenEstimator) -> Any:
    """The estimator inside, which gets the options of all methods."""
    return model.estimator


@converter(FrozenEstimator, inverse=back, steps=frozen_steps, frames=True, sparse=True, inner=estimator)
def frozen_estimator(model: FrozenEstimator, x: Op | Frame, *, passed: Mapping[str, Any] = NONE) -> Outputs:
    """All methods of the estimator inside, with their options. Source: sklearn.frozen.FrozenEstimator.__getattr__."""
    return outputs_of(model.estimator, x, LABEL, passed)
