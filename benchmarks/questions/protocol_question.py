"""What the questions that train on the pendulum protocol have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from benchmarks.methods import METHODS
from benchmarks.protocol.results import RunResult
from benchmarks.protocol.run import Run
from benchmarks.protocol.spec import RunSpec
from benchmarks.report.wording import caption
from nb_evaluation.question import Question
from nb_evaluation.report.wording import number


class ProtocolQuestion(Question[RunSpec, Run]):
    """A question whose runs pretrain, transfer, and are measured on the way (`runs/experiment.py`)."""

    run: ClassVar[type[Run]] = Run
    methods = METHODS

    def execute(self, spec: RunSpec) -> RunResult:
        """See `Question.execute`."""
        from benchmarks.runs.experiment import execute

        return execute(spec)

    def line(self, run: Run) -> str:
        """See `Question.line`."""
        return f"final {number(run.summary.final):>8}"

    def caption(self, runs: Sequence[Run], command: str) -> str:
        """See `Question.caption`."""
        return caption(runs, command)
