"""treelite: its general interpreter of forests, and the C code that tl2cgen makes of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models import FOLDER, THREADS, Case, digest
from benchmarks.peers import Call, RefusedError, library

COMPILERS = ("gcc", "clang", "cc")
NODES = 20_000  # whose C code is compiled: 12,576 took gcc 5 s on two busy cores, 45,892 more than 60 s
SECONDS = 60  # that a C compiler may take for a model
# In a process of its own: it writes to the terminal, and is ended where it takes too long.
COMPILE = """
import sys
import tl2cgen, treelite
checkpoint, compiler, path, threads = sys.argv[1:]
tl2cgen.export_lib(
    treelite.Model.deserialize(checkpoint), toolchain=compiler, libpath=path, nthread=int(threads), options=["-O2"],
    params={"parallel_comp": int(threads)},
)
"""


def treelite_model(model: Any) -> Any:
    """A tree model in treelite's form. Raises RefusedError if treelite takes no such model."""
    treelite = import_module("treelite")
    match library(model):
        case "xgboost":
            return treelite.frontend.from_xgboost(model.get_booster())
        case "lightgbm":
            return treelite.frontend.from_lightgbm(model.booster_)
    try:
        return treelite.sklearn.import_model(model)
    except treelite.TreeliteError as error:
        raise RefusedError("takes ensembles of trees, of scikit-learn, XGBoost and LightGBM alone") from error


def gtil(case: Case, model: Any, X: np.ndarray) -> Call:
    """Treelite's interpreter."""
    converted = treelite_model(model)
    predict = import_module("treelite.gtil").predict
    return lambda x: probabilities(case, predict(converted, x, nthread=THREADS))


def tl2cgen(case: Case, model: Any, X: np.ndarray) -> Call:
    """C code, compiled once and kept."""
    library_path = shared_library(case, model)
    code = import_module("tl2cgen")
    predictor = code.Predictor(str(library_path), nthread=THREADS)
    # It takes rows of the type of the thresholds alone.
    dtype = np.dtype(predictor.threshold_type)
    return lambda x: probabilities(case, predictor.predict(code.DMatrix(x.astype(dtype, copy=False))))


def probabilities(case: Case, result: np.ndarray) -> np.ndarray:
    """[N, C], both classes of two; the score of an isolation forest in scikit-learn's sign."""
    result = result.reshape(len(result), -1)
    if case.method == "score_samples":
        return -result
    if case.method == "predict_proba" and result.shape[1] == 1:
        return np.concatenate([1 - result, result], axis=1)
    return result


def shared_library(case: Case, model: Any) -> Path:
    """The compiled code of a case. Raises RefusedError without a C compiler, or if it fails or takes too long."""
    converted = treelite_model(model)
    import_module("tl2cgen")
    path = FOLDER / "models" / f"{digest(case)}.so"
    refused = path.with_suffix(".txt")
    if refused.exists():
        raise RefusedError(refused.read_text(encoding="utf-8"))
    compiler = next((name for name in COMPILERS if shutil.which(name)), None)
    if compiler is None:
        raise RefusedError("needs a C compiler, and there is none")
    if nodes(converted) > NODES:
        raise RefusedError(f"a C compiler takes minutes for more than {NODES:,} nodes: not tried")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            compile_into(path, converted, compiler)
        except subprocess.TimeoutExpired:  # is tried again in the next run: the machine may have been busy
            raise RefusedError(f"the C compiler takes more than {SECONDS} s for so many nodes") from None
        except RefusedError as error:
            refused.write_text(str(error), encoding="utf-8")
            raise
    return path


def nodes(converted: Any) -> int:
    """How many nodes a treelite model has."""
    return sum(int(converted.get_tree_accessor(i).get_field("num_nodes")[0]) for i in range(converted.num_tree))


def compile_into(path: Path, converted: Any, compiler: str) -> None:
    """Compile a model. Raises RefusedError with the last line of the errors if that fails, TimeoutExpired."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, made = os.path.join(folder, "model.tl"), os.path.join(folder, f"model{path.suffix}")
        converted.serialize(checkpoint)
        command = [sys.executable, "-c", COMPILE, checkpoint, compiler, made, str(os.cpu_count() or 1)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        ) as process:
            try:
                output, _ = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                end(process)
                raise
        if process.returncode:
            raise RefusedError(f"fails: {(output.strip().splitlines() or [''])[-1][:120]}")
        shutil.move(made, path)


def end(process: subprocess.Popen[str]) -> None:
    """End a process and the compilers that it started, which are in a group of their own."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, 9)
    else:
        process.kill()
