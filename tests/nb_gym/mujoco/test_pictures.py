"""Robots are drawn as MuJoCo draws them, with context, step and return; through EGL, without a screen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled, ResetNeeded
from numpy.testing import assert_array_equal

from nb_gym import tile
from nb_gym.mujoco.pictures import RobotScene
from tests.nb_gym.mujoco.robots import make, make_vec


@pytest.fixture(autouse=True)
def without_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")


def test_a_frame_is_mujocos_with_captions() -> None:
    env = make("HalfCheetah", render_mode="rgb_array", frame_size=128, gravity=0.5)
    with pytest.raises(ResetNeeded):
        env.render()
    env.reset(seed=0)
    frame, bare = env.render(), env.robot.render()
    assert frame.shape == bare.shape == (128, 128, 3)
    assert frame.dtype == np.uint8
    differing = (frame != bare).any(axis=2)
    assert 0.005 < differing.mean() < 0.2  # the captions alone
    assert not differing[60:].any()
    env.close()
    env.close()


def test_many_are_drawn_each_by_itself() -> None:
    envs = make_vec("Reacher", 3, render_mode="rgb_array", frame_size=64, size=np.array([1.0, 1.0, 3.0]))
    envs.reset(seed=[1, 1, 1])
    frames = envs.render()
    assert_array_equal(frames[0], frames[1])
    assert (frames[0] != frames[2]).any(axis=2).mean() > 0.02  # arms three times as thick
    assert tile(frames).shape == (128, 128, 3)
    envs.close()


def test_captions_say_what_is_unusual() -> None:
    context: dict[str, Any] = {"gravity": 0.5, "mass": 1.0, "noise": 0.0, "direction": -1.0, "target_velocity": 2.0}
    scene = RobotScene(np.zeros((64, 64, 3), np.uint8), context, 12, 3.25)
    texts = [caption.text for caption in scene.captions()]
    assert texts == ["gravity 0.5", "direction -1", "target_velocity 2", "step 12", "return 3.2"]
    many = {f"mass_{i}": 2.0 for i in range(9)}
    texts = [caption.text for caption in scene._replace(context=many).captions()]
    assert texts[4:6] == ["mass_4 2", "and 4 more"]


def test_a_missing_opengl_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make("Reacher", render_mode="rgb_array")
    env.reset(seed=0)

    def fail() -> None:
        raise OSError("libEGL.so: cannot open shared object file")

    monkeypatch.setattr(env.robot, "render", fail)
    with pytest.raises(DependencyNotInstalled, match=r"MUJOCO_GL to egl or osmesa .* libegl1 or libosmesa6") as caught:
        env.render()
    assert isinstance(caught.value.__cause__, OSError)
