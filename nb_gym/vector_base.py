"""Many environments of Gymnasium's interface: what every native vector class here does beside its dynamics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from nb_gym.context.arguments import (
    parse_actions,
    parse_autoreset_mode,
    parse_count,
    parse_mapping,
    parse_reset_mask,
    parse_seeds,
)
from nb_gym.context.settings import BoolArray, FloatArray
from nb_gym.interface import Interface
from nb_gym.rendering import FRAME_SIZE, Frame, Scene


class VectorBase(Interface, VectorEnv[NDArray[Any], NDArray[Any], NDArray[Any]]):
    """`num_envs` environments stepped together; a subclass gives dynamics and spaces.

    A subclass calls the constructor and then `_set_spaces`, sets `_settings`, which `_parse_options` merges with the
    options of a reset, and gives `_parse_options`, `_draw`, `_begin`, `_advance`, `_observations`, `_facts` and, if it
    has render modes, `_scenes`. `docs/contributing/environment.py` is a complete one.

    Every array that `reset` and `step` hand out is the caller's to keep: none is written again.

    **Autoreset.** As Gymnasium defines them: NEXT_STEP (default), SAME_STEP (with `final_obs` and `final_info`) and
    DISABLED. In every mode `reset(options={"reset_mask": mask})` resets only the environments in the mask, a boolean
    array of shape `(num_envs,)` with at least one True.

    **Seeds.** `reset(seed=int)` seeds one generator, `np_random`, which serves all environments. `reset(seed=[...])`
    begins the episode of environment i as the scalar environment's `reset(seed=seed[i])` does; None in the list draws
    from `np_random`, which is itself seeded from the list where no entry is None. Later episodes draw from `np_random`.

    Args:
        num_envs: Number of environments, at least 1.
        decisions: Decisions per episode at most, at least 1.
        max_episode_steps: Lower limit than `decisions`, as Gymnasium passes it, or None.
        autoreset_mode: Member of `AutoresetMode`, or its value.
        render_mode: None or one of `metadata["render_modes"]`.
        frame_size: Width and height of a rendered frame, pixels.

    Raises:
        ValueError: If an argument is not accepted; the message names it, its value and what is.
    """

    def __init__(
        self,
        num_envs: int,
        decisions: int,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        frame_size: int = FRAME_SIZE,
    ) -> None:
        self.num_envs = parse_count("num_envs", num_envs)
        if max_episode_steps is not None:
            decisions = min(decisions, parse_count("max_episode_steps", max_episode_steps))
        super().__init__(decisions, render_mode, frame_size)
        self.autoreset_mode = parse_autoreset_mode(autoreset_mode)
        self.metadata = self.metadata | {"autoreset_mode": self.autoreset_mode}
        # Decisions since the start of each episode: one number while all are at the same, which is the fast case.
        self._elapsed: int | NDArray[np.int64] = 0
        self._over: BoolArray | None = None
        self._cut: BoolArray | None = None  # `_advance` sets it where episodes cannot go on: they are truncated there
        self._returns: FloatArray = np.zeros(self.num_envs)  # counted only where a picture may show them
        self._everywhere = np.ones(self.num_envs, dtype=np.bool_)
        self._everywhere.flags.writeable = False

    def _set_spaces(self, observation: spaces.Box, action: spaces.Box) -> None:
        """Set the spaces from those of a single environment."""
        self.single_observation_space, self.single_action_space = observation, action
        self.observation_space = batch_space(observation, self.num_envs)
        self.action_space = batch_space(action, self.num_envs)
        self._action_shape = (self.num_envs, *action.shape)

    @abstractmethod
    def _draw(
        self, settings: Mapping[str, Any], rng: np.random.Generator, index: int | NDArray[np.int64], size: int | None
    ) -> dict[str, Any]:
        """Draw what begins new episodes.

        Args:
            settings: Settings of the episodes.
            rng: Generator of all that is drawn.
            index: Environments whose episodes begin, shape `(size,)`, or the number of a single one.
            size: Number of episodes, or None for a single one.

        Returns:
            Values by name, each of shape `(size, ...)`, without that axis for a single one, or a number for all.
        """

    @abstractmethod
    def _begin(self, index: NDArray[np.int64], drawn: dict[str, Any]) -> None:
        """Begin episodes in the environments `index`, all of them the first time, with what `_draw` returned."""

    @abstractmethod
    def _advance(self, actions: NDArray[Any]) -> tuple[FloatArray, BoolArray | None]:
        """Move on by one decision.

        Args:
            actions: Finite numbers, of the action space's shape.

        Returns:
            Rewards and terminations, new arrays of shape `(num_envs,)`; None where none can terminate. Both are ignored
            where an episode was over already.
        """

    @abstractmethod
    def _observations(self) -> NDArray[Any]:
        """Observe the states as they are now, shape `(num_envs, ...)`; the array is a new one."""

    def _told(self, made: BoolArray) -> dict[str, Any]:
        """Write what the info says of the last decisions, where `made` is True: new arrays, as `masked` has them."""
        return {}

    def _scenes(self) -> Iterable[Scene]:
        """Describe what to draw of each environment, the sums `_returns` of the rewards included."""
        raise NotImplementedError

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begin new episodes, in all environments or in those of `options["reset_mask"]`.

        Args:
            seed: One seed, or one for each environment; see the class.
            options: Settings for these episodes only, and `reset_mask`.

        Returns:
            Observations of all environments, and the info.

        Raises:
            ResetNeeded: If the mask leaves out environments that never began an episode.
            ValueError: If a seed or an option is not accepted; nothing has changed then.
        """
        options = parse_mapping(options)
        mask = parse_reset_mask(options.pop("reset_mask", None), self.num_envs)
        settings = self._parse_options(options)
        seeds = parse_seeds(seed, self.num_envs)
        if not self._begun and not mask.all():
            raise ResetNeeded("the first reset must begin an episode in every environment: leave reset_mask out")
        if not isinstance(seeds, list):
            super().reset(seed=seeds)
        elif None not in seeds:
            self.np_random = np.random.default_rng(cast("list[int]", seeds))
        self._start(mask, settings, seeds if isinstance(seeds, list) else None)
        self._begun = True
        return self._observations(), masked(self._facts(), mask)

    def step(self, actions: NDArray[Any]) -> tuple[NDArray[Any], FloatArray, BoolArray, BoolArray, dict[str, Any]]:
        """Make one decision in each environment.

        Args:
            actions: Finite numbers, of the action space's shape; those outside of the space are clipped.

        Returns:
            Observations; rewards, terminations and truncations, each of shape `(num_envs,)`; and the info.

        Raises:
            ResetNeeded: If an environment has no running episode and the autoreset mode does not begin one.
            ValueError: If the actions have another shape or are not finite; the states stay as they were.
        """
        if not self._begun:
            raise ResetNeeded("no episode is running: call reset() before step()")
        parsed = parse_actions(actions, self._action_shape)
        over = self._over
        if over is not None and self.autoreset_mode is AutoresetMode.DISABLED:
            raise ResetNeeded(
                f"episodes are over in environments {np.flatnonzero(over).tolist()}: "
                "call reset(), or reset(options={'reset_mask': mask}) for these, before step()"
            )
        rewards, terminations = self._advance(parsed)
        self._elapsed = self._elapsed + 1
        if over is not None:  # the step after the end: NEXT_STEP begins here, whatever the action
            rewards[over] = 0.0
            if terminations is not None:
                terminations[over] = False
            self._start(over, self._settings)
        if self.render_mode is not None:
            self._returns += rewards
        made = self._everywhere if over is None else ~over  # where a decision was made
        truncations, over = self._ends(terminations)
        self._over = over
        if terminations is None:
            terminations = np.zeros(self.num_envs, dtype=np.bool_)
        if over is None or self.autoreset_mode is not AutoresetMode.SAME_STEP:
            return self._observations(), rewards, terminations, truncations, self._info() | self._told(made)
        final = self._final_info(over)
        told = self._told(made & ~over)
        self._start(over, self._settings)
        return self._observations(), rewards, terminations, truncations, self._info() | told | final

    def _start(self, mask: BoolArray, settings: Mapping[str, Any], seeds: list[int | None] | None = None) -> None:
        """Begin new episodes where `mask` is True."""
        index = np.flatnonzero(mask)
        if seeds is None:
            drawn = self._draw(settings, self.np_random, index, len(index))
        else:
            rngs = [self.np_random if seeds[i] is None else seeding.np_random(seeds[i])[0] for i in index]
            drawn = self._draw_seeded(settings, rngs, index)
        self._begin(index, drawn)
        if len(index) == self.num_envs:
            self._elapsed, self._over = 0, None
        else:
            elapsed = np.full(self.num_envs, self._elapsed)
            elapsed[index] = 0
            self._elapsed = int(elapsed[0]) if (elapsed == elapsed[0]).all() else elapsed
            if self._over is not None:
                over = self._over & ~mask
                self._over = over if over.any() else None
        self._returns[index] = 0.0
        self._facts_now = self._facts()
        self._info_now = masked(self._facts_now, self._everywhere)

    def _info(self) -> dict[str, Any]:
        """Copy the info of all environments, since a caller may write into it."""
        return self._info_now | {name: self._info_now[name].copy() for name in self._facts_now}

    def _draw_seeded(
        self, settings: Mapping[str, Any], rngs: Sequence[np.random.Generator], index: NDArray[np.int64]
    ) -> dict[str, Any]:
        """Draw the episodes of the environments `index`, each from its own generator as a single environment would."""
        drawn = [self._draw(settings, rng, i, None) for rng, i in zip(rngs, index, strict=True)]
        columns = {name: [each[name] for each in drawn] for name in drawn[0]}
        return {
            name: column[0] if isinstance(settings.get(name), float) else np.array(column)
            for name, column in columns.items()
        }

    def _ends(self, terminations: BoolArray | None) -> tuple[BoolArray, BoolArray | None]:
        """Find the episodes that are truncated, and those that are over for any reason; None if none is."""
        if isinstance(self._elapsed, int):
            ended = self._elapsed >= self._decisions
            truncations = (np.ones if ended else np.zeros)(self.num_envs, dtype=np.bool_)
        else:
            truncations = self._elapsed >= self._decisions
            ended = bool(truncations.any())
        if self._cut is not None:
            truncations, ended, self._cut = truncations | self._cut, True, None
        if terminations is not None and terminations.any():
            return truncations, truncations | terminations
        return truncations, truncations.copy() if ended else None

    def _final_info(self, over: BoolArray) -> dict[str, Any]:
        """Collect what SAME_STEP adds: the last observation and info of the episodes that are over."""
        final_obs = np.full(self.num_envs, None, dtype=object)
        last = self._observations()[over]
        final_obs[over] = np.fromiter(last, dtype=object, count=len(last))
        info = masked(self._facts(), over) | self._told(over)
        return {"final_obs": final_obs, "_final_obs": over, "final_info": info, "_final_info": over}

    def _with_length(self, spec: EnvSpec) -> EnvSpec:
        # `make_vec` records the limit of a vector class among its keywords, too, and makes it again from there.
        limit = self.decisions
        return replace(spec, max_episode_steps=limit, kwargs=spec.kwargs | {"max_episode_steps": limit})

    def render(self) -> tuple[Frame, ...] | None:
        """Draw every environment; `nb_gym.tile` makes one picture of the frames.

        Returns:
            A frame for each environment, a uint8 array of shape `(frame_size, frame_size, 3)`, or None without a
            render mode.

        Raises:
            DependencyNotInstalled: If pygame is missing.
            ResetNeeded: If no episode was begun.
        """
        return tuple(self._frames(self._scenes())) if self._check_drawable() else None

    def close_extras(self, **kwargs: Any) -> None:
        """Forget the renderer."""
        self._renderer = None


def masked(facts: Mapping[str, Any], mask: BoolArray) -> dict[str, Any]:
    """Write facts as Gymnasium's vector environments do: beside each, under `_` and its name, where it is valid."""
    info: dict[str, Any] = {}
    for name, value in facts.items():
        info[name] = masked(value, mask) if isinstance(value, dict) else value
        info[f"_{name}"] = mask
    return info
