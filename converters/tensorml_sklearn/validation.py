"""The checks that scikit-learn makes of a model and of its input, as the graph makes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.utils.validation import check_is_fitted

from tensorml.errors import NotFittedError, qualified_name
from tensorml.graph import Op
from tensorml.ops import Finite, Untyped, cast

FLOATS = (np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.float16))


def require_fitted(model: Any) -> None:
    """Raise NotFittedError if the estimator is not fitted."""
    try:
        check_is_fitted(model)
    except SklearnNotFittedError:
        raise NotFittedError(f"{qualified_name(model)} is not fitted. Call fit() before converting it.") from None


def floating(x: Op, dtypes: tuple[np.dtype, ...] = FLOATS) -> Op:
    """X in its own dtype where that is one of `dtypes`, else in the first of them.

    Source: sklearn.utils.validation.check_array(dtype=[...]).
    """
    if isinstance(x, Untyped):  # a list or a polars frame: check_array sees no dtype
        return cast(x.x, dtypes[0])
    return x if x.dtype in dtypes else cast(x, dtypes[0])


def finite(model: object, x: Op, *, nan: bool = False) -> Op:
    """X after the check that sklearn makes: no infinity, and no NaN unless `nan`. Integers pass as they are."""
    return Finite(x, nan, qualified_name(model)) if x.dtype.kind == "f" else x
