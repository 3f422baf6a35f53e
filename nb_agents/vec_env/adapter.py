"""Any Gymnasium `VectorEnv` as an SB3 `VecEnv`."""

from __future__ import annotations

import operator
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import vector as vector_wrappers
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from nb_agents.vec_env.access import layers, single_envs
from nb_agents.vec_env.infos import (
    MaskedReset,
    check_spaces,
    copy_observations,
    group_options,
    one_observation,
    one_seed,
    same_observations,
    split_infos,
)

_REFUSED_WRAPPERS: dict[type[Any], str] = {
    vector_wrappers.NormalizeObservation: "put SB3's VecNormalize around the adapter instead",
    vector_wrappers.NormalizeReward: "put SB3's VecNormalize around the adapter instead",
    vector_wrappers.DictInfoToList: "leave it out, the adapter does that itself",
}
"""Gymnasium's vector wrappers that resets of single environments would make wrong, with what to do."""


class VectorEnvAdapter(VecEnv):
    """Lets SB3 train on a Gymnasium vector environment without one Python object per environment.

        envs = gym.make_vec("NBPendulum-v0", num_envs=8, frame_skip=20)
        model = PPO(KGatedPolicy, VectorEnvAdapter(envs)).learn(100_000)

    SB3 resets in the same step, hands the last observation over as ``infos[i]["terminal_observation"]`` and reads
    ``infos[i]["TimeLimit.truncated"]`` to bootstrap. Environments that reset themselves in the same step are taken as
    they are; those that reset in the next step, or not at all, are reset by a masked
    ``reset(options={"reset_mask": done})`` before they come to it.

    At the end of an episode ``infos[i]["episode"]`` holds its return ``"r"``, its length ``"l"`` and the time ``"t"``,
    in seconds since the adapter was made, as SB3's `Monitor` does; so SB3 logs ``rollout/ep_rew_mean`` without a
    `VecMonitor`. Where the environments report their episodes themselves (SB3's `Monitor` or Gymnasium's
    `RecordEpisodeStatistics`, around each of them or around all), theirs are handed on and none is added.

    A wrapper of your own around all environments must look at ``options["reset_mask"]`` if it keeps a state for each of
    them; whether it does cannot be seen from here, except where it changes observations of those that go on.

    Args:
        env: A vector environment.

    Raises:
        TypeError: If ``env`` is not a Gymnasium `VectorEnv`, or its observations are no NumPy arrays.
        ValueError: If it does not say how it resets itself, has spaces that SB3's buffers cannot hold, or is wrapped in
            one of Gymnasium's vector wrappers whose state does not survive resets of single environments.
        RuntimeError: When single environments are to be reset, if it ignores the reset mask.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        if not isinstance(env, VectorEnv):
            raise TypeError(f"env must be a gymnasium.vector.VectorEnv, got {type(env).__name__}")
        mode = env.metadata.get("autoreset_mode")
        if not isinstance(mode, AutoresetMode):
            raise ValueError(
                f"metadata['autoreset_mode'] of env must be a gymnasium.vector.AutoresetMode, got {mode!r}"
            )
        check_spaces(env.single_observation_space, env.single_action_space)
        _check_wrappers(env)
        self.env = env
        self.same_step = mode is AutoresetMode.SAME_STEP
        self._actions: np.ndarray | None = None
        self._begun = False
        self._envs = single_envs(env)
        everyone = range(env.num_envs)
        reporters = [self._envs.wrapped(cls, everyone) for cls in (Monitor, gym.wrappers.RecordEpisodeStatistics)]
        self._reports_itself = np.any(reporters, axis=0).tolist()
        self._recorders = [e for e in layers(env) if isinstance(e, vector_wrappers.RecordEpisodeStatistics)]
        self._returns, self._lengths = np.zeros(env.num_envs), np.zeros(env.num_envs, dtype=np.int64)
        self._t_start = time.time()
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.metadata = dict(env.metadata)

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Set the options of the next reset: one dictionary for all environments, or one for each.

        Raises:
            ValueError: If they are not, or hold a ``reset_mask``: a reset of the adapter is one of all environments.
        """
        each = [options] if options is None or isinstance(options, Mapping) else list(options)
        accepted = f"options must be a dictionary, None, or a list of {self.num_envs} of these"
        if each[:1] != [options] and len(each) != self.num_envs:
            raise ValueError(f"{accepted}, got {len(each)} of them")
        if not all(one is None or isinstance(one, Mapping) for one in each):
            raise ValueError(f"{accepted}, got {options!r}")
        if any("reset_mask" in (one or {}) for one in each):
            raise ValueError("options must not hold 'reset_mask': a reset of the adapter is one of all environments")
        super().set_options([dict(one or {}) for one in (each * self.num_envs if len(each) == 1 else each)])

    def reset(self) -> VecEnvObs:
        """Reset every environment with the seeds and options given by `seed` and `set_options`.

        Options that differ are given by a masked reset for each different one. If seeds are given, or nothing was ever
        reset, a reset of all without options comes first, and those that have options are reset twice.
        """
        groups = group_options(self._options)
        if len(groups) == 1:
            seed: Any = one_seed(self._seeds)  # a list, too, is what Gymnasium's vector classes take
            obs, infos = self.env.reset(seed=seed, options=groups[0][0] or None)
            observations, self.reset_infos = copy_observations(obs), split_infos(infos, self.num_envs)
        else:
            observations = self._reset_in_groups(groups)
        self._begun = True
        self._returns[:], self._lengths[:] = 0.0, 0
        self._reset_seeds()
        self._reset_options()
        result: VecEnvObs = observations
        return result

    def _reset_in_groups(self, groups: Sequence[tuple[dict[str, Any], NDArray[np.bool_]]]) -> Any:
        seeds: Any = one_seed(self._seeds)
        observations, first_all = None, seeds is not None or not self._begun
        if first_all:
            obs, infos = self.env.reset(seed=seeds)
            observations, self.reset_infos = copy_observations(obs), split_infos(infos, self.num_envs)
        for options, mask in groups:
            if options or not first_all:
                of_group = [seed if chosen else None for seed, chosen in zip(self._seeds, mask, strict=True)]
                observations = self._reset_some(mask, observations, None if seeds is None else of_group, options)
        return observations

    def _reset_some(
        self,
        mask: NDArray[np.bool_],
        before: Any,
        seeds: Any = None,
        options: dict[str, Any] | None = None,
    ) -> Any:
        """Reset the environments in the mask, whose `reset_infos` change; returns the observations of all."""
        obs, infos = self.env.reset(seed=seeds, options=MaskedReset(mask.copy(), options))
        after, rows = copy_observations(obs), split_infos(infos, self.num_envs)
        # Some of Gymnasium's own vector classes reset every environment, whatever the mask: refuse them.
        if before is not None and not same_observations(before, after, ~mask):
            name = " of ".join(type(layer).__name__ for layer in layers(self.env))
            raise RuntimeError(
                f"{name} ignores options['reset_mask'], and SB3 needs environments to be reset one by one:"
                " make it with vectorization_mode='sync' or autoreset_mode=AutoresetMode.SAME_STEP"
            )
        for i in np.flatnonzero(mask):
            self.reset_infos[i] = rows[i]
        return after

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions, shape ``(num_envs, ...)``, for `step_wait`.

        Raises:
            ValueError: If they have another shape.
        """
        shape = (self.num_envs, *(self.action_space.shape or ()))
        if np.shape(actions) != shape:
            raise ValueError(f"actions must have shape {shape}, one row per environment, got {np.shape(actions)}")
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step all environments; those that end come back reset, see the class."""
        assert self._actions is not None, "step_async comes before step_wait"
        obs, rewards, terminated, truncated, infos = self.env.step(self._actions)
        obs, dones = copy_observations(obs), terminated | truncated
        self._returns += rewards
        self._lengths += 1
        ended: list[int] = np.flatnonzero(dones).tolist()
        last_obs = obs
        if self.same_step and ended:
            last_obs, step_infos = self._split_same_step(infos, ended)
        else:
            step_infos = split_infos(infos, self.num_envs)
        for info, cut in zip(step_infos, (truncated & ~terminated).tolist(), strict=True):
            info["TimeLimit.truncated"] = cut
        for i in ended:
            step_infos[i]["terminal_observation"] = one_observation(last_obs, i)
            self._report(i, step_infos[i])
        if ended and not self.same_step:
            obs = self._reset_some(dones, obs)
        return obs, rewards.astype(np.float32), dones, step_infos

    def _split_same_step(self, infos: dict[str, Any], ended: Sequence[int]) -> tuple[Any, list[dict[str, Any]]]:
        """The last observations and the infos of the step; what environments begin with goes to `reset_infos`."""
        if "final_obs" not in infos:
            raise RuntimeError(f"{self.env} resets in the same step and does not hand over info['final_obs']")
        final = ("final_obs", "_final_obs", "final_info", "_final_info")
        step_infos = split_infos({key: value for key, value in infos.items() if key not in final}, self.num_envs)
        last_infos = split_infos(infos.get("final_info", {}), self.num_envs)
        for i in ended:
            begun, last = step_infos[i], last_infos[i]
            # A wrapper around all environments reports the episode that ended beside the info of the next one.
            for key in {recorder._stats_key for recorder in self._recorders} & begun.keys():
                last[key] = begun.pop(key)
            self.reset_infos[i], step_infos[i] = begun, last
        for recorder in self._recorders:
            # It would take the next step for the reset that was part of this one, and miss every episode's first step.
            recorder.prev_dones = np.zeros(self.num_envs, dtype=np.bool_)
            recorder.episode_returns[ended], recorder.episode_lengths[ended] = 0.0, 0
            recorder.episode_start_times[ended] = time.perf_counter()
        return infos["final_obs"], step_infos

    def _report(self, i: int, info: dict[str, Any]) -> None:
        """Report the episode that ends in environment i, unless that is done already."""
        if not self._reports_itself[i] and "episode" not in info:
            total, length = float(self._returns[i]), int(self._lengths[i])
            info["episode"] = {"r": round(total, 6), "l": length, "t": round(time.time() - self._t_start, 6)}
        self._returns[i], self._lengths[i] = 0.0, 0

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Pictures that the vector environment renders, one each."""
        if self.render_mode != "rgb_array":
            warnings.warn(f"pictures need the render mode 'rgb_array', the mode is {self.render_mode!r}", stacklevel=2)
            return [None] * self.num_envs
        frames: Any = self.env.render()
        return [frames] if isinstance(frames, np.ndarray) and frames.ndim == 3 else list(frames)

    def has_attr(self, attr_name: str) -> bool:
        """Whether every environment has the attribute."""
        return all(self._envs.has(attr_name, range(self.num_envs)))

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Attribute of each environment; an attribute of a native vector class that has one entry each is split.

        Raises:
            AttributeError: If there is no such attribute.
            IndexError: If there is no such environment.
        """
        return self._envs.get(attr_name, self._chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of each chosen environment, where the vector class holds them apart.

        Raises:
            AttributeError: If a native vector class has no such attribute, or holds one for all of its environments and
                only some were chosen.
            IndexError: If there is no such environment.
        """
        self._envs.set(attr_name, value, self._chosen(indices))

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of each chosen environment, where the vector class holds them apart.

        Raises:
            AttributeError: If there is no such method, or the vector class has no environments to call it on.
            IndexError: If there is no such environment.
        """
        return self._envs.call(method_name, self._chosen(indices), *method_args, **method_kwargs)

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """Whether ``wrapper_class`` is around each environment, or around all of them."""
        chosen = self._chosen(indices)
        if any(isinstance(layer, wrapper_class) for layer in layers(self.env)):
            return [True] * len(chosen)
        return self._envs.wrapped(wrapper_class, chosen)

    def _chosen(self, indices: VecEnvIndices) -> list[int]:
        listed: Any = [indices] if isinstance(indices, np.integer) else self._get_indices(indices)
        chosen = [operator.index(i) for i in listed]
        if not all(-self.num_envs <= i < self.num_envs for i in chosen):
            raise IndexError(f"indices must be of {self.num_envs} environments, got {indices!r}")
        return [i % self.num_envs for i in chosen]


def _check_wrappers(env: VectorEnv[Any, Any, Any]) -> None:
    for layer in layers(env):
        for refused, advice in _REFUSED_WRAPPERS.items():
            if isinstance(layer, refused):
                raise ValueError(
                    f"{type(layer).__name__} cannot be used here, for SB3 resets environments one by one: {advice}"
                )
