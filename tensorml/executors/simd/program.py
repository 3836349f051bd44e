"""From a graph to a program: what the machine knows as instructions for it, the rest through torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from tensorml.executors.base import Executor, Program
from tensorml.executors.simd.families import handles, rules
from tensorml.executors.simd.layout import layout, reads
from tensorml.executors.simd.machine import Assembler, Block, Buffer, Machine, Outer, Word
from tensorml.executors.simd.outside import read_input, write_output
from tensorml.executors.simd.rows import Rows, copy, enter, output, row_rules, turned, width
from tensorml.executors.simd.threads import cores
from tensorml.executors.torch.program import TorchExecutor
from tensorml.executors.torch.program import rules as torch_rules
from tensorml.graph import Const, Graph, Input, Op, topological

Arrays = dict[str, np.ndarray]
Step = Callable[[Arrays, int], "Arrays | None"]


@dataclass(frozen=True)
class SimdExecutor(Executor):
    """Vector kernels on the CPU. threads: that one call may use; None for all of the process's cores."""

    name: ClassVar[str] = "simd"
    threads: int | None = None

    def supports(self, op: type[Op]) -> bool:
        """Whether there is a kernel, or torch's rule."""
        return torch_rules.supports(op)

    @property
    def takes_tensors(self) -> bool:
        """Tensors of the CPU are read where they are."""
        return True

    def compile(self, graph: Graph) -> Program:
        """A program of the machine's parts and torch's."""
        slow = TorchExecutor(memory=self.memory)
        parts = partition(graph)
        if any(isinstance(op, Const) or not op.type.batched for op in graph.outputs.values()):
            return slow.compile(graph)
        if not any(part.known for part in parts):
            return slow.compile(graph)
        steps = [part.machine(self.threads or cores()) if part.known else torch_step(slow, part) for part in parts]
        run = Steps(graph, tuple(steps), slow)
        tile = self.tile(graph) if all(part.known for part in parts) else min(self.tile(graph), slow.tile(graph))
        return Program(tuple(graph.inputs), run, tile, fresh=True)


@dataclass(eq=False)
class Steps:
    """Machines and torch modules in order. What they do not take is computed by torch alone, which raises the error."""

    graph: Graph
    steps: tuple[Step, ...]
    slow: TorchExecutor

    def __post_init__(self) -> None:
        self.alone = len(self.steps) == 1

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs for a tile: tensors if an input is one."""
        arrays, tensors, rows = dict(inputs), False, 0
        for name, x in inputs.items():
            rows = len(x)
            if type(x) is not np.ndarray or not x.dtype.isnative:
                arrays[name] = native(x)
                tensors |= not isinstance(x, np.ndarray)
        if self.alone and not tensors:  # what it makes are the outputs
            made = self.steps[0](arrays, rows)
            return self.otherwise(inputs, rows) if made is None else made
        for step in self.steps:
            made = step(arrays, rows)
            if made is None:
                return self.otherwise(inputs, rows)
            arrays.update(made)
        found = {name: arrays[name] for name in self.graph.outputs}
        return {name: as_tensor(x) for name, x in found.items()} if tensors else found

    @cached_property
    def otherwise(self) -> Program:
        """The whole graph in torch."""
        return self.slow.compile(self.graph)


def native(x: Any) -> np.ndarray:
    """An array over the memory of an array or a tensor, in the machine's byte order."""
    if not isinstance(x, np.ndarray):
        return x.detach().cpu().numpy()
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def as_tensor(x: np.ndarray) -> Any:
    """A tensor over the memory of an array."""
    import torch

    return torch.from_numpy(x)


@dataclass(eq=False)
class Part:
    """Operators that are computed together: all of the machine (`known`), or all of torch.

    given: what they read of other parts or of the caller; made: what others, or the caller, read of them; names: of all
    values that parts exchange.
    """

    known: bool
    order: list[Op] = field(default_factory=list)
    given: dict[Op, str] = field(default_factory=dict)
    made: dict[str, Op] = field(default_factory=dict)

    def graph(self) -> Graph:
        """The operators over inputs in the place of what is given."""
        inputs: dict[Op, Op] = {op: Input(name, op.type) for op, name in self.given.items()}
        return Graph(self.made).rewrite(lambda op: None, inputs)

    def machine(self, threads: int) -> Step:
        """The instructions; others for few rows, if rules have a choice."""
        lowering = Lowering(self)
        many = lowering.machine(threads)
        at_most = lowering.assembler.at_most
        return BySize(self, at_most, many, threads) if at_most else many


@dataclass(eq=False)
class BySize:
    """A part that is computed by other instructions for few rows: these are made when they are wanted."""

    part: Part
    at_most: int
    many: Machine
    threads: int

    def __call__(self, arrays: Mapping[str, np.ndarray], rows: int) -> Arrays | None:
        """As a machine."""
        return self.many(arrays, rows) if rows > self.at_most else self.few(arrays, rows)

    @cached_property
    def few(self) -> Machine:
        """The instructions for few rows."""
        return Lowering(self.part, few=True).machine(self.threads)


def partition(graph: Graph) -> list[Part]:
    """The graph in parts, in the order in which they can run. A part reads earlier ones only."""
    order = topological(graph.outputs.values(), reads)
    level: dict[Op, int] = {}
    for op in order:
        if not isinstance(op, Const | Input):
            sources = [o for o in reads(op) if o in level]
            crossing = [level[o] + (handles(o) != handles(op)) for o in sources]
            level[op] = max(crossing, default=int(not handles(op)))
    parts = {number: Part(known=number % 2 == 0) for number in sorted({0, *level.values()})}
    for op, number in level.items():
        parts[number].order.append(op)
    connect(graph, parts, level)
    return [part for part in parts.values() if part.made]


def connect(graph: Graph, parts: Mapping[int, Part], level: Mapping[Op, int]) -> None:
    """Name what the parts exchange."""
    names: dict[Op, str] = {op: name for name, op in graph.inputs.items()}
    for op, number in level.items():
        for source in reads(op):
            if isinstance(source, Const) or level.get(source) == number:
                continue
            name = names.setdefault(source, f"value_{len(names)}")
            parts[number].given[source] = name
            if source in level:
                parts[level[source]].made[name] = source
    for name, op in graph.outputs.items():
        parts[level.get(op, 0)].made[name] = op


def torch_step(executor: TorchExecutor, part: Part) -> Step:
    """A part as a torch module."""
    program = executor.compile(part.graph())

    def run(arrays: Arrays, rows: int) -> Arrays:
        return program({name: arrays[name] for name in program.inputs}, rows)

    return run


class Lowering:
    """A part on its way to instructions: the values that there are, in columns, in rows or both, and who still reads

    their memory.
    """

    def __init__(self, part: Part, *, few: bool = False):
        self.part = part
        self.assembler = Assembler(few=few)
        self.layout = layout(part.order, part.given, part.made.values())
        self.blocks: dict[Op, Block] = {}
        self.rows: dict[Op, Rows] = {}
        self.readers: dict[Op, int] = {}
        self.tenants: dict[Buffer, int] = {}
        inside = set(part.order) - self.layout.rows
        self.by_rows: set[Op] = {op for op in part.made.values() if op not in inside}
        self.by_columns: set[Op] = set(part.made.values()) - self.by_rows
        for op in part.order:
            if op in self.layout.skipped:
                continue
            (self.by_rows if op in self.layout.rows else self.by_columns).update(self.layout.sources(op))
            for source in self.layout.sources(op):
                self.readers[source] = self.readers.get(source, 0) + 1
        for op in part.made.values():
            self.readers[op] = self.readers.get(op, 0) + 1
        self.inputs: list[Outer] = []
        self.outputs: list[Outer] = []

    def machine(self, threads: int) -> Machine:
        """All instructions: inputs before their first reader, outputs as soon as they are there."""
        wanted: dict[Op, list[str]] = {}
        for name, op in self.part.made.items():
            wanted.setdefault(op, []).append(name)
        given = [op for op in self.part.given if not isinstance(op, Const)]
        given += [op for op in wanted if isinstance(op, Input) and op not in given]
        for op in (*given, *self.part.order):
            if op in self.layout.skipped:
                continue
            names = wanted.get(op, [])
            if op in given:
                self.entered(op)
            elif op in self.layout.rows:
                names = self.computed_in_rows(op, names)
            else:
                self.computed(op)
            for name in names:
                self.written(op, name)
        return Machine(self.assembler, self.inputs, self.outputs, threads)

    def entered(self, op: Op) -> None:
        """Read what the caller gives, or another part, as it is read here."""
        name = self.part.given.get(op) or op.name  # pyright: ignore[reportAttributeAccessIssue]
        if op in self.by_rows:
            self.rows[op], outer = enter(self.assembler, name, op.type)
            self.inputs.append(outer)
        if op in self.by_columns:
            self.blocks[op], outer = read_input(self.assembler, name, op.type)
            self.inputs.append(outer)
        self.keep(op)

    def computed(self, op: Op) -> None:
        """An operator's value in columns, by its rule."""
        sources = reads(op)
        found = (source if isinstance(source, Const) else self.blocks[source] for source in sources)
        self.blocks[op] = rules[type(op)].emit(self.assembler, op, *found)
        self.keep(op)
        for source in sources:
            self.read(source)

    def computed_in_rows(self, op: Op, names: list[str]) -> list[str]:
        """An operator's value in rows. Result: those of the names that it is wanted by that are not written yet."""
        rule, sources = row_rules[type(op)], self.layout.sources(op)
        operands = [source if isinstance(source, Const) else self.rows[source] for source in sources]
        if op in self.layout.doubts:
            operands[0] = replace(operands[0], doubt=operands.pop())
        if rule.passes:
            if op not in self.layout.doubts.values():
                rule.emit(self.assembler, op, *operands)
            self.rows[op] = self.rows[sources[0]]
        elif len(names) == self.readers[op] == 1:
            word = rule.emit(self.assembler, op, (0, width(op.type) * op.dtype.itemsize), *operands)
            self.outputs.append(output(names[0], word, op.type))
            names = []
        else:
            buffer = self.assembler.reserve(width(op.type) * op.dtype.itemsize)
            word = rule.emit(self.assembler, op, (self.assembler.place(buffer), 0), *operands)
            self.rows[op] = Rows(Word(word), width(op.type), op.dtype, (buffer,), inside=True)
        if op in self.by_columns:
            self.blocks[op] = turned(self.assembler, self.rows[op])
        self.keep(op)
        for source in sources:
            self.read(source)
        return names

    def written(self, op: Op, name: str) -> None:
        """Write an output."""
        if op in self.rows:
            self.outputs.append(copy(self.assembler, self.rows[op], name, op.type))
        else:
            self.outputs.append(write_output(self.assembler, name, op.type, self.blocks[op]))
        self.read(op)

    def values(self, op: Op) -> list[Block | Rows]:
        """What there is of an operator."""
        return [values[op] for values in (self.blocks, self.rows) if op in values]

    def keep(self, op: Op) -> None:
        """Note whose memory is read."""
        for value in self.values(op):
            for buffer in value.buffers:
                self.tenants[buffer] = self.tenants.get(buffer, 0) + 1

    def read(self, op: Op) -> None:
        """Count one reader less; memory without a tenant is free."""
        self.readers[op] -= 1
        if self.readers[op] or isinstance(op, Const):
            return
        for value in self.values(op):
            for buffer in value.buffers:
                self.tenants[buffer] -= 1
                if not self.tenants[buffer]:
                    self.assembler.release(buffer)
        self.blocks.pop(op, None)
        self.rows.pop(op, None)
