"""Any Gymnasium `VectorEnv` as an SB3 `VecEnv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn


class VectorEnvAdapter(VecEnv):
    """Lets SB3 train on a Gymnasium vector environment without one Python object per environment.

    SB3 resets in the same step, hands the last observation over as ``infos[i]["terminal_observation"]`` and reads
    ``infos[i]["TimeLimit.truncated"]`` to bootstrap. Environments that reset themselves in the same step are taken as
    they are; those that reset in the next step, or not at all, are reset by a masked
    ``reset(options={"reset_mask": done})`` before they come to it.

    Args:
        env: A vector environment; wrap the adapter in SB3's `VecMonitor` for episode statistics.

    Raises:
        TypeError: If ``env`` is not a Gymnasium `VectorEnv`.
        ValueError: If it does not say how it resets itself.
        RuntimeError: At the end of an episode, if it ignores the reset mask.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        if not isinstance(env, VectorEnv):
            raise TypeError(f"env must be a gymnasium.vector.VectorEnv, got {type(env).__name__}")
        mode = env.metadata.get("autoreset_mode")
        if not isinstance(mode, AutoresetMode):
            raise ValueError(
                f"metadata['autoreset_mode'] of env must be a gymnasium.vector.AutoresetMode, got {mode!r}"
            )
        self.env = env
        self.same_step = mode is AutoresetMode.SAME_STEP
        self._actions: np.ndarray | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> VecEnvObs:
        """Reset every environment with the seeds and options given by `seed` and `set_options`."""
        seeds: Any = _one_seed(self._seeds)  # a list, too, is what Gymnasium's vector classes take
        obs, infos = self.env.reset(seed=seeds, options=_one_options(self._options))
        self.reset_infos = split_infos(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        observations: VecEnvObs = _copy(obs)
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions, shape ``(num_envs, ...)``, for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step all environments; those that end come back reset, see the class."""
        assert self._actions is not None, "step_async comes before step_wait"
        obs, rewards, terminated, truncated, infos = self.env.step(self._actions)
        obs = _copy(obs)
        dones = terminated | truncated
        ended: list[int] = np.flatnonzero(dones).tolist()
        if self.same_step and ended:
            last_obs = infos.pop("final_obs")
            last_infos = split_infos(infos.pop("final_info", {}), self.num_envs)
            infos = {key: value for key, value in infos.items() if key not in ("_final_obs", "_final_info")}
            step_infos = split_infos(infos, self.num_envs)
            for i in ended:
                self.reset_infos[i], step_infos[i] = step_infos[i], last_infos[i]
        elif ended:
            last_obs, step_infos = obs, split_infos(infos, self.num_envs)
            new_obs, infos = self.env.reset(options={"reset_mask": dones.copy()})
            obs, new_infos = _copy(new_obs), split_infos(infos, self.num_envs)
            self._check_mask(last_obs, obs, ~dones)
            for i in ended:
                self.reset_infos[i] = new_infos[i]
        else:
            step_infos = split_infos(infos, self.num_envs)

        for i in ended:
            step_infos[i]["terminal_observation"] = _row(last_obs, i)
            step_infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
        return obs, rewards.astype(np.float32), dones, step_infos

    def _check_mask(self, before: Any, after: Any, others: np.ndarray) -> None:
        """Some of Gymnasium's own vector classes reset every environment, whatever the mask: refuse them."""
        pairs = [(before[key], after[key]) for key in before] if isinstance(before, dict) else [(before, after)]
        if not all(np.array_equal(old[others], new[others]) for old, new in pairs):
            raise RuntimeError(
                f"{type(self.env.unwrapped).__name__} ignores options['reset_mask'], and SB3 needs environments to be"
                " reset one by one: make it with vectorization_mode='sync' or autoreset_mode=AutoresetMode.SAME_STEP"
            )

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """What the vector environment renders: one picture each, or one of all."""
        frames: Any = self.env.render()
        return list(frames) if isinstance(frames, (tuple, list)) else [frames]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Attribute of each environment; an attribute of a native vector class that has one entry each is split.

        Raises:
            AttributeError: If there is no such attribute.
        """
        chosen = list(self._get_indices(indices))
        if hasattr(self.env.unwrapped, "envs"):
            return [self.env.unwrapped.envs[i].get_wrapper_attr(attr_name) for i in chosen]
        if hasattr(self.env.unwrapped, "get_attr"):  # AsyncVectorEnv
            values = self.env.unwrapped.get_attr(attr_name)
            return [values[i] for i in chosen]
        value = getattr(self.env, attr_name) if hasattr(self.env, attr_name) else getattr(self.env.unwrapped, attr_name)
        per_env = isinstance(value, np.ndarray) and value.shape[:1] == (self.num_envs,)
        return [value[i] if per_env else value for i in chosen]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of each chosen environment, where the vector class holds them apart.

        Raises:
            AttributeError: If a native vector class has no such attribute, or holds one for all of its environments and
                only some were chosen.
        """
        chosen = list(self._get_indices(indices))
        inner = self.env.unwrapped
        if hasattr(inner, "envs"):
            for i in chosen:
                inner.envs[i].set_wrapper_attr(attr_name, value)
            return
        if len(chosen) != self.num_envs:
            raise AttributeError(f"{type(inner).__name__} cannot set {attr_name!r} for some of its environments only")
        if hasattr(inner, "set_attr"):  # AsyncVectorEnv
            inner.set_attr(attr_name, value)
        elif hasattr(inner, attr_name):
            setattr(inner, attr_name, value)
        else:
            raise AttributeError(f"{type(inner).__name__} has no attribute {attr_name!r}")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of each chosen environment, where the vector class holds them apart.

        Raises:
            AttributeError: If there is no such method, or the vector class has no environments to call it on.
        """
        chosen = list(self._get_indices(indices))
        inner = self.env.unwrapped
        if hasattr(inner, "envs"):
            return [inner.envs[i].get_wrapper_attr(method_name)(*method_args, **method_kwargs) for i in chosen]
        if hasattr(inner, "call") and len(chosen) == self.num_envs:  # AsyncVectorEnv
            return list(inner.call(method_name, *method_args, **method_kwargs))
        raise AttributeError(f"{type(inner).__name__} has no environments of its own to call {method_name!r} on")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """Whether each environment is wrapped by ``wrapper_class``; a native vector class has none."""
        envs = getattr(self.env.unwrapped, "envs", None)
        return [envs is not None and is_wrapped(envs[i], wrapper_class) for i in self._get_indices(indices)]


def split_infos(infos: dict[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """Gymnasium's dict of arrays as SB3's list of dicts.

    Args:
        infos: For each key an array of ``num_envs`` entries (or a dict of such), with a mask under ``"_" + key`` that
            says for which environments it holds.
        num_envs: Number of environments.
    """
    rows: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for key, values in infos.items():
        mask = infos.get(f"_{key}")
        if key.startswith("_") and key[1:] in infos:
            continue
        entries = split_infos(values, num_envs) if isinstance(values, dict) else values
        for i in range(num_envs) if mask is None else np.flatnonzero(mask):
            rows[i][key] = entries[i]
    return rows


def _copy(obs: Any) -> Any:
    """A copy that the environment will not write into again."""
    if isinstance(obs, dict):
        return {key: np.array(value) for key, value in obs.items()}
    return np.array(obs)


def _row(obs: Any, i: int) -> Any:
    """Observation ``i``, a copy; a dictionary comes as a dict of arrays or as an array of dicts."""
    if isinstance(obs, dict):
        return {key: np.array(value[i]) for key, value in obs.items() if not key.startswith("_")}
    return _copy(obs[i])


def _one_seed(seeds: Sequence[int | None]) -> int | list[int | None] | None:
    """SB3's seeds as Gymnasium's: the int s stands for [s, s + 1, ...], which a native class draws from at once."""
    first = seeds[0]
    if all(seed is None for seed in seeds):
        return None
    if first is not None and list(seeds) == list(range(first, first + len(seeds))):
        return first
    return list(seeds)


def _one_options(options: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """SB3's options per environment as one dict: shared where equal, else an array with an entry for each."""
    if not any(options):
        return None
    if any(set(each) != set(options[0]) for each in options):
        raise ValueError(f"options must have the same keys for every environment, got {[sorted(o) for o in options]}")
    same = all(each == options[0] for each in options)
    return dict(options[0]) if same else {key: np.array([each[key] for each in options]) for key in options[0]}
