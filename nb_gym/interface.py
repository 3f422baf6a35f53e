"""What every environment here owes Gymnasium beside its physics: a spec that tells its length, and pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from nb_gym.rendering import Frame, Renderer, Scene


class Interface:
    """The part that scalar and vector environments share.

    A registered `max_episode_steps` would be the number of a `TimeLimit`, the same for every `frame_skip`. These
    environments count their steps themselves, and so each writes its own number of decisions into the spec that
    Gymnasium hands it, where time-aware wrappers look for it.
    """

    metadata: dict[str, Any]
    render_mode: str | None
    _frame_size: int
    _renderer: Renderer | None = None
    _spec: EnvSpec | None = None

    @property
    def decisions(self) -> int:
        """Decisions per episode at most: `spec.max_episode_steps`."""
        raise NotImplementedError

    @property
    def spec(self) -> EnvSpec | None:
        """How `gymnasium.make` made the environment, or None; `max_episode_steps` is its own number of decisions."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = None if spec is None else self._tell_length(spec)

    def _tell_length(self, spec: EnvSpec) -> EnvSpec:
        return replace(spec, max_episode_steps=self.decisions)

    def _draw(self, scenes: Iterable[Scene]) -> list[Frame]:
        if self._renderer is None:
            self._renderer = Renderer()
        return [self._renderer.draw(scene, self._frame_size) for scene in scenes]

    def __getstate__(self) -> dict[str, Any]:
        # A window can be neither copied nor pickled: the copy opens its own.
        return self.__dict__ | {"_renderer": None}


class ScalarInterface(Interface):
    """For one environment; a subclass gives `decisions` and `_scene`."""

    def _scene(self) -> Scene:
        """What to draw; raises `ResetNeeded` before the first episode."""
        raise NotImplementedError

    def render(self) -> Any:
        """Draw the environment.

        Returns:
            Colours, a uint8 array of shape `(frame_size, frame_size, 3)`, in mode "rgb_array"; None in mode "human",
            which shows them in a window (it is called by `reset` and `step` there), and without a render mode.

        Raises:
            DependencyNotInstalled: If pygame is missing.
            ResetNeeded: If no episode was begun.
        """
        if self.render_mode is None:
            gym.logger.warn('render() does nothing without a render mode: make the environment with "rgb_array"')
            return None
        frame = self._draw([self._scene()])[0]
        if self.render_mode == "rgb_array":
            return frame
        assert self._renderer is not None
        self._renderer.show(frame, self.metadata["render_fps"], type(self).__name__)
        return None

    def close(self) -> None:
        """Close the window; may be called again."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


class VectorInterface(Interface):
    """For many environments; a subclass gives `decisions` and `_scenes`."""

    def _tell_length(self, spec: EnvSpec) -> EnvSpec:
        # `make_vec` records the limit of a vector class among its keywords, too, and makes it again from there.
        limit = self.decisions
        return replace(spec, max_episode_steps=limit, kwargs=spec.kwargs | {"max_episode_steps": limit})

    def _scenes(self) -> Iterable[Scene]:
        """What to draw; raises `ResetNeeded` before the first episode."""
        raise NotImplementedError

    def render(self) -> tuple[Frame, ...] | None:
        """Draw every environment; `nb_gym.tile` makes one picture of the frames.

        Returns:
            A frame for each environment, a uint8 array of shape `(frame_size, frame_size, 3)`, or None without a
            render mode.

        Raises:
            DependencyNotInstalled: If pygame is missing.
            ResetNeeded: If no episode was begun.
        """
        if self.render_mode is None:
            gym.logger.warn('render() does nothing without a render mode: make the environments with "rgb_array"')
            return None
        return tuple(self._draw(self._scenes()))

    def close_extras(self, **kwargs: Any) -> None:
        """Forget the renderer."""
        self._renderer = None
