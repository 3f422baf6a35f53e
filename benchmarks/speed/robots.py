"""How fast robots with contexts step, are reset and are learned from, beside robots without any."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

import nb_gym  # noqa: F401  # registers the environment
from benchmarks.protocol.recorder import without_log_folder
from benchmarks.speed.environments import required
from benchmarks.speed.rows import Row, Target
from benchmarks.speed.timing import Sample, interleave, seconds
from nb_agents import VectorEnvAdapter

NUM_ENVS, STEPS = 64, 200
"""Robots, and decisions of a sample."""

LEARNING = 4096
"""Time steps of one `learn()`, two rollouts."""

CONTEXT = ("gravity", "friction", "mass", "damping", "gain")
"""Parameters that differ between the robots."""

OURS, ROBOT, THEIRS = "NBMujocoVectorEnv", "NBHalfCheetah-v0", "HalfCheetah-v5"
CORES = os.cpu_count() or 1


def contexts(seed: int = 0) -> dict[str, Any]:
    """Draw a context for each robot."""
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(0.5, 1.5, NUM_ENVS) for name in CONTEXT}


def ours(threads: int, **kwargs: Any) -> Any:
    """Make our robots, each with a context of its own."""
    return gym.make_vec(ROBOT, num_envs=NUM_ENVS, threads=threads, **contexts(), **kwargs)


def stepping(env: Any) -> Sample:
    """Sample the decisions per second of 64 half-cheetahs that all contenders move with the same actions."""
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (STEPS, NUM_ENVS, 6)).astype(np.float32)
    env.reset()

    def run() -> None:
        for each in actions:
            env.step(each)

    return lambda: NUM_ENVS * STEPS / seconds(run)


def row(what: str, contenders: dict[str, Sample], rounds: int, target: float | None) -> list[Row]:
    """Compare ours, the first contender, with a peer in the ways in which it can be set up."""
    least = None if target is None else Target(least=target)
    return [Row("robots", what, "steps/s", interleave(contenders, rounds), least)]


def envpool(rounds: int) -> list[Row]:
    """Compare with EnvPool's half-cheetahs, which have one model for all, with one thread each."""
    pool = required("envpool")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the precision of its own spaces
        peer = pool.make_gymnasium(THEIRS, num_envs=NUM_ENVS, num_threads=1)
    contenders = {OURS: stepping(ours(1)), "EnvPool, no contexts": stepping(peer)}
    return row("EnvPool without contexts, one thread", contenders, rounds, 1.0)


def threads(rounds: int) -> list[Row]:
    """Compare two threads with one."""
    contenders = {f"{OURS}, 2 threads": stepping(ours(2)), f"{OURS}, 1 thread": stepping(ours(1))}
    return row("the second thread", contenders, rounds, 1.8)


def singles() -> list[Callable[[], Any]]:
    """Make single robots of ours with the same contexts."""
    drawn = contexts()
    each: list[dict[str, Any]] = [{name: float(values[i]) for name, values in drawn.items()} for i in range(NUM_ENVS)]
    return [partial(gym.make, ROBOT, **context) for context in each]


def sync(rounds: int) -> list[Row]:
    """Compare with Gymnasium's loop over robots: ours with the same contexts, and its own, which have none."""
    name, rows = f"{OURS}, {CORES} threads", []
    with_contexts = gym.vector.SyncVectorEnv(singles())
    without = gym.make_vec(THEIRS, num_envs=NUM_ENVS, vectorization_mode="sync")
    for what, peer, env, target in (
        ("`SyncVectorEnv` with the same contexts", ROBOT, with_contexts, 3.5),
        ("`SyncVectorEnv` without contexts", THEIRS, without, None),
    ):
        rows += row(what, {name: stepping(ours(CORES)), peer: stepping(env)}, rounds, target)
    return rows


def resets(rounds: int, repeats: int = 20) -> list[Row]:
    """Time a reset of all robots with new contexts, by robot; and one that changes sizes, for which XML is compiled."""
    rows = []
    for what, names, target in (
        ("a reset with a new context", CONTEXT, Target(most=200.0, unit="µs")),
        ("a reset with new sizes", ("size",), None),
    ):
        env, rng = ours(1), np.random.default_rng(1)
        env.reset(seed=0)

        def run(env: Any = env, rng: Any = rng, names: Any = names) -> None:
            env.reset(options={name: rng.uniform(0.5, 1.5, NUM_ENVS) for name in names})

        samples = {OURS: lambda run=run: 1e6 * seconds(run, repeats) / NUM_ENVS}
        rows.append(Row("robots", what, "µs", interleave(samples, rounds), target))
    return rows


def learning(rounds: int) -> list[Row]:
    """Compare the steps per second of PPO's `learn()` with those on SB3's `DummyVecEnv`, with contexts and without."""
    torch.set_num_threads(1)

    def native() -> Any:
        return VectorEnvAdapter(ours(CORES, autoreset_mode="SameStep"))

    def sample(make: Callable[[], Any]) -> float:
        model = PPO("MlpPolicy", make(), n_steps=32, batch_size=512, seed=0, device="cpu")
        return LEARNING / seconds(lambda: without_log_folder(model).learn(LEARNING))

    rows, name = [], f"{OURS}, {CORES} threads"
    makers: Any
    for what, makers, target in (
        ("PPO's `learn` on `DummyVecEnv`, same contexts", singles(), 1.4),
        ("PPO's `learn` on `DummyVecEnv` without contexts", [partial(gym.make, THEIRS)] * NUM_ENVS, None),
    ):
        peer = partial(sample, partial(DummyVecEnv, makers))
        contenders: dict[str, Sample] = {name: partial(sample, native), "`DummyVecEnv`": peer}
        rows += row(what, contenders, rounds, target)
    return rows


COMPARISONS: dict[str, Callable[[int], list[Row]]] = {
    "robots-envpool": envpool,
    "robots-threads": threads,
    "robots-sync": sync,
    "robots-resets": resets,
    "robots-learning": learning,
}
