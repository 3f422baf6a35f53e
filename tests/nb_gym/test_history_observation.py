"""The history in the observation: the last complete transitions, and nothing of another episode."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from nb_gym.wrappers import HistoryObservation
from tests.nb_gym.pendulums import LENGTH, batch


def test_the_history_holds_the_last_complete_transitions() -> None:
    env = HistoryObservation(gym.make("NBPendulum-v0", max_torque=1.0, **LENGTH), 2, key="history")
    first, _ = env.reset(seed=0)
    assert not first["history"].any()
    second, *_ = env.step(np.float32([5.0]))
    o, p = first["observation"], second["observation"]
    assert not second["history"][:6].any()
    np.testing.assert_allclose(second["history"][6:], [*o, 1.0, *(p - o), 1.0], rtol=1e-6)
    third, *_, truncated, _ = env.step(np.float32([-0.5]))
    np.testing.assert_array_equal(third["history"][:6], second["history"][6:])
    np.testing.assert_allclose(third["history"][6:], [*p, -0.5, *(third["observation"] - p), 1.0], rtol=1e-6)
    fourth, *_, truncated, _ = env.step(np.float32([0.0]))
    assert truncated
    np.testing.assert_array_equal(fourth["history"][:6], third["history"][6:])  # the end of an episode has its history
    assert not env.reset()[0]["history"].any()


def test_discrete_actions_are_one_hot() -> None:
    env = HistoryObservation(gym.make("CartPole-v1"), 3, key="history")
    env.reset(seed=0)
    observation, *_ = env.step(1)
    assert observation["history"].shape == (3 * (4 + 2 + 4 + 1),)
    np.testing.assert_array_equal(observation["history"].reshape(3, 11)[2, 4:6], [0.0, 1.0])
    assert env.observation_space.contains(observation)


@pytest.mark.parametrize("native", [True, False])
def test_the_history_is_empty_after_a_reset_whatever_begins_it(native: bool) -> None:
    for mode, empty_at in ((AutoresetMode.NEXT_STEP, 4), (AutoresetMode.SAME_STEP, 3)):
        env = batch(mode, native=native)
        env.reset(seed=0)
        filled = []
        for _ in range(6):
            observations, *_ = env.step(np.ones((3, 1), dtype=np.float32))
            filled.append(bool(observations[:, 4:].any()))
        assert [step for step, each in enumerate(filled, start=1) if not each] == [
            step for step in range(1, 7) if step % (4 if mode is AutoresetMode.NEXT_STEP else 3) == 0
        ], empty_at


def test_a_reset_mask_leaves_the_other_histories() -> None:
    env = batch(AutoresetMode.DISABLED, native=True)
    env.reset(seed=0)
    before, *_ = env.step(np.ones((3, 1), dtype=np.float32))
    after, _ = env.reset(options={"reset_mask": np.array([False, True, False])})
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    assert not after[1, 4:].any()


def test_actions_that_a_history_cannot_hold_are_refused() -> None:
    env = gym.make("NBPendulum-v0")
    env.action_space = spaces.Tuple((spaces.Discrete(2), spaces.Discrete(3)))
    with pytest.raises(ValueError, match=r"the actions must be of one of Box, Discrete, .*, got Tuple"):
        HistoryObservation(env)
