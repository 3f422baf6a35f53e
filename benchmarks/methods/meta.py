"""The meta-learners in the transfer job: pretrain by MAML or a relative, adapt to the target, go on with PPO.

All of it is counted: the pretraining's inner loops, and the episodes that the inner steps take from the transfer's
budget. The environments are what every other method sees, at the same scale.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.wrappers.vector import TransformAction
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd

from benchmarks.methods.base import Method, Pretrained
from benchmarks.protocol.environments import CLIP_OBSERVATION, action_space, make_training_env, make_vector_env
from benchmarks.protocol.recorder import Recorder
from benchmarks.protocol.settings import MetaSettings, PPOSettings
from benchmarks.protocol.spec import EPISODE_STEPS, RunSpec, Source
from nb_agents.maml import MAML, Environments, PPOClipUpdate, Reptile, TRPOUpdate
from nb_agents.maml.tasks import Task
from nb_gym import Context as PendulumContext


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


def environments(settings: PPOSettings, statistics: RunningMeanStd, source: Source) -> Environments:
    """The transfer job's environments, one or natively many; the latter keep the rewards' statistics.

    Both have the source's action space, see `make_training_env`.
    """
    actions = action_space(source)

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
        env = gym.wrappers.TransformObservation(
            env, lambda observation: np.clip(observation / scale, -CLIP_OBSERVATION, CLIP_OBSERVATION), space
        )
        return gym.wrappers.TransformAction(env, lambda action: action, actions)

    def make_vec(num_envs: int, **context: Any) -> VectorEnv[Any, Any, Any]:
        env = make_vector_env(settings, num_envs, **context)
        env = TransformAction(env, lambda actions: actions, single_action_space=actions)
        return RewardScale(env, statistics, settings.gamma)

    return Environments(make, make_vec, dict.fromkeys(PendulumContext._fields, ()))


@dataclass(frozen=True, kw_only=True)
class MetaMethod(Method):
    """A meta-learner, whose adapted policy PPO goes on with.

    Where the source is one context, that is its only task; where it is a range, tasks are drawn from it.

    Attributes:
        learner: `MAML` or one of its subclasses.
    """

    learner: type[MAML]
    algos: tuple[str, ...] = ("ppo",)

    def check(self, spec: RunSpec) -> None:
        """Refuse a specification that the method cannot run.

        Raises:
            ValueError: a budget is too small for one meta-iteration or for the inner steps of the transfer.
        """
        meta = _settings(spec)[1]
        cost = self._cost(meta)
        if spec.pretrain_episodes < cost:
            raise ValueError(
                f"pretrain_episodes must pay for one meta-iteration, {cost} episodes; got {spec.pretrain_episodes}"
            )
        cost = meta.inner_steps * meta.adapt_episodes
        if spec.transfer_episodes < cost:
            raise ValueError(
                f"transfer_episodes must pay for the inner steps, {cost} episodes; got {spec.transfer_episodes}"
            )

    def pretrain(self, spec: RunSpec) -> Pretrained:
        """Meta-train in whole meta-iterations; a rest of the budget too small for one is left over."""
        settings, meta = _settings(spec)
        statistics = RunningMeanStd(shape=())
        outer = {} if issubclass(self.learner, Reptile) else _outer(settings, meta)

        def draw(rng: np.random.Generator, n: int) -> list[Task]:
            return [
                {
                    name: rng.uniform(*value) if isinstance(value, tuple) else value
                    for name, value in spec.source.items()
                }
                for _ in range(n)
            ]

        maml = self.learner(
            "MlpPolicy",
            environments(settings, statistics, spec.source),
            draw,
            tasks_per_iteration=meta.tasks_per_iteration,
            inner_steps=meta.inner_steps,
            inner_lr=meta.inner_lr,
            episodes_per_task=meta.episodes_per_task,
            gamma=settings.gamma,
            gae_lambda=settings.gae_lambda,
            normalize_observations=False,
            policy_kwargs={"net_arch": list(settings.net_arch), "log_std_init": settings.log_std_init},
            seed=spec.seed,
            device="cpu",
            **outer,
        )
        recorder = Recorder(spec, follow=spec.detail)
        cost = self._cost(meta)
        recorder.train(maml, spec.pretrain_episodes // cost * cost)
        recorder.evaluate(maml)
        return Pretrained(maml, copy.deepcopy(statistics), recorder.curve)  # adapting goes on with the former

    def begin_transfer(self, spec: RunSpec, pretrained: Pretrained | None, recorder: Recorder) -> BaseAlgorithm:
        """Adapt to the target, measure after each inner step, and hand over to PPO."""
        assert pretrained is not None
        assert isinstance(pretrained.model, MAML)
        maml, meta = pretrained.model, _settings(spec)[1]
        recorder.evaluate(maml)
        for steps in range(1, meta.inner_steps):  # the same seed, so each is a prefix of the next
            recorder.evaluate(self._adapt(spec, pretrained, steps))
        return self._adapt(spec, pretrained, meta.inner_steps)

    def transfer(self, spec: RunSpec, model: BaseAlgorithm, recorder: Recorder) -> None:
        """Spend what the inner steps have left of the budget; their episodes count among the transfer's."""
        meta = _settings(spec)[1]
        assert model.ep_info_buffer is not None
        recorder.episodes += [float(info["r"]) for info in model.ep_info_buffer]
        recorder.train(model, spec.transfer_episodes - meta.inner_steps * meta.adapt_episodes)

    def _adapt(self, spec: RunSpec, pretrained: Pretrained, steps: int) -> PPO:
        """`steps` inner steps from the initialisation; the model counts the pretraining's decisions as its own."""
        maml: Any = pretrained.model
        settings, meta = _settings(spec)
        env = make_training_env(spec.transfer_settings, spec.target, spec.source)
        env.ret_rms = copy.deepcopy(pretrained.rewards)  # the scale of the rewards goes on from where it is
        names = ("n_steps", "batch_size", "n_epochs", "learning_rate", "clip_range", "ent_coef", "max_grad_norm")
        model: PPO = maml.adapt(
            dict(spec.target),
            steps=steps,
            episodes=meta.adapt_episodes,
            env=env,
            reward_scale=1.0 / float(np.sqrt(pretrained.rewards.var + env.epsilon)),
            seed=spec.seed,
            **{name: getattr(settings, name) for name in names},
        )
        model.num_timesteps += maml.num_timesteps
        return model

    def _cost(self, meta: MetaSettings) -> int:
        """Episodes of one meta-iteration; all but Reptile play a last round with the adapted policies."""
        rounds = meta.inner_steps + (not issubclass(self.learner, Reptile))
        return rounds * meta.tasks_per_iteration * meta.episodes_per_task


def _settings(spec: RunSpec) -> tuple[PPOSettings, MetaSettings]:
    if not isinstance(spec.settings, PPOSettings) or spec.meta is None:
        raise ValueError(f"method {spec.method} must come with PPO's settings and its own, `meta`; got {spec}")
    return spec.settings, spec.meta


def _outer(settings: PPOSettings, meta: MetaSettings) -> dict[str, Any]:
    """The outer update, and what it needs of the algorithm."""
    if meta.outer == "trpo":
        return {"outer": TRPOUpdate(max_kl=meta.max_kl)}
    update = PPOClipUpdate(n_epochs=meta.n_epochs, clip_range=settings.clip_range)
    return {"outer": update, "learning_rate": meta.learning_rate}
