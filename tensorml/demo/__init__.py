"""The demonstration: trains models, converts each in one line, compares answers and speed, writes a page."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorml.convert import convert
from tensorml.demo.measure import Times, race
from tensorml.demo.page import page
from tensorml.drawing import svg
from tensorml.errors import MissingDependencyError
from tensorml.model import TensorModel
from tensorml.report import Table
from tensorml.save import load
from tensorml.verify import Report, verify

if TYPE_CHECKING:
    from tensorml.demo.models import Trained

PIP = "the demonstration trains models and needs {}. Install it: pip install 'tensorml[xgboost]'"
STYLES = {"all equal": "green", "equal within": "green", "DIFFERS": "bold red"}


@dataclass(frozen=True)
class Result:
    """What the demonstration found for one model: the report, and times for the large batch and for one row."""

    trained: Trained
    converted: TensorModel
    report: Report
    batch: Times
    row: Times
    from_file: Report | None = None

    @property
    def ok(self) -> bool:
        """Whether the converted model, and the one from the file, return what the source returns."""
        return self.report.ok and (self.from_file is None or self.from_file.ok)


def run(output: Path, rows: int = 20_000) -> bool:
    """Train, convert, compare, time; print a table and write a page into `output`. Whether all answers are the same.

    Raises MissingDependencyError if scikit-learn or XGBoost is not installed.
    """
    from rich.console import Console

    console = Console()
    output.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    with console.status("training") as status:
        for trained in trained_models():
            status.update(f"{trained.name}: converting, comparing, timing")
            results.append(examine(trained, rows, output / "model.pt" if not results else None))
    found = table(results, rows)
    first = results[0]
    picture = svg(first.converted.graph)
    (output / "graph.svg").write_text(picture, encoding="utf-8")
    html = page(found, machine(), first.trained.name, picture, str(first.converted.graph))
    (output / "index.html").write_text(html, encoding="utf-8")
    console.print(found if console.is_terminal else str(found), markup=False, soft_wrap=True)
    console.print(f"{machine()}\nwritten: {output}/index.html, graph.svg, model.pt", markup=False, soft_wrap=True)
    return all(result.ok for result in results)


def trained_models() -> Iterable[Trained]:
    """The fitted models. Raises MissingDependencyError with the pip line."""
    try:
        from tensorml.demo.models import train
    except ModuleNotFoundError as error:
        raise MissingDependencyError(PIP.format(error.name)) from error
    return train()


def examine(trained: Trained, rows: int, file: Path | None = None) -> Result:
    """One model: converted in one line, compared on its own data, timed; saved to `file`, loaded and compared again."""
    converted = convert(trained.model)
    report = verify(trained.model, converted, trained.X)
    batch = np.tile(trained.X, (-(-rows // len(trained.X)), 1))[:rows]
    again = None
    if file is not None:
        converted.save(file)
        again = verify(trained.model, load(file), trained.X)
    return Result(
        trained, converted, report, _race(trained, converted, batch), _race(trained, converted, batch[:1]), again
    )


def _race(trained: Trained, converted: TensorModel, X: np.ndarray) -> Times:
    source, target = getattr(trained.model, trained.method), getattr(converted, trained.method)
    return race(lambda: source(X), lambda: target(X))


def table(results: list[Result], rows: int) -> Table:
    """The table that the demonstration prints: milliseconds, medians of calls in turns."""
    headers = ("model", "answers", f"{rows:,} rows", "tensorml", "ratio", "1 row", "tensorml", "ratio")
    notes = [
        "Times in ms: medians of calls to the source and to the converted model in turns, in this run, of "
        f"{', '.join(dict.fromkeys(result.trained.method for result in results))}.",
        "The batch is the data set repeated. A ratio above 1: tensorml is faster; below 1, slower.",
        *(f"{result.trained.name}: {note}" for result in results for note in _notes(result)),
    ]
    cells = [_cells(result) for result in results]
    return Table(headers, cells, "Source and converted model", STYLES, right=(2, 3, 4, 5, 6, 7), notes=notes)


def _notes(result: Result) -> list[str]:
    """What is wrong, and what became of the file."""
    notes = [] if result.report.ok else [str(result.report)]
    if result.from_file is not None:
        notes.append(
            f"saved as TorchScript, loaded again: {answers(result.from_file)} on {len(result.trained.X)} rows."
        )
    return notes


def _cells(result: Result) -> tuple[str, ...]:
    name = f"{result.trained.name} ({result.trained.data})"
    return (name, answers(result.report), *_times(result.batch), *_times(result.row))


def _times(times: Times) -> tuple[str, str, str]:
    return (milliseconds(times.source), milliseconds(times.converted), f"{times.ratio:.2g}x")


def milliseconds(seconds: float) -> str:
    """A time with three digits, without an exponent."""
    value = seconds * 1e3
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def answers(report: Report) -> str:
    """The report in three words."""
    if not report.ok:
        return "DIFFERS"
    largest = max(comparison.relative for comparison in report.comparisons)
    return "all equal" if largest == 0 else f"equal within {largest:.0e}"


def machine() -> str:
    """What the numbers were measured on."""
    from importlib.metadata import version

    installed: dict[str, Any] = {name: version(name) for name in ("scikit-learn", "xgboost", "torch", "numpy")}
    names = ", ".join(f"{name} {number}" for name, number in installed.items())
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {names}"
