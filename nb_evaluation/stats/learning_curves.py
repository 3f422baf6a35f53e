"""Figures of learning curves: the area under one, and how long it takes to reach a return for good.

A curve is given by its evaluations: `steps` has the shape `(num_evaluations,)`, and `returns` `(..., num_evaluations)`,
for instance `(num_runs, num_evaluations)`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import integrate

from nb_evaluation.stats.estimates import Estimate, FloatArray, iqm

NEVER = 1e120
"""Stands for infinity in a bootstrap, whose quantiles are interpolated: ∞ - ∞ is no number. Its square is finite."""

FOREVER = 1e100
"""No number of steps is as large, and every mean that a `NEVER` enters is larger."""


def area_under_curve(steps: ArrayLike, returns: ArrayLike) -> FloatArray:
    """Area under a curve by the trapezoidal rule, divided by its length: the mean return over the training.

    Args:
        steps: `(num_evaluations,)`, increasing, at least two.
        returns: `(..., num_evaluations)`, finite.

    Returns:
        `(...)`, in the unit of the returns.

    Raises:
        ValueError: An array is empty, of another shape, or not finite, or the steps do not increase.
    """
    x, y = _curves(steps, returns)
    if len(x) < 2:
        raise ValueError(f"steps must be at least two, got {x.tolist()}")
    return np.asarray(integrate.trapezoid(y, x, axis=-1) / (x[-1] - x[0]))


def steps_to(steps: ArrayLike, returns: ArrayLike, threshold: float) -> FloatArray:
    """Steps of the first evaluation from which on no return is below a threshold; infinite where there is none.

    A curve that touches the threshold and falls below it again has not reached it. Between two evaluations nothing is
    known and nothing is interpolated, so the answer is late by up to one interval, for all methods alike. What is
    reached by the last evaluation only counts.

    Args:
        steps: `(num_evaluations,)`, increasing.
        returns: `(..., num_evaluations)`, finite.
        threshold: Return to be reached.

    Returns:
        `(...)`, in the unit of `steps`; the first of the steps where no return is below the threshold.

    Raises:
        ValueError: An array is empty, of another shape, or not finite, or the steps do not increase, or `threshold` is
            NaN.
    """
    x, y = _curves(steps, returns)
    if np.isnan(threshold):
        raise ValueError(f"threshold must be a number, got {threshold}")
    stays = np.logical_and.accumulate(y[..., ::-1] >= threshold, axis=-1)[..., ::-1]
    return np.where(stays[..., -1], x[np.argmax(stays, axis=-1)], np.inf)


def iqm_of_steps(
    steps: ArrayLike, rng: np.random.Generator, *, confidence: float = 0.95, num_resamples: int = 2000
) -> Estimate:
    """Interquartile mean of `steps_to`'s answers, where runs that have not reached the threshold count as infinite.

    The mean leaves out the upper quarter, so it is finite, and does not depend on how long these runs would have taken,
    while no more than a quarter of them (rounded down) is infinite; otherwise it is infinite itself. The same holds for
    the ends of the interval. Leaving unfinished runs out, or counting the budget in their place, would favour methods
    that fail.

    Args:
        steps: `(num_runs,)` or `(num_runs, num_tasks)`, finite or +∞.
        rng: Source of the resamples.
        confidence: Coverage of the interval, in (0, 1).
        num_resamples: Number of bootstrap samples, at least 1.

    Raises:
        ValueError: `steps` is empty, of another shape, or holds NaN, -∞ or finite numbers from 1e100 up.
    """
    times = np.asarray(steps, dtype=np.float64)
    if np.isnan(times).any() or np.isneginf(times).any():
        raise ValueError(f"steps must be finite or +inf, got {times.tolist()}")
    if (times[np.isfinite(times)] >= FOREVER).any():
        raise ValueError(f"steps must be below {FOREVER:g}, or +inf, got {times.tolist()}")
    estimate = iqm(np.where(np.isposinf(times), NEVER, times), rng, confidence=confidence, num_resamples=num_resamples)
    return Estimate(*(np.inf if end > FOREVER else end for end in (estimate.point, estimate.low, estimate.high)))


def _curves(steps: ArrayLike, returns: ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(returns, dtype=np.float64)
    if x.ndim != 1 or x.size == 0 or not np.isfinite(x).all() or (np.diff(x) <= 0).any():
        raise ValueError(f"steps must be finite and increase, of the shape (num_evaluations,); got {x.tolist()}")
    if y.ndim == 0 or y.size == 0 or y.shape[-1] != len(x):
        raise ValueError(f"returns must have the shape (..., {len(x)}), as many as steps; got {y.shape}")
    if not np.isfinite(y).all():
        raise ValueError(f"returns must be finite, got {y.tolist()}")
    return x, y
