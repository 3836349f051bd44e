"""What this project set out to reach, and what was measured of it in this run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter

from benchmarks.cold import ColdStart
from benchmarks.comparison import Comparison
from benchmarks.cuda import bandwidth_shares, has_cuda
from benchmarks.memory import peak_beyond
from benchmarks.models import KERNELS, MANY_LEAVES, OTHERS, SMALL_FOREST, TREES, Family, load
from benchmarks.peers import CUDA, HUMMINGBIRD, HUMMINGBIRD_JIT, INTELEX, ONNXRUNTIME, SOURCE
from tensorml.convert import convert
from tensorml.executors.base import choose
from tensorml.plan import DEFAULT_BUDGET, MEBIBYTE

IMPORT = "import sys, time; start = time.perf_counter(); import tensorml; print(time.perf_counter() - start)"
MEMORY_CASES = (
    "StandardScaler + LogisticRegression",
    "Polynomial + LogisticRegression",
    "XGBoost, 100 trees of depth 6",
    "XGBoost, 1,000 trees of 64 leaves",
    "RandomForest, 100 trees",
)
MEMORY_ROWS = 1_000_000
COLD_CASES = ("StandardScaler + LogisticRegression", "XGBoost, 100 trees of depth 6", "RandomForest, 100 trees")
MANY = 1_000  # rows from which on a comparison is one of throughput
BOOSTED = "boosted trees of depth 6 or 64 leaves at most"
LEAST_OTHERS = 5.0  # the median of all other estimators
UNMEASURED = "not measured"


@dataclass(frozen=True)
class Target:
    """A named promise: what was wanted, what was measured, and whether that is enough (None: not measured)."""

    name: str
    wanted: str
    measured: str
    met: bool | None


@dataclass(frozen=True)
class Peak:
    """The bytes that a prediction of so many rows takes at most beyond model, input and output. failure: why none."""

    case: str
    contestant: str
    rows: int
    bytes: int = 0
    failure: str = ""


@dataclass(frozen=True)
class Speed:
    """A promise to be so many times as fast as a peer on each model of some families, for many rows.

    executor: whose speed; "auto" for none.
    """

    what: str
    families: tuple[Family, ...]
    peer: str
    least: float
    executor: str | None = None

    def measured(self, comparisons: Sequence[Comparison]) -> Target:
        """What a run says of it."""
        found = {
            c.case: ratio
            for c in comparisons
            if c.family in self.families
            and c.rows >= MANY
            and (ratio := c.times_as_fast(self.peer, self.executor)) is not None
        }
        name = f"{self.what}: {self.executor or choose(None)} beside {self.peer}"
        return slowest(name, f">= {self.least:g} x as fast on each", found, lambda ratio: ratio >= self.least)


SPEEDS = (
    Speed(BOOSTED, ("boosted",), SOURCE, 5),
    Speed(BOOSTED, ("boosted",), INTELEX, 2),
    Speed(BOOSTED, ("boosted",), ONNXRUNTIME, 10),
    Speed(BOOSTED, ("boosted",), HUMMINGBIRD, 50),
    Speed("boosted trees of depth 8 to 10", ("deep",), SOURCE, 4),
    Speed("boosted trees of depth 8 to 10", ("deep",), INTELEX, 1.3),
    Speed("random forests", ("forests",), SOURCE, 5),
    Speed("random forests", ("forests",), INTELEX, 2),
    Speed("support vectors, in float64", ("libsvm",), SOURCE, 50),
    Speed("kernel machines", KERNELS, INTELEX, 3),
    Speed("kernel machines", KERNELS, HUMMINGBIRD, 50),
    Speed("every other estimator", OTHERS, SOURCE, 1),
    Speed("every other estimator", OTHERS, ONNXRUNTIME, 1),
    Speed("every other estimator", OTHERS, HUMMINGBIRD, 1),
    Speed("trees in TorchScript", TREES, HUMMINGBIRD_JIT, 5, "torchscript"),
)
ON_CUDA = Speed("trees, rows on the host", TREES, SOURCE, 20, CUDA)
# libsvm reads every row as float64, and so does what it is converted to: there is nothing else to measure.
FLOAT32 = Target(
    f"support vectors, in float32: {choose(None)} beside source",
    ">= 100 x as fast on each",
    f"{UNMEASURED}: computed in float64 as by the source, for the same answers",
    None,
)


def ratio_cell(ratio: float | None) -> str:
    """A ratio of times, with two digits."""
    if ratio is None:
        return "-"
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2f}"


def slowest(name: str, wanted: str, ratios: Mapping[str, float], enough: Callable[[float], bool]) -> Target:
    """A target that each case has to reach: the range, the median, and those that do not reach it, the worst first."""
    if not ratios:
        return Target(name, wanted, UNMEASURED, None)
    below = sorted((ratio, case) for case, ratio in ratios.items() if not enough(ratio))
    least, middle, most = (ratio_cell(f(ratios.values())) for f in (min, median, max))
    text = f"{least} to {most} x, median {middle} x"
    if below:
        text += f"; not yet: {'; '.join(f'{case} {ratio_cell(ratio)} x' for ratio, case in below)}"
    return Target(name, wanted, text, not below)


def others_median(comparisons: Sequence[Comparison]) -> Target:
    """The median of every estimator that has no target of its own."""
    ratios = [
        ratio
        for c in comparisons
        if c.family in OTHERS and c.rows >= MANY and (ratio := c.times_as_fast(SOURCE)) is not None
    ]
    name, wanted = f"every other estimator: {choose(None)} beside source", f"median >= {LEAST_OTHERS:g} x as fast"
    if not ratios:
        return Target(name, wanted, UNMEASURED, None)
    return Target(name, wanted, f"{ratio_cell(median(ratios))} x", median(ratios) >= LEAST_OTHERS)


def one_row(comparisons: Sequence[Comparison]) -> Target:
    """A prediction of one row beside the source's, on every model."""
    ratios = {c.case: r for c in comparisons if c.rows == 1 and (r := c.times_as_fast(SOURCE)) is not None}
    return slowest(f"one row: {choose(None)} beside source", ">= 1 x as fast on each", ratios, lambda ratio: ratio >= 1)


def one_row_microseconds(comparisons: Sequence[Comparison], executor: str, most: float) -> Target:
    """The median time of one row for linear models and small forests."""
    name, wanted = f"one row, linear models and small forests: {executor}", f"p50 <= {most:g} us on each"
    times = {
        c.case: 1e3 * c.milliseconds[executor]
        for c in comparisons
        if c.rows == 1 and (c.family == "linear" or c.case == SMALL_FOREST.name) and executor in c.milliseconds
    }
    if not times:
        return Target(name, wanted, UNMEASURED, None)
    worst = max(times, key=times.__getitem__)
    reached = f"{min(times.values()):.0f} to {times[worst]:.0f} us ({worst})"
    return Target(name, wanted, reached, times[worst] <= most)


def import_time() -> Target:
    """The median of five imports, each in a new interpreter, the interpreter's own start not counted."""
    command = [sys.executable, "-c", IMPORT]
    taken = median(float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(5))
    return Target("import tensorml", "<= 0.2 s", f"{taken:.2f} s", taken <= 0.2)


def conversion_time() -> Target:
    """convert() of 1,000 trees of 64 leaves, to the executor that "auto" stands for; the median of three."""
    name, wanted = f"convert() of {MANY_LEAVES.name}", "<= 1 s"
    model = load(MANY_LEAVES)
    samples = []
    for _ in range(3):
        start = perf_counter()
        try:
            convert(model)
        except NotImplementedError as error:
            return Target(name, wanted, f"refused: {error}", None)
        samples.append(perf_counter() - start)
    taken = median(samples)
    return Target(name, wanted, f"{taken:.2f} s", taken <= 1)


def first_predictions(starts: Sequence[ColdStart]) -> list[Target]:
    """The first prediction after convert() in a new process, kernels compiled or taken from the disk."""
    ours = [start for start in starts if start.contestant == choose(None) and not start.failure]
    targets = []
    for kind, most in (("empty", 3.0), ("warm", 0.5)):
        name, wanted = f"first prediction in a new process, {kind} kernel cache", f"<= {most:g} s"
        times = {start.case: start.first for start in ours if start.cache == kind}
        if not times:
            targets.append(Target(name, wanted, UNMEASURED, None))
            continue
        worst = max(times, key=times.__getitem__)
        targets.append(Target(name, wanted, f"{times[worst]:.2f} s ({worst})", times[worst] <= most))
    return targets


def peak(case: str, name: str, rows: int = MEMORY_ROWS) -> Peak:
    """The peak of a contestant on a case in a new process, or why it failed."""
    try:
        return Peak(case, name, rows, peak_beyond(case, name, rows))
    except RuntimeError as error:
        return Peak(case, name, rows, failure=str(error)[:200])


def peak_memory(found: Sequence[Peak]) -> Target:
    """The largest peak of the executor that "auto" stands for."""
    name, wanted = "peak memory beyond model, input and output", "<= 256 MiB"
    ours = [one for one in found if one.contestant == choose(None)]
    if not ours:
        return Target(name, wanted, UNMEASURED, None)
    worst = max(ours, key=lambda one: one.bytes)
    failures = [f"{one.case}: {one.failure}" for one in ours if one.failure]
    text = "; ".join([f"{worst.bytes / MEBIBYTE:.0f} MiB ({worst.case}, {worst.rows:,} rows)", *failures])
    return Target(name, wanted, text, worst.bytes <= DEFAULT_BUDGET and not failures)


def caches(name: str) -> tuple[str, ...]:
    """The folders of kernels that the first prediction of a contestant depends on: both, if it compiles any."""
    return ("empty", "warm") if name == choose(None) else ("empty",)


def cuda_targets(comparisons: Sequence[Comparison], shares: Mapping[str, float]) -> list[Target]:
    """Those of a GPU. shares: of its memory bandwidth, by case; none without one."""
    ratios = [ratio for c in comparisons if c.rows >= MANY and (ratio := c.times_as_fast(SOURCE, CUDA)) is not None]
    enough = sum(ratio >= 100 for ratio in ratios)
    missing = "" if shares or ratios else ": no CUDA device here"
    found = [
        slowest(
            "linear models and pipelines on CUDA: share of the memory bandwidth, rows on the device",
            ">= 0.6 x a copy's on each",
            shares,
            lambda share: share >= 0.6,
        ),
        Target(
            f"all models: {CUDA} beside source",
            ">= 100 x as fast on 70 % of them",
            f"on {enough} of {len(ratios)}" if ratios else UNMEASURED,
            enough >= 0.7 * len(ratios) if ratios else None,
        ),
        ON_CUDA.measured(comparisons),
    ]
    return [replace(one, measured=one.measured + (missing if one.met is None else "")) for one in found]


def speeds(comparisons: Sequence[Comparison]) -> list[Target]:
    """The targets that comparisons show."""
    return [
        *(speed.measured(comparisons) for speed in SPEEDS),
        FLOAT32,
        others_median(comparisons),
        one_row(comparisons),
        one_row_microseconds(comparisons, choose(None), 20),
        one_row_microseconds(comparisons, "torchscript", 100),
    ]


def targets(comparisons: Sequence[Comparison], starts: Sequence[ColdStart], found: Sequence[Peak]) -> list[Target]:
    """All of them, from what a run measured, and what it takes to import and to convert."""
    return [
        *speeds(comparisons),
        import_time(),
        conversion_time(),
        *first_predictions(starts),
        peak_memory(found),
        *cuda_targets(comparisons, bandwidth_shares() if has_cuda() else {}),
    ]
