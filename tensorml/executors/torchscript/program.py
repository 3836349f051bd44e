"""From a graph to TorchScript, in memory and as a file that plain libtorch runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from tensorml.errors import InputError
from tensorml.executors.base import Program
from tensorml.executors.torch.program import TorchExecutor, call, lower
from tensorml.graph import Graph


@dataclass(frozen=True)
class TorchScriptExecutor(TorchExecutor):
    """TorchScript: what `save("model.pt")` writes, run in this process."""

    name: ClassVar[str] = "torchscript"

    def compile(self, graph: Graph) -> Program:
        """A program that runs the scripted graph on the device."""
        module = script(graph).to(self.device)
        names = tuple(graph.inputs)

        def run(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
            return call_script(module, [inputs[name] for name in names], self.device)

        return Program(names, run, self.tile(graph))


def script(graph: Graph) -> torch.jit.ScriptModule:
    """The graph as TorchScript of standard operators: inputs in the order of `graph.inputs`, outputs by name."""
    module = lower(graph)
    setattr(type(module), "__init__", _no_attributes)  # noqa: B010 (each GraphModule has a class of its own)
    return torch.jit.script(module)


def _no_attributes(self: Any) -> None:
    """Stands in for GraphModule's constructor, in whose source torch.jit.script finds an annotation to warn of."""


def call_script(module: Any, inputs: list[Any], device: str) -> dict[str, Any]:
    """As `call`; what the module raised comes out as the InputError that it was written as."""
    try:
        return call(module, inputs, device)
    except torch.jit.Error as error:
        raised = str(error).strip().rpartition("\n")[2]
        kind, _, message = raised.partition(": ")
        if kind.endswith("InputError"):
            raise InputError(message) from None
        raise
