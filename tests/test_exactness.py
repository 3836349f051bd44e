"""Drawn by hypothesis, the exactness suite: two million pairs of row and tree. `make exact` runs many times more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorml.model import TensorModel
from tests import exactness
from tests.exactness import KINDS, LIBRARIES, VALUES, Drawing, compare, run

pytest.importorskip("lightgbm")
pytest.importorskip("catboost")

DRAWINGS = st.builds(
    Drawing,
    seed=st.integers(0, 2**31 - 1),
    values=st.sampled_from(VALUES),
    kind=st.sampled_from(KINDS),
    variant=st.integers(0, 63),
    trees=st.integers(1, 60),
    depth=st.integers(1, 9),
    single=st.booleans(),
    missing=st.booleans(),
    rows=st.just(500),
)
ONE = Drawing(
    seed=1, values="rounded", kind="regression", variant=0, trees=9, depth=5, single=False, missing=True, rows=500
)


@pytest.mark.parametrize("library", LIBRARIES)
@given(draw=DRAWINGS)
@settings(max_examples=40)
def test_every_drawn_model_reaches_the_library_s_leaves(library: str, draw: Drawing):
    found = compare(library, draw, "reference")
    assert found.wrong_leaves == 0
    assert found.wrong_margins == 0


@pytest.mark.parametrize("library", LIBRARIES)
def test_half_a_million_pairs_of_each_library_agree(library: str):
    models, total = run(library, 500_000, 2000, "torch")
    assert models > 1
    assert total.pairs >= 500_000
    assert total.wrong_leaves == 0
    assert total.wrong_margins == 0


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "catboost"])
def test_the_suite_notices_a_wrong_leaf_and_a_wrong_margin(library: str, monkeypatch: pytest.MonkeyPatch):
    assert compare(library, ONE, "reference").wrong_leaves == 0
    answered = TensorModel._call

    def tampered(model: TensorModel, method: str, X: Any, **options: Any) -> Any:
        result = np.array(answered(model, method, X, **options))
        result[3] = np.nextafter(result[3], np.inf) if result.dtype.kind == "f" and result.ndim == 1 else result[3] + 1
        return result

    monkeypatch.setattr(TensorModel, "_call", tampered)
    found = compare(library, ONE, "reference")
    assert found.wrong_leaves > 0
    assert found.wrong_margins == 1


def test_rows_hold_thresholds_their_neighbours_and_odd_values():
    rng = np.random.default_rng(0)
    x = exactness.features(ONE, 300, rng)
    case = exactness.xgboost_case(ONE, x, exactness.target(ONE, x, rng))
    rows = exactness.drawn_rows(replace(ONE, rows=5000), x, case, rng)
    threshold = np.array([t for f, t in case.thresholds if f == 0], np.float32)
    assert np.isin(threshold, rows[:, 0]).all()
    assert np.isin(np.nextafter(threshold, np.float32(np.inf)), rows[:, 0]).all()
    assert np.isin(np.nextafter(threshold.astype(np.float64), -np.inf), rows[:, 0]).all()
    assert np.isnan(rows).any()
    assert (np.signbit(rows) & (rows == 0)).any()
