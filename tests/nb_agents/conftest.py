"""The algorithms that every property of the k-gated policies is checked on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import pytest
import torch
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm

import nb_agents
from nb_agents import contrib

ON_POLICY = {"n_steps": 32, "batch_size": 16, "n_epochs": 2}
OFF_POLICY = {"learning_starts": 16, "buffer_size": 200, "batch_size": 8, "train_freq": 8, "gradient_steps": 2}


@dataclass(frozen=True)
class Algorithm:
    """An algorithm, its k-gated policy, and settings small enough for a test."""

    cls: type[BaseAlgorithm]
    policy: type[nb_agents.KGatedMixin]
    env: str
    settings: dict[str, Any] = field(default_factory=dict)

    def make(
        self, env: Any = None, policy: Any = None, policy_kwargs: dict[str, Any] | None = None, **settings: Any
    ) -> Any:
        """A model with seed 0 and two hidden layers of 32 units."""
        kwargs = {"net_arch": [32, 32]} | (policy_kwargs or {})
        settings = {"seed": 0, "device": "cpu"} | self.settings | settings
        return self.cls(policy or self.policy, env or self.env, policy_kwargs=kwargs, **settings)


class AlwaysAllowed(gym.Wrapper[Any, Any, Any, Any]):
    """CartPole with the masks that MaskablePPO asks for."""

    def action_masks(self) -> list[bool]:
        """Every action is valid."""
        return [True, True]


gym.register("MaskedCartPole-v1", lambda **kwargs: AlwaysAllowed(gym.make("CartPole-v1", **kwargs)))

ALGORITHMS = {
    "PPO": Algorithm(PPO, nb_agents.KGatedPolicy, "Pendulum-v1", ON_POLICY),
    "A2C": Algorithm(A2C, nb_agents.KGatedPolicy, "CartPole-v1", {"n_steps": 16}),
    "SAC": Algorithm(SAC, nb_agents.KGatedSACPolicy, "Pendulum-v1", OFF_POLICY),
    "TD3": Algorithm(TD3, nb_agents.KGatedTD3Policy, "Pendulum-v1", OFF_POLICY),
    "DDPG": Algorithm(DDPG, nb_agents.KGatedTD3Policy, "Pendulum-v1", OFF_POLICY),
    "DQN": Algorithm(DQN, nb_agents.KGatedDQNPolicy, "CartPole-v1", OFF_POLICY),
    "TQC": Algorithm(TQC, contrib.KGatedTQCPolicy, "Pendulum-v1", OFF_POLICY),
    "CrossQ": Algorithm(CrossQ, contrib.KGatedCrossQPolicy, "Pendulum-v1", OFF_POLICY),
    "QRDQN": Algorithm(QRDQN, contrib.KGatedQRDQNPolicy, "CartPole-v1", OFF_POLICY),
    "TRPO": Algorithm(TRPO, nb_agents.KGatedPolicy, "Pendulum-v1", {"n_steps": 32, "batch_size": 16}),
    "ARS": Algorithm(ARS, contrib.KGatedARSPolicy, "CartPole-v1", {"n_delta": 2}),
    "RecurrentPPO": Algorithm(RecurrentPPO, contrib.KGatedRecurrentPolicy, "Pendulum-v1", ON_POLICY),
    "MaskablePPO": Algorithm(MaskablePPO, contrib.KGatedMaskablePolicy, "MaskedCartPole-v1", ON_POLICY),
}
WITH_GATE_GRADIENT = [name for name in ALGORITHMS if name not in ("TRPO", "ARS")]
"""Algorithms whose gated networks are trained by ``loss.backward()`` and an optimizer; see `nb_agents.contrib`."""


@pytest.fixture(params=list(ALGORITHMS))
def algorithm(request: pytest.FixtureRequest) -> Algorithm:
    """Each algorithm in turn."""
    return ALGORITHMS[request.param]


@pytest.fixture(params=WITH_GATE_GRADIENT)
def gradient_algorithm(request: pytest.FixtureRequest) -> Algorithm:
    """Each algorithm that trains its gates by gradients."""
    return ALGORITHMS[request.param]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
