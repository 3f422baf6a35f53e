"""The methods under comparison: what each trains before the transfer and what it may change in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

import nb_gym
from benchmarks.spec import Context, RunSpec
from nb_agents import KGatedMixin, KGatedPolicy, KGatedSACPolicy
from nb_gym import Context as PendulumContext

PLAIN: dict[str, str] = {"ppo": "MlpPolicy", "sac": "MlpPolicy"}
GATED: dict[str, type[BasePolicy]] = {"ppo": KGatedPolicy, "sac": KGatedSACPolicy}


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row of the tables.

    Attributes:
        summary: what it does, in a few words.
        gated: whether the policy has k-gates.
        block_size: units per block gate; None for layer gates alone.
        pretrains: whether it trains on the source task before.
        gates_only: whether only the k's change in the transfer.
    """

    summary: str
    gated: bool = False
    block_size: int | None = None
    pretrains: bool = True
    gates_only: bool = False

    def build(self, spec: RunSpec, env: VecEnv, context: Context) -> BaseAlgorithm:
        """The algorithm with this method's policy, untrained, told how difficult its first task is."""
        if not self.gated:
            return spec.settings.build(PLAIN[spec.algo], env, {}, spec.seed)
        policy_kwargs: dict[str, Any] = {"block_size": self.block_size, "task_difficulty": task_difficulty(context)}
        return spec.settings.build(GATED[spec.algo], env, policy_kwargs, spec.seed)

    def begin_transfer(self, spec: RunSpec, model: BaseAlgorithm, env: VecEnv) -> None:
        """Move a pretrained model to the target: a fresh environment and buffer, the new task's difficulty.

        All optimizers forget their moments; SAC's entropy coefficient goes on from the value that it has.

        With `gates_only` nothing that decides the deterministic action trains, except the k's. Critics and the spread
        of the exploration train on: the algorithms need them to learn, and no deployed policy contains them.
        """
        model.set_env(env)
        env.seed(spec.seed)
        if isinstance(model, OffPolicyAlgorithm) and model.replay_buffer is not None:
            model.replay_buffer.reset()  # what it holds is not how the new task behaves
        for optimizer in _optimizers(model):
            optimizer.state.clear()
        if isinstance(model.policy, KGatedMixin):
            model.policy.task_difficulty = task_difficulty(spec.target)
            if self.gates_only:
                model.policy.adapt("gates", log_std=True)


METHODS: dict[str, Method] = {
    "nb": Method(summary="k-gates per layer; everything adapts", gated=True),
    "nb-pro": Method(summary="k-gates per layer and block; everything adapts", gated=True, block_size=16),
    "nb-k": Method(summary="k-gates per layer; only k adapts", gated=True, gates_only=True),
    "nb-pro-k": Method(
        summary="k-gates per layer and block; only k adapts", gated=True, block_size=16, gates_only=True
    ),
    "fine-tune": Method(summary="SB3's MlpPolicy; everything adapts"),
    "scratch": Method(summary="SB3's MlpPolicy, trained on the target alone", pretrains=False),
}


def _optimizers(model: BaseAlgorithm) -> Iterator[torch.optim.Optimizer]:
    """All of a model's: the policy's or those of its parts, and SAC's of the entropy coefficient."""
    owners: tuple[Any, ...] = (model.policy, *model.policy.children(), model)
    for owner in owners:
        for name in ("optimizer", "ent_coef_optimizer"):
            if getattr(owner, name, None) is not None:
                yield getattr(owner, name)


def find_method(name: str) -> Method:
    """Look a method up.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {name!r}")
    return METHODS[name]


def task_difficulty(context: Context) -> float:
    """τ of a context, in [0, 1]."""
    return float(nb_gym.difficulty(PendulumContext(**context).A))


def count_adapted(policy: BasePolicy) -> int:
    """How many numbers the transfer may change of those that the deterministic action depends on."""
    trainable = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    observation, _ = policy.obs_to_tensor(np.ones(policy.observation_space.shape or (), dtype=np.float32))
    action = policy._predict(observation, deterministic=True)
    gradients = torch.autograd.grad(action.sum(), trainable, allow_unused=True)
    moved = (parameter for parameter, gradient in zip(trainable, gradients, strict=True) if gradient is not None)
    return sum(parameter.numel() for parameter in moved)
