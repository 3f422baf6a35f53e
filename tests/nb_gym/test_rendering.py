"""Pictures: what is on them, windows without a screen, and a missing pygame."""

from __future__ import annotations

import sys
import types
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled, ResetNeeded

from nb_gym import Navigation2DEnv, Navigation2DVectorEnv, NBPendulumEnv, NBPendulumVectorEnv, tile
from nb_gym.pendulum.pictures import PendulumScene
from nb_gym.rendering import Renderer

BLUE, VERMILION, BODY = (0, 114, 178), (213, 94, 0), (38, 41, 46)
REST = PendulumScene(theta=0.0, drive=0.0, torque=0.0, A=1.0, step=0, episode_return=0.0)


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
    expected = Renderer().draw(PendulumScene(pendulum.state[0], drive, -1.5, 1.8, 1, float(reward)))
    np.testing.assert_array_equal(env.render(), expected)
    env.close()
    env.close()


def test_films_run_in_real_time() -> None:
    assert NBPendulumEnv().metadata["render_fps"] == 100
    assert NBPendulumEnv(frame_skip=4, dt=0.01).metadata["render_fps"] == 25
    assert NBPendulumVectorEnv(frame_skip=10).metadata["render_fps"] == 10


@pytest.mark.parametrize("num_envs", [1, 2, 5])
def test_each_pendulum_has_its_frame(num_envs: int) -> None:
    envs = NBPendulumVectorEnv(num_envs, A=1.5, render_mode="rgb_array", episode_steps=2, autoreset_mode="SameStep")
    envs.reset(seed=0)
    _, rewards, *_ = envs.step(np.ones((num_envs, 1)))
    frames = envs.render()
    assert isinstance(frames, tuple)
    assert len(frames) == num_envs
    last = num_envs - 1
    drive = 1.5 * np.sin(0.75 * 0.01)
    scene = PendulumScene(float(envs.state[0][last]), drive, 1.0, 1.5, 1, float(rewards[last]))
    np.testing.assert_array_equal(frames[last], Renderer().draw(scene))
    envs.step(np.ones((num_envs, 1)))  # a new episode: nothing pushes, nothing is earned
    scene = PendulumScene(float(envs.state[0][last]), 0.0, 0.0, 1.5, 0, 0.0)
    frames = envs.render()
    assert frames is not None
    np.testing.assert_array_equal(frames[last], Renderer().draw(scene))
    envs.close()
    envs.close()


@pytest.mark.parametrize(
    ("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (3, 2, 2), (4, 2, 2), (5, 2, 3), (7, 3, 3), (12, 3, 4)]
)
def test_tiles_lie_row_by_row_on_a_grid_as_square_as_can_be(count: int, rows: int, columns: int) -> None:
    frames = [np.full((6, 4, 3), i, dtype=np.uint8) for i in range(count)]
    picture = tile(frames)
    assert picture.shape == (rows * 6, columns * 4, 3)
    corners = picture[::6, ::4, 0].ravel()
    assert corners.tolist() == [*range(count), *[250] * (rows * columns - count)]


@pytest.mark.parametrize("frames", [[], [np.zeros((4, 4))], [np.zeros((4, 4, 3)), np.zeros((4, 5, 3))]])
def test_tiles_must_have_one_shape(frames: Any) -> None:
    with pytest.raises(ValueError, match=r"frames must be one or more arrays of one shape \(height, width, 3\), got"):
        tile(frames)


@pytest.mark.parametrize("make", [NBPendulumEnv, NBPendulumVectorEnv, Navigation2DEnv, Navigation2DVectorEnv])
def test_the_size_of_a_frame_can_be_chosen(make: Any) -> None:
    env = make(render_mode="rgb_array", frame_size=64)
    env.reset(seed=0)
    assert np.shape(env.render())[-3:] == (64, 64, 3)
    for bad in (0, 31, 2049, 64.0, True, "64", None):
        with pytest.raises(ValueError, match=f"frame_size must be an integer from 32 to 2048 pixels, got {bad!r}"):
            make(frame_size=bad)


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


@pytest.mark.parametrize("vector", [False, True])
def test_a_point_its_goal_and_the_square_of_goals_are_drawn(vector: bool) -> None:
    goals = [(0.4, 0.3), (-0.2, 0.5)]
    env: Any = Navigation2DVectorEnv(2, goal=np.array(goals), render_mode="rgb_array")
    scalars = [gym.make("Navigation2D-v0", goal=goal, render_mode="rgb_array") for goal in goals]
    move = np.array([[0.1, -0.1], [-0.1, 0.05]], np.float32)
    env.reset(seed=0)
    for _ in range(3):
        env.step(move)
    frames = env.render()
    for scalar, actions, (x, y), frame in zip(scalars, move, goals, frames, strict=True):
        scalar.reset(seed=0)
        for _ in range(3):
            scalar.step(actions)
        np.testing.assert_array_equal(scalar.render(), frame)
        # 480 pixels show ±0.65; x grows to the right, y upwards.
        for color, place in ((VERMILION, (x, y)), (BODY, 3 * actions)):
            drawn = where(frame, color)
            assert drawn.mean(axis=0) == pytest.approx(
                [240 + 240 * place[0] / 0.65, 240 - 240 * place[1] / 0.65], abs=2
            )
        rail = where(frame, (214, 214, 208))
        assert [*rail.min(axis=0), *rail.max(axis=0)] == pytest.approx([55, 55, 425, 425], abs=2)
        scalar.close()
    env.close()


@pytest.mark.parametrize("goal", [(3.0, -2.0), (-1e308, 1e308)])
def test_the_view_is_as_wide_as_the_goal_is_far(goal: tuple[float, float]) -> None:
    env = Navigation2DEnv(goal=goal, render_mode="rgb_array")
    env.reset()
    frame = env.render()
    half = 1.1 * max(np.abs(goal))
    expected = [240 + 240 * (goal[0] / half), 240 - 240 * (goal[1] / half)]
    drawn = np.argwhere((frame == VERMILION).all(axis=-1))[:, ::-1]
    drawn = drawn[np.abs(drawn - expected).max(axis=1) < 20]
    assert drawn.mean(axis=0) == pytest.approx(expected, abs=2)


@pytest.mark.usefixtures("headless")
def test_navigation_opens_a_window_too() -> None:
    import pygame

    env = gym.make("Navigation2D-v0", render_mode="human")
    env.reset(seed=0)
    env.step(np.zeros(2, dtype=np.float32))
    assert pygame.display.get_surface().get_size() == (480, 480)
    assert pygame.display.get_caption()[0] == "Navigation2DEnv"
    env.close()
    assert not pygame.display.get_init()
    env.close()


@pytest.mark.parametrize("make", [NBPendulumEnv, Navigation2DEnv, NBPendulumVectorEnv, Navigation2DVectorEnv])
def test_render_modes(make: Any) -> None:
    assert make(render_mode=None).render_mode is None
    for mode in make.metadata["render_modes"]:
        assert make(render_mode=mode).render_mode == mode
    for bad in ("ansi", "rgb", 3, "rgb_array_list"):
        with pytest.raises(ValueError, match=r"render_mode must be None or one of \["):
            make(render_mode=bad)


@pytest.fixture
def film(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Gymnasium's `RecordVideo` writes its films here instead of to a disk: moviepy need not be there."""
    films: list[Any] = []

    class Clip:
        def __init__(self, frames: list[Any], fps: int) -> None:
            films.append((np.array(frames), fps))

        def write_videofile(self, path: str, logger: Any) -> None:
            pass

    for name in ("moviepy", "moviepy.video", "moviepy.video.io", "moviepy.video.io.ImageSequenceClip"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["moviepy.video.io.ImageSequenceClip"].ImageSequenceClip = Clip  # type: ignore[attr-defined]
    return films


@pytest.mark.parametrize("name", ["NBPendulum-v0", "Navigation2D-v0"])
def test_gymnasiums_recorder_films_them_all(name: str, film: list[Any], tmp_path: Any) -> None:
    envs = gym.make_vec(name, num_envs=4, render_mode="rgb_array", frame_size=48, episode_steps=3)
    fps = envs.metadata["render_fps"]
    envs = gym.wrappers.vector.RecordVideo(
        envs, str(tmp_path / "films"), episode_trigger=bool, video_aspect_ratio=(1, 1)
    )
    envs.reset(seed=0)
    for _ in range(8):  # in step t the whole is at step t of the episode, and every fourth begins the next one
        envs.step(envs.action_space.sample())
        last = envs.env.render()
    envs.close()
    assert [frames.shape for frames, _ in film] == [(4, 96, 96, 3), (1, 96, 96, 3)]
    assert {each for _, each in film} == {fps}
    np.testing.assert_array_equal(film[-1][0][-1], tile(last))


@pytest.mark.usefixtures("headless")
@pytest.mark.parametrize("name", ["NBPendulum-v0", "Navigation2D-v0"])
def test_gymnasiums_window_shows_them_all(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import pygame

    cv2 = types.ModuleType("cv2")
    cv2.resize = lambda picture, size: picture[:: len(picture) // size[1], :: picture.shape[1] // size[0]]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    envs = gym.make_vec(name, num_envs=4, render_mode="rgb_array", frame_size=64)
    envs = gym.wrappers.vector.HumanRendering(envs)
    envs.reset(seed=0)
    envs.step(envs.action_space.sample())
    shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
    np.testing.assert_array_equal(shown, tile(envs.env.render())[::2, ::2])
    envs.close()
    pygame.quit()


def test_a_film_of_one_is_as_long_as_its_episode(film: list[Any], tmp_path: Any) -> None:
    for name in ("NBPendulum-v0", "Navigation2D-v0"):
        env = gym.make(name, render_mode="rgb_array", frame_size=32, episode_steps=3)
        env = gym.wrappers.RecordVideo(env, str(tmp_path / name))
        env.reset(seed=0)
        while not env.step(env.action_space.sample())[3]:
            pass
        env.close()
        assert film[-1][0].shape == (4, 32, 32, 3)
