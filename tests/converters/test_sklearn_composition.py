"""Models made of models: the source's result, whatever the steps hand on, or a refusal that names the step."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier

import tensorml
from tensorml.converter import Outputs, converter
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tensorml.graph import Op
from tensorml.ops import Sparse
from tensorml_sklearn.describe import VERSION
from tests.parity import assert_equal_outputs, assert_same

pytestmark = [
    pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*(torch.jit|TorchScript):DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:scipy.optimize.*L-BFGS-B:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:When `set_output` is configured:UserWarning"),
]

READS_POLARS = pytest.mark.skipif(
    VERSION < (1, 9), reason="scikit-learn before 1.9 does not read frames of current polars by name"
)
rng = np.random.default_rng(0)
X = rng.normal(size=(30, 4))
Y = np.where(X[:, 0] + X[:, 1] > 0, "yes", "no")
FRAME = pd.DataFrame(X, columns=list("abcd"), index=[f"row {i}" for i in range(30)])
MIXED = FRAME.assign(
    i=rng.integers(-9, 9, 30),
    f=rng.normal(size=30).astype(np.float32),
    g=rng.normal(size=30).astype(np.float32),
    flag=rng.random(30) > 0.5,
    text="x",
    kind=pd.Categorical(["u", "v"] * 15),
)


class Sparsely(TransformerMixin, BaseEstimator):
    """The input as a sparse matrix; and what a union or a column transformer makes of one."""

    def fit(self, X: Any, y: Any = None) -> Sparsely:
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X: Any) -> Any:
        return sp.csr_matrix(np.asarray(X))


class NamedSparsely(Sparsely):
    """The same, with names."""

    def get_feature_names_out(self, names: Any = None) -> Any:
        return np.array([f"x{i}" for i in range(self.n_features_in_)] if names is None else names, dtype=object)


class Opaque(Sparsely):
    """A transformer that has no converter."""


@converter(Sparsely, NamedSparsely)
def sparsely(model: Sparsely, x: Op) -> Outputs:
    return {"transform": Sparse(x)}


def frames_equal(actual: Any, expected: Any) -> None:
    """Same container, names, row labels, dtype of each column and values."""
    assert type(actual) is type(expected)
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(actual, expected, check_exact=True)
    else:
        assert actual.schema == expected.schema
        assert actual.equals(expected)


def same_frame(source: Any, table: Any, executor: str = "reference") -> None:
    frames_equal(tensorml.convert(source, executor=executor).transform(table), source.transform(table))


def same_transform(source: Any, table: Any, executor: str = "reference") -> Any:
    model = tensorml.convert(source, executor=executor)
    assert_equal_outputs(model.transform(table), source.transform(table), "transform")
    return model


# Pipeline

TRANSFORMERS = {
    "two steps": [("a", StandardScaler()), ("b", MinMaxScaler())],
    "passthrough first": [("p", "passthrough"), ("a", StandardScaler())],
    "None first": [("p", None), ("a", StandardScaler())],
    "passthrough between": [("a", StandardScaler()), ("p", "passthrough"), ("b", MinMaxScaler())],
    "passthrough last": [("a", StandardScaler()), ("p", "passthrough")],
    "None last": [("a", StandardScaler()), ("p", None)],
    "the identity as a FunctionTransformer": [("a", StandardScaler()), ("p", FunctionTransformer())],
    "an inner pipeline": [("in", make_pipeline(None, StandardScaler(), "passthrough")), ("b", MinMaxScaler())],
    "one step": [("a", StandardScaler())],
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.bool_])
@pytest.mark.parametrize("steps", TRANSFORMERS.values(), ids=TRANSFORMERS)
def test_a_pipeline_of_transformers_goes_there_and_back(executor: str, steps: list[Any], dtype: Any) -> None:
    source = Pipeline(steps).fit(X)
    assert_same(source, (X * 3).astype(dtype), executor)


@pytest.mark.parametrize(
    "steps",
    [
        [("s", StandardScaler()), ("t", DecisionTreeClassifier(max_depth=3))],
        [("p", "passthrough"), ("t", DecisionTreeClassifier(max_depth=3))],
        [("in", make_pipeline(StandardScaler(), MinMaxScaler())), ("p", None), ("t", DecisionTreeClassifier())],
        [("s", StandardScaler()), ("in", make_pipeline("passthrough", DecisionTreeClassifier()))],
        [("t", DecisionTreeClassifier(max_depth=3))],
    ],
    ids=["scaled", "passthrough first", "inner transformers", "inner predictor", "one step"],
)
def test_a_pipeline_has_the_methods_of_its_predictor(executor: str, steps: list[Any]) -> None:
    source = Pipeline(steps).fit(X, Y)
    model = tensorml.convert(source, executor=executor)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        with np.errstate(divide="ignore"):
            assert_equal_outputs(getattr(model, method)(X), getattr(source, method)(X), method)
    assert not hasattr(model, "transform")
    assert not hasattr(model, "apply"), "a pipeline does not hand on the methods that scikit-learn's does not have"
    np.testing.assert_array_equal(model.classes_, source.classes_)


def test_a_pipeline_without_classes_has_none() -> None:
    model = tensorml.convert(make_pipeline(StandardScaler(), LinearRegression()).fit(X, X[:, 0]), executor="reference")
    assert not hasattr(model, "classes_")
    assert not hasattr(model, "inverse_transform")


def test_a_pipeline_of_passthroughs_alone_needs_rows_to_learn_its_width() -> None:
    source = Pipeline([("p", "passthrough"), ("q", None)]).fit(X)
    with pytest.raises(UnsupportedModelError, match=r"does not know its number of features"):
        tensorml.convert(source, executor="reference")
    model = tensorml.convert(source, X, executor="reference")
    assert_equal_outputs(model.transform(X), source.transform(X), "transform")
    frames_equal(model.transform(FRAME), source.transform(FRAME))
    with pytest.raises(InputError, match=r"Python objects pass through unchanged"):
        model.transform(X.tolist())
    with pytest.raises(InputError, match=r"a DataFrame passes through unchanged, of which some columns are nullable"):
        model.transform(FRAME.astype("Float64"))


def test_metadata_that_fit_transforms_does_not_matter_to_the_result() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        source = Pipeline([("s", StandardScaler()), ("t", LinearRegression())], transform_input=["X_val"])
        source.fit(X, X[:, 0])
        assert_same(source, X, rtol=1e-12)


def test_messages_about_the_input_name_the_step_that_reads_it() -> None:
    source = make_pipeline("passthrough", StandardScaler(), LogisticRegression()).fit(FRAME, Y)
    model = tensorml.convert(source, executor="reference")
    for table in (X[:, :3], FRAME[list("abdc")], FRAME[list("abc")], FRAME.rename(columns={"a": "z"})):
        with pytest.raises(ValueError, match=r"X has 3 features|feature names should match") as expected:
            source.predict(table)
        with pytest.raises(InputError) as actual:
            model.predict(table)
        assert str(actual.value) == str(expected.value)


def test_no_rows_are_refused_by_the_step_that_reads_them() -> None:
    model = tensorml.convert(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y), executor="reference")
    with pytest.raises(InputError, match=r"0 sample.* while a minimum of 1 is required by StandardScaler"):
        model.predict(X[:0])


def test_sparse_input_reaches_a_predictor_alone() -> None:
    sparse = sp.csr_matrix(np.where(X > 0, X, 0))
    alone = Pipeline([("p", None), ("t", LogisticRegression())]).fit(X, Y)
    model = tensorml.convert(alone, executor="reference")
    assert_equal_outputs(model.predict(sparse), alone.predict(sparse), "predict")
    scaled = tensorml.convert(make_pipeline(MaxAbsScaler(), LogisticRegression()).fit(X, Y), executor="reference")
    with pytest.raises(InputError, match=r"predict\(\) of a sparse matrix is not supported. Pass X.toarray\(\)."):
        scaled.predict(sparse)


def test_a_step_that_treats_sparse_rows_otherwise_is_refused() -> None:
    source = make_pipeline(Sparsely(), MaxAbsScaler()).fit(X)
    with pytest.raises(
        UnsupportedModelError,
        match=r"^Pipeline step 'maxabsscaler', sklearn.preprocessing.MaxAbsScaler: it gets a sparse matrix, which it "
        r"transforms in another way than dense rows. Make the step before it dense \(sparse_output=False",
    ):
        tensorml.convert(source, executor="reference")


def test_sparse_rows_pass_through_to_the_result_or_a_predictor(executor: str) -> None:
    for source in (
        make_pipeline(Sparsely(), "passthrough").fit(X),
        make_pipeline(Sparsely(), FunctionTransformer()).fit(X),
        make_pipeline(Sparsely(), make_pipeline(FunctionTransformer(), None)).fit(X),
    ):
        same_transform(source, X, executor)
    source = make_pipeline(Sparsely(), DecisionTreeClassifier()).fit(X, Y)
    assert_equal_outputs(tensorml.convert(source, executor=executor).predict(X), source.predict(X), "predict")


def test_refusals_name_the_whole_path() -> None:
    columns = ColumnTransformer([("num", FeatureUnion([("scaled", Pipeline([("odd", Opaque())]))]), [0, 1])])
    source = Pipeline([("clf", columns), ("t", LogisticRegression())])
    source = GridSearchCV(source, {"t__C": [1.0]}, cv=2).fit(X, Y)
    with pytest.raises(UnsupportedModelError) as caught:
        tensorml.convert(source, executor="reference")
    path = "GridSearchCV best_estimator_ > Pipeline step 'clf' > ColumnTransformer 'num' > FeatureUnion 'scaled'"
    assert str(caught.value).startswith(
        f"{path} > Pipeline step 'odd', {Opaque.__module__}.Opaque: it is a subclass of"
    )


def test_check_finds_the_steps_under_the_names_that_refusals_use() -> None:
    columns = ColumnTransformer([("num", StandardScaler(), [0]), ("p", "passthrough", [1]), ("d", "drop", [2])])
    union = FeatureUnion([("a", StandardScaler()), ("p", "passthrough"), ("d", "drop")])
    source = Pipeline([("c", columns), ("u", union), ("n", None), ("o", Opaque())]).fit(X)
    report = tensorml.check(source, executor="reference")
    assert [step.path[-1] for step in report.steps[1:]] == [
        "Pipeline step 'c'",
        "ColumnTransformer 'num'",
        "Pipeline step 'u'",
        "FeatureUnion 'a'",
        "Pipeline step 'o'",
    ]
    assert [step.ok for step in report.steps] == [False, True, True, True, True, False]


def test_a_pipeline_that_is_not_fitted_is_refused() -> None:
    for source in (
        make_pipeline(StandardScaler(), LogisticRegression()),
        FeatureUnion([("a", StandardScaler())]),
        ColumnTransformer([("a", StandardScaler(), [0])]),
        GridSearchCV(LogisticRegression(), {"C": [1]}),
    ):
        with pytest.raises(NotFittedError, match=r"is not fitted"):
            tensorml.convert(source, executor="reference")


# FeatureUnion

UNIONS = {
    "transformers": [("a", StandardScaler()), ("b", MinMaxScaler())],
    "passthrough": [("p", "passthrough"), ("a", StandardScaler())],
    "drop": [("d", "drop"), ("a", StandardScaler())],
    "one": [("a", StandardScaler())],
    "passthrough alone": [("p", "passthrough")],
    "pipelines": [("a", make_pipeline(StandardScaler(), MinMaxScaler())), ("p", make_pipeline(FunctionTransformer()))],
    "a union": [("u", FeatureUnion([("a", StandardScaler()), ("p", "passthrough")])), ("b", MinMaxScaler())],
    "sparse": [("s", Sparsely()), ("a", StandardScaler())],
    "sparse alone": [("s", Sparsely()), ("t", Sparsely())],
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.bool_])
@pytest.mark.parametrize("members", UNIONS.values(), ids=UNIONS)
def test_a_union_puts_results_side_by_side(executor: str, members: list[Any], dtype: Any) -> None:
    assert_same(FeatureUnion(members).fit(X), (X * 3).astype(dtype), executor)


@pytest.mark.parametrize("table", [X, X.astype(np.float32), (X * 9).astype(np.int8), X > 0], ids=lambda x: str(x.dtype))
@pytest.mark.parametrize("weight", [2, 0.1, -1, 0, np.float64(0.1), np.float32(0.1), np.int64(3)], ids=repr)
def test_weights_multiply_by_numpys_rules(executor: str, table: np.ndarray, weight: Any) -> None:
    weights = {"a": weight, "p": weight, "s": weight}
    members = [("a", StandardScaler()), ("p", "passthrough"), ("b", MinMaxScaler())]
    assert_same(
        FeatureUnion(members, transformer_weights={k: w for k, w in weights.items() if k != "s"}).fit(X),
        table,
        executor,
    )
    if table.dtype != bool:
        sparse = [("s", Sparsely()), ("b", MinMaxScaler())]
        assert_same(FeatureUnion(sparse, transformer_weights={"s": weight}).fit(X), table, executor)


def test_weights_that_cannot_be_reproduced_are_refused() -> None:
    union = FeatureUnion([("a", StandardScaler())], transformer_weights={"a": np.ones(4)}).fit(X)
    with pytest.raises(UnsupportedModelError, match=r"its weight is array.*Use a number in transformer_weights"):
        tensorml.convert(union, executor="reference")
    union = FeatureUnion([("a", Sparsely())], transformer_weights={"a": np.inf}).fit(X)
    with pytest.raises(UnsupportedModelError, match=r"its weight is inf and its result sparse. Use a finite weight"):
        tensorml.convert(union, executor="reference")


def test_a_union_of_nothing_has_no_columns(executor: str) -> None:
    source = FeatureUnion([("a", StandardScaler()), ("b", MinMaxScaler())]).fit(X)
    source.set_params(a="drop", b="drop")
    model = tensorml.convert(source, X, executor=executor)
    assert_equal_outputs(model.transform(X), source.transform(X), "transform")


@pytest.mark.parametrize("container", ["pandas", pytest.param("polars", marks=READS_POLARS)])
def test_a_union_returns_frames(executor: str, container: str) -> None:
    members = [("p", "passthrough"), ("a", StandardScaler()), ("b", make_pipeline(MinMaxScaler(), StandardScaler()))]
    source = FeatureUnion(members).fit(FRAME).set_output(transform=container)
    for table in (FRAME, FRAME.astype(np.float32)) if container == "pandas" else (pl.from_pandas(FRAME),):
        same_frame(source, table, executor)


@pytest.mark.parametrize("weight", [2, 0.1, np.float64(0.1), np.int64(2)], ids=repr)
def test_a_weighted_frame_keeps_the_dtypes_that_pandas_keeps(executor: str, weight: Any) -> None:
    frame = MIXED.drop(columns=["text", "kind"]).assign(small=np.int8(3))
    members = [("p", "passthrough"), ("a", StandardScaler())]
    source = FeatureUnion(members, transformer_weights={"p": weight, "a": weight}).fit(frame)
    same_frame(source.set_output(transform="pandas"), frame, executor)


def test_a_weighted_frame_of_another_library_is_refused() -> None:
    source = FeatureUnion([("a", StandardScaler())], transformer_weights={"a": 2}).fit(FRAME)
    source.set_output(transform="polars")
    with pytest.raises(UnsupportedModelError, match=r"a DataFrame that is not pandas' or has nullable columns or text"):
        tensorml.convert(source, executor="reference")


def test_a_union_of_arrays_is_made_a_frame() -> None:
    source = FeatureUnion([("p", "passthrough"), ("a", StandardScaler())]).fit(X).set_output(transform="pandas")
    for table in (X, X.astype(np.float32), FRAME, (X * 9).astype(np.int64)):
        same_frame(source, table)


def test_a_union_checks_the_names_of_each_member() -> None:
    union = FeatureUnion([("c", ColumnTransformer([("s", StandardScaler(), ["a", "b"])])), ("m", MinMaxScaler())])
    source = union.fit(FRAME)
    model = tensorml.convert(source, executor="reference")
    assert_equal_outputs(model.transform(FRAME), source.transform(FRAME), "transform")
    for table in (FRAME[list("bacd")], FRAME.assign(z=1.0)):
        with pytest.raises(ValueError, match=r"feature names should match") as expected:
            source.transform(table)
        with pytest.raises(InputError) as actual:
            model.transform(table)
        assert str(actual.value) == str(expected.value)


# ColumnTransformer

SELECTIONS = {
    "integers": [0, 2],
    "one integer": [1],
    "another order": [3, 0],
    "negative integers": [-1, 0],
    "an array": np.array([2, 3]),
    "a slice": slice(1, 3),
    "an open slice": slice(2, None),
    "a slice from the end": slice(-2, None),
    "a mask": np.array([True, False, True, False]),
    "a list of bools": [False, True, True, False],
    "an empty list": [],
    "an empty mask": np.zeros(4, bool),
    "a callable": lambda X: [1, 2],
    "a tuple": (1, 2),
}
NAMES = {
    "strings": ["c", "a"],
    "a slice of strings": slice("b", "d"),
    "an index": pd.Index(["a", "d"]),
    "an array of strings": np.array(["a", "d"], dtype=object),
    "a selector": make_column_selector(pattern="a|b"),
}


@pytest.mark.parametrize("remainder", ["drop", "passthrough", MinMaxScaler()], ids=["drop", "passthrough", "estimator"])
@pytest.mark.parametrize("columns", SELECTIONS.values(), ids=SELECTIONS)
def test_columns_are_selected_as_the_source_selects_them(columns: Any, remainder: Any) -> None:
    columns = ColumnTransformer([("s", StandardScaler(), columns), ("d", "drop", [0])], remainder=remainder)
    source = columns.fit(X)
    for table in (X, X.astype(np.float32), FRAME, pd.DataFrame(X), np.asfortranarray(X)):
        model = same_transform(source, table)
    np.testing.assert_array_equal(model.get_feature_names_out(), source.get_feature_names_out())
    framed = columns.fit(FRAME)
    for table in (FRAME, FRAME[list("dcba")].assign(z="more"), X):
        same_transform(framed, table)


@pytest.mark.parametrize("remainder", ["drop", "passthrough", MinMaxScaler()], ids=["drop", "passthrough", "estimator"])
@pytest.mark.parametrize("columns", NAMES.values(), ids=NAMES)
def test_columns_are_selected_by_name(executor: str, columns: Any, remainder: Any) -> None:
    source = ColumnTransformer([("s", StandardScaler(), columns)], remainder=remainder).fit(FRAME)
    for table in (FRAME, FRAME[list("dcba")].assign(z="more")):
        same_transform(source, table, executor)
    if not callable(columns):
        with pytest.raises(InputError, match=r"Specifying the columns using strings is only supported for dataframes"):
            tensorml.convert(source, executor=executor).transform(X)


MANY = ColumnTransformer(
    [
        ("float32", StandardScaler(), ["f", "g"]),
        ("both", StandardScaler(), ["f", "a"]),
        ("integer", MinMaxScaler(), ["i"]),
        ("bool", StandardScaler(), ["flag", "g"]),
        ("pass", "passthrough", ["i", "b"]),
        ("text", "drop", ["text"]),
    ],
    transformer_weights={"pass": 0.5, "both": 2},
)


def test_columns_of_several_dtypes_are_computed_in_their_own(executor: str) -> None:
    source = ColumnTransformer(MANY.transformers).fit(MIXED)
    for table in (MIXED, MIXED[list(MIXED.columns[::-1])], MIXED.drop(columns=["text", "kind", "c"])):
        same_transform(source, table, executor)
    weighted = ColumnTransformer(MANY.transformers, transformer_weights=MANY.transformer_weights).fit(MIXED)
    same_transform(weighted, MIXED, executor)
    model = tensorml.convert(source, MIXED, executor=executor)
    assert {name.removeprefix("x_") for name in model.graph.inputs} == {"float32", "float64", "int64", "bool"}


@READS_POLARS
def test_polars_columns_are_computed_as_the_source_computes_them(executor: str) -> None:
    frame = pl.DataFrame({name: MIXED[name].to_numpy() for name in MIXED.columns if name != "kind"})
    source = ColumnTransformer(MANY.transformers).fit(frame)
    same_transform(source, frame, executor)
    same_transform(source, frame.select(frame.columns[::-1]), executor)
    frames = ColumnTransformer(MANY.transformers).set_output(transform="polars").fit(frame)
    same_frame(frames, frame, executor)


def test_each_column_of_a_resulting_frame_keeps_its_dtype(executor: str) -> None:
    source = ColumnTransformer(MANY.transformers, remainder="drop").set_output(transform="pandas").fit(MIXED)
    same_frame(source, MIXED, executor)
    assert set(source.transform(MIXED).dtypes) == {np.dtype(t) for t in ("float32", "float64", "int64")}
    flags = ColumnTransformer([("p", "passthrough", ["flag", "i", "f"])]).set_output(transform="pandas").fit(MIXED)
    same_frame(flags, MIXED, executor)


def test_large_integers_beside_floats_are_refused_in_a_resulting_frame() -> None:
    source = ColumnTransformer([("p", "passthrough", ["i", "a"])]).set_output(transform="pandas").fit(MIXED)
    same_frame(source, MIXED.assign(i=2**53 - 1))
    with pytest.raises(InputError, match=r"column 0 of the result holds integers of 2\*\*53 and more"):
        tensorml.convert(source, MIXED, executor="reference").transform(MIXED.assign(i=2**53 + 1))


def test_the_names_of_a_column_transformer_are_the_sources() -> None:
    for verbose in (True, False):
        transformers = [("s", StandardScaler(), ["a", "f"]), ("p", "passthrough", ["i"])]
        source = ColumnTransformer(transformers, verbose_feature_names_out=verbose).fit(MIXED)
        for container in ("default", "pandas"):
            source.set_output(transform=container)
            model = tensorml.convert(source, MIXED, executor="reference")
            np.testing.assert_array_equal(model.get_feature_names_out(), source.get_feature_names_out())
        same_frame(source, MIXED)


def test_nullable_columns_are_read_as_the_source_reads_them(executor: str) -> None:
    frame = FRAME.astype({"a": "Float64", "b": "Float32"}).assign(n=pd.array([1, None, 3] * 10, dtype="Int64"))
    source = ColumnTransformer([("s", StandardScaler(), ["a", "n"]), ("t", StandardScaler(), ["b"])]).fit(frame)
    same_transform(source, frame, executor)
    passed = ColumnTransformer([("p", "passthrough", ["c", "a"])]).fit(FRAME)
    same_transform(passed, FRAME, executor)
    with pytest.raises(InputError, match=r"column 'a' is of a nullable dtype and passes through unchanged"):
        tensorml.convert(passed, executor=executor).transform(frame)


def test_bools_and_numbers_that_pass_through_side_by_side_are_refused() -> None:
    source = ColumnTransformer([("p", "passthrough", ["a", "flag"])]).fit(MIXED)
    assert source.transform(MIXED).dtype == object
    with pytest.raises(InputError, match=r"columns of bools and of numbers pass through side by side"):
        tensorml.convert(source, MIXED, executor="reference")
    apart = ColumnTransformer([("p", "passthrough", ["a"]), ("q", "passthrough", ["flag"])]).fit(MIXED)
    same_transform(apart, MIXED)


def test_strings_that_pass_through_are_refused() -> None:
    source = ColumnTransformer([("p", "passthrough", ["a", "text"])]).fit(MIXED)
    with pytest.raises(
        InputError, match=r"column 'text' does not hold numbers. Encode it before the model, or drop it"
    ):
        tensorml.convert(source, MIXED, executor="reference")


@pytest.mark.parametrize("table", [X.tolist(), X.astype(object)], ids=["a list", "objects"])
def test_python_objects_are_read_but_do_not_pass_through(table: Any) -> None:
    scaled = ColumnTransformer([("s", StandardScaler(), [0, 1])]).fit(X)
    same_transform(scaled, table)
    passed = ColumnTransformer([("s", StandardScaler(), [0, 1]), ("p", "passthrough", [2])]).fit(X)
    assert passed.transform(table).dtype == object
    with pytest.raises(InputError, match=r"Python objects pass through unchanged. Pass a NumPy array of numbers"):
        tensorml.convert(passed, executor="reference").transform(table)


def test_float32_lists_are_read_as_float64() -> None:
    scaled = ColumnTransformer([("s", StandardScaler(), [0, 1])]).fit(X)
    same_transform(scaled, list(X.astype(np.float32)))


@pytest.mark.parametrize("threshold", [0, 0.3, 1])
def test_whether_the_result_is_sparse_was_decided_in_fit(executor: str, threshold: float) -> None:
    few = np.where(rng.random(X.shape) < 0.3, X, 0)
    transformers = [("s", Sparsely(), [0, 1, 2]), ("m", MaxAbsScaler(), [3])]
    source = ColumnTransformer(transformers, sparse_threshold=threshold).fit(few)
    model = tensorml.convert(source, executor=executor)
    for table in (few, X, few.astype(np.float32)):
        assert_equal_outputs(model.transform(table), source.transform(table), "transform")


def test_a_column_can_be_selected_twice() -> None:
    source = ColumnTransformer([("s", StandardScaler(), [1, 1]), ("p", "passthrough", [1, 0])]).fit(X)
    same_transform(source, X)


def test_missing_columns_are_named() -> None:
    source = ColumnTransformer([("s", StandardScaler(), ["a"]), ("d", "drop", ["b"])]).fit(FRAME)
    same_transform(source, FRAME[["a"]])
    with pytest.raises(ValueError, match=r"columns are missing: {'a'}"):
        source.transform(FRAME[["b", "c"]])
    with pytest.raises(InputError, match=r"columns are missing: {'a'}"):
        tensorml.convert(source, executor="reference").transform(FRAME[["b", "c"]])


def test_wrong_widths_of_column_transformers_are_refused() -> None:
    for fitted_on in (X, FRAME):
        model = tensorml.convert(ColumnTransformer([("s", StandardScaler(), [0])]).fit(fitted_on), executor="reference")
        for table in (X[:, :3], pd.DataFrame(X[:, :3])):
            if fitted_on is X or (table.shape == X[:, :3].shape and not isinstance(table, pd.DataFrame)):
                with pytest.raises(
                    InputError, match=r"X has 3 features, but ColumnTransformer is expecting 4 features"
                ):
                    model.transform(table)


def test_a_scalar_selector_is_refused() -> None:
    for column, table in (("a", FRAME), (0, X)):
        flat = FunctionTransformer(lambda x: np.asarray(x).reshape(-1, 1))
        source = ColumnTransformer([("t", flat, column)]).fit(table)
        with pytest.raises(
            UnsupportedModelError,
            match=f"^ColumnTransformer 't', .*FunctionTransformer: it gets the column {column!r} as a one-dimensional "
            rf"array, because it was selected by a scalar. Select it by a list: \[{column!r}\]",
        ):
            tensorml.convert(source, executor="reference")


def test_nothing_selected_has_no_columns(executor: str) -> None:
    source = ColumnTransformer([("s", StandardScaler(), []), ("d", "drop", [1])]).fit(X)
    same_transform(source, X, executor)


def test_a_sparse_input_of_a_column_transformer_is_refused() -> None:
    model = tensorml.convert(ColumnTransformer([("s", MaxAbsScaler(), [0])]).fit(X), executor="reference")
    with pytest.raises(InputError, match=r"of a sparse matrix is not supported"):
        model.transform(sp.csr_matrix(X))
    source = make_pipeline(Sparsely(), ColumnTransformer([("s", MaxAbsScaler(), [0])])).fit(X)
    with pytest.raises(UnsupportedModelError, match=r"Pipeline step 'columntransformer', .*: it gets a sparse matrix"):
        tensorml.convert(source, executor="reference")


def test_the_remainder_of_every_version_is_read_without_a_warning() -> None:
    source = ColumnTransformer([("s", StandardScaler(), ["b"])], remainder="passthrough").fit(FRAME)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same_transform(source, FRAME)


def test_a_tensor_is_split_into_columns(executor: str) -> None:
    source = ColumnTransformer([("s", StandardScaler(), [0, 1]), ("p", "passthrough", [2])]).fit(X)
    result = tensorml.convert(source, executor=executor).transform(torch.from_numpy(X))
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result.numpy(), source.transform(X))


# Containers on the way


def test_a_step_finds_the_columns_of_the_frame_before_it(executor: str) -> None:
    second = ColumnTransformer([("m", MinMaxScaler(), ["b", "a"]), ("p", "passthrough", ["c"])])
    source = Pipeline([("s", StandardScaler().set_output(transform="pandas")), ("c", second)]).fit(FRAME)
    same_transform(source, FRAME, executor)
    same_frame(source.set_output(transform="pandas"), FRAME, executor)
    same_frame(source, X, executor)


def test_row_labels_are_lost_where_the_source_loses_them() -> None:
    last = make_pipeline(StandardScaler(), MinMaxScaler().set_output(transform="pandas")).fit(FRAME)
    same_frame(last, FRAME)
    both = make_pipeline("passthrough", StandardScaler(), MinMaxScaler()).set_output(transform="pandas").fit(FRAME)
    same_frame(both, FRAME)
    first = make_pipeline(StandardScaler().set_output(transform="pandas"), MinMaxScaler()).fit(FRAME)
    same_transform(first, FRAME)


def test_row_labels_of_two_kinds_side_by_side_are_refused() -> None:
    inner = make_pipeline(StandardScaler(), MinMaxScaler())
    source = FeatureUnion([("a", MinMaxScaler()), ("b", inner)]).set_output(transform="pandas").fit(FRAME)
    inner.set_params(standardscaler=StandardScaler().fit(FRAME))
    source.transformer_list[1][1].steps[0][1].set_output(transform="default")
    with pytest.raises(UnsupportedModelError, match=r"some of its transformers keep the row labels of a DataFrame and"):
        tensorml.convert(source, FRAME, executor="reference")


def test_float32_becomes_float64_between_polars_steps(executor: str) -> None:
    source = make_pipeline(StandardScaler(), MinMaxScaler()).fit(FRAME).set_output(transform="polars")
    frame = pl.from_pandas(FRAME.astype(np.float32))
    same_frame(source, frame, executor)
    same_frame(source, FRAME.astype(np.float32), executor)


def test_the_global_configuration_counts_as_it_is_at_conversion() -> None:
    source = make_pipeline(StandardScaler(), MinMaxScaler()).fit(FRAME)
    with sklearn.config_context(transform_output="pandas"):
        model, expected = tensorml.convert(source, executor="reference"), source.transform(FRAME)
    frames_equal(model.transform(FRAME), expected)


def test_a_sparse_result_as_a_frame_is_refused() -> None:
    source = NamedSparsely().fit(X).set_output(transform="pandas")
    with pytest.raises(UnsupportedModelError, match=r"it makes a sparse matrix and was set to return pandas"):
        tensorml.convert(source, executor="reference")


def test_frames_of_unknown_names_are_refused() -> None:
    source = FeatureUnion([("s", StandardScaler()), ("o", FunctionTransformer())]).fit(X)
    source._sklearn_output_config = {"transform": "pandas"}
    with pytest.raises(UnsupportedModelError, match=r"to return DataFrames, but its get_feature_names_out\(\) fails"):
        tensorml.convert(source, executor="reference")


# Searches


@pytest.mark.parametrize("make", [GridSearchCV, lambda *a, **k: RandomizedSearchCV(*a, n_iter=2, random_state=0, **k)])
def test_a_search_is_its_best_estimator(executor: str, make: Any) -> None:
    tree = Pipeline([("s", StandardScaler()), ("t", DecisionTreeClassifier(random_state=0))])
    source = make(tree, {"t__max_depth": [1, 3]}, cv=2).fit(X, Y)
    model = tensorml.convert(source, executor=executor)
    with np.errstate(divide="ignore"):
        for method in ("predict", "predict_proba", "predict_log_proba"):
            assert_equal_outputs(getattr(model, method)(X), getattr(source, method)(X), method)
    assert not hasattr(model, "transform")
    np.testing.assert_array_equal(model.classes_, source.classes_)


def test_a_search_has_no_more_methods_than_the_sources(executor: str) -> None:
    source = GridSearchCV(DecisionTreeClassifier(), {"max_depth": [2]}, cv=2).fit(X, Y)
    model = tensorml.convert(source, executor=executor)
    assert hasattr(source.best_estimator_, "apply")
    assert set(model.methods) == {"predict", "predict_proba", "predict_log_proba"}


def test_a_search_over_transformers_goes_there_and_back(executor: str) -> None:
    source = GridSearchCV(StandardScaler(), {"with_mean": [True]}, cv=2, scoring=lambda *_: 1.0).fit(X)
    assert_same(source, X, executor)
    same_frame(
        GridSearchCV(MinMaxScaler().set_output(transform="pandas"), {"clip": [True]}, cv=2, scoring=lambda *_: 1.0).fit(
            FRAME
        ),
        FRAME,
        executor,
    )


def test_a_search_by_name_over_columns(executor: str) -> None:
    columns = ColumnTransformer([("s", StandardScaler(), ["a", "f"]), ("d", "drop", ["text"])])
    pipe = Pipeline([("c", columns), ("t", DecisionTreeClassifier(random_state=0))])
    source = GridSearchCV(pipe, {"t__max_depth": [2, 3]}, cv=2).fit(MIXED, Y)
    model = tensorml.convert(source, executor=executor)
    for table in (MIXED, MIXED[list(MIXED.columns[::-1])]):
        assert_equal_outputs(model.predict(table), source.predict(table), "predict")


def test_a_search_that_was_not_refitted_is_refused() -> None:
    source = GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, refit=False).fit(X, Y)
    with pytest.raises(
        UnsupportedModelError,
        match=r"^sklearn.model_selection.GridSearchCV: it was fitted with refit=False, so that it has no "
        "best_estimator_ and none of its methods. Fit it with refit=True, or",
    ):
        tensorml.convert(source, executor="reference")


# Files


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("container", ["default", "pandas"])
def test_a_file_keeps_names_and_containers(tmp_path: Any, suffix: str, container: str) -> None:
    columns = ColumnTransformer([("s", StandardScaler(), ["b", "a"]), ("p", "passthrough", ["d"])])
    source = columns.fit(FRAME).set_output(transform=container)
    model = tensorml.convert(source, executor="torch")
    reordered = FRAME[list("dcba")]
    model.transform(reordered)
    model.save(tmp_path / f"model{suffix}")
    loaded = tensorml.load(tmp_path / f"model{suffix}")
    np.testing.assert_array_equal(loaded.get_feature_names_out(), source.get_feature_names_out())
    for table in (FRAME, FRAME.astype(np.float32), (FRAME * 9).astype(np.int64)):
        expected = source.transform(table)
        if container == "pandas":
            frames_equal(loaded.transform(table), expected)
        else:
            assert_equal_outputs(loaded.transform(table), expected, "transform")
    if suffix == ".safetensors":
        assert_equal_outputs(
            np.asarray(loaded.transform(reordered)), np.asarray(source.transform(reordered)), "transform"
        )
