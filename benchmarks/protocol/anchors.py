"""What the returns are held against: reference controllers, and the numbers that the paper printed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.protocol.environments import NUM_STARTS, STARTS_SEED
from benchmarks.protocol.spec import EPISODE_STEPS, Parameters, RunSpec
from nb_gym import controllers
from nb_gym.pendulum.controllers import Controller

Score = TypeVar("Score", float, NDArray[np.float64])

CONTROLLERS: dict[str, Controller] = {
    "no torque": controllers.zero,
    "PD(100, 20)": controllers.pd(100.0, 20.0),
    "bang-bang": controllers.bang_bang,
    "drive cancelled + PD": controllers.feed_forward(),
}
WORST, BEST = "no torque", "drive cancelled + PD"
"""The controllers that a normalised score of 0 and of 1 stand for."""


class Published(NamedTuple):
    """A row of the paper's table; both figures are of stochastic training episodes in the transfer.

    Attributes:
        best: Best episode, mean of 5 seeds as printed.
        last: Average over the last 10 episodes, as printed.
        improvement: Improvement of the best episode over MAML's, mean over the seeds in per cent, as printed; None for
            MAML.
    """

    best: float
    last: float
    improvement: float | None = None


PUBLISHED: dict[str, Published] = {
    "MAML": Published(-5088.9, -5231.4),
    "NB": Published(-3328.9, -3489.6, 35.8),
    "NB Pro": Published(-3068.2, -4004.8, 37.1),
}
PUBLISHED_AS: dict[str, str] = {"MAML": "maml", "NB": "nb", "NB Pro": "nb-pro"}
"""The rows' names among our methods."""

PUBLISHED_TARGET: Parameters = {"A": 1.8}


def is_published_protocol(spec: RunSpec) -> bool:
    """Whether a run has the paper's contexts and budget."""
    budget = spec.pretrain_episodes, spec.transfer_episodes
    return spec.source == {"A": 1.0} and spec.target == PUBLISHED_TARGET and budget == (50, 100)


def anchor_returns(context: Parameters) -> dict[str, float]:
    """Mean return of each of `CONTROLLERS` over the fixed starts, computed once for each context.

    Raises:
        ValueError: A controller cannot be had in this context.
    """
    return dict(zip(CONTROLLERS, _anchor_returns(tuple(sorted(context.items()))), strict=True))


@cache
def _anchor_returns(context: tuple[tuple[str, float], ...]) -> tuple[float, ...]:
    options: dict[str, Any] = {"episode_steps": EPISODE_STEPS, **dict(context)}
    return tuple(
        controllers.reference_return(controller, NUM_STARTS, STARTS_SEED, **options)
        for controller in CONTROLLERS.values()
    )


def normalise(score: Score, references: Mapping[str, float]) -> Score:
    """The score on the scale where `WORST` is 0 and `BEST` is 1.

    Args:
        score: Return, or array of returns.
        references: Answer of `anchor_returns` for the same context.

    Returns:
        The normalised score; NaN where both ends of the scale are the same return.
    """
    span = references[BEST] - references[WORST]
    return (score - references[WORST]) / (span or math.nan)
