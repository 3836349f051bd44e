"""The first prediction in a new process: `python -m benchmarks.cold CASE CONTESTANT`.

Kernels that are compiled are kept on disk; the folder is given to the process, empty the first time, warm the second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class ColdStart:
    """cache: of kernels, "empty" or "warm". conversion: seconds of convert(), with what it imports; first: of one row.

    failure: why there are none.
    """

    case: str
    contestant: str
    cache: str
    conversion: float = 0.0
    first: float = 0.0
    failure: str = ""


def cold_start(case: str, contestant: str, caches: Sequence[str] = ("empty", "warm")) -> list[ColdStart]:
    """New processes after each other, with the same folder of kernels."""
    with tempfile.TemporaryDirectory() as folder:
        return [measured(case, contestant, cache, folder) for cache in caches]


def measured(case: str, contestant: str, cache: str, folder: str) -> ColdStart:
    """One new process."""
    command = [sys.executable, "-m", "benchmarks.cold", case, contestant]
    environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if process.returncode:
        failure = (process.stderr.strip().splitlines() or ["it was killed"])[-1]
        return ColdStart(case, contestant, cache, failure=failure[:200])
    conversion, first = json.loads(process.stdout.strip().splitlines()[-1])
    return ColdStart(case, contestant, cache, conversion, first)


def measure(case: str, contestant: str) -> tuple[float, float]:
    """Seconds to convert and of the first prediction in this process. The model's own library is imported before."""
    from benchmarks.models import CASES, load
    from benchmarks.peers import SAMPLE, contestants

    one, model = contestants()[contestant], load(CASES[case])
    x = CASES[case].features(SAMPLE)
    start = perf_counter()
    call = one.prepare(CASES[case], model, x)
    converted = perf_counter()
    call(x[:1])
    return converted - start, perf_counter() - converted


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2])))
