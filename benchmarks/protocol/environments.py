"""The environments of a run: those it trains in, and the one that measures its policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers.vector import TransformAction, TransformObservation
from numpy.typing import NDArray

from benchmarks.protocol.settings import AlgorithmSettings
from benchmarks.protocol.spec import EPISODE_STEPS, Parameters, RunSpec, Source
from nb_gym import Context, NBPendulumVectorEnv
from nb_gym.wrappers.vector import ContextObservation

if TYPE_CHECKING:
    from stable_baselines3.common.policies import BasePolicy
    from stable_baselines3.common.vec_env import VecNormalize

CLIP_OBSERVATION = 10.0
"""Scaled observations are clipped here: a pendulum that has fallen far needs no resolution."""

NUM_STARTS, STARTS_SEED = 64, 0
"""The fixed starts (θ, θ̇) from which every policy and every controller is measured."""


def fixed_starts() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The starts of every evaluation: θ (rad) and θ̇ (rad/s), each of shape `(NUM_STARTS,)`."""
    env = NBPendulumVectorEnv(NUM_STARTS)
    env.reset(seed=STARTS_SEED)
    theta, theta_dot = env.state
    return np.asarray(theta), np.asarray(theta_dot)


def make_vector_env(settings: AlgorithmSettings, num_envs: int, **context: Any) -> VectorEnv[Any, Any, Any]:
    """Pendulums that show the settings' channels at the settings' scale; who steps them resets them."""
    env = gym.make_vec(
        "nb_gym:NBPendulum-v0",
        num_envs=num_envs,
        frame_skip=settings.frame_skip,
        episode_steps=EPISODE_STEPS,
        observe=tuple(settings.observe),
        autoreset_mode=AutoresetMode.DISABLED,
        **context,
    )
    scale = np.array(list(settings.observe.values()), dtype=np.float32)

    def shown(observation: NDArray[np.float32]) -> NDArray[np.float32]:
        clipped: NDArray[np.float32] = np.clip(observation / scale, -CLIP_OBSERVATION, CLIP_OBSERVATION)
        return clipped

    space = gym.spaces.Box(-CLIP_OBSERVATION, CLIP_OBSERVATION, shape=scale.shape, dtype=np.float32)
    return TransformObservation(env, shown, single_observation_space=space)


class ScaledObservation(gym.ObservationWrapper[NDArray[np.float32], Any, NDArray[np.float32]]):
    """One pendulum as the benchmark's policies see it: every channel divided by its scale, then clipped.

    The zoo takes wrappers by name with arguments that YAML can hold, so Gymnasium's `TransformObservation`, which takes
    a function, is not for it.

    Args:
        env: Environment with a flat observation.
        scale: Size that the policy sees as 1, for each channel.

    Raises:
        ValueError: `scale` does not have a positive number for each channel.
    """

    def __init__(self, env: gym.Env[NDArray[np.float32], Any], scale: Sequence[float]) -> None:
        super().__init__(env)
        self.scale = np.array(scale, dtype=np.float32)
        if self.scale.shape != env.observation_space.shape or not np.all(self.scale > 0):
            raise ValueError(
                f"scale must hold a positive number for each channel of {env.observation_space}, got {scale!r}"
            )
        self.observation_space = gym.spaces.Box(-CLIP_OBSERVATION, CLIP_OBSERVATION, self.scale.shape, np.float32)

    def observation(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """The observation, shape `(num_channels,)`, scaled and clipped."""
        shown: NDArray[np.float32] = np.clip(observation / self.scale, -CLIP_OBSERVATION, CLIP_OBSERVATION)
        return shown


def make_training_env(
    settings: AlgorithmSettings,
    context: Source,
    actions_of: Source | None = None,
    shown: Mapping[str, tuple[float, float]] | None = None,
) -> VecNormalize:
    """What SB3 trains on: episode statistics count the true rewards, the algorithm sees them normalised.

    Args:
        settings: Settings of the algorithm.
        context: Context of the pendulums.
        actions_of: Context that the action space comes from; None for `context`. A policy that was trained with one
            `max_torque` keeps its action space where another holds; the pendulum clips what is too much for it.
        shown: Ranges of the context's parameters that the observation holds as well; None or empty for none.
    """
    from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

    from nb_agents import VectorEnvAdapter

    env = make_vector_env(settings, settings.num_envs, **context)
    if actions_of is not None:
        env = TransformAction(env, lambda actions: actions, single_action_space=action_space(actions_of))
    if shown:
        env = ContextObservation(env, shown)
    return VecNormalize(VecMonitor(VectorEnvAdapter(env)), norm_obs=False, gamma=settings.gamma)


def action_space(context: Source) -> gym.spaces.Box:
    """The actions of one pendulum of a context."""
    limit = np.float32(np.max(context.get("max_torque", Context().max_torque)))
    return gym.spaces.Box(-limit, limit, (1,), np.float32)


class Evaluation(NamedTuple):
    """What the deterministic policy is worth.

    Attributes:
        source: Mean return over the fixed starts in the source context.
        target: Mean return over the fixed starts in the target context.
        torques: Torques from the first start in the target context, one per decision; enough to see it again.
    """

    source: float
    target: float
    torques: list[float]


class Evaluator:
    """Measures policies over the fixed starts, in both contexts of a specification in one batch."""

    def __init__(self, spec: RunSpec) -> None:
        self.spec = spec
        both = zip(Context(**spec.middle), Context(**spec.target), strict=True)
        context = {
            name: source if source == target else np.repeat([source, target], NUM_STARTS)
            for name, (source, target) in zip(Context._fields, both, strict=True)
        }
        self.env = make_vector_env(spec.settings, 2 * NUM_STARTS, **context)

    def __call__(self, policy: BasePolicy) -> Evaluation:
        """Run one episode from each start."""
        if getattr(policy, "k_from", None):
            (source,), _ = self._in_context(policy, self.spec.middle)
            (target,), actions = self._in_context(policy, self.spec.target)
            return Evaluation(float(source), float(target), actions[:, 0, 0].tolist())
        (source, target), actions = mean_returns(self.env, policy)
        return Evaluation(float(source), float(target), actions[:, NUM_STARTS, 0].tolist())

    def _in_context(self, policy: Any, context: Parameters) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        return mean_returns(make_vector_env(self.spec.settings, NUM_STARTS, **context), in_context(policy, context))


def in_context(policy: Any, context: Parameters) -> BasePolicy:
    """The policy that acts in a context: that of `at` where its k's are computed, and the policy itself otherwise."""
    defaults = Context()._asdict()
    acting: BasePolicy = policy.at({**defaults, **context}) if getattr(policy, "k_from", None) else policy
    return acting


def mean_returns(
    env: VectorEnv[Any, Any, Any], policy: BasePolicy, num_starts: int = NUM_STARTS
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Run the deterministic policy for one episode from each of the first fixed starts, in every context.

    Args:
        env: Environments whose episodes all end in the same step; `num_starts` that follow each other share a context.
        policy: Policy that acts.
        num_starts: Number of environments per context.

    Returns:
        Mean return of each context, shape `(num_contexts,)`, and all actions, shape `(decisions, num_envs, 1)`.
    """
    theta, theta_dot = (np.resize(starts[:num_starts], env.num_envs) for starts in fixed_starts())
    observation, _ = env.reset(options={"theta": theta, "theta_dot": theta_dot})
    returns = np.zeros(env.num_envs)
    actions = []
    over = False
    while not over:
        action, _ = policy.predict(observation, deterministic=True)
        observation, rewards, _, truncations, _ = env.step(action)
        returns += rewards
        actions.append(action)
        over = bool(truncations.all())
    return returns.reshape(-1, num_starts).mean(axis=1), np.array(actions)
