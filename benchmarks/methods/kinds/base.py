"""What a method is: how it trains before the transfer and what it may change in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

import nb_gym
from benchmarks.protocol.results import Curve
from benchmarks.protocol.settings import MetaSettings
from benchmarks.protocol.spec import Parameters, RunSpec
from nb_evaluation.method import Described

if TYPE_CHECKING:  # neither is needed to read results
    import torch
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.policies import BasePolicy
    from stable_baselines3.common.running_mean_std import RunningMeanStd

    from benchmarks.protocol.recorder import Recorder

GATES_ALL, FEW_NUMBERS, NO_GATES = "gates, all weights adapt", "few numbers adapt", "no gates"
META_LEARNERS = "meta-learners"
"""Panels of the figures that draw lines; a method may name another one."""

Draw = Callable[[np.random.Generator], Any]
"""Draws one point of a search space."""


@dataclass(frozen=True)
class Pretrained:
    """What a method brings to the target; runs share it, so nobody changes it.

    Attributes:
        model: Model trained on the source.
        rewards: Statistics by which rewards are scaled.
        curve: Measurements on the way.
    """

    model: BaseAlgorithm
    rewards: RunningMeanStd
    curve: Curve


@dataclass(frozen=True, kw_only=True)
class Method(Described):
    """One row of the tables.

    Attributes:
        pretrains: Whether the method trains on the source task before.
        pretrains_as: Another method that pretrains in the same way; None if there is none.
        adapts: What changes in the transfer: "all", "gates", "head", "lora", or None for nothing.
        algos: Algorithms that the method is defined for.
        compared: Whether the method is one of the published comparison and its controls, `--methods all`.
        searches: Search spaces of the method's own settings, by the name of the search.
    """

    pretrains: bool = True
    pretrains_as: str | None = None
    adapts: str | None = "all"
    algos: tuple[str, ...] = ("ppo", "sac")
    compared: bool = True
    searches: Mapping[str, Draw] = field(default_factory=dict)

    def own_settings(self, pretrain_episodes: int) -> MetaSettings | None:
        """The method's own settings at a budget, beside those of its algorithm; None if it has none."""
        return None

    def check(self, spec: RunSpec) -> None:
        """Refuse a specification that the method cannot run.

        Raises:
            ModuleNotFoundError: A package that the method needs is not installed.
            ValueError: The specification has a field that the method does not accept.
        """

    def pretrain(self, spec: RunSpec) -> Pretrained:
        """Train on the source."""
        raise NotImplementedError

    def begin_transfer(self, spec: RunSpec, pretrained: Pretrained | None, recorder: Recorder) -> BaseAlgorithm:
        """The model that will train on the target.

        Args:
            spec: Specification of the run.
            pretrained: Answer of `pretrain`; None if the method does not pretrain.
            recorder: Keeps what this spends of the transfer's budget.
        """
        raise NotImplementedError

    def transfer(self, spec: RunSpec, model: BaseAlgorithm, recorder: Recorder) -> None:
        """Spend the transfer's budget."""
        recorder.train(model, spec.transfer_episodes)


def task_difficulty(context: Parameters) -> float:
    """τ of a context, in [0, 1]."""
    return float(nb_gym.difficulty(nb_gym.Context(**context).A))


def adapted_parameters(policy: BasePolicy) -> dict[str, torch.nn.Parameter]:
    """Those of the parameters that train on which the deterministic action depends, by name."""
    import torch

    trainable = {name: parameter for name, parameter in policy.named_parameters() if parameter.requires_grad}
    observation, _ = policy.obs_to_tensor(np.ones(policy.observation_space.shape or (), dtype=np.float32))
    action = policy._predict(observation, deterministic=True)
    gradients = torch.autograd.grad(action.sum(), list(trainable.values()), allow_unused=True)
    acting = zip(trainable.items(), gradients, strict=True)
    return {name: parameter for (name, parameter), gradient in acting if gradient is not None}


def count_adapted(policy: BasePolicy) -> int:
    """Number of values that the transfer may change of those that the deterministic action depends on."""
    return sum(parameter.numel() for parameter in adapted_parameters(policy).values())
