"""The results page, docs/benchmarks.md, from a run: `python -m benchmarks.page`.

`--from run.json` writes it again from an earlier run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter

from rich.console import Console
from rich.progress import track

from benchmarks import plots
from benchmarks.models import CASES, FOLDER, ROWS, load, scaled
from benchmarks.peers import HUMMINGBIRD, HUMMINGBIRD_JIT, INTELEX, ONNXRUNTIME, SOURCE, taking_part
from benchmarks.quick import chosen, limit_memory, run, warn_if_busy
from benchmarks.report import LEGEND, Report, from_json, markdown_section, markdown_table, ratio_cell, report, short
from benchmarks.scaling import DEPTHS, ROW_COUNTS, TREES, break_even, curves
from benchmarks.targets import MANY, MEMORY_CASES, MEMORY_ROWS, cold_starts, peaks, targets

DOCS = Path(__file__).parent.parent / "docs"
NOTE = "<!-- Written by `make bench-page`. -->"
# In new processes, which take seconds each: only what is compared there.
COLD_PEERS = (INTELEX, ONNXRUNTIME, HUMMINGBIRD_JIT)
MEMORY_PEERS = ("torch", SOURCE, ONNXRUNTIME, HUMMINGBIRD)
MEMORY_PEER_CASES = ("StandardScaler + LogisticRegression", "XGBoost, 100 trees of depth 6")
RESULTS = "page.json"


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, metavar="N", help="of a large call; most of all curves")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="cases whose names contain one of these")
    parser.add_argument("--seconds", type=float, default=0.2, help="of measurement for each time")
    parser.add_argument("--from", type=Path, dest="run", metavar="JSON", help="an earlier run instead of a new one")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of benchmarks.md and images/")
    return parser.parse_args(argv)


def measured(options: argparse.Namespace, console: Console) -> Report:
    """A run of everything that is on the page."""
    names, cases = taking_part(), chosen(options.only)
    result = report(names, [])
    for case in track([scaled(n, 6) for n in TREES] + [scaled(100, n) for n in DEPTHS], "fit curves", console=console):
        load(case)
    result.comparisons.extend(run(cases, [1, options.rows], names, options.seconds))
    # Ten times the rows of a large call are the most on a curve: a million by default.
    counts = [n for n in ROW_COUNTS if n <= 10 * options.rows]
    steps = curves(names, counts, options.rows, options.seconds)
    total = 2 * len(counts) + len(TREES) + len(DEPTHS)
    result.points.extend(track(steps, "curves", total=total, console=console))
    starts = cold_starts([*result.ours, *COLD_PEERS] if not options.only else [result.auto])
    rows = min(MEMORY_ROWS, 10 * options.rows)
    own = peaks([result.auto], MEMORY_CASES if not options.only else MEMORY_CASES[:1], rows)
    others = peaks(MEMORY_PEERS, MEMORY_PEER_CASES if not options.only else MEMORY_PEER_CASES[:1], rows)
    return replace(result, starts=starts, peaks=own + others, targets=targets(result.comparisons, starts, own))


def page(result: Report) -> str:
    """The page in Markdown. Every number, and every sentence with one, is of the run."""
    by_title = {section.title: section for section in result.sections()}
    parts = [
        NOTE,
        "# Measured",
        f"{result.environment.sentence()} A figure of speed is a ratio within one run: "
        "[how it is measured, and how to repeat it](how-to/run-the-benchmarks.md).",
        *busy(result),
        markdown_table(("model", *HEADS), list(summary(result))),
        f"Medians over the models that both predict, of how many times as fast `{result.auto}`, the executor that "
        '`"auto"` stands for, is; in brackets, the least and the most.',
        picture(result, "ratios", "How many times as fast as each peer, by model"),
        picture(result, "rows", "Milliseconds over the rows of a call"),
        *break_evens(result),
        picture(result, "trees", "Milliseconds over the number of trees and over their depth"),
        *(markdown_section(section) for title, section in by_title.items() if title == "Targets"),
        *(markdown_section(section) for title, section in by_title.items() if title != "Targets"),
        LEGEND,
        "## Who did not answer, and why",
        "\n".join(result.notes("* ")) or "All answered.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


OPPONENTS = (SOURCE, INTELEX, ONNXRUNTIME, HUMMINGBIRD)
HEADS = ("rows", *(short(name) for name in OPPONENTS))
FAMILIES = {
    "linear": "linear models",
    "pipeline": "pipelines",
    "boosted": "boosted trees, depth 6 or 64 leaves at most",
    "deep": "boosted trees, depth 8",
    "forests": "random forests",
    "libsvm": "support vectors",
    "breadth": "all other models",
}


def busy(result: Report) -> list[str]:
    """A warning where the run was disturbed."""
    if result.environment.load <= result.environment.cores / 2:
        return []
    return [
        "**Others used the machine during this run: ratios between contestants with several threads are distorted.**"
    ]


def summary(result: Report) -> Iterator[list[str]]:
    """A row for each family, for many rows and for one."""
    for family, name in FAMILIES.items():
        for many in (True, False):
            found = [c for c in result.comparisons if c.family == family and (c.rows >= MANY) == many]
            if found:
                rows = " or ".join(f"{n:,}" for n in sorted({c.rows for c in found}))
                ratios = [[c.times_as_fast(peer, result.auto) for c in found] for peer in OPPONENTS]
                yield [name, rows, *(spread([r for r in column if r is not None]) for column in ratios)]


def spread(ratios: Sequence[float]) -> str:
    """The median, the least and the most."""
    if not ratios:
        return "-"
    return f"{ratio_cell(median(ratios))} ({ratio_cell(min(ratios))} to {ratio_cell(max(ratios))})"


def break_evens(result: Report) -> list[str]:
    """From how many rows on a call is faster than that of each peer."""
    names = list(dict.fromkeys(p.curve for p in result.points if p.curve.startswith("rows: ")))
    if not names:
        return []
    peers = [name for name in (SOURCE, INTELEX, ONNXRUNTIME, HUMMINGBIRD_JIT) if name in result.names]
    rows = []
    for name in names:
        points = [point for point in result.points if point.curve == name]
        found = [break_even(points, result.auto, peer) for peer in peers]
        rows.append([name.removeprefix("rows: "), *("never" if n is None else f"{n:,}" for n in found)])
    return [
        f"`{result.auto}` is as fast, or faster, from so many rows of a call on:",
        markdown_table(("model", *peers), rows),
    ]


def picture(result: Report, name: str, text: str) -> str:
    """A link to a picture that the run has."""
    kinds = {"rows": ("rows",), "trees": ("trees", "depth")}.get(name, ())
    if kinds and not any(point.curve.partition(":")[0] in kinds for point in result.points):
        return ""
    return f"![{text}](images/benchmarks-{name}.svg)"


def write(result: Report, folder: Path) -> Path:
    """The page and its pictures."""
    images = folder / "images"
    plots.ratios(result, images / "benchmarks-ratios.svg")
    plots.curves(result, ("rows",), images / "benchmarks-rows.svg")
    plots.curves(result, ("trees", "depth"), images / "benchmarks-trees.svg")
    path = folder / "benchmarks.md"
    path.write_text(page(result), encoding="utf-8")
    return path


def main() -> None:
    """Measure, keep the numbers, write the page."""
    options, console = arguments(), Console(stderr=True)
    start = perf_counter()
    if options.run:
        result = from_json(options.run.read_text(encoding="utf-8"))
    else:
        warn_if_busy()
        limit_memory()
        result = measured(options, console)
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / RESULTS).write_text(result.json(), encoding="utf-8")
    path = write(result, options.output)
    console.print(f"written: {path}, {len(CASES)} cases at most, in {(perf_counter() - start) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
