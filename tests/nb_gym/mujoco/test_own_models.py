"""Models of one's own: XML files, and what a compiler makes of them."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from nb_gym.mujoco import NBMujocoEnv
from nb_gym.mujoco.dynamics import Dynamics
from tests.nb_gym.mujoco.robots import ASSETS, make, make_vec


def written(folder: Path, inside: str, head: str = "", tail: str = "") -> Path:
    path = folder / "model.xml"
    path.write_text(f"<mujoco>{head}<worldbody>{inside}</worldbody>{tail}</mujoco>")
    return path


def test_sizes_that_cannot_be_compiled_change_nothing() -> None:
    env, envs = make("HalfCheetah"), make_vec("HalfCheetah", 2)
    env.reset(seed=0)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="size: MuJoCo cannot compile the model"):
        env.reset(options={"gravity": 0.1, "size": 1e-7})
    with pytest.raises(ValueError, match="size: MuJoCo cannot compile the model"):
        envs.reset(options={"gravity": 0.1, "size": np.array([1.3, 1e-7])})
    with pytest.raises(ValueError, match="size: MuJoCo cannot compile the model"):
        make("HalfCheetah", size=(1e-7, 1.0))
    for robot in (env.robot, *envs.robots):
        assert robot.model.opt.gravity[2] == -9.81
        assert_array_equal(robot.model.geom_size, env.robot.model.geom_size)
    env.reset()
    assert env.robot.model.opt.gravity[2] == -9.81


FUSED = """<body name="b"><joint name="j"/><geom name="g1" size=".1"/>
<body name="d" pos="1 0 0"><joint axis="1 0 0"/><geom name="g2" size=".1"/></body>
<body name="s" pos="0 1 0"><geom name="g3" size=".1"/></body></body>"""


def test_sizes_go_to_the_bodies_geoms_whatever_the_compiler_does_with_their_order(tmp_path: Path) -> None:
    path = written(tmp_path, FUSED, head='<compiler fusestatic="true"/>')
    env = NBMujocoEnv(path, size_b=2.0)
    env.reset(seed=0)
    sizes = {env.robot.model.geom(i).name: env.robot.model.geom_size[i, 0] for i in range(3)}
    assert sizes == {"g1": 0.2, "g2": 0.1, "g3": 0.2}  # s has become a part of b


def test_an_xml_that_is_rewritten_is_not_read_again(tmp_path: Path) -> None:
    path = written(tmp_path, '<body name="b"><joint name="j"/><geom size=".1"/></body>')
    env = NBMujocoEnv(path)
    written(tmp_path, '<body name="b"><joint name="j"/><geom size=".5"/></body>')
    env.reset(seed=0, options={"size": 2.0})
    assert env.robot.model.geom_size[0, 0] == 0.2


@pytest.mark.filterwarnings("ignore:statistic attribute")  # which MuJoCo 4 no longer needs
def test_averages_that_a_file_states_stay(tmp_path: Path) -> None:
    body = '<body name="b"><joint name="j"/><geom size=".1"/></body>'
    path = written(tmp_path, body, head='<statistic meaninertia="7" meanmass="3"/>')
    env = NBMujocoEnv(path, mass=2.0)
    env.reset(seed=0)
    statistics = env.robot.model.stat
    assert (statistics.meaninertia, statistics.meanmass) == (7.0, 3.0)


def test_masses_that_a_file_relates_to_cannot_be_changed(tmp_path: Path) -> None:
    body = '<body name="b"><joint name="j" type="slide" {}/><geom size=".1"/></body>'
    servo = '<actuator><position name="p" joint="j" kp="10" {}/></actuator>'
    for joint, actuator in (('springdamper="1 1"', ""), ("", 'dampratio="1"')):
        env = NBMujocoEnv(written(tmp_path, body.format(joint), tail=servo.format(actuator)))
        assert not {"mass", "size", "armature"} & env.parts.keys()
        with pytest.raises(ValueError, match="mass cannot be set of this robot"):
            NBMujocoEnv(tmp_path / "model.xml", mass=2.0)
    assert "mass" in NBMujocoEnv(written(tmp_path, body.format(""), tail=servo.format('kv="1"'))).parts


def test_a_tendon_round_a_sized_geom_is_as_long_as_in_the_xml(tmp_path: Path) -> None:
    def model(radius: float) -> str:
        return f"""<site name="a" pos="-1 0 0"/><body name="b"><joint name="j" type="slide" axis="0 0 1"/>
        <geom name="g" size="{radius}"/><site name="c" pos="1 0 .05"/><site name="side" pos="0 0 1"/></body>"""

    tail = """<tendon><spatial name="t" stiffness="3"><site site="a"/><geom geom="g" sidesite="side"/><site site="c"/>
    </spatial></tendon>"""
    env = NBMujocoEnv(written(tmp_path, model(0.1), tail=tail), size=2.0)
    env.reset(seed=0)
    expected = mujoco.MjModel.from_xml_path(str(written(tmp_path, model(0.2), tail=tail)))
    assert_allclose(env.robot.model.tendon_lengthspring, expected.tendon_lengthspring, rtol=1e-12)
    assert_allclose(env.robot.model.tendon_length0, expected.tendon_length0, rtol=1e-12)


@pytest.mark.parametrize(
    ("actuator", "control"),
    [
        ('<position name="p" joint="j" kp="10" kv="1" forcerange="-2 3"/>', 1.0),
        ('<position name="p" joint="j" kp="10" kv="1"/>', 1.0),
        ('<general name="p" joint="j" gaintype="affine" gainprm="1 2 3" biastype="none"/>', 1.0),
        ('<motor name="p" joint="j" gear="3" forcerange="-0.5 0.7"/>', 1.0),
        ('<general name="p" joint="j" dyntype="filter" dynprm="0.1" gainprm="4" biastype="none"/>', 0.5),
    ],
)
@pytest.mark.parametrize("gain", [0.5, 2.0, -1.0, 0.0])
def test_a_gain_is_the_factor_of_the_force(tmp_path: Path, actuator: str, control: float, gain: float) -> None:
    body = '<body><joint name="j" type="slide" axis="1 0 0"/><geom size="0.1"/></body>'
    path = written(tmp_path, body, tail=f"<actuator>{actuator}</actuator>")
    model = mujoco.MjModel.from_xml_path(str(path))
    forces = []
    for factor in (1.0, gain):
        changed = mujoco.MjModel.from_xml_path(str(path))
        data = mujoco.MjData(changed)
        Dynamics(model, None).apply(changed, data, {"gain_p": factor}, {})
        data.ctrl[0], data.qpos[0], data.qvel[0], data.act[:] = control, 0.3, 0.2, 0.4
        mujoco.mj_forward(changed, data)
        forces.append(data.qfrc_actuator[0])
    assert forces[0] != 0
    assert forces[1] == pytest.approx(gain * forces[0], rel=1e-12)


def test_names_that_stand_for_two_are_told_apart(tmp_path: Path) -> None:
    bodies = '<body><joint/><geom size=".1"/></body><body name="body_1" pos="1 0 0"><joint/><geom size=".1"/></body>'
    env = NBMujocoEnv(written(tmp_path, bodies), mass_body_1=2.0)
    env.reset(seed=0)
    masses = env.robot.model.body_mass
    assert masses[1] == 2 * masses[2]
    assert env.parts["mass"] == env.parts["friction"] == ("body_1", "body_1_2")
    with pytest.raises(ValueError, match="observation_names must be different ones"):
        NBMujocoEnv(tmp_path / "model.xml", observe=lambda env: [0.0, 1.0], observation_names=["a", "a"])


def test_a_state_that_grows_without_bounds_is_a_failure(tmp_path: Path) -> None:
    """MuJoCo looks before a step; what the last of a decision made of the state is looked at here."""
    text = (ASSETS / "hopper.xml").read_text().replace('gear="200.0"', 'gear="1e22"')
    path = tmp_path / "hopper.xml"
    path.write_text(text)
    env = make("Hopper", xml_file=str(path), frame_skip=1, terminate_when_unhealthy=False)
    start, _ = env.reset(seed=0)
    with pytest.warns(RuntimeWarning, match="in step 1 of the episode"):
        observation, reward, _, truncated, info = env.step(np.ones(3, dtype=np.float32))
    assert_array_equal(observation, start)
    assert (reward, truncated, info["simulation_failed"]) == (0.0, True, True)
    with pytest.raises(gym.error.Error, match="HopperEnv starts with NaN or a huge number, with the context"):
        make("Hopper", reset_noise_scale=1e30).reset(seed=0)
