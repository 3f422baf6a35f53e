"""The algorithms that every property of the k-gated policies is checked on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm

import nb_agents
from nb_agents import contrib
from tests.nb_agents.shared import AlwaysAllowed, Spaces

ON_POLICY = {"n_steps": 32, "batch_size": 16, "n_epochs": 2}
OFF_POLICY = {"learning_starts": 16, "buffer_size": 200, "batch_size": 8, "train_freq": 8, "gradient_steps": 2}


@dataclass(frozen=True)
class Algorithm:
    """An algorithm, its k-gated policies, and settings small enough for a test."""

    cls: type[BaseAlgorithm]
    policy: type[nb_agents.KGatedMixin]
    env: str
    settings: dict[str, Any] = field(default_factory=dict)
    cnn: type[nb_agents.KGatedMixin] | None = None
    multi_input: type[nb_agents.KGatedMixin] | None = None
    actions: tuple[type[spaces.Space[Any]], ...] = (spaces.Box,)
    device: str = "cpu"

    def make(
        self, env: Any = None, policy: Any = None, policy_kwargs: dict[str, Any] | None = None, **settings: Any
    ) -> Any:
        """A model with seed 0 and two hidden layers of 32 units."""
        kwargs = {"net_arch": [32, 32]} | (policy_kwargs or {})
        settings = {"seed": 0, "device": self.device} | self.settings | settings
        return self.cls(policy or self.policy, env or self.env, policy_kwargs=kwargs, **settings)

    @property
    def has_sde(self) -> bool:
        """Whether it can explore by gSDE."""
        return "use_sde" in inspect.signature(self.cls).parameters


gym.register("MaskedCartPole-v1", lambda **kwargs: AlwaysAllowed(gym.make("CartPole-v1", **kwargs)))

ANY = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
ACTOR_CRITIC: dict[str, Any] = {
    "cnn": nb_agents.KGatedCnnPolicy,
    "multi_input": nb_agents.KGatedMultiInputPolicy,
    "actions": ANY,
}
SAC_LIKE = {"cnn": nb_agents.KGatedSACCnnPolicy, "multi_input": nb_agents.KGatedSACMultiInputPolicy}
TD3_LIKE = {"cnn": nb_agents.KGatedTD3CnnPolicy, "multi_input": nb_agents.KGatedTD3MultiInputPolicy}

ON_CPU = {
    "PPO": Algorithm(PPO, nb_agents.KGatedPolicy, "Pendulum-v1", ON_POLICY, **ACTOR_CRITIC),
    "A2C": Algorithm(A2C, nb_agents.KGatedPolicy, "CartPole-v1", {"n_steps": 16}, **ACTOR_CRITIC),
    "SAC": Algorithm(SAC, nb_agents.KGatedSACPolicy, "Pendulum-v1", OFF_POLICY, **SAC_LIKE),
    "TD3": Algorithm(TD3, nb_agents.KGatedTD3Policy, "Pendulum-v1", OFF_POLICY, **TD3_LIKE),
    "DDPG": Algorithm(DDPG, nb_agents.KGatedTD3Policy, "Pendulum-v1", OFF_POLICY, **TD3_LIKE),
    "DQN": Algorithm(
        DQN, nb_agents.KGatedDQNPolicy, "CartPole-v1", OFF_POLICY,
        nb_agents.KGatedDQNCnnPolicy, nb_agents.KGatedDQNMultiInputPolicy, (spaces.Discrete,),
    ),
    "TQC": Algorithm(
        TQC, contrib.KGatedTQCPolicy, "Pendulum-v1", OFF_POLICY,
        contrib.KGatedTQCCnnPolicy, contrib.KGatedTQCMultiInputPolicy,
    ),
    "CrossQ": Algorithm(CrossQ, contrib.KGatedCrossQPolicy, "Pendulum-v1", OFF_POLICY),
    "QRDQN": Algorithm(
        QRDQN, contrib.KGatedQRDQNPolicy, "CartPole-v1", OFF_POLICY,
        contrib.KGatedQRDQNCnnPolicy, contrib.KGatedQRDQNMultiInputPolicy, (spaces.Discrete,),
    ),
    "TRPO": Algorithm(
        TRPO,
        contrib.KGatedTRPOPolicy,
        "Pendulum-v1",
        {"n_steps": 32, "batch_size": 16},
        cnn=contrib.KGatedTRPOCnnPolicy,
        multi_input=contrib.KGatedTRPOMultiInputPolicy,
        actions=ANY,
    ),
    "ARS": Algorithm(
        ARS, contrib.KGatedARSPolicy, "CartPole-v1", {"n_delta": 2}, actions=(spaces.Box, spaces.Discrete)
    ),
    "RecurrentPPO": Algorithm(
        RecurrentPPO,
        contrib.KGatedRecurrentPolicy,
        "Pendulum-v1",
        ON_POLICY,
        cnn=contrib.KGatedRecurrentCnnPolicy,
        multi_input=contrib.KGatedRecurrentMultiInputPolicy,
        actions=ANY[:3],  # its own policies fail at MultiBinary actions as well
    ),
    "MaskablePPO": Algorithm(
        MaskablePPO,
        contrib.KGatedMaskablePolicy,
        "MaskedCartPole-v1",
        ON_POLICY,
        cnn=contrib.KGatedMaskableCnnPolicy,
        multi_input=contrib.KGatedMaskableMultiInputPolicy,
        actions=ANY[1:],
    ),
}  # fmt: skip
ON_CUDA = {f"{name}-cuda": replace(algorithm, device="cuda") for name, algorithm in ON_CPU.items()}
ALGORITHMS = ON_CPU | (ON_CUDA if torch.cuda.is_available() else {})
"""Every property is checked on the CPU and, where there is one, on a GPU."""

WITH_GATE_GRADIENT = [name for name, algorithm in ALGORITHMS.items() if algorithm.cls is not ARS]
"""Algorithms in which an optimizer steps gates by gradients; in TRPO the critic's alone, see `nb_agents.contrib`."""


@pytest.fixture(params=list(ALGORITHMS))
def algorithm(request: pytest.FixtureRequest) -> Algorithm:
    """Each algorithm in turn."""
    return ALGORITHMS[request.param]


@pytest.fixture(params=WITH_GATE_GRADIENT)
def gradient_algorithm(request: pytest.FixtureRequest) -> Algorithm:
    """Each algorithm that trains gates by gradients."""
    return ALGORITHMS[request.param]


@pytest.fixture(params=[name for name, algorithm in ALGORITHMS.items() if algorithm.has_sde])
def sde_algorithm(request: pytest.FixtureRequest) -> Algorithm:
    """Each algorithm that can explore by gSDE."""
    return ALGORITHMS[request.param]


@pytest.fixture(params=[name for name, algorithm in ALGORITHMS.items() if algorithm.cnn])
def image_algorithm(request: pytest.FixtureRequest) -> Algorithm:
    """Each algorithm that has a policy for images."""
    return ALGORITHMS[request.param]


@pytest.fixture(params=[name for name, algorithm in ALGORITHMS.items() if algorithm.multi_input])
def dict_algorithm(request: pytest.FixtureRequest) -> Algorithm:
    """Each algorithm that has a policy for dictionaries of observations."""
    return ALGORITHMS[request.param]


ACTION_SPACES = {
    spaces.Box: spaces.Box(-2, 2, (2,)),
    spaces.Discrete: spaces.Discrete(3),
    spaces.MultiDiscrete: spaces.MultiDiscrete([3, 2]),
    spaces.MultiBinary: spaces.MultiBinary(3),
}


@pytest.fixture
def anything() -> Callable[[spaces.Space[Any], type[spaces.Space[Any]]], Spaces]:
    """Makes an environment with the given observation space and an action space of the given kind."""
    return lambda observation_space, kind: Spaces(observation_space, ACTION_SPACES[kind])


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
