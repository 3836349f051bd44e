"""What the `simd` executor computes in rows beside products, and that it stays within the caller's memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")

from tensorml import ops
from tensorml.errors import InputError
from tensorml.executors.reference import evaluate
from tensorml.executors.simd.layout import layout
from tensorml.executors.simd.machine import Machine, address_of, words_of
from tensorml.executors.simd.program import Lowering, SimdExecutor, partition
from tensorml.graph import Const, Graph, Input, Op, TensorType, topological

ROOT = Path(__file__).parents[2]
ROWS = (1, 2, 15, 37, 63, 64, 65, 600)
RANDOM = np.random.default_rng(0)


def rows_of(columns: int, dtype: str) -> Input:
    """An input of so many columns."""
    return Input("x", TensorType(("N", columns), np.dtype(dtype)))


def in_rows(op: Op) -> frozenset[Op]:
    """What is computed in rows, of an operator that is wanted and of those before it."""
    order = [each for each in topological([op], lambda op: op.operands) if not isinstance(each, Const | Input)]
    given = [each for each in topological([op], lambda op: op.operands) if isinstance(each, Input)]
    return layout(order, given, [op]).rows


def numbers(rows: int, columns: int, dtype: str) -> np.ndarray:
    """Small whole numbers, some of them 0 and negative."""
    return RANDOM.integers(
        0 if dtype in ("bool", "uint8") else -9, 2 if dtype == "bool" else 9, (rows, columns)
    ).astype(dtype)


def assert_same(op: Op, columns: int, dtype: str) -> None:
    """The bits of the reference for any number of rows, by rows and by columns in memory."""
    assert op in in_rows(op)
    program = SimdExecutor(threads=1).compile(Graph({"out": op}))
    for rows in ROWS:
        x = numbers(rows, columns, dtype)
        expected = evaluate(Graph({"out": op}), {"x": x})["out"]
        for given in (
            x,
            np.asfortranarray(x),
            np.repeat(x, 2, axis=0)[::2],
            np.repeat(x, 2, axis=1)[:, ::2],
            x[::-1].copy()[::-1],
        ):
            found = program({"x": given}, rows)["out"]
            assert found.dtype == expected.dtype
            assert found.flags.c_contiguous
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("columns", [1, 3, 16, 28, 70])
def test_elements_have_the_bits_of_the_reference_whatever_the_columns(columns: int, dtype: str) -> None:
    x = rows_of(columns, dtype)
    row = Const(np.arange(1, columns + 1).astype(dtype))
    for op in (
        ops.Max(ops.Sub(x, row), Const(np.ones((1, columns), dtype))),
        ops.Where(ops.Less(row, x), x, ops.Mul(x, x)),
        ops.Where(ops.Equal(x, row), row, Const(np.array(2, dtype))),
        ops.Cast(ops.Cast(ops.Add(Const(np.array(3, dtype)), x), np.dtype(np.float64)), np.dtype(bool)),
    ):
        assert_same(op, columns, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 3, 16, 28])
def test_functions_of_elements_are_those_of_columns(columns: int, dtype: str) -> None:
    """Also of the last ones, which fill no vector, and of numbers that sine and cosine need libm for."""
    x = rows_of(columns, dtype)
    by_rows = ops.Cos(ops.Abs(ops.Div(x, Const(np.full(columns, 3, dtype)))))
    assert by_rows in in_rows(by_rows)
    by_columns = ops.Concat((by_rows, by_rows))
    assert by_rows not in in_rows(by_columns)
    first, second = (SimdExecutor(threads=1).compile(Graph({"out": op})) for op in (by_rows, by_columns))
    for rows in ROWS:
        data = numbers(rows, columns, dtype)
        data[-1] = 4e6  # of float32, that makes neighbours in a vector take the longer way, which is rounded otherwise
        found, expected = (run({"x": data}, rows)["out"] for run in (first, second))
        np.testing.assert_allclose(found, expected[:, :columns], rtol=0, atol=1e-7 if dtype == "float32" else 0)


@pytest.mark.parametrize("dtype", ["bool", "int16", "int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("columns", [3, 8, 16, 28, 100])
@pytest.mark.parametrize("count", [1, 2, 7, 10, 16, 17, 33, 70])
def test_any_columns_of_rows_are_chosen(columns: int, count: int, dtype: str) -> None:
    for indices in (RANDOM.integers(0, columns, count), np.sort(RANDOM.choice(columns, min(count, columns), False))):
        op = ops.Columns(rows_of(columns, dtype), indices)
        program = SimdExecutor(threads=1).compile(Graph({"out": op}))
        for rows in ROWS:
            x = numbers(rows, columns, dtype)
            for given in (x, np.asfortranarray(x)):
                np.testing.assert_array_equal(program({"x": given}, rows)["out"], x[:, indices])


def test_few_columns_are_chosen_in_rows_and_nearly_all_of_scattered_ones_in_columns() -> None:
    few = ops.Columns(rows_of(28, "float32"), np.arange(0, 28, 4))
    assert few in in_rows(few)
    many = ops.Columns(rows_of(28, "int16"), np.arange(28)[::-1])
    assert many not in in_rows(many)


def test_chains_stay_in_rows_as_far_as_all_readers_take_rows() -> None:
    x = ops.Finite(rows_of(28, "float32"), nan=False, reader="Reader")
    shifted = ops.Sub(x, Const(np.ones(28, np.float32)))
    assert in_rows(shifted) == {x, shifted}
    product = ops.MatMul(shifted, Const(np.ones((28, 5), np.float32)))
    assert in_rows(ops.Softmax(product)) == {x, shifted, product}
    assert not in_rows(ops.ReduceSum(shifted))
    assert not in_rows(ops.Add(shifted, ops.ReduceSum(shifted)))
    wide = ops.MatMul(shifted, Const(np.ones((28, 50), np.float32)))
    assert not in_rows(ops.Softmax(wide))  # there is more to turn after it than before


@pytest.mark.parametrize("nan", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 3, 28])
def test_one_number_that_is_not_finite_is_found_in_rows(columns: int, dtype: str, nan: bool) -> None:
    op = ops.Neg(ops.Finite(rows_of(columns, dtype), nan, "Reader"))
    program = SimdExecutor(threads=1).compile(Graph({"out": op}))
    x = np.full((600, columns), np.finfo(dtype).max, dtype)
    np.testing.assert_array_equal(program({"x": x}, 600)["out"], -x)
    for row in (0, 63, 511, 512, 599):
        for value in (np.nan, np.inf, -np.inf):
            bad = x.copy()
            bad[row, row % columns] = value
            if nan and np.isnan(value):
                np.testing.assert_array_equal(program({"x": bad}, 600)["out"], -bad)
                continue
            with pytest.raises(InputError, match="contains"):
                program({"x": bad}, 600)


def test_an_output_that_is_read_in_rows_and_in_columns_and_wanted_twice_is_the_same_everywhere() -> None:
    x = rows_of(5, "float64")
    y = ops.Mul(x, Const(np.arange(5.0)))
    graph = Graph({"one": y, "two": y, "three": ops.Neg(y), "four": ops.ReduceSum(y), "five": ops.Reshape(y, (5,))})
    data = RANDOM.integers(-9, 9, (700, 5)).astype(np.float64)
    found = SimdExecutor(threads=1).compile(graph)({"x": data}, 700)
    for name, expected in evaluate(graph, {"x": data}).items():
        np.testing.assert_array_equal(found[name], expected)


def machine(op: Op) -> Machine:
    """The instructions of an operator."""
    (part,) = partition(Graph({"out": op}))
    return Lowering(part).machine(1)


def samples(columns: int, count: int, dtype: str) -> list[Op]:
    """Operators that write rows of `count` numbers for rows of `columns`."""
    x = rows_of(columns, dtype)
    y = np.ones((columns, count), dtype)
    return [
        ops.MatMul(x, Const(y)),
        ops.MatMul(ops.Finite(ops.Sub(x, Const(y[:, 0])), False, "Reader"), Const(y)),
        ops.Columns(x, np.arange(count) % columns),
        ops.Columns(ops.Exp(ops.Sub(x, Const(y[:, 0]))), np.arange(count) % columns),
        ops.Concat((ops.Columns(x, np.arange(count - 1) % columns), ops.MatMul(x, Const(y[:, :1]))))
        if count > 1
        else ops.Columns(x, np.array([0])),
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 3, 5, 8, 11, 17, 37])
def test_rows_before_and_after_those_of_a_thread_are_not_written(count: int, dtype: str) -> None:
    for op in samples(28, count, dtype):
        program = machine(op)
        x = RANDOM.standard_normal((1200, 28)).astype(dtype)
        for start, stop in ((0, 1), (3, 40), (64, 700), (1, 514), (1199, 1200)):
            memory = np.full((1200, count), 7, dtype)
            words = [word for _ in program.inputs for word in words_of(x)] + [address_of(memory)]
            assert program.run(words, start, stop) == 0
            assert (memory[:start] == 7).all()
            assert (memory[stop:] == 7).all()
            expected = evaluate(Graph({"out": op}), {"x": x[start:stop]})["out"]
            np.testing.assert_allclose(memory[start:stop], expected, rtol=1e-4, atol=1e-4)


GUARDED = """
import ctypes, mmap, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from tests.executors.test_simd_flat import machine, samples
from tensorml.executors.simd.machine import words_of
PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
def guarded(size):  # the bytes before a page that nobody may touch, and after one
    whole = -(-size // PAGE) * PAGE
    memory = mmap.mmap(-1, whole + 2 * PAGE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (base, base + PAGE + whole):
        assert libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0) == 0
    room = np.frombuffer(memory, np.uint8)[PAGE : PAGE + whole]
    return memory, room[:size], room[whole - size :]
tried = 0
for dtype in ("float32", "float64"):
    for count in (1, 5, 8, 11, 17):
        for op in samples(28, count, dtype):
            program = machine(op)
            for rows in (1, 7, 33, 600):
                inputs, outputs = (guarded(rows * n * np.dtype(dtype).itemsize) for n in (28, count))
                for x, out in zip(inputs[1:], outputs[1:]):
                    for order in "CF":
                        given = x.view(dtype).reshape((rows, 28), order=order)
                        given[...] = 1
                        words = [word for _ in program.inputs for word in words_of(given)]
                        assert program.run(words + [out.ctypes.data], 0, rows) == 0
                        tried += 1
print(tried)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are protected by Linux's mprotect")
def test_no_byte_beside_the_rows_and_the_results_is_touched() -> None:
    given = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", GUARDED, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, env=given, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) == 2 * 5 * 5 * 4 * 2 * 2
