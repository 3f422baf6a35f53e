"""The spec tells wrappers how many decisions an episode has."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import TimeAwareObservation, TimeLimit
from sb3_contrib.common.wrappers import TimeFeatureWrapper
from stable_baselines3.common.env_util import make_vec_env

import nb_gym

CASES: list[tuple[str, dict[str, Any], int]] = [
    ("NBPendulum-v0", {}, 1000),
    ("NBPendulum-v0", {"frame_skip": 20}, 50),
    ("NBPendulum-v0", {"frame_skip": 7, "episode_steps": 30}, 5),
    ("NBPendulum-v0", {"frame_skip": 100, "episode_steps": 3}, 1),
    ("Navigation2D-v0", {}, 100),
    ("Navigation2D-v0", {"episode_steps": 7, "goal": (9.0, 9.0)}, 7),
]


def length(env: gym.Env[Any, Any]) -> tuple[int, Any]:
    """Decisions until the episode is truncated, and the last observation."""
    env.reset(seed=0)
    for count in range(1, 2000):
        observation, _, _, truncated, _ = env.step(np.zeros(env.action_space.shape, np.float32))
        if truncated:
            return count, observation
    raise AssertionError("no end")


@pytest.mark.parametrize(("name", "kwargs", "decisions"), CASES)
def test_the_spec_tells_the_length_of_an_episode(name: str, kwargs: dict[str, Any], decisions: int) -> None:
    env = gym.make(name, **kwargs)
    assert env.spec is not None
    assert env.spec.max_episode_steps == env.unwrapped.spec.max_episode_steps == decisions
    assert env.get_wrapper_attr("decisions") == length(env)[0] == decisions
    assert not isinstance(env, TimeLimit)
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env)), gym.make(env.spec)):
        assert twin.spec == env.spec
        assert length(twin)[0] == decisions
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert length(again)[0] == again.spec.max_episode_steps == decisions
    assert gym.spec(name).max_episode_steps is None, "what is registered holds for every frame skip"


@pytest.mark.parametrize(("name", "kwargs", "decisions"), CASES)
def test_the_spec_of_a_vector_class_tells_it_too(name: str, kwargs: dict[str, Any], decisions: int) -> None:
    envs = gym.make_vec(name, num_envs=3, **kwargs)
    assert envs.spec is not None
    assert envs.spec.max_episode_steps == decisions
    again = gym.make_vec(envs.spec)
    assert again.spec == envs.spec
    for each in (envs, again, gym.make_vec(name, num_envs=3, vectorization_mode="sync", **kwargs)):
        each.reset(seed=0)
        zeros = np.zeros(each.action_space.shape, np.float32)
        ends = [each.step(zeros)[3].all() for _ in range(decisions)]
        assert ends == [False] * (decisions - 1) + [True]
    shorter = gym.make_vec(name, num_envs=2, max_episode_steps=1, **kwargs)
    assert shorter.spec is not None
    assert shorter.spec.max_episode_steps == 1


@pytest.mark.parametrize(("name", "kwargs", "decisions"), CASES)
def test_time_aware_wrappers_see_the_end_coming(name: str, kwargs: dict[str, Any], decisions: int) -> None:
    aware = TimeAwareObservation(gym.make(name, **kwargs), normalize_time=True)
    assert length(aware)[1][-1] == 1.0
    assert TimeAwareObservation(gym.make(name, **kwargs)).max_timesteps == decisions
    remaining = TimeFeatureWrapper(gym.make(name, **kwargs))  # sb3-contrib's: 1 at the start, 0 at the end
    assert length(remaining)[1][-1] == 0.0


@pytest.mark.parametrize(("limit", "expected"), [(3, 3), (50, 50), (80, 50)])
def test_a_time_limit_comes_on_top(limit: int, expected: int) -> None:
    for env in (
        gym.make("NBPendulum-v0", frame_skip=20, max_episode_steps=limit),
        TimeLimit(gym.make("NBPendulum-v0", frame_skip=20), limit),
    ):
        assert length(env)[0] == expected
        assert env.spec is not None
        assert env.spec.max_episode_steps == limit
        assert env.unwrapped.spec.max_episode_steps == 50
    assert length(gym.make("NBPendulum-v0", frame_skip=20, max_episode_steps=-1))[0] == 50


def test_sb3s_make_vec_env_knows_it() -> None:
    envs = make_vec_env("NBPendulum-v0", 2, env_kwargs={"frame_skip": 20}, wrapper_class=TimeFeatureWrapper, seed=0)
    assert [spec.max_episode_steps for spec in envs.get_attr("spec")] == [50, 50]
    envs.reset()
    for t in range(1, 51):
        obs, _, dones, infos = envs.step(np.zeros((2, 1), np.float32))
        if t < 50:
            assert obs[:, -1] == pytest.approx(1 - t / 50)
    assert dones.all()
    assert infos[0]["terminal_observation"][-1] == 0.0
    envs.close()


def test_what_was_handed_over_is_not_changed() -> None:
    env, spec = nb_gym.NBPendulumEnv(frame_skip=3), gym.spec("NBPendulum-v0")
    assert env.spec is None
    env.spec = spec
    assert env.spec.max_episode_steps == math.ceil(1000 / 3)
    assert spec.max_episode_steps is gym.spec("NBPendulum-v0").max_episode_steps is None
    env.spec = None
    assert env.spec is None
