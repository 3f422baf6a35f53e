"""Environments for a model that is made of another one and observes more, or less, than that."""

from __future__ import annotations

from typing import Any

from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecEnv

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
