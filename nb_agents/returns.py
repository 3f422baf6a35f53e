"""Returns of a policy in true rewards, from seeded starts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_normalize

Watch = Callable[[NDArray[np.bool_], list[dict[str, Any]]], object]
"""Function that is called after each step: which environments are in their episode, and the step's infos."""


def first_episodes(policy: BasePolicy, env: VecEnv, seed: int, watch: Watch | None = None) -> NDArray[np.float64]:
    """Returns of the deterministic policy, which begins without memory, an episode in each environment.

    Args:
        policy: Any policy of SB3's.
        env: Environments in which it acts.
        seed: Seed of ``env``.
        watch: Function that sees the infos of the episodes; an episode's last step is seen.

    Returns:
        Sums of rewards as ``env`` gives them, shape ``(env.num_envs,)``.
    """
    env.seed(seed)
    observation: Any = env.reset()
    masked = "action_masks" in inspect.signature(policy.predict).parameters  # as MaskablePPO's
    state, begins = None, np.ones(env.num_envs, dtype=bool)
    over, returns = np.zeros(env.num_envs, dtype=bool), np.zeros(env.num_envs)
    while not over.all():
        masks = {"action_masks": np.stack(env.env_method("action_masks"))} if masked else {}
        action, state = policy.predict(observation, state, episode_start=begins, deterministic=True, **masks)
        observation, reward, begins, infos = env.step(action)
        if watch is not None:
            watch(~over, infos)
        returns += np.where(over, 0.0, reward)
        over |= begins
    return returns


def episode_returns(model: BaseAlgorithm, env: VecEnv, episodes: int, seed: int) -> NDArray[np.float64]:
    """Returns of the deterministic policy.

    Args:
        model: Any SB3 model. If ``env`` is its own, its next training begins with a reset.
        env: Environment in which it acts, seen through the normalization that the model is trained with.
        episodes: Number of episodes, over all environments.
        seed: Seed of ``env``.

    Returns:
        Sums of unnormalized rewards, shape ``(episodes,)``.
    """
    evaluate: Any = evaluate_policy
    if "action_masks" in inspect.signature(model.predict).parameters:  # MaskablePPO needs its own
        from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate
    env.seed(seed)
    with as_it_is(env, model):
        returns, _ = evaluate(model, env, episodes, return_episode_rewards=True, warn=False)
    if env is model.env:
        model.set_env(env)  # it stands somewhere in an episode: begin the next training with a reset
    return np.asarray(returns, dtype=np.float64)


@contextmanager
def as_it_is(env: VecEnv, model: BaseAlgorithm | None) -> Iterator[None]:
    """Normalization stands still, with the present statistics of a model, and leaves rewards alone."""
    own = None if model is None else model.env
    normalize, trained = unwrap_vec_normalize(env), unwrap_vec_normalize(own) if own else None
    if normalize is None:
        yield
        return
    before = normalize.training, normalize.norm_reward, getattr(normalize, "obs_rms", None)
    if trained is not None and normalize.norm_obs and trained.norm_obs:
        normalize.obs_rms = trained.obs_rms
    normalize.training, normalize.norm_reward = False, False
    try:
        yield
    finally:
        normalize.training, normalize.norm_reward, statistics = before
        if statistics is not None:
            normalize.obs_rms = statistics
