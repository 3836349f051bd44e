from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csc_matrix
from sklearn.impute import SimpleImputer

import tensorml
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tensorml_sklearn.describe import VERSION
from tests.parity import assert_equal_outputs

RNG = np.random.default_rng(0)
NAN = np.nan


def with_holes(marker: float, dtype: str = "float64") -> np.ndarray:
    """Rows [60, 6] where `marker` stands in columns 0 to 3 here and there, and nowhere else; column 4 has none."""
    x = np.round(RNG.normal(size=(60, 6)) * 4) + 20
    holes = RNG.random(x.shape) < 0.3
    holes[:, 4:] = False
    return np.where(holes, marker, x).astype(dtype)


def dtypes_for(executor: str) -> tuple[str, ...]:
    """The dtypes to try: TorchScript runs torch's rules, and takes a while to compile each graph."""
    return ("float32",) if executor == "torchscript" else ("float64", "float32", "float16")


def fit(model: SimpleImputer, x: Any) -> SimpleImputer:
    """The imputer, fitted without the warnings of empty columns and of what 1.8 was to change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(x)


def assert_imputes(source: SimpleImputer, x: np.ndarray, executor: str, *, back: bool = True) -> Any:
    """The converted imputer returns the same bits, there and, with an indicator, back; it does not write to x."""
    model = tensorml.convert(source, executor=executor)
    before = x.copy()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipping features")
        expected = source.transform(x.copy())
    assert_equal_outputs(model.transform(x), expected, "transform")
    np.testing.assert_array_equal(x, before)
    if source.add_indicator and back:
        original = source.inverse_transform(expected)
        assert_equal_outputs(model.inverse_transform(expected), original, "inverse_transform")
    return model


def span(column: np.ndarray) -> float:
    return float(column.max() - column.min())


OPTIONS: dict[str, dict[str, Any]] = {
    "mean": {"strategy": "mean"},
    "median": {"strategy": "median"},
    "most frequent": {"strategy": "most_frequent"},
    "constant": {"strategy": "constant"},
    "constant of its own": {"strategy": "constant", "fill_value": -7.25},
    "own function": {"strategy": span},
}


@pytest.mark.parametrize("indicator", [False, True], ids=["", "with indicator"])
@pytest.mark.parametrize("strategy", OPTIONS)
def test_every_strategy_gives_the_same_bits(executor: str, strategy: str, indicator: bool) -> None:
    for fitted_on in ("float64", "float32"):
        options = OPTIONS[strategy]
        source = fit(SimpleImputer(add_indicator=indicator, **options), with_holes(NAN, fitted_on))
        for dtype in dtypes_for(executor):
            assert_imputes(source, with_holes(NAN, dtype), executor)


@pytest.mark.parametrize("keep", [False, True], ids=["dropped", "kept"])
@pytest.mark.parametrize("strategy", OPTIONS)
def test_columns_without_a_value_are_dropped_or_kept(executor: str, strategy: str, keep: bool) -> None:
    x = with_holes(NAN)
    x[:, 1] = NAN
    x[:, 5] = NAN
    options = {"strategy": span_of_any} if strategy == "own function" else OPTIONS[strategy]
    source = fit(SimpleImputer(keep_empty_features=keep, **options), x)
    assert_imputes(source, x, executor)
    assert_imputes(source, with_holes(NAN), executor)
    drops = VERSION >= (1, 8) or options["strategy"] != "constant"  # and scikit-learn finds no way back to kept ones
    source = fit(SimpleImputer(keep_empty_features=False, add_indicator=True, **options), x)
    assert_imputes(source, x, executor, back=drops)


def span_of_any(column: np.ndarray) -> float:
    return span(column) if len(column) else NAN


def test_columns_whose_function_gives_nan_are_dropped(executor: str) -> None:
    source = fit(SimpleImputer(strategy=lambda column: NAN if len(column) == 60 else 1.5), with_holes(NAN))
    assert assert_imputes(source, with_holes(NAN), executor).transform(with_holes(NAN)).shape == (60, 4)


def test_an_imputer_that_drops_every_column_returns_none(executor: str) -> None:
    source = fit(SimpleImputer(), np.full((5, 3), NAN))
    assert_imputes(source, np.full((5, 3), NAN), executor)


MARKERS = [-1, 0, 0.0, 20, -1.5, np.float32(20.0), np.int64(20), np.uint8(20), True]


@pytest.mark.parametrize("strategy", ["mean", "most_frequent"])
@pytest.mark.parametrize("marker", MARKERS, ids=repr)
def test_missing_values_may_be_a_number(executor: str, marker: float, strategy: str) -> None:
    source = fit(SimpleImputer(missing_values=marker, strategy=strategy, add_indicator=True), with_holes(float(marker)))
    for dtype in dtypes_for(executor):
        assert_imputes(source, with_holes(float(marker), dtype), executor)


@pytest.mark.parametrize("strategy", ["mean", "most_frequent", "constant"])
@pytest.mark.parametrize("marker", [-1, 3, 300, -1.0, 2.5, 2**70, np.int64(3)], ids=repr)
def test_integers_are_imputed_in_their_dtype_or_as_float64(executor: str, marker: float, strategy: str) -> None:
    for dtype in ("int64",) if executor == "torchscript" else ("int64", "int32", "uint8"):
        x = RNG.integers(0, 6, size=(40, 4)).astype(dtype)
        if dtype != "uint8":
            x[RNG.random(x.shape) < 0.3] = int(marker) if abs(marker) < 1000 else 0
        options = {"fill_value": x.dtype.type(4)} if strategy == "constant" else {}
        try:
            source = fit(SimpleImputer(missing_values=marker, strategy=strategy, add_indicator=True, **options), x)
            source.transform(x)
        except OverflowError:
            continue
        assert_imputes(source, x, executor)
        assert_imputes(source, x.astype(np.float64), executor)


def test_integers_hold_no_nan(executor: str) -> None:
    source = fit(SimpleImputer(strategy="most_frequent", add_indicator=True), with_holes(NAN))
    x = RNG.integers(0, 6, size=(40, 6))
    model = tensorml.convert(source, executor=executor)
    assert_equal_outputs(model.transform(x), source.transform(x), "transform")


def test_float32_statistics_pass_through_the_dtype_of_fit(executor: str) -> None:
    x = with_holes(NAN, "float32") / np.float32(3)
    for strategy in ("mean", "most_frequent", "median"):
        source = fit(SimpleImputer(strategy=strategy), x)
        assert_imputes(source, x.astype(np.float64), executor)
    wide = fit(SimpleImputer(strategy="most_frequent"), with_holes(NAN) / 3)
    assert_imputes(wide, x, executor)


def test_pandas_na_marks_what_is_nan_in_numbers(executor: str) -> None:
    x = with_holes(NAN)
    source = fit(SimpleImputer(missing_values=pd.NA, add_indicator=True), x)
    model = tensorml.convert(source, executor=executor)
    assert_equal_outputs(model.transform(x), source.transform(x), "transform")
    with pytest.raises(InputError, match=r"cannot write pandas\.NA"):
        model.inverse_transform(model.transform(x))


def test_an_imputer_fitted_on_sparse_rows_converts(executor: str) -> None:
    x = np.where(RNG.random((40, 5)) < 0.5, 0.0, with_holes(NAN)[:40, :5])
    for strategy in ("mean", "median", "most_frequent", "constant"):
        assert_imputes(fit(SimpleImputer(strategy=strategy), csc_matrix(x)), x, executor)


def test_infinity_is_refused_and_nan_where_it_is_not_the_marker(executor: str) -> None:
    x = with_holes(NAN)
    x[3, 3] = np.inf
    with pytest.raises(InputError, match="contains infinity"):
        tensorml.convert(fit(SimpleImputer(), with_holes(NAN)), executor=executor).transform(x)
    with pytest.raises(InputError, match="contains NaN"):
        tensorml.convert(fit(SimpleImputer(missing_values=-1), with_holes(-1)), executor=executor).transform(
            with_holes(NAN)
        )


def test_bools_are_refused_where_the_strategy_keeps_the_dtype(executor: str) -> None:
    x = with_holes(NAN)
    for strategy in ("most_frequent", "constant"):
        source = fit(SimpleImputer(strategy=strategy), x)
        with pytest.raises(ValueError, match="does not support data with dtype bool"):
            source.transform(x > 3)
        with pytest.raises(InputError, match="does not support data with dtype bool"):
            tensorml.convert(source, executor=executor).transform(x > 3)
    source = fit(SimpleImputer(), x)
    assert_imputes(source, x > 3, executor)


def test_a_constant_that_the_dtype_cannot_hold_is_refused(executor: str) -> None:
    source = fit(SimpleImputer(strategy="constant", fill_value=1.5), with_holes(NAN))
    x = RNG.integers(0, 6, size=(4, 6))
    with pytest.raises(ValueError, match="cannot be cast to the input data"):
        source.transform(x)
    with pytest.raises(InputError, match="cannot be cast to the input data"):
        tensorml.convert(source, executor=executor).transform(x)


def test_an_array_of_objects_that_would_stay_one_is_refused(executor: str) -> None:
    x = with_holes(NAN)
    source = fit(SimpleImputer(strategy="most_frequent"), x)
    assert source.transform(x.astype(object)).dtype == object
    with pytest.raises(InputError, match="would return an array of objects"):
        tensorml.convert(source, executor=executor).transform(x.astype(object))
    mean = fit(SimpleImputer(), x)
    actual = tensorml.convert(mean, executor=executor).transform(x.astype(object))
    assert_equal_outputs(actual, mean.transform(x.astype(object)), "transform")


def test_an_imputer_of_strings_or_objects_is_refused() -> None:
    for x in (np.array([["a"], ["b"], [NAN]], object), with_holes(NAN).astype(object)):
        source = fit(SimpleImputer(strategy="most_frequent"), x)
        with pytest.raises(UnsupportedModelError, match="transform returns an array of objects"):
            tensorml.convert(source)


def test_a_marker_that_is_not_a_number_is_refused() -> None:
    source = fit(SimpleImputer(), with_holes(NAN)).set_params(missing_values="?")
    with pytest.raises(UnsupportedModelError, match=r"missing_values='\?' is not a number"):
        tensorml.convert(source)


def test_unfitted_imputers_other_widths_and_no_rows_are_refused() -> None:
    with pytest.raises(NotFittedError, match="not fitted"):
        tensorml.convert(SimpleImputer())
    model = tensorml.convert(fit(SimpleImputer(add_indicator=True), with_holes(NAN)))
    with pytest.raises(InputError, match="X has 5 features"):
        model.transform(np.ones((3, 5)))
    with pytest.raises(InputError, match="0 sample"):
        model.transform(np.ones((0, 6)))
    with pytest.raises(InputError, match="expecting 6 imputed columns and 4 indicator columns"):
        model.inverse_transform(np.ones((3, 6)))


def test_the_way_back_needs_an_indicator() -> None:
    source = fit(SimpleImputer(), with_holes(NAN))
    with pytest.raises(ValueError, match="add_indicator=True"):
        source.inverse_transform(with_holes(NAN))
    with pytest.raises(InputError, match="works only with add_indicator=True"):
        tensorml.convert(source).inverse_transform(with_holes(NAN))


def test_the_way_back_takes_any_numbers(executor: str) -> None:
    source = fit(SimpleImputer(add_indicator=True), with_holes(NAN))
    model = tensorml.convert(source, executor=executor)
    z = source.transform(with_holes(NAN))
    z[0, :6] = [np.inf, -np.inf, NAN, -0.0, NAN, 1e300]
    z[1:4, 6:] = [[0.5, -2, NAN, 0], [-0.0, 1, np.inf, 0], [0, 0, 0, 0]]
    for dtype in ("float64", "float32", "int64", "bool"):
        with np.errstate(all="ignore"):
            cast = z.astype(dtype)
        assert_equal_outputs(model.inverse_transform(cast), source.inverse_transform(cast), "inverse_transform")


def test_one_row_with_a_missing_value_comes_back(executor: str) -> None:
    source = fit(SimpleImputer(add_indicator=True), with_holes(NAN))
    x = np.array([[NAN, 1.0, 2.0, NAN, 4.0, 5.0]])
    with pytest.raises(IndexError):  # a column that is missing in every row of the batch is taken for a dropped one
        source.inverse_transform(source.transform(x))
    model = tensorml.convert(source, executor=executor)
    np.testing.assert_array_equal(model.inverse_transform(model.transform(x)), x)


def test_values_of_a_dropped_column_do_not_come_back_wrong(executor: str) -> None:
    x = with_holes(NAN)
    x[:, 1] = NAN
    source = fit(SimpleImputer(add_indicator=True), x)
    model = tensorml.convert(source, executor=executor)
    x[5, 1] = 3.0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipping features")
        z = source.transform(x)
    assert not np.array_equal(source.inverse_transform(z)[:, 2], x[:, 2], equal_nan=True)  # shifted by one
    with pytest.raises(InputError, match=r"dropped the columns \[1\]: their values are not known"):
        model.inverse_transform(z)


def test_dropped_columns_without_an_indicator_have_no_way_back() -> None:
    source = fit(SimpleImputer(strategy=lambda c: NAN if len(c) == 60 else 1.5, add_indicator=True), with_holes(NAN))
    with pytest.raises(InputError, match=r"no indicator for the dropped columns \[4, 5\]"):
        tensorml.convert(source).inverse_transform(np.ones((2, 8)))
