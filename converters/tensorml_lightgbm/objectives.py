"""What LightGBM's objectives make of raw scores: their links, in float64.

**Source:** ConvertOutput of the classes in src/objective/*.hpp, as they are made anew from a model string.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from tensorml.converter import Model, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import Abs, Exp, Log1p, Softmax

Link = Callable[[Op], Op]


def identity(x: Op) -> Op:
    """The raw score itself."""
    return x


def sigmoid(x: Op, slope: float = 1.0) -> Op:
    """1 / (1 + exp(-slope * x)) of each column; several columns are not made to add up to 1."""
    return 1 / (Exp(Const(np.array(-slope)) * x) + 1)


def log_one_plus_exp(x: Op) -> Op:
    """log(1 + exp(x)), infinite where exp(x) is. Source: CrossEntropyLambda::ConvertOutput."""
    return Log1p(Exp(x))


def signed_square(x: Op) -> Op:
    """The square with the sign of x. Source: RegressionL2loss::ConvertOutput with reg_sqrt."""
    return Abs(x) * x


LINKS: dict[str, Link] = {
    "binary": sigmoid,
    "cross_entropy": sigmoid,
    "cross_entropy_lambda": log_one_plus_exp,
    "fair": identity,
    "gamma": Exp,
    "huber": identity,
    "lambdarank": identity,
    "mape": identity,
    "multiclass": Softmax,
    "multiclassova": sigmoid,
    "poisson": Exp,
    "quantile": identity,
    "rank_xendcg": identity,
    "regression": identity,
    "regression_l1": identity,
    "tweedie": Exp,
}
WITH_SQUARE = ("fair", "mape", "quantile", "regression", "regression_l1")
WITH_SLOPE = ("binary", "multiclassova")
STOPPED_EARLY = ("binary", "lambdarank", "multiclass", "multiclassova", "rank_xendcg")
"""The objectives with which pred_early_stop leaves out trees: those whose NeedAccuratePrediction is false."""


def link(model: Model, objective: tuple[str, ...]) -> Link:
    """The link of an objective: its name, then its parameters. No name is an own loss function, which has none.

    Raises UnsupportedModelError for an objective that is not known.
    """
    if not objective:
        return identity
    name, *parameters = objective
    if name not in LINKS:
        raise unsupported(
            model,
            f"the objective {name!r} is not known, so neither is what it makes of raw scores",
            f"Train with one of {', '.join(LINKS)}",
        )
    if "sqrt" in parameters and name in WITH_SQUARE:
        return signed_square
    if name in WITH_SLOPE:
        return partial(sigmoid, slope=_slope(model, name, parameters))
    return LINKS[name]


def _slope(model: Model, name: str, parameters: list[str]) -> float:
    """The parameter `sigmoid`, with the six digits that the model string keeps of it."""
    for parameter in parameters:
        key, _, value = parameter.partition(":")
        if key == "sigmoid":
            return float(value)
    raise unsupported(model, f"the objective {name!r} does not tell its parameter 'sigmoid'", "Train it again")
