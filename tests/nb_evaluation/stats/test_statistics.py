import numpy as np
import pytest
from scipy import stats

from nb_evaluation.stats.estimates import (
    Estimate,
    interquartile_mean,
    iqm,
    paired_difference,
    percent_improvement,
    performance_profile,
    probability_of_improvement,
    rank_biserial,
)

PUBLISHED = {
    "maml": [-3431.3, -3681.6, -8232.6, -6396.7, -3604.0],
    "nb": [-2201.4, -4864.7, -2208.5, -2197.5, -2284.0],
    "nb-pro": [-2878.3, -2387.9, -2714.1, -2227.0, -3536.4],
}
"""The published runs, seed by seed; the percentages printed beside them are 35.8 and 37.1."""


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


def test_rank_biserial_by_hand(rng):
    # differences 3, -1, 2: ranks 3, 1, 2, so (3 + 2 - 1) / 6
    assert rank_biserial([3.0, 0.0, 2.0], [0.0, 1.0, 0.0], rng).point == pytest.approx(4 / 6)
    # a zero has the lowest rank and counts for neither: (2 - 0) / 3
    assert rank_biserial([5.0, 1.0], [0.0, 1.0], rng).point == pytest.approx(2 / 3)
    assert rank_biserial([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], rng) == Estimate(0.0, 0.0, 0.0)
    assert rank_biserial([1.0, 2.0, 1e9], [0.0, 0.0, 0.0], rng) == Estimate(1.0, 1.0, 1.0)


def test_rank_biserial_is_wilcoxons_statistic_rescaled(rng):
    x, y = rng.integers(6, size=(12, 2)), rng.integers(5, size=(12, 2))  # with ties and zeros
    estimate = rank_biserial(x, y, np.random.default_rng(1))
    positive = [
        stats.wilcoxon(
            x[:, task], y[:, task], zero_method="zsplit", alternative="greater", method="asymptotic"
        ).statistic
        for task in range(2)
    ]
    assert estimate.point == pytest.approx(np.mean([4 * w / (12 * 13) - 1 for w in positive]))
    assert -1.0 <= estimate.low < estimate.point < estimate.high <= 1.0
    mirrored = rank_biserial(y, x, np.random.default_rng(1))
    np.testing.assert_allclose([mirrored.point, mirrored.low], [-estimate.point, -estimate.high])


@pytest.mark.parametrize(("method", "printed", "positive"), [("nb", 35.8, 4), ("nb-pro", 37.1, 5)])
def test_percent_improvement_is_the_published_one(rng, method, printed, positive):
    improvement = percent_improvement(PUBLISHED[method], PUBLISHED["maml"], rng)
    assert improvement.mean.point == pytest.approx(printed, abs=0.05)
    assert (improvement.positive, improvement.num_runs) == (positive, 5)
    assert improvement.mean.low < improvement.mean.point < improvement.mean.high


def test_percent_improvement_by_hand_and_with_scipy(rng):
    x, baseline = np.array([-5.0, 4.0, -30.0, 2.0]), np.array([-10.0, 2.0, -20.0, 2.0])  # 50, 100, -50, 0
    improvement = percent_improvement(x, baseline, np.random.default_rng(1), num_resamples=500)
    assert improvement.mean.point == 25.0
    assert (improvement.positive, improvement.num_runs) == (2, 4)
    percent = ([50.0, 100.0, -50.0, 0.0],)
    expected = stats.bootstrap(
        percent, np.mean, n_resamples=500, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (improvement.mean.low, improvement.mean.high) == pytest.approx((expected.low, expected.high))


def test_performance_profile_by_hand(rng):
    profile = performance_profile([1.0, 2.0, 2.0, 4.0], [0.0, 1.0, 2.0, 3.9, 4.0], rng)
    np.testing.assert_array_equal(profile.point, [1.0, 0.75, 0.25, 0.25, 0.0])  # above τ, not at it
    np.testing.assert_array_equal(profile.thresholds, [0.0, 1.0, 2.0, 3.9, 4.0])
    for edge in (profile.low, profile.high):
        assert (edge[0], edge[-1]) == (1.0, 0.0)  # every resample agrees there
    assert (profile.low <= profile.point).all()
    assert (profile.point <= profile.high).all()


def test_performance_profile_is_a_survival_function_with_a_binomial_band(rng):
    scores = rng.normal(size=40)
    taus = np.linspace(-2.0, 2.0, 9)
    profile = performance_profile(scores, taus, rng, num_resamples=4000)
    np.testing.assert_allclose(profile.point, stats.ecdf(scores).sf.evaluate(taus))
    # resampling runs makes the count of those above τ binomial
    for edge, q in ((profile.low, 0.025), (profile.high, 0.975)):
        np.testing.assert_allclose(edge, stats.binom.ppf(q, 40, profile.point) / 40, atol=1.01 / 40)


def test_performance_profile_is_stratified_by_task(rng):
    """One task all above, one all below: half in every resample, unless runs were resampled across tasks."""
    profile = performance_profile(np.array([[0.0, 10.0]] * 6), [5.0], rng)
    assert (profile.point, profile.low, profile.high) == (0.5, 0.5, 0.5)


def test_one_run_has_no_band(rng):
    profile = performance_profile([1.0], [0.0, 2.0], rng)
    np.testing.assert_array_equal(profile.point, [1.0, 0.0])
    assert np.isnan([profile.low, profile.high]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: iqm([], rng), r"scores must have the shape .* not \(0,\)"),
        (lambda rng: iqm(np.zeros((2, 2, 2)), rng), r"not \(2, 2, 2\)"),
        (lambda rng: iqm([1.0, np.nan], rng), "scores must be finite"),
        (lambda rng: paired_difference([1.0], [1.0, 2.0], rng), r"\(1,\) and \(2,\)"),
        (lambda rng: probability_of_improvement(np.zeros((2, 2)), np.zeros((2, 3)), rng), "2 and 3 of them"),
        (lambda rng: paired_difference([1.0, np.inf], [1.0, 2.0], rng), "x must be finite"),
        (lambda rng: rank_biserial([1.0], [1.0, 2.0], rng), r"x and y must be paired.*\(1,\) and \(2,\)"),
        (lambda rng: rank_biserial([1.0], [np.nan], rng), "y must be finite"),
        (lambda rng: percent_improvement([1.0], [1.0, 2.0], rng), "x and baseline must be paired"),
        (lambda rng: percent_improvement([[1.0]], [[1.0]], rng), r"x must have the shape \(num_runs,\), not \(1, 1\)"),
        (lambda rng: percent_improvement([], [], rng), r"x must have the shape .* not \(0,\)"),
        (lambda rng: percent_improvement([1.0, 2.0], [1.0, 0.0], rng), r"baseline must not be 0, got \[1.0, 0.0\]"),
        (lambda rng: percent_improvement([1.0], [np.nan], rng), "baseline must be finite"),
        (lambda rng: performance_profile([np.nan], [1.0], rng), "scores must be finite"),
        (lambda rng: performance_profile([1.0], [], rng), r"thresholds must be finite, .* got \[\]"),
        (lambda rng: performance_profile([1.0], [np.nan], rng), "thresholds must be finite"),
    ],
)
def test_bad_scores_are_named(call, message, rng):
    with pytest.raises(ValueError, match=message):
        call(rng)
