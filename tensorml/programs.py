"""Where a converted model's programs come from: graphs that are compiled on first use, or a file."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from tensorml.errors import GraphTypeError, InputError, UnsupportedModelError
from tensorml.executors.base import Executor, Program
from tensorml.frames import Schema
from tensorml.graph import Const, Graph, Input, Op
from tensorml.inputs import EXACT_INTEGERS, CategoryColumn
from tensorml.ops import (
    BatchSecond,
    Columns,
    FlatRow,
    HostOp,
    Label,
    LabelColumns,
    OneHot,
    Paths,
    Reshape,
    Scatter,
    Sparse,
    Table,
    Take,
    Untyped,
    concat,
    ravel,
)

Specialize = Callable[[Schema], Graph]
Run = Callable[[Mapping[str, Any], int], dict[str, Any]]
NUMBERS = "biuf"
SHOWN_COLUMNS = 8
KEPT_OPTIONS = 16  # graphs of calls with options that are kept


@dataclass(frozen=True, eq=False)
class PathTable:
    """The nodes on the way to each leaf of an ensemble: see `ops.Paths`."""

    parent: np.ndarray
    leaf: np.ndarray
    starts: np.ndarray
    single: bool
    index: np.dtype

    @cached_property
    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """The nodes on the way to each leaf, the root first, leaf after leaf; where each leaf's begin. int64."""
        levels, node = [self.leaf], self.leaf
        while (node >= 0).any():
            node = np.where(node >= 0, self.parent[node], -1)
            levels.append(node)
        ways = np.stack(levels[::-1], axis=1)
        return ways[ways >= 0], np.cumsum([0, *(ways >= 0).sum(axis=1)])

    def __call__(self, leaves: np.ndarray) -> Any:
        """The matrix of ones, with `starts` unless `single`. leaves: [N, T]. Memory: a few times the result's.

        Source: sklearn.tree._tree.Tree.decision_path, sklearn.ensemble._forest.BaseForest.decision_path.
        """
        nodes, begins = self.nodes
        count = np.diff(begins)[leaves]
        ends = np.cumsum(count.sum(axis=1))
        first = begins[leaves].ravel() - (np.cumsum(count) - count.ravel())
        indices = nodes[np.repeat(first, count.ravel()) + np.arange(count.sum())]
        ones, rows = np.ones(len(indices), np.int64), np.concatenate([[0], ends])
        matrix = csr_matrix((ones, indices, rows), shape=(len(leaves), len(self.parent)))
        matrix.indices, matrix.indptr = (a.astype(self.index, copy=False) for a in (matrix.indices, matrix.indptr))
        return matrix if self.single else (matrix, self.starts.copy())


@dataclass(frozen=True, eq=False)
class Decoding:
    """What becomes of an output's numbers: class labels by index (strings, objects), a sparse matrix or a DataFrame.

    classes: the labels; for an output of several columns (`columns`), those of each. library: of the DataFrame, with
    the `names` and `dtypes` of its columns; `indexed`: it takes the row labels of the caller's frame. batch_second: the
    first two dimensions are exchanged. flat_row: a single row comes without its first dimension. paths: of trees, from
    the leaves. sizes: the numbers are the codes of a one-hot matrix, as in `ops.OneHot`, of dtype `dtypes[0]`.
    width: they are those of an `ops.Scatter` of so many columns.
    """

    classes: tuple[np.ndarray, ...] = ()
    columns: bool = False
    sparse: bool = False
    library: str = ""
    names: tuple[str, ...] = ()
    dtypes: tuple[np.dtype, ...] = ()
    indexed: bool = False
    batch_second: bool = False
    flat_row: bool = False
    paths: PathTable | None = None
    sizes: tuple[int, ...] = ()
    width: int = 0

    @property
    def nothing(self) -> bool:
        """Whether the caller gets the numbers as they are."""
        given = (self.classes, self.columns, self.sparse, self.library, self.batch_second, self.flat_row, self.paths)
        return not any(given)

    def __call__(self, value: Any, index: Any = None) -> Any:
        """What the caller gets. index: the row labels of the caller's frame, None if it has none."""
        if self.library:
            return frame(self.library, on_host(value), self.names, self.dtypes, index if self.indexed else None)
        if self.columns:
            return np.column_stack([classes[on_host(value)[:, k]] for k, classes in enumerate(self.classes)])
        if self.classes:
            return self.classes[0][on_host(value)]
        if self.sparse and self.width:
            return scattered(on_host(value), self.width, self.dtypes[0])
        if self.sparse:
            return one_hot(on_host(value), self.sizes, self.dtypes[0]) if self.sizes else csr_matrix(on_host(value))
        if self.paths is not None:
            return self.paths(on_host(value))
        if self.flat_row and len(value) == 1:
            return value[0]
        return value.swapaxes(0, 1) if self.batch_second else value


def csr_matrix(*arguments: Any, **shape: Any) -> Any:
    """SciPy's, which is imported on the first use."""
    from scipy import sparse

    return sparse.csr_matrix(*arguments, **shape)


def one_hot(codes: np.ndarray, sizes: tuple[int, ...], dtype: np.dtype) -> Any:
    """The CSR matrix of `ops.OneHot`, without dense rows. codes: int [N, K]."""
    known = (codes >= 0) & (codes < np.array(sizes))
    columns = (codes.astype(np.int64) + np.cumsum([0, *sizes[:-1]]))[known]
    rows = np.concatenate([[0], np.cumsum(known.sum(axis=1))])
    return csr_matrix((np.ones(len(columns), dtype), columns, rows), shape=(len(codes), sum(sizes)))


def scattered(pairs: np.ndarray, width: int, dtype: np.dtype) -> Any:
    """The CSR matrix of `ops.Scatter`, zeros stored. pairs: [N, 2 * K], the values, then their columns."""
    values, index = np.split(pairs, 2, axis=1)
    rows = np.arange(0, values.size + 1, max(1, values.shape[1]))
    return csr_matrix((values.astype(dtype).ravel(), index.astype(np.int64).ravel(), rows), shape=(len(pairs), width))


def frame(library: str, value: np.ndarray, names: tuple[str, ...], dtypes: tuple[np.dtype, ...], index: Any) -> Any:
    """The columns of `value` [N, F] as a DataFrame, each in its own dtype. Raises InputError if a dtype lost integers.

    Source: sklearn.utils._set_output.PandasAdapter.create_container, PolarsAdapter.create_container.
    """
    if library == "polars":
        import polars

        return polars.DataFrame({name: _column(value, i, dtypes[i]) for i, name in enumerate(names)})
    import pandas

    if all(dtype == value.dtype for dtype in dtypes):
        return pandas.DataFrame(value, index=index, columns=list(names))
    columns = {i: _column(value, i, dtype) for i, dtype in enumerate(dtypes)}
    return pandas.DataFrame(columns, index=index).set_axis(list(names), axis=1)


def _column(value: np.ndarray, i: int, dtype: np.dtype) -> np.ndarray:
    column = np.ascontiguousarray(value[:, i])
    if dtype.kind in "iu" and column.dtype.kind == "f" and (np.abs(column) >= EXACT_INTEGERS).any():
        raise InputError(f"column {i} of the result holds integers of 2**53 and more beside floating-point columns.")
    return column.astype(dtype, copy=False)


def on_host(value: Any) -> np.ndarray:
    """An array, or a tensor's elements as one."""
    return value if isinstance(value, np.ndarray) else value.cpu().numpy()


@dataclass(frozen=True, eq=False)
class HostColumn:
    """What a host operator makes of its operand, computed for the rows that are asked for."""

    op: HostOp
    arrays: Mapping[str, Any]

    def __getitem__(self, rows: slice) -> np.ndarray:
        operand = self._value(self.op.x, rows)
        if isinstance(operand, CategoryColumn):
            return self.op.of_categories(operand.needed, operand.codes)
        return self.op.reference(operand)

    def _value(self, op: Op, rows: slice) -> Any:
        if isinstance(op, Input):
            return self.arrays[op.name][rows]
        operands = (self._value(operand, rows) for operand in op.operands)
        return op.reference(*(o.values() if isinstance(o, CategoryColumn) else on_host(o) for o in operands))


@dataclass(frozen=True, eq=False)
class Hosted:
    """A program with the host operators that make some of its inputs."""

    program: Program
    columns: Mapping[str, HostOp]

    def __call__(self, arrays: Mapping[str, Any], rows: int) -> dict[str, Any]:
        """The outputs for all rows."""
        made = {name: HostColumn(op, arrays) for name, op in self.columns.items()}
        return self.program({**arrays, **made}, rows)


class Programs(ABC):
    """Programs by kind of input and by output. Safe to use from many threads."""

    executor: Executor

    @abstractmethod
    def outputs(self, schema: Schema) -> Mapping[str, Decoding]:
        """The outputs for this kind of input. Raises InputError if the model does not take it."""

    @abstractmethod
    def program(self, schema: Schema, names: tuple[str, ...]) -> Run:
        """A program that computes these outputs, from arrays by the names of the graph's inputs and their rows."""

    @abstractmethod
    def graph(self, schema: Schema | None = None) -> Graph:
        """The graph for a kind of input; without one, the graph that the model was converted to first."""


class GraphPrograms(Programs):
    """Programs compiled from graphs. `specialize` makes the graph of a further kind of input."""

    def __init__(self, graphs: Mapping[Schema, Graph], executor: Executor, specialize: Specialize | None = None):
        self.graphs = dict(graphs)
        self.executor = executor
        self.specialize = specialize
        self._programs: dict[tuple[Schema, tuple[str, ...]], Run] = {}
        self._decodings: dict[Schema, Mapping[str, Decoding]] = {}
        self._executors: dict[Schema, Executor] = {}
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
                self._forget()
        return graph

    def _forget(self) -> None:
        """Drop the oldest graphs of calls with options: there may be one for each number of trees."""
        with_options = [schema for schema in self.graphs if schema.options]
        for schema in with_options[:-KEPT_OPTIONS]:
            del self.graphs[schema]
            self._decodings.pop(schema, None)
            self._executors.pop(schema, None)
            self._programs = {key: run for key, run in self._programs.items() if key[0] != schema}

    def _specialized(self, schema: Schema) -> Graph:
        if self.specialize is None:
            raise unknown_kind(self.graphs, schema)
        try:
            return self.specialize(schema)
        except (UnsupportedModelError, GraphTypeError) as error:
            raise InputError(f"the model does not take this kind of input: {error}") from error

    def outputs(self, schema: Schema) -> Mapping[str, Decoding]:
        """The graph's outputs."""
        found = self._decodings.get(schema)
        if found is None:
            found = {name: decoding(op) for name, op in self.graph(schema).outputs.items()}
            self._decodings[schema] = found
        return found

    def program(self, schema: Schema, names: tuple[str, ...]) -> Run:
        """The compiled part of the graph that these outputs need."""
        key = (schema, names)
        program = self._programs.get(key)
        if program is None:
            with self._lock:
                program = self._programs.get(key) or self._compiled(schema, names)
                self._programs[key] = program
        return program

    def _compiled(self, schema: Schema, names: tuple[str, ...]) -> Run:
        graph = self.graph(schema).select(*names)
        program, columns = self._executor(schema).compile(numeric(graph)), host_columns(graph)
        return Hosted(program, columns) if columns else program

    def _executor(self, schema: Schema) -> Executor:
        """What runs the graph of a kind of input: the executor, which may choose something by that."""
        if schema not in self._executors:
            graph = self.graph(schema)
            chosen = self.executor.adapted(schema, made_by_host(graph))
            self._executors[schema] = chosen if chosen is self.executor else chosen.prepared(numeric(graph))
        return self._executors[schema]


def unknown_kind(known: Mapping[Schema, Any], schema: Schema) -> InputError:
    """The error for an input of a kind that a file holds no program for."""
    if schema.options:
        given = ", ".join(f"{name}={value!r}" for name, value in schema.options)
        return InputError(f"this file holds programs for calls without options only, not for {given}. Convert again.")
    uniform = ", ".join(dict.fromkeys(str(schema.uniform) for schema in known if schema.uniform))
    mixed = dict.fromkeys(_columns(schema) for schema in known if not schema.uniform)
    kinds = [f"columns that are all {uniform}"] if uniform else []
    kinds += [f"a DataFrame of the columns {columns}" for columns in mixed]
    return InputError(f"this file holds programs for {'; or '.join(kinds)}. Convert the input to one of these.")


def _columns(schema: Schema) -> str:
    """The columns of a DataFrame with their dtypes, the first ones if there are many."""
    names = schema.names or tuple(map(str, range(len(schema.dtypes))))
    shown = [f"{name} {dtype}" for name, dtype in zip(names, schema.dtypes, strict=True)][:SHOWN_COLUMNS]
    return ", ".join([*shown, "..."] if len(schema.dtypes) > len(shown) else shown)


def numeric(graph: Graph) -> Graph:
    """The graph of numbers alone: of a label that is not one, the index; of a sparse matrix, the dense one.

    What only the host acts on (containers) is left out everywhere; what host operators make are inputs.
    """
    inputs: dict[Op, Op] = {op: Input(name, op.type) for name, op in host_columns(graph).items()}
    return Graph({name: _numeric(op) for name, op in graph.outputs.items()}).rewrite(_bare, inputs)


def host_columns(graph: Graph) -> dict[str, HostOp]:
    """The graph's host operators, by the name of the input that each is in the program."""
    found = [op for op in graph.order if isinstance(op, HostOp)]
    return {f"host_{k}": op for k, op in enumerate(found)}


def made_by_host(graph: Graph) -> dict[str, Callable[[Mapping[str, Any]], np.ndarray | None]]:
    """What computes each of `host_columns` from the arrays of the graph's inputs; of arrays of other inputs, None.

    Nothing, if an output alone has another of them under a name: then the name does not say which one is meant.
    """
    columns = host_columns(graph)
    alone = (host_columns(graph.select(name)) for name in graph.outputs if columns)
    if any(columns[name] is not op for found in alone for name, op in found.items()):
        return {}
    return {name: partial(_made, op) for name, op in columns.items()}


def _made(op: HostOp, arrays: Mapping[str, Any]) -> np.ndarray | None:
    return HostColumn(op, arrays)[slice(None)] if Graph({"made": op}).inputs.keys() <= arrays.keys() else None


def _bare(op: Op) -> Op | None:
    match op:
        case Untyped(x=x) | Sparse(x=x) | BatchSecond(x=x) | FlatRow(x=x):
            return x
        case Table(parts=parts):
            return concat(parts)
    return None


def _numeric(op: Op) -> Op:
    match op:
        case Label(index=index, classes=classes):
            return Take(Const(classes), index) if classes.dtype.kind in NUMBERS else index
        case LabelColumns(index=index, classes=classes):
            return _label_columns(index, classes) if classes[0].dtype.kind in NUMBERS else index
        case Paths(leaves=leaves):
            return leaves
        case Sparse(x=OneHot(x=codes, sizes=sizes)) if sizes:
            return codes
        case Sparse(x=Scatter(index=index, value=value)):
            return concat((value, index))
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
        case Sparse(x=OneHot(sizes=sizes, dtype_=dtype)) if sizes:
            return Decoding(sparse=True, sizes=sizes, dtypes=(dtype,))
        case Sparse(x=Scatter(columns_=width, value=value)):
            return Decoding(sparse=True, width=width, dtypes=(value.dtype,))
        case Sparse():
            return Decoding(sparse=True)
        case BatchSecond():
            return Decoding(batch_second=True)
        case FlatRow():
            return Decoding(flat_row=True)
        case Paths(parent=parent, leaf=leaf, starts=starts, single=single, index=index):
            return Decoding(paths=PathTable(parent, leaf, starts, single, index))
        case Table(names=names, library=library, indexed=indexed):
            return Decoding(library=library, names=names, dtypes=op.dtypes, indexed=indexed)
    return Decoding()
