"""Checks of arguments: one wording for every refusal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def check_flag(name: str, value: Any) -> bool:
    """Return ``value`` if it is a bool.

    Raises:
        TypeError: If it is not.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def check_number(name: str, value: Any, *, low: float = -math.inf, high: float = math.inf) -> float:
    """Return ``value`` as a float, or say what is accepted.

    Args:
        name: Name of the argument, for the message.
        value: Value that the caller passed.
        low: Smallest accepted value.
        high: Largest accepted value.

    Raises:
        TypeError: If ``value`` is not a real number.
        ValueError: If it is NaN, infinite or outside ``[low, high]``.
    """
    try:
        if isinstance(value, (bool, str)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or not low <= number <= high:
        accepted = {
            (True, True): "any finite number",
            (False, True): f"a finite number >= {low:g}",
            (True, False): f"a finite number <= {high:g}",
            (False, False): f"a number in [{low:g}, {high:g}]",
        }[low == -math.inf, high == math.inf]
        raise ValueError(f"{name} must be {accepted}, got {value!r}")
    return number


def check_count(name: str, value: Any, low: int = 1) -> int:
    """A number of steps, tasks or episodes.

    Raises:
        ValueError: If it is not an integer of at least ``low``.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
        raise ValueError(f"{name} must be an integer >= {low}, got {value!r}")
    return int(value)


def check_positive(name: str, value: object, high: float = math.inf) -> float:
    """A finite number in (0, ``high``].

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is out of range.
    """
    number = check_number(name, value, high=high)
    if number <= 0.0:
        raise ValueError(f"{name} must be > 0, got {value!r}")
    return number
