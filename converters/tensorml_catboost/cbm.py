"""Reads CatBoost's own binary model format, as far as trees of numbers need it, without copying its arrays.

Four bytes `CBM1`, the length of the core, the core: a FlatBuffer, whose tables are read by the number of a field.
Source: TFullModel::Save (catboost/libs/model/model.cpp); model.fbs and features.fbs (catboost/libs/model/flatbuffers);
the FlatBuffers internals page (flatbuffers.dev).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

MAGIC = b"CBM1"


@dataclass(frozen=True)
class Table:
    """A table of a FlatBuffer. Fields that it does not hold read as their default.

    at: where it starts; fields: for each field its distance from there, 0 for one that is not stored.
    """

    data: memoryview
    at: int
    fields: tuple[int, ...]

    def array(self, field: int, dtype: np.dtype | type) -> np.ndarray:
        """A vector of numbers, which shares the buffer's memory."""
        if not self._stored(field):
            return np.empty(0, dtype)
        start, count = self._vector(field)
        return np.frombuffer(self.data, np.dtype(dtype).newbyteorder("<"), count, start)

    def integer(self, field: int, default: int) -> int:
        """An int32."""
        return _int32(self.data, self.at + self.fields[field]) if self._stored(field) else default

    def byte(self, field: int, default: int = 0) -> int:
        """A Boolean or a member of an enumeration."""
        return self.data[self.at + self.fields[field]] if self._stored(field) else default

    def text(self, field: int) -> str:
        """A string."""
        return self.array(field, np.uint8).tobytes().decode()

    def table(self, field: int) -> Table:
        """The table in a field. Raises ValueError if it is not there."""
        if not self._stored(field):
            raise ValueError(f"the model has no field {field}")
        return table(self.data, self._target(self.at + self.fields[field]))

    def tables(self, field: int) -> list[Table]:
        """A vector of tables."""
        if not self._stored(field):
            return []
        start, count = self._vector(field)
        return [table(self.data, self._target(start + 4 * i)) for i in range(count)]

    def _stored(self, field: int) -> bool:
        return field < len(self.fields) and self.fields[field] != 0

    def _vector(self, field: int) -> tuple[int, int]:
        start = self._target(self.at + self.fields[field])
        return start + 4, _uint32(self.data, start)

    def _target(self, at: int) -> int:
        return at + _uint32(self.data, at)


def table(data: memoryview, at: int) -> Table:
    """The table that starts at `at`."""
    layout = at - _int32(data, at)
    size = struct.unpack_from("<H", data, layout)[0]
    return Table(data, at, struct.unpack_from(f"<{(size - 4) // 2}H", data, layout + 4))


def core(model: bytes) -> Table:
    """The table TModelCore of a serialized model. Raises ValueError for other bytes."""
    if model[:4] != MAGIC:
        raise ValueError(f"not a model of CatBoost: it starts with {model[:4]!r}")
    data = memoryview(model)[8 : 8 + _uint32(memoryview(model), 4)]
    return table(data, _uint32(data, 0))


def _uint32(data: memoryview, at: int) -> int:
    return struct.unpack_from("<I", data, at)[0]


def _int32(data: memoryview, at: int) -> int:
    return struct.unpack_from("<i", data, at)[0]
