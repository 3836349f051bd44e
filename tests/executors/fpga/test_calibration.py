"""Calibration rows of one kind serve rows of others: columns are found by name or place, and converted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, StandardScaler

import tensorml
from tensorml.errors import UnsupportedOperatorError
from tensorml.executors.fpga.calibration import arrays_of
from tensorml.executors.fpga.program import Core, FpgaExecutor
from tensorml.frames import PANDAS, Schema
from tests.executors.fpga.models import THREE, X
from tests.executors.fpga.stand import Stand

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "near": RNG.normal(size=200),
        "far": 5000 + 1000 * RNG.normal(size=200),
        "count": RNG.integers(0, 5, 200),
        "kind": RNG.choice(["u", "v", "w"], 200),
    }
)
Y = 3 * FRAME["near"] + FRAME["far"] / 500 + FRAME["count"] + (FRAME["kind"] == "v")
NUMBERS = ["near", "far", "count"]


@pytest.fixture(autouse=True)
def _unbuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Core, "simulator", property(Stand))


def by_name() -> Any:
    columns = ColumnTransformer([("numbers", StandardScaler(), NUMBERS), ("kinds", OneHotEncoder(), ["kind"])])
    return make_pipeline(columns, Ridge()).fit(FRAME, Y)


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(actual - expected).max() <= 0.01 * np.ptp(expected)


@pytest.mark.parametrize("order", [[3, 2, 1, 0], [2, 1, 3, 0], [0, 1, 2, 3]])
def test_columns_in_another_order_are_calibrated_by_their_own_rows(order: list[int]) -> None:
    source = by_name()
    model = tensorml.convert(source, FRAME, executor="fpga")
    frame = FRAME.iloc[:, order]
    assert_close(model.predict(frame), source.predict(frame))


def test_frames_of_other_dtypes_and_libraries_are_calibrated_too() -> None:
    source = by_name()
    model = tensorml.convert(source, FRAME, executor="fpga")
    for frame in (FRAME.astype(dict.fromkeys(NUMBERS, np.float32)), FRAME.assign(count=FRAME["count"].astype(float))):
        assert_close(model.predict(frame), source.predict(FRAME))
    assert_close(model.predict(pl.DataFrame(FRAME.to_dict("list"))), source.predict(FRAME))


@pytest.mark.parametrize(
    "rows",
    [
        X,
        X.astype(np.float32),
        X.astype(object),
        X.tolist(),
        torch.tensor(X),
        sparse.csr_matrix(X),
        pd.DataFrame(X, columns=list("abcd")),
        pd.DataFrame(X, columns=list("abcd")).astype({"b": np.float32}),
    ],
    ids=["array", "float32", "objects", "list", "tensor", "sparse", "frame", "mixed frame"],
)
def test_rows_of_every_kind_calibrate_those_of_every_other(rows: Any) -> None:
    source = make_pipeline(MaxAbsScaler(), LogisticRegression()).fit(X, THREE)
    model = tensorml.convert(source, rows, executor="fpga")
    frame = pd.DataFrame(X, columns=list("abcd"))
    for x in (X, X.astype(np.float32), X.tolist(), frame, frame.astype({"d": np.float32})):
        assert (model.predict(x) == source.predict(X)).mean() >= 0.99


def test_what_calibration_rows_do_not_have_is_refused() -> None:
    model = tensorml.convert(by_name(), FRAME, executor="fpga")
    with pytest.raises(UnsupportedOperatorError, match=r"the range of its inputs is not known\. Pass rows of"):
        model.predict(FRAME.assign(more=1.0))


def test_what_transform_returns_is_not_calibrated_by_what_it_takes() -> None:
    model = tensorml.convert(PCA(4).fit(X), X, executor="fpga")
    with pytest.raises(UnsupportedOperatorError, match="the range of its inputs is not known"):
        model.inverse_transform(X)


def test_an_executor_of_a_model_is_calibrated_anew_for_another_one() -> None:
    first = tensorml.convert(make_pipeline(MaxAbsScaler(), Ridge()).fit(X, X[:, 0]), X, executor="fpga")
    x = 1000 * X + 7
    source = make_pipeline(MaxAbsScaler(), Ridge()).fit(x, x[:, 3])
    assert_close(tensorml.convert(source, x, executor=first.executor).predict(x), source.predict(x))


def test_rows_that_the_executor_was_given_come_before_those_of_convert() -> None:
    source = make_pipeline(MaxAbsScaler(), Ridge()).fit(X, X[:, 0])
    model = tensorml.convert(source, X[:3], executor=FpgaExecutor(calibration=pd.DataFrame(X)))
    assert model.report(fast=True).accuracy.rows == len(X)
    assert_close(model.predict(X), source.predict(X))


@pytest.mark.parametrize(
    ("dtypes", "values"),
    [(("float64", "int64"), {"x_float64": [[1.5], [np.nan]], "x_int64": [[3], [4]]}), (("int64", "float64"), {})],
)
def test_a_column_that_a_dtype_does_not_hold_is_not_converted(dtypes: tuple[str, str], values: Any) -> None:
    kind = Schema(tuple(map(np.dtype, dtypes)), ("a", "b"), container=PANDAS)
    found = arrays_of(pd.DataFrame({"b": [3, 4], "a": [1.5, np.nan]}), kind, {})
    assert found.keys() == values.keys()
    for name, value in values.items():
        np.testing.assert_array_equal(found[name], value)
