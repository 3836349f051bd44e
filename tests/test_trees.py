from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tensorml.graph import Graph, Input, TensorType
from tensorml.trees import NEVER, Forest, below
from tests.traps import ODD

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


def stump(threshold: float, dtype: np.dtype, *, strict: bool, nan_right: bool = False) -> Forest:
    """One node over column 0; leaf 0 is left, leaf 1 is right."""
    return Forest(
        roots=np.array([0]),
        feature=np.array([0, 0, 0]),
        threshold=np.array([threshold, 0, 0], dtype),
        nan_right=np.array([nan_right, False, False]),
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        strict=strict,
    )


def goes_right(forest: Forest, x: np.ndarray, executor) -> np.ndarray:
    graph = Graph({"leaf": forest.descend(Input("x", TensorType(("N", 1), x.dtype)))})
    return executor.compile(graph)({"x": x[:, None]}, len(x))["leaf"][:, 0] == 1


@given(st.floats(width=64), st.floats(width=32))
def test_below_compares_as_float64_does(threshold: float, value: float):
    assert (value > threshold) == bool(np.float32(value) > below(np.array([threshold]), F32)[0])


@given(st.floats(allow_nan=False, width=32), st.booleans())
def test_a_node_compares_as_python_does(threshold: float, strict: bool):
    from tensorml.executors.reference import ReferenceExecutor

    beside = [threshold, math.nextafter(threshold, math.inf), math.nextafter(threshold, -math.inf), *ODD]
    x = np.array(beside)
    expected = x > threshold if strict else x >= threshold
    forest = stump(threshold, F64, strict=strict)
    np.testing.assert_array_equal(goes_right(forest, x, ReferenceExecutor()), expected)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("nan_right", [False, True])
def test_no_number_reaches_never(executor: str, strict: bool, nan_right: bool):
    from tensorml.convert import make_executor

    forest = stump(NEVER, F32, strict=strict, nan_right=nan_right)
    x = np.array(ODD, np.float32)
    expected = np.isnan(x) & nan_right
    np.testing.assert_array_equal(goes_right(forest, x, make_executor(executor, None, None)), expected)


def test_zero_stays_at_a_threshold_of_zero_where_denormals_are_flushed():
    from tensorml.executors.torch.program import TorchExecutor

    forest, x = stump(0.0, F32, strict=True), np.array([0.0, -0.0, 1e-30, -1e-30], np.float32)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormals")
    try:
        right = goes_right(forest, x, TorchExecutor())
    finally:
        torch.set_flush_denormal(False)
    np.testing.assert_array_equal(right, [False, False, True, False])
