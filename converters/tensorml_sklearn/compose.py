"""Converters for sklearn.compose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor

from tensorml.converter import Outputs, apply_inverse, converter, fitted_attribute, unsupported
from tensorml.errors import InputError
from tensorml.frames import LIST, OBJECTS, Frame, width_differs
from tensorml.graph import Op
from tensorml.ops import Columns, Reshape, Sparse, Untyped, concat, ravel
from tensorml_sklearn.describe import is_identity
from tensorml_sklearn.pipeline import array_of, beside, nothing, outputs_of, sparse_of, transformed, weighted


def transformer_label(name: str) -> str:
    """How a refusal names a transformer of a ColumnTransformer."""
    return f"ColumnTransformer {name!r}"


def column_transformer_steps(model: ColumnTransformer) -> list[tuple[str, Any]]:
    """The transformers that get columns, under the names that refusals use."""
    return [(transformer_label(name), part) for name, part, _ in _used(model) if not is_identity(part)]


@converter(ColumnTransformer, steps=column_transformer_steps, frames=True, sparse=True)
def column_transformer(model: ColumnTransformer, x: Op | Frame) -> Outputs:
    """Each transformer on its columns, times its weight; the results side by side.

    Whether the result is sparse was decided in `fit`. Source: sklearn.compose.ColumnTransformer.transform, _hstack.
    """
    if isinstance(x, Sparse):
        raise unsupported(model, "it gets a sparse matrix", "Make the step before it dense (sparse_output=False)")
    x = checked_columns(model, x)
    weights = model.transformer_weights or {}
    parts = [
        weighted(part, transformed(part, selected_columns(model, name, x), transformer_label(name)), weights.get(name))
        for name, part, _ in _used(model)
    ]
    if not parts:
        return {"transform": nothing(x)}
    if model.sparse_output_:
        return {"transform": sparse_of(model, [array_of(part) for part in parts])}
    joined = beside(model, parts)
    return {"transform": concat([array_of(part) for part in parts]) if joined is None else joined}


def _used(model: ColumnTransformer) -> list[tuple[str, Any, Any]]:
    """Name, fitted transformer and selection of what is not dropped and gets a column.

    The indices come from `_transformer_to_input_indices`: reading the selection of the remainder warns in 1.6.
    """
    indices = fitted_attribute(model, "_transformer_to_input_indices")
    return [
        (name, part, columns)
        for name, part, columns in model.transformers_
        if not (isinstance(part, str) and part == "drop") and len(indices[name])
    ]


def checked_columns(model: ColumnTransformer, x: Op | Frame) -> Op | Frame:
    """x, if it has the columns that are needed, as rows of objects if it is a list.

    Columns are found by name if the model was fitted on a frame and gets one, else by position.
    Source: sklearn.compose.ColumnTransformer.transform; _check_X for lists.
    """
    for name, part, columns in _used(model):
        if isinstance(columns, str | int | np.integer):
            raise unsupported(
                part,
                f"it gets the column {columns!r} as a one-dimensional array, because it was selected by a scalar",
                f"Select it by a list: [{columns!r}]",
            ).within(transformer_label(name))
        if not _by_name(model, x) and any(isinstance(column, str) for column in _listed(columns)):
            raise InputError("Specifying the columns using strings is only supported for dataframes.")
    known = fitted_attribute(model, "n_features_in_")
    if _by_name(model, x):
        _require_names(model, x)
    elif (width := len(x.columns) if isinstance(x, Frame) else x.columns) != known:
        raise InputError(width_differs(width, "ColumnTransformer", known))
    return Untyped(x.x, OBJECTS) if isinstance(x, Untyped) and x.container == LIST else x


def _listed(columns: Any) -> Sequence[Any]:
    """The items of a selection, the bounds of a slice."""
    if isinstance(columns, slice):
        return [columns.start, columns.stop]
    return list(getattr(columns, "data", columns) if isinstance(getattr(columns, "data", None), list) else columns)


def _by_name(model: ColumnTransformer, x: Op | Frame) -> bool:
    return isinstance(x, Frame) and x.library != OBJECTS and hasattr(model, "feature_names_in_")


def _require_names(model: ColumnTransformer, x: Op | Frame) -> None:
    given = set(x.names or ()) if isinstance(x, Frame) else set()
    names = fitted_attribute(model, "feature_names_in_")
    needed = {names[i] for name, _, _ in _used(model) for i in _indices(model, name)}
    if needed - given:
        raise InputError(f"columns are missing: {needed - given}")


def _indices(model: ColumnTransformer, name: str) -> list[int]:
    return [int(i) for i in fitted_attribute(model, "_transformer_to_input_indices")[name]]


def selected_columns(model: ColumnTransformer, name: str, x: Op | Frame) -> Op | Frame:
    """The columns of one transformer, in the order of its selection."""
    indices = _indices(model, name)
    if isinstance(x, Frame):
        names = getattr(model, "feature_names_in_", None)
        return x.select(indices if names is None else [x.position(names[i]) for i in indices])
    if isinstance(x, Untyped):
        return Untyped(Columns(x.x, np.array(indices)), x.container)
    return Columns(x, np.array(indices))


REGRESSOR, TRANSFORMER = "TransformedTargetRegressor regressor_", "TransformedTargetRegressor transformer_"


def target_steps(model: TransformedTargetRegressor) -> list[tuple[str, Any]]:
    """The regressor. (The transformer only ever goes back.)"""
    return [(REGRESSOR, fitted_attribute(model, "regressor_"))]


@converter(TransformedTargetRegressor, steps=target_steps, frames=True, sparse=True)
def transformed_target(model: TransformedTargetRegressor, x: Op | Frame) -> Outputs:
    """The way back of what the regressor predicts. [N], or [N, K] if it was fitted on such targets.

    Source: sklearn.compose.TransformedTargetRegressor.predict.
    """
    predicted = outputs_of(fitted_attribute(model, "regressor_"), x, REGRESSOR)["predict"]
    columns = Reshape(predicted, (1,)) if len(predicted.shape) == 1 else predicted
    result = apply_inverse(fitted_attribute(model, "transformer_"), columns, step=TRANSFORMER)
    alone = model._training_dim == 1 and len(result.shape) == 2 and result.columns == 1
    return {"predict": ravel(result) if alone else result}
