"""Drawing with pygame, which is imported when the first renderer is made; `pictures.py` says what is drawn."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
Color = tuple[int, int, int]

FRAME_SIZE = 480
"""Width and height of a frame, in pixels, where nothing else is asked for."""
FRAME_SIZES = range(32, 2049)
"""Widths and heights that can be asked for: of smaller frames nothing can be seen, larger ones take gigabytes."""

BACKGROUND: Color = (250, 250, 247)
RAIL: Color = (214, 214, 208)
INK: Color = (64, 68, 75)
BODY: Color = (38, 41, 46)
# Blue and vermilion of the Okabe-Ito palette: the colour-blind can distinguish them.
BLUE: Color = (0, 114, 178)
VERMILION: Color = (213, 94, 0)

_SUPERSAMPLING = 4  # a power of two: pygame's scaling rounds others down to darker colours


class Caption(NamedTuple):
    """A line of text near a corner of a frame."""

    text: str
    row: int
    """Number of the line: 0 for the first from the top, −1 for the first from the bottom."""
    color: Color = INK
    right: bool = False
    """Whether it stands at the right edge."""
    only_large: bool = False
    """Whether it is left out of frames too small for it."""


class Scene(Protocol):
    """What a frame shows of one environment."""

    def paint(self, pygame: Any, canvas: Any) -> None:
        """Paint on a square pygame surface, larger than the frame, that holds the background."""

    def captions(self) -> Iterable[Caption]:
        """List the text on the frame."""


class Renderer:
    """Draws scenes on frames, and shows frames in a window.

    Raises:
        DependencyNotInstalled: If pygame is missing.
    """

    def __init__(self) -> None:
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # its greeting is no output of ours
        try:
            import pygame
        except ImportError as error:
            raise DependencyNotInstalled(
                'rendering needs pygame: run `pip install "neural-battery[render]"`'
            ) from error
        pygame.font.init()
        self._pygame = pygame
        self._window: Any = None
        self._clock: Any = None

    def draw(self, scene: Scene, size: int = FRAME_SIZE) -> Frame:
        """Draw one environment.

        Args:
            scene: What to draw.
            size: Width and height, pixels.

        Returns:
            Colours, shape `(size, size, 3)`.
        """
        pygame = self._pygame
        canvas = pygame.Surface((size * _SUPERSAMPLING,) * 2, depth=32)
        canvas.fill(BACKGROUND)
        scene.paint(pygame, canvas)
        surface = pygame.transform.smoothscale(canvas, (size, size))
        self._write(surface, scene.captions())
        return np.frombuffer(pygame.image.tobytes(surface, "RGB"), dtype=np.uint8).reshape(size, size, 3).copy()

    def show(self, frame: Frame, fps: float, title: str) -> None:
        """Show a frame in the window, opened by the first call, no sooner than 1/fps after the one before."""
        pygame = self._pygame
        if self._window is None:
            pygame.display.init()
            pygame.display.set_caption(title)
            self._window = pygame.display.set_mode(frame.shape[1::-1])
            self._clock = pygame.time.Clock()
        self._window.blit(pygame.image.frombuffer(frame.tobytes(), frame.shape[1::-1], "RGB"), (0, 0))
        pygame.event.pump()
        self._clock.tick(fps)
        pygame.display.flip()

    def close(self) -> None:
        """Close the window, if one is open."""
        if self._window is not None:
            self._pygame.display.quit()
            self._window = None

    def _write(self, surface: Any, captions: Iterable[Caption]) -> None:
        size = surface.get_width()
        margin, line = size // 26, max(15, size // 20)
        font = self._pygame.font.Font(None, line + 4)
        for text, row, color, right, only_large in captions:
            if only_large and size < FRAME_SIZE / 2:
                continue
            picture = font.render(text, True, color)
            x = size - margin - picture.get_width() if right else margin
            surface.blit(picture, (x, margin + row * line if row >= 0 else size - margin + row * line))


def tile(frames: Sequence[Frame]) -> Frame:
    """Lay frames out as one picture, row by row on a grid as square as can be.

    Args:
        frames: Colours, each of the same shape `(height, width, 3)`: what `render()` of a vector environment returns.

    Returns:
        Colours, shape `(rows * height, columns * width, 3)`; places without a frame are blank.

    Raises:
        ValueError: If there are none, or their shapes differ.
    """
    shapes = [np.shape(frame) for frame in frames]
    if not shapes or len(shapes[0]) != 3 or shapes[0][2] != 3 or len(set(shapes)) > 1:
        raise ValueError(f"frames must be one or more arrays of one shape (height, width, 3), got shapes {shapes}")
    columns = math.ceil(math.sqrt(len(frames)))
    rows = math.ceil(len(frames) / columns)
    height, width, _ = shapes[0]
    picture = np.full((rows * height, columns * width, 3), BACKGROUND, dtype=np.uint8)
    for i, frame in enumerate(frames):
        row, column = divmod(i, columns)
        picture[row * height : (row + 1) * height, column * width : (column + 1) * width] = frame
    return picture
