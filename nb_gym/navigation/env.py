"""Two-dimensional point navigation, the RL task of the MAML paper: `gym.make("Navigation2D-v0")`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nb_gym.context.arguments import parse_count
from nb_gym.navigation.pictures import PlaneScene
from nb_gym.navigation.plane import GOAL_RANGE, draw_goals, is_far, make_spaces, navigate, parse_goal, parse_options
from nb_gym.rendering import FRAME_SIZE
from nb_gym.scalar_base import ScalarBase


class Navigation2DEnv(ScalarBase):
    """A point in the plane that is paid for being near a goal that it cannot see.

    ## Description

    The 2-D navigation of Finn, Abbeel & Levine (2017, https://arxiv.org/abs/1703.03400), section 5.3: a task is a
    goal, and nothing in the observation tells which. A policy can only do well on a goal after adapting to it.

    ## Action space

    `Box(-0.1, 0.1, (2,), float32)`: the move along each axis. Moves beyond the limit are clipped.

    ## Observation space

    `Box(-Inf, Inf, (2,), float32)`: the position.

    ## Reward

    Minus the Euclidean distance from the new position to the goal.

    ## Starting state

    The origin. If `goal` is None, the goal is drawn uniformly from [−0.5, 0.5]², by `np_random`, at each reset.

    ## Episode end

    It terminates when the point is closer than 0.01 to the goal along both axes, as in the paper's code, and is
    truncated after `episode_steps` steps. A step after the end raises `gymnasium.error.ResetNeeded`.

    ## Information

    `info["goal"]` is the goal in force.

    ## Version history

    * v0: initial version.

    Args:
        goal: Two finite numbers, or None to draw them afresh for each episode. `reset(options={"goal": ...})` sets it
            for one episode.
        episode_steps: Steps per episode, at least 1.
        render_mode: None, "human" or "rgb_array".
        frame_size: Width and height of a rendered frame, pixels.

    Raises:
        ValueError: If an argument is not accepted; the message names it, its value and what is.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 10}  # noqa: RUF012  (Gymnasium's own annotation)

    def __init__(
        self,
        *,
        goal: Any = None,
        episode_steps: int = 100,
        render_mode: str | None = None,
        frame_size: int = FRAME_SIZE,
    ) -> None:
        super().__init__(parse_count("episode_steps", episode_steps), render_mode, frame_size)
        self._settings = {"goal": parse_goal(goal)}
        self._set_spaces(*make_spaces())

    @property
    def episode_steps(self) -> int:
        """Steps per episode; set when the environment is made."""
        return self.decisions

    def _parse_options(self, options: Any) -> Mapping[str, Any]:
        return parse_options(options, self._settings)

    def _begin(self, settings: Mapping[str, Any]) -> None:
        goal = settings["goal"]
        self._goal = draw_goals(self.np_random, 1)[0] if goal is None else goal
        self._far = is_far(self._goal)
        self._position = np.zeros(2)

    def _advance(self, action: NDArray[Any]) -> tuple[float, bool]:
        self._position, reward, reached = navigate(self._position, action, self._goal, self._far)
        return float(reward), bool(reached)

    def _observation(self) -> NDArray[np.float32]:
        return self._position.astype(np.float32)

    def _facts(self) -> dict[str, Any]:
        return {"goal": self._goal.copy()}

    def _scene(self) -> PlaneScene:
        return PlaneScene(self._position.tolist(), self._goal.tolist(), GOAL_RANGE, self._elapsed, self._return)
