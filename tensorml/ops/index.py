"""Operators that move elements without computing on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorml.errors import GraphTypeError
from tensorml.graph import Const, Dim, Op, TensorType
from tensorml.ops.elementwise import cast


class Columns(Op):
    """Some columns of each row, in the order given; a column may repeat.

    x: [N, C]; indices: int64 [K] from 0 to C - 1. Result: [N, K], dtype of x.
    """

    x: Op
    indices: np.ndarray

    def infer(self) -> TensorType:
        indices = np.asarray(self.indices, np.int64)
        object.__setattr__(self, "indices", indices)
        if len(self.x.shape) != 2 or (len(indices) and not 0 <= indices.min() <= indices.max() < self.x.columns):
            raise GraphTypeError(f"columns {indices.tolist()} do not exist in {self.x.type}")
        return TensorType((self.x.shape[0], len(indices)), self.x.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return operands[0][:, self.indices]


class Concat(Op):
    """The columns of all operands side by side. parts: [N, C_i], of one dtype. Result: [N, sum of C_i]."""

    parts: tuple[Op, ...]

    def infer(self) -> TensorType:
        first = self.parts[0]
        if any(len(p.shape) != 2 or p.shape[0] != first.shape[0] or p.dtype != first.dtype for p in self.parts):
            raise GraphTypeError(f"Concat does not take {', '.join(str(p.type) for p in self.parts)}")
        return TensorType((first.shape[0], sum(p.columns for p in self.parts)), first.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return np.concatenate(operands, axis=1)


def concat(parts: Sequence[Op]) -> Op:
    """All columns side by side, in the dtype that np.hstack would give. One part is returned as it is."""
    dtype = np.result_type(*(part.dtype for part in parts))
    return cast(parts[0], dtype) if len(parts) == 1 else Concat(tuple(cast(part, dtype) for part in parts))


class Reshape(Op):
    """The elements of each row in another shape, in C order.

    x: [N, ...]; shape_: the new dimensions after N, without a -1. Result: [N, *shape_], dtype of x.
    """

    x: Op
    shape_: tuple[int, ...]

    def infer(self) -> TensorType:
        if int(np.prod(self.shape_)) != int(np.prod([int(d) for d in self.x.shape[1:]])):
            raise GraphTypeError(f"{self.x.type} does not reshape to {self.shape_} a row")
        return TensorType((self.x.shape[0], *self.shape_), self.x.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return operands[0].reshape(len(operands[0]), *self.shape_)


def ravel(x: Op) -> Op:
    """[N, 1] as [N]."""
    return Reshape(x, ())


class Take(Op):
    """Rows of a table, by index. table: [R, ...]; index: int32 or int64, [N] or [N, K], from 0 to R - 1.

    Result: the shape of index, then the table's other dimensions; dtype of the table.
    """

    table: Op
    index: Op

    def infer(self) -> TensorType:
        if self.index.dtype.kind != "i" or self.index.dtype.itemsize < 4 or self.table.type.batched:
            raise GraphTypeError(f"Take does not take {self.table.type} by {self.index.type}")
        return TensorType((*self.index.shape, *self.table.shape[1:]), self.table.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return operands[0][operands[1]]


class GatherElements(Op):
    """Elements of each row, by their column. x: [N, C]; index: int32 or int64 [N, K], from 0 to C - 1.

    Result: [N, K], dtype of x.
    """

    x: Op
    index: Op

    def infer(self) -> TensorType:
        wrong = len(self.x.shape) != 2 or len(self.index.shape) != 2 or self.x.shape[0] != self.index.shape[0]
        if wrong or self.index.dtype.kind != "i" or self.index.dtype.itemsize < 4:
            raise GraphTypeError(f"GatherElements does not take {self.x.type} by {self.index.type}")
        return TensorType(self.index.shape, self.x.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return np.take_along_axis(operands[0], operands[1].astype(np.int64), axis=1)


class OneHot(Op):
    """1 in the column that each code names, 0 in the others, for several code columns side by side.

    x: integer [N, K], codes of column k from 0 to sizes[k] - 1 (any other code: all zero).
    Result: [N, sum of sizes], `dtype_`.
    """

    x: Op
    sizes: tuple[int, ...]
    dtype_: np.dtype

    def infer(self) -> TensorType:
        if self.x.dtype.kind not in "iu" or len(self.x.shape) != 2 or self.x.columns != len(self.sizes):
            raise GraphTypeError(f"OneHot of {len(self.sizes)} columns does not take {self.x.type}")
        return TensorType((self.x.shape[0], sum(self.sizes)), self.dtype_)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        columns = np.repeat(np.arange(len(self.sizes)), self.sizes)
        codes = np.concatenate([np.arange(size) for size in self.sizes])
        return (operands[0][:, columns] == codes).astype(self.dtype_)


def full(like: Op, shape: tuple[int, ...], value: float, dtype: np.dtype) -> Op:
    """A constant for every row of `like`: [N, *shape], `dtype`."""
    return Fill(like, shape, value, np.dtype(dtype))


class Fill(Op):
    """One value, repeated for every row of `like`. Result: [N, *shape_], `dtype_`."""

    like: Op
    shape_: tuple[int, ...]
    value: float
    dtype_: np.dtype

    def infer(self) -> TensorType:
        return TensorType((self.like.shape[0], *self.shape_), self.dtype_)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return np.full((len(operands[0]), *self.shape_), self.value, self.dtype_)


__all__ = ["Columns", "Concat", "Const", "Dim", "Fill", "OneHot", "Reshape", "Take", "concat", "full", "ravel"]
