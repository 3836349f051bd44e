"""A folder for hardware engineers: Verilog, AXI-Stream around it, a test bench, constraints, number formats."""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorml.errors import ArtifactError
from tensorml.executors.fpga.circuit import Circuit, Field
from tensorml.executors.fpga.decode import Decoder
from tensorml.executors.fpga.encode import Encoder
from tensorml.executors.fpga.formats import Format, Formats, byte_count, header_fields
from tensorml.executors.fpga.readme import Page
from tensorml.executors.fpga.simulate import pack

if TYPE_CHECKING:
    from tensorml.executors.fpga.report import Report

TEMPLATES = Path(__file__).with_name("templates")
MARKER = "tensorml.json"
VERSION = 1
PART = ".tensorml-"  # in the names of folders in which projects are written
LEFT = 3600.0  # seconds after which such a folder is taken to be left over: writing takes a second
BUILT = ("build", "__pycache__")  # folders that `make` and Python leave in a project
AXIS_LATENCY = 2  # cycles beyond the circuit's: into the memory, and onto the port
CLOCK = 50.0  # MHz, where no tool has said what is possible: what walkers reach with ports on pins all over the device
MARGIN = 0.8  # of the clock that was reached by the circuit alone
LINT = """\
// A value is as wide as its range, which is known: what is narrower is extended, what is wider is cut without loss.
// Bits that nothing reads are left out by every tool.
/* verilator lint_off UNUSEDSIGNAL */
/* verilator lint_off WIDTHEXPAND */
/* verilator lint_off WIDTHTRUNC */
{}
/* verilator lint_on WIDTHTRUNC */
/* verilator lint_on WIDTHEXPAND */
/* verilator lint_on UNUSEDSIGNAL */
"""
BENCH = ("golden.py", "run.py", "test_core.py", "test_wrapper.py")

Rows = tuple[np.ndarray, np.ndarray]  # int64 [N, fields], and the results that they give, int64 [N, result fields]


def write_project(
    circuit: Circuit,
    folder: Path,
    golden: Rows,
    formats: Formats | None = None,
    report: Report | None = None,
    about: str = "",
    encoder: Encoder | None = None,
    decoder: Decoder | None = None,
) -> None:
    """Write the project of a circuit: all of it or nothing.

    golden: rows for the test bench. formats: what the fields mean; without them, the integers themselves. report: the
    figures that are in the README, and the clock of the constraints. about: a paragraph that says what is computed.
    encoder, decoder: how values become rows and what becomes of results, in C.
    Raises ArtifactError if the folder holds what this function has not written, FileNotFoundError without its parent.
    """
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"no such directory: {folder.parent}")
    remove_parts(folder)
    refuse_foreign(folder)
    formats = formats or ([Format()] * len(circuit.inputs), [Format()] * len(circuit.outputs))
    page = Page(circuit, formats, report, about, encoder or Encoder(), decoder or Decoder())
    files = contents(page, golden)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}{PART}", dir=folder.parent) as part:
        new, old = Path(part) / "new", Path(part) / "old"
        for name, text in files.items():
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        exchange(new, folder, old)


def remove_parts(folder: Path) -> None:
    """Remove what writes of this folder that were killed have left; a project that was just moved away comes back."""
    for part in folder.parent.glob(f".{glob.escape(folder.name)}{PART}*"):
        if time.time() - part.stat().st_mtime < LEFT:
            continue
        if (part / "old").exists() and not folder.exists():
            os.rename(part / "old", folder)
        shutil.rmtree(part, ignore_errors=True)


def exchange(new: Path, folder: Path, old: Path) -> None:
    """Put a new folder in the place of the one that may be there, which moves to `old`, or back if that fails."""
    if folder.exists():
        os.rename(folder, old)
    try:
        os.rename(new, folder)
    except OSError:
        if old.exists():
            os.rename(old, folder)
        raise


def refuse_foreign(folder: Path) -> None:
    """Raises ArtifactError if there is something in the way that write_project has not written, or that was edited."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is a file; a project is a folder. Choose another name, or remove it")
    there = {p.relative_to(folder) for p in folder.rglob("*") if not p.is_dir()}
    there = {p for p in there if not set(p.parts) & set(BUILT)}
    known = written(folder)
    if there and not known:
        raise ArtifactError(f"{folder} is not empty, and tensorml did not write what is in it. Choose another folder")
    foreign = sorted(p.as_posix() for p in there if known.get(p.as_posix()) != digest((folder / p).read_bytes()))
    foreign = [name for name in foreign if name != MARKER]
    if foreign:
        raise ArtifactError(
            f"{folder} holds files that were added or edited since tensorml wrote it: {', '.join(foreign)}. "
            "Choose another folder, or remove them"
        )


def written(folder: Path) -> Mapping[str, str]:
    """The files of a project with their digests, as its marker says; none if it is no project."""
    try:
        facts = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        return dict(facts["files"])
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return {}


def digest(content: bytes) -> str:
    """What is remembered of a file."""
    return hashlib.sha256(content).hexdigest()[:16]


def contents(page: Page, golden: Rows) -> dict[str, str]:
    """The files of a project, by name."""
    circuit, name = page.circuit, page.circuit.name
    sizes = wrapper_sizes(circuit) | {"name": name, "NAME": name.upper(), "guard": f"{name.upper()}_H"}
    mhz = math.floor(MARGIN * page.report.fmax) if page.report and page.report.fmax else CLOCK
    sizes |= {"mhz": f"{mhz:.1f}", "period": f"{1000 / mhz:.3f}", "golden": len(golden[0])}
    code = {"encode": page.encoder.gaps, "decode": page.decoder.gaps}
    files = {
        f"rtl/{name}.v": LINT.format(circuit.verilog.strip()),
        f"rtl/{name}_axis.v": filled("axis.v", sizes),
        **{f"rtl/{image}": text for image, text in circuit.images.items()},
        f"include/{name}.h": filled("header.h", sizes | header_fields(circuit, page.formats)),
        **{f"include/{name}_{part}.h": filled(f"{part}.h", sizes | gaps) for part, gaps in code.items() if gaps},
        f"constraints/{name}.lpf": filled("constraints.lpf", sizes),
        f"constraints/{name}.xdc": filled("constraints.xdc", sizes),
        "Makefile": filled("Makefile", sizes),
        "README.md": filled("README.md", sizes | page.parts),
        "sim/golden_in.hex": hexadecimal(golden[0], circuit.inputs),
        "sim/golden_out.hex": hexadecimal(golden[1], circuit.outputs),
        **{f"sim/{bench}": template(bench) for bench in BENCH},
    }
    facts = page.facts | {"files": {path: digest(text.encode()) for path, text in files.items()}}
    return files | {MARKER: json.dumps({"format": VERSION} | facts, indent=1) + "\n"}


def template(name: str) -> str:
    """A file of the project that is the same for all circuits, or has gaps."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def filled(name: str, values: Mapping[str, object]) -> str:
    """A template with its gaps filled."""
    return Template(template(name)).substitute(values)


def wrapper_sizes(circuit: Circuit) -> dict[str, Any]:
    """The numbers in the wrapper. Its memory holds all rows that may be under way at once, so that none is lost."""
    index_bits = max(1, ((circuit.latency + AXIS_LATENCY) // circuit.interval).bit_length())
    in_bytes, out_bytes = byte_count(circuit.in_width), byte_count(circuit.out_width)
    read = f"results[results_out[{index_bits - 1}:0]]"
    padding = 8 * out_bytes - circuit.out_width
    return {
        "latency": circuit.latency,
        "interval": circuit.interval,
        "axis_latency": circuit.latency + AXIS_LATENCY,
        "inputs": len(circuit.inputs),
        "outputs": len(circuit.outputs),
        "in_width": circuit.in_width,
        "out_width": circuit.out_width,
        "in_bytes": in_bytes,
        "out_bytes": out_bytes,
        "in_bytes_text": counted(in_bytes, "byte"),
        "out_bytes_text": counted(out_bytes, "byte"),
        "in_bits_text": counted(circuit.in_width, "bit"),
        "out_bits_text": counted(circuit.out_width, "bit"),
        "inputs_text": counted(len(circuit.inputs), "integer"),
        "outputs_text": counted(len(circuit.outputs), "integer"),
        "latency_text": counted(circuit.latency, "cycle"),
        "edges_text": counted(circuit.latency, "edge"),
        "in_high": 8 * in_bytes - 1,
        "out_high": 8 * out_bytes - 1,
        "in_row_high": circuit.in_width - 1,
        "core_high": circuit.out_width - 1,
        "depth": 1 << index_bits,
        "depth_high": (1 << index_bits) - 1,
        "index_bits": index_bits,
        "index_high": index_bits - 1,
        "count_bits": index_bits + 1,
        "result": f"{{{padding}'d0, {read}}}" if padding else read,
    }


def counted(count: int, noun: str) -> str:
    """So many of something, in words."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def hexadecimal(rows: np.ndarray, fields: Sequence[Field]) -> str:
    """Rows as numbers, one a line, the first field in the lowest bits. Raises InputError if one does not fit."""
    digits = -(-sum(field.width for field in fields) // 4)
    lines = (row[::-1].tobytes().hex()[-digits:] for row in pack(rows, fields).astype(">u4"))
    return "".join(f"{line}\n" for line in lines)
