"""The estimate without tools beside what Yosys makes of the same circuits: `python -m benchmarks.estimates`.

Circuits of all kinds, small to middle, for all families, the smallest first: each takes Yosys 5 to 60 seconds of a
core. What it ends with is kept in a file as soon as it is known, under the digest of the circuit, so that a second run
measures what is missing or has become another circuit. Prints errors, and writes the table of docs/circuits.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.circuit_models import CASES, Case
from benchmarks.limits import PAGE, no_cache
from benchmarks.models import FOLDER
from benchmarks.report import markdown_table
from tensorml.executors.fpga.area import size
from tensorml.executors.fpga.estimate import estimate
from tensorml.executors.fpga.program import Core
from tensorml.executors.fpga.room import area as area_of_walkers
from tensorml.executors.fpga.synthesis import FAMILIES, Area, synthesize

BEGIN, END = "<!-- estimates -->\n", "<!-- /estimates -->\n"
KEPT = "estimates.json"
TIMEOUT = 600.0  # seconds that Yosys may take


@dataclass(frozen=True)
class Measured:
    """What Yosys made of a case's circuit, whose digest this is."""

    case: str
    family: str
    digest: str
    luts: int
    memory_luts: int
    flip_flops: int
    dsps: int
    block_rams: int
    carries: int
    cells: Mapping[str, int]
    seconds: float


class Results:
    """All that was measured, in a file."""

    def __init__(self, path: Path):
        self.path = path
        entries = json.loads(path.read_text()) if path.exists() else []
        self.found = {(m["digest"], m["family"]): Measured(**m) for m in entries}

    def known(self, core: Core, family: str) -> Measured | None:
        """What Yosys has made of a circuit."""
        return self.found.get((core.circuit.digest, family))

    def take(self, case: Case, core: Core, family: str) -> None:
        """Measure, unless it is known."""
        if self.known(core, family) is not None:
            return
        begun = time.monotonic()
        with no_cache():
            area = synthesize(core.circuit, family, timeout=TIMEOUT)
        digest, seconds = core.circuit.digest, round(time.monotonic() - begun, 1)
        self.found[digest, family] = Measured(case.words, digest=digest, seconds=seconds, **asdict(area))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps([asdict(m) for m in self.found.values()], indent=1))


@dataclass(frozen=True)
class Compared:
    """An estimate with the circuit, and the one before it, beside what Yosys made."""

    case: Case
    measured: Measured
    estimated: Area
    before: Area

    def error(self, name: str, early: bool = False) -> float:
        """Of a resource, relative to what there is; of what there is none of, their number."""
        there = getattr(self.measured, name)
        return (getattr(self.before if early else self.estimated, name) - there) / max(1, there)

    def words(self) -> str:
        """For people."""
        figures = (
            f"{name} {getattr(self.measured, name):,} {self.error(name):+.0%}"
            for name in ("luts", "memory_luts", "flip_flops", "dsps", "block_rams")
        )
        early = f"before {self.error('luts', True):+.0%}"
        return f"{self.measured.family} {self.case.words}: {', '.join(figures)}, {early}, {self.measured.seconds} s"


def compared(case: Case, core: Core, family: str, results: Results) -> Compared | None:
    """The estimates beside what is known of a circuit; None if nothing is."""
    found = results.known(core, family)
    if found is None:
        return None
    if core.trees is not None:
        estimated = before = area_of_walkers(core.trees, core.walkers, family)
    else:
        estimated, before = estimate(core.circuit.counts, family), size(core.split, family)
    return Compared(case, found, estimated, before)


def spread(errors: Iterable[float]) -> str:
    """The median of the sizes of errors, and the largest."""
    found = np.array(list(errors))
    if not len(found):
        return "-"
    worst = found[np.abs(found).argmax()]
    return f"{np.median(np.abs(found)):.0%}, {worst:+.0%}" if worst else "0"


def table(found: Sequence[Compared]) -> str:
    """The errors of each kind of circuit."""
    titles = [family.title.removeprefix("AMD ").removeprefix("Lattice ") for family in FAMILIES.values()]
    head = ("Circuits", *(f"LUTs, {title}" for title in titles), "before a circuit", "Flip-flops", "DSPs", "Block RAM")
    rows = []
    for kind in dict.fromkeys(case.kind for case in CASES):
        these = [c for c in found if c.case.kind == kind]
        by_family = [[c for c in these if c.measured.family == family] for family in FAMILIES]
        counts = "/".join(str(len(part)) for part in by_family)
        rows.append([f"{kind} ({counts})", *(spread(c.error("luts") for c in part) for part in by_family)])
        rows[-1].append(spread(c.error("luts", True) for c in these))
        rows[-1] += [spread(c.error(name) for c in these) for name in ("flip_flops", "dsps", "block_rams")]
    return markdown_table(head, rows) + "\n"


def write_page(text: str) -> None:
    """Put the table between its marks."""
    page = PAGE.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has no {BEGIN.strip()} ... {END.strip()}")
    PAGE.write_text(f"{before}{begin}{text}{end}{after}", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is missing, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimates", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="NAME", help="cases whose names contain one of these"
    )
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), metavar="NAME", help="that are measured")
    parser.add_argument("--most", type=int, default=10**9, metavar="N", help="estimated LUTs of what is measured")
    parser.add_argument("--kept", type=Path, default=FOLDER / KEPT, metavar="JSON", help="the file of results")
    parser.add_argument("--known", action="store_true", help="measure nothing")
    parser.add_argument("--no-page", action="store_true", help="print only")
    options = parser.parse_args(argv)
    results = Results(options.kept)
    cores = {case: case.core() for case in CASES if any(part in case.words for part in options.only)}
    found = list(run(cores, results, options))
    if not options.no_page:
        write_page(table(found))


def run(cores: Mapping[Case, Core], results: Results, options: argparse.Namespace) -> Iterator[Compared]:
    """Measure what is missing, and print what is known, the smallest first."""
    console = Console(width=200, highlight=False)
    takes = {case: estimate(core.circuit.counts, "xc7").luts for case, core in cores.items()}
    for case in sorted(cores, key=takes.__getitem__):
        for family in FAMILIES:
            if not options.known and family in options.families and takes[case] <= options.most:
                results.take(case, cores[case], family)
            found = compared(case, cores[case], family, results)
            if found is not None:
                console.print(found.words())
                yield found


if __name__ == "__main__":
    main()
