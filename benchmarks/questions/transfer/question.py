"""The main job: pretrain on one pendulum, transfer to another, and compare the ways of doing it."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

import numpy as np
from rich.console import Console

from benchmarks.methods import METHODS, by_method, specify
from benchmarks.protocol.anchors import anchor_returns
from benchmarks.protocol.options import add_budget, add_context
from benchmarks.protocol.run import Run
from benchmarks.protocol.settings import ALGORITHMS
from benchmarks.protocol.spec import RunSpec
from benchmarks.questions.protocol_question import ProtocolQuestion
from benchmarks.questions.transfer import tables as page
from benchmarks.questions.transfer.curves import picture_of_curves, save_curves
from benchmarks.questions.transfer.gates import pictures_of_k
from benchmarks.questions.transfer.generalization import generalization_pictures
from benchmarks.questions.transfer.replay import save_before_and_after
from benchmarks.questions.transfer.scores import score_pictures
from benchmarks.questions.transfer.tables import MAIN_COLUMNS, comparison_table, results_table
from benchmarks.report.wording import describe_context
from nb_evaluation.arguments import add_methods, add_seeds, parse_assignments, reporting_seeds
from nb_evaluation.question import Job
from nb_evaluation.report.screen import show_table
from nb_evaluation.report.style import Picture
from nb_evaluation.report.wording import FEWEST_SEEDS, number
from nb_evaluation.stats.estimates import interquartile_mean, paired_difference

DEFAULT_METHODS = ("nb", "nb-pro", "nb-pro-k", "fine-tune", "scratch")

ALL_METHODS = tuple(name for name, method in METHODS.items() if method.compared)
"""The methods of the published comparison and their controls; others have questions of their own."""

WIDTH = max(map(len, METHODS)) + 2

DESCRIPTION = """\
Train policies on one driven pendulum (the source), move them to another (the
target) by several methods, and compare what each reaches on a fixed budget.
Writes the runs, and table.md, curves.png and transfer.gif made from them. A job
that was interrupted goes on where it stopped when it is started again with the
same options.

methods:
"""


class Transfer(ProtocolQuestion):
    """Which method is best at the target, on equal budgets."""

    name = "transfer"
    title = "Transfer: pretrain on one pendulum, move to another"
    description = DESCRIPTION + "\n".join(f"  {name:<{WIDTH}}{method.summary}" for name, method in METHODS.items())
    tables = staticmethod(page.tables)
    answer = staticmethod(page.answer)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See `Question.add_options`."""
        add_methods(parser, [*METHODS, "all"], DEFAULT_METHODS, f"what to compare; all is {' '.join(ALL_METHODS)}")
        help_text = "SB3 algorithm that trains (default: ppo)"
        parser.add_argument("--algo", choices=ALGORITHMS, default="ppo", help=help_text)
        add_seeds(parser, default=5)
        add_budget(parser, "--pretrain-episodes", 50, "budget on the source")
        add_budget(parser, "--transfer-episodes", 100, "budget on the target")
        what = "parameters of the source pendulum, numbers or ranges as in A=1.0:1.5"
        add_context(parser, "--source", ["A=1.0"], what)
        add_context(parser, "--target", ["A=1.8"], "parameters of the target pendulum, as in A=1.8 torque_gain=0.5")

    def specifications(self, options: argparse.Namespace) -> list[RunSpec]:
        """See `Question.specifications`."""
        every = [name for name in ALL_METHODS if options.algo in METHODS[name].algos]
        methods = dict.fromkeys(name for each in options.methods for name in (every if each == "all" else [each]))
        shared = {name: getattr(options, name) for name in ("algo", "pretrain_episodes", "transfer_episodes")}
        shared |= {name: parse_assignments(getattr(options, name)) for name in ("source", "target")}
        seeds = reporting_seeds(options.seeds)
        specs = [specify(method, seed=seed, **shared) for seed in seeds for method in methods]
        for context in (specs[0].middle, specs[0].target):
            anchor_returns(context)  # the report will need them: better known now than after hours of training
        return specs

    def figures(self, runs: Sequence[Run]) -> list[Picture]:
        """See `Question.figures`."""
        return [picture_of_curves(runs), *score_pictures(runs), *pictures_of_k(runs), *generalization_pictures(runs)]

    def line(self, run: Run) -> str:
        """See `Question.line`."""
        return f"zero-shot {number(run.summary.zero_shot):>8}   {super().line(run)}"

    def publish(self, job: Job, console: Console) -> None:
        """Make table and pictures from the runs, and show the table."""
        runs = job.runs
        self.write_tables(job)
        save_curves(runs, job.folder / "curves.png", job.caption)
        save_before_and_after(_showcase(runs), job.folder / "transfer.gif")
        for table in (results_table(runs).select(MAIN_COLUMNS), comparison_table(runs)):
            if table:
                show_table(table, console)
        console.print(job.caption, style="dim", highlight=False)
        console.print(f"Written to {job.folder}: table.md, transfer.gif and the runs.")
        console.print(f"{verdict(runs)} Picture: {job.folder / 'curves.png'}", style="bold", highlight=False)


def verdict(runs: Sequence[Run]) -> str:
    """One sentence: the method that ends best, and those that do not differ from it."""
    groups = by_method(runs)
    finals = {method: {run.spec.seed: run.summary.final for run in group} for method, group in groups.items()}
    scores = {method: float(interquartile_mean(list(each.values()))) for method, each in finals.items()}
    best = max(scores, key=lambda method: scores[method])
    target = describe_context(runs[0].spec.target)
    idle = number(anchor_returns(runs[0].spec.target)["no torque"])
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


QUESTION = Transfer()
