"""What a run measured, as tables for the terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.cold import ColdStart
from benchmarks.comparison import Comparison
from benchmarks.models import THREADS, cores
from benchmarks.peers import GTIL, HUMMINGBIRD, INTELEX, ONNXRUNTIME, SOURCE, TL2CGEN, Contestant
from benchmarks.scaling import Point
from benchmarks.targets import Peak, Target, ratio_cell
from tensorml.executors.base import choose
from tensorml.plan import MEBIBYTE

LIBRARIES = ("scikit-learn", "xgboost", "lightgbm", "catboost")
PEERS = ("scikit-learn-intelex", "hummingbird-ml", "onnxruntime", "skl2onnx", "onnxmltools", "treelite", "tl2cgen")
PACKAGES = ("tensorml", "numpy", *LIBRARIES, "torch", "numba", *PEERS)
# Whom the fastest executor is compared with; Hummingbird stands for the faster of its two.
OPPONENTS = (SOURCE, INTELEX, ONNXRUNTIME, HUMMINGBIRD, GTIL, TL2CGEN)
TARGET_THREADS = 2
SHORT = {HUMMINGBIRD: "Hummingbird", INTELEX: "intelex"}
LEGEND = (
    "Times are medians, measured in turns within one run; only their ratios mean anything. '!' marks answers that are "
    "wrong by more than rounding, with the largest absolute error against the source. '*' marks a peer that fitted a "
    "model of the same class and options by itself, whose answers are not compared. '-' did not answer: see the notes."
)


@dataclass(frozen=True)
class Section:
    """A table with its title, and what to know of it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: str = ""
    right: bool = True


@dataclass(frozen=True)
class Environment:
    """Of which versions, on which machine, when. load: of all processes when the run began."""

    versions: dict[str, str]
    processor: str
    bits: int
    cores: int
    threads: int
    system: str
    date: str
    load: float

    def sentence(self) -> str:
        """All of it."""
        listed = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        threads = "one thread" if self.threads == 1 else f"{self.threads} threads"
        return (
            f"{self.date}, {self.processor}, {self.cores} cores, vectors of {self.bits} bits, {self.system}, "
            f"{threads} each, load of {self.load:.1f} when the run began; {listed}."
        )

    def reservation(self) -> str:
        """What makes the targets mean something else, if anything does."""
        if self.threads == TARGET_THREADS:
            return ""
        return (
            f"The targets are of {TARGET_THREADS} threads; here, each contestant had {self.threads}. Ratios to a "
            "source that uses one thread alone, as libsvm does, grow with the number of threads."
        )


@dataclass(frozen=True)
class Report:
    """A run: who took part, what was measured. auto: the executor that "auto" stood for.

    done: the steps that were measured; failures: those that were not, with the reason.
    """

    names: list[str]
    ours: list[str]
    auto: str
    environment: Environment
    comparisons: list[Comparison]
    starts: list[ColdStart] = field(default_factory=list)
    peaks: list[Peak] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self), indent=1)

    def markdown(self) -> str:
        """All tables."""
        parts = [markdown_section(section) for section in self.sections()]
        return "\n\n".join([*parts, LEGEND, self.environment.sentence(), *self.notes("- ")]) + "\n"

    def show(self, console: Console) -> None:
        """The same in the terminal."""
        for section in self.sections():
            console.print(section.title, style="bold")
            if section.text:
                console.print(section.text, style="dim", highlight=False)
            console.print(terminal_table(section.header, section.rows, section.right))
        console.print(f"{LEGEND} {self.environment.sentence()}", style="dim", highlight=False)
        for note in self.notes("  "):
            console.print(note, style="dim", markup=False, highlight=False)

    def sections(self) -> list[Section]:
        """Every table that has rows."""
        tables = [self.ratios(), self.times(), self.latencies(), self.conversions(), self.cold(), self.memory()]
        if self.targets:
            cells = [target_cells(target) for target in self.targets]
            tables.append(Section("Targets", TARGET_HEADER, cells, self.environment.reservation(), right=False))
        return [table for table in tables if table.rows]

    def ratios(self) -> Section:
        """How many times as fast the executor "auto" is, and the errors of all."""
        rows = [
            [
                c.case,
                f"{c.rows:,}",
                *(f"{ratio_cell(c.times_as_fast(name, self.auto))}{mark(c, name)}" for name in self.opponents()),
                *(error_cell(c, name) for name in self.ours),
            ]
            for c in self.comparisons
        ]
        header = ["case", "rows", *map(short, self.opponents()), *(f"error, {name}" for name in self.ours)]
        return Section(f"How many times as fast {self.auto} is as each peer, and largest errors", header, rows)

    def opponents(self) -> list[str]:
        """The peers of this run that have a column of ratios."""
        return [name for name in OPPONENTS if name in self.names]

    def times(self) -> Section:
        """Milliseconds for many rows."""
        rows = [
            [c.case, f"{c.rows:,}", *(milliseconds_cell(c, name) for name in self.names)]
            for c in self.comparisons
            if c.rows > 1
        ]
        return Section("Milliseconds", ["case", "rows", *self.names], rows)

    def latencies(self) -> Section:
        """Microseconds of single calls with one row: the median, and what one call of a hundred exceeds."""
        rows = [[c.case, *(latency_cell(c, name) for name in self.names)] for c in self.comparisons if c.rows == 1]
        return Section("One row, microseconds: p50 / p99", ["case", *self.names], rows)

    def conversions(self) -> Section:
        """Seconds to convert, and of the first prediction after it, in a process that has done others before."""
        once = {c.case: c for c in reversed(self.comparisons)}
        others = [name for name in self.names if name != SOURCE]
        rows = [[case, *(conversion_cell(once[case], name) for name in others)] for case in reversed(once)]
        return Section("Conversion + first prediction of one row, seconds", ["case", *others], rows)

    def cold(self) -> Section:
        """First predictions in new processes."""
        rows = [
            [s.case, s.contestant, s.cache, *([f"{s.conversion:.2f}", f"{s.first:.2f}"] if not s.failure else "--")]
            for s in self.starts
        ]
        header = ["case", "by", "kernel cache", "convert, s", "first prediction, s"]
        return Section("A new process", header, rows)

    def memory(self) -> Section:
        """Peaks of memory."""
        names = list(dict.fromkeys(p.contestant for p in self.peaks))
        found = {(p.case, p.contestant): p for p in self.peaks}
        rows = [
            [f"{case}, {rows:,} rows", *(peak_cell(found.get((case, name))) for name in names)]
            for case, rows in dict.fromkeys((p.case, p.rows) for p in self.peaks)
        ]
        return Section("Peak memory beyond model, input and output, MiB", ["case", *names], rows)

    def notes(self, bullet: str) -> list[str]:
        """Why a step, or a contestant, did not answer; each reason once."""
        reasons: dict[tuple[str, str], list[str]] = {}
        for case, name, reason in self.reasons():
            cases = reasons.setdefault((name, reason), [])
            if case not in cases:
                cases.append(case)
        lines = [f"{bullet}{name}: {reason}" for name, reason in self.failures.items()]
        return lines + [f"{bullet}{name} on {'; '.join(cases)}: {reason}" for (name, reason), cases in reasons.items()]

    def reasons(self) -> Iterator[tuple[str, str, str]]:
        """Case, contestant, reason."""
        for c in self.comparisons:
            yield from ((c.case, name, reason) for name, reason in c.refusals.items())
        yield from ((s.case, s.contestant, s.failure) for s in self.starts if s.failure)
        yield from ((p.case, p.contestant, p.failure) for p in self.peaks if p.failure)


def report(contestants: Sequence[Contestant], comparisons: list[Comparison]) -> Report:
    """A report of this process's run, to be filled with more."""
    names = [contestant.name for contestant in contestants]
    ours = [contestant.name for contestant in contestants if contestant.ours]
    return Report(names, ours, choose(None), environment(), comparisons)


def from_json(text: str) -> Report:
    """A report of an earlier run."""
    content: dict[str, Any] = json.loads(text)
    content["environment"] = Environment(**content["environment"])
    for key, cls in (("starts", ColdStart), ("peaks", Peak), ("targets", Target), ("comparisons", Comparison)):
        content[key] = [cls(**one) for one in content[key]]
    content["points"] = [Point(p["curve"], p["value"], Comparison(**p["comparison"])) for p in content["points"]]
    return Report(**content)


TARGET_HEADER = ["target", "wanted", "measured", "met"]


def target_cells(target: Target) -> list[str]:
    """A row of the table of targets."""
    met = "-" if target.met is None else "yes" if target.met else "no"
    return [target.name, target.wanted, target.measured, met]


def short(name: str) -> str:
    """A contestant's name as the head of a narrow column."""
    return SHORT.get(name, name)


def mark(comparison: Comparison, name: str) -> str:
    """What to know of a peer's time."""
    if name not in comparison.milliseconds:
        return ""
    if name in comparison.refitted:
        return "*"
    return f" !{comparison.errors[name]:.1g}" if name != SOURCE and comparison.wrong(name) else ""


def milliseconds_cell(comparison: Comparison, name: str) -> str:
    """Milliseconds, with the error if the result is wrong."""
    if name not in comparison.milliseconds:
        return "-"
    return f"{figure(comparison.milliseconds[name])}{mark(comparison, name)}"


def figure(number: float) -> str:
    """Three digits."""
    return f"{number:,.3g}" if number < 100 else f"{number:,.0f}"


def latency_cell(comparison: Comparison, name: str) -> str:
    """Microseconds: the median, and what one call of a hundred exceeds."""
    if name not in comparison.milliseconds:
        return "-"
    p99 = figure(1e3 * comparison.p99[name]) if name in comparison.p99 else "-"
    return f"{figure(1e3 * comparison.milliseconds[name])} / {p99}{mark(comparison, name)}"


def conversion_cell(comparison: Comparison, name: str) -> str:
    """Seconds to convert + of the first prediction."""
    if name not in comparison.conversion:
        return "-"
    return f"{comparison.conversion[name]:.2f} + {comparison.first[name]:.2f}"


def error_cell(comparison: Comparison, name: str) -> str:
    """The largest error of a contestant."""
    if name not in comparison.errors:
        return "-"
    error = comparison.errors[name]
    return "0" if error == 0 else f"{'!' if comparison.wrong(name) else ''}{error:.0e}"


def peak_cell(peak: Peak | None) -> str:
    """Mebibytes."""
    return "-" if peak is None or peak.failure else f"{peak.bytes / MEBIBYTE:,.0f}"


def markdown_section(section: Section) -> str:
    """A table under its title."""
    parts = [f"## {section.title}", section.text, markdown_table(section.header, section.rows, section.right)]
    return "\n\n".join(part for part in parts if part)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: bool = True) -> str:
    """A table in Markdown; right: whether all but the first column hold numbers."""
    lines = [header, ["---", *["--:" if right else "---"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def terminal_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: bool = True) -> Table:
    """A table for the terminal; right: whether numbers follow the first column."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if right and i else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def versions() -> dict[str, str]:
    """The versions that take part; "not installed" where one is not."""
    found: dict[str, str] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def environment() -> Environment:
    """Of the process that runs now."""
    processor, bits = machine()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    date = time.strftime("%Y-%m-%d", time.gmtime())
    return Environment(versions(), processor, bits, cores(), THREADS, platform.system(), date, load)


def machine() -> tuple[str, int]:
    """The processor's name, and the bits of its vectors, as far as the system tells."""
    information = Path("/proc/cpuinfo")
    text = information.read_text(encoding="utf-8") if information.exists() else ""
    fields = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    found = {key.strip(): value.strip() for key, value in fields.items()}
    flags = found.get("flags", "").split()
    bits = 512 if "avx512f" in flags else 256 if "avx2" in flags else 128
    return found.get("model name", platform.machine()), bits
