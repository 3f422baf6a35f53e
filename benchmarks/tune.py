"""Choose an algorithm's settings by random search, on seeds that no report uses.

The settings are shared by all methods, so a trial is scored by a gated and a plain method together. A trial is a pure
function of its number: the search can be stopped, continued and repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from rich.console import Console

from benchmarks.arguments import count
from benchmarks.environments import NUM_STARTS
from benchmarks.experiment import execute
from benchmarks.records import write_atomically
from benchmarks.settings import ALGORITHMS, AlgorithmSettings, PPOSettings, SACSettings
from benchmarks.spec import EPISODE_STEPS, FIRST_REPORTING_SEED, PROTOCOL, RunSpec
from benchmarks.statistics import interquartile_mean
from benchmarks.summary import summarise

METHODS = ("nb-pro", "fine-tune")
"""A trial's score is the mean over these of the interquartile mean of the final return."""

MAX_UPDATES = {"ppo": 6_000, "sac": 15_000}
"""Gradient steps of a run at the published budget, so that the main job takes minutes."""

SCORING = {"num_starts": NUM_STARTS, "protocol": PROTOCOL}
"""What decides a trial's score beside its settings and seeds; a part of every line."""

DT = 0.01
"""Seconds per physics step."""


def sample(algo: str, trial: int) -> AlgorithmSettings:
    """The settings of a trial; those with more than `MAX_UPDATES` gradient steps are drawn again."""
    rng = np.random.default_rng(trial)
    spec = RunSpec(method=METHODS[0], seed=0)
    episodes = spec.pretrain_episodes + spec.transfer_episodes
    while True:
        settings = _DRAW[algo](rng)
        decisions = episodes * EPISODE_STEPS // settings.frame_skip
        if decisions * _updates_per_decision(settings) <= MAX_UPDATES[algo]:
            return settings


def _updates_per_decision(settings: AlgorithmSettings) -> float:
    if isinstance(settings, PPOSettings):
        return settings.n_epochs / settings.batch_size
    return settings.gradient_steps / (settings.train_freq * settings.num_envs)


def _shared(rng: np.random.Generator, frame_skip: int) -> dict[str, Any]:
    horizon = float(rng.choice([0.5, 1.0]))  # seconds that the discount looks ahead, whatever the frame skip
    return {
        "frame_skip": frame_skip,
        "observe": {
            "theta": float(rng.choice([0.3, 0.5])),
            "theta_dot": float(rng.choice([0.5, 1.0])),
            "sin_drive": 1.0,
            "cos_drive": 1.0,
        },
        "num_envs": int(rng.choice([2, 5])),
        "gamma": round(1.0 - frame_skip * DT / horizon, 4),
    }


def _draw_ppo(rng: np.random.Generator) -> PPOSettings:
    """One point of the space, which single changes to PPO's usual values on the same seeds had narrowed."""
    frame_skip = int(rng.choice([10, 20]))
    return PPOSettings(
        **_shared(rng, frame_skip),
        n_steps=EPISODE_STEPS // frame_skip,
        batch_size=int(rng.choice([25, 50])),
        n_epochs=int(rng.choice([10, 20])),
        learning_rate=float(np.round(10.0 ** rng.uniform(-3.0, -2.4), 4)),
        gae_lambda=float(rng.choice([0.8, 0.9, 0.95])),
        clip_range=float(rng.choice([0.2, 0.3, 0.4])),
        log_std_init=float(rng.choice([0.0, 0.5])),
    )


def _draw_sac(rng: np.random.Generator) -> SACSettings:
    """One point of a space around SAC's usual values, with as many updates as the time for a run allows."""
    return SACSettings(
        **_shared(rng, frame_skip=int(rng.choice([10, 20]))),
        gradient_steps=int(rng.choice([5, 10, 20])),
        learning_rate=float(np.round(10.0 ** rng.uniform(-3.1, -2.6), 4)),
        batch_size=int(rng.choice([128, 256])),
        tau=float(rng.choice([0.01, 0.02])),
        ent_coef=str(rng.choice(["auto_0.01", "auto_0.1"])),
    )


_DRAW: dict[str, Callable[[np.random.Generator], AlgorithmSettings]] = {"ppo": _draw_ppo, "sac": _draw_sac}


def evaluate(algo: str, trial: int, num_seeds: int, parallel: joblib.Parallel) -> dict[str, Any]:
    """Score a trial.

    Args:
        algo: key of `ALGORITHMS`.
        trial: its number.
        num_seeds: seeds 0, 1, ...; below `FIRST_REPORTING_SEED`.
        parallel: where the runs go.

    Returns:
        A line of the output file: trial, settings, final returns by method, the objective (higher is better) and
        `SCORING`.
    """
    settings = sample(algo, trial)
    specs = [
        RunSpec(method=method, seed=seed, algo=algo, settings=settings)
        for method in METHODS
        for seed in range(num_seeds)
    ]
    results = parallel(joblib.delayed(execute)(spec) for spec in specs)
    finals = np.array([summarise(spec, result).final for spec, result in zip(specs, results, strict=True)])
    by_method = finals.reshape(len(METHODS), num_seeds)
    return {
        "trial": trial,
        "objective": float(interquartile_mean(by_method, axis=1).mean()),
        "final": dict(zip(METHODS, by_method.tolist(), strict=True)),
        "settings": asdict(settings),
        **SCORING,
    }


def search(path: Path, algo: str, trials: int, num_seeds: int, workers: int) -> Iterator[dict[str, Any]]:
    """Score the trials that `path` does not hold yet, and add a JSON line for each.

    Yields:
        All trials, those from the file first.

    Raises:
        ValueError: the seeds would reach into those for reporting, or the file is damaged or of other seeds, space or
            scoring.
    """
    if not 1 <= num_seeds <= FIRST_REPORTING_SEED:
        raise ValueError(f"seeds must be 1 to {FIRST_REPORTING_SEED}: those from there on are for reporting")
    lines = path.read_text().splitlines() if path.exists() else []
    done = [_check(line, path, algo, num_seeds) for line in lines]
    yield from done
    path.parent.mkdir(parents=True, exist_ok=True)
    with joblib.Parallel(n_jobs=workers, batch_size=1) as parallel:
        for trial in sorted(set(range(trials)) - {line["trial"] for line in done}):
            done.append(evaluate(algo, trial, num_seeds, parallel))
            write_atomically(path, "".join(json.dumps(line) + "\n" for line in done).encode())
            yield done[-1]


def _check(line: str, path: Path, algo: str, num_seeds: int) -> dict[str, Any]:
    try:
        entry: dict[str, Any] = json.loads(line)
        same = ALGORITHMS[algo](**entry["settings"]) == sample(algo, entry["trial"])
        scored_alike = all(entry.get(name) == value for name, value in SCORING.items())
        same &= all(len(entry["final"][method]) == num_seeds for method in METHODS)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a file of tuning trials, or a damaged one: {error!r}") from error
    if not same:
        raise ValueError(f"{path} holds trials of another search: choose another file")
    if not scored_alike:
        raise ValueError(f"{path} holds trials that were not scored with {SCORING}: choose another file")
    return entry


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the search; see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tune", description=__doc__)
    parser.add_argument("--algo", choices=ALGORITHMS, default="ppo", help="SB3 algorithm (default: ppo)")
    parser.add_argument("--trials", type=count, default=24, help="settings to try (default: 24)")
    parser.add_argument("--seeds", type=count, default=4, help="tuning seeds per method, from 0 up (default: 4)")
    parser.add_argument("--workers", type=count, default=2, help="runs at a time (default: 2)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/tune.jsonl"), help="output file")
    options = parser.parse_args(arguments)
    console = Console()
    done = []
    try:
        for entry in search(options.out, options.algo, options.trials, options.seeds, options.workers):
            done.append(entry)
            console.print(f"trial {entry['trial']:>3}  objective {entry['objective']:9.1f}", entry["settings"])
    except ValueError as error:
        parser.error(str(error))
    best = max(done, key=lambda entry: entry["objective"])
    console.print(f"best: trial {best['trial']}, objective {best['objective']:.1f}", best["settings"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
