"""The main job: pretrain on one pendulum, transfer to another, and compare the ways of doing it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.anchors import reference_returns
from benchmarks.arguments import add_seeds, count
from benchmarks.figures import save_before_and_after, save_curves
from benchmarks.job import Question, add_job_options, on_screen, run_job
from benchmarks.methods import METHODS, specify
from benchmarks.records import Run
from benchmarks.report import (
    MAIN_COLUMNS,
    by_method,
    caption,
    comparison_table,
    number,
    results_table,
)
from benchmarks.report.transfer_page import markdown_page
from benchmarks.settings import ALGORITHMS
from benchmarks.spec import FIRST_REPORTING_SEED, RunSpec, parse_assignments
from nb_agents.files import write_atomically

DEFAULT_METHODS = ("nb", "nb-pro", "nb-pro-k", "fine-tune", "scratch")

DESCRIPTION = """\
Train policies on one driven pendulum (the source), move them to another (the
target) by several methods, and compare what each reaches on a fixed budget.
Writes one JSON file per run, and table.md, curves.png and transfer.gif made
from them. A job that was interrupted goes on where it stopped when it is
started again with the same options.

methods:
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; see `--help` and, for the exit status, `run_job`."""
    return run_job(QUESTION, arguments)


def _parser() -> argparse.ArgumentParser:
    methods = "\n".join(f"  {name:<20}{method.summary}" for name, method in METHODS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transfer",
        description=DESCRIPTION + methods,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--methods", nargs="+", choices=METHODS, default=DEFAULT_METHODS, metavar="METHOD",
        help=f"what to compare (default: {' '.join(DEFAULT_METHODS)})")  # fmt: skip
    add("--algo", choices=ALGORITHMS, default="ppo", help="SB3 algorithm that trains (default: ppo)")
    add_seeds(parser, default=5)
    add("--pretrain-episodes", type=count, default=50, metavar="N",
        help="budget on the source, in episodes of 1,000 physics steps (default: 50)")  # fmt: skip
    add("--transfer-episodes", type=count, default=100, metavar="N", help="budget on the target (default: 100)")
    add("--source", nargs="+", default=["A=1.0"], metavar="NAME=VALUE",
        help="parameters of the source pendulum, numbers or ranges as in A=1.0:1.5 (default: A=1.0)")  # fmt: skip
    add("--target", nargs="+", default=["A=1.8"], metavar="NAME=VALUE",
        help="parameters of the target pendulum, as in A=1.8 torque_gain=0.5 (default: A=1.8)")  # fmt: skip
    add_job_options(parser, "transfer")
    return parser


def _specifications(options: argparse.Namespace) -> list[RunSpec]:
    """One specification for each seed and method; seed by seed, so that an interrupted job has whole comparisons.

    Raises:
        TypeError: a context names something that the pendulum does not have.
        ValueError: a context or a budget is not accepted.
    """
    source, target = parse_assignments(options.source), parse_assignments(options.target)
    specs = [
        specify(
            method,
            seed=seed,
            algo=options.algo,
            source=source,
            target=target,
            pretrain_episodes=options.pretrain_episodes,
            transfer_episodes=options.transfer_episodes,
        )
        for seed in range(FIRST_REPORTING_SEED, FIRST_REPORTING_SEED + options.seeds)
        for method in dict.fromkeys(options.methods)
    ]
    for context in (specs[0].middle, specs[0].target):
        reference_returns(context)  # the report will need them: better known now than after hours of training
    return specs


def _line(run: Run) -> str:
    return f"zero-shot {number(run.summary.zero_shot):>8}   final {number(run.summary.final):>8}"


def _report(runs: Sequence[Run], folder: Path, command: str, console: Console) -> None:
    """Make table and pictures from the runs, and show the table."""
    write_atomically(folder / "table.md", markdown_page(runs, command).encode())
    save_curves(runs, folder / "curves.png", command)
    save_before_and_after(_showcase(runs), folder / "transfer.gif")
    for table in (results_table(runs).select(MAIN_COLUMNS), comparison_table(runs)):
        if table:
            console.print(on_screen(table))
    console.print(caption(runs, command), style="dim", highlight=False)
    console.print(f"Written to {folder}: table.md, curves.png, transfer.gif and a JSON file for each run.")


def _showcase(runs: Iterable[Run]) -> Run:
    """The run that the GIF shows: the median one of NB Pro, or else of the first method there is."""
    groups = by_method(runs)
    group = sorted(groups.get("nb-pro") or next(iter(groups.values())), key=lambda run: run.summary.final)
    return group[len(group) // 2]


QUESTION = Question(name="transfer", parser=_parser(), specifications=_specifications, line=_line, report=_report)

if __name__ == "__main__":
    sys.exit(main())
