"""A folder for hardware engineers: Verilog, AXI-Stream around it, a test bench, constraints, number formats."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorml.errors import ArtifactError
from tensorml.executors.fpga.circuit import Circuit, Field
from tensorml.executors.fpga.encode import Encoder
from tensorml.executors.fpga.simulate import pack

if TYPE_CHECKING:
    from tensorml.executors.fpga.report import Report
    from tensorml.report import Table

TEMPLATES = Path(__file__).with_name("templates")
MARKER = "tensorml.json"
VERSION = 1
BUILT = ("build", "__pycache__")  # folders that `make` and Python leave in a project
AXIS_LATENCY = 2  # cycles beyond the circuit's: into the memory, and onto the port
ENCODE_FILE = "| `include/{}_encode.h` | in C, how values become rows |\n"
CLOCK = 100.0  # MHz, where no tool has said what is possible


@dataclass(frozen=True)
class Format:
    """What the integers of a field stand for: q for q * step + zero. meaning: in words, for people."""

    step: float = 1.0
    zero: float = 0.0
    meaning: str = ""

    @property
    def fraction_bits(self) -> int | None:
        """Where the binary point is, if the step is a power of two; at least 0."""
        mantissa, exponent = math.frexp(self.step)
        return 1 - exponent if mantissa == 0.5 and self.zero == 0 and exponent <= 1 else None


Formats = tuple[Sequence[Format], Sequence[Format]]  # of the fields of a row, and of a result
Rows = tuple[np.ndarray, np.ndarray]  # int64 [N, fields], and the results that they give, int64 [N, result fields]


def write_project(
    circuit: Circuit,
    folder: Path,
    golden: Rows,
    formats: Formats | None = None,
    report: Report | None = None,
    about: str = "",
    encoder: Encoder | None = None,
) -> None:
    """Write the project of a circuit: all of it or nothing.

    golden: rows for the test bench. formats: what the fields mean; without them, the integers themselves. report: the
    figures that are in the README, and the clock of the constraints. about: a paragraph that says what is computed.
    encoder: how values become rows, in C.
    Raises ArtifactError if the folder holds what this function has not written, FileNotFoundError without its parent.
    """
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"no such directory: {folder.parent}")
    refuse_foreign(folder)
    formats = formats or ([Format()] * len(circuit.inputs), [Format()] * len(circuit.outputs))
    files = contents(circuit, golden, formats, report, about, encoder or Encoder())
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as part:
        new, old = Path(part) / "new", Path(part) / "old"
        for name, text in files.items():
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        exchange(new, folder, old)


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


def contents(
    circuit: Circuit, golden: Rows, formats: Formats, report: Report | None, about: str, encoder: Encoder
) -> dict[str, str]:
    """The files of a project, by name."""
    name, mhz = circuit.name, math.floor(report.fmax) if report and report.fmax else CLOCK
    sizes = wrapper_sizes(circuit) | {"name": name, "NAME": name.upper(), "guard": f"{name.upper()}_H"}
    sizes |= {"mhz": f"{mhz:.1f}", "period": f"{1000 / mhz:.3f}", "golden": len(golden[0])}
    files = {
        f"rtl/{name}.v": circuit.verilog,
        f"rtl/{name}_axis.v": filled("axis.v", sizes),
        **{f"rtl/{image}": text for image, text in circuit.images.items()},
        f"include/{name}.h": filled("header.h", sizes | header_fields(circuit, formats)),
        **({f"include/{name}_encode.h": filled("encode.h", sizes | encoder.gaps)} if encoder.gaps else {}),
        f"constraints/{name}.lpf": filled("constraints.lpf", sizes),
        f"constraints/{name}.xdc": filled("constraints.xdc", sizes),
        "Makefile": template("Makefile"),
        "README.md": filled("README.md", sizes | readme_parts(circuit, formats, report, about, encoder)),
        "sim/golden_in.hex": hexadecimal(golden[0], circuit.inputs),
        "sim/golden_out.hex": hexadecimal(golden[1], circuit.outputs),
        **{f"sim/{bench}": template(bench) for bench in ("golden.py", "run.py", "test_core.py", "test_wrapper.py")},
    }
    facts = describe(circuit, formats) | {"files": {path: digest(text.encode()) for path, text in files.items()}}
    return files | {MARKER: json.dumps(facts, indent=1) + "\n"}


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


def byte_count(bits: int) -> int:
    """The bytes that hold so many bits."""
    return -(-bits // 8)


def hexadecimal(rows: np.ndarray, fields: Sequence[Field]) -> str:
    """Rows as numbers, one a line, the first field in the lowest bits. Raises InputError if one does not fit."""
    digits = -(-sum(field.width for field in fields) // 4)
    lines = (row[::-1].tobytes().hex()[-digits:] for row in pack(rows, fields).astype(">u4"))
    return "".join(f"{line}\n" for line in lines)


def offsets(fields: Sequence[Field]) -> list[int]:
    """The bit where each field begins."""
    return [sum(field.width for field in fields[:i]) for i in range(len(fields))]


def header_fields(circuit: Circuit, formats: Formats) -> dict[str, str]:
    """The initialisers of the tables in the C header."""

    def lines(fields: Sequence[Field], formats: Sequence[Format]) -> str:
        return "\n".join(
            f"    {{{json.dumps(field.name)}, {offset}, {field.width}, {int(field.signed)}, {fraction(form)}, "
            f"{float(form.step)!r}, {float(form.zero)!r}}},"
            for field, form, offset in zip(fields, formats, offsets(fields), strict=True)
        )

    def fraction(form: Format) -> int:
        return -1 if form.fraction_bits is None else form.fraction_bits

    return {"input_fields": lines(circuit.inputs, formats[0]), "output_fields": lines(circuit.outputs, formats[1])}


def readme_parts(
    circuit: Circuit, formats: Formats, report: Report | None, about: str, encoder: Encoder
) -> dict[str, str]:
    """What is in the README beside the sizes."""
    return {
        "about": about or "A circuit that tensorml made of a fitted model.",
        "every": "each cycle" if circuit.interval == 1 else f"every {circuit.interval} cycles",
        "figures": figures(report.table) if report else "",
        "input_table": format_table(circuit.inputs, formats[0]),
        "output_table": format_table(circuit.outputs, formats[1]),
        "encoding": encoding(circuit.name, encoder),
        "encode_file": ENCODE_FILE.format(circuit.name) if encoder.gaps else "",
        "memory_files": "| `rtl/*.hex` | what is in its memories, for `$readmemh` |\n" if circuit.images else "",
    }


def encoding(name: str, encoder: Encoder) -> str:
    """How values become rows, in words."""
    if encoder.gaps is None and not encoder.reason:
        return ""
    if encoder.gaps is None:
        return (
            f"There is no function in C that makes a row of values: it would have to repeat {encoder.reason} bit for "
            "bit, which depends on the compiler. tensorml does that, in Python."
        )
    text = (
        f"`{name}_encode(row, x)` in `include/{name}_encode.h` makes a row of the values that the model reads, "
        "the same bits as tensorml does; it refuses what the model refuses."
    )
    if encoder.unchecked:
        text += f" But it does not refuse rows for what becomes of them in {', '.join(encoder.unchecked)}."
    return text


def figures(table: Table) -> str:
    """What was measured, as Markdown."""
    notes = "\n".join(f"* {note}" for note in table.notes)
    return f"\n## Figures\n\n{markdown(table.headers, table.rows)}\n\n{notes}\n"


def format_table(fields: Sequence[Field], formats: Sequence[Format]) -> str:
    """The fields of a row and what they stand for, as Markdown."""
    headers = ["Bits", "Field", "Kind", "Range", "step", "zero", "Fraction bits", "Meaning"]
    rows = [
        [
            f"{start + field.width - 1}:{start}",
            f"`{field.name}`",
            f"{'signed' if field.signed else 'unsigned'}, {field.width} bits",
            f"{field.lowest} to {field.highest}",
            f"{form.step:.6g}",
            f"{form.zero:.6g}",
            "" if form.fraction_bits is None else f"{form.fraction_bits}",
            form.meaning.replace("|", "\\|"),
        ]
        for field, form, start in zip(fields, formats, offsets(fields), strict=True)
    ]
    return markdown(headers, rows)


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def describe(circuit: Circuit, formats: Formats) -> dict[str, Any]:
    """The facts of a project, for programs: what the README says."""

    def described(fields: Sequence[Field], formats: Sequence[Format]) -> list[dict[str, Any]]:
        return [
            {
                "name": field.name,
                "offset": offset,
                "width": field.width,
                "signed": field.signed,
                "step": float(form.step),
                "zero": float(form.zero),
                "meaning": form.meaning,
            }
            for field, form, offset in zip(fields, formats, offsets(fields), strict=True)
        ]

    return {
        "format": VERSION,
        "name": circuit.name,
        "latency": circuit.latency,
        "interval": circuit.interval,
        "inputs": described(circuit.inputs, formats[0]),
        "outputs": described(circuit.outputs, formats[1]),
    }
