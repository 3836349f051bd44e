"""What a circuit takes of a device, and how fast its clock may be: by Yosys and nextpnr, each answer computed once."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorml.errors import CircuitError, MissingDependencyError
from tensorml.executors.fpga.cache import building, cache_folder, on_disk
from tensorml.executors.fpga.circuit import Circuit
from tensorml.executors.fpga.progress import StageOf, Watch, run_watched
from tensorml.executors.fpga.tools import Tool, require


@dataclass(frozen=True)
class Family:
    """Devices that are built of the same cells.

    synthesis: the command of Yosys. Each other field: how many of that resource a cell takes, by the cell's name.
    """

    title: str
    synthesis: str
    luts: Mapping[str, int]
    memory_luts: Mapping[str, int]
    flip_flops: Mapping[str, int]
    dsps: Mapping[str, int]
    block_rams: Mapping[str, int]
    carries: Mapping[str, int]


def xilinx(title: str, name: str) -> Family:
    """The families of AMD whose LUTs have six inputs.

    LUTs are the cells LUT1 to LUT6, each one LUT: no two are packed into the two outputs of one. MUXF7 to MUXF9 and
    carry cells are beside the LUTs and take none; an inverter (INV) goes into the LUT or flip-flop that it drives.
    Shift registers and distributed RAM are counted apart, in LUTs of a SLICEM. A RAMB36 is two blocks of 18 kbit.
    **Source:** UG474 and UG574 (configurable logic blocks), UG473 and UG573 (block RAM).
    """
    return Family(
        title,
        f"synth_xilinx -family {name} -flatten -noiopad",
        {f"LUT{i}": 1 for i in range(1, 7)},
        {"SRL16E": 1, "SRLC32E": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM32M": 4, "RAM64M": 4},
        {f"{cell}{edge}": 1 for cell in ("FDRE", "FDSE", "FDCE", "FDPE") for edge in ("", "_1")},
        {"DSP48E1": 1, "DSP48E2": 1},
        {"RAMB18E1": 1, "RAMB18E2": 1, "RAMB36E1": 2, "RAMB36E2": 2},
        {"CARRY4": 1, "CARRY8": 1},
    )


ECP5 = Family(
    "Lattice ECP5",
    "synth_ecp5",
    {"LUT4": 1, "CCU2C": 2},
    {"TRELLIS_DPR16X4": 6},
    {"TRELLIS_FF": 1},
    {"MULT18X18D": 1},
    {"DP16KD": 1, "PDPW16KD": 1},
    {"CCU2C": 1},
)
"""LUTs are the cells LUT4, and two for each CCU2C: a slice that carries has both of its LUTs in the carry chain.
PFUMX and L6MUX21, which join LUTs to ones of five to seven inputs, are beside them and take none. A distributed RAM of
16 x 4 bits takes four LUTs and the two of the slice that writes. A block of RAM has 18 kbit.
**Source:** FPGA-DS-02012 (ECP5 and ECP5-5G family), section 2.2; nextpnr counts the same ("Total LUT4s")."""

FAMILIES = {
    "ecp5": ECP5,
    "xc7": xilinx("AMD 7 series", "xc7"),
    "xcup": xilinx("AMD UltraScale+", "xcup"),
}


@dataclass(frozen=True)
class Area:
    """What a circuit takes of a family of devices.

    luts: those that compute, as the family counts them (ECP5, xilinx); memory_luts: those that are shift registers or
    small RAM. block_rams: of 18 kbit. carries: carry cells, not LUTs. cells: all that Yosys ends with, by name.
    """

    family: str
    luts: int
    flip_flops: int
    memory_luts: int = 0
    dsps: int = 0
    block_rams: int = 0
    carries: int = 0
    cells: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Timing:
    """A circuit in its place on a device.

    fmax: of its clock, in MHz, the worst path between registers. utilisation: (used, there are) of each of the
    device's cells that is used, the wrapper's included. bitstream: a file that configures the device, if there is one.
    """

    device: str
    fmax: float
    utilisation: Mapping[str, tuple[int, int]]
    bitstream: Path | None = None


DEVICE = "LFE5U-85F-6 CABGA756"
NEXTPNR = "--85k --package CABGA756 --speed 6 --lpf-allow-unconstrained --timing-allow-fail --freq 250"


def synthesize(
    circuit: Circuit, family: str = "ecp5", *, timeout: float | None = None, watch: Watch | None = None
) -> Area:
    """What the circuit takes of a family: 'ecp5', 'xc7' (7 series) or 'xcup' (UltraScale+).

    timeout: the seconds that Yosys may take. watch: is told what it is at; a line on a terminal does, without.
    Raises MissingDependencyError without Yosys, CircuitError if it fails or is not ready in time.
    """
    chosen = FAMILIES.get(family)
    if chosen is None:
        raise ValueError(f"family is one of {', '.join(FAMILIES)}, not {family!r}")
    path = cells_path(circuit, chosen)
    cells = read_json(path)
    if cells is None:
        with building(path) as folder:
            circuit.write_images(folder)
            run = Run(circuit.name, timeout, watch)
            script = f"{chosen.synthesis} -top {circuit.name}; tee -q -o stat.json stat -json"
            run.yosys(circuit.verilog, script, folder)
            cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
            write_json(folder, path, cells)
    return area(family, cells)


def cells_path(circuit: Circuit, family: Family) -> Path:
    """Where it is kept what a circuit takes of a family. Raises MissingDependencyError without Yosys."""
    (yosys,) = require("yosys")
    return (
        cache_folder() / f"{circuit.digest}-{key(yosys.version, f'{family.synthesis} -top {circuit.name}')}-cells.json"
    )


def kept_area(circuit: Circuit, family: str) -> Area | None:
    """What `synthesize` has found before; None if it has not run, or its tools are not here."""
    try:
        cells = read_json(cells_path(circuit, FAMILIES[family]))
    except MissingDependencyError:
        return None
    return None if cells is None else area(family, cells)


def area(family: str, cells: Mapping[str, int]) -> Area:
    """The sums over the cells that Yosys ends with."""
    chosen = FAMILIES[family]

    def taken(weights: Mapping[str, int]) -> int:
        return sum(weights.get(cell, 0) * count for cell, count in cells.items())

    return Area(
        family,
        taken(chosen.luts),
        taken(chosen.flip_flops),
        taken(chosen.memory_luts),
        taken(chosen.dsps),
        taken(chosen.block_rams),
        taken(chosen.carries),
        {cell: count for cell, count in cells.items() if not cell.startswith("$")},
    )


def place(circuit: Circuit, *, seed: int = 1, timeout: float | None = None, watch: Watch | None = None) -> Timing:
    """The circuit placed and routed on an ECP5 of 85k LUTs, speed grade 6, in a CABGA756.

    A wrapper feeds it by a shift register and reads it by another (wrapper), since there are not pins enough.
    seed: of the placement; Fmax moves by some per cent with it. timeout: the seconds that each tool may take.
    Raises as synthesize does.
    """
    path = placed_path(circuit, seed)
    (ecppack,) = require("ecppack")
    run = Run(circuit.name, timeout, watch)
    if read_json(path) is None:
        with building(path) as folder:
            circuit.write_images(folder)
            source = f"{circuit.verilog}\n{wrapper(circuit)}"
            run.yosys(source, f"{ECP5.synthesis} -top {WRAPPER} -json netlist.json", folder)
            options = f"{NEXTPNR} --seed {seed} --json netlist.json --report report.json --textcfg placed.config"
            run.nextpnr(options, folder)
            ecppack.run("placed.config", "--bit", "placed.bit", folder=folder)
            report = json.loads((folder / "report.json").read_text())
            os.replace(folder / "placed.bit", path.with_suffix(".bit"))
            write_json(folder, path, {name: report[name] for name in ("fmax", "utilization")})
    return timing(read_json(path), path.with_suffix(".bit"))


def placed_path(circuit: Circuit, seed: int = 1) -> Path:
    """Where it is kept what `place` finds. Raises MissingDependencyError without its tools."""
    yosys, nextpnr, _ = require("yosys", "nextpnr-ecp5", "ecppack")
    made_by = yosys.version, nextpnr.version, ECP5.synthesis, f"{NEXTPNR} --seed {seed}", wrapper(circuit)
    return cache_folder() / f"{circuit.digest}-{key(*made_by)}-placed.json"


def kept_timing(circuit: Circuit) -> Timing | None:
    """What `place` has found before; None if it has not run, or its tools are not here."""
    try:
        path = placed_path(circuit)
        found = read_json(path)
    except MissingDependencyError:
        return None
    return None if found is None else timing(found, path.with_suffix(".bit"))


def timing(report: Mapping[str, Any], bitstream: Path) -> Timing:
    """What nextpnr's report says of the only clock."""
    clocks = report["fmax"]
    if len(clocks) != 1:
        raise CircuitError(
            f"nextpnr reports {len(clocks)} clocks, not one: there is no path from a register to another"
        )
    (clock,) = clocks.values()
    used = {name: (u["used"], u["available"]) for name, u in report["utilization"].items() if u["used"]}
    return Timing(DEVICE, float(clock["achieved"]), used, bitstream if bitstream.exists() else None)


WRAPPER = "tensorml_place_and_route"


def wrapper(circuit: Circuit) -> str:
    """A module with few pins around the circuit: a row is shifted in a bit a cycle, and results into one pin.

    Registers are on both sides of the circuit, so that the paths of its own ports are paths between registers. Each
    bit of the result is folded into a chain by an exclusive or, so that no bit is left out of the circuit.
    """
    width, result = circuit.in_width, circuit.out_width
    return f"""
module {WRAPPER} (input wire clk, input wire rst, input wire valid, input wire bit_in, output reg bit_out);
    reg [{width - 1}:0] in_row;
    reg in_rst, in_valid;
    wire in_ready, out_valid;
    wire [{result - 1}:0] out_row;
    reg [{result + 1}:0] held;
    reg [{result + 1}:0] chain;
    always @(posedge clk) begin
        in_row <= {{in_row, bit_in}};
        in_rst <= rst;
        in_valid <= valid;
        held <= {{in_ready, out_valid, out_row}};
        chain <= held ^ (chain << 1);
        bit_out <= chain[{result + 1}];
    end
    {circuit.name} circuit (
        .clk(clk), .rst(in_rst), .in_valid(in_valid), .in_ready(in_ready), .in_row(in_row),
        .out_valid(out_valid), .out_row(out_row)
    );
endmodule
"""


@dataclass(frozen=True)
class Run:
    """How tools are run for a circuit: under its name, with so much time, watched by the caller."""

    name: str
    timeout: float | None
    watch: Watch | None

    def yosys(self, source: str, script: str, folder: Path) -> None:
        """Run a script on a source of Verilog, in a folder."""
        (yosys,) = require("yosys")
        (folder / "circuit.v").write_text(source)
        commands = ("-p", f"read_verilog circuit.v; {script}")
        self._run(yosys, *commands, folder=folder, stage_of=yosys_stage, title="synthesis")

    def nextpnr(self, options: str, folder: Path) -> None:
        """Place and route in a folder."""
        (nextpnr,) = require("nextpnr-ecp5")
        self._run(nextpnr, *options.split(), folder=folder, stage_of=nextpnr_stage, title="place and route")

    def _run(self, tool: Tool, *arguments: str, folder: Path, stage_of: StageOf, title: str) -> None:
        title = f"{self.name}: {title}"
        run_watched(
            tool, *arguments, folder=folder, stage_of=stage_of, title=title, timeout=self.timeout, watch=self.watch
        )


def yosys_stage(line: str) -> str | None:
    """The pass that begins: '3.24.1. Executing OPT_CLEAN pass (remove unused cells and wires).' is 'opt_clean'."""
    found = re.match(r"[\d.]+ Executing ([A-Z][A-Z0-9_]+)\b(?! frontend| backend)", line)
    return found and found[1].lower()


NEXTPNR_STAGES = [
    (r"Info: (Packing \w+)", "{}"),
    (r"Info: +at iteration #(\d+), type", "placing, round {}"),
    (r"Info: +at iteration #(\d+): temp", "improving the placement, round {}"),
    (r"Info: Routing (\d+) arcs", "routing, {} arcs"),
    (r"Info: +\d+ \|[^|]*\|[^|]*\| +(\d+)\|", "routing, {} arcs left"),
    (r"Info: (Critical path) report", "timing"),
]


def nextpnr_stage(line: str) -> str | None:
    """What it has begun, in words."""
    for pattern, words in NEXTPNR_STAGES:
        found = re.match(pattern, line)
        if found is not None:
            return words.format(found[1])
    return None


def key(*made_by: str) -> str:
    """A name for the tools and the options that a file was made with."""
    return hashlib.sha256(repr(made_by).encode()).hexdigest()[:12]


def read_json(path: Path) -> Any:
    """What a file of the cache holds; None if there is none, or a damaged one, which is then made again."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_json(folder: Path, path: Path, value: object) -> None:
    """Write a file of the cache in one step, from a folder on the same disk: it is whole, or it is not there."""
    part = folder / path.name
    part.write_text(json.dumps(value))
    on_disk(part)
    os.replace(part, path)
