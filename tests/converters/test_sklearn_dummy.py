"""Dummy estimators against scikit-learn itself: equal in every bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.dummy import DummyClassifier, DummyRegressor

import tensorml
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tests.parity import assert_equal_outputs, assert_same

GENERATOR = np.random.default_rng(6)
X = GENERATOR.normal(size=(40, 3))
CODES = GENERATOR.integers(0, 3, size=40)
LABELS: dict[str, Any] = {
    "int": np.array([3, 7, -2]),
    "uint8": np.array([3, 7, 200], np.uint8),
    "float32": np.array([0.5, 7, -2], np.float32),
    "bool": np.array([True, False, True]),
    "str": np.array(["a", "bb", "ccc"]),
    "object": np.array(["a", "bb", "ccc"], object),
}


def same(source: Any, rows: Any, executor: str) -> Any:
    """As assert_same, without the source's warnings of logarithms of 0."""
    with np.errstate(divide="ignore"):
        return assert_same(source, rows, executor)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("strategy", ["prior", "most_frequent", "constant"])
def test_a_classifier_gives_the_same(executor, strategy, labels):
    source = DummyClassifier(strategy=strategy, constant=[labels.tolist()[1]]).fit(X, labels[CODES])
    model = same(source, X, executor)
    assert set(model.methods) == {"predict", "predict_proba", "predict_log_proba"}
    same(source, np.tile(X, (200, 1)).astype(np.float32), executor)
    same(source, X[:1], executor)


@pytest.mark.parametrize("strategy", ["prior", "most_frequent", "constant"])
@pytest.mark.parametrize(
    "target",
    [
        np.stack([CODES, CODES + 5], axis=1),
        np.stack([CODES, CODES + 5], axis=1).astype(np.float32),
        np.stack([LABELS["str"][CODES], LABELS["str"][2 - CODES]], axis=1),
        np.stack([LABELS["object"][CODES], LABELS["object"][2 - CODES]], axis=1),
    ],
    ids=lambda target: str(target.dtype),
)
def test_several_outputs_give_lists_of_probabilities(executor, strategy, target):
    constant = [item.item() if hasattr(item, "item") else item for item in target[0]]
    source = DummyClassifier(strategy=strategy, constant=constant).fit(X, target)
    model = same(source, X, executor)
    assert isinstance(model.predict_proba(X), list)


def test_one_class_and_weights_give_the_same(executor):
    same(DummyClassifier().fit(X, np.zeros(40)), X, executor)
    same(DummyClassifier().fit(X, CODES, sample_weight=np.arange(40)), X, executor)


REGRESSORS = [
    DummyRegressor(),
    DummyRegressor(strategy="median"),
    DummyRegressor(strategy="quantile", quantile=0.3),
    DummyRegressor(strategy="constant", constant=7),
    DummyRegressor(strategy="constant", constant=-0.5),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
@pytest.mark.parametrize("width", [None, 1, 2], ids=["one", "a column", "two"])
@pytest.mark.parametrize("model", REGRESSORS, ids=str)
def test_a_regressor_gives_the_same(executor, model, width, dtype):
    target = X[:, 0] * 10 if width is None else X[:, :width] * 10
    if width == 2 and model.strategy == "constant":
        model = DummyRegressor(strategy="constant", constant=[1.5, 2])
    source = model.fit(X, target.astype(dtype))
    converted = same(source, X, executor)
    actual, expected = converted.predict(X, return_std=True), source.predict(X, return_std=True)
    assert_equal_outputs(actual, expected, "return_std")
    assert_equal_outputs(converted.predict(X, return_std=False), source.predict(X), "predict")


def test_a_weighted_regressor_gives_the_same(executor):
    for strategy in ("mean", "median", "quantile"):
        source = DummyRegressor(strategy=strategy, quantile=0.7).fit(X, X[:, :2], sample_weight=np.arange(40))
        same(source, X, executor)


def test_values_are_not_looked_at(executor):
    rows = np.array([[np.nan, np.inf, -np.inf], [0, 1, 2]])
    same(DummyClassifier().fit(X, CODES), rows, executor)
    same(DummyRegressor().fit(X, CODES), rows, executor)
    same(DummyRegressor().fit(X, CODES), scipy.sparse.csr_matrix(X), executor)


@pytest.mark.parametrize("strategy", ["stratified", "uniform"])
def test_a_random_strategy_is_refused(strategy):
    source = DummyClassifier(strategy=strategy).fit(X, CODES)
    with pytest.raises(UnsupportedModelError, match=f"strategy='{strategy}' draws random labels.*strategy='prior'"):
        tensorml.convert(source)


@pytest.mark.filterwarnings("ignore")
def test_sparse_labels_another_width_and_an_unfitted_model_are_refused():
    source = DummyClassifier().fit(X, scipy.sparse.csc_matrix(np.stack([CODES, CODES], axis=1)))
    with pytest.raises(UnsupportedModelError, match="fitted on sparse labels, and returns a CSC matrix"):
        tensorml.convert(source)
    with pytest.raises(InputError, match="X has 2 features, but DummyClassifier is expecting 3"):
        tensorml.convert(DummyClassifier().fit(X, CODES)).predict(X[:, :2])
    for cls in (DummyClassifier, DummyRegressor):
        with pytest.raises(NotFittedError, match=f"{cls.__name__} is not fitted"):
            tensorml.convert(cls())
