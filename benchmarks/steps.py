"""A run in steps: what was measured is on disk after each, and one that fails takes no other with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.cold import cold_start
from benchmarks.comparison import compare, prepared
from benchmarks.models import Case
from benchmarks.peers import Contestant, RefusedError, guarded
from benchmarks.report import Report, from_json
from benchmarks.scaling import Curve, all_curves
from benchmarks.targets import caches, peak, targets

ENDED = "ended the process that measures"
TARGETS = "targets"


@dataclass(frozen=True)
class Step:
    """A part of a run by its name, which a run has once. measure: add what was found to the report."""

    name: str
    measure: Callable[[Report], None]


def take(result: Report, steps: Sequence[Step], path: Path) -> None:
    """Measure what the report does not have yet. The file has the report after each step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for step in track(steps, "measure", console=Console(stderr=True), transient=True):
        if step.name in result.done or step.name in result.failures:
            continue
        result.failures[step.name] = ENDED  # unless it returns
        keep(result, path)
        try:
            guarded(partial(step.measure, result))
            result.done.append(step.name)
            del result.failures[step.name]
        except RefusedError as error:
            result.failures[step.name] = str(error)
        except KeyboardInterrupt:
            del result.failures[step.name]  # no fault of this step
            raise
        finally:
            keep(result, path)


def keep(result: Report, path: Path) -> None:
    """Write a report; a file that is there is replaced at once, by all of the new one."""
    temporary = path.with_suffix(".part")
    temporary.write_text(result.json(), encoding="utf-8")
    os.replace(temporary, path)


def resumed(new: Report, path: Path) -> Report:
    """The report in a file, to go on with. Raises SystemExit if it is of other versions, or another machine."""
    if not path.exists():
        return new
    old = from_json(path.read_text(encoding="utf-8"))
    same = replace(old.environment, date=new.environment.date, load=new.environment.load)
    if same != new.environment or old.names != new.names:
        raise SystemExit(f"{path} is of other versions, contestants or threads, or of another machine: start anew")
    if TARGETS in old.done:
        old.done.remove(TARGETS)  # they follow from what will be measured too
    return old


def import_all(case: Case, names: Sequence[Contestant]) -> None:
    """A first conversion: who imports what for it is no cost of the first case. A failure will be that case's."""
    with suppress(RefusedError):
        guarded(partial(prepared, case, names))


def comparisons(cases: Sequence[Case], rows: Sequence[int], names: Sequence[Contestant], seconds: float) -> list[Step]:
    """Every case, at every number of rows. Models that are not in the cache are fitted first."""

    def measure(case: Case, result: Report) -> None:
        result.comparisons.extend(compare(case, rows, names, seconds))

    counts = ", ".join(f"{n:,}" for n in rows)
    return [Step(f"{case.name}, {counts} rows", partial(measure, case)) for case in cases]


def curves(contestants: Sequence[Contestant], rows: Sequence[int], most: int, seconds: float) -> Iterator[Step]:
    """All curves, point by point. rows: of the curves over rows; most: the rows of those over trees and depth."""

    def measure(curve: Curve, value: int, result: Report) -> None:
        before = [point for point in result.points if point.curve == curve.name]
        result.points.append(curve.point(value, before, contestants, seconds))

    for curve in all_curves(rows, most):
        for value in curve.values:
            yield Step(f"{curve.name}, {value:,}", partial(measure, curve, value))


def starts(cases: Sequence[str], names: Sequence[str]) -> Iterator[Step]:
    """First predictions, each in a new process."""

    def measure(case: str, name: str, result: Report) -> None:
        result.starts.extend(cold_start(case, name, caches(name)))

    for case, name in product(cases, names):
        yield Step(f"first prediction: {case}, {name}", partial(measure, case, name))


def peaks(cases: Sequence[str], names: Sequence[str], rows: int) -> Iterator[Step]:
    """Peaks of memory, each in a new process."""

    def measure(case: str, name: str, result: Report) -> None:
        result.peaks.append(peak(case, name, rows))

    for case, name in product(cases, names):
        yield Step(f"memory: {case}, {name}, {rows:,} rows", partial(measure, case, name))


def judged() -> Step:
    """The targets, of what was measured before."""

    def measure(result: Report) -> None:
        result.targets[:] = targets(result.comparisons, result.starts, result.peaks)

    return Step(TARGETS, measure)
