"""The host side of an input: arrays, DataFrames, sparse matrices, tensors and lists as named arrays of known dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorml.errors import InputError
from tensorml.graph import Input, Op, TensorType
from tensorml.ops import Columns, concat

OBJECT = np.dtype(object)
KINDS = "biuf"


@dataclass(frozen=True)
class Schema:
    """What distinguishes one kind of input from another: a dtype per column, and the names in a DataFrame.

    Models compute in dtypes that follow from the input's, so a model has one graph per schema. `inverse`: the input is
    what `transform` returned, on its way back.
    """

    dtypes: tuple[np.dtype, ...]
    names: tuple[str, ...] | None = None
    inverse: bool = False

    @property
    def uniform(self) -> np.dtype | None:
        """The dtype of all columns, None if they differ or are not numbers."""
        first = self.dtypes[0]
        return first if first != OBJECT and all(dtype == first for dtype in self.dtypes) else None

    def groups(self) -> dict[str, tuple[np.dtype, list[int]]]:
        """The graph's inputs: for each name the dtype and the columns in it. Columns that are not numbers are left out."""
        if self.uniform is not None:
            return {"x": (self.uniform, list(range(len(self.dtypes))))}
        groups: dict[str, tuple[np.dtype, list[int]]] = {}
        for i, dtype in enumerate(self.dtypes):
            if dtype != OBJECT:
                groups.setdefault(f"x_{dtype}", (dtype, []))[1].append(i)
        return groups

    def inputs(self) -> Op | Frame:
        """The model's input in the graph: a Frame where there are column names, else an operator [N, F]."""
        columns: dict[int, Op] = {}
        whole: Op | None = None
        for name, (dtype, members) in self.groups().items():
            whole = Input(name, TensorType(("N", len(members)), dtype))
            columns |= {i: Columns(whole, np.array([k])) for k, i in enumerate(members)}
        if self.names is None and self.uniform and whole is not None:
            return whole
        names = self.names or tuple(map(str, range(len(self.dtypes))))
        return Frame(names, tuple(columns.get(i) for i in range(len(names))), whole if self.uniform else None)


@dataclass(frozen=True)
class Frame:
    """The columns of a DataFrame inside a graph: by name, each [N, 1] in its own dtype (None: not numbers).

    `whole` is the operator [N, F] that holds all of them, where they are of one dtype.
    """

    names: tuple[str, ...]
    columns: tuple[Op | None, ...]
    whole: Op | None = None

    def position(self, name: str) -> int:
        """Where a column stands. Raises InputError if there is none of this name."""
        if name not in self.names:
            raise InputError(f"columns are missing: {name!r}. The DataFrame has {', '.join(map(repr, self.names))}.")
        return self.names.index(name)

    def select(self, positions: Sequence[int]) -> Frame:
        """Some of the columns, in the order given."""
        names = tuple(self.names[i] for i in positions)
        whole = None if self.whole is None else Columns(self.whole, np.array(positions, np.int64))
        return Frame(names, tuple(self.columns[i] for i in positions), whole)

    def matrix(self) -> Op:
        """All columns side by side in the dtype that NumPy finds for them together, as sklearn's check_array does."""
        if self.whole is not None:
            return self.whole
        for name, column in zip(self.names, self.columns, strict=True):
            if column is None:
                raise InputError(f"column {name!r} does not hold numbers. Encode it before the model, or drop it.")
        return concat([column for column in self.columns if column is not None])


@dataclass(frozen=True)
class Batch:
    """One call's input: arrays by the names of the graph's inputs, each indexable by a slice of rows.

    origin: "numpy", "torch", "sparse" or the DataFrame's library; index: a pandas frame's row labels.
    """

    schema: Schema
    arrays: Mapping[str, Any]
    rows: int
    origin: str
    index: Any = None


class SparseRows:
    """A SciPy sparse matrix that is made dense a slice at a time. `absent`: what an entry that is not stored means."""

    def __init__(self, matrix: Any, absent: float):
        self.matrix, self.absent = matrix.tocsr(), absent

    def __getitem__(self, rows: slice) -> np.ndarray:
        part = self.matrix[rows]
        if self.absent == 0:
            return part.toarray()
        dense = np.full(part.shape, self.absent, part.dtype)
        coordinates = part.tocoo()
        dense[coordinates.row, coordinates.col] = coordinates.data
        return dense


def read(x: Any, absent: float = 0.0) -> Batch:
    """The caller's input as a batch. Raises InputError for what holds no table of numbers. Never writes to x."""
    library = type(x).__module__.partition(".")[0]
    if library == "torch":
        return _read_tensor(x)
    if hasattr(x, "tocsr"):
        rows = SparseRows(x, absent)
        return Batch(Schema((rows.matrix.dtype,) * x.shape[1]), {"x": rows}, x.shape[0], "sparse")
    if library in {"pandas", "polars", "pyarrow", "modin", "cudf"} and hasattr(x, "columns"):
        return _read_frame(x, library)
    return _read_array(x)


def _read_tensor(x: Any) -> Batch:
    name = str(x.dtype).removeprefix("torch.")
    if name in {"bfloat16", "complex64", "complex128"} or x.ndim != 2:
        raise InputError(f"expected a 2D tensor of real numbers that NumPy has too, got {name} of {x.ndim} dimensions.")
    return Batch(Schema((np.dtype(name),) * x.shape[1]), {"x": x.detach()}, len(x), "torch")


def _read_array(x: Any) -> Batch:
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise InputError(f"expected a 2D array, got rows of different lengths: {error}") from None
    if array.dtype.kind == "c":
        raise InputError("Complex data not supported.")
    if array.dtype == OBJECT:
        array = _numbers(array)
    if array.dtype.kind not in KINDS:
        raise InputError(f"dtype {array.dtype} does not hold numbers. Convert the array to a numeric dtype first.")
    if array.ndim != 2:
        hint = "Reshape it: array.reshape(-1, 1) for one feature, array.reshape(1, -1) for one row."
        raise InputError(f"Expected 2D array, got {array.ndim}D array instead. {hint}")
    array = _native(array)
    return Batch(Schema((array.dtype,) * array.shape[1]), {"x": array}, len(array), "numpy")


def _numbers(array: np.ndarray) -> np.ndarray:
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"the array holds objects that are not numbers: {error}") from None


def _native(array: np.ndarray) -> np.ndarray:
    """The array in this machine's byte order, and long doubles as float64, which is what sklearn makes of them."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _read_frame(x: Any, library: str) -> Batch:
    import narwhals as nw

    frame: Any = nw.from_native(x, eager_only=True) if all(isinstance(name, str) for name in x.columns) else None
    if frame is None:
        if any(isinstance(name, str) for name in x.columns):
            raise InputError("some column names are strings and some are not. Make them all strings.")
        batch = _read_array(np.asarray(x))
        return Batch(batch.schema, batch.arrays, batch.rows, library, getattr(x, "index", None))
    columns = [_column(frame[name]) for name in frame.columns]
    schema = Schema(tuple(column.dtype for column in columns), tuple(frame.columns))
    arrays = {
        name: np.column_stack([columns[i] for i in members]) for name, (_, members) in schema.groups().items()
    }
    return Batch(schema, arrays, len(frame), library, getattr(x, "index", None))


def _column(series: Any) -> np.ndarray:
    """A column as numbers, missing entries as NaN; an object array if it does not hold numbers."""
    if not (series.dtype.is_numeric() or str(series.dtype) == "Boolean"):
        return np.empty(len(series), OBJECT)
    array = series.to_numpy()
    if array.dtype == OBJECT or (array.dtype.kind in "biu" and series.is_null().any()):
        array = np.array([np.nan if value is None or value != value else value for value in series.to_list()], float)
    return _native(array)


