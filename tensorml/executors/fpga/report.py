"""What a circuit takes, how fast it is and what its numbers lose: the figures of a model on an FPGA, on one page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorml.executors.fpga.circuit import Circuit
from tensorml.executors.fpga.estimate import Counts, estimate
from tensorml.executors.fpga.halves import Halves
from tensorml.executors.fpga.progress import Watch
from tensorml.executors.fpga.stages import Stage
from tensorml.executors.fpga.stages import table as stage_table
from tensorml.executors.fpga.synthesis import FAMILIES, Area, Timing, place, synthesize
from tensorml.report import Table


@dataclass(frozen=True)
class Accuracy:
    """What fixed point loses.

    error: the largest of a result, in its unit; relative: to the range of the results. rows: the calibration rows that
    it was measured on; 0: it is a bound for all rows. bits: of each kind of number, at most. labels: how many of the
    rows got another. halves: the same of rows that the ranges are not from; None if no range is from rows.
    """

    error: float
    relative: float
    rows: int = 0
    bits: Mapping[str, int] = field(default_factory=dict)
    labels: int | None = None
    halves: Halves | None = None


@dataclass(frozen=True)
class Report:
    """The figures of a circuit. What is None was not measured.

    latency, interval: in cycles, of a row and between rows. in_width, out_width: the bits of a row and of its result.
    areas: by family. simulated: rows per second of the simulation. saturated: how many values of simulated rows were
    taken to the nearest that the circuit's input holds. estimate: the areas are estimates, no tool has run. stages:
    the bits of the numbers on the way through the circuit; `numbers` prints them.
    """

    name: str
    latency: int
    interval: int
    in_width: int
    out_width: int
    areas: Mapping[str, Area]
    timing: Timing | None = None
    accuracy: Accuracy | None = None
    simulated: float | None = None
    saturated: int = 0
    estimate: bool = False
    stages: Sequence[Stage] = ()

    @property
    def numbers(self) -> Table:
        """The bits of inputs, weights, sums, functions and results, and where their binary points are."""
        return stage_table(self.name, self.stages)

    @property
    def fmax(self) -> float | None:
        """The fastest clock after place and route, in MHz."""
        return self.timing and self.timing.fmax

    @property
    def latency_ns(self) -> float | None:
        """From a row to its result at the fastest clock, in ns."""
        return self.timing and self.latency * 1000 / self.timing.fmax

    @property
    def rows_per_second(self) -> float | None:
        """What the circuit takes at the fastest clock."""
        return self.timing and self.timing.fmax * 1e6 / self.interval

    @property
    def bitstream(self) -> Path | None:
        """The file that configures the device that the circuit was placed on."""
        return self.timing and self.timing.bitstream

    @property
    def table(self) -> Table:
        """The areas, and the other figures as notes."""
        headers = ["Family", "LUTs", "as memory", "Flip-flops", "DSPs", "Block RAM", "Carry cells"]
        rows = [[FAMILIES[name].title, *map(_count, _figures(area))] for name, area in self.areas.items()]
        if self.estimate:
            rows = [[*row[:-1], "-"] for row in rows]  # carry cells are not estimated
        return Table(headers, rows, f"Circuit '{self.name}'", right=range(1, 7), notes=list(self._notes()))

    def __str__(self) -> str:
        return str(self.table)

    def __rich__(self) -> Any:
        return self.table.__rich__()

    def _notes(self) -> Sequence[str]:
        rows = "a row each cycle" if self.interval == 1 else f"a row every {self.interval} cycles"
        notes = ["These areas are estimates: no tool has run."] if self.estimate else []
        notes.append(f"Latency: {_cycles(self.latency)}; {rows}, {self.in_width} bits in, {self.out_width} bits out.")
        if self.timing is not None:
            notes += _timing(self.timing, self.latency, self.interval)
        if self.accuracy is not None:
            notes.append(_accuracy(self.accuracy))
            if self.accuracy.halves is not None:
                notes.append(_halves(self.accuracy.halves))
        if self.simulated:
            notes.append(f"Simulation: {_count(self.simulated)} rows per second.")
        if self.saturated:
            notes.append(f"Values outside the range of their field, taken to its nearest: {_count(self.saturated)}.")
        return notes


def _figures(area: Area) -> tuple[int, ...]:
    return area.luts, area.memory_luts, area.flip_flops, area.dsps, area.block_rams, area.carries


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _cycles(count: int) -> str:
    return "1 cycle" if count == 1 else f"{count} cycles"


def _timing(timing: Timing, latency: int, interval: int) -> list[str]:
    used = (
        f"{name} {_count(count)} of {_count(there)} ({count / there:.1%})"
        for name, (count, there) in timing.utilisation.items()
    )
    return [
        f"On {timing.device}: {timing.fmax:.1f} MHz, {latency * 1000 / timing.fmax:.1f} ns, "
        f"{timing.fmax / interval:.1f} million rows per second.",
        f"It uses, with the shift registers on its pins: {', '.join(used)}.",
        *([f"Bitstream: {timing.bitstream}"] if timing.bitstream else []),
    ]


def _accuracy(accuracy: Accuracy) -> str:
    bits = ", ".join(f"{name} {count} bits" for name, count in accuracy.bits.items())
    if math.isnan(accuracy.error):
        return f"Fixed point: no calibration rows, so its error was not measured; {bits}."
    measured = f"on {_count(accuracy.rows)} calibration rows" if accuracy.rows else "at most, for any row"
    text = f"Fixed point: error {accuracy.error:.3g} ({accuracy.relative:.3%} of the range) {measured}"
    if accuracy.labels is not None:
        text += f", {_count(accuracy.labels)} labels changed"
    return f"{text}; {bits}." if bits else f"{text}."


def _halves(halves: Halves) -> str:
    text = f"Each half of them with the ranges of the other: error {halves.relative:.3%} of the range"
    text += f", {_count(halves.labels)} labels changed"
    if halves.outside:
        text += f"; where values are outside, in {_count(halves.outside)} rows, up to {halves.worst:.3%}"
    return f"{text}."


def measured(
    circuit: Circuit,
    *,
    families: Sequence[str] = ("ecp5", "xc7"),
    placed: bool = True,
    accuracy: Accuracy | None = None,
    simulated: float | None = None,
    timeout: float | None = None,
    watch: Watch | None = None,
) -> Report:
    """The report of a circuit by the tools: seconds to many minutes; kept, so that a second one takes no time.

    placed: also place and route it on an ECP5, the slow step. timeout: the seconds that each run of a tool may take.
    Raises MissingDependencyError without the tools, CircuitError if one fails or is not ready in time.
    """
    areas = {family: synthesize(circuit, family, timeout=timeout, watch=watch) for family in families}
    timing = place(circuit, timeout=timeout, watch=watch) if placed else None
    return _report(circuit, areas, timing, accuracy, simulated, False)


def estimated(
    circuit: Circuit,
    counts: Counts,
    *,
    families: Sequence[str] = ("ecp5", "xc7"),
    accuracy: Accuracy | None = None,
    simulated: float | None = None,
) -> Report:
    """The report of a circuit from what its design counts, at once and without tools: areas only."""
    areas = {family: estimate(counts, family) for family in families}
    return _report(circuit, areas, None, accuracy, simulated, True)


def _report(
    circuit: Circuit,
    areas: Mapping[str, Area],
    timing: Timing | None,
    accuracy: Accuracy | None,
    simulated: float | None,
    estimate: bool,
) -> Report:
    shape = circuit.latency, circuit.interval, circuit.in_width, circuit.out_width
    return Report(circuit.name, *shape, areas, timing, accuracy, simulated, estimate=estimate)
