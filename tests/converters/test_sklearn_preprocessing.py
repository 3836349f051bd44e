from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars
import pytest
from scipy.sparse import csr_matrix
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)

import tensorml
from tensorml.converter import apply
from tensorml.errors import GraphTypeError, InputError, NotFittedError, UnsupportedModelError
from tensorml.graph import Input, TensorType
from tensorml_sklearn.describe import VERSION
from tests.parity import assert_equal_outputs, assert_same

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5)) * [1, 30, 0.01, 5, 1] + [0, 100, 0, -3, 0]
X[:, 3] = np.round(X[:, 3])
DTYPES = ("float64", "float32", "float16", "int64")
SCALERS = {
    "standard": StandardScaler(),
    "standard without mean": StandardScaler(with_mean=False),
    "standard without std": StandardScaler(with_std=False),
    "standard without either": StandardScaler(with_mean=False, with_std=False),
    "min-max": MinMaxScaler(),
    "min-max of another range": MinMaxScaler(feature_range=(-3, 2.7)),
    "min-max clipped": MinMaxScaler(feature_range=(0, 0.7), clip=True),
    "max-abs": MaxAbsScaler(),
    "robust": RobustScaler(),
    "robust without center": RobustScaler(with_centering=False),
    "robust without scale": RobustScaler(with_scaling=False),
    "robust of other quantiles": RobustScaler(quantile_range=(5.0, 60.0), unit_variance=True),
}
if VERSION >= (1, 9):
    SCALERS["max-abs clipped"] = MaxAbsScaler(clip=True)
NORMS = ("l1", "l2", "max")
POLYNOMIALS = {
    "of degree 2": PolynomialFeatures(),
    "of degree 3": PolynomialFeatures(3),
    "of degree 1 alone": PolynomialFeatures(1, include_bias=False),
    "of degree 0": PolynomialFeatures(0),
    "of degrees 2 to 3": PolynomialFeatures((2, 3)),
    "of degrees 2 to 4 without bias": PolynomialFeatures((2, 4), include_bias=False),
    "of degrees 0 to 1": PolynomialFeatures((0, 1)),
    "of interactions": PolynomialFeatures(3, interaction_only=True),
    "of interactions from degree 2": PolynomialFeatures((2, 3), interaction_only=True, include_bias=False),
    "of interactions up to more columns than there are": PolynomialFeatures(7, interaction_only=True),
    "in the order of Fortran": PolynomialFeatures(2, order="F"),
}


def batch(dtype: str) -> np.ndarray:
    """Rows that no scaler has seen, with values far outside and both zeros. float16 does not overflow."""
    x = (RNG.normal(size=(64, 5)) * 10.0 ** RNG.integers(-3, 3, size=(64, 5))).astype(dtype)
    x[0], x[1] = 0, 1
    if x.dtype.kind == "f":
        x[2] = -0.0
        x[3] = np.finfo(x.dtype).smallest_subnormal
    return x


def dtypes_for(executor: str) -> tuple[str, ...]:
    """The dtypes to try: TorchScript runs torch's rules, and takes a while to compile each graph."""
    return DTYPES[:2] if executor == "torchscript" else DTYPES


def fit(model: Any, x: np.ndarray = X, **options: Any) -> Any:
    """The model, fitted without the warnings of constant columns and of small bins."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(x, **options)


def assert_same_bits(actual: Any, expected: np.ndarray) -> None:
    """Equal in type and in every bit, the sign of zero too; any NaN equals any other."""
    assert_equal_outputs(actual, expected, "bits")
    if expected.dtype.kind == "f":
        number = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(actual)[number], np.signbit(expected)[number])


@pytest.mark.parametrize("fitted_on", ["float64", "float32"])
@pytest.mark.parametrize("name", SCALERS)
def test_scalers_give_the_same_bits_there_and_back(executor: str, name: str, fitted_on: str) -> None:
    source = fit(SCALERS[name], X.astype(fitted_on))
    model = tensorml.convert(source, executor=executor)
    for dtype in dtypes_for(executor):
        x = batch(dtype)
        assert_same_bits(model.transform(x), source.transform(x))
        assert_same_bits(model.inverse_transform(x), source.inverse_transform(x))


@pytest.mark.parametrize("source", [StandardScaler(), MinMaxScaler(clip=True), MaxAbsScaler(), RobustScaler()])
def test_scalers_take_bools_missing_values_and_constant_columns(executor: str, source: Any) -> None:
    x = X.copy()
    x[:, 0] = 4.0
    x[::7, 1] = np.nan
    fit(source, x)
    model = assert_same(source, x, executor)
    assert_same_bits(model.transform(x > 0), source.transform(x > 0))
    assert_same_bits(model.transform(x[:1]), source.transform(x[:1]))


def test_a_weighted_scaler_fitted_in_parts_converts(executor: str) -> None:
    source = StandardScaler().partial_fit(X[:100], sample_weight=np.arange(100.0)).partial_fit(X[100:])
    assert_same(source, X, executor)


@pytest.mark.parametrize("source", [StandardScaler(), MinMaxScaler(), MaxAbsScaler(), RobustScaler()])
def test_scalers_refuse_infinity(executor: str, source: Any) -> None:
    model = tensorml.convert(fit(source), executor=executor)
    x = X[:3].copy()
    x[1, 1] = -np.inf
    for method in (model.transform, model.inverse_transform):
        with pytest.raises(InputError, match="contains infinity"):
            method(x)


@pytest.mark.parametrize("name", SCALERS)
def test_one_column_is_not_repeated_on_the_way_back(name: str) -> None:
    model = tensorml.convert(fit(SCALERS[name]))
    for width in (1, 4, 6):
        with pytest.raises(InputError, match=f"X has {width} features, but .*Scaler is expecting 5 features as input"):
            model.inverse_transform(np.ones((3, width)))


def test_no_rows_and_sparse_rows_are_refused_on_the_way_back() -> None:
    model = tensorml.convert(fit(StandardScaler(with_mean=False)))
    with pytest.raises(InputError, match="0 sample"):
        model.inverse_transform(np.ones((0, 5)))
    with pytest.raises(InputError, match="of a sparse matrix is not supported"):
        model.inverse_transform(csr_matrix(np.eye(5)))


ALL = [*SCALERS.values(), Normalizer(), Binarizer(), *POLYNOMIALS.values(), KBinsDiscretizer(3)]


@pytest.mark.parametrize("source", ALL, ids=str)
def test_the_input_is_not_written_to_whatever_copy_says(executor: str, source: Any) -> None:
    model = tensorml.convert(
        fit(source).set_params(**({"copy": False} if hasattr(source, "copy") else {})), executor=executor
    )
    x = X.copy()
    first = model.transform(x)
    np.testing.assert_array_equal(x, X)
    again = model.transform(x)
    assert_equal_outputs(again, first, "a second call")
    source.set_params(**({"copy": True} if hasattr(source, "copy") else {}))


@pytest.mark.parametrize("source", [*SCALERS.values(), PolynomialFeatures(), KBinsDiscretizer()], ids=str)
def test_unfitted_transformers_are_refused(source: Any) -> None:
    with pytest.raises(NotFittedError, match="not fitted"):
        tensorml.convert(type(source)())


@pytest.mark.parametrize("source", ALL, ids=str)
def test_rows_of_another_width_and_no_rows_are_refused(source: Any) -> None:
    model = tensorml.convert(fit(source))
    with pytest.raises(InputError, match=r"X has 4 features, but .* is expecting 5 features as input"):
        model.transform(X[:, :4])
    with pytest.raises(InputError, match="0 sample"):
        model.transform(X[:0])


@pytest.mark.parametrize("norm", NORMS)
def test_normalizer_is_the_same_within_the_rounding_of_a_sum(executor: str, norm: str) -> None:
    source = fit(Normalizer(norm))
    model = tensorml.convert(source, executor=executor)
    for dtype, rtol in (("float64", 1e-15), ("float32", 5e-7), ("float16", 2e-3), ("int64", 1e-15)):
        x = batch(dtype)
        expected = source.transform(x)
        assert_equal_outputs(model.transform(x), expected, "transform", rtol=0 if norm == "max" else rtol)
        assert_same_bits(model.transform(x[:4]), source.transform(x[:4])) if norm == "max" else None


TABLES = {
    "list of float32 rows": list(X.astype(np.float32)),
    "list of integers": X.astype(int).tolist(),
    "frame of float32": pd.DataFrame(X.astype(np.float32)),
    "frame of several dtypes": pd.DataFrame({"a": X[:, 0] > 0, "b": X[:, 1].astype("i2"), "c": X[:, 2].astype("f4")}),
    "polars frame of float32": polars.DataFrame(X.astype(np.float32)),
    "array of objects": X.astype(object),
}
READERS = [
    StandardScaler(),
    Normalizer("max"),
    Binarizer(),
    PolynomialFeatures(),
    KBinsDiscretizer(3, encode="ordinal"),
]


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("source", READERS, ids=str)
def test_tables_are_read_in_the_dtype_that_each_transformer_asks_for(executor: str, source: Any, name: str) -> None:
    table = TABLES[name]
    fit(source, table)
    actual = tensorml.convert(source, executor=executor).transform(table)
    assert_equal_outputs(actual, source.transform(table), "transform")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_rows_near_zero_stay_as_they_are(executor: str, norm: str, dtype: str) -> None:
    eps = float(np.finfo(dtype).eps)
    x = np.array([[0.0, -0.0, 0.0], [9 * eps, 0, 0], [11 * eps, 0, 0], [eps, eps, -eps]], dtype)
    source = fit(Normalizer(norm), x)
    assert_same_bits(tensorml.convert(source, executor=executor).transform(x), source.transform(x))


def test_float16_squares_do_not_vanish_and_sums_do_not_overflow(executor: str) -> None:
    x = np.array([[0.015, 0.0, 1e-4], [200.0, 100.0, 50.0], [300.0, 1.0, 1.0]], np.float16)
    source = fit(Normalizer(), x)
    with np.errstate(over="ignore"):
        expected = source.transform(x)
    assert_equal_outputs(tensorml.convert(source, executor=executor).transform(x), expected, "transform", rtol=2e-3)


@pytest.mark.parametrize("source", [Normalizer("l1"), Binarizer(threshold=0.25)])
def test_stateless_transformers_convert_unfitted_given_rows(executor: str, source: Any) -> None:
    model = tensorml.convert(type(source)(**source.get_params()), X[:2], executor=executor)
    assert_equal_outputs(model.transform(X), source.transform(X), "transform", rtol=1e-15)
    with pytest.raises(UnsupportedModelError, match="does not know its number of features"):
        tensorml.convert(type(source)())


STRICT = [Normalizer(), Binarizer(), PolynomialFeatures(), KBinsDiscretizer(3), KBinsDiscretizer(3, dtype=np.float32)]


@pytest.mark.parametrize("source", STRICT, ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_missing_values_and_infinity_are_refused(executor: str, source: Any, bad: float) -> None:
    model = tensorml.convert(fit(source), executor=executor)
    x = X[:5].copy()
    x[2, 2] = bad
    with pytest.raises(InputError, match="contains NaN" if np.isnan(bad) else "contains infinity"):
        model.transform(x)


THRESHOLDS = [0.0, 0.1, -1.5, 1, -300, 300, 2**70, np.float32(0.1), np.float64(0.1), np.int8(1), 1e30]


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=repr)
def test_binarizer_compares_in_the_same_dtype(executor: str, threshold: float) -> None:
    source = fit(Binarizer(threshold=threshold))
    model = tensorml.convert(source, executor=executor)
    near = np.float32(0.1) + np.arange(-2, 3)[:, None] * np.spacing(np.float32(0.1)) + np.zeros(5)
    for dtype in (*DTYPES, "uint8", "int8", "bool"):
        x = np.concatenate([batch("float32"), near, [[0.1] * 5, [1] * 5, [-0.0] * 5]]).clip(-100, 100)
        x = x.clip(0) if dtype == "uint8" else x
        x = x.astype(dtype)
        with np.errstate(over="ignore"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "overflow encountered in cast")
            try:
                expected = source.transform(x)
            except OverflowError:
                continue
        assert_same_bits(model.transform(x), expected)


@pytest.mark.parametrize("threshold", [np.nan, np.inf])
def test_a_threshold_that_no_call_would_take_is_refused(threshold: float) -> None:
    source = fit(Binarizer(threshold=threshold))
    with pytest.raises(ValueError, match="'threshold' parameter"):
        source.transform(X)
    with pytest.raises(UnsupportedModelError, match="which its transform refuses"):
        tensorml.convert(source)


def test_a_norm_that_no_call_would_take_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="norm='l3' is not one that its transform takes"):
        tensorml.convert(Normalizer("l3"), X[:2])


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomial_features_are_multiplied_in_the_same_order(executor: str, name: str) -> None:
    source = fit(POLYNOMIALS[name])
    model = tensorml.convert(source, executor=executor)
    for dtype in dtypes_for(executor):
        x = batch(dtype)
        with np.errstate(over="ignore"):
            expected = source.transform(x)
        assert_same_bits(model.transform(x), expected)
    assert_same_bits(model.transform(X[:1]), source.transform(X[:1]))


def test_polynomial_features_of_no_combination_have_no_columns(executor: str) -> None:
    source = PolynomialFeatures((3, 3), interaction_only=True, include_bias=False).fit(X[:, :2])
    actual = tensorml.convert(source, executor=executor).transform(X[:, :2])
    assert_equal_outputs(actual, source.transform(X[:, :2]), "transform")


def test_polynomial_features_whose_options_changed_after_fit_are_refused() -> None:
    source = fit(PolynomialFeatures(2)).set_params(include_bias=False)
    with pytest.raises(UnsupportedModelError, match="its parameters were changed after fit"):
        tensorml.convert(source)


BINS: dict[str, dict[str, Any]] = {
    "uniform": {"strategy": "uniform"},
    "of quantiles": {"strategy": "quantile"},
    "of k-means": {"strategy": "kmeans", "n_bins": 4},
    "of different numbers": {"n_bins": [2, 3, 4, 5, 6], "strategy": "uniform"},
    "without a subsample": {"subsample": None, "n_bins": 3},
    "of a subsample": {"subsample": 50, "random_state": 0, "n_bins": 3},
    "as float32": {"dtype": np.float32},
    "as float64": {"dtype": np.float64},
}


def on_the_edges(source: KBinsDiscretizer, dtype: str) -> np.ndarray:
    """Rows that lie on the edges of the bins, and one number to either side of them, in `dtype`."""
    rows = max(map(len, source.bin_edges_))
    edges = np.stack([np.resize(np.nan_to_num(e, posinf=9, neginf=-9), rows) for e in source.bin_edges_], axis=1)
    exact = edges.astype(dtype)
    return np.concatenate(
        [exact, np.nextafter(exact, np.array(np.inf, dtype)), np.nextafter(exact, np.array(-np.inf, dtype))]
    )


@pytest.mark.parametrize("fitted_on", ["float64", "float32"])
@pytest.mark.parametrize("name", BINS)
def test_bins_are_the_same_on_their_edges_and_beside_them(executor: str, name: str, fitted_on: str) -> None:
    source = fit(KBinsDiscretizer(encode="ordinal", **BINS[name]), X.astype(fitted_on))
    model = tensorml.convert(source, executor=executor)
    for dtype in ("float64", "float32"):
        x = on_the_edges(source, dtype)
        assert_equal_outputs(model.transform(x), source.transform(x), "transform")


@pytest.mark.parametrize("encode", ["onehot", "onehot-dense", "ordinal"])
@pytest.mark.parametrize("dtype", [None, np.float32, np.float64])
def test_every_encoding_is_the_same_there_and_back(executor: str, encode: str, dtype: Any) -> None:
    source = fit(KBinsDiscretizer([2, 3, 4, 5, 6], encode=encode, dtype=dtype))
    for x in [X.astype(name) for name in dtypes_for(executor)]:
        assert_same(source, x, executor)
    assert_same(source, X[:1], executor)


@pytest.mark.parametrize("encode", ["onehot", "onehot-dense", "ordinal"])
def test_a_constant_column_has_one_bin_without_a_middle(executor: str, encode: str) -> None:
    x = X.copy()
    x[:, 1] = 2.0
    with np.errstate(invalid="ignore"):
        model = assert_same(fit(KBinsDiscretizer(3, encode=encode), x), X, executor)
    assert np.isnan(model.inverse_transform(model.transform(X))[:, 1]).all()


def test_weighted_bins_convert(executor: str) -> None:
    options = {"quantile_method": "averaged_inverted_cdf"} if VERSION >= (1, 7) else {}
    source = fit(KBinsDiscretizer(4, **options), sample_weight=np.arange(300.0))
    assert_same(source, X, executor)


def test_edges_of_a_range_that_overflows_are_never_reached(executor: str) -> None:
    x = np.array([[-1.7e308], [0.0], [1.7e308]])
    with np.errstate(all="ignore"):
        source = fit(KBinsDiscretizer(3, strategy="uniform", encode="ordinal", subsample=None), x)
    assert np.isnan(source.bin_edges_[0]).any()
    assert_equal_outputs(tensorml.convert(source, executor=executor).transform(x), source.transform(x), "transform")


def test_float64_rows_beyond_float32_are_refused_where_dtype_is_float32(executor: str) -> None:
    source = fit(KBinsDiscretizer(3, dtype=np.float32))
    x = np.full((1, 5), 1e300)
    with pytest.raises(ValueError, match="infinity"), np.errstate(over="ignore"):
        source.transform(x)
    with pytest.raises(InputError, match="contains infinity"):
        tensorml.convert(source, executor=executor).transform(x)


def test_bin_numbers_are_cut_off_and_count_from_the_end(executor: str) -> None:
    source = fit(KBinsDiscretizer(4, encode="ordinal"))
    model = tensorml.convert(source, executor=executor)
    for dtype in ("float64", "float32", "int64"):
        z = (np.array([[0], [3], [-1], [-4], [1.9], [3.99], [-0.5], [-1.5], [-4.9]]) + np.zeros(5)).astype(dtype)
        assert_equal_outputs(model.inverse_transform(z), source.inverse_transform(z), "inverse_transform")


@pytest.mark.parametrize("number", [4.0, -5.0, 1e300])
def test_the_number_of_a_bin_that_does_not_exist_is_refused(executor: str, number: float) -> None:
    source = fit(KBinsDiscretizer(4, encode="ordinal"))
    z = np.full((2, 5), number)
    with pytest.raises(IndexError), np.errstate(invalid="ignore"):
        source.inverse_transform(z)
    with pytest.raises(InputError, match="the number of a bin that does not exist"):
        tensorml.convert(source, executor=executor).inverse_transform(z)


@pytest.mark.parametrize("encode", ["onehot", "onehot-dense"])
def test_one_hot_columns_of_any_numbers_find_the_largest(executor: str, encode: str) -> None:
    source = fit(KBinsDiscretizer(3, encode=encode))
    model = tensorml.convert(source, executor=executor)
    hot = source.transform(X)
    if encode == "onehot":
        assert_equal_outputs(model.inverse_transform(hot), source.inverse_transform(hot), "inverse_transform")
        hot = hot.toarray()
    for z in (
        hot.astype(np.float32),
        hot.astype(np.int32),
        hot.astype(bool),
        RNG.normal(size=(9, 15)),
        np.ones((2, 15)),
    ):
        assert_equal_outputs(model.inverse_transform(z), source.inverse_transform(z), "inverse_transform")


def test_a_feature_in_no_bin_is_refused(executor: str) -> None:
    source = fit(KBinsDiscretizer(3, encode="onehot-dense"))
    z = source.transform(X)
    z[7, 3:6] = 0
    with pytest.raises(ValueError, match="all zeros"):
        source.inverse_transform(z)
    with pytest.raises(InputError, match="all columns of a feature are 0: they are columns 3 to 5"):
        tensorml.convert(source, executor=executor).inverse_transform(z)


@pytest.mark.parametrize("encode", ["onehot", "ordinal"])
def test_bins_of_another_width_and_missing_bins_are_refused(encode: str) -> None:
    model = tensorml.convert(fit(KBinsDiscretizer(3, encode=encode)))
    width = 15 if encode == "onehot" else 5
    with pytest.raises(InputError, match=re.escape(f"Incorrect number of features. Expecting {width}, received 4.")):
        model.inverse_transform(np.ones((3, 4)))
    with pytest.raises(InputError, match="contains NaN"):
        model.inverse_transform(np.full((3, width), np.nan))


def test_a_graph_of_sparse_bins_feeds_other_graphs_densely() -> None:
    outputs = apply(fit(KBinsDiscretizer(3)), Input("x", TensorType(("N", 5), np.dtype(np.float64))))
    assert type(outputs["transform"]).__name__ == "Sparse"
    with pytest.raises(GraphTypeError):
        apply(fit(StandardScaler()), Input("x", TensorType(("N", 4), np.dtype(np.float64))))
