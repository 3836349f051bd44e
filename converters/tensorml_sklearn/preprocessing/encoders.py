"""Converters for the encoders of categories: OneHotEncoder, OrdinalEncoder, TargetEncoder."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.errors import InputError
from tensorml.frames import OBJECT, Frame
from tensorml.graph import Const, Op
from tensorml.ops import (
    ArgMax,
    Columns,
    Equal,
    IsNaN,
    LabelColumns,
    Not,
    OneHot,
    ReduceSum,
    Require,
    Reshape,
    Sparse,
    Take,
    Untyped,
    Where,
    cast,
    concat,
    full,
)
from tensorml_sklearn.categories import INT64, is_nan, positions
from tensorml_sklearn.validation import finite

INFREQUENT = "infrequent_sklearn"


def known_positions(model: OneHotEncoder | OrdinalEncoder, x: Op | Frame) -> Op:
    """The positions of the input's values, refused if one is no category and the encoder raises for it. int64 [N, F].

    Source: sklearn.preprocessing._encoders._BaseEncoder._transform.
    """
    place = positions(model, x)
    if model.handle_unknown != "error":
        return place
    words = (
        "Found unknown categories in column {} during transform; the encoder was fitted with handle_unknown='error'."
    )
    for i in range(place.columns):
        place = Require(place, Columns(place, np.array([i])) >= 0, words.format(i))
    return place


def grouped_codes(
    model: OneHotEncoder | OrdinalEncoder, ignored: dict[int, int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """What the encoder makes of each position, the last row of an unknown value: codes [K + 1, F], and their validity.

    Source: sklearn.preprocessing._encoders._BaseEncoder._map_infrequent_categories, which is called for it.
    """
    sizes = np.array([len(known) for known in fitted_attribute(model, "categories_")])
    codes = np.repeat(np.arange(sizes.max(initial=0) + 1)[:, None], len(sizes), axis=1)
    valid = codes < sizes
    codes[~valid] = 0
    valid[-1] = False
    codes[-1] = 0
    model._map_infrequent_categories(codes, valid, ignored)
    return codes, valid


def looked_up(place: Op, table: np.ndarray) -> Op:
    """A table's entries at positions. place: int64 [N, F], -1 for the last row; table: [K + 1, F]. Result: [N, F]."""
    rows, width = table.shape
    row = Where(place < 0, Const(np.asarray(rows - 1)), place)
    return Take(Const(np.ascontiguousarray(table).reshape(-1)), row * width + np.arange(width))


def number_dtype(model: Any) -> np.dtype:
    """The dtype of the result. Raises UnsupportedModelError if it is none of numbers."""
    dtype = np.dtype(model.dtype)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise unsupported(model, f"dtype={model.dtype!r} does not hold numbers", "Fit it with a dtype of numbers")
    return dtype


def one_hot_encoder_inverse(model: OneHotEncoder, z: Op) -> Op:
    """The category of the largest column among each feature's own; what was dropped, or None, for a row of zeros.

    z: [N, columns of transform]; result: [N, F], the common dtype of the categories.
    Source: sklearn.preprocessing.OneHotEncoder.inverse_transform. There a None makes an array of objects of numbers:
    that is refused here.
    """
    sizes = list(map(int, model._n_features_outs))
    if z.columns != sum(sizes):
        raise InputError(f"Shape of the passed X data is not correct. Expected {sum(sizes)} columns, got {z.columns}.")
    z = finite(model, z.x if isinstance(z, Untyped) else z)
    z = cast(z, INT64) if z.dtype.kind == "b" else z
    all_values = [np.asarray(model._compute_transformed_categories(i, remove_dropped=False)) for i in range(len(sizes))]
    dtype = np.result_type(*(values.dtype for values in all_values))
    index: list[Op] = []
    classes: list[np.ndarray] = []
    for i, (start, size) in enumerate(zip(np.cumsum([0, *sizes[:-1]]), sizes, strict=True)):
        values, at_zero = inverse_values(model, i, all_values[i], dtype)
        part = Columns(z, np.arange(start, start + size))
        index.append(one_hot_index(part, len(values), i, at_zero=at_zero) if size else full(z, (1,), 0, INT64))
        classes.append(values)
    return labels_of(concat(index), tuple(classes))


def inverse_values(model: OneHotEncoder, i: int, values: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, bool]:
    """What the columns of feature i stand for, and, if the second result says so, behind them what zeros stand for.

    values: the categories of the feature after grouping.
    """
    kept = np.asarray(model._remove_dropped_categories(values, i)).astype(dtype)
    dropped: Any = None if model._drop_idx_after_grouping is None else model._drop_idx_after_grouping[i]
    grouped = model._infrequent_enabled and model._infrequent_indices[i] is not None
    own = np.asarray(model.categories_[i])
    if not len(kept):
        return own[[dropped]].astype(dtype), False
    if model.handle_unknown == "ignore" or (model.handle_unknown in ("infrequent_if_exist", "warn") and not grouped):
        last = own[[dropped]] if dropped is not None else np.array([None], OBJECT)
    else:
        last = values[[dropped]] if dropped is not None else np.array([], dtype)
    if not len(last) or (last[0] is None and dtype != OBJECT):
        return kept, False
    return np.concatenate([kept, last.astype(dtype)]), True


def one_hot_index(part: Op, count: int, i: int, *, at_zero: bool) -> Op:
    """The largest column of a feature, `count` - 1 for a row of zeros if there is a value for it. int64 [N, 1]."""
    empty = Equal(ReduceSum(part), Const(np.zeros((), part.dtype)))
    if at_zero:
        return Where(empty, Const(np.asarray(count - 1)), Reshape(ArgMax(part), (1,)))
    words = (
        f"OneHotEncoder.inverse_transform was given rows where all columns of feature {i} are 0, which have no value"
    )
    return Reshape(ArgMax(Require(part, Not(empty), words + " of the categories' dtype.")), (1,))


def labels_of(index: Op, classes: tuple[np.ndarray, ...]) -> Op:
    """The value that each column's index names: numbers, or labels that the host looks up. index: int64 [N, F]."""
    if classes[0].dtype.kind not in "biuf":
        return LabelColumns(index, classes)
    starts = np.cumsum([0, *map(len, classes[:-1])])
    return Take(Const(np.concatenate(classes)), index + starts)


@converter(OneHotEncoder, inverse=one_hot_encoder_inverse, frames=True)
def one_hot_encoder(model: OneHotEncoder, x: Op | Frame) -> Outputs:
    """1 in the column of each value's category, 0 in the others; sparse with `sparse_output`.

    x: [N, F] of any dtype, or a Frame; result: [N, sum of kept categories], `dtype`. Where the source warns of unknown
    categories, the converted model returns the same and does not warn.
    Source: sklearn.preprocessing.OneHotEncoder.transform.
    """
    dtype, sizes = number_dtype(model), tuple(map(int, model._n_features_outs))
    codes, valid = grouped_codes(model, None)
    if model._drop_idx_after_grouping is not None:
        for i, dropped in enumerate(model._drop_idx_after_grouping):
            if dropped is not None:
                valid[codes[:, i] == dropped, i] = False
                codes[codes[:, i] > dropped, i] -= 1
    place, table, rows = known_positions(model, x), np.where(valid, codes, -1), np.arange(len(codes))[:, None]
    as_they_are = np.array_equal(table, np.where(rows < sizes, rows, -1))
    columns = OneHot(place if as_they_are else looked_up(place, table), sizes, dtype)
    return {"transform": Sparse(columns) if model.sparse_output else columns}


@converter(OrdinalEncoder, inverse=lambda model, z: ordinal_encoder_inverse(model, z), frames=True)
def ordinal_encoder(model: OrdinalEncoder, x: Op | Frame) -> Outputs:
    """The number of each value's category.

    x: [N, F] of any dtype, or a Frame; result: [N, F], `dtype`.
    Source: sklearn.preprocessing.OrdinalEncoder.transform.
    """
    dtype, missing = number_dtype(model), fitted_attribute(model, "_missing_indices")
    codes, valid = grouped_codes(model, missing)
    table = codes.astype(dtype)
    for i, place in missing.items():
        table[codes[:, i] == place, i] = model.encoded_missing_value
    if model.handle_unknown == "use_encoded_value":
        table[~valid] = model.unknown_value
    return {"transform": looked_up(known_positions(model, x), table)}


def ordinal_encoder_inverse(model: OrdinalEncoder, z: Op) -> Op:
    """The category of each number; None for `unknown_value`, "infrequent_sklearn" for the grouped ones.

    z: [N, F]; result: [N, F], the common dtype of the categories, objects where None or the group can stand.
    Source: sklearn.preprocessing.OrdinalEncoder.inverse_transform, where numbers are indices: -1 is the last category,
    and those out of range raise IndexError.
    """
    categories = [np.asarray(known) for known in fitted_attribute(model, "categories_")]
    if z.columns != len(categories):
        raise InputError(
            f"Shape of the passed X data is not correct. Expected {len(categories)} columns, got {z.columns}."
        )
    z = finite(model, z.x if isinstance(z, Untyped) else z, nan=True)
    z = cast(z, INT64) if z.dtype.kind in "bu" else z
    infrequent: Any = (
        model._infrequent_indices if getattr(model, "_infrequent_enabled", False) else [None] * len(categories)
    )
    dtype = np.result_type(*(known.dtype for known in categories))
    if model.handle_unknown == "use_encoded_value" or any(grouped is not None for grouped in infrequent):
        dtype = np.dtype(object)
    index: list[Op] = []
    classes: list[np.ndarray] = []
    for i, known in enumerate(categories):
        frequent = known if infrequent[i] is None else np.delete(known, infrequent[i])
        more = [INFREQUENT, None] if dtype == OBJECT else []
        index.append(ordinal_index(model, Columns(z, np.array([i])), i, len(frequent), infrequent[i]))
        classes.append(np.concatenate([frequent.astype(dtype), np.array(more, dtype)]))
    return labels_of(concat(index), tuple(classes))


def ordinal_index(model: OrdinalEncoder, z: Op, i: int, count: int, infrequent: np.ndarray | None) -> Op:
    """The place of each number's value: `count` is the grouped ones, `count` + 1 None. z: [N, 1]; int64 [N, 1]."""
    if i in model._missing_indices:
        z = Where(marked(z, model.encoded_missing_value), Const(np.asarray(model._missing_indices[i], z.dtype)), z)
    chosen: list[tuple[Op, int]] = []
    if infrequent is not None:
        chosen.append((Equal(z, Const(np.asarray(len(model.categories_[i]) - len(infrequent), z.dtype))), count))
    if model.handle_unknown == "use_encoded_value":
        chosen.append((marked(z, model.unknown_value), count + 1))
    for mask, _ in chosen:
        z = Where(mask, Const(np.zeros((), z.dtype)), z)
    inside = (z > Const(np.asarray(-count - 1, z.dtype))) & (z < Const(np.asarray(count, z.dtype)))
    z = Require(z, inside, f"OrdinalEncoder.inverse_transform was given a number in column {i} that is no category's.")
    place = cast(z, INT64)
    place = Where(place < 0, place + count, place)
    for mask, value in chosen:
        place = Where(mask, Const(np.asarray(value)), place)
    return place


def marked(z: Op, value: Any) -> Op:
    """Where z is the marker. Source: sklearn.utils._mask._get_mask."""
    if is_nan(value):
        return IsNaN(z) if z.dtype.kind == "f" else full(z, (z.columns,), 0.0, np.dtype(bool))
    dtype = np.result_type(z.dtype, value)
    return Equal(cast(z, dtype), Const(np.asarray(value, dtype)))


@converter(TargetEncoder, frames=True)
def target_encoder(model: TargetEncoder, x: Op | Frame) -> Outputs:
    """The mean of the target for each value's category, that of all rows for an unknown one.

    x: [N, F] of any dtype, or a Frame; result: float64 [N, F], or [N, F * classes] for several classes.
    Source: sklearn.preprocessing.TargetEncoder.transform, _transform_X_ordinal.
    """
    encodings = [np.asarray(encoding, np.float64) for encoding in fitted_attribute(model, "encodings_")]
    means = np.atleast_1d(np.asarray(fitted_attribute(model, "target_mean_"), np.float64))
    labels: Any = model.classes_
    classes = len(labels) if model.target_type_ == "multiclass" else 1
    table = np.zeros((max(map(len, encodings)) + 1, len(encodings)))
    for i, encoding in enumerate(encodings):
        table[: len(encoding), i] = encoding
        table[-1, i] = means[i % classes]
    place = positions(model, x)
    place = place if classes == 1 else Columns(place, np.repeat(np.arange(place.columns), classes))
    return {"transform": looked_up(place, table)}
