from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.decomposition import (
    PCA,
    FactorAnalysis,
    FastICA,
    IncrementalPCA,
    MiniBatchSparsePCA,
    SparsePCA,
    TruncatedSVD,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer

import tensorml
from tensorml.errors import InputError, NotFittedError
from tensorml_sklearn.describe import VERSION
from tests.parity import assert_equal_outputs, assert_same

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3)) @ RNG.normal(size=(3, 8)) + 0.5 * RNG.normal(size=(200, 8)) + 2.0
OPTIONS: dict[str, dict[str, Any]] = {
    "of all components": {},
    "of 3 components": {"n_components": 3},
    "of 1 component": {"n_components": 1},
    "of 90 % of the variance": {"n_components": 0.9, "svd_solver": "full"},
    "by maximum likelihood": {"n_components": "mle", "svd_solver": "full"},
    "whitened": {"whiten": True},
    "of 2 whitened components": {"n_components": 2, "whiten": True},
    "by the covariance": {"n_components": 4, "svd_solver": "covariance_eigh"},
    "by arpack": {"n_components": 4, "svd_solver": "arpack", "random_state": 0},
    "randomized": {"n_components": 4, "svd_solver": "randomized", "random_state": 0, "whiten": True},
}
TOLERANCE = {"float64": 1e-11, "float32": 2e-4}  # of sums of 8 products, of numbers up to 20; log-densities up to 100


@pytest.mark.parametrize("fitted_on", ["float64", "float32"])
@pytest.mark.parametrize("name", OPTIONS)
def test_pca_agrees_within_rounding_there_and_back(executor: str, name: str, fitted_on: str) -> None:
    source = PCA(**OPTIONS[name]).fit(X.astype(fitted_on))
    for dtype in ("float64", "float32"):
        tolerance = max(TOLERANCE[fitted_on], TOLERANCE[dtype])
        assert_same(source, X.astype(dtype), executor, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float16", "int64", "int8", "bool"])
def test_other_dtypes_are_read_as_float64(executor: str, dtype: str) -> None:
    for fitted_on in ("float64", "float32"):
        source = PCA(3).fit(X.astype(fitted_on))
        model = tensorml.convert(source, executor=executor)
        x = (X * 3).astype(dtype)
        for method in ("transform", "score_samples"):
            assert_equal_outputs(getattr(model, method)(x), getattr(source, method)(x), method, 1e-9, 1e-9)
        z = (RNG.normal(size=(9, 3)) * 3).astype(dtype)
        tolerance = 1e-12 if fitted_on == "float64" or VERSION >= (1, 8) else 1e-5
        assert_equal_outputs(model.inverse_transform(z), source.inverse_transform(z), "back", tolerance, tolerance)


def test_one_row_and_a_sparse_fit_convert(executor: str) -> None:
    assert_same(PCA(2).fit(X), X[:1], executor, rtol=1e-11, atol=1e-11)
    sparse = np.where(RNG.random(X.shape) < 0.5, 0, X)
    source = PCA(2, svd_solver="arpack", random_state=0).fit(csr_matrix(sparse))
    assert_same(source, sparse, executor, rtol=1e-11, atol=1e-11)


def test_the_input_is_never_written_to(executor: str) -> None:
    x = X.astype(np.float32)
    source = PCA(3, copy=False).fit(x.copy())
    model = tensorml.convert(source, executor=executor)
    first = model.transform(x)
    model.score_samples(x)
    np.testing.assert_array_equal(x, X.astype(np.float32))
    np.testing.assert_array_equal(model.transform(x), first)


def test_whitening_does_not_divide_by_zero(executor: str) -> None:
    x = np.hstack([X, X[:, :2]])
    source = PCA(10, whiten=True, svd_solver="covariance_eigh").fit(x)
    model = tensorml.convert(source, executor=executor)
    scale = np.sqrt(source.explained_variance_)
    assert scale.min() < 1e-6
    wide = scale > 1e-3
    expected = source.transform(x)
    assert_equal_outputs(model.transform(x)[:, wide], expected[:, wide], "transform", 1e-9, 1e-9)
    np.testing.assert_allclose(model.transform(x) * scale, expected * scale, rtol=0, atol=1e-9)


def test_score_samples_is_absent_where_the_precision_does_not_exist(executor: str) -> None:
    x = np.zeros((6, 3))
    x[:, 0] = np.arange(6)
    source = PCA(svd_solver="full").fit(x)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        with pytest.raises((np.linalg.LinAlgError, ValueError)):
            source.score_samples(x)
    model = tensorml.convert(source, executor=executor)
    assert not hasattr(model, "score_samples")
    assert_equal_outputs(model.transform(x), source.transform(x), "transform", 1e-12, 1e-12)


def test_no_components_leave_no_columns(executor: str) -> None:
    source = PCA(0, svd_solver="full").fit(X)
    model = tensorml.convert(source, executor=executor)
    assert_equal_outputs(model.transform(X), source.transform(X), "transform")
    assert_equal_outputs(model.score_samples(X), source.score_samples(X), "score_samples", 1e-11)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_values_and_infinity_are_refused(executor: str, bad: float) -> None:
    model = tensorml.convert(PCA(3).fit(X), executor=executor)
    x = X[:4].copy()
    x[1, 1] = bad
    for method in ("transform", "score_samples"):
        with pytest.raises(InputError, match="contains NaN" if np.isnan(bad) else "contains infinity"):
            getattr(model, method)(x)


def test_the_way_back_treats_missing_values_as_the_installed_version_does(executor: str) -> None:
    source = PCA(3).fit(X)
    model = tensorml.convert(source, executor=executor)
    z = np.array([[np.nan, 1.0, 2.0], [0.0, 1.0, 2.0]])
    if VERSION >= (1, 8):
        with pytest.raises(InputError, match="contains NaN"):
            model.inverse_transform(z)
    else:
        assert_equal_outputs(model.inverse_transform(z), source.inverse_transform(z), "inverse_transform", 1e-12)


def test_other_widths_no_rows_and_unfitted_models_are_refused() -> None:
    with pytest.raises(NotFittedError, match="not fitted"):
        tensorml.convert(PCA())
    model = tensorml.convert(PCA(3).fit(X))
    with pytest.raises(InputError, match="X has 7 features, but PCA is expecting 8 features as input"):
        model.transform(X[:, :7])
    with pytest.raises(InputError, match="0 sample"):
        model.score_samples(X[:0])
    for width in (1, 8):
        with pytest.raises(InputError, match=f"X has {width} features, but PCA.inverse_transform is expecting 3"):
            model.inverse_transform(np.ones((2, width)))


MIXED = RNG.laplace(size=(120, 8)) @ RNG.normal(size=(8, 8))
LINEAR: dict[str, Any] = {
    "incremental PCA": IncrementalPCA(3, batch_size=40),
    "incremental PCA, whitened": IncrementalPCA(3, whiten=True),
    "truncated SVD": TruncatedSVD(3, random_state=0),
    "truncated SVD by arpack": TruncatedSVD(2, algorithm="arpack", random_state=0),
    "ICA": FastICA(3, random_state=0, tol=1e-3),
    "ICA of any variance": FastICA(3, whiten="arbitrary-variance", random_state=0, tol=1e-3),
    "ICA of all, by eigh, in parallel": FastICA(whiten_solver="eigh", fun="exp", random_state=0, tol=1e-2),
    "ICA one by one": FastICA(2, algorithm="deflation", fun="cube", random_state=0, tol=1e-2),
    "ICA without whitening": FastICA(whiten=False, random_state=0, tol=1e-1),
    "factors": FactorAnalysis(3),
    "factors, rotated": FactorAnalysis(3, rotation="varimax", svd_method="lapack"),
    "factors, one for each feature": FactorAnalysis(8, rotation="quartimax"),
    "sparse PCA": SparsePCA(3, random_state=0, max_iter=20),
    "sparse PCA of a strong ridge": SparsePCA(3, ridge_alpha=5.0, random_state=0, max_iter=20),
    "sparse PCA of more components than features": SparsePCA(10, random_state=0, max_iter=3),
    "sparse PCA by mini-batches": MiniBatchSparsePCA(3, random_state=0, max_iter=20),
}


def silently(source: Any, *data: Any) -> Any:
    """The source, fitted, whatever it says of its convergence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return source.fit(*data)


@pytest.mark.parametrize("fitted_on", ["float64", "float32"])
@pytest.mark.parametrize("name", LINEAR)
def test_projections_agree_within_rounding_there_and_back(executor: str, name: str, fitted_on: str) -> None:
    source = silently(clone(LINEAR[name]), MIXED.astype(fitted_on))
    for dtype in ("float64", "float32"):
        narrow = "float32" in (fitted_on, dtype)
        assert_same(
            source, MIXED.astype(dtype), executor, rtol=2e-3 if narrow else 1e-10, atol=1e-3 if narrow else 1e-9
        )
    model = tensorml.convert(source, executor=executor)
    actual = model.transform(MIXED[:1])
    assert_equal_outputs(actual, source.transform(MIXED[:1]), "transform", rtol=2e-3, atol=1e-3)
    assert actual.ndim == (1 if "sparse" in name else 2)


@pytest.mark.parametrize("dtype", ["float16", "int64", "int8", "bool"])
@pytest.mark.parametrize("name", ["incremental PCA", "truncated SVD", "ICA", "factors", "sparse PCA"])
@pytest.mark.parametrize("fitted_on", ["float64", "float32"])
def test_projections_promote_other_dtypes_as_numpy_does(executor: str, name: str, dtype: str, fitted_on: str) -> None:
    source = silently(clone(LINEAR[name]), MIXED.astype(fitted_on))
    tolerance = 1e-9 if fitted_on == "float64" else 1e-3
    assert_same(source, (MIXED * 3).astype(dtype), executor, rtol=tolerance, atol=tolerance)
    if hasattr(source, "inverse_transform"):
        z = (RNG.normal(size=(9, source._n_features_out)) * 3).astype(dtype)
        actual = tensorml.convert(source, executor=executor).inverse_transform(z)
        assert_equal_outputs(actual, source.inverse_transform(z), "back", tolerance, tolerance)


@pytest.mark.parametrize("source", [PCA(3), IncrementalPCA(3), TruncatedSVD(3, random_state=0)])
def test_sparse_matrices_are_projected_to_dense_rows(executor: str, source: Any) -> None:
    rows = csr_matrix(np.where(RNG.random(MIXED.shape) < 0.6, 0, MIXED))
    for matrix in (rows, rows.tocsc(), rows.astype(np.float32)):
        model = clone(source).fit(rows.toarray())
        actual = tensorml.convert(model, executor=executor).transform(matrix)
        assert_equal_outputs(actual, model.transform(matrix), "transform", 1e-4, 1e-5)


def test_a_sparse_step_is_projected(executor: str) -> None:
    x = np.random.default_rng(1).normal(size=(80, 3))
    for last in (TruncatedSVD(2, random_state=0), PCA(2, svd_solver="arpack", random_state=0)):
        source = make_pipeline(KBinsDiscretizer(4, strategy="uniform"), last).fit(x)
        assert_equal_outputs(
            tensorml.convert(source, executor=executor).transform(x), source.transform(x), "transform", 1e-10, 1e-10
        )


@pytest.mark.parametrize("name", ["truncated SVD", "ICA", "factors", "sparse PCA"])
def test_what_projections_refuse(executor: str, name: str) -> None:
    source = silently(clone(LINEAR[name]), MIXED)
    model = tensorml.convert(source, executor=executor)
    with pytest.raises(InputError, match="contains NaN"):
        model.transform(np.full((2, 8), np.nan))
    with pytest.raises(InputError, match="contains infinity"):
        model.transform(np.full((2, 8), np.inf))
    with pytest.raises(InputError, match="X has 7 features, but"):
        model.transform(MIXED[:, :7])
    if hasattr(source, "inverse_transform"):
        with pytest.raises(InputError, match="inverse_transform is expecting 3"):
            model.inverse_transform(MIXED)


def test_projections_return_frames(executor: str) -> None:
    frame = pd.DataFrame(MIXED, columns=list("abcdefgh"), index=np.arange(120)[::-1])
    source = silently(FastICA(2, random_state=0, tol=1e-2), frame).set_output(transform="pandas")
    actual = tensorml.convert(source, executor=executor).transform(frame)
    pd.testing.assert_frame_equal(actual, source.transform(frame), rtol=1e-10)
