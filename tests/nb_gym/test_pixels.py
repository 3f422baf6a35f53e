"""Pictures as observations: what they show, the same in scalar and vector environments, and looks that are refused."""

from __future__ import annotations

import re
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TransformObservation
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import nb_gym  # noqa: F401
from nb_gym.rendering import BACKGROUND, BLUE, VERMILION
from nb_gym.wrappers import LOOKS, Look, PixelObservation
from nb_gym.wrappers import vector as many
from nb_gym.wrappers.pixels import draw

SHORT = {"episode_steps": 60}
"""Three decisions an episode."""


def picture(theta: float, phase: float = 2.0, size: int = 48, **look: Any) -> np.ndarray:
    drive = np.array([[np.sin(phase)], [np.cos(phase)]])
    return draw(np.array([theta]), drive, Look(**look).numbers[None], size)[0]


def test_a_picture_has_known_colours_at_known_places() -> None:
    """48 pixels are 2.9 lengths of the rod, so that the bob of a pendulum at rest is 16.6 pixels below the middle."""
    shown = picture(0.0, phase=np.pi / 2)
    assert shown.dtype == np.uint8
    for row, column, color in ((0, 0, BACKGROUND), (30, 23, BLUE), (40, 23, BLUE), (23, 44, VERMILION)):
        assert tuple(shown[row, column]) == color
    np.testing.assert_array_equal(picture(0.0, phase=0.0)[:, ::-1], picture(0.0, phase=0.0))  # symmetric


def test_edges_are_smooth_enough_to_see_a_hundredth_of_a_radian() -> None:
    assert (picture(0.01) != picture(0.0)).any()
    area = (BACKGROUND[0] - picture(0.3, arm=(0, 0, 0), drive=BACKGROUND)[..., 0].astype(float)).sum()
    assert area == pytest.approx(
        (BACKGROUND[0] - picture(1.1, arm=(0, 0, 0), drive=BACKGROUND)[..., 0]).sum(), rel=0.01
    )


def test_the_camera_turns_magnifies_and_moves_the_picture() -> None:
    def assert_near(one: np.ndarray, other: np.ndarray) -> None:
        assert np.abs(one.astype(int) - other).max() <= 1  # a rounding

    plain = picture(0.7)
    assert_near(picture(0.7, rotation=np.pi), plain[::-1, ::-1])
    assert_near(picture(0.7, rotation=np.pi / 2), np.rot90(plain))
    assert_near(picture(0.7, rotation=0.4), picture(1.1, phase=2.4))
    np.testing.assert_array_equal(picture(0.7, shift=(3.0, -2.0))[:-2, 3:], plain[2:, :-3])
    assert_near(picture(0.7, size=96, zoom=0.5)[24:72, 24:72], plain)


def test_colours_are_inverted_faded_and_exchanged() -> None:
    plain = picture(0.7).astype(int)
    assert np.abs(picture(0.7, contrast=-1.0) - (255 - plain)).max() <= 1
    assert np.abs(picture(0.7, contrast=0.3) - (127.5 + 0.3 * (plain - 127.5))).max() <= 1
    assert (picture(0.7, contrast=0.0) == 128).all()
    np.testing.assert_array_equal(picture(0.7, arm=VERMILION, drive=BLUE), picture(0.7, **vars(LOOKS["swapped"])))


def test_the_observation_is_the_picture_before_and_the_present_one() -> None:
    env = PixelObservation(gym.make("NBPendulumControl-v0", **SHORT), size=40)
    first, _ = env.reset(seed=0)
    assert first.shape == (40, 40, 6)
    np.testing.assert_array_equal(first[..., :3], first[..., 3:])
    second, *_ = env.step(np.float32([2.0]))
    np.testing.assert_array_equal(second[..., :3], first[..., 3:])
    theta, _ = env.unwrapped.state
    np.testing.assert_array_equal(second[..., 3:], picture(np.float32(theta), np.float32(0.75 * 0.2), 40))
    kept = second.copy()
    env.step(np.float32([2.0]))
    np.testing.assert_array_equal(second, kept)  # the caller's to keep


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_vector_environments_show_what_single_ones_do(mode: AutoresetMode) -> None:
    """To the last bit, episode after episode: both draw later starts from a generator that each row has alone."""
    native = many.PixelObservation(gym.make_vec("NBPendulumControl-v0", 1, autoreset_mode=mode, **SHORT), look="tilted")
    single = SyncVectorEnv(
        [lambda: PixelObservation(gym.make("NBPendulumControl-v0", **SHORT), look="tilted")], autoreset_mode=mode
    )
    assert native.observation_space == single.observation_space
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(native.reset(seed=[3])[0], single.reset(seed=[3])[0])
    for _ in range(3):  # until the first episode ends
        actions = rng.uniform(-2.0, 2.0, (1, 1)).astype(np.float32)
        ours, theirs = native.step(actions), single.step(actions)
        ended = ours[3].all()
        if mode is AutoresetMode.SAME_STEP and ended:
            np.testing.assert_array_equal(ours[4]["final_obs"][0], theirs[4]["final_obs"][0])
        else:
            np.testing.assert_array_equal(ours[0], theirs[0])
    assert ended
    shown = ours[0] if mode is AutoresetMode.SAME_STEP else native.step(actions)[0]
    np.testing.assert_array_equal(shown[..., :3], shown[..., 3:])  # another episode has begun


def test_rows_are_pictures_of_their_own_and_masked_resets_begin_some() -> None:
    envs = many.PixelObservation(gym.make_vec("NBPendulumControl-v0", 3, autoreset_mode="Disabled", **SHORT))
    first, _ = envs.reset(seed=[1, 2, 3])
    alone = [PixelObservation(gym.make("NBPendulumControl-v0")).reset(seed=seed)[0] for seed in (1, 2, 3)]
    np.testing.assert_array_equal(first, alone)
    second, *_ = envs.step(np.full((3, 1), 2.0, dtype=np.float32))
    mask = np.array([False, True, False])
    third, _ = envs.reset(seed=[None, 2, None], options={"reset_mask": mask})
    np.testing.assert_array_equal(third[1], first[1])
    np.testing.assert_array_equal(third[~mask], second[~mask])


def test_looks_are_drawn_between_two_for_each_episode() -> None:
    ends = Look(background=(0, 0, 0)), Look(background=(200, 0, 0), rotation=1.0)
    env = PixelObservation(gym.make("NBPendulumControl-v0", **SHORT), look=ends)
    first, _ = env.reset(seed=5)
    corner = first[0, 0]
    assert 0 < corner[0] < 200
    assert not corner[1:3].any()
    assert env.step(np.float32([0.0]))[0][0, 0, 3] == corner[0]  # the same until the episode ends
    assert env.reset()[0][0, 0, 0] != corner[0]
    np.testing.assert_array_equal(env.reset(seed=5)[0], first)
    envs = many.PixelObservation(gym.make_vec("NBPendulumControl-v0", 4, **SHORT), look=ends)
    rows = envs.reset(seed=5)[0][:, 0, 0, 0]
    assert len(set(rows.tolist())) == 4
    for _ in range(4):
        observations = envs.step(np.zeros((4, 1), dtype=np.float32))[0]
    assert (observations[:, 0, 0, 0] != rows).all()


def test_gymnasiums_and_sb3s_checks_pass_and_sb3_takes_it_for_images() -> None:
    env = PixelObservation(gym.make("NBPendulumControl-v0", **SHORT))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is different from the unwrapped version")  # it is a wrapper
        warnings.filterwarnings("ignore", ".*symmetric and normalized")  # an advice on torques of up to 2
        check_env(env, skip_render_check=True)
        sb3_check_env(env)
    model = PPO("CnnPolicy", env, n_steps=4, batch_size=4, n_epochs=1, device="cpu", seed=0)
    assert model.observation_space.shape == (6, 36, 36)
    model.learn(4)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"background": (0, 0, 256)}, "background must be three numbers from 0 to 255, got (0, 0, 256)"),
        ({"arm": "red"}, "arm must be three numbers from 0 to 255, got 'red'"),
        ({"drive": (1, 2)}, "drive must be three numbers from 0 to 255, got (1, 2)"),
        ({"contrast": 1.5}, "contrast must be a number from -1 to 1, got 1.5"),
        ({"rotation": float("nan")}, "rotation must be a number from -3.142 to 3.142, got nan"),
        ({"zoom": 0.0}, "zoom must be a number from 0.25 to 4, got 0.0"),
        ({"zoom": True}, "zoom must be a number from 0.25 to 4, got True"),
        ({"shift": 3.0}, "shift must be two numbers from −1,000 to 1,000, got 3.0"),
        ({"shift": ((1, 2), 3)}, "shift must be two numbers from −1,000 to 1,000, got ((1, 2), 3)"),
    ],
)
def test_what_no_look_has_is_refused_by_name(argument: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Look(**argument)


def test_what_is_no_pendulum_look_or_size_is_refused_by_name() -> None:
    env, envs = gym.make("NBPendulumControl-v0"), gym.make_vec("NBPendulumControl-v0", 2)
    for wrap, inner in ((PixelObservation, env), (many.PixelObservation, envs)):
        with pytest.raises(ValueError, match=r"look must be one of .*'plain'.* got 'pretty'"):
            wrap(inner, look="pretty")
        with pytest.raises(TypeError, match=r"look must be a Look, one of the names .* got 3"):
            wrap(inner, look=3)
        with pytest.raises(ValueError, match="size must be an integer from 32 to 2048 pixels, got 8"):
            wrap(inner, size=8)
    with pytest.raises(TypeError, match=r"env must be a gymnasium\.vector\.VectorEnv"):
        many.PixelObservation(env)
    with pytest.raises(TypeError, match=r"env must be a driven pendulum"):
        PixelObservation(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match=r"env must observe theta, .* it lacks sin_drive, cos_drive"):
        PixelObservation(gym.make("NBPendulum-v0"))
    halved = TransformObservation(env, lambda seen: seen / 2, gym.spaces.Box(-1.0, 1.0, (4,)))
    with pytest.raises(ValueError, match=r"env must show the pendulum's own observations"):
        PixelObservation(halved)
