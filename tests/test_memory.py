"""What a process keeps that converts many models: nothing of those that are gone."""

from __future__ import annotations

import gc
import linecache
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tensorml.executors.torch.program import lower
from tensorml.graph import Const, Graph, Input, TensorType

ROOT = Path(__file__).parents[1]
MEGABYTES = 4  # a model that stayed would be 1 to 40 of these for 100: a fifth of a megabyte is what is seen
SCRIPT = """
import gc, resource, sys, warnings
import numpy as np
import tensorml
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
warnings.simplefilter("ignore", DeprecationWarning)
random = np.random.default_rng(0)
x = random.standard_normal((500, 12)).astype(np.float32)
y = [(x @ random.standard_normal(12) > 0).astype(int) for _ in range(4)]
models = [make_pipeline(StandardScaler(), LogisticRegression()).fit(x, part) for part in y]
models += [DecisionTreeClassifier(max_depth=4).fit(x, part) for part in y]
def peak(count):
    for k in range(count):
        tensorml.convert(models[k % len(models)], executor=sys.argv[1]).predict(x)
    gc.collect()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak(int(sys.argv[2]))
print(peak(int(sys.argv[2])) - before)
"""


@pytest.mark.parametrize(("executor", "count"), [("reference", 50), ("torch", 50), ("torchscript", 25), ("simd", 50)])
def test_models_of_the_same_kind_leave_nothing_behind(executor: str, count: int) -> None:
    pytest.importorskip("resource", reason="peak memory is read as on Unix")
    command = [sys.executable, "-c", SCRIPT, executor, str(count)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there
    assert int(done.stdout) * unit < MEGABYTES * 2**20


def graph(value: float, columns: int = 1) -> Graph:
    x = Input("x", TensorType(("N", columns), np.dtype(np.float64)))
    return Graph({"out": x + Const(np.array(value))})


def sources() -> set[str]:
    return {name for name in linecache.cache if name.startswith("<tensorml ")}


def test_graphs_of_the_same_code_share_a_class_but_not_their_numbers() -> None:
    first, second = lower(graph(1.0)), lower(graph(2.0, columns=3))
    assert type(first) is type(second)
    assert [float(sum(module.buffers())) for module in (first, second)] == [1.0, 2.0]


def test_the_code_of_a_graph_goes_with_its_last_module() -> None:
    gc.collect()
    before = sources()
    module = lower(Graph({"some name": graph(1.0).outputs["out"]}))
    assert len(sources() - before) == 1
    del module
    gc.collect()
    assert not sources() - before
