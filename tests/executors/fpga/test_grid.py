"""Circuits of fixed-point columns as they come: trees compare them exactly, and what is none of them is refused."""

from __future__ import annotations

import re
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightgbm import LGBMRegressor
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingRegressor, RandomForestClassifier, VotingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, PowerTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBRegressor

import tensorml
from tensorml import ops
from tensorml.errors import InputError, UnsupportedModelError
from tensorml.executors.fpga.accuracy import FixedPoint
from tensorml.executors.fpga.area import size
from tensorml.executors.fpga.grid import Grid, OnGrid, RankWhole
from tensorml.executors.fpga.handover import input_formats
from tensorml.executors.fpga.program import Core, FpgaExecutor
from tensorml.executors.fpga.tools import Tool
from tensorml.graph import Const, Input, TensorType
from tests.executors.fpga.models import MISSING, NUMBER, THREE, X
from tests.executors.fpga.stand import Stand, core_of, integers
from tests.executors.fpga.test_encode import assert_encoded

GRID = Grid(13, 4)
TREE = DecisionTreeRegressor(max_depth=5, random_state=0)
XGB = XGBRegressor(n_estimators=5, max_depth=3, n_jobs=1)
LGB = LGBMRegressor(n_estimators=3, num_leaves=7, min_child_samples=3, verbose=-1)


@pytest.fixture(autouse=True)
def _unbuilt(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    monkeypatch.setenv("TENSORML_CACHE", str(tmp_path))
    if not {"simulated", "bench"} & set(request.node.name.split("_")):
        monkeypatch.setattr(Core, "simulator", property(Stand))


def snap(x: np.ndarray, grid: Grid = GRID) -> np.ndarray:
    """The nearest numbers of a grid."""
    return np.clip(np.floor(x / grid.step + 0.5), grid.low, grid.high) * grid.step


def every(grid: Grid, rows: int = 3000, columns: int = 4) -> np.ndarray:
    """Rows of numbers of a grid, its ends among them."""
    whole = np.random.default_rng(0).integers(grid.low, grid.high, (rows, columns), endpoint=True)
    whole[0], whole[1] = grid.low, grid.high
    return np.concatenate([whole * grid.step, snap(X[:, :columns], grid)])


def converted(source: Any, grid: Any = GRID, x: Any = X, **options: Any) -> Any:
    return tensorml.convert(source, x, executor=FpgaExecutor(encoder=grid, **options))


@pytest.mark.parametrize(
    "source",
    [
        TREE,
        XGB,
        LGB,
        make_pipeline(StandardScaler(), TREE),
        make_pipeline(MinMaxScaler((-1, 3), clip=True), XGB),
        make_pipeline(SimpleImputer(), StandardScaler(), LGB),
        BaggingRegressor(make_pipeline(StandardScaler(), TREE), 3, max_features=0.5, random_state=0),
    ],
    ids=["tree", "xgboost", "lightgbm", "scaled", "clipped", "imputed", "bagged"],
)
@pytest.mark.parametrize("grid", [GRID, Grid(8, -1), Grid(30, 20), Grid(9, 0, signed=False)], ids=str)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
def test_trees_are_exact_for_every_number_of_the_grid(source: Any, grid: Grid) -> None:
    source.fit(X, NUMBER)
    model = converted(source, grid, fixed=FixedPoint(bits=24))
    x = every(grid)
    core = core_of(model, "predict")
    assert [type(e.before) for e in core.split.entrances.values()] == [OnGrid]
    assert {(f.width, f.signed) for f in core.circuit.inputs} == {(grid.bits, grid.signed)}
    expected = source.predict(x)
    np.testing.assert_allclose(model.predict(x), expected, atol=1e-5 * np.ptp(source.predict(X)), rtol=0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_leaf_is_exact_also_on_thresholds(dtype: type) -> None:
    x = snap(X).astype(dtype)
    for source in (DecisionTreeRegressor(random_state=0), XGBRegressor(n_estimators=3, n_jobs=1)):
        source.fit(x, NUMBER)
        model = converted(source, x=x)
        thresholds = [float(t) for op in model.graph.order if isinstance(op, ops.Rank) for t in op.boundaries]
        near = np.random.default_rng(0).choice([*thresholds, *(t + GRID.step for t in thresholds)], (2000, 4))
        rows = snap(near).astype(dtype)
        np.testing.assert_array_equal(model.apply(rows), source.apply(rows))


def test_the_simulated_circuit_is_exact() -> None:
    forest = RandomForestClassifier(3, max_depth=4, random_state=0).fit(X, THREE)
    grids = [Grid(13, 4), Grid(13, 8), Grid(20, 8), Grid(9, 6, otherwise="nearest")]
    model = converted(forest, grids)
    x = np.stack([every(grid, columns=1)[:, 0] for grid in grids], axis=1)
    np.testing.assert_array_equal(model.apply(x), forest.apply(x))
    core = core_of(model, "apply")
    rows = core.rows({"x": x})
    np.testing.assert_array_equal(core.simulator.run(rows), integers(core, rows))
    assert [f.width for f in core.circuit.inputs] == [13, 13, 20, 9]


@pytest.mark.parametrize(
    "source",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(5,), max_iter=50, random_state=0)),
        make_pipeline(StandardScaler(), VotingRegressor([("a", TREE), ("b", Ridge())])),
        VotingRegressor([("a", make_pipeline(StandardScaler(), XGB)), ("b", make_pipeline(MinMaxScaler(), Ridge()))]),
    ],
    ids=["linear", "network", "with trees", "apart"],
)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer:sklearn.exceptions.ConvergenceWarning")
def test_other_models_compute_with_the_numbers_that_come(source: Any) -> None:
    classifies = is_classifier(source)
    source.fit(X, THREE if classifies else NUMBER)
    model = converted(source)
    core = core_of(model, "predict")
    assert [type(e.before) for e in core.split.entrances.values()] == [OnGrid]
    assert {f.width for f in core.circuit.inputs} == {13}
    assert (
        not [op for op in core.split.before.order if isinstance(op, ops.Sub | ops.Div | ops.Mul)] or core.split.checks
    )
    expected, actual = source.predict(snap(X)), model.predict(snap(X))
    if classifies:
        assert (expected == actual).mean() >= 0.99
    else:
        assert np.abs(expected - actual).max() <= 0.01 * np.ptp(expected) + 1e-6


def test_what_is_none_of_the_numbers_is_refused() -> None:
    model = converted(make_pipeline(StandardScaler(), TREE).fit(X, NUMBER))
    x = snap(X)
    model.predict(x)
    for value, words in (
        (
            0.1,
            r"1 values are none of their fixed-point numbers, the first in row 7: 0\.1 is not one of ap_fixed",
        ),
        (256.0, r"the first in row 7: 256\.0 is not one of"),
        (np.inf, "inf is not one of"),
        (np.nan, "Input X contains NaN, which fixed point does not hold. Impute missing values before it"),
    ):
        bad = x.copy()
        bad[7, 2] = value
        with pytest.raises(InputError, match=words):
            model.predict(bad)


def test_values_go_to_the_nearest_and_are_counted_where_that_is_asked_for() -> None:
    grid = Grid(8, 2, otherwise="nearest")
    source = TREE.fit(X, NUMBER)
    model = converted(source, grid)
    core = core_of(model, "predict")
    np.testing.assert_array_equal(model.predict(X), model.predict(snap(X, grid)))
    assert core.saturated == (snap(X, grid) != X).sum()
    core.saturated = 0
    model.predict(snap(X, grid))
    assert core.saturated == 0
    np.testing.assert_array_equal(core.rows({"x": np.array([[0.125, -0.125, 1e30, -40.0]])}), [[1, 0, 127, -128]])
    with pytest.raises(InputError, match="contains NaN"):
        model.predict(np.where(np.eye(4), np.nan, 0))


def test_an_imputer_in_the_model_does_not_make_nan_a_number_of_the_grid() -> None:
    model = converted(make_pipeline(SimpleImputer(), TREE).fit(MISSING, NUMBER), x=MISSING)
    np.testing.assert_array_equal(model.predict(snap(X)).shape, (len(X),))
    with pytest.raises(InputError, match="contains NaN, which fixed point does not hold"):
        model.predict(MISSING)


def test_columns_that_nothing_reads_do_not_enter() -> None:
    source = DecisionTreeRegressor(max_depth=2, random_state=0).fit(X, X[:, 3] + X[:, 1])
    core = core_of(converted(source), "predict")
    assert [form.meaning for form in input_formats(core)] == ["column 1, ap_fixed<13, 9>", "column 3, ap_fixed<13, 9>"]
    assert [form.step for form in input_formats(core)] == [1 / 16, 1 / 16]
    assert core.circuit.in_width == 26
    off = snap(X)
    off[:, 0] = 0.1
    np.testing.assert_array_equal(converted(source).predict(off), source.predict(off))


def test_categories_are_codes_beside_the_numbers() -> None:
    x = snap(X)
    x[:, 1] = np.random.default_rng(0).integers(0, 6, len(X))
    options: dict[str, Any] = {"min_data_per_group": 1, "cat_smooth": 0, "min_child_samples": 5, "verbose": -1}
    source = LGBMRegressor(n_estimators=3, num_leaves=7, **options)
    source.fit(x, NUMBER + 3 * np.isin(x[:, 1], [1, 4]), categorical_feature=[1])
    model = converted(source, x=x)
    core = core_of(model, "predict(pred_leaf=True)")
    assert sum(isinstance(e.before, OnGrid) for e in core.split.entrances.values()) == 1
    assert any(isinstance(op, ops.Lookup) for op in core.split.before.order)
    np.testing.assert_array_equal(model.predict(x, pred_leaf=True), source.predict(x, pred_leaf=True))


def test_integers_are_numbers_of_a_grid() -> None:
    x = (X * 5).astype(np.int64)
    source = make_pipeline(StandardScaler(), TREE).fit(x, NUMBER)
    model = converted(source, Grid(11), x)
    core = core_of(model, "predict")
    assert {f.width for f in core.circuit.inputs} == {11}
    rows = every(Grid(11)).astype(np.int64)
    np.testing.assert_allclose(model.predict(rows), source.predict(rows), atol=0.01 * np.ptp(NUMBER))
    with pytest.raises(InputError, match=r"1024\.0 is not one of ap_fixed<11, 11>"):
        model.predict(np.full((1, 4), 1024))


def test_a_frame_of_several_dtypes_takes_one_grid_for_all() -> None:
    frame = pd.DataFrame({"a": X[:, 0].astype(np.float32), "b": X[:, 1], "c": np.arange(200) % 7})
    source = DecisionTreeRegressor(max_depth=4, random_state=0).fit(frame, X[:, 0] + X[:, 1] + frame["c"])
    model = converted(source, x=frame, fixed=FixedPoint(bits=24))
    rows = frame.assign(a=snap(X[:, 0]).astype(np.float32), b=snap(X[:, 1]))
    np.testing.assert_allclose(model.predict(rows), source.predict(rows), atol=1e-5)
    found = [form.meaning.partition("[")[0] for form in input_formats(core_of(model, "predict"))]
    assert sorted(found) == ["x_float32", "x_float64", "x_int64"]


def test_columns_of_several_dtypes_have_grids_by_their_places_or_names() -> None:
    frame = pd.DataFrame({"a": snap(X[:, 0]).astype(np.float32), "b": snap(X[:, 1]), "c": np.arange(200) % 7})
    source = DecisionTreeRegressor(max_depth=4, random_state=0).fit(frame, X[:, 0] + X[:, 1] + frame["c"])
    grids = {"c": Grid(3, signed=False), "a": Grid(14, 4), "b": GRID}
    widths = []
    for grid in (grids, [grids[name] for name in "abc"]):
        model = converted(source, grid, frame, fixed=FixedPoint(bits=24))
        np.testing.assert_allclose(model.predict(frame), source.predict(frame), atol=1e-5)
        core = core_of(model, "predict")
        widths.append({f.meaning: w.width for f, w in zip(input_formats(core), core.circuit.inputs, strict=True)})
    assert widths[0] == widths[1]
    assert sorted(widths[0].values()) == [3, 13, 14]
    with pytest.raises(InputError, match=r"7\.0 is not one of ap_ufixed<3, 3>|8\.0 is not one of ap_ufixed<3, 3>"):
        converted(source, grids, frame).predict(frame.assign(c=8))


def test_grids_go_with_the_names_of_the_columns_wherever_these_are() -> None:
    names = ["a", "b", "c", "d"]
    frame = pd.DataFrame(snap(X), columns=names)
    source = make_pipeline(ColumnTransformer([("all", StandardScaler(), names)]), TREE).fit(frame, NUMBER)
    model = converted(source, {"a": GRID, "b": GRID, "c": Grid(20, 4), "d": GRID}, frame)
    np.testing.assert_allclose(model.predict(frame), source.predict(frame), atol=0.01 * np.ptp(NUMBER))
    np.testing.assert_array_equal(model.predict(frame[names[::-1]]), model.predict(frame))


def test_arrays_have_the_grids_of_the_columns_of_the_frame() -> None:
    frame = pd.DataFrame(snap(X), columns=["a", "b", "c", "d"])
    source = TREE.fit(frame.to_numpy(), NUMBER)
    model = converted(source, {"a": GRID, "b": Grid(10, 4), "c": GRID, "d": GRID}, frame)
    with pytest.raises(InputError, match=r"100\.0 is not one of ap_fixed<10, 6>"):
        model.predict(np.full((1, 4), 100.0))


@pytest.mark.parametrize(
    ("grids", "x", "words"),
    [
        ({"a": GRID}, "frame", "encoder: 'b', 'c', 'd' have no Grid. The columns of numbers are 'a', 'b', 'c', 'd'"),
        (dict.fromkeys("abce", GRID), "frame", "there is no column of numbers 'e'; 'd' has no Grid. The columns"),
        (dict.fromkeys("abcd", GRID), "array", "columns have no names here: pass a DataFrame as X, or a Grid for each"),
        ({"a": 3}, "frame", "encoder is 'host', 'circuit', or a Grid or several, not {'a': 3}"),
    ],
)
def test_names_that_do_not_suit_the_columns_are_refused(grids: Any, x: str, words: str) -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    with pytest.raises(ValueError, match=re.escape(words)):
        converted(TREE.fit(X, NUMBER), grids, frame if x == "frame" else X)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (make_pipeline(PCA(2), TREE), "trees compare what MatMul makes, in a circuit that takes columns as they come"),
        (
            make_pipeline(PowerTransformer(), Ridge()),
            "makes would enter a circuit that takes columns as they come",
        ),
        (
            make_pipeline(Normalizer(), TREE),
            "trees compare what Div makes, in a circuit that takes columns as they come",
        ),
    ],
    ids=["trees after a projection", "linear after powers", "trees after a norm"],
)
def test_what_would_enter_as_something_else_is_refused(source: Any, words: str) -> None:
    with pytest.raises(
        UnsupportedModelError, match=words + r".*Let the host make what enters: FpgaExecutor\(encoder='host'"
    ):
        converted(source.fit(X, NUMBER))


def test_a_wrong_number_of_grids_is_refused() -> None:
    with pytest.raises(ValueError, match="encoder: there are 3 grids for 4 columns"):
        converted(TREE.fit(X, NUMBER), [GRID] * 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bits": 0}, "bits is 1 to 53, not 0"),
        ({"bits": 54}, "bits is 1 to 53, not 54"),
        ({"bits": 8.0}, "bits is 1 to 53, not 8.0"),
        ({"bits": 8, "fraction": 65}, "fraction is -64 to 64, not 65"),
        ({"bits": 8, "signed": 1}, "signed is True or False, not 1"),
        ({"bits": 8, "otherwise": "wrap"}, "otherwise is 'refuse' or 'nearest', not 'wrap'"),
    ],
)
def test_options_that_make_no_grid_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Grid(**options)


def test_a_grid_has_the_name_of_its_type_and_its_ends() -> None:
    assert str(Grid(12, 4)) == "ap_fixed<12, 8>"
    assert str(Grid(10, 12, signed=False)) == "ap_ufixed<10, -2>"
    assert [(g.low, g.high, g.step) for g in (Grid(3, 1), Grid(3, -1, False))] == [(-4, 3, 0.5), (0, 7, 2.0)]


@given(
    st.integers(1, 53),
    st.integers(-64, 64),
    st.booleans(),
    st.one_of(st.floats(allow_nan=False), st.sampled_from([5e-324, -5e-324, 0.0, -0.0, 1e308])),
    st.integers(-(2**53), 2**53),
)
def test_what_is_on_a_grid_is_known_exactly(bits: int, fraction: int, signed: bool, value: float, whole: int) -> None:
    grid = Grid(bits, fraction, signed)
    op = OnGrid(Const(np.zeros((1, 1))), (grid,))
    inside = int(np.clip(whole, grid.low, grid.high))
    x = np.array([[np.ldexp(float(inside), -fraction)]])
    assert not op.off(x).any()
    assert op.reference(x)[0, 0] == inside
    steps = Fraction(value) * Fraction(2) ** fraction if np.isfinite(value) else Fraction(1, 3)
    on = steps.denominator == 1 and grid.low <= steps <= grid.high
    assert op.off(np.array([[value]])).any() == (not on)


def test_ranks_of_integers_are_those_of_their_numbers() -> None:
    x = Input("x", TensorType(("N", 1), np.dtype(np.int64)))
    ranks = RankWhole(x, np.array([0]), np.array([-3, 0, 0, 5]), np.array([0, 4]))
    np.testing.assert_array_equal(ranks.reference(np.array([[-4], [-3], [0], [4], [5]]))[:, 0], [0, 1, 3, 3, 4])


def test_the_size_of_wide_compares_is_known_before_any_tool_runs() -> None:
    found = [core_of(converted(XGB.fit(X, NUMBER), encoder), "predict") for encoder in ("host", GRID, "circuit")]
    sizes = [size(core.split, "xc7").luts for core in found]
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize("otherwise", ["refuse", "nearest"])
def test_the_header_turns_values_into_the_numbers(otherwise: Any, tmp_path: Path) -> None:
    grids = [
        Grid(13, 4, otherwise=otherwise),
        Grid(8, -2),
        Grid(20, 8, otherwise=otherwise),
        Grid(53, 40, False, otherwise),
    ]
    source = make_pipeline(StandardScaler(), TREE).fit(X, NUMBER)
    core = core_of(converted(source, grids), "predict")
    numbers = np.stack([every(grid, 200, 1)[:200, 0] for grid in grids], axis=1)
    odd = np.resize([np.nan, np.inf, -np.inf, 5e-324, -0.0, 1e300, 0.03125, 300.0, -300.0, 0.1, -(2.0**40)], (60, 4))
    rows = np.concatenate([numbers, odd, X, np.where(np.eye(4)[np.arange(200) % 4] > 0, X, numbers)])
    counts = assert_encoded(core, rows, tmp_path / "p", "c")
    assert {0, -1} <= set(counts)
    assert (max(counts) > 0) == (otherwise == "nearest")
    header = (tmp_path / "p" / "include" / "core.h").read_text()
    assert '{"row0_0", 0, 13, 1, 4, 0.0625, 0.0},' in header
    readme = (tmp_path / "p" / "README.md").read_text()
    assert "column 0, ap_fixed<13, 9>" in readme


def test_a_saved_project_passes_its_test_bench(tmp_path: Path) -> None:
    source = make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=3, random_state=0)).fit(X, THREE)
    converted(source).save(tmp_path / "p")
    environment = {"MAKEFLAGS": "", "MAKELEVEL": "", "MFLAGS": ""}
    said = Tool("make", ("make", f"PYTHON={sys.executable}"), "", environment).run("core", folder=tmp_path / "p")
    assert "TESTS=3 PASS=3 FAIL=0" in said
