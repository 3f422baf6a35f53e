"""The state of many pendulums and how it moves on: what `NBPendulumVectorEnv` wraps in Gymnasium's interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from nb_gym import dynamics
from nb_gym.dynamics import Context, DriveSchedule, FloatArray, Steps, Value

BoolArray: TypeAlias = NDArray[np.bool_]


class PendulumBatch:
    """The state of `num_envs` pendulums; none is there before the first `begin`.

    Attributes:
        theta: Angles, rad, shape `(num_envs,)`.
        theta_dot: Angular velocities, rad/s, shape `(num_envs,)`.
        steps: Physics steps since the start of each episode: one number while all pendulums are at the same step,
            which is the usual case and the fast one, else of shape `(num_envs,)`.
        context: The parameters in force, each a number where all pendulums share it, else of shape `(num_envs,)`.

    Args:
        num_envs: Number of pendulums.
        frame_skip: Physics steps per decision.
        episode_steps: Physics steps per episode.
    """

    def __init__(self, num_envs: int, frame_skip: int, episode_steps: int) -> None:
        self.num_envs = num_envs
        self.frame_skip = frame_skip
        self.episode_steps = episode_steps
        self.theta: FloatArray
        self.theta_dot: FloatArray
        self.steps: Steps
        self.context: Context
        self._drive: DriveSchedule | None = None
        _keep_freed_memory(num_envs)

    @property
    def empty(self) -> bool:
        """Whether no episode was ever begun."""
        return self._drive is None

    def begin(self, index: NDArray[np.int64], theta: Value, theta_dot: Value, context: Context) -> None:
        """Begin new episodes.

        Args:
            index: Which pendulums; the first time, all.
            theta: Their angles, a number or shape `(len(index),)`, as all that follows.
            theta_dot: Their angular velocities.
            context: Their parameters.
        """
        if len(index) == self.num_envs:
            self.theta, self.theta_dot, self.steps = np.full(self.num_envs, theta), np.full(self.num_envs, theta_dot), 0
        else:
            self.theta[index], self.theta_dot[index] = theta, theta_dot
            steps = np.full(self.num_envs, self.steps)
            steps[index] = 0
            self.steps = int(steps[0]) if (steps == steps[0]).all() else steps
            context = Context(*(self._merge(*values, index) for values in zip(self.context, context, strict=True)))
        self.context = context
        if self._drive is None or not self._drive.holds_for(context):
            self._drive = DriveSchedule(context, self.episode_steps)

    def _merge(self, old: Value, new: Value, index: NDArray[np.int64]) -> Value:
        if isinstance(old, float) and isinstance(new, float) and old == new:
            return old
        merged = np.full(self.num_envs, old)
        merged[index] = new
        return merged

    def _simulate(self, torque: FloatArray, drives: Sequence[Value]) -> tuple[FloatArray, FloatArray, FloatArray]:
        moved = dynamics.simulate(self.theta, self.theta_dot, torque, drives, self.context)
        return cast("tuple[FloatArray, FloatArray, FloatArray]", moved)

    def over(self) -> BoolArray | None:
        """Which episodes are over, shape `(num_envs,)`, or None if none is."""
        if isinstance(self.steps, int):
            return np.ones(self.num_envs, dtype=np.bool_) if self.steps >= self.episode_steps else None
        over: BoolArray = self.steps >= self.episode_steps
        return over if over.any() else None

    def drive(self) -> Value:
        """Acceleration by the drive, A·sin(ω·t + φ) in rad/s², now."""
        return self.context.A * dynamics.drive(self.steps, self.context)

    def advance(self, torque: FloatArray) -> FloatArray:
        """Move on by one decision: `frame_skip` physics steps, or what is left of an episode.

        Args:
            torque: Torques within their limits, shape `(num_envs,)`.

        Returns:
            Sums of the rewards, shape `(num_envs,)`; 0 where the episode was over already and nothing moves.
        """
        assert self._drive is not None
        steps = self.steps
        if isinstance(steps, int):
            drives = self._drive(steps, min(self.frame_skip, self.episode_steps - steps))
            self.steps = steps + len(drives)
            if not drives:
                return np.zeros(self.num_envs)
            self.theta, self.theta_dot, rewards = self._simulate(torque, drives)
            return rewards
        total, last = np.zeros(self.num_envs), self.episode_steps - 1
        # The youngest episode has most of its steps before it; beyond them nothing moves.
        for _ in range(min(self.frame_skip, self.episode_steps - int(steps.min()))):
            running = steps <= last
            drives = self._drive(np.minimum(steps, last), 1)
            theta, theta_dot, rewards = self._simulate(torque, drives)
            self.theta = np.where(running, theta, self.theta)
            self.theta_dot = np.where(running, theta_dot, self.theta_dot)
            total += np.where(running, rewards, 0.0)
            steps = steps + running
        self.steps = steps
        return total


def _keep_freed_memory(num_envs: int) -> None:
    """Let the C library keep the memory of temporaries for the next step instead of handing it back to the system.

    Beyond some 10,000 pendulums glibc would hand it back after nearly every operation, and the page faults that follow
    would cost as much as the physics. Freeing one block larger than all temporaries together raises its threshold
    (M_TRIM_THRESHOLD in mallopt(3)); elsewhere this does nothing.
    """
    np.empty((32, num_envs))
