"""Context and history in the observations of a vector environment, native or made of single ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from nb_gym.wrappers.context import ContextScale, Parameters, context_of
from nb_gym.wrappers.history import History
from nb_gym.wrappers.parts import join, joined_space


class _Parts(VectorWrapper):
    """Puts a part beside the observations of all environments, those at the end of an episode included."""

    def __init__(self, env: VectorEnv[Any, Any, Any], name: str, part: spaces.Box, key: str | None) -> None:
        super().__init__(env)
        self._key = key or name
        self.single_observation_space = joined_space(env.single_observation_space, name, part, key)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def _joined(self, observations: Any, part: NDArray[Any]) -> Any:
        return join(self.single_observation_space, observations, part, self._key)

    def _with_finals(self, infos: dict[str, Any], parts: NDArray[Any]) -> dict[str, Any]:
        """The infos with the parts in `final_obs`, where SAME_STEP reports the last observations of episodes."""
        if "final_obs" not in infos:
            return infos
        finals = infos["final_obs"].copy()
        for i in np.flatnonzero(infos["_final_obs"]):
            finals[i] = join(self.single_observation_space, finals[i], parts[i], self._key)
        return infos | {"final_obs": finals}


class ContextObservation(_Parts):
    """`nb_gym.wrappers.ContextObservation` for vector environments.

    Args:
        env: Vector environment that reports `infos["context"]`.
        parameters: Ranges by name, names, or None, as there.
        key: Key in a dictionary, or None, as there.

    Raises:
        ValueError: As there.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], parameters: Parameters = None, *, key: str | None = None) -> None:
        self._scale = ContextScale(env, parameters)
        super().__init__(env, "context", self._scale.space, key)
        self._values = np.zeros((self.num_envs, len(self._scale.ranges)), dtype=np.float32)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes, see `gymnasium.vector.VectorEnv.reset`."""
        observations, infos = self.env.reset(seed=seed, options=options)
        context_of(infos)
        self._values = self._updated(infos, self._values)
        return self._joined(observations, self._values), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Make one decision in each environment, see `gymnasium.vector.VectorEnv.step`."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        last = self._updated(infos.get("final_info", {}), self._values)
        self._values = self._updated(infos, self._values)
        infos = self._with_finals(infos, last)
        return self._joined(observations, self._values), rewards, terminations, truncations, infos

    def _updated(self, infos: Mapping[str, Any], values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scaled contexts, with those that the infos report in the place of older ones."""
        if "context" not in infos:
            return values
        context = context_of(infos)
        reported = [name for name in self._scale.ranges if name in context]
        everywhere = np.ones(self.num_envs, dtype=np.bool_)
        mask = np.logical_and.reduce([context.get(f"_{name}", everywhere) for name in reported] or [everywhere])
        # Where nothing is reported, Gymnasium fills in zeros, which are no contexts.
        shown = {name: np.asarray(context[name])[mask] for name in reported}
        values = values.copy()
        values[mask] = self._scale(shown)
        return values


class HistoryObservation(_Parts):
    """`nb_gym.wrappers.HistoryObservation` for vector environments, in every autoreset mode.

    Args:
        env: Vector environment.
        steps: Number of transitions, at least 1.
        key: Key in a dictionary, or None, as there.

    Raises:
        ValueError: As there.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], steps: int = 8, *, key: str | None = None) -> None:
        self._history = History(env.num_envs, steps, env.single_observation_space, env.single_action_space)
        super().__init__(env, "history", self._history.space, key)
        self._over = np.zeros(env.num_envs, dtype=np.bool_)
        self._same_step = AutoresetMode(env.metadata.get("autoreset_mode", "NextStep")) is AutoresetMode.SAME_STEP

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes with an empty history, in all environments or in those of `options["reset_mask"]`."""
        mask = (options or {}).get("reset_mask")
        begun = np.ones(self.num_envs, dtype=np.bool_) if mask is None else np.array(mask)
        observations, infos = self.env.reset(seed=seed, options=options)
        self._history.begin(observations, begun)
        self._over &= ~begun
        return self._joined(observations, self._history.read()), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Make one decision in each environment, see `gymnasium.vector.VectorEnv.step`."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        over = terminations | truncations
        if self._same_step:
            self._history.add(actions, self._last(observations, infos))
            infos = self._with_finals(infos, self._history.read())
            self._history.begin(observations, over)
        else:  # where an episode was over, this step has begun another one and made no transition
            self._history.add(actions, observations, ~self._over)
            self._history.begin(observations, self._over)
            self._over = over
        return self._joined(observations, self._history.read()), rewards, terminations, truncations, infos

    def _last(self, observations: Any, infos: Mapping[str, Any]) -> Any:
        """The observations that the actions led to: those of the episodes' ends where another one has begun."""
        if "final_obs" not in infos:
            return observations
        rows = np.flatnonzero(infos["_final_obs"])
        if isinstance(observations, Mapping):
            last: Any = {name: np.array(value) for name, value in observations.items()}
            for name, value in last.items():
                for i in rows:
                    value[i] = infos["final_obs"][i][name]
            return last
        last = np.array(observations)
        for i in rows:
            last[i] = infos["final_obs"][i]
        return last
