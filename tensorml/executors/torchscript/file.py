"""TorchScript files: what `save("model.pt")` writes. Plain libtorch runs them; tensorml reads labels and names back."""

# No `from __future__ import annotations`: TorchScript evaluates the annotations of the module below.

import io
import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tensorml.errors import ArtifactError
from tensorml.executors.base import Program
from tensorml.executors.torchscript.program import TorchScriptExecutor, call_script, script, scripted
from tensorml.frames import Schema
from tensorml.graph import Graph
from tensorml.model import parse
from tensorml.ops import OneHot, Paths, Reshape, Scatter, Sparse
from tensorml.programs import Decoding, Programs, Run, decoding, host_columns, numeric, unknown_kind
from tensorml.save import pack, read_header, unpack

HEADER = "tensorml.json"
NOT_IN_NAMES = re.compile(r"\W+")
NO_PATHS = "a .pt file holds no table of paths. Save the model as .safetensors"
FIRST = ("predict", "transform")  # what forward() runs, if the model has it


class Tiled(nn.Module):
    """Runs a scripted graph tile by tile, so that memory stays bounded whatever the batch."""

    def __init__(self, body: nn.Module, tile: int):
        super().__init__()
        self.body, self.tile = body, tile

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The outputs by name, for all rows. x: [N, F]."""
        rows = x.size(0)
        if rows <= self.tile:
            return self.body(x)
        results: dict[str, torch.Tensor] = {}
        for start in range(0, rows, self.tile):
            stop = min(start + self.tile, rows)
            for name, part in self.body(x[start:stop]).items():
                if start == 0:
                    results[name] = part.new_empty([rows] + part.shape[1:])  # noqa: RUF005 (TorchScript)
                results[name][start:stop] = part
        return results


def write(path: Path, graphs: Mapping[Schema, Graph], facts: dict[str, Any]) -> None:
    """Write the graphs for columns of one dtype, each method one TorchScript method that picks by the input's dtype.

    Paths are left out and refused by name: their numbers are leaves, which `apply` tells too.
    """
    left_out = {name for graph in graphs.values() for name, op in graph.outputs.items() if isinstance(op, Paths)}
    facts["description"]["refused"]["dict"] |= dict.fromkeys(left_out, NO_PATHS)
    graphs = {schema: plain_outputs(graph) for schema, graph in graphs.items()}
    tensors = [schema for schema, graph in graphs.items() if schema.tensor and not host_columns(graph)]
    first = {(schema.uniform, schema.inverse): schema for schema in reversed(tensors)}
    uniform = {schema: numeric(graph) for schema, graph in graphs.items() if schema in first.values()}
    methods: dict[str, dict[Schema, list[str]]] = {}
    for schema, graph in uniform.items():
        for name in graph.outputs:
            methods.setdefault(method_name(name), {}).setdefault(schema, []).append(name)
    parts = {
        part_name(method, schema): Tiled(script(graph), TorchScriptExecutor().tile(graph))
        for method, kinds in methods.items()
        for schema, names in kinds.items()
        for graph in [uniform[schema].select(*names)]
    }
    container = type("Model", (nn.Module,), {})()  # a class of its own: torch shares methods between instances of one
    for name, part in parts.items():
        container.add_module(name, part)
    share_buffers(container)
    module = scripted(container)
    for method, kinds in methods.items():
        module.define(method_source(method, method, kinds))
    first = next((name for name in FIRST if name in methods), next(iter(methods)))
    module.define(method_source("forward", first, methods[first]))
    module.eval()
    facts["methods"] = {method: next(iter(kinds.values())) for method, kinds in methods.items()}
    facts["decodings"] = [
        {name: pack(vars(decoding(op))) for name, op in graphs[schema].outputs.items()} for schema in uniform
    ]
    facts["labels"] = labels_by_output(uniform, graphs)
    facts["schemas"] = [packed for packed, schema in zip(facts["schemas"], graphs, strict=True) if schema in uniform]
    buffer = io.BytesIO()  # to a file, torch would name the archive's folder after the file's temporary name
    torch.jit.save(module, buffer, _extra_files={HEADER: json.dumps(facts)})
    path.write_bytes(buffer.getbuffer())


def plain_outputs(graph: Graph) -> Graph:
    """The graph without the outputs that are Paths, and with one-hot matrices dense: other readers take no codes."""
    outputs = {name: op for name, op in graph.outputs.items() if not isinstance(op, Paths)}
    for name, op in outputs.items():
        if isinstance(op, Sparse) and isinstance(op.x, OneHot | Scatter):
            outputs[name] = Sparse(Reshape(op.x, (op.x.columns,)))
    return Graph(outputs)


def labels_by_output(uniform: Mapping[Schema, Graph], graphs: Mapping[Schema, Graph]) -> dict[str, list[Any]]:
    """What the indices of an output stand for, for readers in other languages: a list of labels, or one per column."""
    decodings = {name: decoding(op) for schema in uniform for name, op in graphs[schema].outputs.items()}
    return {
        name: [c.tolist() for c in found.classes] if found.columns else found.classes[0].tolist()
        for name, found in decodings.items()
        if found.classes
    }


def method_name(output: str) -> str:
    """The TorchScript method of an output: predict(output_margin=True)[1] is in predict_output_margin, apply in apply_
    (torch modules have an apply of their own).
    """
    method, variant, _ = parse(output)
    parts = [method, *(part.removesuffix("=True") for part in variant.split(", ") if part)]
    name = "_".join(NOT_IN_NAMES.sub("_", part).strip("_") for part in parts)
    return f"{name}_" if hasattr(nn.Module, name) else name


def part_name(method: str, schema: Schema) -> str:
    """The submodule that computes a method for one dtype."""
    return f"{method}_of_{schema.uniform}"


def method_source(name: str, method: str, kinds: Mapping[Schema, list[str]]) -> str:
    """A TorchScript method that picks the submodule by the dtype of its input. Several outputs come as a list."""
    outputs = next(iter(kinds.values()))
    several = parse(outputs[0])[2] is not None
    result = f"[{', '.join(f'found[{o!r}]' for o in outputs)}]" if several else f"found[{outputs[0]!r}]"
    lines = [f"def {name}(self, x: Tensor) -> {'List[Tensor]' if several else 'Tensor'}:"]
    width = len(next(iter(kinds)).dtypes)
    lines.append(f'    assert x.dim() == 2 and x.size(1) == {width}, "expected a tensor of shape [N, {width}]"')
    for schema in kinds:
        lines.append(f"    if x.dtype == torch.{schema.uniform}:")
        lines.append(f"        found = self.{part_name(method, schema)}(x)")
        lines.append(f"        return {result}")
    dtypes = ", ".join(str(schema.uniform) for schema in kinds)
    lines.append(f'    raise ValueError("expected a tensor of one of: {dtypes}")')
    return "\n".join([*lines, ""])


def share_buffers(container: nn.Module) -> None:
    """Make equal constants of the submodules one tensor: a file holds each once."""
    known: dict[tuple[Any, ...], torch.Tensor] = {}
    for module in container.modules():
        for name, value in list(module.named_buffers(recurse=False)):
            key = (value.dtype, tuple(value.shape), value.contiguous().numpy().tobytes())
            setattr(module, name, known.setdefault(key, value))


class ScriptPrograms(Programs):
    """The programs of a TorchScript file."""

    def __init__(self, module: Any, facts: Mapping[str, Any], device: str):
        self.executor = TorchScriptExecutor(device=device)
        self.device = device
        self.module = module
        self.methods: Mapping[str, list[str]] = facts["methods"]
        self.decodings: dict[Schema, dict[str, Decoding]] = {
            schema: {name: Decoding(**unpack(value)) for name, value in decodings.items()}
            for schema, decodings in zip(facts["schemas"], facts["decodings"], strict=True)
        }

    def outputs(self, schema: Schema) -> Mapping[str, Decoding]:
        """The file's outputs, for the way there or the way back."""
        if schema not in self.decodings:
            raise unknown_kind(self.decodings, schema)
        return self.decodings[schema]

    def program(self, schema: Schema, names: tuple[str, ...]) -> Run:
        """A TorchScript method, which does its own tiling."""
        method = getattr(self.module, method_name(names[0]))
        order = self.methods[method_name(names[0])]

        def call(x: torch.Tensor) -> dict[str, torch.Tensor]:
            found = method(x)
            return dict(zip(order, found if isinstance(found, list) else [found], strict=True))

        def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
            return call_script(call, [inputs["x"]], self.device)

        return Program(("x",), run, SPARSE_TILE)

    def graph(self, schema: Schema | None = None) -> Graph:
        """TorchScript holds no graph. Raises ArtifactError."""
        raise ArtifactError("a TorchScript file holds no graph. Save the model as .safetensors to keep it.")


SPARSE_TILE = 2**30


def read(path: Path, device: str) -> tuple[ScriptPrograms, dict[str, Any]]:
    """The programs and the header of a file. Raises ArtifactError before anything in a foreign file is used."""
    facts = read_header(_extra_file(path), path)
    try:
        module = torch.jit.load(str(path), map_location=device)
    except RuntimeError as error:
        raise ArtifactError(f"{path} is damaged: TorchScript cannot read it ({error})") from None
    return ScriptPrograms(module, facts, device), facts


def _extra_file(path: Path) -> bytes:
    """The header's text, from an archive whose checksums are right."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise ArtifactError(f"{path} is damaged: the checksum of {damaged} is wrong")
            names = [name for name in archive.namelist() if name.endswith(f"/extra/{HEADER}")]
            if not names:
                raise ArtifactError(f"{path} was not written by tensorml: it has no {HEADER}")
            return archive.read(names[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{path} is damaged or not a TorchScript file: {error}") from None
