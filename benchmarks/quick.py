"""The comparison with the peers as tables in the terminal: `python -m benchmarks.quick [--rows N] [--only NAME]`."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.cuda import has_cuda
from benchmarks.models import CASES, FOLDER, ROWS, Case, cores
from benchmarks.peers import taking_part
from benchmarks.report import report
from benchmarks.steps import comparisons, import_all, judged, peaks, resumed, starts, take
from benchmarks.targets import COLD_CASES, MEMORY_CASES, MEMORY_ROWS


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1, ROWS], metavar="N", help="numbers of rows")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="cases whose names contain one of these")
    parser.add_argument("--with", nargs="+", dest="names", metavar="NAME", help="these executors and peers alone")
    parser.add_argument("--seconds", type=float, default=0.3, help="of measurement for each time")
    parser.add_argument("--no-targets", action="store_true", help="leave out import, conversion and memory")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of quick.json and quick.md")
    parser.add_argument("--resume", action="store_true", help="keep what an unfinished run's quick.json has")
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
    if waiting > cores() / 2:
        Console(stderr=True).print(
            f"The machine is busy (load {waiting:.1f} on {cores()} cores), which distorts ratios between "
            "contestants that use several threads. Wait, or compare single threads: OMP_NUM_THREADS=1.",
            style="yellow",
        )


def limit_memory() -> None:
    """Let a peer that asks for more than the machine's memory fail by itself: else the system ends the whole run."""
    try:
        import resource
    except ImportError:  # Windows
        return
    if has_cuda():  # which reserves more addresses than there is memory
        return
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def begin() -> None:
    """What a run does first. One that is terminated stops as by Ctrl-C: no step is to blame."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    warn_if_busy()
    limit_memory()


def main() -> None:
    """Measure, show, and write quick.json and quick.md."""
    options = arguments()
    cases, names = chosen(options.only), taking_part(options.names)
    begin()
    measured, path = report(names, []), options.output / "quick.json"
    if options.resume:
        measured = resumed(measured, path)
    plan = comparisons(cases, options.rows, names, options.seconds)
    if not options.no_targets:
        plan += [*starts(COLD_CASES, [measured.auto]), *peaks(MEMORY_CASES, [measured.auto], MEMORY_ROWS), judged()]
    import_all(cases[0], names)
    take(measured, plan, path)
    # A pipe has no width: wide enough that no number is folded.
    console = Console() if os.isatty(1) else Console(width=240)
    measured.show(console)
    path.with_suffix(".md").write_text(measured.markdown(), encoding="utf-8")
    console.print(f"written: {path} and {path.with_suffix('.md').name}", style="dim")


if __name__ == "__main__":
    main()
