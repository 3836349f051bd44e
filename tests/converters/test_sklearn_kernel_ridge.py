from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.kernel_ridge import KernelRidge

import tensorml
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tests.parity import assert_equal_outputs, assert_same

KERNELS = ("linear", "poly", "polynomial", "rbf", "laplacian", "sigmoid", "cosine", "chi2", "additive_chi2")
RNG = np.random.default_rng(0)
X = RNG.random((90, 4))
Y = np.column_stack([X[:, 0] ** 2, X @ [1.0, -1.0, 0.5, 2.0]])
TOLERANCE = {"float64": 1e-9, "float32": 2e-3}  # of sums of 90 kernels with coefficients of up to 50


@pytest.mark.parametrize("fitted_on", ["float64", "float32"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_agrees_for_one_and_several_targets(executor: str, kernel: str, fitted_on: str) -> None:
    x = X.astype(fitted_on)
    for y in (Y[:, 0], Y, Y[:, :1]):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Singular matrix")  # additive_chi2 is no positive definite kernel
            source = KernelRidge(kernel=kernel, gamma=0.7, degree=2, coef0=0.5).fit(x, y)
        for dtype in ("float64", "float32"):
            tolerance = max(TOLERANCE[dtype], TOLERANCE[fitted_on])
            assert_same(source, x[:40].astype(dtype), executor, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kernel", ["rbf", "poly", "laplacian", "sigmoid", "cosine"])
def test_gamma_is_one_over_the_features_by_default(executor: str, kernel: str) -> None:
    source = KernelRidge(kernel=kernel).fit(X, Y[:, 0])
    new = RNG.normal(size=(2500, 4))
    assert_same(source, new, executor, rtol=1e-9, atol=1e-9)
    assert_same(source, new[:1], executor, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", ["int64", "bool", "float16"])
def test_other_dtypes_are_read_as_float64(executor: str, dtype: str) -> None:
    x = (X * 3).astype(dtype)
    for source in (KernelRidge(kernel="rbf").fit(X, Y), KernelRidge(kernel="rbf").fit(x, Y)):
        assert_same(source, x, executor, rtol=1e-8, atol=1e-8)


def test_a_fractional_degree_of_a_negative_number_is_not_a_number(executor: str) -> None:
    source = KernelRidge(kernel="poly", degree=1.5, coef0=0).fit(X, Y[:, 0])
    with np.errstate(invalid="ignore"):
        assert_same(source, X - 0.5, executor, rtol=1e-9, atol=1e-9)


def test_rows_of_zeros_have_no_direction(executor: str) -> None:
    x = X.copy()
    x[3] = 0
    source = KernelRidge(kernel="cosine").fit(x, Y[:, 0])
    tiny = np.array([[0.0] * 4, [1e-17] * 4, [1e-3] * 4])
    assert_same(source, tiny, executor, rtol=1e-9, atol=1e-12)


def test_zeros_on_both_sides_add_nothing_to_chi2(executor: str) -> None:
    x = np.where(X < 0.5, 0, X)
    source = KernelRidge(kernel="chi2", gamma=0.3).fit(x, Y[:, 0])
    assert_same(source, x, executor, rtol=1e-9, atol=1e-9)


def test_precomputed_kernels_are_multiplied_by_the_coefficients(executor: str) -> None:
    source = KernelRidge(kernel="precomputed").fit(X @ X.T, Y)
    assert_same(source, X[:7] @ X.T, executor, rtol=1e-9, atol=1e-9)


def test_sparse_matrices_are_read_as_dense_rows_and_fits_on_them_convert(executor: str) -> None:
    holes = np.where(RNG.random(X.shape) < 0.5, 0, X)
    for kernel in ("rbf", "linear", "laplacian"):
        source = KernelRidge(kernel=kernel).fit(csr_matrix(holes), Y[:, 0])
        model = assert_same(source, X, executor, rtol=1e-9, atol=1e-9)
        expected = source.predict(csr_matrix(holes))
        assert_equal_outputs(model.predict(csr_matrix(holes)), expected, "predict", 1e-9, 1e-9)


def test_what_the_source_does_not_take_is_refused(executor: str) -> None:
    model = tensorml.convert(KernelRidge(kernel="chi2", gamma=1.0).fit(X, Y), executor=executor)
    with pytest.raises(InputError, match="X contains negative values"):
        model.predict(X - 0.5)
    bad = X.copy()
    for value, words in ((np.nan, "contains NaN"), (np.inf, "contains infinity")):
        bad[0, 0] = value
        with pytest.raises(InputError, match=words):
            model.predict(bad)
    with pytest.raises(InputError, match="X has 3 features, but KernelRidge is expecting 4"):
        model.predict(X[:, :3])
    with pytest.raises(InputError, match="0 sample"):
        model.predict(X[:0])
    precomputed = tensorml.convert(KernelRidge(kernel="precomputed").fit(X @ X.T, Y), executor=executor)
    with pytest.raises(InputError, match="sparse"):
        precomputed.predict(csr_matrix(X @ X.T))


def test_callable_kernels_and_unfitted_models_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="kernel is a Python callable"):
        tensorml.convert(KernelRidge(kernel=lambda a, b: float(a @ b)).fit(X, Y))
    with pytest.raises(NotFittedError, match="not fitted"):
        tensorml.convert(KernelRidge())
