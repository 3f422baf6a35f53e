"""How the robots of a run come to their k-sets, all of which stand beside the weights of one policy."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

import nb_gym  # noqa: F401  # registers the environment
from benchmarks.protocol.recorder import without_log_folder
from benchmarks.questions.fleet.question import FleetSpec
from nb_agents import Battery, KGatedPolicy, RowNormalize, RowObservation, VectorEnvAdapter, fleet, fleet_battery
from nb_agents.returns import first_episodes

DECISIONS = 50
"""Of an episode; a rollout is one episode of each robot."""

COPIES, STARTS = 8, 4
"""Environments of the pretraining, and episodes in which a robot is measured."""

SETTINGS: dict[str, Any] = {
    "n_steps": DECISIONS, "n_epochs": 10, "learning_rate": 1e-3, "gamma": 0.8, "gae_lambda": 0.8, "device": "cpu",
}  # fmt: skip
"""PPO's of all methods; chosen on seeds 0 to 2."""

PER_ROW = 25
"""Samples of each robot in a gradient step."""

Robots = dict[str, NDArray[np.float64]]
"""The robots' parameters by name, each of shape `(robots,)`."""


def robots_of(spec: FleetSpec) -> Robots:
    """The robots of a seed, the same for every method."""
    rng = np.random.default_rng([spec.seed, 1])
    gains = np.exp(rng.uniform(np.log(0.4), np.log(2.5), spec.robots))
    return {"A": rng.uniform(1.0, 1.8, spec.robots), "torque_gain": gains}


def pendulums(robots: Robots) -> VectorEnvAdapter:
    """A pendulum in each row."""
    context: dict[str, Any] = {**robots}
    return VectorEnvAdapter(gym.make_vec("NBPendulumControl-v0", len(robots["A"]), **context))


def adapt(spec: FleetSpec, robots: Robots) -> tuple[Battery, int]:
    """The k-sets of the robots in order, and the number of calls of `learn` that they have taken."""
    model, steps = pretrained(spec.seed, spec.pretraining), spec.episodes * DECISIONS
    if spec.method in ("fleet", "one-scale"):
        made = fleet(model, pendulums(robots))
        if spec.method == "one-scale":
            made.set_env(RowObservation(scaled(pendulums(robots))))
        made.set_random_seed(spec.seed)
        return fleet_battery(without_log_folder(made).learn(steps * spec.robots)), 1
    battery, names = Battery(model), [f"robot {i}" for i in range(spec.robots)]
    if spec.method == "separate":
        for i, name in enumerate(names):
            own = pendulums({parameter: values[i : i + 1] for parameter, values in robots.items()})
            battery.add(name, adapted(model, RowNormalize(own, gamma=SETTINGS["gamma"]), steps, [spec.seed, i]))
        return battery, spec.robots
    k = k_of(model)
    if spec.method == "shared":
        k = adapted(model, scaled(pendulums(robots)), steps * spec.robots, [spec.seed])
    for name in names:
        battery.add(name, k)
    return battery, int(spec.method == "shared")


def evaluate(spec: FleetSpec, robots: Robots, battery: Battery) -> NDArray[np.float64]:
    """Mean return of each robot, shape `(robots,)`, from the same starts with every method."""
    env = pendulums({name: np.repeat(values, STARTS) for name, values in robots.items()})
    policy: Any = battery.network
    with battery.per_row(np.repeat(np.arange(spec.robots), STARTS).tolist()):
        returns = first_episodes(policy, env, seed=spec.seed)
    means: NDArray[np.float64] = returns.reshape(spec.robots, STARTS).mean(axis=1)
    return means


@lru_cache(maxsize=1)  # runs that follow each other in one worker share it
def pretrained(seed: int, decisions: int) -> PPO:
    """The policy that all methods begin with; none of them changes it."""
    ones = np.ones(COPIES)
    model = ppo(scaled(pendulums({"A": ones, "torque_gain": ones})), seed)
    without_log_folder(model).learn(decisions)
    return model


def adapted(model: PPO, env: VecEnv, steps: int, seed: list[int]) -> torch.Tensor:
    """The k's that the policy comes to in an environment, shape `(n_k,)`, its weights as they were."""
    made = ppo(env, int(np.random.SeedSequence(seed).generate_state(1)[0]))
    made.policy.load_state_dict(model.policy.state_dict())
    policy: Any = made.policy
    policy.train_only("gates")
    without_log_folder(made).learn(steps)
    return k_of(made)


def k_of(model: PPO) -> torch.Tensor:
    """The k's that a model acts with now, shape `(n_k,)`."""
    battery = Battery(model)
    battery.capture("now")
    return battery["now"]


def ppo(env: VecEnv, seed: int) -> PPO:
    """An algorithm with the settings that all share."""
    return PPO(KGatedPolicy, env, batch_size=PER_ROW * env.num_envs, seed=seed, **SETTINGS)


def scaled(env: VecEnv) -> VecNormalize:
    """Rewards on the scale of all rows together."""
    return VecNormalize(env, norm_obs=False, gamma=SETTINGS["gamma"])
