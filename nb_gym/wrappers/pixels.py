"""Pictures of pendulums as observations, drawn by NumPy for all environments at once: fast enough to train on."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from nb_gym.context.arguments import parse_frame_size
from nb_gym.wrappers.look import Looks

Rows = NDArray[np.bool_] | slice

SHOWN = ("theta", "sin_drive", "cos_drive")
"""Channels of the pendulum's observation that a picture shows."""

CHANNELS = 6
"""Channels of an observation: red, green and blue of the picture before, and those of the present one."""

_HALF_WIDTH = 1.45  # of the picture at a zoom of 1, in lengths of the rod; so are the following
_ROD, _BOB = 0.07, 0.22
_DOT, _RING = 0.15, 1.25  # of the drive: radius of the dot, and of the circle that it goes round on


def draw(theta: NDArray[Any], drive: NDArray[Any], looks: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Draw pendulums: a rod that hangs from the middle, a bob at its end, and a dot at the drive's phase.

    An angle of 0 is straight down, and angles grow counter-clockwise. Edges are smoothed over a pixel, so that a colour
    tells a position more finely than the pixels do.

    Args:
        theta: Angles of the pendulums, rad, shape `(n,)`.
        drive: Sine and cosine of the drive's phase, shape `(2, n)`.
        looks: Numbers of the looks, see `Look.numbers`, shape `(n, 14)`.
        size: Width and height of a picture, pixels.

    Returns:
        Colours, shape `(n, size, size, 3)`.
    """
    background, arm, dot = (looks[:, None, None, i : i + 3] for i in (0, 3, 6))
    contrast, rotation, zoom, right, down = (looks[:, i, None, None] for i in range(9, 14))
    unit = 0.5 * size / _HALF_WIDTH * zoom  # pixels of the rod's length
    pixels = np.arange(size) + 0.5 - 0.5 * size
    x, y = (pixels - right) / unit, (pixels[:, None] - down) / unit
    sine, cosine = np.sin(rotation), np.cos(rotation)
    x, y = cosine * x - sine * y, sine * x + cosine * y
    end_x, end_y = (each[:, None, None] for each in (np.sin(np.float64(theta)), np.cos(np.float64(theta))))
    along = np.clip(x * end_x + y * end_y, 0.0, 1.0)

    def covered(center_x: Any, center_y: Any, radius: float) -> NDArray[np.float64]:
        """Share of each pixel that is nearer than `radius` to a point, which may be another one for each pixel."""
        distance = np.sqrt((x - center_x) ** 2 + (y - center_y) ** 2)
        share: NDArray[np.float64] = np.clip((radius - distance) * unit + 0.5, 0.0, 1.0)[..., None]
        return share

    rod, bob = covered(along * end_x, along * end_y, _ROD), covered(end_x, end_y, _BOB)
    phase_x, phase_y = np.asarray(drive, dtype=np.float64)[:, :, None, None]
    colors = background + np.maximum(rod, bob) * (arm - background)
    colors += covered(_RING * phase_x, _RING * phase_y, _DOT) * (dot - colors)
    colors = 127.5 + contrast[..., None] * (colors - 127.5)
    return np.floor(colors + 0.5).astype(np.uint8)


class Painter:
    """The pictures of many pendulums, the one before beside the present one, made of what the pendulums observe.

    Args:
        env: Pendulums, one or many.
        num_envs: Number of environments.
        observed: Spaces of what one environment shows here, and of what the pendulum itself shows.
        size: Width and height of a picture, pixels.
        look: How the pendulums are drawn, see `Looks`.

    Raises:
        TypeError: If `env` is no pendulum, or `look` of another kind.
        ValueError: If a channel of `SHOWN` is missing, the observations are changed, or `size` or a look is refused.
    """

    def __init__(self, env: Any, num_envs: int, observed: tuple[Any, Any], size: int, look: Any) -> None:
        names = getattr(env.unwrapped, "observe", None)
        if names is None:
            raise TypeError(f"env must be a driven pendulum, as NBPendulumControl-v0, got {env}")
        if missing := [name for name in SHOWN if name not in names]:
            raise ValueError(f"env must observe {', '.join(SHOWN)}, which are drawn; it lacks {', '.join(missing)}")
        if observed[0] != observed[1]:
            raise ValueError(f"env must show the pendulum's own observations, {observed[1]}, got {observed[0]}")
        self._columns = [names.index(name) for name in SHOWN]
        self._size, self._looks, self._env = parse_frame_size(size, "size"), Looks(look, num_envs), env
        self._pictures = np.zeros((num_envs, self._size, self._size, CHANNELS), dtype=np.uint8)

    @property
    def space(self) -> spaces.Box:
        """The space of one environment's pictures: uint8, channels last, as SB3's policies for images take them."""
        return spaces.Box(0, 255, self._pictures.shape[1:], np.uint8)

    def begin(self, observations: NDArray[Any], rows: Rows = slice(None)) -> None:
        """Begin episodes in some rows: there has been no picture before, and the present one stands for it."""
        if isinstance(rows, slice) or rows.any():
            self._looks.begin(self._env.np_random, rows)
            self._pictures[rows] = np.tile(self._draw(observations, rows), 2)

    def add(self, observations: NDArray[Any], rows: Rows = slice(None)) -> None:
        """Take in what the pendulums of some rows are after a decision."""
        self._pictures[rows, ..., :3] = self._pictures[rows, ..., 3:]
        self._pictures[rows, ..., 3:] = self._draw(observations, rows)

    def read(self) -> NDArray[np.uint8]:
        """The pictures, a copy of shape `(num_envs, size, size, 6)`."""
        return self._pictures.copy()

    def _draw(self, observations: NDArray[Any], rows: Rows) -> NDArray[np.uint8]:
        theta, *drive = observations[rows][:, self._columns].T
        return draw(theta, np.array(drive), self._looks.numbers[rows], self._size)
