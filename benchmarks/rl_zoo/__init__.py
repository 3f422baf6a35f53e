"""What the RL Baselines3 Zoo needs to train with the benchmark's settings, see `docs/guides/rl-zoo.md`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from benchmarks.protocol.environments import CLIP_OBSERVATION


class ScaledObservation(gym.ObservationWrapper[NDArray[np.float32], Any, NDArray[np.float32]]):
    """One pendulum as the benchmark's policies see it: every channel divided by its scale, then clipped.

    The zoo takes wrappers by name with arguments that YAML can hold, so Gymnasium's `TransformObservation`, which takes
    a function, is not for it.

    Args:
        env: Has a flat observation.
        scale: What the policy sees as 1, for each channel.

    Raises:
        ValueError: If `scale` does not have a positive number for each channel.
    """

    def __init__(self, env: gym.Env[NDArray[np.float32], Any], scale: Sequence[float]) -> None:
        super().__init__(env)
        self.scale = np.array(scale, dtype=np.float32)
        if self.scale.shape != env.observation_space.shape or not np.all(self.scale > 0):
            raise ValueError(
                f"scale must hold a positive number for each channel of {env.observation_space}, got {scale!r}"
            )
        self.observation_space = gym.spaces.Box(-CLIP_OBSERVATION, CLIP_OBSERVATION, self.scale.shape, np.float32)

    def observation(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """The observation, shape `(num_channels,)`, scaled and clipped."""
        shown: NDArray[np.float32] = np.clip(observation / self.scale, -CLIP_OBSERVATION, CLIP_OBSERVATION)
        return shown
