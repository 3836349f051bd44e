from __future__ import annotations

import tracemalloc
import warnings
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import (
    KernelDensity,
    KNeighborsClassifier,
    KNeighborsRegressor,
    KNeighborsTransformer,
    LocalOutlierFactor,
    NearestCentroid,
    NearestNeighbors,
    NeighborhoodComponentsAnalysis,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
    RadiusNeighborsTransformer,
)

import tensorml
from tensorml.errors import InputError, UnsupportedModelError
from tests.parity import assert_equal_outputs, assert_same

RNG = np.random.default_rng(0)
TRAIN = RNG.normal(size=(150, 5))
CODES = RNG.integers(0, 3, 150)
LABELS = np.array(["ant", "bee", "cat"])[CODES]
SEVERAL = np.column_stack([CODES, RNG.integers(0, 2, 150)])
TARGETS = TRAIN @ RNG.normal(size=(5, 2))
X = RNG.normal(size=(40, 5))
KINDS = [X, X.astype(np.float32), np.rint(2 * X).astype(np.int64), X[:1]]
GRID = RNG.integers(0, 4, (120, 3)).astype(np.float64)  # full of equal distances
GRID_X = RNG.integers(0, 4, (60, 3)).astype(np.float64)
ALGORITHMS = ("brute", "kd_tree", "ball_tree")
MATRIX = np.eye(5) + 0.1
METRICS: list[tuple[str, dict[str, Any]]] = [
    ("euclidean", {}),
    ("l2", {}),
    ("sqeuclidean", {"algorithm": "brute"}),
    ("manhattan", {}),
    ("cityblock", {}),
    ("l1", {}),
    ("chebyshev", {}),
    ("infinity", {"algorithm": "ball_tree"}),
    ("minkowski", {"p": 1}),
    ("minkowski", {"p": 1.5}),
    ("minkowski", {"p": 3}),
    ("minkowski", {"p": np.inf}),
    ("minkowski", {"p": 2, "metric_params": {"w": np.arange(1.0, 6.0)}}),
    ("minkowski", {"p": 3, "metric_params": {"w": np.arange(1.0, 6.0)}}),
    ("p", {"algorithm": "kd_tree"}),
    ("canberra", {}),
    ("braycurtis", {}),
    ("seuclidean", {"metric_params": {"V": np.arange(1.0, 6.0)}}),
    ("mahalanobis", {"metric_params": {"VI": MATRIX}}),
    ("mahalanobis", {"algorithm": "ball_tree", "metric_params": {"V": MATRIX}}),
    ("cosine", {}),
    ("correlation", {}),
]
EAGER = ("reference", "torch")  # every metric is compiled as TorchScript in the tests of operators
FLAGS = ("hamming", "jaccard", "dice", "rogerstanimoto", "russellrao", "sokalsneath")


def tolerance(x: np.ndarray) -> dict[str, float]:
    """Distances from matrix products, as scikit-learn's brute force has them, are wrong by 1e-8 near zero."""
    return {"rtol": 2e-5 if x.dtype == np.float32 else 1e-9, "atol": 2e-6 if x.dtype == np.float32 else 1e-7}


def assert_same_lists(source: Any, model: Any, x: Any, **options: Any) -> None:
    """The same distances and indices."""
    expected = source.kneighbors(x, **options)
    assert_equal_outputs(model.kneighbors(x, **options), expected, "kneighbors", **tolerance(np.asarray(x)))


@pytest.mark.parametrize("executor", EAGER)
@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("algorithm", ["auto", "brute"])
@pytest.mark.parametrize(("metric", "given"), METRICS, ids=[f"{m} {sorted(g)}" for m, g in METRICS])
def test_classes_follow_the_neighbours_by_each_metric(
    executor: str, metric: str, given: dict[str, Any], algorithm: str, weights: str
) -> None:
    if metric == "mahalanobis" and "V" in given["metric_params"] and algorithm == "brute":
        pytest.skip("scikit-learn takes V with trees alone")
    source = KNeighborsClassifier(**deepcopy({"algorithm": algorithm, "metric": metric, "weights": weights, **given}))
    source.fit(TRAIN, LABELS if weights == "distance" else CODES + 5)  # scikit-learn 1.6 takes no words by brute force
    for x in KINDS[:3]:
        model = assert_same(source, x, executor, **tolerance(x))
        assert_same_lists(source, model, x)


@pytest.mark.parametrize("executor", EAGER)
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev", "canberra", "braycurtis", "cosine"])
def test_float32_training_rows_are_searched_as_float32(executor: str, metric: str) -> None:
    train = TRAIN.astype(np.float32)
    source = KNeighborsClassifier(algorithm="brute", metric=metric, weights="distance").fit(train, LABELS)
    for x in KINDS:
        model = assert_same(source, x, executor, rtol=2e-5, atol=2e-6)
        assert_equal_outputs(model.kneighbors(x), source.kneighbors(x), "kneighbors", rtol=2e-5, atol=2e-6)
    exact = NearestNeighbors(metric="manhattan", algorithm="brute").fit(train)
    found = tensorml.convert(exact, executor=executor).kneighbors(KINDS[1])
    assert_equal_outputs(found, exact.kneighbors(KINDS[1]), "kneighbors")


@pytest.mark.parametrize("executor", EAGER)
@pytest.mark.parametrize("metric", FLAGS)
def test_truth_values_are_compared_by_each_metric(executor: str, metric: str) -> None:
    train, x = TRAIN > 0, X > 0
    x[:, 0], train[:, 0] = True, True
    source = KNeighborsClassifier(metric=metric, n_neighbors=3, algorithm="ball_tree").fit(train, LABELS)
    for kind in (x, x.astype(np.float64)):
        model = assert_same(source, kind, executor, rtol=1e-12)
        assert_same_lists(source, model, kind)


@pytest.mark.parametrize("executor", EAGER)
@pytest.mark.filterwarnings("ignore:Data was converted to boolean")
@pytest.mark.parametrize("metric", [*FLAGS, "yule"])
def test_brute_force_has_the_same_distances_of_truth_values(executor: str, metric: str) -> None:
    train, x = TRAIN > 0, X > 0
    x[:, 0], train[:, 0] = True, True
    source = NearestNeighbors(metric=metric, n_neighbors=7, algorithm="brute").fit(train)
    found = tensorml.convert(source, executor=executor).kneighbors(x)[0]
    np.testing.assert_allclose(found, source.kneighbors(x)[0], rtol=1e-12)


def test_places_on_the_globe_are_compared(executor: str) -> None:
    places = RNG.uniform(-1.5, 1.5, (80, 2))
    source = KNeighborsRegressor(metric="haversine", weights="distance").fit(places, places)
    for algorithm in ("ball_tree", "brute"):
        source.set_params(algorithm=algorithm).fit(places, places)
        model = assert_same(source, X[:, :2], executor, rtol=1e-9)
        assert_same_lists(source, model, X[:, :2])


def test_missing_numbers_are_left_out_of_distances(executor: str) -> None:
    x, train = X.copy(), TRAIN.copy()
    x[RNG.random(x.shape) < 0.2] = np.nan
    train[RNG.random(train.shape) < 0.2] = np.nan
    source = KNeighborsRegressor(metric="nan_euclidean", algorithm="brute").fit(train, TARGETS)
    model = assert_same(source, x, executor, rtol=1e-9)
    assert_same_lists(source, model, x)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_distances_may_be_given(executor: str, weights: str) -> None:
    given = np.abs(TRAIN[:, None] - TRAIN).sum(2)
    source = KNeighborsClassifier(metric="precomputed", weights=weights).fit(given, LABELS)
    x = np.abs(X[:, None] - TRAIN).sum(2)
    for kind in (x, x.astype(np.float32)):
        model = assert_same(source, kind, executor, rtol=1e-6)
        assert_same_lists(source, model, kind)
    with pytest.raises(InputError, match="Negative values"):
        tensorml.convert(source, executor=executor).predict(-x)
    with pytest.raises(InputError, match="of a sparse matrix is not supported"):
        tensorml.convert(source, executor=executor).predict(sparse.csr_matrix(x))


@pytest.mark.parametrize("executor", EAGER)
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev"])
@pytest.mark.parametrize("k", [1, 2, 5, 20])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_equal_distances_are_broken_as_the_search_breaks_them(
    executor: str, algorithm: str, k: int, metric: str
) -> None:
    for leaf_size in (1, 7, 30):
        source = NearestNeighbors(n_neighbors=k, algorithm=algorithm, metric=metric, leaf_size=leaf_size).fit(GRID)
        index = tensorml.convert(source, executor=executor).kneighbors(GRID_X, return_distance=False)
        np.testing.assert_array_equal(index, source.kneighbors(GRID_X, return_distance=False))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_duplicates_of_another_class_win_or_lose_as_in_the_source(executor: str, algorithm: str) -> None:
    train = np.concatenate([GRID, GRID[::-1]])
    labels = np.repeat([0, 1], len(GRID))
    for weights in ("uniform", "distance"):
        source = KNeighborsClassifier(3, algorithm=algorithm, weights=weights).fit(train, labels)
        assert_same(source, GRID_X, executor, rtol=1e-12)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_several_outputs_have_a_list_of_probabilities(executor: str, weights: str) -> None:
    assert_same(KNeighborsClassifier(weights=weights).fit(TRAIN, SEVERAL), X, executor, rtol=1e-12)
    words = LABELS[SEVERAL]
    assert_same(KNeighborsClassifier(weights=weights).fit(TRAIN, words), X, executor, rtol=1e-12)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_targets_of_the_neighbours_are_averaged(executor: str, weights: str, dtype: type) -> None:
    targets = np.rint(TARGETS * 5).astype(dtype)
    for y in (targets, targets[:, 0], targets[:, :1]):
        assert_same(KNeighborsRegressor(weights=weights, n_neighbors=9).fit(TRAIN, y), X, executor, rtol=1e-6)


def test_a_row_at_distance_zero_counts_alone(executor: str) -> None:
    source = KNeighborsClassifier(weights="distance").fit(TRAIN, LABELS)
    model = assert_same(source, TRAIN, executor, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(TRAIN), LABELS)


def test_lists_of_neighbours_take_their_options(executor: str) -> None:
    source = NearestNeighbors(n_neighbors=4).fit(TRAIN)
    model = tensorml.convert(source, executor=executor)
    assert model.methods == ("kneighbors", "kneighbors_graph")
    for options in ({}, {"n_neighbors": 9}, {"n_neighbors": 150}, {"return_distance": False}):
        assert_same_lists(source, model, X, **options)
    for options in ({}, {"mode": "distance"}, {"n_neighbors": 2}):
        expected = source.kneighbors_graph(TRAIN, **options)
        actual = model.kneighbors_graph(TRAIN, **options)
        assert type(actual) is type(expected)
        np.testing.assert_array_equal(actual.indices, expected.indices)
        np.testing.assert_array_equal(actual.indptr, expected.indptr)
        np.testing.assert_allclose(actual.data, expected.data, rtol=1e-12)
    with pytest.raises(InputError, match="n_neighbors = 151 of 150 training rows"):
        model.kneighbors(X, n_neighbors=151)
    with pytest.raises(InputError, match="'connectivity' or 'distance'"):
        model.kneighbors_graph(X, mode="other")


@pytest.mark.parametrize("mode", ["distance", "connectivity"])
def test_the_transformer_makes_a_sparse_matrix(executor: str, mode: str) -> None:
    source = KNeighborsTransformer(n_neighbors=3, mode=mode).fit(TRAIN)
    actual, expected = tensorml.convert(source, executor=executor).transform(TRAIN), source.transform(TRAIN)
    np.testing.assert_array_equal(actual.indices, expected.indices)
    np.testing.assert_allclose(actual.data, expected.data, rtol=1e-12)
    assert actual.data.dtype == expected.data.dtype


def test_sparse_rows_are_searched_by_brute_force_alone(executor: str) -> None:
    rows = sparse.csr_matrix(np.where(X > 0, X, 0))
    brute = KNeighborsClassifier(algorithm="brute").fit(TRAIN, LABELS)
    assert_equal_outputs(
        tensorml.convert(brute, executor=executor).predict_proba(rows), brute.predict_proba(rows), "predict_proba"
    )
    fitted = KNeighborsClassifier().fit(sparse.csr_matrix(TRAIN), LABELS)
    assert_equal_outputs(tensorml.convert(fitted, executor=executor).predict(rows), fitted.predict(rows), "predict")
    tree = KNeighborsClassifier().fit(TRAIN, LABELS)
    with pytest.raises(InputError, match="of a sparse matrix is not supported"):
        tensorml.convert(tree, executor=executor).predict(rows)
    words = NearestNeighbors(metric="correlation").fit(TRAIN)
    with pytest.raises(InputError, match="of a sparse matrix is not supported"):
        tensorml.convert(words, executor=executor).kneighbors(rows)


def test_many_training_rows_are_searched_in_blocks(executor: str) -> None:
    rng = np.random.default_rng(1)
    train, x = rng.normal(size=(6000, 8)), rng.normal(size=(300, 8))
    train[3000:3010] = train[:10]
    x[:10] = train[:10]
    for algorithm in ("brute", "kd_tree"):
        source = KNeighborsRegressor(n_neighbors=7, algorithm=algorithm).fit(train, train[:, 0])
        model = assert_same(source, x, executor, rtol=1e-12)
        index = source.kneighbors(x[10:], return_distance=False)
        np.testing.assert_array_equal(model.kneighbors(x[10:], return_distance=False), index)


def test_the_distances_of_a_batch_are_never_held_at_once() -> None:
    rng = np.random.default_rng(1)
    train, x = rng.normal(size=(3000, 3)), rng.normal(size=(4000, 3))
    model = tensorml.convert(NearestNeighbors(n_neighbors=2).fit(train), executor="reference")
    tracemalloc.start()
    model.kneighbors(x)
    assert tracemalloc.get_traced_memory()[1] < 40 * 2**20  # all distances: 96 MB
    tracemalloc.stop()


@pytest.mark.parametrize("train", [TRAIN, TRAIN.astype(np.float32)], ids=["float64", "float32"])
@pytest.mark.parametrize("given", [{}, {"metric": "manhattan", "algorithm": "brute"}, {"contamination": 0.1}])
def test_outliers_are_told_by_their_density(executor: str, train: np.ndarray, given: dict[str, Any]) -> None:
    source = LocalOutlierFactor(novelty=True, n_neighbors=10, **given).fit(train)
    for x in KINDS:
        assert_same(source, x, executor, **tolerance(train if train.dtype == np.float32 else x))
    assert_same_lists(source, tensorml.convert(source, executor=executor), X.astype(train.dtype))


def test_without_novelty_there_are_lists_of_neighbours_alone(executor: str) -> None:
    model = tensorml.convert(LocalOutlierFactor().fit(TRAIN), executor=executor)
    assert model.methods == ("kneighbors", "kneighbors_graph")


@pytest.mark.parametrize("executor", EAGER)
@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("given", [{}, {"algorithm": "brute"}, {"metric": "manhattan"}, {"metric": "cosine"}], ids=str)
def test_all_within_the_radius_vote(executor: str, given: dict[str, Any], weights: str) -> None:
    radius = {"manhattan": 4.0, "cosine": 0.5}.get(given.get("metric", ""), 2.0)
    words = LABELS if weights == "distance" else CODES + 5
    for y, label in ((words, words[0].item()), (words, "most_frequent"), (SEVERAL, [1, 0]), (CODES, 2)):
        source = RadiusNeighborsClassifier(radius, weights=weights, outlier_label=label, **given).fit(TRAIN, y)
        for x in KINDS:
            assert_same(source, x, executor, rtol=1e-6)
    source = RadiusNeighborsRegressor(radius, weights=weights, **given).fit(TRAIN, TARGETS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for x in KINDS:
            assert_same(source, x, executor, rtol=1e-6)


@pytest.mark.parametrize("metric", ["manhattan", "euclidean"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_rows_at_the_radius_itself_are_within(executor: str, algorithm: str, metric: str) -> None:
    source = RadiusNeighborsRegressor(2.0, algorithm=algorithm, metric=metric).fit(GRID, GRID)
    assert_same(source, GRID_X, executor, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:Outlier label")
def test_rows_without_neighbours_get_the_label_of_outliers(executor: str) -> None:
    far = np.concatenate([X, X + 100])
    for label, algorithm, metric in ((7, "auto", "minkowski"), (2, "brute", "manhattan"), (7, "brute", "manhattan")):
        source = RadiusNeighborsClassifier(9.0, outlier_label=label, algorithm=algorithm, metric=metric)
        assert_same(source.fit(TRAIN, CODES + 1), far, executor, rtol=1e-12)
    source = RadiusNeighborsClassifier(9.0).fit(TRAIN, CODES)
    with pytest.raises(InputError, match="No neighbors found for some rows"):
        tensorml.convert(source, executor=executor).predict(far)


@pytest.mark.parametrize("executor_", EAGER)
@pytest.mark.filterwarnings("ignore:One or more samples have no neighbors", "ignore:invalid value")
def test_rows_without_neighbours_have_no_mean(executor_: str) -> None:
    far = np.concatenate([X, X + 100])
    for targets in (TARGETS, TARGETS.astype(np.int64)):
        assert_same(RadiusNeighborsRegressor(9.0).fit(TRAIN, targets), far, executor_, rtol=1e-12)


@pytest.mark.parametrize("labels", [LABELS, CODES > 1], ids=["three", "two"])
@pytest.mark.parametrize(
    "given",
    [{}, {"metric": "manhattan"}, {"shrink_threshold": 0.2}, {"priors": "empirical"}],
    ids=str,
)
def test_the_closest_centre_names_the_class(executor: str, labels: np.ndarray, given: dict[str, Any]) -> None:
    source = NearestCentroid(**given).fit(TRAIN, labels)
    for x in KINDS:
        assert_same(source, x, executor, rtol=1e-9, atol=1e-12)


def test_columns_that_are_constant_in_each_class_are_not_scaled(executor: str) -> None:
    train = TRAIN.copy()
    train[:, 0] = CODES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = NearestCentroid(priors=[0.2, 0.3, 0.5]).fit(train, CODES)
    assert_same(source, X, executor, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("components", [None, 2])
def test_learned_components_are_applied(executor: str, components: int | None) -> None:
    source = NeighborhoodComponentsAnalysis(components, max_iter=3).fit(TRAIN, CODES)
    for x in KINDS:
        assert_same(source, x, executor, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("executor", EAGER)
@pytest.mark.parametrize("weight", [None, np.arange(1.0, 151.0)], ids=["plain", "weighted"])
@pytest.mark.parametrize("kernel", ["gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine"])
def test_densities_agree_within_the_tolerance_of_the_source(
    executor: str, kernel: str, weight: np.ndarray | None
) -> None:
    for given in ({"bandwidth": 1.3}, {"bandwidth": "scott", "metric": "manhattan"}):
        source = KernelDensity(kernel=kernel, **given).fit(TRAIN, sample_weight=weight)
        model = tensorml.convert(source, executor=executor)
        for x in KINDS:
            actual, expected = np.exp(model.score_samples(x)), np.exp(source.score_samples(x))
            peak = np.exp(source.score_samples(TRAIN)).max()
            np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-11 * peak)
            assert actual.dtype == expected.dtype


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (KNeighborsClassifier(metric=lambda a, b: abs(a - b).sum()), "its metric is a function"),
        (KNeighborsRegressor(weights=np.exp), "a function as weights"),
        (RadiusNeighborsRegressor(weights=np.exp), "a function as weights"),
        (NearestNeighbors(metric="hamming", algorithm="brute", metric_params={"w": np.ones(5)}), "metric_params w"),
        (NearestNeighbors(metric="mahalanobis", algorithm="brute"), "without its V or VI"),
        (RadiusNeighborsTransformer(), "different numbers of neighbours"),
        (KernelDensity(rtol=0.1), "scikit-learn stops early"),
        (KernelDensity(metric="mahalanobis", algorithm="ball_tree", metric_params={"V": MATRIX}), "is not reproduced"),
    ],
)
def test_what_is_not_reproduced_is_refused(source: Any, words: str) -> None:
    with pytest.raises(UnsupportedModelError, match=words):
        tensorml.convert(source.fit(TRAIN, CODES))


def test_metrics_that_are_not_defined_for_a_row_are_refused(executor: str) -> None:
    source = NearestNeighbors(metric="correlation").fit(TRAIN)
    with pytest.raises(InputError, match="not defined for a row of equal numbers"):
        tensorml.convert(source, executor=executor).kneighbors(np.ones((1, 5)))
    flags = TRAIN > 0
    flags[0] = False
    source = NearestNeighbors(metric="dice", algorithm="ball_tree").fit(flags)
    with pytest.raises(InputError, match="not defined for a row of zeros"):
        tensorml.convert(source, executor=executor).kneighbors(np.zeros((1, 5), bool))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    "source",
    [KNeighborsClassifier(), KNeighborsClassifier(algorithm="brute"), NearestCentroid(), KernelDensity()],
    ids=lambda s: type(s).__name__,
)
def test_rows_that_are_not_finite_are_refused(executor: str, source: Any, bad: float) -> None:
    x = X.copy()
    x[3, 1] = bad
    model = tensorml.convert(source.fit(TRAIN, CODES), executor=executor)
    with pytest.raises(InputError, match=r"NaN|infinity"):
        getattr(model, model.methods[0])(x)


def test_ragged_lists_are_refused_by_name() -> None:
    model = tensorml.convert(RadiusNeighborsClassifier(2.0).fit(TRAIN, CODES))
    with pytest.raises(AttributeError, match="radius_neighbors is not converted"):
        _ = model.radius_neighbors


def tables_of_few_features() -> dict[str, np.ndarray]:
    """Tables [M, F] of up to three features: spread, heaped, far apart, degenerate, with outliers."""
    random = np.random.default_rng(7)
    angle = random.uniform(0, 7, 400)
    return {
        "a line": random.normal(size=(400, 1)),
        "a plane": random.normal(size=(2000, 2)),
        "space": random.uniform(size=(300, 3)),
        "a grid": random.integers(0, 12, (600, 2)).astype(np.float64),
        "one point": np.ones((300, 2)),
        "two heaps": np.concatenate([random.normal(size=(200, 2)) * 1e-6, 1e6 + random.normal(size=(200, 2))]),
        "a circle": np.stack([np.cos(angle), np.sin(angle)], 1),
        "outliers": random.standard_cauchy((400, 2)),
        "a constant": np.stack([angle, np.zeros(400)], 1),
        "tiny": random.normal(size=(300, 2)) * 1e-200,
    }


@pytest.mark.parametrize("table", list(tables_of_few_features()))
def test_few_features_are_searched_by_cells_with_the_same_answer(executor: str, table: str) -> None:
    if executor == "torchscript" and table != "a plane":
        pytest.skip("the rules are torch's; compiling takes seconds")
    train, random = tables_of_few_features()[table], np.random.default_rng(8)
    width = train.max(axis=0) - train.min(axis=0) + (table == "one point")
    near = train[random.integers(len(train), size=150)] + width * random.normal(size=(150, train.shape[1])) * 1e-3
    x = np.concatenate([near, train[:20], train.min(axis=0) + width * random.uniform(-1, 2, (80, train.shape[1]))])
    for metric in ("euclidean", "manhattan", "chebyshev"):
        source = NearestNeighbors(n_neighbors=4, algorithm="kd_tree", metric=metric).fit(train)
        index = tensorml.convert(source, executor=executor).kneighbors(x, return_distance=False)
        np.testing.assert_array_equal(index, source.kneighbors(x, return_distance=False))


@pytest.mark.parametrize("executor", EAGER)
@pytest.mark.parametrize("metric", ["cosine", "hamming", "nan_euclidean"])
def test_among_equal_distances_the_choice_is_one_that_the_source_could_make(executor: str, metric: str) -> None:
    source = NearestNeighbors(n_neighbors=6, algorithm="brute", metric=metric).fit(GRID)
    distance, index = tensorml.convert(source, executor=executor).kneighbors(GRID_X)
    expected, all_distances = source.kneighbors(GRID_X)[0], pairwise_distances(GRID_X, GRID, metric=metric)
    np.testing.assert_allclose(distance, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(np.take_along_axis(all_distances, index, 1), expected, rtol=1e-6, atol=1e-7)
    assert all(len(set(row)) == 6 for row in index.tolist())
