"""Converters for sklearn.dummy: the same answer for every row."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor

from tensorml.converter import Outputs, converter, fitted_attribute, unsupported
from tensorml.graph import Const, Op
from tensorml.ops import Label, LabelColumns, Take, full

INT64 = np.dtype(np.int64)


def repeated(x: Op, row: np.ndarray) -> Op:
    """The one row, [1, ...], for every row of x. Result: [N, ...], dtype of `row`."""
    if row.ndim == 1 and row.dtype.kind in "bif" and int(row.size) == 1 and float(row[0]) == row[0]:
        return full(x, (), float(row[0]), row.dtype)
    return Take(Const(row), full(x, (), 0, INT64))


@converter(DummyClassifier)
def dummy_classifier(model: Any, x: Op) -> Outputs:
    """What the source returns for one row, for every row; lists for several outputs.

    The source neither reads X nor checks it.
    Source: sklearn.dummy.DummyClassifier.
    """
    fitted_attribute(model, "classes_")
    if model._strategy in ("stratified", "uniform"):
        raise unsupported(
            model,
            f"strategy={model._strategy!r} draws random labels",
            "Choose strategy='prior', 'most_frequent' or 'constant'",
        )
    if model.sparse_output_:
        raise unsupported(model, "it was fitted on sparse labels, and returns a CSC matrix", "Fit it on y.toarray()")
    one_row = np.zeros((1, x.columns))
    found = {"predict": _labels(x, model.predict(one_row))}
    probabilities = model.predict_proba(one_row)
    several = isinstance(probabilities, list)
    for k, p in enumerate(probabilities if several else [probabilities]):
        item = f"[{k}]" if several else ""
        with np.errstate(divide="ignore"):
            logarithm = np.log(p)
        found |= {f"predict_proba{item}": repeated(x, p), f"predict_log_proba{item}": repeated(x, logarithm)}
    return found


def _labels(x: Op, row: np.ndarray) -> Op:
    """The labels of one row, [1] or [1, K], for every row."""
    if row.dtype.kind in "biuf":
        return repeated(x, row)
    if row.ndim == 1:
        return Label(full(x, (), 0, INT64), row)
    return LabelColumns(full(x, (row.shape[1],), 0, INT64), tuple(row[:, k] for k in range(row.shape[1])))


@converter(DummyRegressor)
def dummy_regressor(model: Any, x: Op) -> Outputs:
    """The constant, [N] or [N, K], and zeros as its standard deviation.

    The source neither reads X nor checks it.
    Source: sklearn.dummy.DummyRegressor.predict.
    """
    constant = np.asarray(fitted_attribute(model, "constant_"))
    row = constant.ravel() if model.n_outputs_ == 1 else constant
    y, deviation = repeated(x, row), repeated(x, np.zeros(row.shape))
    return {"predict": y, "predict(return_std=True).0": y, "predict(return_std=True).1": deviation}
