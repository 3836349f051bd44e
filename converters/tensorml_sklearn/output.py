"""What scikit-learn makes of a result: labels of classes, DataFrames and sparse matrices, as it is configured."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils._set_output import _auto_wrap_is_configured, _get_output_config  # there since scikit-learn 1.2

from tensorml.converter import unsupported
from tensorml.frames import Frame
from tensorml.graph import Input, Op
from tensorml.ops import ArgMax, Label, Reshape, Sparse, Table, Untyped


def labelled(scores: Op, classes: np.ndarray) -> Op:
    """The class of the largest score in each row, the first in a tie. scores: [N, C]."""
    return Label(ArgMax(scores), np.asarray(classes))


def names_out(model: Any) -> tuple[str, ...] | None:
    """The columns that `transform` returns; None where the model does not know them."""
    try:
        names = model.get_feature_names_out()
    except (AttributeError, ValueError, TypeError):  # TypeError: random projections with n_components="auto"
        return None
    return None if names is None else tuple(map(str, names))


def container(model: Any) -> str | None:
    """The library of the DataFrames that `transform` returns, as `set_output` or the configuration says, or None."""
    if not _auto_wrap_is_configured(model):
        return None
    chosen = _get_output_config("transform", model)["dense"]
    return None if chosen == "default" else chosen


def sparse_arrays() -> bool:
    """Whether scikit-learn is set to return SciPy's sparse arrays in place of its sparse matrices."""
    return get_config().get("sparse_interface", "spmatrix") != "spmatrix"


def contained(model: Any, x: Op | Frame, result: Op) -> Op:
    """What `transform` returned for x, as a Table where the model was set to return DataFrames.

    Source: sklearn.utils._set_output._wrap_data_with_container.
    """
    if isinstance(result, Sparse) and sparse_arrays():
        raise unsupported(
            model, "scikit-learn is set to return sparse arrays", "set_config(sparse_interface='spmatrix')"
        )
    chosen = container(model)
    if chosen is None:
        return result
    names = _required_names(model)
    if isinstance(result, Table) and (result.library, chosen) != ("polars", "pandas"):
        return Table(result.parts, names, chosen, result.indexed)
    if isinstance(result, Table | Sparse):
        kind = "sparse matrix" if isinstance(result, Sparse) else f"{result.library} DataFrame"
        raise unsupported(
            model, f"it makes a {kind} and was set to return {chosen}", "Call set_output(transform='default') on it"
        )
    table = Reshape(result, (1,)) if len(result.shape) == 1 else result
    return Table((table,), names, chosen, _indexed(x))


def _required_names(model: Any) -> tuple[str, ...]:
    names = names_out(model)
    if names is None:
        raise unsupported(
            model,
            "it was set to return DataFrames, but its get_feature_names_out() fails",
            "Call set_output(transform='default') on it",
        )
    return names


def _indexed(x: Op | Frame) -> bool:
    """Whether the rows of x have the labels of the caller's frame: x is what the caller passed."""
    if isinstance(x, Frame):
        return x.indexed
    return isinstance(x.x if isinstance(x, Untyped) else x, Input)
