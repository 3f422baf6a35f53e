"""The teacher of a distillation, and the environments in which it teaches: those that fit it, as it sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

from nb_agents.inference.fixed import without_part
from nb_agents.inference.normalization import normalization, normalized_as, same_normalization
from nb_agents.vec_env.adapter import VectorEnvAdapter


def check_teacher(teacher: Any, name: str = "teacher") -> Any:
    """The teacher's policy; ``name`` is what messages call it.

    Raises:
        TypeError: If ``teacher`` is no model.
        ValueError: If its k's are not computed from a part of the observation.
    """
    if not isinstance(teacher, BaseAlgorithm):
        raise TypeError(f"{name} must be a Stable-Baselines3 model, got {_named(teacher)}")
    if not getattr(teacher.policy, "k_from", None):
        raise ValueError(f"{name} must have a policy with k_from, a part of the observation: its k's are computed from "
                         "nothing that is hidden")  # fmt: skip
    return teacher.policy


def _named(value: Any) -> str:
    return type(value).__name__ if isinstance(value, torch.nn.Module) else repr(value)


def bare_space(policy: Any, name: str = "teacher") -> spaces.Box:
    """The space of what a student of the policy sees.

    Raises:
        ValueError: If it is no `Box` of one dimension.
    """
    bare = without_part(policy.observation_space, policy.k_from)
    if isinstance(bare, spaces.Dict) and len(bare.spaces) == 1:
        (bare,) = bare.spaces.values()
    if not isinstance(bare, spaces.Box) or len(bare.shape) != 1:
        raise ValueError(f"{name} must observe a Box of one dimension beside {policy.k_from!r}, got {bare}")
    return bare


def environments(teacher: BaseAlgorithm, env: Any, name: str = "teacher") -> VecEnv:
    """The environments of a distillation, as SB3 takes them and as the teacher sees them.

    Args:
        teacher: The teacher.
        env: Environments, or None for the teacher's own.
        name: What messages call the teacher.

    Raises:
        TypeError: If one of them is of another kind.
        ValueError: If there are none, or they show something else than the teacher observes, or otherwise.
    """
    policy = check_teacher(teacher, name)
    bare_space(policy, name)
    worlds: Any = teacher.get_env() if env is None else env
    if worlds is None:
        raise ValueError(f"env must be given: the {name} has none")
    if isinstance(worlds, gym.Env):
        worlds = teacher._wrap_env(worlds, verbose=0)
    elif isinstance(worlds, VectorEnv):
        worlds = VectorEnvAdapter(worlds)
    elif not isinstance(worlds, VecEnv):
        raise TypeError(f"env must be a Gymnasium environment, a VectorEnv or an SB3 VecEnv, got {_named(worlds)}")
    if worlds.action_space != teacher.action_space:
        raise ValueError(f"env must take the {name}'s actions, {teacher.action_space}; got {worlds.action_space}")
    if worlds.observation_space != teacher.observation_space:
        raise ValueError(
            f"env must show what the {name} observes, {teacher.observation_space}; got {worlds.observation_space}"
        )
    own = teacher.get_env()
    seen = normalized_as(worlds, own)
    ours, theirs = (normalization(each, policy.k_from) for each in (seen, own))
    if own is not None and not same_normalization(ours, theirs):
        raise ValueError(f"env must standardise observations as the {name}'s does, by the same statistics: pass it "
                         f"without a VecNormalize, so that it is seen through the {name}'s")  # fmt: skip
    return seen


@contextmanager
def held_statistics(env: VecEnv) -> Iterator[None]:
    """Observations are scaled all the time as they were for the teacher."""
    moving, layer = [], unwrap_vec_normalize(env)
    while layer is not None:
        moving += [layer] if layer.training else []
        layer = unwrap_vec_normalize(layer.venv)
    for layer in moving:
        layer.training = False
    try:
        yield
    finally:
        for layer in moving:
            layer.training = True


@contextmanager
def begun_anew(teacher: BaseAlgorithm, env: VecEnv) -> Iterator[None]:
    """What the teacher has seen last is not what its environments show by now: SB3 resets them where it is None."""
    own = teacher.get_env()
    try:
        yield
    finally:
        if own is not None and own.unwrapped is env.unwrapped:
            teacher._last_obs = None
