"""64 pendulums that differ in the amplitude of their drive (1 to 1.8) and in the gain of their actuator (0.4 to 2.5).

A policy with gates was trained at A = 1.0 with a gain of 1. Then the weights stand still, and every pendulum is to get
ten k's of its own: all of them in one learn() (`fleet`), or in 64 of them, one after the other, with a critic, batches
and scaled rewards of their own (`separate`). The controls are the policy as it is (`start`), one k-set that is trained
on all 64 (`shared`), and a fleet whose rewards are scaled over all rows together (`one-scale`). Each pendulum makes the
same number of decisions with every method.

The score of a pendulum is the deterministic policy's mean return over four episodes; that of a run is the interquartile
mean over the pendulums, some of which nothing can hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from benchmarks.questions.fleet.tables import METHODS, fleet_answer, fleet_pictures, fleet_tables, score
from nb_evaluation.question import Question
from nb_evaluation.runs.records import FinishedRun
from nb_evaluation.runs.specification import Specification
from nb_evaluation.seal import check_lengths


@dataclass(frozen=True, kw_only=True)
class FleetSpec(Specification):
    """A policy, its robots, and how these adapt.

    Attributes:
        robots: Number of robots.
        episodes: Episodes of training that each of them has.
        pretraining: Decisions in the training of the policy.
        protocol: Counted up whenever a change of the code or of the settings changes what a specification gives.
    """

    robots: int = 64
    episodes: int = 20
    pretraining: int = 24_000
    protocol: int = 1
    __hash__ = Specification.__hash__


@dataclass
class FleetResult:
    """What the robots are, and what each returns.

    Attributes:
        amplitudes: Amplitude A of each robot's drive.
        gains: Gain of each robot's actuator.
        returns: Mean return of each robot.
        learns: Number of calls of learn().
    """

    amplitudes: list[float]
    gains: list[float]
    returns: list[float]
    learns: int


class FleetRun(FinishedRun[FleetSpec, FleetResult]):
    """A finished run."""

    spec_type, result_type = FleetSpec, FleetResult

    def check(self) -> None:
        """See `FinishedRun.check`."""
        for name in ("amplitudes", "gains", "returns"):
            check_lengths(name, getattr(self.result, name), self.spec.robots)


class Fleet(Question[FleetSpec, FleetRun]):
    """Whether robots that adapt at once reach what each of them reaches by itself."""

    name = "fleet"
    title = "Fleet: a k-set for each of 64 robots, trained at once"
    run: ClassVar[type[FleetRun]] = FleetRun
    methods = METHODS
    num_seeds = 3
    tables = staticmethod(fleet_tables)
    answer = staticmethod(fleet_answer)
    figures = staticmethod(fleet_pictures)

    def execute(self, spec: FleetSpec) -> FleetResult:
        """See `Question.execute`."""
        from benchmarks.questions.fleet.learners import adapt, evaluate, robots_of
        from nb_evaluation.runs.workers import one_torch_thread

        with one_torch_thread():
            robots = robots_of(spec)
            battery, learns = adapt(spec, robots)
            returns = evaluate(spec, robots, battery)
        every: dict[str, Any] = {name: values.tolist() for name, values in robots.items()}
        return FleetResult(every["A"], every["torque_gain"], returns.tolist(), learns)

    def line(self, run: FleetRun) -> str:
        """See `Question.line`."""
        return f"interquartile mean {score(run):8.2f}"


QUESTION = Fleet()
