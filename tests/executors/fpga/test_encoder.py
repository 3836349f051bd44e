"""Trees whose circuit takes floats as they are: every compare is that of the float, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightgbm import LGBMRegressor
from sklearn.ensemble import BaggingRegressor, RandomForestClassifier, VotingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBRegressor

import tensorml
from tensorml import ops
from tensorml.errors import InputError
from tensorml.executors.fpga.accuracy import FixedPoint, unknown
from tensorml.executors.fpga.entrances import Entrances
from tensorml.executors.fpga.fixed import DoesNotFit, Numbers
from tensorml.executors.fpga.lower import lower
from tensorml.executors.fpga.patterns import FloatBits, RankBits
from tensorml.executors.fpga.program import FpgaExecutor
from tensorml.executors.fpga.raw import bound, order
from tensorml.executors.fpga.simulate import Simulator
from tensorml.graph import Graph, Input, TensorType
from tests.executors.fpga.models import MISSING, NUMBER, THREE, X, fitted
from tests.executors.fpga.stand import core_of, integers
from tests.traps import ODD, trap_rows

CIRCUIT = FpgaExecutor(encoder="circuit")


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENSORML_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def beside_thresholds(model: Any, x: np.ndarray, odd: tuple[float, ...], rows: int = 3000) -> np.ndarray:
    """Rows at the thresholds of a model's trees, one unit in the last place beside them, and with odd values."""
    ranks = [op for op in model.graph.order if isinstance(op, ops.Rank)]
    pairs = [(int(c), float(t)) for op in ranks for k, c in enumerate(op.source) for t in op.column(k)]
    return trap_rows(x, [pair for pair in pairs if np.isfinite(pair[1])], rows, odd=odd)


FINITE = tuple(v for v in ODD if np.isfinite(v) and abs(v) < 3e38)


@pytest.mark.parametrize(
    ("source", "x", "y", "odd", "method", "options"),
    [
        (XGBRegressor(n_estimators=3, max_depth=3, n_jobs=1), MISSING, NUMBER, (np.nan, *FINITE), "apply", {}),
        (RandomForestClassifier(3, max_depth=4, random_state=0), X, THREE, FINITE, "apply", {}),
        (DecisionTreeRegressor(max_depth=4), MISSING, NUMBER, (np.nan, *FINITE), "apply", {}),
        (LGBMRegressor(n_estimators=3, num_leaves=7, verbose=-1), MISSING, NUMBER, ODD, "predict", {"pred_leaf": True}),
    ],
    ids=["xgboost", "forest", "tree", "lightgbm"],
)
def test_the_circuit_compares_floats_as_the_source_does(source, x, y, odd, method, options):
    source.fit(x, y)
    model = tensorml.convert(source, x, executor=CIRCUIT)
    rows = beside_thresholds(model, x, odd)
    np.testing.assert_array_equal(getattr(model, method)(rows, **options), getattr(source, method)(rows, **options))
    output = next(name for name in model.outputs if name.startswith(method) and ("leaf" in name) == bool(options))
    core = core_of(model, output)
    assert not any(isinstance(op, ops.Rank) for op in core.split.before.order)
    assert {field.width for field in core.circuit.inputs} <= {32, 64}


def test_a_threshold_of_zero_takes_both_zeros():
    x = np.array([[-1.0], [-1e-300], [-0.0], [0.0], [1e-300], [1.0]])
    for strict in (False, True):
        raw = Input("raw", TensorType(("N", 1), np.dtype(np.int64)))
        ranks = RankBits(raw, np.array([0]), np.array([0.0]), np.array([0, 1]), np.array([0]), strict)
        chosen = leaf_of_each_rank(ranks)
        bits = FloatBits(Input("x", TensorType(("N", 1), np.dtype(np.float64)))).reference(x)
        found = simulated(chosen, bits)
        np.testing.assert_array_equal(found[:, 0], (x > 0 if strict else x >= 0)[:, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("nan", ["left", "right"])
def test_every_boundary_is_compared_to_the_last_bit(dtype, strict, nan):
    tiny = np.finfo(dtype).smallest_subnormal
    limits = [-np.inf, -1.5, -tiny, 0.0, tiny, 1.0, np.finfo(dtype).max, np.inf]
    boundaries = np.array(limits, dtype)
    ends = np.array([0, len(boundaries)])
    raw = Input("raw", TensorType(("N", 1), np.dtype(np.int64)))
    missing = np.array([len(boundaries) + 1 if nan == "right" else 0])
    ranks = RankBits(raw, np.array([0]), boundaries, ends, missing, strict)
    with np.errstate(all="ignore"):
        beside = [boundaries, np.nextafter(boundaries, dtype(np.inf)), np.nextafter(boundaries, dtype(-np.inf))]
    x = np.concatenate([*beside, np.array([-0.0, np.nan, -np.nan], dtype)])[:, None]
    bits = FloatBits(Input("x", TensorType(("N", 1), np.dtype(dtype)))).reference(x)
    expected = ops.Rank(
        Input("x", TensorType(("N", 1), np.dtype(dtype))),
        np.array([0]),
        boundaries,
        ends,
        missing,
        np.dtype(int),
        strict,
    ).reference(x)
    np.testing.assert_array_equal(simulated(leaf_of_each_rank(ranks), bits), np.minimum(expected, len(boundaries) + 1))


def leaf_of_each_rank(ranks: RankBits) -> Graph:
    """The code of a value as the leaf of a chain of nodes: not below rank 1, not below rank 2, ..."""
    count = max(int(ranks.offsets[1]), int(ranks.nan[0]))
    nodes = np.arange(count, dtype=np.int32)
    right = np.append(nodes[1:], ~np.int32(count)).astype(np.int32)
    tree = ops.Descend(ranks, np.zeros(count, np.int32), nodes + 1, ~nodes, right, np.array([0], np.int32))
    return Graph({"leaf": tree})


def simulated(graph: Graph, bits: np.ndarray) -> np.ndarray:
    ranks = next(op for op in graph.order if isinstance(op, RankBits))
    limits = np.iinfo(np.int32 if ranks.boundaries.dtype == np.float32 else np.int64)
    circuit = lower(graph, {"raw": (np.array([limits.min]), np.array([limits.max]))}, "ranks", "Ranks of bits.")
    return Simulator(circuit).run(bits)


@given(st.floats(width=32, allow_nan=False), st.floats(width=32, allow_nan=False), st.booleans())
def test_integers_are_in_the_order_of_the_floats(x, boundary, strict):
    x, boundary = np.float32(x), np.float32(boundary)
    assert (order(x) >= bound(boundary, strict)) == (x > boundary if strict else x >= boundary)


SCALED = {
    "scaled": (make_pipeline(StandardScaler(), DecisionTreeRegressor(max_depth=4)), X),
    "clipped": (make_pipeline(MinMaxScaler(clip=True), XGBRegressor(n_estimators=3, max_depth=3, n_jobs=1)), X),
    "imputed": (make_pipeline(SimpleImputer(), StandardScaler(), DecisionTreeRegressor(max_depth=4)), MISSING),
    "indicated": (make_pipeline(SimpleImputer(add_indicator=True), DecisionTreeRegressor(max_depth=4)), MISSING),
    "float32": (make_pipeline(RobustScaler(), DecisionTreeRegressor(max_depth=4)), X.astype(np.float32)),
}


@pytest.mark.parametrize("name", SCALED)
def test_the_circuit_compares_what_comes_with_thresholds_before_the_scaling(name: str):
    source, x = SCALED[name]
    source.fit(x, NUMBER)
    model = tensorml.convert(source, x, executor=FpgaExecutor(encoder="circuit", fixed=FixedPoint(bits=20)))
    core = core_of(model, "predict")
    kinds = {type(op) for op in core.split.before.order}
    assert not kinds & {ops.Sub, ops.Div, ops.Mul, ops.Where, ops.Cast, ops.Rank}
    ranks = [op for op in core.split.circuit.order if isinstance(op, RankBits)]
    pairs = [(c, float(t)) for op in ranks for t in op.boundaries for c in range(x.shape[1]) if np.isfinite(t)]
    odd = (np.nan, 0.0, -0.0, 1e-30) if np.isnan(x).any() else (0.0, -0.0, 1e-30)
    rows = trap_rows(x.astype(np.float64), pairs, 2000, odd=odd).astype(x.dtype)
    np.testing.assert_allclose(model.predict(rows), source.predict(rows), atol=1e-4)


def test_what_no_thresholds_say_stays_with_the_host():
    source = make_pipeline(Normalizer(), DecisionTreeRegressor(max_depth=4)).fit(X, NUMBER)
    model = tensorml.convert(source, X, executor=CIRCUIT)
    assert any(isinstance(op, ops.Div) for op in core_of(model, "predict").split.before.order)
    np.testing.assert_array_equal(model.predict(X), source.predict(X))


def test_a_refusal_between_scaling_and_trees_stays():
    source = make_pipeline(StandardScaler(), DecisionTreeRegressor(max_depth=4)).fit(X, NUMBER)
    model = tensorml.convert(source, X, executor=CIRCUIT)
    with pytest.raises(InputError, match=r"too large for dtype\('float32'\); sklearn.tree.DecisionTreeRegressor"):
        model.predict(np.full((1, 4), 1e300))


def test_a_column_that_many_trees_read_enters_once():
    tree = make_pipeline(StandardScaler(), DecisionTreeRegressor(max_depth=3))
    source = BaggingRegressor(tree, 4, max_features=2, random_state=0).fit(X, NUMBER)
    core = core_of(tensorml.convert(source, X, executor=CIRCUIT), "predict")
    assert len(core.circuit.inputs) <= 4
    assert {type(e.before) for e in core.split.entrances.values()} == {FloatBits}


@pytest.mark.parametrize("strict", [False, True])
def test_nan_may_have_any_place_among_the_numbers(strict: bool):
    boundaries = np.array([-2.0, 0.0, 1e-300, 3.0])
    x = np.array([-np.inf, -2.0, -1.0, -0.0, 0.0, 1e-300, 1.0, 3.0, 4.0, np.nan, -np.nan])[:, None]
    bits = FloatBits(Input("x", TensorType(("N", 1), np.dtype(np.float64)))).reference(x)
    for nan in range(6):
        raw = Input("raw", TensorType(("N", 1), np.dtype(np.int64)))
        ranks = RankBits(raw, np.array([0]), boundaries, np.array([0, 4]), np.array([nan]), strict)
        np.testing.assert_array_equal(simulated(leaf_of_each_rank(ranks), bits), ranks.reference(bits))


def test_nan_between_codes_that_no_number_tells_apart_is_left_to_the_host():
    x = Input("x", TensorType(("N", 1), np.dtype(np.float64)))
    ranks = ops.Rank(x, np.array([0]), np.array([1.0, 1.0]), np.array([0, 2]), np.array([1]), np.dtype(np.uint8))
    with pytest.raises(DoesNotFit, match="NaN has a code of its own"):
        Entrances(Numbers(8), unknown, "circuit").ranks(ranks)


def test_trees_take_floats_and_linear_models_fixed_point_in_one_circuit():
    members = [("tree", DecisionTreeRegressor(max_depth=3)), ("linear", Ridge())]
    source = VotingRegressor(members).fit(X, NUMBER)
    model = tensorml.convert(source, X, executor=CIRCUIT)
    core = core_of(model, "predict")
    entrances = {type(e.before) for e in core.split.entrances.values()}
    assert entrances == {FloatBits, ops.Quantize}
    assert np.abs(model.predict(X) - source.predict(X)).max() <= 0.01 * np.ptp(source.predict(X))
    rows = core.rows({"x": X})
    np.testing.assert_array_equal(core.simulator.run(rows), integers(core, rows))


def test_categories_come_as_codes_beside_floats():
    x = X.copy()
    x[:, 1] = np.random.default_rng(0).integers(0, 6, len(X))
    y = NUMBER + 3 * np.isin(x[:, 1], [1, 4])
    source = LGBMRegressor(
        n_estimators=3, num_leaves=7, min_data_per_group=1, cat_smooth=0, min_child_samples=5, verbose=-1
    ).fit(x, y, categorical_feature=[1])
    model = tensorml.convert(source, x, executor=CIRCUIT)
    core = core_of(model, "predict(pred_leaf=True)")
    assert any(isinstance(op, ops.Lookup) for op in core.split.before.order)
    expected = source.predict(x, pred_leaf=True)
    np.testing.assert_array_equal(model.predict(x, pred_leaf=True), expected)


def test_both_encoders_give_the_same():
    source = fitted("XGBRegressor, missing values")
    models = [tensorml.convert(source, MISSING, executor=FpgaExecutor(encoder=e)) for e in ("host", "circuit")]
    results = [model.predict(MISSING) for model in models]
    np.testing.assert_array_equal(*results)


def test_an_unknown_encoder_is_refused():
    with pytest.raises(ValueError, match="encoder is 'host', 'circuit', or a Grid or several, not 'board'"):
        FpgaExecutor(encoder="board")  # pyright: ignore[reportArgumentType]
