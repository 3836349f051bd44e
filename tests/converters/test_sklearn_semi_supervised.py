from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation, LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

import tensorml
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tests.parity import assert_equal_outputs, assert_same

RNG = np.random.default_rng(0)
X, Y = make_blobs(120, 4, centers=3, cluster_std=3.0, random_state=0)
PARTLY = np.where(RNG.random(120) < 0.6, -1, Y)
MODELS = (LabelPropagation, LabelSpreading)


def fitted(model: Any, x: Any = X, y: Any = PARTLY) -> Any:
    """The model, fitted; a fit may not converge, and divides by 0 for rows far from all others."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return model.fit(x, y)


@pytest.mark.parametrize("gamma", [0.01, 0.5])
@pytest.mark.parametrize("cls", MODELS)
def test_rbf_kernels_agree(executor: str, cls: type, gamma: float) -> None:
    source = fitted(cls(gamma=gamma))
    assert_same(source, X, executor, rtol=1e-9, atol=1e-12)
    assert_same(source, RNG.normal(size=(2500, 4)) * 3, executor, rtol=1e-9, atol=1e-12)
    assert_same(source, X[:1], executor, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("neighbors", [1, 4, 7])
@pytest.mark.parametrize("cls", MODELS)
def test_nearest_neighbours_agree(executor: str, cls: type, neighbors: int) -> None:
    source = fitted(cls(kernel="knn", n_neighbors=neighbors))
    with np.errstate(all="ignore"):
        assert_same(source, X, executor, rtol=1e-12)
        assert_same(source, RNG.normal(size=(300, 4)) * 3, executor, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "int64", "float16"])
def test_other_dtypes_agree_within_the_rounding_of_float32(executor: str, dtype: str) -> None:
    for fitted_on in (X, X.astype(np.float32)):
        source = fitted(LabelSpreading(gamma=0.05), fitted_on)
        assert_same(source, X.astype(dtype), executor, rtol=1e-4, atol=1e-5)


def test_a_row_far_from_all_others_has_no_probabilities_and_the_first_class(executor: str) -> None:
    source = fitted(LabelPropagation(gamma=20.0))
    far = np.full((2, 4), 1e4)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isnan(source.predict_proba(far)).all()
        assert_same(source, far, executor)


@pytest.mark.parametrize("classes", [["no", "yes"], [4.0, 9.0, 5.0]], ids=str)
def test_labels_and_two_classes_come_back(executor: str, classes: list[Any]) -> None:
    labels = np.array(classes, object)[Y % len(classes)]
    labels[PARTLY == -1] = -1
    if isinstance(classes[0], str):
        source = fitted(LabelSpreading(gamma=0.1), X, np.where(PARTLY == -1, -1, Y % 2))
    else:
        source = fitted(LabelSpreading(gamma=0.1), X, labels.astype(float))
    assert_same(source, X, executor, rtol=1e-9, atol=1e-12)


def test_sparse_matrices_are_read_as_dense_rows(executor: str) -> None:
    holes = csr_matrix(np.where(RNG.random(X.shape) < 0.5, 0, X))
    source = fitted(LabelPropagation(gamma=0.05))
    model = tensorml.convert(source, executor=executor)
    expected = source.predict_proba(holes)
    assert_equal_outputs(model.predict_proba(holes), expected, "predict_proba", 1e-9, 1e-12)


@pytest.mark.parametrize(
    "inside",
    [
        LogisticRegression(),
        DecisionTreeClassifier(max_depth=3, random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=["linear", "tree", "pipeline"],
)
def test_self_training_has_the_methods_of_the_classifier_inside(executor: str, inside: Any) -> None:
    source = fitted(SelfTrainingClassifier(inside))
    with np.errstate(divide="ignore"):
        model = assert_same(source, X, executor, rtol=1e-9, atol=1e-9)
        assert_same(source, X.astype(np.float32), executor, rtol=1e-4, atol=1e-4)
    assert hasattr(model, "decision_function") == hasattr(inside, "decision_function")


def test_self_training_on_strings_and_sparse_matrices_agrees(executor: str) -> None:
    source = fitted(SelfTrainingClassifier(LogisticRegression()), csr_matrix(X), PARTLY)
    model = assert_same(source, X, executor, rtol=1e-9, atol=1e-9)
    assert_equal_outputs(model.predict(csr_matrix(X)), source.predict(csr_matrix(X)), "predict")


def test_missing_values_reach_the_classifier_inside(executor: str) -> None:
    holes = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
    source = fitted(SelfTrainingClassifier(DecisionTreeClassifier(max_depth=3, random_state=0)), holes)
    with np.errstate(divide="ignore"):
        assert_same(source, holes, executor)


def test_what_the_source_does_not_take_is_refused(executor: str) -> None:
    for source in (fitted(LabelPropagation(gamma=0.1)), fitted(SelfTrainingClassifier(LogisticRegression()))):
        model = tensorml.convert(source, executor=executor)
        bad = X.copy()
        for value, words in ((np.nan, "contains NaN"), (np.inf, "contains infinity")):
            bad[0, 0] = value
            with pytest.raises(InputError, match=words):
                model.predict(bad)
        with pytest.raises(InputError, match="X has 3 features"):
            model.predict(X[:, :3])


def test_callable_kernels_inner_refusals_and_unfitted_models_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="kernel is a Python callable"):
        tensorml.convert(fitted(LabelPropagation(kernel=lambda a, b: np.exp(-0.01 * ((a[:, None] - b) ** 2).sum(2)))))
    callable_inside = fitted(SelfTrainingClassifier(SVC(kernel=lambda a, b: a @ b.T, probability=True)))
    with pytest.raises(UnsupportedModelError, match=r"estimator_.*kernel is a Python callable"):
        tensorml.convert(callable_inside)
    for unfitted in (LabelPropagation(), LabelSpreading(), SelfTrainingClassifier(LinearSVC())):
        with pytest.raises(NotFittedError, match="not fitted"):
            tensorml.convert(unfitted)
