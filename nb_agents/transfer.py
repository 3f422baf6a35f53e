"""One call that moves a trained model to another task, and says what that was worth."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.her import HerReplayBuffer

from nb_agents._checks import check_count, check_flag, check_number
from nb_agents.adapters.acting import acting_parameters
from nb_agents.battery.battery import Battery
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.policies.mixin import KGatedMixin
from nb_agents.policies.train_only import CHOICES
from nb_agents.returns import episode_returns
from nb_agents.target import Environment, prepare, share_statistics


@dataclass(frozen=True)
class Transfer:
    """The result of `transfer`.

    Attributes:
        model: The model that was moved.
        battery: The k-sets "source" (before) and "target" (after), or the sets of another adapter that was trained;
            None where everything was, as a set means nothing beside other weights, and where the k's are computed.
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
        train_only: Part of the actor that trains: "gates", "head", "biases", "lora" or "all", see
            `KGatedMixin.train_only`.
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
    battery = Battery(model, train_only) if train_only != "all" and not computed else None
    if battery is not None:
        battery.capture("source")
    new_env = prepare("env", env, model, frozen=normalize == "freeze")
    check_env = new_env if eval_env is None else prepare("eval_env", eval_env, model, frozen=True, same_number=False)

    policy.train_only(train_only)  # the last that may refuse
    share_statistics(model, new_env, frozen=normalize == "freeze")
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
