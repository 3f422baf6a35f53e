"""What a run does: a source policy is moved to the target by a method, and measured on the way."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from nb_agents.comparison.methods import METHODS, Method
from nb_agents.comparison.specification import ComparisonResult, ComparisonSpec, Row
from nb_agents.comparison.training import build, source_model, worlds_of
from nb_agents.gates.signed import SignedKGate
from nb_agents.returns import episode_returns
from nb_agents.surgery.retrofit import retrofit
from nb_agents.transfer import transfer

EVAL_SEED = 1_000_003
"""Seed of the starts of all evaluations."""


def execute(spec: ComparisonSpec) -> ComparisonResult:
    """Run a specification; a pure function of it, to the last bit on one machine."""
    if not METHODS[spec.method].trains:
        from nb_agents.comparison.contextual import teacher_and_student

        return ComparisonResult(teacher_and_student(spec))
    return ComparisonResult({spec.method: _adapted(spec)})


def gated(plain: BaseAlgorithm, method: Method) -> BaseAlgorithm:
    """A model with the method's gates, which does what the plain one does."""
    gates: dict[str, Any] = {"gate_class": SignedKGate} if method.gates == "signed" else {}
    model: Any = retrofit(plain, **gates)
    model.set_logger(plain.logger)
    if not method.gates:  # they stand at exactly 1, so that the model is the plain one in all it does
        for gate in model.policy.gates.values():
            gate.k.requires_grad_(False)
    return model  # type: ignore[no-any-return]


def schedules_begin_anew(model: Any, steps: int) -> None:
    """Let schedules run over the steps in the target from their beginning to their end, as those of a new policy do.

    SB3's go on from where the source's training has left them, near their end.
    """
    share = steps / (model.num_timesteps + steps)
    for name in ("lr_schedule", "clip_range", "clip_range_vf"):
        if callable(schedule := getattr(model, name, None)):
            setattr(model, name, partial(_stretched, schedule, share))


def _stretched(schedule: Callable[[float], float], share: float, remaining: float) -> float:
    return schedule(remaining / share)


def _adapted(spec: ComparisonSpec) -> Row:
    method = METHODS[spec.method]
    with ExitStack() as stack:
        there = stack.enter_context(closing(worlds_of(spec, spec.target)))
        plain: Any = source_model(spec) if method.begins else build(spec, worlds_of(spec, spec.target))
        stack.enter_context(closing(plain.get_env()))
        model: Any = gated(plain, method)
        schedules_begin_anew(model, spec.steps)
        measure = stack.enter_context(closing(Measured(spec)))
        source_before = measure.home(model) if method.begins else None
        follow = Followed(measure, spec)
        moved = transfer(
            model, there, spec.steps, method.trains, normalize="freeze" if method.begins else "carry",
            n_eval_episodes=1, callback=follow,
        )  # fmt: skip
        follow.take()
        source_after, back = measure.home(model), None
        if moved.battery is not None:
            moved.battery.apply("source")
            back = measure.home(model)
        return Row(follow.steps, follow.returns, source_before, source_after, back, moved.n_trained)


class Measured:
    """Measures models on target and source, from the same starts for all.

    Args:
        spec: The specification.
        shown: Whether the models are told the context.
    """

    def __init__(self, spec: ComparisonSpec, *, shown: bool = False) -> None:
        self.episodes = spec.episodes
        number = min(spec.episodes, 8)
        self._there, self._home = (
            worlds_of(spec, keywords, num=number, shown=shown) for keywords in (spec.target, spec.source)
        )

    def close(self) -> None:
        """Close the environments."""
        self._there.close()
        self._home.close()

    def there(self, model: BaseAlgorithm) -> float:
        """Mean return on the target.

        Raises:
            ValueError: It is no number.
        """
        return self._mean(model, self._there, "target")

    def home(self, model: BaseAlgorithm) -> float:
        """Mean return on the source; likewise."""
        return self._mean(model, self._home, "source")

    def _mean(self, model: BaseAlgorithm, env: VecEnv, where: str) -> float:
        with torch.random.fork_rng(devices=[]):
            state = np.random.get_state()
            try:
                mean = float(episode_returns(model, env, self.episodes, EVAL_SEED).mean())
            finally:
                np.random.set_state(state)
        if not math.isfinite(mean):
            raise ValueError(f"{where} must give finite rewards, got a mean return of {mean}")
        return mean


class Followed(BaseCallback):
    """Measures a model before its training in the target, and as often as the specification says on the way."""

    def __init__(self, measure: Measured, spec: ComparisonSpec) -> None:
        super().__init__()
        self._measure, self._every = measure, spec.steps / spec.evaluations
        self.steps: list[int] = []
        self.returns: list[float] = []
        self._first = 0

    def take(self) -> None:
        """Measure the model as it is; a number of steps is measured once."""
        done = self.model.num_timesteps - self._first
        if not self.steps or done > self.steps[-1]:
            self.steps.append(done)
            self.returns.append(self._measure.there(self.model))

    def _on_training_start(self) -> None:
        self._first = self.model.num_timesteps
        self.take()

    def _on_rollout_start(self) -> None:
        if self.model.num_timesteps - self._first >= len(self.steps) * self._every:
            self.take()

    def _on_step(self) -> bool:
        return True
