"""The environments of a meta-learner: what every other method sees, at the same scale, one or natively many."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.wrappers.vector import TransformAction
from stable_baselines3.common.running_mean_std import RunningMeanStd

from benchmarks.protocol.environments import ScaledObservation, action_space, make_vector_env
from benchmarks.protocol.settings import PPOSettings
from benchmarks.protocol.spec import EPISODE_STEPS, Source
from nb_agents.maml import Environments
from nb_gym import Context


class RewardScale(VectorWrapper):
    """Keeps the statistics by which SB3's `VecNormalize` scales rewards, and leaves the rewards as they are.

    Args:
        env: Vector environment.
        statistics: Statistics of the discounted returns; updated in place.
        gamma: Discount factor.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], statistics: RunningMeanStd, gamma: float) -> None:
        super().__init__(env)
        self._statistics, self._gamma = statistics, gamma
        self._returns = np.zeros(self.num_envs)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step, and take the discounted returns so far into the statistics."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        self._returns = self._returns * self._gamma + reward
        self._statistics.update(self._returns)
        self._returns[terminated | truncated] = 0.0
        return observation, reward, terminated, truncated, info


def environments(settings: PPOSettings, statistics: RunningMeanStd, source: Source) -> Environments:
    """The transfer job's environments, one or natively many; the latter keep the rewards' statistics.

    Both have the source's action space, see `make_training_env`.
    """
    actions = action_space(source)

    def make(**context: Any) -> gym.Env[Any, Any]:
        env = gym.make(
            "nb_gym:NBPendulum-v0",
            frame_skip=settings.frame_skip,
            episode_steps=EPISODE_STEPS,
            observe=tuple(settings.observe),
            **context,
        )
        scaled = ScaledObservation(env, list(settings.observe.values()))
        return gym.wrappers.TransformAction(scaled, lambda action: action, actions)

    def make_vec(num_envs: int, **context: Any) -> VectorEnv[Any, Any, Any]:
        env = make_vector_env(settings, num_envs, **context)
        env = TransformAction(env, lambda actions: actions, single_action_space=actions)
        return RewardScale(env, statistics, settings.gamma)

    return Environments(make, make_vec, dict.fromkeys(Context._fields, ()))
