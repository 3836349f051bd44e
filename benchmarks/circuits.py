"""Circuits side by side: this project, TreeLUT and conifer on the same XGBoost models, through the same tools.

`python -m benchmarks.circuits` prints rows and puts them into the table of docs/circuits.md. Features are whole
numbers of a few bits, as TreeLUT needs them, and all take the same fitted model. LUTs and flip-flops are Yosys's, Fmax
is nextpnr's.

TreeLUT: pip install git+https://github.com/kiabuzz/TreeLUT. conifer: pip install conifer hls4ml (whose headers it
compiles its number formats with), and GHDL on the PATH, which makes Verilog of its VHDL.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.model_selection import train_test_split

import tensorml
from tensorml.errors import CircuitError
from tensorml.executors.fpga.accuracy import FixedPoint
from tensorml.executors.fpga.circuit import Circuit, Field
from tensorml.executors.fpga.program import FpgaExecutor
from tensorml.executors.fpga.simulate import Simulator
from tensorml.executors.fpga.synthesis import Area, Timing, place, synthesize

PAGE = Path(__file__).parent.parent / "docs" / "circuits.md"
BEGIN, END = "<!-- side by side -->\n", "<!-- /side by side -->\n"
LEAF_BITS = 3  # of TreeLUT's leaves, as in its publication; this project is also shown with the bits that it chooses
TOOLS = ("tensorml", "TreeLUT", "conifer")
HEADERS = [
    "Model", "Tool", "LUTs, 7 series", "of these as memory", "Flip-flops", "LUTs, ECP5", "Fmax, ECP5 [MHz]",
    "Latency [cycles]", "Latency [ns]", "Same label as XGBoost",
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A model to fit: XGBoost, `rounds` of trees of a depth, on features of so many bits. placed: Fmax is measured."""

    name: str
    load: Callable[[], tuple[np.ndarray, np.ndarray]]
    rounds: int
    depth: int
    bits: int = 8
    placed: bool = True


def breast_cancer() -> tuple[np.ndarray, np.ndarray]:
    """569 rows of 30 features, two classes."""
    data: Any = load_breast_cancer()
    return data.data, data.target


def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 rows of 64 features, ten classes."""
    data: Any = load_digits()
    return data.data, data.target


def synthetic() -> tuple[np.ndarray, np.ndarray]:
    """4,000 rows of 32 features, two classes."""
    data: Any = make_classification(4000, 32, n_informative=16, random_state=0)
    return data


CASES = [
    Case("breast cancer, 10 trees of depth 3", breast_cancer, 10, 3),
    Case("breast cancer, 50 trees of depth 4", breast_cancer, 50, 4),
    Case("digits, 10 classes x 30 trees of depth 3", digits, 30, 3, bits=5),
    Case("synthetic, 32 features, 100 trees of depth 4", synthetic, 100, 4),
    Case("synthetic, 32 features, 200 trees of depth 4", synthetic, 200, 4, placed=False),
    Case("synthetic, 32 features, 100 trees of depth 5", synthetic, 100, 5, placed=False),
    Case("synthetic, 32 features, 300 trees of depth 3", synthetic, 300, 3, placed=False),
]


@dataclass(frozen=True)
class Entry:
    """A circuit that a peer made of a model.

    rows: float [N, F] to the integers that go in, int64 [N, fields]. labels: integers that come out to int64 [N].
    simulated: the same circuit for the simulation, with a valid bit along it, if it has none.
    """

    circuit: Circuit
    rows: Callable[[np.ndarray], np.ndarray]
    labels: Callable[[np.ndarray], np.ndarray]
    simulated: Circuit | None = None


@dataclass(frozen=True)
class Row:
    """What was measured; failure: why something was not."""

    case: str
    tool: str
    area: Area | None = None
    lattice: Area | None = None
    timing: Timing | None = None
    latency: int | None = None
    agreement: float | None = None
    failure: str = ""

    def cells(self) -> list[str]:
        """As text."""
        if self.area is None or self.lattice is None:
            return [self.case, self.tool, self.failure, *[""] * 7]
        fmax = self.timing and self.timing.fmax
        return [
            self.case,
            self.tool,
            f"{self.area.luts + self.area.memory_luts:,}",
            f"{self.area.memory_luts:,}",
            f"{self.area.flip_flops:,}",
            f"{self.lattice.luts:,}",
            f"{fmax:.0f}" if fmax else self.failure or "-",
            f"{self.latency}",
            f"{self.latency * 1000 / fmax:.0f}" if fmax and self.latency else "-",
            "-" if self.agreement is None else f"{self.agreement:.2%}",
        ]


def fitted(case: Case) -> tuple[Any, np.ndarray]:
    """The model, and rows that it has not seen, whole numbers as float32."""
    import xgboost as xgb

    x, y = case.load()
    low, high = x.min(0), x.max(0)
    most = 16 if case.bits == 5 else 2**case.bits - 1  # the digits have 17 levels
    x = np.round((x - low) / np.where(high > low, high - low, 1) * most).astype(np.float32)
    parts: Any = train_test_split(x, y, test_size=0.3, random_state=0)
    train, test, labels, _ = parts
    objective = "binary:logistic" if len(np.unique(y)) == 2 else "multi:softmax"
    options: dict[str, Any] = {"objective": objective, "base_score": 0.5, "n_jobs": 1, "random_state": 0}
    model = xgb.XGBClassifier(n_estimators=case.rounds, max_depth=case.depth, **options)
    return model.fit(train, labels), test


def ours(case: Case, model: Any, test: np.ndarray, bits: int | None, options: argparse.Namespace) -> Row:
    """What the model's own report says: codes go in, margins come out. bits: of the leaves; None: it chooses them."""
    converted = tensorml.convert(model, executor=FpgaExecutor(fixed=FixedPoint(bits=bits)))
    agreement = float((converted.predict(test) == model.predict(test)).mean())
    tool = "tensorml" if bits is None else f"tensorml, {bits}-bit leaves"
    report = converted.report("predict", families=("xc7", "ecp5"), placed=False, timeout=options.timeout)
    row = Row(case.name, tool, report.areas["xc7"], report.areas["ecp5"], None, report.latency, agreement)
    return with_timing(
        row, case, options, lambda: converted.report("predict", families=(), timeout=options.timeout).timing
    )


def with_timing(row: Row, case: Case, options: argparse.Namespace, placed: Callable[[], Timing | None]) -> Row:
    """The row with what place and route says, where that is asked for and ready in time."""
    if not case.placed or options.no_place:
        return row
    try:
        return replace(row, timing=placed())
    except CircuitError as error:
        return replace(row, failure=str(error).partition(";")[0])


class ScalarBaseScore:
    """A model whose configuration has the base score as a number, as TreeLUT reads it: XGBoost 3 writes a list."""

    def __init__(self, model: Any):
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def get_booster(self) -> Any:
        booster, config = self._model.get_booster(), json.loads(self._model.get_booster().save_config())
        parameters = config["learner"]["learner_model_param"]
        parameters["base_score"] = parameters["base_score"].strip("[]").split(",")[0]
        booster.save_config = lambda: json.dumps(config)
        return booster


def treelut_circuit(case: Case, model: Any, folder: Path) -> Entry:
    """TreeLUT's, with a register after the compares, after the trees and among the adders: all that it can place."""
    from treelut import TreeLUTClassifier  # pyright: ignore[reportMissingImports]

    peer = TreeLUTClassifier(ScalarBaseScore(model), case.bits, LEAF_BITS, pipeline=[1, 1, 1], dir_path=str(folder))
    with contextlib.redirect_stdout(io.StringIO()):
        peer.convert()
        peer.verilog()
    source = "\n".join(path.read_text() for path in sorted((folder / "TreeLUT" / "verilog").glob("*.v")))
    classes, bits = peer._n_classes, int(peer._sum_bit_length)
    inputs = tuple(Field(f"x{i}", case.bits) for i in range(model.n_features_in_))
    outputs = tuple(Field(f"sum{i}", bits) for i in range(classes))
    body = "    TreeLUT core (.clk(clk), .i(in_row), .o(out_row));\n"
    bare, timed = (adapted("treelut", source, inputs, outputs, body, 3, valid) for valid in ("1'b0", None))

    def labels(sums: np.ndarray) -> np.ndarray:
        return sums.argmax(1) if classes > 1 else (sums[:, 0] >= peer._threshold).astype(np.int64)

    return Entry(bare, lambda x: x.astype(np.int64), labels, timed)


def conifer_circuit(case: Case, model: Any, folder: Path) -> Entry:
    """The peer conifer's VHDL, in ap_fixed<18, integer bits>: as many of these as the features need."""
    peer, integer = conifer_model(case, model, folder)
    peer.write()
    classes = model.n_classes_ if model.n_classes_ > 2 else 1
    source = verilog_of(folder / "firmware", classes)
    inputs = tuple(Field(f"x{i}", 18, signed=True) for i in reversed(range(model.n_features_in_)))
    outputs = tuple(Field(f"y{i}", 18, signed=True) for i in reversed(range(classes)))
    # Its compares, a level of a tree each cycle, its leaves, then an adder for each halving of the trees and the start.
    # Its valid bit does not come out of what GHDL writes, so the simulation has one of its own.
    latency = case.depth + 4 + int(np.ceil(np.log2(case.rounds + 1)))
    body = (
        f"    wire [{classes - 1}:0] y_vld;\n"
        "    BDTTop core (.clk(clk), .X(in_row), .X_vld(in_valid), .y(out_row), .y_vld(y_vld));\n"
    )
    bare, timed = (adapted("conifer", source, inputs, outputs, body, latency, valid) for valid in ("y_vld[0]", None))
    scale = 2 ** (18 - integer)

    def labels(sums: np.ndarray) -> np.ndarray:
        sums = sums[:, ::-1]
        return sums.argmax(1) if classes > 1 else (sums[:, 0] > 0).astype(np.int64)

    return Entry(bare, lambda x: (x[:, ::-1] * scale).astype(np.int64), labels, timed)


def conifer_model(case: Case, model: Any, folder: Path) -> tuple[Any, int]:
    """The peer conifer's model, and the integer bits of its numbers."""
    spec = find_spec("hls4ml")
    if spec is not None and spec.submodule_search_locations is not None:
        headers = Path(next(iter(spec.submodule_search_locations))) / "templates" / "vivado" / "ap_types"
        os.environ.setdefault("XILINX_AP_INCLUDE", str(headers))
    import conifer  # pyright: ignore[reportMissingImports]

    integer = case.bits + 2
    config = conifer.backends.vhdl.auto_config()
    config |= {"OutputDir": str(folder), "Precision": f"ap_fixed<18,{integer}>"}
    with contextlib.chdir(folder):  # it compiles its number format in the current folder
        return conifer.converters.convert_from_xgboost(model, config), integer


def verilog_of(firmware: Path, classes: int) -> str:
    """The peer conifer's VHDL as Verilog, by GHDL."""
    ghdl = shutil.which("ghdl")
    if ghdl is None:
        raise CircuitError("there is no ghdl on the PATH")
    arrays = [f"Arrays{i}" for i in range(classes)]
    for unit in ("Constants", "Split", "Types", "Tree", "AddReduce", *arrays, "BDT", "BDTTop"):
        run(ghdl, "-a", "--std=08", "--work=BDT", f"{unit}.vhd", folder=firmware)
    return run(ghdl, "--synth", "--std=08", "--work=BDT", "--out=verilog", "BDTTop", folder=firmware)


def run(*command: str, folder: Path) -> str:
    """What a program prints on its standard output."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CircuitError(f"{command[0]} failed: {done.stderr[-300:]}")
    return done.stdout


def adapted(
    name: str,
    source: str,
    inputs: Sequence[Field],
    outputs: Sequence[Field],
    body: str,
    latency: int,
    valid: str | None,
) -> Circuit:
    """A peer's module behind the ports of a circuit. valid: of the result; None: in_valid, so many cycles later."""
    in_width, out_width = (sum(field.width for field in fields) for fields in (inputs, outputs))
    chain = (
        f"    reg [{latency - 1}:0] along;\n"
        f"    always @(posedge clk) along <= rst ? {latency}'d0 : {{along[{latency - 2}:0], in_valid}};\n"
    )
    valid, body = (f"along[{latency - 1}]", body + chain) if valid is None else (valid, body)
    text = f"""{source}
module {name} (input wire clk, input wire rst, input wire in_valid, output wire in_ready,
    input wire [{in_width - 1}:0] in_row, output wire out_valid, output wire [{out_width - 1}:0] out_row);
    assign in_ready = 1'b1;
    assign out_valid = {valid};
{body}endmodule
"""
    return Circuit(name, text, tuple(inputs), tuple(outputs), latency)


def peer_row(case: Case, tool: str, entry: Entry, model: Any, test: np.ndarray, options: argparse.Namespace) -> Row:
    """The figures of a peer's circuit, in the same flow."""
    circuit = entry.circuit
    sums = Simulator(entry.simulated or circuit).run(entry.rows(test))
    agreement = float((entry.labels(sums) == model.predict(test)).mean())
    area, lattice = (synthesize(circuit, family, timeout=options.timeout) for family in ("xc7", "ecp5"))
    row = Row(case.name, tool, area, lattice, None, circuit.latency, agreement)
    return with_timing(row, case, options, lambda: place(circuit, timeout=options.timeout))


def rows_of(case: Case, options: argparse.Namespace) -> Iterator[Row]:
    """All tools on a case. A tool that is missing or fails is a row that says so."""
    model, test = fitted(case)
    treelut, conifer = f"TreeLUT, {LEAF_BITS}-bit leaves", "conifer, ap_fixed<18>"
    makers: dict[str, Callable[[Path], Row]] = {
        "tensorml": lambda folder: ours(case, model, test, None, options),
        f"tensorml, {LEAF_BITS}-bit leaves": lambda folder: ours(case, model, test, LEAF_BITS, options),
        treelut: lambda folder: peer_row(case, treelut, treelut_circuit(case, model, folder), model, test, options),
        conifer: lambda folder: peer_row(case, conifer, conifer_circuit(case, model, folder), model, test, options),
    }
    for tool, make in makers.items():
        if options.tools and not any(part in tool for part in options.tools):
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                yield make(Path(folder))
            except ImportError as error:
                yield Row(case.name, tool, failure=f"not installed: {error.name}")
            except Exception as error:  # whatever a peer raises is its result
                yield Row(case.name, tool, failure=f"{type(error).__name__}: {error}".splitlines()[0][:120])


def write_page(rows: Sequence[Row]) -> None:
    """Put the rows into the table of the page, in the places of those of the same model and tool."""
    text = PAGE.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    table, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has no {BEGIN.strip()} ... {END.strip()}")
    kept = (line.strip("| ").split(" | ") for line in table.splitlines()[2:])
    found = {(cells[0], cells[1]): cells for cells in [*kept, *(row.cells() for row in rows)]}
    names = [case.name for case in CASES]
    ordered = sorted(found.values(), key=lambda cells: (names.index(cells[0]), place_of(cells[1]), cells[1]))
    lines = [f"| {' | '.join(HEADERS)} |", f"|---|---|{'--:|' * (len(HEADERS) - 2)}"]
    lines += [f"| {' | '.join(cells)} |" for cells in ordered]
    PAGE.write_text(before + begin + "\n".join(lines) + "\n" + end + after, encoding="utf-8")


def place_of(tool: str) -> int:
    """Of a tool in the table."""
    return next(i for i, name in enumerate(TOOLS) if tool.startswith(name))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.circuits", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="cases whose names contain one of these")
    parser.add_argument("--tools", nargs="+", default=[], metavar="NAME", help="tools whose names contain one of these")
    parser.add_argument("--no-place", action="store_true", help="leave out place and route, the slow step")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds that a run of a tool may take")
    parser.add_argument("--no-page", action="store_true", help="print the table only")
    options = parser.parse_args(argv)
    rows: list[Row] = []
    for case in CASES:
        if not options.only or any(part in case.name for part in options.only):
            for row in rows_of(case, options):
                rows.append(row)
                Console(width=200).print(" | ".join(row.cells()), markup=False, highlight=False)
    if not options.no_page:
        write_page(rows)


if __name__ == "__main__":
    main()
