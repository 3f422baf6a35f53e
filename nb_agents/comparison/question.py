"""Compare ways of moving a policy to a changed environment, any of Gymnasium's or your own.

A policy is trained on the source and moved to the target by each method, with equal steps, seed by seed. The answer is
a table with intervals, a figure, a page and a sentence of advice. A job that was interrupted goes on where it stopped
when it is started again with the same options.

  neural-battery compare LunarLander-v3 --source gravity=-10 --target gravity=-4
  neural-battery compare my_robot:make --target payload=2 --algo sac --seeds 5
  neural-battery compare job.yml
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console

from nb_agents.comparison.advice import answer
from nb_agents.comparison.figures import pictures
from nb_agents.comparison.methods import METHODS, RUN
from nb_agents.comparison.specification import KEYWORDS, ComparisonResult, ComparisonRun, ComparisonSpec
from nb_agents.comparison.tables import by_row, digits_of, tables, task
from nb_evaluation.arguments import count, parse_assignments, parse_keywords, reporting_seeds
from nb_evaluation.files import write_atomically
from nb_evaluation.page import html_page, make_section
from nb_evaluation.question import Job, Question
from nb_evaluation.report.wording import caption

DEFAULTS: dict[str, Any] = {
    "source": {}, "target": {}, "common": {}, "contexts": {}, "wrapper": "", "algo": "ppo", "hyperparameters": "",
    "like": "", "set": {}, "source_steps": 100_000, "steps": 20_000, "evaluations": 10, "episodes": 10, "seeds": 5,
    "methods": [],
}  # fmt: skip
"""Options, and what they are where neither the command line nor a file names them."""

NUMBERS = {
    "source_steps": "steps of the training on the source",
    "steps": "steps of the training in the target",
    "evaluations": "evaluations of that",
    "episodes": "episodes of each",
    "seeds": "number of seeds, from 100 up",
}

WRAPPER = "function of the environment, and of the keywords of source or target, which then are the function's"

CONTEXTS = "ranges that `student` is trained over; the environment takes them, and reports info['context']"


class Comparison(Question[ComparisonSpec, ComparisonRun]):
    """Which part of a policy to adapt to a changed environment."""

    name = "compare"
    title = "What to adapt when the environment changes"
    run: ClassVar[type[ComparisonRun]] = ComparisonRun
    methods = METHODS
    tables = staticmethod(tables)
    figures = staticmethod(pictures)
    answer = staticmethod(answer)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See `Question.add_options`."""
        option = parser.add_argument
        option("env", metavar="ENV", help="an id of Gymnasium's, module:factory, or a YAML file with these options")
        for name, what in (
            ("source", "keywords of the environment that the policy is trained on"),
            ("target", "keywords of the one that it is moved to"),
            ("common", "keywords of both"),
        ):
            option(f"--{name}", nargs="+", metavar="NAME=VALUE", help=what)
        option("--wrapper", metavar="MODULE:FUNCTION", help=WRAPPER)
        option("--contexts", nargs="+", metavar="NAME=LOW:HIGH", help=CONTEXTS)
        option("--algo", metavar="NAME", help="algorithm of SB3 or sb3-contrib (default: ppo)")
        option("--hyperparameters", metavar="FILE", help="file of the RL zoo's, or zoo for those of an installed one")
        option("--like", metavar="ID", help="environment whose entry in that file is taken (default: ENV)")
        option("--set", nargs="+", metavar="NAME=VALUE", help="hyperparameters, as in learning_rate=1e-3 n_envs=8")
        what = f"what to compare, of {' '.join(RUN)} (default: all; student where --contexts are given)"
        option("--methods", nargs="+", choices=RUN, metavar="METHOD", help=what)
        for name, what in NUMBERS.items():
            option(f"--{name.replace('_', '-')}", type=count, metavar="N", help=f"{what} (default: {DEFAULTS[name]:,})")

    def specifications(self, options: argparse.Namespace) -> list[ComparisonSpec]:
        """See `Question.specifications`.

        Raises:
            OSError: A file cannot be read.
        """
        given = {name: getattr(options, name) for name in DEFAULTS if getattr(options, name, None) is not None}
        for name in KEYWORDS:
            if name in given and not isinstance(given[name], dict):
                given[name] = parse_keywords(given[name])
        if isinstance(given.get("contexts"), list):
            given["contexts"] = parse_assignments(given["contexts"])
        return self.planned(options.env, given)

    def planned(self, env: str, given: dict[str, Any]) -> list[ComparisonSpec]:
        """The specifications, after all that can be checked has been.

        Args:
            env: See the command's help.
            given: Options by name; those that a YAML file names beside stand behind them.

        Raises:
            ImportError: A package is missing.
            OSError: A file cannot be read.
            TypeError: An option is of another kind.
            ValueError: An option is unknown or not accepted, or the environments do not fit.
        """
        from nb_agents.comparison.options import resolved

        shared, methods, seeds = resolved(env, DEFAULTS, given)
        # While one worker trains the source that the others wait for, another can be at what needs none.
        methods = tuple(sorted(methods, key=lambda name: 1 if name == "scratch" else 2 * (name != methods[0])))
        return [
            ComparisonSpec(method=method, seed=seed, **shared) for seed in reporting_seeds(seeds) for method in methods
        ]

    def execute(self, spec: ComparisonSpec) -> ComparisonResult:
        """See `Question.execute`."""
        from nb_agents.comparison.execution import execute

        return execute(spec)

    def line(self, run: ComparisonRun) -> str:
        """See `Question.line`."""
        digits = digits_of(by_row([run]))
        return ", ".join(
            f"{name} {row.returns[0]:.{digits}f}" + (f" -> {row.returns[-1]:.{digits}f}" if len(row.steps) > 1 else "")
            for name, row in run.result.rows.items()
        )

    def caption(self, runs: Sequence[ComparisonRun], command: str) -> str:
        """See `Question.caption`."""
        spec = runs[0].spec
        return caption(runs, command, f"{task(spec)}; {spec.source_steps:,} steps there, {spec.steps:,} here")

    def publish(self, job: Job, console: Console) -> None:
        """See `Question.publish`; the page is written as well."""
        super().publish(job, console)
        page: Path = job.folder / "index.html"
        section = make_section(job)
        write_atomically(page, html_page([section], []).encode())
        if section.verdict:
            console.print(section.verdict.text, style="bold", highlight=False)
        console.print(f"The page: {page}")


QUESTION = Comparison()
