"""The page of a project: its interface, formats and figures as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tensorml.executors.fpga.circuit import Circuit, Field
from tensorml.executors.fpga.decode import Decoder
from tensorml.executors.fpga.encode import Encoder
from tensorml.executors.fpga.formats import Format, Formats, described, offsets

if TYPE_CHECKING:
    from tensorml.executors.fpga.report import Report
    from tensorml.report import Table

ENCODE_FILE = "| `include/{}_encode.h` | in C, how values become rows |\n"
DECODE_FILE = "| `include/{}_decode.h` | in C, what the model's methods make of results |\n"


@dataclass(frozen=True)
class Page:
    """What the page says: see `project.write_project`."""

    circuit: Circuit
    formats: Formats
    report: Report | None
    about: str
    encoder: Encoder
    decoder: Decoder

    @property
    def parts(self) -> dict[str, str]:
        """What is in the README beside the sizes."""
        circuit, name = self.circuit, self.circuit.name
        return {
            "about": self.about or "A circuit that tensorml made of a fitted model.",
            "every": "each cycle" if circuit.interval == 1 else f"every {circuit.interval} cycles",
            "figures": figures(self.report.table) if self.report else "",
            "input_table": format_table(circuit.inputs, self.formats[0]),
            "output_table": format_table(circuit.outputs, self.formats[1]),
            "encoding": encoding(name, self.encoder),
            "decoding": decoding(name, self.decoder),
            "encode_file": ENCODE_FILE.format(name) if self.encoder.gaps else "",
            "decode_file": DECODE_FILE.format(name) if self.decoder.gaps else "",
            "memory_files": "| `rtl/*.hex` | what is in its memories, for `$readmemh` |\n" if circuit.images else "",
        }

    @property
    def facts(self) -> dict[str, Any]:
        """What the README says, for programs."""
        circuit, report = self.circuit, self.report
        facts = {
            "name": circuit.name,
            "about": self.about,
            "latency": circuit.latency,
            "interval": circuit.interval,
            "inputs": described(circuit.inputs, self.formats[0]),
            "outputs": described(circuit.outputs, self.formats[1]),
        }
        if report is None:
            return facts
        areas = {family: {k: v for k, v in asdict(a).items() if k != "cells"} for family, a in report.areas.items()}
        return facts | {"estimate": report.estimate, "areas": areas, "fmax": report.fmax}


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


def decoding(name: str, decoder: Decoder) -> str:
    """What becomes of results, in words."""
    missing = "; ".join(f"`{output}`: {reason}" for output, reason in decoder.missing.items())
    if decoder.gaps is None:
        return f"There is no function in C for what comes after the circuit ({missing})." if missing else ""
    lines = [f"`include/{name}_decode.h` has a function for each method that this circuit serves:", ""]
    lines += [f"* `{declared}`: `{output}`" for output, declared in decoder.declared.items()]
    return "\n".join([*lines, *(["", f"None for {missing}."] if missing else [])])


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
            f"{'signed' if field.signed else 'unsigned'}, {field.width} bit{'s' if field.width > 1 else ''}",
            f"{field.lowest} to {field.highest}",
            f"{form.step:.6g}",
            f"{form.zero:.6g}",
            "" if form.fraction_bits is None else f"{form.fraction_bits}",
            form.meaning.replace("|", "\\|").replace("\n", " "),
        ]
        for field, form, start in zip(fields, formats, offsets(fields), strict=True)
    ]
    return markdown(headers, rows)


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
