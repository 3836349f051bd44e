"""Where a converted model's programs come from: graphs that are compiled on first use, or a file."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorml.errors import GraphTypeError, InputError, UnsupportedModelError
from tensorml.executors.base import Executor, Program
from tensorml.frames import Schema
from tensorml.graph import Const, Graph, Op
from tensorml.ops import Columns, Label, LabelColumns, Reshape, Sparse, Take, concat, ravel

Specialize = Callable[[Schema], Graph]
NUMBERS = "biuf"


@dataclass(frozen=True, eq=False)
class Decoding:
    """What becomes of an output's numbers: class labels by index (strings, objects), or a sparse matrix.

    classes: the labels; for an output of several columns (`columns`), those of each.
    """

    classes: tuple[np.ndarray, ...] = ()
    columns: bool = False
    sparse: bool = False

    def __call__(self, value: Any) -> Any:
        """What the caller gets."""
        if self.columns:
            return np.column_stack([classes[np.asarray(value)[:, k]] for k, classes in enumerate(self.classes)])
        if self.classes:
            return self.classes[0][np.asarray(value)]
        if self.sparse:
            from scipy.sparse import csr_matrix

            return csr_matrix(np.asarray(value))
        return value


class Programs(ABC):
    """Programs by kind of input and by output. Safe to use from many threads."""

    executor: Executor

    @abstractmethod
    def outputs(self, schema: Schema) -> Mapping[str, Decoding]:
        """The outputs for this kind of input. Raises InputError if the model does not take it."""

    @abstractmethod
    def program(self, schema: Schema, names: tuple[str, ...]) -> Program:
        """A program that computes these outputs."""

    @abstractmethod
    def graph(self, schema: Schema | None = None) -> Graph:
        """The graph for a kind of input; without one, the graph that the model was converted to first."""


class GraphPrograms(Programs):
    """Programs compiled from graphs. `specialize` makes the graph of a further kind of input."""

    def __init__(self, graphs: Mapping[Schema, Graph], executor: Executor, specialize: Specialize | None = None):
        self.graphs = dict(graphs)
        self.executor = executor
        self.specialize = specialize
        self._programs: dict[tuple[Schema, tuple[str, ...]], Program] = {}
        self._lock = threading.RLock()

    def graph(self, schema: Schema | None = None) -> Graph:
        """The graph for a kind of input, made on its first use."""
        if schema is None:
            return next(iter(self.graphs.values()))
        graph = self.graphs.get(schema)
        if graph is None:
            with self._lock:
                graph = self.graphs.get(schema) or self._specialized(schema)
                self.graphs[schema] = graph
        return graph

    def _specialized(self, schema: Schema) -> Graph:
        if self.specialize is None:
            raise unknown_kind(self.graphs)
        try:
            return self.specialize(schema)
        except (UnsupportedModelError, GraphTypeError) as error:
            raise InputError(f"the model does not take this kind of input: {error}") from error

    def outputs(self, schema: Schema) -> Mapping[str, Decoding]:
        """The graph's outputs."""
        return {name: decoding(op) for name, op in self.graph(schema).outputs.items()}

    def program(self, schema: Schema, names: tuple[str, ...]) -> Program:
        """The compiled part of the graph that these outputs need."""
        key = (schema, names)
        program = self._programs.get(key)
        if program is None:
            with self._lock:
                program = self._programs.get(key) or self.executor.compile(numeric(self.graph(schema).select(*names)))
                self._programs[key] = program
        return program


def unknown_kind(known: Mapping[Schema, Any]) -> InputError:
    """The error for an input of a kind that a file holds no program for."""
    dtypes = ", ".join(dict.fromkeys(str(schema.uniform) for schema in known if schema.uniform))
    return InputError(f"this file holds programs for columns that are all {dtypes}. Convert the input to one of these.")


def numeric(graph: Graph) -> Graph:
    """The graph whose outputs are numbers: of a label that is not one, the index; of a sparse matrix, the dense one."""
    return Graph({name: _numeric(op) for name, op in graph.outputs.items()})


def _numeric(op: Op) -> Op:
    match op:
        case Label(index=index, classes=classes):
            return Take(Const(classes), index) if classes.dtype.kind in NUMBERS else index
        case LabelColumns(index=index, classes=classes):
            return _label_columns(index, classes) if classes[0].dtype.kind in NUMBERS else index
        case Sparse(x=x):
            return x
    return op


def _label_columns(index: Op, classes: tuple[np.ndarray, ...]) -> Op:
    columns = (ravel(Columns(index, np.array([k]))) for k in range(len(classes)))
    return concat([Reshape(Take(Const(c), i), (1,)) for c, i in zip(classes, columns, strict=True)])


def decoding(op: Op) -> Decoding:
    """What the host does with an output."""
    match op:
        case Label(classes=classes) if classes.dtype.kind not in NUMBERS:
            return Decoding((classes,))
        case LabelColumns(classes=classes) if classes[0].dtype.kind not in NUMBERS:
            return Decoding(classes, columns=True)
        case Sparse():
            return Decoding(sparse=True)
    return Decoding()
