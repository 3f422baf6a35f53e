"""What scalar and vector class set up alike: robots of one kind, and what a user may set of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from nb_gym.context.settings import Setting
from nb_gym.mujoco.dynamics import Dynamics
from nb_gym.mujoco.observations import Sensors, observation_slices
from nb_gym.mujoco.parameters import DEFAULTS, REWARDS, RobotParameters, is_context
from nb_gym.mujoco.rewards import reward_parameters
from nb_gym.mujoco.robot import Robot
from nb_gym.mujoco.source import Source


@dataclass(frozen=True)
class Setup:
    """Robots of one kind.

    Attributes:
        robots: The robots.
        dynamics: What factors make of their models.
        parameters: The context parameters that may be set.
        settings: The context parameters as the user set them, and the defaults of others.
        sensors: The robots' sensors.
        spaces: Spaces of observations and actions of one robot.
        forward_weight: Weight of the forward reward.
        pays_velocity: Whether the reward has a part that a context can change.
    """

    robots: list[Robot]
    dynamics: Dynamics
    parameters: RobotParameters
    settings: dict[str, Setting]
    sensors: Sensors
    spaces: tuple[spaces.Box, spaces.Box]
    forward_weight: float
    pays_velocity: bool

    def parse_options(self, options: Any, num_envs: int | None = None) -> dict[str, Setting]:
        """Check the options of a reset, see `RobotParameters.parse_options`, and that models can be made of them."""
        settings = self.parameters.parse_options(options, self.settings, num_envs)
        if settings != self.settings if num_envs is None else options:
            check_sizes(self.dynamics, settings, num_envs)
        return settings


def check_sizes(dynamics: Dynamics, settings: Mapping[str, Setting], num_envs: int | None) -> None:
    """Compile the sizes that are set, and of ranges both ends.

    Raises:
        ValueError: If MuJoCo can compile no such model.
    """
    sizes = {name: setting for name, setting in settings.items() if name.startswith("size")}
    count = (num_envs or 1) if any(isinstance(setting, np.ndarray) for setting in sizes.values()) else 1
    for end in (0, 1):
        for i in range(count):
            dynamics.prepare({name: _one(setting, end, i) for name, setting in sizes.items()})


def _one(setting: Setting, end: int, i: int) -> float:
    if isinstance(setting, np.ndarray):
        return float(setting[i])
    return float(setting[end]) if isinstance(setting, tuple) else setting


def set_up(source: Source, num_envs: int | None, pictures: Mapping[str, Any], given: Mapping[str, Any]) -> Setup:
    """Make robots.

    Args:
        source: Kind of robot.
        num_envs: Number of robots, or None for a single one.
        pictures: Keyword arguments of the class that concern pictures.
        given: The user's keyword arguments: context parameters, and others of the robot's class.

    Raises:
        TypeError: If the class takes no such argument.
        ValueError: If a context parameter is not accepted.
    """
    explicit = _arguments(source.robot_class)
    context = {name: value for name, value in given.items() if is_context(name) and name not in explicit}
    kwargs = {name: value for name, value in given.items() if name not in context}
    try:
        *envs, probe = source.make((num_envs or 1) + 1, {**pictures, **kwargs})
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise TypeError(
            f"{error}: the robot's class takes {explicit}, and context parameters are {[*DEFAULTS, *REWARDS]}"
        ) from error
    found = _checked_spaces(source, probe)
    slices = observation_slices(probe, source.robot_class, found[0].shape[0])
    dynamics = Dynamics(probe.model, getattr(probe, "fullpath", None))
    parts = dynamics.parts | {"sensor": tuple(slices), "noise": tuple(slices)}
    probe.reset(seed=0)
    rewards = reward_parameters(probe.step(np.zeros(found[1].shape, found[1].dtype))[4])
    probe.close()
    parameters = RobotParameters(parts, rewards, taken=explicit)
    settings = parameters.parse(context, num_envs)
    check_sizes(dynamics, settings, num_envs)
    return Setup(
        robots=[Robot(env, dynamics) for env in envs],
        dynamics=dynamics,
        parameters=parameters,
        settings=settings,
        sensors=Sensors(slices, found[0].shape[0]),
        spaces=found,
        forward_weight=float(getattr(probe, "_forward_reward_weight", 1.0)),
        pays_velocity=bool(rewards),
    )


def _arguments(robot_class: type[Any]) -> list[str]:
    """The arguments of a class by name, those that it hands on to its bases included."""
    names: dict[str, None] = {}
    for base in robot_class.__mro__:
        if "__init__" in vars(base) and base is not object:
            parameters = inspect.signature(base.__init__).parameters.values()  # type: ignore[misc]
            names |= {
                each.name: None for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
            }
    return [name for name in names if name != "self"]


def _checked_spaces(source: Source, env: Any) -> tuple[spaces.Box, spaces.Box]:
    found = env.observation_space, env.action_space
    for what, space in zip(("observe", "act in"), found, strict=True):
        if not (isinstance(space, spaces.Box) and len(space.shape) == 1):
            raise ValueError(f"source must {what} a Box of one dimension, got {space} of {source.robot_class.__name__}")
    return found
