"""Isolation forests. The oracle is scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    IsolationForest,
)

import tensorml
from tensorml.errors import InputError, NotFittedError
from tests.converters.test_sklearn_trees import WITH_NAN, X
from tests.ensembles import ANYTHING, traps
from tests.parity import assert_same

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning")


def power_of_two(executor: str) -> dict[str, float]:
    """Scores are powers of 2, whose last bit is the executor's own; NumPy's are the library's."""
    return {} if executor == "reference" else {"rtol": 4e-16, "atol": 2e-16}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_features": 2},
        {"max_features": 2, "bootstrap": True},
        {"contamination": 0.1},
        {"max_samples": 50, "contamination": 0.4},
        {"max_samples": 1},
        {"max_samples": 2},
        {"warm_start": True},
    ],
    ids=str,
)
def test_isolation_forests_agree(executor: str, options: dict[str, Any]):
    model = IsolationForest(n_estimators=30, random_state=0, **options).fit(X)
    rows = np.concatenate([X, traps(model, ANYTHING)])
    with np.errstate(over="ignore"):
        single = rows.astype(np.float32)
    for x in (rows, single, X[:1], (X * 10).astype(np.int64)):
        assert_same(model, x, executor, **power_of_two(executor))
    np.testing.assert_array_equal(tensorml.convert(model, executor=executor).predict(rows), model.predict(rows))


def test_isolation_forests_take_nan_as_they_were_trained(executor: str):
    model = IsolationForest(n_estimators=20, random_state=0).fit(WITH_NAN)
    assert_same(model, traps(model, ANYTHING), executor, **power_of_two(executor))


def test_outliers_are_told_from_depths_not_from_rounded_scores(executor: str):
    """Rows at the very offset: it is the score of a row of the training data."""
    model = IsolationForest(n_estimators=10, random_state=0).fit(X)
    scores = np.unique(model.score_samples(X))[::30]
    for offset in (*scores, *np.nextafter(scores, 0), *np.nextafter(scores, -1), 0.0, -1.0, 1.0):
        model.offset_ = offset
        np.testing.assert_array_equal(tensorml.convert(model, executor=executor).predict(X), model.predict(X))


def test_isolation_forests_check_width_and_rows_as_the_library_does():
    model = IsolationForest(n_estimators=5, random_state=0).fit(X)
    converted = tensorml.convert(model)
    with pytest.raises(InputError, match="X has 4 features, but IsolationForest is expecting 5 features"):
        converted.predict(X[:, :4])
    with pytest.raises(InputError, match=r"0 sample\(s\)"):
        converted.predict(X[:0])
    with pytest.raises(NotFittedError, match="IsolationForest is not fitted"):
        tensorml.convert(IsolationForest())
    assert not hasattr(converted, "decision_path")
    assert not hasattr(model, "decision_path")
