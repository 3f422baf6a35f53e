"""What the scripts show: on any terminal, and never read as anything but text."""

from __future__ import annotations

import codecs
import io
import os
import sys
import textwrap
from collections.abc import Callable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from nb_evaluation.report.tables import Table

PLAIN = {
    "−": "-", "–": "-", "·": "|", "×": "x", "→": "->", "≥": ">=", "≤": "<=", "∞": "inf", "…": "...", "±": "+/-",
    "σ": "sigma", "τ": "tau", "θ": "theta", "γ": "gamma", "²": "^2", "\N{COMBINING DOT ABOVE}": "'", "\xa0": " ",
}  # fmt: skip
"""What stands for a character that a terminal cannot show; for others it is a question mark."""

NO_BREAK = "\xa0"
HEAD_WIDTH = 12


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(character, "?") for character in error.object[error.start : error.end]), error.end


def any_terminal() -> None:
    """Let this process print on terminals that lack some characters; to be called before anything is printed."""
    codecs.register_error("nb_evaluation.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="nb_evaluation.plain")


def quiet_pipe(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """The exit status of a command, which ends without a word where nobody reads any more, as before `| head`."""
    try:
        try:
            return main(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or else Python complains when it ends
        return 1


def make_console() -> Console:
    """A console that shows names and messages as they are: brackets in them are no markup, colons no emoji."""
    return Console(markup=False, emoji=False)


def make_progress(name: str, total: int, done: int, console: Console) -> Progress:
    """A bar with a name, the number of runs, and the time that has passed and is left."""
    columns = (MofNCompleteColumn(), "runs ·", TimeElapsedColumn(), "elapsed ·", TimeRemainingColumn(), "left")
    plain = [TextColumn(column, markup=False) if isinstance(column, str) else column for column in columns]
    progress = Progress(TextColumn("{task.description}", markup=False), BarColumn(), *plain, console=console)
    progress.add_task(name, total=total, completed=done)
    return progress


def show_table(table: Table, console: Console) -> None:
    """Print a table; columns that do not fit beside the others come in a table below, with the rows' names again.

    Nothing is cut off where the first column and each of the others fit.
    """
    heads = [[*_lines(column)] for column in table.columns]
    cells = [[cell.strip("`*") for cell in row] for row in table.rows]
    widths = [max(map(cell_len, [*head, *(row[i] for row in cells)])) + len(" │ ") for i, head in enumerate(heads)]
    groups: list[list[int]] = [[0]]
    for i in range(1, len(heads)):
        if len(groups[-1]) > 1 and sum(widths[j] for j in groups[-1]) + widths[i] + 1 > console.width:
            groups.append([0])
        groups[-1].append(i)
    for group in groups:
        screen = RichTable(title=table.title if group is groups[0] else f"{table.title}, continued")
        for i in group:
            screen.add_column("\n".join(heads[i]), justify="right" if i else "left", overflow="fold")
        for row in cells:
            if len(groups) == 1 or any(row[i] for i in group[1:]):
                screen.add_row(*(row[i].replace(" ", NO_BREAK) for i in group))
        console.print(screen)


def _lines(head: str) -> list[str]:
    """A column's head in short lines."""
    together = head.replace("[95 % CI]", "[95 % CI]".replace(" ", NO_BREAK))
    return textwrap.wrap(together, HEAD_WIDTH, break_long_words=False) or [""]
