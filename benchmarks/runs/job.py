"""What the jobs have in common: run what is not finished, show how it goes, report what came out and what failed.

A script says what it asks (`Question`); `run_job` does the rest. Options are refused before anything is run or written,
and a job that was interrupted goes on where it stopped when it is started again with the same options.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from rich.console import Console
from rich.text import Text
from typing_extensions import TypeVar

from benchmarks.arguments import add_workers
from benchmarks.protocol.experiment import RunResult, execute
from benchmarks.protocol.spec import RunSpec
from benchmarks.report import Table
from benchmarks.report.folders import Job, Skipped, read_job
from benchmarks.report.questions import QUESTIONS
from benchmarks.report.style import save_png
from benchmarks.runs.records import FinishedRun, Run, read_runs, write_job
from benchmarks.runs.runner import Outcome, run_all
from nb_evaluation.files import check_writable, write_atomically
from nb_evaluation.report.screen import any_terminal, make_console, make_progress, show_table

Spec = TypeVar("Spec", bound=RunSpec, default=RunSpec)
Result = TypeVar("Result", default=RunResult)
Finished = TypeVar("Finished", bound=FinishedRun[Any, Any], default=Run)


Report = Callable[[Job, Console], None]
"""Makes tables and pictures from the run files of a folder, there, and shows the most important."""


def write_tables(job: Job) -> Sequence[Table]:
    """Write a job's `table.md`, with the same bytes as the report does; the tables."""
    tables = job.question.tables(job.runs)
    write_atomically(job.file, job.markdown(tables).encode())
    return tables


def publish(job: Job, console: Console) -> None:
    """Write a job's `table.md`, and beside it the figures that have a name, with captions; show the tables."""
    tables = write_tables(job)
    pictures = [picture for picture in job.question.figures(job.runs) if picture.name]
    for each in pictures:
        save_png(each.figure, job.folder / f"{each.name}.png", f"{each.title}. {each.note} {job.caption}")
    for table in tables:
        show_table(table, console)
    console.print(job.caption, style="dim", highlight=False)
    written = ", ".join(["table.md", *(f"{each.name}.png" for each in pictures)])
    console.print(f"Written to {job.folder}: {written} and a JSON file for each run.")


@dataclass(frozen=True, kw_only=True)
class Question(Generic[Spec, Result, Finished]):
    """A script's question; `QUESTIONS` has under its name what the report shows of it.

    Attributes:
        name: of the script, `benchmarks.<name>`.
        parser: its options; what `add_job_options` adds is among them.
        specifications: what is to be run, by the options; raises TypeError, ValueError or ImportError where an option
            is not accepted.
        line: what a finished run shows for itself while the job goes on.
        report: what is made of the runs.
        experiment: what a run does.
    """

    name: str
    parser: argparse.ArgumentParser
    specifications: Callable[[argparse.Namespace], Sequence[Spec]]
    line: Callable[[Finished], str]
    report: Report = publish
    experiment: Callable[[Spec], Result] = execute  # type: ignore[assignment]


def add_job_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Add `--workers`, `--ray` and `--out`."""
    add_workers(parser)
    out = Path("benchmarks/out") / name
    parser.add_argument("--out", type=Path, default=out, metavar="FOLDER", help=f"output folder (default: {out})")


def run_job(question: Question[Any, Any, Any], arguments: Sequence[str] | None = None) -> int:
    """Answer a question on the command line.

    Args:
        question: what is asked.
        arguments: the command line's; None for the process's own.

    Returns:
        The exit status: 0, 1 if a run failed or the folder takes no more files, 130 if interrupted.
    """
    any_terminal()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = question.parser.parse_args(arguments)
    console, shown = make_console(), QUESTIONS[question.name]
    try:
        specs = list(question.specifications(options))
    except (TypeError, ValueError, ImportError) as error:
        question.parser.error(str(error))
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        check_writable(options.out)
    except OSError as error:
        what = "be a folder" if isinstance(error, (FileExistsError, NotADirectoryError)) else "be written to"
        question.parser.error(f"--out {options.out} cannot {what}: {error.strerror}")
    try:
        finished = read_runs(options.out, specs[0].shared, kind=shown.run, varies=shown.varies)
    except (OSError, ValueError) as error:
        question.parser.error(str(error))
    waiting = [spec for spec in specs if spec.name not in finished]
    try:
        outcomes = _run(question, waiting, len(specs), options, console)
        if len(waiting) < len(specs) or any(outcome.run for outcome in outcomes):
            _report(question, options.out, arguments, console)
    except KeyboardInterrupt:
        console.print("Interrupted. The same command goes on where this one stopped.")
        return 130
    except OSError as error:
        console.print(f"Stopped: {error}. The same command goes on where this one stopped.", style="bold red")
        return 1
    failures = [outcome for outcome in outcomes if outcome.failure]
    for outcome in failures:
        console.print(f"\n{outcome.spec.name} failed:", style="bold red")
        console.print(outcome.failure, highlight=False)
    return 1 if failures else 0


def _report(question: Question[Any, Any, Any], folder: Path, arguments: Sequence[str], console: Console) -> None:
    write_job(
        folder, question.name, shlex.join(["python", "-m", "benchmarks", question.name.replace("_", "-"), *arguments])
    )
    job = read_job(folder)
    if isinstance(job, Skipped):
        console.print(f"{folder} {job.reason}")
    else:
        question.report(job, console)


def _run(
    question: Question[Any, Any, Any],
    waiting: Sequence[RunSpec],
    total: int,
    options: argparse.Namespace,
    console: Console,
) -> list[Outcome[Any, Any]]:
    """Run what is not finished yet, and show how it goes: a line for each run, a bar with the time left below."""
    outcomes: list[Outcome[Any, Any]] = []
    with make_progress(question.name, total, total - len(waiting), console) as progress:
        for outcome in run_all(
            waiting,
            options.out,
            workers=options.workers,
            experiment=question.experiment,
            record=QUESTIONS[question.name].run,
            ray=options.ray,
        ):
            outcomes.append(outcome)
            progress.console.print(_line(question, outcome), highlight=False)
            progress.advance(progress.task_ids[0])
    return outcomes


def _line(question: Question[Any, Any, Any], outcome: Outcome[Any, Any]) -> Text:
    label = f"{outcome.spec.method:<10} seed {outcome.spec.seed}"
    if outcome.run is None:
        last = (outcome.failure or "").strip().splitlines()[-1]
        return Text.assemble(f"{label}  ", ("failed", "bold red"), f": {last}")
    return Text(f"{label}  {question.line(outcome.run)}   {outcome.run.wall_seconds:5.1f} s")
