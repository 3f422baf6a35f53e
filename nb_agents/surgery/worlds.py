"""Environments for a model that is made of another one and observes more, or less, than that."""

from __future__ import annotations

import copy
from typing import Any

from gymnasium.vector import VectorEnv
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize

from nb_agents.inference.fixed import without_part
from nb_agents.vec_env.adapter import VectorEnvAdapter


def wrapped(model: Any, env: Any) -> VecEnv:
    """An environment as SB3's models hold it, which may be a native vector one."""
    worlds: VecEnv = model._wrap_env(VectorEnvAdapter(env) if isinstance(env, VectorEnv) else env, verbose=0)
    return worlds


def without_context(model: Any, env: Any) -> VecEnv:
    """The environment of a model that is not told the context, checked.

    Args:
        model: SB3 model whose policy has ``k_from``, a part of the observation.
        env: Environment that shows what it observes without that part.

    Raises:
        ValueError: If it shows something else, or takes other actions.
    """
    policy, worlds = model.policy, wrapped(model, env)
    rest = without_part(policy.observation_space, policy.k_from)
    if worlds.observation_space != rest or worlds.action_space != model.action_space:
        raise ValueError(f"env must show {rest}, without {policy.k_from!r}, and take {model.action_space}; got "
                         f"{worlds.observation_space} and {worlds.action_space}")  # fmt: skip
    return worlds


Statistics = list[tuple[RunningMeanStd, RunningMeanStd]]
"""Those of a new environment, and those of the model's that are to take their place."""


def known_statistics(model: Any, worlds: VecEnv) -> Statistics:
    """What a new environment's `VecNormalize` has to take over from that of the model's, if it has seen nothing.

    Args:
        model: SB3 model; nothing is known of one without an environment.
        worlds: The new environment, whose observations are the model's but for one entry of a dictionary.

    Raises:
        ValueError: If one of the two standardises what the other does not, or otherwise.
    """
    if model.env is None:
        return []
    old, new = (_standardising(env) for env in (model.env, worlds))
    if old is None or new is None:
        if old is not new:
            which = "which has one where env has none" if new is None else "which has none where env has one"
            raise ValueError(f"env must have a VecNormalize of observations as the model's environment has, {which}; "
                             "a new one is given the model's statistics")  # fmt: skip
        return []
    if new.ret_rms.count != RunningMeanStd().count:
        return []  # it has seen something, and is taken as it is
    have, want = ({None: e.obs_rms} if not isinstance(e.obs_rms, dict) else e.obs_rms for e in (old, new))
    if have.keys() != want.keys() and len(have) == len(want) == 1:  # with a key, or without
        have = dict.fromkeys(want, *have.values())
    scale = [(each.clip_obs, each.epsilon) for each in (old, new)]
    if have.keys() != want.keys() or scale[0] != scale[1]:
        raise ValueError(f"env must standardise {list(have)} with (clip_obs, epsilon) = {scale[0]}, as the model's "
                         f"environment does, got {list(want)} with {scale[1]}")  # fmt: skip
    return [(want[key], have[key]) for key in want] + [(new.ret_rms, old.ret_rms)]


def _standardising(env: VecEnv) -> VecNormalize | None:
    found = unwrap_vec_normalize(env)
    return found if found is not None and found.norm_obs else None


def take_over(statistics: Statistics) -> None:
    """Give the new environment copies of the old statistics."""
    for new, old in statistics:
        new.__dict__.update(copy.deepcopy(old.__dict__))
