"""What few-shot adaptation is judged by: return and normalised score after each episode, target by target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.methods import by_method
from benchmarks.protocol.anchors import anchor_returns, normalise
from benchmarks.protocol.run import Run
from benchmarks.protocol.spec import EPISODE_STEPS, Parameters, RunSpec
from benchmarks.report.wording import describe_context
from nb_evaluation.stats.estimates import interquartile_mean

SHOTS = (0, 1, 2, 5, 10, 25)
"""Episodes of adaptation after which the tables give the return."""

TARGETS: tuple[Parameters, ...] = (
    {"A": 1.8}, {"A": 2.5}, {"b": 0.0}, {"b": 1.0}, {"omega": 1.5},
    {"torque_gain": 0.3}, {"torque_gain": 0.6}, {"torque_gain": 1.5}, {"torque_gain": -1.0}, {"max_torque": 1.2},
)  # fmt: skip
"""What changes from the source: stronger drives (2.5 is more than the torque can cancel), damping, the drive's
frequency, weaker (0.3 is too weak to cancel the drive), stronger and reversed actuators, and less torque."""


def k_shot(run: Run) -> NDArray[np.float64]:
    """Deterministic return in the target context after 0, 1, 2, ... episodes; shape `(transfer_episodes + 1,)`.

    Raises:
        ValueError: The policy was not measured as the transfer began.
    """
    steps, episodes = run.result.curve.steps, run.spec.transfer_episodes
    start = steps.index(steps[-1] - episodes * EPISODE_STEPS)
    wanted = steps[start] + EPISODE_STEPS * np.arange(episodes + 1)
    # The policy stays what it was until the next evaluation, which comes with every update.
    latest = np.searchsorted(steps, wanted, side="right") - 1
    return np.array(run.result.curve.target)[latest]


def scores(runs: Sequence[Run]) -> dict[str, dict[int, NDArray[np.float64]]]:
    """Normalised scores, by method and seed, of the seeds that the method has run in all targets.

    Returns:
        Arrays of the shape `(num_targets, transfer_episodes + 1)`, the targets in the order of `by_target`; methods
        without such a seed are left out.
    """
    targets = list(by_target(runs))
    found: dict[tuple[str, int, str], NDArray[np.float64]] = {}
    for run in runs:
        normalised = normalise(k_shot(run), anchor_returns(run.spec.target))
        found[run.spec.method, run.spec.seed, describe_context(change(run.spec))] = normalised
    whole = {
        name: {
            seed: np.array([found[name, seed, target] for target in targets])
            for seed in dict.fromkeys(run.spec.seed for run in group)
            if all((name, seed, target) in found for target in targets)
        }
        for name, group in by_method(runs).items()
    }
    return {name: of_method for name, of_method in whole.items() if of_method}


def over_targets(of_seeds: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """One number per seed and episode: the interquartile mean over the targets.

    The targets of a seed share a pretraining, so that only seeds are independent of each other: they alone can be
    resampled.

    Args:
        of_seeds: Scores or their differences of each seed, of the shape `(num_targets, transfer_episodes + 1)` each.

    Returns:
        Shape `(num_runs, transfer_episodes + 1)`.
    """
    return interquartile_mean(np.array(list(of_seeds)), axis=1)


def by_target(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs grouped by what changes from the source, in the order of `TARGETS`, then of their names."""
    known = [describe_context(target) for target in TARGETS]
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(describe_context(change(run.spec)), []).append(run)
    others = sorted(groups.keys() - set(known))
    return {name: groups[name] for name in [*known, *others] if name in groups}


def change(spec: RunSpec) -> Parameters:
    """What the target does not have in common with the source."""
    changed = {name: value for name, value in spec.target.items() if spec.middle.get(name) != value}
    return changed or spec.target
