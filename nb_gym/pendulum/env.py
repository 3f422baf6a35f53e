"""One driven pendulum: `gym.make("NBPendulum-v0")`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nb_gym.context.arguments import parse_count, parse_scale
from nb_gym.context.settings import Setting
from nb_gym.pendulum import dynamics
from nb_gym.pendulum.dynamics import CHANNELS, Context, DriveSchedule
from nb_gym.pendulum.pictures import PendulumScene
from nb_gym.pendulum.settings import PARAMETERS, draw_episode, make_spaces, parse_observe, parse_options, real_time_fps
from nb_gym.rendering import FRAME_SIZE
from nb_gym.scalar_base import ScalarBase


class NBPendulumEnv(ScalarBase):
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
        # The last decision is shorter where `frame_skip` does not divide `episode_steps`.
        super().__init__(-(-self._episode_steps // self._frame_skip), render_mode, frame_size)
        self.observe = parse_observe(observe)
        self.reward_scale = parse_scale("reward_scale", reward_scale)
        self._settings = PARAMETERS.parse(context)
        self.metadata = self.metadata | {"render_fps": real_time_fps(self._settings, self._frame_skip)}
        self._set_spaces(*make_spaces(self._settings, self.observe))
        self._drive: DriveSchedule | None = None

    def _parse_options(self, options: Any) -> dict[str, Setting]:
        return parse_options(options, self._settings)

    def _begin(self, settings: Mapping[str, Any]) -> None:
        drawn = draw_episode(settings, self.np_random)
        self._theta, self._theta_dot = float(drawn.pop("theta")), float(drawn.pop("theta_dot"))
        self._context = Context(**drawn)
        self._context_info = self._context._asdict()
        self._max_torque = float(self._context.max_torque)
        if self._drive is None or not self._drive.holds_for(self._context):
            self._drive = DriveSchedule(self._context, self._episode_steps)
        self._steps = 0
        self._torque = 0.0

    def _advance(self, action: NDArray[Any]) -> tuple[float, bool]:
        assert self._drive is not None
        torque, limit, steps = float(action.item()), self._max_torque, self._steps
        torque = self._torque = limit if torque > limit else -limit if torque < -limit else torque
        skip, left = self._frame_skip, self._episode_steps - steps
        drives = self._drive(steps, skip if skip < left else left)
        theta, theta_dot, reward = dynamics.simulate(self._theta, self._theta_dot, torque, drives, self._context)
        self._theta, self._theta_dot = float(theta), float(theta_dot)
        self._steps = steps + len(drives)
        return float(reward) * self.reward_scale, False

    def _observation(self) -> NDArray[np.float32]:
        state = (self._theta, self._theta_dot, self._steps, self._context)
        return np.array([CHANNELS[name](*state) for name in self.observe], dtype=np.float32)

    def _facts(self) -> dict[str, Any]:
        return {"context": self._context_info.copy()}

    def _scene(self) -> PendulumScene:
        context = self._context
        drive, push = context.A * dynamics.drive(self._steps, context), context.torque_gain * self._torque
        earned = self._return / self.reward_scale
        return PendulumScene(self._theta, float(drive), float(push), float(context.A), self._steps, earned)

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
