"""Models of every algorithm whose k's come from a context, and batches of what they observe."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
from sb3_contrib import QRDQN, TQC, TRPO, CrossQ
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3

import nb_agents
from nb_agents import contrib
from nb_gym.wrappers import ContextObservation
from tests.nb_agents.shared import TwoTorques

RANGES = {"torque_gain": (-1.0, 1.0), "A": (1.0, 1.5)}
SHORT = {"episode_steps": 100, "frame_skip": 20}


def make_env(*, key: bool = False, discrete: bool = False) -> gym.Env[Any, Any]:
    env: Any = gym.make("NBPendulum-v0", torque_gain=(-1.0, 1.0), A=(1.0, 1.5), **SHORT)
    env = TwoTorques(env) if discrete else env
    return ContextObservation(env, RANGES, key="context" if key else None)


ON = {"n_steps": 8}
OFF = {"learning_starts": 8, "batch_size": 8, "buffer_size": 100}
CASES: list[tuple[Any, Any, Any, dict[str, Any]]] = [
    (PPO, nb_agents.KGatedPolicy, nb_agents.KGatedMultiInputPolicy, ON | {"batch_size": 8}),
    (A2C, nb_agents.KGatedPolicy, nb_agents.KGatedMultiInputPolicy, ON),
    (SAC, nb_agents.KGatedSACPolicy, nb_agents.KGatedSACMultiInputPolicy, OFF),
    (TD3, nb_agents.KGatedTD3Policy, nb_agents.KGatedTD3MultiInputPolicy, OFF),
    (DDPG, nb_agents.KGatedTD3Policy, nb_agents.KGatedTD3MultiInputPolicy, OFF),
    (DQN, nb_agents.KGatedDQNPolicy, nb_agents.KGatedDQNMultiInputPolicy, OFF),
    (TRPO, contrib.KGatedTRPOPolicy, contrib.KGatedTRPOMultiInputPolicy, ON | {"batch_size": 8}),
    (TQC, contrib.KGatedTQCPolicy, contrib.KGatedTQCMultiInputPolicy, OFF),
    (QRDQN, contrib.KGatedQRDQNPolicy, contrib.KGatedQRDQNMultiInputPolicy, OFF),
    (CrossQ, contrib.KGatedCrossQPolicy, None, OFF),
]
FLAT = [(algorithm, policy, False, settings) for algorithm, policy, _, settings in CASES]
DICT = [(algorithm, policy, True, settings) for algorithm, _, policy, settings in CASES if policy]


def make_model(algorithm: Any, policy: Any, key: bool, settings: dict[str, Any], **policy_kwargs: Any) -> Any:
    env = make_env(key=key, discrete=algorithm in (DQN, QRDQN))
    kwargs = {"k_from": "context", "net_arch": [32, 32], **policy_kwargs}
    return algorithm(policy, env, policy_kwargs=kwargs, seed=0, device="cpu", **settings)


def batch(model: Any, n: int = 6) -> Any:
    model.observation_space.seed(0)
    samples = [model.observation_space.sample() for _ in range(n)]
    if isinstance(samples[0], dict):
        rows = {name: np.stack([each[name] for each in samples]) for name in samples[0]}
        return {name: np.clip(value, -2, 2) for name, value in rows.items()}
    return np.clip(np.stack(samples), -2, 2)


def with_context(observations: Any, context: Any) -> Any:
    changed = copy.deepcopy(observations)
    if isinstance(changed, dict):
        changed["context"][:] = context
    else:
        changed[:, -2:] = context
    return changed
