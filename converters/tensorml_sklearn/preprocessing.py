"""Converters for sklearn.preprocessing."""

from __future__ import annotations

from sklearn.preprocessing import StandardScaler

from tensorml.converter import Outputs, converter, fitted
from tensorml.graph import Op
from tensorml_sklearn.describe import finite, floating


@converter(StandardScaler)
def standard_scaler(model: StandardScaler, x: Op) -> Outputs:
    """(x - mean) / scale.

    x: [N, F]; result: the same type, float64 for integers.
    Source: sklearn.preprocessing._data.StandardScaler.transform, which divides, in the dtype of x.
    """
    x = finite(model, floating(x), nan=True)
    if model.with_mean:
        x = x - fitted(model, "mean_", x.dtype)
    if model.with_std:
        x = x / fitted(model, "scale_", x.dtype)
    return {"transform": x}
