"""Ensembles of four libraries in memory, whatever enters: leaves are the source's, sums those of the integers."""

from __future__ import annotations

import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostRegressor
from lightgbm import LGBMClassifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier, XGBRegressor

import tensorml
from tensorml import ops
from tensorml.errors import UnsupportedModelError
from tensorml.executors.fpga.grid import Grid
from tensorml.executors.fpga.patterns import RankBits
from tensorml.executors.fpga.program import Core, FpgaExecutor
from tensorml.executors.fpga.tools import Tool
from tests.executors.fpga.models import CASES, MISSING, NUMBER, PAIR, THREE, X, fitted
from tests.executors.fpga.stand import core_of, integers
from tests.executors.fpga.test_encode import assert_encoded
from tests.executors.fpga.test_encoder import FINITE, beside_thresholds
from tests.executors.fpga.walk import walked

GRIDS = [Grid(12, 6), Grid(12, 6), Grid(16, 6), Grid(12, 6)]
NUMBERS = np.unique(THREE, return_inverse=True)[1]
CATEGORIES = MISSING.copy()
CATEGORIES[:, 1] = np.where(np.isnan(MISSING[:, 1]), np.nan, np.random.default_rng(1).integers(0, 6, len(X)))
CLASSES = np.digitize(NUMBER + 3 * np.isin(CATEGORIES[:, 1], [1, 4]), [0, 2])
FRAME = pd.DataFrame(CATEGORIES, columns=list("abcd"))
FRAME["b"] = pd.Categorical(FRAME["b"].fillna(0).astype(int))
STRINGS = FRAME.assign(b=FRAME["b"].astype(str))
SMALL: dict[str, Any] = {"n_estimators": 3, "max_depth": 3, "n_jobs": 1}
CATBOOST: dict[str, Any] = {"iterations": 4, "depth": 3, "verbose": 0, "thread_count": 1, "allow_writing_files": False}


class Walkers:
    """In the place of a simulator: the walkers' words, which say what `reference` says."""

    def __init__(self, core: Core):
        self.core = core

    def run(self, rows: np.ndarray) -> np.ndarray:
        found = walked(self.core, rows)
        np.testing.assert_array_equal(found, integers(self.core, rows))
        return found


@pytest.fixture(autouse=True)
def _unbuilt(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "bench" not in request.node.name.split("_"):
        monkeypatch.setattr(Core, "simulator", property(Walkers))


def lightgbm_of_categories() -> Any:
    options: dict[str, Any] = {"num_leaves": 7, "min_data_per_group": 1, "cat_smooth": 0, "min_child_samples": 5}
    source = LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1, **options)
    return source.fit(CATEGORIES, CLASSES, categorical_feature=[1])


def histograms_of_categories() -> Any:
    options: dict[str, Any] = {"max_iter": 3, "categorical_features": [1]}
    return HistGradientBoostingClassifier(**options).fit(CATEGORIES, CLASSES)


MADE = {
    "XGBClassifier, three classes": (lambda: XGBClassifier(**SMALL).fit(MISSING, NUMBERS), MISSING),
    "LGBMClassifier, categories": (lightgbm_of_categories, CATEGORIES),
    "HistGradientBoostingClassifier, categories": (histograms_of_categories, CATEGORIES),
    "ExtraTreesClassifier, missing values": (
        lambda: ExtraTreesClassifier(4, max_depth=4, random_state=0).fit(MISSING, THREE),
        MISSING,
    ),
    "RandomForestRegressor, two outputs": (
        lambda: RandomForestRegressor(4, max_depth=4, random_state=0).fit(X, PAIR),
        X,
    ),
}
NAMES = [
    "XGBRegressor, trees of two outputs",
    "LGBMRegressor, missing values",
    "LGBMRegressor, linear trees",
    "CatBoostClassifier",
    "CatBoostRegressor, missing values",
    "CatBoostRegressor, two outputs",
    "CatBoostRegressor, depthwise",
    "DecisionTreeClassifier, missing values",
    "RandomForestClassifier",
    "GradientBoostingClassifier",
    "HistGradientBoostingRegressor",
    "IsolationForest",
    "AdaBoostClassifier",
    "BaggingRegressor",
    *MADE,
]


@cache
def source_of(name: str) -> tuple[Any, np.ndarray]:
    """A fitted model, and the rows that it was fitted on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (MADE[name][0](), MADE[name][1]) if name in MADE else (fitted(name), CASES[name].x)


def converted(source: Any, x: Any, encoder: Any) -> Any:
    return tensorml.convert(source, x, executor=FpgaExecutor(encoder=encoder, walkers=2))


def on_grid(x: np.ndarray) -> np.ndarray:
    return np.round(np.nan_to_num(x) * 64) / 64


LEAVES = {"apply": {}, "calc_leaf_indexes": {}, "predict(pred_leaf=True)": {"pred_leaf": True}}


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("encoder", ["host", "circuit", "grid"])
@pytest.mark.parametrize("name", NAMES)
def test_leaves_are_those_of_the_source_and_results_those_of_the_integers(name: str, encoder: str) -> None:
    source, x = source_of(name)
    if encoder == "grid" and name == "HistGradientBoostingClassifier, categories":
        with pytest.raises(UnsupportedModelError, match="in a circuit that takes columns as they come"):
            converted(source, on_grid(x), GRIDS)
        return
    rows = on_grid(x)
    model = converted(source, rows if encoder == "grid" else x, GRIDS if encoder == "grid" else encoder)
    if encoder != "grid":
        rows = np.concatenate([beside_thresholds(model, x, (np.nan, *FINITE) if np.isnan(x).any() else FINITE, 80), x])
    for output in (name for name in model.outputs if name in LEAVES):
        method, options = output.partition("(")[0], LEAVES[output]
        found, expected = getattr(model, method)(rows, **options), getattr(source, method)(rows, **options)
        np.testing.assert_array_equal(found, expected)
    first = model.outputs[0].partition("(")[0]
    found, expected = getattr(model, first)(rows), getattr(source, first)(rows)
    if np.asarray(expected).dtype.kind == "f" and name != "ExtraTreesClassifier, missing values":
        assert np.abs(found - expected).max() <= 0.011 * np.ptp(expected, axis=0).max()
    else:
        assert (found == expected).mean() >= 0.98
    core = core_of(model, model.outputs[0])
    assert core.trees is not None
    kinds = {"host": {"unsigned"}, "circuit": {"float"}, "grid": {"signed"}}
    assert core.trees.words.kind in kinds[encoder]


@pytest.mark.parametrize("encoder", ["host", "circuit"])
@pytest.mark.parametrize(
    ("source", "frame"),
    [
        (XGBRegressor(enable_categorical=True, **SMALL), FRAME),
        (CatBoostRegressor(cat_features=["b"], **CATBOOST), STRINGS),
    ],
    ids=["xgboost", "catboost"],
)
def test_columns_of_categories_are_the_hosts_before_walkers(source: Any, frame: pd.DataFrame, encoder: str) -> None:
    source.fit(frame, NUMBER)
    model = converted(source, frame, encoder)
    leaves = "apply" if hasattr(source, "apply") else "calc_leaf_indexes"
    np.testing.assert_array_equal(getattr(model, leaves)(frame), getattr(source, leaves)(frame))
    with pytest.raises(UnsupportedModelError, match="in a circuit that takes columns as they come"):
        converted(source, frame, Grid(16, 6))


def test_an_imputer_before_trees_gives_nan_a_place_among_numbers() -> None:
    source = make_pipeline(SimpleImputer(), StandardScaler(), DecisionTreeClassifier(max_depth=4, random_state=0))
    source.fit(MISSING, THREE)
    model = converted(source, MISSING, "circuit")
    core = core_of(model, "predict")
    assert core.trees is not None
    assert any(column.nan and column.bounds and column.nan < len(column.bounds) for column in core.trees.columns)
    ranks = [op for op in core.split.circuit.order if isinstance(op, RankBits)]
    rows = np.concatenate([MISSING, *(np.full((1, 4), t) for op in ranks for t in op.boundaries)])
    np.testing.assert_array_equal(model.predict(rows), source.predict(rows))


def test_walkers_of_floats_and_of_codes_give_the_same() -> None:
    source, x = source_of("GradientBoostingClassifier")
    assert isinstance(source, GradientBoostingClassifier)
    results = [converted(source, x, encoder).decision_function(x) for encoder in ("host", "circuit")]
    np.testing.assert_array_equal(*results)


def test_the_header_makes_rows_of_floats_for_walkers(tmp_path: Path) -> None:
    source, x = source_of("LGBMClassifier, categories")
    core = core_of(converted(source, x, "circuit"), "predict")
    assert any(isinstance(op, ops.Lookup) for op in core.split.before.order)
    rows = np.concatenate([x, beside_thresholds(converted(source, x, "host"), x, (np.nan, np.inf, -0.0), 100)])
    assert set(assert_encoded(core, rows, tmp_path / "p", "c")) == {0}


def test_a_saved_project_of_floats_passes_its_test_bench(tmp_path: Path) -> None:
    source, x = source_of("XGBClassifier, three classes")
    model = converted(source, x, "circuit")
    model.save(tmp_path / "p")
    header = (tmp_path / "p" / "include" / "core_encode.h").read_text()
    assert "core_encode(" in header
    assert "the bits of a float32" in (tmp_path / "p" / "README.md").read_text()
    environment = {"MAKEFLAGS": "", "MAKELEVEL": "", "MFLAGS": ""}
    said = Tool("make", ("make", f"PYTHON={sys.executable}"), "", environment).run(folder=tmp_path / "p")
    assert "TESTS=3 PASS=3 FAIL=0" in said
    assert "TESTS=5 PASS=5 FAIL=0" in said
