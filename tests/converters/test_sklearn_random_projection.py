"""Random projections against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

import tensorml
from tensorml.errors import InputError, NotFittedError
from tests.parity import assert_equal_outputs, assert_same

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 30))
SPARSE = csr_matrix(np.where(RNG.random(X.shape) < 0.7, 0, X))
MODELS: dict[str, Any] = {
    "gaussian": GaussianRandomProjection(7, random_state=0),
    "gaussian with its inverse": GaussianRandomProjection(7, compute_inverse_components=True, random_state=0),
    "gaussian of auto components": GaussianRandomProjection(eps=0.99, random_state=0),
    "sparse": SparseRandomProjection(7, random_state=0),
    "sparse of density 0.5": SparseRandomProjection(7, density=0.5, random_state=0),
    "of full density": SparseRandomProjection(7, density=1.0, random_state=0),
    "sparse with its inverse": SparseRandomProjection(7, compute_inverse_components=True, random_state=0),
    "sparse with dense output": SparseRandomProjection(7, dense_output=True, random_state=0),
}


def of(name: str, dtype: str = "float64") -> Any:
    """The model, fitted on rows of a dtype; more of them where the number of components follows from it."""
    wide = RNG.normal(size=(5, 60)) if "auto" in name else X
    return clone(MODELS[name]).fit(wide.astype(dtype))


@pytest.mark.parametrize("fitted_on", ["float64", "float32"])
@pytest.mark.parametrize("name", MODELS)
def test_projections_agree_within_rounding_there_and_back(executor: str, name: str, fitted_on: str) -> None:
    source = of(name, fitted_on)
    rows = RNG.normal(size=(20, source.n_features_in_))
    for dtype in ("float64", "float32", "float16", "int64", "bool"):
        tolerance = 2e-4 if "float32" in (dtype, fitted_on) else 1e-11
        assert_same(source, rows.astype(dtype), executor, rtol=tolerance, atol=tolerance)
    assert_same(source, rows[:1], executor, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in MODELS if "auto" not in name])
def test_sparse_matrices_stay_sparse_where_they_do_in_scikit_learn(executor: str, name: str) -> None:
    source = of(name)
    model = tensorml.convert(source, executor=executor)
    narrow = [] if "dense" in name else [SPARSE.astype(np.float32)]  # scikit-learn 1.9 refuses two dtypes there
    for rows in (SPARSE, SPARSE.tocsc(), SPARSE.tocoo(), *narrow):
        assert_equal_outputs(model.transform(rows), source.transform(rows), name, 1e-5, 1e-6)


@pytest.mark.parametrize("name", ["gaussian", "sparse", "sparse with dense output"])
def test_a_sparse_step_is_projected(executor: str, name: str) -> None:
    source = make_pipeline(KBinsDiscretizer(3, strategy="uniform"), clone(MODELS[name])).fit(X)
    actual = tensorml.convert(source, executor=executor).transform(X)
    assert_equal_outputs(actual, source.transform(X), name, 1e-11, 1e-11)


def test_what_is_refused(executor: str) -> None:
    with pytest.raises(NotFittedError, match="not fitted"):
        tensorml.convert(GaussianRandomProjection(3))
    model = tensorml.convert(of("sparse"), executor=executor)
    with pytest.raises(InputError, match="X has 29 features, but SparseRandomProjection is expecting 30"):
        model.transform(X[:, :29])
    with pytest.raises(InputError, match=r"SparseRandomProjection.inverse_transform is expecting 7"):
        model.inverse_transform(X)
    with pytest.raises(InputError, match="inverse_transform\\(\\) of a sparse matrix"):
        model.inverse_transform(SPARSE[:, :7])
    with pytest.raises(InputError, match="contains NaN"):
        model.transform(np.full((1, 30), np.nan))
    with pytest.raises(InputError, match="contains infinity"):
        model.transform(np.full((1, 30), np.inf))
