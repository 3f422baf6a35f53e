"""What gates cost: the time of ``learn()`` with a k-gated policy, and of ``predict`` once it is folded, over SB3's own.

All figures are ratios of wall times within pairs of runs.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from rich.table import Table
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm

import nb_gym  # noqa: F401  # registers the environment
from benchmarks.protocol.recorder import without_log_folder
from nb_agents import KGatedPolicy, KGatedSACPolicy, KGatedTD3Policy, fold_gates
from nb_evaluation.arguments import count, output_file
from nb_evaluation.report.screen import any_terminal, make_console
from nb_evaluation.runs.provenance import write_measurement

ALGORITHMS: dict[str, tuple[type[BaseAlgorithm], Any, int, dict[str, Any]]] = {
    "PPO": (PPO, KGatedPolicy, 4096, {}),
    "SAC": (SAC, KGatedSACPolicy, 300, {"learning_starts": 100}),
    "TD3": (TD3, KGatedTD3Policy, 300, {"learning_starts": 100}),
}
"""Class, gated policy, time steps of one run, and settings that differ from SB3's defaults."""


def seconds(cls: Any, policy: Any, policy_kwargs: dict[str, Any], steps: int, settings: dict[str, Any]) -> float:
    """Wall time of ``learn(steps)`` on one `NBPendulum-v0`, seed 0, on the CPU."""
    model = cls(policy, gym.make("NBPendulum-v0"), policy_kwargs=dict(policy_kwargs), seed=0, device="cpu", **settings)
    start = time.perf_counter()
    without_log_folder(model).learn(steps)
    return time.perf_counter() - start


def paired_ratios(name: str, pairs: int) -> dict[str, np.ndarray]:
    """Wall times over those of ``MlpPolicy`` run next to them, shape ``(pairs,)`` each.

    ``fused`` is SB3's own policy with PyTorch's fused Adam, which k-gated policies use unless told otherwise: it tells
    the cost of the gates from what the optimizer saves.
    """
    cls, gated, steps, settings = ALGORITHMS[name]
    adam = {"eps": 1e-5} if cls is PPO else {}
    variants: dict[str, tuple[Any, dict[str, Any]]] = {
        "NB": (gated, {"block_size": None}),
        "NB Pro": (gated, {}),
        "MlpPolicy, fused Adam": ("MlpPolicy", {"optimizer_kwargs": {"fused": True} | adam}),
    }
    ratios: dict[str, list[float]] = {variant: [] for variant in variants}
    seconds(cls, "MlpPolicy", {}, steps // 4, settings)  # warm up
    for pair in range(pairs):
        for variant, (policy, kwargs) in variants.items():
            runs: dict[str, Any] = {"variant": (policy, kwargs), "plain": ("MlpPolicy", {})}
            order = list(runs) if pair % 2 else list(runs)[::-1]
            times = {each: seconds(cls, runs[each][0], runs[each][1], steps, settings) for each in order}
            ratios[variant].append(times["variant"] / times["plain"])
    return {variant: np.array(values) for variant, values in ratios.items()}


def folded_predict_ratios(name: str, pairs: int, calls: int = 500) -> np.ndarray:
    """Wall time of ``predict`` of a folded policy over that of SB3's own, one observation, shape ``(pairs,)``."""
    cls, gated, _, settings = ALGORITHMS[name]
    env = gym.make("NBPendulum-v0")
    policies = {
        "folded": fold_gates(cls(gated, env, seed=0, device="cpu", **settings).policy),
        "plain": cls("MlpPolicy", env, seed=0, device="cpu", **settings).policy,
    }
    observation = np.zeros(env.observation_space.shape or (), dtype=np.float32)
    ratios = []
    for pair in range(pairs + 1):  # the first for warming up
        times = {}
        for each in list(policies) if pair % 2 else list(policies)[::-1]:
            start = time.perf_counter()
            for _ in range(calls):
                policies[each].predict(observation, deterministic=True)
            times[each] = time.perf_counter() - start
        ratios.append(times["folded"] / times["plain"])
    return np.array(ratios[1:])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print; see `--help`."""
    any_terminal()
    parser = argparse.ArgumentParser(prog="python -m benchmarks learning-speed", description=__doc__)
    parser.add_argument(
        "--pairs", type=count, default=9, help="paired runs of each (default: 9; five times as many of predict)"
    )
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS), metavar="NAME")
    parser.add_argument("--json", type=output_file, metavar="PATH", help="also write the figures to this file")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table = Table(title=f"wall time over that of MlpPolicy, {options.pairs} pairs")
    for column in ("algorithm", "call", "policy", "median", "min", "max"):
        table.add_column(column)
    figures: list[dict[str, Any]] = []
    for name in options.algorithms:
        measured = {("learn", variant): ratios for variant, ratios in paired_ratios(name, options.pairs).items()}
        measured["predict", "NB Pro, folded"] = folded_predict_ratios(name, 5 * options.pairs)
        for (call, variant), ratios in measured.items():
            summary = {"median": np.median(ratios), "min": ratios.min(), "max": ratios.max()}
            table.add_row(name, call, variant, *(f"{value:.3f}" for value in summary.values()))
            row = {"algorithm": name, "call": call, "policy": variant}
            figures.append(row | {"ratio": summary, "ratios": ratios.tolist()})
    make_console().print(table)
    if options.json is not None:
        command = shlex.join(["python", "-m", "benchmarks", "learning-speed", *arguments])
        write_measurement(options.json, command=command, comparisons=figures)


if __name__ == "__main__":
    main()
