"""Operators that concern the host: what is refused in the data, what comes of strings, what becomes of an output."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from tensorml.errors import GraphTypeError, InputError
from tensorml.graph import Op, TensorType


class Finite(Op):
    """`x` itself, after a check that every element is finite (with `nan`: or NaN). Raises InputError otherwise.

    x: float, any shape. Result: x. `reader` is the class that refuses, for the message.
    An executor that cannot raise (a circuit) passes x on.
    """

    x: Op
    nan: bool
    reader: str

    def infer(self) -> TensorType:
        if self.x.dtype.kind != "f":
            raise GraphTypeError(f"Finite does not take {self.x.type}")
        return self.x.type

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        if not self.nan and np.isnan(x).any():
            raise InputError(self.message(infinity=False))
        if np.isinf(x).any():
            raise InputError(self.message(infinity=True))
        return x

    def message(self, *, infinity: bool) -> str:
        """What the error says."""
        return refusal(self.reader, self.x.dtype, infinity)


def refusal(reader: str, dtype: np.dtype, infinity: bool) -> str:
    """What the error says. Source: sklearn.utils.validation._assert_all_finite_element_wise."""
    if infinity:
        return f"Input X contains infinity or a value too large for {dtype!r}; {reader} does not take it."
    return f"Input X contains NaN; {reader} does not take it. Impute missing values before it."


class Within(Op):
    """`x` itself, after a check of each column: from low to high, or NaN where `nan` says so. Raises InputError.

    x: [N, C] float; low, high: [C], dtype of x; nan: bool [C]. Result: x. `reader` is the class that refuses, `of` the
    dtype in which it finds these values too large, for the message. An executor that cannot raise passes x on.
    """

    x: Op
    low: np.ndarray
    high: np.ndarray
    nan: np.ndarray
    reader: str
    of: np.dtype

    def infer(self) -> TensorType:
        ranges = self.low.dtype == self.high.dtype == self.x.dtype
        if not ranges or self.x.shape[1:] != self.low.shape or not self.low.shape == self.high.shape == self.nan.shape:
            raise GraphTypeError(f"Within {self.low.dtype} ranges of {self.low.shape} does not take {self.x.type}")
        return self.x.type

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        for found, infinity in ((np.isnan(x) & ~self.nan, False), ((x < self.low) | (x > self.high), True)):
            if found.any():
                raise InputError(self.message(infinity=infinity))
        return x

    def message(self, *, infinity: bool) -> str:
        """What the error says."""
        return refusal(self.reader, self.of, infinity)


class Require(Op):
    """`x` itself, after a check that the condition holds everywhere. Raises InputError(message) otherwise.

    x: any type; condition: bool, any shape. Result: x. An executor that cannot raise (a circuit) passes x on.
    """

    x: Op
    condition: Op
    message: str

    def infer(self) -> TensorType:
        if self.condition.dtype.kind != "b":
            raise GraphTypeError(f"Require does not take a condition of {self.condition.type}")
        return self.x.type

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        x, condition = operands
        if not condition.all():
            raise InputError(self.message)
        return x


class HostOp(Op):
    """An integer for each value of a column that may hold anything: strings, objects, numbers.

    The host computes it before the program of numbers runs, of which it is an input; its operand is an input or
    computed from inputs alone. A subclass says what one value becomes, `of`. x: [N, C]; result: int64, shape of x.
    """

    x: Op

    def infer(self) -> TensorType:
        return TensorType(self.x.shape, np.dtype(np.int64))

    def of(self, value: object) -> int:
        """What one value becomes: a Python object from an object column, else a NumPy scalar."""
        raise NotImplementedError

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        if x.dtype == object:
            return self.of_objects(x)
        distinct, place = np.unique(x, return_inverse=True)
        return np.array([self.of(value) for value in distinct], np.int64)[place].reshape(x.shape)

    def of_categories(self, categories: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """The integers of a column of categories. categories: object [K, 1]; codes: int [N]; result: int64 [N, 1]."""
        return self.reference(categories)[codes]

    def of_objects(self, x: np.ndarray) -> np.ndarray:
        """Each value's integer, computed once for equal values of one type. x: object; result: int64, shape of x."""
        known: dict[tuple[type, object], int] = {}
        result = np.empty(x.size, np.int64)
        for i, value in enumerate(x.reshape(-1).tolist()):
            key = (type(value), value)
            try:
                found = known.get(key)
            except TypeError:
                raise InputError(f"a column holds a {type(value).__name__}, which is no category: {value!r}") from None
            if found is None:
                found = known[key] = self.of(value)
            result[i] = found
        return result.reshape(x.shape)


class Code(HostOp):
    """The position of each value among the categories, -1 where it is missing (None, NaN), `unknown` for all others.

    categories: [K], numbers or objects. Values are compared as Python compares them: 1, 1.0 and True are equal.
    """

    categories: np.ndarray
    unknown: int = -1

    @cached_property
    def position(self) -> dict[object, int]:
        """The first position of each category."""
        return {value: i for i, value in reversed(list(enumerate(self.categories.tolist())))}

    def of(self, value: object) -> int:
        missing = value is None or type(value).__name__ in ("NAType", "NaTType") or value != value
        plain = value.item() if isinstance(value, np.generic) else value
        return -1 if missing else self.position.get(plain, self.unknown)


class TextCode(Code):
    """The position of each string among the categories, -1 where it is none of them. Raises InputError for all else."""

    def of(self, value: object) -> int:
        if not isinstance(value, str):
            raise InputError(f"strings were expected, got a {type(value).__name__}: {value!r}.")
        return self.position.get(value, self.unknown)


class OwnCode(HostOp):
    """The code of each value in its own column of categories: its place among what the caller's frame lists, or -1."""

    def of_categories(self, categories: np.ndarray, codes: np.ndarray) -> np.ndarray:
        return codes.astype(np.int64)[:, None]

    def of(self, value: object) -> int:
        raise InputError("a column of categories was expected: its codes are what the model reads.")


class Label(Op):
    """The class label that an index names. Only an output can be a Label: the host decodes what is not a number.

    index: int64 [N], from 0 to the number of classes - 1. Result: [N], dtype of `classes`.
    """

    index: Op
    classes: np.ndarray

    def infer(self) -> TensorType:
        if self.index.dtype != np.dtype(np.int64):
            raise GraphTypeError(f"Label takes int64 indices, not {self.index.type}")
        return TensorType(self.index.shape, self.classes.dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return self.classes[operands[0]]


class LabelColumns(Op):
    """The class labels of several outputs side by side. Only an output can be LabelColumns, as with Label.

    index: int64 [N, K]; classes: for each column the labels that its indices name. Result: [N, K], dtype of the first.
    """

    index: Op
    classes: tuple[np.ndarray, ...]

    def infer(self) -> TensorType:
        if self.index.dtype != np.dtype(np.int64) or self.index.columns != len(self.classes):
            raise GraphTypeError(f"LabelColumns of {len(self.classes)} columns does not take {self.index.type}")
        return TensorType(self.index.shape, self.classes[0].dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        labels = np.empty(operands[0].shape, self.dtype)
        for k, classes in enumerate(self.classes):
            labels[:, k] = classes[operands[0][:, k]]
        return labels


class Sparse(Op):
    """`x`, which the caller gets as a SciPy CSR matrix. The graph itself is dense: another converter reads `x`."""

    x: Op

    def infer(self) -> TensorType:
        return self.x.type

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return operands[0]


class BatchSecond(Op):
    """`x`, which the caller gets with its first two dimensions exchanged. x: [N, M, ...]; the caller's: [M, N, ...]."""

    x: Op

    def infer(self) -> TensorType:
        if len(self.x.shape) < 2:
            raise GraphTypeError(f"BatchSecond does not take {self.x.type}")
        return self.x.type

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return operands[0]


class FlatRow(Op):
    """`x`, which the caller gets as [C] where the batch is a single row. x: [N, C]."""

    x: Op

    def infer(self) -> TensorType:
        if len(self.x.shape) != 2:
            raise GraphTypeError(f"FlatRow does not take {self.x.type}")
        return self.x.type

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return operands[0]


class Paths(Op):
    """The nodes on the way to each row's leaves, which the caller gets as a SciPy CSR matrix of ones, a column a node.

    Programs compute the leaves alone; the host looks the nodes up. leaves: int32 [N, T], as `Descend` returns them;
    parent: int64 [M], of each node of all trees, -1 for a root; leaf: int64 [L], the node that is leaf i; starts:
    int64 [T + 1], where each tree's nodes start, which the caller gets too unless `single`; index: the dtype of the
    matrix's indices. The reference is dense: int64 [N, M].
    """

    leaves: Op
    parent: np.ndarray
    leaf: np.ndarray
    starts: np.ndarray
    single: bool
    index: np.dtype

    def infer(self) -> TensorType:
        if self.leaves.dtype != np.dtype(np.int32) or len(self.leaves.shape) != 2:
            raise GraphTypeError(f"Paths takes int32 leaves [N, T], not {self.leaves.type}")
        return TensorType((self.leaves.shape[0], len(self.parent)), np.dtype(np.int64))

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        passed = np.zeros((len(operands[0]), len(self.parent)), np.int64)
        node = self.leaf[operands[0]]
        while (node >= 0).any():
            row, tree = np.nonzero(node >= 0)
            passed[row, node[row, tree]] = 1
            node = np.where(node >= 0, self.parent[node], -1)
        return passed


class Untyped(Op):
    """`x`, from a container that declares no dtype: what may choose among several dtypes takes its first.

    container: "list", "objects" (an array of Python objects) or a DataFrame's library. Programs compute `x` itself.
    Source: sklearn.utils.validation.check_array, which knows a dtype of NumPy arrays and of pandas frames alone.
    """

    x: Op
    container: str

    def infer(self) -> TensorType:
        return self.x.type

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return operands[0]


class Table(Op):
    """Columns that the caller gets as a DataFrame. Programs compute them side by side, in a dtype that holds them all.

    parts: [N, C_i], each column keeps its dtype; names: of all columns; library: "pandas" or "polars"; indexed: the
    rows have the labels that the caller's frame has.
    """

    parts: tuple[Op, ...]
    names: tuple[str, ...]
    library: str
    indexed: bool

    def infer(self) -> TensorType:
        if sum(part.columns for part in self.parts) != len(self.names):
            raise GraphTypeError(f"{len(self.names)} names do not fit {', '.join(str(p.type) for p in self.parts)}")
        dtype = np.result_type(*(part.dtype for part in self.parts))
        return TensorType((self.parts[0].shape[0], len(self.names)), dtype)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        return np.concatenate(operands, axis=1, dtype=self.dtype)

    @property
    def dtypes(self) -> tuple[np.dtype, ...]:
        """The dtype of each column."""
        return tuple(part.dtype for part in self.parts for _ in range(part.columns))
