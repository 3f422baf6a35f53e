"""One environment of Gymnasium's interface: what every scalar class here does beside its dynamics."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from nb_gym.context.arguments import parse_action, parse_seed
from nb_gym.interface import Interface
from nb_gym.rendering import Scene


class ScalarBase(Interface, gym.Env[NDArray[Any], NDArray[Any]]):
    """Counts decisions, ends episodes, checks seeds and actions, and draws; a subclass gives dynamics and spaces.

    A subclass calls the constructor and then `_set_spaces`, and gives `_parse_options`, `_begin`, `_advance`,
    `_observation`, `_facts` and, if it has render modes, `_scene`.
    """

    _running = False
    _cut = False  # `_advance` sets it where an episode cannot go on: it is truncated there

    def _set_spaces(self, observation: spaces.Box, action: spaces.Box) -> None:
        self.observation_space, self.action_space = observation, action
        self._action_shape = action.shape

    @abstractmethod
    def _begin(self, settings: Mapping[str, Any]) -> None:
        """Begin an episode with the settings that `_parse_options` returned; draws come from `np_random`."""

    @abstractmethod
    def _advance(self, action: NDArray[Any]) -> tuple[float, bool]:
        """Move on by one decision; returns the reward, and whether the episode has terminated."""

    @abstractmethod
    def _observation(self) -> NDArray[Any]:
        """Observe the state as it is now; the array is a new one."""

    def _scene(self) -> Scene:
        """Describe what to draw, the sum `_return` of the rewards included."""
        raise NotImplementedError

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: Seed of `np_random`; None goes on with the generator as it is.
            options: Settings for this episode only; the class lists their names.

        Returns:
            The observation and the info.

        Raises:
            ValueError: If the seed or an option is not accepted; the episode before goes on unchanged.
        """
        seed = parse_seed(seed)
        settings = self._parse_options(options)
        super().reset(seed=seed)
        self._begin(settings)
        self._begun = self._running = True
        self._elapsed, self._return, self._cut = 0, 0.0, False
        if self.render_mode == "human":
            self.render()
        return self._observation(), self._facts()

    def step(self, action: NDArray[Any]) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Make one decision.

        Args:
            action: Finite numbers, of the action space's shape; those outside of the space are clipped.

        Returns:
            The observation, the reward, whether the episode has terminated, whether it is truncated, and the info.

        Raises:
            ResetNeeded: If no episode is running.
            ValueError: If the action has another shape or is not finite; the state stays as it was.
        """
        if not self._running:
            raise ResetNeeded("no episode is running: call reset() before step()")
        reward, terminated = self._advance(parse_action(action, self._action_shape))
        self._elapsed += 1
        self._return += reward
        truncated = self._cut or self._elapsed >= self._decisions
        if terminated or truncated:
            self._running = False
        if self.render_mode == "human":
            self.render()
        return self._observation(), reward, terminated, truncated, self._facts()

    def render(self) -> Any:
        """Draw the environment.

        Returns:
            Colours, a uint8 array of shape `(frame_size, frame_size, 3)`, in mode "rgb_array"; None in mode "human",
            which shows them in a window (`reset` and `step` call it there), and without a render mode.

        Raises:
            DependencyNotInstalled: If pygame is missing.
            ResetNeeded: If no episode was begun.
        """
        if not self._check_drawable():
            return None
        frame = self._frames([self._scene()])[0]
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
