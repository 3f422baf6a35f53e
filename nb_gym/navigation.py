"""Two-dimensional point navigation, the reinforcement-learning task of the MAML paper: `Navigation2D-v0`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from nb_gym.settings import (
    parse_autoreset_mode,
    parse_count,
    parse_mapping,
    parse_reset_mask,
    parse_seeds,
    real_array,
)

FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]

STEP_LIMIT = 0.1
"""Largest move along an axis in one step."""
GOAL_RANGE = 0.5
"""Goals that are drawn are uniform in ±GOAL_RANGE along each axis."""
GOAL_SIZE = 0.01
"""The episode ends when the point is closer than this to the goal along both axes."""


def navigate(position: FloatArray, move: FloatArray, goal: FloatArray) -> tuple[FloatArray, FloatArray, BoolArray]:
    """One step of any number of points.

    Args:
        position: Where they are, shape `(..., 2)`.
        move: Where they want to go, relative to there, clipped to ±`STEP_LIMIT` along each axis, shape `(..., 2)`.
        goal: Their goals, shape `(..., 2)`.

    Returns:
        The new positions, shape `(..., 2)`; the rewards, minus the distance to the goal; and whether it is reached.
    """
    position = position + np.minimum(np.maximum(move, -STEP_LIMIT), STEP_LIMIT)
    offset = position - goal
    x, y = offset[..., 0], offset[..., 1]
    reached = (np.abs(x) < GOAL_SIZE) & (np.abs(y) < GOAL_SIZE)
    return position, -np.sqrt(x * x + y * y), reached


class Navigation2DEnv(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
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

    Raises:
        ValueError: If an argument is not accepted; the message names it, its value and what is.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  (Gymnasium's own annotation)

    def __init__(self, *, goal: Any = None, episode_steps: int = 100) -> None:
        self._goal_setting = _parse_goal(goal)
        self._episode_steps = parse_count("episode_steps", episode_steps)
        self.observation_space, self.action_space = _make_spaces()
        self._steps: int | None = None

    @property
    def episode_steps(self) -> int:
        """Steps per episode; set when the environment is made."""
        return self._episode_steps

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode at the origin.

        Args:
            seed: Seed of `np_random`; None goes on with the generator as it is.
            options: `goal` for this episode only.

        Raises:
            ValueError: If an option is unknown or not accepted; the episode before goes on unchanged.
        """
        goal = _parse_options(options)
        super().reset(seed=seed)
        drawn = self._goal_setting if goal is None else goal
        self._goal = _draw_goals(self.np_random, 1)[0] if drawn is None else drawn
        self._position = np.zeros(2)
        self._steps = 0
        return self._position.astype(np.float32), {"goal": self._goal.copy()}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Move by `action`, shape `(2,)`.

        Raises:
            ResetNeeded: If no episode is running.
            ValueError: If the action has another shape or is not finite; the state stays as it was.
        """
        if self._steps is None:
            raise ResetNeeded("no episode is running: call reset() before step()")
        self._position, reward, reached = navigate(self._position, _parse_moves(action, (2,)), self._goal)
        steps = self._steps + 1
        terminated, truncated = bool(reached), steps >= self._episode_steps
        self._steps = None if terminated or truncated else steps
        return self._position.astype(np.float32), float(reward), terminated, truncated, {"goal": self._goal.copy()}


class Navigation2DVectorEnv(VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]):
    """`num_envs` points, each as `Navigation2DEnv` describes, moved together.

    From equal goals and actions it returns what as many `Navigation2DEnv`s would return, to the last bit. Every array
    it hands out is the caller's to keep.

    **Autoreset.** As Gymnasium defines them: NEXT_STEP (default), SAME_STEP (with `final_obs` and `final_info`) and
    DISABLED. In every mode `reset(options={"reset_mask": mask})` resets only the environments in the mask.

    Args:
        num_envs: Number of environments, at least 1.
        goal: A goal for all, an array of shape `(num_envs, 2)`, or None to draw goals afresh for each episode.
        episode_steps: Steps per episode, at least 1.
        max_episode_steps: A lower limit than `episode_steps`, as Gymnasium passes it.
        autoreset_mode: An `AutoresetMode` or its value.

    Raises:
        ValueError: If an argument is not accepted; the message names it, its value and what is.
    """

    # `per_env_kwargs`: keywords that may differ between the environments, with the shape of one value.
    metadata: dict[str, Any] = {"render_modes": [], "per_env_kwargs": {"goal": (2,)}}  # noqa: RUF012  (each instance has its own)

    def __init__(
        self,
        num_envs: int = 1,
        *,
        goal: Any = None,
        episode_steps: int = 100,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        self.num_envs = parse_count("num_envs", num_envs)
        self._episode_steps = parse_count("episode_steps", episode_steps)
        if max_episode_steps is not None:
            self._episode_steps = min(self._episode_steps, parse_count("max_episode_steps", max_episode_steps))
        self._goal_setting = _parse_goal(goal, self.num_envs)
        self.autoreset_mode = parse_autoreset_mode(autoreset_mode)
        self.metadata = self.metadata | {"autoreset_mode": self.autoreset_mode}
        self.single_observation_space, self.single_action_space = _make_spaces()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._position: FloatArray | None = None

    @property
    def episode_steps(self) -> int:
        """Steps per episode; set when the environment is made."""
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
            ValueError: If an option is unknown or not accepted; nothing has changed then.
        """
        options = parse_mapping(options)
        mask = parse_reset_mask(options.pop("reset_mask", None), self.num_envs)
        goal = _parse_options(options, self.num_envs)
        seeds = None if seed is None or isinstance(seed, (int, np.integer)) else parse_seeds(seed, self.num_envs)
        if self._position is None:
            if not mask.all():
                raise ResetNeeded("the first reset must begin an episode in every environment, without reset_mask")
            self._position, self._goal = np.zeros((self.num_envs, 2)), np.zeros((self.num_envs, 2))
            self._steps = np.zeros(self.num_envs, dtype=np.int64)
            self._over = np.zeros(self.num_envs, dtype=np.bool_)
        if seeds is None:
            super().reset(seed=cast("int | None", seed))
        elif None not in seeds:
            self.np_random = np.random.default_rng(cast("list[int]", seeds))
        self._begin(mask, self._goal_setting if goal is None else goal, seeds)
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
        moves = _parse_moves(actions, (self.num_envs, 2))
        if self._over.any() and self.autoreset_mode is AutoresetMode.DISABLED:
            over = np.flatnonzero(self._over).tolist()
            raise ResetNeeded(f"episodes are over in environments {over}: call reset() with a reset_mask before step()")
        self._position, rewards, terminations = navigate(self._position, moves, self._goal)
        self._steps = self._steps + 1
        truncations = self._steps >= self._episode_steps
        if self._over.any():  # the step after the end: NEXT_STEP begins here, ignoring the action
            rewards = np.where(self._over, 0.0, rewards)
            terminations, truncations = terminations & ~self._over, truncations & ~self._over
            self._begin(self._over, self._goal_setting)
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
            goal[mask] = _draw_goals(self.np_random, int(mask.sum()))
            for i, seed in enumerate(seeds or []):
                if seed is not None:
                    goal[i] = _draw_goals(seeding.np_random(seed)[0], 1)[0]
        where = mask[:, None]
        self._goal = np.where(where, goal, self._goal)
        self._position = np.where(where, 0.0, cast(FloatArray, self._position))
        self._steps = np.where(mask, 0, self._steps)
        self._over = self._over & ~mask

    def _info(self, mask: BoolArray | None = None) -> dict[str, Any]:
        return {"goal": self._goal.copy(), "_goal": np.ones(self.num_envs, dtype=np.bool_) if mask is None else mask}

    def _final_info(self, over: BoolArray) -> dict[str, Any]:
        final_obs = np.full(self.num_envs, None, dtype=object)
        last = cast(FloatArray, self._position)[over].astype(np.float32)
        final_obs[over] = np.fromiter(last, dtype=object, count=len(last))
        return {"final_obs": final_obs, "_final_obs": over, "final_info": self._info(over), "_final_info": over}


def _make_spaces() -> tuple[spaces.Box, spaces.Box]:
    observation = spaces.Box(-np.inf, np.inf, (2,), dtype=np.float32)
    return observation, spaces.Box(-STEP_LIMIT, STEP_LIMIT, (2,), dtype=np.float32)


def _draw_goals(rng: np.random.Generator, size: int) -> FloatArray:
    return rng.uniform(-GOAL_RANGE, GOAL_RANGE, size=(size, 2))


def _parse_goal(goal: Any, num_envs: int | None = None) -> FloatArray | None:
    if goal is None:
        return None
    shapes = [(2,)] if num_envs is None else [(2,), (num_envs, 2)]
    array = real_array(goal)
    if array.shape not in shapes or not np.isfinite(array).all():
        raise ValueError(f"goal must be finite and of shape {' or '.join(map(str, shapes))}, or None, got {goal!r}")
    return array.astype(np.float64)


def _parse_options(options: dict[str, Any] | None, num_envs: int | None = None) -> FloatArray | None:
    options = parse_mapping(options)
    for name in options:
        if name != "goal":
            raise ValueError(f"unknown reset option {name!r}; accepted is 'goal'")
    return _parse_goal(options.get("goal"), num_envs)


def _parse_moves(actions: Any, shape: tuple[int, ...]) -> FloatArray:
    moves = real_array(actions)
    if moves.shape != shape or not np.isfinite(moves).all():
        raise ValueError(f"action must be finite moves, an array of shape {shape}, got {actions!r}")
    return moves.astype(np.float64, copy=False)
