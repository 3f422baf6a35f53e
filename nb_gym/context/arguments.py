"""The arguments that every environment takes: counts, factors, modes, seeds, masks and actions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from nb_gym.rendering import FRAME_SIZES

_LARGEST_COUNT = int(np.iinfo(np.int64).max)
_LARGEST_SCALE = 1e6
_NOT_REAL = np.array(np.nan)


def parse_count(name: str, value: Any) -> int:
    """Check a number of steps or environments: an integer of at least 1 that fits the counters (int64)."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")
    if value > _LARGEST_COUNT:  # not printed in full: Python refuses to print numbers of more than 4,300 digits
        raise ValueError(
            f"{name} must be an integer of at most {_LARGEST_COUNT}, got one of {int(value).bit_length()} bits"
        )
    return int(value)


def parse_scale(name: str, value: Any) -> float:
    """Check a factor: a finite number greater than 0, at most 1e6."""
    is_real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not (is_real and 0 < value <= _LARGEST_SCALE):
        raise ValueError(f"{name} must be a number greater than 0, at most {_LARGEST_SCALE:.0e}, got {value!r}")
    return float(value)


def parse_mapping(options: Any) -> dict[str, Any]:
    """Check that the options of a reset are a mapping, or None; the dictionary is a new one."""
    if options is not None and not isinstance(options, Mapping):
        raise ValueError(f"options must be a mapping of names to values, or None, got {options!r}")
    return dict(options or {})


def parse_render_mode(render_mode: str | None, accepted: Iterable[str]) -> str | None:
    """Check a render mode against the accepted ones; None is always accepted."""
    if render_mode is not None and render_mode not in accepted:
        raise ValueError(f"render_mode must be None or one of {list(accepted)}, got {render_mode!r}")
    return render_mode


def parse_frame_size(value: Any, name: str = "frame_size") -> int:
    """Check the width and height of a frame."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value not in FRAME_SIZES:
        raise ValueError(f"{name} must be an integer from {FRAME_SIZES[0]} to {FRAME_SIZES[-1]} pixels, got {value!r}")
    return int(value)


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


def real_array(value: Any) -> NDArray[Any]:
    """Make an array of an action's real numbers, not copied where it is one; anything else becomes one NaN."""
    try:
        array = np.asarray(value)
    except ValueError:  # a ragged sequence
        return _NOT_REAL
    return array if array.dtype.kind in "fiu" else _NOT_REAL


def parse_action(action: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Check the action of one environment: finite numbers, of the given one-dimensional shape."""
    numbers = real_array(action)
    if numbers.shape == shape:
        # On the few numbers of one action a loop of Python's is several times faster than NumPy.
        for number in numbers.tolist():
            if not math.isfinite(number):
                break
        else:
            return numbers
    raise ValueError(f"action must be finite numbers, an array of shape {shape}, got {action!r}")


def parse_actions(actions: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Check the actions of many environments: finite numbers, of the given shape."""
    numbers = real_array(actions)
    if numbers.shape != shape or not np.isfinite(numbers).all():
        raise ValueError(f"actions must be finite numbers, an array of shape {shape}, got {actions!r}")
    return numbers
