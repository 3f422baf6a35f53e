"""Eight tasks, a k-set for each, and 50 steps of one of the tasks, in which the k-set of any of the eight has acted.

In the world `pendulum` the tasks differ in the drive's amplitude and frequency, in damping and in the actuator's gain;
in the world `cheetah` they are eight of the half-cheetah's named tasks. A policy with gates learns on the plain task;
then its weights stand still, and a fleet trains the k-sets. Which of them is for the task? `dynamics` asks the battery,
which keeps a model of each task beside its k-set (`nearest`). The controls: the k-set under which the actions were most
likely (`likelihood`), with each action weighted by what came of it (`advantage`); the one whose own steps paid most
nearly what these have paid (`return`); and the one that returns most when all eight are tried for as many steps each
(`trial`).

Every k-set acts once in every task, so that a run has 64 trials. The score is the share in which the k-set of the task
is chosen; guessing gives an eighth.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from benchmarks.questions.nearest.tables import METHODS, WORLDS, nearest_answer, nearest_tables, right
from nb_evaluation.arguments import reporting_seeds
from nb_evaluation.question import Question
from nb_evaluation.runs.records import FinishedRun
from nb_evaluation.runs.specification import Specification
from nb_evaluation.seal import check_lengths


@dataclass(frozen=True, kw_only=True)
class NearestSpec(Specification):
    """A battery of eight tasks, and how a k-set is chosen.

    Attributes:
        world: Where the tasks are, a key of `WORLDS`.
        steps: Steps by which is chosen.
        protocol: Counted up whenever a change of the code or of the settings changes what a specification gives.
    """

    world: str = "pendulum"
    steps: int = 50
    protocol: int = 1
    __hash__ = Specification.__hash__


@dataclass
class NearestResult:
    """What was chosen, and what the choices are worth.

    Attributes:
        chosen: Index of the chosen k-set where task i was acted in by the k-set of task j, `(8, 8)`.
        returns: What the k-set of task j returns in task i in as many steps, `(8, 8)`.
    """

    chosen: list[list[int]]
    returns: list[list[float]]


class NearestRun(FinishedRun[NearestSpec, NearestResult]):
    """A finished run."""

    spec_type, result_type = NearestSpec, NearestResult

    def check(self) -> None:
        """See `FinishedRun.check`."""
        for name in ("chosen", "returns"):
            check_lengths(name, getattr(self.result, name), 8, 8)


class Nearest(Question[NearestSpec, NearestRun]):
    """Whether a battery finds the k-set of a task that returns unannounced."""

    name = "nearest"
    title = "Nearest: the stored k-set that fits 50 steps"
    run: ClassVar[type[NearestRun]] = NearestRun
    methods = METHODS
    varies = ("world",)
    tables = staticmethod(nearest_tables)
    answer = staticmethod(nearest_answer)

    def specifications(self, options: argparse.Namespace) -> Sequence[NearestSpec]:
        """See `Question.specifications`: all methods in both worlds."""
        seeds = reporting_seeds(options.seeds)
        return [NearestSpec(method=m, seed=s, world=w) for s in seeds for w in WORLDS for m in options.methods]

    def execute(self, spec: NearestSpec) -> NearestResult:
        """See `Question.execute`."""
        from benchmarks.questions.nearest.choosing import choose
        from benchmarks.questions.nearest.worlds import behaviours
        from nb_evaluation.runs.workers import one_torch_thread

        with one_torch_thread():
            seen = behaviours(spec.world, spec.seed, spec.steps)
            chosen: Any = choose(spec.method, seen)
        returns: Any = seen.recent.rewards.sum(axis=0).reshape(8, 8)
        return NearestResult(chosen.tolist(), returns.tolist())

    def line(self, run: NearestRun) -> str:
        """See `Question.line`."""
        return f"{run.spec.world}: {right(run):.0%} right"


QUESTION = Nearest()
