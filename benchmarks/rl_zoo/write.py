"""Write the zoo's hyperparameter files from the benchmark's settings: `python -m benchmarks rl-zoo`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.methods import find_method
from benchmarks.methods.kinds.gradient import GATED, GradientMethod
from benchmarks.protocol.environments import ScaledObservation
from benchmarks.protocol.settings import ALGORITHMS, AlgorithmSettings
from benchmarks.protocol.spec import EPISODE_STEPS, RunSpec
from nb_agents import PAPER, KGateCallback
from nb_evaluation.files import write_atomically

FOLDER = Path(__file__).parent

METHOD = "nb-pro"

HEADER = """\
# Made by `python -m benchmarks rl-zoo` from benchmarks/protocol/settings.py: change those, not this file.
# n_timesteps are decisions of frame_skip physics steps: the published pretraining budget.
"""


def hyperparameters(algo: str, settings: AlgorithmSettings) -> dict[str, Any]:
    """What the zoo needs to train a k-gated policy on the source task with the benchmark's settings.

    Args:
        algo: Key of `benchmarks.protocol.settings.ALGORITHMS`, and the zoo's name of the algorithm.
        settings: Settings of the algorithm.

    Returns:
        The zoo's hyperparameters of one environment, made of what YAML can hold.
    """
    method = find_method(METHOD)
    assert isinstance(method, GradientMethod)
    wrapper = f"{ScaledObservation.__module__}.{ScaledObservation.__name__}"
    own, observe, frame_skip = settings.arguments(), settings.observe, settings.frame_skip
    return {
        "n_timesteps": RunSpec(method=METHOD, seed=0).pretrain_episodes * EPISODE_STEPS // frame_skip,
        "n_envs": settings.num_envs,
        "env_kwargs": {"frame_skip": frame_skip, "episode_steps": EPISODE_STEPS, "observe": list(observe)},
        "env_wrapper": [{wrapper: {"scale": list(observe.values())}}],
        "normalize": {"norm_obs": False},  # the zoo fills in gamma
        "policy": f"nb_agents.{GATED[algo]}",
        "policy_kwargs": own.pop("policy_kwargs") | dict(PAPER) | {"block_size": method.block_size},
        "callback": f"nb_agents.{KGateCallback.__name__}",
        **own,
    }


def render(algo: str) -> str:
    """The text of an algorithm's file."""
    content = {"NBPendulum-v0": hyperparameters(algo, ALGORITHMS[algo]())}
    text: str = yaml.safe_dump(content, sort_keys=False, default_flow_style=None)
    return HEADER + text


def main(arguments: Sequence[str], program: str = "python -m benchmarks rl-zoo") -> int:
    """Write the files, and return the exit status, 0."""
    description = (__doc__ or "").partition("\n")[0]
    argparse.ArgumentParser(prog=program, description=description).parse_args(arguments)
    for algo in ALGORITHMS:
        write_atomically(FOLDER / f"{algo}.yml", render(algo).encode())
    return 0
