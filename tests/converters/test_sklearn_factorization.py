"""NMF, topics and sparse codes against scikit-learn: solvers that stop where the source's stop."""

from __future__ import annotations

import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.decomposition import (
    NMF,
    DictionaryLearning,
    LatentDirichletAllocation,
    MiniBatchDictionaryLearning,
    MiniBatchNMF,
    SparseCoder,
    SparsePCA,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer

import tensorml
from tensorml.errors import InputError, UnsupportedModelError
from tensorml_sklearn.describe import VERSION
from tests.parity import assert_equal_outputs, assert_same

pytestmark = pytest.mark.filterwarnings(
    "ignore:Maximum number of iterations",
    "ignore:Orthogonal matching pursuit ended prematurely",
    "ignore:.*Orthogonal matching pursuit",
)
RNG = np.random.default_rng(0)
POSITIVE = np.abs(RNG.normal(size=(70, 3))) @ np.abs(RNG.normal(size=(3, 9))) + 0.05 * RNG.random((70, 9))
COUNTS = RNG.poisson(POSITIVE)
NMFS: dict[str, Any] = {
    "descent": NMF(3, random_state=0),
    "descent from one seed": NMF(3, shuffle=True, random_state=3),
    "descent with penalties": NMF(3, alpha_W=0.02, l1_ratio=0.4, random_state=0),
    "descent with another penalty": NMF(3, alpha_W=0.05, alpha_H=0.0, random_state=0),
    "descent for 3 iterations": NMF(3, init="random", random_state=0).set_params(max_iter=3),
    "descent to the end": NMF(3, tol=0.0, max_iter=40, random_state=0),
    "descent of all": NMF(random_state=0, init="random", max_iter=50),
    "updates": NMF(3, solver="mu", random_state=0),
    "updates of Kullback-Leibler": NMF(3, solver="mu", beta_loss="kullback-leibler", random_state=0),
    "updates of Itakura-Saito": NMF(3, solver="mu", beta_loss="itakura-saito", random_state=0),
    "updates of beta 0.5": NMF(3, solver="mu", beta_loss=0.5, random_state=0),
    "updates of beta 1.5": NMF(3, solver="mu", beta_loss=1.5, random_state=0),
    "updates of beta 3": NMF(3, solver="mu", beta_loss=3, random_state=0),
    "updates with penalties": NMF(3, solver="mu", alpha_W=0.02, l1_ratio=0.4, random_state=0),
    "updates of Kullback-Leibler with a penalty": NMF(
        3, solver="mu", beta_loss="kullback-leibler", alpha_W=0.02, l1_ratio=1.0, random_state=0
    ),
    "updates of Kullback-Leibler with penalties": NMF(
        3, solver="mu", beta_loss="kullback-leibler", alpha_W=0.02, l1_ratio=0.5, random_state=0
    ),
    "updates of beta 0.5 with penalties": NMF(
        3, solver="mu", beta_loss=0.5, alpha_W=0.01, l1_ratio=0.5, random_state=0
    ),
    "updates to the end": NMF(3, solver="mu", tol=0.0, max_iter=30, random_state=0),
    "mini-batches": MiniBatchNMF(3, batch_size=20, random_state=0),
    "mini-batches of Kullback-Leibler": MiniBatchNMF(
        3, beta_loss="kullback-leibler", alpha_W=0.01, l1_ratio=0.5, random_state=0
    ),
    "mini-batches of beta 0.5": MiniBatchNMF(3, beta_loss=0.5, random_state=0),
    "mini-batches for 7 iterations": MiniBatchNMF(3, transform_max_iter=7, random_state=0),
    "mini-batches to the end": MiniBatchNMF(3, tol=0.0, max_iter=20, random_state=0),
}


def fitted(model: Any, *data: Any) -> Any:
    """A copy of the model, fitted, whatever it says of its convergence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return clone(model).fit(*data)


@pytest.mark.parametrize("name", NMFS)
def test_weights_agree_within_rounding_there_and_back(executor: str, name: str) -> None:
    source = fitted(NMFS[name], POSITIVE)
    model = assert_same(source, POSITIVE, executor, rtol=1e-8, atol=1e-10)
    row = POSITIVE[:1]
    assert_equal_outputs(model.transform(row), source.transform(row), name, rtol=1e-8, atol=1e-10)
    narrow = fitted(NMFS[name], POSITIVE.astype(np.float32))
    model = tensorml.convert(narrow, POSITIVE.astype(np.float32), executor=executor)
    rows = POSITIVE.astype(np.float32)
    assert_equal_outputs(model.transform(rows), narrow.transform(rows), name, rtol=5e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("name", "scale"), [("descent", 1), ("updates", 30), ("updates of Kullback-Leibler", 30), ("mini-batches", 1)]
)
def test_weights_of_many_rows_stop_as_one_batch(executor: str, name: str, scale: int) -> None:
    source = fitted(NMFS[name], POSITIVE).set_params(tol=1e-2)
    rows = np.vstack([POSITIVE[:20] * scale, np.abs(RNG.normal(size=(20_000, 9)))])
    model = tensorml.convert(source, executor=executor, memory=2**20)
    expected = source.transform(rows)
    assert_equal_outputs(model.transform(rows), expected, name, rtol=1e-6, atol=1e-9)
    assert np.abs(source.transform(rows[:20]) - expected[:20]).max() > 1e-9


@pytest.mark.parametrize("name", ["descent", "updates of Kullback-Leibler", "mini-batches"])
def test_weights_of_other_dtypes_and_sparse_matrices(executor: str, name: str) -> None:
    source = fitted(NMFS[name], COUNTS.astype(np.float64))
    model = tensorml.convert(source, executor=executor)
    for rows in (COUNTS, COUNTS.astype(np.float16), COUNTS > 1):
        assert_equal_outputs(model.transform(rows), source.transform(rows), name, rtol=1e-8, atol=1e-10)
    rows = csr_matrix(COUNTS)
    assert_equal_outputs(model.transform(rows), source.transform(rows), name, rtol=1e-7, atol=1e-9)
    if name == "updates of Kullback-Leibler":
        with pytest.raises(InputError, match="NMF reads a CSC matrix in the wrong order"):
            model.transform(rows.tocsc())
        assert np.abs(source.transform(rows.tocsc()) - source.transform(rows)).max() > 0.1
    else:
        assert_equal_outputs(model.transform(rows.tocsc()), source.transform(rows), name, rtol=1e-7, atol=1e-9)


def test_mini_batches_take_rows_of_another_dtype_than_the_components(executor: str) -> None:
    for fitted_on, given in (("float64", "float32"), ("float32", "float64")):
        source = fitted(NMFS["mini-batches"], POSITIVE.astype(fitted_on))
        rows = POSITIVE.astype(given)
        actual = tensorml.convert(source, executor=executor).transform(rows)
        assert_equal_outputs(actual, source.transform(rows), given, rtol=1e-3, atol=1e-4)


def test_what_nmf_refuses(executor: str) -> None:
    source = fitted(NMFS["descent"], POSITIVE)
    model = tensorml.convert(source, executor=executor)
    with pytest.raises(InputError, match="its components are float64, and its transform refuses rows of float32"):
        model.transform(POSITIVE.astype(np.float32))
    with pytest.raises(InputError, match="Negative values in data passed to NMF"):
        model.transform(-POSITIVE)
    with pytest.raises(InputError, match="contains NaN"):
        model.transform(np.full((1, 9), np.nan))
    with pytest.raises(InputError, match="inverse_transform is expecting 3"):
        model.inverse_transform(POSITIVE)
    with pytest.raises(InputError, match="DataFrame"):
        model.inverse_transform(pd.DataFrame(np.ones((2, 3))))
    zeros = tensorml.convert(fitted(NMFS["updates of Itakura-Saito"], POSITIVE), executor=executor)
    with pytest.raises(InputError, match="When beta_loss <= 0 and X contains zeros"):
        zeros.transform(np.eye(9))
    with pytest.raises(UnsupportedModelError, match="shuffle=True draws the order of the components"):
        tensorml.convert(fitted(NMF(3, shuffle=True), POSITIVE))


TOPICS: dict[str, Any] = {
    "batch": LatentDirichletAllocation(3, random_state=0),
    "online": LatentDirichletAllocation(4, learning_method="online", batch_size=20, random_state=0),
    "with priors": LatentDirichletAllocation(3, doc_topic_prior=0.01, topic_word_prior=0.5, random_state=0),
    "of 2 updates": LatentDirichletAllocation(3, max_doc_update_iter=2, random_state=0),
    "of no updates": LatentDirichletAllocation(3, max_doc_update_iter=0, random_state=0),
    "exactly": LatentDirichletAllocation(3, mean_change_tol=1e-9, random_state=0),
    "of many topics": LatentDirichletAllocation(15, random_state=0),
}


@pytest.mark.parametrize("name", TOPICS)
def test_topics_agree_within_rounding(executor: str, name: str) -> None:
    rows = np.vstack([COUNTS, np.zeros((1, 9), int)])
    source = fitted(TOPICS[name], COUNTS)
    model = assert_same(source, rows, executor, rtol=1e-8, atol=1e-10)
    for x in (rows[:1], rows.astype(np.float32), rows.astype(np.float16), csr_matrix(rows), rows > 0):
        assert_equal_outputs(model.transform(x), source.transform(x), name, rtol=1e-8, atol=1e-10)
        actual, expected = model.transform(x, normalize=False), source.transform(x, normalize=False)
        assert_equal_outputs(actual, expected, name, rtol=1e-8, atol=1e-10)
    narrow = fitted(TOPICS[name], COUNTS.astype(np.float32))
    actual = tensorml.convert(narrow, executor=executor).transform(rows)
    assert_equal_outputs(actual, narrow.transform(rows), name, rtol=2e-2, atol=2e-3)


def test_what_topics_refuse(executor: str) -> None:
    model = tensorml.convert(fitted(TOPICS["batch"], COUNTS), executor=executor)
    with pytest.raises(InputError, match="Negative values in data passed to LatentDirichletAllocation"):
        model.transform(-COUNTS - 1)
    with pytest.raises(InputError, match="X has 8 features, but LatentDirichletAllocation is expecting 9"):
        model.transform(COUNTS[:, :8])


def test_solvers_behind_a_sparse_step(executor: str) -> None:
    x = RNG.normal(size=(60, 3))
    for last in (NMF(2, init="nndsvda", random_state=0), LatentDirichletAllocation(2, random_state=0)):
        source = fitted(make_pipeline(KBinsDiscretizer(3, strategy="uniform"), last), x)
        actual = tensorml.convert(source, executor=executor).transform(x)
        assert_equal_outputs(actual, source.transform(x), "transform", 1e-7, 1e-9)


ATOMS = RNG.normal(size=(15, 12))
ATOMS /= np.linalg.norm(ATOMS, axis=1, keepdims=True)
ROWS = RNG.normal(size=(60, 15)) * (RNG.random((60, 15)) < 0.2) @ ATOMS + 0.01 * RNG.normal(size=(60, 12))
CODERS: dict[str, Any] = {
    "pursuit": SparseCoder(ATOMS),
    "pursuit of 4": SparseCoder(ATOMS, transform_n_nonzero_coefs=4),
    "pursuit of 11": SparseCoder(ATOMS, transform_n_nonzero_coefs=11),
    "pursuit, split": SparseCoder(ATOMS, transform_n_nonzero_coefs=3, split_sign=True),
    "pursuit of units": SparseCoder(np.eye(12), transform_n_nonzero_coefs=5),
    "threshold": SparseCoder(ATOMS, transform_algorithm="threshold", transform_alpha=0.2),
    "threshold of 1": SparseCoder(ATOMS, transform_algorithm="threshold"),
    "threshold, positive": SparseCoder(ATOMS, transform_algorithm="threshold", transform_alpha=0.2, positive_code=True),
    "threshold, split": SparseCoder(ATOMS, transform_algorithm="threshold", transform_alpha=0.2, split_sign=True),
    "learned": DictionaryLearning(6, max_iter=5, random_state=0, transform_n_nonzero_coefs=3),
    "learned with a threshold": DictionaryLearning(
        6, alpha=0.3, max_iter=5, random_state=0, transform_algorithm="threshold"
    ),
    "learned by mini-batches": MiniBatchDictionaryLearning(
        6, max_iter=5, random_state=0, transform_n_nonzero_coefs=2, split_sign=True
    ),
    "learned by mini-batches with a threshold": MiniBatchDictionaryLearning(
        6, max_iter=5, random_state=0, transform_algorithm="threshold", transform_alpha=0.1
    ),
}


@pytest.mark.parametrize("name", CODERS)
def test_codes_agree_within_rounding_there_and_back(executor: str, name: str) -> None:
    source = fitted(CODERS[name], ROWS)
    units = "units" in name
    model = assert_same(source, np.round(ROWS * 2) if units else ROWS, executor, rtol=1e-9, atol=1e-9)
    for rows, tolerance in ((ROWS[:1], 1e-9), (ROWS.astype(np.float32), 2e-3)):
        rows = np.round(rows * 2) if units else rows
        assert_equal_outputs(model.transform(rows), source.transform(rows), name, tolerance, tolerance)


@pytest.mark.parametrize("name", ["pursuit of 4", "threshold"])
def test_codes_in_parallel_are_float64(executor: str, name: str) -> None:
    source = fitted(CODERS[name], ROWS).set_params(n_jobs=2)
    rows = ROWS.astype(np.float32)
    with parallel_config(backend="threading"):
        expected = source.transform(rows)
    actual = tensorml.convert(source, executor=executor).transform(rows)
    assert_equal_outputs(actual, expected, name, 2e-3, 2e-3)


@pytest.mark.parametrize("name", ["pursuit of 4", "threshold", "learned", "learned with a threshold"])
def test_codes_of_other_dtypes(executor: str, name: str) -> None:
    for fitted_on in ("float64", "float32"):
        model = clone(CODERS[name])
        if isinstance(model, SparseCoder):
            model.set_params(dictionary=ATOMS.astype(fitted_on))
        source = fitted(model, ROWS.astype(fitted_on))
        model = tensorml.convert(source, executor=executor)
        for dtype in ("float16", "int64", "int8", "bool", "float32"):
            rows = (ROWS * 3).astype(dtype)
            tolerance = 1e-9 if (fitted_on, dtype[-2:]) == ("float64", "64") else 2e-3
            assert_equal_outputs(model.transform(rows), source.transform(rows), dtype, tolerance, tolerance)
            if VERSION >= (1, 8):
                back = source.transform(rows)
                assert_equal_outputs(
                    model.inverse_transform(back), source.inverse_transform(back), dtype, tolerance, tolerance
                )


@pytest.mark.parametrize("coder", [SparseCoder(ATOMS), DictionaryLearning(4, max_iter=1, random_state=0)])
@pytest.mark.parametrize("algorithm", ["lars", "lasso_lars"])
def test_paths_of_solutions_are_refused_by_name(coder: Any, algorithm: str) -> None:
    source = fitted(clone(coder).set_params(transform_algorithm=algorithm), ROWS)
    with pytest.raises(UnsupportedModelError, match=f"transform_algorithm='{algorithm}' follows the corners"):
        tensorml.convert(source)


def lasso(alpha: float = 0.1, **options: Any) -> SparseCoder:
    """Codes by coordinate descent."""
    return SparseCoder(ATOMS, transform_algorithm="lasso_cd", transform_alpha=alpha, **options)


def quietly(source: Any, rows: np.ndarray) -> np.ndarray:
    """The source's codes, whether its descent ended or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return source.transform(rows)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize(("alpha", "rounds"), [(0.05, 1000), (1.0, 1000), (50.0, 1000), (0.05, 1), (0.05, 7)])
def test_coordinate_descent_goes_the_way_of_the_source(
    executor: str, alpha: float, rounds: int, positive: bool
) -> None:
    rows = np.concatenate([ROWS[:20], np.zeros((1, 12)), ATOMS[:2]])
    source = lasso(alpha, transform_max_iter=rounds, positive_code=positive).fit(rows)
    model = tensorml.convert(source, executor=executor)
    expected = quietly(source, rows)
    assert (expected == 0).any()
    assert_equal_outputs(model.transform(rows), expected, "codes", 1e-7, 1e-7)
    assert_equal_outputs(model.transform(rows[:1]), expected[:1], "one row", 1e-7, 1e-7)
    np.testing.assert_array_equal(model.transform(rows) == 0, expected == 0)


def test_coordinate_descent_splits_signs_and_takes_float32(executor: str) -> None:
    source = lasso(1.0, split_sign=True).fit(ROWS)
    assert_equal_outputs(
        tensorml.convert(source, executor=executor).transform(ROWS), quietly(source, ROWS), "signs", 1e-7, 1e-7
    )
    rows = ROWS[:10].astype(np.float32)
    single = lasso(1.0, transform_max_iter=50).set_params(dictionary=ATOMS.astype(np.float32)).fit(rows)
    model = tensorml.convert(single, rows, executor=executor)
    assert_equal_outputs(model.transform(rows), quietly(single, rows), "float32", 1e-4, 1e-4)
    with pytest.raises(InputError, match="'lasso_cd' takes X of the dtype of the dictionary, float64, not float32"):
        tensorml.convert(source, executor=executor).transform(rows)


def test_learned_atoms_code_by_coordinate_descent(executor: str) -> None:
    learned = DictionaryLearning(4, max_iter=3, random_state=0, transform_algorithm="lasso_cd", transform_alpha=0.5)
    source = fitted(learned, ROWS)
    actual = tensorml.convert(source, executor=executor).transform(ROWS)
    assert_equal_outputs(actual, quietly(source, ROWS), "learned", 1e-7, 1e-7)
    with pytest.raises(UnsupportedModelError, match=r"transform_alpha=0 has no unique codes. Choose a positive"):
        tensorml.convert(source.set_params(transform_alpha=0.0))


def test_what_coders_refuse(executor: str) -> None:
    with pytest.raises(UnsupportedModelError, match="positive_code=True with 'omp' is refused by its own transform"):
        tensorml.convert(SparseCoder(ATOMS, positive_code=True).fit(ROWS))
    with pytest.raises(UnsupportedModelError, match="transform_n_nonzero_coefs=16 is more than its 15 atoms"):
        tensorml.convert(SparseCoder(ATOMS, transform_n_nonzero_coefs=16).fit(ROWS))
    model = tensorml.convert(SparseCoder(ATOMS).fit(ROWS), executor=executor)
    with pytest.raises(InputError, match="contains NaN"):
        model.transform(np.full((1, 12), np.nan))
    with pytest.raises(InputError, match="X has 11 features, but SparseCoder is expecting 12"):
        model.transform(ROWS[:, :11])
    if VERSION >= (1, 8):
        with pytest.raises(InputError, match="Expected 15, got 12"):
            model.inverse_transform(ROWS)


def test_pursuit_stops_where_nothing_is_left(executor: str) -> None:
    rows = np.array([ATOMS[3] * 2 - ATOMS[7], ATOMS[1], np.zeros(12), ROWS[0]])
    source = SparseCoder(ATOMS, transform_n_nonzero_coefs=6).fit(rows)
    model = assert_same(source, rows, executor, rtol=1e-9, atol=1e-9)
    assert (model.transform(rows) != 0).sum(axis=1).tolist()[:3] == [2, 1, 0]


def test_pursuit_takes_the_first_of_atoms_that_are_equally_close(executor: str) -> None:
    values = np.array(list(product([1.0, -1.0, 2.0], repeat=5)))
    source = SparseCoder(np.eye(5), transform_n_nonzero_coefs=3).fit(values)
    assert_same(source, values, executor)


FILED: dict[str, Any] = {
    "descent": (NMFS["descent"], POSITIVE),
    "updates": (NMFS["updates of Kullback-Leibler with penalties"], POSITIVE),
    "topics": (TOPICS["batch"], COUNTS.astype(np.float64)),
    "codes": (CODERS["pursuit, split"], ROWS),
    "threshold": (CODERS["threshold"], ROWS),
    "ridge": (SparsePCA(3, max_iter=3, random_state=0), ROWS),
}


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
@pytest.mark.parametrize("name", FILED)
def test_files_hold_solvers(tmp_path: Path, name: str, suffix: str) -> None:
    model, rows = FILED[name]
    source = fitted(model, rows)
    path = tmp_path / f"model.{suffix}"
    tensorml.convert(source).save(path)
    loaded = tensorml.load(path)
    assert_equal_outputs(loaded.transform(rows), source.transform(rows), name, 1e-8, 1e-10)
