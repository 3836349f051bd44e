"""Operators that turn values into small integers: by rank among boundaries, by place or membership in a table."""

from __future__ import annotations

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Op, TensorType


class Rank(Op):
    """The number of boundaries that a value has reached: how many b there are with value >= b; value > b if `strict`.

    Result column k reads column `source[k]` of x and the ascending boundaries
    `boundaries[offsets[k]:offsets[k + 1]]`, which have the dtype of x. NaN becomes `nan[k]`.

    x: [N, C] float; source: int64 [K]; boundaries: [B]; offsets: int64 [K + 1]; nan: int64 [K].
    Result: [N, K], `dtype_` (an integer that holds every code). Exact in every executor.
    """

    x: Op
    source: np.ndarray
    boundaries: np.ndarray
    offsets: np.ndarray
    nan: np.ndarray
    dtype_: np.dtype
    strict: bool = False

    def infer(self) -> TensorType:
        if self.x.dtype != self.boundaries.dtype or self.x.dtype.kind != "f":
            raise GraphTypeError(f"Rank among {self.boundaries.dtype} boundaries does not take {self.x.type}")
        if len(self.source) and max(self.source) >= self.x.columns:
            raise GraphTypeError(f"Rank reads column {max(self.source)} of {self.x.type}")
        return TensorType((self.x.shape[0], len(self.source)), self.dtype_)

    def column(self, k: int) -> np.ndarray:
        """The boundaries of result column k."""
        return self.boundaries[self.offsets[k] : self.offsets[k + 1]]

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        codes, side = np.empty((len(x), len(self.source)), self.dtype_), "left" if self.strict else "right"
        for k, column in enumerate(self.source):
            value = x[:, column]
            codes[:, k] = np.where(np.isnan(value), self.nan[k], np.searchsorted(self.column(k), value, side=side))
        return codes


class Lookup(Op):
    """A code for each category: the entry of a table at the value, truncated towards zero.

    Result column k reads column `source[k]` of x. With S = table.shape[1] - 2, a value of 0 to S - 1 reads
    `table[k, value]`, any other value (infinities too) `table[k, S]`, and NaN `table[k, S + 1]`. A negative
    fraction truncates to category 0 only with `truncate_negative`; else every value below 0 is out of range.

    x: [N, C] float; source: int64 [K]; table: uint8 [K, S + 2]. Result: uint8 [N, K]. Exact in every executor.
    """

    x: Op
    source: np.ndarray
    table: np.ndarray
    truncate_negative: bool

    def infer(self) -> TensorType:
        if self.x.dtype.kind != "f" or (len(self.source) and max(self.source) >= self.x.columns):
            raise GraphTypeError(f"Lookup does not take {self.x.type}")
        return TensorType((self.x.shape[0], len(self.source)), self.table.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        value = operands[0][:, self.source]
        size = self.table.shape[1] - 2
        low = value > -1 if self.truncate_negative else value >= 0
        inside = low & (value < size)
        index = np.where(np.isnan(value), size + 1, np.where(inside, value, size)).astype(np.int64)
        return self.table[np.arange(len(self.source)), index]


class Find(Op):
    """The position of each value among the keys, the number of keys where it is none of them.

    x: int64 [N, K]; keys: int64 [R], ascending, each once. Result: int64 [N, K]. Exact in every executor.
    """

    x: Op
    keys: np.ndarray

    def infer(self) -> TensorType:
        integers = self.x.dtype == self.keys.dtype == np.dtype(np.int64)
        if not integers or (self.keys[1:] <= self.keys[:-1]).any():
            raise GraphTypeError(f"Find among {self.keys.dtype} keys, which must ascend, does not take {self.x.type}")
        return self.x.type

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        place = np.searchsorted(self.keys, x)
        found = np.append(self.keys, 0)[place] == x
        return np.where(found & (place < len(self.keys)), place, len(self.keys))
