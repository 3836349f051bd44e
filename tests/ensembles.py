"""What the tests of ensembles share: rows that set traps for their trees, members, limits."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import (
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from tensorml_sklearn.describe import VERSION
from tests.converters.test_sklearn_trees import X, thresholds_of
from tests.parity import assert_same
from tests.traps import trap_rows

FINITE = (-0.0, 5e-324, 1e-45, 3e38)
ANYTHING = (np.nan, np.inf, -np.inf, *FINITE)
QUANTILES: dict[str, Any] = {"quantile_method": "averaged_inverted_cdf"} if VERSION >= (1, 7) else {}
LINEAR = {np.float64: {"rtol": 1e-9, "atol": 1e-12}, np.float32: {"rtol": 2e-5, "atol": 2e-6}}  # matrix products


def traps(model: Any, odd: tuple[float, ...] = FINITE, rows: int = 600) -> np.ndarray:
    """Rows on and beside the thresholds of the ensemble's trees."""
    pairs = [
        (int(features[column]), threshold)
        for base, features in zip(model.estimators_, subsets(model), strict=True)
        for column, threshold in thresholds_of(base)
        if np.isfinite(threshold)
    ]
    return trap_rows(X, pairs, rows, odd=odd)


def subsets(model: Any) -> list[np.ndarray]:
    return list(getattr(model, "estimators_features_", [np.arange(X.shape[1])] * len(model.estimators_)))


def xgb(**options: Any) -> XGBClassifier:
    return XGBClassifier(n_estimators=4, max_depth=3, n_jobs=1, **options)


def check_linear(model: Any, executor: str) -> None:
    """The model in float64 and float32, within the rounding of matrix products."""
    for dtype, limits in LINEAR.items():
        assert_same(model, X.astype(dtype), executor, **limits)


MEMBERS = [
    ("linear", LogisticRegression()),
    ("tree", DecisionTreeClassifier(max_depth=4, random_state=0)),
    ("forest", RandomForestClassifier(5, random_state=0)),
]
