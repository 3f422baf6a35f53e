"""What a picture shows: a point in the plane with its goal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from nb_gym.rendering import BODY, FRAME_SIZE, RAIL, VERMILION, Caption

_VIEW = 0.65  # the plane is shown at least to here along each axis


class PlaneScene(NamedTuple):
    """What a frame shows of one point in the plane; x grows to the right, y upwards."""

    position: Sequence[float]
    """x and y of the point."""
    goal: Sequence[float]
    """x and y of its goal."""
    goal_range: float
    """Half the side of the square in which goals are drawn."""
    step: int
    """Steps since the start of the episode."""
    episode_return: float
    """Sum of the rewards since then."""

    def paint(self, pygame: Any, canvas: Any) -> None:
        """Paint the square of the goals, the origin, the goal and the point; the view is as wide as they need."""
        draw = pygame.draw
        width = canvas.get_width()
        unit = width / FRAME_SIZE
        half = max(_VIEW, 1.1 * max(map(abs, (*self.position, *self.goal))))

        def at(x: float, y: float) -> tuple[float, float]:
            return width / 2 * (1 + x / half), width / 2 * (1 - y / half)

        left, top = at(-self.goal_range, self.goal_range)
        draw.rect(canvas, RAIL, (left, top, width - 2 * left, width - 2 * top), round(2 * unit))
        draw.circle(canvas, RAIL, at(0.0, 0.0), 5 * unit)
        draw.circle(canvas, VERMILION, at(*self.goal), 12 * unit, round(4 * unit))
        draw.circle(canvas, BODY, at(*self.position), 8 * unit)

    def captions(self) -> list[Caption]:
        """List step and return."""
        return [
            Caption(f"step {self.step}", 0, right=True),
            Caption(f"return {self.episode_return:.1f}", -1, right=True),
            Caption("goal", -1, VERMILION, only_large=True),
        ]
