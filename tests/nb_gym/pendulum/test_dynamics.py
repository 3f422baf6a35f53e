"""The physics against the published equation, and its look-up tables against itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from nb_gym import difficulty
from nb_gym.pendulum import dynamics
from nb_gym.pendulum.dynamics import Context, DriveSchedule


def test_defaults_are_the_published_ones() -> None:
    assert Context() == (1.0, 0.2, 0.75, 0.0, 1.0, 0.01, 2.0)
    assert Context._fields == ("A", "b", "omega", "phase", "torque_gain", "dt", "max_torque")


def test_step_is_semi_implicit_euler_on_the_published_equation() -> None:
    context = Context(A=1.8, phase=0.3, torque_gain=-0.5)
    theta, theta_dot, torque, t = 0.7, -1.1, 1.3, 4.2
    drive = math.sin(0.75 * t + 0.3)
    moved, moved_dot = dynamics.step(theta, theta_dot, torque, drive, context)
    acceleration = -0.2 * theta_dot - math.sin(theta) + 1.8 * drive - 0.5 * torque
    assert moved_dot == pytest.approx(theta_dot + 0.01 * acceleration, rel=1e-14)
    assert moved == pytest.approx(theta + 0.01 * moved_dot, rel=1e-14)


def test_drive_starts_at_its_phase_and_runs_on_in_seconds() -> None:
    context = Context(omega=2.0, phase=0.5, dt=0.1)
    assert dynamics.drive(0, context) == pytest.approx(math.sin(0.5))
    assert dynamics.drive(30, context) == pytest.approx(math.sin(2.0 * 3.0 + 0.5))


@pytest.mark.parametrize("dt", [0.02, 0.01, 0.005])
def test_small_swings_follow_the_linear_solution_to_first_order(dt: float) -> None:
    # θ̈ = −θ̇·b − θ from (θ0, 0) has the solution θ0·e^(−bt/2)·(cos νt + b/(2ν)·sin νt), ν² = 1 − b²/4.
    theta_0, b, t = 1e-3, 0.2, 6.0
    nu = math.sqrt(1 - b**2 / 4)
    exact = theta_0 * math.exp(-b * t / 2) * (math.cos(nu * t) + b / (2 * nu) * math.sin(nu * t))
    theta, _, _ = dynamics.simulate(theta_0, 0.0, 0.0, [0.0] * round(t / dt), Context(A=0.0, b=b, dt=dt))
    assert abs(float(theta) - exact) < theta_0 * dt


def test_reward_is_of_the_new_state_and_summed() -> None:
    context = Context()
    theta, theta_dot, total = dynamics.simulate(0.3, -0.4, 0.5, [0.1, 0.2], context)
    first = dynamics.step(0.3, -0.4, 0.5, 0.1, context)
    second = dynamics.step(*first, 0.5, 0.2, context)
    assert (theta, theta_dot) == second
    assert total == pytest.approx(sum(-abs(angle) - 0.1 * abs(speed) for angle, speed in (first, second)))
    assert dynamics.reward(-3.0, 2.0) == pytest.approx(-3.2)


@pytest.mark.parametrize("omega", [0.75, -2.3, np.array([0.75, 0.1, 3.0])])
def test_drive_schedule_is_the_drive_to_the_last_bit(omega: float | np.ndarray) -> None:
    context = Context(omega=omega, phase=0.2)
    together, apart = 7, np.array([0, 5, 19])
    for schedule in (DriveSchedule(context, 20), DriveSchedule(context, 10**9)):
        for steps in (together, apart):
            for k, value in enumerate(schedule(steps, 1 if steps is apart else 13)):
                assert_array_equal(value, dynamics.drive(steps + k, context))


def test_difficulty_is_zero_at_the_easy_task_and_one_at_the_hard_one() -> None:
    assert difficulty(1.0) == 0.0
    assert difficulty(1.8) == pytest.approx(1.0)
    assert difficulty(1.4) == pytest.approx(0.5)
    assert isinstance(difficulty(1.4), float)
    assert_array_equal(difficulty(np.array([0.0, 1.0, 5.0])), [0.0, 0.0, 1.0])


@pytest.mark.parametrize("bad", [math.nan, "a", None, [1.0, math.inf], [[1.0], [1.0, 2.0]]])
def test_difficulty_is_of_finite_numbers(bad: Any) -> None:
    with pytest.raises(ValueError, match="A must be a finite number or an array of them, got"):
        difficulty(bad)
