"""Converters for the models of sklearn.decomposition that code rows over a dictionary of atoms."""

from __future__ import annotations

from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.decomposition import DictionaryLearning, MiniBatchDictionaryLearning, SparseCoder

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.errors import InputError
from tensorml.graph import Const, Op
from tensorml.ops import Abs, Columns, MatchingPursuit, Max, Min, Neg, Untyped, Where, cast, concat
from tensorml_sklearn.decomposition.components import WIDE, numbers
from tensorml_sklearn.describe import VERSION, finite, floating

Coder = SparseCoder | DictionaryLearning | MiniBatchDictionaryLearning
TYPED = (1, 8)  # from here on sparse_encode makes float32 or float64 of its input; before, of 'lasso_cd' alone
ELSE = "Set transform_algorithm='omp' or 'threshold', or keep the source model for this step"


def dictionary_of(model: Coder) -> np.ndarray:
    """The atoms. [K, F]."""
    return np.asarray(model.dictionary if isinstance(model, SparseCoder) else fitted_attribute(model, "components_"))


def coder_inverse(model: Coder, z: Op) -> Op:
    """The rows that the codes stand for: codes @ dictionary.

    z: [N, K], [N, 2 K] with `split_sign`; result: [N, F], in NumPy's promotion.
    Source: sklearn.decomposition._dict_learning._BaseSparseCoding._inverse_transform, there since 1.8.
    """
    dictionary = dictionary_of(model)
    expected = len(dictionary) * (2 if model.split_sign else 1)
    if z.columns != expected:
        raise InputError(
            "The number of components in the code is different from the number of components in the dictionary. "
            f"Expected {expected}, got {z.columns}."
        )
    z = numbers(model, z)
    if model.split_sign:
        if z.dtype.kind == "b":
            raise InputError("codes of bools cannot be subtracted. Convert them: X.astype('float64').")
        half = np.arange(len(dictionary))
        z = Columns(z, half) - Columns(z, half + len(dictionary))
    return z @ Const(dictionary)


@converter(SparseCoder, DictionaryLearning, MiniBatchDictionaryLearning, inverse=coder_inverse)
def coder(model: Coder, x: Op) -> Outputs:
    """The codes of the rows over the dictionary, by orthogonal matching pursuit or by a threshold.

    x: [N, F]; result: [N, K], or with `split_sign` [N, 2 K] float64: positive and negative parts.
    Source: sklearn.decomposition._dict_learning._BaseSparseCoding._transform, _sparse_encode.
    """
    algorithm = model.transform_algorithm
    if algorithm not in ("omp", "threshold"):
        raise unsupported(model, f"transform_algorithm={algorithm!r} follows a path of solutions of its own", ELSE)
    if model.positive_code and algorithm == "omp":
        raise unsupported(model, "positive_code=True with 'omp' is refused by its own transform", "Use 'threshold'")
    x = rows_of(model, x)
    codes = pursued(model, x) if algorithm == "omp" else thresholded(model, x)
    if not model.split_sign:
        return {"transform": codes}
    codes = cast(codes, np.float64)
    zero = Const(np.zeros(()))
    return {"transform": concat([Max(codes, zero), Neg(Min(codes, zero))])}


def rows_of(model: Coder, x: Op) -> Op:
    """X as sparse_encode reads it: float32 or float64; before 1.8 in any dtype that it has."""
    if VERSION >= TYPED:
        return finite(model, floating(x, WIDE))
    return finite(model, x.x if isinstance(x, Untyped) else x)


def thresholded(model: Coder, x: Op) -> Op:
    """The products with the atoms, moved towards 0 by the threshold. x: [N, F]; result: [N, K].

    Source: sklearn.decomposition._dict_learning._sparse_encode_precomputed.
    """
    alpha: Any = getattr(model, "alpha", None) if model.transform_alpha is None else model.transform_alpha
    products = x @ Const(dictionary_of(model).T)
    zero = Const(np.zeros((), products.dtype))
    size = Max(cast(Abs(products) - (1.0 if alpha is None else float(alpha)), products.dtype), zero)
    codes = Where(products < zero, Neg(size), size)
    return Max(codes, zero) if model.positive_code else codes


def pursued(model: Coder, x: Op) -> Op:
    """The codes by orthogonal matching pursuit. x: [N, F]; result: [N, K], dtype of the Gram matrix.

    Source: sklearn.decomposition._dict_learning._sparse_encode; its parallel jobs write to an array of float64.
    """
    dictionary = dictionary_of(model)
    count = model.transform_n_nonzero_coefs
    count = int(min(max(x.columns / 10, 1), len(dictionary)) if count is None else count)
    if count > len(dictionary):
        raise unsupported(
            model,
            f"transform_n_nonzero_coefs={count} is more than its {len(dictionary)} atoms, which its transform refuses",
            "Choose a smaller number",
        )
    gram = np.dot(dictionary, dictionary.T)
    gram = gram.astype(x.dtype) if VERSION >= TYPED else gram
    products = x @ Const(dictionary.T)
    wide = products.dtype
    codes = MatchingPursuit(products, Const(gram.astype(wide)), count, float(np.finfo(gram.dtype).eps))
    parallel = effective_n_jobs(model.n_jobs) != 1
    return cast(codes, np.float64 if parallel else gram.dtype)
