"""The task of `Navigation2D-v0`: how points move, what they are paid, and what a user may set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from nb_gym.context.arguments import parse_mapping, real_array
from nb_gym.context.settings import BoolArray

FloatArray: TypeAlias = NDArray[np.float64]

STEP_LIMIT = 0.1
"""Largest move along an axis in one step."""
GOAL_RANGE = 0.5
"""Goals that are drawn are uniform in ±GOAL_RANGE along each axis."""
GOAL_SIZE = 0.01
"""The episode ends when the point is closer than this to the goal along both axes."""
LARGEST_GOAL = 1e308
"""Largest coordinate of a goal; from farther away the distance would be no finite number."""
_FAR = 1e150  # squares of larger coordinates are no finite numbers


def navigate(
    position: FloatArray, move: NDArray[Any], goal: FloatArray, far: bool = False
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Move any number of points by one step.

    Args:
        position: Their positions, shape `(..., 2)`.
        move: Their moves, clipped to ±`STEP_LIMIT` along each axis, shape `(..., 2)`.
        goal: Their goals, shape `(..., 2)`.
        far: Whether some are so far away that their squares overflow, see `is_far`.

    Returns:
        The new positions, shape `(..., 2)`; the rewards, minus the distance to the goal; and whether it is reached.
    """
    position = position + np.minimum(np.maximum(move.astype(np.float64), -STEP_LIMIT), STEP_LIMIT)
    offset = position - goal
    x, y = offset[..., 0], offset[..., 1]
    reached = (np.abs(x) < GOAL_SIZE) & (np.abs(y) < GOAL_SIZE)
    if far:
        with np.errstate(over="ignore"):
            distance = np.sqrt(x * x + y * y)
        # Not for all: the two differ in the last bit.
        return position, -np.where(np.isinf(distance), np.hypot(x, y), distance), reached
    return position, -np.sqrt(x * x + y * y), reached


def is_far(goal: FloatArray) -> bool:
    """Say whether one of the goals, of any shape, is so far away that its square overflows."""
    return bool(np.abs(goal).max() > _FAR)


def make_spaces() -> tuple[spaces.Box, spaces.Box]:
    """Make observation and action space of one point."""
    observation = spaces.Box(-np.inf, np.inf, (2,), dtype=np.float32)
    return observation, spaces.Box(-STEP_LIMIT, STEP_LIMIT, (2,), dtype=np.float32)


def draw_goals(rng: np.random.Generator, size: int) -> FloatArray:
    """Draw goals uniform in ±`GOAL_RANGE`, shape `(size, 2)`."""
    return rng.uniform(-GOAL_RANGE, GOAL_RANGE, size=(size, 2))


def parse_goal(goal: Any, num_envs: int | None = None) -> FloatArray | None:
    """Check a goal, or one for each of `num_envs` points; the array is a new one."""
    if goal is None:
        return None
    shapes = [(2,)] if num_envs is None else [(2,), (num_envs, 2)]
    with np.errstate(over="ignore"):  # what no float64 holds is infinite, and refused below
        array = real_array(goal).astype(np.float64)
    if array.shape not in shapes or not (np.abs(array) <= LARGEST_GOAL).all():
        raise ValueError(
            f"goal must be finite, at most {LARGEST_GOAL:.0e} in absolute value, and of shape "
            f"{' or '.join(map(str, shapes))}, or None, got {goal!r}"
        )
    return array


def parse_options(
    options: Any, settings: Mapping[str, FloatArray | None], num_envs: int | None = None
) -> dict[str, FloatArray | None]:
    """Check the options of a reset; without a goal in them that of the environment holds."""
    options = parse_mapping(options)
    for name in options:
        if name != "goal":
            raise ValueError(f"unknown reset option {name!r}; accepted is 'goal'")
    goal = parse_goal(options.get("goal"), num_envs)
    return {"goal": settings["goal"] if goal is None else goal}
