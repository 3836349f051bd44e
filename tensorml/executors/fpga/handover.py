"""What leaves tensorml: the figures of a model's circuit, and its project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tensorml import ops
from tensorml.executors.fpga.encode import encoder
from tensorml.executors.fpga.fixed import Fixed
from tensorml.executors.fpga.patterns import FloatBits
from tensorml.executors.fpga.program import Core
from tensorml.executors.fpga.project import Format, write_project
from tensorml.executors.fpga.report import Accuracy, Report, estimated, measured
from tensorml.executors.fpga.split import Entrance
from tensorml.executors.fpga.walkers import area
from tensorml.graph import Input, Op

GOLDEN = 256  # rows of a test bench


def report(core: Core, *, fast: bool = False, **options: Any) -> Report:
    """The figures of a circuit: by the tools, or `fast`, estimated without them.

    options: families, placed, timeout, watch: see `report.measured`.
    """
    simulated = core.rows_per_second
    if fast:
        found = estimated(core.circuit, core.circuit.counts, accuracy=accuracy(core), simulated=simulated, **options)
        if core.trees is None:
            return found
        return replace(found, areas={family: area(core.trees, core.walkers, family) for family in found.areas})
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
    encode = encoder(core.split, core.circuit.name, core.policy.outside == "refuse")
    write_project(core.circuit, folder, golden, formats, report(core, fast=True), about, encode)


def golden_rows(core: Core, inputs: Mapping[str, np.ndarray] | None) -> np.ndarray:
    """Rows for a test bench: what the host makes of calibration rows, then random ones, then the ends of each field."""
    fields = core.circuit.inputs
    rng = np.random.default_rng(0)
    ends = np.array([[field.lowest for field in fields], [field.highest for field in fields]], np.int64)
    random = rng.integers(ends[0], ends[1], (GOLDEN, len(fields)), endpoint=True)
    parts = [random[: GOLDEN // 2], ends]
    if inputs is not None:
        parts.insert(0, core.rows({name: value[:GOLDEN] for name, value in inputs.items()}))
    return np.concatenate(parts)


def input_formats(core: Core) -> Sequence[Format]:
    """What the fields of a row stand for."""
    return [form for entrance in core.split.entrances.values() for form in formats_of_entrance(entrance)]


def formats_of_entrance(entrance: Entrance) -> Sequence[Format]:
    """What the columns of a value stand for that the host passes in."""
    if not entrance.fixed.integers:
        return formats_of(entrance.fixed, "input")
    return [Format(meaning=text) for text in meanings(entrance.before)]


def meanings(op: Op) -> list[str]:
    """What the integers of each column say."""
    match op:
        case ops.Cast() | ops.Finite() | ops.Require():
            return meanings(op.operands[0])
        case ops.Columns():
            found = meanings(op.x)
            return [found[i] for i in op.indices]
        case ops.Concat():
            return [text for part in op.parts for text in meanings(part)]
        case ops.Rank():
            names, counts = places(op.x), np.diff(op.offsets)
            return [
                f"how many of {n} thresholds {names[c]} has reached" for n, c in zip(counts, op.source, strict=True)
            ]
        case ops.Lookup():
            names = places(op.x)
            return [f"the code of the category in {names[c]}" for c in op.source]
        case FloatBits():
            return [f"{name}: the bits of a {op.x.dtype}" for name in places(op.x)]
    return [f"integer {i}" for i in range(op.columns)]


def places(op: Op) -> list[str]:
    """The columns of the model's input that the columns of a value are."""
    match op:
        case Input():
            return [f"column {i}" if op.name == "x" else f"{op.name}[{i}]" for i in range(op.columns)]
        case ops.Concat():
            return [name for part in op.parts for name in places(part)]
        case ops.Cast() | ops.Finite() | ops.Require():
            return places(op.operands[0])
        case ops.Columns():
            found = places(op.x)
            return [found[i] for i in op.indices]
    return [f"computed column {i}" for i in range(op.columns)]


def output_formats(core: Core) -> Sequence[Format]:
    """What the fields of a result stand for."""
    return [form for fixed in core.split.exits.values() for form in formats_of(fixed, "result")]


def formats_of(fixed: Fixed, kind: str) -> Sequence[Format]:
    """What the columns of a value stand for."""
    if fixed.integers:
        return [Format(meaning="the number of a leaf") for _ in fixed.low]
    return [
        Format(float(step), float(offset), f"{kind} {column}")
        for column, (step, offset) in enumerate(zip(fixed.step, fixed.offset, strict=True))
    ]
