"""The main job: pretrain on one pendulum, transfer to another, and compare the ways of doing it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

import numpy as np
from rich.console import Console

from benchmarks.arguments import add_budget, add_methods, add_seeds, reporting_seeds
from benchmarks.figures import save_before_and_after, save_curves
from benchmarks.methods.evolution import EvolutionMethod
from benchmarks.methods.registry import ABLATIONS, METHODS, specify
from benchmarks.protocol.anchors import reference_returns
from benchmarks.protocol.settings import ALGORITHMS
from benchmarks.protocol.spec import RunSpec, parse_assignments
from benchmarks.report import MAIN_COLUMNS, comparison_table, number, results_table
from benchmarks.report.folders import Job
from benchmarks.report.wording import FEWEST_SEEDS, describe_context
from benchmarks.runs.groups import by_method
from benchmarks.runs.job import Question, add_job_options, run_job, write_tables
from benchmarks.runs.records import Run
from nb_evaluation.report.screen import show_table
from nb_evaluation.stats.estimates import interquartile_mean, paired_difference

DEFAULT_METHODS = ("nb", "nb-pro", "nb-pro-k", "fine-tune", "scratch")

ALL_METHODS = tuple(
    name for name, method in METHODS.items() if name not in ABLATIONS and not isinstance(method, EvolutionMethod)
)
"""Those of the published comparison and their controls; variants of NB Pro and CMA-ES have scripts of their own."""

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
    methods = "\n".join(f"  {name:<18}{method.summary}" for name, method in METHODS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks transfer",
        description=DESCRIPTION + methods,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add_methods(parser, [*METHODS, "all"], DEFAULT_METHODS, f"what to compare; all is {' '.join(ALL_METHODS)}")
    add("--algo", choices=ALGORITHMS, default="ppo", help="SB3 algorithm that trains (default: ppo)")
    add_seeds(parser, default=5)
    add_budget(parser, "--pretrain-episodes", 50, "budget on the source")
    add_budget(parser, "--transfer-episodes", 100, "budget on the target")
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
    every = [name for name in ALL_METHODS if options.algo in METHODS[name].algos]
    methods = dict.fromkeys(name for each in options.methods for name in (every if each == "all" else [each]))
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
        for seed in reporting_seeds(options.seeds)
        for method in methods
    ]
    for context in (specs[0].middle, specs[0].target):
        reference_returns(context)  # the report will need them: better known now than after hours of training
    return specs


def _line(run: Run) -> str:
    return f"zero-shot {number(run.summary.zero_shot):>8}   final {number(run.summary.final):>8}"


def _report(job: Job, console: Console) -> None:
    """Make table and pictures from the runs, and show the table."""
    runs = job.runs
    write_tables(job)
    save_curves(runs, job.folder / "curves.png", job.command)
    save_before_and_after(_showcase(runs), job.folder / "transfer.gif")
    for table in (results_table(runs).select(MAIN_COLUMNS), comparison_table(runs)):
        if table:
            show_table(table, console)
    console.print(job.caption, style="dim", highlight=False)
    console.print(f"Written to {job.folder}: table.md, transfer.gif and a JSON file for each run.")
    console.print(f"{verdict(runs)} Picture: {job.folder / 'curves.png'}", style="bold", highlight=False)


def verdict(runs: Sequence[Run]) -> str:
    """One sentence: the method that ends best, and those that cannot be told from it."""
    groups = by_method(runs)
    finals = {method: {run.spec.seed: run.summary.final for run in group} for method, group in groups.items()}
    scores = {method: float(interquartile_mean(list(each.values()))) for method, each in finals.items()}
    best = max(scores, key=lambda method: scores[method])
    target = describe_context(runs[0].spec.target)
    idle = number(reference_returns(runs[0].spec.target)["no torque"])
    found = f"Best at {target}: {best} with a return of {number(scores[best])} (no torque: {idle})"
    alike, compared = [], 0
    for method in scores.keys() - {best}:
        seeds = sorted(finals[best].keys() & finals[method].keys())
        if len(seeds) < FEWEST_SEEDS:
            return f"{found}; fewer than {FEWEST_SEEDS} seeds are too few to tell methods apart."
        ours, theirs = ([finals[name][seed] for seed in seeds] for name in (best, method))
        compared += 1
        if paired_difference(ours, theirs, np.random.default_rng(0)).low <= 0.0:
            alike.append(method)
    if not compared:
        return f"{found}."
    return f"{found}, {'not told apart from ' + ', '.join(sorted(alike)) if alike else 'ahead of all others'}."


def _showcase(runs: Iterable[Run]) -> Run:
    """The run that the GIF shows: the median one of NB Pro, or else of the first method there is."""
    groups = by_method(runs)
    group = sorted(groups.get("nb-pro") or next(iter(groups.values())), key=lambda run: run.summary.final)
    return group[len(group) // 2]


QUESTION = Question(name="transfer", parser=_parser(), specifications=_specifications, line=_line, report=_report)

if __name__ == "__main__":
    sys.exit(main())
