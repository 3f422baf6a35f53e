"""What is left of earlier tasks: five pendulums one after another and back again, and what each method has to store."""

from __future__ import annotations

import argparse
import textwrap
from typing import ClassVar

import numpy as np

from benchmarks.protocol.anchors import anchor_returns
from benchmarks.protocol.options import add_budget
from benchmarks.questions.sequence import figures as drawn
from benchmarks.questions.sequence import tables as page
from benchmarks.questions.sequence.runs import SequenceResult, SequenceRun, SequenceSpec, specify_sequence
from benchmarks.questions.sequence.strategies import STRATEGIES
from nb_evaluation.arguments import reporting_seeds
from nb_evaluation.question import Question
from nb_evaluation.report.wording import number

METHODS_TEXT = "\n".join(f"  {name:<16}{strategy.summary}" for name, strategy in STRATEGIES.items())


class TaskSequence(Question[SequenceSpec, SequenceRun]):
    """What is left of earlier tasks."""

    name = "sequence"
    title = "Sequence: several tasks one after another and back again"
    description = f"{textwrap.fill(__doc__ or '', 78)}\n\nmethods:\n{METHODS_TEXT}"
    run: ClassVar[type[SequenceRun]] = SequenceRun
    methods = STRATEGIES
    num_seeds = 10
    tables = staticmethod(page.tables)
    figures = staticmethod(drawn.sequence_pictures)
    answer = staticmethod(page.answer)
    caption = staticmethod(page.caption)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See `Question.add_options`."""
        super().add_options(parser)
        add_budget(parser, "--pretrain-episodes", 50, "budget of the first task")
        add_budget(parser, "--stage-episodes", 50, "budget of each further stage")

    def specifications(self, options: argparse.Namespace) -> list[SequenceSpec]:
        """See `Question.specifications`."""
        budget = {"pretrain_episodes": options.pretrain_episodes, "transfer_episodes": options.stage_episodes}
        specs = [
            specify_sequence(method, seed=seed, **budget)
            for seed in reporting_seeds(options.seeds)
            for method in dict.fromkeys(options.methods)
        ]
        for task in specs[0].tasks:
            anchor_returns(task)
        return specs

    def execute(self, spec: SequenceSpec) -> SequenceResult:
        """See `Question.execute`."""
        from benchmarks.questions.sequence.life import execute_sequence

        return execute_sequence(spec)

    def line(self, run: SequenceRun) -> str:
        """See `Question.line`."""
        return f"average over the tasks {number(float(np.mean(run.result.returns[-1]))):>8}"


QUESTION = TaskSequence()
