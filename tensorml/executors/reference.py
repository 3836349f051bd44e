"""The oracle: every operator's own NumPy reference, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tensorml.executors.base import Executor, Program
from tensorml.graph import Graph, Input, Op


@dataclass(frozen=True)
class ReferenceExecutor(Executor):
    """NumPy. Not fast: it says what the right answer is."""

    name: ClassVar[str] = "reference"

    def supports(self, op: type[Op]) -> bool:
        """Every operator has a reference."""
        return True

    def compile(self, graph: Graph) -> Program:
        """A program that evaluates the graph's references in order."""

        def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return evaluate(graph, inputs)

        return Program(tuple(graph.inputs), run, self.tile(graph))


def evaluate(graph: Graph, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of the graph, from the operators' references. Each result is freed after its last use."""
    uses = graph.uses()
    values: dict[Op, np.ndarray] = {}
    for op in graph.order:
        values[op] = inputs[op.name] if isinstance(op, Input) else op.reference(*(values[o] for o in op.operands))
        for operand in op.operands:
            uses[operand] -= 1
            if not uses[operand]:
                del values[operand]
    return {name: values[op] for name, op in graph.outputs.items()}
