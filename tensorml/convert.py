"""convert(): a fitted model as a graph, through the passes, on an executor."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from tensorml.converter import (
    Description,
    Model,
    Outputs,
    apply,
    apply_inverse,
    copied,
    find,
    home,
    library,
    options_back,
    options_of,
    taken,
)
from tensorml.errors import UnsupportedModelError, qualified_name
from tensorml.executors.base import Executor, choose, executor_class
from tensorml.frames import ARRAY, OBJECT, PANDAS, Schema
from tensorml.graph import Graph
from tensorml.inputs import as_column, read
from tensorml.model import Source, TensorModel, parse
from tensorml.ops import Label, LabelColumns
from tensorml.passes import EXACT, FAST, optimize
from tensorml.programs import GraphPrograms, made_by_host, numeric

Precision = Literal["source", "fast"]


def convert(
    model: Model,
    X: Any = None,
    *,
    executor: str | Executor = "auto",
    device: str | None = None,
    precision: Precision = "source",
    memory: int | None = None,
) -> TensorModel:
    """The fitted model as a tensor program with the same inference methods and the same results.

    model: any fitted estimator or pipeline of a supported library; it is copied, so later changes to it do not matter.
    X: rows to learn the kind of input from (a DataFrame with columns of several dtypes, a model that does not know
        its number of features); otherwise float64 columns are assumed, and other kinds are prepared on their first use.
    executor: a name (`tensorml.executors()` lists them), an Executor with its options, or "auto".
    device: where the executor runs: "cpu", "cuda", "cuda:1"; None is the executor's default.
    precision: "source" keeps the source's arithmetic; "fast" lets passes reorder sums, within rounding.
    memory: the bytes a call may take beyond its input and output; 256 MiB by default.

    Raises UnsupportedModelError for what cannot be reproduced, naming step, class, option and what to do;
    NotFittedError; MissingDependencyError.
    """
    if precision not in ("source", "fast"):
        raise ValueError(f"precision is 'source' or 'fast', not {precision!r}")
    program = make_executor(executor, device, memory)
    find(model)
    own = copied(model)
    description = describe(own)
    passes = EXACT if precision == "source" else (*EXACT, *FAST)

    def specialize(schema: Schema) -> Graph:
        if schema.inverse:
            back = apply_inverse(own, schema.inputs(), options=dict(schema.options))
            return optimize(Graph({"inverse_transform": back}), passes)
        outputs = apply(own, schema.inputs(), options=dict(schema.options))
        require_numbers(own, outputs)
        return optimize(Graph(outputs), passes)

    schema = starting_schema(model, description, X)
    graph = specialize(schema)
    program = program.calibrated(X, schema, made_by_host(graph))
    require_rules(model, numeric(graph), program)
    program = program.prepared(numeric(graph))
    description = replace(description, options=options_by_method(own, graph))
    return TensorModel(GraphPrograms({schema: graph}, program, specialize), schema, description, source_of(model))


def options_by_method(model: Model, graph: Graph) -> dict[str, dict[str, Any]]:
    """For each method the options that make another graph, those that the source's method takes, with defaults."""
    options, back = options_of(model), options_back(model)
    given = {"inverse_transform": dict(back)} if back and hasattr(model, "inverse_transform") else {}
    if not options:
        return given
    methods = dict.fromkeys(parse(name)[0] for name in graph.outputs)
    return given | {method: taken(model, method, options) for method in methods}


def require_numbers(model: Model, outputs: Outputs) -> None:
    """Raise UnsupportedModelError for a result that is an array of objects, other than labels by their index."""
    for name, op in outputs.items():
        if op.dtype == OBJECT and not isinstance(op, Label | LabelColumns):
            raise UnsupportedModelError(
                model, f"{name} returns an array of objects", "Convert it with the encoder that reads its result"
            )


def require_rules(model: Model, graph: Graph, executor: Executor) -> None:
    """Raise UnsupportedModelError if the executor does not run the graph."""
    refusal = executor.refusal(graph)
    if refusal is not None:
        raise UnsupportedModelError(model, *refusal)


def make_executor(executor: str | Executor, device: str | None, memory: int | None) -> Executor:
    """The executor with its options. Raises ValueError for an unknown name or an option that it does not have."""
    given = isinstance(executor, Executor)
    cls = type(executor) if given else executor_class(choose(device) if executor == "auto" else executor)
    options: dict[str, Any] = {} if memory is None else {"memory": memory}
    if device is not None and "device" in inspect.signature(cls).parameters:
        options["device"] = device
    elif device not in (None, "cpu"):
        raise ValueError(f"the executor '{cls.name}' runs on the CPU only, not on {device!r}")
    return replace(executor, **options) if given else cls(**options)


def describe(model: Model) -> Description:
    """What the model says about itself, by the converter module of the library that its class or an ancestor is of."""
    root = home(type(model))
    if root is None:
        return Description(getattr(model, "n_features_in_", None), invertible=hasattr(model, "inverse_transform"))
    return library(root).describe(model)


def starting_schema(model: Model, description: Description, X: Any) -> Schema:
    """The kind of input to convert for first: that of X, else float64 and object columns under the names of the fit."""
    if X is not None:
        X = as_column(X) if description.one_dimensional else X
        schema = read(X, objects=description.objects).schema
        return schema if description.by_name else schema.plain
    if description.n_features is None:
        raise UnsupportedModelError(
            model, "it does not know its number of features", "Pass a few rows: convert(model, X)"
        )
    names = description.feature_names if description.by_name else None
    container = ARRAY if names is None and not description.categorical else PANDAS
    dtypes = (OBJECT if i in description.categorical else np.dtype(np.float64) for i in range(description.n_features))
    return Schema(tuple(dtypes), names, container=container)


def source_of(model: Model) -> Source:
    """The model's class, library and the library's version."""
    from importlib.metadata import PackageNotFoundError, version

    root = type(model).__module__.partition(".")[0]
    distribution = {"sklearn": "scikit-learn"}.get(root, root)
    try:
        return Source(qualified_name(model), root, version(distribution))
    except PackageNotFoundError:
        return Source(qualified_name(model), root, "unknown")
