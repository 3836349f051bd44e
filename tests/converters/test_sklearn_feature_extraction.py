"""Weights of counts against scikit-learn."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.image import PatchExtractor
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer

import tensorml
from tensorml.errors import InputError, NotFittedError, UnsupportedModelError
from tests.parity import assert_equal_outputs

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(0.7, size=(50, 12))
COUNTS[3] = 0
OPTIONS: list[dict[str, Any]] = [
    {"norm": norm, "use_idf": idf, "smooth_idf": smooth, "sublinear_tf": sublinear}
    for norm, idf, smooth, sublinear in product(["l1", "l2", None], [True, False], [True, False], [True, False])
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_weights_agree_within_rounding(executor: str, options: dict[str, Any]) -> None:
    source = TfidfTransformer(**options).fit(csr_matrix(COUNTS))
    model = tensorml.convert(source, executor=executor)
    for dtype, tolerance in (("int64", 1e-14), ("float64", 1e-14), ("float32", 1e-6), ("float16", 1e-14)):
        for rows in (COUNTS.astype(dtype), COUNTS[:1].astype(dtype), COUNTS[3:4].astype(dtype)):
            assert_equal_outputs(model.transform(rows), source.transform(rows), dtype, tolerance)
    rows = csr_matrix(COUNTS)
    for matrix in (rows, rows.astype(np.float32), rows.tocsc()):
        assert_equal_outputs(model.transform(matrix), source.transform(matrix), "sparse", 1e-6)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_negative_weights_and_a_fit_in_float32(executor: str, norm: str) -> None:
    source = TfidfTransformer(norm=norm).fit(csr_matrix(COUNTS.astype(np.float32)))
    assert source.idf_.dtype == np.float32
    model = tensorml.convert(source, executor=executor)
    rows = RNG.normal(size=(30, 12))
    for dtype, tolerance in (("float64", 1e-13), ("float32", 1e-6)):
        assert_equal_outputs(model.transform(rows.astype(dtype)), source.transform(rows.astype(dtype)), norm, tolerance)


def test_a_sparse_step_is_weighted_and_hands_on(executor: str) -> None:
    x = RNG.normal(size=(60, 4))
    source = make_pipeline(KBinsDiscretizer(3, strategy="uniform"), TfidfTransformer()).fit(x)
    actual = tensorml.convert(source, executor=executor).transform(x)
    assert_equal_outputs(actual, source.transform(x), "transform", 1e-13)
    source = make_pipeline(KBinsDiscretizer(3, strategy="uniform"), TfidfTransformer(), TruncatedSVD(2, random_state=0))
    source.fit(x)
    actual = tensorml.convert(source, executor=executor).transform(x)
    assert_equal_outputs(actual, source.transform(x), "transform", 1e-10, 1e-10)


def test_stored_zeros_are_refused_where_their_logarithm_counts(executor: str) -> None:
    rows = csr_matrix(COUNTS.astype(float))
    rows.data[0] = 0.0
    plain, sublinear = (TfidfTransformer(norm=None, sublinear_tf=s).fit(csr_matrix(COUNTS)) for s in (False, True))
    actual = tensorml.convert(plain, executor=executor).transform(rows)
    assert_equal_outputs(actual, plain.transform(rows), "transform", 1e-13)
    with np.errstate(all="ignore"):
        assert not np.isfinite(sublinear.transform(rows).toarray()).all()
    with pytest.raises(
        InputError, match=r"stores zeros, of which TfidfTransformer takes the logarithm. Call X.eliminate_zeros"
    ):
        tensorml.convert(sublinear, executor=executor).transform(rows)


def test_what_is_refused(executor: str) -> None:
    with pytest.raises(NotFittedError, match="not fitted"):
        tensorml.convert(TfidfTransformer())
    model = tensorml.convert(TfidfTransformer().fit(csr_matrix(COUNTS)), executor=executor)
    with pytest.raises(InputError, match="contains NaN"):
        model.transform(np.full((1, 12), np.nan))
    with pytest.raises(InputError, match="X has 11 features, but TfidfTransformer is expecting 12"):
        model.transform(COUNTS[:, :11])


def test_patches_are_refused_with_a_reason() -> None:
    source = PatchExtractor(patch_size=(2, 2)).fit(RNG.normal(size=(3, 8, 8)))
    with pytest.raises(UnsupportedModelError, match="rows are images of three or four dimensions"):
        tensorml.convert(source)
