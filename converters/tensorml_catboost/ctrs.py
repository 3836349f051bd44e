"""CatBoost's CTRs (statistics of the target by category), read from its model file: what each is for which categories.

The JSON export does not say which of several binarized targets a CTR counts (`TargetBorderClassifierIdx`), so that two
tables may have one name there. The model file (.cbm) says it: a FlatBuffers table, then a table for each CTR.

**Source:** catboost/libs/model: flatbuffers/{model,features,ctr_data}.fbs, model.cpp (TFullModel::Save), ctr_data.h,
ctr_value_table.cpp, static_ctr_provider.cpp (CalcCtrs), online_ctr.h (TModelCtr::Calc), ctr_provider.h (CalcHashes).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from tensorml.converter import Model, once_per_model, unsupported
from tensorml_catboost.cbm import Table as FlatTable
from tensorml_catboost.cbm import core
from tensorml_catboost.cbm import table as flat_table

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
TREES, CTR_FEATURES = 1, 7  # fields of TModelCore and TModelTrees by number, in the order of model.fbs


def serialized(model: Model) -> bytes:
    """What pickling a model serializes: the content of its .cbm file."""
    return model.__getstate__()["__model"]


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
    content = serialized(model)
    ctrs = tuple(_ctr(feature.table(0)) for feature in core(content).table(TREES).tables(CTR_FEATURES))
    tables = _tables(memoryview(content), 8 + _size(content, 4))
    if any(ctr.base not in tables for ctr in ctrs):
        raise unsupported(
            model,
            "its CTR tables are missing: it was fitted with final_ctr_computation_mode='Skip'",
            "Fit it with final_ctr_computation_mode='Default'",
        )
    return Ctrs(ctrs, tables)


def _size(content: bytes | memoryview, at: int) -> int:
    return struct.unpack_from("<I", content, at)[0]


def _ctr(ctr: FlatTable) -> Ctr:
    prior, denominator, shift, scale = (
        _single(ctr, field, default) for field, default in ((2, 0.0), (3, 1.0), (4, 0.0), (5, 1.0))
    )
    return Ctr(_base(ctr.table(0)), ctr.integer(1, 0), prior, denominator, shift, scale)


def _single(table: FlatTable, field: int, default: float) -> np.float32:
    """A float32."""
    stored = field < len(table.fields) and table.fields[field]
    return np.frombuffer(table.data, "<f4", 1, table.at + table.fields[field])[0] if stored else np.float32(default)


def _base(base: FlatTable) -> Base:
    combination = base.table(0)
    return Base(
        Combination(
            tuple(combination.array(0, np.int32).tolist()),
            tuple(combination.array(1, FLOAT_SPLIT).tolist()),
            tuple(combination.array(2, ONE_HOT_SPLIT).tolist()),
        ),
        KINDS[base.byte(1)],
        base.integer(2, 0),
    )


def _tables(content: memoryview, start: int) -> dict[Base, Table]:
    """The tables that follow the model's core, if there are any: their number, then each with its size before it."""
    tables: dict[Base, Table] = {}
    if start == len(content):
        return tables
    position = start + 4
    for _ in range(_size(content, start)):
        size = _size(content, position)
        position += 4
        own = content[position : position + size]
        found = flat_table(own, _size(own, 0))
        base = _base(found.table(0))
        tables[base] = _table(base.kind, found)
        position += size
    return tables


def _table(kind: str, table: FlatTable) -> Table:
    buckets = table.array(1, np.uint8).view(BUCKET)
    buckets = buckets[buckets["hash"] != EMPTY]
    keys = buckets["hash"].astype(np.int64)
    order = np.argsort(keys)
    row, blob = buckets["row"][order], table.array(2, np.uint8)
    denominator, classes = table.integer(3, 0), table.integer(4, 0)
    if kind in (BINARIZED_MEAN, FLOAT_MEAN):
        means = blob.view(MEAN)[row]
        return Table(keys[order], means["count"][:, None], means["sum"], denominator)
    width = 1 if kind in (COUNTER, FREQUENCY) else max(classes, 2)
    return Table(keys[order], blob.view("<i4").reshape(-1, width)[row], None, denominator)
