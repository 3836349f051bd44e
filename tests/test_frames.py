"""Every kind of table that a source takes, given to the source and to its converted model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import tensorml
from tensorml.errors import InputError
from tensorml.frames import Frame, Schema
from tensorml.inputs import read
from tests.parity import assert_equal_outputs

pytestmark = [
    pytest.mark.filterwarnings("ignore:scipy.optimize.*L-BFGS-B:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*(torch.jit|TorchScript):DeprecationWarning"),
]

rng = np.random.default_rng(0)
X = rng.normal(size=(20, 3))
SCALER = StandardScaler().fit(X)
NAMED = StandardScaler().fit(pd.DataFrame(X, columns=["a", "b", "c"]))


def mixed(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns, index=range(100, 103))


STRIDED = np.zeros((40, 9))
STRIDED[::2, ::3] = X
READ_ONLY = X.copy()
READ_ONLY.flags.writeable = False

TABLES = {
    "C order": X,
    "Fortran order": np.asfortranarray(X),
    "every second row, every third column": STRIDED[::2, ::3],
    "negative strides": X[::-1, ::-1],
    "read-only": READ_ONLY,
    "big endian": X.astype(">f8"),
    "big endian integers": (X * 9).astype(">i4"),
    "a row repeated by a stride of 0": np.broadcast_to(X[0], (5, 3)),
    "unaligned": np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float64).reshape(X.shape),
    "objects": X.astype(object),
    "objects with None": np.array([[1.0, None, 2], [3, 4.5, True]], dtype=object),
    "float32": X.astype(np.float32),
    "float16": X.astype(np.float16),
    "uint8": (X * 9).astype(np.int64).astype(np.uint8),
    "bool": X > 0,
    "a list": X.tolist(),
    "a list of integers": [[1, 2, 3], [4, 5, 6]],
    "a list of bools": [[True, False, True]],
    "a list of tuples": [tuple(row) for row in X.tolist()],
    "a list of float32 rows": list(X.astype(np.float32)),
    "a list with None": [[1.0, None, 2.0]],
    "one row": X[:1],
    "pandas float64": pd.DataFrame(X, columns=["a", "b", "c"]),
    "pandas float32": pd.DataFrame(X.astype(np.float32), columns=["a", "b", "c"]),
    "pandas integer labels": pd.DataFrame(X),
    "pandas int, float32, float64": mixed(a=[1, 2, 3], b=np.float32([1, 2, 0.1]), c=[0.1, 0.2, 0.3]),
    "pandas int8 and float32": mixed(a=np.int8([1, 2, 3]), b=np.float32([1, 2, 0.1]), c=np.float32([0.1, 0.2, 3])),
    "pandas bool and float32": mixed(a=[True, False, True], b=np.float32([1, 2, 0.1]), c=np.float32([1, 2, 3])),
    "pandas nullable": mixed(
        a=pd.array([1, None, 3], dtype="Int64"),
        b=pd.array([0.1, None, 0.3], dtype="Float64"),
        c=pd.array([True, None, False], dtype="boolean"),
    ),
    "pandas nullable without NA": mixed(
        a=pd.array([1, 2, 3], dtype="Int32"), b=pd.array([1, 2, 3], dtype="UInt8"), c=pd.array([1, 2, 3], dtype="Int8")
    ),
    "pandas Float32": mixed(**{name: pd.array([0.1, 0.2, 0.3], dtype="Float32") for name in "abc"}),
    "pandas Float32 beside float32": mixed(
        a=np.float32([0.1, 0.2, 3]), b=pd.array([0.1, 0.2, 0.3], dtype="Float32"), c=np.float32([1, 2, 3])
    ),
    "polars Float64": pl.DataFrame(X, schema=["a", "b", "c"]),
    "polars Float32": pl.DataFrame(X.astype(np.float32), schema=["a", "b", "c"]),
    "polars mixed": pl.DataFrame({"a": [1, None, 3], "b": np.float32([0.1, 0.2, 0.3]), "c": [True, False, None]}),
    "polars Int8 with null": pl.DataFrame({n: [1, None, 3] for n in "abc"}, schema=dict.fromkeys("abc", pl.Int8)),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_table_that_sklearn_reads_gives_what_sklearn_gives(executor: str, table: Any) -> None:
    for source in (SCALER, NAMED):
        if source is NAMED and isinstance(table, pd.DataFrame) and list(table.columns) != ["a", "b", "c"]:
            continue
        assert_equal_outputs(
            tensorml.convert(source, executor=executor).transform(table), source.transform(table), "transform"
        )


@pytest.mark.parametrize(
    "name", ["float32", "a list of float32 rows", "pandas float32", "pandas Float32", "polars Float32"]
)
def test_a_model_that_takes_any_dtype_computes_in_the_one_of_the_table(name: str) -> None:
    source = LinearRegression().fit(X.astype(np.float32), X[:, 0].astype(np.float32))
    expected = source.predict(TABLES[name])
    actual = tensorml.convert(source, executor="reference").predict(TABLES[name])
    assert_equal_outputs(actual, expected, "predict", rtol=1e-6)


def test_the_callers_array_is_not_written_to(executor: str) -> None:
    table = np.array([[np.nan, 1.0, -0.0]])
    before = table.tobytes()
    tensorml.convert(SCALER, executor=executor).transform(table)
    assert table.tobytes() == before


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.int64, torch.int8, torch.bool])
def test_a_tensor_gives_a_tensor(executor: str, dtype: torch.dtype) -> None:
    tensor = torch.from_numpy(X * 3).to(dtype)
    result = tensorml.convert(SCALER, executor=executor).transform(tensor)
    assert isinstance(result, torch.Tensor)
    assert result.device == tensor.device
    assert_equal_outputs(result.numpy(), SCALER.transform(tensor.numpy()), "transform")


def test_a_tensor_that_requires_a_gradient_is_read(executor: str) -> None:
    tensor = torch.from_numpy(X.copy()).requires_grad_()
    assert not tensorml.convert(SCALER, executor=executor).transform(tensor).requires_grad


def test_labels_that_are_strings_come_as_an_array_for_a_tensor(executor: str) -> None:
    source = LogisticRegression().fit(X, np.where(X[:, 0] > 0, "yes", "no"))
    actual = tensorml.convert(source, executor=executor).predict(torch.from_numpy(X))
    assert_equal_outputs(actual, source.predict(X), "predict")


@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csc_matrix, sp.coo_array, sp.csr_array])
def test_predictors_take_sparse_matrices(executor: str, make: Any) -> None:
    dense = np.where(X > 0, X, 0.0)
    source = LogisticRegression().fit(dense, X[:, 0] > 0)
    model = tensorml.convert(source, executor=executor)
    assert_equal_outputs(model.predict(make(dense)), source.predict(make(dense)), "predict")
    assert_equal_outputs(
        model.predict_proba(make(dense)), source.predict_proba(make(dense)), "predict_proba", rtol=1e-12
    )


def test_entries_that_a_sparse_matrix_holds_twice_are_added() -> None:
    twice = sp.csr_matrix((np.array([1.0, 2.0, 5.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 2))
    for absent in (0.0, np.nan):
        dense = read(twice, absent).arrays["x"][0:2]
        np.testing.assert_array_equal(dense, [[absent, 3.0], [5.0, absent]])
    assert twice.nnz == 3


REFUSED = {
    "one dimension": (X[0], "Expected 2D array, got 1D array instead"),
    "a Series": (pd.Series(X[0]), "Expected 2D array, got 1D array instead"),
    "a scalar": (3.0, "Expected 2D array, got 0D array instead"),
    "three dimensions": (X[None], "Expected 2D array, got 3D array instead"),
    "an empty list": ([], "Expected 2D array, got 1D array instead"),
    "complex": (X.astype(complex), "Complex data not supported"),
    "a complex column": (mixed(a=[1j, 2, 3], b=[1, 2, 3], c=[1, 2, 3]), "Complex data not supported"),
    "strings": (np.array([["1", "2", "3"]]), "dtype <U1 does not hold numbers"),
    "objects that are strings": (np.array([["a", 1, 2]], dtype=object), "objects that are not numbers"),
    "dates": (np.zeros((2, 3), "M8[s]"), r"dtype datetime64\[s\] does not hold numbers"),
    "long doubles": (X.astype(np.longdouble), "does not hold numbers of at most 64 bits"),
    "a ragged list": ([[1.0, 2.0, 3.0], [1.0]], "rows of different lengths"),
    "np.matrix": (sp.csr_matrix(X).todense(), "np.matrix is not supported"),
    "too wide": (X[:, [0, 1, 2, 0]], "X has 4 features, but StandardScaler is expecting 3 features as input"),
    "too narrow": (X[:, :2], "X has 2 features, but StandardScaler is expecting 3 features as input"),
    "no columns": (X[:, :0], "X has 0 features, but StandardScaler is expecting 3 features as input"),
    "no rows": (X[:0], r"Found array with 0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1 is required"),
    "a string column": (mixed(a=["x", "y", "z"], b=[1, 2, 3], c=[1, 2, 3]), "column 0 does not hold numbers"),
    "a category": (mixed(a=pd.Categorical([1, 2, 3]), b=[1, 2, 3], c=[1, 2, 3]), "column 0 does not hold numbers"),
    "only strings": (mixed(a=["x"] * 3, b=["x"] * 3, c=["x"] * 3), "column 0 does not hold numbers"),
    "labels of two kinds": (
        pd.DataFrame(X, columns=["a", 1, 2]),
        "only supported if all input features have string names",
    ),
    "integers beyond float64": (
        mixed(a=pd.array([2**53 + 1] * 3, dtype="Int64"), b=[1, 2, 3], c=[1, 2, 3]),
        r"column 'a' holds integers of 2\*\*53 and more",
    ),
    "a bfloat16 tensor": (torch.zeros(2, 3, dtype=torch.bfloat16), "got bfloat16 of 2 dimensions"),
    "a complex tensor": (torch.zeros(2, 3, dtype=torch.complex64), "got complex64 of 2 dimensions"),
    "a tensor of one dimension": (torch.zeros(3), "got float32 of 1 dimensions"),
    "a sparse matrix": (sp.csr_matrix(X), r"transform\(\) of a sparse matrix is not supported. Pass X.toarray\(\)"),
    "a complex sparse matrix": (sp.csr_matrix(X.astype(complex)), "sparse matrix of complex128"),
    "polars strings": (pl.DataFrame({"a": ["x"], "b": [1], "c": [1]}), "column 0 does not hold numbers"),
}


@pytest.mark.parametrize(("table", "words"), REFUSED.values(), ids=REFUSED)
def test_what_holds_no_table_of_numbers_is_refused(table: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        tensorml.convert(SCALER, executor="reference").transform(table)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "columns",
    [["b", "a", "c"], ["a", "b", "x"], ["a", "b"], ["a", "b", "c", "d"], list("opqrstuv")],
    ids=["another order", "one renamed", "one missing", "one more", "many others"],
)
def test_other_column_names_are_refused_in_sklearns_words(columns: list[str]) -> None:
    frame = pd.DataFrame(np.ones((2, len(columns))), columns=columns)
    with pytest.raises(ValueError, match="feature names should match") as expected:
        NAMED.transform(frame)
    for table in (frame, pl.from_pandas(frame)):
        with pytest.raises(InputError) as actual:
            tensorml.convert(NAMED, executor="reference").transform(table)
        assert str(actual.value) == str(expected.value)


def test_wrong_widths_are_refused_in_sklearns_words() -> None:
    with pytest.raises(ValueError, match="X has 2 features") as expected:
        SCALER.transform(X[:, :2])
    with pytest.raises(InputError) as actual:
        tensorml.convert(SCALER, executor="reference").transform(X[:, :2])
    assert str(actual.value) == str(expected.value)


FRAMES = {
    "pandas": pd.DataFrame(X, columns=["a", "b", "c"], index=[f"row {i}" for i in range(20)]),
    "polars": pl.DataFrame(X, schema=["a", "b", "c"]),
    "an array": X,
}


@pytest.mark.parametrize("container", ["pandas", "polars"])
@pytest.mark.parametrize("table", FRAMES.values(), ids=FRAMES)
def test_set_output_gives_the_frame_that_the_source_gives(executor: str, table: Any, container: str) -> None:
    source = MinMaxScaler().fit(FRAMES["pandas"]).set_output(transform=container)
    expected = source.transform(table)
    actual = tensorml.convert(source, executor=executor).transform(table)
    assert type(actual) is type(expected)
    if container == "pandas":
        pd.testing.assert_frame_equal(actual, expected, check_exact=True)
    else:
        assert actual.equals(expected)
        assert actual.schema == expected.schema


def test_set_output_gives_a_frame_for_a_tensor(executor: str) -> None:
    source = MinMaxScaler().fit(X).set_output(transform="pandas")
    actual = tensorml.convert(source, executor=executor).transform(torch.from_numpy(X))
    pd.testing.assert_frame_equal(actual, source.transform(X), check_exact=True)


def test_the_way_back_from_a_frame_is_an_array(executor: str) -> None:
    source = MinMaxScaler().fit(FRAMES["pandas"]).set_output(transform="pandas")
    frame = source.transform(FRAMES["pandas"]).astype({"a": np.float32})
    actual = tensorml.convert(source, executor=executor).inverse_transform(frame)
    assert_equal_outputs(actual, source.inverse_transform(frame), "inverse_transform")


def test_the_names_of_the_result_are_the_sources() -> None:
    for source in (SCALER, NAMED):
        model = tensorml.convert(source, executor="reference")
        actual, expected = model.get_feature_names_out(), source.get_feature_names_out()
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(tensorml.convert(NAMED).get_feature_names_out(["a", "b", "c"]), ["a", "b", "c"])
    with pytest.raises(InputError, match="input_features is not equal to feature_names_in_"):
        tensorml.convert(NAMED).get_feature_names_out(["x", "y", "z"])


def test_a_model_without_names_of_a_result_has_no_method_for_them() -> None:
    model = tensorml.convert(LinearRegression().fit(X, X[:, 0]), executor="reference")
    assert not hasattr(model, "get_feature_names_out")


def test_fitted_facts_are_shown() -> None:
    model = tensorml.convert(NAMED, executor="reference")
    assert model.n_features_in_ == 3
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    assert not hasattr(tensorml.convert(SCALER, executor="reference"), "feature_names_in_")


def test_one_graph_serves_arrays_and_frames_that_are_read_alike() -> None:
    model = tensorml.convert(NAMED, executor="reference")
    for name in ("C order", "pandas float64", "a list", "polars Float64"):
        model.transform(TABLES[name])
    assert len(model.programs.graphs) == 1
    model.transform(TABLES["polars Float32"])
    model.transform(TABLES["float32"])
    assert len(model.programs.graphs) == 3


def test_a_frame_finds_its_columns_by_name() -> None:
    frame = Schema((np.dtype(float),) * 2, ("a", "b")).inputs()
    assert isinstance(frame, Frame)
    assert frame.position("b") == 1
    with pytest.raises(InputError, match=r"columns are missing: 'z'. The DataFrame has 'a', 'b'."):
        frame.position("z")
    twice = Schema((np.dtype(float),) * 2, ("a", "a")).inputs()
    assert isinstance(twice, Frame)
    with pytest.raises(InputError, match="the DataFrame has 2 columns of the name 'a'"):
        twice.position("a")
