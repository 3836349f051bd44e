"""Calibration rows as the inputs of a graph, and which fixed-point numbers the columns of each input are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tensorml.executors.base import HostColumns
from tensorml.executors.fpga.entrances import Encoder, NotRaw
from tensorml.executors.fpga.grid import Grid
from tensorml.frames import OBJECT, Schema
from tensorml.inputs import Batch, CategoryColumn, as_column, grouped, read

Columns = Sequence[np.ndarray | CategoryColumn]
Chosen = str | Grid | Sequence[Grid] | Mapping[str, Grid]  # as a caller says it


def arrays_of(X: Any, kind: Schema | None, made: Mapping[str, HostColumns]) -> dict[str, Any]:
    """Rows as arrays by the names of a graph's inputs, for a kind of input: those of which it says something.

    X: rows, perhaps of another kind: columns are found by their names if both have names, else by their positions, and
    converted. made: what computes the inputs that host operators make. Of what `transform` returns they say nothing.
    """
    if kind is not None and kind.inverse:
        return {}
    batch = read(as_column(X) if getattr(X, "ndim", 2) == 1 else X, objects=True)
    given = {name: array[:] for name, array in batch.arrays.items()}  # of a sparse matrix, the dense one
    arrays = given if kind is None or same(batch.schema, kind) else moved(batch, kind)
    found = {name: compute(arrays) for name, compute in made.items()}
    return arrays | {name: value for name, value in found.items() if value is not None}


def same(one: Schema, other: Schema) -> bool:
    """Whether inputs of two kinds have the same columns in the same places."""
    named = one.names is None or other.names is None or one.names == other.names
    return named and one.groups() == other.groups()


def moved(batch: Batch, kind: Schema) -> dict[str, Any]:
    """The columns of a batch as inputs of another kind; nothing if it lacks one, or has it as something else."""
    columns = columns_of(batch)
    places = places_of(batch.schema.names, kind)
    if any(place not in range(len(columns)) for place in places):
        return {}
    chosen = [converted(columns[place], dtype) for place, dtype in zip(places, kind.dtypes, strict=True)]
    found = [column for column in chosen if column is not None]
    if len(found) < len(chosen):
        return {}
    return grouped(kind, found)


def places_of(names: Sequence[str] | None, kind: Schema) -> list[int]:
    """Where the columns of a kind of input are among columns that may have names; -1 for one that is not there."""
    if names is None or kind.names is None:
        return list(range(len(kind.dtypes)))
    return [names.index(name) if name in names else -1 for name in kind.names]


def columns_of(batch: Batch) -> Columns:
    """The columns one by one, [N, 1]."""
    found: dict[int, Any] = {}
    for name, (_, members) in batch.schema.groups().items():
        whole = batch.arrays[name][:]
        alone = isinstance(whole, CategoryColumn)
        found |= {i: whole if alone else np.asarray(whole)[:, k : k + 1] for k, i in enumerate(members)}
    return [found[i] for i in range(len(found))]


def converted(column: np.ndarray | CategoryColumn, dtype: np.dtype) -> np.ndarray | CategoryColumn | None:
    """A column in another dtype; None where that has none of its values."""
    if isinstance(column, CategoryColumn):
        return column if dtype == OBJECT else None
    if dtype == OBJECT and column.dtype != OBJECT:
        return None
    if dtype.kind in "iub" and column.dtype.kind == "f" and not np.isfinite(column).all():
        return None
    try:
        with np.errstate(all="ignore"):
            return column.astype(dtype)
    except (TypeError, ValueError):  # strings
        return None


def by_input(encoder: Chosen, kind: Schema | None, X: Any) -> Encoder:
    """Who encodes, or the grids of each input's columns.

    kind: of the input; X: calibration rows, whose columns may have names where those of `kind` have none.
    Raises ValueError for other names, or another number of grids, than there are columns; NotRaw without a kind.
    """
    if isinstance(encoder, str | Grid):
        return encoder  # pyright: ignore[reportReturnType] - `FpgaExecutor` has looked at it
    if kind is None:
        raise NotRaw("which columns there are is not known, so that there is a Grid for all of them only")
    numbers = [i for i, dtype in enumerate(kind.dtypes) if dtype != OBJECT]
    grids = named(encoder, kind, X, numbers) if isinstance(encoder, Mapping) else tuple(encoder)
    if len(grids) != len(numbers):
        raise ValueError(f"encoder: there are {len(grids)} grids for {len(numbers)} columns")
    grid = dict(zip(numbers, grids, strict=True))
    groups = ((name, members) for name, (dtype, members) in kind.groups().items() if dtype != OBJECT)
    return {name: tuple(grid[i] for i in members) for name, members in groups}


def named(encoder: Mapping[str, Grid], kind: Schema, X: Any, numbers: Sequence[int]) -> tuple[Grid, ...]:
    """The grids of the columns that hold numbers, by their names."""
    names = kind.names or (None if X is None else read(X, objects=True).schema.names)
    if names is None or len(names) != len(kind.dtypes):
        raise ValueError("columns have no names here: pass a DataFrame as X, or a Grid for each column in their order")
    wanted = [names[i] for i in numbers]
    unknown = [name for name in encoder if name not in wanted]
    missing = [name for name in wanted if name not in encoder]
    if unknown or missing:
        what = [f"there is no column of numbers {shown(unknown)}"] if unknown else []
        what += [f"{shown(missing)} {'has' if len(missing) == 1 else 'have'} no Grid"] if missing else []
        raise ValueError(f"encoder: {'; '.join(what)}. The columns of numbers are {shown(wanted)}")
    return tuple(encoder[name] for name in wanted)


def shown(names: Sequence[str]) -> str:
    """Names in a message."""
    return ", ".join(map(repr, names))
