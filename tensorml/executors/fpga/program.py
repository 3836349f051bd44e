"""The FPGA executor: a circuit of the graph's core, simulated cycle by cycle, between what the host computes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from tensorml import ops
from tensorml.errors import InputError, UnsupportedOperatorError
from tensorml.executors.base import Executor, HostColumns, Program, Setting
from tensorml.executors.fpga.accuracy import MOST, FixedPoint, Loss, NoRows, Rows, Values, fit, smallest
from tensorml.executors.fpga.area import LARGEST, Limit, TooLarge, limit_of, require_room
from tensorml.executors.fpga.calibration import arrays_of, by_input
from tensorml.executors.fpga.circuit import Circuit
from tensorml.executors.fpga.decompose import decompose
from tensorml.executors.fpga.entrances import Encoder, Entrance, NotRaw
from tensorml.executors.fpga.fixed import DoesNotFit, OutOfRange
from tensorml.executors.fpga.grid import Grid, OnGrid, is_whole, snapped
from tensorml.executors.fpga.halves import Halves, on_halves
from tensorml.executors.fpga.lower import lower
from tensorml.executors.fpga.memory import Ensemble, ensemble
from tensorml.executors.fpga.room import most, require_walkers
from tensorml.executors.fpga.simulate import Simulator
from tensorml.executors.fpga.split import Split, computed
from tensorml.executors.fpga.walkers import circuit as in_memory
from tensorml.executors.reference import evaluate
from tensorml.frames import Schema
from tensorml.graph import Graph, Op
from tensorml.ops.fixed_point import NOT_A_NUMBER
from tensorml.programs import Hosted

TILE = 65536


@dataclass(frozen=True)
class FpgaExecutor(Executor):
    """A circuit for an FPGA, whose answers come from its simulation.

    fixed: how numbers become integers. calibration: rows [N, F] to see the ranges of values from, and errors on;
    convert(model, X) passes X. Trees do without, since their nodes compare codes. encoder: who makes these: "host", and
    codes go into the circuit, or "circuit", and floats go in as they are where trees compare them; or a `Grid`, or one
    for each column, in their order or by their names: then the columns are in fixed point, and go in as they come,
    whatever the model. area: the device
    that it has to fit, a name of `area.DEVICES`, or what it may take. walkers: None gives each tree a circuit of its
    own, a row a cycle, and keeps an ensemble in memory that does not fit otherwise, with as many walkers as do, which
    take many cycles a row; 0 never does that, another number always, with so many.
    """

    name: ClassVar[str] = "fpga"
    fixed: FixedPoint = field(default_factory=FixedPoint)
    calibration: Any = field(default=None, compare=False, repr=False)
    encoder: Literal["host", "circuit"] | Grid | Sequence[Grid] | Mapping[str, Grid] = "host"
    area: str | Limit = LARGEST
    walkers: int | None = None
    usual: Any = field(default=None, compare=False, repr=False)  # rows that a model was converted with
    kind: Schema | None = field(default=None, compare=False, repr=False)  # of the rows that graphs take
    made: Mapping[str, HostColumns] = field(default_factory=dict, compare=False, repr=False)  # of calibration rows
    bits: int | None = field(default=None, repr=False)  # those that all outputs of a model need: see `prepared`
    known: dict[Any, tuple[Split, Loss]] = field(init=False, default_factory=dict, compare=False, repr=False)
    wholes: dict[Op, Op] = field(init=False, default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoder", checked(self.encoder))
        limit_of(self.area)
        if self.walkers is not None and not (is_whole(self.walkers) and self.walkers >= 0):
            raise ValueError(f"walkers is a number of them or None, not {self.walkers!r}")

    def calibrated(self, X: Any, kind: Schema, columns: Mapping[str, HostColumns]) -> FpgaExecutor:
        """The executor for a kind of rows, with these for calibration unless it was made with some."""
        found = replace(self, usual=X, kind=kind, made=columns, bits=None)
        by_input(found.encoder, kind, found.known_rows)
        return found

    def adapted(self, kind: Schema, columns: Mapping[str, HostColumns]) -> FpgaExecutor:
        """The executor for another kind of rows, calibrated by the same ones."""
        return self if kind == self.kind else self.calibrated(self.usual, kind, columns)

    @property
    def known_rows(self) -> Any:
        """The calibration rows, of whatever kind; None if there are none."""
        return self.usual if self.calibration is None else self.calibration

    @property
    def entering(self) -> Encoder:
        """Who encodes, or the grids of each input's columns."""
        return by_input(self.encoder, self.kind, self.known_rows)

    def supports(self, op: type[Op]) -> bool:
        """Whether a circuit computes it. The host computes the others: see `refusal`."""
        return computed(op)

    def refusal(self, graph: Graph) -> tuple[str, str] | None:
        """Why there is no circuit for any output, or none that fits for the first, and what to do."""
        self.whole(graph)
        seen: Values = {}
        reasons = [self.reason(graph.select(name), seen) for name in graph.outputs]
        first = reasons[0]
        if first is not None and (isinstance(first, TooLarge) or all(reasons)):
            return f"{first}", advice(first)
        return None

    def reason(self, graph: Graph, seen: Values | None = None) -> DoesNotFit | None:
        """Why there is no circuit for a graph; None if there is one. seen: see `accuracy.fit`."""
        try:
            self.fitted(graph, seen)
        except DoesNotFit as reason:
            return reason
        return None

    def prepared(self, graph: Graph) -> FpgaExecutor:
        """The executor with the bits that all of the graph's outputs need, so that methods share a circuit."""
        if self.fixed.bits is not None:
            return self
        outputs, seen = [graph.select(name) for name in graph.outputs], Values()
        outputs = [output for output in outputs if self.reason(output, seen) is None]
        fewest = max((self.fitted(output)[0].bits for output in outputs), default=MOST + 1)
        shared = (self._with(bits) for bits in range(fewest, MOST + 1))
        found = (one for one in shared if not any(one.reason(output, seen) for output in outputs))
        return next(found, self)

    def _with(self, bits: int) -> FpgaExecutor:
        """With so many bits. What is known of them stays known."""
        other = replace(self, bits=bits)
        other.wholes.update(self.wholes)
        other.known.update({(key, bits): found for (key, _), found in self.known.items() if found[0].bits == bits})
        return other

    def compile(self, graph: Graph) -> Program:
        """A program around the simulated circuit, which is built on the first call."""
        try:
            found, lost = self.fitted(graph)
        except DoesNotFit as reason:
            raise UnsupportedOperatorError(
                f"the executor 'fpga' has no circuit for this: {reason}. {advice(reason)}."
            ) from reason
        core = Core(found, lost, self.fixed, self.layout(found), lambda: self.halves(found))
        return CircuitProgram(tuple(graph.inputs), core.run, TILE, core=core)

    def report(self, program: Any, **options: Any) -> Any:
        """The figures of a program's circuit: see `handover.report`."""
        from tensorml.executors.fpga.handover import report

        return report(core_of(program), **options)

    def project(self, program: Any, folder: Path, setting: Setting) -> None:
        """Write a program's circuit as a project: see `project.write_project`."""
        from tensorml.executors.fpga.handover import save

        core = core_of(program)
        save(core, folder, self.rows(core.split.source), setting)

    def fitted(self, graph: Graph, seen: Values | None = None) -> tuple[Split, Loss]:
        """The graph in fixed point. Raises TooLarge for what does not fit the device, before bits are looked for.

        seen: see `accuracy.fit`.
        """
        key = tuple(graph.outputs.items()), self.bits
        if key not in self.known:
            whole, rows = self.whole(graph), self.rows(graph)
            encoder = self.entering
            self.layout(smallest(whole, self.fixed, rows, encoder))
            found = fit(whole, self.fixed, rows, self.bits, lambda split: not self.has_layout(split), encoder, seen)
            self.layout(found[0])
            self.known[key] = found
        return self.known[key]

    def whole(self, graph: Graph) -> Graph:
        """The graph as a circuit takes it. What outputs share in a graph, they share when each is asked for alone."""
        if any(op not in self.wholes for op in graph.outputs.values()):
            outputs = decompose(graph).outputs
            self.wholes.update({op: outputs[name] for name, op in graph.outputs.items()})
        return Graph({name: self.wholes[op] for name, op in graph.outputs.items()})

    def has_layout(self, split: Split) -> bool:
        """Whether the circuit fits."""
        try:
            self.layout(split)
        except TooLarge:
            return False
        return True

    def layout(self, split: Split) -> int:
        """How many walkers the circuit has; 0 if every tree has a circuit of its own. Raises TooLarge, DoesNotFit."""
        trees = ensemble(split) if self.walkers != 0 else None
        if self.walkers:
            return require_walkers(trees, self.walkers, self.area)
        try:
            require_room(split, self.area)
        except TooLarge as reason:
            if trees is None:
                raise
            return most(trees, self.area, reason)
        return 0

    def halves(self, found: Split) -> Halves | None:
        """What is lost of each half of the calibration rows with the ranges of the other one."""
        return on_halves(found, self.fixed, self.rows(found.source), self.entering)

    def rows(self, graph: Graph) -> Rows | None:
        """The calibration rows as inputs of the graph, on their grid if there is one; None without any."""
        if self.known_rows is None:
            return None
        arrays = arrays_of(self.known_rows, self.kind, self.made)
        if any(name not in arrays or not len(arrays[name]) for name in graph.inputs):
            return None
        found = {name: np.asarray(arrays[name]).astype(op.dtype) for name, op in graph.inputs.items()}
        encoder = self.entering
        return found if isinstance(encoder, str) else snapped(found, encoder)


def checked(encoder: Any) -> Any:
    """The option as it is kept. Raises ValueError for anything else."""
    if isinstance(encoder, Grid) or (isinstance(encoder, str) and encoder in ("host", "circuit")):
        return encoder
    if isinstance(encoder, Mapping) and all(isinstance(grid, Grid) for grid in encoder.values()):
        return dict(encoder)
    if isinstance(encoder, Sequence) and all(isinstance(grid, Grid) for grid in encoder):
        return tuple(encoder)
    raise ValueError(f"encoder is 'host', 'circuit', or a Grid or several, not {encoder!r}")


@dataclass(frozen=True)
class CircuitProgram(Program):
    """A program with a circuit inside."""

    core: Core = None  # pyright: ignore[reportAssignmentType]


def advice(reason: DoesNotFit) -> str:
    """What to do about a refusal."""
    if isinstance(reason, NoRows):
        return "Pass rows of the usual kind: convert(model, X, executor='fpga')"
    if isinstance(reason, OutOfRange):
        return "Give it more bits before the binary point, or FixedPoint(outside='saturate')"
    if isinstance(reason, NotRaw):
        return "Let the host make what enters: FpgaExecutor(encoder='host')"
    if isinstance(reason, TooLarge):
        return "Make it smaller, or pass a larger device: FpgaExecutor(area=...)"
    return "Choose another executor"


def core_of(program: Any) -> Core:
    """The circuit of a program, which may have host operators around it."""
    found = program.program if isinstance(program, Hosted) else program
    if not isinstance(found, CircuitProgram):
        raise TypeError(f"{found!r} has no circuit")
    return found.core


class Core:
    """A circuit with what the host does around it. Safe to call from many threads."""

    def __init__(
        self,
        split: Split,
        loss: Loss,
        policy: FixedPoint,
        walkers: int = 0,
        on_halves: Callable[[], Halves | None] = lambda: None,
    ):
        self.split, self.loss, self.policy, self.walkers = split, loss, policy, walkers
        self._on_halves = on_halves
        self.saturated = 0  # values that were taken to the nearest that the circuit's input holds
        self._lock = threading.Lock()

    @cached_property
    def halves(self) -> Halves | None:
        """What is lost of each half of the calibration rows with the ranges of the other one; None without ranges."""
        return self._on_halves()

    @cached_property
    def trees(self) -> Ensemble | None:
        """The trees that walkers follow; None without walkers."""
        return ensemble(self.split) if self.walkers else None

    @cached_property
    def circuit(self) -> Circuit:
        """The circuit."""
        if self.trees is not None:
            return in_memory(self.trees, self.walkers, "core", "Trees in memory, by tensorml.")
        entrances = self.split.entrances.values()
        ranges = {self.split.names[e.before]: (e.fixed.low, e.fixed.high) for e in entrances}
        return lower(self.split.circuit, ranges, "core", "The core of a model, by tensorml.")

    @property
    def on_grid(self) -> bool:
        """Whether columns of the input go in as fixed point."""
        return any(isinstance(e.before, OnGrid) for e in self.split.entrances.values())

    @property
    def simulator(self) -> Simulator:
        """The circuit, built for simulation on the first use."""
        with self._lock:
            return self._simulator

    @cached_property
    def _simulator(self) -> Simulator:
        return Simulator(self.circuit)

    @property
    def rows_per_second(self) -> float | None:
        """How fast rows have been simulated until now; None before the first."""
        return self._simulator.rows_per_second or None if "_simulator" in vars(self) else None

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs: what the host makes of the circuit's results."""
        results = self.simulator.run(self.rows(inputs))
        passed, start = dict(inputs), 0
        for i, fixed in enumerate(self.split.exits.values()):
            part = results[:, start : start + len(fixed.low)]
            passed[f"sum{i}"] = part.reshape(len(part), *(int(d) for d in fixed.op.shape[1:])).astype(fixed.op.dtype)
            start += len(fixed.low)
        return evaluate(self.split.after, passed)

    def rows(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """What goes into the circuit: int64 [N, fields]. Raises InputError as the policy says."""
        computed = evaluate(self.split.before, inputs)
        names = self.split.names
        self._count(
            sum(e.before.count_off(inputs) for e in self.split.entrances.values() if isinstance(e.before, OnGrid))
        )
        parts = [self._limited(computed[names[e.before]], e) for e in self.split.entrances.values()]
        return np.concatenate(parts, axis=1)

    def _limited(self, value: np.ndarray, entrance: Entrance) -> np.ndarray:
        low, high = entrance.fixed.low, entrance.fixed.high
        value = value.reshape(len(value), len(low))
        if isinstance(entrance.before, ops.Quantize) and (value == NOT_A_NUMBER).any():
            raise InputError("Input X contains NaN, which fixed point does not hold. Impute missing values before it.")
        limited = np.clip(value, low, high)
        outside = int((limited != value).sum())
        if isinstance(entrance.before, OnGrid) or not outside:
            return limited
        if self.policy.outside == "refuse":
            row, column = (int(i[0]) for i in np.nonzero(limited != value))
            raise InputError(
                f"{outside} values are outside the range of their fixed-point format, the first in row {row}, column "
                f"{column}. Convert with calibration rows that cover it, or with FixedPoint(outside='saturate')."
            )
        self._count(outside)
        return limited

    def _count(self, values: int) -> None:
        with self._lock:
            self.saturated += values
