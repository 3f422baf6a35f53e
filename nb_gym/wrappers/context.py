"""The context as numbers that a policy can read: chosen parameters, scaled by their ranges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from nb_gym.wrappers.parts import bounded

FAR = 3.0
"""Distance from the middle of a range, in halves of it, from which on a value is far outside."""

LIMIT = 1e6
"""Bound of the scaled values in the observation space."""

Parameters = Mapping[str, tuple[float, float]] | Iterable[str] | None


class ContextScale:
    """Scales parameters of the context so that their ranges become [−1, 1].

    Args:
        env: Environment, whose `context_ranges` are the ranges of parameters that are given by name alone.
        parameters: Ranges by name, names, or None for all that the environment draws from a range.

    Raises:
        ValueError: If there is no parameter, or one has no range, or its range is empty or not finite.
    """

    def __init__(self, env: Any, parameters: Parameters) -> None:
        known = getattr(env.unwrapped, "context_ranges", {})
        names = known if parameters is None else (parameters,) if isinstance(parameters, str) else parameters
        given = names if isinstance(names, Mapping) else dict.fromkeys(names)
        ranges: dict[str, Any] = {name: known.get(name) if ends is None else ends for name, ends in given.items()}
        if not ranges:
            raise ValueError("parameters must name at least one with its range: the environment draws from none itself")
        for name, ends in ranges.items():
            if ends is None:
                raise ValueError(f"parameters must give {name!r} a (low, high) range: the environment has none for it")
            if np.shape(ends) != (2,) or not np.isfinite(ends).all() or not ends[0] < ends[1]:
                accepted = "parameters must be finite (low, high) ranges with low < high"
                raise ValueError(f"{accepted}, got {ends!r} for {name!r}")
        self.ranges = {name: (float(ends[0]), float(ends[1])) for name, ends in ranges.items()}
        low, high = np.array(list(self.ranges.values())).T
        self._middle, self._half = 0.5 * (low + high), 0.5 * (high - low)
        self._warned = False

    @property
    def space(self) -> spaces.Box:
        """The space of the scaled values, shape `(num_parameters,)`."""
        return bounded(np.full(len(self.ranges), -LIMIT), np.full(len(self.ranges), LIMIT))

    def __call__(self, context: Mapping[str, Any]) -> NDArray[np.float32]:
        """Scale a context.

        Args:
            context: Values by name, numbers or arrays of shape `(num_envs,)`.

        Returns:
            Shape `(num_parameters,)` or `(num_envs, num_parameters)`.

        Raises:
            ValueError: If a parameter is missing or not finite.
        """
        for name in self.ranges:
            if name not in context:
                raise ValueError(f"info['context'] must hold {name!r}, which is to be observed; got {list(context)}")
        values = np.stack([np.asarray(context[name], dtype=np.float64) for name in self.ranges], axis=-1)
        if not np.isfinite(values).all():
            names = [name for name, value in zip(self.ranges, values.T, strict=True) if not np.isfinite(value).all()]
            raise ValueError(f"info['context'] must be finite, got {context[names[0]]!r} for {names[0]!r}")
        scaled = (values - self._middle) / self._half
        if not self._warned and (np.abs(scaled) > FAR).any():
            self._warned = True
            far = [name for name, each in zip(self.ranges, np.abs(scaled).T, strict=True) if (each > FAR).any()]
            gym.logger.warn(f"the context is far outside the ranges that scale it: {', '.join(far)} of {self.ranges}")
        shown: NDArray[np.float32] = np.clip(scaled, -LIMIT, LIMIT).astype(np.float32)
        return shown


def context_of(info: Mapping[str, Any]) -> Mapping[str, Any]:
    """The context that an environment reports.

    Raises:
        ValueError: If it reports none.
    """
    context = info.get("context")
    if not isinstance(context, Mapping):
        raise ValueError(f"the environment must report its context as a mapping in info['context'], got {context!r}")
    return context
