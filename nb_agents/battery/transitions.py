"""Recent behaviour: what was observed, what was done, and what was observed then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.spaces.utils import flatten
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

FIELDS = ("observations", "actions", "next_observations")


@dataclass(frozen=True)
class Transitions:
    """Steps in one task, in any order; arrays or tensors.

    ``next_observations`` are what each step led to. At an episode's end that is the final observation and not the next
    episode's first. SB3's ``ReplayBufferSamples`` have the same fields and may be passed in the place of this.

    Attributes:
        observations: As the policy sees them, shape ``(n, *observation_shape)``.
        actions: The policy's actions, shape ``(n, *action_shape)``.
        next_observations: Shape ``(n, *observation_shape)``.
        rewards: Shape ``(n,)`` or ``(n, 1)``; None if tasks are to be told apart without them.
    """

    observations: Any
    actions: Any
    next_observations: Any
    rewards: Any = None


@dataclass(frozen=True)
class Table:
    """Transitions as numbers, one row each.

    Attributes:
        inputs: Observation and action, shape ``(n, n_inputs)``.
        outputs: What the step adds to the observation, and the reward where it is known: ``(n, n_observed [+ 1])``.
        n_observed: Numbers in an observation.
    """

    inputs: Numbers
    outputs: Numbers
    n_observed: int


def tabulate(transitions: Any, network: Any, least: int) -> Table:
    """Check transitions and bring them into the form that a model of the dynamics takes.

    Args:
        transitions: `Transitions` or something with its fields.
        network: The policy, whose spaces they have to be of; any other module has none, and rows are what they are.
        least: The fewest transitions that are accepted.

    Raises:
        TypeError: If a field is missing or holds no numbers, or observations are no arrays.
        ValueError: If there are too few, their shapes are not the policy's, or a number is not finite.
    """
    observed, space = getattr(network, "observation_space", None), getattr(network, "action_space", None)
    if isinstance(observed, spaces.Dict):
        raise TypeError(f"transitions.observations must be arrays, got a policy that observes {observed}")
    before, action, after = (_rows(name, getattr(transitions, name, None)) for name in FIELDS)
    n = len(before)
    if n < least:
        raise ValueError(f"transitions must be at least {least}, got {n}")
    for name, rows, shape in (
        ("observations", before, None if observed is None else observed.shape),
        ("actions", action, None if space is None else space.shape),
        ("next_observations", after, before.shape[1:]),
    ):
        if len(rows) != n or (shape is not None and rows.shape[1:] not in (shape, shape or (1,))):
            expected = f"{n}, ..." if shape is None else ", ".join(map(str, (n, *shape)))
            raise ValueError(f"transitions.{name} must have shape ({expected}), got {rows.shape}")
    before, after = before.reshape(n, -1), after.reshape(n, -1)
    columns = [after - before]
    if getattr(transitions, "rewards", None) is not None:
        reward = _rows("rewards", transitions.rewards)
        if reward.shape not in ((n,), (n, 1)):
            raise ValueError(f"transitions.rewards must have shape ({n},) or ({n}, 1), got {reward.shape}")
        columns.append(reward.reshape(n, 1))
    return Table(np.hstack([before, _as_numbers(action, space)]), np.hstack(columns), before.shape[1])


def _rows(name: str, values: Any) -> Numbers:
    if values is None or isinstance(values, Mapping):
        raise TypeError(f"transitions.{name} must be an array or a tensor, got {values!r:.200}")
    try:
        rows = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"transitions.{name} must hold numbers, got {values!r:.200}") from None
    if not rows.ndim:
        raise ValueError(f"transitions.{name} must have a row for each transition, got {values!r}")
    if not np.isfinite(rows).all():
        raise ValueError(f"transitions.{name} must be finite, got {rows[~np.isfinite(rows)][0]}")
    return rows


def _as_numbers(actions: Numbers, space: Any) -> Numbers:
    """Actions as the environment takes them: within their bounds, and one-hot where they are choices."""
    n = len(actions)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        rows = actions.reshape((n, *(space.shape or ())))
        if not all(space.contains(row.astype(space.dtype)) for row in rows) or (rows % 1).any():
            raise ValueError(f"transitions.actions must be of {space}, got {actions.reshape(n, -1).tolist()[:3]}, ...")
        return np.stack([np.asarray(flatten(space, row.astype(space.dtype)), np.float64) for row in rows])
    if isinstance(space, spaces.Box):
        actions = np.clip(actions, space.low, space.high)
    return actions.reshape(n, -1)
