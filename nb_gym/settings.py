"""What a user may set: checked where it enters, drawn at the start of an episode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from nb_gym.dynamics import CHANNELS, START_STD, Context, FloatArray, Value
from nb_gym.rendering import FRAME_SIZES

Range: TypeAlias = tuple[float, float]
Setting: TypeAlias = float | Range | FloatArray
"""A number, a `(low, high)` range drawn afresh for each episode, or one number for each environment."""

LIMIT = 1e6
"""Largest absolute value of a setting, and the observation space's bound where nothing physical gives one."""


class NoEpisodeError(ResetNeeded, AttributeError):
    """Something was asked of an environment before its first reset.

    It is an AttributeError, too, so that `hasattr`, and with it what looks through an environment's attributes, finds
    the attribute missing instead of failing.
    """


_LARGEST_COUNT = int(np.iinfo(np.int64).max)
_NOT_NEGATIVE = frozenset({"b"})
_POSITIVE = frozenset({"dt", "max_torque"})
_STATE = ("theta", "theta_dot")
_NOT_REAL = np.array(np.nan)


def parse_setting(name: str, value: Any, num_envs: int | None = None) -> Setting:
    """Check one context parameter or starting value.

    Args:
        name: The parameter's name, one of `Context`'s fields, "theta" or "theta_dot".
        value: A number, a `(low, high)` tuple or list, or, if `num_envs` is given, an array of shape `(num_envs,)`.
        num_envs: Number of environments, or None for a single one.

    Returns:
        A float, a tuple of two floats, or a read-only float64 array of shape `(num_envs,)`.

    Raises:
        ValueError: If the value has another form, is not finite or beyond ±1e6, has the wrong sign, or low > high.
    """
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
    if name in _NOT_NEGATIVE and (array < 0).any():
        raise ValueError(f"{name} must be at least 0, got {value!r}")
    if name in _POSITIVE and (array <= 0).any():
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


def parse_context(context: Mapping[str, Any], num_envs: int | None = None) -> dict[str, Setting]:
    """Check the context parameters given by name and add the defaults of the others, in `Context`'s order.

    Raises:
        TypeError: If a name is not one of `Context`'s fields, as for any unexpected keyword argument.
        ValueError: If a value is not accepted, see `parse_setting`.
    """
    unknown = sorted(set(context) - set(Context._fields))
    if unknown:
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}; context parameters are {list(Context._fields)}")
    settings = {
        name: parse_setting(name, context.get(name, default), num_envs)
        for name, default in Context._field_defaults.items()
    }
    _check_stable(settings)
    return settings


def parse_options(
    options: Mapping[str, Any] | None, settings: Mapping[str, Setting], num_envs: int | None = None
) -> dict[str, Setting]:
    """Check the `options` of a reset: context parameters, theta and theta_dot for one episode.

    Args:
        options: As given to `reset`.
        settings: The context parameters of the environment; its widest torque limit bounds the action space, which
            the limit of an episode cannot exceed.
        num_envs: Number of environments, or None for a single one.

    Returns:
        The settings of the episode.

    Raises:
        ValueError: If a name is unknown or a value not accepted.
    """
    accepted = (*Context._fields, *_STATE)
    given = parse_mapping(options)
    for name in given:
        if name not in accepted:
            raise ValueError(f"unknown reset option {name!r}; accepted are {list(accepted)}")
    merged = {**settings, **{name: parse_setting(name, value, num_envs) for name, value in given.items()}}
    if np.max(merged["max_torque"]) > np.max(settings["max_torque"]):
        raise ValueError(
            f"max_torque of an episode must be within the action space, at most {np.max(settings['max_torque'])}, "
            f"got {merged['max_torque']!r}"
        )
    _check_stable(merged)
    return merged


def parse_mapping(options: Any) -> dict[str, Any]:
    """Check that the options of a reset are a mapping, or None; the dictionary is a new one."""
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(f"options must be a mapping of names to values, or None, got {options!r}")
    return dict(options or {})


def _check_stable(settings: Mapping[str, Setting]) -> None:
    b, dt = (setting[1] if isinstance(setting, tuple) else setting for setting in (settings["b"], settings["dt"]))
    if np.max(b * dt) >= 2.0:
        raise ValueError(
            f"b * dt must be less than 2, beyond which damping is integrated as growth, got b={b}, dt={dt}"
        )


def draw_episode(
    settings: Mapping[str, Setting],
    rng: np.random.Generator,
    size: int | None = None,
    index: int | NDArray[np.int64] | EllipsisType = ...,
) -> tuple[Value, Value, Context]:
    """Draw the start and the context of new episodes.

    Args:
        settings: Every context parameter, and theta and theta_dot where they are set.
        rng: Ranges are drawn from it in the order of `Context`'s fields, then θ and θ̇ ~ N(0, 0.1²).
        size: Number of episodes, or None for one.
        index: Which of the environments they are; used on settings that are arrays.

    Returns:
        Angle (rad), angular velocity (rad/s) and context; entries that were drawn or taken from an array have shape
        `(size,)`, those set to a number stay one.
    """

    def draw(setting: Setting) -> Value:
        if isinstance(setting, tuple):
            return rng.uniform(*setting, size=size)
        return setting[index] if isinstance(setting, np.ndarray) else setting

    context = Context(*(draw(settings[name]) for name in Context._fields))
    # The start is drawn even where it is set, so that setting it leaves the episodes that follow as they were.
    start = (rng.normal(0.0, START_STD, size=size), rng.normal(0.0, START_STD, size=size))
    theta, theta_dot = (
        draw(settings[name]) if name in settings else drawn for name, drawn in zip(_STATE, start, strict=True)
    )
    return theta, theta_dot, context


def parse_count(name: str, value: Any) -> int:
    """Check a number of steps or environments: an integer of at least 1 that fits the counters (int64)."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    if value > _LARGEST_COUNT:  # not printed in full: Python refuses to print numbers of more than 4,300 digits
        raise ValueError(
            f"{name} must be an integer of at most {_LARGEST_COUNT}, got one of {int(value).bit_length()} bits"
        )
    return int(value)


def parse_frame_size(value: Any) -> int:
    """Check the width and height of a frame."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value not in FRAME_SIZES:
        raise ValueError(
            f"frame_size must be an integer from {FRAME_SIZES[0]} to {FRAME_SIZES[-1]} pixels, got {value!r}"
        )
    return int(value)


def parse_scale(name: str, value: Any) -> float:
    """Check a factor: a finite number greater than 0, at most 1e6."""
    is_real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not (is_real and 0 < value <= LIMIT):
        raise ValueError(f"{name} must be a number greater than 0, at most {LIMIT:.0e}, got {value!r}")
    return float(value)


def parse_observe(observe: Iterable[str]) -> tuple[str, ...]:
    """Check the names of the observed channels.

    Raises:
        ValueError: If there are none, or a name is unknown or given twice.
    """
    listed = [observe] if isinstance(observe, str) else list(observe) if isinstance(observe, Iterable) else []
    names = tuple(name for name in listed if isinstance(name, str) and name in CHANNELS)
    if not names or len(names) < len(listed) or len(set(names)) < len(names):
        raise ValueError(f"observe must name one or more of {list(CHANNELS)}, each once, got {observe!r}")
    return names


def real_array(value: Any) -> NDArray[Any]:
    """An action as an array of real numbers, not copied where it is one; anything else becomes one NaN, no action."""
    try:
        array = np.asarray(value)
    except ValueError:  # a ragged sequence
        return _NOT_REAL
    return array if array.dtype.kind in "fiu" else _NOT_REAL


def parse_render_mode(render_mode: str | None, accepted: Iterable[str]) -> str | None:
    """Check a render mode against the accepted ones; None is always accepted."""
    if render_mode is not None and render_mode not in accepted:
        raise ValueError(f"render_mode must be None or one of {list(accepted)}, got {render_mode!r}")
    return render_mode


def make_spaces(settings: Mapping[str, Setting], observe: tuple[str, ...]) -> tuple[spaces.Box, spaces.Box]:
    """Observation and action space of one environment; the action space covers the widest `max_torque`."""
    high = np.array([1.0 if name.startswith(("cos_", "sin_")) else LIMIT for name in observe], dtype=np.float32)
    limit = np.float32(np.max(settings["max_torque"]))
    return spaces.Box(-high, high, dtype=np.float32), spaces.Box(-limit, limit, (1,), dtype=np.float32)


def real_time_fps(settings: Mapping[str, Setting], frame_skip: int) -> int:
    """Frames per second, one for each decision, at which a film runs as fast as the (average) pendulum.

    From 1 to a million, beyond which there is no film, and where a tiny `dt` would give a number that is no integer.
    """
    return round(min(LIMIT, max(1.0, 1.0 / max(float(np.mean(settings["dt"])) * frame_skip, 1.0 / LIMIT))))


def parse_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """Check an autoreset mode, given as the enumeration's member or its value."""
    try:
        return AutoresetMode(mode)
    except ValueError:
        accepted = [member.value for member in AutoresetMode]
        raise ValueError(f"autoreset_mode must be one of {accepted}, got {mode!r}") from None


def parse_reset_mask(mask: Any, num_envs: int) -> NDArray[np.bool_]:
    """Check a reset mask, a boolean array of shape `(num_envs,)` with at least one True; None means everywhere."""
    if mask is None:
        return np.ones(num_envs, dtype=np.bool_)
    if not (isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == (num_envs,) and mask.any()):
        raise ValueError(
            f"reset_mask must be a boolean array of shape ({num_envs},) with at least one True, got {mask!r}"
        )
    return mask.copy()


def parse_seed(seed: Any) -> int | None:
    """Check the seed of one generator: a non-negative integer, Python's or NumPy's, or None."""
    if seed is None or _is_seed(seed):
        return None if seed is None else int(seed)
    raise ValueError(f"seed must be an integer (>= 0) or None, got {seed!r}")


def parse_seeds(seeds: Any, num_envs: int) -> int | list[int | None] | None:
    """Check the seed of many environments: one for all, None, or a sequence of `num_envs` of either."""
    if seeds is None or _is_seed(seeds):
        return None if seeds is None else int(seeds)
    is_list = isinstance(seeds, Sequence) and not isinstance(seeds, (str, bytes, bytearray))
    listed = list(seeds) if is_list or (isinstance(seeds, np.ndarray) and seeds.ndim == 1) else []
    if len(listed) != num_envs or not all(seed is None or _is_seed(seed) for seed in listed):
        raise ValueError(f"seed must be an integer or a sequence of {num_envs} integers (>= 0) or None, got {seeds!r}")
    return [None if seed is None else int(seed) for seed in listed]


def _is_seed(seed: Any) -> bool:
    return isinstance(seed, (int, np.integer)) and not isinstance(seed, bool) and bool(seed >= 0)
