"""From a graph to a program: what the machine knows as instructions for it, the rest through torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from tensorml.executors.base import Executor, Program
from tensorml.executors.simd.families import handles, rules
from tensorml.executors.simd.machine import Assembler, Block, Buffer, Machine, Outer
from tensorml.executors.simd.outside import read_input, write_output
from tensorml.executors.simd.rules import own_operands
from tensorml.executors.simd.straight import straight_product, way_to_rows
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

    def __call__(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The outputs for a tile: tensors if an input is one."""
        arrays, tensors, rows = dict(inputs), False, 0
        for name, x in inputs.items():
            rows = len(x)
            if type(x) is not np.ndarray or not x.dtype.isnative:
                arrays[name] = native(x)
                tensors |= not isinstance(x, np.ndarray)
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

    def machine(self, threads: int) -> Machine:
        """The instructions."""
        return Lowering(self).machine(threads)


def reads(op: Op) -> tuple[Op, ...]:
    """The operators whose values this one is computed from."""
    return rules[type(op)].reads(op) if handles(op) else own_operands(op)


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
    """A part on its way to instructions: the blocks of its values, and who still reads their memory."""

    def __init__(self, part: Part):
        self.part = part
        self.assembler = Assembler()
        self.blocks: dict[Op, Block] = {}
        self.readers: dict[Op, int] = {}
        self.tenants: dict[Buffer, int] = {}
        for op in part.order:
            for source in reads(op):
                self.readers[source] = self.readers.get(source, 0) + 1
        for op in part.made.values():
            self.readers[op] = self.readers.get(op, 0) + 1
        self.straight = {op: self.way(op) for op in part.order if self.way(op)}
        self.passed = {op for way in self.straight.values() for op in way}

    def way(self, op: Op) -> tuple[Op, ...]:
        """The operators up to the rows that a product reads where they lie, if nothing else reads these."""
        way = way_to_rows(op)
        alone = way and way[-1] in self.part.given and all(self.readers[passed] == 1 for passed in way)
        return way if alone else ()

    def machine(self, threads: int) -> Machine:
        """All instructions: inputs before their first reader, outputs as soon as they are there."""
        inputs, outputs = [], []
        wanted: dict[Op, list[str]] = {}
        for name, op in self.part.made.items():
            wanted.setdefault(op, []).append(name)
        given = [op for op in self.part.given if not isinstance(op, Const)]
        given += [op for op in wanted if isinstance(op, Input) and op not in given]
        for op in (*given, *self.part.order):
            if op in self.passed:
                continue
            if op in given or op in self.straight:
                block, outer = self.entered(op)
                inputs.append(outer)
                self.keep(op, block)
            else:
                block = self.computed(op)
            for name in wanted.get(op, ()):
                outputs.append(write_output(self.assembler, name, op.type, block))
                self.read(op)
        return Machine(self.assembler, inputs, outputs, threads)

    def entered(self, op: Op) -> tuple[Block, Outer]:
        """What reads the caller's rows: an input, or a product of one."""
        rows = self.straight[op][-1] if op in self.straight else op
        name = self.part.given.get(rows) or rows.name  # pyright: ignore[reportAttributeAccessIssue]
        if rows is op:
            return read_input(self.assembler, name, op.type)
        return straight_product(self.assembler, op, name, rows.dtype)

    def computed(self, op: Op) -> Block:
        """An operator's value, by its rule."""
        sources = reads(op)
        self.keep(op, rules[type(op)].emit(self.assembler, op, *(self.operand(source) for source in sources)))
        for source in sources:
            self.read(source)
        return self.blocks[op]

    def operand(self, op: Op) -> Block | Const:
        """What a rule is given for an operand."""
        return op if isinstance(op, Const) else self.blocks[op]

    def keep(self, op: Op, block: Block) -> None:
        """Note where a value is."""
        self.blocks[op] = block
        for buffer in block.buffers:
            self.tenants[buffer] = self.tenants.get(buffer, 0) + 1

    def read(self, op: Op) -> None:
        """Count one reader less; memory without a tenant is free."""
        self.readers[op] -= 1
        if self.readers[op] or isinstance(op, Const):
            return
        for buffer in self.blocks.pop(op).buffers:
            self.tenants[buffer] -= 1
            if not self.tenants[buffer]:
                self.assembler.release(buffer)
