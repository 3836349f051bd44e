"""Converters for sklearn.kernel_approximation: features whose products approximate a kernel."""

from __future__ import annotations

import numpy as np
from sklearn.kernel_approximation import (
    AdditiveChi2Sampler,
    Nystroem,
    PolynomialCountSketch,
    RBFSampler,
    SkewedChi2Sampler,
)

from tensorml.converter import Outputs, converter, fitted, fitted_attribute, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import CircularProduct, Cos, Equal, Log, Require, Reshape, Sin, Sqrt, Where, cast, concat
from tensorml_sklearn.describe import SPARSE_TRANSFORM
from tensorml_sklearn.pairwise import pairs
from tensorml_sklearn.validation import FLOATS, finite, floating

FLOAT64 = np.dtype(np.float64)
INTERVALS = {1: 0.8, 2: 0.5, 3: 0.4}  # AdditiveChi2Sampler's sample_interval by sample_steps


@converter(Nystroem)
def nystroem(model: Nystroem, x: Op) -> Outputs:
    """Kernels between x and the basis, times the root of the basis's own inverse kernel matrix: [N, components].

    float32 if x and the basis are, else float64. Source: sklearn.kernel_approximation.Nystroem.transform.
    """
    root = np.ascontiguousarray(np.asarray(fitted_attribute(model, "normalization_")).T)
    basis = pairs(model, x, model.components_, model.kernel, model._get_kernel_params())
    return {"transform": basis.expansion(root)}


@converter(RBFSampler)
def rbf_sampler(model: RBFSampler, x: Op) -> Outputs:
    """sqrt(2 / components) cos(x @ weights + offset): [N, components], of the dtype that NumPy promotes to.

    Source: sklearn.kernel_approximation.RBFSampler.transform.
    """
    projection = _projected(model, finite(model, x))
    return {"transform": Cos(projection) * (2.0 / model.n_components) ** 0.5}


@converter(SkewedChi2Sampler)
def skewed_chi2_sampler(model: SkewedChi2Sampler, x: Op) -> Outputs:
    """sqrt(2) / sqrt(components) cos(log(x + skewedness) @ weights + offset): [N, components].

    Raises InputError for entries up to -skewedness. Source: sklearn.kernel_approximation.SkewedChi2Sampler.transform,
    which multiplies by a float64 number and rounds.
    """
    x = finite(model, floating(x, FLOATS[:2]))
    x = Require(x, x > -float(model.skewedness), "X may not contain entries smaller than -skewedness.")
    waves = Cos(_projected(model, Log(x + float(model.skewedness))))
    return {"transform": cast(waves * (np.sqrt(2.0) / np.sqrt(model.n_components)), waves.dtype)}


def _projected(model: RBFSampler | SkewedChi2Sampler, x: Op) -> Op:
    """The sum x @ weights + offset, in the dtype of the product."""
    product = x @ fitted(model, "random_weights_")
    return cast(product + fitted(model, "random_offset_"), product.dtype)


@converter(AdditiveChi2Sampler)
def additive_chi2_sampler(model: AdditiveChi2Sampler, x: Op) -> Outputs:
    """The samples of each feature, 0 for 0: [N, F (2 steps - 1)], of the dtype of x, so that integers lose fractions.

    Raises InputError for negative entries.
    Source: sklearn.kernel_approximation.AdditiveChi2Sampler.transform, _transform_dense.
    """
    x = finite(model, cast(x, x.dtype))
    if x.dtype.kind in "fi":
        zero = Const(np.array(0, x.dtype))
        x = Require(x, x >= zero, "Negative values in data passed to X in AdditiveChi2Sampler.transform.")
    steps, interval = int(model.sample_steps), model.sample_interval
    interval = float(INTERVALS[steps] if interval is None else interval)
    samples = [Sqrt(x * interval)]
    twice = x * 2 * interval
    angle = Log(cast(x, np.log(np.ones(1, x.dtype)).dtype)) * interval
    for j in range(1, steps):
        factor = Sqrt(twice / np.cosh(np.pi * j * interval))
        samples += [factor * Cos(angle * j), factor * Sin(angle * j)]
    nothing = Equal(x, Const(np.array(0, x.dtype)))
    return {"transform": concat([_where_known(nothing, sample, x.dtype) for sample in samples])}


def _where_known(nothing: Op, sample: Op, dtype: np.dtype) -> Op:
    return cast(Where(nothing, Const(np.array(0, sample.dtype)), sample), dtype)


@converter(PolynomialCountSketch)
def polynomial_count_sketch(model: PolynomialCountSketch, x: Op) -> Outputs:
    """The convolution of `degree` count sketches of each row: float64 [N, components].

    Source: sklearn.kernel_approximation.PolynomialCountSketch.transform.
    """
    place, sign = fitted_attribute(model, "indexHash_"), model.bitHash_
    degree, features = place.shape
    if model.coef0 < 0 or features != x.columns + (model.coef0 != 0):
        raise unsupported(
            model,
            f"coef0={model.coef0} has no root, or is not what it was fitted with",
            "Fit it with a coef0 that is not negative",
        )
    sketches = np.zeros((features, degree, model.n_components))
    for d in range(degree):
        sketches[np.arange(features), d, place[d]] = sign[d]
    flat = sketches.reshape(features, -1)
    sketched = cast(finite(model, x), FLOAT64) * float(np.sqrt(model.gamma)) @ Const(flat[: x.columns])
    if model.coef0 != 0:
        sketched = sketched + np.sqrt(model.coef0) * flat[-1]
    return {"transform": CircularProduct(Reshape(sketched, (degree, model.n_components)))}


SPARSE_TRANSFORM.update(dict.fromkeys((Nystroem, RBFSampler, PolynomialCountSketch), lambda _: "dense"))
SPARSE_TRANSFORM[AdditiveChi2Sampler] = lambda _: "csr"
