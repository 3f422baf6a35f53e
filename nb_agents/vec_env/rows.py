"""What tells the robots of a vector environment apart: the row of each, beside what it observes."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

ROW = "row"
"""Name of the part that says which row of the vector environment an observation is from."""


class RowObservation(VecEnvWrapper):
    """Shows each environment its row, as ``num_envs`` numbers of which one is 1 and the others are 0.

    The row becomes the last part of a flat observation, or a further entry of a dictionary; the policy of a
    `nb_agents.fleet` takes its k's from it. Last observations of episodes have it, too.

    Args:
        venv: Environments whose observations are flat or a dictionary.

    Raises:
        TypeError: If ``venv`` is no SB3 `VecEnv`.
        ValueError: If it shows something else, or a row already.
    """

    def __init__(self, venv: VecEnv) -> None:
        if not isinstance(venv, VecEnv):
            raise TypeError(f"venv must be an SB3 VecEnv, got {type(venv).__name__}")
        self._rows = np.eye(venv.num_envs, dtype=np.float32)
        super().__init__(venv, observation_space=_with_row(venv.observation_space, venv.num_envs))

    def reset(self) -> VecEnvObs:
        """Reset every environment; see SB3's."""
        observations: VecEnvObs = self._joined(self.venv.reset(), self._rows)
        return observations

    def step_wait(self) -> VecEnvStepReturn:
        """Finish the step; see SB3's."""
        observations, rewards, dones, infos = self.venv.step_wait()
        for i in np.flatnonzero(dones):
            infos[i]["terminal_observation"] = self._joined(infos[i]["terminal_observation"], self._rows[i])
        return self._joined(observations, self._rows), rewards, dones, infos

    @staticmethod
    def _joined(observations: Any, rows: np.ndarray) -> Any:
        if isinstance(observations, dict):
            return observations | {ROW: rows}
        return np.concatenate([observations, rows.astype(observations.dtype, copy=False)], axis=-1)


def _with_row(space: spaces.Space[Any], num_envs: int) -> spaces.Space[Any]:
    row = spaces.Box(0.0, 1.0, (num_envs,), np.float32)
    names = space.spaces if isinstance(space, spaces.Dict) else getattr(space, "parts", {})
    if ROW in names:
        raise ValueError(f"venv must not show a part {ROW!r} already, got {space}")
    if isinstance(space, spaces.Dict):
        return spaces.Dict({**space.spaces, ROW: row})
    if not isinstance(space, spaces.Box) or len(space.shape) != 1:
        raise ValueError(f"venv must show flat observations or a dictionary, got {space}")
    width, kind = space.shape[0], space.low.dtype.type
    low, high = (np.concatenate(ends).astype(kind) for ends in ((space.low, row.low), (space.high, row.high)))
    joined: Any = spaces.Box(low, high, dtype=kind)
    joined.parts = {**(names or {"observation": slice(0, width)}), ROW: slice(width, width + num_envs)}
    return joined  # type: ignore[no-any-return]
