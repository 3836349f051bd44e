"""Write docs/reference: the estimators that convert, the operators and who runs them. `make docs` runs this."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sklearn

import tensorml
from tensorml import ops
from tensorml.cli import estimator_table, operator_names, operator_table
from tensorml.errors import qualified_name
from tensorml.report import Table
from tensorml_sklearn.unsupported import REFUSED

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests know how to fit each estimator

from tests.estimators import METHODS, cases
from tests.estimators import estimators as known

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by `make docs`. -->\n"


def markdown(table: Table) -> str:
    """A table in Markdown."""
    lines: list[Sequence[str]] = [table.headers, ["---"] * len(table.headers), *table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True)
class Surface:
    """What becomes of one estimator: the methods that are converted, for the others why not; or why none is."""

    name: str
    converted: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    reason: str = ""


def surface(name: str) -> Surface:
    """What becomes of a scikit-learn estimator, found by converting it as fitted on each kind of target."""
    path = qualified_name(known()[name])
    if path in REFUSED:
        return Surface(path, reason=". ".join(REFUSED[path]))
    converted: dict[str, None] = {}
    refused: dict[str, str] = {}
    for case in cases(name, np.float64):
        model = tensorml.convert(case.model, case.rows, executor="reference")
        has = [method for method in METHODS if hasattr(model, method)]
        converted |= dict.fromkeys(has)
        refused |= {m: model.description.refused[m] for m in METHODS if m in model.description.refused and m not in has}
    return Surface(path, tuple(converted), {m: why for m, why in refused.items() if m not in converted})


def estimators() -> str:
    """The page of what converts: scikit-learn's estimators with their methods, then the other libraries' classes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that scikit-learn gives up, and of fits on little data
        found = [surface(name) for name in known()]
    done = [one for one in found if not one.reason]
    methods, left = sum(len(one.converted) for one in done), sum(len(one.refused) for one in done)
    sections = [
        NOTE,
        "# Estimators",
        f"scikit-learn {sklearn.__version__}: {len(done)} of {len(found)} estimators convert, with {methods} inference "
        f"methods; {left} methods and {len(found) - len(done)} estimators are refused for the reasons below. "
        "Options that do not convert are refused by name when `convert` meets them. "
        "`tests/test_completeness.py` compares each method with the library's own.",
        markdown(_converted_table(done)),
        "## Methods that are refused",
        markdown(_refused_table(done)),
        "## Estimators that are refused",
        markdown(Table(("estimator", "why, and what to do"), sorted((o.name, o.reason) for o in found if o.reason))),
        "## Other libraries",
        markdown(_other_libraries()),
    ]
    return "\n\n".join(sections) + "\n"


def _converted_table(done: list[Surface]) -> Table:
    rows = [(one.name, ", ".join(one.converted)) for one in sorted(done, key=lambda one: one.name)]
    return Table(("estimator", "methods"), rows)


def _refused_table(done: list[Surface]) -> Table:
    by_reason: dict[str, dict[str, list[str]]] = {}
    for one in done:
        for method, why in one.refused.items():
            by_reason.setdefault(why, {}).setdefault(method, []).append(one.name.rpartition(".")[2])
    rows = [
        (method, ", ".join(names), why)
        for why, methods in by_reason.items()
        for method, names in sorted(methods.items())
    ]
    return Table(("method", "of", "why, and what to do"), rows)


def _other_libraries() -> Table:
    rows = [row for row in estimator_table().rows if row[0] != "sklearn"]
    return Table(("library", "class"), rows)


def operators() -> str:
    """The page of operators: which executor runs them, and what they mean."""
    meanings = [f"## {name}\n\n```text\n{inspect.getdoc(getattr(ops, name))}\n```" for name in operator_names()]
    table = operator_table()
    return "\n\n".join([NOTE, "# Operators", f"{table.title}.", markdown(table), *meanings]) + "\n"


def main() -> None:
    """Write the pages."""
    REFERENCE.mkdir(exist_ok=True)
    for name, text in (("estimators.md", estimators()), ("operators.md", operators())):
        (REFERENCE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
