"""The context as numbers that a policy can read: chosen parameters, scaled by their ranges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from nb_gym.wrappers.parts import ScaledBox

FAR = 2.0
"""Distance from the middle of a range, in halves of it, beyond which a value is far outside: half a range away."""

LIMIT = 1e6
"""Bound of the scaled values in the observation space."""

Parameters = Mapping[str, tuple[float, float]] | Iterable[str] | None


class ContextScale:
    """Scales parameters of the context so that their ranges become [−1, 1].

    Args:
        env: Environment, whose `context_ranges` are the ranges of parameters that are given by name alone.
        parameters: Ranges by name, names, or None for all that the environment draws from a range.

    Raises:
        TypeError: If `parameters` is of another kind.
        ValueError: If there is no parameter, or one has no range, or its range is empty or not finite.
    """

    def __init__(self, env: Any, parameters: Parameters) -> None:
        known = getattr(env.unwrapped, "context_ranges", {})
        names = known if parameters is None else (parameters,) if isinstance(parameters, str) else parameters
        if not isinstance(names, Iterable) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"parameters must be (low, high) ranges by name, names, or None; got {parameters!r}")
        given = names if isinstance(names, Mapping) else dict.fromkeys(names)
        ranges: dict[str, Any] = {name: known.get(name) if ends is None else ends for name, ends in given.items()}
        if not ranges:
            raise ValueError("parameters must name at least one with its range: the environment draws from none itself")
        for name, ends in ranges.items():
            if ends is None:
                raise ValueError(f"parameters must give {name!r} a (low, high) range: the environment has none for it")
            if not _is_range(ends):
                accepted = "parameters must be finite (low, high) ranges with low < high"
                raise ValueError(f"{accepted}, got {ends!r} for {name!r}")
        self.ranges = {name: (float(ends[0]), float(ends[1])) for name, ends in ranges.items()}
        low, high = np.array(list(self.ranges.values())).T
        self._middle, self._half = 0.5 * (low + high), 0.5 * (high - low)
        self._warned = False

    @property
    def space(self) -> ScaledBox:
        """The space of the scaled values, shape `(num_parameters,)`."""
        high = np.full(len(self.ranges), LIMIT, dtype=np.float32)
        return ScaledBox(-high, high, self.ranges, np.float32)

    def __call__(self, context: Mapping[str, Any], shape: tuple[int, ...] = ()) -> NDArray[np.float32]:
        """Scale a context.

        Args:
            context: Values by name, numbers or arrays.
            shape: Shape of each value: () or `(num_envs,)`.

        Returns:
            Shape `(*shape, num_parameters)`.

        Raises:
            ValueError: If a parameter is missing, no number or array of that shape, or not finite.
        """
        for name in self.ranges:
            if name not in context:
                raise ValueError(f"info['context'] must hold {name!r}, which is to be observed; got {list(context)}")
        values = np.stack([_numbers(name, context[name], shape) for name in self.ranges], axis=-1)
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


def _is_range(ends: Any) -> bool:
    """Whether it is a finite (low, high) with low < high."""
    try:
        low, high = _array(ends)
    except (TypeError, ValueError):
        return False
    return bool(np.isfinite([low, high]).all() and low < high)


def _array(value: Any) -> NDArray[np.float64]:
    if np.asarray(value).dtype.kind in "US":
        raise TypeError("text is no number, even if NumPy reads one from it")
    return np.asarray(value, dtype=np.float64)


def _numbers(name: str, value: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The value of a parameter in an array of that shape.

    Raises:
        ValueError: If it is none.
    """
    try:
        numbers = _array(value)
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.shape != shape:
        value = value.tolist() if isinstance(value, np.ndarray) else value
        accepted = f"an array of shape {shape}" if shape else "a number"
        raise ValueError(f"info['context'] must hold {accepted} for {name!r}, got {value!r}")
    return numbers


def context_of(info: Mapping[str, Any]) -> Mapping[str, Any]:
    """The context that an environment reports.

    Raises:
        ValueError: If it reports none.
    """
    context = info.get("context")
    if not isinstance(context, Mapping):
        raise ValueError(f"the environment must report its context as a mapping in info['context'], got {context!r}")
    return context
