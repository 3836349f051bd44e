from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KernelCenterer,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)

import tensorml
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tensorml_sklearn.describe import VERSION
from tests.parity import assert_equal_outputs, assert_same

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)) * [1, 5, 0.1, 2]
X[:, 3] = np.round(X[:, 3])
HOLES = X.copy()
HOLES[::7, 1] = np.nan
POSITIVE = np.exp(HOLES / 3)
ROUNDING = {"float64": 1e-11, "float32": 2e-5, "float16": 5e-3, "int64": 1e-11}  # of one unit of the dtype, times steps
EAGER = pytest.mark.parametrize("executor", ["reference", "torch"])  # scripts of the same rules are tried once or twice
QUANTILES = {
    "uniform": QuantileTransformer(n_quantiles=37, random_state=0),
    "normal": QuantileTransformer(n_quantiles=37, output_distribution="normal", random_state=0),
    "few": QuantileTransformer(n_quantiles=2, subsample=50, output_distribution="normal", random_state=0),
    "one": QuantileTransformer(n_quantiles=1, random_state=0),
}
POWERS = {
    "yeo-johnson": PowerTransformer(),
    "yeo-johnson, not scaled": PowerTransformer(standardize=False),
    "box-cox": PowerTransformer(method="box-cox"),
    "box-cox, not scaled": PowerTransformer(method="box-cox", standardize=False),
}


def fitted(model: Any, x: np.ndarray) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clone(model).fit(x)


def without_warnings(*arguments: Any, **tolerance: float) -> None:
    """assert_same; the inverse of float16 overflows in the source, which warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Some values in column|invalid value|overflow|divide by zero")
        assert_same(*arguments, **tolerance)


@EAGER
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("fit_dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", QUANTILES)
def test_quantiles_are_the_same_within_rounding(executor: str, name: str, fit_dtype: str, dtype: str) -> None:
    source = fitted(QUANTILES[name], HOLES.astype(fit_dtype))
    rows = X if dtype == "int64" else np.concatenate([HOLES, HOLES * 3, -HOLES[:1] * 0])
    tolerance = 0 if name in ("uniform", "one") else ROUNDING[dtype]
    without_warnings(source, rows.astype(dtype), executor, rtol=tolerance, atol=tolerance)


def test_quantiles_come_back_from_outside_the_distribution(executor: str) -> None:
    for name in ("uniform", "normal"):
        source = fitted(QUANTILES[name], X)
        z = np.array([[-1, 0, 1, 2], [0.5, 1e-9, 1 - 1e-9, np.nan], [-40, 40, 6, -6], [-0.0, 5e-324, 1.0, 0.25]])
        for dtype in ("float64", "float32"):
            actual = tensorml.convert(source, executor=executor).inverse_transform(z.astype(dtype))
            assert_equal_outputs(actual, source.inverse_transform(z.astype(dtype)), name, 1e-6, 1e-7)


def test_equal_quantiles_map_to_their_middle(executor: str) -> None:
    steps = np.repeat([[0.0], [1.0], [1.0], [1.0], [2.0]], 10, axis=0)
    source = QuantileTransformer(n_quantiles=20).fit(steps)
    assert_same(source, np.array([[0.0], [0.5], [1.0], [1.5], [2.0], [3.0]]), executor)


def test_quantiles_that_no_line_joins_are_refused() -> None:
    for column, words in ((np.array([-1e308, 1e308]), "too far apart"), (np.array([0, 5e-324]), "too close")):
        source = fitted(QuantileTransformer(n_quantiles=2), column[:, None])
        with pytest.raises(UnsupportedModelError, match=words):
            tensorml.convert(source)


@EAGER
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("fit_dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", POWERS)
def test_powers_are_the_same_within_rounding(executor: str, name: str, fit_dtype: str, dtype: str) -> None:
    x = POSITIVE if "box" in name else HOLES
    source = fitted(POWERS[name], x.astype(fit_dtype))
    rows = np.abs(X * 3 + 1).astype(dtype) + np.array(1, dtype) if dtype == "int64" else x.astype(dtype)
    without_warnings(source, rows, executor, rtol=ROUNDING[dtype], atol=ROUNDING[dtype])


@pytest.mark.parametrize("method", ["yeo-johnson", "box-cox"])
@pytest.mark.parametrize("exponent", [0.0, 2.0, 1.0, -1.5, 1e-17, 2 + 1e-17])
def test_special_exponents_are_the_same(executor: str, method: str, exponent: float) -> None:
    source = fitted(PowerTransformer(method=method, standardize=False), POSITIVE)
    source.lambdas_ = np.array([exponent, 0.5, exponent, 3.0])
    rows = np.array([[1e-5, 2.0, 0.7, 1.0], [3.0, 0.1, 1.0, 2.0]])
    rows = rows if method == "box-cox" else np.concatenate([rows, -rows, rows * 0])
    without_warnings(source, rows, executor, rtol=1e-11, atol=1e-11)


def test_numbers_that_are_not_positive_are_refused_by_box_cox(executor: str) -> None:
    source = fitted(PowerTransformer(method="box-cox"), POSITIVE)
    for value in (0.0, -1.0, -0.0):
        rows = POSITIVE.copy()
        rows[3, 2] = value
        with pytest.raises(ValueError, match="strictly positive"):
            source.transform(rows)
        with pytest.raises(
            InputError, match="The Box-Cox transformation can only be applied to strictly positive data"
        ):
            tensorml.convert(source, executor=executor).transform(rows)


def test_an_exponent_that_is_not_finite_is_refused() -> None:
    source = fitted(PowerTransformer(), X)
    source.lambdas_ = np.array([1, np.nan, 1, 1])
    with pytest.raises(UnsupportedModelError, match="lambdas_ holds an exponent that is not finite"):
        tensorml.convert(source)


@pytest.mark.parametrize(
    "source", [QuantileTransformer(n_quantiles=9), PowerTransformer(), SplineTransformer()], ids=str
)
def test_infinity_other_widths_no_rows_and_unfitted_models_are_refused(executor: str, source: Any) -> None:
    with pytest.raises(NotFittedError):
        tensorml.convert(clone(source))
    model = tensorml.convert(fitted(source, X), executor=executor)
    with pytest.raises(InputError, match="infinity"):
        model.transform(np.full((2, 4), np.inf))
    with pytest.raises(InputError, match="features"):
        model.transform(X[:, :2])
    with pytest.raises(InputError, match="minimum of 1"):
        model.transform(X[:0])


@EAGER
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("extrapolation", ["continue", "error", "constant", "linear", "periodic"])
def test_splines_are_bit_equal(executor: str, extrapolation: str, degree: int, dtype: str) -> None:
    knots = "quantile" if degree == 2 else "uniform"
    source = SplineTransformer(
        n_knots=6, degree=degree, knots=knots, extrapolation=extrapolation, include_bias=degree != 1, order="F"
    ).fit(X[:, :3] + X[:, 3:] * 1e-3)
    factor = 0.5 if extrapolation == "error" else 1.7
    rows = (X[:, :3] * factor).astype(dtype)
    if extrapolation == "constant" and degree == 0:
        rows = np.minimum(rows, 0)
    if dtype == "int64" and extrapolation == "error":
        rows = rows * 0
    model = assert_same(source, rows, executor)
    np.testing.assert_array_equal(model.get_feature_names_out(), source.get_feature_names_out())


@pytest.mark.parametrize("extrapolation", ["continue", "error", "constant", "linear", "periodic"])
def test_splines_at_their_knots_are_bit_equal(executor: str, extrapolation: str) -> None:
    knots = np.array([[-1.0, 0], [0, 1e-3], [0.5, 2], [1.5, 7], [2, 11]])
    source = SplineTransformer(knots=knots, extrapolation=extrapolation).fit(knots)
    rows = np.concatenate([knots, np.nextafter(knots[1:], -9), np.nextafter(knots[:-1], 99)])
    assert_same(source, rows, executor)


@pytest.mark.skipif(VERSION < (1, 8), reason="handle_missing is new in 1.8")
@pytest.mark.parametrize("extrapolation", ["continue", "error", "constant", "linear", "periodic"])
def test_missing_values_have_splines_of_zeros_where_asked_for(executor: str, extrapolation: str) -> None:
    source = SplineTransformer(extrapolation=extrapolation, handle_missing="zeros").fit(HOLES)
    assert_same(source, HOLES, executor)
    assert_same(source, HOLES[:1].astype(np.float32) * np.float32(0.5), executor)
    flat = SplineTransformer(extrapolation=extrapolation, handle_missing="zeros").fit(HOLES * [1, 0, 1, 1])
    if extrapolation == "periodic":
        assert_same(flat, HOLES * [1, 0, 1, 1], executor)


def test_missing_values_are_refused_by_splines_otherwise(executor: str) -> None:
    with pytest.raises(InputError, match="contains NaN"):
        tensorml.convert(SplineTransformer().fit(X), executor=executor).transform(HOLES)


def test_what_lies_beyond_the_knots_is_refused_where_the_source_refuses_it(executor: str) -> None:
    for source in (
        SplineTransformer(extrapolation="error").fit(X),
        SplineTransformer(degree=0, extrapolation="constant").fit(X),
    ):
        with pytest.raises(ValueError, match=r"beyond the limits|shape mismatch|could not broadcast"):
            source.transform(X * 2)
        with pytest.raises(InputError, match="X contains values beyond the limits of the knots"):
            tensorml.convert(source, executor=executor).transform(X * 2)


def test_sparse_splines_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match=re.escape("its result is a sparse matrix (sparse_output=True)")):
        tensorml.convert(SplineTransformer(sparse_output=True).fit(X))


FUNCTIONS = [
    *(np.log1p, np.expm1, np.log, np.log2, np.log10, np.exp, np.exp2, np.sqrt, np.reciprocal, np.fabs, np.sin, np.cos),
    *(np.tan, np.arctan, np.sinh, np.cosh, np.tanh, np.arcsinh, np.floor, np.ceil, np.rint, np.trunc, expit),
    *(np.square, np.abs, np.negative, np.sign, np.positive),
]
ABOVE = np.abs(X) + 0.1
TABLES = {
    "float64": ABOVE,
    "float32": ABOVE.astype(np.float32),
    "float16": ABOVE.astype(np.float16),
    "int64": (ABOVE * 3 + 1).astype(np.int64),
    "int8": (ABOVE.clip(0, 4) + 1).astype(np.int8),
    "uint16": (ABOVE * 3 + 1).astype(np.uint16),
    "negative": -ABOVE,
}
UNKNOWN = {(np.reciprocal, kind) for kind in ("int64", "int8", "uint16")} | {
    (f, "uint16") for f in (np.negative, np.sign)
}


@EAGER
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_functions_of_numpy_are_the_same_within_rounding(executor: str, function: Any) -> None:
    source = FunctionTransformer(function).fit(ABOVE)
    model = tensorml.convert(source, executor=executor)
    for kind, table in TABLES.items():
        if (function, kind) in UNKNOWN:
            with pytest.raises(InputError, match=r"is not supported\. Convert it"):
                model.transform(table)
            continue
        with np.errstate(all="ignore"):
            expected = source.transform(table)
        rtol = 8 * float(np.finfo(expected.dtype).eps) if expected.dtype.kind == "f" else 0
        assert_equal_outputs(model.transform(table), expected, kind, rtol, rtol)


def test_every_function_is_scripted() -> None:
    for function in FUNCTIONS:
        model = tensorml.convert(FunctionTransformer(function).fit(ABOVE), executor="torchscript")
        np.testing.assert_allclose(model.transform(ABOVE), function(ABOVE), rtol=1e-13, err_msg=function.__name__)


def test_functions_have_a_way_back_and_may_check_their_input(executor: str) -> None:
    source = FunctionTransformer(np.log1p, np.expm1, validate=True, feature_names_out="one-to-one").fit(ABOVE)
    assert_same(source, ABOVE, executor, rtol=1e-13)
    model = tensorml.convert(source, executor=executor)
    assert list(model.get_feature_names_out()) == ["x0", "x1", "x2", "x3"]
    for method in ("transform", "inverse_transform"):
        with pytest.raises(InputError, match="contains NaN"):
            getattr(model, method)(HOLES)
    assert_same(FunctionTransformer(validate=True).fit(X), X, executor)
    assert_same(FunctionTransformer(None, np.exp, check_inverse=False).fit(X), X, executor, rtol=1e-13)
    assert_same(FunctionTransformer(np.exp).fit(X), X, executor, rtol=1e-13)
    unchecked = FunctionTransformer(np.negative).fit(X)
    np.testing.assert_array_equal(tensorml.convert(unchecked, executor=executor).transform(HOLES), -HOLES)


def test_a_pandas_frame_stays_one_and_keeps_its_dtypes(executor: str) -> None:
    frame = pd.DataFrame({"a": ABOVE[:, 0], "b": ABOVE[:, 1].astype("float32"), "c": np.arange(200, dtype="int16")})
    frame.index = pd.RangeIndex(5, 205)
    for source in (FunctionTransformer(np.log1p), FunctionTransformer(np.sqrt, feature_names_out="one-to-one")):
        model = tensorml.convert(source.fit(frame), frame, executor=executor)
        for part in (frame, frame[:1]):
            pd.testing.assert_frame_equal(model.transform(part), source.transform(part), rtol=1e-6)
        with pytest.raises(InputError, match=r"inverse_transform\(\) would return a DataFrame"):
            model.inverse_transform(frame)
    checked = FunctionTransformer(np.log1p, validate=True).fit(frame)
    actual = tensorml.convert(checked, executor=executor).transform(frame)
    assert_equal_outputs(actual, checked.transform(frame), "transform", 1e-6)
    then = make_pipeline(FunctionTransformer(np.log1p), StandardScaler()).fit(frame)
    assert_same(then, frame, executor, rtol=1e-5, atol=1e-6)


def test_polars_frames_of_several_dtypes_are_refused_by_functions() -> None:
    source = FunctionTransformer(np.log1p).fit(ABOVE)
    model = tensorml.convert(source)
    same = pl.DataFrame(ABOVE, schema=["a", "b", "c", "d"])
    np.testing.assert_allclose(model.transform(same), np.log1p(ABOVE), rtol=1e-13)
    with pytest.raises(InputError, match="columns of several dtypes, or objects, reach the function"):
        model.transform(same.with_columns(pl.col("a").cast(pl.Float32)))


def a_function(x: Any) -> Any:
    return x


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            FunctionTransformer(a_function),
            "func is a_function, whose meaning is not known. Use one of NumPy's functions",
        ),
        (FunctionTransformer(lambda x: x + 1), "func is .*<lambda>, whose meaning is not known"),
        (FunctionTransformer(np.add.reduce), "func is ufunc.reduce"),
        (FunctionTransformer(np.log, kw_args={"dtype": "float64"}), "func gets further arguments {'dtype': 'float64'}"),
    ],
    ids=["a function", "a lambda", "a method", "further arguments"],
)
def test_functions_of_unknown_meaning_are_refused(source: FunctionTransformer, words: str) -> None:
    with pytest.raises(UnsupportedModelError, match=words):
        tensorml.convert(source, X)


def test_an_inverse_of_unknown_meaning_is_refused_where_it_is_called() -> None:
    model = tensorml.convert(FunctionTransformer(np.log, a_function, check_inverse=False).fit(ABOVE))
    with pytest.raises(InputError, match="inverse_func is a_function"):
        model.inverse_transform(X)


@EAGER
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
@pytest.mark.parametrize("fit_dtype", ["float64", "float32"])
def test_kernels_are_centred_within_rounding(executor: str, fit_dtype: str, dtype: str) -> None:
    kernel = ABOVE @ ABOVE.T
    source = KernelCenterer().fit(kernel.astype(fit_dtype))
    rtol = 1e-4 if dtype == "float32" else 1e-11
    model = assert_same(source, kernel[:9].astype(dtype), executor, rtol=rtol, atol=rtol)
    assert list(model.get_feature_names_out()) == list(source.get_feature_names_out())


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_dataframes_come_out_where_they_are_asked_for(executor: str, library: str) -> None:
    for source in (*QUANTILES.values(), PowerTransformer(), SplineTransformer()):
        fit = fitted(source, X).set_output(transform=library)
        actual, expected = tensorml.convert(fit, executor=executor).transform(X), fit.transform(X)
        assert_equal_outputs(actual, expected, "transform", 1e-11, 1e-11)
