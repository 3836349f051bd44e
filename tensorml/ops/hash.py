"""Hashes of texts, and the host operators for columns of objects that libraries hash or read as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorml.errors import GraphTypeError, InputError
from tensorml.graph import TensorType
from tensorml.ops.host import HostOp

K0, K1, K2, K3 = map(np.uint64, (0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F, 0xC949D7C7509E6557))
PAIR = np.uint64(0x9DDFEA08EB382D69)
TODO = "Convert the column: X[column].astype(str), as when the model was fitted."

Words = np.ndarray  # uint64 [n], one for each text


class CategoryHash(HostOp):
    """The low 32 bits of CityHash64 (version 1.0) of each value's text, as a signed number.

    The text of a string is itself in UTF-8, that of bytes is itself, that of an integer its digits, that of a bool 0
    or 1. Raises InputError for all other values: floats, None, NaN, dates.

    x: object, integer or bool [N, C]; name: the column's, for messages. Result: int64, shape of x.
    """

    name: str

    def infer(self) -> TensorType:
        if self.x.dtype.kind not in "Obiu":
            raise GraphTypeError(f"CategoryHash does not take {self.x.type}")
        return super().infer()

    def of(self, value: object) -> int:
        return int(text_hashes([self.text(value)])[0])

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        if x.dtype != object:
            values, place = np.unique(x, return_inverse=True)
            return text_hashes([str(int(value)).encode() for value in values])[place].reshape(x.shape)
        values = x.reshape(-1).tolist()
        if not {type(value) for value in values} <= {str, int, bool, bytes}:  # among these, equals have one text
            values = [self.text(value) for value in values]
        distinct = dict.fromkeys(values)
        hashes = text_hashes([self.text(value) for value in distinct]).tolist()
        known = dict(zip(distinct, hashes, strict=True))
        return np.array([known[value] for value in values], np.int64).reshape(x.shape)

    def text(self, value: object) -> bytes:
        """What is hashed for a value."""
        if isinstance(value, np.bool_):
            value = bool(value)
        if isinstance(value, bytes):
            return bytes(value)
        if isinstance(value, np.unsignedinteger) or (isinstance(value, int | np.integer) and in_64_bits(int(value))):
            return str(int(value)).encode()
        if not isinstance(value, str):
            raise InputError(
                f"column {self.name} holds {value!r}: a category is a string or an integer of 64 bits. {TODO}"
            )
        try:
            return str.encode(value)
        except UnicodeEncodeError as error:
            raise InputError(f"column {self.name} holds {value!r}, which is no text: {error}") from None


class Float32(HostOp):
    """Each value as a float32, None as NaN. Raises InputError for what is neither a number nor a bool.

    x: object [N, C]; name: the column's, for messages. Result: float32, shape of x; as float(value), then rounded.
    """

    name: str

    def infer(self) -> TensorType:
        if self.x.dtype != np.dtype(object):
            raise GraphTypeError(f"Float32 does not take {self.x.type}")
        return TensorType(self.x.shape, np.dtype(np.float32))

    def reference(self, *operands: np.ndarray) -> np.ndarray:
        (x,) = operands
        values = [self.number(value) for value in x.reshape(-1).tolist()]
        with np.errstate(over="ignore"):
            return np.array(values, np.float64).astype(np.float32).reshape(x.shape)

    def number(self, value: object) -> float:
        """A value as a Python float."""
        if value is None:
            return np.nan
        if isinstance(value, int | float | np.integer | np.floating | np.bool_):
            try:
                return float(value)
            except OverflowError:
                pass
        raise InputError(f"column {self.name} holds {value!r}, which is not a number. Convert it: X.astype('float64').")


def in_64_bits(value: int) -> bool:
    """Whether an int64 can hold the integer."""
    return -(2**63) <= value < 2**63


def text_hashes(texts: Sequence[bytes]) -> np.ndarray:
    """The low 32 bits of each text's CityHash64, as a signed number. Result: int64 [n]."""
    hashes = np.empty(len(texts), np.uint64)
    lengths = np.array([len(text) for text in texts], np.int64)
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        joined = np.frombuffer(b"".join(texts[i] for i in same.tolist()), np.uint8)
        hashes[same] = city_hash_64(joined.reshape(len(same), length))
    return hashes.astype(np.uint32).view(np.int32).astype(np.int64)


def city_hash_64(texts: np.ndarray) -> Words:
    """CityHash64 of texts of one length. texts: uint8 [n, length]. Result: uint64 [n].

    Source: CityHash 1.0 (city.cc), which version 1.1 changed for texts of up to 64 bytes. Arithmetic is modulo 2**64.
    """
    length = texts.shape[1]
    if length <= 16:
        return _up_to_16(texts)
    if length <= 32:
        return _up_to_32(texts)
    return _up_to_64(texts) if length <= 64 else _long(texts)


def _up_to_16(texts: np.ndarray) -> Words:
    count, length = texts.shape
    size = np.uint64(length)
    if length > 8:
        first, last = _word(texts, 0), _word(texts, length - 8)
        return _pair(first, _rotate(last + size, length)) ^ last
    if length >= 4:
        return _pair(size + (_word(texts, 0, 4) << np.uint64(3)), _word(texts, length - 4, 4))
    if length == 0:
        return np.full(count, K2)
    first, middle, last = (texts[:, i].astype(np.uint64) for i in (0, length // 2, length - 1))
    return _mix((first + (middle << np.uint64(8))) * K2 ^ (size + (last << np.uint64(2))) * K3) * K2


def _up_to_32(texts: np.ndarray) -> Words:
    length = texts.shape[1]
    a, b = _word(texts, 0) * K1, _word(texts, 8)
    c, d = _word(texts, length - 8) * K2, _word(texts, length - 16) * K0
    return _pair(_rotate(a - b, 43) + _rotate(c, 30) + d, a + _rotate(b ^ K3, 20) - c + np.uint64(length))


def _up_to_64(texts: np.ndarray) -> Words:
    length = texts.shape[1]
    near, far = _word(texts, 24), _word(texts, length - 8)
    start = _word(texts, 0) + (np.uint64(length) + _word(texts, length - 16)) * K0
    v = _half(start, near, _word(texts, 8), _word(texts, 16))
    start = _word(texts, 16) + _word(texts, length - 32)
    w = _half(start, far, _word(texts, length - 24), _word(texts, length - 16))
    return _mix(_mix((v[0] + w[1]) * K2 + (w[0] + v[1]) * K0) * K0 + v[1]) * K2


def _half(a: Words, z: Words, second: Words, third: Words) -> tuple[Words, Words]:
    """Two sums over 32 bytes, for texts of 33 to 64."""
    b, c = _rotate(a + z, 52), _rotate(a, 37)
    a = a + second
    c = c + _rotate(a, 7)
    a = a + third
    return a + z, b + _rotate(a, 31) + c


def _long(texts: np.ndarray) -> Words:
    length = texts.shape[1]
    size = np.uint64(length)
    x, y, z = _word(texts, 0), _word(texts, length - 16) ^ K1, _word(texts, length - 56) ^ K0
    v = _block(texts, length - 64, size, y)
    w = _block(texts, length - 32, np.full(len(texts), size) * K1, K0)
    z = z + _mix(v[1]) * K1
    x, y = _rotate(z + x, 39) * K1, _rotate(y, 33) * K1
    for start in range(0, (length - 1) // 64 * 64, 64):
        x = _rotate(x + y + v[0] + _word(texts, start + 16), 37) * K1 ^ w[1]
        y = _rotate(y + v[1] + _word(texts, start + 48), 42) * K1 ^ v[0]
        z = _rotate(z ^ w[0], 33)
        v = _block(texts, start, v[1] * K1, x + w[0])
        w = _block(texts, start + 32, z + w[1], y)
        z, x = x, z
    return _pair(_pair(v[0], w[0]) + _mix(y) * K1 + z, _pair(v[1], w[1]) + x)


def _block(texts: np.ndarray, start: int, a: Words | np.uint64, b: Words | np.uint64) -> tuple[Words, Words]:
    """Two sums over 32 bytes and two seeds."""
    w, x, y, z = (_word(texts, start + 8 * i) for i in range(4))
    first = a + w
    b = _rotate(b + first + z, 21)
    total = first + x + y
    return total + z, b + _rotate(total, 44) + first


def _word(texts: np.ndarray, start: int, size: int = 8) -> Words:
    """`size` bytes of each text as a number, the first byte the lowest."""
    return np.ascontiguousarray(texts[:, start : start + size]).view(f"<u{size}")[:, 0].astype(np.uint64)


def _rotate(x: Words, by: int) -> Words:
    return x >> np.uint64(by) | x << np.uint64(64 - by)


def _mix(x: Words) -> Words:
    return x ^ x >> np.uint64(47)


def _pair(low: Words, high: Words) -> Words:
    """One number of two."""
    return _mix((high ^ (_mix((low ^ high) * PAIR))) * PAIR) * PAIR
