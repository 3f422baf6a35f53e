"""One robot whose dynamics are arguments: `gym.make("NBHalfCheetah-v0", mass_torso=4.0)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from nb_gym.context.arguments import parse_count, parse_frame_size, parse_render_mode
from nb_gym.context.settings import Setting, draw
from nb_gym.mujoco.pictures import MODES, RobotScene, draw_robot
from nb_gym.mujoco.rewards import adjusted, is_usual
from nb_gym.mujoco.robot import warn_of_failure
from nb_gym.mujoco.setup import set_up
from nb_gym.mujoco.source import find_source
from nb_gym.rendering import FRAME_SIZE
from nb_gym.scalar_base import ScalarBase


class NBMujocoEnv(EzPickle, ScalarBase):
    """A robot of Gymnasium's MuJoCo environments whose dynamics, sensors and reward are arguments.

    ## Description

    `NBHalfCheetah-v0`, `NBHopper-v0`, `NBWalker2d-v0`, `NBAnt-v0`, `NBHumanoid-v0`, `NBInvertedDoublePendulum-v0` and
    `NBReacher-v0` are Gymnasium's v5 robots, bit for bit while no context parameter is set; their pages say what is
    observed, done and rewarded. `source` makes the same of any other class of `MujocoEnv`, or of a model's XML:

        NBMujocoEnv("Swimmer-v5", friction=("log", 0.5, 2.0))
        NBMujocoEnv(MyRobotEnv, mass_arm=2.0)
        NBMujocoEnv("my_robot.xml", frame_skip=5, reward=lambda env, action: env.data.qvel[0])

    ## Context

    A parameter is a number, a `(low, high)` range, or a `("log", low, high)` range whose logarithm is drawn uniformly;
    ranges are drawn afresh at each reset. Factors are of the model as its file says it is, at every reset.

    | Name                | Default | Accepted | Meaning                                                              |
    | ------------------- | ------- | -------- | -------------------------------------------------------------------- |
    | `gravity`           | 1       | any      | factor of the gravity                                                |
    | `friction`          | 1       | ≥ 0      | factor of all coefficients of all surfaces, the ground's too         |
    | `friction_<body>`   | 1       | ≥ 0      | factor of one body's; of two surfaces that touch the larger counts   |
    | `mass`              | 1       | > 0      | factor of all masses, and of the inertias that follow from them      |
    | `mass_<body>`       | 1       | > 0      | factor of one body's                                                 |
    | `size`              | 1       | > 0      | factor of the `size` of all bodies' geoms, as if written in the XML  |
    | `size_<body>`       | 1       | > 0      | factor of one body's; masses follow as the XML says                  |
    | `damping`           | 1       | ≥ 0      | factor of the damping of all joints                                  |
    | `damping_<joint>`   | 1       | ≥ 0      | factor of one joint's                                                |
    | `armature`          | 1       | ≥ 0      | factor of the rotor inertia of all joints                            |
    | `armature_<joint>`  | 1       | ≥ 0      | factor of one joint's                                                |
    | `gain`              | 1       | any      | factor of the force of all actuators: −1 inverts, 0 cripples         |
    | `gain_<actuator>`   | 1       | any      | factor of one actuator's                                             |
    | `sensor`            | 1       | any      | factor of all observations: 0 loses them                             |
    | `sensor_<obs>`      | 1       | any      | factor of one observation                                            |
    | `noise`             | 0       | ≥ 0      | standard deviation of Gaussian noise on all observations             |
    | `noise_<obs>`       | 0       | ≥ 0      | that of noise on one observation, added to the common one            |
    | `direction`         | 1       | 1 or −1  | −1 pays for velocity backwards                                       |
    | `heading`           | 0       | rad      | rewarded way, to the left of the x-axis; Ant and Humanoid            |
    | `target_velocity`   |         | m/s      | velocity v* that is paid for: −abs(v − v*) in place of v             |

    Common and single factors multiply. Limits of joints and of their forces stay; those of a servo's force are scaled
    with its gain. `gain` cannot be set where a muscle is among the actuators, nor `mass`, `size` and `armature` where
    the file states a `dampratio` or `springdamper`, which MuJoCo resolves with the masses as it compiles, nor `size`
    where compiling the file again does not give the model. `friction_<body>` leaves explicit pairs of geoms.

    The names of bodies, joints, actuators and observations are the model's:
    `parts` lists them. The last three are of robots that report the velocity that they are paid for.

    ## Episode end

    As the robot's class says, and by truncation after `episode_steps` decisions. If MuJoCo finds NaN or a huge number
    in the state, it resets it; such an episode is truncated, with the observation before, a reward of 0, a
    `RuntimeWarning` and `info["simulation_failed"]`. A step after the end raises `gymnasium.error.ResetNeeded`.

    ## Information

    `info["context"]` maps each context parameter to its value in force: those of the whole robot, and those of single
    parts that were given. The other entries are the robot's own.

    ## Version history

    * v0: initial version.

    Args:
        source: Class of `gymnasium.envs.mujoco.MujocoEnv`, id or address "module:Class" of one, or path of an XML; see
            `ModelEnv` for its arguments.
        episode_steps: Decisions per episode, at least 1; None for as many as the source's id has, else 1000.
        render_mode: None, "human" or "rgb_array".
        frame_size: Width and height of a rendered frame, pixels.
        **kwargs: Context parameters, and arguments of the robot's class, such as `ctrl_cost_weight`.

    Raises:
        DependencyNotInstalled: If MuJoCo is missing.
        TypeError: If an argument's name is unknown.
        ValueError: If an argument is not accepted; the message names it, its value and what is.
    """

    metadata: dict[str, Any] = {"render_modes": list(MODES), "render_fps": 20}  # noqa: RUF012  (Gymnasium's own annotation)

    def __init__(
        self,
        source: Any,
        *,
        episode_steps: int | None = None,
        render_mode: str | None = None,
        frame_size: int = FRAME_SIZE,
        **kwargs: Any,
    ) -> None:
        arguments = {"episode_steps": episode_steps, "render_mode": render_mode, "frame_size": frame_size}
        EzPickle.__init__(self, source, **arguments, **kwargs)
        found = find_source(source)
        ScalarBase.__init__(
            self,
            parse_count("episode_steps", found.decisions if episode_steps is None else episode_steps),
            parse_render_mode(render_mode, MODES),
            parse_frame_size(frame_size),
        )
        self._setup = set_up(found, None, picture_arguments(render_mode, frame_size), kwargs)
        self._settings = self._setup.settings
        self._robot = self._setup.robots[0]
        self.metadata = self.metadata | {"render_fps": round(1.0 / self._robot.env.dt)}
        self._set_spaces(*self._setup.spaces)
        self._context: dict[str, float] = {}

    def _parse_options(self, options: Any) -> Mapping[str, Setting]:
        return self._setup.parse_options(options)

    def _begin(self, settings: Mapping[str, Any]) -> None:
        self._context = {name: float(draw(setting, self.np_random)) for name, setting in settings.items()}
        observation, self._told = self._robot.begin(self._context, self.np_random)
        self._usual_reward = not self._setup.pays_velocity or bool(is_usual(self._context))
        self._blur = self._setup.sensors.blur(self._context, self.np_random)
        self._shown = observation if self._blur is None else self._blur(observation)

    def _advance(self, action: NDArray[Any]) -> tuple[float, bool]:
        observation, reward, terminated, self._cut, self._told = self._robot.step(action)
        if self._robot.failed:
            warn_of_failure(type(self._robot.env).__name__, self._context, self._elapsed + 1)
            self._cut, self._told = True, {"simulation_failed": True}
            return 0.0, False
        if not self._usual_reward:
            reward = float(adjusted(reward, self._told, self._context, self._setup.forward_weight))
        self._shown = observation if self._blur is None else self._blur(observation)
        return reward, terminated

    def _observation(self) -> NDArray[Any]:
        return np.array(self._shown)

    def _facts(self) -> dict[str, Any]:
        return {**self._told, "context": self._context.copy()}

    def _scene(self) -> RobotScene:
        return RobotScene(draw_robot(self._robot.env), self._context, self._elapsed, self._return)

    def close(self) -> None:
        """Close the window and what draws; may be called again."""
        super().close()
        self._robot.env.close()

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """The names of the parts that each parameter may name, by the parameter."""
        return self._setup.parameters.parts

    @property
    def context(self) -> dict[str, float]:
        """The context parameters in force; `ResetNeeded` before the first reset."""
        self._check_begun("context")
        return self._context.copy()

    @property
    def robot(self) -> Any:
        """The environment of Gymnasium's that is simulated; its `model` and `data` are MuJoCo's."""
        return self._robot.env


def picture_arguments(render_mode: str | None, frame_size: int) -> dict[str, Any]:
    """The arguments of Gymnasium's class that make it draw a picture of a size when it is asked to."""
    return {} if render_mode is None else {"render_mode": "rgb_array", "width": frame_size, "height": frame_size}
