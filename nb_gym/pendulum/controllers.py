"""Reference controllers: what the returns of learned policies are measured against.

A controller maps `(theta, theta_dot, t, context, rng)`, arrays of shape `(n,)`, the context in force and a
generator, to torques of shape `(n,)`. The environment clips them; only `feed_forward` knows more than a policy that
observes the state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nb_gym.context.arguments import parse_count
from nb_gym.context.settings import FloatArray
from nb_gym.pendulum.dynamics import Context
from nb_gym.pendulum.vector import NBPendulumVectorEnv

Controller: TypeAlias = Callable[[FloatArray, FloatArray, FloatArray, Context, np.random.Generator], FloatArray]


def zero(
    theta: FloatArray, theta_dot: FloatArray, t: FloatArray, context: Context, rng: np.random.Generator
) -> FloatArray:
    """Apply no torque."""
    return np.zeros_like(theta)


def random(
    theta: FloatArray, theta_dot: FloatArray, t: FloatArray, context: Context, rng: np.random.Generator
) -> FloatArray:
    """Apply a uniform random torque within the limits."""
    return rng.uniform(-1.0, 1.0, size=theta.shape) * context.max_torque


def pd(kp: float, kd: float) -> Controller:
    """Make the state feedback u = −kp·θ − kd·θ̇."""

    def controller(
        theta: FloatArray, theta_dot: FloatArray, t: FloatArray, context: Context, rng: np.random.Generator
    ) -> FloatArray:
        return -kp * theta - kd * theta_dot

    return controller


def bang_bang(
    theta: FloatArray, theta_dot: FloatArray, t: FloatArray, context: Context, rng: np.random.Generator
) -> FloatArray:
    """Push with full torque, switched where braking must begin.

    The switching curve is the minimum-time one of a double integrator, θ = −θ̇·|θ̇| / (2a), for a = max_torque / 2: what
    gravity and the drive leave of the torque at A = 1.
    """
    torque: FloatArray = -np.sign(theta + theta_dot * np.abs(theta_dot) / context.max_torque) * context.max_torque
    return torque


def feed_forward(kp: float = 100.0, kd: float = 20.0) -> Controller:
    """Cancel the drive, with a PD controller on top: u = (−A·sin(ω·t + φ) − kp·θ − kd·θ̇) / c.

    It knows the context and the time, and is the reference that a normalised score of 1 stands for. The controller
    raises ValueError where c = `torque_gain` is 0 and no torque cancels anything.
    """

    def controller(
        theta: FloatArray, theta_dot: FloatArray, t: FloatArray, context: Context, rng: np.random.Generator
    ) -> FloatArray:
        if np.any(context.torque_gain == 0):
            raise ValueError(f"torque_gain must not be 0 for feed_forward, got {context.torque_gain!r}")
        drive = context.A * np.sin(context.omega * t + context.phase)
        torque: FloatArray = (-drive - kp * theta - kd * theta_dot) / context.torque_gain
        return torque

    return controller


def reference_returns(controller: Controller, n_starts: int = 64, seed: int = 0, **context: Any) -> FloatArray:
    """Compute the returns of a controller, one for each start.

    Args:
        controller: Maps `(theta, theta_dot, t, context, rng)` to torques.
        n_starts: Number of episodes.
        seed: Seeds the starts, and with a generator of its own the controller.
        **context: Context parameters and any other argument of `NBPendulumVectorEnv`.

    Returns:
        Returns of one episode each, shape `(n_starts,)`.

    Raises:
        ValueError: If an argument is not accepted, see `NBPendulumVectorEnv`.
    """
    env = NBPendulumVectorEnv(parse_count("n_starts", n_starts), **context)
    rng = np.random.default_rng([seed, 1])
    env.reset(seed=seed)
    returns = np.zeros(n_starts)
    truncations: NDArray[np.bool_] = np.zeros(n_starts, dtype=np.bool_)
    while not truncations.all():
        torque = controller(*env.state, env.time, env.context, rng)
        _, rewards, _, truncations, _ = env.step(torque[:, np.newaxis])
        returns += rewards
    return returns


def reference_return(controller: Controller, n_starts: int = 64, seed: int = 0, **context: Any) -> float:
    """Compute the mean of `reference_returns`."""
    return float(reference_returns(controller, n_starts, seed, **context).mean())
