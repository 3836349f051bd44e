"""Who predicts: the source library, each executor of this project, Hummingbird and onnxruntime, behind one call.

A contestant is asked to `prepare` a model and returns a function of the rows. A peer that is not installed, refuses or
crashes is shown with that reason; one that answers wrongly is shown with its error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from time import perf_counter
from typing import Any

import numpy as np

import tensorml
from benchmarks.models import THREADS

Call = Callable[[np.ndarray], Any]
Prepare = Callable[[Any, np.ndarray, str], Call]

SOURCE = "source"
ORACLE = "reference"
HUMMINGBIRD = "Hummingbird torch"
HUMMINGBIRD_JIT = "Hummingbird torch.jit"
ONNXRUNTIME = "onnxruntime"


class RefusedError(Exception):
    """A contestant does not take the model. The message says why."""


@dataclass(frozen=True)
class Contestant:
    """name: as shown. ours: an executor of this project. prepare: (model, X, method) -> function of the rows."""

    name: str
    prepare: Prepare
    ours: bool = False


def source(model: Any, X: np.ndarray, method: str) -> Call:
    """The library itself."""
    return getattr(model, method)


def executor(name: str) -> Prepare:
    """An executor of this project."""

    def prepare(model: Any, X: np.ndarray, method: str) -> Call:
        use_threads()
        try:
            return getattr(tensorml.convert(model, executor=name), method)
        except tensorml.TensorMLError as error:
            raise RefusedError(f"refused: {error}") from error

    return prepare


def use_threads() -> None:
    """Let torch use as many threads as everyone."""
    import torch

    torch.set_num_threads(THREADS)


def hummingbird(backend: str) -> Prepare:
    """Hummingbird. It sets torch's number of threads for the whole process, which is put right again."""

    def prepare(model: Any, X: np.ndarray, method: str) -> Call:
        try:
            container = import_module("hummingbird.ml").convert(model, backend, X[:1000])
        finally:
            use_threads()
        if not hasattr(container, method):
            raise RefusedError(f"has no {method}")
        return getattr(container, method)

    return prepare


def onnxruntime(model: Any, X: np.ndarray, method: str) -> Call:
    """onnxruntime, on what skl2onnx or, for XGBoost, onnxmltools writes."""
    library = import_module("onnxruntime")
    options = library.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = library.InferenceSession(
        onnx_model(model, X).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = session.get_inputs()[0].name
    outputs = session.get_outputs()
    name = outputs[1 if method in ("predict_proba", "decision_function") else 0].name
    return lambda x: session.run([name], {feed: x})[0]


def onnx_model(model: Any, X: np.ndarray) -> Any:
    """The model in ONNX, with probabilities as a tensor."""
    library = type(model).__module__.partition(".")[0]
    if library in ("lightgbm", "xgboost"):
        types = import_module("onnxmltools.convert.common.data_types")
        inputs = [("X", types.FloatTensorType([None, X.shape[1]]))]
        options = {"zipmap": False} if library == "lightgbm" else {}
        return getattr(import_module("onnxmltools"), f"convert_{library}")(model, initial_types=inputs, **options)
    options = {"zipmap": False} if hasattr(model, "predict_proba") else None
    return import_module("skl2onnx").to_onnx(model, X[:1], options={id(model): options} if options else None)


def contestants() -> dict[str, Contestant]:
    """All of them, the source first."""
    return {
        contestant.name: contestant
        for contestant in (
            Contestant(SOURCE, source),
            *(Contestant(name, executor(name), ours=True) for name in tensorml.executors()),
            Contestant(HUMMINGBIRD, hummingbird("torch")),
            Contestant(HUMMINGBIRD_JIT, hummingbird("torch.jit")),
            Contestant(ONNXRUNTIME, onnxruntime),
        )
    }


def prepared(contestant: Contestant, model: Any, X: np.ndarray, method: str) -> tuple[Call, np.ndarray, float]:
    """A contestant's function of the rows, what its first call returned, and the seconds that took.

    Raises RefusedError for any failure.

    Peers fail in ways of their own, which must not end the run: hence the broad clause, and a copy of X, which
    some of them write to.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call = contestant.prepare(model, X.copy(), method)
            rows = X.copy()
            start = perf_counter()
            result = call(rows)
            return call, matrix(result), perf_counter() - start
        except RefusedError:
            raise
        except ModuleNotFoundError as error:
            raise RefusedError(f"not installed: {error.name}") from error
        except Exception as error:
            raise RefusedError(f"fails: {type(error).__name__}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The first line of what an error says, at most 120 characters of it."""
    return (str(error).strip().splitlines() or [""])[0][:120]


def matrix(result: Any) -> np.ndarray:
    """A result as [N, C] float64, a copy."""
    array = np.array(result.toarray() if hasattr(result, "toarray") else result, np.float64)
    return array.reshape(len(array), -1)


def largest_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest absolute difference; NaN agrees with NaN. Infinite if the shapes differ or NaN meets a number."""
    if actual.shape != expected.shape:
        return float("inf")
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    difference = np.abs(actual - expected)[~same]
    return float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0))
