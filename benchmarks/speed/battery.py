"""What k-sets cost: the time of swapping one, and of a batch whose rows each have their own."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from rich.table import Table
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm

import nb_gym  # noqa: F401  # registers the environment
from nb_agents import Battery, KGatedPolicy, KGatedSACPolicy
from nb_evaluation.arguments import count, output_file
from nb_evaluation.report.screen import any_terminal, make_console
from nb_evaluation.runs.provenance import write_measurement

N_SETS = 4

POLICIES: tuple[tuple[str, Any, Any, list[int]], ...] = (
    ("PPO, 64-64", PPO, KGatedPolicy, [64, 64]),
    ("SAC, 64-64", SAC, KGatedSACPolicy, [64, 64]),
    ("SAC, 256-256", SAC, KGatedSACPolicy, [256, 256]),
)

COLUMNS = {
    "apply": "apply, all may train",
    "apply_frozen": "apply, weights frozen",
    "enter": "open per_row",
    "shared": "forward, one k-set",
    "rows": "forward, one per row",
    "ratio": "ratio",
}
"""What is measured, see `measure`, and the columns' titles."""


def microseconds(call: Callable[[], object], repeats: int) -> float:
    """Mean time of a call over ``repeats`` of them."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats * 1e6


def measure(model: BaseAlgorithm, *, batch: int = 256, rounds: int = 50, repeats: int = 200) -> dict[str, np.ndarray]:
    """Times of a model's k-gated policy on its own device.

    Args:
        model: A k-gated model.
        batch: Observations in a forward pass.
        rounds: Samples of each time.
        repeats: Calls in a sample.

    Returns:
        In microseconds, shape ``(rounds,)`` each. ``apply``: swapping a k-set while all weights may train.
        ``apply_frozen``: after ``train_only("gates")``. ``enter``: opening `Battery.per_row` for the batch, once for as
        many passes as wanted. ``shared``: the deterministic forward pass with one k-set. ``rows``: with one per row.
        And ``ratio``: the latter two's within each round.
    """
    policy: Any = model.policy
    battery = Battery(model)
    names = [f"task {i}" for i in range(N_SETS)]
    generator = torch.Generator().manual_seed(0)
    for name in names:
        battery.add(name, torch.randn(battery.n_k, generator=generator))
    rows = [names[i % N_SETS] for i in range(batch)]
    model.observation_space.seed(0)
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

    times: dict[str, list[float]] = {name: [] for name in COLUMNS if name != "ratio"}
    policy.set_training_mode(False)
    with torch.no_grad():
        forward()
        for _ in range(rounds):
            policy.train_only("all")
            times["apply"].append(microseconds(swap, repeats))
            policy.train_only("gates")
            times["apply_frozen"].append(microseconds(swap, repeats))
            times["enter"].append(microseconds(enter, max(1, repeats // 10)))
            times["shared"].append(microseconds(forward, repeats))
            with battery.per_row(rows):
                times["rows"].append(microseconds(forward, repeats))
    samples = {name: np.array(values) for name, values in times.items()}
    return samples | {"ratio": samples["rows"] / samples["shared"]}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print; see `--help`."""
    any_terminal()
    parser = argparse.ArgumentParser(prog="python -m benchmarks battery-speed", description=__doc__)
    parser.add_argument(
        "--batch", type=count, default=256, help="observations in a forward pass (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=count, default=50, help="samples of each time (default: %(default)s)")
    parser.add_argument("--json", type=output_file, metavar="PATH", help="also write the figures to this file")
    argv = sys.argv[1:] if argv is None else argv
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    table = Table(title=f"Medians in µs; batch {options.batch}")
    table.add_column("policy")
    for title in COLUMNS.values():
        table.add_column(title, justify="right")
    figures: list[dict[str, Any]] = []
    for name, cls, policy, arch in POLICIES:
        env = gym.make("NBPendulum-v0")
        model: BaseAlgorithm = cls(policy, env, policy_kwargs={"net_arch": arch}, seed=0, device="cpu")
        samples = measure(model, batch=options.batch, rounds=options.rounds)
        summaries = {
            each: {"median": np.median(values), "min": values.min(), "max": values.max()}
            for each, values in samples.items()
        }
        table.add_row(
            name,
            *(f"{each['median']:.2f}" if of == "ratio" else f"{each['median']:.1f}" for of, each in summaries.items()),
        )
        ratio = summaries.pop("ratio")
        figures.append({"policy": name, "microseconds": summaries, "ratio": ratio})
    make_console().print(table)
    if options.json is not None:
        command = shlex.join(["python", "-m", "benchmarks", "battery-speed", *argv])
        write_measurement(options.json, command=command, batch=options.batch, rounds=options.rounds, policies=figures)


if __name__ == "__main__":
    main()
