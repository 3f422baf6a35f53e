"""Eight tasks of a world, their k-sets, and the steps that are seen in them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

import nb_gym
from benchmarks.protocol.recorder import without_log_folder
from nb_agents import Battery, KGatedPolicy, Transitions, VectorEnvAdapter, fleet, fleet_battery

Task = dict[str, Any]

PENDULUMS: dict[str, Task] = {
    "A = 1.4": {"A": 1.4}, "A = 1.8": {"A": 1.8}, "gain 0.5": {"torque_gain": 0.5}, "gain 2": {"torque_gain": 2.0},
    "omega = 0.5": {"omega": 0.5}, "omega = 1.2": {"omega": 1.2}, "b = 0.05": {"b": 0.05}, "b = 1": {"b": 1.0},
}  # fmt: skip

CHEETAHS = (
    "normal", "moon", "hugegravity", "carry_stuff", "crippled_backlegs", "crippled_forelegs", "inverted_actions",
    "defective_module",
)  # fmt: skip
"""Named tasks whose dynamics differ by more than a friction or the mass of a foot."""


@dataclass(frozen=True)
class World:
    """How policy and k-sets come about; chosen on seeds 0 and 1.

    Attributes:
        id: Id of the environment.
        tasks: Arguments of the eight tasks, by their names.
        pretraining: Decisions of the policy on the plain task.
        adapting: Decisions of each k-set.
        kept: Steps and copies of the environment with each of two k-sets, by which a task's dynamics are learned.
        settings: PPO's.
    """

    id: str
    tasks: dict[str, Task]
    pretraining: int
    adapting: int
    kept: tuple[int, int]
    settings: dict[str, Any]


def world_of(name: str) -> World:
    """The world of a specification."""
    if name == "pendulum":
        settings = {"n_steps": 50, "batch_size": 200, "learning_rate": 1e-3, "gamma": 0.8, "gae_lambda": 0.8}
        return World("NBPendulumControl-v0", PENDULUMS, 16_000, 2_000, (50, 5), settings)
    from nb_gym.mujoco import TASKS  # MuJoCo is an extra

    tasks = {task: dict(TASKS[f"HalfCheetah/{task}"].kwargs) for task in CHEETAHS}
    return World("NBHalfCheetah-v0", tasks, 8_192, 1_024, (300, 5), {"n_steps": 128, "batch_size": 256})


@dataclass(frozen=True)
class Behaviours:
    """What was seen; a battery's k-sets are in the order of the tasks, and "source" stands behind them.

    Attributes:
        battery: The k-sets, each with the dynamics of its task.
        paid: Mean reward of each k-set in its own task, when it was stored, `(8,)`.
        recent: Steps of each task by each k-set, `(steps, 64, ...)`: row 8 i + j is task i and the k-set of task j.
    """

    battery: Battery
    paid: NDArray[np.float64]
    recent: Transitions

    def trial(self, row: int) -> Transitions:
        """The steps of one row."""
        seen = self.recent
        columns = (seen.observations, seen.actions, seen.next_observations, seen.rewards)
        return Transitions(*(column[:, row] for column in columns))


@lru_cache(maxsize=1)  # the methods of a seed follow each other in one worker
def behaviours(name: str, seed: int, steps: int) -> Behaviours:
    """Train the policy and the k-sets, and act with them."""
    world = world_of(name)
    model = ppo(world, seed)
    tasks = [*world.tasks.values()]
    robots = fleet(model, VectorEnvAdapter(rows_of(world, tasks)))
    robots.set_random_seed(seed)
    battery = fleet_battery(without_log_folder(robots).learn(8 * world.adapting), [*world.tasks])
    plain = Battery(model)
    plain.capture("source")
    battery.add("source", plain["source"])
    length, copies = world.kept
    own = [i for i in range(8) for _ in range(copies)]
    kept = act(world, battery, own * 2, [8] * len(own) + own, length, [seed, 1])
    for i, task in enumerate(world.tasks):
        of_task = [row for row, each in enumerate(own * 2) if each == i]
        battery.fit_dynamics(task, flat(kept, of_task))
    paid = kept.rewards[:, len(own) :].mean(axis=0).reshape(8, copies).mean(axis=1)
    return Behaviours(battery, paid, act(world, battery, np.repeat(range(8), 8), [*range(8)] * 8, steps, [seed, 2]))


def ppo(world: World, seed: int) -> PPO:
    """The policy, trained on the plain task."""
    env = VecNormalize(VectorEnvAdapter(rows_of(world, [{}] * 8)), norm_obs=False)
    model = PPO(KGatedPolicy, env, seed=seed, device="cpu", **world.settings)
    without_log_folder(model).learn(world.pretraining)
    return model


def rows_of(world: World, tasks: list[Task]) -> Any:
    """A vector environment with a task in each row; a parameter that a task does not name is as it is by itself."""
    plain = nb_gym.Context._field_defaults if world.id.startswith("NBPendulum") else {}
    names = sorted({name for task in tasks for name in task})
    context: Any = {name: np.array([task.get(name, plain.get(name, 1.0)) for task in tasks]) for name in names}
    return gym.make_vec(world.id, len(tasks), **context)


def act(world: World, battery: Battery, tasks: Any, k_sets: Any, steps: int, seed: list[int]) -> Transitions:
    """Steps from the start of an episode, in each row with a task and a k-set, arrays of `(steps, rows, ...)`."""
    policy: Any = battery.network
    env = rows_of(world, [[*world.tasks.values()][i] for i in tasks])
    first, second = np.random.SeedSequence(seed).generate_state(2)
    torch.manual_seed(int(second))  # actions are drawn from it
    before, _ = env.reset(seed=int(first))
    rows = []
    with battery.per_row([int(i) for i in k_sets]):
        for _ in range(steps):
            action, _ = policy.predict(before)
            after, reward, *_ = env.step(action)
            rows.append((before.copy(), action, after.copy(), np.array(reward)))
            before = after
    env.close()
    return Transitions(*(np.array(column) for column in zip(*rows, strict=True)))


def flat(steps: Transitions, rows: list[int]) -> Transitions:
    """The steps of some rows, one below the other."""
    columns = (steps.observations, steps.actions, steps.next_observations, steps.rewards)
    return Transitions(*(column[:, rows].reshape(-1, *column.shape[2:]) for column in columns))
