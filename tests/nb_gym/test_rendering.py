"""Pictures: what is on them, windows without a screen, and a missing pygame."""

from __future__ import annotations

import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled, ResetNeeded

from nb_gym import NBPendulumEnv, NBPendulumVectorEnv
from nb_gym.rendering import Renderer, Scene

BLUE, VERMILION = (0, 114, 178), (213, 94, 0)
REST = Scene(theta=0.0, drive=0.0, torque=0.0, A=1.0, step=0, episode_return=0.0)


def where(frame: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Coordinates (x, y) of the pixels of a colour outside the four corners with text, shape (n, 2)."""
    rows, columns = np.nonzero((frame == color).all(axis=-1))
    size = len(frame)
    inside = (abs(rows / size - 0.5) < 0.44) & ((rows / size < 0.85) | (columns / size > 0.35))
    return np.stack([columns[inside], rows[inside]], axis=1)


@pytest.fixture
def headless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def test_arrows_point_where_the_forces_push_and_grow_with_them() -> None:
    renderer = Renderer()
    blank = renderer.draw(REST)
    assert blank.shape == (480, 480, 3)
    assert blank.dtype == np.uint8
    assert len(where(blank, BLUE)) == len(where(blank, VERMILION)) == 0
    frame = renderer.draw(REST._replace(drive=1.8, torque=-0.9))
    blue, vermilion = where(frame, BLUE), where(frame, VERMILION)
    assert blue[:, 0].mean() > 240 > vermilion[:, 0].mean()  # θ grows counter-clockwise, to the right of rest
    assert len(blue) > 1.3 * len(vermilion) > 0


@pytest.mark.parametrize(("theta", "x", "y"), [(0.0, 240, 368), (np.pi / 2, 368, 240), (-np.pi / 2, 112, 240)])
def test_the_bob_hangs_where_the_angle_says(theta: float, x: int, y: int) -> None:
    frame = Renderer().draw(REST._replace(theta=theta))
    bob = where(frame, (38, 41, 46))
    assert bob.mean(axis=0) == pytest.approx([x, y], abs=1.5)


def test_text_shows_amplitude_step_and_return() -> None:
    renderer = Renderer()
    blank = renderer.draw(REST)
    for change, corner in (
        ({"A": 1.8}, np.s_[:60, :240]),
        ({"step": 77}, np.s_[:60, 240:]),
        ({"episode_return": -12.3}, np.s_[420:, 240:]),
    ):
        differs = (renderer.draw(REST._replace(**change)) != blank).any(axis=-1)
        assert differs[corner].any()
        differs[corner] = False
        assert not differs.any()


def test_an_environment_draws_its_state() -> None:
    env = gym.make("NBPendulum-v0", render_mode="rgb_array", A=1.8, torque_gain=-1.0)
    env.reset(options={"theta": 0.7, "theta_dot": 0.0})
    _, reward, *_ = env.step(np.array([1.5], dtype=np.float32))
    pendulum: Any = env.unwrapped
    drive = 1.8 * np.sin(0.75 * 0.01)
    expected = Renderer().draw(Scene(pendulum.state[0], drive, -1.5, 1.8, 1, float(reward)))
    np.testing.assert_array_equal(env.render(), expected)
    env.close()
    env.close()


def test_films_run_in_real_time() -> None:
    assert NBPendulumEnv().metadata["render_fps"] == 100
    assert NBPendulumEnv(frame_skip=4, dt=0.01).metadata["render_fps"] == 25
    assert NBPendulumVectorEnv(frame_skip=10).metadata["render_fps"] == 10


@pytest.mark.parametrize(("num_envs", "shape"), [(1, (480, 480, 3)), (2, (320, 640, 3)), (5, (480, 720, 3))])
def test_many_pendulums_are_tiles_of_one_picture(num_envs: int, shape: tuple[int, int, int]) -> None:
    envs = NBPendulumVectorEnv(num_envs, A=1.5, render_mode="rgb_array", episode_steps=2, autoreset_mode="SameStep")
    envs.reset(seed=0)
    _, rewards, *_ = envs.step(np.ones((num_envs, 1)))
    frame = envs.render()
    assert frame is not None
    assert frame.shape == shape
    size = shape[1] // int(np.ceil(np.sqrt(num_envs)))
    last = num_envs - 1
    row, column = divmod(last, shape[1] // size)
    drive = 1.5 * np.sin(0.75 * 0.01)
    scene = Scene(float(envs.state[0][last]), drive, 1.0, 1.5, 1, float(rewards[last]))
    tile = frame[row * size :, column * size : (column + 1) * size]
    np.testing.assert_array_equal(tile, Renderer().draw(scene, size))
    envs.step(np.ones((num_envs, 1)))  # a new episode: nothing pushes, nothing is earned
    scene = Scene(float(envs.state[0][last]), 0.0, 0.0, 1.5, 0, 0.0)
    frame = envs.render()
    assert frame is not None
    np.testing.assert_array_equal(
        frame[row * size :, column * size : (column + 1) * size], Renderer().draw(scene, size)
    )
    envs.close()
    envs.close()


def test_many_tiles_show_the_first_64() -> None:
    envs = NBPendulumVectorEnv(100, render_mode="rgb_array")
    envs.reset(seed=0)
    frame = envs.render()
    assert frame is not None
    assert frame.shape == (1280, 1280, 3)


@pytest.mark.usefixtures("headless")
def test_a_window_opens_at_the_first_reset_and_closes_twice() -> None:
    import pygame

    env = NBPendulumEnv(render_mode="human")
    env.reset(seed=0)
    env.step(np.zeros(1, dtype=np.float32))
    surface = pygame.display.get_surface()
    assert surface is not None
    assert surface.get_size() == (480, 480)
    assert env.render() is None
    env.close()
    assert not pygame.display.get_init()
    env.close()


def test_without_a_render_mode_nothing_is_drawn() -> None:
    for env in (NBPendulumEnv(), NBPendulumVectorEnv(2)):
        env.reset(seed=0)
        with pytest.warns(UserWarning, match="rgb_array"):
            assert env.render() is None


def test_drawing_needs_a_reset() -> None:
    for env in (NBPendulumEnv(render_mode="rgb_array"), NBPendulumVectorEnv(2, render_mode="rgb_array")):
        with pytest.raises(ResetNeeded):
            env.render()


def test_a_missing_pygame_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    env = NBPendulumEnv(render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(DependencyNotInstalled, match=r'pip install "neural-battery\[render\]"'):
        env.render()
