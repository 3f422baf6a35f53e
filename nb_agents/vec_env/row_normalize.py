"""SB3's normalization where every row of a vector environment is a robot of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize


class RowNormalize(VecNormalize):
    """A `VecNormalize` that scales the rewards of each row by that row's own returns, and holds observations' scales.

    Advantages are normalized over all rows of a batch. Where one robot falls and another one stands, the second one's
    differences would drown in the first one's, which they do not when each robot learns by itself. Observations are
    scaled by statistics that do not move, for weights that stand still were trained with them.

    Attributes:
        row_rms: Mean and variance of the discounted returns of each row, shape ``(num_envs,)``.

    Args:
        venv: Environments, a robot each.
        **kwargs: Arguments of `VecNormalize`. ``norm_obs`` is False unless given, and the statistics of observations
            are then to be set.
    """

    def __init__(self, venv: VecEnv, **kwargs: Any) -> None:
        super().__init__(venv, **{"norm_obs": False, **kwargs})
        self.row_rms = RunningMeanStd(shape=(venv.num_envs,))
        if self.norm_obs:
            statistics: Any = self.obs_rms
            held = {name: _Held(shape=each.mean.shape) for name, each in _by_key(statistics).items()}
            scales: Any = held if isinstance(statistics, dict) else held[None]
            self.obs_rms = scales

    def _update_reward(self, reward: np.ndarray) -> None:
        self.returns = self.returns * self.gamma + reward
        self.row_rms.update(self.returns[None])

    def normalize_reward(self, reward: np.ndarray) -> np.ndarray:
        """Scale rewards of shape ``(num_envs,)``, each row's by its own returns; see `VecNormalize`."""
        if self.norm_reward:
            reward = np.clip(reward / self._std(), -self.clip_reward, self.clip_reward)
        return reward.astype(np.float32)

    def unnormalize_reward(self, reward: np.ndarray) -> np.ndarray:
        """The inverse, where nothing was clipped."""
        return reward * self._std() if self.norm_reward else reward

    def _std(self) -> np.ndarray:
        std: np.ndarray = np.sqrt(self.row_rms.var + self.epsilon)
        return std


class _Held(RunningMeanStd):
    """Statistics that do not move."""

    def update(self, arr: np.ndarray) -> None:
        """Leave them as they are."""


def _by_key(statistics: Any) -> dict[Any, RunningMeanStd]:
    return statistics if isinstance(statistics, dict) else {None: statistics}
