"""A short run of the asv suites, their pages, and the ratios in the terminal: `python -m benchmarks.short`.

A few cases, the executor that "auto" stands for, 100,000 rows. `--only NAME` runs fewer. For everything, hours of it:
`cd benchmarks; asv run --python=same`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.models import FOLDER, MANY_LEAVES, ROWS
from benchmarks.peers import HUMMINGBIRD, INTELEX, ONNXRUNTIME, SOURCE
from benchmarks.report import figure, ratio_cell, short, terminal_table
from tensorml.executors.base import choose
from tensorml.plan import MEBIBYTE

HERE = Path(__file__).parent
# A process for each number, which has to import nothing. asv avoids it, as threads do not survive a fork: imports start
# none on Linux.
LAUNCH = ("--launch-method", "forkserver") if sys.platform == "linux" else ()
SHORT = (
    "LogisticRegression, 5 classes",
    "StandardScaler + LogisticRegression",
    "PCA to 8",
    "RandomForest, 100 trees",
    "HistGradientBoosting",
    "XGBoost, 100 trees of depth 6",
    "LightGBM, 100 trees of 64 leaves",
    "SVC",
    "KBins + LogisticRegression",
    "Polynomial + LogisticRegression",
)


@dataclass(frozen=True)
class Result:
    """A number that asv measured: of which benchmark, for which parameters, in the text form that asv keeps."""

    benchmark: str
    parameters: tuple[str, ...]
    value: float


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.short", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="ratios, errors and single rows of these cases alone")
    parser.add_argument("--pages", action="store_true", help="publish and show what was measured before")
    return parser.parse_args(argv)


def selection(only: Sequence[str] | None = None) -> list[str]:
    """Regular expressions of the benchmarks of a short run, with their parameters; only: ratios and errors of these."""
    auto, cases = choose(None), "|".join(map(re.escape, only or SHORT))
    few = [
        rf"Ratio\.track_times_as_fast\('({cases})', '{auto}', .*, {ROWS}\)",
        rf"Predict\.track_error\('({cases})', '{auto}', 1000\)",
        rf"Latency\..*\('({cases})', '({auto}|{SOURCE}|{ONNXRUNTIME})'\)",
        r"Import\.",
    ]
    if only:
        return few
    return [
        *few,
        rf"Conversion\.time_convert.*\('{MANY_LEAVES.name}', '{auto}'\)",
        rf"Memory\..*\(.*, '{auto}'\)",
        rf"Process\..*\(.*, '({auto}|{SOURCE})'\)",
        rf"Cold\..*\(.*, '{auto}', .*\)",
    ]


def asv(*arguments: str) -> int:
    """Run asv beside its configuration and pass on its progress, not its tables. Its exit status: 2 if some failed."""
    command = [sys.executable, "-m", "asv", *arguments]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            if line.startswith("[") and "=====" not in line:
                print(line.rstrip(), flush=True)
    return process.returncode


def commit() -> str:
    """The commit that is checked out; results are kept under it."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()


def newest() -> dict[str, Any]:
    """The file of results that was written last."""
    files = [path for path in (FOLDER / "results").glob("*/*.json") if path.name != "machine.json"]
    return json.loads(max(files, key=lambda path: path.stat().st_mtime).read_text(encoding="utf-8"))


def results(content: dict[str, Any]) -> Iterator[Result]:
    """The numbers in a file of asv's results. NaN and null stand for what did not run."""
    for name, values in content["results"].items():
        entry = dict(zip(content["result_columns"], values, strict=False))
        for parameters, value in zip(product(*entry["params"]), entry["result"] or [], strict=False):
            if value is not None and not math.isnan(value):
                yield Result(name, tuple(text.strip("'") for text in parameters), value)


def ratios(found: Sequence[Result]) -> list[list[str]]:
    """A row for each case: the ratio to each peer, and the error."""
    cells: dict[str, dict[str, str]] = {}
    for result in found:
        if result.benchmark.endswith("track_times_as_fast"):
            case, _, peer, _ = result.parameters
            cells.setdefault(case, {})[peer] = ratio_cell(result.value)
        elif result.benchmark.endswith("track_error") and result.parameters[1] == choose(None):
            cells.setdefault(result.parameters[0], {})["error"] = f"{result.value:.1e}"
    return [[case, *(row.get(key, "-") for key in RATIO_KEYS)] for case, row in cells.items()]


RATIO_KEYS = (SOURCE, INTELEX, ONNXRUNTIME, HUMMINGBIRD, "error")


UNITS = {
    "time_convert": "s",
    "time_convert_and_first_prediction": "s",
    "timeraw_import": "s",
    "track_first_prediction": "s",
    "track_p99": "us",
    "track_peak_beyond_input_and_output": "MiB",
    "peakmem_million_rows": "MiB",
    "peakmem_convert": "MiB",
}
SCALES = {"s": 1.0, "us": 1e6, "MiB": 1 / MEBIBYTE}


def others(found: Sequence[Result]) -> list[list[str]]:
    """A row for each of the other numbers, with its unit."""
    rows = []
    for result in found:
        name = result.benchmark.rpartition(".")[2]
        if unit := UNITS.get(name):
            rows.append([name, ", ".join(result.parameters), f"{figure(result.value * SCALES[unit])} {unit}"])
    return rows


def show(console: Console) -> None:
    """The newest results as tables."""
    found = list(results(newest()))
    auto = choose(None)
    header = ["case", *(short(name) for name in RATIO_KEYS[:-1]), "largest error"]
    console.print(f"How many times as fast {auto} is, {ROWS:,} rows", style="bold")
    console.print(terminal_table(header, ratios(found)))
    console.print(terminal_table(["benchmark", "of", "measured"], others(found), right=False))
    console.print(f"pages: {FOLDER / 'html' / 'index.html'} (asv preview shows them)", style="dim")


def main() -> int:
    """Run, publish, show. What was measured is shown although something failed, which the exit status says."""
    options, failed = arguments(), 0
    if not options.pages:
        asv("machine", "--yes")
        chosen = [argument for pattern in selection(options.only) for argument in ("--bench", pattern)]
        failed = asv("run", "--python=same", *LAUNCH, "--set-commit-hash", commit(), *chosen)
    failed = asv("publish") or failed
    show(Console() if os.isatty(1) else Console(width=120))
    return failed


if __name__ == "__main__":
    sys.exit(main())
