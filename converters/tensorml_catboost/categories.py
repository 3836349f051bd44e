"""The columns that the splits of a CatBoost model read: numbers, one-hot categories and CTRs, all float32.

Every split of CatBoost is `value > border` once a category is a column of 0 and 1 for each value that the model asks
for, and a CTR a column of its own.

**Source:** catboost/libs/model: cpu/quantization.h (BinarizeFeatures), ctr_provider.h (CalcHashes), hash.h (CalcHash);
catboost/python-package/catboost/_catboost.pyx (get_id_object_bytes_string_representation, create_num_factor_data).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from tensorml.converter import Model
from tensorml.errors import InputError
from tensorml.frames import Frame
from tensorml.graph import Const, Op
from tensorml.ops import (
    CategoryHash,
    Columns,
    Equal,
    Fill,
    Find,
    Float32,
    Greater,
    IsNaN,
    Require,
    Take,
    Where,
    cast,
    concat,
    ravel,
)
from tensorml_catboost.cbm import Table
from tensorml_catboost.ctrs import CTR_FEATURES, Combination, read_ctrs

FLOAT32, INT64, OBJECT = np.dtype(np.float32), np.dtype(np.int64), np.dtype(object)
MULTIPLIER = 0x4906BA494954CB65
HALF = np.float32(0.5)
CATEGORIES, FLOATS, ONE_HOT = 4, 5, 6  # fields of TModelTrees by number, in the order of model.fbs
AS_TRUE = 2  # of ENanValueTreatment
TODO = "Pass a DataFrame whose categorical columns hold strings or integers, or rows of objects"


@dataclass(frozen=True)
class FloatFeature:
    """A numeric feature: its column in the input, its borders (float32), whether NaN is greater than all of them."""

    column: int
    borders: np.ndarray
    nan_right: bool


@dataclass(frozen=True)
class Features:
    """The features of a model, by their numbers among those of their kind.

    floats: those that splits read; categories: the column of each in the input, those that splits read; columns: of
    all categorical features; names: of `categories` by column, empty where training saw none; one_hot: the hashes
    (int64) that splits ask for, by the number of the categorical feature, in the order of the splits; ctr_borders:
    float32, of each CTR.
    """

    floats: dict[int, FloatFeature]
    categories: dict[int, int]
    columns: tuple[int, ...]
    names: dict[int, str]
    one_hot: dict[int, np.ndarray]
    ctr_borders: tuple[np.ndarray, ...]


def features(trees: Table) -> Features:
    """The features in a model's table TModelTrees.

    Source: features.fbs, ctr_data.fbs. NaN is infinity only where there was NaN in training (BinarizeFeatures).
    """
    floats = {f.integer(1, -1): _float_feature(f) for f in trees.tables(FLOATS)}
    own = trees.tables(CATEGORIES)
    used = [f for f in own if f.byte(3, 1)]
    return Features(
        {i: f for i, f in floats.items() if len(f.borders)},
        {f.integer(0, -1): f.integer(1, -1) for f in used},
        tuple(f.integer(1, -1) for f in own),
        {f.integer(1, -1): f.text(2) for f in used},
        {f.integer(0, -1): f.array(1, np.int32).astype(INT64) for f in trees.tables(ONE_HOT)},
        tuple(f.array(1, np.float32) for f in trees.tables(CTR_FEATURES)),
    )


def _float_feature(feature: Table) -> FloatFeature:
    right = feature.byte(0) == 1 and feature.byte(5) == AS_TRUE
    return FloatFeature(feature.integer(2, -1), feature.array(3, np.float32), right)


def split_places(known: Features) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each split, by its number in the model, looks in the columns of `split_columns`.

    Result: the column, int64 [S]; the border, float32 [S]: the split is `column > border`; whether NaN passes it,
    bool [S].
    """
    floats = list(known.floats.values())
    borders = [f.borders for f in floats]
    borders += [np.array([HALF]) for values in known.one_hot.values() for _ in values]
    borders += known.ctr_borders
    counts = [len(own) for own in borders]
    nan_right = [f.nan_right for f in floats] + [False] * (len(borders) - len(floats))
    return (
        np.repeat(np.arange(len(borders)), counts),
        np.concatenate([*borders, np.empty(0, FLOAT32)]),
        np.repeat(np.array(nan_right, bool), counts),
    )


def split_columns(model: Model, known: Features, x: Op | Frame) -> Op:
    """The columns that splits read. float32 [N, float features + one-hot values + CTRs].

    x: columns in the places of the model's features. NaN in a float feature stays NaN here. Raises InputError for
    columns that CatBoost does not take.
    """
    floats = {i: _float_column(x, f.column) for i, f in known.floats.items()}
    codes = {i: _category_column(x, column) for i, column in known.categories.items()}
    parts = list(floats.values())
    parts += [cast(Equal(codes[i], Const(values)), FLOAT32) for i, values in known.one_hot.items()]
    if known.ctr_borders:
        parts += _ctr_columns(model, {i: _substituted(known.floats[i], x) for i, x in floats.items()}, codes)
    return concat(parts or [cast(code, FLOAT32) for code in codes.values()] or [_nothing(x)])


def require_kinds(known: Features, frame: Frame, place: Mapping[int, int]) -> None:
    """Raise InputError if categories or numbers stand in places of a frame where CatBoost reads the other kind.

    It finds columns by name, `place` of each feature, but what is categorical by place.
    Source: _process_predict_input_data (catboost/core.py), CheckFeatureTypes (model_dataset_compatibility.cpp).
    """
    for i in known.columns:
        if i >= len(frame.columns):
            raise InputError(f"column {i} is categorical, but there are {len(frame.columns)} columns.")
        if frame.columns[i].dtype.kind == "f" and i not in frame.nullable:
            raise InputError(f"column {frame.label(i)} is in the place of a categorical one, but holds floats. {TODO}.")
    for feature, i in place.items():
        if (feature in known.columns) != (i in known.columns):
            kinds = ("a category", "a number") if feature in known.columns else ("a number", "a category")
            raise InputError(
                f"column {frame.label(i)} is {kinds[0]}, in the place of {kinds[1]}. Order the columns as in training."
            )


def _nothing(x: Op | Frame) -> Op:
    """A column of 0, for a model whose trees have no splits."""
    return Fill(x.columns[0] if isinstance(x, Frame) else x, (1,), 0.0, FLOAT32)


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
    """The hash of a category's text. int64 [N, 1].

    Floats are refused, as CatBoost refuses them; pandas' nullable integers, which are read as floats, are not.
    """
    column, name = _column(x, i)
    if isinstance(x, Frame) and i in x.nullable:
        whole = cast(column, INT64)
        message = f"column {name} is categorical, but holds missing values or fractions. {TODO}."
        return CategoryHash(cast(Require(column, Equal(column, cast(whole, column.dtype)), message), INT64), name)
    if column.dtype.kind == "f":
        raise InputError(f"column {name} is categorical, but holds {column.dtype} numbers. {TODO}.")
    return CategoryHash(column, name)


def _substituted(feature: FloatFeature, column: Op) -> Op:
    """The column as CTRs see it: with infinity for NaN, where NaN counts as above all borders."""
    if not feature.nan_right:
        return column
    return Where(IsNaN(column), Const(np.array(np.inf, FLOAT32)), column)


def _ctr_columns(model: Model, floats: Mapping[int, Op], codes: Mapping[int, Op]) -> list[Op]:
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


def _group_hash(combination: Combination, floats: Mapping[int, Op], codes: Mapping[int, Op]) -> Op:
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
