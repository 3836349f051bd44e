"""Converters for sklearn.feature_selection."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.feature_selection import (
    RFE,
    RFECV,
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectorMixin,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
)
from sklearn.utils import get_tags

from tensorml.converter import Outputs, converter
from tensorml.errors import InputError
from tensorml.frames import OBJECT, OBJECTS, PANDAS, Frame, names_differ, width_differs
from tensorml.graph import Op
from tensorml.ops import Columns, Place, Table, Untyped
from tensorml_sklearn.describe import SPARSE_TRANSFORM
from tensorml_sklearn.output import contained, container
from tensorml_sklearn.pipeline import framed, outputs_of
from tensorml_sklearn.validation import finite

Elimination = RFE | RFECV
SELECTORS = (
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
)
METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


def selector_inverse(model: SelectorMixin, z: Op) -> Op:
    """The selected columns at their places, zeros at the others.

    z: [N, number of selected features], of any dtype; result: [N, F], dtype of z.
    Source: sklearn.feature_selection.SelectorMixin.inverse_transform.
    """
    support = support_of(model)
    z = finite(model, array_of_dtype(z))
    if z.columns != support.sum():
        raise InputError("X has a different shape than during fitting.")
    return Place(z, np.flatnonzero(support), len(support))


@converter(*SELECTORS, inverse=selector_inverse, frames=True)
def selector(model: SelectorMixin, x: Op | Frame) -> Outputs:
    """The selected columns, in their own dtype.

    x: [N, F] of any dtype; result: [N, number of selected features], dtype of x.
    Source: sklearn.feature_selection.SelectorMixin.transform, which reads X with dtype=None; X may hold NaN and
    infinity if the estimator's tag `allow_nan` says so.
    """
    return {"transform": selected(model, x)}


def elimination_steps(model: Elimination) -> list[tuple[str, Any]]:
    """The estimator that was fitted on the features that are left."""
    return [(f"{type(model).__name__} estimator_", model.estimator_)]


@converter(RFE, RFECV, inverse=selector_inverse, steps=elimination_steps, frames=True)
def recursive_elimination(model: Elimination, x: Op | Frame) -> Outputs:
    """The columns that are left, and the methods of the estimator that was fitted on them.

    Source: sklearn.feature_selection.RFE.transform, predict, predict_proba, predict_log_proba, decision_function.
    """
    columns = selected(model, x)
    ((label, estimator),) = elimination_steps(model)
    outputs = outputs_of(estimator, framed(contained(model, x, columns)), label)
    offered = {name: op for name, op in outputs.items() if name.partition("[")[0] in METHODS}
    return offered | {"transform": columns}


def support_of(model: SelectorMixin) -> np.ndarray:
    """Whether each feature is selected. bool [F]."""
    return np.asarray(model.get_support())


def selected(model: SelectorMixin, x: Op | Frame) -> Op:
    """The selected columns of an array; those of a pandas frame as a Table, where the model returns DataFrames."""
    support = np.flatnonzero(support_of(model))
    if isinstance(x, Frame):
        require_columns(model, x)
        if container(model) is not None and x.library == PANDAS:
            return selected_table(x.select([int(i) for i in support]))
        x = x.array()
    x = array_of_dtype(x)
    return Columns(x if get_tags(model).input_tags.allow_nan else finite(model, x), support)


def selected_table(frame: Frame) -> Op:
    """A pandas frame's columns as they are, without a check of what they hold: that is what scikit-learn hands on.

    Source: SelectorMixin.transform, `preserve_X`.
    """
    if frame.nullable or any(column.dtype == OBJECT for column in frame.columns):
        raise InputError(
            "a column that is selected is nullable or does not hold numbers, and passes through unchanged. Convert it, "
            "or call set_output(transform='default')."
        )
    parts = frame.columns if frame.whole is None else (frame.whole,)
    names = frame.names or tuple(map(str, range(len(frame.columns))))
    return Table(parts, names, PANDAS, frame.indexed)


def require_columns(model: SelectorMixin, frame: Frame) -> None:
    """Raise InputError for other columns than those of `fit`. Source: sklearn.utils.validation.validate_data."""
    known = getattr(model, "feature_names_in_", None)
    names = None if known is None else tuple(map(str, known))
    if frame.names is not None and names not in (None, frame.names):
        raise InputError(names_differ(frame.names, names or ()))
    width = getattr(model, "n_features_in_", None)
    if width not in (None, len(frame.columns)):
        raise InputError(width_differs(len(frame.columns), type(model).__name__, width))


def array_of_dtype(x: Op) -> Op:
    """X in the dtype that NumPy gives it. Raises InputError for Python objects, which would stay such."""
    if isinstance(x, Untyped) and x.container == OBJECTS:
        raise InputError("Python objects pass through unchanged. Pass a NumPy array of numbers.")
    return x.x if isinstance(x, Untyped) else x


def of_sparse(model: SelectorMixin) -> str:
    """What becomes of a sparse matrix: it stays one, unless nothing is selected.

    Source: sklearn.feature_selection.SelectorMixin._transform.
    """
    return "csr" if support_of(model).any() else "dense"


SPARSE_TRANSFORM.update(dict.fromkeys((*SELECTORS, RFE, RFECV), of_sparse))
