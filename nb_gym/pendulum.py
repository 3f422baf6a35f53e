"""One driven pendulum: `gym.make("NBPendulum-v0")`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from nb_gym import dynamics
from nb_gym.dynamics import CHANNELS, Context, DriveSchedule
from nb_gym.interface import ScalarInterface
from nb_gym.pictures import PendulumScene
from nb_gym.rendering import FRAME_SIZE
from nb_gym.settings import (
    NoEpisodeError,
    Setting,
    draw_episode,
    make_spaces,
    parse_context,
    parse_count,
    parse_frame_size,
    parse_observe,
    parse_options,
    parse_render_mode,
    parse_scale,
    parse_seed,
    real_array,
    real_time_fps,
)


class NBPendulumEnv(ScalarInterface, gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """A damped pendulum shaken by a sinusoidal drive, to be held at rest by a torque.

    ## Description

    θ̈ = −b·θ̇ − sin θ + A·sin(ω·t + φ) + c·u, integrated by semi-implicit Euler in float64 (the velocity first, then
    the angle with the new velocity). θ = 0 hangs straight down; θ is never wrapped. The family, its parameters and
    its reward are those of "Neural Battery: Geometry-Aware Transfer Learning via Learnable k-Operators" (St-Laurent,
    2025); the actuator gain c is an addition. A = 1.0 is the easy task and A = 1.8 the hard one; `nb_gym.difficulty`
    maps A to the task difficulty τ.

    ## Action space

    `Box(-max_torque, max_torque, (1,), float32)`. Torques beyond the limit are clipped.

    | Num | Action   | Min         | Max        | Unit   |
    | --- | -------- | ----------- | ---------- | ------ |
    | 0   | torque u | -max_torque | max_torque | rad/s² |

    ## Observation space

    `Box(float32)`, one entry for each name in `observe`, in that order.

    | Name                                 | Observation                      | Min  | Max | Unit  |
    | ------------------------------------ | -------------------------------- | ---- | --- | ----- |
    | `theta` (default)                    | angle θ, unwrapped               | -1e6 | 1e6 | rad   |
    | `theta_dot` (default)                | angular velocity θ̇               | -1e6 | 1e6 | rad/s |
    | `cos_theta`, `sin_theta`             | cosine and sine of θ             | -1   | 1   |       |
    | `sin_drive`, `cos_drive`             | of ω·t + φ, at the state's own t | -1   | 1   |       |
    | `A`, `b`, `omega`, `phase`,          | context parameters in force      | -1e6 | 1e6 | below |
    | `torque_gain`, `dt`, `max_torque`    |                                  |      |     |       |

    The bound of 1e6 stands for none: every setting lies within it, and no sensible pendulum comes near.

    ## Reward

    −|θ| − 0.1·|θ̇| of the new state, summed over the physics steps of a decision, so that returns stay comparable
    whatever the frame skip, and multiplied by `reward_scale`. With a scale of 1 and without torque an episode returns
    about −2372 at A = 1.0 and −3829 at A = 1.8; state feedback reaches −4.0 at both.

    ## Starting state

    θ and θ̇ ~ N(0, 0.1²), t = 0. Context parameters given as a range are drawn uniformly, all from `np_random`.

    ## Episode end

    The episode is truncated after `episode_steps` physics steps, counted by the environment itself; if `frame_skip`
    does not divide them, the last decision is shorter. It never terminates. A step after the end raises
    `gymnasium.error.ResetNeeded`. `spec.max_episode_steps` is the number of decisions.

    ## Information

    `info["context"]` maps each context parameter to its value in force.

    ## Arguments

    Context parameters are passed by name, each a number or a `(low, high)` range that is drawn afresh at each reset:

    | Name          | Default | Unit   | Accepted | Meaning                          |
    | ------------- | ------- | ------ | -------- | -------------------------------- |
    | `A`           | 1.0     | rad/s² | any      | amplitude of the drive           |
    | `b`           | 0.2     | 1/s    | ≥ 0      | damping                          |
    | `omega`       | 0.75    | rad/s  | any      | angular frequency of the drive ω |
    | `phase`       | 0.0     | rad    | any      | phase of the drive φ             |
    | `torque_gain` | 1.0     |        | any      | actuator gain c                  |
    | `dt`          | 0.01    | s      | > 0      | physics step; b·dt < 2           |
    | `max_torque`  | 2.0     | rad/s² | > 0      | torque limit                     |

    All must be finite and within ±1e6.

    `reset(options={...})` sets any of them, and `theta` and `theta_dot`, for one episode, in the same forms.

    ## Learning it

    As published (one decision per physics step, θ and θ̇ observed, rewards of that size) SB3's default settings do not
    learn it: an agent has to see the drive's phase, and learns best from rewards near 1. `NBPendulumControl-v0` is the
    same pendulum made so: 20 physics steps per decision, `theta`, `theta_dot`, `sin_drive` and `cos_drive` observed,
    and a `reward_scale` of 1/20, so that a reward is the mean over the physics steps of its decision. All arguments
    can be given to it, too.

    ## Version history

    * v0: initial version.

    Args:
        frame_skip: Physics steps per decision, at least 1.
        episode_steps: Physics steps per episode, at least 1.
        observe: Names of the observed channels, see the table above.
        reward_scale: Factor of every reward, greater than 0.
        render_mode: None, "human" or "rgb_array".
        frame_size: Width and height of a rendered frame, pixels.
        **context: Context parameters, see the table above.

    Raises:
        TypeError: If a context parameter's name is unknown.
        ValueError: If an argument is not accepted; the message names it, its value and what is.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 100}  # noqa: RUF012  (Gymnasium's own annotation)

    def __init__(
        self,
        *,
        frame_skip: int = 1,
        episode_steps: int = 1000,
        observe: Iterable[str] = ("theta", "theta_dot"),
        reward_scale: float = 1.0,
        render_mode: str | None = None,
        frame_size: int = FRAME_SIZE,
        **context: Any,
    ) -> None:
        self._frame_skip = parse_count("frame_skip", frame_skip)
        self._episode_steps = parse_count("episode_steps", episode_steps)
        self.observe = parse_observe(observe)
        self.reward_scale = parse_scale("reward_scale", reward_scale)
        self.render_mode = parse_render_mode(render_mode, self.metadata["render_modes"])
        self._frame_size = parse_frame_size(frame_size)
        self._settings = parse_context(context)
        self.metadata = self.metadata | {"render_fps": real_time_fps(self._settings, self._frame_skip)}
        self.observation_space, self.action_space = make_spaces(self._settings, self.observe)
        self._drive: DriveSchedule | None = None
        self._steps = self._episode_steps  # as after an episode: a step needs a reset first

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Seed of `np_random`; None goes on with the generator as it is.
            options: Context parameters, `theta` (rad) and `theta_dot` (rad/s) for this episode only.

        Returns:
            Observation of shape `(len(observe),)` and the info.

        Raises:
            ValueError: If the seed or an option is not accepted; the episode before goes on unchanged.
        """
        seed = parse_seed(seed)
        settings = parse_options(options, self._settings)
        super().reset(seed=seed)
        self._begin(settings)
        if self.render_mode == "human":
            self.render()
        return self._observation(), self._info()

    def _begin(self, settings: dict[str, Setting]) -> None:
        theta, theta_dot, self._context = draw_episode(settings, self.np_random)
        self._theta, self._theta_dot = float(theta), float(theta_dot)
        self._steps = 0
        self._torque = 0.0
        self._return = 0.0
        if self._drive is None or not self._drive.holds_for(self._context):
            self._drive = DriveSchedule(self._context, self._episode_steps)
        self._context_info = self._context._asdict()
        self._max_torque = float(self._context.max_torque)

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Hold a torque for `frame_skip` physics steps, or for what is left of the episode.

        Args:
            action: Torque, shape `(1,)`, clipped to ±`max_torque`.

        Returns:
            Observation of shape `(len(observe),)`, sum of the rewards, False (never terminated), whether the episode is
            over, and the info.

        Raises:
            ResetNeeded: If no episode is running.
            ValueError: If the action has another shape or is not finite; the state stays as it was.
        """
        if self._drive is None or self._steps >= self._episode_steps:
            raise ResetNeeded("no episode is running: call reset() before step()")
        torque = self._torque = self._parse_action(action)
        drives = self._drive(self._steps, min(self._frame_skip, self._episode_steps - self._steps))
        theta, theta_dot, reward = dynamics.simulate(self._theta, self._theta_dot, torque, drives, self._context)
        self._theta, self._theta_dot, reward = float(theta), float(theta_dot), float(reward)
        self._steps += len(drives)
        self._return += reward
        if self.render_mode == "human":
            self.render()
        return self._observation(), reward * self.reward_scale, False, self._steps >= self._episode_steps, self._info()

    def _parse_action(self, action: Any) -> float:
        array = real_array(action)
        torque = float(array[0]) if array.shape == (1,) else math.nan
        if not math.isfinite(torque):
            raise ValueError(f"action must be one finite torque, an array of shape (1,), got {action!r}")
        limit = self._max_torque
        return limit if torque > limit else -limit if torque < -limit else torque

    def _observation(self) -> NDArray[np.float32]:
        state = (self._theta, self._theta_dot, self._steps, self._context)
        return np.array([CHANNELS[name](*state) for name in self.observe], dtype=np.float32)

    def _info(self) -> dict[str, Any]:
        return {"context": self._context_info.copy()}

    def _scene(self) -> PendulumScene:
        if self._drive is None:
            raise ResetNeeded("there is nothing to draw: call reset() before render()")
        context = self._context
        drive = context.A * dynamics.drive(self._steps, context)
        push = context.torque_gain * self._torque
        return PendulumScene(self._theta, float(drive), float(push), float(context.A), self._steps, self._return)

    @property
    def decisions(self) -> int:
        """Decisions per episode, the last of them shorter if `frame_skip` does not divide `episode_steps`."""
        return -(-self._episode_steps // self._frame_skip)

    @property
    def frame_skip(self) -> int:
        """Physics steps per decision; set when the environment is made."""
        return self._frame_skip

    @property
    def episode_steps(self) -> int:
        """Physics steps per episode; set when the environment is made."""
        return self._episode_steps

    @property
    def state(self) -> tuple[float, float]:
        """Angle θ (rad) and angular velocity θ̇ (rad/s) in full precision; `ResetNeeded` before the first reset."""
        self._check_begun("state")
        return self._theta, self._theta_dot

    @property
    def time(self) -> float:
        """Time since the start of the episode, s; `ResetNeeded` before the first reset."""
        self._check_begun("time")
        return self._steps * cast(float, self._context.dt)

    @property
    def context(self) -> Context:
        """The context parameters in force; `ResetNeeded` before the first reset."""
        self._check_begun("context")
        return self._context

    def _check_begun(self, name: str) -> None:
        if self._drive is None:
            raise NoEpisodeError(f"there is no {name} before the first episode: call reset() first")
