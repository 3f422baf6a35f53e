import numpy as np
import pytest
from scipy import integrate

from nb_evaluation.stats.estimates import Estimate, iqm
from nb_evaluation.stats.learning_curves import area_under_curve, iqm_of_steps, steps_to

STEPS = [0, 1000, 3000]


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_area_by_hand():
    # (-100 - 50) / 2 over 1,000 steps and (-50 - 10) / 2 over 2,000
    assert area_under_curve(STEPS, [-100.0, -50.0, -10.0]) == pytest.approx((-75.0 - 30.0 * 2) / 3)
    np.testing.assert_allclose(area_under_curve([5, 6, 9], np.full((4, 2, 3), -7.0)), np.full((4, 2), -7.0))


def test_area_agrees_with_scipys_integral_of_the_same_lines(rng):
    steps, returns = np.sort(rng.uniform(size=8)), rng.normal(size=(3, 8))
    for curve, area in zip(returns, area_under_curve(steps, returns), strict=True):
        whole, _ = integrate.quad(
            lambda x, y=curve: np.interp(x, steps, y), steps[0], steps[-1], points=steps, limit=99
        )
        assert area == pytest.approx(whole / (steps[-1] - steps[0]))


@pytest.mark.parametrize(
    ("returns", "expected"),
    [
        ([-10.0, -10.0, -10.0], 0.0),  # from the start
        ([-200.0, -100.0, -50.0], 1000.0),  # at the threshold is enough
        ([-50.0, -150.0, -50.0], 3000.0),  # lost in between
        ([-200.0, -50.0, -100.5], np.inf),  # lost at the end
        ([-200.0, -150.0, -101.0], np.inf),
    ],
)
def test_steps_to_a_return_for_good(returns, expected):
    assert steps_to(STEPS, returns, -100.0) == expected


def test_steps_to_of_many_runs_is_each_run_by_itself(rng):
    returns = rng.normal(size=(6, 2, 3))
    together = steps_to(STEPS, returns, 0.0)
    assert together.shape == (6, 2)
    for index in np.ndindex(6, 2):
        assert together[index] == steps_to(STEPS, returns[index], 0.0)


def test_a_quarter_of_the_runs_may_never_arrive(rng):
    assert iqm_of_steps([1.0, 2.0, 4.0, np.inf], rng).point == 3.0
    assert iqm_of_steps([1.0, 2.0, 4.0, np.inf], rng).high == np.inf
    assert iqm_of_steps([1.0, 2.0, np.inf, np.inf], rng).point == np.inf
    assert iqm_of_steps([np.inf] * 4, rng) == Estimate(np.inf, np.inf, np.inf)


def test_how_long_a_run_that_never_arrives_would_have_taken_does_not_matter():
    times = np.arange(1.0, 20.0)
    late = iqm_of_steps(np.append(times, 1e9), np.random.default_rng(1))
    never = iqm_of_steps(np.append(times, np.inf), np.random.default_rng(1))
    assert never == late
    assert np.isfinite([never.low, never.high]).all()


def test_where_all_arrive_it_is_the_iqm():
    times = np.linspace(0.1, 1.4, 14).reshape(7, 2)
    assert iqm_of_steps(times, np.random.default_rng(1)) == iqm(times, np.random.default_rng(1))
    assert iqm_of_steps([0.1] * 3, np.random.default_rng(1)).high == pytest.approx(0.1)


def test_one_run_has_no_interval(rng):
    estimate = iqm_of_steps([np.inf], rng)
    assert estimate.point == np.inf
    assert np.isnan([estimate.low, estimate.high]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: area_under_curve([], []), r"steps must be finite and increase, .* got \[\]"),
        (lambda: area_under_curve([0, 0], [1.0, 1.0]), r"steps must .* increase"),
        (lambda: area_under_curve([0, np.nan], [1.0, 1.0]), "steps must be finite"),
        (lambda: area_under_curve([0], [1.0]), r"steps must be at least two, got \[0.0\]"),
        (
            lambda: area_under_curve([0, 1], [1.0]),
            r"returns must have the shape \(..., 2\), as many as steps; got \(1,\)",
        ),
        (lambda: area_under_curve([0, 1], np.zeros((0, 2))), r"returns must .* got \(0, 2\)"),
        (lambda: area_under_curve([0, 1], [1.0, np.nan]), "returns must be finite"),
        (lambda: steps_to([0, 1], [1.0, -np.inf], 0.0), "returns must be finite"),
        (lambda: steps_to([0, 1], [1.0, 1.0], np.nan), "threshold must be a number, got nan"),
        (lambda: iqm_of_steps([1.0, np.nan], np.random.default_rng(0)), r"steps must be finite or \+inf"),
        (lambda: iqm_of_steps([-np.inf], np.random.default_rng(0)), r"steps must be finite or \+inf"),
        (lambda: iqm_of_steps([1e200], np.random.default_rng(0)), r"steps must be below 1e\+100"),
        (lambda: iqm_of_steps([], np.random.default_rng(0)), r"not \(0,\)"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
