"""One simulated robot under a context, and what happens where its simulation fails."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np
from gymnasium.error import Error
from numpy.typing import NDArray

from nb_gym.mujoco.dynamics import Dynamics

_WARNINGS = mujoco.mjtWarning
_FAILURES = [int(each) for each in (_WARNINGS.mjWARN_BADQPOS, _WARNINGS.mjWARN_BADQVEL, _WARNINGS.mjWARN_BADQACC)]
_HUGE: float = mujoco.mjMAXVAL


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

        Raises:
            gymnasium.error.Error: If the class has made itself another model, which has no context, or the start is
                none that can be simulated.
            ValueError: If there is no model of the sizes in the context.
        """
        if context != self._factors:
            self._dynamics.apply(self.model, self.data, context, self._factors)
            self._factors = dict(context)
        self.warnings[:] = 0
        self.env.np_random = rng
        observation, info = self.env.reset()
        if self.env.model is not self.model or self.env.data is not self.data:
            raise Error(
                f"{type(self.env).__name__} makes a new model or data in its reset: these would have no context"
            )
        if not is_sound(self.data.qpos[None], self.data.qvel[None])[0]:
            raise Error(f"{type(self.env).__name__} starts with NaN or a huge number, with the context {dict(context)}")
        return observation, own(info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Make one decision as the robot's own class does."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, float(reward), bool(terminated), bool(truncated), own(info)

    @property
    def failed(self) -> bool:
        """Whether the simulation has failed in the last decision."""
        return bool((~is_sound(self.data.qpos[None], self.data.qvel[None]) | have_warned(self.warnings[None]))[0])


def is_sound(positions: NDArray[Any], velocities: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether the numbers of states, shapes `(n, nq)` and `(n, nv)`, are ones that MuJoCo takes for such."""
    sound: Any = (np.abs(positions) < _HUGE).all(axis=1) & (np.abs(velocities) < _HUGE).all(axis=1)
    return np.asarray(sound)


def have_warned(numbers: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether MuJoCo found NaN or a huge number in states, which it has reset then.

    Args:
        numbers: `Robot.warnings` of each, shape `(n, …)`.
    """
    return np.asarray((numbers[:, _FAILURES] > 0).any(axis=1))


def warn_of_failure(which: str, context: Mapping[str, Any], step: int) -> None:
    """Warn that an episode was truncated since the simulation failed."""
    warnings.warn(
        f"{which}: the simulation gave NaN, infinity or a huge number in step {step} of the episode with the context "
        f"{dict(context)}; the episode is truncated there",
        RuntimeWarning,
        stacklevel=2,
    )


def own(info: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an info without a context: some of Gymnasium's robots put views of the running simulation into it."""
    copied = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in info.items()}
    copied.pop("context", None)
    return copied


def gathered(infos: Sequence[Mapping[str, Any]]) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[np.bool_]]]:
    """Gather the infos of many robots: arrays by name, of objects where values differ in shape, and who has each."""
    names = dict.fromkeys(name for info in infos for name in info)
    values, reported = {}, {}
    for name in names:
        reported[name] = np.array([name in info for info in infos])
        shapes = {np.shape(info[name]) for info in infos if name in info}
        if len(shapes) > 1:
            values[name] = np.array([None] * len(infos), dtype=object)
            for i in np.flatnonzero(reported[name]).tolist():
                values[name][i] = infos[i][name]
        else:
            empty = np.zeros_like(next(info[name] for info in infos if name in info))
            values[name] = np.array([info.get(name, empty) for info in infos])
    return values, reported
