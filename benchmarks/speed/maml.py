"""Processor seconds per MAML meta-iteration, beside other people's MAML-TRPO, in interleaved rounds.

The workload is Navigation2D: 20 tasks × 20 episodes × 100 steps, for the inner step and again for the adapted
policies, 80,000 environment steps. In every round each contender makes one meta-iteration (ours a few, averaged), and
processor time is summed over a contender's processes, one thread each. `benchmarks.speed.peers_maml` sets the peers up
and says what it shims. Without a folder of peers only ours is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

import nb_gym  # noqa: F401  # registers the environment
from benchmarks.protocol.recorder import without_log_folder
from benchmarks.questions.navigation.question import draw_goals
from benchmarks.speed.rows import Row, Target
from benchmarks.speed.timing import Sample, interleave
from nb_agents.maml import MAML, TRPOUpdate

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}
TASKS = (1, 2, 5, 10, 20, 40, 80)
REPEATS = 3
"""Meta-iterations of ours in a round."""


class Network(NamedTuple):
    """A peer, with the network it is compared on.

    Attributes:
        peer: Name of the peer in `benchmarks.speed.peers_maml`.
        hidden: Units of each of two hidden layers.
        activation: Activation of the hidden layers.
        target: Ratio of processor times, peer to ours, that is to be reached; None where none is set.
        quoted: The peer's processor seconds as measured earlier on this machine, for when it cannot be run.
    """

    peer: str
    hidden: int
    activation: str
    target: float | None
    quoted: float


NETWORKS = (
    Network("pytorch-maml-rl", 64, "tanh", 6.0, 6.8),
    Network("pytorch-maml-rl", 100, "tanh", None, 10.3),
    Network("learn2learn", 100, "relu", 40.0, 47.8),
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

    def __call__(self) -> float:
        """Make the next meta-iteration; its processor seconds."""
        start = time.process_time()
        without_log_folder(self._maml).learn(1, log_interval=2, reset_num_timesteps=False)
        return time.process_time() - start


class Peer:
    """A peer in its own interpreter.

    Args:
        network: The peer and its network.
        folder: Folder that `benchmarks.speed.peers_maml install` set up.
    """

    def __init__(self, network: Network, folder: Path) -> None:
        script = Path(__file__).with_name("peers_maml.py")
        command = [folder / "venv" / "bin" / "python", script, "serve", network.peer, folder / network.peer]
        self._process = subprocess.Popen(
            [*map(str, command), str(network.hidden), network.activation],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            start_new_session=True,
        )

    def __call__(self) -> float:
        """Make the next meta-iteration; its processor seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("next\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the peer ended without an answer; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return float(answer["cpu"])

    def close(self) -> None:
        """End the peer's processes."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def compare(peer: str, rounds: int, folder: Path | None = None) -> list[Row]:
    """Compare ours with a peer, with the Fisher matrix on a part of the samples and on all of them."""
    return [row for network in NETWORKS if network.peer == peer for row in _compare(network, rounds, folder)]


def _compare(network: Network, rounds: int, folder: Path | None) -> list[Row]:
    ours, exact = (Ours(network.hidden, network.activation, *factor) for factor in ((), (1,)))
    peer = Peer(network, folder) if folder else None
    contenders: dict[str, Sample] = {
        "": lambda: float(np.mean([ours() for _ in range(REPEATS)])),
        ", all samples": exact,
        "peer": peer or (lambda: network.quoted),
    }
    try:
        seconds = interleave(contenders, rounds)
    finally:
        if peer:
            peer.close()
    target = None if network.target is None else Target(least=network.target)
    what = f"{network.peer}, 2 × {network.hidden} {network.activation}"
    return [
        Row("maml", what + which, "s", {"ours": seconds[which], "peer": seconds["peer"]}, target, quoted=peer is None)
        for which in ("", ", all samples")
    ]


def scaling(rounds: int, folder: Path | None = None) -> list[Row]:
    """Time a meta-iteration for each number of tasks: at most linear, or so it should be."""
    fewest, *others = TASKS
    seconds = interleave({str(n): Ours(64, "tanh", tasks=n) for n in TASKS}, rounds)
    return [
        Row("tasks", f"{n} tasks over {fewest}", "s", {each: seconds[each] for each in (str(n), str(fewest))},
            Target(most=n / fewest))
        for n in others
    ]  # fmt: skip


def peers_folder(text: str) -> Path:
    """Check that `benchmarks.speed.peers_maml install` has set a folder up.

    Raises:
        argparse.ArgumentTypeError: It has not.
    """
    folder = Path(text)
    for part in ("venv/bin/python", *(network.peer for network in NETWORKS)):
        if not (folder / part).exists():
            raise argparse.ArgumentTypeError(
                f"must be a folder set up by `python -m benchmarks peers-maml install`, got {text!r}, without {part}"
            )
    return folder


COMPARISONS: dict[str, Callable[..., list[Row]]] = {
    **{peer: partial(compare, peer) for peer in dict.fromkeys(network.peer for network in NETWORKS)},
    "tasks": scaling,
}
