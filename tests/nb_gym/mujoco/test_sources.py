"""Any MuJoCo environment of Gymnasium's can be given contexts: an id, a class of one's own, a bare XML."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from numpy.testing import assert_array_equal

from nb_gym.mujoco import ModelEnv, NBMujocoEnv, NBMujocoVectorEnv

CART = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <body name="cart"><joint name="slide" type="slide" axis="1 0 0" damping="0.5"/><geom size="0.1" mass="2"/></body>
  </worldbody>
  <actuator><motor name="push" joint="slide" gear="3" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>
"""


@pytest.fixture
def cart(tmp_path: Path) -> Path:
    path = tmp_path / "cart.xml"
    path.write_text(CART)
    return path


class HighStepper(HalfCheetahEnv):
    """A class of a user's own: another reward, an end of its own, and a state of its own."""

    def __init__(self, limit: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.limit, self.steps = limit, 0

    def reset_model(self) -> Any:
        self.steps = 0
        return super().reset_model()

    def step(self, action: Any) -> Any:
        observation, _, _, _, info = super().step(action)
        self.steps += 1
        return observation, float(self.data.qpos[1]), False, self.steps >= self.limit, info


def test_a_class_of_ones_own_keeps_its_reward_and_its_end() -> None:
    theirs, ours = HighStepper(limit=4), NBMujocoEnv(HighStepper, limit=4)
    envs = NBMujocoVectorEnv(2, source=HighStepper, limit=4, threads=2, gravity=np.array([1.0, 0.1]))
    assert_array_equal(ours.reset(seed=0)[0], theirs.reset(seed=0)[0])
    envs.reset(seed=[0, 0])
    for step in range(4):
        action = np.full(6, 0.3, dtype=np.float32)
        expected, found, many = theirs.step(action), ours.step(action), envs.step(np.stack([action, action]))
        assert_array_equal(found[0], expected[0])
        assert_array_equal(many[0][0], expected[0])
        assert many[1][0] == found[1] == expected[1]
        assert found[3] == expected[3] == many[3][0] == (step == 3)
    assert many[1][1] > many[1][0]  # it flies higher where gravity is weak
    assert envs._formula is None


def test_an_xml_is_an_environment(cart: Path) -> None:
    """Against the closed form: a cart with mass m and damping b under a force f."""

    def reward(env: ModelEnv, action: Any) -> float:
        return float(env.data.qvel[0] - 0.1 * np.square(action).sum())

    env = NBMujocoEnv(
        cart, frame_skip=2, reward=reward, terminated=lambda env: bool(env.data.qpos[0] > 0.02), episode_steps=50,
        mass_cart=2.0, gain_push=-1.0, damping=2.0,
    )  # fmt: skip
    observation, _ = env.reset(seed=0)
    assert_array_equal(observation, [0.0, 0.0])
    velocity = 0.0
    for _ in range(50):
        for _ in range(2):  # implicit in the damping, as MuJoCo's Euler is
            velocity = (velocity + 0.01 * 3.0 / 4.0) / (1 + 0.01 * 1.0 / 4.0)
        observation, paid, terminated, truncated, _ = env.step(np.array([-1.0], dtype=np.float32))
        assert observation[1] == pytest.approx(velocity, rel=1e-12)
        assert paid == pytest.approx(velocity - 0.1)
        if terminated:
            break
    assert observation[0] > 0.02
    assert not truncated
    assert list(env.parts["sensor"]) == ["slide", "slide_velocity"]


def test_an_xml_may_be_observed_otherwise(cart: Path) -> None:
    env = NBMujocoVectorEnv(
        3, source=str(cart), observe=lambda env: [env.data.qvel[0]], observation_names=["speed"],
        sensor_speed=np.array([1.0, 2.0, 0.0]), reset_noise_scale=0.1,
    )  # fmt: skip
    observations, _ = env.reset(seed=[1, 1, 1])
    assert observations[1] == 2 * observations[0] != 0 == observations[2]
    assert env.single_observation_space == spaces.Box(-np.inf, np.inf, (1,), np.float64)
    with pytest.raises(ValueError, match="observation_names must name 1 observations, got 2"):
        NBMujocoEnv(cart, observe=lambda env: [0.0], observation_names=["a", "b"])


def test_an_id_or_an_address_names_a_robot() -> None:
    env = NBMujocoEnv("Swimmer-v5", friction=2.0)
    assert env.decisions == gym.spec("Swimmer-v5").max_episode_steps
    address = NBMujocoEnv("gymnasium.envs.mujoco.swimmer_v5:SwimmerEnv", friction=2.0)
    assert_array_equal(env.reset(seed=0)[0], address.reset(seed=0)[0])
    env.reset(seed=0, options={"heading": 0.3, "target_velocity": 0.5})  # it reports both velocities


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("CartPole-v1", ValueError, "source must be a class of .*MujocoEnv.*; got 'CartPole-v1'"),
        ("NoSuchRobot-v0", ValueError, "got 'NoSuchRobot-v0'"),
        ("no.such.module:Robot", ValueError, "got 'no.such.module:Robot'"),
        (gym.Env, ValueError, "source must be"),
        (3, TypeError, "source must be .*; got 3"),
        ("missing.xml", OSError, "missing.xml does not exist"),
    ],
)
def test_sources_that_are_none(source: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        NBMujocoEnv(source)


def test_a_muscle_has_no_gain(tmp_path: Path) -> None:
    path = tmp_path / "muscle.xml"
    path.write_text(
        CART.replace(
            '<motor name="push" joint="slide" gear="3"',
            '<muscle name="push" joint="slide" range="0.8 1.2" lengthrange="-1 1"',
        )
    )
    env = NBMujocoEnv(path, damping=2.0)
    assert "gain" not in env.parts
    for name in ("gain", "gain_push"):
        with pytest.raises(ValueError, match=f"{name} cannot be set of this robot"):
            NBMujocoEnv(path, **{name: 0.5})


def test_a_missing_mujoco_is_named_with_what_installs_it() -> None:
    script = (
        "import sys; sys.modules['mujoco'] = None\n"
        "import gymnasium as gym, nb_gym\n"
        "try: gym.make('NBHopper-v0')\n"
        "except gym.error.DependencyNotInstalled as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 'pip install "neural-battery[mujoco]"' in done.stdout


def test_importing_the_package_imports_no_mujoco() -> None:
    script = "import sys, nb_gym; print('mujoco' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
