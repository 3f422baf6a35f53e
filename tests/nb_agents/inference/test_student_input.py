"""What a student is shown and handed back: what does not fit is said, and nothing has a silently wrong shape."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from nb_agents import KGatedPolicy, StudentPolicy, VectorEnvAdapter, distill
from nb_agents.inference.distill import make_student
from nb_gym.wrappers import ContextObservation, HistoryObservation, vector

ONE = np.float32([0.1, -0.2])


@pytest.fixture
def student() -> StudentPolicy:
    env = ContextObservation(gym.make("NBPendulum-v0", torque_gain=(-1.0, 1.0)), {"torque_gain": (-1.0, 1.0)})
    teacher = PPO(KGatedPolicy, env, policy_kwargs={"k_from": "context"}, seed=0, device="cpu")
    student = make_student(teacher, 8, 16)
    student.set_training_mode(False)
    return student


def test_acting_without_memory_is_said_once(student: StudentPolicy) -> None:
    student.predict(ONE)
    with pytest.warns(UserWarning, match="predict was called twice without a state"):
        student.predict(ONE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        student.predict(ONE)


def test_memory_is_not_kept_by_saying_that_no_episode_begins(student: StudentPolicy) -> None:
    student.predict(ONE, episode_start=np.array([False]))
    with pytest.warns(UserWarning, match="predict was called twice without a state"):
        student.predict(ONE, episode_start=np.array([False]))


def test_an_episode_that_begins_unnoticed_is_said_once() -> None:
    """By how far the observation changes: at most as in training, and five times its spread more."""
    told = vector.ContextObservation(
        gym.make_vec("NBPendulum-v0", num_envs=4, torque_gain=(-1.0, 1.0), frame_skip=4, max_torque=0.5)
    )
    teacher = PPO(KGatedPolicy, VectorEnvAdapter(told), policy_kwargs={"k_from": "context"}, seed=0, device="cpu")
    student = distill(teacher, total_timesteps=400, rounds=2, n_epochs=1)
    env = gym.make("NBPendulum-v0", torque_gain=-1.0, frame_skip=4, max_torque=0.5)
    observation, _ = env.reset(seed=0)
    state: Any = None
    for _ in range(40):  # warnings are errors here
        action, state = student.predict(observation, state, deterministic=True)
        observation, *_ = env.step(action)
    last, reach = state.observation[0], student.encoder.reach[-2:].numpy()
    student.predict(last + 0.99 * reach, state)
    for starts in (np.array([True]), np.array([False])):
        student.predict(last + 1.01 * reach, state, starts)
    with pytest.warns(UserWarning, match="has changed by far more than in training, and episode_start was not passed"):
        student.predict(last + 1.01 * reach, state)
    student.predict(last + 1.01 * reach, state)


def test_episodes_that_begin_without_a_state_are_no_mistake(student: StudentPolicy) -> None:
    for _ in range(3):  # a plain loop
        first, state = student.predict(ONE, deterministic=True)  # warnings are errors here
        student.predict(ONE, state)
        for _ in range(2):
            again, _ = student.predict(ONE, episode_start=np.array([True]), deterministic=True)
            np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_observation_that_is_not_finite_is_named(student: StudentPolicy, wrong: float) -> None:
    _, state = student.predict(ONE)
    for observation in (np.float32([0.0, wrong]), np.float32([[0.0, 1.0], [0.0, wrong]])):
        for call in (student.predict, student.k, student.look):
            with pytest.raises(ValueError, match=rf"observation must be finite numbers, got \[ ?0\. +{wrong}\]"):
                call(observation, None)
    with pytest.raises(ValueError, match="observation must be finite"):
        student.at(np.float32([0.0, wrong]), state)


def test_the_state_is_that_of_a_student_with_as_many_steps(student: StudentPolicy) -> None:
    _, state = student.predict(ONE)
    short = state._replace(rows=state.rows[:, 4:], kept=state.kept[:, 4:])
    other = [state._replace(**{name: np.zeros((1, 3))}) for name in ("observation", "action", "kept")]
    for wrong in (short, *other, state[:3], [np.zeros((1, 8, 5)), *state[1:]], 5, state._replace(action=None)):
        message = r"what predict returned for 1 environments, .*\(1, 8, 6\), \(1, 2\), \(1, 1\), \(1, 8, 8\)"
        with pytest.raises(ValueError, match=message):
            student.predict(ONE, wrong)


def test_a_dictionary_is_named(student: StudentPolicy) -> None:
    with pytest.raises(TypeError, match=r"must be an array, got a dictionary of \['observation', 'context'\]: the stu"):
        student.predict({"observation": ONE, "context": ONE})


def test_starts_are_those_of_as_many_environments(student: StudentPolicy) -> None:
    _, state = student.predict(ONE)
    with pytest.raises(ValueError, match=r"episode_start must have shape \(1,\), .*; got \(2,\)"):
        student.predict(ONE, state, np.array([True, False]))


def test_an_environment_with_another_history_is_refused(student: StudentPolicy) -> None:
    """By SB3, where the student's network goes on learning, and by the student, which keeps its own."""
    env = HistoryObservation(gym.make("NBPendulum-v0"), 4)
    kwargs = {name: value for name, value in student.policy_kwargs.items() if name not in ("lr_schedule", "use_sde")}
    with pytest.raises(ValueError, match="steps must be the number of transitions of the history, 4 of them; got 8"):
        PPO(KGatedPolicy, env, policy_kwargs=kwargs, device="cpu")
    with pytest.raises(ValueError, match=r"observation must have shape \(2,\), or such in a batch; got \(26,\): the"):
        student.predict(env.reset(seed=0)[0])


def test_the_state_is_a_value(student: StudentPolicy) -> None:
    """Environments write to their observations, and users to the actions that they are given."""
    observation = np.tile(ONE, (2, 1))
    action, state = student.predict(observation, deterministic=True)
    before = [part.copy() for part in state]
    observation += 1.0
    action += 1.0
    for part, kept in zip(state, before, strict=True):
        np.testing.assert_array_equal(part, kept)
    student.predict(observation, state, np.array([True, False]))
    for part, kept in zip(state, before, strict=True):
        np.testing.assert_array_equal(part, kept)


def test_an_episode_that_begins_is_acted_on_as_if_it_were_the_first(student: StudentPolicy) -> None:
    student.encoder.scale.fill_(5.0)
    state: Any = None
    for step in range(5):
        _, state = student.predict(np.tile(ONE + 0.1 * step, (2, 1)), state, deterministic=True)
    k = student.k(np.tile(ONE, (2, 1)), state, np.array([True, False]))
    torch.testing.assert_close(k[0], student.k(ONE, None)[0])
    assert (k[0] - k[1]).abs().max() > 1e-3
