"""The last transitions, kept by whoever acts; in the form of `nb_gym.wrappers.HistoryObservation`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Window(NamedTuple):
    """What a student remembers of each of ``n`` environments.

    Attributes:
        rows: The last complete transitions, the latest last, shape ``(n, steps, 2 * n_observed + n_acted + 1)``:
            observation, action, change of the observation, and 1; zeros where there is none.
        observation: The last observation, shape ``(n, n_observed)``.
        action: What was done then, shape ``(n, n_acted)``; NaN where nothing was.
    """

    rows: Floats
    observation: Floats
    action: Floats


def empty(n: int, steps: int, n_observed: int, actions: spaces.Space[Any]) -> Window:
    """A window in which nothing has happened yet."""
    n_acted = spaces.flatdim(actions)
    rows = np.zeros((n, steps, 2 * n_observed + n_acted + 1), dtype=np.float32)
    return Window(rows, np.zeros((n, n_observed), dtype=np.float32), np.full((n, n_acted), np.nan, dtype=np.float32))


def seen(window: Window, observation: Floats, starts: NDArray[np.bool_]) -> Window:
    """The window with what the last actions have led to.

    Args:
        window: Window before.
        observation: Observations now, shape ``(n, n_observed)``.
        starts: Whether an episode begins with the observation, shape ``(n,)``.
    """
    rows, action = window.rows.copy(), window.action.copy()
    rows[starts], action[starts] = 0.0, np.nan
    acted = ~np.isnan(action).any(axis=1)
    change, ones = observation - window.observation, np.ones((len(rows), 1))
    latest = np.concatenate([window.observation, action, change, ones], axis=1, dtype=np.float32)
    rows[acted, :-1] = rows[acted, 1:]
    rows[acted, -1] = latest[acted]
    return Window(rows, observation, action)


def flat_actions(actions: NDArray[Any], space: spaces.Space[Any]) -> Floats:
    """Actions as the environment takes them, shape ``(n, n_acted)``: clipped to a `Box`, one-hot where discrete."""
    if isinstance(space, spaces.Box):
        clipped: Floats = np.clip(actions, space.low, space.high).reshape(len(actions), -1).astype(np.float32)
        return clipped
    return np.array([spaces.flatten(space, action) for action in actions], dtype=np.float32)
