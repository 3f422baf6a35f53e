"""The environments of a run: those it trains in, and the one that measures its policy."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers.vector import TransformObservation
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from benchmarks.settings import AlgorithmSettings
from benchmarks.spec import EPISODE_STEPS, Context, RunSpec
from nb_agents import VectorEnvAdapter
from nb_gym import Context as PendulumContext
from nb_gym import NBPendulumVectorEnv, controllers
from nb_gym.controllers import Controller

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


def reference_return(controller: Controller, context: Context) -> float:
    """Mean return of a controller over the fixed starts; it decides at every physics step."""
    return controllers.reference_return(
        controller, NUM_STARTS, STARTS_SEED, episode_steps=EPISODE_STEPS, **dict(context)
    )


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


def make_training_env(spec: RunSpec, context: Context) -> VecNormalize:
    """What SB3 trains on: episode statistics count the true rewards, the algorithm sees them normalised."""
    env = VecMonitor(VectorEnvAdapter(make_vector_env(spec.settings, spec.settings.num_envs, **context)))
    return VecNormalize(env, norm_obs=False, gamma=spec.settings.gamma)


class Evaluation(NamedTuple):
    """What the deterministic policy is worth.

    Attributes:
        source: mean return over the fixed starts in the source context.
        target: the same in the target context.
        torques: what it did from the first start in the target context, one per decision; enough to see it again.
    """

    source: float
    target: float
    torques: list[float]


class Evaluator:
    """Measures policies over the fixed starts, in both contexts of a specification in one batch."""

    def __init__(self, spec: RunSpec) -> None:
        self.decisions = -(-EPISODE_STEPS // spec.settings.frame_skip)
        both = zip(PendulumContext(**spec.source), PendulumContext(**spec.target), strict=True)
        context = {
            name: source if source == target else np.repeat([source, target], NUM_STARTS)
            for name, (source, target) in zip(PendulumContext._fields, both, strict=True)
        }
        self.env = make_vector_env(spec.settings, 2 * NUM_STARTS, **context)
        theta, theta_dot = fixed_starts()
        self.options = {"theta": np.tile(theta, 2), "theta_dot": np.tile(theta_dot, 2)}

    def __call__(self, policy: BasePolicy) -> Evaluation:
        """Run one episode from each start."""
        observation, _ = self.env.reset(options=self.options)
        returns = np.zeros(2 * NUM_STARTS)
        torques = []
        for _ in range(self.decisions):
            actions, _ = policy.predict(observation, deterministic=True)
            observation, rewards, *_ = self.env.step(actions)
            returns += rewards
            torques.append(float(actions[NUM_STARTS, 0]))
        source, target = returns.reshape(2, NUM_STARTS).mean(axis=1).tolist()
        return Evaluation(source, target, torques)
