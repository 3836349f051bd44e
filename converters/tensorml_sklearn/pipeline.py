"""Converters for sklearn.pipeline, and what a step inside another model hands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
from sklearn.feature_selection import SelectorMixin
from sklearn.pipeline import FeatureUnion, Pipeline

from tensorml.converter import Outputs, apply, apply_inverse, converter, find, unsupported
from tensorml.errors import InputError
from tensorml.frames import LIST, OBJECT, OBJECTS, PANDAS, Frame, names_differ, width_differs
from tensorml.graph import Const, Op
from tensorml.ops import Columns, Sparse, Table, Untyped, concat, full
from tensorml_sklearn.describe import describe_step, is_identity
from tensorml_sklearn.output import contained, container, names_out

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "score_samples", "transform")
WITH_ARGUMENTS = ("predict", "predict_proba", "predict_log_proba")
NONE: Mapping[str, Any] = MappingProxyType({})


def step_label(name: str) -> str:
    """How a refusal names a step of a pipeline."""
    return f"Pipeline step {name!r}"


def member_label(name: str) -> str:
    """How a refusal names a transformer of a union."""
    return f"FeatureUnion {name!r}"


def pipeline_steps(model: Pipeline) -> list[tuple[str, Any]]:
    """The models in a pipeline, under the names that refusals use."""
    return [(step_label(name), step) for name, step in model.steps if not is_identity(step)]


def union_steps(model: FeatureUnion) -> list[tuple[str, Any]]:
    """The transformers in a union, under the names that refusals use."""
    members = model.transformer_list
    return [(member_label(name), member) for name, member in members if member != "drop" and not is_identity(member)]


def transformed(model: Any, x: Op | Frame, step: str) -> Op | Frame:
    """What a step hands on: a Frame where it returns a DataFrame, else an operator (Sparse where it is sparse)."""
    if is_identity(model):
        passed = as_output(model, x) if container(model) else x
        return framed(contained(model, x, passed)) if isinstance(passed, Op) else passed
    return framed(outputs_of(model, x, step)["transform"])


def outputs_of(model: Any, x: Op | Frame, step: str, options: Mapping[str, Any] = NONE) -> Outputs:
    """The outputs of a model inside another one, after the check of its columns, for these options of its methods."""
    x = checked(model, x)
    if not isinstance(x, Sparse) or hasattr(model, "predict") or not hasattr(model, "transform"):
        return apply(model, x, step=step, options=options)
    outputs = apply(model, x, step=step)
    if isinstance(model, SelectorMixin):
        return outputs | {"transform": Sparse(outputs["transform"])}
    if find(model).sparse:
        return outputs
    raise unsupported(
        model,
        "it gets a sparse matrix, which it transforms in another way than dense rows",
        "Make the step before it dense (sparse_output=False, or sparse_threshold=0)",
    ).within(step)


def checked(model: Any, x: Op | Frame) -> Op | Frame:
    """x, if its columns are those that the model was fitted on.

    Source: sklearn.utils.validation.validate_data, which each step calls for itself.
    """
    if not isinstance(x, Frame):
        return x
    known = describe_step(model)
    if known.by_name:
        return x
    if x.names is not None and known.feature_names not in (None, x.names):
        raise InputError(names_differ(x.names, known.feature_names or ()))
    if known.n_features not in (None, len(x.columns)):
        raise InputError(width_differs(len(x.columns), type(model).__name__, known.n_features))
    return x


def framed(result: Op) -> Op | Frame:
    """A Table as the Frame that the next step gets; any other operator as it is."""
    if not isinstance(result, Table):
        return result
    columns = tuple(Columns(part, np.array([k])) for part in result.parts for k in range(part.columns))
    uniform = len({part.dtype for part in result.parts}) == 1 and result.dtype != OBJECT
    whole = concat(result.parts) if uniform else None
    return Frame(result.names, columns, whole, result.library, indexed=result.indexed)


def as_output(model: Any, x: Op | Frame) -> Op:
    """What the caller gets for a step's input that is returned as it is."""
    if isinstance(x, Untyped) and x.container in (LIST, OBJECTS):
        raise InputError("Python objects pass through unchanged. Pass a NumPy array of numbers.")
    if not isinstance(x, Frame):
        return x
    if x.nullable or x.names is None or not x.numeric:
        raise InputError(
            "a DataFrame passes through unchanged, of which some columns are nullable, not numbers, or not named by "
            "strings. Pass X.to_numpy(), or columns of NumPy dtypes."
        )
    parts = (x.whole,) if x.whole is not None else tuple(column for column in x.columns if column is not None)
    return Table(parts, x.names, x.library, x.indexed)


def back(model: Pipeline, z: Op) -> Op:
    """The way back through all steps. Source: sklearn.pipeline.Pipeline.inverse_transform."""
    for name, step in reversed(model.steps):
        if not is_identity(step):
            z = apply_inverse(step, z, step=step_label(name))
    return z


def last_step(model: Pipeline) -> Any:
    """The model that the options of a pipeline's methods go to, None if it only returns its input."""
    last = model.steps[-1][1]
    return None if is_identity(last) else last


@converter(
    Pipeline,
    inverse=back,
    steps=pipeline_steps,
    frames=True,
    sparse=True,
    inner=last_step,
    passing=WITH_ARGUMENTS,
)
def pipeline(model: Pipeline, x: Op | Frame, *, passed: Mapping[str, Any] = NONE) -> Outputs:
    """Each step on what the one before it returned; the methods of the last one, which gets their options.

    `transform_input` and `memory` matter to `fit` alone. Source: sklearn.pipeline.Pipeline.
    """
    *before, (name, last) = model.steps
    for label, step in before:
        x = transformed(step, x, step_label(label))
    if is_identity(last):
        return {"transform": as_output(last, transformed(last, x, step_label(name)))}
    outputs = outputs_of(last, x, step_label(name), passed)
    return {output: op for output, op in outputs.items() if _is_offered(output)}


def _is_offered(output: str) -> bool:
    """Whether a pipeline has an output of its last step, and passes the arguments on that select it."""
    method = output.partition("[")[0].partition("(")[0]
    return method in METHODS and ("(" not in output or method in WITH_ARGUMENTS)


@converter(FeatureUnion, steps=union_steps, frames=True, sparse=True)
def feature_union(model: FeatureUnion, x: Op | Frame) -> Outputs:
    """The results of all transformers side by side, each times its weight; sparse if one of them is.

    Source: sklearn.pipeline.FeatureUnion.transform, _hstack.
    """
    weights = model.transformer_weights or {}
    parts = [
        weighted(member, transformed(member, x, member_label(name)), weights.get(name))
        for name, member in model.transformer_list
        if member != "drop"
    ]
    if not parts:
        return {"transform": nothing(x)}
    joined = beside(model, parts)
    if joined is not None:
        return {"transform": joined}
    arrays = [array_of(part, lists=True) for part in parts]
    sparse = any(isinstance(part, Sparse) for part in parts)
    return {"transform": sparse_of(model, arrays) if sparse else concat(arrays)}


def beside(model: Any, parts: Sequence[Op | Frame]) -> Table | None:
    """The parts as one Table, if the model returns DataFrames and all of them are such; None if not.

    Each column keeps its dtype. Source: sklearn.utils._set_output.PandasAdapter.hstack.
    """
    chosen = container(model)
    frames = [part for part in parts if isinstance(part, Frame) and part.library == chosen]
    if chosen is None or len(frames) < len(parts):
        return None
    if len({frame.indexed for frame in frames}) > 1:
        raise unsupported(
            model,
            "some of its transformers keep the row labels of a DataFrame and some number the rows",
            "Call set_output(transform='pandas') on all steps, or on none",
        )
    tables = [as_output(model, frame) for frame in frames]
    columns = tuple(part for table in tables if isinstance(table, Table) for part in table.parts)
    names = names_out(model) or tuple(f"{i}" for i in range(sum(part.columns for part in columns)))
    return Table(columns, names, chosen, frames[0].indexed)


def array_of(part: Op | Frame, *, lists: bool = False) -> Op:
    """What NumPy makes of one of several results side by side. lists: a list is not yet an array of objects."""
    if isinstance(part, Frame):
        return part.array()
    if isinstance(part, Untyped) and not (lists and part.container == LIST):
        as_output(None, part)
    return part.x if isinstance(part, Untyped | Sparse) else part


def sparse_of(model: Any, arrays: Sequence[Op]) -> Sparse:
    """The columns of all arrays as one sparse matrix."""
    joined = concat(arrays)
    if joined.dtype == np.float16:
        raise unsupported(model, "its result is a sparse matrix of float16", "Use float32 transformers")
    return Sparse(joined)


def nothing(x: Op | Frame) -> Op:
    """What is left where all columns are dropped: [N, 0] float64."""
    numbers = [column for column in x.columns if column.dtype != OBJECT] if isinstance(x, Frame) else [x]
    if not numbers:
        raise InputError("no column holds numbers. Encode them before the model, or drop them.")
    return full(numbers[0], (0,), 0.0, np.dtype(np.float64))


def weighted(model: Any, part: Op | Frame, weight: Any) -> Op | Frame:
    """A transformer's result times its weight, in the dtype that NumPy's rules give; as it is without one.

    Source: sklearn.pipeline._transform_one.
    """
    if weight is None:
        return part
    if not isinstance(weight, Real | np.number) or isinstance(weight, bool):
        raise unsupported(model, f"its weight is {weight!r}", "Use a number in transformer_weights")
    if isinstance(part, Sparse):
        if not np.isfinite(float(weight)):
            raise unsupported(model, f"its weight is {weight!r} and its result sparse", "Use a finite weight")
        return Sparse(_scaled(part.x, weight))
    if isinstance(part, Untyped):
        raise InputError("Python objects pass through and are weighted. Pass a NumPy array of numbers.")
    return _scaled_frame(model, part, weight) if isinstance(part, Frame) else _scaled(part, weight)


def _scaled(x: Op, weight: Any) -> Op:
    """X times a number. A NumPy scalar promotes as an array of its dtype, a Python number does not."""
    return x * (Const(np.asarray(weight)) if isinstance(weight, np.generic) else weight)


def _scaled_frame(model: Any, frame: Frame, weight: Any) -> Frame:
    """A pandas frame times a number, which is a Python number to pandas: each column keeps its dtype if it can."""
    if frame.library != PANDAS or frame.nullable or not frame.numeric:
        raise unsupported(
            model,
            "it returns a DataFrame that is not pandas' or has nullable columns or text, and transformer_weights "
            "multiply it by rules of the DataFrame's own",
            "Pass NumPy arrays, or call set_output(transform='default') and leave the weight out",
        )
    number = weight.item() if isinstance(weight, np.generic) else weight
    scaled = tuple(_scaled(column, number) for column in frame.columns)
    whole = None if frame.whole is None else _scaled(frame.whole, number)
    return Frame(frame.names, scaled, whole, PANDAS, indexed=frame.indexed)
