"""Processor seconds per MAML meta-iteration, beside other people's MAML-TRPO, in interleaved rounds.

The workload is Navigation2D: 20 tasks × 20 episodes × 100 steps, for the inner step and again for the adapted
policies, 80,000 environment steps. In every round each contender makes one meta-iteration (ours a few, averaged), so
that whatever else the machine does hits all of them; processor time is summed over a contender's processes, one thread
each. What counts is the ratio within a round. `benchmarks.speed.peers_maml` sets the peers up and says what it shims.

Without `--peers` only ours is timed, and how its time grows with the number of tasks.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import nb_gym  # noqa: F401  # registers the environment
from benchmarks.protocol.recorder import without_log_folder
from benchmarks.questions.navigation.question import draw_goals
from nb_agents.maml import MAML, TRPOUpdate
from nb_evaluation.arguments import count, output_file
from nb_evaluation.report.screen import any_terminal, make_console, show_table
from nb_evaluation.report.tables import Table
from nb_evaluation.runs.provenance import write_measurement

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


@dataclass(frozen=True)
class Comparison:
    """A peer, with the network it is compared on.

    Attributes:
        peer: As `benchmarks.speed.peers_maml` calls it.
        hidden: Units of each of two hidden layers.
        activation: Of the hidden layers.
        target: Ratio of processor times, peer to ours, that is to be reached; None where none is set.
        quoted: The peer's processor seconds as measured earlier on this machine, for when it cannot be run.
    """

    peer: str
    hidden: int
    activation: str
    target: float | None
    quoted: float


COMPARISONS = (
    Comparison("pytorch-maml-rl", 64, "tanh", 6.0, 6.8),
    Comparison("pytorch-maml-rl", 100, "tanh", None, 10.3),
    Comparison("learn2learn", 100, "relu", 40.0, 47.8),
)


class Ours:
    """Meta-iterations of ours."""

    def __init__(
        self, hidden: int, activation: str, sub_sampling_factor: int = TRPOUpdate.sub_sampling_factor, tasks: int = 20
    ) -> None:
        torch.set_num_threads(1)
        self._maml = MAML(
            "MlpPolicy",
            "Navigation2D-v0",
            draw_goals,
            tasks_per_iteration=tasks,
            episodes_per_task=20,
            gae_lambda=1.0,
            outer=TRPOUpdate(sub_sampling_factor=sub_sampling_factor),
            normalize_observations=False,
            policy_kwargs={"net_arch": [hidden, hidden], "activation_fn": ACTIVATIONS[activation]},
            seed=0,
            device="cpu",
        )
        self()  # the first one warms up

    def __call__(self) -> float:
        """Processor seconds of the next meta-iteration."""
        start = time.process_time()
        without_log_folder(self._maml).learn(1, log_interval=2, reset_num_timesteps=False)
        return time.process_time() - start


class Peer:
    """A peer in its own interpreter.

    Args:
        comparison: Which, and on which network.
        folder: Where `benchmarks.speed.peers_maml install` put it.
    """

    def __init__(self, comparison: Comparison, folder: Path) -> None:
        script = Path(__file__).with_name("peers_maml.py")
        command = [folder / "venv" / "bin" / "python", script, "serve", comparison.peer, folder / comparison.peer]
        self._process = subprocess.Popen(
            [*map(str, command), str(comparison.hidden), comparison.activation],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            start_new_session=True,
        )

    def __call__(self) -> dict[str, Any]:
        """Processor seconds and returns of the next meta-iteration."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("next\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the peer ended without an answer; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the peer's processes."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def compare(comparison: Comparison, folder: Path | None, rounds: int, repeats: int) -> dict[str, Any]:
    """Interleaved rounds of ours, ours with the Fisher matrix on all samples, and the peer.

    Returns:
        Seconds of each round, medians, and the median of the ratios within the rounds.
    """
    ours = Ours(comparison.hidden, comparison.activation)
    exact = Ours(comparison.hidden, comparison.activation, sub_sampling_factor=1)
    peer = Peer(comparison, folder) if folder else None
    seconds: dict[str, list[float]] = {"ours": [], "ours, all samples": [], "peer": []}
    try:
        if peer:
            peer()  # the first one warms up
        for _ in range(rounds):
            seconds["ours"].append(float(np.mean([ours() for _ in range(repeats)])))
            seconds["ours, all samples"].append(exact())
            seconds["peer"].append(peer()["cpu"] if peer else comparison.quoted)
    finally:
        if peer:
            peer.close()
    ratios = np.array(seconds["peer"])[:, None] / np.array([seconds["ours"], seconds["ours, all samples"]]).T
    return {
        **{field: getattr(comparison, field) for field in ("peer", "hidden", "activation", "target", "quoted")},
        "interleaved": peer is not None,
        "seconds": seconds,
        "medians": {name: float(np.median(values)) for name, values in seconds.items()},
        "ratio": float(np.median(ratios[:, 0])),
        "ratio_all_samples": float(np.median(ratios[:, 1])),
    }


def scaling(tasks: Sequence[int], rounds: int) -> dict[str, float]:
    """Least processor seconds of a meta-iteration for each number of tasks."""
    contenders = {n: Ours(64, "tanh", tasks=n) for n in tasks}
    times: dict[int, list[float]] = {n: [] for n in tasks}
    for _ in range(rounds):
        for n, contender in contenders.items():
            times[n].append(contender())
    return {str(n): min(values) for n, values in times.items()}


def show(report: dict[str, Any]) -> None:
    """Print the tables."""
    columns = ("peer", "network", "peer's s", "ours s", "ratio", "target", "ours s, all samples", "ratio")
    rows = [
        [
            row["peer"] + ("" if row["interleaved"] else " (quoted)"),
            f"2 × {row['hidden']} {row['activation']}",
            f"{row['medians']['peer']:.2f}",
            f"{row['medians']['ours']:.2f}",
            f"{row['ratio']:.1f}",
            "" if row["target"] is None else f"{row['target']:.0f}",
            f"{row['medians']['ours, all samples']:.2f}",
            f"{row['ratio_all_samples']:.1f}",
        ]
        for row in report["comparisons"]
    ]
    console = make_console()
    show_table(Table("Processor seconds per meta-iteration (80,000 environment steps)", columns, rows), console)
    console.print("seconds by number of tasks: " + ", ".join(f"{n}: {s:.2f}" for n, s in report["scaling"].items()))


def peers_folder(text: str) -> Path:
    """A folder that `benchmarks.speed.peers_maml install` has set up.

    Raises:
        argparse.ArgumentTypeError: If it is not.
    """
    folder = Path(text)
    for part in ("venv/bin/python", *(comparison.peer for comparison in COMPARISONS)):
        if not (folder / part).exists():
            raise argparse.ArgumentTypeError(
                f"must be a folder set up by `python -m benchmarks peers-maml install`, got {text!r}, without {part}"
            )
    return folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Time what is asked for and write the results."""
    any_terminal()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks maml-speed", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--peers", type=peers_folder, help="folder that `benchmarks.speed.peers_maml install` set up")
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--repeats", type=count, default=3, help="meta-iterations of ours in a round")
    parser.add_argument("--tasks", nargs="+", type=count, default=[1, 2, 5, 10, 20, 40, 80], help="for the scaling")
    parser.add_argument("--out", type=output_file, default="benchmarks/results/maml_speed.json")
    options = parser.parse_args(arguments)
    report = {
        "comparisons": [compare(each, options.peers, options.rounds, options.repeats) for each in COMPARISONS],
        "scaling": scaling(options.tasks, options.rounds),
    }
    show(report)
    write_measurement(options.out, **report)


if __name__ == "__main__":
    main()
