"""Columns that hold no numbers, from the caller's container to the program, and options that make another graph."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import tensorml
from tensorml import converter, ops
from tensorml.converter import Description, Outputs
from tensorml.errors import InputError
from tensorml.frames import Frame
from tensorml.graph import Op, TensorType
from tensorml.ops import Code, cast, concat, ravel

WORDS = ["b", "a", "zz", "b", None, "never seen"]
CODES = [1, 0, 2, 1, -1, -1]
NUMBERS = [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]


class Coded:
    """A model of two columns: a word, as its position among the categories, and a number to add; times a factor."""

    n_features_in_ = 2
    categories = np.array(["a", "b", "zz"], object)

    def predict(self, X: Any, factor: float = 1.0, ends: Any = None) -> Any:
        """What is converted."""

    def transform(self, X: Any) -> Any:
        """What is converted, without options."""


@pytest.fixture(autouse=True)
def coded() -> Iterator[None]:
    def convert(model: Coded, x: Frame | Op, *, factor: float = 1.0, ends: tuple[int, int] | None = None) -> Outputs:
        if not isinstance(x, Frame):
            raise InputError("pass a frame")
        code = cast(Code(x.columns[0], model.categories), np.float64)
        number = x.columns[1] if x.columns[1].dtype.kind == "f" else cast(Code(x.columns[1], np.array(NUMBERS)), float)
        sums = (code + number) * factor
        pair = {"predict(both=True).0": ravel(code), "predict(both=True).1": ravel(number)}
        return {
            **pair,
            "predict": ravel(sums if ends is None else sums + float(sum(ends))),
            "transform": concat([code]),
        }

    converter.converter(Coded, frames=True)(convert)
    yield
    converter._REGISTRY.pop(Coded)


def model_of(monkeypatch: pytest.MonkeyPatch, X: Any, executor: str, *, objects: bool = False) -> tensorml.TensorModel:
    known = Description(n_features=2, objects=objects)
    monkeypatch.setattr(sys.modules["tensorml.convert"], "describe", lambda model: known)
    return tensorml.convert(Coded(), X, executor=executor)


FRAMES = {
    "pandas strings": pd.DataFrame({"word": pd.Series(WORDS, dtype="str"), "number": NUMBERS}),
    "pandas objects": pd.DataFrame({"word": pd.Series(WORDS, dtype=object), "number": NUMBERS}),
    "pandas categories": pd.DataFrame(
        {"word": pd.Categorical(WORDS, ["b", "never seen", "zz", "a"]), "number": NUMBERS}
    ),
    "polars strings": pl.DataFrame({"word": WORDS, "number": NUMBERS}),
    "polars categories": pl.DataFrame({"word": pl.Series(WORDS, dtype=pl.Categorical), "number": NUMBERS}),
    "polars enum": pl.DataFrame(
        {"word": pl.Series(WORDS, dtype=pl.Enum(["zz", "a", "b", "never seen"])), "number": NUMBERS}
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_strings_become_codes(executor: str, name: str, monkeypatch: pytest.MonkeyPatch):
    model = model_of(monkeypatch, FRAMES[name], executor)
    np.testing.assert_array_equal(model.predict(FRAMES[name]), np.add(CODES, NUMBERS))
    np.testing.assert_array_equal(model.predict(FRAMES[name][:1]), [1.5])


def test_batches_beyond_a_tile_are_coded_tile_by_tile(monkeypatch: pytest.MonkeyPatch):
    frame = pd.concat([FRAMES["pandas categories"]] * 200, ignore_index=True)
    expected = np.tile(np.add(CODES, NUMBERS), 200)
    for X in (frame, frame.astype({"word": object})):
        known = Description(n_features=2)
        monkeypatch.setattr(sys.modules["tensorml.convert"], "describe", lambda model, known=known: known)
        model = tensorml.convert(Coded(), X, executor="torch", memory=4096)
        np.testing.assert_array_equal(model.predict(X), expected)


@pytest.mark.parametrize("make", [list, lambda rows: np.array(rows, object)], ids=["list", "object array"])
def test_objects_reach_a_model_that_asks_for_them(executor: str, make: Any, monkeypatch: pytest.MonkeyPatch):
    X = make([[word, number] for word, number in zip(WORDS, NUMBERS, strict=True)])
    model = model_of(monkeypatch, X, executor, objects=True)
    np.testing.assert_array_equal(model.predict(X), np.add(CODES, range(6)))


def test_objects_are_refused_by_a_model_that_does_not(monkeypatch: pytest.MonkeyPatch):
    model = model_of(monkeypatch, FRAMES["pandas strings"], "reference")
    with pytest.raises(InputError, match="objects that are not numbers"):
        model.predict(np.array([["a", 1.0]], object))


def test_a_value_that_is_no_category_is_an_input_error(monkeypatch: pytest.MonkeyPatch):
    model = model_of(monkeypatch, FRAMES["pandas strings"], "reference")
    frame = pd.DataFrame({"word": pd.Series([["a"]], dtype=object), "number": [1.0]})
    with pytest.raises(InputError, match="holds a list, which is no category"):
        model.predict(frame)


def test_a_file_keeps_host_operators(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    X = FRAMES["pandas categories"]
    model_of(monkeypatch, X, "torch").save(tmp_path / "m.safetensors")
    loaded = tensorml.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), np.add(CODES, NUMBERS))
    with pytest.raises(InputError, match="calls without options only, not for factor=2"):
        loaded.predict(X, factor=2)


def test_each_value_of_an_option_makes_its_graph(executor: str, monkeypatch: pytest.MonkeyPatch):
    X = FRAMES["pandas strings"]
    model, sums = model_of(monkeypatch, X, executor), np.add(CODES, NUMBERS)
    np.testing.assert_array_equal(model.predict(X, factor=3), sums * 3)
    np.testing.assert_array_equal(model.predict(X, factor=np.float64(1)), sums)
    np.testing.assert_array_equal(model.predict(X, factor=2.0, ends=[3, 4]), sums * 2 + 7)
    np.testing.assert_array_equal(model.predict(X, ends=None), sums)
    with pytest.raises(InputError, match=r"predict\(\) does not take speed=1; it takes both=True, ends, factor"):
        model.predict(X, speed=1)
    with pytest.raises(InputError, match="factor takes numbers, got a dict"):
        model.predict(X, factor={})
    with pytest.raises(InputError, match=r"transform\(\) does not take factor=2; it takes no options"):
        model.transform(X, factor=2)


def test_the_items_of_a_tuple_come_as_a_tuple(executor: str, monkeypatch: pytest.MonkeyPatch):
    X = FRAMES["pandas strings"]
    both = model_of(monkeypatch, X, executor).predict(X, both=True)
    assert type(both) is tuple
    np.testing.assert_array_equal(both[0], CODES)
    np.testing.assert_array_equal(both[1], NUMBERS)


def test_graphs_of_options_do_not_pile_up(monkeypatch: pytest.MonkeyPatch):
    X = FRAMES["pandas strings"]
    model = model_of(monkeypatch, X, "torch")
    for factor in range(40):
        np.testing.assert_array_equal(model.predict(X, factor=factor), np.add(CODES, NUMBERS) * factor)
    assert len(model.programs.graphs) <= 17


@pytest.mark.parametrize(
    ("value", "code"),
    [("a", 0), (1, 1), (1.0, 1), (True, 1), (2.5, 2), (None, -1), (math.nan, -1), (pd.NA, -1), (pd.NaT, -1), ("1", -1)],
)
def test_categories_compare_as_python_values(value: object, code: int):
    column = np.empty((1, 1), object)
    column[0, 0] = value
    op = Code(ops.Input("x", TensorType(("N", 1), object)), np.array(["a", 1, 2.5], object))
    assert op.reference(column).tolist() == [[code]]


def test_numbers_are_coded_once_for_each_distinct_value():
    op = Code(ops.Input("x", TensorType(("N", 1), np.dtype(np.int64))), np.array([5, 7]))
    np.testing.assert_array_equal(op.reference(np.array([[7], [5], [7], [6]])), [[1], [0], [1], [-1]])
