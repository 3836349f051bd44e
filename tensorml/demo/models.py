"""The models of the demonstration, trained on data sets that come with scikit-learn.

The one place in `tensorml` that imports libraries of models: see docs/decisions/0005-the-demonstration-trains.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from sklearn.svm import LinearSVC
from xgboost import XGBRegressor


@dataclass(frozen=True)
class Trained:
    """A fitted model, the rows it was fitted on [N, F] (float64), and the method that the demonstration times."""

    name: str
    data: str
    model: Any
    X: np.ndarray
    method: str


def wine_pipeline() -> Any:
    """Ten columns scaled, three binned, then a linear classifier."""
    bins = KBinsDiscretizer(4, encode="onehot-dense", strategy="uniform")
    columns = ColumnTransformer([("scaled", StandardScaler(), list(range(10))), ("binned", bins, [10, 11, 12])])
    return make_pipeline(columns, LogisticRegression(max_iter=1000))


MODELS: tuple[tuple[str, str, Callable[..., Any], Callable[[], Any], str], ...] = (
    ("ColumnTransformer + LogisticRegression", "wine", load_wine, wine_pipeline, "predict_proba"),
    (
        "RandomForestClassifier",
        "digits",
        load_digits,
        lambda: RandomForestClassifier(random_state=0),
        "predict_proba",
    ),
    (
        "HistGradientBoostingClassifier",
        "breast cancer",
        load_breast_cancer,
        lambda: HistGradientBoostingClassifier(random_state=0),
        "predict_proba",
    ),
    (
        "XGBRegressor",
        "diabetes",
        load_diabetes,
        lambda: XGBRegressor(n_estimators=200, max_depth=6, learning_rate=0.05),
        "predict",
    ),
    (
        "StandardScaler + LinearSVC",
        "digits",
        load_digits,
        lambda: make_pipeline(StandardScaler(), LinearSVC(random_state=0)),
        "decision_function",
    ),
)


def train() -> Iterator[Trained]:
    """The models, fitted one after the other."""
    for name, data, load, make, method in MODELS:
        X, y = load(return_X_y=True)
        yield Trained(name, data, make().fit(X, y), X, method)
