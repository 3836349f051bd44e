"""What holds for every scikit-learn model that reads a table of finite numbers, beyond equal results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorml
from tensorml.errors import InputError, NotFittedError
from tests.parity import assert_same


def assert_contract(source: Any, X: np.ndarray, executor: str, *, rtol: float, atol: float) -> None:
    """One row, rows for more than a tile, any memory order; what the source refuses is refused in the same words.

    X: [N, F] with at least 4 rows and 2 columns; it is never written to.
    """
    before = X.copy()
    many = np.tile(X, (3000 // len(X) + 1, 1))
    for rows in (X[:1], many, X[::-1, ::-1][::-1, ::-1], np.asfortranarray(X)):
        model = assert_same(source, rows, executor, rtol=rtol, atol=atol)
    np.testing.assert_array_equal(X, before)
    assert_refuses_as_source(source, model, X)
    with pytest.raises(NotFittedError, match=f"{type(source).__name__} is not fitted"):
        tensorml.convert(type(source)())


def assert_refuses_as_source(source: Any, model: Any, X: np.ndarray) -> None:
    """NaN, infinities, another width and no rows are refused by source and model alike, by every method."""
    name = type(source).__name__
    for method in model.methods:
        theirs, ours = getattr(source, method), getattr(model, method)
        for value, words in ((np.nan, "contains NaN"), (np.inf, "contains infinity"), (-np.inf, "contains infinity")):
            rows = X.astype(np.float64)
            rows[3, 1] = value
            assert_both_refuse(theirs, ours, rows, words)
        assert_both_refuse(theirs, ours, X[:, 1:], f"X has {X.shape[1] - 1} features, but {name} is expecting")
        assert_both_refuse(theirs, ours, X[:0], r"0 sample\(s\)")


def assert_both_refuse(theirs: Any, ours: Any, rows: Any, words: str) -> None:
    """Both methods raise a ValueError with these words, ours an InputError."""
    with pytest.raises(ValueError, match=words):
        theirs(rows)
    with pytest.raises(InputError, match=words):
        ours(rows)
