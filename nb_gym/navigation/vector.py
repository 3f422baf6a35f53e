"""Many points at once: `gym.make_vec("Navigation2D-v0", num_envs=n)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from nb_gym.context.arguments import parse_count
from nb_gym.context.settings import BoolArray
from nb_gym.navigation.pictures import PlaneScene
from nb_gym.navigation.plane import (
    GOAL_RANGE,
    FloatArray,
    draw_goals,
    is_far,
    make_spaces,
    navigate,
    parse_goal,
    parse_options,
)
from nb_gym.rendering import FRAME_SIZE
from nb_gym.vector_base import VectorBase


class Navigation2DVectorEnv(VectorBase):
    """`num_envs` points, each as `Navigation2DEnv` describes, moved together.

    From equal goals and actions it returns what as many `Navigation2DEnv`s would return, to the last bit. Autoreset,
    masks and seeds are those of `VectorBase`.

    **Stable-Baselines3** has vector environments of its own kind: `nb_agents.VectorEnvAdapter(envs)` is one.

    Args:
        num_envs: Number of environments, at least 1.
        goal: Goal of all, an array of shape `(num_envs, 2)`, or None to draw goals afresh for each episode.
        episode_steps: Steps per episode, at least 1.
        max_episode_steps: Lower limit than `episode_steps`, as Gymnasium passes it.
        autoreset_mode: Member of `AutoresetMode`, or its value.
        render_mode: None or "rgb_array".
        frame_size: Width and height of a rendered frame, pixels.

    Raises:
        ValueError: If an argument is not accepted; the message names it, its value and what is.
    """

    # `per_env_kwargs`: keywords that may differ between the environments, with the shape of one value.
    metadata: dict[str, Any] = {  # noqa: RUF012  (each instance has its own)
        "render_modes": ["rgb_array"],
        "render_fps": 10,
        "per_env_kwargs": {"goal": (2,)},
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        goal: Any = None,
        episode_steps: int = 100,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        frame_size: int = FRAME_SIZE,
    ) -> None:
        super().__init__(
            num_envs,
            decisions=parse_count("episode_steps", episode_steps),
            max_episode_steps=max_episode_steps,
            autoreset_mode=autoreset_mode,
            render_mode=render_mode,
            frame_size=frame_size,
        )
        self._settings = {"goal": parse_goal(goal, self.num_envs)}
        self._set_spaces(*make_spaces())
        self._position, self._goal = np.zeros((self.num_envs, 2)), np.zeros((self.num_envs, 2))

    @property
    def episode_steps(self) -> int:
        """Steps per episode; set when the environment is made."""
        return self.decisions

    def _parse_options(self, options: Any) -> Mapping[str, Any]:
        return parse_options(options, self._settings, self.num_envs)

    def _draw(
        self, settings: Mapping[str, Any], rng: np.random.Generator, index: int | NDArray[np.int64], size: int | None
    ) -> dict[str, Any]:
        goal = settings["goal"]
        if goal is None:
            goals = draw_goals(rng, 1 if size is None else size)
            return {"goal": goals[0] if size is None else goals}
        return {"goal": goal[index] if goal.ndim == 2 else goal}

    def _draw_seeded(
        self, settings: Mapping[str, Any], rngs: Sequence[np.random.Generator], index: NDArray[np.int64]
    ) -> dict[str, Any]:
        # Also the goals that a seed decides are drawn from `np_random` first: v0 has always gone on from there.
        drawn = self._draw(settings, self.np_random, index, len(index))
        for k, rng in enumerate(rngs):
            if rng is not self.np_random and settings["goal"] is None:
                drawn["goal"][k] = draw_goals(rng, 1)[0]
        return drawn

    def _begin(self, index: NDArray[np.int64], drawn: dict[str, Any]) -> None:
        self._position[index], self._goal[index] = 0.0, drawn["goal"]
        self._far = is_far(self._goal)

    def _advance(self, actions: NDArray[Any]) -> tuple[FloatArray, BoolArray]:
        self._position, rewards, reached = navigate(self._position, actions, self._goal, self._far)
        return rewards, reached

    def _observations(self) -> NDArray[np.float32]:
        return self._position.astype(np.float32)

    def _facts(self) -> dict[str, Any]:
        return {"goal": self._goal.copy()}

    def _scenes(self) -> list[PlaneScene]:
        steps = np.full(self.num_envs, self._elapsed)
        columns = (self._position, self._goal, np.full(self.num_envs, GOAL_RANGE), steps, self._returns)
        return [PlaneScene(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]
