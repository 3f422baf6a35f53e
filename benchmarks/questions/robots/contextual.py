"""Policies that are trained over many contexts, and measured in the first episode of a target."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv
from stable_baselines3 import PPO

from benchmarks.protocol.recorder import without_log_folder
from benchmarks.questions.robots.results import Row
from benchmarks.questions.robots.rewarded import OneRewardObservation
from benchmarks.questions.robots.training import (
    LOG_STD,
    NUM_ENVS,
    SETTINGS,
    Evaluator,
    Source,
    build_ppo,
    learn,
    make_robots,
    name_of,
    normalised,
    source,
)
from benchmarks.questions.robots.worlds import Context, Family, Robot
from nb_agents import SignedKGate, distill, retrofit, turn_around
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.maml import MAML, Environments, TRPOUpdate
from nb_agents.maml.actor import StackedActor
from nb_agents.policies.sb3 import KGatedMultiInputPolicy
from nb_gym.mujoco.parameters import ContextShapes

STUDENTS = {"student": "teacher", "retrofit": "retrofit-teacher", "retrofit-turned": "retrofit-turned-teacher"}
"""The methods with a student, and what the row of its teacher is called."""

LABEL_SHARE = 0.2
"""Share of the budget of a teacher with a student that goes into the student's labels."""

GATES_FIRST = 300_000
"""Decisions in which `retrofit-turned` trains its gates and critic alone; of 0, these and all, on seed 2.

A critic that does not know the contexts yet would spoil what the weights can do.
"""

TEACHER: dict[str, Any] = {
    "gate_class": SignedKGate, "k_from": "context", "k_net": (64,), "k_lr_ratio": 2.0, "block_size": 16,
}  # fmt: skip

STUDENT: dict[str, Any] = {"steps": 8, "units": 32, "rounds": 6, "n_epochs": 8, "batch_size": 1024}

META: dict[str, Any] = {
    "inner_steps": 1, "inner_lr": 0.2, "episodes_per_task": 4, "gamma": 0.99, "gae_lambda": 0.95,
    "outer": TRPOUpdate(max_kl=0.02),
}  # fmt: skip
"""MAML's settings; of two trials on seed 0, by the mean over the targets after five inner steps."""

META_TASKS, META_EPISODE = 16, 200
"""Tasks of a meta-iteration, and decisions of their episodes."""

META_HERE = 25
"""Episodes of an inner step in a target."""

META_MEASURED = (0, 1, 5)
"""Inner steps after which it is measured."""

RECURRENT: dict[str, Any] = {"batch_size": 2048}
"""What differs for a recurrent policy, whose batches are padded: smaller ones cost twice as much."""


def over_contexts(method: str, robot: Robot, width: int, seed: int, steps: int) -> dict[str, Row]:
    """Train a method over a robot's family, and measure it in all contexts of the robot's."""
    if method in STUDENTS:
        return _teacher_and_student(method, robot, width, seed, steps)
    if method == "maml":
        return _meta(robot, width, seed, steps)
    model: Any
    training = _family(robot).training(NUM_ENVS)
    before = 0
    if method == "recurrent":
        model = _recurrent(robot, training, width, seed)
    elif method == "randomised-source":
        begin = source(name_of(robot), width, seed, robot.source_steps)
        model, before = _carried(begin, robot, training, width, seed), begin.steps
    else:
        model = build_ppo("MlpPolicy", normalised(make_robots(robot, NUM_ENVS, training)), seed, width)
    learn(model, steps)
    seen: Any = model.get_env()
    return {method: Row(_returns(robot, model.policy, seen.obs_rms), 0, before + model.num_timesteps)}


def _recurrent(robot: Robot, training: Context, width: int, seed: int) -> Any:
    """A policy that remembers by itself."""
    from sb3_contrib import RecurrentPPO

    env = normalised(make_robots(robot, NUM_ENVS, training))
    kwargs = {"net_arch": [width], "lstm_hidden_size": width, "log_std_init": LOG_STD, "enable_critic_lstm": True}
    own = SETTINGS | RECURRENT
    return without_log_folder(RecurrentPPO("MlpLstmPolicy", env, policy_kwargs=kwargs, seed=seed, device="cpu", **own))


def _family(robot: Robot) -> Family:
    assert robot.family is not None
    return robot.family


def _contexts(robot: Robot) -> dict[str, Context]:
    return {"source": {}, **robot.targets, **robot.held_out}


def _returns(robot: Robot, policy: Any, observations: Any, view: str = "") -> dict[str, float]:
    made = {}
    for name, context in _contexts(robot).items():
        told = filled(robot, context) if view == "context" else context
        made[name] = Evaluator(robot, told, observations, view)(policy)
    return made


def filled(robot: Robot, context: Context) -> dict[str, float]:
    """A context with a value for each parameter that the robot's family has; a gain of all is one of each."""
    family, given = _family(robot), {**robot.source, **context}
    spread = {name: given["gain"] for name in family.ranges if name.startswith("gain_") and "gain" in given}
    names = {*family.training(1), *family.ranges, *(name for name in context if name != "gain")}
    return {name: given.get(name, spread.get(name, 1.0)) for name in sorted(names)}


def _teacher_and_student(method: str, robot: Robot, width: int, seed: int, steps: int) -> dict[str, Row]:
    """A teacher that is told the context, and the student that infers it."""
    labels, training = int(LABEL_SHARE * steps), _family(robot).training(NUM_ENVS)
    teacher, before = make_teacher(method, robot, width, seed, steps)
    numbers = len(next(conditioned_nets(teacher.policy)).k0)
    told = Row(_returns(robot, teacher.policy, teacher.get_env().obs_rms, "context"), numbers, before)
    whole = STUDENT["rounds"] * NUM_ENVS
    labels = labels // whole * whole
    worlds = make_robots(robot, NUM_ENVS, training, view="context")
    student = distill(teacher, worlds, labels, seed=seed, **STUDENT)
    return {STUDENTS[method]: told, method: Row(_returns(robot, student, None), 0, before + labels)}


def make_teacher(method: str, robot: Robot, width: int, seed: int, steps: int) -> tuple[Any, int]:
    """Train the teacher of a student, whose labels take their share of the steps; the second is what all has taken."""
    training = _family(robot).training(NUM_ENVS)
    env = normalised(make_robots(robot, NUM_ENVS, training, view="context"))
    left = steps - int(LABEL_SHARE * steps)
    if method == "student":
        teacher: Any = build_ppo(KGatedMultiInputPolicy, env, seed, width, **TEACHER)
        learn(teacher, left)
        return teacher, teacher.num_timesteps
    begin = source(name_of(robot), width, seed, robot.source_steps)
    teacher = retrofit(_carried(begin, robot, training, width, seed), env=env, **TEACHER)
    teacher.set_random_seed(seed)
    spent = 0
    if method == "retrofit-turned":
        spent = turn_around(teacher, seed=seed).steps
        teacher.policy.train_only("gates", log_std=True)
        learn(teacher, min(GATES_FIRST, left // 2))
        teacher.policy.train_only("all")
        spent += teacher.num_timesteps
    learn(teacher, left - spent)
    return teacher, begin.steps + spent + teacher.num_timesteps


def _carried(begin: Source, robot: Robot, training: Context, width: int, seed: int) -> PPO:
    """The source policy and its statistics, before a training over contexts."""
    env: Any = normalised(make_robots(robot, NUM_ENVS, training))
    env.obs_rms, env.ret_rms = copy.deepcopy(begin.observations), copy.deepcopy(begin.returns)
    model = build_ppo("MlpPolicy", env, seed, width)
    model.policy.load_state_dict(begin.state)
    return model


def _meta(robot: Robot, width: int, seed: int, steps: int) -> dict[str, Row]:
    """MAML on short episodes, and some inner steps in each context."""
    family, made = _family(robot), _environments(robot)
    kwargs = {"net_arch": [width, width], "log_std_init": LOG_STD}
    maml = MAML(
        "MlpPolicy", made, family.tasks, tasks_per_iteration=META_TASKS, policy_kwargs=kwargs, seed=seed, device="cpu",
        **META,
    )  # fmt: skip
    each = maml.rollouts_per_iteration * maml.n_envs * META_EPISODE
    without_log_folder(maml).learn(max(1, steps - each))  # it stops at the first iteration beyond
    contexts = _contexts(robot)
    tasks = _alike([filled(robot, context) for context in contexts.values()])
    adapted, _ = maml._run(tasks, META_MEASURED[-1], META_HERE, seed, evaluate=False)
    rows = {}
    for k in META_MEASURED:
        parameters, returns = adapted[k], {}
        for (name, context), vector in zip(contexts.items(), parameters, strict=True):
            StackedActor(maml.policy).set_vector(vector)
            returns[name] = Evaluator(robot, context)(maml.policy)
        numbers = parameters.shape[1] if k else 0
        rows[f"maml-{k}"] = Row(returns, numbers, maml.num_timesteps, k * META_HERE * META_EPISODE)
    return rows


def _alike(tasks: list[dict[str, float]]) -> list[dict[str, float]]:
    """The tasks with the same names, so that one vector environment holds them all."""
    names = sorted({name for task in tasks for name in task})
    return [{name: task.get(name, 1.0) for name in names} for task in tasks]


def _environments(robot: Robot) -> Environments:
    """Short episodes of a robot in contexts of its own, one or many."""
    family, short = _family(robot), replace(robot, episode=META_EPISODE)

    def make(**context: Any) -> gym.Env[Any, Any]:
        env: gym.Env[Any, Any] = gym.make(robot.id, **{**robot.source, "episode_steps": META_EPISODE, **context})
        return OneRewardObservation(env) if family.rewarded else env

    def make_vec(num_envs: int, **context: Any) -> VectorEnv[Any, Any, Any]:
        return make_robots(short, num_envs, context)

    return Environments(make, make_vec, ContextShapes())
