"""Converters for sklearn.model_selection."""

from __future__ import annotations

from typing import Any

from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

from tensorml.converter import Outputs, apply_inverse, converter
from tensorml.frames import Frame
from tensorml.graph import Op
from tensorml_sklearn.describe import best_estimator
from tensorml_sklearn.pipeline import METHODS, outputs_of

Search = GridSearchCV | RandomizedSearchCV


def best_label(model: Search) -> str:
    """How a refusal names the estimator that a search found."""
    return f"{type(model).__name__} best_estimator_"


def search_steps(model: Search) -> list[tuple[str, Any]]:
    """The estimator that a search found."""
    return [(best_label(model), best_estimator(model))]


def back(model: Search, z: Op) -> Op:
    """The inverse_transform of the best estimator."""
    return apply_inverse(best_estimator(model), z, step=best_label(model))


@converter(GridSearchCV, RandomizedSearchCV, inverse=back, steps=search_steps, frames=True, sparse=True)
def search(model: Search, x: Op | Frame) -> Outputs:
    """The methods of the best estimator that a search offers, none of which takes arguments.

    Source: sklearn.model_selection._search.BaseSearchCV.
    """
    outputs = outputs_of(best_estimator(model), x, best_label(model))
    return {name: op for name, op in outputs.items() if name.partition("[")[0] in METHODS}
