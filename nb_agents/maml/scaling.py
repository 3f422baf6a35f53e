"""Observation scaling that stays in the policy."""

from __future__ import annotations

import gymnasium as gym
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor


class ScaledExtractor(BaseFeaturesExtractor):
    """Flattens observations and scales them to mean 0 and variance 1 by running statistics.

    The statistics are buffers: they move with the policy into PPO, into its files and into `predict`, which takes raw
    observations. They change only in `update`; SB3's algorithms leave them as they are.

    Args:
        observation_space: The space.
        clip: Bound of the scaled observations, > 0.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    count: torch.Tensor

    def __init__(self, observation_space: gym.Space[object], clip: float = 10.0) -> None:
        n_features = int(gym.spaces.flatdim(observation_space))
        super().__init__(observation_space, n_features)
        self.clip = clip
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("variance", torch.ones(n_features))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Scaled observations, shape ``(batch, n_features)``."""
        scaled = (observations.flatten(1) - self.mean) / torch.sqrt(self.variance + 1e-8)
        return scaled.clamp(-self.clip, self.clip)

    def update(self, observations: torch.Tensor) -> None:
        """Take observations ``(n, n_features)`` into the pooled mean and variance (Chan et al. 1979)."""
        n = observations.shape[0]
        mean, variance = observations.mean(dim=0), observations.var(dim=0, unbiased=False)
        total = self.count + n
        shift = mean - self.mean
        pooled = self.variance * self.count + variance * n + shift**2 * (self.count * n / total)
        self.mean += shift * (n / total)
        self.variance.copy_(pooled / total)
        self.count.copy_(total)
