"""From a graph to TorchScript, in memory and as a file that plain libtorch runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from tensorml.errors import InputError
from tensorml.executors.base import Program
from tensorml.executors.torch.program import TorchExecutor, call, lower
from tensorml.graph import Graph

_SCRIPTING = threading.Lock()


@dataclass(frozen=True)
class TorchScriptExecutor(TorchExecutor):
    """TorchScript: what `save("model.pt")` writes, run in this process."""

    name: ClassVar[str] = "torchscript"

    def compile(self, graph: Graph) -> Program:
        """A program that runs the scripted graph on the device."""
        module = script(graph).to(self.device)
        names = tuple(graph.inputs)

        def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
            return call_script(module, [inputs[name] for name in names], self.device)

        return Program(names, run, self.tile(graph))


def script(graph: Graph) -> torch.jit.ScriptModule:
    """The graph as TorchScript of standard operators: inputs in the order of `graph.inputs`, outputs by name."""
    return scripted(lower(graph))


def scripted(module: nn.Module) -> torch.jit.ScriptModule:
    """The module as TorchScript. One thread at a time: torch compiles the methods of a class once for all modules."""
    with _SCRIPTING:
        return torch.jit.script(module)


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
