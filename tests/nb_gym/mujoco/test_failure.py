"""A simulation that fails ends its episode and says so: environment, context and step are named."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from numpy.testing import assert_array_equal

from tests.nb_gym.mujoco.robots import make, make_vec


def test_a_single_robot_is_truncated() -> None:
    env = make("HalfCheetah", gravity=0.5)
    env.reset(seed=0)
    before = env.step(np.zeros(6, dtype=np.float32))[0]
    env.robot.data.qvel[3] = math.nan
    message = r"HalfCheetahEnv: the simulation gave NaN.* in step 2 of the episode with the context \{'gravity': 0.5"
    with pytest.warns(RuntimeWarning, match=message):
        observation, reward, terminated, truncated, info = env.step(np.zeros(6, dtype=np.float32))
    assert_array_equal(observation, before)
    assert (reward, terminated, truncated, info["simulation_failed"]) == (0.0, False, True, True)
    observation, info = env.reset(seed=1)
    assert "simulation_failed" not in info
    assert_array_equal(observation, make("HalfCheetah", gravity=0.5).reset(seed=1)[0])


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_one_of_many_is_truncated(mode: AutoresetMode) -> None:
    envs = make_vec("Hopper", 3, autoreset_mode=mode, mass=np.array([1.0, 2.0, 3.0]))
    observations, _ = envs.reset(seed=0)
    envs.robots[1].data.qpos[1] = math.inf
    with pytest.warns(RuntimeWarning, match=r"environment 1 of HopperEnv.* step 1 .*'mass': 2.0"):
        after, rewards, terminations, truncations, info = envs.step(np.zeros((3, 3), dtype=np.float32))
    assert truncations.tolist() == [False, True, False]
    assert terminations.tolist() == [False, False, False]
    assert rewards[1] == 0.0 != rewards[0]
    final = info["final_obs"][1] if mode is AutoresetMode.SAME_STEP else after[1]
    assert_array_equal(final, observations[1])
    told = info["final_info"] if mode is AutoresetMode.SAME_STEP else info
    assert told["simulation_failed"][1]
    assert not np.isnan(after).any()
    if mode is AutoresetMode.DISABLED:
        envs.reset(options={"reset_mask": truncations})
    for _ in range(2):  # nothing of it is left
        after, rewards, _, truncations, info = envs.step(np.zeros((3, 3), dtype=np.float32))
    assert not truncations.any()
    assert "simulation_failed" not in info


def test_a_robot_of_another_class_is_truncated_too() -> None:
    envs = make_vec("Reacher", 2, source="Swimmer-v5")
    envs.reset(seed=0)
    envs.robots[0].data.qvel[0] = 1e11  # more than MuJoCo takes for a number of physics
    with pytest.warns(RuntimeWarning, match="environment 0 of SwimmerEnv"):
        truncations = envs.step(np.zeros((2, 2), dtype=np.float32))[3]
    assert truncations.tolist() == [True, False]
