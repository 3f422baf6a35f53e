"""Context, history or pictures in the observations of a vector environment."""

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
from nb_gym.wrappers.pixels import Painter


class _Shown(VectorWrapper):
    """Shows other observations of all environments, those at the end of an episode included."""

    def __init__(self, env: VectorEnv[Any, Any, Any], space: spaces.Space[Any]) -> None:
        super().__init__(env)
        self._mode = AutoresetMode(env.metadata.get("autoreset_mode", "NextStep"))
        self._over = np.zeros(env.num_envs, dtype=np.bool_)
        self.single_observation_space = space
        self.observation_space = batch_space(space, self.num_envs)

    def _joined(self, observations: Any, part: NDArray[Any]) -> Any:
        """What is shown of observations, of one or of all environments, and of what the wrapper has beside them."""
        raise NotImplementedError

    def _reset_rows(self, options: Mapping[str, Any] | None) -> NDArray[np.bool_]:
        """The environments that a reset concerns: those of `options["reset_mask"]`, or all."""
        mask = (options or {}).get("reset_mask")
        begun = np.ones(self.num_envs, dtype=np.bool_) if mask is None else np.array(mask)
        self._over &= ~begun
        return begun

    def _begun_rows(self, over: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The environments in which a step has begun an episode, whatever begins it.

        Args:
            over: Whether the step has ended one, shape `(num_envs,)`.
        """
        begun = over if self._mode is AutoresetMode.SAME_STEP else self._over
        self._over = over
        return begun if self._mode is not AutoresetMode.DISABLED else np.zeros_like(over)

    def _with_finals(self, infos: dict[str, Any], parts: NDArray[Any]) -> dict[str, Any]:
        """The infos with the parts in `final_obs`, where SAME_STEP reports the last observations of episodes."""
        if "final_obs" not in infos:
            return infos
        finals = infos["final_obs"].copy()
        for i in np.flatnonzero(infos["_final_obs"]):
            finals[i] = self._joined(finals[i], parts[i])
        return infos | {"final_obs": finals}

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


class _Parts(_Shown):
    """Puts a part beside the observations."""

    def __init__(self, env: VectorEnv[Any, Any, Any], name: str, part: spaces.Box, key: str | None) -> None:
        super().__init__(env, joined_space(env.single_observation_space, name, part, key))
        self._key = key or name

    def _joined(self, observations: Any, part: NDArray[Any]) -> Any:
        return join(self.single_observation_space, observations, part, self._key)


def _checked(env: Any) -> VectorEnv[Any, Any, Any]:
    if not isinstance(env, VectorEnv):
        raise TypeError(f"env must be a gymnasium.vector.VectorEnv, got {env!r}: nb_gym.wrappers has those of an Env")
    return env


class ContextObservation(_Parts):
    """`nb_gym.wrappers.ContextObservation` for vector environments.

    Args:
        env: Vector environment that reports `infos["context"]`.
        parameters: Ranges by name, names, or None, as there.
        key: Key in a dictionary, or None, as there.

    Raises:
        TypeError: If `env` is no `VectorEnv`, and as there.
        ValueError: As there.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], parameters: Parameters = None, *, key: str | None = None) -> None:
        self._scale = ContextScale(_checked(env), parameters)
        super().__init__(env, "context", self._scale.space, key)
        self._values = np.zeros((self.num_envs, len(self._scale.ranges)), dtype=np.float32)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes, see `gymnasium.vector.VectorEnv.reset`; in those of `options["reset_mask"]` alone."""
        begun = self._reset_rows(options)
        observations, infos = self.env.reset(seed=seed, options=options)
        context_of(infos)
        self._values = self._updated(infos, begun)
        return self._joined(observations, self._values), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Make one decision in each environment; the context of an episode stays where the infos have none."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        begun = self._begun_rows(terminations | truncations)
        last = self._updated(infos.get("final_info", {}), np.zeros_like(begun))
        self._values = self._updated(infos, begun)
        infos = self._with_finals(infos, last)
        return self._joined(observations, self._values), rewards, terminations, truncations, infos

    def _updated(self, infos: Mapping[str, Any], begun: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The scaled contexts, with those that the infos report in the place of older ones.

        Args:
            infos: What environments report; where one reports nothing, Gymnasium fills in zeros, which are no context.
            begun: Environments whose episode is new, so that the older one is of another, shape `(num_envs,)`.
        """
        everywhere, nowhere = np.ones_like(begun), np.zeros_like(begun)
        context = context_of(infos) if "context" in infos else {}
        told = infos.get("_context", everywhere if context else nowhere)
        values, new = self._values.copy(), told | begun
        for name in self._scale.ranges:
            reported = context.get(f"_{name}", everywhere) if name in context else nowhere
            if (without := np.flatnonzero(new & ~reported)).size:
                accepted = f"info['context'] must hold {name!r}, which is to be observed, as an episode begins"
                raise ValueError(f"{accepted}; environments {without.tolist()} report none")
        if new.any():
            shown = {name: np.asarray(context[name])[new] for name in self._scale.ranges}
            values[new] = self._scale(shown, (int(new.sum()),))
        return values


class HistoryObservation(_Parts):
    """`nb_gym.wrappers.HistoryObservation` for vector environments, in every autoreset mode.

    Args:
        env: Vector environment.
        steps: Number of transitions, at least 1.
        key: Key in a dictionary, or None, as there.

    Raises:
        TypeError: If `env` is no `VectorEnv`, and as there.
        ValueError: As there.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], steps: int = 8, *, key: str | None = None) -> None:
        self._history = History(_checked(env).num_envs, steps, env.single_observation_space, env.single_action_space)
        super().__init__(env, "history", self._history.space, key)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes with an empty history, in all environments or in those of `options["reset_mask"]`."""
        begun = self._reset_rows(options)
        observations, infos = self.env.reset(seed=seed, options=options)
        self._history.begin(observations, begun)
        return self._joined(observations, self._history.read()), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Make one decision in each environment, see `gymnasium.vector.VectorEnv.step`."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        begun = self._begun_rows(terminations | truncations)
        if self._mode is AutoresetMode.SAME_STEP:
            self._history.add(actions, self._last(observations, infos))
            infos = self._with_finals(infos, self._history.read())
        else:  # where a step has begun an episode, it made no transition
            self._history.add(actions, observations, ~begun)
        self._history.begin(observations, begun)
        return self._joined(observations, self._history.read()), rewards, terminations, truncations, infos


class PixelObservation(_Shown):
    """`nb_gym.wrappers.PixelObservation` for `NBPendulumVectorEnv`, in every autoreset mode.

    Looks that are drawn come from the environments' `np_random`.

    Args:
        env: Driven pendulums.
        size: Width and height of a picture, as there.
        look: How the pendulums are drawn, as there.

    Raises:
        TypeError: If `env` is no `VectorEnv`, and as there.
        ValueError: As there.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], size: int = 36, look: Any = "plain") -> None:
        spaces_of = _checked(env).single_observation_space, getattr(env.unwrapped, "single_observation_space", None)
        self._painter = Painter(env, env.num_envs, spaces_of, size, look)
        super().__init__(env, self._painter.space)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin episodes in all environments, or in those of `options["reset_mask"]`."""
        begun = self._reset_rows(options)
        observations, infos = self.env.reset(seed=seed, options=options)
        self._painter.begin(observations, begun)
        return self._painter.read(), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Make one decision in each environment, see `gymnasium.vector.VectorEnv.step`."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        begun = self._begun_rows(terminations | truncations)
        if self._mode is AutoresetMode.SAME_STEP:
            self._painter.add(self._last(observations, infos))
            infos = self._with_finals(infos, self._painter.read())
        else:
            self._painter.add(observations, ~begun)
        self._painter.begin(observations, begun)
        return self._painter.read(), rewards, terminations, truncations, infos

    def _joined(self, observations: Any, part: NDArray[Any]) -> Any:
        return part
