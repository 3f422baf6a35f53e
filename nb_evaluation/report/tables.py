"""A table, and how it is written in Markdown and in HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Cells as text, as many in each row as there are columns.

    Attributes:
        title: Subject of the rows.
        columns: Heads of the columns; the first column names the rows.
        rows: Cells; `code` and *emphasis* as in Markdown.
        note: Explanation of the columns.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def select(self, columns: Sequence[str], *, title: str | None = None, note: str | None = None) -> Table:
        """A table of fewer columns, without the rows that then have a name only."""
        kept = [self.columns.index(column) for column in columns]
        rows = [[row[i] for i in kept] for row in self.rows]
        title = self.title if title is None else title
        return Table(title, columns, [row for row in rows if any(row[1:])], self.note if note is None else note)

    def markdown(self) -> str:
        """The table in GitHub's Markdown, numbers to the right."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        return "\n".join("| " + " | ".join(row) + " |" for row in (self.columns, rule, *self.rows)) + "\n"

    def html(self) -> str:
        """The table in HTML, with a caption, and with heads that a screen reader distinguishes from cells."""
        heads = "".join(f'<th scope="col">{inline_html(column)}</th>' for column in self.columns)
        rows = "\n".join(
            f'<tr><th scope="row">{inline_html(row[0])}</th>'
            + "".join(f"<td>{inline_html(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in self.rows
        )
        return (
            f"<table>\n<caption>{inline_html(self.title)}</caption>\n"
            f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n"
        )


def inline_html(text: str) -> str:
    """Text with `code` and *emphasis* as in Markdown, in HTML."""
    escaped = html.escape(text).replace("[95 % CI]", "[95&nbsp;%&nbsp;CI]")
    pieces = re.split(r"(`[^`]*`)", escaped)
    return "".join(
        f"<code>{piece[1:-1]}</code>" if piece.startswith("`") else re.sub(r"\*([^*]+)\*", r"<em>\1</em>", piece)
        for piece in pieces
    )


def markdown_page(tables: Sequence[Table], *closing: str) -> str:
    """Tables under their titles, each with its note, and paragraphs below: the contents of a `table.md`."""
    parts = []
    for table in tables:
        parts += [f"**{table.title}**\n", table.markdown()]
        if table.note:
            parts.append(f"{table.note}\n")
    return "\n".join([*parts, *(f"{paragraph}\n" for paragraph in closing)])
