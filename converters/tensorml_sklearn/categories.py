"""How scikit-learn's encoders read their input: each column's values among its categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorml.converter import fitted_attribute
from tensorml.errors import InputError
from tensorml.frames import OBJECT, PANDAS, Frame, width_differs
from tensorml.graph import Op
from tensorml.ops import CategoryCode, Columns, Position, Untyped, cast, concat
from tensorml_sklearn.validation import finite

INT64, FLOAT64 = np.dtype(np.int64), np.dtype(np.float64)
NUMBERS = "biuf"


def is_nan(value: Any) -> bool:
    """Whether a category is NaN. Source: sklearn.utils._missing.is_scalar_nan."""
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def positions(model: Any, x: Op | Frame) -> Op:
    """The position of each value among the categories of its column, -1 for a value that is none. int64 [N, F].

    Source: sklearn.preprocessing._encoders._BaseEncoder._check_X and _transform. Arrays and pandas columns of numbers
    are compared as NumPy promotes them, all else as Python compares.
    """
    categories = fitted_attribute(model, "categories_")
    columns = columns_of(x)
    if len(columns) != len(categories):
        raise InputError(width_differs(len(columns), type(model).__name__, len(categories)))
    by_value = isinstance(x, Frame) and x.library != PANDAS and not x.numeric  # the array of it is one of objects
    numbers = [i for i, c in enumerate(columns) if c.dtype.kind in "iuf" and not by_value]
    results: dict[int, Op] = {}
    for dtype, chosen in grouped(model, columns, numbers).items():
        whole = x if isinstance(x, Op) and len(chosen) == len(columns) else concat([columns[i] for i in chosen])
        whole = whole.x if isinstance(whole, Untyped) else whole
        found = number_positions(model, whole, dtype, [categories[i] for i in chosen])
        if len(chosen) == len(columns):
            return found
        results |= {i: Columns(found, np.array([k])) for k, i in enumerate(chosen)}
    absent_is_nan = isinstance(x, Frame) and x.library == PANDAS
    results |= {
        i: object_positions(column, categories[i], absent_is_nan=absent_is_nan)
        for i, column in enumerate(columns)
        if i not in results
    }
    return concat([results[i] for i in range(len(columns))])


def columns_of(x: Op | Frame) -> Sequence[Op]:
    """The columns of the input, each [N, 1]."""
    if isinstance(x, Frame):
        return x.columns
    plain = x.x if isinstance(x, Untyped) else x
    return [Columns(plain, np.array([i])) for i in range(plain.columns)]


def grouped(model: Any, columns: Sequence[Op], numbers: Sequence[int]) -> dict[tuple[np.dtype, np.dtype], list[int]]:
    """The columns of numbers by their dtype and the dtype in which they meet their categories.

    Raises InputError for categories that are not numbers: NumPy finds none of the column's values among them.
    """
    groups: dict[tuple[np.dtype, np.dtype], list[int]] = {}
    for i in numbers:
        known = model.categories_[i].dtype
        if known.kind not in NUMBERS:
            raise InputError(
                f"column {i} holds numbers; {type(model).__name__} was fitted on strings or objects there."
            )
        dtype = np.result_type(columns[i].dtype, known)
        if dtype == np.dtype(np.uint64):
            raise InputError(f"column {i} holds unsigned integers of 64 bits. Convert it: X.astype('int64').")
        common = np.promote_types(dtype, np.float32) if dtype.kind == "f" else INT64
        groups.setdefault((columns[i].dtype, common), []).append(i)
    return groups


def number_positions(model: Any, x: Op, dtype: tuple[np.dtype, np.dtype], categories: list[np.ndarray]) -> Op:
    """The positions of numbers. x: [N, K]; dtype: that of x, and the one to compare in. Result: int64 [N, K]."""
    x, common = finite(model, x, nan=True), dtype[1]
    has_nan = [len(known) > 0 and is_nan(known[-1]) for known in categories]
    keys = [known[: len(known) - nan].astype(common) for known, nan in zip(categories, has_nan, strict=True)]
    nan_codes = [len(key) if nan else -1 for key, nan in zip(keys, has_nan, strict=True)]
    offsets = np.cumsum([0, *map(len, keys)])
    return Position(cast(x, common), np.concatenate(keys), offsets, np.array(nan_codes, np.int64))


def object_positions(x: Op, categories: np.ndarray, *, absent_is_nan: bool) -> Op:
    """The positions of values that Python compares. x: [N, 1] of any dtype; result: int64 [N, 1].

    absent_is_nan: a missing entry of a column of categories is NaN (pandas), not None.
    """
    values = categories.tolist()
    none = next((i for i, value in enumerate(values) if value is None), -1)
    nan = next((i for i, value in enumerate(values) if is_nan(value)), -1)
    known = [i for i in range(len(values)) if i not in (none, nan)]
    plain = np.empty(len(known), OBJECT)
    plain[:] = [values[i] for i in known]
    return CategoryCode(x, plain, np.array(known, np.int64), none, nan, nan if absent_is_nan else none)
