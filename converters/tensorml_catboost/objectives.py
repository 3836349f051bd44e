"""What CatBoost makes of raw values, for each prediction type: in float64, as it computes them.

**Source:** PrepareEval (catboost/libs/eval_result/eval_helpers.cpp), catboost/libs/model/eval_processing.h,
FastExpInplace (library/cpp/fast_exp), which is fmath::expd_v and fmath::expd of herumi/fmath.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache

import numpy as np

from tensorml.graph import Const, Op
from tensorml.ops import Cast, Columns, Concat, Exp, Fill, Log, Max, Min, ReduceMax, ReduceSum, Take, Where, cast

FLOAT64 = np.dtype(np.float64)
INT64 = np.dtype(np.int64)
STEPS = 2048  # entries of fmath's table: 2 ** (i / 2048)
PER_UNIT = STEPS / math.log(2.0)
UNIT = 1 / PER_UNIT
ROUNDING = float(3 << 51)  # adding it to a float64 and taking it off again rounds to an integer
CUBIC, QUADRATIC = 0.16666666685227835064, 3.0000000027955394  # fmath's coefficients: 1/6 and 3
SMALLEST, LARGEST = -708.39641853226408, 709.78271289338397  # fmath computes between these
LANES = 4  # numbers that AVX2 takes at once; the rest of an array is computed one by one
FIRST_POWER = -1023
ONE_VS_ALL = "MultiClassOneVsAll"
LABELS = ("MultiLogloss", "MultiCrossEntropy")
"""Losses of several labels a row, each yes or no."""


def loss(metadata: Mapping[str, str]) -> str:
    """The name of the loss function that the model optimized; empty if the model does not say.

    Source: TFullModel::GetLossFunctionName.
    """
    if "loss_function" in metadata:
        return json.loads(metadata["loss_function"]).get("type", "")
    return json.loads(metadata.get("params", "{}")).get("loss_function", {}).get("type", "")


def threshold(metadata: Mapping[str, str]) -> float:
    """The raw value above which a class is predicted: the logit of the probability that the model was given, else 0."""
    if "binclass_probability_threshold" not in metadata:
        return 0.0
    probability = np.float64(metadata["binclass_probability_threshold"])
    with np.errstate(divide="ignore"):
        return float(-np.log(1 / probability - 1))


def external(metadata: Mapping[str, str], raw: Op, classes: int) -> Op:
    """Raw values with a column for each class: minus infinity for classes that no row of training had. [N, C].

    Source: MakeExternalApprox; class_to_label holds the position among all classes of each that was there.
    """
    if raw.columns == 1 or classes <= raw.columns:
        return raw
    known = [int(label) for label in json.loads(metadata["class_params"])["class_to_label"]]
    place = np.full(classes, raw.columns, np.int64)
    place[known] = np.arange(len(known))
    return Columns(Concat((raw, Fill(raw, (1,), -np.inf, FLOAT64))), place)


def probability(name: str, raw: Op) -> Op:
    """Probabilities [N, C] of raw values [N, C], by the name of the loss; for one column p the pair 1 - p, p."""
    if raw.columns == 1:
        positive = sigmoid(raw)
        return Concat((1 - positive, positive))
    return sigmoid(raw) if name in (ONE_VS_ALL, *LABELS) else softmax(raw)


def log_probability(name: str, raw: Op) -> Op:
    """Logarithms of probabilities [N, C] of raw values [N, C], by the name of the loss; a pair for one column."""
    if raw.columns == 1:
        return Concat((log_sigmoid(-raw), log_sigmoid(raw)))
    return log_sigmoid(raw) if name in (ONE_VS_ALL, *LABELS) else log_softmax(raw)


def with_uncertainty(raw: Op) -> Op:
    """The mean and the variance exp(2 s). [N, C] with C at least 2, to [N, 2]."""
    return Concat((Columns(raw, np.array([0])), fast_exp(2.0 * Columns(raw, np.array([1])))))


def sigmoid(x: Op) -> Op:
    """1 / (1 + exp(-x)), with the C library's exponential."""
    return 1 / (1 + Exp(-x))


def log_sigmoid(x: Op) -> Op:
    """-log(1 + exp(-x)), with the C library's functions: minus infinity below -709.8."""
    return -Log(1 + Exp(-x))


def softmax(x: Op) -> Op:
    """Exponentials of distances from the maximum, over their sum. [N, C]."""
    e = exponentials(x - ReduceMax(x))
    return e / ReduceSum(e)


def log_softmax(x: Op) -> Op:
    """Distances from the maximum, less the logarithm of the sum of their exponentials. [N, C]."""
    below = x - ReduceMax(x)
    return below - Log(ReduceSum(exponentials(below)))


def exponentials(x: Op) -> Op:
    """The fast exponential along a row [N, C], the last C % 4 columns computed one by one: they reach 0."""
    vector = x.columns // LANES * LANES
    parts: list[Op] = []
    if vector:
        parts.append(fast_exp(Columns(x, np.arange(vector))))
    if vector < x.columns:
        rest = Columns(x, np.arange(vector, x.columns))
        parts.append(Where(rest > SMALLEST, fast_exp(rest), Fill(rest, (rest.columns,), 0.0, FLOAT64)))
    return parts[0] if len(parts) == 1 else Concat(tuple(parts))


def fast_exp(x: Op) -> Op:
    """The exponential with the bits of fmath::expd_v: no smaller than exp(-708.4), infinite above 709.8. Float64.

    It is off by about one unit in the last place for each unit of x, which no other exponential reproduces.
    """
    x = Max(Min(x, Const(np.array(LARGEST))), Const(np.array(SMALLEST)))
    steps = (x * PER_UNIT + ROUNDING) - ROUNDING
    t = steps * UNIT - x
    fraction = (QUADRATIC - t) * (t * t) * CUBIC - t + 1.0
    power = Cast(steps * (1 / STEPS) - FIRST_POWER, INT64)  # not negative: truncation is the floor
    step = cast(steps, INT64) - (power + FIRST_POWER) * STEPS
    return fraction * (Take(Const(powers()), power) * Take(Const(roots()), step))


@cache
def roots() -> np.ndarray:
    """2 ** (i / 2048) for each i. float64 [2048]."""
    return np.array([math.pow(2.0, i / STEPS) for i in range(STEPS)])


@cache
def powers() -> np.ndarray:
    """2 ** u for u from -1023 to 1024, which is infinite. float64 [2048]."""
    with np.errstate(over="ignore"):
        return np.ldexp(1.0, np.arange(FIRST_POWER, 1025))
