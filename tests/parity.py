"""The one comparison that all converter tests make: the library itself against its converted model."""

from __future__ import annotations

from typing import Any

import numpy as np

import tensorml

METHODS = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "predict_joint_log_proba",
    "decision_function",
    "score_samples",
    "mahalanobis",
    "transform",
    "apply",
    "decision_path",
)


def assert_same(source: Any, X: Any, executor: str = "reference", *, rtol: float = 0.0, atol: float = 0.0) -> Any:
    """Every inference method that the source has returns the same from the converted model, and no other exists.

    rtol = atol = 0 asks for equal bits (NaN equals NaN). Returns the converted model.
    """
    model = tensorml.convert(source, executor=executor)
    for method in METHODS:
        assert hasattr(model, method) == hasattr(source, method), method
        if hasattr(source, method):
            assert_equal_outputs(getattr(model, method)(X), getattr(source, method)(X), method, rtol, atol)
    assert hasattr(model, "inverse_transform") == hasattr(source, "inverse_transform")
    if hasattr(source, "inverse_transform"):
        back = source.transform(X)
        expected = source.inverse_transform(back)
        actual = model.inverse_transform(back.toarray() if hasattr(back, "toarray") else back)
        assert_equal_outputs(actual, expected, "inverse_transform", rtol, atol)
    return model


def assert_equal_outputs(actual: Any, expected: Any, what: str, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Same container, shape, dtype and values."""
    if isinstance(expected, list | tuple):
        assert type(actual) is type(expected)
        assert len(actual) == len(expected), what
        for a, e in zip(actual, expected, strict=True):
            assert_equal_outputs(a, e, what, rtol, atol)
        return
    assert type(actual) is type(expected), (what, type(actual), type(expected))
    if hasattr(expected, "toarray"):
        actual, expected = actual.toarray(), expected.toarray()
    if hasattr(expected, "columns"):
        assert list(actual.columns) == list(expected.columns), what
        actual, expected = actual.to_numpy(), expected.to_numpy()
    assert actual.dtype == expected.dtype, (what, actual.dtype, expected.dtype)
    assert actual.shape == expected.shape, (what, actual.shape, expected.shape)
    if expected.dtype.kind == "f" and (rtol or atol):
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol, err_msg=what)
    else:
        np.testing.assert_array_equal(actual, expected, err_msg=what)
