"""Without a context the robots are Gymnasium's, bit for bit; many at once are the same as one at a time."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from numpy.testing import assert_array_equal

from tests.nb_gym.mujoco.robots import ROBOTS, actions, make, make_vec

CONTEXTS: dict[str, dict[str, Any]] = {
    "HalfCheetah": {"gain_bthigh": (-1.0, 1.0), "gravity": ("log", 0.3, 1.5), "direction": -1.0, "noise_rooty": 0.1},
    "Hopper": {"mass": ("log", 0.5, 2.0), "friction": (0.5, 1.5), "target_velocity": (0.0, 2.0)},
    "Walker2d": {"damping_thigh_joint": (0.5, 2.0), "sensor": (0.5, 1.0), "mass_foot": 2.0},
    "Ant": {"heading": (0.0, 6.0), "armature": (0.5, 2.0), "gain_hip_1": 0.0},
    "Humanoid": {"gravity": (0.5, 1.0), "mass_torso": (1.0, 2.0), "noise": 0.01},
    "InvertedDoublePendulum": {"size_pole": (0.8, 1.2), "sensor_slider": 0.0},
    "Reacher": {"gain": (-1.0, 1.0), "damping": (0.5, 2.0)},
}


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_default_context_is_gymnasiums_robot_to_the_bit(robot: str, seed: int) -> None:
    theirs, ours = gym.make(f"{robot}-v5"), gym.make(f"NB{robot}-v0")
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.spec.max_episode_steps == theirs.spec.max_episode_steps  # type: ignore[union-attr]
    assert_array_equal(ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0])
    for action in actions(theirs.action_space, 1000, seed):  # type: ignore[arg-type]
        expected, found = theirs.step(action), ours.step(action)
        assert_array_equal(found[0], expected[0])
        assert found[1:4] == expected[1:4]
        for name, value in expected[4].items():
            assert_array_equal(found[4][name], value)
        if expected[2] or expected[3]:  # the generator goes on in the same way
            assert_array_equal(ours.reset()[0], theirs.reset()[0])


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize("threads", [1, 3])
def test_many_are_as_many_single_ones_whatever_the_threads(robot: str, threads: int) -> None:
    """Contexts that differ; the info too; also beyond the end of an episode."""
    context, seeds = CONTEXTS[robot], [5, 6, 7]
    envs = make_vec(robot, 3, threads=threads, autoreset_mode=AutoresetMode.DISABLED, episode_steps=60, **context)
    singles = [make(robot, episode_steps=60, **context) for _ in seeds]
    for first in (0, 10):
        observations, infos = envs.reset(seed=[seed + first for seed in seeds])
        for i, (env, seed) in enumerate(zip(singles, seeds, strict=True)):
            observation, info = env.reset(seed=seed + first)
            assert_array_equal(observations[i], observation)
            assert {name: values[i] for name, values in infos["context"].items() if name[0] != "_"} == info["context"]
        for action in actions(envs.single_action_space, 60, first):
            batch = envs.step(np.stack([action] * 3))
            for i, env in enumerate(singles):
                observation, reward, terminated, truncated, info = env.step(action)
                assert_array_equal(batch[0][i], observation)
                assert (batch[1][i], batch[2][i], batch[3][i]) == (reward, terminated, truncated)
                for name in info.keys() - {"context"}:
                    assert_array_equal(batch[4][name][i], info[name])
            if batch[2].any() or batch[3].any():
                break


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("robot", ["HalfCheetah", "Hopper", "Humanoid", "Pusher"])
def test_episodes_that_begin_by_themselves_are_those_of_single_robots(robot: str, mode: AutoresetMode) -> None:
    """Single robots that draw from the same generator in turn, as the vector class does; Pusher has no formula."""
    kwargs: dict[str, Any] = {"gravity": (0.5, 1.5), "episode_steps": 15}
    if robot == "Pusher":
        envs = make_vec("Reacher", 3, source="Pusher-v5", autoreset_mode=mode, **kwargs)
        singles = [make("Reacher", source="Pusher-v5", **kwargs) for _ in range(3)]
    else:
        envs = make_vec(robot, 3, autoreset_mode=mode, **kwargs)
        singles = [make(robot, **kwargs) for _ in range(3)]
    envs.reset(seed=0)
    rng = np.random.default_rng(0)
    for env in singles:
        env.reset(seed=0)
        env.np_random = rng
    assert envs.np_random.bit_generator.state != rng.bit_generator.state
    shown = [env.reset()[0] for env in singles]
    assert_array_equal(envs.reset(seed=0)[0], shown)
    rng.bit_generator.state = envs.np_random.bit_generator.state
    over = np.zeros(3, dtype=np.bool_)
    for action in actions(envs.single_action_space, 80, 0, scale=1.0):
        observations, rewards, terminations, truncations, infos = envs.step(np.stack([action] * 3))
        expected = [env.step(action) if not over[i] else None for i, env in enumerate(singles)]
        for i, outcome in enumerate(expected):
            if outcome is None:
                assert_array_equal(observations[i], singles[i].reset()[0])
                assert (rewards[i], terminations[i], truncations[i]) == (0.0, False, False)
                continue
            assert (rewards[i], terminations[i], truncations[i]) == outcome[1:4]
            ended = outcome[2] or outcome[3]
            if not (ended and mode is AutoresetMode.SAME_STEP):
                assert_array_equal(observations[i], outcome[0])
        if mode is AutoresetMode.SAME_STEP:
            for i, outcome in enumerate(expected):
                if outcome is not None and (outcome[2] or outcome[3]):
                    assert_array_equal(infos["final_obs"][i], outcome[0])
                    final = infos["final_info"]
                    assert {name: final["context"][name][i] for name in outcome[4]["context"]} == outcome[4]["context"]
                    assert_array_equal(observations[i], singles[i].reset()[0])
                    assert (
                        infos["context"]["gravity"][i]
                        == singles[i].context["gravity"]
                        != outcome[4]["context"]["gravity"]
                    )
        else:
            over = terminations | truncations


def test_a_mask_begins_some_robots_alone() -> None:
    envs = make_vec("HalfCheetah", 3)
    observations, _ = envs.reset(seed=[1, 2, 3])
    moved = envs.step(np.zeros((3, 6), dtype=np.float32))[0]
    mask = np.array([False, True, False])
    begun, info = envs.reset(seed=[1, 2, 3], options={"reset_mask": mask, "mass_torso": 2.0})
    assert_array_equal(begun[[0, 2]], moved[[0, 2]])
    assert_array_equal(begun[1], observations[1])
    assert info["context"]["mass_torso"].tolist() == [1.0, 2.0, 1.0]
    masses = [env.model.body("torso").mass[0] for env in envs.robots]
    assert masses[1] == 2 * masses[0] == 2 * masses[2]
    _, info = envs.reset(seed=0)  # options hold for one episode
    assert "mass_torso" not in info["context"]
    assert envs.robots[1].model.body("torso").mass[0] == masses[0]


def test_actions_beyond_the_limits_are_gymnasiums() -> None:
    """MuJoCo clamps the forces, and the cost is of the action as it was given."""
    theirs, ours, envs = gym.make("HalfCheetah-v5"), make("HalfCheetah"), make_vec("HalfCheetah", 2)
    for env in (theirs, ours):
        env.reset(seed=1)
    envs.reset(seed=[1, 1])
    action = np.full(6, 3.0, dtype=np.float32)
    expected = theirs.step(action)
    assert ours.step(action)[1] == expected[1] == envs.step(np.stack([action, action]))[1][1]


def test_the_arguments_of_the_class_go_through() -> None:
    kwargs: dict[str, Any] = {"ctrl_cost_weight": 0.5, "exclude_current_positions_from_observation": False}
    theirs, ours = gym.make("HalfCheetah-v5", **kwargs), make("HalfCheetah", **kwargs)
    envs = make_vec("HalfCheetah", 2, **kwargs)
    assert_array_equal(ours.reset(seed=0)[0], theirs.reset(seed=0)[0])
    envs.reset(seed=[0, 0])
    action = np.full(6, 0.5, dtype=np.float32)
    expected = theirs.step(action)
    assert ours.step(action)[1] == expected[1] == envs.step(np.stack([action, action]))[1][0]
    assert_array_equal(ours.observation_space.shape, expected[0].shape)
