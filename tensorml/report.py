"""A small table that prints as plain text and, where rich shows it, in colour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

GAP = "  "


@dataclass(frozen=True)
class Table:
    """Rows of text under headers. Plain text by `str()`, a rich table by `__rich__()`.

    styles: a rich style for a cell that starts with this word. right: the columns that are aligned to the right.
    notes: sentences that follow the table.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    styles: Mapping[str, str] = field(default_factory=dict)
    right: Sequence[int] = ()
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.headers, *self.rows, strict=True)]
        lines = [self._line(self.headers, widths), GAP.join("-" * width for width in widths)]
        lines += [self._line(row, widths) for row in self.rows]
        return "\n".join([*([self.title] if self.title else []), *lines, *self.notes])

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        aligned = (
            cell.rjust(width) if i in self.right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return GAP.join(aligned).rstrip()

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(title=Text(self.title) if self.title else None, title_justify="left")
        for i, header in enumerate(self.headers):
            table.add_column(header, justify="right" if i in self.right else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(cell, style=self._style(cell)) for cell in row))
        return Group(table, *map(Text, self.notes))

    def _style(self, cell: str) -> str:
        return next((style for word, style in self.styles.items() if cell.startswith(word)), "")


def listed(words: Iterable[str], limit: int = 8) -> str:
    """Words with commas between them; past `limit`, how many more there are."""
    words = list(words)
    more = f", … {len(words) - limit} more" if len(words) > limit else ""
    return ", ".join(words[:limit]) + more
