"""What a method is: how it trains before the transfer and what it may change in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.running_mean_std import RunningMeanStd

import nb_gym
from benchmarks.protocol.recorder import Curve, Recorder
from benchmarks.protocol.spec import Context, RunSpec
from nb_gym import Context as PendulumContext


@dataclass(frozen=True)
class Pretrained:
    """What a method brings to the target; shared by runs, so nobody changes it.

    Attributes:
        model: trained on the source.
        rewards: statistics by which rewards are scaled.
        curve: what was measured on the way.
    """

    model: BaseAlgorithm
    rewards: RunningMeanStd
    curve: Curve


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row of the tables.

    Attributes:
        summary: what it does, in a few words.
        pretrains: whether it trains on the source task before.
        pretrains_as: another method that pretrains in the same way; None if there is none.
        adapts: what changes in the transfer: "all", "gates", "head", or None for nothing.
        algos: the algorithms that it is defined for.
    """

    summary: str
    pretrains: bool = True
    pretrains_as: str | None = None
    adapts: str | None = "all"
    algos: tuple[str, ...] = ("ppo", "sac")

    def check(self, spec: RunSpec) -> None:
        """Refuse a specification that the method cannot run.

        Raises:
            ValueError: it cannot.
        """

    def pretrain(self, spec: RunSpec) -> Pretrained:
        """Train on the source."""
        raise NotImplementedError

    def begin_transfer(self, spec: RunSpec, pretrained: Pretrained | None, recorder: Recorder) -> BaseAlgorithm:
        """The model that will train on the target.

        Args:
            spec: what is run.
            pretrained: `pretrain`'s answer; None if the method does not pretrain.
            recorder: told of what this spends of the transfer's budget.
        """
        raise NotImplementedError

    def transfer(self, spec: RunSpec, model: BaseAlgorithm, recorder: Recorder) -> None:
        """Spend the transfer's budget."""
        recorder.train(model, spec.transfer_episodes)


def task_difficulty(context: Context) -> float:
    """τ of a context, in [0, 1]."""
    return float(nb_gym.difficulty(PendulumContext(**context).A))


def acting_parameters(policy: BasePolicy) -> dict[str, torch.nn.Parameter]:
    """Those of the parameters that train on which the deterministic action depends, by name."""
    trainable = {name: parameter for name, parameter in policy.named_parameters() if parameter.requires_grad}
    observation, _ = policy.obs_to_tensor(np.ones(policy.observation_space.shape or (), dtype=np.float32))
    action = policy._predict(observation, deterministic=True)
    gradients = torch.autograd.grad(action.sum(), list(trainable.values()), allow_unused=True)
    acting = zip(trainable.items(), gradients, strict=True)
    return {name: parameter for (name, parameter), gradient in acting if gradient is not None}


def count_adapted(policy: BasePolicy) -> int:
    """How many numbers the transfer may change of those that the deterministic action depends on."""
    return sum(parameter.numel() for parameter in acting_parameters(policy).values())
