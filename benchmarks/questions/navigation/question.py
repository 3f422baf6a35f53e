"""MAML on the literature's task: what one inner step reaches on Navigation2D, beside the controls that could fool us.

The settings are those of tristandeleu/pytorch-maml-rl's 2-D navigation: 20 goals × 20 episodes × 100 steps for the
inner step and again for the adapted policies, 1 inner step at rate 0.1, tanh 2 × 64, γ 0.99, GAE λ 1, TRPO within a KL
of 0.01, 40 meta-iterations. Run on this project's reference machine, that implementation returns −39.9 before and −17.4
after adapting (mean of meta-iterations 21 to 40, goals drawn afresh in each).

That a return grows by adapting proves nothing: an untrained network gains from its first inner step too. So what counts
is the level after the same inner step on goals that were held out, beside an untrained initialisation, and one trained
on all goals with the same number of environment steps but without adapting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from benchmarks.questions.navigation.tables import (
    LEARNERS,
    METHODS,
    navigation_answer,
    navigation_pictures,
    navigation_tables,
)
from nb_evaluation.question import Question
from nb_evaluation.runs.records import FinishedRun
from nb_evaluation.runs.specification import Specification
from nb_evaluation.seal import check_lengths

if TYPE_CHECKING:
    from nb_agents.maml import MAML

SETTINGS: dict[str, Any] = {
    "tasks_per_iteration": 20,
    "episodes_per_task": 20,
    "inner_lr": 0.1,
    "gamma": 0.99,
    "gae_lambda": 1.0,
    "normalize_observations": False,
    "policy_kwargs": {"net_arch": [64, 64]},
}
NUM_HELD_OUT, TEST_STEPS = 40, 3


@dataclass(frozen=True, kw_only=True)
class NavigationSpec(Specification):
    """A meta-training, and the measurement on the goals held out.

    Attributes:
        iterations: Meta-iterations of MAML; the others get as many environment steps, in whole meta-iterations.
        protocol: Counted up whenever a change of the code or of `SETTINGS` changes what a specification gives.
    """

    iterations: int = 40
    protocol: int = 1
    __hash__ = Specification.__hash__


@dataclass
class NavigationResult:
    """Mean returns of exploring policies.

    Attributes:
        steps: Environment steps so far, after each meta-iteration.
        training: Returns before and after each meta-iteration's inner step, on its own new goals.
        held_out: The same on the held-out goals, after the update.
        final: Returns on those before any and after 1, 2 and 3 steps, `(4, goals)`.
    """

    steps: list[int]
    training: list[list[float]]
    held_out: list[list[float]]
    final: list[list[float]]


class NavigationRun(FinishedRun[NavigationSpec, NavigationResult]):
    """A finished run."""

    spec_type, result_type = NavigationSpec, NavigationResult

    def check(self) -> None:
        """See `FinishedRun.check`."""
        check_lengths("final", self.result.final, TEST_STEPS + 1, NUM_HELD_OUT)
        for name in ("training", "held_out"):
            check_lengths(name, getattr(self.result, name), len(self.result.steps))


class Navigation(Question[NavigationSpec, NavigationRun]):
    """Whether our MAML does what the literature's does."""

    name = "navigation"
    title = "Navigation2D: MAML on the literature's task"
    run: ClassVar[type[NavigationRun]] = NavigationRun
    methods = METHODS
    default_methods = ("maml", "joint", "untrained")
    tables = staticmethod(navigation_tables)
    answer = staticmethod(navigation_answer)
    figures = staticmethod(navigation_pictures)

    def execute(self, spec: NavigationSpec) -> NavigationResult:
        """See `Question.execute`."""
        from benchmarks.protocol.meta_training import meta_train

        maml, held_out = make(spec.method, spec.seed), draw_goals(np.random.default_rng(2017), NUM_HELD_OUT)
        curve: list[list[float]] = []

        def follow() -> None:
            curve.append(maml.evaluate(held_out, steps=1, seed=spec.seed).mean(axis=(1, 2)).tolist())

        steps, training = meta_train(maml, 0 if spec.method == "untrained" else 2 * spec.iterations, follow)
        final = maml.evaluate(held_out, steps=TEST_STEPS, seed=spec.seed).mean(axis=2)
        return NavigationResult(steps, training, curve, final.tolist())

    def line(self, run: NavigationRun) -> str:
        """See `Question.line`."""
        before, after, *_ = np.mean(run.result.final, axis=1)
        return f"{before:6.1f} → {after:6.1f}"


def draw_goals(rng: np.random.Generator, n: int) -> list[dict[str, Any]]:
    """The task sampler: goals uniform in [−0.5, 0.5]²."""
    return [{"goal": goal} for goal in rng.uniform(-0.5, 0.5, size=(n, 2))]


def make(method: str, seed: int) -> MAML:
    """An algorithm with the settings that all share; ProMP and Reptile have outer updates of their own."""
    import nb_gym  # noqa: F401  # registers the environment
    from nb_agents import maml

    outer: dict[str, Any] = {} if method in ("promp", "reptile") else {"outer": maml.TRPOUpdate(max_kl=0.01)}
    learner: type[MAML] = getattr(maml, LEARNERS[method])
    return learner("MlpPolicy", "Navigation2D-v0", draw_goals, seed=seed, device="cpu", **SETTINGS, **outer)


QUESTION = Navigation()
