"""Navigation2D: the task's rules, and the native vector class as many scalar environments."""

from __future__ import annotations

import math
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from numpy.testing import assert_array_equal

from nb_gym import Navigation2DEnv, Navigation2DVectorEnv

MODES = list(AutoresetMode)


def goals_and_moves(rng: np.random.Generator, num_envs: int) -> tuple[Any, Any]:
    return rng.uniform(-0.3, 0.3, (num_envs, 2)), lambda: rng.normal(0, 0.08, (num_envs, 2)).astype(np.float32)


@pytest.mark.parametrize("num_envs", [1, 2, 33])
def test_scalar_and_vector_agree_to_the_last_bit(num_envs: int) -> None:
    rng = np.random.default_rng(num_envs)
    goals, move = goals_and_moves(rng, num_envs)
    vector = gym.make_vec("Navigation2D-v0", num_envs, goal=goals, autoreset_mode="Disabled", episode_steps=30)
    scalars = [gym.make("Navigation2D-v0", goal=goal, episode_steps=30) for goal in goals]
    for _ in range(3):
        observations, _ = vector.reset()
        for env, observation in zip(scalars, observations, strict=True):
            assert_array_equal(env.reset()[0], observation)
        over = np.zeros(num_envs, dtype=bool)
        while not over.any():
            moves = move()
            observations, rewards, terminated, truncated, infos = vector.step(moves)
            for i, env in enumerate(scalars):
                observation, reward, term, trunc, info = env.step(moves[i])
                assert_array_equal(observation, observations[i])
                assert (reward, term, trunc) == (rewards[i], terminated[i], truncated[i])
                assert_array_equal(info["goal"], infos["goal"][i])
            over = terminated | truncated


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_autoreset_is_that_of_gymnasiums_sync_vector_env(mode: AutoresetMode) -> None:
    rng = np.random.default_rng(1)
    goals = np.array([[0.1, 0.0], [0.3, 0.3], [0.05, 0.05], [-0.4, 0.2]])
    native = gym.make_vec("Navigation2D-v0", 4, goal=goals, autoreset_mode=mode, episode_steps=6)
    sync = gym.vector.SyncVectorEnv(
        [lambda g=g: Navigation2DEnv(goal=g, episode_steps=6) for g in goals], autoreset_mode=mode
    )
    assert_array_equal(native.reset(seed=0)[0], sync.reset(seed=0)[0])
    for t in range(25):
        moves = (
            np.float32([[0.1, 0.0], [0.0, 0.1], [0.05, 0.05], [0.1, 0.1]]) if t % 3 == 0 else rng.normal(0, 0.1, (4, 2))
        )
        ours, theirs = native.step(moves.astype(np.float32)), sync.step(moves.astype(np.float32))
        for a, b in zip(ours[:4], theirs[:4], strict=True):
            assert_array_equal(a, b)
        assert ("final_obs" in ours[4]) == ("final_obs" in theirs[4])
        if "final_obs" in ours[4]:
            assert_array_equal(ours[4]["_final_obs"], theirs[4]["_final_obs"])
            for i in np.flatnonzero(ours[4]["_final_obs"]):
                assert_array_equal(ours[4]["final_obs"][i], theirs[4]["final_obs"][i])
                assert_array_equal(ours[4]["final_info"]["goal"][i], theirs[4]["final_info"]["goal"][i])


def test_rewards_and_ends_are_those_of_the_paper() -> None:
    env = Navigation2DEnv(goal=(0.25, 0.0))
    env.reset()
    _, reward, terminated, truncated, _ = env.step(np.float32([1.0, -1.0]))  # clipped to 0.1 along each axis
    assert reward == pytest.approx(-math.hypot(0.15, 0.1), abs=1e-7)
    assert not terminated
    assert not truncated
    env.step(np.float32([0.1, 0.1]))
    _, reward, terminated, _, _ = env.step(np.float32([0.055, -0.005]))  # 0.005 beyond the goal, 0.005 beside it
    assert terminated
    assert reward == pytest.approx(-math.hypot(0.005, 0.005), abs=1e-7)
    with pytest.raises(ResetNeeded):
        env.step(np.float32([0, 0]))
    env.reset()
    ends = [env.step(np.float32([0, 0]))[2:4] for _ in range(100)]
    assert ends == [(False, False)] * 99 + [(False, True)]


def test_goals_are_drawn_from_the_seeded_generator_and_can_be_set_for_one_episode() -> None:
    env = Navigation2DEnv()
    first = env.reset(seed=3)[1]["goal"]
    assert np.abs(first).max() <= 0.5
    assert not np.array_equal(env.reset()[1]["goal"], first)
    assert_array_equal(env.reset(seed=3)[1]["goal"], first)
    assert_array_equal(env.reset(options={"goal": (0.1, 0.2)})[1]["goal"], (0.1, 0.2))
    vector = Navigation2DVectorEnv(3)
    goals = vector.reset(seed=[3, None, 3])[1]["goal"]
    assert_array_equal(goals[[0, 2]], [first, first])
    assert not np.array_equal(goals[1], first)
    kept = vector.reset(options={"reset_mask": np.array([False, True, False]), "goal": (0.4, 0.4)})[1]["goal"]
    assert_array_equal(kept, [goals[0], (0.4, 0.4), goals[2]])


def test_nothing_handed_out_is_written_again() -> None:
    env = Navigation2DVectorEnv(2, goal=(0.1, 0.1), episode_steps=3)
    handed_out = [env.reset(seed=0)]
    copies = [handed_out[0][0].copy()]
    for _ in range(8):
        step = env.step(np.full((2, 2), 0.03, dtype=np.float32))
        handed_out.append(step)
        copies.append(step[0].copy())
    for kept, copy in zip(handed_out, copies, strict=True):
        assert_array_equal(kept[0], copy)


def test_gymnasium_accepts_the_environment() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*infinity.*")  # a position has no bound
        check_env(gym.make("Navigation2D-v0").unwrapped, skip_render_check=True)


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [
        ({"goal": (1.0, math.nan)}, "goal"),
        ({"goal": (1.0, 2.0, 3.0)}, "goal"),
        ({"goal": "here"}, "goal"),
        ({"goal": np.zeros((3, 2))}, "goal"),
        ({"episode_steps": 0}, "episode_steps"),
        ({"num_envs": 0}, "num_envs"),
        ({"autoreset_mode": "sometimes"}, "autoreset_mode"),
    ],
)
def test_bad_arguments_are_named(kwargs: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Navigation2DVectorEnv(**{"num_envs": 2} | kwargs)


@pytest.mark.parametrize("env", [Navigation2DEnv(episode_steps=7), Navigation2DVectorEnv(2, episode_steps=7)])
def test_the_length_of_an_episode_is_set_at_construction(env: Any) -> None:
    assert env.episode_steps == 7
    with pytest.raises(AttributeError):
        env.episode_steps = 8


def test_bad_calls_change_nothing() -> None:
    env = Navigation2DVectorEnv(2, goal=(0.2, 0.2), autoreset_mode="Disabled", episode_steps=2)
    with pytest.raises(ResetNeeded):
        env.step(np.zeros((2, 2)))
    with pytest.raises(ResetNeeded):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset()
    env.step(np.full((2, 2), 0.05))
    for actions in (np.zeros(2), np.full((2, 2), np.nan), [["0", "0"]] * 2, np.zeros((2, 2), dtype=complex), "up"):
        with pytest.raises(ValueError, match="action"):
            env.step(actions)
    bad_mask = {"reset_mask": np.zeros(2, dtype=bool)}
    for options in ({"gaol": (0, 0)}, {"goal": (0, np.inf)}, {"goal": ("0", "1")}, bad_mask, ["goal"]):
        with pytest.raises(ValueError, match=r"gaol|goal|reset_mask|options must be a mapping"):
            env.reset(options=options)
    observation = env.step(np.full((2, 2), 0.05))[0]
    assert_array_equal(observation, np.full((2, 2), 0.1, dtype=np.float32))
    with pytest.raises(ResetNeeded, match="0, 1"):
        env.step(np.zeros((2, 2)))
