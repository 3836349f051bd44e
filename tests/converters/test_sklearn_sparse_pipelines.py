"""A pipeline of several steps takes a sparse matrix where each step computes from it what it does from dense rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.decomposition import PCA, LatentDirichletAllocation, TruncatedSVD
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.kernel_approximation import AdditiveChi2Sampler, Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.random_projection import SparseRandomProjection
from sklearn.svm import LinearSVC

import tensorml
from tensorml.errors import InputError
from tests.parity import assert_equal_outputs

RNG = np.random.default_rng(0)
X = np.where(RNG.random((300, 6)) < 0.5, 0, RNG.integers(1, 30, (300, 6)) / 8)
Y = (X[:, 0] + X[:, 1] > 2).astype(int)
PREDICTORS: dict[str, Pipeline] = {
    "words": make_pipeline(TfidfTransformer(), LogisticRegression()),
    "words, topics": make_pipeline(TfidfTransformer(), TruncatedSVD(3, random_state=0), LogisticRegression()),
    "chosen": make_pipeline(SelectKBest(k=4), MultinomialNB()),
    "chosen twice": make_pipeline(VarianceThreshold(), SelectKBest(k=3), RandomForestClassifier(3, random_state=0)),
    "projected": make_pipeline(SparseRandomProjection(3, random_state=0), LogisticRegression()),
    "dense from here on": make_pipeline(
        Nystroem(n_components=5, random_state=0), StandardScaler(), LogisticRegression()
    ),
    "components": make_pipeline(PCA(3, svd_solver="arpack"), KNeighborsClassifier()),
    "topics": make_pipeline(LatentDirichletAllocation(2, max_iter=2, random_state=0), GaussianNB()),
    "net": make_pipeline(VarianceThreshold(), MLPClassifier((4,), max_iter=3, random_state=0)),
    "inside": make_pipeline(make_pipeline(TfidfTransformer(), SelectKBest(k=4)), LogisticRegression()),
}
TRANSFORMERS: dict[str, Pipeline] = {
    "format kept": make_pipeline(VarianceThreshold(), SelectKBest(k=3)),
    "rows": make_pipeline(TfidfTransformer(), SelectKBest(k=3)),
    "dense": make_pipeline(TfidfTransformer(), TruncatedSVD(2, random_state=0)),
}


def fitted(source: Any) -> Any:
    """Fitted on sparse rows, without a word on iterations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return source.fit(sp.csr_matrix(X), Y)


@pytest.mark.parametrize("name", PREDICTORS)
def test_predictors_behind_other_steps_take_sparse_matrices(executor: str, name: str) -> None:
    source = fitted(PREDICTORS[name])
    model = tensorml.convert(source, executor=executor)
    for rows in (
        sp.csr_matrix(X),
        sp.csc_matrix(X),
        sp.csr_array(X[:1]),
        sp.coo_matrix(X),
        sp.csr_matrix(np.float32(X)),
    ):
        tolerance = 1e-9 if rows.dtype == np.float64 else 1e-4
        expected = source.predict_proba(rows)
        assert_equal_outputs(model.predict_proba(rows), expected, f"{rows.format} {rows.dtype}", tolerance, tolerance)
        assert_equal_outputs(model.predict_proba(rows.toarray()), expected, "dense", tolerance, tolerance)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_return_the_container_of_the_source(executor: str, name: str) -> None:
    source = fitted(TRANSFORMERS[name])
    model = tensorml.convert(source, executor=executor)
    for rows in (sp.csr_matrix(X), sp.csc_matrix(X)):
        expected, actual = source.transform(rows), model.transform(rows)
        assert getattr(actual, "format", "") == getattr(expected, "format", "")
        assert_equal_outputs(actual, expected, name, 1e-9, 1e-9)


def test_a_search_over_such_a_pipeline_takes_sparse_matrices(executor: str) -> None:
    source = fitted(GridSearchCV(make_pipeline(TfidfTransformer(), LogisticRegression()), {}, cv=2))
    rows = sp.csr_matrix(X)
    actual = tensorml.convert(source, executor=executor).predict_proba(rows)
    assert_equal_outputs(actual, source.predict_proba(rows), "search", 1e-9, 1e-9)


def test_tiles_change_nothing(executor: str) -> None:
    source = fitted(PREDICTORS["words, topics"])
    rows = sp.csr_matrix(X)
    actual = tensorml.convert(source, executor=executor, memory=8192).predict_proba(rows)
    assert_equal_outputs(actual, source.predict_proba(rows), "tiles", 1e-9, 1e-9)


@pytest.mark.parametrize(
    "source",
    [
        make_pipeline(MaxAbsScaler(), LogisticRegression()),
        make_pipeline(AdditiveChi2Sampler(), LogisticRegression()),
        make_pipeline(SelectKBest(k=4), KNeighborsClassifier(algorithm="brute")),
        make_pipeline(TfidfTransformer(sublinear_tf=True), LogisticRegression()),
        make_pipeline(SelectKBest(k=4), "passthrough", StandardScaler(with_mean=False), LinearSVC()),
    ],
    ids=lambda source: type(source[0]).__name__,
)
def test_steps_that_read_sparse_matrices_in_a_way_of_their_own_are_refused(source: Any) -> None:
    model = tensorml.convert(fitted(source))
    with pytest.raises(InputError, match=r"predict\(\) of a sparse matrix is not supported. Pass X.toarray\(\)."):
        model.predict(sp.csr_matrix(X))
    assert_equal_outputs(model.predict(X), source.predict(X), "dense")


def test_what_a_step_refuses_in_sparse_rows_is_refused() -> None:
    model = tensorml.convert(fitted(make_pipeline(SelectKBest(k=3), LogisticRegression())))
    bad = sp.csr_matrix(X)
    bad.data[0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        model.predict(bad)
    with pytest.raises(InputError, match="X has 5 features, but SelectKBest is expecting 6"):
        model.predict(sp.csr_matrix(X[:, :5]))
