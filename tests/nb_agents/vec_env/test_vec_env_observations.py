"""The observations, infos and pictures that the adapter hands on."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorWrapper
from stable_baselines3.common.vec_env import DummyVecEnv

from nb_agents import VectorEnvAdapter
from nb_gym import tile
from tests.nb_agents.shared import Clock

MODES = list(AutoresetMode)
LENGTHS = (2, 3, 5, 8)


PARTS = {"a": spaces.Discrete(3), "_b": spaces.Box(0.0, 9.0, (1,), np.float32), "c": spaces.MultiBinary(2)}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("space", [spaces.Dict(PARTS), spaces.Tuple(list(PARTS.values()))])
@pytest.mark.parametrize("cls", [SyncVectorEnv, AsyncVectorEnv])
def test_observations_of_many_parts_are_those_of_dummy_vec_env(cls: Any, space: Any, mode: AutoresetMode) -> None:
    fns = [lambda n=n: Clock(n, space) for n in LENGTHS]
    ours, reference = VectorEnvAdapter(cls(fns, autoreset_mode=mode)), DummyVecEnv(fns)  # type: ignore[arg-type]
    try:
        first, first_2 = ours.reset(), reference.reset()
        assert isinstance(first, dict if isinstance(space, spaces.Dict) else tuple)
        np.testing.assert_equal(first, first_2)
        for _ in range(9):
            (obs, *_, infos), (obs_2, *_, infos_2) = ours.step(np.zeros(4, int)), reference.step(np.zeros(4, int))
            np.testing.assert_equal(obs, obs_2)
            for info, info_2 in zip(infos, infos_2, strict=True):
                np.testing.assert_equal(info.get("terminal_observation"), info_2.get("terminal_observation"))
    finally:
        ours.close()


def test_equal_parts_of_a_tuple_stay_apart() -> None:
    class Pair(Clock):
        def observe(self) -> Any:
            return np.full(2, self.time, np.float32), np.full(2, -self.time, np.float32)

    space = spaces.Tuple([spaces.Box(-9, 9, (2,), np.float32)] * 2)
    env = VectorEnvAdapter(SyncVectorEnv([lambda: Pair(3, space)] * 2))
    assert isinstance(env.reset(), tuple)
    for _ in range(3):
        obs, _, _, infos = env.step(np.zeros(2, int))
    np.testing.assert_equal(infos[0]["terminal_observation"], (np.full(2, 3.0), np.full(2, -3.0)))
    np.testing.assert_equal(obs, (np.zeros((2, 2)), np.zeros((2, 2))))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Dict({"a": spaces.Dict({"b": spaces.Discrete(2)})}),
        spaces.Tuple([spaces.Tuple([spaces.Discrete(2)])]),
        spaces.Dict({"a": spaces.Tuple([spaces.Discrete(2)])}),
        spaces.Text(5),
        spaces.Sequence(spaces.Discrete(2)),
    ],
)
def test_spaces_that_are_no_arrays_are_refused(space: Any) -> None:
    with pytest.raises(ValueError, match=r"the observation space must be Box, Discrete, .* not nested .* got "):
        VectorEnvAdapter(SyncVectorEnv([lambda: Clock(2, space)]))
    acting = Clock(2)
    acting.action_space = space
    with pytest.raises(ValueError, match=r"the action space must be Box, Discrete, .* got "):
        VectorEnvAdapter(SyncVectorEnv([lambda: acting]))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_handed_on_and_blamed_on_nobody(bad: float, mode: AutoresetMode) -> None:
    class Broken(Clock):
        def observe(self) -> Any:
            return np.full(2, bad, np.float32)

    env = VectorEnvAdapter(SyncVectorEnv([lambda: Broken(99), lambda: Clock(2)], autoreset_mode=mode))
    env.reset()
    for _ in range(4):
        obs = env.step(np.zeros(2, int))[0]
        np.testing.assert_equal(obs[0], np.full(2, bad))
    np.testing.assert_equal(obs[1], [0.0, 2.0])


@pytest.mark.parametrize("mode", MODES)
def test_info_keys_that_begin_with_an_underscore(mode: AutoresetMode) -> None:
    class Private(Clock):
        def step(self, action: int) -> Any:
            *rest, info = super().step(action)
            return *rest, info | {"_own": self.time, "nested": {"_x": 2 * self.time}}

    env = VectorEnvAdapter(SyncVectorEnv([lambda: Private(2), lambda: Clock(3)], autoreset_mode=mode))
    env.reset()
    for t in (1, 2):
        infos = env.step(np.zeros(2, int))[3]
        assert (infos[0]["_own"], infos[0]["nested"]) == (t, {"_x": 2 * t})
        assert not {"_own", "nested", "__own", "_nested"} & infos[1].keys()


class InTensors(VectorWrapper):
    """As Gymnasium's wrappers that convert arrays to another library's."""

    def reset(self, **kwargs: Any) -> Any:
        observations, info = self.env.reset(**kwargs)
        return torch.as_tensor(observations), info


def test_observations_in_another_form_than_arrays_are_refused() -> None:
    env = VectorEnvAdapter(InTensors(SyncVectorEnv([lambda: Clock(2)])))
    with pytest.raises(TypeError, match="observations must be NumPy arrays, got Tensor: leave out wrappers"):
        env.reset()


@pytest.mark.parametrize("mode", ["vector_entry_point", "sync", "async"])
@pytest.mark.parametrize("name", ["nb_gym:NBPendulum-v0", "nb_gym:Navigation2D-v0"])
def test_each_environment_has_its_picture(name: str, mode: str) -> None:
    settings: dict[str, Any] = {"render_mode": "rgb_array", "frame_size": 64}
    env = VectorEnvAdapter(gym.make_vec(name, num_envs=3, vectorization_mode=mode, **settings))
    try:
        env.seed(0)
        env.reset()
        assert env.render_mode == "rgb_array"
        assert env.metadata["render_fps"] == gym.make(name).metadata["render_fps"]
        images: Any = env.get_images()
        assert [image.shape for image in images] == [(64, 64, 3)] * 3
        assert not np.array_equal(images[0], images[1])
        picture = env.render()
        assert picture is not None
        assert picture.shape == (128, 128, 3)
        np.testing.assert_array_equal(picture[:64], tile(images)[:64])
    finally:
        env.close()


def test_without_a_render_mode_there_are_no_pictures() -> None:
    env = VectorEnvAdapter(gym.make_vec("nb_gym:NBPendulum-v0", num_envs=2))
    env.reset()
    with pytest.warns(UserWarning, match="pictures need the render mode 'rgb_array', the mode is None"):
        assert env.get_images() == [None, None]
