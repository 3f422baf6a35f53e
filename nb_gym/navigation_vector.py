"""Many points at once: `gym.make_vec("Navigation2D-v0", num_envs=n)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from nb_gym.interface import VectorInterface
from nb_gym.pictures import PlaneScene
from nb_gym.plane import (
    GOAL_RANGE,
    BoolArray,
    FloatArray,
    draw_goals,
    is_far,
    make_spaces,
    navigate,
    parse_goal,
    parse_moves,
    parse_options,
)
from nb_gym.rendering import FRAME_SIZE
from nb_gym.settings import (
    parse_autoreset_mode,
    parse_count,
    parse_frame_size,
    parse_mapping,
    parse_render_mode,
    parse_reset_mask,
    parse_seeds,
)


class Navigation2DVectorEnv(VectorInterface, VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]):
    """`num_envs` points, each as `Navigation2DEnv` describes, moved together.

    From equal goals and actions it returns what as many `Navigation2DEnv`s would return, to the last bit. Every array
    it hands out is the caller's to keep.

    **Autoreset.** As Gymnasium defines them: NEXT_STEP (default), SAME_STEP (with `final_obs` and `final_info`) and
    DISABLED. In every mode `reset(options={"reset_mask": mask})` resets only the environments in the mask.

    **Stable-Baselines3** has vector environments of its own kind: `nb_agents.VectorEnvAdapter(envs)` is one.

    Args:
        num_envs: Number of environments, at least 1.
        goal: A goal for all, an array of shape `(num_envs, 2)`, or None to draw goals afresh for each episode.
        episode_steps: Steps per episode, at least 1.
        render_mode: None or "rgb_array".
        frame_size: Width and height of a rendered frame, pixels.
        max_episode_steps: A lower limit than `episode_steps`, as Gymnasium passes it.
        autoreset_mode: An `AutoresetMode` or its value.

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
        render_mode: str | None = None,
        frame_size: int = FRAME_SIZE,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        self.num_envs = parse_count("num_envs", num_envs)
        self._episode_steps = parse_count("episode_steps", episode_steps)
        if max_episode_steps is not None:
            self._episode_steps = min(self._episode_steps, parse_count("max_episode_steps", max_episode_steps))
        self._goal_setting = parse_goal(goal, self.num_envs)
        self.autoreset_mode = parse_autoreset_mode(autoreset_mode)
        self.render_mode = parse_render_mode(render_mode, self.metadata["render_modes"])
        self._frame_size = parse_frame_size(frame_size)
        self.metadata = self.metadata | {"autoreset_mode": self.autoreset_mode}
        self.single_observation_space, self.single_action_space = make_spaces()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._position: FloatArray | None = None

    @property
    def episode_steps(self) -> int:
        """Steps per episode; set when the environment is made."""
        return self._episode_steps

    @property
    def decisions(self) -> int:
        """Decisions per episode: every step is one."""
        return self._episode_steps

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin new episodes, in all environments or in those of `options["reset_mask"]`.

        Args:
            seed: One seed of `np_random`, which serves all environments; or a list, where an integer gives its
                environment the goal that `Navigation2DEnv.reset(seed=...)` draws and None draws from `np_random`.
            options: `goal` for this episode, `(2,)` or `(num_envs, 2)`, and `reset_mask`, booleans `(num_envs,)`.

        Raises:
            ResetNeeded: If the mask leaves out environments that never began an episode.
            ValueError: If a seed or an option is not accepted; nothing has changed then.
        """
        options = parse_mapping(options)
        mask = parse_reset_mask(options.pop("reset_mask", None), self.num_envs)
        goal = parse_options(options, self.num_envs)
        seeds = parse_seeds(seed, self.num_envs)
        if self._position is None and not mask.all():
            raise ResetNeeded("the first reset must begin an episode in every environment, without reset_mask")
        if not isinstance(seeds, list):
            super().reset(seed=seeds)
        elif None not in seeds:
            self.np_random = np.random.default_rng(cast("list[int]", seeds))
        if self._position is None:
            self._position, self._goal = np.zeros((self.num_envs, 2)), np.zeros((self.num_envs, 2))
            self._steps, self._returns = np.zeros(self.num_envs, dtype=np.int64), np.zeros(self.num_envs)
            self._over = np.zeros(self.num_envs, dtype=np.bool_)
        self._begin(mask, self._goal_setting if goal is None else goal, seeds if isinstance(seeds, list) else None)
        return self._position.astype(np.float32), self._info(mask)

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], FloatArray, BoolArray, BoolArray, dict[str, Any]]:
        """Move every point by its row of `actions`, shape `(num_envs, 2)`.

        Returns:
            Observations of shape `(num_envs, 2)`, then rewards, terminations and truncations of shape `(num_envs,)`,
            and the info.

        Raises:
            ResetNeeded: If an environment has no running episode and the autoreset mode does not begin one.
            ValueError: If the actions have another shape or are not finite; the states stay as they were.
        """
        if self._position is None:
            raise ResetNeeded("no episode is running: call reset() before step()")
        moves = parse_moves(actions, (self.num_envs, 2))
        if self._over.any() and self.autoreset_mode is AutoresetMode.DISABLED:
            over = np.flatnonzero(self._over).tolist()
            raise ResetNeeded(f"episodes are over in environments {over}: call reset() with a reset_mask before step()")
        self._position, rewards, terminations = navigate(self._position, moves, self._goal, self._far)
        self._steps = self._steps + 1
        truncations = self._steps >= self._episode_steps
        if self._over.any():  # the step after the end: NEXT_STEP begins here, ignoring the action
            rewards = np.where(self._over, 0.0, rewards)
            terminations, truncations = terminations & ~self._over, truncations & ~self._over
            self._begin(self._over, self._goal_setting)
        if self.render_mode is not None:
            self._returns = self._returns + rewards
        self._over = terminations | truncations
        final: dict[str, Any] = {}
        if self._over.any() and self.autoreset_mode is AutoresetMode.SAME_STEP:
            final = self._final_info(self._over)
            self._begin(self._over, self._goal_setting)
        return self._position.astype(np.float32), rewards, terminations, truncations, self._info() | final

    def _begin(self, mask: BoolArray, goal: FloatArray | None, seeds: list[int | None] | None = None) -> None:
        """Begin episodes where `mask` is True; their goals are drawn if `goal` is None."""
        if goal is None:
            goal = np.zeros((self.num_envs, 2))
            goal[mask] = draw_goals(self.np_random, int(mask.sum()))
            for i, seed in enumerate(seeds or []):
                if seed is not None:
                    goal[i] = draw_goals(seeding.np_random(seed)[0], 1)[0]
        where = mask[:, None]
        self._goal = np.where(where, goal, self._goal)
        self._far = is_far(self._goal)
        self._position = np.where(where, 0.0, cast(FloatArray, self._position))
        self._steps, self._returns = np.where(mask, 0, self._steps), np.where(mask, 0.0, self._returns)
        self._over = self._over & ~mask

    def _scenes(self) -> list[PlaneScene]:
        if self._position is None:
            raise ResetNeeded("there is nothing to draw: call reset() before render()")
        columns = (self._position, self._goal, np.full(self.num_envs, GOAL_RANGE), self._steps, self._returns)
        return [PlaneScene(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]

    def _info(self, mask: BoolArray | None = None) -> dict[str, Any]:
        return {"goal": self._goal.copy(), "_goal": np.ones(self.num_envs, dtype=np.bool_) if mask is None else mask}

    def _final_info(self, over: BoolArray) -> dict[str, Any]:
        final_obs = np.full(self.num_envs, None, dtype=object)
        last = cast(FloatArray, self._position)[over].astype(np.float32)
        final_obs[over] = np.fromiter(last, dtype=object, count=len(last))
        return {"final_obs": final_obs, "_final_obs": over, "final_info": self._info(over), "_final_info": over}
