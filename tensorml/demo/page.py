"""The page that the demonstration leaves behind: its table and a graph."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tensorml.report import Table

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #0f172a }
table { border-collapse: collapse } th, td { padding: .35rem .8rem; border-bottom: 1px solid #cbd5e1; text-align: left }
td.right, th.right { text-align: right; font-variant-numeric: tabular-nums }
figure { margin: 1rem 0; overflow-x: auto } pre { background: #f1f5f9; padding: 1rem; overflow-x: auto }
"""


def page(table: Table, machine: str, name: str, picture: str, text: str) -> str:
    """The HTML document. picture: the SVG of the graph of the model `name`; text: the graph as text."""
    notes = "".join(f"<p>{escape(note)}</p>" for note in table.notes)
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>tensorml demo</title><style>{STYLE}</style></head>
<body>
<h1>tensorml: the same answers as a tensor program</h1>
<p>{escape(machine)}</p>
{_table(table)}
{notes}
<h2>The graph of {escape(name)}</h2>
<figure>{picture}</figure>
<pre>{escape(text)}</pre>
</body>
</html>
"""


def _table(table: Table) -> str:
    rows = [_row(table.headers, "th", table), *(_row(row, "td", table) for row in table.rows)]
    return "\n".join(["<table>", *rows, "</table>"])


def _row(cells: Sequence[str], tag: str, table: Table) -> str:
    marked = (
        f"<{tag}{' class=right' if i in table.right else ''}>{escape(cell)}</{tag}>" for i, cell in enumerate(cells)
    )
    return f"<tr>{''.join(marked)}</tr>"
