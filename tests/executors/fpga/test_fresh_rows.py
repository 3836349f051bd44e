"""Circuits on rows that they were not calibrated with: as accurate as asked for, or counted as outside."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

import tensorml
from tensorml.executors.fpga.accuracy import FixedPoint, Loss, Oracle, enough, loss
from tensorml.executors.fpga.grid import Grid
from tensorml.executors.fpga.halves import outside
from tensorml.executors.fpga.program import Core, FpgaExecutor
from tensorml.executors.fpga.split import measured, split, with_head_room
from tests.executors.fpga.stand import Stand, core_of

ACCURACY = 0.01
RNG = np.random.default_rng(0)
NETWORK: dict[str, Any] = {"hidden_layer_sizes": (16,), "max_iter": 200, "random_state": 0}
CASES = {
    "LogisticRegression, iris": (LogisticRegression(), load_iris, "decision_function"),
    "LogisticRegression, breast cancer": (LogisticRegression(), load_breast_cancer, "decision_function"),
    "LogisticRegression, digits": (LogisticRegression(max_iter=300), load_digits, "decision_function"),
    "LinearRegression, diabetes": (LinearRegression(), load_diabetes, "predict"),
    "GaussianNB, wine": (GaussianNB(), load_wine, "predict_joint_log_proba"),
    "GaussianNB, breast cancer": (GaussianNB(), load_breast_cancer, "predict_proba"),
    "NearestCentroid, wine": (NearestCentroid(), load_wine, "decision_function"),
    "MLPClassifier, relu, breast cancer": (MLPClassifier(**NETWORK), load_breast_cancer, "predict_proba"),
    "MLPClassifier, tanh, wine": (MLPClassifier(activation="tanh", **NETWORK), load_wine, "predict_proba"),
    "MLPRegressor, logistic, diabetes": (MLPRegressor(activation="logistic", **NETWORK), load_diabetes, "predict"),
    "SVC, rbf, breast cancer": (SVC(), load_breast_cancer, "decision_function"),
    "SVC, linear, breast cancer": (SVC(kernel="linear"), load_breast_cancer, "decision_function"),
    "SVR, rbf, diabetes": (SVR(C=100), load_diabetes, "predict"),
    "PCA and LogisticRegression, wine": (make_pipeline(PCA(4), LogisticRegression()), load_wine, "decision_function"),
    "RandomForestClassifier, breast cancer": (
        RandomForestClassifier(10, max_depth=4, random_state=0),
        load_breast_cancer,
        "predict_proba",
    ),
}


@pytest.fixture(autouse=True)
def _unbuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Core, "simulator", property(Stand))


class Halved(NamedTuple):
    """A fitted model, its circuit, the rows that calibrated it, and others."""

    source: Any
    circuit: Any
    half: np.ndarray
    fresh: np.ndarray


@cache
def halved(name: str) -> Halved:
    """A model of half of the rows, seed 0, behind a scaler if it needs one."""
    model, load = clone(CASES[name][0]), CASES[name][1]
    x, y = load(return_X_y=True)
    parts: Any = train_test_split(x, y, test_size=0.5, random_state=0)
    half, fresh, labels, _ = parts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        naive = isinstance(model, GaussianNB)
        source = model.fit(half, labels) if naive else make_pipeline(StandardScaler(), model).fit(half, labels)
    return Halved(source, tensorml.convert(source, half, executor="fpga"), half, fresh)


@pytest.mark.parametrize("name", CASES)
def test_results_of_fresh_rows_are_as_accurate_as_asked_for_or_counted(name: str) -> None:
    source, circuit, half, fresh = halved(name)
    output = CASES[name][2]
    exact, spread = getattr(source, output)(fresh), np.ptp(getattr(source, output)(half))
    core = core_of(circuit, output)
    before = core.saturated
    close = getattr(circuit, output)(fresh)
    beyond = outside(core.split, {"x": fresh})
    assert core.saturated - before == beyond.sum()
    assert beyond.any(axis=1).mean() <= ACCURACY
    error = np.abs(exact - close).reshape(len(fresh), -1).max(axis=1) / spread
    assert error[~beyond.any(axis=1)].max() <= ACCURACY


@pytest.mark.parametrize("name", [name for name, (_, _, output) in CASES.items() if output != "predict"])
def test_no_more_labels_of_fresh_rows_change_than_asked_for(name: str) -> None:
    source, circuit, _, fresh = halved(name)
    assert (source.predict(fresh) != circuit.predict(fresh)).mean() <= ACCURACY


@pytest.mark.parametrize("name", ["LogisticRegression, iris", "GaussianNB, wine", "MLPClassifier, tanh, wine"])
def test_a_row_further_out_is_counted_and_one_just_outside_of_the_calibration_rows_is_not(name: str) -> None:
    _, circuit, half, _ = halved(name)
    core = core_of(circuit, "predict")
    before = core.saturated
    row = half[:1].copy()
    row[0, 0] = half[:, 0].max() + 0.1 * np.ptp(half[:, 0])
    circuit.predict(row)
    assert core.saturated == before
    row[0, 0] = half[:, 0].max() + 20 * np.ptp(half[:, 0])
    circuit.predict(row)
    assert core.saturated == before + 1


def test_a_column_has_head_room_as_its_tails_are_long() -> None:
    ends = np.resize([-1.0, 1.0], 1000)
    normal, exponential = RNG.normal(size=1000), RNG.exponential(size=1000)
    signed = np.where(RNG.random(1000) < 0.5, 1, -1) * exponential
    columns = np.stack([ends, normal, exponential, signed, -exponential, 3 + 0 * ends], axis=1)
    least, most = with_head_room(columns)
    np.testing.assert_array_equal([least[0], most[0]], [-1, 1])  # what ends at a limit
    assert normal.max() + 1.5 < most[1] < normal.max() + 4
    assert least[2] == 0  # no value is negative
    assert exponential.max() + 4.5 < most[2] < exponential.max() + 8
    assert least[3] < columns[:, 3].min() - 4
    assert (least[4], most[4]) == (pytest.approx(-most[2]), 0)
    assert (least[5], most[5]) == (3, 3)


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 11])
def test_few_rows_have_head_room_for_what_they_show(rows: int) -> None:
    values = RNG.normal(size=(rows, 3))
    least, most = with_head_room(values)
    spread = np.ptp(values, axis=0)
    assert ((least <= values.min(0)) & (most >= values.max(0))).all()
    assert (most <= values.max(0) + 6 * spread).all()
    assert rows != 2 or (least < values.min(0))[values.min(0) < 0].all()


def test_finding_the_range_of_rows_leaves_them_as_they_are() -> None:
    for columns in (1, 3):
        values = RNG.normal(size=(50, columns))
        kept = values.copy()
        with_head_room(values)
        np.testing.assert_array_equal(values, kept)


def test_errors_on_few_rows_have_to_be_smaller_than_asked_for() -> None:
    linear = core_of(halved("LinearRegression, diabetes").circuit, "predict").split
    trees = core_of(halved("RandomForestClassifier, breast cancer").circuit, "predict").split
    for rows, part in [(10, 0.45), (100, 0.63), (4000, 0.84)]:
        assert enough(linear, Loss(1.0, (part - 0.01) * ACCURACY, rows, ACCURACY), ACCURACY)
        assert not enough(linear, Loss(1.0, (part + 0.01) * ACCURACY, rows), ACCURACY)
        assert enough(trees, Loss(1.0, ACCURACY, rows), ACCURACY)
        assert not enough(linear, Loss(0.0, 0.0, rows, 1.01 * ACCURACY), ACCURACY)


def test_trees_have_the_fewest_bits_that_are_accurate_on_the_rows() -> None:
    _, circuit, half, _ = halved("RandomForestClassifier, breast cancer")
    core = core_of(circuit, "predict_proba")
    graph, rows = core.split.source, {"x": half}
    fewer = split(graph, FixedPoint().numbers(core.split.bits - 1), measured(graph, rows))
    assert core.loss.relative <= ACCURACY < loss(fewer, Oracle(graph, rows)).relative


def test_the_report_says_what_halves_of_the_calibration_rows_lose() -> None:
    accuracy = halved("LogisticRegression, iris").circuit.report(fast=True).accuracy
    assert accuracy.rows == 75
    assert accuracy.halves.relative <= 2 * ACCURACY
    assert accuracy.halves.labels <= 1
    report = str(halved("LinearRegression, diabetes").circuit.report(fast=True))
    assert "Each half of them with the ranges of the other: error 0." in report


def test_the_report_counts_calibration_rows_that_their_other_half_does_not_reach() -> None:
    x = RNG.normal(size=(200, 3))
    source = LinearRegression().fit(x, x.sum(axis=1))
    x[7, 1] = 1000.0
    report = tensorml.convert(source, x, executor="fpga").report(fast=True)
    halves = report.accuracy.halves
    assert halves.outside == 1
    assert halves.worst > 0.9 > ACCURACY > halves.relative
    assert "; where values are outside, in 1 rows, up to " in str(report)


def test_circuits_whose_ranges_are_not_from_rows_have_no_halves() -> None:
    source, circuit, half, _ = halved("RandomForestClassifier, breast cancer")
    assert circuit.report(fast=True).accuracy.halves is None
    source, _, half, _ = halved("LogisticRegression, iris")
    given = FpgaExecutor(fixed=FixedPoint(bits=18, fraction=10))
    for executor in (given, FpgaExecutor(encoder=Grid(8, 4, otherwise="nearest"))):
        assert tensorml.convert(source, half, executor=executor).report(fast=True).accuracy.halves is None
    one = tensorml.convert(source, half[:1], executor="fpga")
    assert one.report(fast=True).accuracy.halves is None
