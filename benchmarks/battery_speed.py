"""What k-sets cost: swapping one, and a batch whose rows each have their own."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm

import nb_gym  # noqa: F401  # registers the environment
from nb_agents import Battery, KGatedPolicy, KGatedSACPolicy

N_SETS = 4

POLICIES: tuple[tuple[str, Any, Any, list[int]], ...] = (
    ("PPO, 64-64", PPO, KGatedPolicy, [64, 64]),
    ("SAC, 64-64", SAC, KGatedSACPolicy, [64, 64]),
    ("SAC, 256-256", SAC, KGatedSACPolicy, [256, 256]),
)


def microseconds(call: Callable[[], object], repeats: int) -> float:
    """Mean time of a call over ``repeats`` of them."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats * 1e6


def measure(model: BaseAlgorithm, *, batch: int = 256, rounds: int = 50, repeats: int = 200) -> dict[str, float]:
    """Median times of a model's k-gated policy on its own device, in microseconds.

    Args:
        model: A k-gated model.
        batch: Observations in a forward pass.
        rounds: Samples of each time; the ratio is paired within a round.
        repeats: Calls in a sample.

    Returns:
        ``apply``: swapping a k-set while all weights may train. ``apply_frozen``: after ``adapt("gates")``.
        ``enter``: opening `Battery.per_row` for the batch, once for as many passes as wanted. ``shared``: the
        deterministic forward pass with one k-set. ``rows``: with a k-set per row. ``ratio``: the latter two's.
    """
    policy: Any = model.policy
    battery = Battery(model)
    names = [f"task {i}" for i in range(N_SETS)]
    generator = torch.Generator().manual_seed(0)
    for name in names:
        battery.add(name, torch.randn(battery.n_k, generator=generator))
    rows = [names[i % N_SETS] for i in range(batch)]
    observation = torch.as_tensor(
        np.stack([model.observation_space.sample() for _ in range(batch)]), device=model.device
    )

    def swap() -> None:
        battery.apply(names[0])

    def enter() -> None:
        with battery.per_row(rows):
            pass

    def forward() -> torch.Tensor:
        action: torch.Tensor = policy._predict(observation, deterministic=True)
        return action

    times: dict[str, list[float]] = {name: [] for name in ("apply", "apply_frozen", "enter", "shared", "rows")}
    policy.set_training_mode(False)
    with torch.no_grad():
        forward()
        for _ in range(rounds):
            policy.adapt("all")
            times["apply"].append(microseconds(swap, repeats))
            policy.adapt("gates")
            times["apply_frozen"].append(microseconds(swap, repeats))
            times["enter"].append(microseconds(enter, repeats // 10))
            times["shared"].append(microseconds(forward, repeats))
            with battery.per_row(rows):
                times["rows"].append(microseconds(forward, repeats))
    ratio = float(np.median(np.divide(times["rows"], times["shared"])))
    return {name: float(np.median(values)) for name, values in times.items()} | {"ratio": ratio}


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=256, help="observations in a forward pass (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=50, help="samples of each time (default: %(default)s)")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    table = Table(title=f"Medians in µs; batch {arguments.batch}")
    columns = {
        "apply": "apply, all may train",
        "apply_frozen": "apply, weights frozen",
        "enter": "open per_row",
        "shared": "forward, one k-set",
        "rows": "forward, one per row",
        "ratio": "ratio",
    }
    table.add_column("policy")
    for title in columns.values():
        table.add_column(title, justify="right")
    for name, cls, policy, arch in POLICIES:
        env = gym.make("NBPendulum-v0")
        model: BaseAlgorithm = cls(policy, env, policy_kwargs={"net_arch": arch}, seed=0, device="cpu")
        times = measure(model, batch=arguments.batch, rounds=arguments.rounds)
        table.add_row(name, *(f"{times[key]:.2f}" if key == "ratio" else f"{times[key]:.1f}" for key in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
