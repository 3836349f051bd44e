"""What every scikit-learn estimator says about itself, and how it reads its input."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.utils.validation import check_is_fitted

from tensorml.converter import Description, Outputs
from tensorml.errors import NotFittedError, qualified_name
from tensorml.graph import Op
from tensorml.ops import ArgMax, Finite, Label, cast

VERSION = tuple(map(int, sklearn.__version__.split(".")[:2]))  # of the installed library: (1, 6), ...
FLOATS = (np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.float16))


def describe(model: BaseEstimator) -> Description:
    """Width, names and fitted attributes of a scikit-learn estimator. Raises NotFittedError."""
    require_fitted(model)
    names = getattr(model, "feature_names_in_", None)
    return Description(
        n_features=getattr(model, "n_features_in_", None),
        feature_names=None if names is None else tuple(map(str, names)),
        invertible=hasattr(model, "inverse_transform"),
        attributes={"classes_": model.classes_} if hasattr(model, "classes_") else {},  # pyright: ignore[reportAttributeAccessIssue]
    )


def require_fitted(model: Any) -> None:
    """Raise NotFittedError if the estimator is not fitted."""
    try:
        check_is_fitted(model)
    except SklearnNotFittedError:
        raise NotFittedError(f"{qualified_name(model)} is not fitted. Call fit() before converting it.") from None


def floating(x: Op, dtypes: tuple[np.dtype, ...] = FLOATS) -> Op:
    """x in its own dtype where that is one of `dtypes`, else in the first of them.

    Source: sklearn.utils.validation.check_array(dtype=[...]).
    """
    return x if x.dtype in dtypes else cast(x, dtypes[0])


def finite(model: object, x: Op, *, nan: bool = False) -> Op:
    """x after the check that sklearn makes: no infinity, and no NaN unless `nan`. Integers pass as they are."""
    return Finite(x, nan, qualified_name(model)) if x.dtype.kind == "f" else x


def labelled(scores: Op, classes: np.ndarray) -> Op:
    """The class of the largest score in each row, the first in a tie. scores: [N, C]."""
    return Label(ArgMax(scores), np.asarray(classes))


__all__ = ["FLOATS", "VERSION", "Outputs", "describe", "finite", "floating", "labelled", "require_fitted"]
