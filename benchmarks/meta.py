"""The meta-learners in the transfer job: pretrain by MAML or a relative, adapt to the target, go on with PPO.

All of it is counted: the pretraining's inner loops, and the episodes that the inner steps take from the transfer's
budget. What `pretrain` and `begin_transfer` need of the environment is what every other method sees, at the same scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from stable_baselines3 import PPO
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from benchmarks.environments import CLIP_OBSERVATION, make_vector_env
from benchmarks.settings import PPOSettings
from benchmarks.spec import EPISODE_STEPS, Context
from nb_agents.maml import ANIL, FOMAML, MAML, TRPO, Environments, Reptile
from nb_gym import Context as PendulumContext

META_METHODS: dict[str, type[MAML]] = {"maml": MAML, "fomaml": FOMAML, "reptile": Reptile, "anil": ANIL}


@dataclass(frozen=True, kw_only=True)
class MetaSettings:
    """What the meta-learners add to PPO's settings, which decide network, discount and view of the environment.

    Attributes:
        inner_steps: gradient steps of an adaptation; the paper's 5.
        inner_lr: their step size.
        tasks_per_iteration: tasks of a meta-iteration.
        episodes_per_task: episodes of each task for each gradient step of the pretraining.
        adapt_episodes: episodes for each gradient step of the transfer.
        max_kl: trust region of the outer update (Reptile has none).
    """

    inner_steps: int = 5
    inner_lr: float = 0.1
    tasks_per_iteration: int = 1
    episodes_per_task: int = 1
    adapt_episodes: int = 2
    max_kl: float = 0.02


class RewardScale(VectorWrapper):
    """Keeps the statistics by which SB3's `VecNormalize` scales rewards, and leaves the rewards as they are.

    Args:
        env: the vector environment.
        statistics: of the discounted returns; updated in place.
        gamma: discount factor.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], statistics: RunningMeanStd, gamma: float) -> None:
        super().__init__(env)
        self._statistics, self._gamma = statistics, gamma
        self._returns = np.zeros(self.num_envs)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step, and take the discounted returns so far into the statistics."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        self._returns = self._returns * self._gamma + reward
        self._statistics.update(self._returns)
        self._returns[terminated | truncated] = 0.0
        return observation, reward, terminated, truncated, info


def environments(settings: PPOSettings, statistics: RunningMeanStd) -> Environments:
    """The transfer job's environments, one or natively many; the latter keep the rewards' statistics."""

    def make(**context: Any) -> gym.Env[Any, Any]:
        env = gym.make(
            "nb_gym:NBPendulum-v0",
            frame_skip=settings.frame_skip,
            episode_steps=EPISODE_STEPS,
            observe=tuple(settings.observe),
            **context,
        )
        scale = np.array(list(settings.observe.values()), dtype=np.float32)
        space = gym.spaces.Box(-CLIP_OBSERVATION, CLIP_OBSERVATION, shape=scale.shape, dtype=np.float32)
        return gym.wrappers.TransformObservation(
            env, lambda observation: np.clip(observation / scale, -CLIP_OBSERVATION, CLIP_OBSERVATION), space
        )

    def make_vec(num_envs: int, **context: Any) -> VectorEnv[Any, Any, Any]:
        return RewardScale(make_vector_env(settings, num_envs, **context), statistics, settings.gamma)

    return Environments(make, make_vec, dict.fromkeys(PendulumContext._fields, ()))


def pretrain(
    method: str,
    settings: PPOSettings,
    meta: MetaSettings,
    tasks: Sequence[Context],
    episodes: int,
    seed: int,
    statistics: RunningMeanStd,
) -> MAML:
    """Meta-train on contexts within a budget.

    Args:
        method: one of `META_METHODS`.
        settings: network, discount and view of the environment.
        meta: the meta-learner's own settings.
        tasks: contexts; each meta-iteration takes ``meta.tasks_per_iteration`` different ones.
        episodes: budget in episodes of 1,000 physics steps, inner loops included; a rest too small for a
            meta-iteration is left over.
        seed: of everything.
        statistics: what `VecNormalize` calls ``ret_rms``, here and in the transfer; updated in place.

    Raises:
        ValueError: the method does not exist or the budget does not pay for one meta-iteration.
    """
    if method not in META_METHODS:
        raise ValueError(f"method must be one of {', '.join(META_METHODS)}; got {method!r}")
    outer: dict[str, Any] = {} if method == "reptile" else {"outer": TRPO(max_kl=meta.max_kl)}
    maml = META_METHODS[method](
        "MlpPolicy",
        environments(settings, statistics),
        list(tasks),
        tasks_per_iteration=meta.tasks_per_iteration,
        inner_steps=meta.inner_steps,
        inner_lr=meta.inner_lr,
        episodes_per_task=meta.episodes_per_task,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        normalize_observations=False,
        policy_kwargs={"net_arch": list(settings.net_arch), "log_std_init": settings.log_std_init},
        seed=seed,
        device="cpu",
        **outer,
    )
    cost = maml.rollouts_per_iteration * meta.tasks_per_iteration * meta.episodes_per_task
    if episodes < cost:
        raise ValueError(f"episodes must pay for one meta-iteration, {cost} episodes; got {episodes}")
    decisions = EPISODE_STEPS // settings.frame_skip
    return maml.learn(episodes // cost * cost * decisions)


def begin_transfer(
    maml: MAML, settings: PPOSettings, meta: MetaSettings, target: Context, env: VecNormalize, seed: int
) -> PPO:
    """Adapt to the target and hand over to PPO.

    Args:
        maml: the pretrained meta-learner.
        settings: PPO's.
        meta: the meta-learner's own settings.
        target: context of the transfer.
        env: what PPO goes on in, with the pretraining's statistics of the rewards as its ``ret_rms``.
        seed: of everything.

    Returns:
        The model; its ``num_timesteps`` are the decisions of the inner steps, ``meta.inner_steps ·
        meta.adapt_episodes`` episodes, which count towards the transfer's budget.
    """
    return maml.adapt(
        target,
        steps=meta.inner_steps,
        episodes=meta.adapt_episodes,
        env=env,
        reward_scale=1.0 / float(np.sqrt(env.ret_rms.var + env.epsilon)),
        seed=seed,
        n_steps=settings.n_steps,
        batch_size=settings.batch_size,
        n_epochs=settings.n_epochs,
        learning_rate=settings.learning_rate,
        clip_range=settings.clip_range,
        ent_coef=settings.ent_coef,
        max_grad_norm=settings.max_grad_norm,
    )
