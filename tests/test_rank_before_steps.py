"""Ranks of scaled columns are ranks of the columns, to the last bit: as the steps say, and the libraries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import LGBMRegressor
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingRegressor, HistGradientBoostingRegressor, VotingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBRegressor

import tensorml
from tensorml import ops
from tensorml.errors import InputError
from tensorml.executors.reference import evaluate
from tensorml.graph import Const, Graph, Input, Op, TensorType
from tensorml.passes import EXACT, optimize
from tensorml.passes.rank_before_steps import ends, lowest, numbers, rank_before_all_steps
from tensorml.passes.steps import step_of
from tests.traps import ODD, trap_rows

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
Step = Callable[[Op, np.ndarray], Op]


def scalars(op: Op, c: np.ndarray) -> Op:
    return Const(c.astype(op.dtype))


STEPS: dict[str, Step] = {
    "less a mean": lambda x, c: ops.Sub(x, scalars(x, c)),
    "more": lambda x, c: ops.Add(scalars(x, c), x),
    "over a scale": lambda x, c: ops.Div(x, scalars(x, np.abs(c) + (c == 0))),
    "times a scale": lambda x, c: ops.Mul(scalars(x, np.abs(c) + (c == 0)), x),
    "to float32": lambda x, c: ops.cast(x, np.float32),
    "to float64": lambda x, c: ops.cast(x, np.float64),
    "at least": lambda x, c: ops.Max(x, scalars(x, c)),
    "at most": lambda x, c: ops.Min(scalars(x, c), x),
    "clipped": lambda x, c: ops.Where(ops.Less(x, scalars(x, c)), scalars(x, c), x),
    "imputed": lambda x, c: ops.Where(ops.IsNaN(x), scalars(x, c), x),
    "compared": lambda x, c: ops.Cast(ops.Greater(x, scalars(x, c)), np.dtype(np.float32)),
    "missing": lambda x, c: ops.Cast(ops.IsNaN(x), np.dtype(np.float64)),
    "in bins": lambda x, c: ops.Cast(in_bins(x, c), np.dtype(np.float64)),
    "other columns": lambda x, c: ops.Columns(x, np.array([2, 0, 1])),
    "parts": lambda x, c: ops.Concat((ops.Columns(x, np.array([1])), ops.Columns(x, np.array([0, 2])))),
    "checked": lambda x, c: ops.Finite(x, bool(c[0] > 0), "Reader"),
}


def in_bins(x: Op, c: np.ndarray) -> Op:
    edges = np.sort(np.concatenate([c, -c, 2 * c])).astype(x.dtype)
    return ops.Rank(
        x, np.array([0, 2, 1]), np.tile(edges, 3), np.arange(4) * 9, np.array([0, 4, 10]), np.dtype(np.int32)
    )


def ranked(x: Op, boundaries: np.ndarray, strict: bool) -> ops.Rank:
    boundaries = np.unique(boundaries.astype(x.dtype) + x.dtype.type(0))
    tiled, offsets = np.tile(boundaries, 3), np.arange(4) * len(boundaries)
    nan = np.array([0, len(boundaries) + 1, 0])
    return ops.Rank(x, np.array([0, 1, 2]), tiled, offsets, nan, np.dtype(np.int16), strict)


def beside(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(all="ignore"):
        values = values.astype(dtype)
        near = [values, np.nextafter(values, dtype.type(np.inf)), np.nextafter(values, dtype.type(-np.inf))]
    return np.unique(np.concatenate(near))


def outcome(graph: Graph, x: np.ndarray) -> np.ndarray | None:
    try:
        return evaluate(graph, {"x": x})["out"]
    except InputError:
        return None


NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 5e-324, 1e-45, -1e-310, 3e38, -1e308, 1e300, 0.1, 1e-7, np.pi]),
    st.floats(-100, 100),
    st.floats(allow_nan=False, allow_infinity=False),
)


@settings(max_examples=100)
@given(
    names=st.lists(st.sampled_from(list(STEPS)), min_size=1, max_size=5),
    constants=st.lists(NUMBERS, min_size=15, max_size=15),
    boundaries=st.lists(st.one_of(NUMBERS, st.sampled_from([np.inf, -np.inf, 0.5])), min_size=1, max_size=5),
    dtype=st.sampled_from(FLOATS),
    strict=st.booleans(),
    first_checked=st.booleans(),
)
def test_codes_are_the_same_to_the_last_bit(names, constants, boundaries, dtype, strict, first_checked):
    x: Op = Input("x", TensorType(("N", 3), dtype))
    value = ops.Finite(x, True, "First") if first_checked else x
    with np.errstate(all="ignore"):
        for name, c in zip(names, np.array(constants).reshape(5, 3), strict=False):
            made = STEPS[name](value, np.clip(c, -3e38, 3e38))
            value = made if all(np.isfinite(o.value).all() for o in made.operands if isinstance(o, Const)) else value
        rank = ranked(value, np.array(boundaries), strict)
    before, after = Graph({"out": rank}), rank_before_all_steps(Graph({"out": rank}))
    moved = after.outputs["out"]
    assert isinstance(moved, ops.Rank)
    own = moved.boundaries if moved.x.dtype == dtype else np.empty(0)
    for near in (own, np.array(boundaries), np.array(constants)):
        compare(before, after, beside(near, dtype))
    compare(
        before, after, np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, np.finfo(dtype).max, -np.finfo(dtype).max], dtype)
    )


def compare(before: Graph, after: Graph, values: np.ndarray) -> None:
    """Row by row, since a refusal is of all rows."""
    for value in values:
        row = np.full((1, 3), value)
        expected, actual = outcome(before, row), outcome(after, row)
        assert (expected is None) == (actual is None), value
        if expected is not None:
            np.testing.assert_array_equal(actual, expected, err_msg=str(value))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_places_are_in_the_order_of_the_numbers(dtype):
    tiny, most = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    values = np.array([-np.inf, -most, -1, -tiny, 0, tiny, 1, most, np.inf], dtype)
    for value in values:
        place = lowest(lambda v, value=value: v >= value, 1, dtype)
        assert numbers(place, dtype)[0] == value
        assert numbers(place - (value == 0), dtype)[0] <= value
        assert value == -np.inf or numbers(place - 1 - (value == 0), dtype)[0] < value
    assert lowest(lambda v: np.zeros(1, bool), 1, dtype)[0] == ends(dtype)[1]
    assert not np.signbit(numbers(np.array([-1, 0]), dtype)).any()


@pytest.mark.parametrize(
    "make",
    [
        lambda x: ops.Neg(x),
        lambda x: ops.Mul(x, Const(np.array([1.0, -2.0, 3.0]))),
        lambda x: ops.Mul(x, Const(np.array([1.0, 0.0, 3.0]))),
        lambda x: ops.Div(x, Const(np.array([1.0, np.inf, 3.0]))),
        lambda x: ops.Div(Const(np.ones(3)), x),
        lambda x: ops.Sub(Const(np.ones(3)), x),
        lambda x: ops.Add(x, Const(np.array(np.nan))),
        lambda x: ops.Add(x, x),
        lambda x: ops.Abs(x),
        lambda x: ops.Exp(x),
        lambda x: ops.Where(ops.Less(x, Const(np.zeros(3))), Const(np.ones(3)), x),
        lambda x: ops.Where(ops.Equal(x, Const(np.zeros(3))), Const(np.ones(3)), x),
        lambda x: ops.Where(ops.IsNaN(x), Const(np.full(3, np.nan)), x),
        lambda x: ops.Add(ops.Columns(x, np.array([0])), Const(np.arange(3.0))),
    ],
)
def test_what_is_no_rising_step_is_left_alone(make):
    x = Input("x", TensorType(("N", 3), np.dtype(np.float64)))
    graph = Graph({"out": ranked(make(x), np.array([0.0, 1.0]), False)})
    assert step_of(make(x)) is None
    assert rank_before_all_steps(graph).outputs["out"] is graph.outputs["out"]


def test_conversions_alone_are_left_alone():
    x = Input("x", TensorType(("N", 3), np.dtype(np.float64)))
    checked = ops.Finite(ops.Cast(x, np.dtype(np.float32)), True, "Reader")
    graph = Graph({"out": ranked(checked, np.array([0.0, 1.0]), False)})
    assert rank_before_all_steps(graph).outputs["out"] is graph.outputs["out"]


def test_a_boundary_that_only_infinity_tells_apart_is_left_alone():
    x = Input("x", TensorType(("N", 3), np.dtype(np.float64)))
    limited = ops.Min(x, Const(np.ones(3)))
    for start, moves in ((limited, False), (ops.Min(ops.Finite(x, True, "R"), Const(np.ones(3))), True)):
        graph = Graph({"out": ranked(start, np.array([0.0, 2.0]), False)})
        after = rank_before_all_steps(graph)
        assert (after.outputs["out"] is not graph.outputs["out"]) == moves
        compare(graph, after, np.array([np.inf, -np.inf, 0.0, 2.0, np.nan]))


def test_a_refusal_on_the_way_stays_and_keeps_its_words():
    x = Input("x", TensorType(("N", 3), np.dtype(np.float64)))
    scaled = ops.Cast(
        ops.Div(ops.Finite(x, True, "Scaler"), Const(np.array([1e-300, 1.0, 1e300]))), np.dtype(np.float32)
    )
    graph = rank_before_all_steps(Graph({"out": ranked(ops.Finite(scaled, False, "Tree"), np.array([1.0]), False)}))
    assert [type(op) for op in graph.order if not isinstance(op, Const)] == [Input, ops.Finite, ops.Within, ops.Rank]
    evaluate(graph, {"x": np.array([[1e-270, 1e38, 1e308]])})
    for row, words in (
        ([1e-261, 0, 0], "a value too large for dtype..float32..; Tree"),
        ([0, -3.5e38, 0], "a value too large for dtype..float32..; Tree"),
        ([0, np.nan, 0], "contains NaN; Tree"),
        ([0, 0, np.inf], "infinity or a value too large for dtype..float64..; Scaler"),
    ):
        with pytest.raises(InputError, match=words):
            evaluate(graph, {"x": np.array([row])})


RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4)) * [1, 30, 1e-3, 1e6] + [0, 100, 0, -5e6]
Y = X[:, 0] + (X[:, 1] / 30) ** 2 + X[:, 2] * 1e3
CONSTANT = np.column_stack([X, np.full(len(X), 7.0)])
MISSING = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
INTEGERS = (X * [10, 1, 1e4, 1e-3]).astype(np.int64)
TREE = DecisionTreeRegressor(max_depth=6, random_state=0)
XGB = XGBRegressor(n_estimators=5, max_depth=4, n_jobs=1)
LGB = LGBMRegressor(n_estimators=5, num_leaves=15, min_child_samples=3, verbose=-1)
HIST = HistGradientBoostingRegressor(max_iter=5, max_depth=4, min_samples_leaf=3)
MIXED = ColumnTransformer([("a", StandardScaler(), [0, 1]), ("b", SimpleImputer(), [2])], remainder="passthrough")
INDICATED = SimpleImputer(add_indicator=True)

CASES: dict[str, tuple[Any, np.ndarray]] = {
    f"{'+'.join(type(step).__name__ for step in steps)}, {type(end).__name__}": (make_pipeline(*steps, end), x)
    for steps, x in (
        ([StandardScaler()], X),
        ([MinMaxScaler((-3, 9))], X),
        ([MinMaxScaler(clip=True)], X),
        ([MaxAbsScaler()], X),
        ([RobustScaler(), StandardScaler()], CONSTANT),
        ([SimpleImputer(), StandardScaler()], MISSING),
        ([StandardScaler(), INDICATED], MISSING),
        ([KBinsDiscretizer(5, encode="ordinal", quantile_method="averaged_inverted_cdf")], X),
        ([Binarizer(threshold=0.5)], X),
        ([PowerTransformer(), MinMaxScaler()], X[:, [0, 2]]),
        ([MIXED], MISSING),
    )
    for end in (TREE, XGB, LGB, HIST)
}
CASES["integers"] = (make_pipeline(StandardScaler(), TREE), INTEGERS)
CASES["bagging"] = (BaggingRegressor(make_pipeline(StandardScaler(), TREE), 3, max_features=0.5, random_state=0), X)
CASES["with a linear model"] = (make_pipeline(StandardScaler(), VotingRegressor([("a", TREE), ("b", Ridge())])), X)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
@pytest.mark.filterwarnings("ignore:Bins whose width are too small:UserWarning")
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_pipelines_give_what_the_library_gives_at_every_boundary(name: str, dtype: type):
    source, x = CASES[name]
    source.fit(x, Y)
    x = x if x.dtype == np.int64 else x.astype(dtype)
    graph = moved(source, x)
    ranks = [op for op in graph.order if isinstance(op, ops.Rank)]
    before = {type(op) for rank in ranks for op in Graph({"": rank}).order}
    assert not before & {ops.Sub, ops.Div} or "Power" in name
    rows = trap_rows(x.astype(np.float64), thresholds(ranks, x.shape[1]), 1000, odd=odd(x)).astype(x.dtype)
    rtol = 1e-5 if name == "with a linear model" else 0
    np.testing.assert_allclose(evaluate(graph, {"x": rows})["predict"], source.predict(rows), rtol=rtol)


def moved(source: Any, x: np.ndarray) -> Graph:
    graph = tensorml.convert(source, x, executor="reference").graph.select("predict")
    return optimize(graph, (*EXACT, rank_before_all_steps))


def odd(x: np.ndarray) -> tuple[float, ...]:
    finite = tuple(v for v in ODD if abs(v) < 1e30)
    return (*finite, np.nan) if np.isnan(x).any() else finite


def thresholds(ranks: list[ops.Rank], columns: int) -> list[tuple[int, float]]:
    """Each boundary for every column: which one of the input it is of does not matter to a trap."""
    found = {float(t) for op in ranks for t in op.boundaries if np.isfinite(t)}
    return [(c, t) for c in range(columns) for t in found]


@pytest.mark.parametrize(("end", "x", "moves"), [(XGB, X.astype(np.float32), True), (LGB, X, True), (XGB, X, False)])
def test_a_processor_ranks_what_is_not_scaled_where_that_saves_time(end: Any, x: np.ndarray, moves: bool):
    source = make_pipeline(StandardScaler(), end).fit(x, Y)
    graph = tensorml.convert(source, x, executor="reference").graph
    kinds = {type(op) for op in graph.order}
    assert ops.Rank in kinds
    assert bool(kinds & {ops.Sub, ops.Div, ops.Cast}) != moves
    np.testing.assert_array_equal(evaluate(graph, {"x": x})["predict"], source.predict(x))


def test_the_pass_comes_to_an_end():
    graph = moved(make_pipeline(SimpleImputer(), StandardScaler(), TREE).fit(MISSING, Y), MISSING)
    assert optimize(graph, (*EXACT, rank_before_all_steps)).outputs["predict"] is graph.outputs["predict"]
