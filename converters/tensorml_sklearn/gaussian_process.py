"""Converters for sklearn.gaussian_process: kernels as graphs, and what regression and classification read from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor, kernels
from sklearn.gaussian_process._gpc import COEFS, LAMBDAS, _BinaryGaussianProcessClassifierLaplace

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.errors import qualified_name
from tensorml.graph import Const, Op
from tensorml.ops import (
    BatchDiagonal,
    BatchKernel,
    BatchProduct,
    Erf,
    Greater,
    Kernel,
    KernelExpansion,
    Label,
    Max,
    Outer,
    ReduceSum,
    SolveTriangular,
    Sqrt,
    Tanh,
    cast,
    concat,
    full,
    ravel,
)
from tensorml_sklearn.pairwise import Pairs, pairs
from tensorml_sklearn.pipeline import outputs_of
from tensorml_sklearn.validation import finite

FLOAT64, INT64 = np.dtype(np.float64), np.dtype(np.int64)
MATERN = {0.5: "matern 0.5", 1.5: "matern 1.5", 2.5: "matern 2.5"}
STATIONARY = (kernels.RBF, kernels.Matern, kernels.RationalQuadratic, kernels.ExpSineSquared)
BASE = "base_estimator_"


class Covariance:
    """A kernel object between the input and the rows of `fit`. Raises UnsupportedModelError for unknown kernels.

    x: [N, F], finite; stored: [M, F]. Source: sklearn.gaussian_process.kernels.
    """

    def __init__(self, model: Any, x: Op, stored: np.ndarray):
        self.model, self.x, self.stored = model, x, stored

    def matrix(self, kernel: Any) -> Op:
        """kernel(x, stored), [N, M]; float64, but for PairwiseKernel and DotProduct between float32 rows."""
        constant = self.constant(kernel)
        if constant is not None:
            return full(self.x, (len(self.stored),), float(constant), FLOAT64)
        if type(kernel) is kernels.Sum:
            return self._summed(kernel, self.matrix)
        if type(kernel) is kernels.Product:
            factor, other = self._scaled(kernel)
            return self.matrix(kernel.k1) * self.matrix(kernel.k2) if other is None else self.matrix(other) * factor
        if type(kernel) is kernels.Exponentiation:
            return self.matrix(kernel.kernel) ** float(kernel.exponent)
        if type(kernel) is kernels.DotProduct:
            return self._products(np.ascontiguousarray(self.stored.T)) + kernel.sigma_0**2
        if type(kernel) is kernels.PairwiseKernel:
            return self._pairs(kernel, self.stored).matrix()
        return Kernel(*self._stationary(kernel))

    def expansion(self, kernel: Any, coef: np.ndarray) -> Op:
        """kernel(x, stored) @ coef, without the matrix where the kernel allows it. coef: [M, K]; result: [N, K]."""
        constant = self.constant(kernel)
        if constant is not None:
            return full(self.x, (coef.shape[1],), 1.0, FLOAT64) * (constant * coef.sum(axis=0))
        if type(kernel) is kernels.Sum:
            return self._summed(kernel, lambda part: self.expansion(part, coef))
        if type(kernel) is kernels.Product and self._scaled(kernel)[1] is not None:
            factor, other = self._scaled(kernel)
            return self.expansion(other, factor * coef)
        if type(kernel) in STATIONARY:
            return KernelExpansion(*self._stationary(kernel), coef.astype(FLOAT64))
        if type(kernel) is kernels.PairwiseKernel:
            return self._pairs(kernel, self.stored).expansion(coef)
        return self.matrix(kernel) @ Const(coef)

    def diagonal(self, kernel: Any) -> Op:
        """kernel.diag(x), [N, 1]."""
        if type(kernel) is kernels.WhiteKernel:
            return full(self.x, (1,), float(kernel.noise_level), FLOAT64)
        if type(kernel) is kernels.ConstantKernel:
            return full(self.x, (1,), float(kernel.constant_value), FLOAT64)
        if type(kernel) is kernels.Sum:
            return self.diagonal(kernel.k1) + self.diagonal(kernel.k2)
        if type(kernel) is kernels.Product:
            return self.diagonal(kernel.k1) * self.diagonal(kernel.k2)
        if type(kernel) is kernels.Exponentiation:
            return self.diagonal(kernel.kernel) ** float(kernel.exponent)
        if type(kernel) is kernels.DotProduct:
            return ReduceSum(self.x * self.x) + kernel.sigma_0**2
        if type(kernel) is kernels.PairwiseKernel:
            return self._pairwise_diagonal(kernel)
        return full(self.x, (1,), 1.0, FLOAT64)

    def batch(self, kernel: Any) -> Op:
        """kernel(x), between the rows of the batch, [N, N]. White noise is on the diagonal alone."""
        one = full(self.x, (1,), 1.0, FLOAT64)
        if type(kernel) is kernels.WhiteKernel:
            return BatchDiagonal(full(self.x, (1,), float(kernel.noise_level), FLOAT64))
        if type(kernel) is kernels.ConstantKernel:
            return BatchProduct(full(self.x, (1,), float(kernel.constant_value), FLOAT64), one)
        if type(kernel) is kernels.Sum:
            return self.batch(kernel.k1) + self.batch(kernel.k2)
        if type(kernel) is kernels.Product:
            return self.batch(kernel.k1) * self.batch(kernel.k2)
        if type(kernel) is kernels.Exponentiation:
            return self.batch(kernel.kernel) ** float(kernel.exponent)
        if type(kernel) is kernels.DotProduct:
            return BatchProduct(self.x, self.x) + kernel.sigma_0**2
        if type(kernel) is kernels.PairwiseKernel:
            return self._pairs(kernel, np.zeros((1, self.x.columns), self.x.dtype)).batch()
        x, _, metric, gamma, coef0, degree = self._stationary(kernel)
        return BatchKernel(x, metric, gamma, coef0, degree)

    def constant(self, kernel: Any) -> np.float64 | None:
        """The kernel's value between different rows, if it is the same for all: white noise is 0 there."""
        if type(kernel) is kernels.WhiteKernel:
            return np.float64(0)
        if type(kernel) is kernels.ConstantKernel:
            return np.float64(kernel.constant_value)
        if type(kernel) in (kernels.Sum, kernels.Product):
            a, b = self.constant(kernel.k1), self.constant(kernel.k2)
            if a is None or b is None:
                return None
            return a + b if type(kernel) is kernels.Sum else a * b
        if type(kernel) is kernels.Exponentiation:
            inside = self.constant(kernel.kernel)
            return None if inside is None else inside ** np.float64(kernel.exponent)
        return None

    def _summed(self, kernel: Any, of: Any) -> Op:
        """The sum of two parts; one that is 0 everywhere adds nothing."""
        present = [part for part in (kernel.k1, kernel.k2) if self.constant(part) != 0]
        return of(present[0]) if len(present) == 1 else of(kernel.k1) + of(kernel.k2)

    def _scaled(self, kernel: Any) -> tuple[np.float64, Any]:
        """The constant factor of a product and the other one; None if no factor is constant."""
        for part, other in ((kernel.k1, kernel.k2), (kernel.k2, kernel.k1)):
            factor = self.constant(part)
            if factor is not None:
                return factor, other
        return np.float64(1), None

    def _stationary(self, kernel: Any) -> tuple[Op, np.ndarray, str, float, float, float]:
        """The operands and attributes of `ops.Kernel` for a kernel of distances, which are float64."""
        x, y = cast(self.x, FLOAT64), self.stored.astype(FLOAT64)
        if type(kernel) is kernels.RationalQuadratic:
            gamma = 1 / (2 * kernel.alpha * kernel.length_scale**2)
            return x, y, "rational quadratic", float(gamma), 0.0, float(-kernel.alpha)
        if type(kernel) is kernels.ExpSineSquared:
            return x, y, "periodic", float(np.pi / kernel.periodicity), 0.0, float(kernel.length_scale)
        if type(kernel) not in (kernels.RBF, kernels.Matern):
            raise self._unknown(kernel)
        length = np.squeeze(kernel.length_scale).astype(float)
        x, y = x / length, y / length
        if type(kernel) is kernels.RBF or kernel.nu == np.inf:
            return x, y, "rbf", 0.5, 0.0, 0.0
        if kernel.nu not in MATERN:
            raise unsupported(
                self.model,
                f"a Matern kernel of nu={kernel.nu} needs a Bessel function that tensors lack",
                "Fit it with nu=0.5, 1.5, 2.5 or inf",
            )
        return x, y, MATERN[kernel.nu], 0.0, 0.0, 0.0

    def _unknown(self, kernel: Any) -> Exception:
        return unsupported(
            self.model,
            f"its kernel holds {qualified_name(kernel)}, which is none of scikit-learn's own or has several values",
            "Fit it with kernels of sklearn.gaussian_process.kernels",
        )

    def _products(self, right: np.ndarray) -> Op:
        """The product x @ right, in float64 unless both are float32."""
        dtype = np.result_type(self.x.dtype, right.dtype)
        dtype = dtype if dtype == np.float32 else FLOAT64
        return cast(self.x, dtype) @ Const(right.astype(dtype))

    def _pairs(self, kernel: Any, stored: np.ndarray) -> Pairs:
        """The named kernel inside a PairwiseKernel."""
        parameters = {"gamma": kernel.gamma, **(kernel.pairwise_kernels_kwargs or {})}
        return pairs(self.model, self.x, stored, kernel.metric, parameters)

    def _pairwise_diagonal(self, kernel: Any) -> Op:
        """The named kernel between each row and itself, in the dtype of x alone. Source: PairwiseKernel.diag."""
        found = self._pairs(kernel, np.zeros((1, self.x.columns), self.x.dtype))
        match kernel.metric:
            case "cosine" | "linear":
                return ReduceSum(found.x * found.x)
            case "additive_chi2":
                return full(self.x, (1,), 0.0, found.x.dtype)
            case "poly" | "polynomial":
                return (ReduceSum(found.x * found.x) * found.gamma + found.coef0) ** found.degree
            case "sigmoid":
                return Tanh(ReduceSum(found.x * found.x) * found.gamma + found.coef0)
            case "rbf" | "laplacian" | "chi2":
                return full(self.x, (1,), 1.0, found.x.dtype)
        raise unsupported(
            self.model, f"the variance under a PairwiseKernel of '{kernel.metric}'", "Use another metric in it"
        )


def checked(model: Any, x: Op) -> Op:
    """X as the source reads it: numbers in their own dtype, finite; integers are computed with in float64."""
    x = finite(model, x)
    return x if x.dtype == np.float32 else cast(x, FLOAT64)


@converter(GaussianProcessRegressor)
def gaussian_process_regressor(model: GaussianProcessRegressor, x: Op) -> Outputs:
    """The mean of the posterior, [N] or [N, T] for several targets; its standard deviation; its covariance.

    The covariance is [N, N], or [N, N, T]: of all rows of a call, which are computed at once.
    Source: sklearn.gaussian_process.GaussianProcessRegressor.predict.
    """
    stored = require_posterior(model)
    covariance = Covariance(model, checked(model, x), stored)
    alpha = np.asarray(model.alpha_)
    coef = alpha.reshape(len(alpha), -1)
    outputs = {"predict": mean(model, covariance.expansion(model.kernel_, coef))}
    kernel = covariance.matrix(model.kernel_)
    deviation = standard_deviation(model, kernel, covariance.diagonal(model.kernel_))
    both = {"predict(return_std=True).0": mean(model, kernel @ Const(coef)), "predict(return_std=True).1": deviation}
    between = covariance_of(model, kernel, covariance.batch(model.kernel_))
    joint = {"predict(return_cov=True).0": both["predict(return_std=True).0"], "predict(return_cov=True).1": between}
    return outputs | both | joint


def require_posterior(model: GaussianProcessRegressor) -> np.ndarray:
    """The rows of `fit`. Raises UnsupportedModelError for a model that predicts from the prior."""
    if not hasattr(model, "X_train_"):
        raise unsupported(model, "it is not fitted, so that it predicts from the prior", "Fit it before converting it")
    return np.asarray(model.X_train_)


def mean(model: GaussianProcessRegressor, centred: Op) -> Op:
    """The mean in the units of y. centred: [N, T]; result: [N] for one target."""
    y = centred * np.asarray(model._y_train_std) + np.asarray(model._y_train_mean)
    return ravel(y) if y.columns == 1 else y


def standard_deviation(model: GaussianProcessRegressor, kernel: Op, diagonal: Op) -> Op:
    """The root of diag(k) - |L^-1 k|^2, negative ones as 0, in the units of y. kernel: [N, M]; diagonal: [N, 1].

    Result: [N], or [N, T]. A diagonal in float32, of PairwiseKernel and DotProduct, rounds the variance to float32.
    """
    variance = cast(cast(diagonal, FLOAT64) - squared_norm(kernel, np.asarray(model.L_)), diagonal.dtype)
    variance = Max(variance, Const(np.array(0, variance.dtype)))
    scaled = Sqrt(variance * np.atleast_1d(np.asarray(model._y_train_std) ** 2))
    return ravel(scaled) if scaled.columns == 1 else scaled


def covariance_of(model: GaussianProcessRegressor, kernel: Op, batch: Op) -> Op:
    """The kernel between the rows, less what the rows of `fit` tell, in the units of y. kernel: [N, M]; batch: [N, N].

    Result: [N, N], or [N, N, T].
    """
    solved = SolveTriangular(cast(kernel, FLOAT64), np.tril(np.asarray(model.L_)).astype(FLOAT64))
    between = cast(batch, FLOAT64) - BatchProduct(solved, solved)
    variances = np.atleast_1d(np.asarray(model._y_train_std, FLOAT64) ** 2)
    return between * variances if len(variances) == 1 else Outer(between, variances)


def squared_norm(kernel: Op, lower: np.ndarray) -> Op:
    """The squared length of lower^-1 k for each row k of kernel. Result: [N, 1], float64."""
    solved = SolveTriangular(cast(kernel, FLOAT64), np.tril(lower).astype(FLOAT64))
    return ReduceSum(solved * solved)


@converter(_BinaryGaussianProcessClassifierLaplace)
def binary_laplace(model: Any, x: Op) -> Outputs:
    """Labels, probabilities, and the latent function's mean and variance, of two classes.

    Source: sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace.
    """
    covariance = Covariance(model, checked(model, x), np.asarray(fitted_attribute(model, "X_train_")))
    coef = (model.y_train_ - model.pi_)[:, np.newaxis]
    above = Greater(covariance.expansion(model.kernel_, coef), Const(np.array(0.0)))
    kernel = covariance.matrix(model.kernel_)
    latent = kernel @ Const(coef)
    variance = covariance.diagonal(model.kernel_) - squared_norm(kernel * model.W_sr_, np.asarray(model.L_))
    outputs = {
        "predict": Label(cast(ravel(above), INT64), np.asarray(model.classes_)),
        "predict_proba": laplace_probabilities(latent, variance),
    }
    if hasattr(model, "latent_mean_and_variance"):  # from scikit-learn 1.7 on
        outputs["latent_mean_and_variance.0"] = ravel(latent)
        outputs["latent_mean_and_variance.1"] = ravel(variance)
    return outputs


def laplace_probabilities(latent: Op, variance: Op) -> Op:
    """The logistic function's mean under the latent Gaussian, by five error functions. [N, 1] each; result: [N, 2].

    Source: Williams and Barber, "Bayesian Classification with Gaussian Processes", Appendix A; sklearn's predict_proba.
    """
    lambdas, coefs = LAMBDAS[:, 0], COEFS[:, 0]
    alpha = 1.0 / (variance * 2.0)
    inside = (latent * lambdas) * Sqrt(alpha / (alpha + lambdas**2))
    integrals = Sqrt(np.pi / alpha) * Erf(inside) / (Sqrt(variance * 2.0 * np.pi) * 2.0)
    second = ReduceSum(integrals * coefs) + 0.5 * coefs.sum()
    return concat([1.0 - second, second])


def classifier_steps(model: GaussianProcessClassifier) -> list[tuple[str, Any]]:
    """The classifier inside: of two classes, or one made of such."""
    return [(BASE, fitted_attribute(model, "base_estimator_"))]


@converter(GaussianProcessClassifier, steps=classifier_steps)
def gaussian_process_classifier(model: GaussianProcessClassifier, x: Op) -> Outputs:
    """What the classifier inside returns; pairs of classes give no probabilities.

    Source: sklearn.gaussian_process.GaussianProcessClassifier.
    """
    outputs = outputs_of(fitted_attribute(model, "base_estimator_"), finite(model, x), BASE)
    pairwise = model.n_classes_ > 2 and model.multi_class == "one_vs_one"
    wanted = ("predict",) if pairwise else ("predict", "predict_proba", "latent_mean_and_variance")
    return {name: op for name, op in outputs.items() if name.partition(".")[0] in wanted}
