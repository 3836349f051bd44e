"""The comparison with the peers as tables in the terminal: `python -m benchmarks.quick [--rows N] [--only NAME]`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.comparison import Comparison, compare, prepared
from benchmarks.models import CASES, FOLDER, ROWS, Case, load
from benchmarks.peers import Contestant, taking_part
from benchmarks.report import Report, report
from benchmarks.targets import cold_starts, peaks, targets


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, ROWS], metavar="N", help="numbers of rows")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="cases whose names contain one of these")
    parser.add_argument("--with", nargs="+", dest="names", metavar="NAME", help="these executors and peers alone")
    parser.add_argument("--seconds", type=float, default=0.3, help="of measurement for each time")
    parser.add_argument("--no-targets", action="store_true", help="leave out import, conversion and memory")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of quick.json and quick.md")
    return parser.parse_args(argv)


def chosen(only: Sequence[str]) -> list[Case]:
    """The cases whose names contain one of these strings; all for none."""
    cases = [case for case in CASES.values() if not only or any(part.lower() in case.name.lower() for part in only)]
    if not cases:
        raise SystemExit(f"no case contains {' or '.join(only)}. There are: {'; '.join(CASES)}")
    return cases


def warn_if_busy() -> None:
    """Say so if others use the cores: threads that wait for each other then cost some contestants more than others."""
    waiting = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if waiting > (os.cpu_count() or 1) / 2:
        Console(stderr=True).print(
            f"The machine is busy (load {waiting:.1f} on {os.cpu_count()} cores), which distorts ratios between "
            "contestants that use several threads. Wait, or compare single threads: OMP_NUM_THREADS=1.",
            style="yellow",
        )


def limit_memory() -> None:
    """Let a peer that asks for more than the machine's memory fail by itself: else the system ends the whole run."""
    try:
        import resource
    except ImportError:  # Windows
        return
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def run(cases: Sequence[Case], rows: Sequence[int], names: Sequence[Contestant], seconds: float) -> list[Comparison]:
    """Every case at every number of rows, with a progress bar. Models that are not in the cache are fitted first."""
    console = Console(stderr=True)
    for case in track(cases, "fit models", console=console, transient=True):
        load(case)
    prepared(cases[0], names)  # who imports what on the first conversion is no cost of the first case
    return [
        comparison
        for case in track(cases, "compare", console=console, transient=True)
        for comparison in compare(case, rows, names, seconds)
    ]


def with_targets(measured: Report) -> Report:
    """The report with the targets, and the first predictions and the memory that these are about."""
    starts, found = cold_starts([measured.auto]), peaks([measured.auto])
    return replace(measured, starts=starts, peaks=found, targets=targets(measured.comparisons, starts, found))


def main() -> None:
    """Measure, show, and write quick.json and quick.md."""
    options = arguments()
    cases, names = chosen(options.only), taking_part(options.names)
    warn_if_busy()
    limit_memory()
    measured = report(names, run(cases, options.rows, names, options.seconds))
    if not options.no_targets:
        measured = with_targets(measured)
    # A pipe has no width: wide enough that no number is folded.
    console = Console() if os.isatty(1) else Console(width=240)
    measured.show(console)
    options.output.mkdir(parents=True, exist_ok=True)
    for name, text in (("quick.json", measured.json()), ("quick.md", measured.markdown())):
        (options.output / name).write_text(text, encoding="utf-8")
        console.print(f"written: {options.output / name}", style="dim")


if __name__ == "__main__":
    main()
