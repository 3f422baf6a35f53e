"""What is left of earlier tasks: five pendulums one after another and back again, and what each method has to store."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence

import numpy as np

from benchmarks.arguments import add_budget, add_methods, add_seeds, reporting_seeds
from benchmarks.protocol.anchors import reference_returns
from benchmarks.questions.sequence.runs import STRATEGIES, SequenceRun, SequenceSpec, execute_sequence, specify_sequence
from benchmarks.report import number
from benchmarks.runs.job import Question, add_job_options, run_job


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; see `--help` and, for the exit status, `run_job`."""
    return run_job(QUESTION, arguments)


def _parser() -> argparse.ArgumentParser:
    methods = "\n".join(f"  {name:<16}{strategy.summary}" for name, strategy in STRATEGIES.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks sequence",
        description=f"{textwrap.fill(__doc__ or '', 78)}\n\nmethods:\n{methods}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_methods(parser, STRATEGIES, tuple(STRATEGIES))
    add_seeds(parser, default=10)
    add_budget(parser, "--pretrain-episodes", 50, "budget of the first task")
    add_budget(parser, "--stage-episodes", 50, "budget of each further stage")
    add_job_options(parser, "sequence")
    return parser


def _specifications(options: argparse.Namespace) -> list[SequenceSpec]:
    """Seed by seed, so that an interrupted job has whole comparisons.

    Raises:
        ValueError: a budget is not accepted.
    """
    specs = [
        specify_sequence(
            method,
            seed=seed,
            pretrain_episodes=options.pretrain_episodes,
            transfer_episodes=options.stage_episodes,
        )
        for seed in reporting_seeds(options.seeds)
        for method in dict.fromkeys(options.methods)
    ]
    for task in specs[0].tasks:
        reference_returns(task)
    return specs


def _line(run: SequenceRun) -> str:
    return f"average over the tasks {number(float(np.mean(run.result.returns[-1]))):>8}"


QUESTION = Question(
    name="sequence",
    parser=_parser(),
    specifications=_specifications,
    line=_line,
    experiment=execute_sequence,
)

if __name__ == "__main__":
    sys.exit(main())
