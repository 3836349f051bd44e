from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.decomposition import KernelPCA

import tensorml
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tests.parity import assert_equal_outputs, assert_same

KERNELS = ("linear", "poly", "rbf", "sigmoid", "cosine")
RNG = np.random.default_rng(0)
X = RNG.random((80, 5))
TOLERANCE = {"float64": 1e-9, "float32": 2e-3}  # sums of 80 kernels, divided by roots of eigenvalues down to 0.01


def assert_forward(source: Any, x: Any, executor: str, tolerance: float) -> Any:
    """`transform` alone: the source has `inverse_transform` even where it raises."""
    model = tensorml.convert(source, executor=executor)
    assert_equal_outputs(model.transform(x), source.transform(x), "transform", tolerance, tolerance)
    return model


@pytest.mark.parametrize("fitted_on", ["float64", "float32"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_agrees(executor: str, kernel: str, fitted_on: str) -> None:
    source = KernelPCA(3, kernel=kernel, gamma=0.7, degree=2, coef0=0.5).fit(X.astype(fitted_on))
    for dtype in ("float64", "float32"):
        tolerance = max(TOLERANCE[fitted_on], TOLERANCE[dtype])
        assert_forward(source, X[:30].astype(dtype), executor, tolerance)


@pytest.mark.parametrize("kernel", ["rbf", "poly", "cosine", "linear"])
def test_the_way_back_agrees_where_it_was_fitted(executor: str, kernel: str) -> None:
    source = KernelPCA(3, kernel=kernel, fit_inverse_transform=True, alpha=0.1).fit(X)
    assert_same(source, X, executor, rtol=1e-9, atol=1e-9)
    model = tensorml.convert(source, executor=executor)
    with pytest.raises(InputError, match=r"X has 2 features, but KernelPCA\.inverse_transform is expecting 3"):
        model.inverse_transform(np.ones((2, 2)))
    with pytest.raises(InputError, match="contains NaN"):
        model.inverse_transform(np.full((2, 3), np.nan))


@pytest.mark.parametrize(
    "options",
    [
        {"eigen_solver": "dense"},
        {"eigen_solver": "arpack", "random_state": 0},
        {"eigen_solver": "randomized", "random_state": 0},
        {"gamma": None},
    ],
    ids=str,
)
def test_solvers_and_default_gamma_agree(executor: str, options: dict[str, Any]) -> None:
    assert_forward(KernelPCA(4, kernel="rbf", **options).fit(X), RNG.normal(size=(2500, 5)), executor, 1e-9)


@pytest.mark.parametrize("remove", [False, True])
def test_components_of_eigenvalue_zero_are_zero_or_left_out(executor: str, remove: bool) -> None:
    few = X[:6]
    source = KernelPCA(6, kernel="rbf", remove_zero_eig=remove).fit(few)
    assert_forward(source, X, executor, 1e-9)
    everything = KernelPCA(kernel="linear").fit(few)
    assert_forward(everything, X, executor, 1e-9)


@pytest.mark.parametrize("dtype", ["int64", "bool", "float16"])
def test_other_dtypes_are_read_as_float64(executor: str, dtype: str) -> None:
    assert_forward(KernelPCA(3, kernel="rbf").fit(X), (X * 2).astype(dtype), executor, 1e-9)


def test_precomputed_kernels_are_centred_and_not_written_to(executor: str) -> None:
    source = KernelPCA(3, kernel="precomputed").fit(X @ X.T)
    gram = X[:9] @ X.T
    before = gram.copy()
    assert_forward(source, gram, executor, 1e-9)
    np.testing.assert_array_equal(gram, before)
    assert_forward(source, gram[:1], executor, 1e-9)


def test_sparse_matrices_are_read_as_dense_rows(executor: str) -> None:
    holes = np.where(RNG.random(X.shape) < 0.5, 0, X)
    source = KernelPCA(3, kernel="rbf").fit(csr_matrix(holes))
    model = assert_forward(source, X, executor, 1e-9)
    expected = source.transform(csr_matrix(holes))
    assert_equal_outputs(model.transform(csr_matrix(holes)), expected, "transform", 1e-9, 1e-9)


def test_what_the_source_does_not_take_is_refused(executor: str) -> None:
    model = tensorml.convert(KernelPCA(2, kernel="rbf").fit(X), executor=executor)
    bad = X.copy()
    for value, words in ((np.nan, "contains NaN"), (np.inf, "contains infinity")):
        bad[0, 0] = value
        with pytest.raises(InputError, match=words):
            model.transform(bad)
    with pytest.raises(InputError, match="X has 3 features, but KernelPCA is expecting 5"):
        model.transform(X[:, :3])
    with pytest.raises((InputError, UnsupportedModelError), match="fit_inverse_transform=True"):
        model.inverse_transform(np.ones((2, 2)))


def test_callable_kernels_and_unfitted_models_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="kernel is a Python callable"):
        tensorml.convert(KernelPCA(2, kernel=lambda a, b: float(a @ b)).fit(X))
    with pytest.raises(NotFittedError, match="not fitted"):
        tensorml.convert(KernelPCA())
