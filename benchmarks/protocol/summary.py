"""From a run's curve to the figures of the tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.protocol.results import RunResult
from benchmarks.protocol.spec import EPISODE_STEPS, RunSpec
from nb_evaluation.stats.learning_curves import area_under_curve, steps_to

LAST = 10
"""Evaluations, or training episodes, that the averages over the end of the transfer take in."""

THRESHOLDS = (-500.0, -100.0, -20.0)
"""Returns of which the tables say when they were reached."""


@dataclass(frozen=True)
class Summary:
    """The figures of one run; returns are of 1,000 physics steps.

    Attributes:
        zero_shot: Deterministic return in the target context before the transfer.
        final: Deterministic return in the target context of the final policy.
        last_evaluations: Mean deterministic return of the last 10 evaluations in the transfer.
        area: Area under the curve of the transfer, zero-shot included, divided by its length; a mean return.
        episodes_to: Episodes of the transfer before each of `THRESHOLDS` is reached and held; 0 if it always was, None
            if it never is.
        best_episode: Best training episode of the transfer, the paper's metric; None if nothing trains on the target.
        last_episodes: Mean of the transfer's last 10 training episodes; None if nothing trains on the target.
        source_before: Deterministic return in the source context before the transfer.
        source_after: Deterministic return in the source context of the final policy.
        steps: Physics steps trained, pretraining included.
    """

    zero_shot: float
    final: float
    last_evaluations: float
    area: float
    episodes_to: tuple[float | None, ...]
    best_episode: float | None
    last_episodes: float | None
    source_before: float
    source_after: float
    steps: int


def summarise(spec: RunSpec, result: RunResult) -> Summary:
    """Compute the figures of a run."""
    curve, episodes = result.curve, result.transfer_episodes
    start = curve.steps.index(curve.steps[-1] - spec.transfer_episodes * EPISODE_STEPS)
    spent = np.subtract(curve.steps[start:], curve.steps[start]) / EPISODE_STEPS
    reached = [float(steps_to(spent, curve.target[start:], threshold)) for threshold in THRESHOLDS]
    return Summary(
        zero_shot=curve.target[start],
        final=curve.target[-1],
        last_evaluations=float(np.mean(curve.target[start + 1 :][-LAST:])),
        area=float(area_under_curve(spent, curve.target[start:])),
        episodes_to=tuple(episodes_spent if np.isfinite(episodes_spent) else None for episodes_spent in reached),
        best_episode=max(episodes) if episodes else None,
        last_episodes=float(np.mean(episodes[-LAST:])) if episodes else None,
        source_before=curve.source[start],
        source_after=curve.source[-1],
        steps=curve.steps[-1],
    )
