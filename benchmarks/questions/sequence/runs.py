"""One run of a sequence: five tasks one after another and back again, and what is left of each after every stage."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from stable_baselines3.common.policies import BasePolicy

from benchmarks.methods.base import Method, Pretrained, acting_parameters
from benchmarks.methods.registry import find_method, specify
from benchmarks.protocol.environments import NUM_STARTS, fixed_starts, make_vector_env, mean_returns
from benchmarks.protocol.experiment import one_torch_thread, pretrain
from benchmarks.protocol.recorder import Curve, Recorder
from benchmarks.protocol.settings import ALGORITHMS, MetaSettings
from benchmarks.protocol.spec import Context, RunSpec
from benchmarks.runs.records import FinishedRun
from nb_agents import Battery
from nb_evaluation.seal import check_lengths

TASKS: tuple[Context, ...] = (
    {"A": 1.0}, {"A": 1.8}, {"A": 1.0, "torque_gain": 0.6}, {"A": 1.0, "b": 1.0}, {"A": 1.0, "torque_gain": -1.0},
)  # fmt: skip
"""The first is the source: a stronger drive, a weaker actuator, more damping, and a reversed actuator follow."""


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """How a method lives through a sequence.

    Attributes:
        summary: what it does, in a few words.
        method: key of `benchmarks.methods.registry.METHODS`.
        keeps: what is stored for each task and put back when it returns: "k", "weights" or None.
        goes_on: whether a task that is new starts from where the last one ended, and not from the source's policy.
    """

    summary: str
    method: str
    keeps: str | None = None
    goes_on: bool = False


STRATEGIES: dict[str, Strategy] = {
    "nb-k": Strategy(summary="k per layer; a k-set per task", method="nb-k", keeps="k"),
    "nb-pro-k": Strategy(summary="k per layer and block; a k-set per task", method="nb-pro-k", keeps="k"),
    "fine-tune": Strategy(summary="one network that trains on and on", method="fine-tune", goes_on=True),
    "fine-tune-kept": Strategy(
        summary="fine-tuned from the source for each task; all weights kept", method="fine-tune", keeps="weights"
    ),
    "maml": Strategy(summary="adapts from the same initialisation whenever a task comes", method="maml"),
}


@dataclass(frozen=True, kw_only=True)
class SequenceSpec(RunSpec):
    """Everything that decides a run; `method` is a key of `STRATEGIES`, `transfer_episodes` the budget of each stage.

    Source and target are the first and the last of the tasks.

    Attributes:
        tasks: their contexts, at least two; visited in this order and back again.
    """

    tasks: tuple[Context, ...] = TASKS
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
        """The transfer of one stage; its seed is this one's and the number's."""
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0] >> 1) if number else self.seed
        shared = {each.name: getattr(self, each.name) for each in fields(RunSpec)}
        changed = {"method": STRATEGIES[self.method].method, "seed": seed, "target": self.tasks[self.stages[number]]}
        return RunSpec(**shared | changed)


@dataclass
class SequenceResult:
    """What a specification gives; returns are deterministic, means over the fixed starts.

    Attributes:
        arrivals: return on its own task as each stage begins, with what was kept for it put back, `(num_stages,)`; the
            pretraining's is that of the source's policy, for want of another.
        returns: returns on all tasks after each stage, each with what is kept for it, `(num_stages, num_tasks)`.
        numbers_kept: stored for each task.
        bytes_kept: the same as a safetensors file, for all tasks, in bytes.
    """

    arrivals: list[float]
    returns: list[list[float]]
    numbers_kept: int
    bytes_kept: int


@dataclass(frozen=True)
class SequenceRun(FinishedRun[SequenceSpec, SequenceResult]):
    """A finished run of a sequence."""

    @classmethod
    def parse(cls, spec: dict[str, Any], result: dict[str, Any]) -> tuple[SequenceSpec, SequenceResult]:
        """See `FinishedRun.parse`."""
        settings = ALGORITHMS[spec["algo"]](**spec["settings"])
        meta = spec["meta"] and MetaSettings(**spec["meta"])
        return SequenceSpec(**{**spec, "settings": settings, "meta": meta}), SequenceResult(**result)

    def check(self) -> None:
        """See `FinishedRun.check`."""
        check_lengths("arrivals", self.result.arrivals, len(self.spec.stages))
        check_lengths("returns", self.result.returns, len(self.spec.stages), len(self.spec.tasks))


def specify_sequence(strategy: str, **options: Any) -> SequenceSpec:
    """A specification with the tuned settings.

    Raises:
        TypeError: a context names something that the pendulum does not have.
        ValueError: the strategy does not exist, or a field is out of range.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"method must be one of {', '.join(STRATEGIES)}; got {strategy!r}")
    tasks = options.pop("tasks", TASKS)
    one = specify(STRATEGIES[strategy].method, source=tasks[0], target=tasks[-1], detail=False, **options)
    shared = {each.name: getattr(one, each.name) for each in fields(RunSpec)}
    return SequenceSpec(**shared | {"method": strategy, "tasks": tasks})


def execute_sequence(spec: SequenceSpec) -> SequenceResult:
    """Run a specification: a pure function of it, to the last bit on one machine."""
    with one_torch_thread():
        life = _Life(spec)
        returns = [life.measure()]
        arrivals = [returns[0][0]]
        for number in range(1, len(spec.stages)):
            arrivals.append(life.train(number))
            returns.append(life.measure())
        return SequenceResult(arrivals, returns, *life.stored())


class _Life:
    """A method's state along a sequence.

    Attributes:
        source: what the pretraining has brought.
        latest: the last model trained.
        kept: models of the tasks seen, for a method that keeps weights.
        k_sets: one per task seen beside the source's network, for a method that keeps k.
    """

    def __init__(self, spec: SequenceSpec) -> None:
        self.spec = spec
        self.strategy = STRATEGIES[spec.method]
        self.method: Method = find_method(self.strategy.method)
        self.source = self.latest = pretrain(spec.stage(0))
        self.kept: dict[int, Pretrained] = {0: self.source}
        self.k_sets: Battery | None = None
        if self.strategy.keeps == "k":
            # Of a copy, as the pretraining is shared between runs.
            recorder = Recorder(spec.stage(0), follow=False)
            self.k_sets = Battery(self.method.begin_transfer(spec.stage(0), self.source, recorder).policy)
            self.k_sets.capture("0")

    def train(self, number: int) -> float:
        """Live through a stage.

        Returns:
            The return on its task as it begins, before any of its episodes.
        """
        stage, task = self.spec.stage(number), self.spec.stages[number]
        recorder = Recorder(stage, follow=False)
        start = self.latest if self.strategy.goes_on else self.source
        if self.strategy.keeps == "weights":
            start = self.kept.get(task, self.source)
        arrival = recorder.evaluator(start.model.policy).target
        model = self.method.begin_transfer(stage, start, recorder)
        if self.k_sets is not None:
            now = Battery(model.policy)
            if str(task) in self.k_sets:
                now.add("now", self.k_sets[str(task)])
                now.apply("now")
            arrival = recorder.evaluator(model.policy).target
        self.method.transfer(stage, model, recorder)
        if self.k_sets is not None:
            now.capture("now", overwrite=True)
            assert now.verify() == self.k_sets.verify()  # the k's are all that has changed
            self.k_sets.add(str(task), now["now"], {**stage.target}, overwrite=True)
        rewards = getattr(model.get_env(), "ret_rms", start.rewards)
        self.latest = Pretrained(model, rewards, Curve())
        if self.strategy.keeps == "weights":
            self.kept[task] = self.latest
        return arrival

    def measure(self) -> list[float]:
        """Return on each task, with what is kept for it, or with the source's k's or weights where nothing is."""
        returns = []
        for task, context in enumerate(self.spec.tasks):
            policy = self.latest.model.policy
            if self.strategy.keeps == "weights":
                policy = self.kept.get(task, self.source).model.policy
            elif self.k_sets is not None:
                self.k_sets.apply(str(task) if str(task) in self.k_sets else "0")
                policy = self.k_sets.network  # type: ignore[assignment]
            returns.append(_mean_return(self.spec, context, policy))
        return returns

    def stored(self) -> tuple[int, int]:
        """Numbers per task, and bytes of all of them in a file."""
        if self.k_sets is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "k.safetensors"
                self.k_sets.save(path)
                return self.k_sets.n_k, path.stat().st_size
        if self.strategy.keeps is None:
            return 0, 0
        tensors = {
            f"{task}.{name}": parameter.detach()
            for task, each in self.kept.items()
            for name, parameter in acting_parameters(each.model.policy).items()
        }
        numbers = sum(tensor.numel() for tensor in tensors.values()) // len(self.kept)
        return numbers, len(safetensors.torch.save(tensors))


def _mean_return(spec: SequenceSpec, context: Mapping[str, float], policy: BasePolicy) -> float:
    """Deterministic return over the fixed starts."""
    env = make_vector_env(spec.settings, NUM_STARTS, **context)
    theta, theta_dot = fixed_starts()
    (score,), _ = mean_returns(env, policy, {"theta": theta, "theta_dot": theta_dot}, NUM_STARTS)
    return float(score)
