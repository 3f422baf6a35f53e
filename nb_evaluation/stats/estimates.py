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
        point: Statistic of the scores as they are.
        low: Lower end of the interval; NaN where a single run gives none.
        high: Upper end of the interval; NaN where a single run gives none.
    """

    point: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether the whole interval lies on one side of `value` (False where there is no interval)."""
        return bool(self.low > value or self.high < value)


@dataclass(frozen=True)
class Profile:
    """A performance profile with its pointwise confidence band; arrays of the shape `(num_thresholds,)`.

    Attributes:
        thresholds: Thresholds τ, as they were given.
        point: Fraction of the scores above each τ.
        low: Lower edge of the band; NaN where a single run gives none.
        high: Upper edge of the band; NaN where a single run gives none.
    """

    thresholds: FloatArray
    point: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class PercentImprovement:
    """Improvement over a baseline, seed by seed, in per cent of the baseline's absolute score.

    Attributes:
        mean: Mean over the seeds, with its interval.
        positive: Number of seeds that have improved.
        num_runs: Number of seeds.
    """

    mean: Estimate
    positive: int
    num_runs: int


def interquartile_mean(scores: ArrayLike, axis: int | None = None) -> FloatArray:
    """Mean of the middle half of the scores: a quarter is cut off at either end, rounded down.

    Args:
        scores: Array of any shape, usually `(num_runs, num_tasks)`.
        axis: Axis that is averaged away; None for all of them.

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
        rng: Source of the resamples.
        confidence: Coverage of the interval, in (0, 1).
        num_resamples: Number of bootstrap samples, at least 1.

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
        y: Scores of the same shape; row i of `x` and of `y` share a seed.
        rng: Source of the resamples; whole pairs are resampled.
        confidence: Coverage of the interval, in (0, 1).
        num_resamples: Number of bootstrap samples, at least 1.

    Raises:
        ValueError: The shapes differ, or an array is empty or not finite.
    """
    return _bootstrap(_differences(x, y), _pooled_iqm, rng, confidence, num_resamples)


def probability_of_improvement(
    x: ArrayLike, y: ArrayLike, rng: np.random.Generator, *, confidence: float = 0.95, num_resamples: int = 2000
) -> Estimate:
    """Probability that a run of X scores above a run of Y on the same task, ties counting half.

    This is the Mann-Whitney U statistic over `num_runs_x * num_runs_y`, averaged over the tasks. It is an effect size:
    Vargha and Delaney's A, and (Cliff's δ + 1) / 2.

    Args:
        x: `(num_runs_x,)` or `(num_runs_x, num_tasks)`, finite.
        y: `(num_runs_y,)` or `(num_runs_y, num_tasks)`, finite; the numbers of runs may differ.
        rng: Source of the resamples; runs of X and of Y are resampled independently, task by task.
        confidence: Coverage of the interval, in (0, 1).
        num_resamples: Number of bootstrap samples, at least 1.

    Raises:
        ValueError: The numbers of tasks differ, or an array is empty or not finite.
    """
    columns_x, columns_y = _columns(x, "x"), _columns(y, "y")
    if len(columns_x) != len(columns_y):
        raise ValueError(f"x and y must have the same tasks; got {len(columns_x)} and {len(columns_y)} of them")
    return _bootstrap(columns_x + columns_y, _pooled_improvement, rng, confidence, num_resamples)


def rank_biserial(
    x: ArrayLike, y: ArrayLike, rng: np.random.Generator, *, confidence: float = 0.95, num_resamples: int = 2000
) -> Estimate:
    """Effect size of paired runs: how much of the ranks of the differences speaks for X less what speaks for Y.

    The matched-pairs rank-biserial correlation (Kerby, 2014): with W⁺ the Wilcoxon signed-rank statistic of `x - y`, in
    which zeros count half, r = 2 W⁺ / (n (n + 1) / 2) - 1, averaged over the tasks. It is 1 where X is better on every
    seed, -1 where Y is, and no outlier among the differences weighs more than its rank; a difference standardised by
    its deviation (Cohen's d) would be decided by the one run that failed.

    Args:
        x: Scores; for these and the other arguments see `paired_difference`.
        y: Scores of the other method.
        rng: Source of the resamples.
        confidence: Coverage of the interval.
        num_resamples: Number of bootstrap samples.

    Raises:
        ValueError: The shapes differ, or an array is empty or not finite.
    """
    return _bootstrap(_differences(x, y), _mean_rank_biserial, rng, confidence, num_resamples)


def percent_improvement(
    x: ArrayLike, baseline: ArrayLike, rng: np.random.Generator, *, confidence: float = 0.95, num_resamples: int = 2000
) -> PercentImprovement:
    """Mean of (x - baseline) / |baseline| · 100 over the seeds, the published table's metric.

    The mean is pulled by a seed whose baseline is near zero or far off, which is why nothing else here uses it.

    Args:
        x: `(num_runs,)`, finite.
        baseline: `(num_runs,)`, finite and not 0; entry i of `x` and of `baseline` share a seed.
        rng: Source of the resamples; whole pairs are resampled.
        confidence: Coverage of the interval, in (0, 1).
        num_resamples: Number of bootstrap samples, at least 1.

    Raises:
        ValueError: The shapes differ, an array is empty or not finite, or a baseline is 0.
    """
    if np.ndim(x) != 1:
        raise ValueError(f"x must have the shape (num_runs,), not {np.shape(x)}")
    (column,), (base,) = _pairs(x, baseline, "baseline")
    if not base.all():
        raise ValueError(f"baseline must not be 0, got {base.tolist()}")
    percent = (column - base) / np.abs(base) * 100.0
    mean = _bootstrap([percent], np.mean, rng, confidence, num_resamples)
    return PercentImprovement(mean, positive=int((percent > 0).sum()), num_runs=len(percent))


def performance_profile(
    scores: ArrayLike,
    thresholds: ArrayLike,
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
    num_resamples: int = 2000,
) -> Profile:
    """Fraction of runs that score above τ, for each τ: the run-score distribution of Agarwal et al. (2021).

    Args:
        scores: `(num_runs,)` or `(num_runs, num_tasks)`, finite. Runs are resampled within each task.
        thresholds: Thresholds τ, `(num_thresholds,)`, finite.
        rng: Source of the resamples, which all thresholds share.
        confidence: Coverage of the band at each τ by itself, in (0, 1).
        num_resamples: Number of bootstrap samples, at least 1.

    Raises:
        ValueError: An array is empty, of another shape, or not finite.
    """
    columns = _columns(scores, "scores")
    taus = np.asarray(thresholds, dtype=np.float64)
    if taus.ndim != 1 or taus.size == 0 or not np.isfinite(taus).all():
        raise ValueError(f"thresholds must be finite, of the shape (num_thresholds,); got {taus.tolist()}")

    def profile(*columns: FloatArray, axis: int) -> FloatArray:
        """`(num_thresholds, ...)` of the tasks' scores `(..., num_runs)`."""
        return np.array([np.mean([(column > tau).mean(axis=axis) for column in columns], axis=0) for tau in taus])

    return Profile(taus, *_bootstrap_arrays(columns, profile, rng, confidence, num_resamples))


def _pairs(x: ArrayLike, y: ArrayLike, name: str = "y") -> tuple[list[FloatArray], list[FloatArray]]:
    """Both arrays by task, see `_columns`; row i of one belongs to row i of the other."""
    if np.shape(x) != np.shape(y):
        raise ValueError(f"x and {name} must be paired, so of one shape; got {np.shape(x)} and {np.shape(y)}")
    return _columns(x, "x"), _columns(y, name)


def _differences(x: ArrayLike, y: ArrayLike) -> list[FloatArray]:
    """Differences of paired scores, task by task."""
    return [a - b for a, b in zip(*_pairs(x, y), strict=True)]


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
    """Point and interval of one number."""
    return Estimate(*map(float, _bootstrap_arrays(columns, statistic, rng, confidence, num_resamples)))


def _bootstrap_arrays(
    columns: list[FloatArray], statistic: Statistic, rng: np.random.Generator, confidence: float, num_resamples: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Points, lower and upper ends of the intervals, of the statistic's shape."""
    point = np.asarray(statistic(*columns, axis=-1))
    if any(len(column) < 2 for column in columns):
        return point, np.full_like(point, np.nan), np.full_like(point, np.nan)
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
    return point, interval.low, interval.high


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


def _mean_rank_biserial(*differences: FloatArray, axis: int) -> FloatArray:
    """Rank-biserial correlation of the tasks' paired differences `(..., num_runs)`, averaged: `(...)`."""
    per_task = []
    for difference in differences:
        ranks = stats.rankdata(np.abs(difference), axis=axis)
        per_task.append((np.sign(difference) * ranks).sum(axis=axis) / ranks.sum(axis=axis))
    return np.asarray(np.mean(per_task, axis=0))
