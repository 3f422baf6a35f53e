"""One run: pretrain on the source, transfer to the target, measure on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from benchmarks.environments import Evaluation, Evaluator, make_training_env
from benchmarks.methods import count_adapted, find_method
from benchmarks.spec import EPISODE_STEPS, RunSpec
from nb_agents import Battery


@dataclass
class Curve:
    """Measurements along a run; entry i of each list belongs to the same policy.

    Attributes:
        steps: physics steps trained so far, pretraining included.
        source: deterministic return in the source context.
        target: deterministic return in the target context.
    """

    steps: list[int] = field(default_factory=list)
    source: list[float] = field(default_factory=list)
    target: list[float] = field(default_factory=list)


@dataclass
class RunResult:
    """What a specification gives, and nothing that depends on when or where it ran.

    Attributes:
        curve: the evaluations; the first is of the untrained policy, the one at the end of the pretraining is the
            zero-shot transfer.
        transfer_episodes: returns of the transfer's training episodes, in the order in which they ended.
        torques_before: the deterministic policy's torques from the first fixed start, as the transfer begins.
        torques_after: the same when the transfer has ended.
        numbers_adapted: how many numbers of the deployed policy the transfer could change.
        source_restored: deterministic return in the source context with the k's from before the transfer put back;
            None where the transfer has moved the weights, so that there is no way back.
    """

    curve: Curve
    transfer_episodes: list[float]
    torques_before: list[float]
    torques_after: list[float]
    numbers_adapted: int
    source_restored: float | None


def execute(spec: RunSpec) -> RunResult:
    """Run a specification: a pure function of it, to the last bit on one machine.

    Raises:
        ValueError: the method or a context parameter does not exist.
    """
    method = find_method(spec.method)
    k_sets: Battery | None = None
    with one_torch_thread():
        recorder = Recorder(spec)
        target_env = make_training_env(spec, spec.target)
        if method.pretrains:
            source_env = make_training_env(spec, spec.source)
            model = method.build(spec, source_env, spec.source)
            recorder.train(model, spec.pretrain_episodes)
            target_env.ret_rms = source_env.ret_rms  # the scale of the rewards goes on from where it is
            method.begin_transfer(spec, model, target_env)
            if method.gates_only:
                k_sets = Battery(model.policy)
                k_sets.capture("source")
        else:
            model = method.build(spec, target_env, spec.target)
        pretrain_episodes, numbers_adapted = len(recorder.episodes), count_adapted(model.policy)
        before = recorder.evaluate(model)
        recorder.train(model, spec.transfer_episodes)
        after = recorder.evaluate(model)
        source_restored = None
        if k_sets is not None:
            k_sets.apply("source")
            source_restored = recorder.evaluator(model.policy).source
    return RunResult(
        curve=recorder.curve,
        transfer_episodes=recorder.episodes[pretrain_episodes:],
        torques_before=before.torques,
        torques_after=after.torques,
        numbers_adapted=numbers_adapted,
        source_restored=source_restored,
    )


class Recorder(BaseCallback):
    """Evaluates the policy every `eval_every` episodes, between updates, and keeps the training episodes' returns.

    The evaluations run in an environment of their own; their steps count towards no budget.
    """

    def __init__(self, spec: RunSpec) -> None:
        super().__init__()
        self.evaluator = Evaluator(spec)
        self.frame_skip = spec.settings.frame_skip
        self.interval = spec.eval_every * EPISODE_STEPS
        self.curve = Curve()
        self.episodes: list[float] = []

    def train(self, model: BaseAlgorithm, episodes: int) -> None:
        """Spend a budget, counted on top of what the model has spent before."""
        decisions = episodes * EPISODE_STEPS // self.frame_skip
        model.learn(decisions, callback=self, reset_num_timesteps=False)

    def evaluate(self, model: BaseAlgorithm) -> Evaluation:
        """Measure the policy as it is; a number of steps enters the curve once."""
        evaluation = self.evaluator(model.policy)
        steps = model.num_timesteps * self.frame_skip
        if not self.curve.steps or steps > self.curve.steps[-1]:
            self.curve.steps.append(steps)
            self.curve.source.append(evaluation.source)
            self.curve.target.append(evaluation.target)
        return evaluation

    def _on_rollout_start(self) -> None:
        steps = self.model.num_timesteps * self.frame_skip
        if not self.curve.steps or steps // self.interval > self.curve.steps[-1] // self.interval:
            self.evaluate(self.model)

    def _on_step(self) -> bool:
        self.episodes += [float(info["episode"]["r"]) for info in self.locals["infos"] if "episode" in info]
        return True


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Sums over several threads are not the same to the last bit, and the networks are too small to gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
