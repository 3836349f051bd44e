"""Isotonic regression against scikit-learn itself: equal in every bit, in float64 and in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

import tensorml
from tensorml.errors import InputError, NotFittedError
from tests.parity import assert_equal_outputs, assert_same

GENERATOR = np.random.default_rng(4)
X = np.round(GENERATOR.normal(size=200) * 3, 1)
Y = X + GENERATOR.normal(size=200) * 2
BOUNDS = ["nan", "clip", "raise"]


def traps(source: IsotonicRegression) -> np.ndarray:
    """The fitted points, their neighbours on both sides, what lies between, and numbers outside. float64 [N]."""
    points = source.X_thresholds_
    beside = [np.nextafter(points, side, dtype=points.dtype) for side in (np.inf, -np.inf)]
    inside = GENERATOR.uniform(points.min(), points.max(), 500)
    return np.concatenate([points, *beside, inside, [-1e30, 1e30, -0.0, 0.0, 5e-324]]).astype(np.float64)


def within(source: IsotonicRegression, rows: np.ndarray) -> np.ndarray:
    """The rows that the source takes."""
    read = rows.astype(source.X_thresholds_.dtype)
    return rows[(read >= source.X_min_) & (read <= source.X_max_)] if source.out_of_bounds == "raise" else rows


@pytest.mark.parametrize("fit_dtype", [np.float64, np.float32])
@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize(
    "options",
    [{}, {"increasing": False}, {"increasing": "auto"}, {"y_min": -1.0, "y_max": 2.5}, {"y_max": 0.0}],
    ids=str,
)
def test_every_bit_is_equal_at_the_points_beside_and_between_them(executor, options, bounds, fit_dtype):
    source = IsotonicRegression(out_of_bounds=bounds, **options).fit(X.astype(fit_dtype), Y.astype(fit_dtype))
    rows = within(source, traps(source))
    model = assert_same(source, rows, executor)
    assert set(model.methods) == {"predict", "transform"}
    assert_same(source, rows[:, None], executor)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.int8, np.uint32, bool])
@pytest.mark.parametrize("fit_dtype", [np.float64, np.float32])
def test_every_input_dtype_gives_the_result_dtype_of_the_source(executor, fit_dtype, dtype):
    source = IsotonicRegression(out_of_bounds="nan").fit(X.astype(fit_dtype), Y)
    rows = np.abs(X).astype(dtype) if dtype == np.uint32 else X.astype(dtype)
    assert assert_same(source, rows, executor).predict(rows).dtype == fit_dtype


@pytest.mark.parametrize(
    "form", ["array", "column", "list", "list of lists", "Series", "DataFrame", "polars", "tensor"]
)
def test_one_feature_comes_in_any_form(executor, form):
    pandas, polars, torch = (pytest.importorskip(name) for name in ("pandas", "polars", "torch"))
    source = IsotonicRegression(out_of_bounds="clip").fit(X, Y)
    rows = {
        "array": X,
        "column": X[:, None],
        "list": X.tolist(),
        "list of lists": X[:, None].tolist(),
        "Series": pandas.Series(X, index=np.arange(200) + 7, name="t"),
        "DataFrame": pandas.DataFrame({"t": X}),
        "polars": polars.Series("t", X),
        "tensor": torch.from_numpy(X),
    }[form]
    model = tensorml.convert(source, rows, executor=executor)
    for method in ("predict", "transform"):
        assert_equal_outputs(np.asarray(getattr(model, method)(rows)), getattr(source, method)(X), method)


def test_many_rows_and_one_row_give_the_same(executor):
    source = IsotonicRegression(out_of_bounds="clip").fit(X, Y)
    for rows in (np.linspace(-20, 20, 30_000), X[:1], np.asfortranarray(X[::-1])):
        before = rows.copy()
        assert_same(source, rows, executor)
        np.testing.assert_array_equal(rows, before)


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("fit_dtype", [np.float64, np.float32])
def test_a_single_point_is_a_constant_without_bounds(executor, bounds, fit_dtype):
    source = IsotonicRegression(out_of_bounds=bounds).fit(np.full(3, 2.0, fit_dtype), np.array([1, 2, 4.7], fit_dtype))
    assert len(source.X_thresholds_) == 1
    assert_same(source, X, executor)


def test_two_points_and_a_constant_line_give_the_same(executor):
    for values in ([1.0, 3.0], [3.0, 1.0], [2.0, 2.0]):
        source = IsotonicRegression(out_of_bounds="nan").fit([0.0, 1.0], values)
        assert_same(source, np.array([0, 0.25, 1, np.nextafter(1, 2), -1e-300]), executor)


def test_a_step_between_neighbouring_numbers_gives_the_same(executor):
    points = np.array([1.0, np.nextafter(1.0, 2), 2.0, 5e-324, 0.0])
    source = IsotonicRegression(out_of_bounds="clip").fit(points, np.array([1.0, 2.0, 1e300, -1.0, -1e300]))
    with np.errstate(over="ignore", invalid="ignore"):
        assert_same(source, np.concatenate([points, [0.5, 1.5, -1, 3]]), executor)


def test_values_out_of_bounds_are_refused_where_the_source_raises(executor):
    source = IsotonicRegression(out_of_bounds="raise").fit(X, Y)
    model = tensorml.convert(source, executor=executor)
    for value in (X.max() + 1e-9, X.min() - 1e-9):
        with pytest.raises(ValueError, match="interpolation range"):
            source.predict([0.0, value])
        with pytest.raises(InputError, match=r"outside of the range that it was fitted on: -?\d+\.\d to \d+\.\d"):
            model.predict([0.0, value])


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_refused_as_by_the_source(executor, bounds, value):
    source = IsotonicRegression(out_of_bounds=bounds).fit(X.astype(np.float32), Y)
    model = tensorml.convert(source, executor=executor)
    for rows in ([0.0, value], *([[0.0, 1e300]] if np.isinf(value) else [])):  # beyond float32: infinite there
        with np.errstate(over="ignore"), pytest.raises(ValueError, match=r"contains NaN|contains infinity"):
            source.predict(rows)
        with pytest.raises(InputError, match=r"contains NaN|contains infinity"):
            model.predict(rows)


def test_two_features_no_rows_and_an_unfitted_model_are_refused():
    model = tensorml.convert(IsotonicRegression().fit(X, Y))
    with pytest.raises(InputError, match="2 features, but IsotonicRegression is expecting 1"):
        model.predict(np.zeros((3, 2)))
    with pytest.raises(InputError, match=r"0 sample\(s\)"):
        model.predict(np.zeros(0))
    with pytest.raises(InputError, match="Expected 2D array, got 3D"):
        model.predict(np.zeros((2, 1, 1)))
    with pytest.raises(NotFittedError, match="IsotonicRegression is not fitted"):
        tensorml.convert(IsotonicRegression())


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output_makes_a_frame_of_one_column_from_one_column(executor, library):
    pytest.importorskip(library)
    pandas = pytest.importorskip("pandas")
    source = IsotonicRegression(out_of_bounds="nan").fit(X, Y).set_output(transform=library)
    model = tensorml.convert(source, executor=executor)
    rows = pandas.DataFrame({"t": X}, index=np.arange(200) + 7)
    expected, actual = source.transform(rows), model.transform(rows)
    assert type(actual) is type(expected)
    assert list(actual.columns) == list(expected.columns)
    np.testing.assert_array_equal(actual.to_numpy(), expected.to_numpy())
    if library == "pandas":
        assert list(actual.index) == list(expected.index)
    with pytest.raises(InputError, match=r"Expected 2D array, got 1D array instead. Reshape it"):
        model.transform(X)


def test_a_saved_model_still_takes_one_dimension(tmp_path: Any):
    source = IsotonicRegression(out_of_bounds="clip").fit(X, Y)
    for name in ("model.safetensors", "model.pt"):
        tensorml.convert(source).save(tmp_path / name)
        np.testing.assert_array_equal(tensorml.load(tmp_path / name).predict(X), source.predict(X))


def test_a_classifier_that_it_calibrates_gives_the_same(executor):
    rows = X.reshape(-1, 2)
    target = (rows[:, 0] + GENERATOR.normal(size=100) > 0).astype(int)
    source = CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=3).fit(rows, target)
    assert_same(source, rows, executor, rtol=1e-9, atol=1e-9)
