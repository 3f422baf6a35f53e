"""Shifts of pictures: six corruptions at three severities, each the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
"""Pictures with values from 0 to 1, `(n, channels, height, width)`."""


def rotation(x: Array, degrees: float, rng: np.random.Generator) -> Array:
    """Turned about the middle, against the clock; what comes into the picture is black."""
    return _array(ndimage.rotate(x, degrees, axes=(-2, -1), reshape=False, order=1))


def contrast(x: Array, factor: float, rng: np.random.Generator) -> Array:
    """Differences to a picture's own mean, times a factor."""
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    return _array(mean + factor * (x - mean))


def noise(x: Array, deviation: float, rng: np.random.Generator) -> Array:
    """Normal noise on every pixel."""
    return _array(x + deviation * rng.standard_normal(x.shape, dtype=np.float32))


def blur(x: Array, deviation: float, rng: np.random.Generator) -> Array:
    """A Gaussian filter with a deviation in pixels."""
    return _array(ndimage.gaussian_filter(x, deviation, axes=(-2, -1)))


def inversion(x: Array, threshold: float, rng: np.random.Generator) -> Array:
    """Values from a threshold on are inverted, as PIL's `solarize` does it; all of them at 0."""
    return np.where(x >= threshold, np.float32(1.0) - x, x)


def translation(x: Array, pixels: float, rng: np.random.Generator) -> Array:
    """Moved to the right and down by whole pixels; what comes into the picture is black."""
    return _array(ndimage.shift(x, (0, 0, pixels, pixels), order=0))


class Shift(NamedTuple):
    """A corruption, and its argument at each severity, the mildest first."""

    apply: Callable[[Array, float, np.random.Generator], Array]
    severities: tuple[float, float, float]


SHIFTS = {
    "rotation": Shift(rotation, (15.0, 30.0, 45.0)),
    "contrast": Shift(contrast, (0.5, 0.3, 0.15)),
    "noise": Shift(noise, (0.1, 0.2, 0.3)),
    "blur": Shift(blur, (1.0, 1.5, 2.0)),
    "inversion": Shift(inversion, (0.8, 0.5, 0.0)),
    "translation": Shift(translation, (2.0, 3.0, 4.0)),
}

NAMES = tuple(f"{name} {severity}" for name in SHIFTS for severity in (1, 2, 3))
"""All shifts: a corruption, and its severity."""


def shifted(pictures: NDArray[np.uint8], name: str, seed: int) -> Array:
    """Pictures under a shift.

    Args:
        pictures: Values from 0 to 255, `(n, channels, height, width)`.
        name: One of `NAMES`.
        seed: Seed of what is drawn.
    """
    kind, _, severity = name.partition(" ")
    shift, rng = SHIFTS[kind], np.random.default_rng([seed, NAMES.index(name)])
    return shift.apply(unit(pictures), shift.severities[int(severity) - 1], rng)


def unit(pictures: NDArray[np.uint8]) -> Array:
    """Pictures with values from 0 to 1."""
    return pictures.astype(np.float32) / np.float32(255.0)


def _array(x: Any) -> Array:
    made: Array = np.clip(x, 0.0, 1.0).astype(np.float32, copy=False)
    return made
