"""Adaptation in one forward pass: the first episode in worlds whose dynamics nobody tells.

Four families of pendulums hide what their dynamics are. A teacher whose gates are computed from the context is
distilled into a student that infers them from the last eight transitions; beside both stand controls that get the same
number of environment steps in all, labels included, and the same settings: ten numbers in the observation instead of
gates, the context or the history in the observation, a recurrent policy, one policy over all contexts and its
fine-tuning, MAML with up to five inner steps, and policies trained on the target alone.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from benchmarks.questions.single_pass.families import DECISIONS, FAMILIES, NUM_ENVS, play
from benchmarks.questions.single_pass.figures import single_pass_pictures
from benchmarks.questions.single_pass.scores import METHODS, PLAN
from benchmarks.questions.single_pass.tables import single_pass_answer, single_pass_tables
from nb_evaluation.arguments import add_methods, add_seeds, reporting_seeds
from nb_evaluation.question import Question
from nb_evaluation.runs.records import FinishedRun
from nb_evaluation.runs.specification import Specification
from nb_evaluation.seal import check_lengths

EPISODES = 5
"""Episodes that a policy without training in the context is followed for."""


@dataclass(frozen=True, kw_only=True)
class SinglePassSpec(Specification):
    """A training on a family of hidden contexts, and the measurement in its contexts.

    Attributes:
        family: Name of the family.
        decisions: Decisions in all, of 20 physics steps each.
        protocol: Counted up whenever a change of the code or of the settings changes what a specification gives.
    """

    family: str
    decisions: int = 32_400
    protocol: int = 1
    __hash__ = Specification.__hash__

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: There is no such family, or the budget is below an episode in each environment.
        """
        super().__post_init__()
        if self.family not in FAMILIES:
            raise ValueError(f"family must be one of {', '.join(FAMILIES)}; got {self.family!r}")
        if self.decisions < NUM_ENVS * DECISIONS:
            raise ValueError(f"decisions must be at least {NUM_ENVS * DECISIONS}, got {self.decisions}")


@dataclass
class Scores:
    """What a policy, or one for each context, reaches; deterministic, means over the same starts for everyone.

    Attributes:
        returns: Returns episode by episode, `(episodes, contexts)`; what is remembered goes on.
        curve: Mean reward of each decision of the first episode, over the contexts in range.
        flipped: The same where the actuator turns around in mid-episode; empty where the policy is told of the context
            or trained in it.
        steps: Environment steps (physics steps) of all trainings and labels.
        numbers: Numbers that differ between contexts.
        episodes: Episodes in the context before the first that is measured.
        gradient_steps: Gradient steps in the context.
    """

    returns: list[list[float]]
    curve: list[float]
    flipped: list[float]
    steps: int
    numbers: int
    episodes: int
    gradient_steps: int


@dataclass
class SinglePassResult:
    """Scores of all policies of a run, by the names of their rows."""

    scores: dict[str, Scores]


class SinglePassRun(FinishedRun[SinglePassSpec, SinglePassResult]):
    """A finished run."""

    spec_type, result_type = SinglePassSpec, SinglePassResult

    @classmethod
    def parse(cls, result: dict[str, Any]) -> SinglePassResult:
        """See `FinishedRun.parse`."""
        return SinglePassResult({name: Scores(**scores) for name, scores in result.pop("scores").items()}, **result)

    def check(self) -> None:
        """See `FinishedRun.check`."""
        contexts = len(FAMILIES[self.spec.family].contexts)
        for name, each in self.result.scores.items():
            check_lengths(f"{name}.returns", each.returns, len(each.returns), contexts)
            check_lengths(f"{name}.curve", each.curve, DECISIONS)
            check_lengths(f"{name}.flipped", each.flipped, DECISIONS if each.flipped else 0)


class SinglePass(Question[SinglePassSpec, SinglePassRun]):
    """What is reached in the first episode."""

    name = "single_pass"
    title = "Single pass: the first episode in a world that nobody describes"
    run: ClassVar[type[SinglePassRun]] = SinglePassRun
    methods = METHODS
    num_seeds = 10
    varies = ("family",)
    tables = staticmethod(single_pass_tables)
    figures = staticmethod(single_pass_pictures)
    answer = staticmethod(single_pass_answer)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See `Question.add_options`."""
        add_methods(parser, METHODS, tuple(METHODS))
        add_seeds(parser, self.num_seeds)
        what = f"families of contexts (default: {' '.join(FAMILIES)})"
        parser.add_argument(
            "--families", nargs="+", choices=FAMILIES, default=tuple(FAMILIES), metavar="FAMILY", help=what
        )  # fmt: skip

    def specifications(self, options: argparse.Namespace) -> list[SinglePassSpec]:
        """See `Question.specifications`; a method is run on the families that `PLAN` has it for."""
        return [
            SinglePassSpec(method=method, seed=seed, family=family)
            for seed in reporting_seeds(options.seeds)
            for family in dict.fromkeys(options.families)
            for method in dict.fromkeys(options.methods)
            if method in PLAN[family]
        ]

    def execute(self, spec: SinglePassSpec) -> SinglePassResult:
        """See `Question.execute`."""
        from benchmarks.questions.single_pass.learners import Answer, answers

        family = FAMILIES[spec.family]
        here = len(family.in_range)

        def scores(answer: Answer) -> Scores:
            policy, view = answer.policies, answer.view
            alone = isinstance(policy, list)
            rewards = play(policy, family, view, episodes=1 if alone else EPISODES, remembers=answer.remembers)
            turns = family.gains and not alone and view != "context"
            flipped = play(policy, family, view, flips=True)[0, :, :here].mean(axis=1) if turns else np.empty(0)
            return Scores(
                returns=rewards.sum(axis=1).round(3).tolist(),
                curve=rewards[0, :, :here].mean(axis=1).round(4).tolist(),
                flipped=flipped.round(4).tolist(),
                steps=family.settings.frame_skip * answer.steps,
                numbers=answer.numbers,
                episodes=answer.episodes,
                gradient_steps=answer.gradient_steps,
            )

        found = answers(spec.method, family, spec.seed, spec.decisions)
        return SinglePassResult({answer.role: scores(answer) for answer in found})

    def line(self, run: SinglePassRun) -> str:
        """See `Question.line`."""
        ends = ", ".join(f"{name} {min(each.returns[0]):.0f}" for name, each in run.result.scores.items())
        return f"{run.spec.family} worst context: {ends}"


QUESTION = SinglePass()
