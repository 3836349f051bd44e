from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from scipy.sparse import csr_matrix
from sklearn.neural_network import BernoulliRBM
from sklearn.preprocessing import StandardScaler

import tensorml
from tensorml.converter import Description
from tensorml.errors import MismatchError
from tensorml.executors.reference import ReferenceExecutor
from tensorml.frames import Schema
from tensorml.graph import Graph, Input, Op, TensorType
from tensorml.model import Source, TensorModel
from tensorml.ops import ArgMax, Finite, Label, Sparse, cast
from tensorml.programs import GraphPrograms
from tensorml.verify import Comparison, Report, verify

FLOAT64 = np.dtype(np.float64)
X = np.array([[1.0, 2.0], [3.0, 1.0], [0.5, 0.25]])


def model(outputs: Callable[[Op], dict[str, Op]], dtype: np.dtype = FLOAT64) -> TensorModel:
    """A converted model of two columns with these outputs, on the reference executor."""
    schema = Schema((np.dtype(dtype),) * 2)
    graph = Graph(outputs(Input("x", TensorType(("N", 2), np.dtype(dtype)))))
    programs = GraphPrograms({schema: graph}, ReferenceExecutor())
    return TensorModel(programs, schema, Description(2), Source("test.Source", "test", "0"))


def source(**methods: Any) -> Any:
    """A source whose methods return these functions of x."""
    return SimpleNamespace(**methods)


def only(report: Report) -> Comparison:
    (comparison,) = report.comparisons
    return comparison


def test_equal_results_are_reported_as_equal() -> None:
    report = verify(source(transform=lambda x: x * 2), model(lambda x: {"transform": x * 2.0}), X)
    assert report.ok
    assert only(report) == Comparison("transform", "equal", 3, "float64[3, 2]")
    report.raise_for_mismatch()


def test_a_method_that_is_refused_by_name_is_not_compared() -> None:
    machine = BernoulliRBM(2, n_iter=1, random_state=0).fit(X / 3)
    report = verify(machine, tensorml.convert(machine, executor="reference"), X / 3)
    assert report.ok
    (refused,) = (c for c in report.comparisons if c.method == "score_samples")
    assert refused.status == "not compared"
    assert "score_samples: it draws random numbers. Call it on the source model" in str(report)


def test_a_converted_model_of_the_library_agrees() -> None:
    scaler = StandardScaler().fit(X)
    report = verify(scaler, tensorml.convert(scaler, executor="reference"), X)
    assert {comparison.method: comparison.status for comparison in report.comparisons}["transform"] == "equal"


def test_the_first_row_that_differs_is_reported_with_both_values() -> None:
    def off(x: np.ndarray) -> np.ndarray:
        y = x * 2
        y[1:, 1] += 0.5
        return y

    report = verify(source(transform=off), model(lambda x: {"transform": x * 2.0}), X)
    found = only(report)
    assert (found.status, found.row, found.column, found.differing) == ("DIFFERS", 1, (1,), 2)
    assert (found.expected, found.actual) == (2.5, 2.0)
    assert (found.absolute, found.relative) == (0.5, 0.5)
    assert "2 of 3 rows differ; first in row 1, column 1: the source returns 2.5, the converted model 2.0" in str(
        report
    )
    with pytest.raises(MismatchError, match="does not return what its source returns"):
        report.raise_for_mismatch()


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-9), (np.float16, 1e-2)])
def test_floats_may_differ_by_the_rounding_of_their_dtype(dtype: type, rtol: float) -> None:
    x = np.array([[1.0, 1.0], [2.0, 4.0]], dtype)
    converted = model(lambda x: {"transform": x * np.ones(2, x.dtype)}, np.dtype(dtype))
    near = only(verify(source(transform=lambda x: (x * (1 + rtol)).astype(dtype)), converted, x))
    assert near.status == "within rounding"
    assert 0 < near.relative < 2 * rtol
    far = only(verify(source(transform=lambda x: (x * (1 + 5 * rtol)).astype(dtype)), converted, x))
    assert far.status == "DIFFERS"


def test_a_small_number_may_be_off_by_the_rounding_of_its_column_and_of_no_other() -> None:
    x = np.array([[1e-12, 1e-12], [1e6, 1.0]])
    off = np.array([[1e-6, 1e-6], [0.0, 0.0]])
    found = only(verify(source(transform=lambda x: x + off), model(lambda x: {"transform": x + 0.0}), x))
    assert (found.row, found.column) == (0, (1,))


def test_tolerances_can_be_given() -> None:
    converted = model(lambda x: {"transform": x + 0.0})
    off = source(transform=lambda x: x + 1e-3)
    assert verify(off, converted, X, atol=1e-2).ok
    assert not verify(off, converted, X, rtol=1e-6, atol=0.0).ok
    assert not verify(source(transform=lambda x: x * (1 + 1e-12)), converted, X, rtol=0.0, atol=0.0).ok


def test_leaves_must_be_equal_whatever_the_tolerance() -> None:
    converted = model(lambda x: {"apply": cast(x, FLOAT64)})
    found = only(verify(source(apply=lambda x: x + 1e-12), converted, X, atol=1.0))
    assert found.status == "DIFFERS"


def test_labels_must_be_equal_even_if_they_are_floats() -> None:
    converted = model(lambda x: {"predict": Label(ArgMax(x), np.array([1.0, 2.0]))})
    classifier = source(predict=lambda x: np.array([2.0, 1.0, 1.0 + 1e-12]), classes_=np.array([1.0, 2.0]))
    found = only(verify(classifier, converted, X))
    assert (found.status, found.row) == ("DIFFERS", 2)


def test_strings_are_compared() -> None:
    converted = model(lambda x: {"predict": Label(ArgMax(x), np.array(["a", "b"], object))})
    right = source(predict=lambda x: np.array(["b", "a", "a"], object), classes_=["a", "b"])
    wrong = source(predict=lambda x: np.array(["b", "a", "b"], object), classes_=["a", "b"])
    assert verify(right, converted, X).ok
    found = only(verify(wrong, converted, X))
    assert (found.row, found.expected, found.actual) == (2, "b", "a")


def test_nan_equals_nan_and_nothing_else() -> None:
    x = np.array([[np.nan, 1.0], [np.nan, np.inf]])
    converted = model(lambda x: {"transform": x * 1.0})
    assert verify(source(transform=lambda x: x * 1.0), converted, x).ok
    found = only(verify(source(transform=np.nan_to_num), converted, x))
    assert (found.status, found.row, found.column) == ("DIFFERS", 0, (0,))


def test_an_infinity_on_one_side_differs() -> None:
    converted = model(lambda x: {"transform": x / np.zeros(2)})
    with np.errstate(all="ignore"):
        found = only(verify(source(transform=lambda x: x * 1e300), converted, X))
    assert (found.status, found.absolute) == ("DIFFERS", np.inf)


def test_dtype_shape_and_container_must_be_the_same() -> None:
    converted = model(lambda x: {"transform": x * 2.0})
    for wrong, reason in (
        (lambda x: (x * 2).astype(np.float32), "source float32[3, 2], converted float64[3, 2]"),
        (lambda x: (x * 2)[:, :1], "source float64[3, 1], converted float64[3, 2]"),
        (lambda x: csr_matrix(x * 2), "scipy.sparse.csr_matrix and numpy.ndarray"),
        (lambda x: (x * 2).tolist(), "list and numpy.ndarray"),
    ):
        report = verify(source(transform=wrong), converted, X)
        assert not report.ok
        assert reason in str(report)


def test_sparse_results_are_compared_by_value() -> None:
    converted = model(lambda x: {"transform": Sparse(x * 2.0)})
    assert verify(source(transform=lambda x: csr_matrix(x * 2)), converted, X).ok
    assert only(verify(source(transform=lambda x: csr_matrix(x * 3)), converted, X)).row == 0


def test_lists_are_compared_item_by_item() -> None:
    converted = model(lambda x: {"predict_proba[0]": x * 1.0, "predict_proba[1]": x * 2.0})
    report = verify(source(predict_proba=lambda x: [x, x * 2 + 1]), converted, X)
    assert [(c.method, c.status) for c in report.comparisons] == [
        ("predict_proba[0]", "equal"),
        ("predict_proba[1]", "DIFFERS"),
    ]
    short = only(verify(source(predict_proba=lambda x: [x]), converted, X))
    assert short.reason == "lists of 1 and 2 items"


def test_variants_of_a_method_are_compared_too() -> None:
    converted = model(lambda x: {"predict": x * 2.0, "predict(output_margin=True)": x * 2.0})
    report = verify(source(predict=lambda x, output_margin=False: x * (3 if output_margin else 2)), converted, X)
    assert [(c.method, c.status) for c in report.comparisons] == [
        ("predict", "equal"),
        ("predict(output_margin=True)", "DIFFERS"),
    ]


def test_a_method_that_one_side_lacks_is_reported() -> None:
    converted = model(lambda x: {"predict": x * 2.0})
    report = verify(source(predict=lambda x: x * 2, decision_function=lambda x: x), converted, X)
    assert not report.ok
    assert "decision_function: the converted model has no decision_function()" in str(report)
    report = verify(source(transform=lambda x: x), converted, X)
    assert "predict: the source has no predict()" in str(report)


def test_an_input_that_both_refuse_is_no_difference_and_no_proof() -> None:
    scaler = source(transform=lambda x: StandardScaler().fit(x).transform(x), predict=lambda x: x * 1.0)
    converted = model(lambda x: {"transform": Finite(x, False, "test"), "predict": x * 1.0})
    report = verify(scaler, converted, np.full((2, 2), np.inf))
    assert {c.method: c.status for c in report.comparisons} == {"transform": "both refuse", "predict": "equal"}
    assert report.ok
    nothing = verify(
        source(transform=scaler.transform), model(lambda x: {"transform": Finite(x, False, "t")}), X * np.inf
    )
    assert not nothing.ok
    assert "NOT compared, no call returned a result" in str(nothing)


def test_an_input_that_one_side_refuses_is_reported() -> None:
    converted = model(lambda x: {"transform": Finite(x, False, "test.Source")})
    report = verify(source(transform=lambda x: x), converted, X * np.nan)
    assert "only the converted model refuses: Input X contains NaN" in str(report)

    def refuse(x: np.ndarray) -> np.ndarray:
        raise ValueError("not today\nbut tomorrow")

    report = verify(source(transform=refuse), converted, X)
    assert "only the source refuses: not today\n" in str(report) + "\n"


def test_inverse_transform_is_compared_on_what_the_source_transforms_to() -> None:
    scaler = StandardScaler().fit(X)
    report = verify(scaler, tensorml.convert(scaler, executor="reference"), X)
    assert "inverse_transform" in {comparison.method for comparison in report.comparisons}


def test_data_frames_are_compared_with_their_column_names() -> None:
    frame = pd.DataFrame(X, columns=["a", "b"])
    converted = SimpleNamespace(
        methods=("transform",), outputs=("transform",), executor=ReferenceExecutor(), transform=lambda x: frame * 2
    )
    assert verify(source(transform=lambda x: frame * 2), converted, X).ok  # pyright: ignore[reportArgumentType]
    other = source(transform=lambda x: (frame * 2).rename(columns={"b": "c"}))
    assert "the columns have other names" in str(verify(other, converted, X))  # pyright: ignore[reportArgumentType]
    other = source(transform=lambda x: (frame * 2).astype({"b": np.float32}))
    assert "the columns have other dtypes" in str(verify(other, converted, X))  # pyright: ignore[reportArgumentType]


def test_tensors_are_given_to_the_source_as_arrays() -> None:
    scaler = StandardScaler().fit(X)
    report = verify(scaler, tensorml.convert(scaler, executor="torch"), torch.from_numpy(X))
    assert {comparison.method: comparison.status for comparison in report.comparisons}["transform"] == "equal"


def test_no_rows_are_compared_without_error() -> None:
    converted = SimpleNamespace(
        methods=("transform",), outputs=("transform",), executor=ReferenceExecutor(), transform=lambda x: x * 2.0
    )
    empty = verify(source(transform=lambda x: x * 2), converted, X[:0])  # pyright: ignore[reportArgumentType]
    assert only(empty).rows == 0
    assert empty.ok


def test_the_report_shows_in_rich() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(verify(source(transform=lambda x: x * 3), model(lambda x: {"transform": x * 2.0}), X))
    shown = console.export_text()
    assert "DIFFERS" in shown
    assert "transform: 3 of 3 rows differ" in shown
