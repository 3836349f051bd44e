"""A circuit simulated, cycle by cycle: Verilator makes C++ of it, a compiler a library, and rows run through that."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tensorml.errors import CircuitError, InputError
from tensorml.executors.fpga.cache import kept
from tensorml.executors.fpga.circuit import Circuit, Field
from tensorml.executors.fpga.progress import Watch, shown
from tensorml.executors.fpga.tools import Tool, require

HARNESS = Path(__file__).with_name("simulate.cpp")
# Two-state, optimised; the language that the project promises; what lint says is for tests to see.
VERILATE = (
    "--cc -O3 --x-assign fast --x-initial fast --no-timing --default-language 1364-2005 -Wno-fatal -Wno-lint -Wno-style"
)
# -O2 compiles 1.8 times as long for 100 trees and runs no faster; constructors, in files named Slow, run once a call.
# Hidden names: two circuits in one process have classes of the same name.
COMPILE = "-std=c++17 -fPIC -fvisibility=hidden -w"
FAST, SLOW = "-O1", "-O0"
UNIT = 400_000  # bytes of C++ in one compilation: a second or two
ROWS = 4096  # packed at a time: their words stay in the cache
REASONS = {
    1: "it takes no more rows",
    2: "a result did not come",
    3: "a result came at the wrong time",
    4: "there are more results than rows",
}


@dataclass(frozen=True)
class Simulation:
    """What came out: results int64 [N, result fields], after so many cycles and seconds (without packing)."""

    results: np.ndarray
    cycles: int
    seconds: float


class Simulator:
    """Runs rows of integers through a circuit. Many threads may call it at once; they run at once.

    Raises MissingDependencyError without Verilator and a C++ compiler, CircuitError if they refuse the circuit.
    """

    def __init__(self, circuit: Circuit):
        self.circuit = circuit
        self._library = loaded(circuit)
        self._run = self._library.run_rows
        word, words = ctypes.c_int64, ctypes.c_void_p
        self._run.argtypes = [word, words, word, words, word, word, word, words]
        self._run.restype = ctypes.c_int
        self._lock = threading.Lock()
        self._rows, self._seconds = 0, 0.0

    def run(self, rows: np.ndarray) -> np.ndarray:
        """The results of rows: int64 [N, fields] to int64 [N, result fields].

        Raises InputError if a value does not fit its field, CircuitError if results do not come when they should.
        """
        return self.simulate(rows).results

    def simulate(self, rows: np.ndarray) -> Simulation:
        """As `run`, with the cycles that it took."""
        fields = self.circuit.outputs
        words = pack(rows, self.circuit.inputs)
        out = np.zeros((len(rows), word_count(fields)), np.uint32)
        start = time.perf_counter()
        cycles = self._call(words, out) if len(rows) else 0
        seconds = time.perf_counter() - start
        with self._lock:
            self._rows, self._seconds = self._rows + len(rows), self._seconds + seconds
        return Simulation(unpack(out, fields), cycles, seconds)

    @property
    def rows_per_second(self) -> float:
        """How fast rows have been simulated until now, over all calls; 0 before the first."""
        with self._lock:
            return self._rows / self._seconds if self._seconds else 0.0

    def _call(self, words: np.ndarray, out: np.ndarray) -> int:
        """The cycles that the rows took. words: uint32 [N, words of in_row]; out: uint32 [N, words of out_row]."""
        latency, interval = self.circuit.latency, self.circuit.interval
        seen = np.zeros(4, np.int64)
        status = self._run(
            len(words),
            words.ctypes.data,
            words.shape[1],
            out.ctypes.data,
            out.shape[1],
            latency,
            latency + interval,
            seen.ctypes.data,
        )
        if status:
            cycles, taken, results, took = seen.tolist()
            last = f"; the last one took {took} cycles" if taken and status == 3 else ""
            raise CircuitError(
                f"the circuit '{self.circuit.name}' (latency {latency}, interval {interval}) does not keep to its "
                f"interface: {REASONS[status]}. In cycle {cycles}, {taken} of {len(words)} rows were taken, {results} "
                f"results had come{last}"
            )
        return int(seen[0])


def word_count(fields: Sequence[Field]) -> int:
    """The 32-bit words of a row, as Verilator has them: a port of 33 to 64 bits has two."""
    return -(-sum(field.width for field in fields) // 32)


def places(fields: Sequence[Field]) -> Iterator[tuple[int, Field, int, int]]:
    """For each field: its position, itself, and the word and the bit where it begins."""
    offset = 0
    for i, field in enumerate(fields):
        yield i, field, *divmod(offset, 32)
        offset += field.width


def pack(rows: np.ndarray, fields: Sequence[Field]) -> np.ndarray:
    """Rows as they are on a port: int64 [N, fields] to uint32 [N, words], the first field in the lowest bits.

    Raises InputError if a value does not fit its field.
    """
    check(rows, fields)
    words = np.empty((len(rows), word_count(fields)), np.uint32)
    for start in range(0, len(rows), ROWS):
        words[start : start + ROWS] = pack_columns(np.ascontiguousarray(rows[start : start + ROWS].T), fields).T
    return words


def pack_columns(columns: np.ndarray, fields: Sequence[Field]) -> np.ndarray:
    """int64 [fields, N], all of which fit, to uint32 [words, N]."""
    words = np.zeros((word_count(fields), columns.shape[1]), np.uint32)
    for i, field, word, shift in places(fields):
        bits = columns[i].view(np.uint64) & np.uint64((1 << field.width) - 1)
        words[word] |= low(bits << np.uint64(shift))
        if shift + field.width > 32:
            words[word + 1] |= low(bits >> np.uint64(32 - shift))
        if shift + field.width > 64:
            words[word + 2] |= low(bits >> np.uint64(64 - shift))
    return words


def low(bits: np.ndarray) -> np.ndarray:
    """The low 32 bits of uint64."""
    return bits.astype(np.uint32)


def check(rows: np.ndarray, fields: Sequence[Field]) -> None:
    """Raises InputError unless rows are int64 [N, fields] and each value fits its field."""
    if rows.dtype != np.int64 or rows.ndim != 2 or rows.shape[1] != len(fields):
        raise InputError(f"the circuit takes int64 [N, {len(fields)}], not {rows.dtype} {list(rows.shape)}")
    largest = np.iinfo(np.int64).max
    lowest = np.array([field.lowest for field in fields], np.int64)
    highest = np.array([min(field.highest, largest) for field in fields], np.int64)
    outside = (rows < lowest) | (rows > highest)
    if outside.any():
        n, i = np.argwhere(outside)[0].tolist()
        kind = "signed" if fields[i].signed else "unsigned"
        raise InputError(
            f"row {n}: {int(rows[n, i])} does not fit the field '{fields[i].name}' of the circuit, "
            f"which is {kind}, of {fields[i].width} bits"
        )


def unpack(words: np.ndarray, fields: Sequence[Field]) -> np.ndarray:
    """The fields of rows as they are on a port: uint32 [N, words] to int64 [N, fields].

    Raises CircuitError if an unsigned value of 64 bits is too large for int64.
    """
    rows = np.empty((len(words), len(fields)), np.int64)
    for start in range(0, len(rows), ROWS):
        rows[start : start + ROWS] = unpack_columns(words[start : start + ROWS].T.astype(np.uint64), fields).T
    return rows


def unpack_columns(words: np.ndarray, fields: Sequence[Field]) -> np.ndarray:
    """uint64 [words, N], each of which holds 32 bits, to int64 [fields, N]."""
    columns = np.empty((len(fields), words.shape[1]), np.int64)
    for i, field, word, shift in places(fields):
        bits = words[word] >> np.uint64(shift)
        if shift + field.width > 32:
            bits |= words[word + 1] << np.uint64(32 - shift)
        if shift + field.width > 64:
            bits |= words[word + 2] << np.uint64(64 - shift)
        top = 64 - field.width  # shifted up and down again, to extend the sign
        columns[i] = (bits << np.uint64(top)).view(np.int64) >> top
        if not field.signed:
            columns[i] &= (1 << min(field.width, 63)) - 1 if field.width < 64 else -1
            if field.width == 64 and (columns[i] < 0).any():
                raise CircuitError(f"a value of the unsigned field '{field.name}' is too large for int64")
    return columns


def loaded(circuit: Circuit) -> ctypes.CDLL:
    """The library of a circuit. One that was damaged in the cache is built again."""
    path = library(circuit)
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        with suppress(OSError):
            path.unlink()
    path = library(circuit)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise CircuitError(
            f"the simulation cannot be loaded: {error}. If programs are not allowed to run from {path.parent}, set "
            "TENSORML_CACHE to another folder"
        ) from error


def library(circuit: Circuit) -> Path:
    """The compiled library of a circuit: from the cache, or built into it, with a line on a terminal meanwhile."""
    verilator, compiler = require("verilator", "compiler")
    harness = HARNESS.read_text()
    made_by = (verilator.version, compiler.version, VERILATE, COMPILE, FAST, SLOW, harness, platform.machine())
    key = hashlib.sha256(repr(made_by).encode()).hexdigest()[:12]
    include = Path(verilator.environment["VERILATOR_ROOT"]) / "include"

    def build(folder: Path) -> Path:
        with shown(f"{circuit.name}: simulation") as show:
            show("compiling the simulator", 0.0)
            runtime = [kept(f"{path.stem}-{key}.o", partial(compile_file, path, compiler)) for path in parts]
            show("Verilog to C++", 0.0)
            verilate(circuit, folder, verilator)
            return compile_library(folder, include, runtime, compiler, show)

    parts = [include / "verilated.cpp", include / "verilated_threads.cpp"]
    return kept(f"{circuit.digest}-{key}.so", build)


def verilate(circuit: Circuit, folder: Path, verilator: Tool) -> None:
    """Write C++ of a circuit, and the loop that drives it, into a folder."""
    (folder / "circuit.v").write_text(circuit.alone)
    top = ("--top-module", circuit.name, "--prefix", "Model", "--Mdir", ".")
    verilator.run(*VERILATE.split(), *top, "circuit.v", folder=folder)
    shutil.copy(HARNESS, folder / HARNESS.name)


def compile_file(source: Path, compiler: Tool, folder: Path) -> Path:
    """Compile a file of Verilator's own."""
    include = source.parent
    compiler.run(*COMPILE.split(), FAST, *headers(include), "-c", source, "-o", "file.o", folder=folder)
    return folder / "file.o"


def headers(include: Path) -> tuple[str, ...]:
    """The options that name Verilator's folders."""
    return f"-I{include}", f"-I{include / 'vltstd'}"


def compile_library(folder: Path, include: Path, runtime: Sequence[Path], compiler: Tool, show: Watch) -> Path:
    """Compile all that Verilator wrote into a folder to a library, a unit a processor."""
    slow = sorted(folder.glob("*Slow.cpp"))
    fast = [path for path in sorted(folder.glob("*.cpp")) if path not in slow]
    jobs = [(unit, FAST) for unit in units(fast)] + [(unit, SLOW) for unit in units(slow)]

    def compiled(number: int) -> str:
        unit, level = jobs[number]
        source = folder / f"unit{number}.cc"
        source.write_text("".join(f'#include "{path.name}"\n' for path in unit))
        options = (*COMPILE.split(), level, "-I.", *headers(include))
        compiler.run(*options, "-c", source.name, "-o", f"unit{number}.o", folder=folder)
        return f"unit{number}.o"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects: list[str] = []
        show(f"compiling C++, {len(jobs)} parts", 0.0)
        for done in pool.map(compiled, range(len(jobs))):
            objects.append(done)
            show(f"compiling C++, {len(objects)} of {len(jobs)} parts done", 0.0)
    compiler.run("-shared", *objects, *runtime, "-o", "library.so", "-pthread", folder=folder)
    return folder / "library.so"


def units(paths: Sequence[Path]) -> list[list[Path]]:
    """The files in groups, each compiled as one: reading Verilator's headers takes most of the time of a small file."""
    groups: list[list[Path]] = []
    size = UNIT
    for path in paths:
        size += path.stat().st_size
        if size > UNIT:
            groups.append([])
            size = path.stat().st_size
        groups[-1].append(path)
    return groups
