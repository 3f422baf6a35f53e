"""Environments that show their rows, and rewards that are scaled row by row."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from nb_agents import RowNormalize, RowObservation
from tests.nb_agents.shared import Clock, Pictures

KINDS = [spaces.Box(-1.0, 100.0, (2,), np.float32), spaces.Box(-1.0, 100.0, (2,), np.float64)]


def clocks(observation_space: Any = None, lengths: tuple[int, ...] = (2, 3, 4)) -> DummyVecEnv:
    return DummyVecEnv([lambda n=n: Clock(n, observation_space) for n in lengths])


@pytest.mark.parametrize("space", KINDS)
def test_a_flat_observation_ends_with_its_row_in_every_step_and_at_the_end_of_an_episode(space: spaces.Box) -> None:
    env = RowObservation(clocks(space))
    shown: Any = env.observation_space
    assert shown.parts == {"observation": slice(0, 2), "row": slice(2, 5)}
    assert shown.dtype == space.dtype
    assert pickle.loads(pickle.dumps(shown)).parts == shown.parts
    observations: Any = env.reset()
    for _ in range(5):
        np.testing.assert_array_equal(observations[:, 2:], np.eye(3))
        assert shown.contains(observations[0])
        observations, _, dones, infos = env.step(np.zeros(3, dtype=int))
        for i in np.flatnonzero(dones):
            np.testing.assert_array_equal(infos[i]["terminal_observation"], [*[i + 2.0] * 2, *np.eye(3)[i]])


def test_a_dictionary_gets_an_entry() -> None:
    parts = {"a": spaces.Discrete(3), "_b": spaces.Box(0, 9, (1,), np.float32), "c": spaces.MultiBinary(2)}
    env = RowObservation(clocks(spaces.Dict(parts)))
    observations: Any = env.reset()
    assert observations.keys() == {*parts, "row"}
    np.testing.assert_array_equal(observations["row"], np.eye(3))
    *_, infos = [env.step(np.zeros(3, dtype=int)) for _ in range(2)][-1]
    np.testing.assert_array_equal(infos[0]["terminal_observation"]["row"], [1.0, 0.0, 0.0])


def test_what_cannot_show_a_row_is_refused() -> None:
    with pytest.raises(TypeError, match="venv must be an SB3 VecEnv, got TimeLimit"):
        RowObservation(gym.make("CartPole-v1"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="venv must not show a part 'row' already"):
        RowObservation(RowObservation(clocks()))
    with pytest.raises(ValueError, match="venv must show flat observations or a dictionary"):
        RowObservation(DummyVecEnv([lambda: Pictures(told=False)]))


def test_each_row_is_scaled_as_by_a_vecnormalize_of_its_own(tmp_path: Path) -> None:
    lengths = (3, 5)
    env = RowNormalize(clocks(lengths=lengths), gamma=0.9)
    alone = [VecNormalize(clocks(lengths=(n,)), norm_obs=False, gamma=0.9) for n in lengths]
    for each in (env, *alone):
        each.reset()
    for _ in range(12):
        rewards = env.step(np.zeros(2, dtype=int))[1]
        expected = [each.step(np.zeros(1, dtype=int))[1][0] for each in alone]
        np.testing.assert_array_equal(rewards, expected)
    np.testing.assert_allclose(env.unnormalize_reward(rewards), env.get_original_reward(), rtol=1e-6)
    env.save(str(tmp_path / "scales.pkl"))
    loaded = RowNormalize.load(str(tmp_path / "scales.pkl"), clocks(lengths=lengths))
    assert isinstance(loaded, RowNormalize)
    np.testing.assert_array_equal(loaded.row_rms.var, env.row_rms.var)
    env.norm_reward = False
    np.testing.assert_array_equal(env.step(np.zeros(2, dtype=int))[1], env.get_original_reward())


@pytest.mark.parametrize("space", [None, spaces.Dict({"a": spaces.Box(0, 9, (1,)), "_b": spaces.Box(0, 9, (1,))})])
def test_scales_of_observations_do_not_move(space: Any) -> None:
    env = RowNormalize(
        DummyVecEnv([lambda: Clock(3, space)] if space is None else [lambda: Still(space)]), norm_obs=True
    )
    statistics: Any = env.obs_rms
    each = statistics.values() if isinstance(statistics, dict) else [statistics]
    env.reset()
    for _ in range(5):
        env.step(np.zeros(1, dtype=int))
    assert all((rms.mean == 0.0).all() and (rms.var == 1.0).all() for rms in each)
    assert (env.row_rms.var != 1.0).all()


class Still(Clock):
    """A clock that shows a dictionary of numbers."""

    def __init__(self, observation_space: Any) -> None:
        super().__init__(3, observation_space)

    def observe(self) -> Any:
        return {name: np.array([self.time], np.float32) for name in ("a", "_b")}
