"""Reads UBJSON, the binary format of XGBoost's own model export: numbers keep their bits, arrays become NumPy arrays.

Source: the UBJSON specification, draft 12 (ubjson.org); src/common/json.cc of XGBoost writes strongly typed arrays.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

NUMBERS = {
    ord(mark): struct.Struct(code)
    for mark, code in {"i": ">b", "U": ">B", "I": ">h", "l": ">i", "L": ">q", "d": ">f", "D": ">d"}.items()
}
DTYPES = {mark: np.dtype(number.format) for mark, number in NUMBERS.items()}
CONSTANTS = {ord("Z"): None, ord("T"): True, ord("F"): False}
STRING, CHARACTER, ARRAY, ARRAY_END, OBJECT, OBJECT_END, TYPE, COUNT = map(ord, "SC[]{}$#")


def loads(data: bytes | bytearray) -> Any:
    """The value that the document holds: dicts, lists, strings, numbers, and NumPy arrays for arrays of one type.

    Raises ValueError for what is not one UBJSON value.
    """
    try:
        value, end = _value(data, 0)
    except (IndexError, struct.error, KeyError) as error:
        raise ValueError(f"not a UBJSON document: {error!r}") from None
    if end != len(data):
        raise ValueError(f"not a UBJSON document: {len(data) - end} bytes after its end")
    return value


def _value(data: bytes | bytearray, at: int) -> tuple[Any, int]:
    """The value whose type mark stands at `at`, and where the next one starts."""
    mark, at = data[at], at + 1
    if mark in NUMBERS:
        return _number(data, mark, at)
    if mark == ARRAY:
        return _array(data, at)
    if mark == OBJECT:
        return _object(data, at)
    if mark == STRING:
        return _string(data, at)
    if mark == CHARACTER:
        return chr(data[at]), at + 1
    return CONSTANTS[mark], at


def _number(data: bytes | bytearray, mark: int, at: int) -> tuple[Any, int]:
    number = NUMBERS[mark]
    return number.unpack_from(data, at)[0], at + number.size


def _string(data: bytes | bytearray, at: int) -> tuple[str, int]:
    length, at = _number(data, data[at], at + 1)
    if not 0 <= length <= len(data) - at:
        raise ValueError(f"not a UBJSON document: a string of {length} bytes")
    return data[at : at + length].decode(), at + length


def _object(data: bytes | bytearray, at: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    while data[at] != OBJECT_END:
        key, at = _string(data, at)
        found[key], at = _value(data, at)
    return found, at + 1


def _array(data: bytes | bytearray, at: int) -> tuple[Any, int]:
    """An array of one type as a view of the document, its byte order big-endian; any other one as a list."""
    dtype = None
    if data[at] == TYPE:
        dtype, at = DTYPES[data[at + 1]], at + 2
    if data[at] != COUNT:
        return _open_list(data, at)
    count, at = _number(data, data[at + 1], at + 2)
    if dtype is not None:
        array = np.frombuffer(data, dtype, count, at)
        return array, at + array.nbytes
    values: list[Any] = []
    for _ in range(count):
        value, at = _value(data, at)
        values.append(value)
    return values, at


def _open_list(data: bytes | bytearray, at: int) -> tuple[list[Any], int]:
    """An array that ends at its bracket."""
    values: list[Any] = []
    while data[at] != ARRAY_END:
        value, at = _value(data, at)
        values.append(value)
    return values, at + 1
