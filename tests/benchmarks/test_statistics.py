import numpy as np
import pytest
from scipy import stats

from benchmarks.statistics import Estimate, interquartile_mean, iqm, paired_difference, probability_of_improvement


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_interquartile_mean_by_hand():
    assert interquartile_mean([-1000.0, 1.0, 2.0, 3.0, 1000.0]) == 2.0  # one of five cut off at either end
    assert interquartile_mean([0.0, 1.0, 2.0, 30.0]) == 1.5
    scores = np.array([[0.0, 10.0], [1.0, 11.0], [2.0, 12.0], [30.0, 40.0]])
    np.testing.assert_array_equal(interquartile_mean(scores, axis=0), [1.5, 11.5])
    assert interquartile_mean(scores) == np.mean([2.0, 10.0, 11.0, 12.0])  # of all eight, the middle four (sorted)


def test_iqm_interval_agrees_with_a_bootstrap_written_out(rng):
    scores = rng.normal(size=12)
    estimate = iqm(scores, np.random.default_rng(1), num_resamples=4000)
    draws = scores[np.random.default_rng(2).integers(12, size=(4000, 12))]
    middle = np.sort(draws, axis=1)[:, 3:9].mean(axis=1)
    assert estimate.point == pytest.approx(np.sort(scores)[3:9].mean())
    np.testing.assert_allclose([estimate.low, estimate.high], np.quantile(middle, [0.025, 0.975]), atol=0.05)


def test_bootstrap_is_stratified_by_task(rng):
    """Tasks of different level widen the interval only if runs are (wrongly) resampled across tasks."""
    scores = np.stack([rng.normal(0.0, 1e-3, 10), rng.normal(100.0, 1e-3, 10)], axis=1)
    estimate = iqm(scores, rng)
    assert estimate.high - estimate.low < 0.01


def test_same_generator_same_interval():
    scores = np.arange(10.0) ** 2
    assert iqm(scores, np.random.default_rng(3)) == iqm(scores, np.random.default_rng(3))
    assert iqm(scores, np.random.default_rng(3)) != iqm(scores, np.random.default_rng(4))


def test_equal_scores_have_an_interval_of_width_zero(rng):
    assert iqm([5.0, 5.0, 5.0], rng) == Estimate(5.0, 5.0, 5.0)


def test_one_run_has_no_interval(rng):
    estimate = iqm([-3.0], rng)
    assert estimate.point == -3.0
    assert np.isnan([estimate.low, estimate.high]).all()
    assert not estimate.excludes(0.0)


def test_paired_difference_removes_what_the_seeds_share(rng):
    y = rng.normal(0.0, 100.0, size=20)
    estimate = paired_difference(y + np.linspace(0.9, 1.1, 20), y, rng)
    assert estimate.point == pytest.approx(1.0)
    assert estimate.excludes(0.0)
    assert not paired_difference(y, y, rng).excludes(0.0)


def test_probability_of_improvement_by_hand(rng):
    # pairs: 3>1, 3>2, 3=3, 0<1, 0<2, 0<3 -> 2.5 of 6
    assert probability_of_improvement([3.0, 0.0], [1.0, 2.0, 3.0], rng).point == pytest.approx(2.5 / 6)
    assert probability_of_improvement([2.0, 3.0], [0.0, 1.0], rng) == Estimate(1.0, 1.0, 1.0)


def test_probability_of_improvement_is_mann_whitney(rng):
    x, y = rng.normal(0.5, size=(9, 2)), rng.normal(size=(7, 2))
    estimate = probability_of_improvement(x, y, rng)
    u = [stats.mannwhitneyu(x[:, task], y[:, task]).statistic / (9 * 7) for task in range(2)]
    assert estimate.point == pytest.approx(np.mean(u))
    assert estimate.low < estimate.point < estimate.high


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: iqm([], rng), r"scores must have the shape .* not \(0,\)"),
        (lambda rng: iqm(np.zeros((2, 2, 2)), rng), r"not \(2, 2, 2\)"),
        (lambda rng: iqm([1.0, np.nan], rng), "scores must be finite"),
        (lambda rng: paired_difference([1.0], [1.0, 2.0], rng), r"\(1,\) and \(2,\)"),
        (lambda rng: probability_of_improvement(np.zeros((2, 2)), np.zeros((2, 3)), rng), "2 and 3 of them"),
    ],
)
def test_bad_scores_are_named(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(rng)
