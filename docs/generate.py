"""Write docs/reference: the estimators that convert, the operators and who runs them. `make docs` runs this."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

from tensorml import ops
from tensorml.cli import estimator_table, operator_names, operator_table
from tensorml.report import Table

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by `make docs`. -->\n"


def markdown(table: Table) -> str:
    """A table in Markdown."""
    lines: list[Sequence[str]] = [table.headers, ["---"] * len(table.headers), *table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def estimators() -> str:
    """The page of what converts."""
    table = estimator_table()
    return f"{NOTE}\n# Estimators\n\n{table.title}.\n\n{markdown(table)}\n"


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
