"""The environment of a new task: as SB3 needs it, and as the model that moves there is used to see it."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    unwrap_vec_normalize,
)

from nb_agents.vec_env.adapter import VectorEnvAdapter

Environment = gym.Env[Any, Any] | VectorEnv[Any, Any, Any] | VecEnv

_ABOVE_NORMALIZE = (VecTransposeImage, VecMonitor, VecCheckNan)
"""Wrappers that may stand on a `VecNormalize` without changing what it has to do."""


def as_vec_env(name: str, env: Any) -> VecEnv:
    """``env`` as SB3's own kind; ``name`` is what messages call it.

    Raises:
        TypeError: If it is no environment.
    """
    if isinstance(env, VectorEnv):
        return VectorEnvAdapter(env)
    if isinstance(env, gym.Env):
        monitored = env if is_wrapped(env, Monitor) else Monitor(env)
        return DummyVecEnv([lambda: monitored])
    if not isinstance(env, VecEnv):
        raise TypeError(f"{name} must be a Gymnasium environment, a VectorEnv or an SB3 VecEnv, got {env!r}")
    return env


def prepare(name: str, env: Any, model: BaseAlgorithm, *, frozen: bool, same_number: bool = True) -> VecEnv:
    """``env`` as SB3 needs it, seen through the same normalization as the model's present environment.

    Args:
        name: What messages call it.
        env: The new task's environment.
        model: The model that is to act in it.
        frozen: Whether the statistics of the normalization stand still.
        same_number: Whether it has to hold as many environments as the model's.

    Raises:
        TypeError: If it is no environment.
        ValueError: If spaces or number differ, or the normalization cannot be carried over.
    """
    env = as_vec_env(name, env)
    present = None if unwrap_vec_normalize(env) else _present_normalize(model)
    pair = _statistics_for(env, model)
    if pair is not None and pair[0].observation_space != pair[1].observation_space:
        raise ValueError(
            f"the VecNormalize of {name} must see the observations that the model's does, "
            f"{pair[1].observation_space}, got {pair[0].observation_space}"
        )
    try:
        if present is not None:
            normalize = copy.deepcopy(present)  # without its environment, as SB3 pickles it
            normalize.set_venv(env)
            normalize.training = not frozen
            env = normalize
        prepared: VecEnv = model._wrap_env(env, model.verbose)  # transposes images where the model's were
        check_for_correct_spaces(prepared, model.observation_space, model.action_space)
    except (AssertionError, ValueError) as error:
        raise ValueError(f"{name} must have the spaces that the model was trained with: {error}") from None
    if same_number and prepared.num_envs != model.n_envs:
        raise ValueError(f"{name} must hold {model.n_envs} environments, as the model's does, got {prepared.num_envs}")
    return prepared


def _present_normalize(model: BaseAlgorithm) -> VecNormalize | None:
    env = model.get_env()
    if env is None:
        warnings.warn(
            "the model has no environment: if it was trained with a VecNormalize, load it with that, or give env one "
            "with the same statistics",
            stacklevel=4,
        )
    if env is None or unwrap_vec_normalize(env) is None:
        return None
    while isinstance(env, VecEnvWrapper) and not isinstance(env, VecNormalize):
        if not isinstance(env, _ABOVE_NORMALIZE):
            raise ValueError(
                f"the model's environment has a {type(env).__name__} on its VecNormalize, which cannot be carried "
                "over: pass env with the same wrappers and a VecNormalize of its own"
            )
        env = env.venv
    assert isinstance(env, VecNormalize)
    return env


def _statistics_for(env: VecEnv, model: BaseAlgorithm) -> tuple[VecNormalize, VecNormalize] | None:
    """A `VecNormalize` in ``env`` that has seen nothing, and the present one whose statistics it should have."""
    given, present = unwrap_vec_normalize(env), unwrap_vec_normalize(model.env) if model.env else None
    if given is None or present is None or given is present or given.ret_rms.count != RunningMeanStd().count:
        return None
    return given, present


def share_statistics(model: BaseAlgorithm, env: VecEnv, *, frozen: bool) -> None:
    """Give a `VecNormalize` that has seen nothing copies of the statistics of the model's."""
    if (pair := _statistics_for(env, model)) is not None:
        given, present = pair
        if given.norm_obs and present.norm_obs:
            given.obs_rms = copy.deepcopy(present.obs_rms)
        given.ret_rms = copy.deepcopy(present.ret_rms)
        given.training = not frozen
