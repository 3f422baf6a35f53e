"""The last transitions of many environments, as an observation."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from nb_gym.context.arguments import parse_count
from nb_gym.wrappers.parts import bounded, own_part, own_space


class History:
    """The last complete transitions of `num_envs` environments, the latest one last.

    A transition is the observation, the action as the environment takes it (clipped to a `Box`, one-hot where it is
    discrete), the change of the observation, and a 1; rows without a transition are 0. It is empty at the start of an
    episode.

    Args:
        num_envs: Number of environments.
        steps: Number of transitions, at least 1.
        observations: Space of a single environment's observations; of parts, the environment's own counts.
        actions: Space of a single environment's actions.

    Raises:
        ValueError: If `steps` is no number, there is no observation of one dimension, or actions are of another kind.
    """

    _ACTED = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)

    def __init__(self, num_envs: int, steps: int, observations: spaces.Space[Any], actions: spaces.Space[Any]) -> None:
        if not isinstance(actions, self._ACTED):
            known = ", ".join(each.__name__ for each in self._ACTED)
            raise ValueError(f"the actions must be of one of {known}, got {actions}")
        self._observations, self._actions = observations, actions
        self._own = own_space(observations)
        self._n_observed, self._n_acted = self._own.shape[0], spaces.flatdim(actions)
        shape = num_envs, parse_count("steps", steps), 2 * self._n_observed + self._n_acted + 1
        self._rows = np.zeros(shape, dtype=np.float32)
        self._latest = np.zeros((num_envs, self._n_observed))

    @property
    def space(self) -> spaces.Box:
        """The space of one environment's history, flattened: `steps` rows of `2 * n_observed + n_acted + 1` numbers."""
        one_hot = bounded(np.zeros(self._n_acted), np.ones(self._n_acted))
        acted = self._actions if isinstance(self._actions, spaces.Box) else one_hot
        low, high = self._own.low.astype(np.float64), self._own.high.astype(np.float64)
        lows = np.concatenate([low, np.ravel(acted.low), low - high, [0.0]])
        highs = np.concatenate([high, np.ravel(acted.high), high - low, [1.0]])
        steps = self._rows.shape[1]
        return bounded(np.tile(np.minimum(lows, 0.0), steps), np.tile(np.maximum(highs, 0.0), steps))

    def begin(self, observations: Any, rows: NDArray[np.bool_] | slice = slice(None)) -> None:
        """Begin episodes, of which nothing is known but the first observation."""
        self._rows[rows] = 0.0
        self._latest[rows] = own_part(self._observations, observations)[rows]

    def add(self, actions: Any, observations: Any, rows: NDArray[np.bool_] | slice = slice(None)) -> None:
        """Take in what the environments answered to their actions."""
        after = own_part(self._observations, observations)
        taken = self._flat(actions)
        self._rows[rows, :-1] = self._rows[rows, 1:]
        n, m = self._n_observed, self._n_acted
        last = self._rows[:, -1]
        last[rows, :n] = self._latest[rows]
        last[rows, n : n + m] = taken[rows]
        last[rows, n + m : -1] = (after - self._latest)[rows]
        last[rows, -1] = 1.0
        self._latest[rows] = after[rows]

    def read(self) -> NDArray[np.float32]:
        """The histories, flattened, a copy of shape `(num_envs, n)`."""
        return self._rows.reshape(len(self._rows), -1).copy()

    def _flat(self, actions: Any) -> NDArray[Any]:
        """Actions as the environments take them, shape `(num_envs, n_acted)`."""
        if isinstance(self._actions, spaces.Box):
            clipped = np.clip(actions, self._actions.low, self._actions.high)
            flat: NDArray[Any] = clipped.reshape(len(self._rows), -1)
            return flat
        return np.array([spaces.flatten(self._actions, action) for action in actions])
