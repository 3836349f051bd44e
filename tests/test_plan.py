from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

import tensorml
from tensorml import ops
from tensorml.executors.base import executor_class
from tensorml.graph import Const, Graph, Input, TensorType
from tensorml.plan import MEBIBYTE, bytes_per_row, tile_rows

X = Input("x", TensorType(("N", 4), np.float64))


def peak_of(call: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> int:
    """The most bytes that a call holds, once all that it loads on its first use is there."""
    call(x[:10])
    tracemalloc.start()
    try:
        call(x)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_row_takes_what_is_alive_at_once():
    chain = ops.Exp(ops.Exp(ops.Exp(X)))
    assert bytes_per_row(Graph({"out": chain})) == 3 * 32  # operand, result, working memory
    assert bytes_per_row(Graph({"out": ops.Exp(X), "other": X + 1.0})) == 4 * 32


def test_constants_take_no_memory_per_row():
    table = Const(np.zeros((1000, 1000)))
    assert bytes_per_row(Graph({"out": ops.Take(table, ops.ArgMax(X))})) < 3 * 8 * 1000


def test_tiles_fit_the_budget_and_hold_a_row_at_least():
    graph = Graph({"out": ops.Exp(X)})
    assert tile_rows(graph, 10 * MEBIBYTE) * bytes_per_row(graph) <= 10 * MEBIBYTE
    assert tile_rows(graph, 1) == 1


def test_every_executor_keeps_its_tiles_within_the_budget(executor: str):
    graph = Graph({"out": ops.Exp(X)})
    runner = executor_class(executor)(memory=1 * MEBIBYTE)
    assert runner.compile(graph).tile * bytes_per_row(graph) <= 1 * MEBIBYTE


@pytest.mark.parametrize("memory", [2**16, 2**22])
def test_a_small_budget_changes_no_answer(executor: str, memory: int):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3000, 6)), rng.normal(size=3000)
    source = RandomForestRegressor(5, max_depth=6, random_state=0).fit(x, y)
    model = tensorml.convert(source, executor=executor, memory=memory)
    np.testing.assert_array_equal(model.predict(x), source.predict(x))


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_memory_beyond_input_and_output_stays_within_the_budget():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60_000, 20))
    source = make_pipeline(StandardScaler(), PolynomialFeatures(2), LogisticRegression(max_iter=20))
    source.fit(x[:500], x[:500, 0] > 0)
    model = tensorml.convert(source, executor="reference", memory=16 * MEBIBYTE)
    # At once, all rows would take 60,000 * 231 * 8 = 106 MiB for the products alone.
    assert peak_of(model.predict, x) < 20 * MEBIBYTE


def test_a_call_says_what_it_will_take_before_it_runs(executor: str):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50_000, 20))
    source = make_pipeline(StandardScaler(), PolynomialFeatures(2)).fit(x[:500])
    model = tensorml.convert(source, executor=executor, memory=4 * MEBIBYTE)
    result = model.transform(x).nbytes
    assert result < model.memory("transform", len(x)) <= result + 4 * MEBIBYTE + 231 * 8
    assert model.memory("transform", 1) < 231 * 8 * 6
    with pytest.raises(AttributeError, match="has no method 'predict'"):
        model.memory("predict", 1)


def test_a_call_takes_no_more_than_it_says():
    x = np.random.default_rng(0).normal(size=(60_000, 20))
    source = make_pipeline(StandardScaler(), PolynomialFeatures(2)).fit(x[:500])
    model = tensorml.convert(source, executor="reference", memory=16 * MEBIBYTE)
    peak = peak_of(model.transform, x)
    assert 0.8 * model.memory("transform", len(x)) < peak < 1.05 * model.memory("transform", len(x))
