"""Two-dimensional point navigation, the RL task of the MAML paper: `gym.make("Navigation2D-v0")`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from nb_gym.interface import ScalarInterface
from nb_gym.pictures import PlaneScene
from nb_gym.plane import GOAL_RANGE, draw_goals, is_far, make_spaces, navigate, parse_goal, parse_moves, parse_options
from nb_gym.rendering import FRAME_SIZE
from nb_gym.settings import parse_count, parse_frame_size, parse_render_mode, parse_seed


class Navigation2DEnv(ScalarInterface, gym.Env[NDArray[np.float32], NDArray[np.float32]]):
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
        self._goal_setting = parse_goal(goal)
        self._episode_steps = parse_count("episode_steps", episode_steps)
        self.render_mode = parse_render_mode(render_mode, self.metadata["render_modes"])
        self._frame_size = parse_frame_size(frame_size)
        self.observation_space, self.action_space = make_spaces()
        self._steps: int | None = None
        self._running = False

    @property
    def episode_steps(self) -> int:
        """Steps per episode; set when the environment is made."""
        return self._episode_steps

    @property
    def decisions(self) -> int:
        """Decisions per episode: every step is one."""
        return self._episode_steps

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode at the origin.

        Args:
            seed: Seed of `np_random`; None goes on with the generator as it is.
            options: `goal` for this episode only.

        Raises:
            ValueError: If the seed or an option is not accepted; the episode before goes on unchanged.
        """
        seed = parse_seed(seed)
        goal = parse_options(options)
        super().reset(seed=seed)
        drawn = self._goal_setting if goal is None else goal
        self._goal = draw_goals(self.np_random, 1)[0] if drawn is None else drawn
        self._far = is_far(self._goal)
        self._position = np.zeros(2)
        self._steps, self._return, self._running = 0, 0.0, True
        if self.render_mode == "human":
            self.render()
        return self._position.astype(np.float32), {"goal": self._goal.copy()}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Move by `action`, shape `(2,)`.

        Raises:
            ResetNeeded: If no episode is running.
            ValueError: If the action has another shape or is not finite; the state stays as it was.
        """
        if self._steps is None or not self._running:
            raise ResetNeeded("no episode is running: call reset() before step()")
        self._position, reward, reached = navigate(self._position, parse_moves(action, (2,)), self._goal, self._far)
        self._steps, self._return = self._steps + 1, self._return + float(reward)
        terminated, truncated = bool(reached), self._steps >= self._episode_steps
        self._running = not (terminated or truncated)
        if self.render_mode == "human":
            self.render()
        return self._position.astype(np.float32), float(reward), terminated, truncated, {"goal": self._goal.copy()}

    def _scene(self) -> PlaneScene:
        if self._steps is None:
            raise ResetNeeded("there is nothing to draw: call reset() before render()")
        return PlaneScene(self._position.tolist(), self._goal.tolist(), GOAL_RANGE, self._steps, self._return)
