"""Context, history or pictures in the observation of one environment."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from nb_gym.wrappers.context import ContextScale, Parameters, context_of
from nb_gym.wrappers.history import History
from nb_gym.wrappers.parts import join, joined_space
from nb_gym.wrappers.pixels import Painter


class ContextObservation(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Shows chosen parameters of the context, which `info["context"]` reports, scaled so that their ranges are [−1, 1].

    Args:
        env: Environment that reports its context as a mapping of names to numbers.
        parameters: `(low, high)` ranges by the names of the parameters; or names alone, where the environment draws the
            parameter from a range; None for all that it does.
        key: Key of the scaled values, where the observation is to be a dictionary; None puts them behind a flat one,
            and under "context" into a dictionary.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If a parameter has no range, the observation cannot be flat, or, in `reset` and `step`, the
            environment reports no context, or one that is no finite number.
    """

    def __init__(self, env: gym.Env[Any, Any], parameters: Parameters = None, *, key: str | None = None) -> None:
        RecordConstructorArgs.__init__(self, parameters=parameters, key=key)
        super().__init__(env)
        self._scale, self._key = ContextScale(env, parameters), key or "context"
        self.observation_space = joined_space(env.observation_space, "context", self._scale.space, key)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, see `gymnasium.Env.reset`."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._values = self._scale(context_of(info))
        return self._joined(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Make one decision, see `gymnasium.Env.step`; the context of the episode stays where the info has none."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if "context" in info:
            self._values = self._scale(context_of(info))
        return self._joined(observation), reward, terminated, truncated, info

    def _joined(self, observation: Any) -> Any:
        return join(self.observation_space, observation, self._values.copy(), self._key)


class HistoryObservation(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Shows the last complete transitions of the episode: observation, action, change of the observation, and a mask.

    It is `steps` rows of `2 * n_observed + n_acted + 1` numbers, flattened. The latest transition is the last row; rows
    without one are 0, mask included, and so are all as an episode begins. A wrapper around it that standardises
    observations must leave the history alone, or zeros and mask are no longer any: give it a `key`, and leave that out.

    Args:
        env: Environment whose observation, or its part "observation", is a `Box` of one dimension.
        steps: Number of transitions, at least 1.
        key: Key of the history, where the observation is to be a dictionary; None puts it behind a flat one, and under
            "history" into a dictionary.

    Raises:
        TypeError: If `key` is no text.
        ValueError: If `steps` or `key` is not accepted, or observation or actions are of another kind.
    """

    def __init__(self, env: gym.Env[Any, Any], steps: int = 8, *, key: str | None = None) -> None:
        RecordConstructorArgs.__init__(self, steps=steps, key=key)
        super().__init__(env)
        self._history, self._key = History(1, steps, env.observation_space, env.action_space), key or "history"
        self.observation_space = joined_space(env.observation_space, "history", self._history.space, key)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode with an empty history, see `gymnasium.Env.reset`."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._history.begin(_one(observation))
        return self._joined(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Make one decision, see `gymnasium.Env.step`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._history.add(np.asarray(action)[None], _one(observation))
        return self._joined(observation), reward, terminated, truncated, info

    def _joined(self, observation: Any) -> Any:
        return join(self.observation_space, observation, self._history.read()[0], self._key)


class PixelObservation(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Shows a driven pendulum as two small pictures, before and after the last decision, drawn without pygame.

    The observation is `Box(0, 255, (size, size, 6), uint8)`: red, green and blue of the picture before, then those of
    the present one. As an episode begins both are the same. The policies of SB3 for images take it as it is; its
    `NatureCNN` needs a size of at least 36. A picture shows θ, wrapped as every picture of a pendulum does, and the
    phase of the drive, a dot that goes round::

        env = PixelObservation(gym.make("NBPendulumControl-v0"), look="inverted")
        model = PPO("CnnPolicy", env)

    Args:
        env: Driven pendulum that observes `theta`, `sin_drive` and `cos_drive`, as `NBPendulumControl-v0` does, without
            a wrapper that changes its observations.
        size: Width and height of a picture, from 32 to 2048 pixels.
        look: How the pendulum is drawn: a `Look`, a name in `LOOKS`, or a pair of these, between which every number is
            drawn uniformly from `np_random` as an episode begins.

    Raises:
        TypeError: If `env` is no pendulum, or `look` of another kind.
        ValueError: If a channel is not observed, the observations are changed, or `size` or a look is not accepted.
    """

    def __init__(self, env: gym.Env[Any, Any], size: int = 36, look: Any = "plain") -> None:
        RecordConstructorArgs.__init__(self, size=size, look=look)
        super().__init__(env)
        self._painter = Painter(env, 1, (env.observation_space, env.unwrapped.observation_space), size, look)
        self.observation_space = self._painter.space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, see `gymnasium.Env.reset`."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._painter.begin(observation[None])
        return self._painter.read()[0], info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Make one decision, see `gymnasium.Env.step`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._painter.add(observation[None])
        return self._painter.read()[0], reward, terminated, truncated, info


def _one(observation: Any) -> Any:
    """An observation as a batch of one."""
    if isinstance(observation, dict):
        return {name: np.asarray(value)[None] for name, value in observation.items()}
    return np.asarray(observation)[None]
