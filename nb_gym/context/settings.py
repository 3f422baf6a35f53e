"""The parameters of an environment's dynamics, in the four forms in which a user may set them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nb_gym.context.arguments import parse_mapping

FloatArray: TypeAlias = NDArray[np.floating[Any]]
BoolArray: TypeAlias = NDArray[np.bool_]
Index: TypeAlias = int | NDArray[np.int64] | EllipsisType
Value: TypeAlias = float | FloatArray
"""A parameter in force: a number, or one number for each environment."""
Setting: TypeAlias = float | tuple[float, float] | FloatArray
"""A number, a range drawn afresh for each episode, or one number for each environment."""

LIMIT = 1e6
"""Largest absolute value of a setting, and the observation space's bound where nothing physical gives one."""


class LogRange(NamedTuple):
    """A range whose logarithm is drawn uniformly: what `("log", low, high)` becomes."""

    low: float
    high: float


@dataclass(frozen=True)
class Parameters:
    """What may be set of a family of environments.

    Attributes:
        defaults: Default of each context parameter, by name.
        positive: Names of those that must be greater than 0.
        not_negative: Names of those that must be at least 0.
        start: Names of the starting values, which only the options of a reset set.
        check: Function of all settings that raises ValueError where they do not go together.
    """

    defaults: Mapping[str, float]
    positive: frozenset[str] = frozenset()
    not_negative: frozenset[str] = frozenset()
    start: tuple[str, ...] = ()
    check: Callable[[Mapping[str, Setting]], None] = lambda settings: None

    def parse(self, given: Mapping[str, Any], num_envs: int | None = None) -> dict[str, Setting]:
        """Check the context parameters given by name and add the defaults of the others, in the order of `defaults`.

        Raises:
            TypeError: If a name is unknown, as for any unexpected keyword argument.
            ValueError: If a value is not accepted, see `parse_setting`.
        """
        unknown = sorted(set(given) - set(self.defaults))
        if unknown:
            accepted = list(self.defaults)
            raise TypeError(f"unexpected keyword argument {unknown[0]!r}; context parameters are {accepted}")
        values = {name: given.get(name, default) for name, default in self.defaults.items()}
        settings = {name: self.parse_setting(name, value, num_envs) for name, value in values.items()}
        self.check(settings)
        return settings

    def parse_options(
        self, options: Any, settings: Mapping[str, Setting], num_envs: int | None = None
    ) -> dict[str, Setting]:
        """Check the `options` of a reset: context parameters and starting values for one episode.

        Args:
            options: Argument of `reset`.
            settings: Context parameters of the environment.
            num_envs: Number of environments, or None for a single one.

        Returns:
            The settings of the episode.

        Raises:
            ValueError: If a name is unknown or a value not accepted.
        """
        accepted = (*self.defaults, *self.start)
        given = parse_mapping(options)
        for name in given:
            if name not in accepted:
                raise ValueError(f"unknown reset option {name!r}; accepted are {list(accepted)}")
        merged = {**settings, **{name: self.parse_setting(name, value, num_envs) for name, value in given.items()}}
        self.check(merged)
        return merged

    def parse_setting(self, name: str, value: Any, num_envs: int | None = None) -> Setting:
        """Check one context parameter or starting value.

        Args:
            name: Name of the parameter.
            value: A number, a `(low, high)` or `("log", low, high)` tuple or list, or, if `num_envs` is given, an array
                of shape `(num_envs,)`.
            num_envs: Number of environments, or None for a single one.

        Returns:
            A float, a tuple of two floats, or a read-only float64 array of shape `(num_envs,)`.

        Raises:
            ValueError: If the value has another form, is not finite or beyond ±1e6, has the wrong sign, or low > high.
        """
        if isinstance(value, LogRange):  # parsed already
            return value
        if isinstance(value, (tuple, list)) and len(value) == 3 and isinstance(value[0], str):
            return self._parse_log_range(name, value)
        accepted = "a number or a (low, high) range" + (f" or an array of shape ({num_envs},)" if num_envs else "")
        try:
            array = np.array(value)
        except ValueError:  # a ragged sequence
            array = np.array(None)
        per_env = num_envs is not None and isinstance(value, np.ndarray) and array.shape == (num_envs,)
        is_range = isinstance(value, (tuple, list)) and array.shape == (2,)
        if array.dtype.kind not in "iuf" or not (array.ndim == 0 or per_env or is_range):
            raise ValueError(f"{name} must be {accepted}, got {value!r}")
        array = array.astype(np.float64)
        if not (np.abs(array) <= LIMIT).all():
            raise ValueError(f"{name} must be finite, at most {LIMIT:.0e} in absolute value, got {value!r}")
        if name in self.not_negative and (array < 0).any():
            raise ValueError(f"{name} must be at least 0, got {value!r}")
        if name in self.positive and (array <= 0).any():
            raise ValueError(f"{name} must be greater than 0, got {value!r}")
        if array.ndim == 0:
            return float(array)
        if per_env:
            array.flags.writeable = False
            return array
        low, high = array.tolist()
        if low > high:
            raise ValueError(f"{name} must be a (low, high) range with low <= high, got {value!r}")
        return low, high

    def _parse_log_range(self, name: str, value: Any) -> LogRange:
        if value[0] != "log":
            raise ValueError(f"{name} must be a (low, high) or a ('log', low, high) range, got {value!r}")
        ends = self.parse_setting(name, tuple(value[1:]))
        assert isinstance(ends, tuple)
        if ends[0] <= 0:
            raise ValueError(f"{name} must be a ('log', low, high) range with low > 0, got {value!r}")
        return LogRange(*ends)


def draw(setting: Setting, rng: np.random.Generator, index: Index = ..., size: int | None = None) -> Value:
    """Draw a setting for new episodes.

    Args:
        setting: Setting of all environments.
        rng: Generator from which a range is drawn; other settings leave it as it is.
        index: Environments whose episodes begin; selects from a setting that is an array.
        size: Number of episodes, or None for one.

    Returns:
        A number where the setting is one, else an array of shape `(size,)`; for a single episode always a number.
    """
    if isinstance(setting, LogRange):
        logarithm = rng.uniform(np.log(setting.low), np.log(setting.high), size=size)
        value: Value = np.clip(np.exp(logarithm), *setting)  # rounding may leave the range
        return value
    if isinstance(setting, tuple):
        return rng.uniform(*setting, size=size)
    return setting[index] if isinstance(setting, np.ndarray) else setting
