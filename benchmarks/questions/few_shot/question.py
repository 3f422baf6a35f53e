"""What a few episodes of adaptation are worth: the return after each of them, in ten other pendulums."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.arguments import add_budget, add_methods, add_seeds, reporting_seeds
from benchmarks.methods.meta import MetaMethod
from benchmarks.methods.registry import ABLATIONS, METHODS, specify
from benchmarks.protocol.anchors import reference_returns
from benchmarks.protocol.settings import meta_settings
from benchmarks.protocol.spec import RunSpec, parse_assignments
from benchmarks.questions.few_shot.scores import SHOTS, TARGETS, change, k_shot
from benchmarks.report import describe_context, number
from benchmarks.runs.job import Question, add_job_options, run_job
from benchmarks.runs.records import Run

CHOICES = tuple(name for name, method in METHODS.items() if method.adapts and name not in ABLATIONS)
"""The methods that adapt; `scratch` is the control that has learned nothing before."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; see `--help` and, for the exit status, `run_job`."""
    return run_job(QUESTION, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks few-shot", description=__doc__)
    add = parser.add_argument
    add_methods(parser, CHOICES, CHOICES)
    add("--targets", nargs="+", metavar="NAME=VALUE",
        default=[f"{name}={value}" for target in TARGETS for name, value in target.items()],
        help="what changes from the source, one thing at a time (default: %(default)s)")  # fmt: skip
    add("--source", nargs="+", default=["A=1.0"], metavar="NAME=VALUE",
        help="parameters of the source pendulum, numbers or ranges (default: A=1.0)")  # fmt: skip
    add_seeds(parser, default=10)
    add_budget(parser, "--pretrain-episodes", 50, "budget on the source")
    add_budget(parser, "--shots", SHOTS[-1], "budget on each target")
    add_job_options(parser, "few_shot")
    return parser


def _specifications(options: argparse.Namespace) -> list[RunSpec]:
    """One for each seed, method and target; those that share a pretraining follow each other.

    Raises:
        ModuleNotFoundError: a package that a method needs is not installed.
        TypeError: a context names something that the pendulum does not have.
        ValueError: a context or a budget is not accepted.
    """
    source = parse_assignments(options.source)
    middle = {name: float(np.mean(value)) for name, value in source.items()}
    targets = [parse_assignments([each]) for each in dict.fromkeys(options.targets)]
    methods = sorted(
        dict.fromkeys(options.methods), key=lambda name: list(METHODS).index(METHODS[name].pretrains_as or name)
    )
    specs = [
        _specification(
            method,
            seed=seed,
            source=source,
            target={**middle, **target},
            pretrain_episodes=options.pretrain_episodes,
            transfer_episodes=options.shots,
        )
        for seed in reporting_seeds(options.seeds)
        for method in methods
        for target in targets
    ]
    for spec in specs[: len(targets)]:
        reference_returns(spec.target)
    return specs


def _specification(method: str, **options: Any) -> RunSpec:
    """One environment, so an update after each episode; a meta-learner takes an inner step after each, too."""
    if isinstance(METHODS[method], MetaMethod):
        options["meta"] = replace(meta_settings(method, options["pretrain_episodes"]), adapt_episodes=1)
    return specify(method, transfer_envs=1, eval_every=1, detail=False, **options)


def _line(run: Run) -> str:
    returns = k_shot(run)
    return f"{describe_context(change(run.spec)):<18} {number(returns[0]):>8} → {number(returns[-1]):>8}"


QUESTION = Question(name="few_shot", parser=_parser(), specifications=_specifications, line=_line)

if __name__ == "__main__":
    sys.exit(main())
