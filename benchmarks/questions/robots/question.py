"""Robots whose dynamics change: what adaptation is worth on MuJoCo.

A policy that PPO has trained on the default robot is moved to a robot with inverted actions, dead legs, a heavy load or
lost sensors, by fine-tuning, gates, LoRA or the last layer, each within the same number of steps; beside it stand
policies that were trained over many such robots and take no gradient step in the target: a student that infers its
gates from the last eight transitions, its teacher, one policy over all contexts, a recurrent one, and MAML.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from benchmarks.questions.robots.figures import robots_pictures
from benchmarks.questions.robots.plan import DEFAULT, FAMILY, METHODS, SEARCHED, planned
from benchmarks.questions.robots.results import Adaptation, RobotsResult, Row
from benchmarks.questions.robots.tables import robots_answer, robots_tables
from benchmarks.questions.robots.worlds import ROBOTS
from nb_evaluation.arguments import add_methods, add_seeds, count, reporting_seeds
from nb_evaluation.question import Question
from nb_evaluation.report.wording import describe_seeds, made_by
from nb_evaluation.runs.records import FinishedRun
from nb_evaluation.runs.specification import Specification
from nb_evaluation.seal import check_lengths


@dataclass(frozen=True, kw_only=True)
class RobotsSpec(Specification):
    """A source policy that is moved to a target, or a training over a robot's family.

    Attributes:
        robot: Name of the robot.
        width: Units of each of the two hidden layers.
        target: Name of the target; `FAMILY` for the methods that are trained over many contexts.
        before: Decisions of the training before the target, labels included.
        steps: Decisions in the target.
        protocol: Counted up whenever a change of the code or of the settings changes what a specification gives.
    """

    robot: str
    width: int = 64
    target: str
    before: int
    steps: int
    protocol: int = 1
    __hash__ = Specification.__hash__

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: There is no such robot or target, or no such method for it, or a number is below 1.
        """
        super().__post_init__()
        if self.robot not in ROBOTS:
            raise ValueError(f"robot must be one of {', '.join(ROBOTS)}; got {self.robot!r}")
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {self.method!r}")
        robot, whole = ROBOTS[self.robot], METHODS[self.method].over_contexts
        if whole and robot.family is None:
            raise ValueError(f"method {self.method!r} is trained over contexts, and {self.robot} has no family of them")
        known = (FAMILY,) if whole else tuple(robot.targets)
        if self.target not in known:
            raise ValueError(f"target must be one of {', '.join(known)}, got {self.target!r}")
        for name, least in (("width", 1), ("before", 1), ("steps", 0 if whole else 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


class RobotsRun(FinishedRun[RobotsSpec, RobotsResult]):
    """A finished run."""

    spec_type, result_type = RobotsSpec, RobotsResult

    @classmethod
    def parse(cls, result: dict[str, Any]) -> RobotsResult:
        """See `FinishedRun.parse`."""
        rows = {name: Row(**row) for name, row in result.pop("rows").items()}
        adaptation = result.pop("adaptation")
        return RobotsResult(rows, None if adaptation is None else Adaptation(**adaptation), **result)

    def check(self) -> None:
        """See `FinishedRun.check`."""
        if adaptation := self.result.adaptation:
            check_lengths("adaptation.returns", adaptation.returns, len(adaptation.steps))


class Robots(Question[RobotsSpec, RobotsRun]):
    """What adaptation is worth on robots."""

    name = "robots"
    title = "Robots: what adaptation is worth when their dynamics change"
    run: ClassVar[type[RobotsRun]] = RobotsRun
    methods = METHODS
    num_seeds = 2
    varies = ("robot", "width", "target", "before", "steps")
    tables = staticmethod(robots_tables)
    figures = staticmethod(robots_pictures)
    answer = staticmethod(robots_answer)

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """See `Question.add_options`; what is left out is the default job, of 15 minutes."""
        add_methods(parser, ("all", *METHODS), DEFAULT)
        add_seeds(parser, self.num_seeds)
        option = parser.add_argument
        option("--robots", nargs="+", choices=("all", *ROBOTS), default=["HalfCheetah"], metavar="ROBOT",
               help=f"robots, of {' '.join(ROBOTS)}, or all (default: HalfCheetah)")  # fmt: skip
        option("--targets", nargs="+", metavar="TARGET",
               help='targets of the robots, or "all" (default: the first of each robot)')  # fmt: skip
        option("--widths", nargs="+", type=_width, metavar="N",
               help='units of a hidden layer, or "all" of a robot\'s; those that are not its first are run on its first'
                    " target (default: 64, the humanoid 256)")  # fmt: skip

    def specifications(self, options: argparse.Namespace) -> list[RobotsSpec]:
        """See `Question.specifications`; seed by seed, a robot's first target before the others."""
        specs = [
            RobotsSpec(seed=seed, **each._asdict())
            for number, seed in enumerate(reporting_seeds(options.seeds))
            for each in planned(options, number)
        ]
        if not specs:
            raise ValueError("nothing is planned for these robots, widths, targets and methods: see --help")
        return specs

    def execute(self, spec: RobotsSpec) -> RobotsResult:
        """See `Question.execute`."""
        robot = ROBOTS[spec.robot]
        if METHODS[spec.method].over_contexts:
            from benchmarks.questions.robots.contextual import over_contexts

            return RobotsResult(over_contexts(spec.method, robot, spec.width, spec.seed, spec.before))
        if spec.method in SEARCHED:
            from benchmarks.questions.robots.searching import search as adapt
        else:
            from benchmarks.questions.robots.adapting import adapt
        return adapt(spec.method, robot, spec.width, spec.target, spec.seed, spec.before, spec.steps)

    def caption(self, runs: Sequence[RobotsRun], command: str) -> str:
        """See `Question.caption`; how many seeds a row has stands beside it, for robots and methods differ in that."""
        seeds = describe_seeds(sorted({run.spec.seed for run in runs}))
        return f"At most {seeds}, as each row says. {made_by(runs, command)}"

    def line(self, run: RobotsRun) -> str:
        """See `Question.line`."""
        ends = ", ".join(
            f"{name} {value:.0f}" for row in run.result.rows.values() for name, value in row.returns.items()
        )
        return f"{run.spec.robot} {run.spec.width} {ends[:90]}"


def _width(text: str) -> int | str:
    return text if text == "all" else count(text)


QUESTION = Robots()
