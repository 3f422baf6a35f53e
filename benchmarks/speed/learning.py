"""What gates cost: the time of `learn()` with a k-gated policy, and of `predict` once it is folded, over SB3's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO, SAC, TD3

import nb_gym  # noqa: F401  # registers the environment
from benchmarks.protocol.recorder import without_log_folder
from benchmarks.speed.rows import Row, Target
from benchmarks.speed.timing import interleave, seconds
from nb_agents import KGatedPolicy, KGatedSACPolicy, KGatedTD3Policy, VectorEnvAdapter, fold_gates


class Setting(NamedTuple):
    """What learns, and for how long.

    Attributes:
        algorithm: Class of the algorithm.
        gated: Its gated policy.
        steps: Time steps of one run.
        arguments: Arguments of the algorithm that differ from SB3's defaults.
        width: Units of each of two hidden layers; None for SB3's own layers.
        num_envs: Number of environments of our vector class; None for a single environment through Gymnasium.
    """

    algorithm: Any
    gated: Any
    steps: int
    arguments: Mapping[str, Any] = MappingProxyType({})
    width: int | None = None
    num_envs: int | None = None


ALGORITHMS = {
    "PPO": Setting(PPO, KGatedPolicy, 4096),
    "SAC": Setting(SAC, KGatedSACPolicy, 300, {"learning_starts": 100}),
    "TD3": Setting(TD3, KGatedTD3Policy, 300, {"learning_starts": 100}),
}
"""SB3's defaults, with one environment."""

_ROLLOUT = {"n_steps": 32, "batch_size": 256}
_AS_MANY_UPDATES = {"learning_starts": 64, "gradient_steps": -1}
VECTORIZED = {
    "PPO, 64 environments, 64-64": Setting(PPO, KGatedPolicy, 8192, _ROLLOUT, 64, 64),
    "PPO, 64 environments, 256-256": Setting(PPO, KGatedPolicy, 8192, _ROLLOUT, 256, 64),
    "SAC, 64 environments, 256-256": Setting(SAC, KGatedSACPolicy, 384, _AS_MANY_UPDATES, 256, 64),
}
"""The environments take next to no time here, and the network nearly all of it."""

PLAIN, FUSED = "`MlpPolicy`", "`MlpPolicy`, fused Adam"
LEARN, PREDICT, VECTORIZED_LEARN = Target(most=1.05), Target(least=0.97, most=1.03), Target(most=1.03)


def learning_seconds(name: str, policy: Any, policy_kwargs: dict[str, Any]) -> float:
    """Time one `learn()` on `NBPendulum-v0`, seed 0, on the CPU."""
    cls, _, steps, arguments, width, num_envs = (ALGORITHMS | VECTORIZED)[name]
    env: Any = gym.make("NBPendulum-v0") if num_envs is None else gym.make_vec("NBPendulum-v0", num_envs=num_envs)
    env = env if num_envs is None else VectorEnvAdapter(env)
    layers = {} if width is None else {"net_arch": [width, width]}
    model = cls(policy, env, policy_kwargs={**layers, **policy_kwargs}, seed=0, device="cpu", **arguments)
    return seconds(lambda: without_log_folder(model).learn(steps))


def variants(setting: Setting) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Policies with their arguments: with gates, SB3's own, and that with the optimizer that gated ones have.

    k-gated policies use PyTorch's fused Adam unless they are given another; SB3's with it separates the cost of the
    gates from what the optimizer saves.
    """
    adam = {"eps": 1e-5} if setting.algorithm is PPO else {}  # as SB3's policy for PPO sets it
    return {
        "NB": (setting.gated, {"block_size": None}),
        "NB Pro": (setting.gated, {}),
        PLAIN: ("MlpPolicy", {}),
        FUSED: ("MlpPolicy", {"optimizer_kwargs": {"fused": True, **adam}}),
    }


def compare(name: str, rounds: int) -> list[Row]:
    """Time pairs of `learn()`, and five times as many of `predict`."""
    torch.set_num_threads(1)
    made = {each: partial(learning_seconds, name, *given) for each, given in variants(ALGORITHMS[name]).items()}
    rows = []
    for shown, ours, target in (("NB", "NB", LEARN), ("NB Pro", "NB Pro", LEARN), (f"control: {FUSED}", FUSED, None)):
        pair = {shown: made[ours], PLAIN: made[PLAIN]}
        rows.append(Row("gates", f"{name}, `learn`", "s", interleave(pair, rounds), target))
    return [*rows, predict(name, 5 * rounds)]


def compare_vectorized(name: str, rounds: int) -> list[Row]:
    """Time rounds of `learn()` with all variants in turn, and set the gated ones beside SB3's with either optimizer."""
    torch.set_num_threads(1)
    given = variants(VECTORIZED[name])
    times = interleave({each: partial(learning_seconds, name, *given[each]) for each in given}, rounds)
    return [
        Row("gates", f"{name}, {what}", "s", {ours: times[ours], peer: times[peer]}, VECTORIZED_LEARN)
        for peer, what in ((PLAIN, "`learn`"), (FUSED, "`learn`, one optimizer"))
        for ours in ("NB", "NB Pro")
    ]


def predict(name: str, rounds: int, calls: int = 500) -> Row:
    """Time `predict` of a folded policy and of SB3's own, one observation."""
    cls, gated, _, arguments, *_ = ALGORITHMS[name]
    env, algorithm = gym.make("NBPendulum-v0"), partial(cls, seed=0, device="cpu", **arguments)
    folded, plain = fold_gates(algorithm(gated, env).policy), algorithm("MlpPolicy", env).policy
    observation = np.zeros(env.observation_space.shape or (), dtype=np.float32)
    pair = {
        "NB Pro, folded": lambda: seconds(lambda: folded.predict(observation, deterministic=True), calls),
        PLAIN: lambda: seconds(lambda: plain.predict(observation, deterministic=True), calls),
    }
    return Row("gates", f"{name}, `predict`", "s", interleave(pair, rounds), PREDICT)


COMPARISONS: dict[str, Callable[[int], list[Row]]] = {
    **{name: partial(compare, name) for name in ALGORITHMS},
    **{name: partial(compare_vectorized, name) for name in VECTORIZED},
}
