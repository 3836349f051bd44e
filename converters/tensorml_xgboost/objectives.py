"""What XGBoost's objectives make of base scores and of margins: their links, in float32 as XGBoost computes them.

**Source:** ObjFunction::ProbToMargin and PredTransform of src/objective/*.cu and *.cc, src/common/math.h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tensorml.converter import Model, unsupported
from tensorml.graph import Op
from tensorml.ops import ArgMax, Cast, Div, Exp, Fill, Min, Neg, ReduceMax, ReduceSum, Reshape, cast

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
LARGEST_EXPONENT = 88.7  # src/common/math.h, Sigmoid: exp of more is infinite in float32


def identity(x: Op) -> Op:
    """The margin itself."""
    return x


def exponential(x: Op) -> Op:
    """The exponential in float32.

    Computed in float64 and rounded: XGBoost calls the C library's expf, which is within 0.502 units in the last place
    of that, while vectorised float32 functions are not.
    """
    return cast(Exp(cast(x, FLOAT64)), FLOAT32)


def sigmoid(x: Op) -> Op:
    """1 / (1 + exp(-x)), where exp(-x) does not overflow. Source: common::Sigmoid."""
    limit = Fill(x, (x.columns,), LARGEST_EXPONENT, FLOAT32)
    return 1 / (exponential(Min(Neg(x), limit)) + 1)


def softmax(x: Op) -> Op:
    """exp(x - max) over its sum. Source: common::Softmax, which adds up in float64 and divides in float32."""
    e = exponential(x - ReduceMax(x))
    return Div(e, cast(ReduceSum(cast(e, FLOAT64)), FLOAT32))


def largest(x: Op) -> Op:
    """The index of the largest margin, the first one in a tie, as a float. [N, K] to [N, 1]."""
    return Reshape(Cast(ArgMax(x), FLOAT32), (1,))


def step(x: Op) -> Op:
    """1 above 0, else 0."""
    return Cast(x > 0, FLOAT32)


def unchanged(base: np.ndarray) -> np.ndarray:
    """The base score is a margin."""
    return base


def logit(base: np.ndarray) -> np.ndarray:
    """-log(1 / p - 1), each step in float32. Source: LogisticRegression::ProbToMargin."""
    with np.errstate(divide="ignore"):
        return -_rounded_log(np.float32(1) / base - np.float32(1))


def _rounded_log(x: np.ndarray) -> np.ndarray:
    """The logarithm in float32, correctly rounded as the C library's logf is."""
    with np.errstate(divide="ignore"):
        return np.log(x.astype(FLOAT64)).astype(FLOAT32)


@dataclass(frozen=True)
class Link:
    """margin: base scores to margins, float32 [K]. value: margins to predictions, float32 [N, K]."""

    margin: Callable[[np.ndarray], np.ndarray]
    value: Callable[[Op], Op]


IDENTITY = Link(unchanged, identity)
LOGISTIC = Link(logit, sigmoid)
LOG = Link(_rounded_log, exponential)
LINKS = {
    "binary:hinge": Link(unchanged, step),
    "binary:logistic": LOGISTIC,
    "binary:logitraw": IDENTITY,
    "count:poisson": LOG,
    "multi:softmax": Link(unchanged, largest),
    "multi:softprob": Link(unchanged, softmax),
    "rank:map": IDENTITY,
    "rank:ndcg": IDENTITY,
    "rank:pairwise": IDENTITY,
    "reg:absoluteerror": IDENTITY,
    "reg:expectileerror": IDENTITY,
    "reg:gamma": LOG,
    "reg:logistic": LOGISTIC,
    "reg:pseudohubererror": IDENTITY,
    "reg:quantileerror": IDENTITY,
    "reg:squarederror": IDENTITY,
    "reg:squaredlogerror": IDENTITY,
    "reg:tweedie": LOG,
    "survival:aft": LOG,
    "survival:cox": LOG,
}


def link(model: Model, objective: str) -> Link:
    """The links of an objective. Raises UnsupportedModelError for one that is not known."""
    if objective not in LINKS:
        raise unsupported(
            model,
            f"the objective {objective!r} is not known, so neither is what it makes of margins",
            f"Train with one of {', '.join(LINKS)}",
        )
    return LINKS[objective]
