"""Checks of numeric arguments beyond `nb_agents.validation`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nb_agents.validation import check_number


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
