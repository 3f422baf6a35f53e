"""The state of many pendulums and how it moves on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from nb_gym.context.settings import FloatArray, Value
from nb_gym.pendulum import dynamics
from nb_gym.pendulum.dynamics import Context, DriveSchedule, Steps


class PendulumBatch:
    """The state of `num_envs` pendulums; none is there before the first `begin`.

    Attributes:
        theta: Angles, rad, shape `(num_envs,)`.
        theta_dot: Angular velocities, rad/s, shape `(num_envs,)`.
        context: Parameters in force, each a number where all pendulums share it, else of shape `(num_envs,)`.

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
        self.context: Context
        self._drive: DriveSchedule | None = None
        _keep_freed_memory(num_envs)

    def begin(self, index: NDArray[np.int64], theta: Value, theta_dot: Value, context: Context) -> None:
        """Begin new episodes.

        Args:
            index: Pendulums whose episodes begin; the first time, all.
            theta: Their angles, a number or shape `(len(index),)`, as all that follows.
            theta_dot: Their angular velocities.
            context: Their parameters.
        """
        if len(index) == self.num_envs:
            self.theta, self.theta_dot = np.full(self.num_envs, theta), np.full(self.num_envs, theta_dot)
        else:
            self.theta[index], self.theta_dot[index] = theta, theta_dot
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

    def advance(self, torque: FloatArray, steps: Steps) -> FloatArray:
        """Move on by one decision: `frame_skip` physics steps, or what is left of an episode.

        Args:
            torque: Torques within their limits, shape `(num_envs,)`.
            steps: Physics steps since the start of each episode.

        Returns:
            Sums of the rewards, shape `(num_envs,)`; 0 where the episode was over already and nothing moves.
        """
        assert self._drive is not None
        if isinstance(steps, int):
            drives = self._drive(steps, min(self.frame_skip, self.episode_steps - steps))
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
        return total


def _keep_freed_memory(num_envs: int) -> None:
    """Let the C library keep the memory of temporaries for the next step instead of handing it back to the system.

    Beyond some 10,000 pendulums glibc would hand it back after nearly every operation, and the page faults that follow
    would cost as much as the physics. Freeing one block larger than all temporaries together raises its threshold
    (M_TRIM_THRESHOLD in mallopt(3)); elsewhere this does nothing.
    """
    np.empty((32, num_envs))
