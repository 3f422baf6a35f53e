"""What a picture shows: the robot as MuJoCo draws it, with its context and its return."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any, NamedTuple

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from nb_gym.mujoco.parameters import usual
from nb_gym.rendering import Caption

_MOST_LINES = 6

MODES = ("human", "rgb_array")


class RobotScene(NamedTuple):
    """What a frame shows of one robot."""

    picture: NDArray[np.uint8]
    """Colours as MuJoCo draws them, shape `(size, size, 3)`."""
    context: Mapping[str, float]
    """Context parameters in force."""
    step: int
    """Decisions since the start of the episode."""
    episode_return: float
    """Sum of the rewards since then."""

    def paint(self, pygame: Any, canvas: Any) -> None:
        """Paint MuJoCo's picture over the whole canvas."""
        pixels = np.ascontiguousarray(self.picture)
        surface = pygame.image.frombuffer(pixels.tobytes(), pixels.shape[1::-1], "RGB")
        canvas.blit(pygame.transform.scale(surface, canvas.get_size()), (0, 0))

    def captions(self) -> list[Caption]:
        """List the parameters that are not as usual, the step and the return."""
        changed = [
            f"{name} {value:.3g}" for name, value in self.context.items() if value != usual(name) and not isnan(value)
        ]
        if len(changed) > _MOST_LINES:
            changed = [*changed[: _MOST_LINES - 1], f"and {len(changed) - _MOST_LINES + 1} more"]
        lines = [Caption(text, row) for row, text in enumerate(changed)]
        return [
            *lines,
            Caption(f"step {self.step}", 0, right=True),
            Caption(f"return {self.episode_return:.1f}", 1, right=True),
        ]


def draw_robot(env: Any) -> NDArray[np.uint8]:
    """Let MuJoCo draw a robot.

    Raises:
        DependencyNotInstalled: If there is no OpenGL to draw with.
    """
    try:
        picture: NDArray[np.uint8] = env.render()
    except Exception as error:  # whatever the missing library raises: OSError, AttributeError, glfw's own, ...
        raise DependencyNotInstalled(
            f"MuJoCo could not draw ({error}): it needs OpenGL. Without a screen, set the environment variable "
            "MUJOCO_GL to egl or osmesa before Python starts, and install Debian's libegl1 or libosmesa6"
        ) from error
    return picture
