"""What a run of a sequence is: tasks one after another and back again, and the returns on all of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from benchmarks.methods import specify
from benchmarks.protocol.spec import Parameters, RunSpec
from benchmarks.questions.sequence.strategies import STRATEGIES
from nb_evaluation.runs.records import FinishedRun
from nb_evaluation.seal import check_lengths

TASKS: tuple[Parameters, ...] = (
    {"A": 1.0}, {"A": 1.8}, {"A": 1.0, "torque_gain": 0.6}, {"A": 1.0, "b": 1.0}, {"A": 1.0, "torque_gain": -1.0},
)  # fmt: skip
"""The first is the source: a stronger drive, a weaker actuator, more damping, and a reversed actuator follow."""


@dataclass(frozen=True, kw_only=True)
class SequenceSpec(RunSpec):
    """Everything that decides a run; `method` is a key of `STRATEGIES`, `transfer_episodes` the budget of each stage.

    Source and target are the first and the last of the tasks.

    Attributes:
        tasks: Contexts of the tasks, at least two; visited in this order and back again.
    """

    tasks: tuple[Parameters, ...] = TASKS
    detail: bool = False

    def __post_init__(self) -> None:
        if len(self.tasks) < 2:
            raise ValueError(f"tasks must be at least two, got {list(self.tasks)}")
        if self.detail:
            raise ValueError("detail must be False: a sequence is measured in its own way")
        parsed = []
        for task in self.tasks:
            object.__setattr__(self, "target", task)
            super().__post_init__()
            parsed.append(self.target)
        object.__setattr__(self, "source", dict(parsed[0]))
        object.__setattr__(self, "tasks", tuple(parsed))

    __hash__ = RunSpec.__hash__

    @property
    def stages(self) -> tuple[int, ...]:
        """Index of the task of each stage; the first stage is the pretraining."""
        there = range(len(self.tasks))
        return (*there, *reversed(there[:-1]))

    def stage(self, number: int) -> RunSpec:
        """The transfer of one stage; its seed follows from this one's and the number."""
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0] >> 1) if number else self.seed
        shared = {each.name: getattr(self, each.name) for each in fields(RunSpec)}
        changed = {"method": STRATEGIES[self.method].method, "seed": seed, "target": self.tasks[self.stages[number]]}
        return RunSpec(**shared | changed)


@dataclass
class SequenceResult:
    """What a specification gives; returns are deterministic, means over the fixed starts.

    Attributes:
        arrivals: Return on its own task as each stage begins, with what was kept for it put back, `(num_stages,)`; the
            first is that of the source's policy, for want of another.
        returns: Returns on all tasks after each stage, each with what is kept for it, `(num_stages, num_tasks)`.
        numbers_kept: Number of values that are stored for each task.
        bytes_kept: Size in bytes of a safetensors file with what is stored for all tasks.
        chosen: Index of the task whose k-set was put in as each stage began, `(num_stages,)`: the source's for a new
            one, and the battery's choice for one that comes back; None for methods that are told which task comes.
    """

    arrivals: list[float]
    returns: list[list[float]]
    numbers_kept: int
    bytes_kept: int
    chosen: list[int] | None = None


class SequenceRun(FinishedRun[SequenceSpec, SequenceResult]):
    """A finished run of a sequence."""

    spec_type, result_type = SequenceSpec, SequenceResult

    def check(self) -> None:
        """See `FinishedRun.check`."""
        check_lengths("arrivals", self.result.arrivals, len(self.spec.stages))
        check_lengths("returns", self.result.returns, len(self.spec.stages), len(self.spec.tasks))
        if self.result.chosen is not None:
            check_lengths("chosen", self.result.chosen, len(self.spec.stages))


def specify_sequence(strategy: str, **options: Any) -> SequenceSpec:
    """A specification with the tuned settings.

    Raises:
        TypeError: A context names something that the pendulum does not have.
        ValueError: The strategy does not exist, or a field is out of range.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"method must be one of {', '.join(STRATEGIES)}; got {strategy!r}")
    tasks = options.pop("tasks", TASKS)
    one = specify(STRATEGIES[strategy].method, source=tasks[0], target=tasks[-1], detail=False, **options)
    shared = {each.name: getattr(one, each.name) for each in fields(RunSpec)}
    return SequenceSpec(**shared | {"method": strategy, "tasks": tasks})
