"""Statistics of a benchmark: points with intervals, from few runs, without assuming a distribution.

Scores have the shape `(num_runs, num_tasks)`, or `(num_runs,)` for a single task; a run is a seed. The choice of
statistics (interquartile mean, bootstrap stratified by task, probability of improvement) follows Agarwal et al. (2021),
"Deep Reinforcement Learning at the Edge of the Statistical Precipice".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FloatArray = NDArray[np.float64]
Statistic = Callable[..., FloatArray]


@dataclass(frozen=True)
class Estimate:
    """A point estimate with its confidence interval.

    Attributes:
        point: the statistic of the scores as they are.
        low: lower end of the interval; NaN where a single run gives none.
        high: upper end of the interval; NaN where a single run gives none.
    """

    point: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether the whole interval lies on one side of `value` (False where there is no interval)."""
        return bool(self.low > value or self.high < value)


def interquartile_mean(scores: ArrayLike, axis: int | None = None) -> FloatArray:
    """Mean of the middle half of the scores: a quarter is cut off at either end, rounded down.

    Args:
        scores: array of any shape, usually `(num_runs, num_tasks)`.
        axis: the axis that is averaged away; None for all of them.

    Returns:
        `scores` without `axis`: a 0-d array where `axis` is None.
    """
    return np.asarray(stats.trim_mean(scores, 0.25, axis=axis), dtype=np.float64)


def iqm(
    scores: ArrayLike, rng: np.random.Generator, *, confidence: float = 0.95, num_resamples: int = 2000
) -> Estimate:
    """Interquartile mean over all runs and tasks, with a stratified percentile bootstrap.

    Args:
        scores: `(num_runs,)` or `(num_runs, num_tasks)`, finite. Runs are resampled within each task.
        rng: source of the resamples.
        confidence: coverage of the interval, in (0, 1).
        num_resamples: bootstrap samples, at least 1.

    Raises:
        ValueError: `scores` is empty, of another shape, or not finite.
    """
    return _bootstrap(_columns(scores, "scores"), _pooled_iqm, rng, confidence, num_resamples)


def paired_difference(
    x: ArrayLike, y: ArrayLike, rng: np.random.Generator, *, confidence: float = 0.95, num_resamples: int = 2000
) -> Estimate:
    """Interquartile mean of `x - y`, run by run: the same seed with two methods.

    Args:
        x: `(num_runs,)` or `(num_runs, num_tasks)`, finite.
        y: the same shape; row i of `x` and of `y` share a seed.
        rng: source of the resamples; whole pairs are resampled.
        confidence: coverage of the interval, in (0, 1).
        num_resamples: bootstrap samples, at least 1.

    Raises:
        ValueError: the shapes differ, or an array is empty or not finite.
    """
    if np.shape(x) != np.shape(y):
        raise ValueError(f"x and y must be paired, so of one shape; got {np.shape(x)} and {np.shape(y)}")
    difference = np.asarray(x, dtype=np.float64) - np.asarray(y, dtype=np.float64)
    return iqm(difference, rng, confidence=confidence, num_resamples=num_resamples)


def probability_of_improvement(
    x: ArrayLike, y: ArrayLike, rng: np.random.Generator, *, confidence: float = 0.95, num_resamples: int = 2000
) -> Estimate:
    """Probability that a run of X scores above a run of Y on the same task, ties counting half.

    This is the Mann-Whitney U statistic over `num_runs_x * num_runs_y`, averaged over the tasks.

    Args:
        x: `(num_runs_x,)` or `(num_runs_x, num_tasks)`, finite.
        y: `(num_runs_y,)` or `(num_runs_y, num_tasks)`, finite; the numbers of runs may differ.
        rng: source of the resamples; runs of X and of Y are resampled independently, task by task.
        confidence: coverage of the interval, in (0, 1).
        num_resamples: bootstrap samples, at least 1.

    Raises:
        ValueError: the numbers of tasks differ, or an array is empty or not finite.
    """
    columns_x, columns_y = _columns(x, "x"), _columns(y, "y")
    if len(columns_x) != len(columns_y):
        raise ValueError(f"x and y must have the same tasks; got {len(columns_x)} and {len(columns_y)} of them")
    return _bootstrap(columns_x + columns_y, _pooled_improvement, rng, confidence, num_resamples)


def _columns(scores: ArrayLike, name: str) -> list[FloatArray]:
    """Split `(num_runs, num_tasks)` into one `(num_runs,)` array per task."""
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(f"{name} must have the shape (num_runs,) or (num_runs, num_tasks), not {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array.tolist()}")
    return list(array.reshape(len(array), -1).T)


def _bootstrap(
    columns: list[FloatArray], statistic: Statistic, rng: np.random.Generator, confidence: float, num_resamples: int
) -> Estimate:
    point = float(statistic(*columns, axis=-1))
    if any(len(column) < 2 for column in columns):
        return Estimate(point, float("nan"), float("nan"))
    # The percentile method: BCa, SciPy's default, has no answer where all runs score the same.
    interval = stats.bootstrap(
        columns,
        statistic,
        n_resamples=num_resamples,
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        rng=rng,
    ).confidence_interval
    return Estimate(point, float(interval.low), float(interval.high))


def _pooled_iqm(*columns: FloatArray, axis: int) -> FloatArray:
    """Interquartile mean of the tasks' scores `(..., num_runs)` taken together: `(...)`."""
    return interquartile_mean(np.concatenate(columns, axis=axis), axis=axis)


def _pooled_improvement(*columns: FloatArray, axis: int) -> FloatArray:
    """Probability of improvement of the first half of the columns over the second; `axis` is the last one."""
    half = len(columns) // 2
    per_task = []
    for x, y in zip(columns[:half], columns[half:], strict=True):
        difference = np.expand_dims(x, -1) - np.expand_dims(y, -2)
        per_task.append((0.5 * (1.0 + np.sign(difference))).mean(axis=(-2, -1)))
    return np.asarray(np.mean(per_task, axis=0))
