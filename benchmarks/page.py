"""The results page, docs/benchmarks.md, and the README's table, from a run: `python -m benchmarks.page`.

The numbers are kept after each step: `--resume` goes on with a run that was ended, `--from page.json` writes the page
of what there is.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

from rich.console import Console

from benchmarks import plots
from benchmarks.models import CASES, FEATURES, FOLDER, ROWS
from benchmarks.peers import HUMMINGBIRD, HUMMINGBIRD_JIT, INTELEX, ONNXRUNTIME, SOURCE, taking_part
from benchmarks.quick import begin, chosen
from benchmarks.report import LEGEND, Report, from_json, markdown_section, markdown_table, ratio_cell, report, short
from benchmarks.scaling import ROW_CASES, ROW_COUNTS, break_even
from benchmarks.steps import Step, comparisons, curves, import_all, judged, peaks, resumed, starts, take
from benchmarks.targets import COLD_CASES, MANY, MEMORY_CASES, MEMORY_ROWS, speeds

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"
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
    parser.add_argument("--resume", action="store_true", help="go on with the last run, which was ended")
    parser.add_argument("--output", type=Path, help="folder of all files instead of the docs and the README")
    options = parser.parse_args(argv)
    options.readme = None if options.output else ROOT / "README.md"
    options.kept = (options.output or FOLDER) / RESULTS
    options.output = options.output or DOCS
    return options


def plan(options: argparse.Namespace, result: Report) -> list[Step]:
    """A run of everything that is on the page."""
    names, cases, part = taking_part(), chosen(options.only), bool(options.only)
    # Ten times the rows of a large call are the most on a curve, and in memory: a million by default.
    counts = [n for n in ROW_COUNTS if n <= 10 * options.rows]
    rows = min(MEMORY_ROWS, 10 * options.rows)
    return [
        *comparisons(cases, [1, options.rows], names, options.seconds),
        *curves(names, counts, options.rows, options.seconds),
        *starts(COLD_CASES, [result.auto] if part else [*result.ours, *COLD_PEERS]),
        *peaks(MEMORY_CASES[:1] if part else MEMORY_CASES, [result.auto], rows),
        *peaks(MEMORY_PEER_CASES[:1] if part else MEMORY_PEER_CASES, MEMORY_PEERS, rows),
        judged(),
    ]


def measured(options: argparse.Namespace) -> Report:
    """What a run measures. It is kept on the way."""
    begin()
    result, path = report(taking_part(), []), options.kept
    if options.resume:
        result = resumed(result, path)
    import_all(CASES[ROW_CASES[0]], taking_part())
    take(result, plan(options, result), path)
    return result


def page(result: Report) -> str:
    """The page in Markdown. Every number, and every sentence with one, is of the run."""
    by_title = {section.title: section for section in result.sections()}
    parts = [
        NOTE,
        "# Measured",
        f"{result.environment.sentence()} A figure of speed is a ratio within one run: "
        "[how it is measured, and how to repeat it](how-to/run-the-benchmarks.md).",
        *busy(result),
        *summarized(result),
        picture(result, "ratios", "How many times as fast as each peer, by model"),
        picture(result, "rows", "Milliseconds over the rows of a call"),
        *break_evens(result),
        picture(result, "break-even", "How many times as fast as each peer, over the rows of a call"),
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
    "deep": "boosted trees, depth 8 to 10",
    "forests": "random forests",
    "libsvm": "support vectors",
    "kernels": "other kernel machines",
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


def summarized(result: Report) -> list[str]:
    """The table of all families, and what its numbers are."""
    return [
        markdown_table(("model", *HEADS), list(summary(result))),
        f"Medians over the models that both predict, of how many times as fast `{result.auto}`, the executor that "
        '`"auto"` stands for, is; in brackets, the least and the most.',
    ]


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
    kinds = {"rows": ("rows",), "break-even": ("rows",), "trees": ("trees", "depth")}.get(name, ())
    if kinds and not any(point.curve.partition(":")[0] in kinds for point in result.points):
        return ""
    return f"![{text}](images/benchmarks-{name}.svg)"


def write(result: Report, folder: Path) -> Path:
    """The page and its pictures."""
    images = folder / "images"
    plots.ratios(result, images / "benchmarks-ratios.svg")
    plots.curves(result, ("rows",), images / "benchmarks-rows.svg")
    plots.break_even(result, images / "benchmarks-break-even.svg")
    plots.curves(result, ("trees", "depth"), images / "benchmarks-trees.svg")
    path = folder / "benchmarks.md"
    path.write_text(page(result), encoding="utf-8")
    return path


def write_readme(result: Report, path: Path) -> Path:
    """The summary, between the two marks of the README. Raises SystemExit if they are not there."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path} has no {BEGIN.strip()} with a {END.strip()} after it")
    here = result.environment
    threads = "one thread" if here.threads == 1 else f"{here.threads} threads"
    measured_on = f"{here.processor} ({here.cores} cores, vectors of {here.bits} bits)"
    sentence = f"Rows x {FEATURES} float32 columns, {threads} each, on {measured_on}."
    parts = "\n\n".join([sentence, *busy(result), *summarized(result)])
    path.write_text(f"{before}{begin}{parts}\n\n{end}{after}", encoding="utf-8")
    return path


def main() -> None:
    """Measure, keep the numbers, write the page."""
    options, console = arguments(), Console(stderr=True)
    start = perf_counter()
    result = from_json(options.run.read_text(encoding="utf-8")) if options.run else measured(options)
    if not result.targets:  # of a run that did not come to its end
        result.targets.extend(speeds(result.comparisons))
    written = [write(result, options.output)]
    if options.readme:
        written.append(write_readme(result, options.readme))
    console.print(f"written: {', '.join(map(str, written))}, in {(perf_counter() - start) / 60:.1f} minutes")
    for note in (f"{name}: {reason}" for name, reason in result.failures.items()):
        console.print(note, style="red", markup=False)


if __name__ == "__main__":
    main()
