from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.datasets import make_classification
from sklearn.svm import SVC, SVR, NuSVC, NuSVR, OneClassSVM

import tensorml
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tests.parity import assert_equal_outputs, assert_same

NAMES = np.array(["mean", "lean", "clean", "glean", "dean"])
KERNELS = ("linear", "poly", "rbf", "sigmoid")
TOLERANCE = 1e-9  # of sums over up to 300 support vectors, with coefficients up to 100
RNG = np.random.default_rng(0)


def data(classes: int, rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Rows of 6 features, and the labels of overlapping classes."""
    x, y = make_classification(rows, 6, n_informative=5, n_redundant=0, n_classes=classes, flip_y=0.1, random_state=1)
    return x, NAMES[y]


def fitted(model: Any, x: Any, y: Any = None, **options: Any) -> Any:
    """The model, fitted; `probability` warns from scikit-learn 1.9 on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(x, y, **options)


@pytest.mark.parametrize("shape", ["ovo", "ovr"])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_classifiers_agree_in_labels_scores_and_probabilities(
    executor: str, classes: int, kernel: str, shape: str
) -> None:
    x, y = data(classes)
    for source in (
        SVC(kernel=kernel, decision_function_shape=shape, probability=True, coef0=0.3, random_state=0),
        NuSVC(kernel=kernel, decision_function_shape=shape, nu=0.5, gamma=0.1),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert_same(source.fit(x, y), x, executor, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize(
    "options",
    [{"degree": 0}, {"degree": 1}, {"degree": 2, "coef0": -1.0}, {"degree": 5, "gamma": 0.2}, {"gamma": "auto"}],
    ids=str,
)
def test_options_of_kernels_agree(executor: str, options: dict[str, Any]) -> None:
    x, y = data(3)
    for kernel in ("poly", "sigmoid", "rbf"):
        source = SVC(kernel=kernel, **options).fit(x, y)
        assert_same(source, x, executor, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("cls", [SVR, NuSVR, OneClassSVM])
def test_regressors_and_one_class_machines_agree(executor: str, cls: type, kernel: str) -> None:
    x, _ = data(2)
    source = fitted(cls(kernel=kernel, gamma=0.1, coef0=0.1), x, x[:, 0] ** 2)
    assert_same(source, x, executor, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "int8", "bool"])
def test_every_dtype_is_read_as_float64(executor: str, dtype: str) -> None:
    x, y = data(3)
    read = (x * 2).astype(dtype)
    for source in (SVC().fit(x, y), SVR().fit(read, x[:, 0]), OneClassSVM().fit(x)):
        assert_same(source, read, executor, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("labels", [[3, 8], [False, True], ["b", "a"], [2.0, -1.0], [3, 8, 4]], ids=str)
def test_labels_of_any_type_come_back(executor: str, labels: list[Any]) -> None:
    x, y = data(len(labels))
    y = np.array(labels)[np.searchsorted(np.unique(y), y)]
    assert_same(SVC().fit(x, y), x, executor, rtol=TOLERANCE, atol=TOLERANCE)
    objects = y.astype(object)
    assert_same(SVC().fit(x, objects.astype(str)), x, executor, rtol=TOLERANCE, atol=TOLERANCE)


def test_a_score_of_zero_between_two_classes_is_the_second_and_in_ovo_votes_too(executor: str) -> None:
    x = np.array([[-1.0, 0.0], [1.0, 0.0]])
    source = SVC(kernel="linear").fit(x, [4, 7])
    on_the_line = np.array([[0.0, 1.0], [0.0, -3.0]])
    assert (source.decision_function(on_the_line) == 0).all()
    assert source.predict(on_the_line).tolist() == [7, 7]
    assert_same(source, on_the_line, executor)
    corners = np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0], [0.0, -1.0]])
    for shape in ("ovo", "ovr"):
        source = SVC(kernel="linear", decision_function_shape=shape).fit(corners, [0, 1, 2, 3])
        assert_same(source, np.zeros((1, 2)), executor)


def test_votes_decide_unless_ties_are_broken_by_scores(executor: str) -> None:
    x, y = data(5, 400)
    plain, broken = (SVC(break_ties=b, gamma=0.5).fit(x, y) for b in (False, True))
    x = RNG.normal(size=(500, 6)) * 2
    assert (plain.predict(x) != broken.predict(x)).any()
    for source in (plain, broken):
        assert_same(source, x, executor, rtol=TOLERANCE, atol=TOLERANCE)
    two = SVC(break_ties=True).fit(*data(2))
    assert_same(two, x, executor, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("classes", [2, 3])
def test_precomputed_kernels_read_the_columns_of_the_support_vectors(executor: str, classes: int) -> None:
    x, y = data(classes)
    gram, new = x @ x.T, RNG.normal(size=(20, 6)) @ x.T
    for source in (
        SVC(kernel="precomputed").fit(gram, y),
        NuSVC(kernel="precomputed", nu=0.3).fit(gram, y),
        SVR(kernel="precomputed").fit(gram, x[:, 1]),
        OneClassSVM(kernel="precomputed").fit(gram),
    ):
        model = assert_same(source, new, executor, rtol=TOLERANCE, atol=TOLERANCE)
        with pytest.raises(InputError, match="X has 6 features"):
            model.predict(x)


@pytest.mark.parametrize("kernel", KERNELS)
def test_models_fitted_on_sparse_matrices_read_sparse_and_dense_rows(executor: str, kernel: str) -> None:
    x, y = data(3)
    holes = csr_matrix(np.where(RNG.random(x.shape) < 0.5, 0.0, x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = SVC(kernel=kernel, probability=True, random_state=0).fit(holes, y)
        model = assert_same(source, x, executor, rtol=TOLERANCE, atol=TOLERANCE)
    for method in ("predict", "decision_function", "predict_proba"):
        expected = getattr(source, method)(holes)
        assert_equal_outputs(getattr(model, method)(holes), expected, method, TOLERANCE, TOLERANCE)
    for other in (SVR(kernel=kernel).fit(holes, x[:, 0]), OneClassSVM(kernel=kernel).fit(holes)):
        assert_same(other, x, executor, rtol=TOLERANCE, atol=TOLERANCE)


def test_models_fitted_on_dense_rows_refuse_sparse_matrices_as_the_source_does(executor: str) -> None:
    x, y = data(2)
    source = SVC().fit(x, y)
    with pytest.raises(ValueError, match="trained on dense data"):
        source.predict(csr_matrix(x))
    with pytest.raises(InputError, match="sparse"):
        tensorml.convert(source, executor=executor).predict(csr_matrix(x))


def test_more_rows_than_a_tile_and_more_support_vectors_than_a_block_agree(executor: str) -> None:
    x, y = data(3, 1500)
    source = SVC(C=0.01).fit(x, y)
    assert len(source.support_) > 1000
    new = RNG.normal(size=(3000, 6))
    assert_same(source, new, executor, rtol=TOLERANCE, atol=TOLERANCE)
    assert_same(source, new[:1], executor, rtol=TOLERANCE, atol=TOLERANCE)


def test_rows_far_from_the_origin_keep_their_digits(executor: str) -> None:
    x, y = data(2)
    source = SVC(gamma=0.1).fit(x + 1e6, y)
    assert_same(source, x + 1e6, executor, rtol=TOLERANCE, atol=TOLERANCE)


def test_huge_values_are_far_from_every_support_vector(executor: str) -> None:
    x, y = data(3)
    source = SVC(gamma=0.1).fit(x, y)
    with np.errstate(over="ignore"):
        assert_same(source, np.full((2, 6), 1e200), executor, rtol=TOLERANCE, atol=TOLERANCE)


def test_machines_without_support_vectors_return_their_intercept(executor: str) -> None:
    x, _ = data(2)
    for rows in (x, csr_matrix(x)):
        source = SVR(epsilon=100.0).fit(rows, x[:, 0])
        assert source.support_vectors_.shape[0] == 0
        if rows is x:
            assert_same(source, x, executor, rtol=TOLERANCE, atol=TOLERANCE)
        else:
            model = tensorml.convert(source, executor=executor)
            assert_equal_outputs(model.predict(x), np.full(len(x), source.intercept_[0]), "predict")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_files_hold_kernel_machines(tmp_path: Path, suffix: str) -> None:
    x, y = data(3)
    source = fitted(SVC(probability=True, random_state=0), x, y)
    tensorml.convert(source).save(tmp_path / f"model{suffix}")
    model = tensorml.load(tmp_path / f"model{suffix}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for method in ("predict", "decision_function", "predict_proba"):
            actual, expected = getattr(model, method)(x), getattr(source, method)(x)
            assert_equal_outputs(actual, expected, method, TOLERANCE, TOLERANCE)


def test_probabilities_are_absent_where_the_model_learned_none() -> None:
    x, y = data(3)
    assert not hasattr(tensorml.convert(SVC().fit(x, y)), "predict_proba")


def test_what_libsvm_itself_would_refuse_is_refused(executor: str) -> None:
    x, y = data(2)
    model = tensorml.convert(SVC().fit(x, y), executor=executor)
    bad = x.copy()
    for value, words in ((np.nan, "contains NaN"), (np.inf, "contains infinity")):
        bad[3, 2] = value
        with pytest.raises(InputError, match=words):
            model.predict(bad)
    with pytest.raises(InputError, match="X has 5 features, but SVC is expecting 6 features"):
        model.predict(x[:, :5])
    with pytest.raises(InputError, match="0 sample"):
        model.predict(x[:0])


def test_callable_kernels_and_contradicting_options_are_refused_by_name() -> None:
    x, y = data(3)
    with pytest.raises(UnsupportedModelError, match=r"kernel is a Python callable.*kernel='precomputed'"):
        tensorml.convert(SVC(kernel=lambda a, b: a @ b.T).fit(x, y), x)
    with pytest.raises(UnsupportedModelError, match="break_ties must be False when decision_function_shape is 'ovo'"):
        tensorml.convert(SVC(break_ties=True, decision_function_shape="ovo").fit(x, y))
    with pytest.raises(NotFittedError, match="not fitted"):
        tensorml.convert(SVC())


def test_a_class_whose_rows_weigh_nothing_is_refused() -> None:
    x, y = data(3)
    source = SVC().fit(x, y)
    source._n_support = source._n_support[:2]
    with pytest.raises(UnsupportedModelError, match="fitted on 2 of its 3 classes"):
        tensorml.convert(source)
