"""One call that moves a trained model to another task, and says what that was worth."""

from __future__ import annotations

import copy
import inspect
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
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
from stable_baselines3.her import HerReplayBuffer

from nb_agents._checks import check_count, check_flag, check_number
from nb_agents.battery.battery import Battery
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.policies.mixin import KGatedMixin
from nb_agents.policies.train_only import CHOICES, acting_parameters
from nb_agents.returns import episode_returns
from nb_agents.vec_env.adapter import VectorEnvAdapter

Environment = gym.Env[Any, Any] | VectorEnv[Any, Any, Any] | VecEnv

_ABOVE_NORMALIZE = (VecTransposeImage, VecMonitor, VecCheckNan)
"""Wrappers that may stand on a `VecNormalize` without changing what it has to do."""


@dataclass(frozen=True)
class Transfer:
    """The result of `transfer`.

    Attributes:
        model: The model that was moved.
        battery: The k-sets "source" (before) and "target" (after); None unless the gates alone were trained, as k-sets
            mean nothing beside other weights, and where the k's are computed, so that k0 and f were trained.
        returns_before: Returns of the deterministic policy on the new task before the training, shape ``(episodes,)``.
        returns_after: The same afterwards, from the same starts where the environment can be seeded.
        n_trained: Numbers that were trained in the actor.
        n_actor: Numbers that an action depends on in all.
        eval_env: Environment in which the policy was evaluated.
        eval_seed: Seed of each evaluation.
    """

    model: BaseAlgorithm
    battery: Battery | None
    returns_before: NDArray[np.float64]
    returns_after: NDArray[np.float64]
    n_trained: int
    n_actor: int
    eval_env: VecEnv
    eval_seed: int

    @property
    def before(self) -> float:
        """Mean return on the new task before the training."""
        return float(self.returns_before.mean())

    @property
    def after(self) -> float:
        """Mean return on the new task after the training."""
        return float(self.returns_after.mean())

    def evaluate(self) -> float:
        """Mean return of the model as it is now, from the starts of the evaluations before and after.

        The model goes on training from a reset of its environment. With the old k's put back it is `before` to the last
        bit if no normalization of observations has moved since, as with ``normalize="freeze"``.
        """
        return float(episode_returns(self.model, self.eval_env, len(self.returns_after), self.eval_seed).mean())

    def __str__(self) -> str:
        return (
            f"return {self.before:,.1f} before, {self.after:,.1f} after (means of {len(self.returns_after)} episodes); "
            f"{self.n_trained:,} of the actor's {self.n_actor:,} numbers were trained"
        )


def transfer(
    model: BaseAlgorithm,
    env: Environment,
    total_timesteps: int,
    train_only: str = "gates",
    *,
    task_difficulty: float | None = None,
    normalize: Literal["freeze", "carry"] = "freeze",
    keep_replay_buffer: bool = False,
    eval_env: Environment | None = None,
    n_eval_episodes: int = 10,
    eval_seed: int = 0,
    **learn_kwargs: Any,
) -> Transfer:
    """Move a k-gated model to another task with SB3's own ``learn()``.

    It does what is easily forgotten. The statistics of a `VecNormalize` around the model's environment go along, in a
    copy. The replay buffer, which holds the old task's transitions, is replaced by an empty one. Optimizers forget
    their moments, the old k's are kept in a battery, and the policy is evaluated before and after.

    Args:
        model: An SB3 model with a k-gated policy; `nb_agents.retrofit` makes one of a model without gates.
        env: The new task, with the model's spaces and number of environments: a Gymnasium environment, a Gymnasium
            vector environment, or a `VecEnv`. A `VecNormalize` in it that has seen nothing yet is given the statistics
            of the model's; one that has is taken as it is.
        total_timesteps: Budget of the training, as in ``learn()``.
        train_only: Part of the actor that trains: "gates", "head", "biases" or "all", see `KGatedMixin.train_only`.
        task_difficulty: Difficulty τ of the new task in [0, 1], for a policy with a k-target; None leaves it as it is.
        normalize: Fate of the `VecNormalize` around the model's present environment: with "freeze" its
            statistics stand still, which keeps the old task to the last bit, with "carry" they go on from where they
            are.
        keep_replay_buffer: Whether an off-policy algorithm goes on learning from the old task's transitions, too. An
            empty buffer is learned from at once: ``learning_starts`` counts from the model's first step.
        eval_env: Environment of the evaluation, prepared like ``env``; None for ``env`` itself.
        n_eval_episodes: Number of episodes of each evaluation, >= 1.
        eval_seed: Seed of the evaluation's starts, >= 0.
        **learn_kwargs: Further arguments of ``learn()``; ``reset_num_timesteps`` is False unless given.

    Returns:
        The returns before and after, and the battery.

    Raises:
        TypeError: If ``model`` is no SB3 model with k-gates, or an argument is unknown or not of its kind.
        ValueError: If an argument is out of its range, the spaces or the number of environments differ, or a wrapper
            that changes observations stands on the old `VecNormalize`: then pass an ``env`` that has its own.
            Nothing has changed then.

    Warns:
        UserWarning: If ``model`` has no environment, so that nothing is known of a normalization.
    """
    policy = _check_model(model, train_only)
    total_timesteps = check_count("total_timesteps", total_timesteps)
    n_eval_episodes = check_count("n_eval_episodes", n_eval_episodes)
    eval_seed = check_count("eval_seed", eval_seed, low=0)
    check_flag("keep_replay_buffer", keep_replay_buffer)
    if normalize not in ("freeze", "carry"):
        raise ValueError(f"normalize must be 'freeze' or 'carry', got {normalize!r}")
    if task_difficulty is not None:
        check_number("task_difficulty", task_difficulty, low=0.0, high=1.0)
    learn_kwargs = {"reset_num_timesteps": False, **learn_kwargs}
    inspect.signature(model.learn).bind(total_timesteps, **learn_kwargs)
    computed = any(conditioned_nets(policy))
    battery = Battery(model) if train_only == "gates" and not computed else None
    if battery is not None:
        battery.capture("source")
    new_env = _prepare("env", env, model, frozen=normalize == "freeze")
    check_env = new_env if eval_env is None else _prepare("eval_env", eval_env, model, frozen=True, same_number=False)

    policy.train_only(train_only)  # the last that may refuse
    _share_statistics(model, new_env, frozen=normalize == "freeze")
    if task_difficulty is not None:
        policy.task_difficulty = task_difficulty
    model.set_env(new_env)
    if isinstance(model, OffPolicyAlgorithm):
        _move_replay_buffer(model, keep=keep_replay_buffer)
    before = episode_returns(model, check_env, n_eval_episodes, eval_seed)
    new_env.seed(model.seed)
    model.learn(total_timesteps, **learn_kwargs)
    after = episode_returns(model, check_env, n_eval_episodes, eval_seed)
    if battery is not None:
        battery.capture("target")
    actor = [parameter for _, parameter in acting_parameters(policy)]
    n_trained = sum(parameter.numel() for parameter in actor if parameter.requires_grad)
    n_actor = sum(parameter.numel() for parameter in actor)
    return Transfer(model, battery, before, after, n_trained, n_actor, check_env, eval_seed)


def _check_model(model: Any, train_only: Any) -> Any:
    if not isinstance(model, BaseAlgorithm):
        raise TypeError(f"model must be a Stable-Baselines3 model, got {type(model).__name__}")
    if not isinstance(model.policy, KGatedMixin):
        raise TypeError(
            f"model must have a k-gated policy, got one with {type(model.policy).__name__}: "
            "nb_agents.retrofit(model) gives it gates without changing what it computes"
        )
    if train_only not in CHOICES:
        raise ValueError(f"train_only must be one of {CHOICES}, got {train_only!r}")
    if train_only == "gates" and not model.policy.gates:
        raise ValueError(
            "model must have gates to train, but its policy has no hidden layer: give net_arch one or more"
        )
    return model.policy


def _prepare(name: str, env: Any, model: BaseAlgorithm, *, frozen: bool, same_number: bool = True) -> VecEnv:
    """``env`` as SB3 needs it, seen through the same normalization as the model's present environment."""
    if isinstance(env, VectorEnv):
        env = VectorEnvAdapter(env)
    elif isinstance(env, gym.Env):
        monitored = env if is_wrapped(env, Monitor) else Monitor(env)
        env = DummyVecEnv([lambda: monitored])
    elif not isinstance(env, VecEnv):
        raise TypeError(f"{name} must be a Gymnasium environment, a VectorEnv or an SB3 VecEnv, got {env!r}")
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


def _share_statistics(model: BaseAlgorithm, env: VecEnv, *, frozen: bool) -> None:
    if (pair := _statistics_for(env, model)) is not None:
        given, present = pair
        if given.norm_obs and present.norm_obs:
            given.obs_rms = copy.deepcopy(present.obs_rms)
        given.ret_rms = copy.deepcopy(present.ret_rms)
        given.training = not frozen


def _move_replay_buffer(model: OffPolicyAlgorithm, *, keep: bool) -> None:
    """Give the model an empty replay buffer as the algorithm makes it; another model may share the old one."""
    old, kwargs = model.replay_buffer, dict(model.replay_buffer_kwargs)
    if isinstance(old, HerReplayBuffer):  # it computes rewards by the environment
        kwargs["env"] = model.env
        if keep:
            old.env = model.env
    if old is not None and not keep:
        model.replay_buffer = type(old)(
            model.buffer_size,
            model.observation_space,
            model.action_space,
            device=model.device,
            n_envs=model.n_envs,
            optimize_memory_usage=model.optimize_memory_usage,
            **kwargs,
        )
