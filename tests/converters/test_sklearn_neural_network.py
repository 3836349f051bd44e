"""Neural networks against scikit-learn itself.

Layers are matrix products in the executor's own order: equal within 1e-9 in float64, 1e-4 in float32. Labels are equal:
no probability of these data is so near one half or a tie.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn
from sklearn.base import clone
from sklearn.neural_network import BernoulliRBM, MLPClassifier, MLPRegressor

import tensorml
from tests.contract import assert_contract, assert_refuses_as_source
from tests.parity import assert_equal_outputs, assert_same

VERSION = tuple(map(int, sklearn.__version__.split(".")[:2]))
GENERATOR = np.random.default_rng(2)
X = GENERATOR.normal(size=(80, 5))
y = X[:, 0] - X[:, 1] * X[:, 2]
BINARY = (y > 0).astype(int)
THREE = np.digitize(y, [-0.5, 0.5])
LABELS = np.stack([y > 0, X[:, 0] > 0.3, X[:, 1] > -0.2], axis=1).astype(int)
TARGETS = {
    "two classes": BINARY,
    "three classes": THREE,
    "strings": np.array(["no", "yes", "or"])[THREE],
    "two strings": np.array(["no", "yes"])[BINARY],
    "bools": BINARY > 0,
    "several labels a row": LABELS,
}
ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]


def fit(model: Any, rows: Any, target: Any) -> Any:
    """The model, fitted; whether it converged is not what these tests are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copy: Any = clone(model)
        return copy.set_params(max_iter=15, random_state=0).fit(rows, target)


def assert_close(source: Any, rows: Any, executor: str, tolerance: float = 1e-9) -> Any:
    """As assert_same, within rounding, without the source's warnings of logarithms of 0."""
    with np.errstate(divide="ignore"):
        return assert_same(source, rows, executor, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_classifier_gives_the_same(executor, activation, target):
    source = fit(MLPClassifier((7, 4), activation=activation), X, target)
    model = assert_close(source, X, executor)
    assert set(model.methods) == {"predict", "predict_proba", "predict_log_proba"}


@pytest.mark.parametrize("layers", [(), (3,), (6, 5, 4)], ids=str)
@pytest.mark.parametrize("solver", ["lbfgs", "sgd", "adam"])
def test_layers_and_solvers_give_the_same(executor, layers, solver):
    for target in (BINARY, THREE, LABELS):
        assert_close(fit(MLPClassifier(hidden_layer_sizes=layers, solver=solver), X, target), X, executor)
    assert_close(fit(MLPRegressor(hidden_layer_sizes=layers, solver=solver), X, y), X, executor)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("target", [y, y[:, None], LABELS + y[:, None]], ids=["one", "a column", "three"])
def test_a_regressor_gives_the_same(executor, activation, target):
    assert_close(fit(MLPRegressor(hidden_layer_sizes=(6,), activation=activation), X, target), X, executor)


@pytest.mark.skipif(VERSION < (1, 7), reason="this scikit-learn has no loss='poisson'")
@pytest.mark.parametrize("target", [np.exp(y), np.abs(LABELS + y[:, None])], ids=["one", "three"])
def test_a_regressor_of_counts_predicts_exponentials(executor, target):
    source = fit(MLPRegressor(hidden_layer_sizes=(6,), loss="poisson"), X, target)
    assert (assert_close(source, X, executor).predict(X) > 0).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.int8, np.uint32, bool])
@pytest.mark.parametrize("fit_dtype", [np.float64, np.float32])
def test_every_input_dtype_gives_the_result_dtype_of_the_source(fit_dtype, dtype):
    rows = np.abs(X).astype(dtype) if dtype == np.uint32 else X.astype(dtype)
    tolerance = 1e-9 if fit_dtype == np.float64 else 1e-4
    for model, target in ((MLPClassifier(), BINARY), (MLPClassifier(), THREE), (MLPRegressor(), y.astype(fit_dtype))):
        source = fit(model, X.astype(fit_dtype), target)
        for executor in ("reference", "torch"):
            assert_close(source, rows, executor, tolerance)


def test_partial_fits_know_the_classes_that_they_were_told(executor):
    for classes in (["no", "or", "yes"], ["no", "yes"]):
        target = np.array(classes)[THREE % len(classes)]
        source = MLPClassifier((4,), random_state=0).partial_fit(X, target, classes=classes)
        assert_close(source, X, executor)


def test_a_classifier_of_one_class_gives_the_same(executor):
    assert_close(fit(MLPClassifier((4,)), X, np.full(80, "only")), X, executor)


def test_a_probability_of_one_half_is_the_first_class_and_no_label(executor):
    rows = np.array([[0.0] * 5, [1] * 5, [-1] * 5])
    for target, expected in ((BINARY, [0, 1, 0]), (LABELS, [[0] * 3, [1] * 3, [0] * 3])):
        source = fit(MLPClassifier(hidden_layer_sizes=()), X, target)
        source.coefs_, source.intercepts_ = (
            [np.ones_like(w) for w in source.coefs_],
            [0 * b for b in source.intercepts_],
        )
        np.testing.assert_array_equal(assert_close(source, rows, executor).predict(rows), expected)


def test_probabilities_of_zero_have_infinite_logarithms(executor):
    for target in (BINARY, THREE, LABELS):
        assert_close(fit(MLPClassifier((4,), activation="identity"), X, target), X * 1e4, executor, 1e-8)


def test_sparse_rows_and_sparse_labels_give_the_same(executor):
    rows = scipy.sparse.csr_matrix(np.where(X > 0.3, X, 0))
    assert_close(fit(MLPClassifier((4,)), rows, THREE), rows, executor)
    assert_close(fit(MLPRegressor(hidden_layer_sizes=(4,)), rows, y), rows, executor)
    try:
        source = fit(MLPClassifier((4,)), X, scipy.sparse.csr_matrix(LABELS))
    except (TypeError, ValueError) as error:
        pytest.skip(f"this scikit-learn does not fit it: {error}")
    assert_close(source, X, executor)


def test_one_row_many_rows_and_refused_rows_are_as_in_the_source(executor):
    assert_contract(fit(MLPClassifier((6,)), X, THREE), X, executor, rtol=1e-9, atol=1e-9)
    assert_contract(fit(MLPRegressor(hidden_layer_sizes=(6,)), X, y), X, executor, rtol=1e-9, atol=1e-9)


def machine(rows: Any) -> BernoulliRBM:
    """A machine with 3 hidden units, fitted."""
    return BernoulliRBM(n_components=3, learning_rate=0.5, n_iter=3, random_state=0).fit(rows)


UNIT = np.abs(X) % 1


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, bool])
@pytest.mark.parametrize("fit_dtype", [np.float64, np.float32])
def test_a_boltzmann_machine_transforms_the_same(executor, fit_dtype, dtype):
    source = machine(UNIT.astype(fit_dtype))
    model = tensorml.convert(source, executor=executor)
    rows = np.round(UNIT).astype(dtype) if np.dtype(dtype).kind != "f" else UNIT.astype(dtype)
    tolerance = 1e-9 if fit_dtype == np.float64 else 1e-5
    for part in (rows, rows[:1], np.tile(rows, (40, 1))):
        assert_equal_outputs(model.transform(part), source.transform(part), "transform", tolerance, tolerance)


def test_a_boltzmann_machine_reads_sparse_rows_and_refuses_what_the_source_does(executor):
    source = machine(UNIT)
    model = tensorml.convert(source, executor=executor)
    rows = scipy.sparse.csr_matrix(np.where(UNIT > 0.5, UNIT, 0))
    assert_equal_outputs(model.transform(rows), source.transform(rows), "transform", 1e-9, 1e-9)
    assert_refuses_as_source(source, model, UNIT)


def test_random_methods_of_a_boltzmann_machine_are_refused_with_their_reason():
    model = tensorml.convert(machine(UNIT))
    assert model.methods == ("transform",)
    for method in ("gibbs", "score_samples"):
        with pytest.raises(AttributeError, match=f"{method} is not converted: it draws random numbers"):
            getattr(model, method)(UNIT)
