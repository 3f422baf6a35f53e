"""What each part of NB Pro is worth: one left out or changed at a time, seed by seed beside the whole."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.arguments import add_budget, add_methods, add_seeds, reporting_seeds
from benchmarks.methods.registry import ABLATIONS, specify
from benchmarks.protocol.anchors import reference_returns
from benchmarks.protocol.spec import RunSpec
from benchmarks.questions.ablation.scores import WHOLE
from benchmarks.report import number
from benchmarks.runs.job import Question, add_job_options, run_job
from benchmarks.runs.records import Run

VARIANTS = ("nb", *ABLATIONS)
"""What is held against `WHOLE`; `nb` is NB Pro without blocks."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job; see `--help` and, for the exit status, `run_job`."""
    return run_job(QUESTION, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks ablation", description=__doc__)
    add_methods(parser, VARIANTS, VARIANTS, f"the variants, beside {WHOLE}")
    add_seeds(parser, default=30)
    add_budget(parser, "--pretrain-episodes", 50, "budget at A = 1.0")
    add_budget(parser, "--transfer-episodes", 100, "budget at A = 1.8")
    add_job_options(parser, "ablation")
    return parser


def _specifications(options: argparse.Namespace) -> list[RunSpec]:
    """Seed by seed, so that an interrupted job has whole comparisons.

    Raises:
        ValueError: a budget is not accepted.
    """
    budget = {name: getattr(options, name) for name in ("pretrain_episodes", "transfer_episodes")}
    specs = [
        specify(method, seed=seed, detail=False, **budget)
        for seed in reporting_seeds(options.seeds)
        for method in dict.fromkeys([WHOLE, *options.methods])
    ]
    reference_returns(specs[0].target)
    return specs


def _line(run: Run) -> str:
    return f"final {number(run.summary.final):>8}"


QUESTION = Question(name="ablation", parser=_parser(), specifications=_specifications, line=_line)

if __name__ == "__main__":
    sys.exit(main())
