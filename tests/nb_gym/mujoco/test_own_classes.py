"""Classes of one's own: what they do to their model, draw and report, and in which threads."""

from __future__ import annotations

import os
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.envs.registration import WrapperSpec
from gymnasium.vector import AutoresetMode
from numpy.testing import assert_allclose, assert_array_equal

from nb_gym.mujoco import NBMujocoEnv, NBMujocoVectorEnv
from tests.nb_gym.mujoco.robots import make, make_vec


class Heavy(HalfCheetahEnv):
    """Changes its model after it was compiled, and counts its episodes."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model.body_mass[1] *= 2
        self.model.opt.gravity[2] *= 0.5
        self.episodes = 0

    def reset_model(self) -> Any:
        self.episodes += 1
        return super().reset_model()


class Made(HalfCheetahEnv):
    """Makes its simulation itself."""

    def _initialize_simulation(self) -> Any:
        model, data = super()._initialize_simulation()
        data.qpos[1] = 0.7
        return model, data


class Remade(HalfCheetahEnv):
    """Makes its model anew in each reset."""

    def reset_model(self) -> Any:
        self.model, self.data = self._initialize_simulation()
        return super().reset_model()


class Noisy(HalfCheetahEnv):
    """Draws in its steps."""

    def step(self, action: Any) -> Any:
        return super().step(action + self.np_random.normal(size=6) * 0.5)


def test_what_a_class_does_to_its_model_is_done_once_for_each_robot() -> None:
    envs = NBMujocoVectorEnv(3, source=Heavy)
    plain = make("HalfCheetah").robot.model
    assert [robot.model.body_mass[1] for robot in envs.robots] == [2 * plain.body_mass[1]] * 3
    assert [robot.model.opt.gravity[2] for robot in envs.robots] == [-4.905] * 3
    envs.reset(seed=0, options={"mass_torso": 1.5})
    assert_allclose([robot.model.body_mass[1] for robot in envs.robots], 3 * plain.body_mass[1])
    assert [robot.episodes for robot in envs.robots] == [1, 1, 1]
    assert "size" not in envs.parts  # compiling its file again would undo the change
    assert [robot.init_qpos[1] for robot in NBMujocoVectorEnv(3, source=Made).robots] == [0.7] * 3
    with pytest.raises(gym.error.Error, match="Remade makes a new model or data in its reset"):
        NBMujocoEnv(Remade, gravity=0.5).reset()


def test_a_class_that_draws_in_its_steps_does_so_whatever_the_threads() -> None:
    runs = []
    for threads in (1, 2, 3):
        envs = NBMujocoVectorEnv(
            4, source=Noisy, threads=threads, episode_steps=7, autoreset_mode=AutoresetMode.SAME_STEP
        )
        envs.reset(seed=0)
        runs.append([envs.step(np.zeros((4, 6), dtype=np.float32))[0] for _ in range(20)])
    assert_array_equal(runs[0], runs[1])
    assert_array_equal(runs[0], runs[2])
    assert len(set(runs[0][3][:, 0])) == 4
    env, envs = NBMujocoEnv(Noisy), NBMujocoVectorEnv(2, source=Noisy, threads=2)
    env.reset(seed=5)
    envs.reset(seed=[4, 5])
    for _ in range(5):
        assert_array_equal(envs.step(np.zeros((2, 6)))[0][1], env.step(np.zeros(6))[0])


def test_a_spec_with_wrappers_is_refused() -> None:
    wrapper = WrapperSpec("TransformReward", "gymnasium.wrappers:TransformReward", {"func": abs})
    gym.register("Wrapped-v0", entry_point=HalfCheetahEnv, additional_wrappers=(wrapper,))
    try:
        with pytest.raises(ValueError, match=r"source 'Wrapped-v0' has wrappers of its own, \['TransformReward'\]"):
            NBMujocoEnv("Wrapped-v0")
    finally:
        del gym.registry["Wrapped-v0"]


def test_columns_stay_as_long_as_an_episode_was_given_them() -> None:
    envs = make_vec("Hopper", 2)
    envs.reset(seed=0)
    mask = np.array([False, True])
    info = envs.reset(options={"reset_mask": mask, "mass_foot": 1.0, "noise_rootz": 0.5})[1]["context"]
    assert info["mass_foot"].tolist() == [1.0, 1.0]
    assert info["noise_rootz"].tolist() == [0.0, 0.5]
    envs.reset(options={"reset_mask": ~mask})
    assert "mass_foot" in envs.context
    envs.reset(options={"reset_mask": mask})
    assert "mass_foot" not in envs.context


def test_actions_of_any_layout_cost_the_same() -> None:
    for robot, size in (("Ant", 8), ("Humanoid", 17)):
        runs = []
        for order in ("C", "F"):
            envs = make_vec(robot, 5)
            envs.reset(seed=0)
            rng = np.random.default_rng(0)
            runs.append([envs.step(np.asarray(rng.uniform(-0.4, 0.4, (5, size)), order=order))[1] for _ in range(10)])
        assert_array_equal(runs[0], runs[1])


class Small(HalfCheetahEnv):
    """Observes float32, and reports what only some robots have."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (17,), np.float32)

    def _get_obs(self) -> Any:
        return super()._get_obs().astype(np.float32)

    def step(self, action: Any) -> Any:
        *outcome, info = super().step(action)
        extra = {"success": 1.0, "path": np.zeros(2)} if action[0] > 0 else {"path": np.zeros(3)}
        return *outcome, {**info, **extra, "context": "the class's own"}


def test_float32_stays_and_infos_of_some_are_marked() -> None:
    env = NBMujocoEnv(Small, sensor=0.5, noise=0.1)
    envs = NBMujocoVectorEnv(2, source=Small, sensor=0.5, noise=0.1)
    observation = env.reset(seed=1)[0]
    assert observation.dtype == np.float32
    assert env.observation_space.contains(observation)
    assert_array_equal(envs.reset(seed=[1, 1])[0][1], observation)
    actions = np.array([[1.0] * 6, [-1.0] * 6], dtype=np.float32)
    info = envs.step(actions)[4]
    assert info["_success"].tolist() == [True, False]
    assert [len(path) for path in info["path"]] == [2, 3]
    assert set(info["context"]) >= {"sensor", "_sensor"}
    assert set(env.step(actions[0])[4]["context"]) >= {"sensor"}


class Discrete(HalfCheetahEnv):
    """Acts in numbers of moves."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.action_space = gym.spaces.Discrete(3)


class Gravity(HalfCheetahEnv):
    """Takes an argument that is the name of a context parameter."""

    def __init__(self, gravity: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model.opt.gravity[2] *= gravity


def test_classes_that_do_not_fit_are_refused_and_arguments_are_theirs() -> None:
    with pytest.raises(ValueError, match="source must act in a Box of one dimension, got Discrete"):
        NBMujocoEnv(Discrete)
    env = NBMujocoEnv(Gravity, gravity=0.5)
    assert env.robot.model.opt.gravity[2] == -4.905
    env.reset(seed=0)
    assert "gravity" not in env.context
    with pytest.raises(ValueError, match="gravity cannot be set of this robot"):
        env.reset(options={"gravity": 0.5})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_makes_threads_of_its_own() -> None:
    envs = make_vec("Reacher", 4, threads=3)
    envs.reset(seed=0)
    envs.step(np.zeros((4, 2)))
    child = os.fork()
    if child == 0:
        envs.step(np.zeros((4, 2)))
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_an_error_in_a_thread_is_raised_where_it_was_called() -> None:
    class Faulty(HalfCheetahEnv):
        def step(self, action: Any) -> Any:
            if action[0] > 0.5:
                raise RuntimeError("this one")
            return super().step(action)

    envs = NBMujocoVectorEnv(6, source=Faulty, threads=3)
    envs.reset(seed=0)
    actions = np.zeros((6, 6))
    actions[4] = 1.0
    with pytest.raises(RuntimeError, match="this one"):
        envs.step(actions)
    assert envs.step(np.zeros((6, 6)))[0].shape == (6, 17)
    envs.close()
    envs.close()
