"""TensorModel: the source model's methods over compiled programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import numpy as np

from tensorml.converter import Description
from tensorml.errors import InputError
from tensorml.executors.base import Executor
from tensorml.frames import FRAMES, Schema, names_differ, width_differs
from tensorml.graph import Graph
from tensorml.inputs import Batch, SparseRows, as_column, read
from tensorml.plan import bytes_of_call
from tensorml.programs import Decoding, Programs, Run, csr_matrix, numeric

CSR_ALONE, NONZEROS = "dense of csr", "csr of nonzeros"
OUTPUT = re.compile(r"(?P<method>\w+)(\((?P<variant>.*)\))?(\[(?P<index>\d+)\]|\.(?P<item>\d+))?")


@dataclass(frozen=True)
class Source:
    """Where a converted model comes from: the class's dotted name, its library and the version that was installed."""

    name: str
    library: str
    version: str


@dataclass(frozen=True, eq=False)
class Answer:
    """How a method answers for one kind of input: what runs, the outputs it needs, and what makes one of several.

    only: the output that is the answer as it is, if one is.
    """

    run: Run
    decodings: Mapping[str, Decoding]
    several: Callable[[list[Any]], Any] | None
    only: str


class TensorModel:
    """A converted model: the inference methods of its source, with the same names, arguments and results.

    A method that the source does not have is absent. The model is immutable and safe to use from many threads.
    Inputs: [N, F] NumPy arrays of any real dtype, DataFrames, SciPy sparse matrices, torch tensors, lists.
    Raises InputError (a ValueError) for what the source does not accept either.
    """

    def __init__(self, programs: Programs, schema: Schema, description: Description, source: Source):
        """`schema` is the kind of input that the model was converted to first."""
        self._programs = programs
        self._schema = schema
        self._description = description
        self._answers: dict[tuple[Schema, str], Answer] = {}
        self._plain: dict[tuple[str, np.dtype, int], Answer] = {}
        self.source = source

    @property
    def executor(self) -> Executor:
        """The executor that runs this model, with its options."""
        return self._programs.executor

    @property
    def graph(self) -> Graph:
        """The tensor graph for the kind of input that the model was converted to first: float64, unless X was given."""
        return self._programs.graph()

    @property
    def programs(self) -> Programs:
        """Where the compiled programs come from."""
        return self._programs

    @property
    def description(self) -> Description:
        """What the source says about itself: width, names, attributes."""
        return self._description

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of all outputs, with variants of methods and items of lists: `predict(output_margin=True)`."""
        return tuple(self._programs.outputs(self._schema))

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The inference methods that this model has, in the source's names."""
        back = ("inverse_transform",) if self._description.invertible else ()
        return (*dict.fromkeys(parse(name)[0] for name in self.outputs), *back)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self.methods:
            return partial(self._call, name)
        if name in self._description.attributes:
            return self._description.attributes[name]
        if name == "get_feature_names_out" and self._description.feature_names_out is not None:
            return self._feature_names_out
        if name == "get_support" and self._description.support is not None:
            return self._support
        if name in self._description.refused:
            raise AttributeError(f"{self.source.name}.{name} is not converted: {self._description.refused[name]}")
        raise AttributeError(f"the source, {self.source.name}, has no method or attribute {name!r} for inference")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.methods, *self._description.attributes})

    def __copy__(self) -> TensorModel:
        return self

    def __deepcopy__(self, memo: object) -> TensorModel:
        return self

    def __reduce__(self) -> Any:
        raise TypeError("a converted model is not pickled: write it with model.save('model.safetensors') or '.pt'")

    def __repr__(self) -> str:
        return f"TensorModel({self.source.name}, executor={self.executor.name!r}, {', '.join(self.methods)})"

    def save(self, path: str | Path) -> None:
        """Write the model: .pt (TorchScript, for plain libtorch), .safetensors (graph, arrays), a folder (circuit)."""
        from tensorml.save import save

        save(self, Path(path))

    def report(self, method: str = "", **options: Any) -> Any:
        """What a method's circuit takes of an FPGA: area, clock, latency, accuracy. Prints as a table.

        method: the first one of `methods` if none is named. options: `fast=True` estimates without the tools; families,
        placed, timeout, watch: see `tensorml.executors.fpga.report.measured`.
        Raises ValueError for an executor other than fpga, MissingDependencyError, CircuitError.
        """
        return self.executor.report(self.program(method or self.methods[0]), **options)

    def program(self, method: str) -> Run:
        """What runs for a method of the kind of input that the model was converted to first."""
        self._require_method(method)
        return self._answer(self._schema, method, {}).run

    def memory(self, method: str, rows: int) -> int:
        """The most bytes that a call will take beyond its input, known before it runs: results and working memory.

        For rows of the kind that the model was converted to first. Labels that are no numbers and containers (strings,
        sparse matrices, DataFrames) are not in it. Raises AttributeError for a method that is not there.
        """
        self._require_method(method)
        graph = numeric(self.graph.select(*self._outputs(self._schema, method, {})))
        return bytes_of_call(graph, rows, self.executor.tile(graph))

    def _require_method(self, method: str) -> None:
        if method not in self.methods:
            raise AttributeError(f"the source, {self.source.name}, has no method {method!r} for inference")

    def _call(self, method: str, /, X: Any, **options: Any) -> Any:
        """One method of the source on a table X [N, F]. Options select a variant (`output_margin=True`)."""
        if type(X) is np.ndarray and X.ndim == 2 and len(X) and not options:
            answer = self._plain.get((method, X.dtype, X.shape[1]))
            if answer is not None:
                results = answer.run({"x": X}, len(X))
                return results[answer.only] if answer.only else _finished(answer, _decoded(answer, results))
        return self._any(method, X, options)

    def _any(self, method: str, X: Any, options: Mapping[str, Any]) -> Any:
        """The same for all that a source may read as a table."""
        X = as_column(X) if self._description.one_dimensional else X
        back = method == "inverse_transform" and self._description.one_dimensional  # of codes, not of labels
        batch = read(X, self._description.absent, objects=self._description.objects and not back)
        batch = self._checked_back(batch) if method == "inverse_transform" else self._checked(batch, method)
        answer = self._answer(batch.schema, method, options)
        if not options and batch.arrays.get("x") is X and isinstance(X, np.ndarray):
            self._plain[method, X.dtype, X.shape[1]] = answer  # the next such array needs no look at its kind
        result = _finished(answer, self._run(batch, answer))
        kind = self._description.sparse_transform if batch.origin == "sparse" and method == "transform" else ""
        return _to_sparse(result, kind, X) if kind and answer.several is None else result

    def _answer(self, schema: Schema, method: str, options: Mapping[str, Any]) -> Answer:
        """What runs for a call. Without options it is kept: looking for it takes as long as predicting a row."""
        if not options:
            answer = self._answers.get((schema, method))
            if answer is None:
                answer = self._answers[schema, method] = self._found(schema, self._outputs(schema, method, options))
            return answer
        opened, variant = self._split(method, options)
        schema = replace(schema, options=opened)
        return self._found(schema, self._outputs(schema, method, variant))

    def _found(self, schema: Schema, names: tuple[str, ...]) -> Answer:
        decodings = self._programs.outputs(schema)
        several = None if parse(names[0])[2] is None else list if names[0].endswith("]") else tuple
        as_it_is = several is None and decodings[names[0]].nothing
        only = names[0] if as_it_is else ""
        return Answer(self._programs.program(schema, names), {name: decodings[name] for name in names}, several, only)

    def _feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The names of the columns that `transform` returns. Raises InputError for names other than those of `fit`."""
        known = self._description.feature_names
        if input_features is not None and tuple(input_features) != known:
            raise InputError("input_features is not equal to feature_names_in_")
        return np.array(self._description.feature_names_out, dtype=object)

    def _support(self, indices: bool = False) -> np.ndarray:
        """Whether each feature is selected, bool [F]; with `indices` the positions of those that are, int64."""
        support = np.array(self._description.support, np.bool_)
        return np.flatnonzero(support) if indices else support

    def _split(self, method: str, options: Mapping[str, Any]) -> tuple[tuple[tuple[str, Any], ...], dict[str, Any]]:
        """The options that make another graph, without those at their default, and the others."""
        known = self._description.options.get(method, {})
        opened = {name: plain(name, value) for name, value in options.items() if name in known}
        given = tuple(sorted((name, value) for name, value in opened.items() if value != known[name]))
        return given, {name: value for name, value in options.items() if name not in known}

    def _outputs(self, schema: Schema, method: str, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The outputs that a call needs: one, or one per item of a list."""
        variant = ", ".join(
            f"{key}={_shown(value)}"
            for key, value in sorted(options.items())
            if value is not None and value is not False
        )
        known = self._programs.outputs(schema)
        names = tuple(name for name in known if parse(name)[:2] == (method, variant))
        if not names and schema.options and not variant:
            given = ", ".join(f"{name}={value!r}" for name, value in schema.options)
            raise InputError(f"{method}() is not there with {given}: {self.source.name} does not return it either.")
        if not names:
            variants = {parse(name)[1] for name in known if parse(name)[0] == method} - {""}
            variants = sorted({*variants, *self._description.options.get(method, ())})
            raise InputError(f"{method}() does not take {variant}; it takes {', '.join(variants) or 'no options'}.")
        return names

    def _run(self, batch: Batch, answer: Answer) -> list[Any]:
        """The outputs, decoded; tensors where the input is one."""
        on_host = batch.origin == "torch" and not self.executor.takes_tensors
        arrays = {name: x.cpu().numpy() for name, x in batch.arrays.items()} if on_host else batch.arrays
        decoded = _decoded(answer, answer.run(arrays, batch.rows), batch.index)
        if batch.origin != "torch":
            return decoded
        device = next(iter(batch.arrays.values())).device
        return [_to_tensor(value, device) for value in decoded]

    def _checked(self, batch: Batch, method: str) -> Batch:
        """The batch, if its width, names and number of rows are what the source takes."""
        known, schema = self._description, batch.schema
        reader = known.reader or self.source.name.rpartition(".")[2]
        framed = known.by_name and batch.origin in FRAMES
        if not framed:
            if schema.names is not None and known.feature_names not in (None, schema.names):
                raise InputError(names_differ(schema.names, known.feature_names or ()))
            if known.n_features not in (None, len(schema.dtypes)):
                raise InputError(width_differs(len(schema.dtypes), reader, known.n_features))
            schema = schema if known.by_name else schema.plain
        self._require_rows(batch, reader)
        if batch.origin == "sparse":
            self._require_readable(batch.arrays["x"], method, reader)
        return batch if schema is batch.schema else replace(batch, schema=schema)

    def _require_readable(self, rows: SparseRows, method: str, reader: str) -> None:
        """Raise InputError for a sparse matrix that the source does not take, or reads in another way than rows."""
        known = self._description
        if not known.sparse or (method == "transform" and not known.sparse_transform):
            raise InputError(f"{method}() of a sparse matrix is not supported. Pass X.toarray().")
        if known.sparse_transform == CSR_ALONE and rows.format == "csc":
            raise InputError(f"{reader} reads a CSC matrix in the wrong order. Pass X.tocsr().")
        if known.sparse_transform == NONZEROS and rows.stores_zeros():
            raise InputError(f"X stores zeros, of which {reader} takes the logarithm. Call X.eliminate_zeros().")
        if not known.sparse_nan and rows.stores_nan():
            raise InputError(
                f"Input X contains NaN in a sparse matrix; {reader} reads it there in another way, if at all."
            )

    def _checked_back(self, batch: Batch) -> Batch:
        """The input of `inverse_transform`: sparse only where `transform` is, whose converter returns dense rows."""
        name = self.source.name.rpartition(".")[2]
        self._require_rows(batch, name)
        forward = self._programs.outputs(self._schema).get("transform")
        if batch.origin == "sparse" and not (forward and forward.sparse):
            raise InputError("inverse_transform() of a sparse matrix is not supported. Pass X.toarray().")
        if batch.origin in FRAMES and self._description.frame_back:
            raise InputError("inverse_transform() would return a DataFrame, which is not supported. Pass X.to_numpy().")
        return replace(batch, schema=replace(batch.schema.plain, inverse=True))

    def _require_rows(self, batch: Batch, reader: str) -> None:
        """Raise InputError for a batch of no rows where the source does not take one."""
        if batch.rows == 0 and not self._description.empty:
            shape = (0, len(batch.schema.dtypes))
            raise InputError(
                f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required by {reader}."
            )


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, bool | int | float | str) else shortened(value)


def plain(name: str, value: Any) -> Any:
    """An option's value as Python numbers, in tuples. Raises InputError for what is neither a number nor a name."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | list):
        return tuple(plain(name, item) for item in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(f"{name} takes numbers, got a {type(value).__name__}.")


@cache
def parse(name: str) -> tuple[str, str, int | None]:
    """An output's name as method, variant and index: 'predict_proba(raw=True)[1]' as 'predict_proba', 'raw=True', 1.

    The items of a tuple are written with a point: 'kneighbors.0'.
    """
    match = OUTPUT.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} does not name an output")
    index = match["index"] or match["item"]
    return match["method"], match["variant"] or "", None if index is None else int(index)


def _decoded(answer: Answer, results: Mapping[str, Any], index: Any = None) -> list[Any]:
    """The outputs as the source gives them. index: the row labels of the caller's frame."""
    return [decode(results[name], index) for name, decode in answer.decodings.items()]


def _finished(answer: Answer, results: list[Any]) -> Any:
    """The output, or all of them in the container that the source returns."""
    return results[0] if answer.several is None else answer.several(results)


def _to_sparse(value: Any, kind: str, like: Any) -> Any:
    """What `transform` returns for the sparse matrix `like`: see `Description.sparse_transform`."""
    sparse = kind in ("csr", "same", NONZEROS)
    matrix = csr_matrix(value) if sparse and isinstance(value, np.ndarray) else value
    return matrix.tocsc() if kind == "same" and like.format == "csc" else matrix


def _to_tensor(value: Any, device: Any) -> Any:
    """Numbers as a tensor; labels, sparse matrices and DataFrames as they are."""
    import torch

    numbers = isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
    return torch.from_numpy(value).to(device) if numbers else value
