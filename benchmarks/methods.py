"""The methods under comparison: what each trains before the transfer and what it may change in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

import nb_gym
from benchmarks.spec import Context, RunSpec
from nb_agents import KGatedMixin, KGatedPolicy
from nb_agents.gates import named_gates
from nb_gym import Context as PendulumContext

PLAIN: dict[str, str] = {"ppo": "MlpPolicy"}
GATED: dict[str, type[BasePolicy]] = {"ppo": KGatedPolicy}


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
        """Move a pretrained model to the target: new environment, fresh optimizer, the new task's difficulty."""
        model.set_env(env)
        env.seed(spec.seed)
        model.policy.optimizer.state.clear()
        if isinstance(model.policy, KGatedMixin):
            model.policy.task_difficulty = task_difficulty(spec.target)
        if self.gates_only:
            freeze_all_but_gates(model.policy)


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


def freeze_all_but_gates(policy: BasePolicy) -> None:
    """Let nothing that decides the deterministic action train, except the k's.

    The critic and the exploration's log-std train on: PPO needs them to learn, and no deployed policy contains them.
    """
    gates = {id(gate.k) for _, gate in named_gates(policy)}
    for parameter in acting_parameters(policy):
        parameter.requires_grad_(id(parameter) in gates)


def acting_parameters(policy: BasePolicy) -> list[torch.nn.Parameter]:
    """The trainable parameters that the deterministic action depends on: those with a gradient."""
    trainable = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    observation, _ = policy.obs_to_tensor(np.ones(policy.observation_space.shape or (), dtype=np.float32))
    action = policy._predict(observation, deterministic=True)
    gradients = torch.autograd.grad(action.sum(), trainable, allow_unused=True)
    return [parameter for parameter, gradient in zip(trainable, gradients, strict=True) if gradient is not None]


def count_adapted(policy: BasePolicy) -> int:
    """How many numbers of the deployed policy the transfer may change."""
    return sum(parameter.numel() for parameter in acting_parameters(policy))
