"""A small world to adapt in, and policies that are good in it before anything goes wrong."""

from __future__ import annotations

from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from nb_agents import KGatedPolicy, KGatedSACPolicy
from nb_agents.policies.train_only import acting_parameters

STEPS = 15


class Slide(gym.Env[Any, Any]):
    """A mass that is to be held at 0 by a force whose gain is the world's; what it costs is its speed."""

    observation_space, action_space = spaces.Box(-9.0, 9.0, (2,)), spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.state, self.time = self.np_random.normal(0.0, 0.7, 2), 0
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        place, speed = self.state
        speed = 0.9 * speed + 0.5 * self.gain * float(np.clip(action[0], -1.0, 1.0))
        self.state, self.time = np.array([place + 0.5 * speed, speed]), self.time + 1
        reward = -float(np.square(self.state[0]) + 0.1 * np.square(speed))
        return self.observe(), reward, False, self.time == STEPS, {"cost": abs(float(speed))}

    def observe(self) -> Any:
        return np.clip(self.state, -9.0, 9.0).astype(np.float32)


def slides(n: int = 4, gain: float = 1.0) -> DummyVecEnv:
    return DummyVecEnv([lambda: Slide(gain)] * n)


SETTINGS: dict[Any, dict[str, Any]] = {
    PPO: {"n_steps": 32, "batch_size": 64, "n_epochs": 4, "gamma": 0.9},
    SAC: {"learning_starts": 1, "buffer_size": 4_000, "train_freq": 8, "gradient_steps": 8, "gamma": 0.9},
}
POLICIES: dict[Any, Any] = {PPO: KGatedPolicy, SAC: KGatedSACPolicy}
BOTH = pytest.mark.parametrize("algorithm", [PPO, SAC])


def make(algorithm: Any, rate: float, env: Any, seed: int = 0) -> Any:
    kwargs = {"net_arch": [16, 16], "block_size": 4}
    settings = SETTINGS[algorithm] | {"seed": seed, "device": "cpu"}
    return algorithm(POLICIES[algorithm], env, learning_rate=rate, policy_kwargs=kwargs, **settings)


@cache
def pretrained(algorithm: Any) -> Any:
    """The state of a policy that holds the mass."""
    steps = {PPO: 8_000, SAC: 3_000}[algorithm]
    return make(algorithm, 3e-3, slides()).learn(steps).policy.state_dict()


def ready(algorithm: Any, rate: float, env: Any = None, *, what: str = "gates", seed: int = 0) -> Any:
    """A model that has learned, and is about to train on, in a world with another gain."""
    state = pretrained(algorithm)  # before anything is seeded
    model = make(algorithm, rate, slides(gain=0.6) if env is None else env, seed)
    model.policy.load_state_dict(state)
    model.policy.train_only(what)
    return model


def normalized(gain: float = 1.0) -> VecNormalize:
    return VecNormalize(slides(gain=gain))


def acting(model: Any) -> list[torch.Tensor]:
    return [parameter.detach().clone() for _, parameter in acting_parameters(model.policy)]
