"""What is known of an input before its values are: its columns' dtypes and names, and the columns in a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tensorml.errors import InputError
from tensorml.graph import Input, Op, TensorType
from tensorml.ops import Columns, Untyped, concat

OBJECT = np.dtype(object)
ARRAY, LIST, OBJECTS, PANDAS = "array", "list", "objects", "pandas"
FRAMES = {PANDAS, "polars", "pyarrow", "modin", "cudf"}
SHOWN_NAMES = 5


@dataclass(frozen=True)
class Schema:
    """What distinguishes one kind of input from another: a dtype per column, and the names in a DataFrame.

    Models compute in dtypes that follow from the input's, so a model has one graph per schema. `inverse`: the input is
    what `transform` returned, on its way back. `container`: "array" (NumPy, torch, SciPy), "list", "objects" (an array
    of Python objects) or a DataFrame's library. `nullable`: a pandas frame's columns of a dtype that is not NumPy's.
    `categorical`: a frame's columns of a dtype of categories. `options`: the call's options that change the graph.
    """

    dtypes: tuple[np.dtype, ...]
    names: tuple[str, ...] | None = None
    inverse: bool = False
    container: str = ARRAY
    nullable: tuple[int, ...] = ()
    categorical: tuple[int, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def uniform(self) -> np.dtype | None:
        """The dtype of all columns, None if they differ or are not numbers."""
        first = self.dtypes[0] if self.dtypes else OBJECT
        return first if first != OBJECT and all(dtype == first for dtype in self.dtypes) else None

    @property
    def tensor(self) -> bool:
        """Whether a tensor can stand for it: columns of one dtype, from a container that declares it."""
        return self.uniform is not None and self.container in (ARRAY, PANDAS) and not self.nullable

    @cached_property
    def plain(self) -> Schema:
        """The array that every model reads as it reads this: without names, without a container that changes nothing.

        The container matters for floats narrower than float64: sklearn's check_array takes an array's dtype as
        declared, and makes float64 of all else where it may choose. Objects stay objects in some transformers.
        """
        wide = all(dtype.kind != "f" or dtype.itemsize == 8 for dtype in self.dtypes)
        same = self.container in (ARRAY, PANDAS) or (wide and self.container != OBJECTS)
        kept = ARRAY if same and OBJECT not in self.dtypes else self.container
        if self.names is None and not self.nullable and not self.options and kept == self.container:
            return self
        return Schema(self.dtypes, None, self.inverse, kept, categorical=self.categorical)

    def groups(self) -> dict[str, tuple[np.dtype, list[int]]]:
        """The graph's inputs: for each name the dtype and the columns in it, one column where it holds no numbers."""
        if self.uniform is not None:
            return {"x": (self.uniform, list(range(len(self.dtypes))))}
        groups: dict[str, tuple[np.dtype, list[int]]] = {}
        for i, dtype in enumerate(self.dtypes):
            name = f"column_{i}" if dtype == OBJECT else f"x_{dtype}"
            groups.setdefault(name, (dtype, []))[1].append(i)
        return groups

    def inputs(self) -> Op | Frame:
        """The model's input in the graph: a Frame for a DataFrame's columns, else an operator [N, F]."""
        if not self.dtypes:
            raise InputError("Found array with 0 feature(s) while a minimum of 1 is required.")
        columns: dict[int, Op] = {}
        whole: Op | None = None
        for name, (dtype, members) in self.groups().items():
            whole = Input(name, TensorType(("N", len(members)), dtype))
            columns |= {i: Columns(whole, np.array([k])) for k, i in enumerate(members)}
        framed = self.names is not None or self.container in FRAMES
        if not framed and self.uniform and whole is not None:
            return whole if self.container == ARRAY else Untyped(whole, self.container)
        library = self.container if self.container in {*FRAMES, OBJECTS} else PANDAS
        return Frame(
            self.names,
            tuple(columns[i] for i in range(len(self.dtypes))),
            whole if self.uniform else None,
            library,
            self.nullable,
            indexed=True,
            categorical=self.categorical,
        )


@dataclass(frozen=True)
class Frame:
    """The columns of a DataFrame inside a graph, each [N, 1] in its own dtype (object: no numbers; see ops.HostOp).

    names: None where not all labels are strings. whole: the operator [N, F] that holds all columns, where they are of
    one dtype. library: where the frame is of; "objects" for an array of objects. nullable: columns of a pandas dtype
    that is not NumPy's, read as float64. indexed: the rows have the labels that the caller's frame has. categorical:
    columns of a dtype of categories, whose values are the categories.
    """

    names: tuple[str, ...] | None
    columns: tuple[Op, ...]
    whole: Op | None = None
    library: str = PANDAS
    nullable: tuple[int, ...] = ()
    indexed: bool = False
    categorical: tuple[int, ...] = ()

    def position(self, name: str) -> int:
        """Where a column stands. Raises InputError if there is none of this name, or more than one."""
        names = self.names or ()
        if name not in names:
            raise InputError(f"columns are missing: {name!r}. The DataFrame has {', '.join(map(repr, names))}.")
        if names.count(name) > 1:
            raise InputError(f"the DataFrame has {names.count(name)} columns of the name {name!r}. Rename them.")
        return names.index(name)

    def select(self, positions: Sequence[int]) -> Frame:
        """Some of the columns, in the order given."""
        names = None if self.names is None else tuple(self.names[i] for i in positions)
        whole = None if self.whole is None else Columns(self.whole, np.array(positions, np.int64))
        nullable, categorical = (
            tuple(k for k, i in enumerate(positions) if i in chosen) for chosen in (self.nullable, self.categorical)
        )
        columns = tuple(self.columns[i] for i in positions)
        return Frame(names, columns, whole, self.library, nullable, self.indexed, categorical)

    @property
    def numeric(self) -> bool:
        """Whether all columns hold numbers."""
        return all(column.dtype != OBJECT for column in self.columns)

    def label(self, i: int) -> str:
        """What to call a column in a message: its name, or its position."""
        return repr(i if self.names is None else self.names[i])

    def matrix(self) -> Op:
        """All columns side by side in the dtype that NumPy finds for them together, as sklearn's check_array does."""
        joined = self._joined()
        declared = self.library == PANDAS or joined.dtype.kind != "f" or joined.dtype.itemsize == 8
        return joined if declared else Untyped(joined, self.library)

    def array(self) -> Op:
        """What `np.asarray` makes of the frame. Raises InputError where that is an array of objects."""
        kinds = {column.dtype.kind for column in self.columns}
        if self.nullable:
            raise InputError(
                f"column {self.label(self.nullable[0])} is of a nullable dtype and passes through unchanged: "
                "what becomes of it depends on its values. Convert it: X.astype('float64')."
            )
        if self.library == PANDAS and "b" in kinds and len(kinds) > 1:
            raise InputError(
                "columns of bools and of numbers pass through side by side, of which pandas makes an array of Python "
                "objects. Convert the bools: X.astype('float64')."
            )
        return self._joined()

    def _joined(self) -> Op:
        if self.whole is not None:
            return self.whole
        for i, column in enumerate(self.columns):
            if column.dtype == OBJECT:
                raise InputError(
                    f"column {self.label(i)} does not hold numbers. Encode it before the model, or drop it."
                )
        return concat(list(self.columns))


def names_differ(given: Sequence[str], expected: Sequence[str]) -> str:
    """What to say of a frame with other columns. Source: sklearn.utils.validation._check_feature_names."""
    unexpected = sorted(set(given) - set(expected))
    missing = sorted(set(expected) - set(given))
    lines = ["The feature names should match those that were passed during fit."]
    if unexpected:
        lines += ["Feature names unseen at fit time:", *_listed(unexpected)]
    if missing:
        lines += ["Feature names seen at fit time, yet now missing:", *_listed(missing)]
    if not unexpected and not missing:
        lines += ["Feature names must be in the same order as they were in fit."]
    return "\n".join([*lines, ""])


def width_differs(width: int, reader: str, expected: int | None) -> str:
    """What to say of an input with another number of columns. Source: sklearn.utils.validation._check_n_features."""
    return f"X has {width} features, but {reader} is expecting {expected} features as input."


def _listed(names: list[str]) -> list[str]:
    return [f"- {name}" for name in names[:SHOWN_NAMES]] + ["- ..."] * (len(names) > SHOWN_NAMES)
