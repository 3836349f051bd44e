"""Functions of each element that NumPy computes for torch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tensorml import ops
from tensorml.executors.base import executor_class
from tensorml.executors.torch import elementwise
from tensorml.executors.torch.elementwise import AVX512, LOOPS, Elementwise, by_numpy, loops_of
from tensorml.executors.torch.program import lower
from tensorml.executors.torch.rules import FUNCTIONS
from tensorml.graph import Graph, Input, Op, TensorType

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
ROWS = np.concatenate(
    [np.random.default_rng(0).normal(0, 50, 4000), [np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1e-310]]
)
LETTERS = {"f", "d"}
CASES = [(kind, dtype) for kind in LOOPS for dtype in DTYPES]
NAMES = [f"{kind.__name__} {dtype}" for kind, dtype in CASES]


def graph_of(kind: type[Op], dtype: np.dtype) -> Graph:
    """The function of three columns."""
    return Graph({"out": kind(Input("x", TensorType(("N", 3), dtype)))})  # pyright: ignore[reportCallIssue]


def rows_of(dtype: np.dtype) -> np.ndarray:
    """All numbers that are of interest, in three columns."""
    with np.errstate(over="ignore", under="ignore"):
        return np.repeat(ROWS[:, None], 3, axis=1).astype(dtype)


@pytest.fixture
def few_threads() -> Iterator[None]:
    """torch with one thread, for a time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("few_threads")
@pytest.mark.parametrize(("kind", "dtype"), CASES, ids=NAMES)
def test_bits_are_numpy_s_where_numpy_computes(kind: type[Op], dtype: np.dtype) -> None:
    graph, x = graph_of(kind, dtype), rows_of(dtype)
    if not by_numpy(graph.outputs["out"]):
        pytest.skip("NumPy has no faster loop for it on this machine")
    actual = executor_class("torch")().compile(graph)({"x": x}, len(x))["out"]
    with np.errstate(all="ignore"):
        expected = LOOPS[kind](x)
    assert actual.dtype == dtype
    np.testing.assert_array_equal(actual.view(f"u{dtype.itemsize}"), expected.view(f"u{dtype.itemsize}"))


@pytest.mark.parametrize(("kind", "dtype"), CASES, ids=NAMES)
def test_torch_computes_with_many_threads(kind: type[Op], dtype: np.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elementwise, "THREADS", 0)
    x = torch.from_numpy(rows_of(dtype))
    actual = Elementwise(LOOPS[kind], FUNCTIONS[kind], overwrite=True)(x.clone())
    torch.testing.assert_close(actual, FUNCTIONS[kind](x), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("kind", LOOPS)
def test_what_is_scripted_is_made_of_torch_alone(kind: type[Op]) -> None:
    modules = list(lower(graph_of(kind, DTYPES[1])).children())
    assert not any(isinstance(module, Elementwise) for module in modules)


@pytest.mark.usefixtures("few_threads")
def test_a_result_that_nobody_else_needs_is_overwritten_and_the_callers_array_is_not() -> None:
    x = Input("x", TensorType(("N", 3), DTYPES[1]))
    graph, rows = Graph({"out": ops.Sqrt(ops.Abs(ops.Sqrt(x)))}), np.full((5, 3), 16.0)
    module = lower(graph, eager=True)
    assert [child.overwrite for child in module.children() if isinstance(child, Elementwise)] == [False, True]
    out = executor_class("torch")().compile(graph)({"x": rows}, 5)["out"]
    np.testing.assert_array_equal(rows, 16.0)
    np.testing.assert_array_equal(out, 2.0)


def test_numpy_says_which_instructions_it_uses() -> None:
    for kind, loop in LOOPS.items():
        assert loops_of(loop.__name__).keys() >= LETTERS, kind
    assert loops_of("log1p")["d"] in AVX512 or not by_numpy(graph_of(ops.Log1p, DTYPES[1]).outputs["out"])
