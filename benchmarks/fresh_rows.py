"""How accurate circuits in fixed point are on rows that they were not calibrated with.

`python -m benchmarks.fresh_rows`. Half of the rows fit the model and calibrate the circuit; the others are fresh.
Prints, for each model, the bits, the largest error on both halves relative to the range of the results on the first
one, on fresh rows of which no value saturates, what the report says of halves of the first half, the share of labels
that change on fresh rows, the values and the share of rows that saturate there, and estimated LUTs and DSPs. Of several
seeds: the means, and the largest errors.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
    make_regression,
)
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

import tensorml
from tensorml.executors.fpga.accuracy import FixedPoint
from tensorml.executors.fpga.area import size
from tensorml.executors.fpga.halves import outside
from tensorml.executors.fpga.program import Core, FpgaExecutor, core_of
from tensorml.executors.reference import evaluate
from tensorml.report import Table

Data = tuple[np.ndarray, np.ndarray]
HEADERS = [
    "Model", "Output", "Bits", "Calibration [%]", "Fresh [%]", "of these inside [%]", "Halves [%]", "Labels [%]",
    "Saturated", "Rows saturated [%]", "LUTs, 7 series", "DSPs", "Seconds",
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A model behind a scaler, on rows."""

    model: Any
    load: Callable[..., Any]
    output: str
    scaled: bool = True

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{' '.join(repr(self.model).split())}, {self.load.__name__.removeprefix('load_')}"


def two_classes() -> Data:
    """4,000 rows of 16 features."""
    data: Any = make_classification(4000, 16, n_informative=8, random_state=0)
    return data


def numbers() -> Data:
    """4,000 rows of 16 features, and what a line makes of them, with noise."""
    data: Any = make_regression(4000, 16, noise=10.0, random_state=0)
    return data


def network(kind: Callable[..., Any], activation: str) -> Any:
    """A network of 16 units."""
    return kind(hidden_layer_sizes=(16,), activation=activation, max_iter=300, random_state=0)


CASES = [
    Case(LogisticRegression(), load_iris, "decision_function"),
    Case(LogisticRegression(), load_breast_cancer, "decision_function"),
    Case(LogisticRegression(max_iter=300), load_digits, "decision_function"),
    Case(LogisticRegression(), two_classes, "decision_function"),
    Case(LinearRegression(), load_diabetes, "predict"),
    Case(Ridge(), numbers, "predict"),
    Case(GaussianNB(), load_iris, "predict_joint_log_proba", scaled=False),
    Case(GaussianNB(), load_wine, "predict_joint_log_proba", scaled=False),
    Case(GaussianNB(), load_breast_cancer, "predict_proba", scaled=False),
    Case(NearestCentroid(), load_wine, "decision_function"),
    Case(NearestCentroid(), load_breast_cancer, "decision_function"),
    Case(network(MLPClassifier, "relu"), load_breast_cancer, "predict_proba"),
    Case(network(MLPClassifier, "tanh"), load_wine, "predict_proba"),
    Case(network(MLPClassifier, "relu"), two_classes, "predict_proba"),
    Case(network(MLPRegressor, "relu"), load_diabetes, "predict"),
    Case(network(MLPRegressor, "tanh"), load_diabetes, "predict"),
    Case(network(MLPRegressor, "logistic"), numbers, "predict"),
    Case(SVC(decision_function_shape="ovo"), load_iris, "decision_function"),
    Case(SVC(), load_breast_cancer, "decision_function"),
    Case(SVC(kernel="linear"), load_breast_cancer, "decision_function"),
    Case(SVR(C=100), load_diabetes, "predict"),
    Case(make_pipeline(PCA(8), LogisticRegression(max_iter=300)), load_digits, "decision_function"),
    Case(make_pipeline(PCA(4), LogisticRegression()), load_wine, "decision_function"),
    Case(RandomForestClassifier(10, max_depth=4, random_state=0), load_breast_cancer, "predict_proba", scaled=False),
]


@dataclass(frozen=True)
class Found:
    """What was measured of a model with a seed: see HEADERS."""

    bits: int
    calibration: float
    fresh: float
    inside: float
    halves: float
    labels: float
    saturated: int
    share: float
    luts: int
    dsps: int
    seconds: float


def fitted(case: Case, seed: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """The model, the rows that it was fitted on, and the others."""
    x, y = case.load(return_X_y=True) if case.load.__name__.startswith("load") else case.load()
    parts: Any = train_test_split(x, y, test_size=0.5, random_state=seed)
    half, fresh, labels, _ = parts
    model: Any = make_pipeline(StandardScaler(), clone(case.model)) if case.scaled else clone(case.model)
    return model.fit(half, labels), half, fresh


def measure(case: Case, seed: int, accuracy: float) -> Found:
    """A circuit of the model, calibrated with the rows that it was fitted on."""
    source, half, fresh = fitted(case, seed)
    start = time.process_time()
    model = tensorml.convert(source, half, executor=FpgaExecutor(fixed=FixedPoint(accuracy=accuracy)))
    core = core_of(model.program(case.output))
    seconds = time.process_time() - start
    exact = getattr(source, case.output)(half)
    spread = np.ptp(exact)
    off = {name: errors(core, case.output, source, x) / spread for name, x in (("half", half), ("fresh", fresh))}
    beyond = outside(core.split, {"x": fresh})
    inside = ~beyond.any(axis=1)
    area = size(core.split, "xc7")
    return Found(
        core.split.bits,
        float(off["half"].max()),
        float(off["fresh"].max()),
        float(off["fresh"][inside].max(initial=0)),
        core.halves.relative if core.halves else float("nan"),
        labels(core_of(model.program("predict")), source, fresh),
        int(beyond.sum()),
        float(1 - inside.mean()),
        area.luts,
        area.dsps,
        seconds,
    )


def errors(core: Core, output: str, source: Any, x: np.ndarray) -> np.ndarray:
    """How far the results of each row are off."""
    exact = getattr(source, output)(x)
    close = evaluate(core.split.whole, {"x": x})[output]
    return np.abs(exact - close).reshape(len(x), -1).max(axis=1)


def labels(core: Core, source: Any, x: np.ndarray) -> float:
    """The share of rows that get another label."""
    exact = source.predict(x)
    return 0.0 if exact.dtype.kind == "f" else float((evaluate(core.split.whole, {"x": x})["predict"] != exact).mean())


def cells(case: Case, found: Sequence[Found]) -> list[str]:
    """A row of the table."""

    def mean(name: str) -> float:
        return float(np.mean([getattr(one, name) for one in found]))

    def most(name: str) -> float:
        return max(getattr(one, name) for one in found)

    return [
        case.name, case.output, f"{mean('bits'):.1f}", f"{100 * most('calibration'):.2f}", f"{100 * most('fresh'):.2f}",
        f"{100 * most('inside'):.2f}", f"{100 * most('halves'):.2f}", f"{100 * mean('labels'):.2f}",
        f"{mean('saturated'):.1f}",
        f"{100 * mean('share'):.1f}", f"{mean('luts'):,.0f}", f"{mean('dsps'):,.0f}", f"{mean('seconds'):.1f}",
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="models whose names have one of these in them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--accuracy", type=float, default=0.01)
    options = parser.parse_args(arguments)
    chosen = [c for c in CASES if not options.only or any(part in c.name for part in options.only)]
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in chosen:
            rows.append(cells(case, [measure(case, seed, options.accuracy) for seed in range(options.seeds)]))
            print(*rows[-1], sep=" | ", flush=True)
    Console(width=200).print(Table(HEADERS, rows, "Fixed point on fresh rows", right=range(2, len(HEADERS))))


if __name__ == "__main__":
    main()
