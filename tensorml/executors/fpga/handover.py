"""What leaves tensorml: the figures of a model's circuit, and its project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tensorml import ops
from tensorml.errors import UnsupportedOperatorError
from tensorml.executors.base import Outcome, Setting
from tensorml.executors.fpga.decode import alike, decoder
from tensorml.executors.fpga.encode import encoder
from tensorml.executors.fpga.entrances import CHECKS, Entrance
from tensorml.executors.fpga.fixed import Fixed
from tensorml.executors.fpga.formats import Codes, Format
from tensorml.executors.fpga.grid import OnGrid
from tensorml.executors.fpga.patterns import FloatBits
from tensorml.executors.fpga.program import Core, core_of
from tensorml.executors.fpga.project import refuse_foreign, write_project
from tensorml.executors.fpga.report import Accuracy, Report, estimated, measured
from tensorml.executors.fpga.room import area
from tensorml.executors.fpga.split import Split
from tensorml.executors.fpga.stages import stages
from tensorml.executors.fpga.synthesis import FAMILIES, kept_area, kept_timing
from tensorml.graph import Input, Op
from tensorml.passes.columns import by_column

PASSING = (ops.Cast, *CHECKS)  # whose columns are those of their operand
GOLDEN = 256  # rows of a test bench

Columns = Mapping[str, Sequence[str]]  # what the columns of each input are called
NO_NAMES: Columns = {}


def report(core: Core, *, fast: bool = False, **options: Any) -> Report:
    """The figures of a circuit: by the tools, or `fast`, estimated without them.

    options: families, placed, timeout, watch: see `report.measured`.
    """
    options |= {"accuracy": accuracy(core), "simulated": core.rows_per_second}
    if fast:
        found = estimated(core.circuit, core.circuit.counts, **options)
        areas = {f: area(core.trees, core.walkers, f) for f in found.areas} if core.trees else found.areas
    else:
        found = measured(core.circuit, **options)
        areas = found.areas
    return replace(found, areas=areas, saturated=core.saturated, stages=stages(core.split))


def accuracy(core: Core) -> Accuracy:
    """What fixed point loses, and the bits at each end of the circuit."""
    loss, split = core.loss, core.split
    bits = {"constants": split.bits}
    bits |= {"inputs": max((e.fixed.bits for e in split.entrances.values()), default=0)}
    bits |= {"results": max((f.bits for f in split.exits.values()), default=0)}
    changed = round(loss.labels * loss.rows) if loss.rows else None
    return Accuracy(loss.error, loss.relative, loss.rows, bits, changed, core.halves)


def save(core: Core, folder: Path, inputs: Mapping[str, np.ndarray] | None, setting: Setting) -> None:
    """Write the circuit's project.

    inputs: calibration rows, of which some become the test bench's; without them, and beside them, random fields.
    """
    refuse_foreign(folder)
    rows = golden_rows(core, inputs)
    golden = rows, core.simulator.run(rows)
    formats = input_formats(core, setting.columns), output_formats(core)
    code = (
        encoder(core.split, core.circuit.name, core.policy.outside == "refuse" and not core.on_grid, setting.columns),
        decoder(served(core, setting.outcomes), core.circuit.name),
    )
    write_project(core.circuit, folder, golden, formats, figures(core), setting.about, *code)


def figures(core: Core) -> Report:
    """What the tools have said of the circuit, if `report` has asked them before, else the estimate.

    Nothing of this machine is in it: how fast it simulates, where its cache is.
    """
    asked = [family for family in FAMILIES if kept_area(core.circuit, family) is not None]
    found = report(core, families=asked, placed=False) if asked else report(core, fast=True)
    timing = kept_timing(core.circuit)
    return replace(found, timing=timing and replace(timing, bitstream=None), simulated=None, saturated=0)


def served(core: Core, outcomes: Mapping[str, Outcome]) -> dict[str, tuple[Split | str, Outcome]]:
    """The parts of each output that the circuit serves, or why it does not."""
    found: dict[str, tuple[Split | str, Outcome]] = {}
    for name, outcome in outcomes.items():
        try:
            other = core_of(outcome.program())
        except UnsupportedOperatorError:
            found[name] = "there is no circuit for it", outcome
        else:
            found[name] = other.split if same_circuit(core, other) else "it has a circuit of its own", outcome
    return found


def same_circuit(core: Core, other: Core) -> bool:
    """Whether the circuits of two outputs are one, with the same rows."""
    ranges = [
        [(e.fixed.low.tolist(), e.fixed.high.tolist()) for e in c.split.entrances.values()] for c in (core, other)
    ]
    return (
        core.walkers == other.walkers
        and ranges[0] == ranges[1]
        and alike(core.split.before, other.split.before)
        and alike(core.split.circuit, other.split.circuit)
    )


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


def input_formats(core: Core, columns: Columns = NO_NAMES) -> Sequence[Format]:
    """What the fields of a row stand for. columns: what the columns of each input are called."""
    return [
        form for op, entrance in core.split.entrances.items() for form in formats_of_entrance(op, entrance, columns)
    ]


def formats_of_entrance(op: Op, entrance: Entrance, columns: Columns) -> Sequence[Format]:
    """What the columns of a value stand for that the host passes in."""
    if isinstance(entrance.before, OnGrid):
        given = zip(places(entrance.before.x, columns), entrance.before.grids, strict=True)
        return [Format(grid.step, 0.0, f"{name}, {grid}") for name, grid in given]
    if not entrance.fixed.integers:
        return formats_of(entrance.fixed, places(op, columns))
    return meanings(entrance.before, columns)


def meanings(op: Op, columns: Columns) -> list[Format]:
    """What the integers of each column say."""

    def said(op: Op) -> Sequence[Format] | Op:
        match op:
            case ops.Rank():
                return codes(op, places(op.x, columns))
            case ops.Lookup():
                names = places(op.x, columns)
                return [Format(meaning=f"the code of the category in {names[c]}") for c in op.source]
            case FloatBits():
                return [Format(meaning=f"{name}: the bits of a {op.x.dtype}") for name in places(op.x, columns)]
        return (
            op.operands[0] if isinstance(op, PASSING) else [Format(meaning=f"integer {i}") for i in range(op.columns)]
        )

    return by_column(op, said)


def codes(op: ops.Rank, names: Sequence[str]) -> list[Format]:
    """What the codes of columns of these names say."""
    found: list[Format] = []
    for k, c in enumerate(op.source):
        thresholds, nan = op.column(k).tolist(), int(op.nan[k])
        found.append(
            Format(meaning=reached(len(thresholds), names[int(c)], nan), codes=Codes(thresholds, op.strict, nan))
        )
    return found


def reached(count: int, name: str, nan: int) -> str:
    """What a code says of a column with so many thresholds. nan: the code of NaN, which may be one of its own."""
    noun = "threshold" if count == 1 else "thresholds"
    return f"how many of {count} {noun} {name} has reached" + (f"; {nan} if it is NaN" if nan > count else "")


def places(op: Op, columns: Columns = NO_NAMES) -> list[str]:
    """The columns of the model's input that the columns of a value are."""

    def named(op: Op) -> Sequence[str] | Op:
        if isinstance(op, Input):
            unnamed = (f"column {i}" if op.name == "x" else f"{op.name}[{i}]" for i in range(op.columns))
            return list(columns.get(op.name) or unnamed)
        return op.operands[0] if isinstance(op, PASSING) else [f"computed column {i}" for i in range(op.columns)]

    return by_column(op, named)


def output_formats(core: Core) -> Sequence[Format]:
    """What the fields of a result stand for."""
    return [form for fixed in core.split.exits.values() for form in formats_of(fixed, results(fixed))]


def results(fixed: Fixed) -> list[str]:
    """What the columns of a result are called."""
    return [f"result {column}" for column in range(len(fixed.low))]


def formats_of(fixed: Fixed, names: Sequence[str]) -> Sequence[Format]:
    """What the columns of a value stand for, which have these names."""
    if fixed.integers:
        return [Format(meaning="the number of a leaf") for _ in fixed.low]
    return [
        Format(float(step), float(offset), name)
        for name, step, offset in zip(names, fixed.step, fixed.offset, strict=True)
    ]
