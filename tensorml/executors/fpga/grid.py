"""Fixed-point values as they come: from a converter of signals, or a design that computes in fixed point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tensorml.errors import GraphTypeError, InputError
from tensorml.executors.reference import evaluate
from tensorml.graph import Const, Graph, Op, TensorType
from tensorml.ops.fixed_point import FURTHEST

INT64 = np.dtype(np.int64)


@dataclass(frozen=True)
class Grid:
    """The fixed-point numbers that a column has: integers of so many bits, `fraction` of them behind the binary point.

    bits=12, fraction=4 are the numbers from -128 to 127.9375 in steps of 1/16, or with signed=False from 0 to 255.9375:
    ap_fixed<12, 8> and ap_ufixed<12, 8> elsewhere, whose second number counts the bits before the point. fraction may
    be negative, or more than bits.
    otherwise: what becomes of other numbers in `predict(X)`: "refuse" raises InputError; "nearest" takes the nearest
    one, half up, and counts. NaN is always refused.
    """

    bits: int
    fraction: int = 0
    signed: bool = True
    otherwise: Literal["refuse", "nearest"] = "refuse"

    def __post_init__(self) -> None:
        if not (is_whole(self.bits) and 1 <= self.bits <= 53):
            raise ValueError(f"bits is 1 to 53, not {self.bits!r}")
        if not (is_whole(self.fraction) and -64 <= self.fraction <= 64):
            raise ValueError(f"fraction is -64 to 64, not {self.fraction!r}")
        if not isinstance(self.signed, bool):
            raise ValueError(f"signed is True or False, not {self.signed!r}")
        if self.otherwise not in ("refuse", "nearest"):
            raise ValueError(f"otherwise is 'refuse' or 'nearest', not {self.otherwise!r}")

    def __str__(self) -> str:
        return f"ap_{'' if self.signed else 'u'}fixed<{self.bits}, {self.bits - self.fraction}>"

    @property
    def low(self) -> int:
        """The integer of the least number."""
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def high(self) -> int:
        """The integer of the largest number."""
        return (1 << self.bits - self.signed) - 1

    @property
    def step(self) -> float:
        """From a number to the next."""
        return 2.0**-self.fraction


def is_whole(value: object) -> bool:
    """Whether an option is an integer."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


class OnGrid(Op):
    """The integers of fixed-point numbers. Raises InputError for NaN, and as its grid says for what is none of them.

    x: [N, C], floats, integers or bools; grids: of each column. Result: int64 [N, C], within +-2^62 where a grid takes
    the nearest: what is outside of its range is limited afterwards, where it is counted.
    """

    x: Op
    grids: tuple[Grid, ...]

    def infer(self) -> TensorType:
        """int64 columns."""
        if self.x.dtype.kind not in "fiub" or self.x.shape[1:] != (len(self.grids),):
            raise GraphTypeError(f"{len(self.grids)} grids do not take {self.x.type}")
        return TensorType(self.x.shape, INT64)

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        """The nearest integers."""
        x = operands[0].astype(np.float64)
        if np.isnan(x).any():
            raise InputError("Input X contains NaN, which fixed point does not hold. Impute missing values before it.")
        strict = np.array([grid.otherwise == "refuse" for grid in self.grids])
        refused = np.argwhere(self.off(x) & strict)
        if len(refused):
            row, column = refused[0]
            value, grid = float(x[row, column]), self.grids[column]
            raise InputError(
                f"{len(refused)} values are none of their fixed-point numbers, the first in row {row}: "
                f"{value!r} is not one of {grid}. Round them before, or take the nearest: Grid(otherwise='nearest')."
            )
        return self.nearest(x)

    def off(self, x: np.ndarray) -> np.ndarray:
        """Where numbers are none of the grid. bool [N, C]."""
        return self.numbers(np.clip(self.nearest(x), self.ends[0], self.ends[1])) != x

    def count_off(self, inputs: Mapping[str, np.ndarray]) -> int:
        """How many values of the inputs are taken to the nearest."""
        return int(self.off(evaluate(Graph({"x": self.x}), inputs)["x"].astype(np.float64)).sum())

    def nearest(self, x: np.ndarray) -> np.ndarray:
        """The nearest integers, half up."""
        with np.errstate(all="ignore"):
            steps = np.floor(np.ldexp(x.astype(np.float64), self.fraction) + 0.5)
        return np.clip(steps, -FURTHEST, FURTHEST).astype(np.int64)

    def numbers(self, integers: np.ndarray) -> np.ndarray:
        """What integers stand for. float64 [N, C]."""
        return np.ldexp(integers.astype(np.float64), -self.fraction)

    @property
    def fraction(self) -> np.ndarray:
        """Of each column. int [C]."""
        return np.array([grid.fraction for grid in self.grids])

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest integer of each column. int64 [C] each."""
        low, high = np.array([(grid.low, grid.high) for grid in self.grids], np.int64).reshape(-1, 2).T
        return low, high


def snapped(rows: Mapping[str, np.ndarray], grids: Grid | Mapping[str, Sequence[Grid]]) -> dict[str, np.ndarray] | None:
    """Rows of each input with numbers of the grid in the place of others, and without NaN; None if none are left."""
    floats = [x for x in rows.values() if x.dtype.kind == "f"]
    whole = np.all([~np.isnan(x).any(axis=1) for x in floats], axis=0) if floats else slice(None)
    rows = {name: x[whole] for name, x in rows.items()}
    if not all(len(x) for x in rows.values()):
        return None
    found = dict(rows)
    for name, x in rows.items():
        each = (grids,) * x.shape[1] if isinstance(grids, Grid) else tuple(grids.get(name, ()))
        if x.dtype.kind in "fiu" and each:
            grid = OnGrid(Const(x), each)
            found[name] = grid.numbers(np.clip(grid.nearest(x), *grid.ends)).astype(x.dtype)
    return found


class RankWhole(Op):
    """The number of boundaries that an integer has reached, as `Rank` of floats.

    x: int64 [N, C]; source: int64 [K]; boundaries: int64 [B], ascending in each column; offsets: int64 [K + 1]. Result:
    int64 [N, K].
    """

    x: Op
    source: np.ndarray
    boundaries: np.ndarray
    offsets: np.ndarray

    def infer(self) -> TensorType:
        """int64 columns."""
        if self.x.dtype != INT64 or self.boundaries.dtype != INT64:
            raise GraphTypeError(f"RankWhole among {self.boundaries.dtype} boundaries does not take {self.x.type}")
        return TensorType((self.x.shape[0], len(self.source)), INT64)

    def column(self, k: int) -> np.ndarray:
        """The boundaries of result column k."""
        return self.boundaries[self.offsets[k] : self.offsets[k + 1]]

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        """By a search in each column."""
        x = operands[0]
        found = [np.searchsorted(self.column(k), x[:, c], side="right") for k, c in enumerate(self.source)]
        return np.stack(found, 1) if found else np.empty((len(x), 0), np.int64)
