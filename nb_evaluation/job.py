"""What the jobs have in common: run what is not finished, show how it goes, report runs and failures.

Options are refused before anything is run or written, and a job that was interrupted goes on where it stopped when it
is started again with the same options.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from nb_evaluation.arguments import add_out, add_workers, make_out, make_parser
from nb_evaluation.question import Question, Skipped
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
    except (TypeError, ValueError, ImportError) as error:
        parser.error(str(error))
    make_out(parser, options.out)
    try:
        finished = read_runs(options.out, question.run, specs[0].shared, question.varies)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return _go_on(question, specs, finished.keys(), options, shlex.join([*program.split(), *arguments]))


def _go_on(
    question: Question[Any, Any],
    specs: Sequence[Specification],
    finished: Any,
    options: argparse.Namespace,
    command: str,
) -> int:
    """Run what is not finished yet, and show how it goes: a line for each run, a bar with the time left below."""
    console = make_console()
    waiting = [spec for spec in specs if spec.name not in finished]
    runs = partial(run_all, experiment=question.execute, record=question.run, code=question.code)
    outcomes: list[Outcome[Any, Any]] = []
    try:
        with make_progress(question.name, len(specs), len(specs) - len(waiting), console) as progress:
            for outcome in runs(waiting, options.out, workers=options.workers, ray=options.ray):
                outcomes.append(outcome)
                progress.console.print(_line(question, outcome), highlight=False)
                progress.advance(progress.task_ids[0])
        if len(waiting) < len(specs) or any(outcome.run for outcome in outcomes):
            pack(options.out)
            _report(question, options.out, command, console)
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


def _report(question: Question[Any, Any], folder: Path, command: str, console: Console) -> None:
    write_job(folder, question.name, command)
    job = read_job(folder, {question.name: question})
    if isinstance(job, Skipped):
        console.print(f"{folder} {job.reason}")
    else:
        question.publish(job, console)


def _line(question: Question[Any, Any], outcome: Outcome[Any, Any]) -> Text:
    label = f"{outcome.spec.method:<10} seed {outcome.spec.seed}"
    if outcome.run is None:
        last = (outcome.failure or "").strip().splitlines()[-1]
        return Text.assemble(f"{label}  ", ("failed", "bold red"), f": {last}")
    return Text(f"{label}  {question.line(outcome.run)}   {outcome.run.wall_seconds:5.1f} s")
