"""What a picture shows: a pendulum with the forces on it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from nb_gym.rendering import BACKGROUND, BLUE, BODY, FRAME_SIZE, INK, RAIL, VERMILION, Caption, Color

_ARC_PER_ACCELERATION = 0.5  # rad on the screen for each rad/s²


class PendulumScene(NamedTuple):
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

    def paint(self, pygame: Any, canvas: Any) -> None:
        """Paint the rail, the arrows of drive and torque around it, arm and bob."""
        draw = pygame.draw
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

        draw.circle(canvas, RAIL, (pivot, pivot), length, round(2 * unit))
        bar(length + 66 * unit, 0.0, 2 * unit, RAIL)  # where it should rest
        for radius, acceleration, color in ((36, self.drive, BLUE), (58, self.torque, VERMILION)):
            arrow = _arc_arrow(length + radius * unit, self.theta, acceleration * _ARC_PER_ACCELERATION, unit)
            if arrow:
                draw.polygon(canvas, color, [at(*corner) for corner in arrow])
        bob = at(length, self.theta)
        bar(length, self.theta, 9 * unit, INK)
        draw.circle(canvas, INK, (pivot, pivot), 9 * unit)
        draw.circle(canvas, BACKGROUND, (pivot, pivot), 4 * unit)
        draw.circle(canvas, BODY, bob, 20 * unit)

    def captions(self) -> list[Caption]:
        """List amplitude, step and return; drive and torque where there is room."""
        return [
            Caption(f"A {self.A:.2f}", 0),
            Caption(f"step {self.step}", 0, right=True),
            Caption(f"return {self.episode_return:.1f}", -1, right=True),
            Caption(f"drive {self.drive:+.2f}", -2, BLUE, only_large=True),
            Caption(f"torque {self.torque:+.2f}", -1, VERMILION, only_large=True),
        ]


def _arc_arrow(radius: float, start: float, sweep: float, unit: float) -> list[tuple[float, float]]:
    """List the corners, as (radius, angle), of an arrow around the pivot; none if it would be too short to see."""
    sweep = max(-2.8, min(2.8, sweep))
    head = min(abs(sweep), 14 * unit / radius)
    if abs(sweep) * radius < 2 * unit:
        return []
    end, neck = start + sweep, start + sweep - math.copysign(head, sweep)
    shaft = [float(angle) for angle in np.linspace(start, neck, 32)]
    outer = [(radius + 3 * unit, angle) for angle in shaft]
    inner = [(radius - 3 * unit, angle) for angle in reversed(shaft)]
    return [*outer, (radius + 9 * unit, neck), (radius, end), (radius - 9 * unit, neck), *inner]
