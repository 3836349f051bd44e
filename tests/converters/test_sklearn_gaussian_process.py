from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    ExpSineSquared,
    Matern,
    PairwiseKernel,
    RationalQuadratic,
    WhiteKernel,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tensorml
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tests.parity import assert_equal_outputs

RNG = np.random.default_rng(0)
X = RNG.random((60, 3)) * 3
NEW = RNG.random((40, 3)) * 4 - 0.5
Y = np.column_stack([np.sin(X[:, 0]) + X[:, 1], X[:, 2] ** 2]) + 0.1 * RNG.normal(size=(60, 2))
LENGTHS = [0.7, 1.5, 3.0]
KERNELS: dict[str, Any] = {
    "default": None,
    "RBF": RBF(0.9),
    "anisotropic RBF": ConstantKernel(2.0) * RBF(LENGTHS),
    "Matern 0.5": Matern(1.2, nu=0.5),
    "Matern 1.5": 2.0 * Matern(LENGTHS, nu=1.5),
    "Matern 2.5": Matern(1.2, nu=2.5),
    "Matern inf": Matern(LENGTHS, nu=np.inf),
    "rational quadratic": RationalQuadratic(0.8, alpha=1.7),
    "periodic": ExpSineSquared(1.1, periodicity=5.0),
    "dot product": DotProduct(0.7),
    "sum with noise": RBF(0.9) + WhiteKernel(0.2),
    "noise first": WhiteKernel(0.2) + 0.5 * RBF(0.9) + ConstantKernel(0.3),
    "product": RBF(2.0) * DotProduct(1.0) + 0.1 * RationalQuadratic(),
    "exponentiation": DotProduct(1.0) ** 2,
    "constants within": (ConstantKernel(0.5) * WhiteKernel(0.3) + ConstantKernel(2.0)) ** 2 * RBF(1.5),
    "pairwise rbf": PairwiseKernel(0.4, metric="rbf"),
    "pairwise laplacian": 1.5 * PairwiseKernel(0.4, metric="laplacian"),
    "pairwise poly": PairwiseKernel(0.4, metric="poly", pairwise_kernels_kwargs={"degree": 2}),
    "pairwise linear": PairwiseKernel(metric="linear"),
    "pairwise cosine": PairwiseKernel(metric="cosine"),
    "pairwise chi2": PairwiseKernel(0.4, metric="chi2"),
}
TOLERANCE = 1e-8  # alpha=0.1 keeps coefficients below 100; variances are differences of numbers up to 30


def regressor(kernel: Any, **options: Any) -> GaussianProcessRegressor:
    """A model with the kernel as it stands."""
    return GaussianProcessRegressor(kernel, alpha=0.1, optimizer=None, **options)


def assert_regression(source: Any, x: Any, executor: str, tolerance: float = TOLERANCE, *, joint: bool = False) -> None:
    """Mean alone, and mean with standard deviation; with `joint` also with the covariance."""
    model = tensorml.convert(source, executor=executor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone, both = source.predict(x), source.predict(x, return_std=True)
    assert_equal_outputs(model.predict(x), alone, "predict", tolerance, tolerance)
    assert_equal_outputs(model.predict(x, return_std=True), both, "return_std", tolerance, tolerance)
    if not joint:
        return
    wide = max(tolerance, 1e-6) if x.dtype == np.float32 else tolerance  # a PairwiseKernel between float32 rows is such
    assert_equal_outputs(model.predict(x, return_cov=True), source.predict(x, return_cov=True), "cov", wide, wide)


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_gives_the_mean_and_the_standard_deviation(executor: str, name: str, targets: int) -> None:
    y = Y[:, 0] if targets == 1 else Y
    assert_regression(regressor(KERNELS[name]).fit(X, y), np.abs(NEW), executor, joint=targets == 2)


@pytest.mark.parametrize("y", [Y[:, 0], Y[:, :1], Y], ids=["one", "one column", "two"])
def test_normalized_targets_and_fitted_parameters_agree(executor: str, y: np.ndarray) -> None:
    kernel = ConstantKernel() * RBF([1.0, 1.0, 1.0]) + WhiteKernel()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0).fit(X, y)
    assert_regression(source, NEW, executor, 1e-7)


@pytest.mark.parametrize("fitted_on", ["float64", "float32", "int64"])
@pytest.mark.parametrize("name", ["RBF", "Matern 1.5", "dot product", "pairwise rbf", "product"])
def test_inputs_of_other_dtypes_agree(executor: str, name: str, fitted_on: str) -> None:
    source = regressor(KERNELS[name]).fit((X * 2).astype(fitted_on), Y[:, 0])
    single = fitted_on == "float32"
    for dtype in ("float64", "float32", "int64"):
        tolerance = 2e-4 if single and dtype == "float32" else TOLERANCE
        joint = fitted_on != "int64"
        assert_regression(source, (np.abs(NEW) * 2).astype(dtype), executor, tolerance, joint=joint)


def test_one_row_and_more_than_a_tile_agree(executor: str) -> None:
    source = regressor(KERNELS["anisotropic RBF"]).fit(X, Y)
    assert_regression(source, NEW[:1], executor)
    assert_regression(source, RNG.random((2500, 3)) * 3, executor)


def test_negative_variances_are_zero(executor: str) -> None:
    source = GaussianProcessRegressor(RBF(3.0), alpha=1e-13, optimizer=None).fit(X[:12], Y[:12, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, expected = source.predict(X[:12], return_std=True)
    _, deviation = tensorml.convert(source, executor=executor).predict(X[:12], return_std=True)
    np.testing.assert_allclose(deviation, expected, atol=1e-5)
    assert (deviation >= 0).all()


def latent(model: Any, x: Any) -> Any:
    """What latent_mean_and_variance returns."""
    return model.latent_mean_and_variance(x)


@pytest.mark.parametrize("name", ["default", "anisotropic RBF", "Matern 2.5", "noise first", "dot product", "product"])
def test_classifiers_of_two_classes_agree(executor: str, name: str) -> None:
    y = np.array(["low", "high"])[(Y[:, 0] > 1.5).astype(int)]
    source = GaussianProcessClassifier(KERNELS[name], optimizer=None).fit(X, y)
    model = tensorml.convert(source, executor=executor)
    for x in (NEW, NEW[:1], NEW.astype(np.float32), RNG.random((1500, 3))):
        assert_equal_outputs(model.predict(x), source.predict(x), "predict")
        assert_equal_outputs(model.predict_proba(x), source.predict_proba(x), "predict_proba", 1e-7, 1e-9)
    assert hasattr(model, "latent_mean_and_variance") == hasattr(source, "latent_mean_and_variance")
    if hasattr(source, "latent_mean_and_variance"):
        assert_equal_outputs(latent(model, NEW), latent(source, NEW), "latent", TOLERANCE, TOLERANCE)
    assert not hasattr(model, "decision_function")


@pytest.mark.parametrize("classes", [3, 4])
@pytest.mark.parametrize("mode", ["one_vs_rest", "one_vs_one"])
def test_classifiers_of_many_classes_agree(executor: str, mode: str, classes: int) -> None:
    y = np.digitize(Y[:, 0], np.linspace(0.5, 2.5, classes - 1)) * 3
    source = GaussianProcessClassifier(1.0 * RBF(1.0), multi_class=mode, optimizer=None).fit(X, y)
    model = tensorml.convert(source, executor=executor)
    assert_equal_outputs(model.predict(NEW), source.predict(NEW), "predict")
    assert hasattr(model, "predict_proba") == (mode == "one_vs_rest")
    if mode == "one_vs_rest":
        assert_equal_outputs(model.predict_proba(NEW), source.predict_proba(NEW), "predict_proba", 1e-7, 1e-9)
    assert not hasattr(model, "latent_mean_and_variance")


def test_what_the_source_does_not_take_is_refused(executor: str) -> None:
    for source in (
        regressor(RBF()).fit(X, Y),
        GaussianProcessClassifier(RBF(), optimizer=None).fit(X, Y[:, 0] > 1.5),
    ):
        model = tensorml.convert(source, executor=executor)
        bad = X.copy()
        for value, words in ((np.nan, "contains NaN"), (np.inf, "contains infinity")):
            bad[0, 0] = value
            with pytest.raises(InputError, match=words):
                model.predict(bad)
        with pytest.raises(InputError, match="X has 2 features"):
            model.predict(X[:, :2])


def test_samples_and_both_options_at_once_are_refused_by_name(executor: str) -> None:
    model = tensorml.convert(regressor(RBF()).fit(X, Y), executor=executor)
    with pytest.raises(InputError, match=r"predict\(\) does not take return_cov=True, return_std=True"):
        model.predict(X, return_cov=True, return_std=True)
    with pytest.raises(AttributeError, match="sample_y is not converted: it draws random numbers"):
        _ = model.sample_y


class Own(RBF):
    """A kernel of the user's."""


def test_kernels_without_meaning_here_and_unfitted_models_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match=r"Matern kernel of nu=0\.7.*nu=0\.5, 1\.5, 2\.5 or inf"):
        tensorml.convert(regressor(Matern(nu=0.7)).fit(X, Y))
    with pytest.raises(UnsupportedModelError, match=r"its kernel holds .*Own"):
        tensorml.convert(regressor(2.0 * Own() + WhiteKernel()).fit(X, Y))
    with pytest.raises(UnsupportedModelError, match="predicts from the prior"):
        tensorml.convert(GaussianProcessRegressor(), X)
    with pytest.raises(NotFittedError, match="not fitted"):
        tensorml.convert(GaussianProcessClassifier())


def test_the_covariance_is_of_all_rows_of_a_call_whatever_the_budget(executor: str) -> None:
    source = regressor(KERNELS["noise first"], normalize_y=True).fit(X, Y)
    model = tensorml.convert(source, executor=executor, memory=1)
    expected = source.predict(NEW, return_cov=True)
    actual = model.predict(NEW, return_cov=True)
    assert actual[1].shape == (40, 40, 2)
    assert_equal_outputs(actual, expected, "return_cov", TOLERANCE, TOLERANCE)
    assert_equal_outputs(model.predict(NEW), expected[0], "predict in tiles of one row", TOLERANCE, TOLERANCE)


def test_a_pipeline_and_a_frozen_model_pass_return_cov_on(executor: str) -> None:
    source = make_pipeline(StandardScaler(), regressor(KERNELS["RBF"])).fit(X, Y[:, 0])
    for model in (source, FrozenEstimator(source)):
        expected = model.predict(NEW, return_cov=True)
        actual = tensorml.convert(model, executor=executor).predict(NEW, return_cov=True)
        assert_equal_outputs(actual, expected, "return_cov", TOLERANCE, TOLERANCE)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_keeps_the_covariance(tmp_path: Path, suffix: str) -> None:
    source = regressor(KERNELS["noise first"]).fit(X, Y)
    path = tmp_path / f"model{suffix}"
    tensorml.convert(source).save(path)
    model = tensorml.load(path)
    for rows in (NEW, NEW[:1]):
        expected = source.predict(rows, return_cov=True)
        assert_equal_outputs(model.predict(rows, return_cov=True), expected, suffix, TOLERANCE, TOLERANCE)
        assert_equal_outputs(model.predict(rows), expected[0], suffix, TOLERANCE, TOLERANCE)
