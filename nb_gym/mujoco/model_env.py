"""An environment of a bare MuJoCo model: what `NBMujocoEnv("robot.xml")` simulates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco import MujocoEnv
from numpy.typing import NDArray


class ModelEnv(MujocoEnv):
    """A model's positions and velocities as observation, and a reward that functions of the environment give.

    Args:
        xml_file: Path of the model.
        frame_skip: Steps of the simulation for each decision, at least 1.
        reward: Function of this environment and the action, after the step; it may read `data`, `model` and `dt`. The
            reward is 0 without one.
        terminated: Function of this environment, after the step; no episode terminates without one.
        observe: Function of this environment that returns numbers, in place of positions and velocities.
        observation_names: Names of what `observe` returns.
        reset_noise_scale: Bound of what is added to each position and velocity of the model's own start, uniformly.
        **kwargs: Keyword arguments of Gymnasium's `MujocoEnv`.
    """

    def __init__(
        self,
        xml_file: str | PathLike[str],
        frame_skip: int = 1,
        *,
        reward: Callable[[ModelEnv, Any], float] | None = None,
        terminated: Callable[[ModelEnv], bool] | None = None,
        observe: Callable[[ModelEnv], Any] | None = None,
        observation_names: Sequence[str] | None = None,
        reset_noise_scale: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self._reward, self._terminated, self._observe = reward, terminated, observe
        self._reset_noise_scale = reset_noise_scale
        super().__init__(str(Path(fspath(xml_file)).resolve()), frame_skip, observation_space=None, **kwargs)
        size = len(self._observation())
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)
        self.observation_names = observation_names
        if observe is None:
            self.observation_structure = {"skipped_qpos": 0, "qpos": self.model.nq, "qvel": self.model.nv}

    def _observation(self) -> NDArray[np.float64]:
        if self._observe is not None:
            return np.array(self._observe(self), dtype=np.float64).ravel()
        return self.state_vector()

    def reset_model(self) -> NDArray[np.float64]:
        """Draw a start around the model's own."""
        scale, draw = self._reset_noise_scale, self.np_random.uniform
        positions = self.init_qpos + draw(-scale, scale, self.model.nq)
        velocities = self.init_qvel + draw(-scale, scale, self.model.nv)
        self.set_state(positions, velocities)  # type: ignore[no-untyped-call]
        return self._observation()

    def step(self, action: Any) -> tuple[NDArray[np.float64], Any, bool, bool, dict[str, Any]]:
        """Simulate one decision."""
        self.do_simulation(action, self.frame_skip)
        reward = 0.0 if self._reward is None else float(self._reward(self, action))
        over = self._terminated is not None and bool(self._terminated(self))
        return self._observation(), reward, over, False, {}
