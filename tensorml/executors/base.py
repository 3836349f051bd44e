"""The interface of all executors: what they are asked, what a compiled graph does, how they are found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from tensorml.errors import MissingDependencyError, UnsupportedOperatorError
from tensorml.frames import Schema
from tensorml.graph import Const, Graph, Input, Op
from tensorml.plan import DEFAULT_BUDGET, tile_rows

Array = Any
R = TypeVar("R", bound=Callable[..., Any])
HostColumns = Callable[[Mapping[str, Any]], np.ndarray | None]


@dataclass(frozen=True)
class Program:
    """A compiled graph. Immutable, and safe to call from many threads at once.

    inputs: the names of the graph's inputs. run: computes one tile: arrays by input name to arrays by output name.
    tile: the rows it is given at most. fresh: whether results are in memory of their own, row after row.
    """

    inputs: tuple[str, ...]
    run: Callable[[Mapping[str, Array]], dict[str, Array]]
    tile: int
    fresh: bool = False

    def __call__(self, inputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
        """The outputs for all rows. Each input can be sliced by rows; only one tile of it is read at a time."""
        if rows <= self.tile:
            if self.fresh and len(inputs) == len(self.inputs) and all_arrays(inputs, rows):
                return self.run(inputs)
            whole = {name: inputs[name][:rows] for name in self.inputs}
            if self.fresh:
                return self.run(whole)
            return {name: apart(row_major(value), whole.values()) for name, value in self.run(whole).items()}
        results: dict[str, Array] = {}
        for start in range(0, rows, self.tile):
            stop = min(start + self.tile, rows)
            part = self.run({name: inputs[name][start:stop] for name in self.inputs})
            for name, value in part.items():
                if start == 0:
                    results[name] = empty_rows(value, rows)
                results[name][start:stop] = value
        return results


def all_arrays(inputs: Mapping[str, Array], rows: int) -> bool:
    """Whether all are arrays of so many rows, which need no cut."""
    for x in inputs.values():  # noqa: SIM110 - a generator takes longer than the cut
        if type(x) is not np.ndarray or len(x) != rows:
            return False
    return True


def row_major(value: Array) -> Array:
    """The array or tensor with its rows one after the other in memory; programs may compute by columns."""
    return np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value.contiguous()


def apart(value: Array, inputs: Iterable[Array]) -> Array:
    """A result in memory of its own: one that is an input, or a view of it, is copied. The caller may write to it."""
    if isinstance(value, np.ndarray):
        shared = any(isinstance(x, np.ndarray) and np.may_share_memory(x, value) for x in inputs)
        return value.copy() if shared else value
    storage = value.untyped_storage().data_ptr()
    tensors = (x for x in inputs if not isinstance(x, np.ndarray))  # what host operators made is an array
    return value.clone() if any(x.untyped_storage().data_ptr() == storage for x in tensors) else value


@dataclass(frozen=True)
class Outcome:
    """An output of a model, for its project. program: compiles what computes it, or raises UnsupportedOperatorError.

    labels: those that its numbers are positions of, one array, or one for each column. container: what it is returned
    in that holds other numbers than the program gives, in words.
    """

    program: Callable[[], Any]
    labels: Sequence[np.ndarray] = ()
    container: str = ""


@dataclass(frozen=True)
class Setting:
    """What a project says of the model around its program.

    about: a paragraph for its reader. columns: what the columns of each input are called. outcomes: by output.
    """

    about: str
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)


def empty_rows(like: Array, rows: int) -> Array:
    """An uninitialised array or tensor of `rows` rows, otherwise of the shape, dtype and device of `like`."""
    shape = (rows, *like.shape[1:])
    return np.empty(shape, like.dtype) if isinstance(like, np.ndarray) else like.new_empty(shape)


@dataclass(frozen=True)
class Executor(ABC):
    """Runs graphs. The fields of a subclass are its options.

    memory: the bytes that a call may take beyond its input and output, whatever the batch.
    """

    name: ClassVar[str]
    memory: int = DEFAULT_BUDGET

    @abstractmethod
    def compile(self, graph: Graph) -> Program:
        """A program for the graph. Raises UnsupportedOperatorError if there is no rule for one of its operators."""

    @abstractmethod
    def supports(self, op: type[Op]) -> bool:
        """Whether there is a rule for this operator."""

    def refusal(self, graph: Graph) -> tuple[str, str] | None:
        """Why this executor does not run the graph, and what to do; None if it does."""
        lacking = next((op for op in graph.order if not self.supports(type(op))), None)
        if lacking is None:
            return None
        return f"the executor '{self.name}' has no rule for {type(lacking).__name__}", "Choose another executor"

    def calibrated(self, X: Any, kind: Schema, columns: Mapping[str, HostColumns]) -> Executor:
        """The executor for a model and a kind of rows, if it chooses anything by these.

        X: rows of that kind; None: there are none. columns: what computes the inputs that host operators make, by name,
        from the other inputs' arrays.
        """
        return self

    def adapted(self, kind: Schema, columns: Mapping[str, HostColumns]) -> Executor:
        """The executor for another kind of rows of the same model. columns: as in `calibrated`."""
        return self

    def prepared(self, graph: Graph) -> Executor:
        """The executor, with the options that it chooses by a model's whole graph."""
        return self

    def report(self, program: Any, **options: Any) -> Any:
        """What a compiled program takes of a device. Raises ValueError: only circuits have one."""
        raise ValueError(f"the executor '{self.name}' reports nothing: convert with executor='fpga'")

    def project(self, program: Any, folder: Path, setting: Setting) -> None:
        """Write a compiled program as a folder. Raises ValueError: only circuits have one."""
        raise ValueError(f"cannot write {folder}: a folder holds a circuit, so convert with executor='fpga'")

    @property
    def takes_tensors(self) -> bool:
        """Whether programs take and return torch tensors, on their device, beside NumPy arrays."""
        return False

    def tile(self, graph: Graph) -> int:
        """The rows of a tile: what fits the memory budget."""
        return tile_rows(graph, self.memory)


class Rules(Generic[R]):
    """How an executor does each operator: a function per operator class, registered where it is defined."""

    def __init__(self, executor: str):
        self.executor = executor
        self.table: dict[type[Op], R] = {}

    def rule(self, *classes: type[Op]) -> Callable[[R], R]:
        """Register a function as the rule of these operators."""

        def register(function: R) -> R:
            self.table.update(dict.fromkeys(classes, function))
            return function

        return register

    def __getitem__(self, op: Op) -> R:
        try:
            return self.table[type(op)]
        except KeyError:
            raise UnsupportedOperatorError(
                f"the executor '{self.executor}' has no rule for {type(op).__name__}. "
                f"Convert with another executor, for example executor='reference'."
            ) from None

    def supports(self, op: type[Op]) -> bool:
        """Whether an operator has a rule, or needs none."""
        return op in self.table or op in (Input, Const)


@cache
def _points() -> Mapping[str, str]:
    return {point.name: point.value for point in entry_points(group="tensorml.executors")}


def names() -> list[str]:
    """The names of all executors."""
    return sorted(_points())


def executor_class(name: str) -> type[Executor]:
    """The executor of this name. Raises ValueError for an unknown one, MissingDependencyError with the pip line."""
    if name not in _points():
        raise ValueError(f"no executor {name!r}; there are: auto, {', '.join(names())}")
    module, _, attribute = _points()[name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except MissingDependencyError:
        raise
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "tensorml":
            raise
        needs = f"needs {error.name}" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded: {error}"
        raise MissingDependencyError(
            f"the executor '{name}' {needs}. Install it: pip install 'tensorml[{name}]'"
        ) from error


@cache
def choose(device: str | None) -> str:
    """The executor that `auto` stands for: the fastest one that is installed and runs on the device."""
    on_cpu = device is None or device == "cpu"
    return "simd" if on_cpu and compiles() else "torch"


@cache
def compiles() -> bool:
    """Whether Numba is here, works with this NumPy, and is not told to leave functions as they are."""
    if find_spec("numba") is None:
        return False
    try:
        executor_class("simd")
    except MissingDependencyError:
        return False
    return True
