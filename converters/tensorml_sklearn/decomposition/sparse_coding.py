"""Converters for the models of sklearn.decomposition that code rows over a dictionary of atoms."""

from __future__ import annotations

from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.decomposition import DictionaryLearning, MiniBatchDictionaryLearning, SparseCoder

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.errors import InputError
from tensorml.graph import Const, Op
from tensorml.ops import (
    Abs,
    Columns,
    LassoDescent,
    MatchingPursuit,
    Max,
    Min,
    Neg,
    ReduceSum,
    Untyped,
    Where,
    cast,
    concat,
)
from tensorml_sklearn.decomposition.components import WIDE, numbers
from tensorml_sklearn.describe import VERSION
from tensorml_sklearn.validation import finite, floating

Coder = SparseCoder | DictionaryLearning | MiniBatchDictionaryLearning
TYPED = (1, 8)  # from here on sparse_encode makes float32 or float64 of its input; before, of 'lasso_cd' alone
SCREENED = (1, 8)  # from here on scikit-learn's coordinate descent leaves atoms out that its gap proves to be 0
TOLERANCE = 1e-8 if VERSION >= SCREENED else 1e-4  # the Lasso's, in sparse_encode
ELSE = "Set transform_algorithm='lasso_cd' (the same codes as 'lasso_lars' has), 'omp' or 'threshold'"


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
    """The codes of the rows over the dictionary: by orthogonal matching pursuit, coordinate descent or a threshold.

    x: [N, F]; result: [N, K], or with `split_sign` [N, 2 K] float64: positive and negative parts.
    Source: sklearn.decomposition._dict_learning._BaseSparseCoding._transform, _sparse_encode.
    """
    algorithm = model.transform_algorithm
    if algorithm not in ENCODERS:
        raise unsupported(
            model, f"transform_algorithm={algorithm!r} follows the corners of a path, another one for each row", ELSE
        )
    if model.positive_code and algorithm == "omp":
        raise unsupported(model, "positive_code=True with 'omp' is refused by its own transform", "Use 'threshold'")
    x = rows_of(model, x)
    codes = ENCODERS[algorithm](model, x)
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


def alpha_of(model: Coder) -> float:
    """The weight of the sum of the codes, or the threshold."""
    alpha: Any = getattr(model, "alpha", None) if model.transform_alpha is None else model.transform_alpha
    return 1.0 if alpha is None else float(alpha)


def thresholded(model: Coder, x: Op) -> Op:
    """The products with the atoms, moved towards 0 by the threshold. x: [N, F]; result: [N, K].

    Source: sklearn.decomposition._dict_learning._sparse_encode_precomputed.
    """
    products = x @ Const(dictionary_of(model).T)
    zero = Const(np.zeros((), products.dtype))
    size = Max(cast(Abs(products) - alpha_of(model), products.dtype), zero)
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


def descended(model: Coder, x: Op) -> Op:
    """The codes by coordinate descent on the Lasso. x: [N, F]; result: [N, K], dtype of x.

    Agrees with the source within about 1e-7 of the largest code, in float32 1e-4: where the descent stops depends on
    rounding. Source: sklearn.decomposition._dict_learning._sparse_encode_precomputed, sklearn.linear_model.enet_path.
    """
    dictionary = dictionary_of(model)
    if x.dtype != dictionary.dtype:
        raise InputError(
            f"'lasso_cd' takes X of the dtype of the dictionary, {dictionary.dtype}, not {x.dtype}. Convert it: "
            f"X.astype('{dictionary.dtype}')."
        )
    alpha = alpha_of(model) / x.columns * x.columns
    if alpha <= 0:
        raise unsupported(model, "transform_alpha=0 has no unique codes", "Choose a positive transform_alpha")
    gram = Const(np.dot(dictionary, dictionary.T))
    limits = alpha, TOLERANCE, int(model.transform_max_iter), bool(model.positive_code), VERSION >= SCREENED
    codes = LassoDescent(x @ Const(dictionary.T), ReduceSum(x * x), gram, *limits)
    return cast(codes, np.float64 if effective_n_jobs(model.n_jobs) != 1 else x.dtype)


ENCODERS = {"omp": pursued, "lasso_cd": descended, "threshold": thresholded}
