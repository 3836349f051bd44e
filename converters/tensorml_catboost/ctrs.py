"""CatBoost's CTRs (statistics of the target by category), read from its model file: what each is for which categories.

The JSON export does not say which of several binarized targets a CTR counts (`TargetBorderClassifierIdx`), so that two
tables may have one name there. The model file (.cbm) says it: a FlatBuffers table, then a table for each CTR.

**Source:** catboost/libs/model: flatbuffers/{model,features,ctr_data}.fbs, model.cpp (TFullModel::Save), ctr_data.h,
ctr_value_table.cpp, static_ctr_provider.cpp (CalcCtrs), online_ctr.h (TModelCtr::Calc), ctr_provider.h (CalcHashes).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tensorml.converter import Model, once_per_model, unsupported

BORDERS, BUCKETS, BINARIZED_MEAN, FLOAT_MEAN, COUNTER, FREQUENCY = KINDS = (
    "Borders",
    "Buckets",
    "BinarizedTargetMeanValue",
    "FloatTargetMeanValue",
    "Counter",
    "FeatureFreq",
)
EMPTY = np.uint64(2**64 - 1)  # the hash of a bucket that holds nothing
BUCKET = np.dtype([("hash", "<u8"), ("row", "<u4")])
MEAN = np.dtype([("sum", "<f4"), ("count", "<i4")])
FLOAT_SPLIT = np.dtype([("feature", "<i4"), ("border", "<f4")])
ONE_HOT_SPLIT = np.dtype([("feature", "<i4"), ("value", "<i4")])
MAGIC = b"CBM1"
STATIC_TABLES = "static_provider_v1"


@dataclass(frozen=True)
class Combination:
    """What a CTR groups rows by: categories, bits `value > border` of numbers, bits `category is value`, in this order.

    categories: positions among the categorical features; floats: positions among the float features with a border;
    one_hot: positions among the categorical features with a category's hash.
    """

    categories: tuple[int, ...]
    floats: tuple[tuple[int, float], ...]
    one_hot: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Base:
    """Which table a CTR reads. target: which of the binarized targets it counts."""

    combination: Combination
    kind: str
    target: int


@dataclass(frozen=True)
class Table:
    """What CatBoost counted for each group of rows, which it knows by a hash.

    keys: int64 [R], ascending: the groups' hashes, modulo 2**64; counts: int32 [R, classes], or [R, 1] for Counter,
    FeatureFreq and the mean values, which have sums too: float32 [R]; denominator: of Counter and FeatureFreq.
    """

    keys: np.ndarray
    counts: np.ndarray
    sums: np.ndarray | None
    denominator: int


@dataclass(frozen=True)
class Ctr:
    """A CTR with its constants, all float32.

    target_border: the class of the target that counts as a success (Buckets), or the last that does not (Borders).
    """

    base: Base
    target_border: int
    prior: np.float32
    prior_denominator: np.float32
    shift: np.float32
    scale: np.float32

    def values(self, table: Table) -> np.ndarray:
        """The CTR of each of the table's groups, and of a group that is not in it. float32 [R + 1].

        Source: TModelCtr::Calc: ((good + prior) / (total + prior denominator) + shift) * scale in float32.
        """
        good, total = (np.append(part, other).astype(np.float32) for part, other in self._counted(table))
        with np.errstate(all="ignore"):
            mean = (good + self.prior) / (total + self.prior_denominator)
            return (mean + self.shift) * self.scale

    def _counted(self, table: Table) -> tuple[tuple[np.ndarray, int], tuple[np.ndarray, int]]:
        """Successes and trials: of each group, and of an unknown one."""
        counts, kind = table.counts, self.base.kind
        if table.sums is not None:
            return (table.sums, 0), (counts[:, 0], 0)
        if kind in (COUNTER, FREQUENCY):
            return (counts[:, 0], 0), (np.full(len(counts), table.denominator), table.denominator)
        good = counts[:, self.target_border] if kind == BUCKETS else counts[:, self.target_border + 1 :].sum(axis=1)
        return (good, 0), (counts.sum(axis=1), 0)


@dataclass(frozen=True)
class Ctrs:
    """The model's CTRs, in the order in which its splits number them, and the tables that they read."""

    ctrs: tuple[Ctr, ...]
    tables: dict[Base, Table]


@once_per_model
def read_ctrs(model: Model) -> Ctrs:
    """The CTRs of a model and their tables. Raises UnsupportedModelError if a table is missing."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "model.cbm"
        model.save_model(str(path))
        content = path.read_bytes()
    if content[:4] != MAGIC:
        raise unsupported(model, f"its model file starts with {content[:4]!r}", "Save it with a newer CatBoost")
    start = 8 + _number(content, 4, "<u4")
    core = _root(content[:start], 8)
    ctrs = tuple(_ctr(feature.table(0)) for feature in core.table(1).tables(7))
    tables = _tables(content, start) if STATIC_TABLES in core.texts(3) else {}
    for ctr in ctrs:
        if ctr.base not in tables:
            raise unsupported(
                model,
                "it was fitted with final_ctr_computation_mode='Skip', so it has no CTR tables",
                "Fit it with final_ctr_computation_mode='Default'",
            )
    return Ctrs(ctrs, tables)


def _ctr(ctr: FlatTable) -> Ctr:
    prior, denominator, shift, scale = (
        np.float32(ctr.number(field, "<f4", default)) for field, default in ((2, 0), (3, 1), (4, 0), (5, 1))
    )
    return Ctr(_base(ctr.table(0)), int(ctr.number(1, "<i4")), prior, denominator, shift, scale)


def _base(base: FlatTable) -> Base:
    combination = base.table(0)
    return Base(
        Combination(
            tuple(combination.array(0, np.dtype("<i4")).tolist()),
            tuple(combination.array(1, FLOAT_SPLIT).tolist()),
            tuple(combination.array(2, ONE_HOT_SPLIT).tolist()),
        ),
        KINDS[int(base.number(1, "<i1"))],
        int(base.number(2, "<i4")),
    )


def _tables(content: bytes, start: int) -> dict[Base, Table]:
    """The tables that follow the model's core: their number, then each with its size before it."""
    tables: dict[Base, Table] = {}
    position = start + 4
    for _ in range(_number(content, start, "<u4")):
        size = _number(content, position, "<u4")
        position += 4
        table = _root(content[position : position + size], 0)
        base = _base(table.table(0))
        tables[base] = _table(base.kind, table)
        position += size
    return tables


def _table(kind: str, table: FlatTable) -> Table:
    buckets = table.array(1, np.dtype("u1")).view(BUCKET)
    buckets = buckets[buckets["hash"] != EMPTY]
    keys = buckets["hash"].astype(np.int64)
    order = np.argsort(keys)
    row, blob = buckets["row"][order], table.array(2, np.dtype("u1"))
    denominator, classes = int(table.number(3, "<i4")), int(table.number(4, "<i4"))
    if kind in (BINARIZED_MEAN, FLOAT_MEAN):
        means = blob.view(MEAN)[row]
        return Table(keys[order], means["count"][:, None], means["sum"], denominator)
    width = 1 if kind in (COUNTER, FREQUENCY) else max(classes, 2)
    return Table(keys[order], blob.view("<i4").reshape(-1, width)[row], None, denominator)


@dataclass(frozen=True)
class FlatTable:
    """A table in the FlatBuffers format: its fields by their number in the schema."""

    content: bytes
    position: int

    def number(self, field: int, dtype: str, default: float = 0) -> float:
        """A number."""
        place = self._place(field)
        return default if place is None else _number(self.content, place, dtype)

    def table(self, field: int) -> FlatTable:
        """A table, which must be there."""
        return FlatTable(self.content, self._target(field) or 0)

    def tables(self, field: int) -> list[FlatTable]:
        """A vector of tables."""
        places = self._vector(field, np.dtype("<u4"))
        return [FlatTable(self.content, place + int(offset)) for place, offset in places]

    def texts(self, field: int) -> list[str]:
        """A vector of strings."""
        starts = [place + int(offset) for place, offset in self._vector(field, np.dtype("<u4"))]
        return [self.content[s + 4 : s + 4 + _number(self.content, s, "<u4")].decode() for s in starts]

    def array(self, field: int, dtype: np.dtype) -> np.ndarray:
        """A vector of numbers or structures; an absent one is empty."""
        start = self._target(field)
        if start is None:
            return np.empty(0, dtype)
        return np.frombuffer(self.content, dtype, _number(self.content, start, "<u4"), start + 4)

    def _vector(self, field: int, dtype: np.dtype) -> list[tuple[int, int]]:
        """The elements of a vector with the place of each."""
        start = self._target(field)
        return [] if start is None else [(start + 4 + 4 * i, n) for i, n in enumerate(self.array(field, dtype))]

    def _target(self, field: int) -> int | None:
        """Where the field points."""
        place = self._place(field)
        return None if place is None else place + _number(self.content, place, "<u4")

    def _place(self, field: int) -> int | None:
        """Where the field is; None if the table does not have it."""
        fields = self.position - _number(self.content, self.position, "<i4")
        entry = 4 + 2 * field
        if entry >= _number(self.content, fields, "<u2"):
            return None
        offset = _number(self.content, fields + entry, "<u2")
        return self.position + offset if offset else None


def _root(content: bytes, start: int) -> FlatTable:
    return FlatTable(content, start + _number(content, start, "<u4"))


def _number(content: bytes, place: int, dtype: str) -> int:
    return np.frombuffer(content, dtype, 1, place)[0].item()
