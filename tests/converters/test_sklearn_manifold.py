from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.manifold import Isomap, LocallyLinearEmbedding

import tensorml
from tensorml.errors import InputError, UnsupportedModelError
from tests.parity import assert_same

RNG = np.random.default_rng(0)
TRAIN = RNG.normal(size=(150, 5))
X = RNG.normal(size=(40, 5))
KINDS = [X, X[:1], X.astype(np.float32), np.rint(2 * X).astype(np.int64)]


def tolerance(x: np.ndarray) -> float:
    """Of matrix products, in the dtype of x."""
    return 1e-4 if x.dtype == np.float32 else 1e-7


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "given",
    [{}, {"n_components": 4, "n_neighbors": 8}, {"metric": "manhattan"}, {"p": 1}, {"neighbors_algorithm": "brute"}],
    ids=str,
)
def test_shortest_paths_are_projected(executor: str, given: dict[str, Any], dtype: type) -> None:
    source = Isomap(**{"n_neighbors": 6, **given}).fit(TRAIN.astype(dtype))
    for x in KINDS:
        close = 2e-4 if dtype is np.float32 else tolerance(x)
        assert_same(source, x, executor, rtol=close, atol=close)


def test_distances_may_be_given(executor: str) -> None:
    source = Isomap(n_neighbors=6, metric="precomputed").fit(np.abs(TRAIN[:, None] - TRAIN).sum(2))
    assert_same(source, np.abs(X[:, None] - TRAIN).sum(2), executor, rtol=1e-7, atol=1e-7)


def test_neighbours_within_a_radius_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="all within a radius"):
        tensorml.convert(Isomap(radius=5.0, n_neighbors=None).fit(TRAIN))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "given",
    [{}, {"reg": 0.1}, {"n_neighbors": 3}, {"n_components": 3, "neighbors_algorithm": "brute"}],
    ids=str,
)
def test_the_embedding_of_the_neighbours_is_weighted(executor: str, given: dict[str, Any], dtype: type) -> None:
    source = LocallyLinearEmbedding(**{"n_neighbors": 8, "random_state": 0, **given}).fit(TRAIN.astype(dtype))
    for x in KINDS:
        close = 1e-2 if x.dtype == np.float32 else 1e-6
        assert_same(source, x, executor, rtol=close, atol=close * 0.1)


def test_a_row_of_the_training_set_is_among_its_neighbours(executor: str) -> None:
    source = LocallyLinearEmbedding(n_neighbors=8, random_state=0).fit(TRAIN)
    assert_same(source, TRAIN, executor, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("source", [Isomap(), LocallyLinearEmbedding(random_state=0)], ids=lambda s: type(s).__name__)
def test_rows_that_are_not_finite_are_refused(executor: str, source: Any) -> None:
    x = X.copy()
    x[2, 3] = np.nan
    with pytest.raises(InputError, match="NaN"):
        tensorml.convert(source.fit(TRAIN), executor=executor).transform(x)
