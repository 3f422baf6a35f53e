"""Drawing pendulums with pygame, which is imported when the first renderer is made."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
Color = tuple[int, int, int]

FRAME_SIZE = 480
"""Width and height of a frame, in pixels."""
MAX_TILES = 64
"""How many pendulums a tiled frame shows at most: the first ones."""

_SUPERSAMPLING = 4  # a power of two: pygame's scaling rounds others down to darker colours
_BACKGROUND: Color = (250, 250, 247)
_RAIL: Color = (214, 214, 208)
_ARM: Color = (64, 68, 75)
_BOB: Color = (38, 41, 46)
_TEXT: Color = (64, 68, 75)
# Blue and vermilion of the Okabe-Ito palette: told apart by the colour-blind.
_DRIVE: Color = (0, 114, 178)
_TORQUE: Color = (213, 94, 0)
_ARC_PER_ACCELERATION = 0.5  # rad on the screen for each rad/s²


class Scene(NamedTuple):
    """What a frame shows of one pendulum."""

    theta: float
    """Angle, rad."""
    drive: float
    """Acceleration by the drive, A·sin(ω·t + φ), rad/s²."""
    torque: float
    """Acceleration by the torque in force, c·u, rad/s²."""
    A: float
    """Amplitude of the drive, rad/s²."""
    step: int
    """Physics steps since the start of the episode."""
    episode_return: float
    """Sum of the rewards since then."""


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
        """Draw one pendulum.

        Args:
            scene: What to draw.
            size: Width and height, pixels.

        Returns:
            Colours, shape `(size, size, 3)`.
        """
        pygame = self._pygame
        canvas = pygame.Surface((size * _SUPERSAMPLING,) * 2, depth=32)
        canvas.fill(_BACKGROUND)
        self._draw_pendulum(canvas, scene)
        surface = pygame.transform.smoothscale(canvas, (size, size))
        self._draw_text(surface, scene)
        return np.frombuffer(pygame.image.tobytes(surface, "RGB"), dtype=np.uint8).reshape(size, size, 3).copy()

    def draw_tiles(self, scenes: Sequence[Scene]) -> Frame:
        """Draw many pendulums on one frame, row by row on a grid as square as can be.

        Args:
            scenes: What to draw, at least one; those after the first 64 are left out.

        Returns:
            Colours, shape `(height, width, 3)`; places without a pendulum are blank.
        """
        scenes = scenes[:MAX_TILES]
        columns = math.ceil(math.sqrt(len(scenes)))
        rows = math.ceil(len(scenes) / columns)
        size = max(FRAME_SIZE // 3, FRAME_SIZE * 2 // (columns + 1))
        frame = np.full((rows * size, columns * size, 3), _BACKGROUND, dtype=np.uint8)
        for i, scene in enumerate(scenes):
            row, column = divmod(i, columns)
            frame[row * size : (row + 1) * size, column * size : (column + 1) * size] = self.draw(scene, size)
        return frame

    def show(self, frame: Frame, fps: float) -> None:
        """Show a frame in the window, opened by the first call, no sooner than 1/fps after the one before."""
        pygame = self._pygame
        if self._window is None:
            pygame.display.init()
            pygame.display.set_caption("NBPendulum")
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

    def _draw_pendulum(self, canvas: Any, scene: Scene) -> None:
        draw = self._pygame.draw
        unit = canvas.get_width() / FRAME_SIZE
        pivot, length = canvas.get_width() / 2, 128 * unit

        def at(radius: float, angle: float) -> tuple[float, float]:
            return pivot + radius * math.sin(angle), pivot + radius * math.cos(angle)

        def bar(radius: float, angle: float, width: float, color: Color) -> None:
            # pygame draws thick slanted lines with slanted ends: a polygon has straight ones.
            half = width / 2
            across, along = (half * math.cos(angle), -half * math.sin(angle)), at(radius, angle)
            corners = [(1, (pivot, pivot)), (1, along), (-1, along), (-1, (pivot, pivot))]
            draw.polygon(canvas, color, [(x + side * across[0], y + side * across[1]) for side, (x, y) in corners])

        draw.circle(canvas, _RAIL, (pivot, pivot), length, round(2 * unit))
        bar(length + 66 * unit, 0.0, 2 * unit, _RAIL)  # where it should rest
        for radius, acceleration, color in ((36, scene.drive, _DRIVE), (58, scene.torque, _TORQUE)):
            arrow = _arc_arrow(length + radius * unit, scene.theta, acceleration * _ARC_PER_ACCELERATION, unit)
            if arrow:
                draw.polygon(canvas, color, [at(*corner) for corner in arrow])
        bob = at(length, scene.theta)
        bar(length, scene.theta, 9 * unit, _ARM)
        draw.circle(canvas, _ARM, (pivot, pivot), 9 * unit)
        draw.circle(canvas, _BACKGROUND, (pivot, pivot), 4 * unit)
        draw.circle(canvas, _BOB, bob, 20 * unit)

    def _draw_text(self, surface: Any, scene: Scene) -> None:
        size = surface.get_width()
        margin, line = size // 26, max(15, size // 20)
        font = self._pygame.font.Font(None, line + 4)

        def write(text: str, row: int, color: Color, right: bool = False) -> None:
            picture = font.render(text, True, color)
            x = size - margin - picture.get_width() if right else margin
            surface.blit(picture, (x, margin + row * line if row >= 0 else size - margin + row * line))

        write(f"A {scene.A:.2f}", 0, _TEXT)
        write(f"step {scene.step}", 0, _TEXT, right=True)
        write(f"return {scene.episode_return:.1f}", -1, _TEXT, right=True)
        if size >= FRAME_SIZE / 2:
            write(f"drive {scene.drive:+.2f}", -2, _DRIVE)
            write(f"torque {scene.torque:+.2f}", -1, _TORQUE)


def _arc_arrow(radius: float, start: float, sweep: float, unit: float) -> list[tuple[float, float]]:
    """Corners, as (radius, angle), of an arrow that bends around the pivot; none if it would be too short to see."""
    sweep = max(-2.8, min(2.8, sweep))
    head = min(abs(sweep), 14 * unit / radius)
    if abs(sweep) * radius < 2 * unit:
        return []
    end, neck = start + sweep, start + sweep - math.copysign(head, sweep)
    shaft = [float(angle) for angle in np.linspace(start, neck, 32)]
    outer = [(radius + 3 * unit, angle) for angle in shaft]
    inner = [(radius - 3 * unit, angle) for angle in reversed(shaft)]
    return [*outer, (radius + 9 * unit, neck), (radius, end), (radius - 9 * unit, neck), *inner]
