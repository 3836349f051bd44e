"""Arrays of a kind that a model has met before take a shorter way: with the same results, and the same refusals."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

import tensorml
from tensorml.errors import InputError

X = np.random.default_rng(0).standard_normal((40, 20))
MODEL = LogisticRegression().fit(X, X[:, 0] > 0)


def test_a_second_call_refuses_what_a_first_one_does(executor: str) -> None:
    if executor == "fpga":
        pytest.skip("a circuit does not refuse")
    model = tensorml.convert(MODEL, X, executor=executor)
    model.predict(X)
    expected = MODEL.predict(X)
    for bad in (np.nan, np.inf):
        rows = X.copy()
        rows[3, 7] = bad
        with pytest.raises(InputError, match="contains"):
            model.predict(rows)
    with pytest.raises(InputError, match="19 features"):
        model.predict(X[:, :19])
    with pytest.raises(InputError, match="0 sample"):
        model.predict(X[:0])
    with pytest.raises(InputError, match="2D array"):
        model.predict(X[0])
    with pytest.raises(InputError, match=r"np\.matrix"):
        model.predict(X.view(np.matrix))
    with pytest.raises(InputError, match="does not take"):
        model.predict(X, wrong=True)
    assert (model.predict(X) == expected).all()


@pytest.mark.parametrize("dtype", ["float32", "int64", ">f8", object])
def test_another_dtype_is_another_kind(dtype: str) -> None:
    model = tensorml.convert(LinearRegression().fit(X, X[:, 1]), X)
    model.predict(X)
    other = (10 * X).astype("int64").astype(dtype)
    model.predict(other)
    found = model.predict(other)
    expected = LinearRegression().fit(X, X[:, 1]).predict(other)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_rows_that_cannot_be_written_or_lie_otherwise_are_read() -> None:
    model = tensorml.convert(MODEL, X)
    expected = model.predict_proba(X)
    locked = X.copy()
    locked.flags.writeable = False
    for rows in (locked, np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], X[::-1][::-1]):
        for _ in range(2):
            np.testing.assert_allclose(model.predict_proba(rows), expected, rtol=1e-12)


def test_results_of_several_parts_and_options_stay_what_they_are() -> None:
    source = KNeighborsClassifier(3).fit(X, X[:, 0] > 0)
    model = tensorml.convert(source, X)
    for _ in range(2):
        assert isinstance(model.kneighbors(X), tuple)
        assert model.kneighbors(X, n_neighbors=2)[1].shape == (40, 2)
        assert model.kneighbors(X)[1].shape == (40, 3)
