"""The last reward beside the observation: where the reward alone tells one task from another."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray


class RewardObservation(VectorWrapper):
    """Puts the reward of the last decision behind the observation, 0 as an episode begins.

    Args:
        env: A vector environment that resets in the same step.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        super().__init__(env)
        self.single_observation_space = _longer(env.single_observation_space)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begin all episodes."""
        observation, info = self.env.reset(**options)
        return self._with(observation, np.zeros(self.num_envs)), info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Make a decision."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        over = terminated | truncated
        if "final_obs" in info:
            finals = info["final_obs"].copy()
            for i in np.flatnonzero(over):
                finals[i] = np.append(finals[i], reward[i]).astype(finals[i].dtype)
            info = info | {"final_obs": finals}
        return self._with(observation, np.where(over, 0.0, reward)), reward, terminated, truncated, info

    def _with(self, observation: NDArray[Any], reward: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([observation, reward[:, None].astype(observation.dtype)], axis=1)


class OneRewardObservation(gym.Wrapper[Any, Any, Any, Any]):
    """The same for a single environment."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = _longer(env.observation_space)

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(**options)
        return np.append(observation, 0.0).astype(observation.dtype), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Make a decision."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return np.append(observation, float(reward)).astype(observation.dtype), reward, terminated, truncated, info


def _longer(space: Any) -> spaces.Box:
    low, high = (np.append(ends, end).astype(space.dtype) for ends, end in ((space.low, -np.inf), (space.high, np.inf)))
    return spaces.Box(low, high, dtype=space.dtype)
