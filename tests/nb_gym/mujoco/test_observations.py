"""The observations have names; sensors lose, scale and blur them; the reward does not change with them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tests.nb_gym.mujoco.robots import ROBOTS, make, make_vec

NAMED = {
    "HalfCheetah": {"rootz": 0, "rooty": 1, "ffoot": 7, "rootx_velocity": 8, "ffoot_velocity": 16},
    "Hopper": {"rootz": 0, "foot_joint": 4, "rootx_velocity": 5, "foot_joint_velocity": 10},
    "Walker2d": {"rooty": 1, "foot_left_joint_velocity": 16},
    "Ant": {"root_z": 0, "root_qw": 1, "ankle_3": 10, "root_vx": 13, "hip_1_velocity": 19, "cfrc_ext_torso": 27},
    "Humanoid": {"root_z": 0, "abdomen_z": 5, "root_vx": 22, "cinert_torso": 45, "cvel_torso": 175},
    "InvertedDoublePendulum": {"slider": 0, "cos_hinge": 3, "slider_constraint_force": 8},
    "Reacher": {"cos_joint0": 0, "target_x": 4, "to_target_y": 9},
}


@pytest.mark.parametrize("robot", ROBOTS)
def test_names_are_those_of_the_numbers(robot: str) -> None:
    env = make(robot)
    size = env.observation_space.shape[0]
    slices = env._setup.sensors._slices
    covered = np.concatenate([np.arange(size)[part] for part in slices.values()])
    assert_array_equal(covered, np.arange(size))
    for name, index in NAMED[robot].items():
        assert slices[name].start == index, name


def test_names_of_positions_and_velocities_are_the_simulations() -> None:
    """Read off the data by the joints' names."""
    for robot in ("HalfCheetah", "Hopper", "Walker2d", "Ant", "Humanoid"):
        env = make(robot)
        observation, _ = env.reset(seed=4)
        data, slices = env.robot.data, env._setup.sensors._slices
        for name in (each for each in env.parts["damping"] if not each.startswith("root")):
            assert observation[slices[name]] == data.joint(name).qpos
            assert observation[slices[f"{name}_velocity"]] == np.clip(data.joint(name).qvel, -10, 10)


def test_a_lost_sensor_shows_nothing_and_costs_nothing() -> None:
    whole, lossy = make("HalfCheetah"), make("HalfCheetah", sensor_rooty=0.0, sensor_bfoot_velocity=-2.0)
    for env in (whole, lossy):
        env.reset(seed=0)
    for _ in range(5):
        action = whole.action_space.sample()
        expected, found = whole.step(action), lossy.step(action)
        factors = np.ones(17)
        factors[1], factors[13] = 0.0, -2.0
        assert_array_equal(found[0], expected[0] * factors)
        assert found[1] == expected[1]


def test_common_and_single_factors_multiply_and_variances_of_noise_add_up() -> None:
    env = make("Reacher", sensor=0.5, sensor_target_x=4.0, noise=3.0, noise_target_x=0.0, noise_target_y=4.0)
    env.reset(seed=0)
    blur = env._blur
    assert_array_equal(blur.factors, [0.5] * 4 + [2.0] + [0.5] * 5)
    assert_array_equal(blur.deviations, [3.0] * 5 + [5.0] + [3.0] * 4)


def test_noise_has_its_deviation_and_is_the_seeds() -> None:
    env = make("HalfCheetah", noise_rootz=0.5, episode_steps=1000)
    exact = make("HalfCheetah", episode_steps=1000)
    first = np.array([env.reset(seed=3)[0], *(env.step(np.zeros(6))[0] for _ in range(800))])
    again = np.array([env.reset(seed=3)[0], *(env.step(np.zeros(6))[0] for _ in range(800))])
    truth = np.array([exact.reset(seed=3)[0], *(exact.step(np.zeros(6))[0] for _ in range(800))])
    assert_array_equal(first, again)
    assert_array_equal(first[:, 1:], truth[:, 1:])
    noise = first[:, 0] - truth[:, 0]
    assert noise.std() == pytest.approx(0.5, rel=0.1)
    assert abs(noise.mean()) < 0.06
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.12


def test_observations_are_the_callers_to_keep() -> None:
    envs = make_vec("Reacher", 2, sensor=np.array([1.0, 0.5]))
    first, _ = envs.reset(seed=0)
    kept = first.copy()
    second = envs.step(np.ones((2, 2)))[0]
    first[:] = np.nan
    copied = second.copy()
    envs.reset(options={"reset_mask": np.array([True, False])})
    assert_array_equal(second, copied)
    assert_array_equal(envs.reset(seed=0)[0], kept)
