"""The columns that the splits of a CatBoost model read: numbers, one-hot categories and CTRs, all float32.

Every split of CatBoost is `value > border` once a category is a column of 0 and 1 for each value that the model asks
for, and a CTR a column of its own.

**Source:** catboost/libs/model: cpu/quantization.h (BinarizeFeatures), ctr_provider.h (CalcHashes), hash.h (CalcHash);
catboost/python-package/catboost/_catboost.pyx (get_id_object_bytes_string_representation, create_num_factor_data).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np

from tensorml.converter import Model
from tensorml.errors import InputError
from tensorml.frames import Frame
from tensorml.graph import Const, Op
from tensorml.ops import CategoryHash, Columns, Equal, Find, Float32, Greater, IsNaN, Take, cast, concat, ravel
from tensorml.ops import Where as Choose
from tensorml_catboost.ctrs import Combination, read_ctrs

Export = Mapping[str, Any]

FLOAT32, INT64, OBJECT = np.dtype(np.float32), np.dtype(np.int64), np.dtype(object)
MULTIPLIER = 0x4906BA494954CB65
HALF = np.float32(0.5)
TODO = "Pass a DataFrame whose categorical columns hold strings or integers, or a list or array of objects"


def is_categorical(export: Export) -> bool:
    """Whether the model has categorical features, used or not."""
    return bool(_features(export, "categorical_features"))


def split_places(export: Export) -> tuple[np.ndarray, np.ndarray]:
    """Where each split, by its `split_index`, looks in the columns of `split_columns`: the column and the border.

    Result: int64 [S] and float32 [S]; the split is `column > border`.
    """
    borders = [np.array(feature.get("borders") or [], FLOAT32) for feature in _features(export, "float_features")]
    borders += [np.array([HALF]) for feature in _one_hot(export) for _ in feature["values"]]
    borders += [np.array(ctr["borders"], FLOAT32) for ctr in _features(export, "ctrs")]
    column = np.repeat(np.arange(len(borders)), [len(b) for b in borders])
    return column, np.concatenate([np.empty(0, FLOAT32), *borders])


def split_columns(model: Model, export: Export, x: Op | Frame) -> Op:
    """The columns that splits read. float32 [N, float features + one-hot values + CTRs].

    NaN in a float feature stays NaN here. Raises InputError for columns that CatBoost does not take.
    """
    floats = [_float_column(x, f["flat_feature_index"]) for f in _features(export, "float_features")]
    codes = [_category_column(x, f["flat_feature_index"]) for f in _features(export, "categorical_features")]
    parts = [*floats]
    for position, feature in enumerate(_features(export, "categorical_features")):
        if feature.get("values"):
            parts.append(cast(Equal(codes[position], Const(np.array(feature["values"], INT64))), FLOAT32))
    if _features(export, "ctrs"):
        bits = [_substituted(f, column) for f, column in zip(_features(export, "float_features"), floats, strict=True)]
        parts += _ctr_columns(model, bits, codes)
    return concat(parts)


def _features(export: Export, kind: str) -> list[dict[str, Any]]:
    return export["features_info"].get(kind) or []


def _one_hot(export: Export) -> list[dict[str, Any]]:
    return [feature for feature in _features(export, "categorical_features") if feature.get("values")]


def _column(x: Op | Frame, i: int) -> tuple[Op, str]:
    """A column of the input, and what to call it."""
    return (x.columns[i], x.label(i)) if isinstance(x, Frame) else (Columns(x, np.array([i])), str(i))


def _float_column(x: Op | Frame, i: int) -> Op:
    """A numeric column as float32."""
    column, name = _column(x, i)
    if isinstance(x, Frame) and i in x.categorical:
        raise InputError(f"column {name} is of a dtype of categories, but the model was fitted on numbers in it.")
    return Float32(column, name) if column.dtype == OBJECT else cast(column, FLOAT32)


def _category_column(x: Op | Frame, i: int) -> Op:
    """The hash of a category's text. int64 [N, 1]. Floats are refused, as CatBoost refuses them."""
    column, name = _column(x, i)
    if isinstance(x, Frame) and i in x.nullable:
        raise InputError(f"column {name} is categorical and of a nullable dtype. Convert it: X[column].astype(str).")
    if column.dtype.kind == "f":
        raise InputError(f"column {name} is categorical, but holds {column.dtype} numbers. {TODO}.")
    return CategoryHash(column, name)


def _substituted(feature: Mapping[str, Any], column: Op) -> Op:
    """The column as CTRs see it: with infinity for NaN, where NaN counts as above all borders."""
    if not feature["has_nans"] or feature["nan_value_treatment"] != "AsTrue":
        return column
    return Choose(IsNaN(column), Const(np.array(np.inf, FLOAT32)), column)


def _ctr_columns(model: Model, floats: list[Op], codes: list[Op]) -> list[Op]:
    """A column for each CTR, in the model's order. Parts: float32 [N, CTRs of one table].

    CTRs of one table follow each other. All that a CTR can be is computed here: a row looks up which group it is in.
    """
    read = read_ctrs(model)
    parts: list[Op] = []
    hashes: dict[Combination, Op] = {}
    for base, ctrs in groupby(read.ctrs, key=lambda ctr: ctr.base):
        table = read.tables[base]
        if base.combination not in hashes:
            hashes[base.combination] = _group_hash(base.combination, floats, codes)
        place = Find(hashes[base.combination], table.keys)
        parts.append(Take(Const(np.stack([ctr.values(table) for ctr in ctrs], axis=1)), ravel(place)))
    return parts


def _group_hash(combination: Combination, floats: list[Op], codes: list[Op]) -> Op:
    """The hash of a row's group, modulo 2**64. int64 [N, 1].

    Source: CalcHash: h = m * (h + m * value) for each value, from h = 0. The sign of int64 does not matter to it.
    """
    values: list[Op] = [codes[i] for i in combination.categories]
    values += [cast(Greater(floats[i], Const(np.array(border, FLOAT32))), INT64) for i, border in combination.floats]
    values += [cast(Equal(codes[i], Const(np.array(value, INT64))), INT64) for i, value in combination.one_hot]
    once, twice = (np.array(pow(MULTIPLIER, k, 2**64), np.uint64).astype(INT64) for k in (1, 2))
    hashed = values[0] * twice
    for value in values[1:]:
        hashed = hashed * once + value * twice
    return hashed
