"""What is simd's own: ends of blocks, threads, forked processes, the cache on disk, processors without AVX-512."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

import tensorml
from tensorml import ops
from tensorml.errors import InputError
from tensorml.executors.reference import evaluate
from tensorml.executors.simd import machine
from tensorml.executors.simd.program import SimdExecutor
from tensorml.graph import Const, Graph, Input, Op, TensorType

RNG = np.random.default_rng(0)
MANY = 100_001
X = RNG.normal(size=(MANY, 9)).astype(np.float32)
Y = RNG.integers(0, 3, 400)
SIZES = [0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 511, 512, 513, 1025, MANY]
MODELS = {
    "xgboost": XGBClassifier(n_estimators=9, max_depth=5, n_jobs=1),
    "boosting": GradientBoostingClassifier(n_estimators=4, max_depth=4, random_state=0),
    "forest": ExtraTreesRegressor(7, random_state=0, n_jobs=1),
    "pipeline": make_pipeline(StandardScaler(), PCA(5), LogisticRegression()),
}
EXACT = {"xgboost", "boosting", "forest"}
DOUBLE = np.dtype(np.float64)
ROOT = Path(__file__).parents[2]


@cache
def fitted(name: str) -> Any:
    return MODELS[name].fit(X[:400], Y)


@cache
def converted(name: str, threads: int | None = None) -> Any:
    return tensorml.convert(fitted(name), X[:1], executor=SimdExecutor(threads=threads))


def answers(model: Any, x: Any) -> np.ndarray:
    return model.predict_proba(x) if hasattr(model, "predict_proba") else model.predict(x)


@cache
def expected(name: str) -> np.ndarray:
    """By `reference`, for all rows."""
    return answers(tensorml.convert(fitted(name), X[:1], executor="reference"), X)


def assert_agrees(name: str, actual: np.ndarray, wanted: np.ndarray) -> None:
    assert actual.dtype == wanted.dtype
    if name in EXACT:
        rtol = 2e-7 if name == "xgboost" else 1e-14  # softmax
        np.testing.assert_allclose(actual, wanted, rtol=0 if name == "forest" else rtol)
    else:
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-6)


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of threads that calls asked for; they ask for one more for the least work."""
    asked: list[int] = []

    def counted(function: Any, items: Any, threads: int) -> Any:
        asked.append(threads)
        return original(function, items, threads)

    original = machine.in_parallel
    monkeypatch.setattr(machine, "in_parallel", counted)
    monkeypatch.setattr(machine, "WORTH_A_THREAD", 1)
    return asked


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("name", MODELS)
def test_rows_at_the_ends_of_vectors_and_blocks_agree_with_reference(name: str, rows: int) -> None:
    model = converted(name)
    if rows == 0:
        with pytest.raises(InputError, match="minimum of 1"):
            model.predict(X[:0])
        return
    actual = answers(model, X[:rows])
    assert actual.shape == expected(name)[:rows].shape
    assert_agrees(name, actual, expected(name)[:rows])
    np.testing.assert_array_equal(answers(model, X[MANY - rows :]), answers(model, X)[MANY - rows :])


@pytest.mark.parametrize("name", ["xgboost", "pipeline"])
def test_any_number_of_threads_gives_the_same_bits(name: str, helped: list[int]) -> None:
    alone = answers(converted(name, 1), X)
    assert not helped
    for threads in (2, 3, 64):
        model = converted(name, threads)
        for rows in (MANY, 3000, 129, 1):
            np.testing.assert_array_equal(answers(model, X[:rows]), alone[:rows])
        assert max(helped) == threads
        helped.clear()


def test_what_a_model_refuses_is_refused_whichever_thread_meets_it(helped: list[int]) -> None:
    model = converted("pipeline", 4)
    for row in (0, 50_000, MANY - 1):
        x = X.copy()
        x[row, 3] = np.nan
        with pytest.raises(InputError, match="contains NaN"):
            model.predict(x)
    assert helped == [4] * 3
    assert_agrees("pipeline", answers(model, X), expected("pipeline"))


@pytest.mark.parametrize("name", ["xgboost", "pipeline"])
def test_32_threads_at_once_get_the_same_bits(name: str, helped: list[int]) -> None:
    model = tensorml.convert(fitted(name), X[:1], executor=SimdExecutor(threads=3))
    barrier, x = Barrier(32), X[:20_000]

    def call(_: int) -> np.ndarray:
        barrier.wait()  # all compile and run at once
        return answers(model, x)

    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(call, range(32)))
    for result in results:
        np.testing.assert_array_equal(result, answers(converted(name, 1), x))
    assert helped


def unaligned(x: np.ndarray) -> np.ndarray:
    """The rows one byte after an address that suits their numbers."""
    memory = np.empty(x.nbytes + 1, np.uint8)
    moved = memory[1:].view(x.dtype).reshape(x.shape)
    moved[...] = x
    assert not moved.flags.aligned
    return moved


LAYOUTS = {
    "by columns": np.asfortranarray,
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "every other column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "a part of wider rows": lambda x: np.concatenate([x, x], axis=1)[:, : x.shape[1]],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "columns backwards": lambda x: x[:, ::-1].copy()[:, ::-1],
    "one row again and again": lambda x: np.broadcast_to(x[:1], x.shape),
    "unaligned": unaligned,
}


@pytest.mark.parametrize("rows", [1, 17, 700])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["xgboost", "pipeline"])
def test_any_layout_in_memory_is_read_as_it_is(name: str, layout: str, rows: int) -> None:
    x = LAYOUTS[layout](X[:rows])
    x.flags.writeable = False
    plain = np.ascontiguousarray(x).astype(np.float32)
    np.testing.assert_array_equal(answers(converted(name), x), answers(converted(name), plain))


def test_tensors_come_back_for_tensors_and_share_no_memory() -> None:
    model = tensorml.convert(StandardScaler().fit(X[:50]), X[:1], executor="simd")
    x = torch.from_numpy(X[:300].copy())
    for given in (x, x.T.contiguous().T, x[::2], x.clone().requires_grad_()):
        result = model.transform(given)
        assert isinstance(result, torch.Tensor)
        assert result.dtype == torch.float32
        assert not result.requires_grad
        np.testing.assert_array_equal(result.numpy(), model.transform(given.detach().numpy()))
        result.zero_()
    np.testing.assert_array_equal(x.numpy(), X[:300])


def test_outputs_that_are_inputs_or_appear_twice_are_arrays_of_their_own() -> None:
    x = Input("x", TensorType(("N", 3), DOUBLE))
    graph = Graph({"same": x, "again": x, "part": ops.Columns(x, np.array([2, 2, 0])), "more": x + 1.0})
    array = RNG.normal(size=(300, 3))
    found = SimdExecutor().compile(graph)({"x": array}, 300)
    for name, wanted in evaluate(graph, {"x": array}).items():
        np.testing.assert_array_equal(found[name], wanted)
    assert not any(np.shares_memory(found[a], b) for a in found for b in (array, *(found[c] for c in found if c != a)))


@pytest.mark.parametrize("width", [1, 2, 7, 8, 9, 15, 16, 17, 33])
@pytest.mark.parametrize("dtype", ["bool", "int16", "int32", "float32", "float64"])
def test_any_number_of_columns_of_any_size_goes_in_and_out(dtype: str, width: int) -> None:
    """A square of elements is read and written at a time: none may be lost or spilt at its sides."""
    x = Input("x", TensorType(("N", width), np.dtype(dtype)))
    turned = Graph({"out": ops.Columns(x, np.arange(width)[::-1])})
    program = SimdExecutor(threads=1).compile(turned)
    for rows in (1, 7, 8, 9, 31, 33, 130, 513):
        array = RNG.integers(0, 2 if dtype == "bool" else 1000, (rows, width)).astype(dtype)
        np.testing.assert_array_equal(program({"x": array}, rows)["out"], array[:, ::-1])


def test_numbers_in_another_byte_order_are_read() -> None:
    x = Input("x", TensorType(("N", 3), DOUBLE))
    array = RNG.normal(size=(300, 3))
    program = SimdExecutor().compile(Graph({"out": x + 1.0}))
    np.testing.assert_array_equal(program({"x": array.astype(array.dtype.newbyteorder())}, 300)["out"], array + 1.0)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int64"])
def test_integers_are_compared_and_wrapped_over_their_whole_range(dtype: str) -> None:
    limits, kind = np.iinfo(dtype), np.dtype(dtype)
    x, y = (Input(name, TensorType(("N", 1), kind)) for name in "xy")
    limit = Const(np.array(limits.max // 2 + 1, kind))
    binary = (ops.Max, ops.Min, ops.Less, ops.LessOrEqual, ops.Greater, ops.GreaterOrEqual, ops.Add, ops.Sub, ops.Mul)
    outputs = {f"{cls.__name__} {k}": cls(x, b) for cls in binary for k, b in enumerate((y, limit))}
    values = np.array([limits.min, limits.min + 1, 0, 1, limits.max // 2, limits.max - 1, limits.max], kind)
    first, second = (part.reshape(-1, 1) for part in np.meshgrid(values, values))
    arrays = {"x": first, "y": second}
    found = SimdExecutor().compile(Graph(outputs))(arrays, len(first))
    with np.errstate(over="ignore"):
        for name, wanted in evaluate(Graph(outputs), arrays).items():
            np.testing.assert_array_equal(found[name], wanted, err_msg=name)


def chain(x: Op, depth: int) -> Op:
    """Values that live long beside values that do not, and columns that are passed on without a copy."""
    kept = [x]
    for k in range(depth):
        y = ops.Concat((kept[-1], kept[k // 2])) if k % 3 == 0 else kept[-1] * Const(np.array(1.0 + k)) - kept[k // 2]
        y = ops.Columns(y, np.arange(y.columns)[::-1][:3])
        kept.append(ops.Where(ops.Less(y, kept[k // 3]), y + kept[0], ops.Max(y, kept[k // 3])))
    return ops.Concat(tuple(kept))


@pytest.mark.parametrize("depth", [1, 5, 40])
def test_memory_is_used_again_only_when_nobody_reads_it(depth: int) -> None:
    graph = Graph({"out": chain(Input("x", TensorType(("N", 3), DOUBLE)), depth)})
    array = RNG.integers(-3, 3, (700, 3)).astype(np.float64)
    found = SimdExecutor().compile(graph)({"x": array}, 700)["out"]
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(found, evaluate(graph, {"x": array})["out"])


SCRIPT = """
import json, pathlib, sys
import numpy as np
from numba.core import event
import tensorml
from numba.core.registry import cpu_target
from tensorml.executors.simd.addresses import has_avx512
passes = event.RecordingListener()
event.register("numba:run_pass", passes)
files, results, *names = map(pathlib.Path, sys.argv[1:])
x = np.load(files / "x.npy")
def load(name):
    return tensorml.load(files / f"{name}.safetensors", executor="simd")
for name in names:
    answer = load(name).predict_proba(x)
    np.save(results / f"{name}.npy", answer)
found = {"passes": len(passes.buffer), "avx512": has_avx512(cpu_target.target_context)}
"""
FORKING = """
import multiprocessing, warnings
warnings.filterwarnings("ignore", category=DeprecationWarning)  # from 3.12 on, of forking with threads
model = load(name)
model.predict_proba(x)
def child(queue):
    queue.put([bool((m.predict_proba(x) == answer).all()) for m in (model, model, load(name))])
context = multiprocessing.get_context("fork")
queue = context.SimpleQueue()
processes = [context.Process(target=child, args=(queue,)) for _ in range(3)]
for process in processes: process.start()
found["same"] = [queue.get() for process in processes]
for process in processes: process.join()
found["codes"] = [process.exitcode for process in processes]
assert (model.predict_proba(x) == answer).all()
"""
NOWHERE = """
from numba.core import caching
def refuse(self):
    raise OSError(30, "Read-only file system")
for kind in list(vars(caching).values()):
    if isinstance(kind, type) and issubclass(kind, caching._CacheLocator):
        kind.ensure_cache_path = refuse
"""
WITHOUT_AVX512 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+64bit,+cmov,+cx8,+fxsr,+mmx,+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,"
    "+fma,+f16c,+bmi,+bmi2,+lzcnt,+movbe,+xsave",
}
NAMES = ("xgboost", "boosting", "pipeline")
SOME = X[:20_000]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, and rows for them, for processes that have none of the libraries loaded."""
    folder = tmp_path_factory.mktemp("models")
    np.save(folder / "x.npy", SOME)
    for name in NAMES:
        converted(name).save(folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What makes Numba compile for a processor without AVX-512, and keep that in a new folder."""
    return WITHOUT_AVX512 | {"NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp("kernels"))}


def run(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of its own. environment: added to this one's."""
    given = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=given, timeout=100, check=False)


def found_elsewhere(files: Path, results: Path, *names: str, before: str = "", after: str = "", **environment: str):
    """What a process finds: its predictions are files in `results`."""
    script = before + SCRIPT + after + "print(json.dumps(found))"
    done = run(script, files, results, *names, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_avx512_answers_are_the_same_and_a_second_process_finds_its_kernels_on_disk(
    files: Path, kernels: dict[str, str], tmp_path: Path
) -> None:
    """Leaves of float32 (xgboost) and of float64 (boosting); a product of matrices."""
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("not a processor with AVX2")
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, compiles in ((first, True), (second, False)):
        folder.mkdir()
        found = found_elsewhere(files, folder, *NAMES, **kernels)
        assert not found["avx512"]
        assert (found["passes"] > 0) == compiles
    for name in NAMES:
        answer = np.load(first / f"{name}.npy")
        assert_agrees(name, answer, expected(name)[: len(SOME)])
        np.testing.assert_array_equal(np.load(second / f"{name}.npy"), answer)


def test_a_forked_child_computes_after_its_parent_did(files: Path, tmp_path: Path) -> None:
    found = found_elsewhere(files, tmp_path, "xgboost", after=FORKING)
    np.testing.assert_array_equal(np.load(tmp_path / "xgboost.npy"), answers(converted("xgboost"), SOME))
    assert found["same"] == [[True] * 3] * 3
    assert found["codes"] == [0] * 3


def test_without_a_folder_to_write_to_kernels_are_compiled_each_time(files: Path, tmp_path: Path) -> None:
    """As in a container whose files nobody may write: Numba then finds no place for its cache."""
    folder = tmp_path / "kernels"
    found = found_elsewhere(files, tmp_path, "xgboost", before=NOWHERE, NUMBA_CACHE_DIR=str(folder))
    assert found["passes"] > 0
    assert not list(folder.rglob("*.*"))
    np.testing.assert_array_equal(np.load(tmp_path / "xgboost.npy"), answers(converted("xgboost"), SOME))


LOADING = """
import sys
import tensorml
from tensorml.errors import MissingDependencyError
try:
    tensorml.load(sys.argv[1], executor="simd")
except MissingDependencyError as error:
    print(error)
print(tensorml.load(sys.argv[1], executor="auto").executor.name)
"""


def loaded(script: str, files: Path, **environment: str) -> list[str]:
    """What is printed of loading a model on simd and on auto."""
    found = run(script + LOADING, files / "pipeline.safetensors", **environment)
    assert found.returncode == 0, found.stderr
    return found.stdout.splitlines()


def test_without_numba_one_error_says_how_to_install_it_and_auto_is_torch(files: Path) -> None:
    words = "the executor 'simd' needs numba. Install it: pip install 'tensorml[simd]'"
    assert loaded('import sys\nsys.modules["numba"] = None\n', files) == [words, "torch"]


def test_a_numba_that_does_not_work_with_this_numpy_is_as_good_as_none(files: Path, tmp_path: Path) -> None:
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text('raise ImportError("Numba needs NumPy 1.9 or less")')
    words = "the executor 'simd' cannot be loaded: Numba needs NumPy 1.9 or less. Install it: pip install"
    error, auto = loaded("", files, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert error.startswith(words)
    assert auto == "torch"


def test_where_numba_is_told_not_to_compile_one_error_says_so_and_auto_is_torch(files: Path) -> None:
    words = "the executor 'simd' cannot compile while NUMBA_DISABLE_JIT is set. Unset it, or convert with"
    error, auto = loaded("", files, NUMBA_DISABLE_JIT="1")
    assert error == f"{words} executor='torch'"
    assert auto == "torch"
    assert loaded("", files) == ["simd"]


@pytest.mark.parametrize("index", [-1, 3, 2**62, -(2**63)])
def test_an_index_outside_of_its_table_is_never_read(index: int) -> None:
    """The address would be any. Another executor raises the error, or counts from the end."""
    table, x = Const(np.arange(3.0)), Input("x", TensorType(("N", 2), np.dtype(np.int64)))
    numbers = ops.Cast(x, DOUBLE)
    arrays = {"x": np.array([[0, 1], [2, index], [1, 1]])}
    for op in (ops.Take(table, x), ops.GatherElements(numbers, x)):
        program = SimdExecutor(threads=1).compile(Graph({"out": op}))
        assert program({"x": np.zeros((2, 2), np.int64)}, 2)["out"].shape == (2, 2)
        with pytest.raises((IndexError, RuntimeError), match="index"):
            program(arrays, 3)
