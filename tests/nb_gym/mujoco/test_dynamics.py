"""The dynamics under a context are those of a model compiled from a changed XML, and factors do not compound."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv
from numpy.testing import assert_allclose, assert_array_equal

from nb_gym.mujoco.dynamics import Dynamics
from tests.nb_gym.mujoco.robots import ASSETS, ROBOTS, make, make_vec

Change = Callable[[Any], None]
FACTOR = 1.3


def compiled(name: str, change: Change | None = None) -> Any:
    """A model compiled from an XML, with the specification changed before."""
    spec = mujoco.MjSpec.from_file(str(ASSETS / name))
    if change:
        change(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # settotalmass, of Gymnasium's half-cheetah
        return spec.compile()


def arrays(model: Any) -> dict[str, Any]:
    """All numbers of a model that its physics may use."""
    names = [name for name in dir(model) if isinstance(getattr(model, name), np.ndarray)]
    found = {name: getattr(model, name) for name in names if getattr(model, name).dtype.kind in "fiu"}
    # acc0 is what muscles are scaled by, which have no gain here.
    visual = re.compile("^(cam|light|tex|mat|skin|mesh|hfield|name|text|numeric|plugin|paths|actuator_acc0)")
    found = {name: value for name, value in found.items() if not visual.match(name)}
    return found | {
        "gravity": model.opt.gravity,
        "meaninertia": model.stat.meaninertia,
        "meanmass": model.stat.meanmass,
    }


def geoms(spec: Any, body: str | None = None) -> list[Any]:
    return [geom for each in spec.bodies if body in (None, each.name) for geom in each.geoms]


def scale_mass(spec: Any, body: str | None = None) -> None:
    for geom in geoms(spec, body):
        geom.density = geom.density * FACTOR


def scale_friction(spec: Any, body: str | None = None) -> None:
    for geom in geoms(spec, body):
        geom.friction = np.asarray(geom.friction) * FACTOR


def scale_size(spec: Any, body: str | None = None) -> None:
    for geom in geoms(spec, body):
        if geom.type != mujoco.mjtGeom.mjGEOM_PLANE:
            geom.size = np.asarray(geom.size) * FACTOR


def scale_joints(attribute: str, joint: str | None = None) -> Change:
    def change(spec: Any) -> None:
        for each in spec.joints:
            if joint in (None, each.name):
                setattr(each, attribute, np.asarray(getattr(each, attribute)) * FACTOR)

    return change


def scale_gear(factor: float, joint: str | None = None) -> Change:
    def change(spec: Any) -> None:
        for each in spec.actuators:
            if joint in (None, each.target):
                each.gear = np.asarray(each.gear) * factor

    return change


def scale_gravity(spec: Any) -> None:
    spec.option.gravity = np.asarray(spec.option.gravity) * FACTOR


CHANGES: dict[str, tuple[str, dict[str, float], Change]] = {
    "gravity": ("ant.xml", {"gravity": FACTOR}, scale_gravity),
    "mass": ("hopper.xml", {"mass": FACTOR}, scale_mass),
    "mass of a body": ("humanoid.xml", {"mass_torso": FACTOR}, lambda spec: scale_mass(spec, "torso")),
    "friction": ("walker2d_v5.xml", {"friction": FACTOR}, scale_friction),
    "friction of a body": ("hopper.xml", {"friction_foot": FACTOR}, lambda spec: scale_friction(spec, "foot")),
    "size": ("half_cheetah.xml", {"size": FACTOR}, scale_size),
    "size of a body": ("humanoid.xml", {"size_torso": FACTOR}, lambda spec: scale_size(spec, "torso")),
    "damping": ("ant.xml", {"damping": FACTOR}, scale_joints("damping")),
    "damping of a joint": ("reacher.xml", {"damping_joint1": FACTOR}, scale_joints("damping", "joint1")),
    "armature": ("hopper.xml", {"armature": FACTOR}, scale_joints("armature")),
    "armature of a joint": ("ant.xml", {"armature_hip_1": FACTOR}, scale_joints("armature", "hip_1")),
    "gain": ("walker2d_v5.xml", {"gain": -FACTOR}, scale_gear(-FACTOR)),
    "gain of an actuator": ("hopper.xml", {"gain_leg_joint": 0.0}, scale_gear(0.0, "leg_joint")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_factor_is_a_change_of_the_xml(name: str) -> None:
    file, factors, change = CHANGES[name]
    pristine, changed = compiled(file), compiled(file, change)
    model = copy.copy(pristine)
    Dynamics(pristine, str(ASSETS / file)).apply(model, mujoco.MjData(model), factors, {})
    expected, found = arrays(changed), arrays(model)
    differing = [key for key, value in arrays(pristine).items() if not np.array_equal(value, expected[key])]
    assert differing  # the change is one
    for key, value in expected.items():
        assert_allclose(found[key], value, rtol=1e-10, atol=1e-12, err_msg=key)
    for each in (changed, model):  # and so is what comes of it
        each.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_WARMSTART
    steps = 200 if "friction" in name else 20  # until it stands on the ground
    states = [simulated(each, steps) for each in (changed, model)]
    assert_allclose(states[1], states[0], rtol=1e-10, atol=1e-10)
    assert not np.allclose(states[0], simulated(pristine, steps), rtol=1e-6, atol=1e-6)


def simulated(model: Any, steps: int) -> Any:
    data = mujoco.MjData(model)
    data.ctrl[:] = 0.1 * np.arange(1, model.nu + 1)
    mujoco.mj_step(model, data, steps)
    return np.concatenate([data.qpos, data.qvel])


def test_factors_multiply_and_do_not_compound() -> None:
    pristine = compiled("half_cheetah.xml")
    dynamics, model = Dynamics(pristine, str(ASSETS / "half_cheetah.xml")), copy.copy(pristine)
    data, before, rng = mujoco.MjData(model), {}, np.random.default_rng(0)
    for _ in range(50):
        names = ("gravity", "mass", "mass_bfoot", "size", "size_torso", "friction", "damping", "armature", "gain")
        factors = {name: float(rng.uniform(0.5, 2.0)) for name in names if rng.random() < 0.7}
        dynamics.apply(model, data, factors, before)
        fresh = copy.copy(pristine)
        dynamics.apply(fresh, mujoco.MjData(fresh), factors, {})
        for key, value in arrays(fresh).items():
            assert_array_equal(arrays(model)[key], value, err_msg=key)
        before = factors
    dynamics.apply(model, data, {}, before)
    for key, value in arrays(pristine).items():
        assert_array_equal(arrays(model)[key], value, err_msg=key)
    factors = {"mass": 2.0, "mass_bfoot": 3.0}
    dynamics.apply(model, data, factors, {})
    assert_allclose(model.body("bfoot").mass, 6 * pristine.body("bfoot").mass, rtol=1e-15)
    assert_allclose(model.body("ffoot").inertia, 2 * pristine.body("ffoot").inertia, rtol=1e-15)


@pytest.mark.parametrize("robot", ROBOTS)
def test_a_robot_that_is_itself_again_moves_as_before(robot: str) -> None:
    """Whatever contexts it had: resets do not drift, and nothing derived stays behind."""
    env, used = make(robot), make(robot)
    for factor in (0.7, 1.4):
        used.reset(seed=0, options={"mass": factor, "size": factor, "friction": factor, "gravity": factor})
        used.step(used.action_space.sample())
    assert_array_equal(used.reset(seed=3)[0], env.reset(seed=3)[0])
    for _ in range(20):
        action = env.action_space.sample()
        assert_array_equal(used.step(action)[0], env.step(action)[0])
        if not env._running:
            break


def test_a_robot_under_a_context_is_gymnasiums_with_a_changed_xml(tmp_path: Path) -> None:
    """Start, observations and rewards of a whole trajectory, in the scalar and in the vector class."""
    text = (ASSETS / "hopper.xml").read_text()
    changed = text.replace('<option integrator="RK4"', '<option gravity="0 0 -4.905" integrator="RK4"')
    changed = changed.replace('gear="200.0" joint="foot_joint"', 'gear="-100.0" joint="foot_joint"')
    assert changed.count("-4.905") == changed.count('gear="-100.0"') == 1
    (tmp_path / "hopper.xml").write_text(changed)
    theirs = HopperEnv(xml_file=str(tmp_path / "hopper.xml"))
    context = {"gravity": 0.5, "gain_foot_joint": -0.5}
    ours, envs = make("Hopper", **context), make_vec("Hopper", 2, **context)
    assert_array_equal(ours.reset(seed=0)[0], theirs.reset(seed=0)[0])
    envs.reset(seed=[0, 0])
    for action in np.random.default_rng(0).uniform(-1, 1, (40, 3)).astype(np.float32):
        expected = theirs.step(action)
        found, many = ours.step(action), envs.step(np.stack([action, action]))
        assert_array_equal(found[0], expected[0])
        assert_array_equal(many[0][1], expected[0])
        assert found[1] == expected[1] == many[1][0]
        if expected[2]:
            break
