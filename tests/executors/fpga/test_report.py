from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.neural_network import MLPRegressor

import tensorml
from tensorml.executors.fpga.accuracy import FixedPoint
from tensorml.executors.fpga.circuit import Circuit, Field
from tensorml.executors.fpga.program import FpgaExecutor
from tensorml.executors.fpga.report import Accuracy, Report, estimated
from tensorml.executors.fpga.stages import Stage
from tensorml.executors.fpga.synthesis import Area, Timing

AREAS = {"ecp5": Area("ecp5", 1234, 567, 0, 2, 1, 40), "xc7": Area("xc7", 800, 500, 12)}
TIMING = Timing("LFE5U-85F-6 CABGA756", 200.0, {"TRELLIS_FF": (600, 83640)}, Path("/somewhere/core.bit"))


def test_latency_and_rows_per_second_follow_from_the_clock():
    report = Report("core", 6, 2, 46, 9, AREAS, TIMING)
    assert report.fmax == 200
    assert report.latency_ns == pytest.approx(30)
    assert report.rows_per_second == pytest.approx(1e8)
    assert report.bitstream == Path("/somewhere/core.bit")


def test_what_was_not_measured_is_none_and_not_printed():
    report = Report("core", 6, 1, 46, 9, AREAS)
    assert (report.fmax, report.latency_ns, report.rows_per_second, report.bitstream) == (None,) * 4
    text = str(report)
    assert "MHz" not in text
    assert "Fixed point" not in text
    assert "Simulation" not in text


def test_a_report_prints_as_a_table_with_notes():
    accuracy = Accuracy(0.25, 0.0125, 4096, {"constants": 6, "results": 9}, labels=3)
    text = str(Report("core", 6, 1, 46, 9, AREAS, TIMING, accuracy, 123456.7))
    lines = text.splitlines()
    assert lines[0] == "Circuit 'core'"
    assert lines[3].split() == ["Lattice", "ECP5", "1,234", "0", "567", "2", "1", "40"]
    assert lines[4].split() == ["AMD", "7", "series", "800", "12", "500", "0", "0", "0"]
    assert "Latency: 6 cycles; a row each cycle, 46 bits in, 9 bits out." in lines
    assert "On LFE5U-85F-6 CABGA756: 200.0 MHz, 30.0 ns, 200.0 million rows per second." in lines
    assert (
        "Fixed point: error 0.25 (1.250% of the range) on 4,096 calibration rows, 3 labels changed; "
        "constants 6 bits, results 9 bits." in lines
    )
    assert "Simulation: 123,457 rows per second." in lines
    assert not any("estimates" in line for line in lines)


def test_an_error_that_holds_for_any_row_says_so():
    assert "at most, for any row" in str(Report("core", 1, 1, 1, 1, AREAS, accuracy=Accuracy(0.1, 0.01)))


def test_an_estimate_says_that_it_is_one():
    circuit = Circuit("core", "", (Field("x", 8),), (Field("y", 4),), latency=1, interval=3)
    report = estimated(circuit, {("register", 4): 1, ("adder", 4): 1})
    assert report.estimate
    assert list(report.areas) == ["ecp5", "xc7"]
    text = str(report)
    assert "These areas are estimates: no tool has run." in text
    assert text.splitlines()[3].split() == ["Lattice", "ECP5", "4", "0", "4", "0", "0", "-"]
    assert "Latency: 1 cycle; a row every 3 cycles, 8 bits in, 4 bits out." in text


X = np.random.default_rng(0).normal(size=(200, 3))


def stages_of(model, fixed: FixedPoint) -> list[Stage]:
    converted = tensorml.convert(model.fit(X, X[:, 0]), X, executor=FpgaExecutor(fixed=fixed))
    return list(converted.report("predict", fast=True).stages)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_numbers_of_a_network_are_reported_stage_by_stage():
    network = MLPRegressor(hidden_layer_sizes=(4,), activation="tanh", solver="lbfgs", max_iter=20, random_state=0)
    found = {stage.name.partition(",")[0]: stage for stage in stages_of(network, FixedPoint(bits=18, fraction=10))}
    assert list(found) == ["values that enter", "weights", "sums of products", "tanh", "results"]
    enter, hidden, results = found["values that enter"], found["tanh"], found["results"]
    assert (enter.count, enter.bits, enter.signed, enter.fraction) == (3, 18, True, (10, 10))
    assert (enter.low, enter.high) == (-128, 128 - 2**-10)
    assert (hidden.count, hidden.fraction) == (4, (10, 10))
    assert -1 <= hidden.low < -0.99 < 0.99 < hidden.high <= 1
    assert results.count == 1
    assert results.fraction == (20, 20)


def test_the_numbers_of_a_forest_are_codes_leaves_and_sums():
    found = stages_of(RandomForestRegressor(3, max_depth=3, random_state=0), FixedPoint())
    assert [stage.name for stage in found] == ["values that enter", "leaves", "sums of leaves", "results"]
    codes, leaves, sums, _ = found
    assert (codes.signed, codes.fraction) == (False, (0, 0))
    assert leaves.count == 24
    assert leaves.bits < sums.bits < leaves.bits + 3
    assert sums.low < X[:, 0].mean() < sums.high


def test_stages_print_as_a_table():
    stages = [
        Stage("values that enter", 1234, 18, True, (8, 10), -128, 127.999),
        Stage("weights", 3, 5, False, None, 0, 1),
        Stage("results", 1, 9, True, (3, 3), -1, 1),
    ]
    lines = str(Report("core", 6, 1, 46, 9, AREAS, stages=stages).numbers).splitlines()
    assert lines[0] == "Numbers of circuit 'core'"
    assert lines[3].split() == ["values", "that", "enter", "1,234", "signed,", "18", "8", "to", "10", "-128", "127.999"]
    assert lines[4].split() == ["weights", "3", "unsigned,", "5", "0", "1"]
    assert lines[5].split() == ["results", "1", "signed,", "9", "3", "-1", "1"]
