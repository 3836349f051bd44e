"""Converters for the encoders of labels y: LabelEncoder and LabelBinarizer. Their input is one column of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.preprocessing import LabelBinarizer, LabelEncoder

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.errors import InputError
from tensorml.frames import OBJECT, OBJECTS, Frame
from tensorml.graph import Const, Op
from tensorml.ops import (
    Abs,
    And,
    ArgMax,
    Columns,
    Equal,
    Label,
    Min,
    Or,
    Position,
    Require,
    Sparse,
    TextCode,
    Trunc,
    Untyped,
    Where,
    cast,
    full,
    ravel,
)
from tensorml_sklearn.describe import is_multilabel
from tensorml_sklearn.output import sparse_arrays
from tensorml_sklearn.validation import finite

INT64, FLOAT64 = np.dtype(np.int64), np.dtype(np.float64)
NUMBERS = "biuf"
TOO_LARGE = 2.0**63  # no int64, so that scikit-learn calls the labels continuous
UNSEEN = "y contains previously unseen labels."
CONTINUOUS = "y holds fractions, NaN or infinities: continuous target data is not supported with label binarization."


def classes_of(model: LabelEncoder | LabelBinarizer) -> np.ndarray:
    """The labels, ascending: numbers or strings. Raises UnsupportedModelError for other Python objects."""
    classes = np.asarray(fitted_attribute(model, "classes_"))
    text = classes.dtype.kind == "U" or all(isinstance(label, str) for label in classes.tolist())
    if not text and (classes.dtype.kind not in NUMBERS or classes.dtype == np.uint64):
        raise unsupported(
            model,
            f"its labels are of dtype {classes.dtype} and not all strings",
            "Fit it on strings, or on numbers other than uint64",
        )
    return classes


def column_of(model: Any, y: Op | Frame) -> Op:
    """The column of labels, [N, 1]: of strings where the model's are such, else of numbers."""
    column = y.columns[0] if isinstance(y, Frame) else y
    if isinstance(column, Untyped) and column.container == OBJECTS:
        raise InputError("y is an array of Python objects. Convert it: np.array(y.tolist()).")
    column = column.x if isinstance(column, Untyped) else column
    text = classes_of(model).dtype.kind not in NUMBERS
    if text != (column.dtype == OBJECT) or column.dtype == np.uint64:
        expected = "strings" if text else "numbers other than uint64"
        raise InputError(f"{type(model).__name__} was fitted on {expected}; y holds {column.dtype}.")
    return column


def position(y: Op, classes: np.ndarray) -> Op:
    """The place of each label among the classes, -1 where it is none of them. y: [N, 1]; result: int64 [N, 1].

    Numbers are compared in the dtype that NumPy promotes to; NaN is equal to NaN.
    """
    if y.dtype == OBJECT:
        return TextCode(y, classes.astype(OBJECT))
    common = np.result_type(y.dtype, classes.dtype)
    common = np.promote_types(common, np.float32) if common.kind == "f" else INT64
    keys = classes.astype(common)
    known = keys[~np.isnan(keys)] if common.kind == "f" else keys
    nan = len(known) if len(known) < len(keys) else -1
    return Position(cast(y, common), known, np.array([0, len(known)]), np.array([nan]))


def encoder_inverse(model: LabelEncoder, z: Op) -> Op:
    """The label at each place. z: integers [N, 1]; result: [N]. Source: LabelEncoder.inverse_transform."""
    classes = classes_of(model)
    place = z.x if isinstance(z, Untyped) else z
    if place.columns != 1 or place.dtype.kind not in "biu" or place.dtype == np.uint64:
        raise InputError(f"y should be a 1d array of integers, got {place.dtype} in {place.columns} columns.")
    place = cast(place, INT64)
    place = Require(place, And(place >= 0, place < len(classes)), UNSEEN)
    return Label(ravel(place), classes)


@converter(LabelEncoder, inverse=encoder_inverse, frames=True)
def label_encoder(model: LabelEncoder, y: Op | Frame) -> Outputs:
    """The place of each label among the classes; others are refused. y: [N, 1]; result: int64 [N].

    Numbers are first converted to the dtype of the classes, so that 1.5 is the class 1 where classes are integers.
    Source: sklearn.preprocessing.LabelEncoder.transform, sklearn.utils._encode._encode.
    """
    classes, column = classes_of(model), column_of(model, y)
    if column.dtype != OBJECT:
        column = finite(model, column) if classes.dtype.kind in "iu" else column
        column = cast(column, classes.dtype)
    place = position(column, classes)
    return {"transform": ravel(Require(place, place >= 0, UNSEEN))}


def binarizer_inverse(model: LabelBinarizer, z: Op, *, threshold: float | None = None) -> Op:
    """The labels that scores stand for: by a threshold, or for three and more classes the largest.

    z: [N, 1] or [N, 2] for two classes, else [N, C]; result: [N], or for indicators [N, C] integers.
    Source: sklearn.preprocessing.LabelBinarizer.inverse_transform.
    """
    z = z.x if isinstance(z, Untyped) else z
    z = cast(z, INT64) if z.dtype.kind == "b" else z
    classes = np.asarray(fitted_attribute(model, "classes_"))
    if model.y_type_ == "multiclass":
        if z.columns == 1:
            raise InputError(f"the scores of {len(classes)} classes are in one column.")
        return Label(Min(ArgMax(z), Const(np.asarray(len(classes) - 1))), classes_of(model))
    above = cast(exceeds(z, (model.pos_label + model.neg_label) / 2.0 if threshold is None else threshold), INT64)
    return indicated(model, z, above) if is_multilabel(model) else chosen(model, above)


def exceeds(z: Op, threshold: float) -> Op:
    """Whether z > threshold, integers as float64. Raises InputError where the dtype of the threshold would matter."""
    z = z if z.dtype.kind == "f" else cast(z, FLOAT64)
    if float(z.dtype.type(threshold)) != threshold:
        raise InputError(f"threshold={threshold!r} is no {z.dtype}. Pass scores of float64.")
    return z > float(threshold)


def chosen(model: LabelBinarizer, above: Op) -> Op:
    """The label of one of at most two classes. above: int64 [N, 1], or [N, 2], of which the second counts."""
    classes = classes_of(model)
    if above.columns > 2 or (above.columns == 2 and len(classes) == 1):
        raise InputError(f"output_type='binary', but y has {above.columns} columns.")
    if len(classes) == 1:
        return Label(full(above, (), 0, INT64), np.asarray(classes[0])[None])
    return Label(ravel(Columns(above, np.array([above.columns - 1]))), classes)


def indicated(model: LabelBinarizer, z: Op, above: Op) -> Op:
    """The matrix of 0 and 1; sparse if `fit` got such."""
    width = len(model.classes_)
    if z.columns != width:
        raise InputError("The number of class is not equal to the number of dimension of y.")
    if model.sparse_input_ and sparse_arrays():
        raise unsupported(
            model, "scikit-learn is set to return sparse arrays", "set_config(sparse_interface='spmatrix')"
        )
    result = cast(above, model.inverse_transform(np.zeros((1, width), z.dtype)).dtype)
    return Sparse(result) if model.sparse_input_ else result


@converter(LabelBinarizer, inverse=binarizer_inverse, frames=True)
def label_binarizer(model: LabelBinarizer, y: Op | Frame) -> Outputs:
    """`pos_label` in the column of each label's class, `neg_label` elsewhere; for two classes the second's column.

    y: [N, 1], or for indicators [N, C] of 0 and 1; result: integers [N, C]. A label that is no class has no column,
    with three and more classes; with fewer it is refused, for the shape then depends on the other rows.
    Source: sklearn.preprocessing.LabelBinarizer.transform, label_binarize.
    """
    if is_multilabel(model):
        matrix = y.matrix() if isinstance(y, Frame) else y
        for value in (model.neg_label, model.pos_label):  # the source writes them into y
            number_of(model, value, matrix.dtype, "y")
        on, sample = indicators(matrix), np.zeros((1, len(model.classes_)), matrix.dtype)
    else:
        column = column_of(model, y)
        on, sample = marked(model, column), sample_of(classes_of(model), column.dtype)
    dtype = INT64 if model.sparse_output else model.transform(sample).dtype
    neg, pos = (number_of(model, value, dtype) for value in (model.neg_label, model.pos_label))
    binary = Where(on, Const(pos), Const(neg))
    return {"transform": Sparse(binary) if model.sparse_output else binary}


def indicators(y: Op) -> Op:
    """Where a matrix of 0 and 1 is 1. Raises InputError for others, of which the meaning depends on the batch."""
    y = y.x if isinstance(y, Untyped) else y
    if y.dtype.kind == "b":
        return y
    one, zero = (Const(np.array(value, y.dtype)) for value in (1, 0))
    return Equal(Require(y, Or(Equal(y, zero), Equal(y, one)), "y is no matrix of 0 and 1."), one)


def marked(model: LabelBinarizer, y: Op) -> Op:
    """Which columns a label is marked in. y: [N, 1]; result: bool [N, C], [N, 1] for one or two classes."""
    classes = classes_of(model)
    if y.dtype.kind == "f":
        y = Require(y, And(Equal(y, Trunc(y)), Abs(cast(y, FLOAT64)) < TOO_LARGE), CONTINUOUS)
    place = position(y, classes)
    if len(classes) > 2:
        return Equal(place, Const(np.arange(len(classes))))
    words = "y contains labels that the binarizer of at most two classes does not know."
    place = Require(place, place >= 0, words)
    return Equal(place, Const(np.array([1])))


def sample_of(classes: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """One label in a dtype. Raises InputError if the labels do not fit it: the source would wrap them."""
    if dtype == OBJECT:
        return classes[:1]
    if dtype.kind in "iu" and (classes.astype(dtype) != classes).any():
        raise InputError(f"not all labels of the binarizer fit {dtype}. Convert y: y.astype('int64').")
    return np.asarray(classes[:1]).astype(dtype)


def number_of(model: LabelBinarizer, value: Any, dtype: np.dtype, what: str = "its result") -> np.ndarray:
    """`neg_label` or `pos_label` in the dtype of the result. Raises UnsupportedModelError if it does not fit."""
    if int(np.array([value]).astype(dtype)[0]) != value:
        raise unsupported(model, f"{value} does not fit {dtype}, the dtype of {what}", "Pass y as int64")
    return np.array(value, dtype)
