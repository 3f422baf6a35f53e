"""Environments and networks that several tests use."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from nb_agents import Battery, KGate, named_gates


class Spaces(gym.Env[Any, Any]):
    """Random observations of any kind; any actions, with masks for MaskablePPO."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """A random observation."""
        super().reset(seed=seed)
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """The reward is random, and one step in ten is an episode's last."""
        reward, end = self.np_random.normal(), self.np_random.random() < 0.1
        return self.observation_space.sample(), float(reward), False, bool(end), {}

    def action_masks(self) -> np.ndarray:
        """Every action is valid."""
        space: Any = self.action_space
        n = {spaces.Discrete: lambda: space.n, spaces.MultiDiscrete: lambda: space.nvec.sum()}
        return np.ones(n.get(type(space), lambda: 2 * space.n)(), dtype=bool)


class AlwaysAllowed(gym.Wrapper[Any, Any, Any, Any]):
    """CartPole with the masks that MaskablePPO asks for."""

    def action_masks(self) -> list[bool]:
        """Every action is valid."""
        return [True, True]


class Clock(gym.Env[Any, Any]):
    """Pays its step number and ends after `length` steps, by truncation if that is even."""

    action_space = spaces.Discrete(2)

    def __init__(self, length: int, observation_space: spaces.Space[Any] | None = None) -> None:
        self.length = length
        self.observation_space = observation_space or spaces.Box(-1.0, 100.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.time = 0
        return self.observe(), {"begun": self.length}

    def step(self, action: int) -> Any:
        self.time += 1
        over, even = self.time >= self.length, self.length % 2 == 0
        return self.observe(), float(self.time), over and not even, over and even, {"time": self.time}

    def observe(self) -> Any:
        if isinstance(self.observation_space, spaces.Box):
            return np.array([self.time, self.length], np.float32)
        parts = {
            "a": self.time % 3,
            "_b": np.array([self.length], np.float32),
            "c": np.array([1, self.time % 2], np.int8),
        }
        return parts if isinstance(self.observation_space, spaces.Dict) else tuple(parts.values())


class TwoTorques(gym.ActionWrapper[Any, Any, Any]):
    """Full torque to either side."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.action_space = spaces.Discrete(2)

    def action(self, action: Any) -> Any:
        """One of the two."""
        return np.float32([2.0 if action else -2.0])


class Pictures(gym.Env[Any, Any]):
    """Random images beside a context, or without."""

    action_space = spaces.Box(-1.0, 1.0, (2,))

    def __init__(self, *, told: bool) -> None:
        image = spaces.Box(0, 255, (3, 36, 36), np.uint8)
        context = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = spaces.Dict({"context": context, "observation": image}) if told else image

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """A random observation."""
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        """There is nothing to gain."""
        return self.observation_space.sample(), 0.0, False, False, {}


class WithSkip(BaseFeaturesExtractor):
    """A features extractor with gates in a Sequential and a skip around the next layer."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, 8)
        self.first, self.second = nn.Sequential(nn.Linear(3, 8), nn.Tanh()), nn.Linear(8, 8)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        h = self.first(obs)
        return h + self.second(h)


class Signed(KGate):
    """A gate that may turn its units around."""

    k_start = math.log(3.0)

    @staticmethod
    def phi(k: torch.Tensor) -> torch.Tensor:
        return torch.tanh(k / 2)


def move_gates(network: nn.Module, low: float = -1.5, high: float = 1.5) -> None:
    """Other k's than those of the start, the same for the same network."""
    for i, (_, gate) in enumerate(named_gates(network)):
        gate.k.data = torch.linspace(low, high, len(gate.k)).roll(i).to(gate.k)


def swapped(model: Any, observations: np.ndarray) -> Battery:
    """A battery of two k-sets, "easy" and "hard", after each was put back, and both at once, one to a row.

    Args:
        model: A k-gated model.
        observations: Observations, shape ``(n, ...)`` with an even n.
    """
    battery, expected = Battery(model), []

    def actions() -> np.ndarray:
        return model.predict(observations, deterministic=True)[0]  # type: ignore[no-any-return]

    for i, name in enumerate(("easy", "hard")):
        move_gates(model.policy, -1.0 - i, 2.0)
        battery.capture(name)
        expected.append(actions())
    battery.apply("easy")
    assert np.array_equal(actions(), expected[0])
    with battery.per_row(["hard", "easy"] * (len(observations) // 2)):
        np.testing.assert_allclose(actions()[::2], expected[1][::2], atol=1e-6)
        np.testing.assert_allclose(actions()[1::2], expected[0][1::2], atol=1e-6)
    return battery
