from pathlib import Path

import pytest

from tensorml.executors.fpga.circuit import Circuit, Field
from tensorml.executors.fpga.report import Accuracy, Report, estimated
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
    assert "Latency: 1 cycle; a row every 3 cycles, 8 bits in, 4 bits out." in text
