"""What other converters of scikit-learn's models get wrong without a word. Each is right here, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, FastICA, KernelPCA
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, LogisticRegressionCV, Ridge, SGDClassifier
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.multioutput import RegressorChain
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    LabelEncoder,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    PolynomialFeatures,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import tensorml
from tensorml.errors import UnsupportedModelError
from tensorml_sklearn.describe import VERSION
from tests.estimators import BITS, CODES, HOLES, NUMBER, NUMBERS, TWO, WORDS, X
from tests.parity import assert_equal_outputs, assert_same

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:divide by zero encountered in log:RuntimeWarning"),
]

FAR = 1000 + X / 1000  # float32 would lose most of what distinguishes these rows
POSITIVE = np.exp(NUMBER / 10)
ROUNDING: dict[str, float] = {"rtol": 1e-9, "atol": 1e-10}
TREES = [
    DecisionTreeClassifier(random_state=0),
    ExtraTreesClassifier(5, random_state=0),
    RandomForestClassifier(5, random_state=0),
    HistGradientBoostingClassifier(max_iter=5),
    DecisionTreeRegressor(random_state=0),
    ExtraTreesRegressor(5, random_state=0),
    RandomForestRegressor(5, random_state=0),
    HistGradientBoostingRegressor(max_iter=5),
]
MUTATED = [PCA(2), FastICA(2, random_state=0), PLSRegression(2), StandardScaler(), MinMaxScaler(), Normalizer()]


def named(models: list[Any]) -> list[str]:
    return [type(model).__name__ for model in models]


def fit(model: Any, x: np.ndarray) -> Any:
    y = WORDS if "Classifier" in type(model).__name__ or hasattr(model, "predict_proba") else NUMBER
    return model.fit(x, y)


@pytest.mark.parametrize(
    "model",
    [StandardScaler(), Ridge(), HistGradientBoostingRegressor(max_iter=5), DecisionTreeRegressor()],
    ids=["scaler", "ridge", "boosting", "tree"],
)
def test_float64_rows_are_not_rounded_to_float32(executor: str, model: Any) -> None:
    assert_same(clone(model).fit(FAR, NUMBER), FAR, executor, rtol=1e-9, atol=1e-9)


def test_thresholds_between_neighbouring_float32_numbers_are_not_rounded(executor: str) -> None:
    low = np.float32(1.0)
    x = np.array([[low], [np.nextafter(low, np.float32(2))]], np.float32).repeat(20, axis=0)
    y = np.arange(40) // 20
    for model in (DecisionTreeClassifier(), RandomForestClassifier(3, random_state=0)):
        assert_same(model.fit(x, y), x, executor)
        assert_same(model, x.astype(np.float64), executor)


@pytest.mark.parametrize("model", TREES, ids=named(TREES))
def test_nan_follows_the_direction_that_the_tree_learned(executor: str, model: Any) -> None:
    assert_same(fit(clone(model), HOLES), HOLES, executor, rtol=1e-12)


def test_isolation_forests_of_some_columns_and_nan_agree(executor: str) -> None:
    rows = HOLES if VERSION >= (1, 7) else X
    assert_same(IsolationForest(n_estimators=5, max_features=0.5, random_state=0).fit(rows), rows, executor, rtol=1e-12)


@pytest.mark.parametrize("model", MUTATED, ids=named(MUTATED))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_callers_array_does_not_change(executor: str, model: Any, dtype: Any) -> None:
    rows = X.astype(dtype)
    converted = tensorml.convert(clone(model).fit(rows, NUMBER), executor=executor)
    given = rows.copy()
    first = converted.transform(given)
    np.testing.assert_array_equal(given, rows)
    np.testing.assert_array_equal(converted.transform(given), first)


def test_branches_beside_each_other_get_the_same_rows(executor: str) -> None:
    rows = X.astype(np.float32)
    union = FeatureUnion([("pca", PCA(2)), ("same", StandardScaler()), ("as it is", "passthrough")]).fit(rows)
    assert_same(union, rows, executor, rtol=1e-4, atol=1e-5)
    columns = ColumnTransformer([("pca", PCA(2), [0, 1, 2]), ("scaled", StandardScaler(), [0, 1, 2])]).fit(rows)
    assert_same(columns, rows, executor, rtol=1e-4, atol=1e-5)


def test_a_precomputed_kernel_does_not_change(executor: str) -> None:
    kernel = X @ X.T
    model = KernelPCA(2, kernel="precomputed").fit(kernel)
    given = kernel.copy()
    converted = tensorml.convert(model, executor=executor)
    np.testing.assert_allclose(converted.transform(given), model.transform(kernel.copy()), rtol=1e-7, atol=1e-8)
    np.testing.assert_array_equal(given, kernel)


def test_a_saved_model_of_several_classes_reads_its_rows(tmp_path: Any) -> None:
    model = SVC().fit(X, WORDS)
    tensorml.convert(model, executor="torch").save(tmp_path / "svc.pt")
    loaded = tensorml.load(tmp_path / "svc.pt")
    np.testing.assert_array_equal(loaded.predict(X[::-1]), model.predict(X[::-1]))
    np.testing.assert_array_equal(loaded.predict(X[:3]), model.predict(X[:3]))


@pytest.mark.parametrize("model", [LogisticRegression(), LogisticRegressionCV(Cs=2, cv=2)], ids=["plain", "searched"])
def test_probabilities_of_several_classes_are_a_softmax(executor: str, model: Any) -> None:
    assert_same(clone(model).fit(X, WORDS), X, executor, **ROUNDING)


@pytest.mark.parametrize(
    "labels",
    [WORDS, TWO * 7 - 3, TWO == 1, np.char.add(WORDS, "!").astype(object)],
    ids=["words", "ints", "bools", "objects"],
)
def test_labels_are_returned_as_they_were_given(executor: str, labels: np.ndarray) -> None:
    members = [("tree", DecisionTreeClassifier(max_depth=3)), ("line", LogisticRegression())]
    for model in (LogisticRegression(), StackingClassifier(members, cv=2), RandomForestClassifier(3, random_state=0)):
        assert_same(model.fit(X, labels), X, executor, **ROUNDING)


def test_methods_that_the_source_lacks_are_absent() -> None:
    for model in (LinearSVC(), SVC(), SGDClassifier(loss="hinge")):
        converted = tensorml.convert(model.fit(X, WORDS))
        assert not hasattr(converted, "predict_proba")
        assert hasattr(converted, "decision_function")


def test_batches_may_be_of_any_size(executor: str) -> None:
    model = KNeighborsClassifier().fit(X, WORDS)
    converted = tensorml.convert(model, X[:5], executor=executor)
    for count in (1, 4, 5, 6, 80):
        assert_equal_outputs(converted.predict_proba(X[:count]), model.predict_proba(X[:count]), str(count), 1e-9)


def test_converting_changes_no_global_state() -> None:
    import torch

    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    tensorml.convert(RandomForestClassifier(3).fit(X, WORDS), executor="torch").predict(X)
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, dtype)


@pytest.mark.parametrize("options", [{"p": 1}, {"p": 3}, {"metric": "chebyshev"}, {"weights": "distance"}], ids=str)
def test_metrics_and_weights_of_neighbours_count(executor: str, options: Any) -> None:
    for model, y in ((KNeighborsClassifier(**options), WORDS), (KNeighborsRegressor(**options), NUMBER)):
        converted = tensorml.convert(model.fit(X, y), executor=executor)
        assert_equal_outputs(converted.predict(X), model.predict(X), "predict", 1e-9, 1e-10)


def test_weights_of_a_metric_count(executor: str) -> None:
    model = KNeighborsClassifier(metric="minkowski", metric_params={"w": np.arange(1.0, 6.0)}).fit(X, WORDS)
    converted = tensorml.convert(model, executor=executor)
    assert_equal_outputs(converted.predict_proba(X), model.predict_proba(X), "predict_proba", 1e-9)


def test_neighbours_of_several_labels_agree(executor: str) -> None:
    model = KNeighborsClassifier().fit(X, BITS)
    converted = tensorml.convert(model, executor=executor)
    assert_equal_outputs(converted.predict(X), model.predict(X), "predict")
    assert_equal_outputs(converted.predict_proba(X), model.predict_proba(X), "predict_proba", 1e-9)


@pytest.mark.parametrize("scale", [True, False])
def test_partial_least_squares_scale(executor: str, scale: bool) -> None:
    assert_same(PLSRegression(2, scale=scale).fit(X * [1, 10, 100, 1, 1], NUMBERS), X, executor, rtol=1e-7, atol=1e-8)


def test_the_exponential_loss_has_its_own_link(executor: str) -> None:
    model = GradientBoostingClassifier(loss="exponential", n_estimators=5, random_state=0).fit(X, TWO)
    assert_same(model, X, executor, rtol=1e-12)


@pytest.mark.parametrize("loss", ["poisson", "gamma", "squared_error"])
def test_losses_of_histogram_boosting_have_their_own_link(executor: str, loss: Any) -> None:
    assert_same(HistGradientBoostingRegressor(loss=loss, max_iter=5).fit(X, POSITIVE), X, executor, rtol=1e-12)


def test_categorical_splits_of_histogram_boosting_agree(executor: str) -> None:
    target = CODES[:, 0] % 2 + CODES[:, 1]
    model = HistGradientBoostingRegressor(categorical_features=[0, 1], max_iter=5, min_samples_leaf=3)
    assert_same(model.fit(CODES, target), CODES, executor)
    assert_same(model, np.where(CODES > 2, np.nan, CODES), executor)


def test_several_outputs_of_a_forest_agree(executor: str) -> None:
    for model in (RandomForestClassifier(4, random_state=0), DecisionTreeClassifier(random_state=0)):
        assert_same(model.fit(X, BITS), X, executor, rtol=1e-12)


@pytest.mark.parametrize("kernel", ["sigmoid", "poly", "rbf", "linear"])
def test_kernels_of_support_vectors_agree(executor: str, kernel: Any) -> None:
    for model in (SVC(kernel=kernel), NuSVC(kernel=kernel, nu=0.2)):
        assert_same(model.fit(X, WORDS), X, executor, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    "scaler", [MinMaxScaler(clip=True), MaxAbsScaler(**({"clip": True} if VERSION >= (1, 8) else {}))]
)
def test_scalers_clip(executor: str, scaler: Any) -> None:
    assert_same(scaler.fit(X), X * 3, executor)
    assert VERSION < (1, 8) or (np.abs(scaler.transform(X * 3)) <= 1).all()


def test_a_row_of_zeros_stays_when_normalised(executor: str) -> None:
    rows = X.copy()
    rows[3] = 0
    for norm in ("l1", "l2", "max"):
        model = Normalizer(norm=norm).fit(rows)
        assert_same(model, rows, executor, rtol=1e-15)
        assert (tensorml.convert(model, executor=executor).transform(rows)[3] == 0).all()


def test_polynomials_between_two_degrees_agree(executor: str) -> None:
    assert_same(PolynomialFeatures((2, 3)).fit(X), X, executor)


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
@pytest.mark.parametrize("indicator", [True, False])
def test_imputers_with_indicators_agree(executor: str, strategy: str, indicator: bool) -> None:
    model = SimpleImputer(strategy=strategy, add_indicator=indicator).fit(HOLES)
    converted = tensorml.convert(model, executor=executor)
    np.testing.assert_array_equal(converted.transform(HOLES), model.transform(HOLES))


@pytest.mark.parametrize("options", [{"with_mean": False}, {"with_std": False}, {}], ids=str)
def test_scalers_do_only_what_they_are_told(executor: str, options: Any) -> None:
    assert_same(StandardScaler(**options).fit(X), X, executor)


@pytest.mark.parametrize(
    "options", [{"drop": "first"}, {"drop": "if_binary"}, {"max_categories": 2}, {"min_frequency": 25}], ids=str
)
def test_encoders_drop_and_gather_categories(executor: str, options: Any) -> None:
    rows = CODES.copy()
    rows[:50, 0] = 1
    assert_same(OneHotEncoder(sparse_output=False, **options).fit(rows), rows, executor)


def test_encoders_read_strings(executor: str) -> None:
    frame = pd.DataFrame({"colour": WORDS, "size": np.where(TWO == 1, "big", "small")})
    model = OneHotEncoder(sparse_output=False, handle_unknown="ignore").fit(frame)
    other = frame.replace({"red": "violet"})
    converted = tensorml.convert(model, frame, executor=executor)
    np.testing.assert_array_equal(converted.transform(other), model.transform(other))


def test_encoders_of_labels_read_one_dimension(executor: str) -> None:
    model = LabelEncoder().fit(WORDS)
    np.testing.assert_array_equal(tensorml.convert(model, executor=executor).transform(WORDS), model.transform(WORDS))


def test_networks_of_several_labels_and_losses_agree(executor: str) -> None:
    network = MLPClassifier((6,), max_iter=20, random_state=0).fit(X, BITS)
    assert_same(network, X, executor, **ROUNDING)
    if VERSION >= (1, 7):
        poisson = MLPRegressor(hidden_layer_sizes=(6,), loss="poisson", max_iter=20, random_state=0).fit(X, POSITIVE)
        assert_same(poisson, X, executor, **ROUNDING)


@pytest.mark.parametrize("function", [np.exp, np.sqrt, np.log1p, np.abs])
def test_functions_are_no_identity(executor: str, function: Any) -> None:
    model = make_pipeline(FunctionTransformer(function), StandardScaler()).fit(np.abs(X))
    assert_same(model, np.abs(X), executor, rtol=1e-12, atol=1e-13)


def test_python_functions_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="FunctionTransformer"):
        tensorml.convert(make_pipeline(FunctionTransformer(lambda x: x * 2), StandardScaler()).fit(X))


def test_random_orders_of_chains_agree(executor: str) -> None:
    assert_same(RegressorChain(Ridge(), order="random", random_state=3).fit(X, NUMBERS), X, executor, **ROUNDING)


def test_bags_agree(executor: str) -> None:
    assert_same(BaggingClassifier(LogisticRegression(), 3, random_state=0).fit(X, WORDS), X, executor, **ROUNDING)


def test_boosting_that_starts_from_another_model_agrees(executor: str) -> None:
    start = GradientBoostingRegressor(init=LinearRegression(), n_estimators=3, random_state=0).fit(X, NUMBER)
    assert_same(start, X, executor, rtol=1e-5, atol=1e-5)  # it hands its rows on as float32
    start = GradientBoostingClassifier(init=LogisticRegression(), n_estimators=3, random_state=0).fit(X, TWO)
    assert_same(start, X, executor, rtol=1e-5, atol=1e-5)


def test_tuned_thresholds_decide_labels(executor: str) -> None:
    model = TunedThresholdClassifierCV(LogisticRegression(), cv=2).fit(X, TWO)
    model.best_threshold_ = np.float64(0.8)
    assert_same(model, X, executor, **ROUNDING)


@pytest.mark.parametrize("columns", [[-1, 0], np.array([True, False, True, False, True]), slice(1, 3)], ids=str)
def test_columns_by_negative_positions_masks_and_slices_agree(executor: str, columns: Any) -> None:
    assert_same(ColumnTransformer([("scaled", StandardScaler(), columns)], remainder="passthrough").fit(X), X, executor)


def test_a_transformed_target_comes_back(executor: str) -> None:
    model = TransformedTargetRegressor(Lasso(0.01), func=np.log, inverse_func=np.exp).fit(X, POSITIVE)
    assert_same(model, X, executor, **ROUNDING)
