"""One simulated robot under a context, and what scalar and vector class set up alike."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces

from nb_gym.mujoco.dynamics import Dynamics
from nb_gym.mujoco.observations import Sensors, observation_slices
from nb_gym.mujoco.parameters import DEFAULTS, REWARDS, RobotParameters, is_context
from nb_gym.mujoco.rewards import reward_parameters
from nb_gym.mujoco.source import Source

_WARNINGS = mujoco.mjtWarning
_FAILURES = [int(each) for each in (_WARNINGS.mjWARN_BADQPOS, _WARNINGS.mjWARN_BADQVEL, _WARNINGS.mjWARN_BADQACC)]


class Robot:
    """An environment of Gymnasium's `MujocoEnv` whose model follows a context.

    Args:
        env: The environment.
        dynamics: What factors make of its model.
    """

    def __init__(self, env: Any, dynamics: Dynamics) -> None:
        self.env = env
        self.model, self.data = env.model, env.data
        self.warnings = env.data.warning.number
        self._dynamics = dynamics
        self._factors: Mapping[str, float] = {}

    def begin(self, context: Mapping[str, float], rng: np.random.Generator) -> tuple[Any, dict[str, Any]]:
        """Begin an episode as the robot's own class does.

        Args:
            context: Parameters in force.
            rng: Generator of what the class draws.

        Returns:
            Observation and info of the class.
        """
        if context != self._factors:
            self._dynamics.apply(self.model, self.data, context, self._factors)
            self._factors = dict(context)
        self.env.np_random = rng
        observation, info = self.env.reset()
        return observation, own(info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Make one decision as the robot's own class does."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, float(reward), bool(terminated), bool(truncated), own(info)


def failed(numbers: Any) -> Any:
    """Whether the simulation gave a number that is none, or is huge; MuJoCo has reset the state then.

    Args:
        numbers: `Robot.warnings`, or a stack of those of many.
    """
    return (numbers[..., _FAILURES] > 0).any(axis=-1)


def warn_of_failure(which: str, context: Mapping[str, Any], step: int) -> None:
    """Warn that an episode was truncated since the simulation failed."""
    warnings.warn(
        f"{which}: the simulation gave NaN, infinity or a huge number in step {step} of the episode with the context "
        f"{dict(context)}; the episode is truncated there",
        RuntimeWarning,
        stacklevel=2,
    )


def own(info: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an info: some of Gymnasium's robots put views of the running simulation into theirs."""
    return {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in info.items()}


@dataclass(frozen=True)
class Crew:
    """Robots of one kind, and what a user may set of them.

    Attributes:
        robots: The robots.
        parameters: Their context parameters.
        settings: The arguments that are no context parameters were given to the class; these are those that are.
        sensors: Their sensors.
        spaces: Spaces of observations and actions of one robot.
        forward_weight: Weight of the forward reward.
        pays_velocity: Whether the reward has a part that a context can change.
    """

    robots: list[Robot]
    parameters: RobotParameters
    settings: dict[str, Any]
    sensors: Sensors
    spaces: tuple[spaces.Box, spaces.Box]
    forward_weight: float
    pays_velocity: bool


def set_up(source: Source, num_envs: int | None, pictures: Mapping[str, Any], given: Mapping[str, Any]) -> Crew:
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
    explicit = inspect.signature(source.robot_class.__init__).parameters
    context = {name: value for name, value in given.items() if is_context(name) and name not in explicit}
    kwargs = {name: value for name, value in given.items() if name not in context}
    try:
        envs = source.make(num_envs or 1, {**pictures, **kwargs})
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        accepted = [name for name in explicit if name not in ("self", "args", "kwargs")]
        raise TypeError(
            f"{error}: the robot's class takes {accepted}, and context parameters are {[*DEFAULTS, *REWARDS]}"
        ) from error
    first = envs[0]
    space = first.observation_space
    if not (isinstance(space, spaces.Box) and len(space.shape) == 1):
        raise ValueError(f"source must observe a Box of one dimension, got {space} of {source.robot_class.__name__}")
    slices = observation_slices(first, space.shape[0])
    dynamics = Dynamics(first.model, getattr(first, "fullpath", None))
    first.reset(seed=0)
    rewards = reward_parameters(first.step(np.zeros(first.action_space.shape, first.action_space.dtype))[4])
    parts = dynamics.parts | {"sensor": tuple(slices), "noise": tuple(slices)}
    parameters = RobotParameters(parts, rewards)
    return Crew(
        robots=[Robot(env, dynamics) for env in envs],
        parameters=parameters,
        settings=parameters.parse(context, num_envs),
        sensors=Sensors(slices, space.shape[0]),
        spaces=(space, first.action_space),
        forward_weight=float(getattr(first, "_forward_reward_weight", 1.0)),
        pays_velocity=bool(rewards),
    )
