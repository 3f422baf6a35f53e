"""What scalar and vector environments share: a spec with the length of an episode, and pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded

from nb_gym.context.arguments import parse_count, parse_frame_size, parse_render_mode
from nb_gym.rendering import FRAME_SIZE, Frame, Renderer, Scene


class NoEpisodeError(ResetNeeded, AttributeError):
    """Something was asked of an environment before its first reset.

    It is an AttributeError, too, so that `hasattr`, and with it what looks through an environment's attributes, finds
    the attribute missing instead of failing.
    """


class Interface(ABC):
    """The part that `ScalarBase` and `VectorBase` share.

    A registered `max_episode_steps` would be the number of a `TimeLimit`, the same for every `frame_skip`. These
    environments count their steps themselves, and so each writes its own number of decisions into the spec that
    Gymnasium hands it, where time-aware wrappers look for it.

    Args:
        decisions: Decisions per episode at most, at least 1.
        render_mode: None or one of `metadata["render_modes"]`.
        frame_size: Width and height of a rendered frame, pixels.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  (Gymnasium's own annotation)
    render_mode: str | None
    _renderer: Renderer | None = None
    _spec: EnvSpec | None = None
    _begun = False
    _settings: Mapping[str, Any]

    def __init__(self, decisions: int, render_mode: str | None = None, frame_size: int = FRAME_SIZE) -> None:
        self._decisions = parse_count("decisions", decisions)
        self.render_mode = parse_render_mode(render_mode, self.metadata["render_modes"])
        self._frame_size = parse_frame_size(frame_size)

    @property
    def decisions(self) -> int:
        """Decisions per episode at most: `spec.max_episode_steps`."""
        return self._decisions

    @property
    def context_ranges(self) -> dict[str, tuple[float, float]]:
        """Ranges of the context parameters that are drawn afresh for each episode, by name."""
        return {name: value for name, value in self._settings.items() if isinstance(value, tuple)}

    @property
    def spec(self) -> EnvSpec | None:
        """How `gymnasium.make` made the environment, or None; `max_episode_steps` is its own number of decisions."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = None if spec is None else self._with_length(spec)

    def _with_length(self, spec: EnvSpec) -> EnvSpec:
        return replace(spec, max_episode_steps=self.decisions)

    @abstractmethod
    def _parse_options(self, options: Any) -> Mapping[str, Any]:
        """Check the options of a reset and merge them with the settings of the environment."""

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """Collect what the info says of the running episodes; arrays and dictionaries in it are new or read-only."""

    def _frames(self, scenes: Iterable[Scene]) -> list[Frame]:
        if self._renderer is None:
            self._renderer = Renderer()
        return [self._renderer.draw(scene, self._frame_size) for scene in scenes]

    def _check_drawable(self) -> bool:
        if self.render_mode is None:
            gym.logger.warn('render() does nothing without a render mode, which is an argument, such as "rgb_array"')
            return False
        if not self._begun:
            raise ResetNeeded("there is nothing to draw: call reset() before render()")
        return True

    def _check_begun(self, name: str) -> None:
        if not self._begun:
            raise NoEpisodeError(f"there is no {name} before the first episode: call reset() first")

    def __getstate__(self) -> dict[str, Any]:
        # A window can be neither copied nor pickled: the copy opens its own.
        return self.__dict__ | {"_renderer": None}
