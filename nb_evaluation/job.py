"""What the jobs have in common: run what is not finished, show how it goes, report runs and failures.

Options are refused before anything is run or written, and a job that was interrupted goes on where it stopped when it
is started again with the same options.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from nb_evaluation.arguments import add_out, add_workers, make_out, make_parser
from nb_evaluation.question import Job, Question, Skipped
from nb_evaluation.reader import read_job
from nb_evaluation.report.screen import any_terminal, make_console, make_progress
from nb_evaluation.runs.folder import pack, read_runs, write_job
from nb_evaluation.runs.records import UnreadableError
from nb_evaluation.runs.runner import Outcome, run_all
from nb_evaluation.runs.specification import Specification


def run_job(question: Question[Any, Any], program: str, arguments: Sequence[str], out: Path) -> int:
    """Answer a question on the command line.

    Args:
        question: The question.
        program: The command without its arguments, as in "python -m benchmarks transfer".
        arguments: Arguments of the command line.
        out: Default of `--out`.

    Returns:
        The exit status: 0, 1 if a run failed or the folder takes no more files, 130 if interrupted.
    """
    any_terminal()
    parser = make_parser(program, question.description)
    question.add_options(parser)
    add_workers(parser)
    add_out(parser, out)
    options = parser.parse_args(arguments)
    try:
        specs = list(question.specifications(options))
    except (ImportError, OSError, TypeError, ValueError) as error:
        parser.error(str(error))
    make_out(parser, options.out)
    try:
        waiting = unfinished(question, specs, options.out)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    console, command = make_console(), shlex.join([*program.split(), *arguments])
    outcomes: list[Outcome[Any, Any]] = []
    try:
        with make_progress(question.name, len(specs), len(specs) - len(waiting), console) as progress:
            for outcome in outcomes_of(question, waiting, options.out, workers=options.workers, ray=options.ray):
                outcomes.append(outcome)
                progress.console.print(_line(question, outcome), highlight=False)
                progress.advance(progress.task_ids[0])
        if len(waiting) < len(specs) or any(outcome.run for outcome in outcomes):
            finish(question, options.out, command, console)
    except KeyboardInterrupt:
        console.print("Interrupted. The same command goes on where this one stopped.")
        return 130
    except (OSError, UnreadableError) as error:
        console.print(f"Stopped: {error}. The same command goes on where this one stopped.", style="bold red")
        return 1
    failures = [outcome for outcome in outcomes if outcome.failure]
    for outcome in failures:
        console.print(f"\n{outcome.spec.name} failed:", style="bold red")
        console.print(outcome.failure, highlight=False)
    return 1 if failures else 0


def unfinished(question: Question[Any, Any], specs: Sequence[Specification], folder: Path) -> list[Specification]:
    """The specifications of which a folder holds no run yet.

    Raises:
        OSError: The folder cannot be read.
        UnreadableError: A file there is damaged, or of another specification or other versions.
    """
    finished = read_runs(folder, question.run, specs[0].shared, question.varies)
    return [spec for spec in specs if spec.name not in finished]


def outcomes_of(
    question: Question[Any, Any], specs: Sequence[Specification], folder: Path, *, workers: int, ray: str | None = None
) -> Iterator[Outcome[Any, Any]]:
    """Run specifications, see `run_all`."""
    return run_all(
        specs, folder, workers=workers, ray=ray, experiment=question.execute, record=question.run, code=question.code
    )


def finish(question: Question[Any, Any], folder: Path, command: str, console: Console) -> Job | None:
    """Pack the runs of a folder, write what they answer and show it; None where none of them can be reported."""
    pack(folder)
    write_job(folder, question.name, command)
    job = read_job(folder, {question.name: question})
    if isinstance(job, Skipped):
        console.print(f"{folder} {job.reason}")
        return None
    question.publish(job, console)
    return job


def _line(question: Question[Any, Any], outcome: Outcome[Any, Any]) -> Text:
    label = f"{outcome.spec.method:<10} seed {outcome.spec.seed}"
    if outcome.run is None:
        last = (outcome.failure or "").strip().splitlines()[-1]
        return Text.assemble(f"{label}  ", ("failed", "bold red"), f": {last}")
    return Text(f"{label}  {question.line(outcome.run)}   {outcome.run.wall_seconds:5.1f} s")
