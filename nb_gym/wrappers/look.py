"""What a picture of a pendulum looks like: its colours, its contrast, and the camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nb_gym.rendering import BACKGROUND, BLUE, VERMILION, Color

_LIMITS = {"contrast": (-1.0, 1.0), "rotation": (-np.pi, np.pi), "zoom": (0.25, 4.0)}
_FARTHEST_SHIFT = 1e3


def _are_numbers(values: Any, n: int, low: float, high: float) -> bool:
    """Whether the values are n numbers from low to high."""
    try:
        array = np.asarray(values)
    except ValueError:  # a ragged sequence
        return False
    return array.shape == (n,) and array.dtype.kind in "iuf" and bool(((array >= low) & (array <= high)).all())


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a pendulum is drawn; the defaults are the plain look.

    Args:
        background: Red, green and blue of the background, each from 0 to 255.
        arm: Those of rod and bob.
        drive: Those of the dot that goes round with the drive's phase.
        contrast: Factor of every colour's distance from middle grey, from −1, which inverts all colours, to 1.
        rotation: Angle by which the camera turns the picture counter-clockwise, rad, from −π to π.
        zoom: Magnification, from 0.25 to 4. At 1 the rod is 0.345 of the picture's width.
        shift: Way that the camera moves the picture to the right and down, pixels, each at most 1,000 either way.

    Raises:
        ValueError: If an argument is not accepted; the message names it, its value and what is.
    """

    background: Color = BACKGROUND
    arm: Color = BLUE
    drive: Color = VERMILION
    contrast: float = 1.0
    rotation: float = 0.0
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        for name in ("background", "arm", "drive"):
            if not _are_numbers(getattr(self, name), 3, 0.0, 255.0):
                raise ValueError(f"{name} must be three numbers from 0 to 255, got {getattr(self, name)!r}")
        for name, (low, high) in _LIMITS.items():
            if not _are_numbers([getattr(self, name)], 1, low, high):
                raise ValueError(f"{name} must be a number from {low:.4g} to {high:.4g}, got {getattr(self, name)!r}")
        if not _are_numbers(self.shift, 2, -_FARTHEST_SHIFT, _FARTHEST_SHIFT):
            raise ValueError(f"shift must be two numbers from −1,000 to 1,000, got {self.shift!r}")

    @property
    def numbers(self) -> NDArray[np.float64]:
        """All numbers of the look in the order of its arguments, shape `(14,)`."""
        return np.concatenate([np.ravel(getattr(self, each.name)) for each in fields(self)], dtype=np.float64)


LOOKS: Mapping[str, Look] = MappingProxyType({
    "plain": Look(),
    "inverted": Look(contrast=-1.0),
    "faded": Look(contrast=0.3),
    "swapped": Look(arm=VERMILION, drive=BLUE),
    "tilted": Look(rotation=0.5),
    "shifted": Look(shift=(3.0, -3.0)),
})  # fmt: skip
"""Looks by name: plain, all colours inverted, less contrast, the colours of arm and drive exchanged, the camera turned
by 0.5 rad, and the camera moved by three pixels each way."""


class Looks:
    """The looks of the pictures of many environments: each the same, or drawn for every episode.

    Args:
        look: A look, its name in `LOOKS`, or a pair of these between which every number is drawn uniformly, apart from
            the others, as an episode begins.
        num_envs: Number of environments.

    Raises:
        TypeError: If `look` is of another kind.
        ValueError: If there is no look of that name.
    """

    def __init__(self, look: Any, num_envs: int) -> None:
        ends = look if isinstance(look, tuple) and len(look) == 2 else (look, look)
        self._low, self._high = (_named(end).numbers for end in ends)
        self.drawn = bool((self._low != self._high).any())
        self.numbers = np.tile(self._low, (num_envs, 1))

    def begin(self, rng: np.random.Generator, rows: NDArray[np.bool_] | slice) -> None:
        """Draw the looks of the episodes that begin in some rows, where they are not always the same."""
        if self.drawn:
            self.numbers[rows] = rng.uniform(self._low, self._high, self.numbers[rows].shape)


def _named(look: Any) -> Look:
    if isinstance(look, Look):
        return look
    if not isinstance(look, str):
        raise TypeError(f"look must be a Look, one of the names {list(LOOKS)}, or a pair of these; got {look!r}")
    if look not in LOOKS:
        raise ValueError(f"look must be one of {list(LOOKS)} where it is a name, got {look!r}")
    return LOOKS[look]
