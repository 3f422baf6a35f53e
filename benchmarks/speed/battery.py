"""What k-sets cost: the time of swapping one, and of a batch whose rows each have their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm

import nb_gym  # noqa: F401  # registers the environment
from benchmarks.speed.rows import Row, Target
from benchmarks.speed.timing import Sample, interleave, seconds
from nb_agents import Battery, KGatedPolicy, KGatedSACPolicy

N_SETS = 4
BATCH = 256
"""Observations in a forward pass."""

POLICIES: dict[str, tuple[Any, Any, list[int]]] = {
    "PPO, 64-64": (PPO, KGatedPolicy, [64, 64]),
    "SAC, 64-64": (SAC, KGatedSACPolicy, [64, 64]),
    "SAC, 256-256": (SAC, KGatedSACPolicy, [256, 256]),
}

SWAP, PER_ROW = Target(most=50, unit="µs"), Target(most=1.25)


def contenders(model: BaseAlgorithm, batch: int = BATCH, repeats: int = 200) -> dict[str, Sample]:
    """Make the samples of a model's k-gated policy on its own device, in µs.

    Args:
        model: A k-gated model.
        batch: Observations in a forward pass.
        repeats: Calls in a sample.

    Returns:
        `apply`: swapping a k-set while all weights may train. `apply_frozen`: the same while only gates may.
        `enter`: opening `Battery.per_row` for the batch. `rows`: the deterministic forward pass with a k-set per row.
        `shared`: with one k-set.
    """
    policy: Any = model.policy
    battery = Battery(model)
    names = [f"task {i}" for i in range(N_SETS)]
    generator = torch.Generator().manual_seed(0)
    for name in names:
        battery.add(name, torch.randn(battery.n_k, generator=generator))
    rows = [names[i % N_SETS] for i in range(batch)]
    model.observation_space.seed(0)
    samples = np.stack([model.observation_space.sample() for _ in range(batch)])
    observation = torch.as_tensor(samples, device=model.device)
    policy.set_training_mode(False)

    def forward() -> object:
        return policy._predict(observation, deterministic=True)

    def microseconds(call: Callable[[], object], repeats: int = repeats) -> float:
        with torch.no_grad():
            return 1e6 * seconds(call, repeats)

    def swap(trained: str) -> float:
        policy.train_only(trained)
        return microseconds(lambda: battery.apply(names[0]))

    def enter() -> None:
        with battery.per_row(rows):
            pass

    def per_row() -> float:
        with battery.per_row(rows):
            return microseconds(forward)

    return {
        "apply": partial(swap, "all"),
        "apply_frozen": partial(swap, "gates"),
        "enter": lambda: microseconds(enter, max(1, repeats // 10)),
        "rows": per_row,
        "shared": lambda: microseconds(forward),
    }


def compare(name: str, rounds: int) -> list[Row]:
    """Time one policy."""
    torch.set_num_threads(1)
    cls, policy, arch = POLICIES[name]
    env = gym.make("NBPendulum-v0")
    samples = interleave(contenders(cls(policy, env, policy_kwargs={"net_arch": arch}, seed=0, device="cpu")), rounds)

    def row(what: str, target: Target | None, *timed: str) -> Row:
        return Row("k-sets", f"{name}: {what}", "µs", {each: samples[each] for each in timed}, target)

    return [
        row("swap, all may train", SWAP, "apply"),
        row("swap, weights frozen", SWAP, "apply_frozen"),
        row(f"open `per_row` for {BATCH} rows", None, "enter"),
        row(f"forward of {BATCH}, a k-set per row", PER_ROW, "rows", "shared"),
    ]


COMPARISONS: dict[str, Callable[[int], list[Row]]] = {name: partial(compare, name) for name in POLICIES}
