"""Files: a model's graphs and arrays as safetensors, or its programs as TorchScript. Neither holds a pickle."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from functools import cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

import tensorml
from tensorml import ops
from tensorml.convert import make_executor
from tensorml.converter import Description
from tensorml.errors import ArtifactError, InputError, UnsupportedModelError
from tensorml.executors.base import Executor, Outcome, Setting
from tensorml.frames import Schema
from tensorml.graph import Graph, Op, TensorType
from tensorml.model import Source, TensorModel, parse
from tensorml.programs import GraphPrograms, host_columns

FORMAT = 1
KINDS = (np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.int64))
SUFFIXES = (".pt", ".safetensors")


def save(model: TensorModel, path: Path) -> None:
    """Write the model to a file or a folder, by the suffix of its name. It appears whole or not at all.

    .pt: TorchScript for float64, float32 and int64 columns, with labels and names as metadata; plain libtorch runs it.
    .safetensors: the graphs and their arrays, for any executor.
    A name without a suffix is a folder: the project of the circuit of the model's first method, with executor="fpga".
    Raises ValueError for another suffix, UnsupportedModelError if the model cannot be written in this format.
    """
    if not path.suffix:
        model.executor.project(model.program(model.methods[0]), path, setting(model))
        return
    if path.suffix not in SUFFIXES:
        raise ValueError(f"cannot write {path.suffix}: use {' or '.join(SUFFIXES)}, or a folder for a circuit")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no such directory: {path.parent}")
    if not isinstance(model.programs, GraphPrograms):
        raise UnsupportedModelError(
            model, "it was loaded from TorchScript, which holds no graph", "Copy the file, or save the original"
        )
    graphs = graphs_to_save(model)
    if path.suffix == ".pt":
        from tensorml.executors.torchscript.file import write

        if not any(schema.tensor and not host_columns(graph) for schema, graph in graphs.items()):
            reason = "it reads categories, or columns of several dtypes, and TorchScript takes one tensor"
            raise UnsupportedModelError(model, reason, "Save it as .safetensors")
        _write_whole(path, lambda part: write(part, graphs, header(model, graphs)))
    else:
        _write_whole(path, lambda part: _write_safetensors(part, graphs, header(model, graphs)))


def about(model: TensorModel) -> str:
    """What a project computes, for its reader."""
    source = model.source
    return (
        f"The core of `{model.methods[0]}` of a {source.name} ({source.library} {source.version}), by tensorml "
        f"{tensorml.__version__}. The host computes what comes before and after it."
    )


def setting(model: TensorModel) -> Setting:
    """What a project says of the model."""
    programs = model.programs
    if not isinstance(programs, GraphPrograms):
        return Setting(about(model))
    schema, graph = next(iter(programs.graphs.items()))
    first = graph.select(*(name for name in graph.outputs if parse(name)[0] == model.methods[0]))
    outcomes = {
        name: Outcome(
            partial(programs.program, schema, (name,)),
            decoding.classes,
            "a sparse matrix" if decoding.sparse or decoding.paths is not None else "",
        )
        for name, decoding in programs.outputs(schema).items()
    }
    return Setting(about(model), column_names(schema, first, model.description), outcomes)


def column_names(schema: Schema, graph: Graph, description: Description) -> dict[str, list[str]]:
    """What the columns of each input of a graph's program are called."""
    given = schema.names or description.feature_names or ()
    named = [f"column {i}, {name!r}" for i, name in enumerate(given)]
    names = named if len(named) == len(schema.dtypes) else [f"column {i}" for i in range(len(schema.dtypes))]
    found = {name: [names[i] for i in members] for name, (_, members) in schema.groups().items()}
    for name, op in host_columns(graph).items():
        read = [column for source in Graph({"": op}).inputs for column in found[source]]
        found[name] = [f"what the host makes of {' and '.join(read)}"] * op.columns
    return found


def load(path: str | Path, *, executor: str | Executor = "auto", device: str | None = None) -> TensorModel:
    """A saved model. Never runs Python code from the file, which is checked before anything in it is used.

    executor: what runs a .safetensors file; a .pt file is TorchScript already.
    Raises ArtifactError for a damaged or foreign file, FileNotFoundError.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    if path.suffix == ".pt":
        from tensorml.executors.torchscript.file import read

        programs, facts = read(path, device or "cpu")
    elif path.suffix == ".safetensors":
        graphs, facts = _read_safetensors(path)
        programs = GraphPrograms(graphs, make_executor(executor, device, None))
    else:
        raise ArtifactError(f"{path} is not a file of tensorml: its suffix is none of {', '.join(SUFFIXES)}")
    description = Description(**{**facts["description"], "invertible": facts["invertible"]})
    return TensorModel(programs, facts["schemas"][0], description, Source(**facts["source"]))


def graphs_to_save(model: TensorModel) -> dict[Schema, Graph]:
    """The graphs for columns of each dtype in KINDS, and for all other kinds of input that the model has met."""
    programs = model.programs
    if not isinstance(programs, GraphPrograms):
        raise TypeError("a model that was loaded from TorchScript has no graphs")
    first = next(iter(programs.graphs))
    wanted = [first, *(replace(first, dtypes=(dtype,) * len(first.dtypes)) for dtype in KINDS)]
    if first.names is not None:
        wanted += [schema.plain for schema in wanted]
    if model.description.invertible:
        wanted += _ways_back(programs, wanted)
    for schema in wanted:
        with suppress(InputError):  # a kind of input that the source does not take either
            programs.graph(schema)
    return {schema: graph for schema, graph in programs.graphs.items() if not schema.options}


def _ways_back(programs: GraphPrograms, wanted: Sequence[Schema]) -> list[Schema]:
    """The kinds of input of inverse_transform, for those kinds of input of transform that the source takes."""
    found: list[Schema] = []
    for schema in wanted:
        with suppress(InputError):
            found.append(_way_back(programs.graph(schema)))
    return found


def _way_back(graph: Graph) -> Schema:
    """The kind of input that inverse_transform gets: what transform returns."""
    result = graph.outputs["transform"]
    return Schema((result.dtype,) * result.columns, None, inverse=True)


def header(model: TensorModel, graphs: Mapping[Schema, Graph]) -> dict[str, Any]:
    """What a file says beside its programs: versions, the source's facts, and the kinds of input, as JSON values."""
    return {
        "format": FORMAT,
        "tensorml": tensorml.__version__,
        "source": asdict(model.source),
        "description": {name: pack(value) for name, value in vars(model.description).items()},
        "invertible": any(schema.inverse for schema in graphs),
        "schemas": [
            {f.name: getattr(s, f.name) for f in fields(s) if f.name != "options"}
            | {"dtypes": [str(dtype) for dtype in s.dtypes]}
            for s in graphs
        ],
    }


def read_header(text: str | bytes, path: Path) -> dict[str, Any]:
    """The header of a file, with description and schemas as objects. Raises ArtifactError."""
    try:
        facts = json.loads(text)
        if facts["format"] != FORMAT:
            raise ArtifactError(f"{path} has format {facts['format']}, this tensorml reads format {FORMAT}. Update it.")
        facts["description"] = {name: unpack(value) for name, value in facts["description"].items()}
        facts["schemas"] = [
            Schema(
                tuple(map(np.dtype, s["dtypes"])),
                s["names"] and tuple(s["names"]),
                s["inverse"],
                s["container"],
                tuple(s["nullable"]),
                tuple(s["categorical"]),
            )
            for s in facts["schemas"]
        ]
        return facts
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{path} is damaged: its header cannot be read ({error})") from None


def pack(value: Any, arrays: dict[str, np.ndarray] | None = None) -> Any:
    """A value as JSON. Numeric arrays go to `arrays` by name, if given, else in line; nothing else is needed."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return {"float": value.hex()}
        case np.dtype():
            return {"dtype": str(value)}
        case TensorType(shape=shape, dtype=dtype):
            return {"type": [list(shape), str(dtype)]}
        case tuple() | list():
            return {type(value).__name__: [pack(item, arrays) for item in value]}
        case dict():
            return {"dict": {name: pack(item, arrays) for name, item in value.items()}}
        case np.ndarray() if value.dtype.kind in "biuf" and arrays is not None:
            name = blake2b(np.ascontiguousarray(value).data, digest_size=12).hexdigest()
            name = f"{name}-{value.dtype}-{'x'.join(map(str, value.shape))}"
            arrays[name] = np.ascontiguousarray(value)
            return {"array": name}
        case np.ndarray():
            return {"items": [pack(item) for item in value.ravel().tolist()], "of": str(value.dtype), "as": value.shape}
    raise TypeError(f"{type(value).__name__} cannot be written to a file")


def unpack(value: Any, arrays: Mapping[str, np.ndarray] | None = None) -> Any:
    """The value that `pack` packed."""
    match value:
        case {"float": text}:
            return float.fromhex(text)
        case {"dtype": name}:
            return np.dtype(name)
        case {"type": [shape, dtype]}:
            return TensorType(tuple(shape), np.dtype(dtype))
        case {"tuple": items}:
            return tuple(unpack(item, arrays) for item in items)
        case {"list": items}:
            return [unpack(item, arrays) for item in items]
        case {"dict": items}:
            return {name: unpack(item, arrays) for name, item in items.items()}
        case {"array": name} if arrays is not None:
            return arrays[name]
        case {"items": items, "of": dtype, "as": shape}:
            return np.array([unpack(item) for item in items], np.dtype(dtype)).reshape(shape)
    return value


def _write_safetensors(path: Path, graphs: Mapping[Schema, Graph], facts: dict[str, Any]) -> None:
    from safetensors.numpy import save as to_bytes

    numbers: dict[Op, int] = {}
    arrays: dict[str, np.ndarray] = {}
    operators = []
    for op in (op for graph in graphs.values() for op in graph.order):
        if op not in numbers:
            numbers[op] = len(operators)
            operators.append(_pack_operator(op, numbers, arrays))
    facts["operators"] = operators
    facts["outputs"] = [{name: numbers[op] for name, op in graph.outputs.items()} for graph in graphs.values()]
    facts["digest"] = _digest(arrays)
    path.write_bytes(to_bytes(arrays, metadata={"tensorml": json.dumps(facts)}))


def _pack_operator(op: Op, numbers: Mapping[Op, int], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in op.fields.items():
        if isinstance(value, Op):
            fields[name] = {"op": numbers[value]}
        elif isinstance(value, tuple) and value and isinstance(value[0], Op):
            fields[name] = {"ops": [numbers[operand] for operand in value]}
        else:
            fields[name] = pack(value, arrays)
    return {"class": type(op).__name__, "fields": fields}


def _read_safetensors(path: Path) -> tuple[dict[Schema, Graph], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if "tensorml" not in metadata:
                raise ArtifactError(f"{path} was not written by tensorml: it holds arrays, but no graph")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ArtifactError(f"{path} is damaged or not a safetensors file: {error}") from None
    facts = read_header(metadata["tensorml"], path)
    if facts.get("digest") != _digest(arrays):
        raise ArtifactError(f"{path} is damaged: its arrays are not the ones that were written")
    try:
        return _build_graphs(facts, arrays), facts
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is damaged: its graph cannot be built ({error})") from None


def _build_graphs(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[Schema, Graph]:
    built: list[Op] = []
    for operator in facts["operators"]:
        fields = {name: _operand(value, built, arrays) for name, value in operator["fields"].items()}
        built.append(operators_by_name()[operator["class"]](**fields))
    return {
        schema: Graph({name: built[number] for name, number in outputs.items()})
        for schema, outputs in zip(facts["schemas"], facts["outputs"], strict=True)
    }


def _operand(value: Any, built: list[Op], arrays: Mapping[str, np.ndarray]) -> Any:
    match value:
        case {"op": number}:
            return built[number]
        case {"ops": numbers}:
            return tuple(built[number] for number in numbers)
    return unpack(value, arrays)


@cache
def operators_by_name() -> Mapping[str, Callable[..., Op]]:
    """The operators that a file may name."""
    return {name: cls for name, cls in vars(ops).items() if isinstance(cls, type) and issubclass(cls, Op)}


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = blake2b(digest_size=16)
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Write beside the target and move into place, so that a failure leaves neither a part nor a lost old file."""
    part = path.with_name(f".{path.stem}-{os.getpid()}-{threading.get_ident()}{path.suffix}")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
