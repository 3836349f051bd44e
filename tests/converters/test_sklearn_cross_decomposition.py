"""Partial least squares against scikit-learn: scores, predictions and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.cross_decomposition import CCA, PLSSVD, PLSCanonical, PLSRegression

import tensorml
from tensorml.errors import InputError, NotFittedError
from tests.parity import assert_equal_outputs, assert_same

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 6)) * [1, 5, 0.1, 2, 1, 3] + 4
Y = X[:, :3] @ RNG.normal(size=(3, 4)) + RNG.normal(size=(90, 4))
MODELS: dict[str, Any] = {
    "regression": PLSRegression(2),
    "regression of all components": PLSRegression(6),
    "regression without scaling": PLSRegression(3, scale=False),
    "canonical": PLSCanonical(2),
    "canonical by svd": PLSCanonical(3, algorithm="svd"),
    "canonical without scaling": PLSCanonical(2, scale=False),
    "correlation": CCA(2),
    "correlation without scaling": CCA(1, scale=False),
    "svd": PLSSVD(3),
    "svd without scaling": PLSSVD(2, scale=False),
}
TOLERANCE = {"float64": 1e-11, "float32": 1e-5, "float16": 1e-3}  # of sums of 6 products; X is scaled in its own dtype


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", "bool"])
@pytest.mark.parametrize("name", MODELS)
def test_scores_predictions_and_the_way_back_agree_within_rounding(executor: str, name: str, dtype: str) -> None:
    source = clone(MODELS[name]).fit(X, Y)
    tolerance = TOLERANCE.get(dtype, 1e-11)
    assert_same(source, X.astype(dtype), executor, rtol=tolerance, atol=tolerance)
    assert_same(source, X[:1].astype(dtype), executor, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["regression", "regression without scaling", "canonical"])
@pytest.mark.parametrize("y", [Y[:, 0], Y[:, :1]], ids=["one-dimensional", "one column"])
def test_predictions_have_the_shape_of_the_targets(executor: str, name: str, y: np.ndarray) -> None:
    source = clone(MODELS[name]).set_params(n_components=1).fit(X, y)
    model = assert_same(source, X, executor, rtol=1e-11, atol=1e-11)
    assert model.predict(X).shape == y.shape


def test_the_input_is_never_written_to(executor: str) -> None:
    x = X.astype(np.float32)
    model = tensorml.convert(PLSRegression(2).fit(X, Y), executor=executor)
    first = model.predict(x)
    np.testing.assert_array_equal(x, X.astype(np.float32))
    np.testing.assert_array_equal(model.predict(x), first)


def test_the_way_back_of_other_dtypes(executor: str) -> None:
    source = PLSRegression(2).fit(X, Y)
    model = tensorml.convert(source, executor=executor)
    for dtype in ("float32", "float16", "int64", "bool"):
        z = (RNG.normal(size=(5, 2)) * 3).astype(dtype)
        assert_equal_outputs(model.inverse_transform(z), source.inverse_transform(z), dtype, 1e-11, 1e-11)


def test_frames_come_back_as_frames(executor: str) -> None:
    frame = pd.DataFrame(X, columns=list("abcdef"), index=np.arange(90)[::-1])
    source = PLSSVD(2).fit(frame, Y).set_output(transform="pandas")
    actual = tensorml.convert(source, executor=executor).transform(frame)
    pd.testing.assert_frame_equal(actual, source.transform(frame), rtol=1e-10)


@pytest.mark.parametrize("name", ["regression", "correlation", "svd"])
def test_targets_beside_x_are_refused_by_name(executor: str, name: str) -> None:
    model = tensorml.convert(clone(MODELS[name]).fit(X, Y), executor=executor)
    with pytest.raises(InputError, match="transform\\(\\) does not take y="):
        model.transform(X, y=Y)
    if name != "svd":
        with pytest.raises(InputError, match="inverse_transform\\(\\) does not take y="):
            model.inverse_transform(X[:, :2], y=Y)


def test_what_is_refused() -> None:
    with pytest.raises(NotFittedError, match="not fitted"):
        tensorml.convert(PLSRegression())
    model = tensorml.convert(PLSRegression(2).fit(X, Y))
    with pytest.raises(InputError, match="X has 5 features, but PLSRegression is expecting 6"):
        model.predict(X[:, :5])
    with pytest.raises(InputError, match=r"PLSRegression.inverse_transform is expecting 2"):
        model.inverse_transform(X)
    with pytest.raises(InputError, match="contains NaN"):
        model.transform(np.full((1, 6), np.nan))
    with pytest.raises(InputError, match="contains infinity"):
        model.predict(np.full((1, 6), np.inf))
    with pytest.raises(InputError, match="0 sample"):
        model.predict(X[:0])
