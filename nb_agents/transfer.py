"""One call that moves a trained model to another task: what changes, what stays, what it was worth."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
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

from nb_agents.adaptation import acting_parameters
from nb_agents.battery import Battery
from nb_agents.policies import KGatedMixin
from nb_agents.validation import check_count, check_flag, check_number
from nb_agents.vec_env import VectorEnvAdapter

Environment = gym.Env[Any, Any] | VectorEnv[Any, Any, Any] | VecEnv

_ABOVE_NORMALIZE = (VecTransposeImage, VecMonitor, VecCheckNan)
"""Wrappers that may stand on a `VecNormalize` without changing what it has to do."""


@dataclass(frozen=True)
class Transfer:
    """What `transfer` did.

    Attributes:
        model: The model that was moved.
        battery: The k-sets "source" (before) and "target" (after); None unless the gates alone were trained, as k-sets
            mean nothing beside other weights.
        returns_before: Returns of the deterministic policy on the new task before the training, shape ``(episodes,)``.
        returns_after: The same afterwards, from the same starts where the environment can be seeded.
        n_trained: Numbers that were trained in the actor.
        n_actor: Numbers that an action depends on in all.
        eval_env: Where the policy was evaluated.
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

        The model goes on training from a reset of its environment.
        """
        return float(_evaluate(self.model, self.eval_env, len(self.returns_after), self.eval_seed).mean())

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
            vector environment, or a `VecEnv`. One that contains a `VecNormalize` is taken as it is.
        total_timesteps: Budget of the training, as in ``learn()``.
        train_only: What of the actor trains: "gates", "head" or "all", see `KGatedMixin.adapt`. Critics always do.
        task_difficulty: τ of the new task in [0, 1], for a policy with a k-target; None leaves it as it is.
        normalize: What becomes of the `VecNormalize` around the model's present environment: with "freeze" its
            statistics stand still, which keeps the old task to the last bit, with "carry" they go on from where they
            are.
        keep_replay_buffer: Whether an off-policy algorithm goes on learning from the old task's transitions, too.
        eval_env: Where the policy is evaluated, prepared like ``env``; None for ``env`` itself.
        n_eval_episodes: Episodes of each evaluation, >= 1.
        eval_seed: Seed of the evaluation's starts, >= 0.
        **learn_kwargs: Further arguments of ``learn()``; ``reset_num_timesteps`` is False unless given.

    Returns:
        The returns before and after, and the battery.

    Raises:
        TypeError: If ``model`` is no SB3 model with k-gates, or an argument is not of its kind.
        ValueError: If an argument is out of its range, the spaces or the number of environments differ, or a wrapper
            that changes observations stands on the old `VecNormalize`: then pass an ``env`` that has its own.
            Nothing has changed then.
    """
    policy = _check_model(model)
    total_timesteps = check_count("total_timesteps", total_timesteps)
    n_eval_episodes = check_count("n_eval_episodes", n_eval_episodes)
    eval_seed = check_count("eval_seed", eval_seed, low=0)
    check_flag("keep_replay_buffer", keep_replay_buffer)
    if normalize not in ("freeze", "carry"):
        raise ValueError(f"normalize must be 'freeze' or 'carry', got {normalize!r}")
    if task_difficulty is not None:
        check_number("task_difficulty", task_difficulty, low=0.0, high=1.0)
    new_env = _prepare("env", env, model, frozen=normalize == "freeze")
    check_env = new_env if eval_env is None else _prepare("eval_env", eval_env, model, frozen=True, same_number=False)

    policy.adapt(train_only)  # the last that may refuse
    if task_difficulty is not None:
        policy.task_difficulty = task_difficulty
    model.set_env(new_env)
    if isinstance(model, OffPolicyAlgorithm):
        _move_replay_buffer(model, keep=keep_replay_buffer)
    battery = Battery(model) if train_only == "gates" else None
    if battery is not None:
        battery.capture("source")
    before = _evaluate(model, check_env, n_eval_episodes, eval_seed)
    new_env.seed(model.seed)
    model.learn(total_timesteps, **{"reset_num_timesteps": False, **learn_kwargs})
    after = _evaluate(model, check_env, n_eval_episodes, eval_seed)
    if battery is not None:
        battery.capture("target")
    actor = [parameter for _, parameter in acting_parameters(policy)]
    n_trained = sum(parameter.numel() for parameter in actor if parameter.requires_grad)
    n_actor = sum(parameter.numel() for parameter in actor)
    return Transfer(model, battery, before, after, n_trained, n_actor, check_env, eval_seed)


def _check_model(model: Any) -> Any:
    if not isinstance(model, BaseAlgorithm):
        raise TypeError(f"model must be a Stable-Baselines3 model, got {type(model).__name__}")
    if not isinstance(model.policy, KGatedMixin):
        raise TypeError(
            f"model must have a k-gated policy, got one with {type(model.policy).__name__}: "
            "nb_agents.retrofit(model) gives it gates without changing what it computes"
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
    if present is not None:
        normalize = copy.deepcopy(present)  # without its environment, as SB3 pickles it
        normalize.set_venv(env)
        normalize.training = not frozen
        env = normalize
    prepared: VecEnv = model._wrap_env(env, model.verbose)  # transposes images where the model's were
    if same_number and prepared.num_envs != model.n_envs:
        raise ValueError(f"{name} must hold {model.n_envs} environments, as the model's does, got {prepared.num_envs}")
    try:
        check_for_correct_spaces(prepared, model.observation_space, model.action_space)
    except ValueError as error:
        raise ValueError(f"{name} must have the spaces that the model was trained with: {error}") from None
    return prepared


def _present_normalize(model: BaseAlgorithm) -> VecNormalize | None:
    env = model.get_env()
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


def _evaluate(model: BaseAlgorithm, env: VecEnv, episodes: int, seed: int) -> NDArray[np.float64]:
    """Returns of the deterministic policy in unnormalized rewards, shape ``(episodes,)``."""
    evaluate: Any = evaluate_policy
    if "action_masks" in inspect.signature(model.predict).parameters:  # MaskablePPO needs its own
        from sb3_contrib.common.maskable.evaluation import evaluate_policy as evaluate
    env.seed(seed)
    with _as_it_is(env, model):
        returns, _ = evaluate(model, env, episodes, return_episode_rewards=True, warn=False)
    if env is model.env:
        model.set_env(env)  # it stands somewhere in an episode: begin the next training with a reset
    return np.asarray(returns, dtype=np.float64)


@contextmanager
def _as_it_is(env: VecEnv, model: BaseAlgorithm) -> Iterator[None]:
    """Normalization stands still, with the model's present statistics, and leaves rewards alone."""
    normalize, trained = unwrap_vec_normalize(env), unwrap_vec_normalize(model.env) if model.env else None
    if normalize is None:
        yield
        return
    if trained is not None and normalize.norm_obs and trained.norm_obs:
        normalize.obs_rms = trained.obs_rms
    before = normalize.training, normalize.norm_reward
    normalize.training, normalize.norm_reward = False, False
    try:
        yield
    finally:
        normalize.training, normalize.norm_reward = before
