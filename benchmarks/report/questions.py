"""Which questions the report knows, and what it shows of each.

A script that leaves a `job.json` in its folder (`records.write_job`) gets an entry here under the name that it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.methods.registry import METHODS
from benchmarks.questions.ablation import tables as ablation_page
from benchmarks.questions.ablation.figures import ablation_pictures
from benchmarks.questions.few_shot import tables as few_shot_page
from benchmarks.questions.few_shot.figures import few_shot_pictures
from benchmarks.questions.sequence import tables as sequence_page
from benchmarks.questions.sequence.figures import sequence_pictures
from benchmarks.questions.sequence.runs import STRATEGIES, SequenceRun
from benchmarks.questions.transfer import page as transfer_page
from benchmarks.report.style import Picture
from benchmarks.report.wording import INTERVALS, caption
from benchmarks.runs.records import FinishedRun, Run
from nb_evaluation.report.tables import Table
from nb_evaluation.report.verdict import Verdict


@dataclass(frozen=True)
class Question:
    """A question, and what its runs give.

    Attributes:
        title: head of its section on the page.
        tables: all tables of a folder of runs.
        figures: all figures of it.
        answer: a verdict for the top of the page; None where the runs do not give one.
        caption: seeds, budget and command, below each figure.
        run: the kind of its run files.
        methods: those that a run may be of.
        varies: fields of the specification, beside method, seed and `meta`, in which the runs of a folder differ.
        file: name of the file with its tables, in the folder of the runs.
        intervals: how the intervals in the tables are to be read.
    """

    title: str
    tables: Callable[[Sequence[Any]], Sequence[Table]]
    figures: Callable[[Sequence[Any]], Sequence[Picture]]
    answer: Callable[[Sequence[Any]], Verdict | None] = lambda runs: None
    caption: Callable[[Sequence[Any], str], str] = caption
    run: type[FinishedRun[Any, Any]] = Run
    methods: Collection[str] = tuple(METHODS)
    varies: tuple[str, ...] = ()
    file: str = "table.md"
    intervals: str = INTERVALS


QUESTIONS: dict[str, Question] = {
    "transfer": Question(
        title="Transfer: pretrain on one pendulum, move to another",
        tables=transfer_page.tables,
        figures=transfer_page.figures,
        answer=transfer_page.answer,
    ),
    "ablation": Question(
        title="Ablation: what each part of NB Pro is worth",
        tables=ablation_page.tables,
        figures=ablation_pictures,
        answer=ablation_page.answer,
    ),
    "few_shot": Question(
        title="Few-shot: what a few episodes of adaptation are worth",
        tables=few_shot_page.tables,
        figures=few_shot_pictures,
        answer=few_shot_page.answer,
        caption=few_shot_page.caption,
        varies=("target",),
    ),
    "sequence": Question(
        title="Sequence: several tasks one after another and back again",
        tables=sequence_page.tables,
        figures=sequence_pictures,
        answer=sequence_page.answer,
        caption=sequence_page.caption,
        run=SequenceRun,
        methods=tuple(STRATEGIES),
    ),
}
"""By the name in `job.json`, in the order of the page."""

ELSEWHERE: dict[str, str] = {
    "recipe": "the paper's own recipe, in `table.md` of that folder and docs/guides/paper-recipe.md",
    "learning_parity": "learning with gates against without, in `table.md` of that folder and docs/results.md",
}
"""Folders of results that have a page of their own, by name: what is there."""
