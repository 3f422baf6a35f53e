"""Write the zoo's hyperparameter files from the benchmark's settings: `python -m benchmarks rl-zoo`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from benchmarks.methods import find_method
from benchmarks.methods.kinds.gradient import GATED, GradientMethod
from benchmarks.protocol.settings import ALGORITHMS, AlgorithmSettings
from benchmarks.protocol.spec import EPISODE_STEPS, RunSpec
from benchmarks.rl_zoo import ScaledObservation
from nb_agents import PAPER, KGateCallback
from nb_evaluation.files import write_atomically

FOLDER = Path(__file__).parent

METHOD = "nb-pro"

HEADER = """\
# Made by `python -m benchmarks rl-zoo` from benchmarks/settings.py: change those, not this file.
# n_timesteps are decisions of frame_skip physics steps: the published pretraining budget.
"""


def hyperparameters(algo: str, settings: AlgorithmSettings) -> dict[str, Any]:
    """What the zoo needs to train a k-gated policy on the source task with the benchmark's settings.

    Args:
        algo: key of `benchmarks.protocol.settings.ALGORITHMS`, and the zoo's name of the algorithm.
        settings: the algorithm's.

    Returns:
        The zoo's hyperparameters of one environment, made of what YAML can hold.
    """
    method = find_method(METHOD)
    assert isinstance(method, GradientMethod)
    own = asdict(settings)
    observe: dict[str, float] = own.pop("observe")
    frame_skip: int = own.pop("frame_skip")
    policy_kwargs = {name: own.pop(name) for name in ("net_arch", "log_std_init") if name in own}
    policy_kwargs["net_arch"] = list(policy_kwargs["net_arch"])
    if algo == "sac":
        own["buffer_size"] = 50_000  # as `SACSettings.build`
    return {
        "n_timesteps": RunSpec(method=METHOD, seed=0).pretrain_episodes * EPISODE_STEPS // frame_skip,
        "n_envs": own.pop("num_envs"),
        "env_kwargs": {"frame_skip": frame_skip, "episode_steps": EPISODE_STEPS, "observe": list(observe)},
        "env_wrapper": [{_path(ScaledObservation): {"scale": list(observe.values())}}],
        "normalize": {"norm_obs": False},  # the zoo fills in gamma
        "policy": f"nb_agents.{GATED[algo]}",
        "policy_kwargs": policy_kwargs | dict(PAPER) | {"block_size": method.block_size},
        "callback": f"nb_agents.{KGateCallback.__name__}",
        **own,
    }


def render(algo: str) -> str:
    """The text of an algorithm's file."""
    content = {"NBPendulum-v0": hyperparameters(algo, ALGORITHMS[algo]())}
    text: str = yaml.safe_dump(content, sort_keys=False, default_flow_style=None)
    return HEADER + text


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the files."""
    description = (__doc__ or "").partition("\n")[0]
    argparse.ArgumentParser(prog="python -m benchmarks rl-zoo", description=description).parse_args(arguments)
    for algo in ALGORITHMS:
        write_atomically(FOLDER / f"{algo}.yml", render(algo).encode())


if __name__ == "__main__":
    main()
