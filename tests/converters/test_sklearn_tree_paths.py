"""decision_path of trees and forests, and embeddings by trees. The oracle is scikit-learn."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
import torch
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    RandomTreesEmbedding,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

import tensorml
from tensorml.errors import UnsupportedModelError
from tensorml_sklearn.describe import VERSION
from tests.converters.test_sklearn_trees import NUMBER, THREE, UNEQUAL, WITH_NAN, X, traps
from tests.parity import assert_same

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning")

SINGLE = [
    DecisionTreeClassifier(random_state=0),
    DecisionTreeRegressor(max_leaf_nodes=9),
    ExtraTreeClassifier(max_depth=3, random_state=0),
    ExtraTreeRegressor(random_state=0),
    DecisionTreeRegressor(min_samples_leaf=1000),
    DecisionTreeRegressor(ccp_alpha=0.02),
]
FORESTS = [
    RandomForestClassifier(4, random_state=0),
    RandomForestRegressor(3, max_leaf_nodes=8, random_state=0),
    ExtraTreesClassifier(1, random_state=0),
    ExtraTreesRegressor(3, min_samples_leaf=150, random_state=0),
    RandomTreesEmbedding(4, random_state=0),
]


def assert_same_matrix(actual: Any, expected: Any) -> None:
    """The same class, and the same stored numbers in the same order, of the same dtypes."""
    assert type(actual) is type(expected)
    assert actual.shape == expected.shape
    for part in ("data", "indices", "indptr"):
        a, e = getattr(actual, part), getattr(expected, part)
        assert a.dtype == e.dtype, part
        np.testing.assert_array_equal(a, e)


@pytest.mark.parametrize("model", SINGLE, ids=str)
def test_the_path_in_a_tree_is_the_same_matrix(executor: str, model: Any):
    model.fit(X, NUMBER if "Regressor" in type(model).__name__ else THREE)
    converted = tensorml.convert(model, executor=executor)
    for x in (traps(model, nan=False, rows=500), X.astype(np.float32), X[:1], (X * 10).astype(np.int64)):
        assert_same_matrix(converted.decision_path(x), model.decision_path(x))


@pytest.mark.parametrize("model", FORESTS, ids=str)
def test_the_paths_in_a_forest_are_the_same_matrix_and_pointers(executor: str, model: Any):
    model.fit(X, NUMBER if "Regressor" in type(model).__name__ else THREE)
    converted = tensorml.convert(model, executor=executor)
    for x in (traps(model, nan=False, rows=500), X.astype(np.float32), X[:1]):
        (actual, starts), (expected, pointers) = converted.decision_path(x), model.decision_path(x)
        assert_same_matrix(actual, expected)
        assert starts.dtype == pointers.dtype
        np.testing.assert_array_equal(starts, pointers)


def test_paths_follow_nan_as_the_library_says_and_several_outputs(executor: str):
    """scikit-learn 1.6 sends NaN right in decision_path alone: the path may then end in another leaf than apply."""
    nan = DecisionTreeRegressor().fit(WITH_NAN, NUMBER)
    assert_same_matrix(tensorml.convert(nan, executor=executor).decision_path(WITH_NAN), nan.decision_path(WITH_NAN))
    several = RandomForestClassifier(3, random_state=0).fit(X, UNEQUAL)
    assert_same_matrix(tensorml.convert(several, executor=executor).decision_path(X)[0], several.decision_path(X)[0])


def test_a_caller_may_change_the_pointers_of_a_path():
    model = RandomForestRegressor(3, random_state=0).fit(X, NUMBER)
    converted = tensorml.convert(model)
    converted.decision_path(X)[1][:] = 0
    np.testing.assert_array_equal(converted.decision_path(X)[1], model.decision_path(X)[1])


def test_models_without_paths_have_none():
    for model in (GradientBoostingClassifier(n_estimators=2), IsolationForest(n_estimators=2)):
        assert not hasattr(model, "decision_path")
        assert not hasattr(tensorml.convert(model.fit(X, THREE)), "decision_path")


def test_paths_take_memory_for_what_they_store():
    model = RandomForestRegressor(20, random_state=0).fit(
        np.tile(X, (4, 1)) + np.arange(1200)[:, None], np.arange(1200)
    )
    converted = tensorml.convert(model, executor="torch")
    stored = converted.decision_path(X)[0]
    tracemalloc.start()
    converted.decision_path(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 8 * stored.nnz
    assert peak < stored.shape[0] * stored.shape[1]  # a byte for each node and row


def test_paths_survive_safetensors_and_are_refused_by_name_in_torchscript(tmp_path: Path):
    model = RandomForestClassifier(3, random_state=0).fit(X, THREE)
    converted = tensorml.convert(model)
    converted.save(tmp_path / "model.safetensors")
    loaded = tensorml.load(tmp_path / "model.safetensors")
    assert_same_matrix(loaded.decision_path(X)[0], model.decision_path(X)[0])
    converted.save(tmp_path / "model.pt")
    script = tensorml.load(tmp_path / "model.pt")
    np.testing.assert_array_equal(script.apply(X), model.apply(X))
    with pytest.raises(AttributeError, match=r"decision_path is not converted: a \.pt file holds no table of paths"):
        script.decision_path(X)


def test_verify_compares_paths():
    model = RandomForestClassifier(3, random_state=0).fit(X, THREE)
    report = tensorml.verify(model, tensorml.convert(model), X)
    assert report.ok
    assert {"decision_path[0]", "decision_path[1]"} <= {comparison.method for comparison in report.comparisons}
    other = tensorml.convert(RandomForestClassifier(3, random_state=1).fit(X, THREE))
    assert not tensorml.verify(model, other, X).ok


@pytest.mark.skipif(VERSION < (1, 9), reason="scikit-learn cannot return sparse arrays before 1.9")
def test_sparse_arrays_are_refused_where_scikit_learn_would_return_them():
    with sklearn.config_context(sparse_interface="sparray"):
        model = DecisionTreeRegressor(max_depth=3).fit(X, NUMBER)
        assert isinstance(model.decision_path(X), sp.csr_array)
        converted = tensorml.convert(model)
        with pytest.raises(AttributeError, match="scikit-learn is set to return sparse arrays"):
            converted.decision_path(X)
        np.testing.assert_array_equal(converted.predict(X), model.predict(X))


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("options", [{}, {"max_depth": 2}, {"max_leaf_nodes": 6}, {"min_samples_leaf": 200}], ids=str)
def test_embeddings_agree(executor: str, options: dict[str, Any], sparse: bool):
    model = RandomTreesEmbedding(5, sparse_output=sparse, random_state=0, **options).fit(X)
    for x in (traps(model, nan=False, rows=500), X.astype(np.float32), X[:1]):
        assert_same(model, x, executor)
    actual, expected = tensorml.convert(model, executor=executor).transform(X), model.transform(X)
    if sparse:
        for part in ("data", "indices", "indptr"):
            a, e = getattr(actual, part), getattr(expected, part)
            assert a.dtype == e.dtype
            np.testing.assert_array_equal(a, e)
    names = tensorml.convert(model).get_feature_names_out()
    np.testing.assert_array_equal(names, model.get_feature_names_out())


def test_sparse_embeddings_are_never_dense():
    model = RandomTreesEmbedding(40, max_depth=8, random_state=0).fit(X)
    converted = tensorml.convert(model, executor="torch")
    rows = np.tile(X, (20, 1))
    stored = converted.transform(rows)
    tracemalloc.start()
    converted.transform(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * stored.nnz < 8 * stored.shape[0] * stored.shape[1]


def test_embeddings_in_torchscript_are_dense_to_others_and_sparse_to_us(tmp_path: Path):
    model = RandomTreesEmbedding(4, random_state=0).fit(X)
    tensorml.convert(model).save(tmp_path / "model.pt")
    assert_same_matrix(tensorml.load(tmp_path / "model.pt").transform(X), model.transform(X))
    script: Any = torch.jit.load(tmp_path / "model.pt")
    np.testing.assert_array_equal(script.transform(torch.from_numpy(X)).numpy(), model.transform(X).toarray())


def test_embeddings_feed_linear_models(executor: str):
    model = make_pipeline(RandomTreesEmbedding(6, random_state=0), LogisticRegression()).fit(X, THREE)
    assert_same(model, X, executor, rtol=1e-9)


def test_an_embedding_whose_encoder_is_not_of_its_trees_is_refused():
    model = RandomTreesEmbedding(3, random_state=0).fit(X)
    model.one_hot_encoder_ = RandomTreesEmbedding(3, random_state=1).fit(X).one_hot_encoder_
    with pytest.raises(UnsupportedModelError, match=r"its encoder does not know all leaves .* Fit it anew"):
        tensorml.convert(model)
