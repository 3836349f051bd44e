"""The host side of an input: arrays, DataFrames, sparse matrices, tensors and lists as named arrays of known dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tensorml.errors import InputError
from tensorml.frames import ARRAY, FRAMES, LIST, OBJECT, OBJECTS, PANDAS, Schema

KINDS = "biuf"
CATEGORIES = ("Categorical", "Enum")  # narwhals' names of the dtypes of category columns
EXACT_INTEGERS = 2**53  # float64 holds every integer up to here


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
        rows = matrix.tocsr()
        self.format = matrix.format
        self.matrix = rows if absent == 0 or rows.dtype.kind == "f" else rows.astype(np.float64)
        self.absent = absent

    def stores_zeros(self) -> bool:
        """Whether a stored number is 0."""
        return bool((self.matrix.data == 0).any())

    def stores_nan(self) -> bool:
        """Whether a stored number is NaN."""
        return self.matrix.dtype.kind == "f" and bool(np.isnan(self.matrix.data).any())

    def __getitem__(self, rows: slice) -> np.ndarray:
        part = self.matrix[rows]
        if self.absent == 0:
            return part.toarray()
        dense = np.full(part.shape, self.absent, part.dtype)
        part.sum_duplicates()
        coordinates = part.tocoo()
        dense[coordinates.row, coordinates.col] = coordinates.data
        return dense


class CategoryColumn:
    """A column of categories, [N, 1]: the categories with a None at the end, and each row's code, -1 where missing."""

    def __init__(self, categories: Sequence[Any], codes: np.ndarray):
        self.categories = np.array([*categories, None], OBJECT)
        self.codes = codes

    def __getitem__(self, rows: slice) -> CategoryColumn:
        return CategoryColumn(self.categories[:-1].tolist(), self.codes[rows])

    @property
    def needed(self) -> np.ndarray:
        """The categories as a column, with the None only where a row needs it: some operators refuse it."""
        return (self.categories if (self.codes < 0).any() else self.categories[:-1])[:, None]

    def values(self) -> np.ndarray:
        """The rows' categories, None where missing. object [N, 1]."""
        return self.categories[self.codes][:, None]


def read(x: Any, absent: float = 0.0, *, objects: bool = False) -> Batch:
    """The caller's input as a batch. Never writes to x.

    absent: what an entry that a sparse matrix does not store means. objects: an array that holds strings or Python
    objects, and any list, is read column by column as it is, instead of as numbers.
    Raises InputError for what holds no table of numbers.
    """
    library = type(x).__module__.partition(".")[0]
    if library == "torch":
        return _read_tensor(x)
    if hasattr(x, "tocsr"):
        return _read_sparse(x, absent)
    if library == PANDAS and hasattr(x, "columns"):
        return _read_pandas(x)
    if library in FRAMES and hasattr(x, "columns"):
        return _read_frame(x, library)
    return _read_objects(x) if objects and (isinstance(x, list) or _holds_objects(x)) else _read_array(x)


def as_column(x: Any) -> Any:
    """A one-dimensional array, tensor, list or Series as a table of one column; anything else as it is."""
    if hasattr(x, "to_frame"):
        return x.to_frame()
    if isinstance(x, list | tuple):
        return [[item] for item in x] if not any(np.ndim(item) for item in x) else x
    return x[:, None] if getattr(x, "ndim", 2) == 1 else x


def _read_tensor(x: Any) -> Batch:
    name = str(x.dtype).removeprefix("torch.")
    if x.ndim != 2 or not hasattr(np, name) or np.dtype(name).kind not in KINDS:
        raise InputError(f"expected a 2D tensor of real numbers that NumPy has too, got {name} of {x.ndim} dimensions.")
    return Batch(_alike(np.dtype(name), x.shape[1], ARRAY), {"x": x.detach()}, len(x), "torch")


def _read_sparse(x: Any, absent: float) -> Batch:
    if x.dtype.kind not in KINDS or len(x.shape) != 2:
        raise InputError(
            f"a sparse matrix of {x.dtype} in {len(x.shape)} dimensions does not hold a table of real numbers."
        )
    rows = SparseRows(x, absent)
    return Batch(Schema((rows.matrix.dtype,) * x.shape[1]), {"x": rows}, x.shape[0], "sparse")


def _read_array(x: Any) -> Batch:
    if isinstance(x, np.matrix):
        raise InputError("np.matrix is not supported. Please convert to a numpy array with np.asarray.")
    declared = hasattr(getattr(x, "dtype", None), "kind")
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise InputError(f"expected a 2D array, got rows of different lengths: {error}") from None
    container = (OBJECTS if array.dtype == OBJECT else ARRAY) if declared else LIST
    array = _real(array)
    if array.ndim != 2:
        hint = "Reshape it: array.reshape(-1, 1) for one feature, array.reshape(1, -1) for one row."
        raise InputError(f"Expected 2D array, got {array.ndim}D array instead. {hint}")
    return Batch(_alike(array.dtype, array.shape[1], container), {"x": array}, len(array), "numpy")


@lru_cache(maxsize=64)
def _alike(dtype: np.dtype, columns: int, container: str) -> Schema:
    """So many columns of one dtype. The same object for the same arguments, which makes it quick to find again."""
    return Schema((dtype,) * columns, container=container)


def _holds_objects(x: Any) -> bool:
    """Whether NumPy makes strings or objects of x."""
    try:
        return np.asarray(x).dtype.kind in "OUS"
    except ValueError:
        return False


def _read_objects(x: Any) -> Batch:
    """An array or a list of rows, each column an object column. Raises InputError if it is no table."""
    array = np.asarray(x, OBJECT)
    if array.ndim != 2:
        raise InputError(f"Expected 2D array, got {array.ndim}D array instead. Reshape it: array.reshape(1, -1).")
    schema = Schema((OBJECT,) * array.shape[1], container=OBJECTS)
    return Batch(schema, {f"column_{i}": array[:, i : i + 1] for i in range(array.shape[1])}, len(array), "numpy")


def _real(array: np.ndarray) -> np.ndarray:
    """The array as real numbers in this machine's byte order. Raises InputError if it holds anything else."""
    if array.dtype.kind == "c":
        raise InputError("Complex data not supported.")
    if array.dtype == OBJECT:
        return _numbers(array)
    if array.dtype.kind not in KINDS or array.dtype.itemsize > 8:
        raise InputError(
            f"dtype {array.dtype} does not hold numbers of at most 64 bits. Convert it: X.astype('float64')."
        )
    if array.dtype.isnative:
        return array
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:  # scikit-learn makes float64 of some of these, not of all
        raise InputError(f"dtype {array.dtype} is not in this machine's byte order. Convert it: X.astype('float32').")
    return array.astype(array.dtype.newbyteorder("="))


def _numbers(array: np.ndarray) -> np.ndarray:
    """Objects as float64. Source: sklearn.utils.validation.check_array, which makes float64 of an object array."""
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"the array holds objects that are not numbers: {error}") from None


def _names(labels: Sequence[Any]) -> tuple[str, ...] | None:
    """Column labels, if all are strings. Source: sklearn.utils.validation._get_feature_names."""
    kinds = sorted({type(label).__name__ for label in labels})
    if kinds == ["str"]:
        return tuple(labels)
    if "str" in kinds:
        raise InputError(
            "Feature names are only supported if all input features have string names, but your input has "
            f"{kinds} as feature name / column name types. Convert them: X.columns = X.columns.astype(str)."
        )
    return None


def _read_pandas(x: Any) -> Batch:
    """A pandas frame: each column in its own dtype, those of nullable dtypes as float64."""
    names = _names(list(x.columns))
    dtypes = list(x.dtypes)
    first = dtypes[0] if dtypes else None
    if isinstance(first, np.dtype) and first.kind in KINDS and all(dtype == first for dtype in dtypes):
        array = _real(x.to_numpy())
        schema = Schema((array.dtype,) * len(dtypes), names, container=PANDAS)
        return Batch(schema, {"x": array}, len(x), PANDAS, x.index)
    columns = [_pandas_column(x.iloc[:, i], dtype) for i, dtype in enumerate(dtypes)]
    nullable = tuple(i for i, dtype in enumerate(dtypes) if not isinstance(dtype, np.dtype) and _numeric(columns[i]))
    schema = Schema(_dtypes(columns), names, container=PANDAS, nullable=nullable, categorical=_categorical(columns))
    return Batch(schema, grouped(schema, columns), len(x), PANDAS, x.index)


def _numeric(column: np.ndarray | CategoryColumn) -> bool:
    return isinstance(column, np.ndarray) and column.dtype != OBJECT


def _dtypes(columns: Sequence[np.ndarray | CategoryColumn]) -> tuple[np.dtype, ...]:
    return tuple(column.dtype if isinstance(column, np.ndarray) else OBJECT for column in columns)


def _categorical(columns: Sequence[np.ndarray | CategoryColumn]) -> tuple[int, ...]:
    return tuple(i for i, column in enumerate(columns) if isinstance(column, CategoryColumn))


def _pandas_column(series: Any, dtype: Any) -> np.ndarray | CategoryColumn:
    """A column as numbers; as categories, or an object array, if it does not hold numbers.

    Source: sklearn.utils.validation._pandas_dtype_needs_early_conversion: nullable numbers become float64, NA as NaN.
    """
    from pandas.api.types import is_bool_dtype, is_float_dtype, is_integer_dtype

    if isinstance(dtype, np.dtype):
        return _real(series.to_numpy()) if dtype.kind in KINDS + "c" else series.to_numpy(OBJECT)
    if type(dtype).__name__ == "CategoricalDtype":
        return CategoryColumn(dtype.categories.tolist(), series.cat.codes.to_numpy())
    numbers = is_bool_dtype(dtype) or is_float_dtype(dtype) or is_integer_dtype(dtype)
    if not numbers or type(dtype).__name__ == "SparseDtype":
        return series.to_numpy(OBJECT)
    array = series.to_numpy(dtype=np.float64, na_value=np.nan)
    if is_integer_dtype(dtype) and (np.abs(array) >= EXACT_INTEGERS).any():
        raise InputError(f"column {series.name!r} holds integers of 2**53 and more in the nullable dtype {dtype}.")
    return array


def _read_frame(x: Any, library: str) -> Batch:
    """A frame of a library other than pandas, through narwhals."""
    import narwhals as nw

    frame: Any = nw.from_native(x, eager_only=True)
    columns = [_column(frame[name]) for name in frame.columns]
    schema = Schema(_dtypes(columns), _names(frame.columns), container=library, categorical=_categorical(columns))
    return Batch(schema, grouped(schema, columns), len(frame), library)


def _column(series: Any) -> np.ndarray | CategoryColumn:
    """A column as numbers, missing entries as NaN; as categories, or an object array, if it does not hold numbers."""
    kind = str(series.dtype).partition("(")[0]
    if kind in CATEGORIES:
        values = series.to_list()
        place = {value: i for i, value in enumerate(dict.fromkeys(value for value in values if value is not None))}
        return CategoryColumn(list(place), np.array([place.get(value, -1) for value in values], np.int64))
    array = series.to_numpy() if series.dtype.is_numeric() or kind == "Boolean" else np.empty(0, OBJECT)
    if kind == "Boolean" and array.dtype == OBJECT:
        return array.astype(np.float64)
    return _real(array) if array.dtype.kind in KINDS else np.array([*series.to_list(), None], OBJECT)[:-1]


def grouped(schema: Schema, columns: Sequence[np.ndarray | CategoryColumn]) -> dict[str, Any]:
    """The columns as the graph's inputs."""
    return {name: _stacked([columns[i] for i in members]) for name, (_, members) in schema.groups().items()}


def _stacked(columns: list[Any]) -> Any:
    return columns[0] if isinstance(columns[0], CategoryColumn) else np.column_stack(columns)
