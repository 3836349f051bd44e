"""Operators that find the place of a value among categories: strings and objects on the host, numbers in the graph."""

from __future__ import annotations

import math
from functools import cached_property
from numbers import Integral, Real

import numpy as np

from tensorml.errors import GraphTypeError, InputError
from tensorml.graph import Op, TensorType
from tensorml.ops.host import HostOp

INT64 = np.dtype(np.int64)


class CategoryCode(HostOp):
    """The code of each value among the categories, `other` where it is none of them.

    categories: [K], without None and NaN; codes: int64 [K]; none, nan: the codes of None and of NaN, each a category
    of its own. absent: the code of a missing entry in a column of categories. Values are compared as Python compares
    them: 1, 1.0 and True are equal.
    Source: sklearn.utils._encode._check_unknown and _encode, for values that are not numbers.
    """

    categories: np.ndarray
    codes: np.ndarray
    none: int
    nan: int
    absent: int
    other: int = -1

    @cached_property
    def place(self) -> dict[object, int]:
        """The code of each category, the first one's where some are equal."""
        pairs = zip(self.categories.tolist(), self.codes.tolist(), strict=True)
        return dict(reversed(list(pairs)))

    def of(self, value: object) -> int:
        if value is None:
            return self.none
        if isinstance(value, Real) and not isinstance(value, Integral) and math.isnan(value):
            return self.nan
        return self.place.get(value, self.other)

    def of_objects(self, x: np.ndarray) -> np.ndarray:
        """One look-up for each value, `of` for those that are not among the categories."""
        values, place = x.reshape(-1).tolist(), self.place
        try:
            result = np.array([place.get(value, -2) for value in values], np.int64)
        except TypeError:
            return super().of_objects(x)  # names the value
        for i in np.flatnonzero(result == -2).tolist():
            result[i] = self.of(values[i])
        return result.reshape(x.shape)

    def of_categories(self, categories: np.ndarray, codes: np.ndarray) -> np.ndarray:
        known = np.array([self.absent if value is None else self.of(value) for value in categories[:, 0]], INT64)
        return known[codes][:, None]


class FillMissing(Op):
    """A column of objects with `fill` in place of what is missing. It stands before host operators alone.

    x: [N, 1] of any dtype; result: object [N, 1]. missing: what is missing: "nan" (NaN), "na" (NaN, None and pandas.NA)
    or "value" (what is equal to `marker`; NaN is refused then). none_is_nan: x is a column of categories of pandas.
    Raises InputError for NaN that is not the marker.
    Source: sklearn.impute.SimpleImputer.transform, sklearn.utils._mask._get_dense_mask.
    """

    x: Op
    missing: str
    marker: object
    fill: object
    none_is_nan: bool

    def infer(self) -> TensorType:
        return TensorType(self.x.shape, np.dtype(object))

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        values = operands[0].astype(object)
        if self.none_is_nan:
            values[[value is None for value in values[:, 0]]] = np.nan
        mask = np.array([self.is_missing(value) for value in values.reshape(-1).tolist()], bool)
        values[mask, 0] = [self.fill] * int(mask.sum())
        return values

    def is_missing(self, value: object) -> bool:
        """Whether one value is replaced."""
        if type(value).__name__ in ("NAType", "NaTType") or value is None:
            return self.missing == "na" or (value is None and self.missing == "value" and self.marker is None)
        if value != value:
            if self.missing == "value":
                raise InputError("Input X contains NaN, which is not what marks missing values in SimpleImputer.")
            return True
        return self.missing == "value" and value == self.marker


class Position(Op):
    """The position of each value among the ascending keys of its column, -1 where it is none of them.

    Column k has the keys `keys[offsets[k]:offsets[k + 1]]`; of equal ones the first counts. NaN becomes `nan[k]`.
    x: float32, float64 or int64 [N, K]; keys: [B], dtype of x, no NaN; offsets: int64 [K + 1]; nan: int64 [K].
    Result: int64 [N, K]. Exact in every executor.
    """

    x: Op
    keys: np.ndarray
    offsets: np.ndarray
    nan: np.ndarray

    def infer(self) -> TensorType:
        known = self.x.dtype in (np.dtype(np.float32), np.dtype(np.float64), INT64)
        if not known or self.x.dtype != self.keys.dtype or self.x.columns != len(self.nan):
            raise GraphTypeError(f"Position among {self.keys.dtype} keys does not take {self.x.type}")
        return TensorType(self.x.shape, INT64)

    def scratch_bytes(self) -> int:
        """The places, the keys found there, and what is compared with them."""
        return 26 * self.x.columns

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        result = np.empty(x.shape, np.int64)
        for k in range(x.shape[1]):
            keys = self.keys[self.offsets[k] : self.offsets[k + 1]]
            place = np.searchsorted(keys, x[:, k])
            found = np.append(keys, keys[:1] if len(keys) else 0)[place] == x[:, k]
            result[:, k] = np.where(found & (place < len(keys)), place, -1)
            result[np.isnan(x[:, k]), k] = self.nan[k]
        return result
