"""Comparisons and targets as tables for the terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.comparison import Comparison
from benchmarks.models import THREADS
from benchmarks.peers import SOURCE, Contestant
from benchmarks.targets import Target
from tensorml.executors.base import choose

LIBRARIES = ("scikit-learn", "xgboost", "lightgbm")
PACKAGES = ("tensorml", "numpy", *LIBRARIES, "torch", "hummingbird-ml", "onnxruntime", "skl2onnx")
LEGEND = (
    "Times are medians in milliseconds, measured in turns within one run; only their ratios mean anything. "
    "'!' marks results that are wrong by more than rounding, with the largest absolute error against the source. "
    "'-' did not answer: see the notes."
)


@dataclass(frozen=True)
class Report:
    """A run: who took part, what was measured."""

    contestants: Sequence[Contestant]
    comparisons: Sequence[Comparison]
    targets: Sequence[Target]

    def json(self) -> str:
        """All of it, with the versions and the machine it is of."""
        content: dict[str, Any] = {
            "versions": versions(),
            "machine": {
                "cores": os.cpu_count(),
                "threads": THREADS,
                "system": platform.system(),
                "processor": platform.machine(),
            },
            "auto": choose(None),
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "targets": [asdict(target) for target in self.targets],
        }
        return json.dumps(content, indent=1)

    def markdown(self) -> str:
        """The tables for a README: comparisons, notes, targets."""
        parts = [markdown_table(self.header(), [self.cells(c) for c in self.comparisons])]
        parts.append(f"{LEGEND} {environment()}")
        parts += [f"- {note}" for note in self.notes()]
        if self.targets:
            parts.append(markdown_table(TARGET_HEADER, [target_cells(t) for t in self.targets]))
        return "\n\n".join(parts) + "\n"

    def show(self, console: Console) -> None:
        """The same in the terminal."""
        console.print(terminal_table(self.header(), [self.cells(c) for c in self.comparisons]))
        console.print(f"{LEGEND} {environment()}", style="dim")
        for note in self.notes():
            console.print(f"  {note}", style="dim", markup=False, highlight=False)
        if self.targets:
            console.print(terminal_table(TARGET_HEADER, [target_cells(t) for t in self.targets], right=0))

    def header(self) -> list[str]:
        """The names of the columns."""
        names = [contestant.name for contestant in self.contestants]
        return ["case", "rows", *names, f"{choose(None)} / source", f"{choose(None)} / Hummingbird", "largest error"]

    def cells(self, comparison: Comparison) -> list[str]:
        """A row of the table."""
        return [
            comparison.case,
            f"{comparison.rows:,}",
            *(time_cell(comparison, contestant.name) for contestant in self.contestants),
            ratio_cell(comparison.over_source()),
            ratio_cell(comparison.over_hummingbird()),
            self.error_cell(comparison),
        ]

    def error_cell(self, comparison: Comparison) -> str:
        """The largest error of this project's executors."""
        ours = [comparison.errors[c.name] for c in self.contestants if c.ours and c.name in comparison.errors]
        return f"{max(ours):.1e}" if ours else "-"

    def notes(self) -> list[str]:
        """Why a contestant did not answer, each reason once."""
        reasons: dict[tuple[str, str], list[str]] = {}
        for comparison in self.comparisons:
            for name, reason in comparison.refusals.items():
                cases = reasons.setdefault((name, reason), [])
                if comparison.case not in cases:
                    cases.append(comparison.case)
        return [f"{name} on {'; '.join(cases)}: {reason}" for (name, reason), cases in reasons.items()]


TARGET_HEADER = ["target", "wanted", "measured", "met"]


def target_cells(target: Target) -> list[str]:
    """A row of the table of targets."""
    met = "-" if target.met is None else "yes" if target.met else "no"
    return [target.name, target.wanted, target.measured, met]


def time_cell(comparison: Comparison, name: str) -> str:
    """Milliseconds, with the error if the result is wrong."""
    if name not in comparison.milliseconds:
        return "-"
    time = (
        f"{comparison.milliseconds[name]:,.3g}"
        if comparison.milliseconds[name] < 100
        else (f"{comparison.milliseconds[name]:,.0f}")
    )
    return f"{time} !{comparison.errors[name]:.1g}" if name != SOURCE and comparison.wrong(name) else time


def ratio_cell(ratio: float | None) -> str:
    """A ratio of times, with two digits."""
    return "-" if ratio is None else f"{ratio:.2f}" if ratio >= 0.1 else f"{ratio:.2g}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, all but the first column to the right."""
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def terminal_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: int = 1) -> Table:
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


def environment() -> str:
    """The machine and the versions in a sentence."""
    listed = ", ".join(f"{name} {number}" for name, number in versions().items())
    return f"Threads: {THREADS}, cores: {os.cpu_count()}, {listed}."
