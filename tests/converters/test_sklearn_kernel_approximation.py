from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.kernel_approximation import (
    AdditiveChi2Sampler,
    Nystroem,
    PolynomialCountSketch,
    RBFSampler,
    SkewedChi2Sampler,
)

import tensorml
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tests.parity import assert_equal_outputs, assert_same

KERNELS = ("linear", "poly", "polynomial", "rbf", "laplacian", "sigmoid", "cosine", "chi2")
RNG = np.random.default_rng(0)
X = RNG.random((90, 4))
SAMPLERS: dict[str, Any] = {
    "RBF": RBFSampler(gamma=0.5, n_components=7, random_state=0),
    "RBF of scale": RBFSampler(gamma="scale", n_components=5, random_state=0),
    "skewed chi2": SkewedChi2Sampler(skewedness=0.3, n_components=7, random_state=0),
    "additive chi2": AdditiveChi2Sampler(),
    "additive chi2 of 1 step": AdditiveChi2Sampler(sample_steps=1),
    "additive chi2 of 3 steps": AdditiveChi2Sampler(sample_steps=3),
    "additive chi2 of an interval": AdditiveChi2Sampler(sample_steps=4, sample_interval=0.3),
    "count sketch": PolynomialCountSketch(n_components=8, random_state=0),
    "count sketch of degree 1": PolynomialCountSketch(degree=1, n_components=8, random_state=0),
    "count sketch of degree 3": PolynomialCountSketch(gamma=2.0, degree=3, coef0=0.7, n_components=9, random_state=0),
}
TOLERANCE = {"float64": 1e-11, "float32": 2e-5, "float16": 1e-3}


@pytest.mark.parametrize("fitted_on", ["float64", "float32"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_agree_within_rounding(executor: str, name: str, fitted_on: str) -> None:
    source = SAMPLERS[name].fit(X.astype(fitted_on))
    for dtype in ("float64", "float32", "int64", "uint8", "bool", "float16"):
        x = (X * 3).astype(dtype)
        x[2] = 0
        tolerance = max(TOLERANCE.get(dtype, 0), TOLERANCE[fitted_on])
        assert_same(source, x, executor, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_row_and_more_than_a_tile_agree(executor: str, name: str) -> None:
    source = SAMPLERS[name].fit(X)
    for rows in (1, 5000):
        assert_same(source, RNG.random((rows, 4)), executor, rtol=1e-11, atol=1e-11)


def test_integers_wrap_and_lose_fractions_as_in_the_source(executor: str) -> None:
    source = AdditiveChi2Sampler().fit(X)
    x = np.array([[200, 3, 0, 1]], np.uint8)
    assert source.transform(x).dtype == np.uint8
    assert_same(source, x, executor)


@pytest.mark.parametrize("fitted_on", ["float64", "float32"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_nystroem_agrees_for_every_kernel(executor: str, kernel: str, fitted_on: str) -> None:
    options: dict[str, Any] = {"gamma": 0.5} if kernel in ("rbf", "poly", "polynomial") else {}
    source = Nystroem(kernel, n_components=3, random_state=0, **options).fit(X.astype(fitted_on))
    for dtype in ("float64", "float32", "int64"):
        tolerance = 1e-9 if {dtype, fitted_on} <= {"float64", "int64"} else 2e-4
        assert_same(source, (X * 3).astype(dtype), executor, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "options",
    [{"gamma": 0.2}, {"kernel": "poly", "degree": 2, "coef0": 0.1}, {"kernel_params": {"gamma": 0.7}}],
    ids=str,
)
def test_options_of_nystroem_agree(executor: str, options: dict[str, Any]) -> None:
    source = Nystroem(n_components=5, random_state=1, **options).fit(X)
    assert_same(source, RNG.random((3000, 4)), executor, rtol=1e-8, atol=1e-8)


def test_nystroem_of_a_precomputed_kernel_agrees(executor: str) -> None:
    gram = np.exp(-((X[:, None] - X) ** 2).sum(axis=2))[:20, :20]
    source = Nystroem("precomputed", n_components=20, random_state=0).fit(gram)
    assert_same(source, gram[:5], executor, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["RBF", "count sketch", "count sketch of degree 3", "additive chi2"])
def test_sparse_matrices_give_what_dense_rows_give(executor: str, name: str) -> None:
    holes = csr_matrix(np.where(RNG.random(X.shape) < 0.5, 0, X))
    source = SAMPLERS[name].fit(holes)
    model = tensorml.convert(source, executor=executor)
    expected = source.transform(holes)
    assert_equal_outputs(model.transform(holes), expected, "transform", 1e-11, 1e-11)


def test_what_the_source_does_not_take_is_refused(executor: str) -> None:
    for name, words in (
        ("skewed chi2", "may not contain entries smaller than -skewedness"),
        ("additive chi2", "Negat"),
    ):
        model = tensorml.convert(SAMPLERS[name].fit(X), executor=executor)
        with pytest.raises(InputError, match=words):
            model.transform(X - 0.9)
    assert_same(SAMPLERS["skewed chi2"].fit(X), X - 0.2999, executor, rtol=1e-11, atol=1e-11)
    for sampler in (*SAMPLERS.values(), Nystroem(n_components=4)):
        model = tensorml.convert(sampler.fit(X), executor=executor)
        bad = X.copy()
        for value, words in ((np.nan, "contains NaN"), (np.inf, "contains infinity")):
            bad[0, 0] = value
            with pytest.raises(InputError, match=words):
                model.transform(bad)
        with pytest.raises(InputError, match="X has 3 features"):
            model.transform(X[:, :3])


def test_callable_kernels_changed_options_and_unfitted_models_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="kernel is a Python callable"):
        tensorml.convert(Nystroem(lambda a, b: float(a @ b), n_components=3).fit(X))
    with pytest.raises(UnsupportedModelError, match=r"coef0=1\.0 has no root, or is not what it was fitted with"):
        tensorml.convert(PolynomialCountSketch(n_components=3).fit(X).set_params(coef0=1.0))
    for unfitted in (RBFSampler(), Nystroem(), PolynomialCountSketch(), SkewedChi2Sampler()):
        with pytest.raises(NotFittedError, match="not fitted"):
            tensorml.convert(unfitted)
