from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import (
    AffinityPropagation,
    Birch,
    BisectingKMeans,
    FeatureAgglomeration,
    KMeans,
    MeanShift,
    MiniBatchKMeans,
)
from sklearn.exceptions import ConvergenceWarning

import tensorml
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tests.parity import assert_equal_outputs, assert_same

RNG = np.random.default_rng(0)
TRAIN = RNG.normal(size=(200, 6)) + RNG.integers(0, 4, (200, 1)) * 3
X = RNG.normal(size=(50, 6)) + RNG.integers(0, 4, (50, 1)) * 3
INTEGERS = np.rint(X).astype(np.int64)
MEANS = [
    KMeans(5, n_init=1, random_state=0),
    KMeans(5, n_init=1, random_state=0, algorithm="elkan"),
    KMeans(1, n_init=1),
    MiniBatchKMeans(4, n_init=1, random_state=0),
    BisectingKMeans(7, random_state=0),
    BisectingKMeans(4, random_state=0, bisecting_strategy="largest_cluster"),
    BisectingKMeans(1),
]


@pytest.mark.parametrize("source", MEANS, ids=lambda s: f"{type(s).__name__} {s.n_clusters}")
def test_rows_belong_to_the_closest_mean(executor: str, source: Any) -> None:
    source.fit(TRAIN)
    for x in (X, X[:1], INTEGERS, TRAIN):
        model = assert_same(source, x, executor, rtol=1e-9, atol=1e-6)
    assert model.predict(X).dtype == np.int32
    source.fit(TRAIN.astype(np.float32))
    assert_same(source, X.astype(np.float32), executor, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("source", [MEANS[0], MEANS[4]], ids=lambda s: type(s).__name__)
def test_rows_of_another_dtype_than_the_means_have_distances_alone(executor: str, source: Any) -> None:
    model = tensorml.convert(source.fit(TRAIN), executor=executor)
    x = X.astype(np.float32)
    assert_equal_outputs(model.transform(x), source.transform(x), "transform", rtol=1e-6, atol=1e-5)
    with pytest.raises(ValueError, match="dtype mismatch"):
        source.predict(x)
    with pytest.raises(InputError, match="takes rows of float64"):
        model.predict(x)


def test_the_first_of_equally_close_means_wins(executor: str) -> None:
    source = KMeans(4, n_init=1, init=np.array([[0.0, 0], [2, 0], [0, 2], [2, 2]]), max_iter=1).fit(
        np.array([[0.0, 0], [2, 0], [0, 2], [2, 2]])
    )
    grid = np.stack(np.meshgrid(np.arange(4.0), np.arange(4.0)), -1).reshape(-1, 2)
    assert_same(source, grid, executor, rtol=1e-12, atol=1e-7)


def test_sparse_rows_are_clustered(executor: str) -> None:
    rows = sparse.csr_matrix(np.where(X > 1, X, 0))
    for source in (MEANS[0], MEANS[4], Birch(threshold=1.0)):
        model = tensorml.convert(source.fit(TRAIN), executor=executor)
        assert_equal_outputs(model.predict(rows), source.predict(rows), "predict")


@pytest.mark.parametrize("source", [MeanShift(bandwidth=3.0), AffinityPropagation(random_state=0, damping=0.8)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_belong_to_the_closest_centre(executor: str, source: Any, dtype: type) -> None:
    source.fit(TRAIN.astype(dtype))
    for x in (X, X.astype(np.float32), INTEGERS, X[:1]):
        assert_same(source, x, executor)


def test_without_centres_every_row_is_labelled_minus_one(executor: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        source = AffinityPropagation(max_iter=1, random_state=0).fit(TRAIN)
        assert not len(source.cluster_centers_)
        assert_same(source, X, executor)


def test_affinities_that_are_given_have_no_prediction() -> None:
    source = AffinityPropagation(affinity="precomputed", random_state=0, damping=0.8).fit(-abs(TRAIN @ TRAIN.T))
    with pytest.raises(UnsupportedModelError, match="no predict with affinity='precomputed'"):
        tensorml.convert(source)


@pytest.mark.parametrize("clusters", [3, None, KMeans(3, n_init=1, random_state=0)], ids=["3", "none", "KMeans"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_subclusters_name_the_cluster(executor: str, clusters: Any, dtype: type) -> None:
    source = Birch(n_clusters=clusters, threshold=1.0).fit(TRAIN.astype(dtype))
    for x in (X, X.astype(np.float32), INTEGERS, X[:1]):
        assert_same(source, x, executor, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("pool", [np.mean, np.median, np.max, np.min, np.sum, np.amax], ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8, np.float16])
def test_features_of_a_cluster_are_pooled(executor: str, pool: Any, dtype: type) -> None:
    source = FeatureAgglomeration(2, pooling_func=pool).fit(TRAIN)
    x = np.abs(INTEGERS).astype(dtype) if np.dtype(dtype).kind in "iu" else X.astype(dtype)
    if pool is np.mean and dtype is np.float16:
        rtol = 0.0
    else:
        rtol = {np.float64: 1e-14, np.float32: 1e-6, np.float16: 3e-3}.get(dtype, 0.0)
    assert_same(source, x, executor, rtol=rtol, atol=rtol)


def test_a_pool_that_is_not_known_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match=r"pooling_func=.* is not known"):
        tensorml.convert(FeatureAgglomeration(2, pooling_func=np.ptp).fit(TRAIN))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("source", [MEANS[0], MeanShift(bandwidth=3.0), Birch(threshold=1.0), FeatureAgglomeration()])
def test_rows_that_are_not_finite_are_refused(executor: str, source: Any, bad: float) -> None:
    x = X.copy()
    x[2, 3] = bad
    model = tensorml.convert(source.fit(TRAIN), executor=executor)
    with pytest.raises(InputError, match=r"NaN|infinity"):
        getattr(model, model.methods[0])(x)


def test_the_width_and_the_fit_are_checked() -> None:
    with pytest.raises(NotFittedError):
        tensorml.convert(KMeans())
    with pytest.raises(InputError, match="6 features"):
        tensorml.convert(MEANS[0].fit(TRAIN)).predict(X[:, :3])
    with pytest.raises(InputError, match="0 sample"):
        tensorml.convert(MEANS[0].fit(TRAIN)).predict(X[:0])


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_overflow_get_the_label_of_the_source(executor: str, dtype: type) -> None:
    random, huge = np.random.default_rng(0), np.sqrt(np.finfo(dtype).max)
    source = KMeans(5, n_init=1, random_state=0).fit(random.normal(size=(50, 3)).astype(dtype))
    scale = np.array([1e-9, 1, 30, 0.1, 20])[:, None]
    source.cluster_centers_ = (random.normal(size=(5, 3)) * huge * scale).astype(dtype)
    one = np.eye(3)[random.integers(3, size=300)]  # more than one term of a sum may overflow in another order
    rows = (random.normal(size=(300, 3)) * huge * 30).astype(dtype) * one.astype(dtype)
    expected = source.predict(rows)
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(tensorml.convert(source, executor=executor).predict(rows), expected)


@pytest.mark.parametrize("clusters", [2, 300])
def test_equal_centres_share_the_first_label_over_many_rows(executor: str, clusters: int) -> None:
    random = np.random.default_rng(0)
    rows = random.integers(-4, 5, (20_000, 3)).astype(np.float64)
    source = KMeans(clusters, n_init=1, max_iter=1, random_state=0).fit(rows[:2000] + random.normal(size=(2000, 3)))
    source.cluster_centers_ = random.integers(-4, 5, (clusters, 3)).astype(np.float64)
    np.testing.assert_array_equal(tensorml.convert(source, executor=executor).predict(rows), source.predict(rows))
