"""What a question is: what is run to answer it, and what the runs are made into."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

from nb_evaluation.arguments import add_methods, add_seeds, reporting_seeds
from nb_evaluation.files import write_atomically
from nb_evaluation.method import Described
from nb_evaluation.report import wording
from nb_evaluation.report.screen import show_table
from nb_evaluation.report.style import Picture, save_png
from nb_evaluation.report.tables import Table, markdown_page
from nb_evaluation.report.verdict import Verdict
from nb_evaluation.runs.records import FinishedRun
from nb_evaluation.runs.specification import Specification

if TYPE_CHECKING:  # not needed to read results
    from rich.console import Console


class Skipped(NamedTuple):
    """Something left out of the report.

    Attributes:
        name: Name of the run or folder, below the report's own folder.
        reason: Why it is left out.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Job:
    """A folder of runs of one specification, made with the same versions of all packages.

    Attributes:
        folder: Folder of the files.
        name: The folder's name, which is the job's on the page.
        question: Question that the runs answer.
        command: Command that made them.
        runs: Runs that the report is of; at least one.
        skipped: Other runs in the folder.
    """

    folder: Path
    name: str
    question: Question[Any, Any]
    command: str
    runs: Sequence[Any]
    skipped: Sequence[Skipped]

    @property
    def file(self) -> Path:
        """Where the tables go."""
        return self.folder / self.question.file

    @property
    def caption(self) -> str:
        """Seeds, budget and command."""
        return self.question.caption(self.runs, self.command)

    def markdown(self, tables: Sequence[Table]) -> str:
        """The contents of `file`."""
        left_out = f"Left out: {'; '.join(f'`{each.name}` {each.reason}' for each in self.skipped)}."
        closing = (self.question.intervals, self.caption, left_out if self.skipped else "")
        return markdown_page(tables, *filter(None, closing))


Spec = TypeVar("Spec", bound=Specification)
Run = TypeVar("Run", bound=FinishedRun[Any, Any])


class Question(Generic[Spec, Run]):
    """A question; a subclass answers it, and its module holds an instance as `QUESTION`.

    What makes tables and figures reads finished runs alone and imports neither torch nor SB3; what runs an experiment
    imports them in `execute`.

    Attributes:
        name: Name of the question's folder and, with dashes, of its command.
        title: Head of the question's section on the page.
        run: Kind of the question's runs.
        methods: Methods that a run may be of, by name, in the order of the tables.
        default_methods: Methods that are run where the command line names none; empty for all.
        num_seeds: Number of seeds that are run where the command line gives none.
        varies: Fields of the specification, beside `Specification.own`, in which the runs of one folder may differ.
        file: Name of the file with the tables, in the folder of the runs.
        intervals: How the intervals in the tables are to be read.
        first_seed: The lowest seed that is reported.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    run: ClassVar[type[FinishedRun[Any, Any]]]
    methods: ClassVar[Mapping[str, Described]]
    default_methods: ClassVar[Sequence[str]] = ()
    num_seeds: ClassVar[int] = 5
    varies: ClassVar[tuple[str, ...]] = ()
    file: ClassVar[str] = "table.md"
    intervals: ClassVar[str] = wording.INTERVALS
    first_seed: ClassVar[int] = 100

    @property
    def description(self) -> str:
        """Text of the command's help; as it stands, that of the question's module."""
        return sys.modules[type(self).__module__].__doc__ or ""

    @property
    def code(self) -> Path | None:
        """Folder of the package that the question's class lives in, or its script; None where it has no file."""
        top = sys.modules[type(self).__module__.partition(".")[0]]
        file = getattr(top, "__file__", None)
        return next((Path(folder) for folder in getattr(top, "__path__", ())), file and Path(file))

    def knows(self, method: str) -> bool:
        """Whether a run may be of a method."""
        return method in self.methods

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's own options, `--methods` and `--seeds`; `--workers`, `--ray` and `--out` are there."""
        add_methods(parser, self.methods, self.default_methods or tuple(self.methods))
        add_seeds(parser, self.num_seeds)

    def specifications(self, options: argparse.Namespace) -> Sequence[Spec]:
        """What is to be run, seed by seed, so that an interrupted job has whole comparisons.

        As it stands, every method is run with every seed, and a specification has no further options.

        Raises:
            ImportError: A package that a method needs is not installed.
            TypeError: An option is not accepted.
            ValueError: An option is not accepted.
        """
        seeds, methods = reporting_seeds(options.seeds), dict.fromkeys(options.methods)
        return [self.run.spec_type(method=method, seed=seed) for seed in seeds for method in methods]

    def execute(self, spec: Spec) -> Any:
        """The result of a run: a pure function of its specification, to the last bit on one machine."""
        raise NotImplementedError

    def line(self, run: Run) -> str:
        """What a finished run shows for itself while the job goes on."""
        raise NotImplementedError

    def tables(self, runs: Sequence[Run]) -> Sequence[Table]:
        """All tables of a folder of runs."""
        raise NotImplementedError

    def figures(self, runs: Sequence[Run]) -> Sequence[Picture]:
        """All figures of a folder of runs, the most telling one first."""
        return ()

    def answer(self, runs: Sequence[Run]) -> Verdict | None:
        """The verdict, for the top of the page; None where the runs do not give one."""
        return None

    def caption(self, runs: Sequence[Run], command: str) -> str:
        """What a reader has to know to make tables and figures again: seeds, budget, command, code."""
        return wording.caption(runs, command)

    def write_tables(self, job: Job) -> Sequence[Table]:
        """Write a job's tables, with the same bytes as the report does."""
        tables = self.tables(job.runs)
        write_atomically(job.file, job.markdown(tables).encode())
        return tables

    def publish(self, job: Job, console: Console) -> None:
        """Write the tables, and beside them the figures that have a name, with captions; show the tables."""
        tables = self.write_tables(job)
        pictures = [picture for picture in self.figures(job.runs) if picture.name]
        for each in pictures:
            save_png(each.figure, job.folder / f"{each.name}.png", f"{each.title}. {each.note} {job.caption}")
        for table in tables:
            show_table(table, console)
        console.print(job.caption, style="dim", highlight=False)
        written = ", ".join([job.file.name, *(f"{each.name}.png" for each in pictures)])
        console.print(f"Written to {job.folder}: {written} and the runs.")
