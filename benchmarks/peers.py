"""Who predicts: the source library, each executor of this project, and the peers, behind one call.

A contestant is asked to `prepare` a model and returns a function of the rows. A peer that is not installed, refuses or
crashes is shown with that reason; one that answers wrongly is shown with its error; one that had to fit a model of the
same class and options by itself is shown as `Refitted`, and its answers are not compared.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from time import perf_counter
from typing import Any

import numpy as np
from joblib import parallel_config
from sklearn.ensemble import IsolationForest, RandomForestClassifier, RandomForestRegressor

import tensorml
from benchmarks.cuda import has_cuda
from benchmarks.models import THREADS, Case

Call = Callable[[np.ndarray], Any]
Prepare = Callable[[Case, Any, np.ndarray], Call]

SOURCE = "source"
ON_REQUEST = ("reference", "fpga")  # the oracle of the tests, and a circuit, which is simulated
CUDA = "torch on CUDA"
INTELEX = "scikit-learn-intelex"
HUMMINGBIRD = "Hummingbird torch"
HUMMINGBIRD_JIT = "Hummingbird torch.jit"
ONNXRUNTIME = "onnxruntime"
GTIL = "treelite gtil"
TL2CGEN = "tl2cgen"
SAMPLE = 1000  # rows that a peer may look at to convert


class RefusedError(Exception):
    """A contestant does not take the model. The message says why."""


@dataclass(frozen=True)
class Refitted:
    """A call of a model of the same class and options that the peer fitted by itself: it cannot take a fitted one."""

    call: Call

    def __call__(self, x: np.ndarray) -> Any:
        return self.call(x)


@dataclass(frozen=True)
class Contestant:
    """name: as shown. ours: an executor of this project. prepare: (case, fitted model, X) -> function of the rows."""

    name: str
    prepare: Prepare
    ours: bool = False


@dataclass(frozen=True)
class Ready:
    """A contestant that took a model: its function of the rows, seconds to convert, seconds of the first call."""

    call: Call
    conversion: float
    first: float


def source(case: Case, model: Any, X: np.ndarray) -> Call:
    """The library itself. CatBoost is told the number of threads in the call, where alone it listens.

    scikit-learn's forests start their threads anew in each call, which takes longer than a row does: that they predict
    with one thread. IsolationForest takes the number of threads from joblib alone.
    """
    method = getattr(model, case.method)
    if library(model) == "catboost":
        return partial(method, thread_count=THREADS)
    if THREADS == 1 or not isinstance(model, RandomForestClassifier | RandomForestRegressor | IsolationForest):
        return method
    alone = getattr(copy(model).set_params(n_jobs=1), case.method)

    def predict(x: np.ndarray) -> Any:
        if len(x) == 1:
            return alone(x)
        with parallel_config(backend="threading", n_jobs=THREADS):
            return method(x)

    return predict


def library(model: Any) -> str:
    """The root module of a model's class."""
    return type(model).__module__.partition(".")[0]


def executor(name: str, device: str | None = None) -> Prepare:
    """An executor of this project, on its own device for none."""

    def prepare(case: Case, model: Any, X: np.ndarray) -> Call:
        use_threads()
        try:
            return getattr(tensorml.convert(model, executor=name, device=device), case.method)
        except tensorml.TensorMLError as error:
            raise RefusedError(f"refused: {error}") from error

    return prepare


def use_threads() -> None:
    """Let torch use as many threads as everyone."""
    import torch

    torch.set_num_threads(THREADS)


def hummingbird(backend: str) -> Prepare:
    """Hummingbird. It sets torch's number of threads for the whole process, which is put right again."""

    def prepare(case: Case, model: Any, X: np.ndarray) -> Call:
        try:
            container = import_module("hummingbird.ml").convert(model, backend, X)
        finally:
            use_threads()
        if not hasattr(container, case.method):
            raise RefusedError(f"has no {case.method}")
        return getattr(container, case.method)

    return prepare


def onnxruntime(case: Case, model: Any, X: np.ndarray) -> Call:
    """onnxruntime, on what skl2onnx, onnxmltools or CatBoost writes."""
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = THREADS
    content = onnx_model(model, X).SerializeToString()
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    outputs = session.get_outputs()
    name = outputs[1 if case.method in ("predict_proba", "decision_function") and len(outputs) > 1 else 0].name
    return lambda x: session.run([name], {feed: x})[0]


def onnx_model(model: Any, X: np.ndarray) -> Any:
    """The model in ONNX, with probabilities as a tensor."""
    name = library(model)
    if name == "catboost":
        return catboost_onnx(model)
    if name in ("lightgbm", "xgboost"):
        types = import_module("onnxmltools.convert.common.data_types")
        inputs = [("X", types.FloatTensorType([None, X.shape[1]]))]
        options = {"zipmap": False} if name == "lightgbm" else {}
        return getattr(import_module("onnxmltools"), f"convert_{name}")(model, initial_types=inputs, **options)
    options = {"zipmap": False} if hasattr(model, "predict_proba") else None
    return import_module("skl2onnx").to_onnx(model, X[:1], options={id(model): options} if options else None)


def catboost_onnx(model: Any) -> Any:
    """What CatBoost writes, without the last step, which makes a dictionary of each row."""
    onnx = import_module("onnx")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        model.save_model(path, format="onnx")
        content = onnx.load(path)
    graph = content.graph
    zipmaps = [node for node in graph.node if node.op_type == "ZipMap"]
    for node in zipmaps:
        graph.node.remove(node)
        for output in [one for one in graph.output if one.name == node.output[0]]:
            graph.output.remove(output)
        graph.output.append(onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, None))
    return content


def contestants() -> dict[str, Contestant]:
    """All of them, the source first; torch on CUDA too where there is a device, from and to the host's memory."""
    from benchmarks import compiled, intelex

    return {
        contestant.name: contestant
        for contestant in (
            Contestant(SOURCE, source),
            *(Contestant(name, executor(name), ours=True) for name in tensorml.executors()),
            *([Contestant(CUDA, executor("torch", "cuda"), ours=True)] if has_cuda() else []),
            Contestant(INTELEX, intelex.prepare),
            Contestant(ONNXRUNTIME, onnxruntime),
            Contestant(HUMMINGBIRD, hummingbird("torch")),
            Contestant(HUMMINGBIRD_JIT, hummingbird("torch.jit")),
            Contestant(GTIL, compiled.gtil),
            Contestant(TL2CGEN, compiled.tl2cgen),
        )
    }


def taking_part(names: Sequence[str] | None = None) -> list[Contestant]:
    """The contestants of these names; for none, all that are made to be fast here. The source always."""
    everyone = contestants()
    if names is None:
        return [contestant for name, contestant in everyone.items() if name not in ON_REQUEST]
    unknown = sorted(set(names) - set(everyone))
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}. There are: {', '.join(everyone)}")
    return [contestant for name, contestant in everyone.items() if name in names or name == SOURCE]


def ready(contestant: Contestant, case: Case, model: Any) -> Ready:
    """A contestant that has converted a model and predicted a row. Raises RefusedError for any failure."""
    X = case.features(SAMPLE)

    def prepare() -> Ready:
        start = perf_counter()
        call = contestant.prepare(case, model, X)
        converted = perf_counter()
        call(X[:1].copy())
        return Ready(call, converted - start, perf_counter() - converted)

    return guarded(prepare)


def answered(call: Call, x: np.ndarray) -> tuple[np.ndarray, float]:
    """What a call returns, as a matrix, and the seconds that it took. Raises RefusedError for any failure."""
    rows = x.copy()  # some write to it

    def answer() -> tuple[np.ndarray, float]:
        start = perf_counter()
        result = call(rows)
        taken = perf_counter() - start
        return matrix(result), taken

    return guarded(answer)


def guarded(call: Callable[[], Any]) -> Any:
    """What a call returns; any failure is a RefusedError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call()
        except RefusedError:
            raise
        except ModuleNotFoundError as error:
            raise RefusedError(f"not installed: {error.name}") from error
        # All of them, since that is what is measured: how a contestant fails (a MissingConverter of its own, a
        # SystemError of its C code, a MemoryError, ...) is its result, shown by class and message, and must not end the
        # run of the others. What is to end the process (KeyboardInterrupt, SystemExit) does.
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
