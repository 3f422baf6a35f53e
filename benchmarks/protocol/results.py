"""What a run gives: measurements along the way, and the surveys of its policies."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

DRIVES: tuple[float, ...] = tuple(np.linspace(0.0, 3.0, 31).round(3).tolist())
"""Amplitudes A of the line, with the target's other parameters."""

GRID_DRIVES: tuple[float, ...] = tuple(np.linspace(0.0, 3.0, 13).round(3).tolist())
GRID_GAINS: tuple[float, ...] = tuple(np.linspace(-1.5, 1.5, 13).round(3).tolist())
"""Amplitudes A and torque gains c of the map, with the target's other parameters."""


@dataclass
class Landscape:
    """Mean deterministic returns of one policy, rounded to a tenth.

    Attributes:
        over_drive: Return for each of `DRIVES`.
        over_drive_and_gain: Row for each of `GRID_DRIVES`, with a return for each of `GRID_GAINS`.
    """

    over_drive: list[float]
    over_drive_and_gain: list[list[float]]


@dataclass
class Curve:
    """Measurements along a run; entry i of each list belongs to the same policy.

    Attributes:
        steps: Physics steps trained so far, pretraining included.
        source: Deterministic return in the source context.
        target: Deterministic return in the target context.
    """

    steps: list[int] = field(default_factory=list)
    source: list[float] = field(default_factory=list)
    target: list[float] = field(default_factory=list)


@dataclass
class RunResult:
    """What a specification gives, and nothing that depends on when or where it ran.

    Attributes:
        curve: Evaluations; the first is that of the untrained policy, the one at the end of the pretraining is the
            zero-shot transfer.
        transfer_episodes: Returns of the transfer's training episodes, in the order in which they ended; empty where
            the method does not train on the target.
        torques_before: Torques of the deterministic policy from the first fixed start, as the transfer begins.
        torques_after: Torques of the deterministic policy from the first fixed start, at the end of the transfer.
        numbers_adapted: Number of values of the deployed policy that the transfer could change.
        source_restored: Deterministic return in the source context with the k's from before the transfer put back;
            None where the transfer has moved the weights, so that there is no way back.
        k_sets: Each k before and after a transfer of k alone, in the order of `Battery`; None elsewhere.
        landscape_before: Returns in other contexts as the transfer begins; None without `RunSpec.detail`.
        landscape_after: Returns in other contexts at the end of the transfer; None without `RunSpec.detail`.
    """

    curve: Curve
    transfer_episodes: list[float]
    torques_before: list[float]
    torques_after: list[float]
    numbers_adapted: int
    source_restored: float | None = None
    k_sets: list[list[float]] | None = None
    landscape_before: Landscape | None = None
    landscape_after: Landscape | None = None
