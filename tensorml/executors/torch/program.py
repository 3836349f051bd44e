"""From a graph to a module, by an fx graph, and from that to a program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import fx, nn
from torch.fx.proxy import GraphAppendingTracer

from tensorml.executors.base import Executor, Program
from tensorml.executors.torch.families import FRESH, rules
from tensorml.executors.torch.forests import BLOCK
from tensorml.executors.torch.modules import module_of
from tensorml.executors.torch.rules import FEW
from tensorml.graph import Const, Graph, Input, Op
from tensorml.ops import Descend, DescendSymmetric, Finite, MatMul, Require, Within
from tensorml.plan import MEBIBYTE, bytes_per_row, needs_batch

CACHE = 8 * MEBIBYTE  # bytes of intermediates that a CPU tile may hold, so that they stay in the cache that cores share
LEAST_ROWS = 1024


@dataclass(frozen=True)
class TorchExecutor(Executor):
    """PyTorch, eager. device: "cpu", "cuda", "cuda:1", "mps", ..."""

    name: ClassVar[str] = "torch"
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Raises ValueError if torch has no such device here."""
        try:
            torch.empty(0, device=self.device)
        except (AssertionError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"torch cannot use the device {self.device!r} here: {reason}") from None

    def supports(self, op: type[Op]) -> bool:
        """Whether there is a rule for this operator."""
        return rules.supports(op)

    @property
    def takes_tensors(self) -> bool:
        """Programs take and return tensors too."""
        return True

    def compile(self, graph: Graph) -> Program:
        """A program that runs the graph as a module on the device."""
        module = lower(graph, eager=True).to(self.device)
        names, forward = tuple(graph.inputs), module.forward

        def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
            return call(forward, [inputs[name] for name in names], self.device)

        return Program(names, run, self.tile(graph))

    def tile(self, graph: Graph) -> int:
        """The rows of a tile: what fits the memory budget and, on the CPU, the caches."""
        within_budget = super().tile(graph)
        if not self.device.startswith("cpu") or needs_batch(graph) or passes_through(graph):
            return within_budget
        least = BLOCK if any(isinstance(op, Descend | DescendSymmetric) for op in graph.order) else LEAST_ROWS
        return min(within_budget, max(least, CACHE // max(1, bytes_per_row(graph))))


def passes_through(graph: Graph) -> bool:
    """Whether so little is kept beside inputs and outputs that tiles, whose results are copied, gain nothing.

    StandardScaler of 100,000 rows takes 0.6 of the time without tiles, PowerTransformer 1.7 times as long.
    """
    outputs, outside, inside = set(graph.outputs.values()), 0, 0
    for op in graph.order:
        if type(op).scratch_bytes is not Op.scratch_bytes:
            return False  # more than a pass over its operands: trees, distances, searches
        if isinstance(op, MatMul) and 1 < op.columns < FEW:
            return False  # computed by columns, which MKL does faster in parts
        if op in outputs or isinstance(op, Input):
            outside += op.type.row_bytes()
        elif not isinstance(op, Const | Finite | Require | Within):
            inside += op.type.row_bytes()
    return 2 * inside <= outside


def call(module: Any, inputs: list[Any], device: str) -> dict[str, Any]:
    """The module's outputs: NumPy arrays for NumPy arrays, tensors where the input is a tensor."""
    with torch.inference_mode():
        outputs = module(*[tensor(x, device) for x in inputs])
        if any(isinstance(x, torch.Tensor) for x in inputs):
            return {name: value.clone() if value.is_inference() else value for name, value in outputs.items()}
        return {name: array(value) for name, value in outputs.items()}


def array(value: torch.Tensor) -> np.ndarray:
    """A result as an array. Many columns that lie one after the other become rows here; few are copied by NumPy."""
    many = value.dim() == 2 and value.size(1) >= FEW
    return (value.contiguous() if many else value).cpu().numpy()


def tensor(x: Any, device: str = "cpu") -> torch.Tensor:
    """A tensor over the memory of an array, copied only if its strides or the device need it. Never written to."""
    if isinstance(x, torch.Tensor):
        return x.to(device)
    size = x.itemsize
    if any([stride < 0 or stride % size for stride in x.strides]):  # noqa: C419 - a third of a generator's time
        x = np.ascontiguousarray(x)
    found = torch.from_numpy(x if x.flags.writeable else np.asarray(_Writeable(x)))
    return found if device == "cpu" else found.to(device)


class _Writeable:
    """A read-only array in the guise of a writeable one: torch warns of what it will not do."""

    def __init__(self, array: np.ndarray):
        self.array = array
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface


class Emitter:
    """Builds the fx graph: gives rules their constants and submodules as proxies."""

    def __init__(self, graph: Graph, *, eager: bool) -> None:
        """eager: the module runs in Python as it is; else it is scripted or exported, and made of torch alone."""
        self.eager = eager
        self.outputs = set(graph.outputs.values())
        self.uses = graph.uses()
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.tracer = GraphAppendingTracer(self.graph)
        self.constants: dict[int, fx.Proxy] = {}
        self.kept: list[np.ndarray] = []
        self.shared: dict[Op, Any] = {}

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """A node that can be computed with."""
        return fx.Proxy(node, self.tracer)

    def disposable(self, op: Op) -> bool:
        """Whether an operand may be overwritten by its user: a result of its own, with no other user."""
        return self.uses[op] == 1 and type(op) in FRESH

    def constant(self, array: np.ndarray) -> fx.Proxy:
        """The array as a buffer of the module; one buffer for one array."""
        if id(array) not in self.constants:
            name = f"constant_{len(self.constants)}"
            self.root.register_buffer(name, tensor(np.ascontiguousarray(array)).clone())
            self.constants[id(array)] = self.proxy(self.graph.get_attr(name))
            self.kept.append(array)
        return self.constants[id(array)]

    def call(self, module: nn.Module, *arguments: fx.Proxy) -> fx.Proxy:
        """The result of a submodule."""
        name = f"{type(module).__name__.lower()}_{len(list(self.root.children()))}"
        self.root.add_module(name, module)
        return self.proxy(self.graph.call_module(name, tuple(argument.node for argument in arguments)))


def lower(graph: Graph, *, eager: bool = False) -> nn.Module:
    """The graph as a module: inputs in the order of `graph.inputs`, outputs as a dict by name.

    eager: for Python alone, where rules may call NumPy, and the rows of an output need not lie one after the other.
    Raises UnsupportedOperatorError if an operator has no rule.
    """
    emitter = Emitter(graph, eager=eager)
    values: dict[Op, fx.Proxy] = {
        op: emitter.proxy(emitter.graph.placeholder(name)) for name, op in graph.inputs.items()
    }
    for op in graph.order:
        if isinstance(op, Const):
            values[op] = emitter.constant(op.value)
        elif not isinstance(op, Input):
            values[op] = rules[op](op, emitter, *(values[operand] for operand in op.operands))
    outputs = {name: values[op] for name, op in graph.outputs.items()}
    emitter.graph.output({name: (x if eager else x.contiguous()).node for name, x in outputs.items()})
    return module_of(emitter.graph, emitter.root)
