"""What leaves tensorml: the figures of a model's circuit, and its project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tensorml.executors.fpga.circuit import Circuit, Field
from tensorml.executors.fpga.fixed import Fixed
from tensorml.executors.fpga.program import Core
from tensorml.executors.fpga.project import Format, write_project
from tensorml.executors.fpga.report import Accuracy, Report, estimated, measured

GOLDEN = 256  # rows of a test bench


def report(core: Core, *, fast: bool = False, **options: Any) -> Report:
    """The figures of a circuit: by the tools, or `fast`, estimated without them.

    options: families, placed, timeout, watch: see `report.measured`.
    """
    simulated = core.rows_per_second
    if fast:
        return estimated(core.circuit, core.circuit.counts, accuracy=accuracy(core), simulated=simulated, **options)
    return measured(core.circuit, accuracy=accuracy(core), simulated=simulated, **options)


def accuracy(core: Core) -> Accuracy:
    """What fixed point loses, and the bits at each end of the circuit."""
    loss, split = core.loss, core.split
    bits = {"constants": split.bits}
    bits |= {"inputs": max((e.fixed.bits for e in split.entrances.values()), default=0)}
    bits |= {"results": max((f.bits for f in split.exits.values()), default=0)}
    changed = round(loss.labels * loss.rows) if loss.rows else None
    return Accuracy(loss.error, loss.relative, loss.rows, bits, changed)


def save(core: Core, folder: Path, inputs: Mapping[str, np.ndarray] | None, about: str) -> None:
    """Write the circuit's project.

    inputs: calibration rows, of which some become the test bench's; without them, and beside them, random fields.
    """
    rows = golden_rows(core, inputs)
    golden = rows, core.simulator.run(rows)
    formats = input_formats(core), output_formats(core)
    write_project(core.circuit, folder, golden, formats, report(core, fast=True), about)


def golden_rows(core: Core, inputs: Mapping[str, np.ndarray] | None) -> np.ndarray:
    """Rows for a test bench: what the host makes of calibration rows, then random ones, then the ends of each field."""
    fields = core.circuit.inputs
    rng = np.random.default_rng(0)
    ends = [np.array([end for field in fields for end in [ends_of(field)[k]]], np.int64) for k in (0, 1)]
    random = rng.integers(ends[0], ends[1], (GOLDEN, len(fields)), endpoint=True)
    parts = [random[: GOLDEN // 2], np.stack(ends)]
    if inputs is not None:
        parts.insert(0, core.rows({name: value[:GOLDEN] for name, value in inputs.items()}))
    return np.concatenate(parts)


def ends_of(field: Field) -> tuple[int, int]:
    """The smallest and the largest integer of a field."""
    return field.lowest, field.highest


def input_formats(core: Core) -> Sequence[Format]:
    """What the fields of a row stand for."""
    return [form for e in core.split.entrances.values() for form in formats_of(e.fixed, "input")]


def output_formats(core: Core) -> Sequence[Format]:
    """What the fields of a result stand for."""
    return [form for fixed in core.split.exits.values() for form in formats_of(fixed, "result")]


def formats_of(fixed: Fixed, kind: str) -> Sequence[Format]:
    """What the columns of a value stand for."""
    if fixed.integers:
        what = "code: how many thresholds the value has reached" if kind == "input" else "the number of a leaf"
        return [Format(meaning=what) for _ in fixed.low]
    return [
        Format(float(step), float(offset), f"{kind} {column}")
        for column, (step, offset) in enumerate(zip(fixed.step, fixed.offset, strict=True))
    ]


__all__ = ["Circuit", "report", "save"]
