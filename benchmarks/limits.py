"""How far circuits of trees go: LUTs over trees, depth and features, the largest that Yosys is ready with in ten
minutes, and what walkers take when an ensemble is too large: `python -m benchmarks.limits`.

Each result is kept in a file as soon as it is there; a second run measures only what is missing, and writes the table
and the picture of docs/circuits.md. Seconds are processor time of Yosys, so that others on the machine do not matter.
The models are XGBoost's random forests, fitted to noise: all trees are full, and all weigh alike. (Trees that are
boosted have smaller and smaller leaves, most of which are nothing in fixed point: these are no limit.)
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import tensorml
from benchmarks import plots
from benchmarks.models import FOLDER
from benchmarks.report import markdown_table
from tensorml import ops
from tensorml.errors import CircuitError
from tensorml.executors.fpga.accuracy import FixedPoint
from tensorml.executors.fpga.area import Limit
from tensorml.executors.fpga.estimate import estimate
from tensorml.executors.fpga.program import Core, FpgaExecutor
from tensorml.executors.fpga.room import area as area_of_walkers
from tensorml.executors.fpga.synthesis import FAMILIES, synthesize
from tensorml.graph import Graph

DOCS = Path(__file__).parent.parent / "docs"
PAGE, IMAGE = DOCS / "circuits.md", DOCS / "images" / "circuits-limits.svg"
BEGIN, END = "<!-- limits -->\n", "<!-- /limits -->\n"
KEPT = "limits.json"
ROWS = 20_000  # that the models are fitted to
LEAF_BITS = 4
MINUTES = 10.0
WAIT = 6.0  # how many times as long as that the tool may take by the clock
UNLIMITED = Limit(10**9, 10**9)
TREES, DEPTHS, FEATURES = (10, 30, 100, 300, 1000), (2, 3, 4, 5, 6, 7, 8), (8, 16, 32, 64, 128, 256, 512)
LARGEST_OF = (4, 6, 8)  # depths
SHOWN = 150, 40_000  # LUTs on the axis of all panels: what is varied is compared
TRIES = 6  # to find a largest one
BUDGETS = (3_000, 6_000)  # LUTs of the 7 series, for walkers


@dataclass(frozen=True)
class Shape:
    """An ensemble: trees of a depth on so many features. budget: LUTs that walkers may take; None: a row each cycle."""

    trees: int
    depth: int
    features: int = 32
    budget: int | None = None

    @property
    def words(self) -> str:
        """In a table."""
        return f"{self.trees:,} x depth {self.depth}, {self.features} features"


@dataclass(frozen=True)
class Measured:
    """What Yosys made of a circuit, in so many seconds of processor time; failure: why it did not."""

    shape: Shape
    family: str
    nodes: int
    estimate: int
    luts: int | None = None
    memory_luts: int = 0
    flip_flops: int = 0
    block_rams: int = 0
    seconds: float = math.nan
    latency: int = 1
    walkers: int = 0
    failure: str = ""


def core_of(shape: Shape, family: str) -> Core:
    """The circuit of a forest that was fitted to noise."""
    executor = FpgaExecutor(fixed=FixedPoint(bits=LEAF_BITS), area=UNLIMITED, walkers=0)
    if shape.budget is not None:
        executor = replace(executor, area=Limit(shape.budget, 0, family=family), walkers=None)
    program: Any = executor.compile(graph_of(shape))
    return program.core


def graph_of(shape: Shape) -> Graph:
    """The model."""
    import xgboost as xgb

    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, shape.features)).astype(np.float32)
    model = xgb.XGBRFRegressor(n_estimators=shape.trees, max_depth=shape.depth, n_jobs=1, random_state=0)
    model.fit(x, rng.normal(size=ROWS))
    return tensorml.convert(model, executor="reference").graph.select("predict")


def measure(shape: Shape, family: str, minutes: float) -> Measured:
    """Make a circuit and let Yosys make cells of it."""
    core = core_of(shape, family)
    circuit = core.circuit
    guess = estimate(circuit.counts, family)
    if core.trees is not None:
        guess = area_of_walkers(core.trees, core.walkers, family)
    nodes = sum(len(op.column) for op in core.split.circuit.order if isinstance(op, ops.Descend))
    result = Measured(shape, family, nodes, guess.luts, latency=circuit.interval, walkers=core.walkers)
    before = seconds_of_tools()
    try:
        with no_cache():
            area = synthesize(circuit, family, timeout=60 * minutes * WAIT)
    except CircuitError as error:
        return replace(result, seconds=seconds_of_tools() - before, failure=str(error).partition(";")[0][:80])
    taken = {"luts": area.luts, "memory_luts": area.memory_luts, "flip_flops": area.flip_flops}
    return replace(result, **taken, block_rams=area.block_rams, seconds=seconds_of_tools() - before)


def seconds_of_tools() -> float:
    """Processor time of all programs that were run and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def no_cache() -> Iterator[None]:
    """What Yosys has made before is not found."""
    before = os.environ.get("TENSORML_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TENSORML_CACHE"] = folder
        try:
            yield
        finally:
            os.environ.pop("TENSORML_CACHE")
            if before is not None:
                os.environ["TENSORML_CACHE"] = before


class Results:
    """All that was measured, in a file: what is there is not measured again."""

    def __init__(self, path: Path, minutes: float = MINUTES):
        self.path, self.minutes = path, minutes
        kept = json.loads(path.read_text()) if path.exists() else []
        self.found = [Measured(**{**entry, "shape": Shape(**entry["shape"])}) for entry in kept]

    def of(self, shape: Shape, family: str) -> Measured | None:
        """What is known of a circuit."""
        return next((m for m in self.found if m.shape == shape and m.family == family), None)

    def take(self, shape: Shape, family: str) -> Measured:
        """The measurement, made now unless it is known."""
        known = self.of(shape, family)
        if known is None:
            known = measure(shape, family, self.minutes)
            self.found.append(known)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps([asdict(m) for m in self.found], indent=1))
            said = known.failure or f"{known.luts:,} LUTs, estimated {known.estimate:,}"
            Console(width=160).print(f"{shape.words}, {family}: {said}, {known.seconds:.0f} s", highlight=False)
        return known


def growth() -> dict[str, list[Shape]]:
    """What is varied, one thing at a time."""
    return {
        "trees": [Shape(trees, 4) for trees in TREES],
        "depth": [Shape(100, depth) for depth in DEPTHS],
        "features": [Shape(100, 4, features) for features in FEATURES],
    }


def largest(results: Results, depth: int, family: str) -> None:
    """More and more trees of a depth, until Yosys takes about as long as it may: aimed at by what is known."""
    limit = 60 * results.minutes
    results.take(Shape(4 * max(1, 2 ** (7 - depth)), depth), family)
    for _ in range(TRIES):
        found = of_depth(results, depth, family)
        if any(0.8 * limit <= m.seconds <= limit and not m.failure for m in found):
            return
        results.take(Shape(next_trees(found, 0.9 * limit), depth), family)


def of_depth(results: Results, depth: int, family: str) -> list[Measured]:
    """All forests of a depth on the usual number of features, by their trees."""
    found = (m for m in results.found if m.shape == Shape(m.shape.trees, depth) and m.family == family)
    return sorted(found, key=lambda m: m.shape.trees)


def next_trees(found: Sequence[Measured], aim: float) -> int:
    """How many trees would take so many seconds, rounded down to two digits; no more than three times what is known."""
    below = [m for m in found if m.seconds < aim and not m.failure]
    above = [m for m in found if m not in below]
    last, power = below[-1], 1.15  # seconds grow a little faster than trees
    pair = (below[-1], above[0]) if above else tuple(below[-2:])
    if len(pair) == 2:
        grown = math.log(pair[1].shape.trees / pair[0].shape.trees)
        power = max(1.0, math.log(pair[1].seconds / pair[0].seconds) / grown)
    wanted = min(last.shape.trees * (aim / last.seconds) ** (1 / power), 3 * last.shape.trees)
    digits = 10 ** max(0, int(math.log10(wanted)) - 1)
    return max(int(wanted) // digits * digits, last.shape.trees + digits)


def shown_largest(results: Results) -> list[list[str]]:
    """For each depth the largest within the limit, and what was too large."""
    rows = []
    for depth in LARGEST_OF:
        found = of_depth(results, depth, "xc7")
        ready = [m for m in found if m.luts is not None and m.seconds <= 60 * results.minutes]
        if not ready:
            continue
        best = max(ready, key=lambda m: m.shape.trees)
        above = [m for m in found if m.shape.trees > best.shape.trees]
        if not above and best.seconds < 30 * results.minutes:
            continue  # larger ones are ready in time, too: it is not known which
        beyond = min(above, key=lambda m: m.shape.trees, default=None)
        rows.append([*cells(best), "-" if beyond is None else f"{beyond.shape.trees:,} ({beyond.seconds / 60:.1f})"])
    return rows


def cells(found: Measured) -> list[str]:
    """A row of the table of the largest."""
    return [
        f"{found.shape.depth}",
        f"{found.shape.trees:,}",
        f"{found.nodes:,}",
        f"{found.luts:,}",
        f"{found.flip_flops:,}",
        f"{found.seconds / 60:.1f}",
    ]


def shown_walkers(results: Results) -> list[list[str]]:
    """What walkers take."""
    return [row_of_walkers(m) for m in sorted(results.found, key=order) if m.walkers and m.luts is not None]


def order(found: Measured) -> tuple[int, int, int]:
    """Of the table of walkers."""
    return found.shape.trees, found.shape.depth, found.shape.budget or 0


def row_of_walkers(found: Measured) -> list[str]:
    """A row of the table of walkers."""
    return [
        found.shape.words,
        f"{found.nodes:,}",
        f"{found.shape.budget:,}",
        f"{found.walkers}",
        f"{(found.luts or 0) + found.memory_luts:,}",
        f"{found.estimate:,}",
        f"{found.block_rams:,}",
        f"{found.latency:,}",
    ]


def section(results: Results) -> str:
    """The tables and the picture."""
    head = ("Depth", "Trees", "Tests", "LUTs", "Flip-flops", "Yosys [min]", "the next one tried: trees (min)")
    best, followed = shown_largest(results), shown_walkers(results)
    walkers = ("Ensemble", "Tests", "LUTs allowed", "Walkers", "LUTs", "estimated", "Block RAMs", "Cycles a row")
    parts = [f"![LUTs over trees, depth and features, and Yosys's time over LUTs](images/{IMAGE.name})"]
    if best:
        parts.append(f"The largest that Yosys was ready with in {results.minutes:g} minutes, 32 features, 7 series:")
        parts.append(markdown_table(head, best))
    if followed:
        parts.append("Trees in memory, since `area=` leaves no room for circuits of them; 7 series:")
        parts.append(markdown_table(walkers, followed))
    return "\n\n".join(parts) + "\n"


def write_page(text: str) -> None:
    """Put the section between its marks."""
    page = PAGE.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has no {BEGIN.strip()} ... {END.strip()}")
    PAGE.write_text(f"{before}{begin}{text}{end}{after}", encoding="utf-8")


def draw(results: Results) -> None:
    """LUTs over what is varied, a panel for each, and the seconds of Yosys over LUTs."""
    figure, panels = plots.pyplot().subplots(1, 4, figsize=(11, 2.7))
    for axes, (name, shapes) in zip(panels, growth().items(), strict=False):
        for family, colour in zip(("xc7", "ecp5"), plots.OURS, strict=False):
            found = [m for m in (results.of(shape, family) for shape in shapes) if m and m.luts is not None]
            if not found:
                continue
            places = [getattr(m.shape, name) for m in found]
            axes.plot(places, [m.luts for m in found], ".-", color=colour, label=FAMILIES[family].title)
            label = f"{FAMILIES[family].title}, estimated"
            axes.plot(places, [m.estimate for m in found], "--", color=colour, linewidth=1, label=label)
        finished(axes, name, "LUTs", "linear" if name == "depth" else "log")
        axes.set_ylim(SHOWN)
    for family, colour in zip(("xc7", "ecp5"), plots.OURS, strict=False):
        found = [m for m in results.found if m.family == family and m.luts and m.shape.budget is None]
        panels[-1].plot([m.luts for m in found], [m.seconds for m in found], ".", color=colour)
    panels[-1].axhline(60 * results.minutes, color="#888888", linewidth=1)
    finished(panels[-1], "LUTs", "seconds of Yosys", "log")
    plots.finish(figure, panels[None, :], IMAGE)


def finished(axes: Any, below: str, beside: str, scale: str) -> None:
    """Scales, a grid and what is on the axes."""
    axes.set_xscale(scale)
    axes.set_yscale("log")
    axes.set_xlabel(below)
    axes.set_ylabel(beside)
    axes.grid(color="#eeeeee")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    parser.add_argument("--parts", nargs="+", default=["growth", "walkers", "largest"], metavar="PART")
    parser.add_argument("--families", nargs="+", default=["xc7", "ecp5"], metavar="NAME", help="for the growth")
    parser.add_argument("--depths", nargs="+", type=int, default=list(LARGEST_OF), metavar="N", help="of the largest")
    parser.add_argument("--most", type=int, default=10**9, metavar="N", help="trees x 2^depth of the growth")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of processor time that Yosys may take")
    parser.add_argument("--kept", type=Path, default=FOLDER / KEPT, metavar="JSON", help="the file of results")
    parser.add_argument("--no-page", action="store_true", help="measure only")
    options = parser.parse_args(argv)
    results = Results(options.kept, options.minutes)
    run(options, results)
    if not options.no_page:
        draw(results)
        write_page(section(results))


def run(options: argparse.Namespace, results: Results) -> None:
    """Measure what was asked for."""
    if "growth" in options.parts:
        shapes = {shape: None for shapes in growth().values() for shape in shapes}
        ordered = sorted(shapes, key=lambda s: s.trees * 2**s.depth)
        for family in options.families:
            for shape in (s for s in ordered if s.trees * 2**s.depth <= options.most):
                results.take(shape, family)
    if "walkers" in options.parts:
        for shape in (Shape(300, 6), Shape(1000, 6), Shape(300, 8)):
            for budget in BUDGETS:
                results.take(replace(shape, budget=budget), "xc7")
    if "largest" in options.parts:
        for depth in options.depths:
            largest(results, depth, "xc7")


if __name__ == "__main__":
    main()
