"""The machine: kernels one after the other over a block of rows, then over the next block.

A value of the graph is a number of columns, each one array of a block's rows; the blocks of all values lie in one piece
of memory, a thread's arena, small enough to stay in its caches. Where a value was last used, another takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ctypes import addressof, c_char
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit, types

from tensorml.executors.simd.addresses import LANES, call, load
from tensorml.executors.simd.kernel import Kernel, cacheable
from tensorml.executors.simd.threads import in_parallel

CACHE = 256 * 1024  # bytes that a block of all values may take: a part of the second-level cache
FIRST_CACHE = 32 * 1024  # and of the first-level one, for blocks whose values are all in rows
LEAST_ROWS = 64  # of these, which need no number of lanes
MOST_ROWS = 512
WORTH_A_THREAD = 200_000  # nanoseconds of work from which on another thread is asked
LINE = 64  # bytes of a line of the cache, and of the widest vectors
HEADER = 2  # words of an instruction before its parameters: the kernel's address, the instruction's length


@dataclass(frozen=True)
class Place:
    """A place in the arena: so many bytes a row from its beginning, and an offset in bytes."""

    unit: int
    offset: int = 0


@dataclass(frozen=True, eq=False)
class Buffer:
    """Memory of the arena for values that live at the same time: `size` bytes a row, from `unit` on."""

    unit: int
    size: int


@dataclass(frozen=True, eq=False)
class Block:
    """A value for a block of rows: the place of each column. buffers: the memory that they lie in."""

    columns: tuple[Place, ...]
    dtype: np.dtype
    buffers: tuple[Buffer, ...]


@dataclass(frozen=True)
class Word:
    """The address of a word of the instructions: that number of them all."""

    number: int


Parameter = int | Place | Word


@dataclass(eq=False)
class Assembler:
    """Instructions as they are added: words, which of them are places, and the units of these.

    linked: which are addresses of words. kept: arrays whose addresses are among the words. cost: the estimated time for
    a row, in nanoseconds. few: whether calls have few rows; at_most: so many, if rules chose instructions that only pay
    for more; large: whether these read so much that a block has more rows. columns: of all values that are in columns.
    """

    few: bool = False
    at_most: int = 0
    large: bool = False
    words: list[int] = field(default_factory=list)
    relocated: list[int] = field(default_factory=list)
    units: list[int] = field(default_factory=list)
    linked: list[int] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)
    instructions: int = 0
    cost: float = 0.0
    height: int = 0
    columns: int = 0
    free: list[Buffer] = field(default_factory=list)

    def add(self, kernel: Kernel, *parameters: Parameter, cost: float = 0.0) -> int:
        """An instruction. Result: the number of the word that its first parameter is. cost: in nanoseconds a row."""
        start = len(self.words)
        self.words += [kernel.address, len(parameters) + HEADER]
        for parameter in parameters:
            if isinstance(parameter, Place):
                self.relocated.append(len(self.words))
                self.units.append(parameter.unit)
                self.words.append(parameter.offset)
            elif isinstance(parameter, Word):
                self.linked.append(len(self.words))
                self.words.append(8 * parameter.number)
            else:
                self.words.append(int(parameter))
        self.instructions += 1
        self.cost += cost
        return start + HEADER

    @property
    def next(self) -> int:
        """The number of the word that the first parameter of the next instruction will be."""
        return len(self.words) + HEADER

    def constant(self, array: np.ndarray) -> int:
        """The address of an array, whose copy begins at a multiple of 64."""
        copy = aligned(array)
        self.kept.append(copy)
        return address_of(copy)

    def allocate(self, columns: int, dtype: np.dtype) -> Block:
        """Room for a value."""
        self.columns += columns
        buffer = self.reserve(columns * dtype.itemsize)
        places = tuple(Place(buffer.unit + k * dtype.itemsize) for k in range(columns))
        return Block(places, dtype, (buffer,))

    def place(self, buffer: Buffer) -> Place:
        """Where memory begins."""
        return Place(buffer.unit)

    def reserve(self, size: int) -> Buffer:
        """So many bytes a row: the smallest free piece that is large enough, or new memory."""
        fitting = [piece for piece in self.free if piece.size >= size]
        if not fitting:
            self.height += size
            return Buffer(self.height - size, size)
        piece = min(fitting, key=lambda piece: piece.size)
        self.free.remove(piece)
        if piece.size > size:
            self.free.append(Buffer(piece.unit + size, piece.size - size))
        return Buffer(piece.unit, size)

    def release(self, buffer: Buffer) -> None:
        """Give memory back, joined with free pieces beside it."""
        before = next((piece for piece in self.free if piece.unit + piece.size == buffer.unit), None)
        after = next((piece for piece in self.free if piece.unit == buffer.unit + buffer.size), None)
        unit, size = buffer.unit, buffer.size
        for piece in (before, after):
            if piece is not None:
                self.free.remove(piece)
                unit, size = min(unit, piece.unit), size + piece.size
        self.free.append(Buffer(unit, size))


@dataclass(frozen=True)
class Outer:
    """An array of the caller's: the number of the word that takes its address; two more take its strides."""

    name: str
    word: int
    dtype: np.dtype
    shape: tuple[int, ...] = ()


class Machine:
    """Instructions, ready to run on any number of threads. Immutable but for a stock of arenas."""

    def __init__(self, assembler: Assembler, inputs: Sequence[Outer], outputs: Sequence[Outer], threads: int):
        self.inputs, self.outputs, self.threads = tuple(inputs), tuple(outputs), threads
        self.kept, self.instructions, self.cost = tuple(assembler.kept), assembler.instructions, assembler.cost
        self.rows = rows_of_rows(assembler.height)
        if assembler.columns:
            self.rows = rows_of_block(assembler.height, 2 if assembler.large else 1)
        self.stride = self.rows + (LINE if self.rows >= 256 else 0)  # not a power of two: columns share no cache set
        self.size = assembler.height * self.stride + LANES
        self.words = np.array(assembler.words, np.int64)
        self.relocated = np.array(assembler.relocated, np.int64)
        self.units = np.array(assembler.units, np.int64)
        self.linked = np.array(assembler.linked, np.int64)
        self.told = [outer.word + k for outer in self.inputs for k in range(3)] + [outer.word for outer in self.outputs]
        self.reads = tuple(outer.name for outer in self.inputs)
        self.writes = tuple((outer.name, outer.shape, outer.dtype) for outer in self.outputs)
        self.stock: list[Arena] = []

    def __call__(self, arrays: Mapping[str, np.ndarray], rows: int) -> dict[str, np.ndarray] | None:
        """The outputs for all rows, or None if some hold what the model does not take."""
        words: list[int] = []
        held: list[np.ndarray] = []
        results: dict[str, np.ndarray] = {}
        for name in self.reads:
            x = arrays[name]
            if x.ndim > 2:
                x = x.reshape(rows, -1)  # which may be a copy
                held.append(x)
            words += words_of(x)
        for name, shape, dtype in self.writes:
            results[name] = made = np.empty((rows, *shape), dtype)
            words.append(address_of(made))
        if rows <= self.rows or rows * self.cost < 2 * WORTH_A_THREAD:
            return results if rows == 0 or self.run(words, 0, rows) == 0 else None
        wanted = min(self.threads, int(rows * self.cost / WORTH_A_THREAD), -(-rows // self.rows))
        if wanted < 2:
            return results if self.run(words, 0, rows) == 0 else None
        step = -(-rows // (wanted * 4 * self.rows)) * self.rows
        starts = range(0, rows, step)
        statuses = in_parallel(lambda start: self.run(words, start, min(start + step, rows)), starts, wanted)
        return results if not any(statuses) else None

    def run(self, words: Sequence[int], start: int, stop: int) -> int:
        """The status of the rows from start to stop. words: what the instructions are told of the caller's arrays."""
        try:
            arena = self.stock.pop()
        except IndexError:  # other threads have them all
            arena = Arena(self)
        view = arena.view
        for k, word in zip(self.told, words, strict=True):
            view[k] = word
        status = driven(arena.address, self.instructions, start, stop, self.rows)
        self.stock.append(arena)
        return status


def rows_of_block(height: int, times: int = 1) -> int:
    """How many rows, a multiple of the lanes, keep a block of `height` bytes a row in its share of the cache."""
    return max(LANES, min(times * MOST_ROWS, times * CACHE // max(1, height) // LANES * LANES))


def rows_of_rows(height: int) -> int:
    """How many rows keep a block in the first-level cache where no value is in columns: chains run to their end."""
    return max(LEAST_ROWS, min(MOST_ROWS, FIRST_CACHE // max(1, height) // LEAST_ROWS * LEAST_ROWS))


class Arena:
    """A thread's memory, and the instructions with the addresses in it."""

    def __init__(self, machine: Machine):
        self.memory = aligned(np.zeros(machine.size, np.uint8))
        self.words = aligned(machine.words)
        self.words[machine.relocated] += machine.units * machine.stride + address_of(self.memory)
        self.address, self.view = address_of(self.words), self.words.data  # a view that is set faster
        self.words[machine.linked] += self.address


def address_of(array: np.ndarray) -> int:
    """Where an array's memory begins: by its buffer, or, four times as slow, from what describes the array."""
    try:
        return addressof(c_char.from_buffer(array))  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, BufferError):  # read-only, empty, or not in one piece
        return array.__array_interface__["data"][0]


def words_of(array: np.ndarray) -> tuple[int, int, int]:
    """An array's address and its strides, in bytes: from row to row and from column to column."""
    strides = array.strides
    return address_of(array), strides[0], strides[1] if len(strides) > 1 else 0


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy that begins at a multiple of 64 bytes, with 64 bytes behind it that may be read."""
    array = np.ascontiguousarray(array)
    room = np.zeros(array.nbytes + 2 * LINE, np.uint8)
    start = -address_of(room) % LINE
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


DRIVE = types.int64(types.int64, types.int64, types.int64, types.int64, types.int64)


def drive(program: int, instructions: int, start: int, stop: int, block: int) -> int:
    """Run all instructions on the rows from start to stop, block by block. Result: the first status that is not 0."""
    for first in range(start, stop, block):
        rows = min(block, stop - first)
        word = program
        for _ in range(instructions):
            status = call(load(word, 0, "int64"), word + 8 * HEADER, first, rows)
            if status != 0:
                return status
            word += 8 * load(word, 1, "int64")
    return 0


driven = njit(DRIVE, nogil=True, cache=cacheable(drive))(drive)
