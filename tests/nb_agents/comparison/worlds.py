"""Small environments that comparisons are made of, as a user's module has them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Aim(gym.Env[Any, Any]):
    """Three shots at a goal: the reward is minus the squared distance; a wider observation where it is asked for."""

    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, goal: float = 0.5, width: int = 2) -> None:
        self.goal, self.shots = goal, 0
        self.observation_space = spaces.Box(-1.0, 1.0, (width,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.shots = 0
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        self.shots += 1
        return self._seen(), -float((action[0] - self.goal) ** 2), False, self.shots == 3, {}

    def _seen(self) -> Any:
        return self.np_random.uniform(-1.0, 1.0, self.observation_space.shape).astype(np.float32)


def make(goal: float = 0.5, width: int = 2) -> gym.Env[Any, Any]:
    return Aim(goal, width)


class Fragile(Aim):
    """It fails where it is told to."""

    def __init__(self, goal: float = 0.5, broken: str = "") -> None:
        super().__init__(goal)
        self.broken = broken
        if broken == "factory":
            raise RuntimeError("no simulator")

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if self.broken == "reset":
            raise KeyError("joint")
        return super().reset(seed=seed)

    def step(self, action: Any) -> Any:
        obs, reward, *ends = super().step(action)
        return obs, np.nan if self.broken == "reward" else reward, *ends


def fragile(**keywords: Any) -> gym.Env[Any, Any]:
    return Fragile(**keywords)


def shifted(env: gym.Env[Any, Any], by: float = 0.0) -> gym.Env[Any, Any]:
    """A wrapper of a user's: the goal is elsewhere."""
    env.unwrapped.goal += by  # type: ignore[attr-defined]
    return env


NUMBER = 3
