"""Which questions the report knows, and what it shows of each.

A script that leaves a `job.json` in its folder (`records.write_job`) gets an entry here under the name that it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures.style import Picture
from benchmarks.records import Run
from benchmarks.report import transfer_page
from benchmarks.report.tables import Table
from benchmarks.report.wording import caption


def _shared(run: Run) -> Mapping[str, Any]:
    return run.spec.shared


@dataclass(frozen=True)
class Question:
    """A question, and what its runs give.

    Attributes:
        title: head of its section on the page.
        tables: all tables of a folder of runs.
        figures: all figures of it.
        answer: a sentence or two for the top of the page; empty where the runs do not give one.
        caption: seeds, budget and command, below each figure.
        read: reads a run file; raises ValueError if it is none.
        shared: what the runs of a folder have to agree on, by name.
    """

    title: str
    tables: Callable[[Sequence[Any]], Sequence[Table]]
    figures: Callable[[Sequence[Any]], Sequence[Picture]]
    answer: Callable[[Sequence[Any]], str] = lambda runs: ""
    caption: Callable[[Sequence[Any], str], str] = caption
    read: Callable[[Path], Any] = Run.read
    shared: Callable[[Any], Mapping[str, Any]] = _shared


QUESTIONS: dict[str, Question] = {
    "transfer": Question(
        title="Transfer: pretrain on one pendulum, move to another",
        tables=transfer_page.tables,
        figures=transfer_page.figures,
        answer=transfer_page.answer,
    ),
}
"""By the name in `job.json`, in the order of the page."""
