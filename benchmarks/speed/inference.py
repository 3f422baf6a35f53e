"""What a computed k costs: a student's decision, and `learn()` with conditioned gates, over SB3's own policy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO

import nb_gym  # noqa: F401  # registers the environment
from benchmarks.protocol.recorder import without_log_folder
from benchmarks.speed.rows import Row, Target
from benchmarks.speed.timing import interleave, seconds
from nb_agents import (
    FiLMGate,
    KGate,
    KGatedPolicy,
    RowNormalize,
    SignedKGate,
    StudentPolicy,
    VectorEnvAdapter,
    distill,
    fleet,
)
from nb_gym.wrappers.vector import ContextObservation

BATCHES = {1: 500, 256: 200}
"""Observations of a call, and calls of a sample."""

STEPS = 4096
"""Time steps of one `learn()`, two rollouts."""

PLAIN = "`MlpPolicy`"
DECISION, LEARN, FLEET = Target(most=1.5), Target(most=1.15), Target(most=1.3)
GATES = {"σ": KGate, "signed": SignedKGate, "FiLM": FiLMGate}


def _told(num_envs: int) -> VectorEnvAdapter:
    gains = np.resize([1.0, -1.0], num_envs)
    env = gym.make_vec("NBPendulumControl-v0", num_envs, torque_gain=gains)
    return VectorEnvAdapter(ContextObservation(env, {"torque_gain": (-1.0, 1.0)}))


def untrained_student() -> StudentPolicy:
    """Make a student whose decisions take as long as those of one that has learned."""
    teacher = PPO(KGatedPolicy, _told(8), n_steps=16, policy_kwargs={"k_from": "context"}, seed=0, device="cpu")
    return distill(teacher, None, 128, rounds=1, n_epochs=1)


def decisions(rounds: int) -> list[Row]:
    """Time `predict` of a student, with its window kept in the state, and of SB3's policy without any."""
    torch.set_num_threads(1)
    student = untrained_student()
    plain = PPO("MlpPolicy", gym.make("NBPendulumControl-v0"), seed=0, device="cpu").policy
    rows = []
    for batch, calls in BATCHES.items():
        observation = np.zeros((batch, *(student.observation_space.shape or ())), dtype=np.float32)
        state: Any = None
        for start in (True, *[False] * 8):  # eight transitions: the window is full
            _, state = student.predict(observation, state, np.full(batch, start), deterministic=True)
        begins = np.zeros(batch, dtype=np.bool_)
        call = partial(student.predict, observation, state, begins, deterministic=True)
        pair = {
            "student": partial(seconds, call, calls),
            PLAIN: partial(seconds, partial(plain.predict, observation, deterministic=True), calls),
        }
        noun = "observation" if batch == 1 else "observations"
        rows.append(Row("computed k", f"`predict`, {batch} {noun}", "s", interleave(pair, rounds), DECISION))
    return rows


def learning_seconds(policy: Any, **policy_kwargs: Any) -> float:
    """Time one `learn()` of PPO on eight pendulums that show their context, seed 0, on the CPU."""
    model = PPO(policy, _told(8), n_steps=STEPS // 16, policy_kwargs=policy_kwargs, seed=0, device="cpu")
    return seconds(lambda: without_log_folder(model).learn(STEPS))


def learning(rounds: int) -> list[Row]:
    """Time `learn()` of PPO with conditioned gates, and of SB3's policy with the context in its observation."""
    torch.set_num_threads(1)

    rows = []
    for name, kind in GATES.items():
        gated = partial(learning_seconds, KGatedPolicy, k_from="context", gate_class=kind)
        samples = interleave({name: gated, PLAIN: partial(learning_seconds, "MlpPolicy")}, rounds)
        rows.append(Row("computed k", f"`learn`, {name} gates", "s", samples, LEARN))
    return rows


ROBOTS = 64
"""Rows of a fleet."""

FLEETS = {
    "64-64, batches of 256": (64, {"n_steps": 32, "batch_size": 256}),
    "256-256, batches of 256": (256, {"n_steps": 32, "batch_size": 256}),
    "64-64, batches of 3,200": (64, {"n_steps": 50, "batch_size": 3200}),
}
"""Units of each of two hidden layers, and what PPO is given."""


def fleet_seconds(name: str, *, apart: bool) -> float:
    """Time two rollouts of pendulums with their updates, of k-sets alone: a k-set each (`apart`), or one for all."""
    width, arguments = FLEETS[name]
    env = VectorEnvAdapter(gym.make_vec("NBPendulumControl-v0", ROBOTS, A=np.linspace(1.0, 1.8, ROBOTS)))
    given: dict[str, Any] = {**arguments, "policy_kwargs": {"net_arch": [width, width]}, "seed": 0, "device": "cpu"}
    model: Any = PPO(KGatedPolicy, env if apart else RowNormalize(env), **given)
    model = fleet(model, env) if apart else model
    model.policy.train_only("gates")
    return seconds(lambda: without_log_folder(model).learn(2 * arguments["n_steps"] * ROBOTS))


def fleets(rounds: int) -> list[Row]:
    """Time `learn()` of a k-set for each of 64 robots, and of one for all of them."""
    torch.set_num_threads(1)
    return [
        Row(
            "computed k",
            f"`learn` of {ROBOTS} robots, {name}",
            "s",
            interleave({each: partial(fleet_seconds, name, apart=each == "a k-set each") for each in pair}, rounds),
            FLEET,
        )
        for name in FLEETS
        for pair in [("a k-set each", "one k-set")]
    ]


COMPARISONS: dict[str, Callable[[int], list[Row]]] = {
    "decisions": decisions,
    "conditioned learning": learning,
    "fleet": fleets,
}
