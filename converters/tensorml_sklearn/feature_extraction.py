"""Converters for sklearn.feature_extraction that read numbers."""

from __future__ import annotations

import numpy as np
from sklearn.feature_extraction.text import TfidfTransformer

from tensorml.converter import Outputs, converter, fitted, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import Abs, Equal, Log, ReduceSum, Sparse, Sqrt, Where, cast
from tensorml_sklearn.describe import SPARSE_TRANSFORM
from tensorml_sklearn.validation import FLOATS, finite, floating

FLOAT64 = np.dtype(np.float64)


@converter(TfidfTransformer, sparse=True)
def tfidf_transformer(model: TfidfTransformer, x: Op) -> Outputs:
    """Counts times the inverse document frequencies, each row over its norm; sparse.

    x: [N, F] counts; result: [N, F], float32 for float32 (and float16 is float64, as all else).
    Source: sklearn.feature_extraction.text.TfidfTransformer.transform, each step rounded to the dtype of x.
    """
    x = finite(model, floating(x.x if isinstance(x, Sparse) else x, FLOATS[:2]))
    if model.sublinear_tf:
        zero = Const(np.zeros((), x.dtype))
        x = Where(Equal(x, zero), zero, Log(x) + Const(np.ones((), x.dtype)))
    if hasattr(model, "idf_"):
        x = cast(x * fitted(model, "idf_"), x.dtype)
    return {"transform": Sparse(x if model.norm is None else over_norm(model, x))}


def over_norm(model: TfidfTransformer, x: Op) -> Op:
    """Each row over its norm, in float64, and rounded to the dtype of x; a row of zeros stays.

    Source: sklearn.utils.sparsefuncs_fast.inplace_csr_row_normalize_l1, inplace_csr_row_normalize_l2.
    """
    if model.norm not in ("l1", "l2"):
        raise unsupported(model, f"norm={model.norm!r} is not one that its transform takes", "Choose 'l1' or 'l2'")
    squares = Abs(x) if model.norm == "l1" else x * x
    total = ReduceSum(cast(squares, FLOAT64))
    norm = total if model.norm == "l1" else Sqrt(total)
    one = Const(np.ones((), FLOAT64))
    return cast(cast(x, FLOAT64) / Where(Equal(norm, Const(np.zeros((), FLOAT64))), one, norm), x.dtype)


SPARSE_TRANSFORM[TfidfTransformer] = lambda model: "csr of nonzeros" if model.sublinear_tf else "csr"
