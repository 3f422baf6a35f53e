"""Choose settings by random search, on seeds that no report uses.

An algorithm's settings are shared by all methods, so a trial is scored by a gated and a plain method together; those
of a meta-learner are its own. A trial is a pure function of its number: the search can be stopped, continued and
repeated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import joblib
import numpy as np

from benchmarks.methods import METHODS, specify
from benchmarks.protocol.environments import NUM_STARTS
from benchmarks.protocol.settings import AlgorithmSettings, MetaSettings, PPOSettings, SACSettings
from benchmarks.protocol.spec import EPISODE_STEPS, PROTOCOL, RunSpec
from benchmarks.protocol.summary import summarise
from benchmarks.runs.experiment import execute
from nb_evaluation.arguments import count
from nb_evaluation.files import check_writable, write_atomically
from nb_evaluation.report.screen import any_terminal, make_console
from nb_evaluation.runs.specification import FIRST_REPORTING_SEED
from nb_evaluation.runs.workers import local_workers
from nb_evaluation.seal import seal, unseal
from nb_evaluation.stats.estimates import interquartile_mean

MAX_UPDATES = {"ppo": 6_000, "sac": 15_000}
"""Gradient steps of a run at the published budget, so that the main job takes minutes."""

SCORING = {"num_starts": NUM_STARTS, "protocol": PROTOCOL}
"""What decides a trial's score beside its settings and seeds; a part of every line."""

DT = 0.01
"""Seconds per physics step."""

AnySettings: TypeAlias = AlgorithmSettings | MetaSettings


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched for.

    Attributes:
        methods: a trial's score is the mean over these of the interquartile mean of the final return.
        draw: one point of the space.
        options: fields of every run's specification beside method, seed and what is drawn.
        max_updates: gradient steps beyond which a point is drawn again; None for no limit.
    """

    methods: tuple[str, ...]
    draw: Callable[[np.random.Generator], AnySettings]
    options: Mapping[str, Any]
    max_updates: int | None = None

    def sample(self, trial: int) -> AnySettings:
        """The settings of a trial."""
        rng = np.random.default_rng(trial)
        while True:
            settings = self.draw(rng)
            if self.max_updates is None or isinstance(settings, MetaSettings):
                return settings
            spec = RunSpec(method=self.methods[0], seed=0)
            decisions = (spec.pretrain_episodes + spec.transfer_episodes) * EPISODE_STEPS // settings.frame_skip
            if decisions * _updates_per_decision(settings) <= self.max_updates:
                return settings

    def specification(self, method: str, seed: int, settings: AnySettings) -> RunSpec:
        """A run of a trial; what only the tables need is left out."""
        name = "meta" if isinstance(settings, MetaSettings) else "settings"
        return specify(method, seed=seed, detail=False, eval_every=10, **{name: settings}, **self.options)


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


_BUDGETS: dict[str, dict[str, Any]] = {
    "short": {},
    "long": {"pretrain_episodes": 5_000, "source": {"A": (1.0, 1.5)}},
}
"""Fields of the specification for a short and a long pretraining."""

_BOTH = ("nb-pro", "fine-tune")  # an algorithm's settings are shared, so a gated and a plain method score them together

SEARCHES: dict[str, Search] = {
    "ppo": Search(methods=_BOTH, draw=_draw_ppo, options={"algo": "ppo"}, max_updates=MAX_UPDATES["ppo"]),
    "sac": Search(methods=_BOTH, draw=_draw_sac, options={"algo": "sac"}, max_updates=MAX_UPDATES["sac"]),
} | {
    search: Search(methods=(name,), draw=draw, options=_BUDGETS[search.rpartition("-")[2]])
    for name, method in METHODS.items()
    for search, draw in method.searches.items()
}
"""By the names on the command line: an algorithm, or a meta-learner, its outer update and its budget."""


def evaluate(search: Search, trial: int, num_seeds: int, parallel: joblib.Parallel) -> dict[str, Any]:
    """Score a trial.

    Args:
        search: what is searched for.
        trial: its number.
        num_seeds: seeds 0, 1, ...; below `FIRST_REPORTING_SEED`.
        parallel: where the runs go.

    Returns:
        A line of the output file: trial, settings, final returns by method, the objective (higher is better) and
        `SCORING`.
    """
    settings = search.sample(trial)
    specs = [search.specification(method, seed, settings) for method in search.methods for seed in range(num_seeds)]
    results = parallel(joblib.delayed(execute)(spec) for spec in specs)
    finals = np.array([summarise(spec, result).final for spec, result in zip(specs, results, strict=True)])
    by_method = finals.reshape(len(search.methods), num_seeds)
    return {
        "trial": trial,
        "objective": float(interquartile_mean(by_method, axis=1).mean()),
        "final": dict(zip(search.methods, by_method.tolist(), strict=True)),
        "settings": asdict(settings),
        **SCORING,
    }


def run_search(path: Path, name: str, trials: int, num_seeds: int, workers: int) -> Iterator[dict[str, Any]]:
    """Score the trials of a search that `path` does not hold yet, and add a JSON line for each.

    Yields:
        All trials, those from the file first.

    Raises:
        ValueError: the seeds would reach into those for reporting, or the file is damaged or of other seeds, space or
            scoring.
    """
    if not 1 <= num_seeds <= FIRST_REPORTING_SEED:
        raise ValueError(f"seeds must be 1 to {FIRST_REPORTING_SEED}: those from there on are for reporting")
    lines = path.read_text().splitlines() if path.exists() else []
    done = [_check(line, path, SEARCHES[name], num_seeds) for line in lines]
    yield from done
    path.parent.mkdir(parents=True, exist_ok=True)
    check_writable(path.parent)
    with local_workers(workers, batch_size=1) as parallel:
        for trial in sorted(set(range(trials)) - {line["trial"] for line in done}):
            done.append(evaluate(SEARCHES[name], trial, num_seeds, parallel))
            write_atomically(path, b"".join(seal(line) + b"\n" for line in done))
            yield done[-1]


def _check(line: str, path: Path, search: Search, num_seeds: int) -> dict[str, Any]:
    try:
        entry = unseal(line.encode())
        wanted = search.sample(entry["trial"])
        same = type(wanted)(**entry["settings"]) == wanted
        scored_alike = all(entry.get(name) == value for name, value in SCORING.items())
        same &= all(len(entry["final"][method]) == num_seeds for method in search.methods)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a file of tuning trials, or a damaged one: {error!r}") from error
    if not same:
        raise ValueError(f"{path} holds trials of another search: choose another file")
    if not scored_alike:
        raise ValueError(f"{path} holds trials that were not scored with {SCORING}: choose another file")
    return entry


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the search; see `--help`."""
    any_terminal()
    parser = argparse.ArgumentParser(prog="python -m benchmarks tune", description=__doc__)
    parser.add_argument(
        "--search", choices=SEARCHES, default="ppo", metavar="NAME",
        help=f"what to choose settings for, one of {', '.join(SEARCHES)} (default: ppo)",
    )  # fmt: skip
    parser.add_argument("--trials", type=count, default=24, help="settings to try (default: 24)")
    parser.add_argument("--seeds", type=count, default=4, help="tuning seeds, from 0 up (default: 4)")
    parser.add_argument("--workers", type=count, default=2, help="runs at a time (default: 2)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/tune.jsonl"), help="output file")
    options = parser.parse_args(arguments)
    console = make_console()
    done = []
    try:
        for entry in run_search(options.out, options.search, options.trials, options.seeds, options.workers):
            done.append(entry)
            console.print(f"trial {entry['trial']:>3}  objective {entry['objective']:9.1f}", entry["settings"])
    except (OSError, ValueError) as error:
        parser.error(str(error))
    best = max(done, key=lambda entry: entry["objective"])
    console.print(f"best: trial {best['trial']}, objective {best['objective']:.1f}", best["settings"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
