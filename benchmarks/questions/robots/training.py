"""Environments, PPO, evaluation, and the source policies, which all methods that adapt begin from."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

import nb_gym  # noqa: F401  (registers the robots)
from benchmarks.protocol.recorder import without_log_folder
from benchmarks.questions.robots.rewarded import RewardObservation
from benchmarks.questions.robots.worlds import ROBOTS, Context, Robot
from nb_agents import VectorEnvAdapter
from nb_agents.returns import first_episodes
from nb_evaluation.kept import kept, kept_name
from nb_evaluation.runs.provenance import versions
from nb_gym.wrappers.vector import ContextObservation

SETTINGS: dict[str, Any] = {
    "n_steps": 64, "batch_size": 512, "n_epochs": 10, "learning_rate": 3e-4, "gamma": 0.99, "gae_lambda": 0.95,
    "ent_coef": 0.0,
}  # fmt: skip
"""PPO's of every training over `NUM_ENVS` environments; chosen with five trials of the source on seeds 0 and 1."""

NUM_ENVS = 64

LOG_STD = -1.0
"""Logarithm of the exploration's deviation in an untrained policy; at SB3's 0 the source ends at a third."""

EVAL_EPISODES, EVAL_SEED = 10, 1_000_003
"""Episodes of an evaluation, and the seed that they begin from: the same for everyone."""


class Source(NamedTuple):
    """A source policy: its weights, and the statistics of `VecNormalize` that it was trained with."""

    state: Mapping[str, torch.Tensor]
    observations: RunningMeanStd
    returns: RunningMeanStd
    steps: int


def make_robots(robot: Robot, num_envs: int, context: Context, *, view: str = "") -> VectorEnv[Any, Any, Any]:
    """Robots in a context; `view` is what is shown beside the observation: "context" or nothing ("")."""
    arguments = {**robot.source, "episode_steps": robot.episode, **context}
    env: VectorEnv[Any, Any, Any] = gym.make_vec(
        robot.id, num_envs=num_envs, threads=1, autoreset_mode=AutoresetMode.SAME_STEP, **arguments
    )
    if robot.family is not None and robot.family.rewarded:
        env = RewardObservation(env)
    if view == "context":
        assert robot.family is not None
        env = ContextObservation(env, robot.family.ranges, key="context")
    return env


def normalised(env: VectorEnv[Any, Any, Any]) -> VecNormalize:
    """Environments as SB3 trains on them, observations and rewards standardised; a context stays as it is."""
    adapter = VectorEnvAdapter(env)
    keys = ["observation"] if isinstance(adapter.observation_space, gym.spaces.Dict) else None
    return VecNormalize(adapter, gamma=SETTINGS["gamma"], norm_obs_keys=keys)


def held(env: VectorEnv[Any, Any, Any], observations: Any) -> VecNormalize:
    """Environments seen through statistics that stand still, with their rewards as they are."""
    made = normalised(env)
    made.obs_rms, made.training, made.norm_reward = observations, False, False
    return made


def build_ppo(
    policy: Any, env: VecEnv, seed: int, width: int, own: Mapping[str, Any] | None = None, **policy_kwargs: Any
) -> PPO:
    """PPO with the shared settings, or its own, on the CPU."""
    settings = {**SETTINGS, **(own or {})}
    kwargs = {"net_arch": [width, width], "log_std_init": LOG_STD, **policy_kwargs}
    return without_log_folder(PPO(policy, env, policy_kwargs=kwargs, seed=seed, device="cpu", **settings))


def learn(model: Any, steps: int) -> None:
    """Train for a number of decisions; what is no whole rollout is left over."""
    whole = model.n_steps * model.n_envs
    model.learn(max(1, steps // whole) * whole)


class Evaluator:
    """Measures policies in one context, again and again from the same starts.

    Args:
        robot: The robot.
        context: The context.
        observations: Statistics that the policies see observations through; None where they take them raw.
        view: See `make_robots`.
    """

    def __init__(self, robot: Robot, context: Context, observations: Any = None, view: str = "") -> None:
        env = make_robots(robot, EVAL_EPISODES, context, view=view)
        self._env: VecEnv = VectorEnvAdapter(env) if observations is None else held(env, observations)

    def __call__(self, policy: Any) -> float:
        """Mean return."""
        return round(float(first_episodes(policy, self._env, EVAL_SEED).mean()), 3)


def name_of(robot: Robot) -> str:
    """The robot's name."""
    return next(name for name, each in ROBOTS.items() if each is robot)


@lru_cache(maxsize=2)
def source(name: str, width: int, seed: int, steps: int) -> Source:
    """The policy of the default robot; trained once on a machine, by whoever comes first."""
    specification = {"robot": name, "width": width, "seed": seed, "steps": steps}
    key = kept_name("robots", specification, SETTINGS, NUM_ENVS, LOG_STD, versions())
    return _read(kept(key, lambda: _written(train_source(ROBOTS[name], width, seed, steps))))


def train_source(robot: Robot, width: int, seed: int, steps: int) -> PPO:
    """Train on the default robot."""
    model = build_ppo("MlpPolicy", normalised(make_robots(robot, NUM_ENVS, {})), seed, width)
    learn(model, steps)
    return model


def _written(model: PPO) -> bytes:
    env: Any = model.get_env()
    arrays = {f"state.{name}": value.numpy() for name, value in model.policy.state_dict().items()}
    for name, each in (("observations", env.obs_rms), ("returns", env.ret_rms)):
        arrays |= {f"{name}.{part}": np.asarray(getattr(each, part)) for part in ("mean", "var", "count")}
    buffer = io.BytesIO()
    np.savez(buffer, steps=model.num_timesteps, **arrays)
    return buffer.getvalue()


def _read(content: bytes) -> Source:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        state = {name.partition(".")[2]: torch.as_tensor(file[name]) for name in file if name.startswith("state.")}
        observations, returns = (_statistics(file.__getitem__, name) for name in ("observations", "returns"))
        return Source(state, observations, returns, int(file["steps"]))


def _statistics(get: Callable[[str], Any], name: str) -> RunningMeanStd:
    made = RunningMeanStd(shape=get(f"{name}.mean").shape)
    made.mean, made.var, made.count = (get(f"{name}.{part}") for part in ("mean", "var", "count"))
    made.count = float(made.count)
    return made
