"""TensorModel: the source model's methods over compiled programs."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from tensorml.converter import Description
from tensorml.errors import GraphTypeError, InputError, UnsupportedModelError
from tensorml.executors.base import Executor, Program
from tensorml.frames import Batch, Schema, read
from tensorml.graph import Graph, Op
from tensorml.ops import Label, Sparse

OUTPUT = re.compile(r"(?P<method>\w+)(\((?P<variant>.*)\))?(\[(?P<index>\d+)\])?")
Specialize = Callable[[Schema], Graph]


@dataclass(frozen=True)
class Source:
    """Where a converted model comes from: the class's dotted name, its library and the version that was installed."""

    name: str
    library: str
    version: str


class TensorModel:
    """A converted model: the inference methods of its source, with the same names, arguments and results.

    A method that the source does not have is absent. The model is immutable and safe to use from many threads.
    Inputs: [N, F] NumPy arrays of any real dtype, DataFrames, SciPy sparse matrices, torch tensors, lists.
    Raises InputError (a ValueError) for what the source does not accept either.
    """

    def __init__(
        self,
        graphs: Mapping[Schema, Graph],
        description: Description,
        executor: Executor,
        source: Source,
        specialize: Specialize | None = None,
    ):
        self._graphs = dict(graphs)
        self._description = description
        self._specialize = specialize
        self._programs: dict[tuple[Schema, tuple[str, ...]], Program] = {}
        self._lock = threading.RLock()
        self.executor = executor
        self.source = source

    @cached_property
    def graph(self) -> Graph:
        """The tensor graph that was built at conversion, for float64 input."""
        return next(iter(self._graphs.values()))

    @property
    def graphs(self) -> Mapping[Schema, Graph]:
        """The graphs built so far, by the kind of input."""
        return dict(self._graphs)

    @property
    def description(self) -> Description:
        """What the source says about itself: width, names, attributes."""
        return self._description

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The inference methods that this model has, in the source's names."""
        back = ("inverse_transform",) if self._description.invertible else ()
        return (*dict.fromkeys(parse(name)[0] for name in self.graph.outputs), *back)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self.methods:
            return partial(self._call, name)
        if name in self._description.attributes:
            return self._description.attributes[name]
        raise AttributeError(f"the source, {self.source.name}, has no method or attribute {name!r} for inference")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.methods, *self._description.attributes})

    def __repr__(self) -> str:
        return f"TensorModel({self.source.name}, executor={self.executor.name!r}, {', '.join(self.methods)})"

    def save(self, path: str | Path) -> None:
        """Write the model to a file: .pt (TorchScript, for plain libtorch) or .safetensors (graph and arrays)."""
        from tensorml.save import save

        save(self, Path(path))

    def with_executor(self, executor: Executor) -> TensorModel:
        """The same model on another executor."""
        return TensorModel(self._graphs, self._description, executor, self.source, self._specialize)

    def graph_for(self, schema: Schema) -> Graph:
        """The graph for one kind of input. Raises InputError if there is none and no source to make one from."""
        with self._lock:
            if schema not in self._graphs:
                self._graphs[schema] = self._make_graph(schema)
            return self._graphs[schema]

    def _make_graph(self, schema: Schema) -> Graph:
        if self._specialize is None:
            known = ", ".join(dict.fromkeys(str(s.uniform) for s in self._graphs))
            raise InputError(f"this file holds graphs for {known} columns. Convert the input to one of these dtypes.")
        try:
            return self._specialize(schema)
        except (UnsupportedModelError, GraphTypeError) as error:
            raise InputError(f"the model does not take this kind of input: {error}") from error

    def _call(self, method: str, X: Any, /, **options: Any) -> Any:
        """One method of the source on a table X [N, F]. Options select a variant (`output_margin=True`)."""
        batch = read(X, self._description.absent)
        if method == "inverse_transform":
            batch = replace(batch, schema=replace(batch.schema, names=None, inverse=True))
        else:
            batch = self._checked(batch, method)
        graph = self.graph_for(batch.schema)
        names = self._outputs(graph, method, options)
        results = self._run(batch, graph, names)
        if parse(names[0])[2] is not None:
            return [results[name] for name in names]
        return self._contained(results[names[0]], method, batch)

    def _outputs(self, graph: Graph, method: str, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The graph's outputs that a call needs: one, or one per item of a list."""
        variant = ", ".join(f"{key}={value!r}" for key, value in sorted(options.items()) if value not in (None, False))
        names = tuple(n for n in graph.outputs if parse(n)[:2] == (method, variant))
        if not names:
            known = sorted({parse(n)[1] for n in graph.outputs if parse(n)[0] == method} - {""})
            raise InputError(f"{method}() does not take {variant}; it takes {', '.join(known) or 'no options'}.")
        return names

    def _run(self, batch: Batch, graph: Graph, names: tuple[str, ...]) -> dict[str, Any]:
        arrays = batch.arrays
        if batch.origin == "torch" and not self.executor.takes_tensors:
            arrays = {name: tensor.cpu().numpy() for name, tensor in arrays.items()}
        results = self._program(batch.schema, graph, names)(arrays, batch.rows)
        if batch.origin == "torch" and not self.executor.takes_tensors:
            return {name: _to_tensor(decode(graph.outputs[name], value)) for name, value in results.items()}
        return {name: decode(graph.outputs[name], value) for name, value in results.items()}

    def _program(self, schema: Schema, graph: Graph, names: tuple[str, ...]) -> Program:
        key = (schema, names)
        program = self._programs.get(key)
        if program is None:
            with self._lock:
                program = self._programs.get(key) or self.executor.compile(numeric(graph.select(*names)))
                self._programs[key] = program
        return program

    def _checked(self, batch: Batch, method: str) -> Batch:
        """The batch, if its width, names and number of rows are what the source takes."""
        known = self._description
        name = self.source.name.rpartition(".")[2]
        names = batch.schema.names
        if names is not None and not known.by_name:
            if known.feature_names not in (None, names):
                raise InputError(_names_differ(names, known.feature_names or ()))
            batch = replace(batch, schema=replace(batch.schema, names=None))
        width = len(batch.schema.dtypes)
        if known.n_features not in (None, width) and not (known.by_name and batch.schema.names):
            raise InputError(f"X has {width} features, but {name} is expecting {known.n_features} features as input.")
        if batch.rows == 0 and not known.empty:
            shape = (0, width)
            raise InputError(f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required by {name}.")
        if batch.origin == "sparse" and method in ("transform", "inverse_transform"):
            raise InputError(f"{method}() of a sparse matrix is not supported. Pass X.toarray().")
        return batch

    def _contained(self, value: Any, method: str, batch: Batch) -> Any:
        """A transform's result in the container that the source was set to return (`set_output`)."""
        known = self._description
        if known.container is None or method != "transform":
            return value
        if known.container == "polars":
            import polars

            return polars.DataFrame(value, schema=known.feature_names_out)
        import pandas

        return pandas.DataFrame(value, columns=known.feature_names_out, index=batch.index)  # pyright: ignore[reportArgumentType]


def parse(name: str) -> tuple[str, str, int | None]:
    """An output's name as method, variant and index: 'predict_proba(raw=True)[1]' as 'predict_proba', 'raw=True', 1."""
    match = OUTPUT.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} does not name an output")
    index = match["index"]
    return match["method"], match["variant"] or "", None if index is None else int(index)


def numeric(graph: Graph) -> Graph:
    """The graph whose outputs are numbers: of a label that is not one, the index; of a sparse matrix, the dense one."""
    return Graph({name: _numeric(op) for name, op in graph.outputs.items()})


def _numeric(op: Op) -> Op:
    from tensorml.graph import Const
    from tensorml.ops import Take

    match op:
        case Label(index=index, classes=classes):
            return Take(Const(classes), index) if classes.dtype.kind in "biuf" else index
        case Sparse(x=x):
            return x
    return op


def decode(op: Op, value: Any) -> Any:
    """What the caller gets for an output that a program computed: the labels, or a sparse matrix."""
    match op:
        case Label(classes=classes) if classes.dtype.kind not in "biuf":
            return classes[np.asarray(value)]
        case Sparse():
            from scipy.sparse import csr_matrix

            return csr_matrix(value)
    return value


def _to_tensor(value: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(value) if value.dtype.kind in "biuf" else value


def _names_differ(given: tuple[str, ...], expected: tuple[str, ...]) -> str:
    """What to say of a frame with other columns. Source: sklearn.utils.validation._check_feature_names."""
    unexpected = sorted(set(given) - set(expected))
    missing = sorted(set(expected) - set(given))
    parts = ["The feature names should match those that were passed during fit."]
    if unexpected:
        parts.append(f"Feature names unseen at fit time: {', '.join(unexpected[:5])}.")
    if missing:
        parts.append(f"Feature names seen at fit time, yet now missing: {', '.join(missing[:5])}.")
    if not unexpected and not missing:
        parts.append("Feature names must be in the same order as they were in fit.")
    return " ".join(parts)
