"""What several tests of robots share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import gymnasium.envs.mujoco as gymnasium_mujoco
import numpy as np

import nb_gym  # noqa: F401  # registers the robots

ASSETS = Path(gymnasium_mujoco.__file__).parent / "assets"

ROBOTS = ("HalfCheetah", "Hopper", "Walker2d", "Ant", "Humanoid", "InvertedDoublePendulum", "Reacher")


def make(robot: str, **kwargs: Any) -> Any:
    """The environment itself, without the wrappers of `gymnasium.make`."""
    return gym.make(f"NB{robot}-v0", **kwargs).unwrapped


def make_vec(robot: str, num_envs: int, **kwargs: Any) -> Any:
    return gym.make_vec(f"NB{robot}-v0", num_envs=num_envs, **kwargs).unwrapped


def actions(space: gym.spaces.Box, steps: int, seed: int, scale: float = 0.5) -> np.ndarray:
    """Actions that move a robot without throwing it over at once."""
    drawn = np.random.default_rng(seed).uniform(-scale, scale, (steps, *space.shape))
    return (drawn * space.high).astype(np.float32)
