"""The share of a GPU's memory bandwidth that predictions of rows on the device reach."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import import_module

import tensorml
from benchmarks.models import CASES, Case, load
from benchmarks.timing import interleaved

ROWS = 4_000_000  # 448 MB: more than any cache holds


def has_cuda() -> bool:
    """Whether torch has a CUDA device here. Without a driver torch is not imported: first imports are measured."""
    return shutil.which("nvidia-smi") is not None and import_module("torch").cuda.is_available()


def bandwidth_shares(device: str = "cuda", rows: int = ROWS) -> dict[str, float]:
    """By case, of the linear models and the pipelines."""
    cases = [case for case in CASES.values() if case.family in ("linear", "pipeline")]
    return {case.name: bandwidth_share(case, device, rows) for case in cases}


def bandwidth_share(case: Case, device: str, rows: int) -> float:
    """The bytes of input and output that a prediction moves in a second, over those that a copy on the device moves."""
    x = import_module("torch").from_numpy(case.features(rows)).to(device)
    predict = getattr(tensorml.convert(load(case), executor="torch", device=device), case.method)
    result = predict(x)
    calls = {"predict": finished(lambda: predict(x), device), "copy": finished(x.clone, device)}
    seconds = interleaved(calls, 0.5)
    return (x.nbytes + result.nbytes) / seconds["predict"] / (2 * x.nbytes / seconds["copy"])


def finished(call: Callable[[], object], device: str) -> Callable[[], None]:
    """The call, which waits until the device has done what it was asked."""
    torch = import_module("torch")

    def wait() -> None:
        call()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    return wait
