"""Pendulums that show their context and their history, one or many."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from nb_gym.wrappers import ContextObservation, HistoryObservation
from nb_gym.wrappers import vector as many

RANGES = {"A": (1.0, 1.5), "torque_gain": (-1.5, -0.5)}
LENGTH = {"episode_steps": 60, "frame_skip": 20}


def wrapped(*, key: bool = False, **context: Any) -> gym.Env[Any, Any]:
    env = gym.make("NBPendulum-v0", **LENGTH, **(context or RANGES))
    keys = {"key": "context"} if key else {}
    return HistoryObservation(ContextObservation(env, RANGES, **keys), 2)


def batch(mode: AutoresetMode, *, native: bool, key: bool = False) -> VectorEnv[Any, Any, Any]:
    if not native:
        return SyncVectorEnv([lambda: wrapped(key=key)] * 3, autoreset_mode=mode)
    env = gym.make_vec("NBPendulum-v0", num_envs=3, autoreset_mode=mode, **LENGTH, **RANGES)
    return many.HistoryObservation(many.ContextObservation(env, RANGES, key="context" if key else None), 2)
