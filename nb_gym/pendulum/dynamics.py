"""The physics of the driven pendulum: the one copy, for Python floats and float64 arrays alike.

Every function here is pure and uses only operators and NumPy's functions, so one pendulum
(`NBPendulumEnv`, Python floats) and n pendulums (`NBPendulumVectorEnv`, arrays of shape `(n,)`) run the same
operations in the same order and agree to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nb_gym.context.settings import FloatArray, Value

Steps: TypeAlias = int | NDArray[np.int64]

START_STD = 0.1
"""Standard deviation of the angle (rad) and of the angular velocity (rad/s) at the start of an episode."""

_LONGEST_TABLE = 100_000


class Context(NamedTuple):
    """What a task is made of: the physical parameters in force, each a number or an array of shape `(num_envs,)`."""

    A: Value = 1.0
    """Amplitude of the drive, rad/s²; 1.0 is easy, 1.8 hard, and above `max_torque` it cannot be cancelled."""
    b: Value = 0.2
    """Damping, 1/s, ≥ 0."""
    omega: Value = 0.75
    """Angular frequency of the drive, rad/s."""
    phase: Value = 0.0
    """Phase of the drive at the start of the episode, rad."""
    torque_gain: Value = 1.0
    """Actuator gain c; with c < 0 the torque acts the other way round."""
    dt: Value = 0.01
    """Length of one physics step, s, > 0."""
    max_torque: Value = 2.0
    """Limit of the torque's absolute value, > 0."""


def drive_angle(steps: Steps, context: Context) -> Value:
    """Compute the argument of the drive's sine, ω·t + φ in rad, at t = steps·dt."""
    return context.omega * (steps * context.dt) + context.phase


def drive(steps: Steps, context: Context) -> Value:
    """Compute the drive at unit amplitude, sin(ω·t + φ), after `steps` physics steps."""
    return np.sin(drive_angle(steps, context))


def step(theta: Value, theta_dot: Value, torque: Value, drive: Value, context: Context) -> tuple[Value, Value]:
    """Make one physics step: θ̈ = −b·θ̇ − sin θ + A·sin(ω·t + φ) + c·u by semi-implicit Euler.

    Args:
        theta: Angle θ from hanging straight down, rad, unwrapped.
        theta_dot: Angular velocity θ̇, rad/s.
        torque: Torque u, already within its limits.
        drive: sin(ω·t + φ) at the beginning of the step.
        context: The physical parameters.

    Returns:
        Angle and angular velocity at the end of the step: the velocity is moved first, the angle with the new velocity.
    """
    acceleration = context.A * drive + context.torque_gain * torque - context.b * theta_dot - np.sin(theta)
    theta_dot = theta_dot + context.dt * acceleration
    theta = theta + context.dt * theta_dot
    return theta, theta_dot


def reward(theta: Value, theta_dot: Value) -> Value:
    """Compute the reward of a new state, −|θ| − 0.1·|θ̇|, with θ unwrapped."""
    return -0.1 * np.abs(theta_dot) - np.abs(theta)


def simulate(
    theta: Value, theta_dot: Value, torque: Value, drives: Sequence[Value], context: Context
) -> tuple[Value, Value, Value]:
    """Hold a torque for one physics step per entry of `drives`.

    Returns:
        Angle, angular velocity, and the sum of the rewards of the states passed through.
    """
    total: Value = 0.0
    for drive in drives:
        theta, theta_dot = step(theta, theta_dot, torque, drive, context)
        total = total + reward(theta, theta_dot)
    return theta, theta_dot, total


class DriveSchedule:
    """The drive during an episode, looked up instead of computed where all pendulums share ω, φ and dt.

    A sine costs as much as all the rest of a physics step; the table is filled by `drive` itself, so that the
    numbers are the same.

    Args:
        context: The parameters in force.
        episode_steps: Physics steps in an episode; above 100,000 nothing is tabulated.
    """

    def __init__(self, context: Context, episode_steps: int) -> None:
        self._context = context
        self._table: FloatArray | None = None
        if episode_steps <= _LONGEST_TABLE and np.ndim(drive_angle(0, context)) == 0:
            self._table = np.asarray(drive(np.arange(episode_steps), context))
            # One pendulum, or many in step: a list hands out Python floats, the fastest operand of all.
            self._list: list[float] = self._table.tolist()

    def holds_for(self, context: Context) -> bool:
        """Say whether the very same ω, φ and dt are in force in another context."""
        ours = self._context
        return context.omega is ours.omega and context.phase is ours.phase and context.dt is ours.dt

    def __call__(self, steps: Steps, count: int) -> Sequence[Value]:
        """Look up the drive at `count` consecutive steps from `steps` (a number, or one for each pendulum)."""
        if self._table is None:
            return [drive(steps + k, self._context) for k in range(count)]
        if isinstance(steps, int):
            return self._list[steps : steps + count]
        return [self._table[steps + k] for k in range(count)]


Channel: TypeAlias = Callable[[Value, Value, Steps, Context], Any]


def _context_channel(name: str) -> Channel:
    index = Context._fields.index(name)
    return lambda theta, theta_dot, steps, context: context[index]


CHANNELS: dict[str, Channel] = {
    "theta": lambda theta, theta_dot, steps, context: theta,
    "cos_theta": lambda theta, theta_dot, steps, context: np.cos(theta),
    "sin_theta": lambda theta, theta_dot, steps, context: np.sin(theta),
    "theta_dot": lambda theta, theta_dot, steps, context: theta_dot,
    "sin_drive": lambda theta, theta_dot, steps, context: drive(steps, context),
    "cos_drive": lambda theta, theta_dot, steps, context: np.cos(drive_angle(steps, context)),
    **{name: _context_channel(name) for name in Context._fields},
}
"""What can be observed: functions of (theta, theta_dot, steps, context) at the state's own time."""


def difficulty(A: Value) -> Value:
    """Compute the task difficulty τ = (A − 1.0) / 0.8, clipped to [0, 1].

    Args:
        A: Amplitude of the drive, a number or an array of any shape.

    Returns:
        A float for a number, an array for an array.

    Raises:
        ValueError: If `A` is not finite, or no number.
    """
    try:
        finite = bool(np.all(np.isfinite(A)))
    except (TypeError, ValueError):  # no numbers, or ragged
        finite = False
    if not finite:
        raise ValueError(f"A must be a finite number or an array of them, got {A!r}")
    tau = np.clip((np.asarray(A, dtype=np.float64) - 1.0) / 0.8, 0.0, 1.0)
    return float(tau) if tau.ndim == 0 else tau
