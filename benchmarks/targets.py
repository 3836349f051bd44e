"""What this project set out to reach, and what was measured of it in this run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from benchmarks.comparison import Comparison
from benchmarks.memory import peak_beyond
from benchmarks.models import MANY_LEAVES, ROWS, load
from benchmarks.peers import HUMMINGBIRD, SOURCE
from tensorml.convert import convert
from tensorml.executors.base import choose
from tensorml.plan import DEFAULT_BUDGET, MEBIBYTE

IMPORT = "import sys, time; start = time.perf_counter(); import tensorml; print(time.perf_counter() - start)"
MEMORY_CASES = (
    "StandardScaler + LogisticRegression",
    "Polynomial + LogisticRegression",
    "XGBoost, 100 trees of depth 6",
    "RandomForest, 100 trees",
)
MEMORY_ROWS = 1_000_000


@dataclass(frozen=True)
class Target:
    """A named promise: what was wanted, what was measured, and whether that is enough (None: not measured)."""

    name: str
    wanted: str
    measured: str
    met: bool | None


def import_time() -> Target:
    """The median of five imports, each in a new interpreter, the interpreter's own start not counted."""
    command = [sys.executable, "-c", IMPORT]
    taken = median(float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(5))
    return Target("import tensorml", "< 0.2 s", f"{taken:.2f} s", taken < 0.2)


def conversion_time() -> Target:
    """convert() of 1,000 trees of 64 leaves, to the executor that "auto" stands for; the median of three."""
    name = f"convert() of {MANY_LEAVES.name}"
    model = load(MANY_LEAVES)
    x = MANY_LEAVES.features(1)
    samples, first = [], []
    for _ in range(3):
        start = perf_counter()
        try:
            converted = convert(model)
        except NotImplementedError as error:
            return Target(name, "< 1 s", f"refused: {error}", None)
        samples.append(perf_counter() - start)
        start = perf_counter()
        converted.predict_proba(x)
        first.append(perf_counter() - start)
    taken = median(samples)
    return Target(name, "< 1 s", f"{taken:.2f} s; the first prediction {median(first):.2f} s more", taken < 1)


def tree_speed(comparisons: Iterable[Comparison]) -> Target:
    """The executor "torch" beside Hummingbird's torch on all tree models."""
    name, wanted = f"trees on torch, {ROWS:,} rows, beside Hummingbird's torch", ">= 3 x as fast on each"
    ratios = {
        c.case: ratio
        for c in comparisons
        if c.family == "trees" and c.rows == ROWS and (ratio := c.ratio(HUMMINGBIRD, "torch")) is not None
    }
    if not ratios:
        return Target(name, wanted, "not measured", None)
    least = min(ratios, key=ratios.__getitem__)
    reached = f"{ratios[least]:.1f} x ({least}) to {max(ratios.values()):.1f} x"
    return Target(name, wanted, reached, ratios[least] >= 3)


def linear_speed(comparisons: Iterable[Comparison]) -> Target:
    """The executor that "auto" stands for beside scikit-learn on all dense models."""
    name, wanted = f"linear models, {ROWS:,} rows, beside scikit-learn", "<= 1.5 x its time on each"
    ratios = beside_source(comparisons, "dense")
    if not ratios:
        return Target(name, wanted, "not measured", None)
    most = max(ratios, key=ratios.__getitem__)
    reached = f"{min(ratios.values()):.2f} x to {ratios[most]:.2f} x ({most})"
    return Target(name, wanted, reached, ratios[most] <= 1.5)


def beside_source(comparisons: Iterable[Comparison], family: str) -> dict[str, float]:
    """The time of the executor that "auto" stands for, as a multiple of the source's, by case."""
    return {
        c.case: ratio
        for c in comparisons
        if c.family == family and c.rows == ROWS and (ratio := c.ratio(choose(None), SOURCE)) is not None
    }


def family_speed(comparisons: Iterable[Comparison]) -> Target:
    """The executor that "auto" stands for beside scikit-learn on a model of each further family."""
    name, wanted = f"families, {ROWS:,} rows, beside scikit-learn", "<= 1.2 x its time on each, median <= 0.5 x"
    ratios = beside_source(comparisons, "breadth")
    if not ratios:
        return Target(name, wanted, "not measured", None)
    slower = [f"{case} {ratio:.2f} x" for case, ratio in ratios.items() if ratio > 1.2]
    reached = f"median {median(ratios.values()):.2f} x; slower than 1.2 x: {', '.join(slower) or 'none'}"
    return Target(name, wanted, reached, not slower and median(ratios.values()) <= 0.5)


def peak_memory(cases: Sequence[str] = MEMORY_CASES) -> Target:
    """The peak of a prediction of a million rows beyond its input and output, the largest of a few models."""
    name, wanted = f"peak memory beyond input and output, {MEMORY_ROWS:,} rows", "<= 256 MiB"
    peaks: dict[str, int] = {}
    failures: list[str] = []
    for case in cases:
        try:
            peaks[case] = peak_beyond(case, choose(None), MEMORY_ROWS)
        except RuntimeError as error:
            failures.append(f"{case}: {error}")
    if not peaks:
        return Target(name, wanted, "; ".join(failures), None)
    most = max(peaks, key=peaks.__getitem__)
    reached = "; ".join([f"{peaks[most] / MEBIBYTE:.0f} MiB ({most})", *failures])
    return Target(name, wanted, reached, peaks[most] <= DEFAULT_BUDGET and not failures)


def targets(comparisons: Sequence[Comparison]) -> list[Target]:
    """All of them; those of speed from comparisons that were made."""
    speeds = [tree_speed(comparisons), linear_speed(comparisons), family_speed(comparisons)]
    return [import_time(), conversion_time(), *speeds, peak_memory()]
