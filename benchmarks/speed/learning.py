"""What gates cost: the time of `learn()` with a k-gated policy, and of `predict` once it is folded, over SB3's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO, SAC, TD3

import nb_gym  # noqa: F401  # registers the environment
from benchmarks.protocol.recorder import without_log_folder
from benchmarks.speed.rows import Row, Target
from benchmarks.speed.timing import interleave, seconds
from nb_agents import KGatedPolicy, KGatedSACPolicy, KGatedTD3Policy, fold_gates

ALGORITHMS: dict[str, tuple[Any, Any, int, dict[str, Any]]] = {
    "PPO": (PPO, KGatedPolicy, 4096, {}),
    "SAC": (SAC, KGatedSACPolicy, 300, {"learning_starts": 100}),
    "TD3": (TD3, KGatedTD3Policy, 300, {"learning_starts": 100}),
}
"""Class, gated policy, time steps of one run, and settings that differ from SB3's defaults."""

PLAIN = "`MlpPolicy`"
LEARN, PREDICT = Target(most=1.05), Target(least=0.97, most=1.03)


def learning_seconds(name: str, policy: Any, policy_kwargs: dict[str, Any]) -> float:
    """Time one `learn()` on one `NBPendulum-v0`, seed 0, on the CPU."""
    cls, _, steps, settings = ALGORITHMS[name]
    env = gym.make("NBPendulum-v0")
    model = cls(policy, env, policy_kwargs=dict(policy_kwargs), seed=0, device="cpu", **settings)
    return seconds(lambda: without_log_folder(model).learn(steps))


def compare(name: str, rounds: int) -> list[Row]:
    """Time pairs of `learn()`, and five times as many of `predict`.

    The control is SB3's own policy with PyTorch's fused Adam, which k-gated policies use unless they are given another:
    it separates the cost of the gates from what the optimizer saves.
    """
    torch.set_num_threads(1)
    cls, gated, _, _ = ALGORITHMS[name]
    adam = {"eps": 1e-5} if cls is PPO else {}
    variants: dict[str, tuple[Any, dict[str, Any], Target | None]] = {
        "NB": (gated, {"block_size": None}, LEARN),
        "NB Pro": (gated, {}, LEARN),
        f"control: {PLAIN}, fused Adam": ("MlpPolicy", {"optimizer_kwargs": {"fused": True} | adam}, None),
    }
    rows = []
    for variant, (policy, kwargs, target) in variants.items():
        pair = {variant: partial(learning_seconds, name, policy, kwargs)}
        pair[PLAIN] = partial(learning_seconds, name, "MlpPolicy", {})
        rows.append(Row("gates", f"{name}, `learn`", "s", interleave(pair, rounds), target))
    return [*rows, predict(name, 5 * rounds)]


def predict(name: str, rounds: int, calls: int = 500) -> Row:
    """Time `predict` of a folded policy and of SB3's own, one observation."""
    cls, gated, _, settings = ALGORITHMS[name]
    env, algorithm = gym.make("NBPendulum-v0"), partial(cls, seed=0, device="cpu", **settings)
    folded, plain = fold_gates(algorithm(gated, env).policy), algorithm("MlpPolicy", env).policy
    observation = np.zeros(env.observation_space.shape or (), dtype=np.float32)
    pair = {
        "NB Pro, folded": lambda: seconds(lambda: folded.predict(observation, deterministic=True), calls),
        PLAIN: lambda: seconds(lambda: plain.predict(observation, deterministic=True), calls),
    }
    return Row("gates", f"{name}, `predict`", "s", interleave(pair, rounds), PREDICT)


COMPARISONS: dict[str, Callable[[int], list[Row]]] = {name: partial(compare, name) for name in ALGORITHMS}
