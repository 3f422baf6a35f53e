"""Learning with gates against without, on SB3's and sb3-contrib's own learning tests.

A gated policy learns as the plain one where no interval of the paired differences lies below zero.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from benchmarks.questions.learning_parity.tables import PLAIN, TASK_NAMES, learning_answer, learning_tables
from nb_evaluation.arguments import add_seeds, refuse, reporting_seeds
from nb_evaluation.method import Described
from nb_evaluation.question import Question
from nb_evaluation.report.wording import describe_seeds, made_by
from nb_evaluation.runs.records import FinishedRun
from nb_evaluation.runs.specification import Specification

RATIO = "k_lr_ratio="

VARIANTS = {
    PLAIN: Described(summary="SB3's policy"),
    "default": Described(summary="gates with their defaults"),
    "paper": Described(summary="gates with the paper's settings"),
}


@dataclass(frozen=True, kw_only=True)
class LearningSpec(Specification):
    """A training: `method` is a variant, `task` a key of `tasks.TASKS`.

    Attributes:
        task: The algorithm and what it learns.
        gates: Arguments of the k-gated policy, defaults written out; None for the plain policy.
    """

    task: str
    gates: dict[str, Any] | None

    __hash__ = Specification.__hash__

    @property
    def name(self) -> str:
        """See `Specification.name`."""
        return f"{self.task.replace(' ', '-')}-{super().name}"

    @property
    def own(self) -> tuple[str, ...]:
        """See `Specification.own`."""
        return ("method", "seed", "gates")


@dataclass
class LearningResult:
    """Scores of the deterministic policy, in [0, 100].

    Attributes:
        half: Score after half of the training.
        end: Score after all of it.
    """

    half: float
    end: float


class LearningRun(FinishedRun[LearningSpec, LearningResult]):
    """A finished training."""

    spec_type, result_type = LearningSpec, LearningResult


class LearningParity(Question[LearningSpec, LearningRun]):
    """Whether a gated policy learns what SB3's own learns."""

    name = "learning_parity"
    title = "Learning parity: SB3's own learning tests, with gates and without"
    run: ClassVar[type[LearningRun]] = LearningRun
    methods = VARIANTS
    varies = ("task",)
    intervals = ""
    tables = staticmethod(learning_tables)
    answer = staticmethod(learning_answer)

    def knows(self, method: str) -> bool:
        """See `Question.knows`; a variant may also be `k_lr_ratio=NUMBER`."""
        return method in VARIANTS or method.startswith(RATIO)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See `Question.add_options`."""
        add_seeds(parser, default=8)
        parser.add_argument(
            "--tasks", nargs="+", choices=TASK_NAMES, default=TASK_NAMES, metavar="TASK", help="tasks (default: all)"
        )
        what = f"variants beside plain: default, paper or {RATIO}X (default: default paper)"
        parser.add_argument("--methods", nargs="+", default=["default", "paper"], metavar="METHOD", help=what)
        refuse(parser, {"--variants": "--methods METHOD"})

    def specifications(self, options: argparse.Namespace) -> list[LearningSpec]:
        """See `Question.specifications`."""
        gates = {method: gate_arguments(method) for method in dict.fromkeys([PLAIN, *options.methods])}
        return [
            LearningSpec(method=method, seed=seed, task=task, gates=arguments)
            for seed in reporting_seeds(options.seeds)
            for task in options.tasks
            for method, arguments in gates.items()
        ]

    def execute(self, spec: LearningSpec) -> LearningResult:
        """See `Question.execute`."""
        from benchmarks.questions.learning_parity.tasks import TASKS

        return LearningResult(*TASKS[spec.task].run(spec.gates, spec.seed))

    def line(self, run: LearningRun) -> str:
        """See `Question.line`."""
        return f"{run.spec.task:<24} {run.result.end:5.1f}"

    def caption(self, runs: Sequence[LearningRun], command: str) -> str:
        """See `Question.caption`."""
        seeds = describe_seeds(sorted({run.spec.seed for run in runs}))
        return (
            f"{seeds[0].upper()}{seeds[1:]}. Identity tasks: expected return of the deterministic policy, 100 at best;"
            " bit flipping: successes among the last 100 episodes, in per cent. Differences are interquartile means"
            " over the seeds with 95 % bootstrap intervals; bold is worse than the plain policy."
            f" {made_by(runs, command)}"
        )


def gate_arguments(variant: str) -> dict[str, Any] | None:
    """The arguments of `KGatedMixin` that a variant stands for, defaults written out; None for the plain policy.

    Raises:
        ValueError: There is no such variant.
    """
    from nb_agents import PAPER, KGatedMixin

    if variant == PLAIN:
        return None
    parameters = inspect.signature(KGatedMixin.__init__).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
    defaults["k_init"] = defaults.pop("gate_class").k_start
    if variant == "default":
        return defaults
    if variant == "paper":
        return {**defaults, **PAPER}
    try:
        return defaults | {"k_lr_ratio": float(variant.removeprefix(RATIO))}
    except ValueError:
        raise ValueError(f"variant must be plain, default, paper or {RATIO}NUMBER, got {variant!r}") from None


QUESTION = LearningParity()
