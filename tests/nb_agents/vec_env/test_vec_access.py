"""Reaching single environments through the adapter: in this process, in workers, or in a native class."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import AlreadyPendingCallError
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.monitor import Monitor

from nb_agents import VectorEnvAdapter


class Walk(gym.Env[Any, Any]):
    """Goes where it is sent, from a random start."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Discrete(2)
    gravity = 1.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.position = self.np_random.normal()
        return np.array([self.position], np.float32), {}

    def step(self, action: int) -> Any:
        self.position += action
        return np.array([self.position], np.float32), self.position, False, False, {}

    def double(self, x: float) -> float:
        return 2 * x * self.gravity


def make() -> gym.Env[Any, Any]:
    return TimeLimit(Walk(), 6)


def make_monitored() -> gym.Env[Any, Any]:
    return gym.wrappers.TransformReward(Monitor(make()), abs)


def test_attributes_and_methods_of_the_environments() -> None:
    env = VectorEnvAdapter(SyncVectorEnv([make] * 3, autoreset_mode=AutoresetMode.SAME_STEP))
    env.set_attr("gravity", 2.0, indices=[1])
    assert env.get_attr("gravity") == [1.0, 2.0, 1.0]
    assert env.env_method("double", 3.0, indices=[0, 1]) == [6.0, 12.0]
    assert env.env_is_wrapped(TimeLimit) == [True] * 3
    assert env.env_is_wrapped(Monitor) == [False] * 3


@pytest.mark.parametrize("cls", [SyncVectorEnv, AsyncVectorEnv])
def test_single_environments_are_reached_wherever_they_run(cls: Any) -> None:
    env = VectorEnvAdapter(cls([make, make_monitored, make]))
    try:
        assert env.get_attr("gravity") == [1.0, 1.0, 1.0]
        env.set_attr("gravity", 3.0, indices=1)
        env.set_attr("gravity", [4.0], indices=np.int64(-1))
        assert env.get_attr("gravity") == [1.0, 3.0, [4.0]]
        assert env.get_attr("gravity", indices=[2, 0]) == [[4.0], 1.0]
        assert env.env_method("double", 1.0, indices=[1, 0]) == [6.0, 2.0]
        assert env.env_method("double", x=2.0, indices=0) == [4.0]
        assert env.has_attr("double")
        assert env.has_attr("position") is False
        with pytest.raises(AttributeError, match="position"):
            env.get_attr("position")
        with pytest.raises(AttributeError, match="nothing"):
            env.env_method("nothing", indices=[1])
        assert [env.has_attr(name) for name in ("nothing", "get_episode_rewards")] == [False, False]
        assert env.get_attr("get_episode_rewards", indices=1)[0]() == []
        for indices in (3, [0, -4], [7]):
            with pytest.raises(IndexError, match="indices must be of 3 environments"):
                env.get_attr("gravity", indices)
        env.seed(0)
        env.reset()
        assert sum(env.step(np.ones(3, int))[2].sum() for _ in range(8)) > 0, "no worker has ended"
        assert env.has_attr("position")
    finally:
        env.close()


class OtherMonitor(Monitor[Any, Any]):
    """A subclass of SB3's."""


class Namesake(gym.Wrapper[Any, Any, Any, Any]):
    """Has the name of SB3's `Monitor`, and nothing else of it."""


Namesake.__name__ = "Monitor"


class NamedWalk(Walk):
    def __str__(self) -> str:
        return "a walk"


class Quiet(gym.Wrapper[Any, Any, Any, Any]):
    """Does not tell what it is around."""

    def __str__(self) -> str:
        return "quiet"


@pytest.mark.parametrize("cls", [SyncVectorEnv, AsyncVectorEnv])
def test_wrappers_are_found_wherever_they_are(cls: Any) -> None:
    fns = [
        make,
        make_monitored,
        lambda: OtherMonitor(Walk()),
        lambda: Namesake(Walk()),
        lambda: Quiet(Monitor(Walk())),
        lambda: Quiet(Walk()),
        lambda: Monitor(TimeLimit(NamedWalk(), 6)),
    ]
    env = VectorEnvAdapter(cls(fns))
    try:
        assert env.env_is_wrapped(Monitor) == [False, True, True, False, True, False, True]
        assert env.env_is_wrapped(Monitor, indices=[3, 2]) == [False, True]
        assert env.env_is_wrapped(OtherMonitor, indices=range(4)) == [False, False, True, False]
        assert env.env_is_wrapped(TimeLimit, indices=[0, 1, 2, 3, 6]) == [True, True, False, False, True]
        assert env.env_is_wrapped(gym.wrappers.vector.RecordEpisodeStatistics) == [False] * 7
    finally:
        env.close()


def test_workers_that_are_busy_or_gone_are_named() -> None:
    inner = AsyncVectorEnv([make, make])
    env = VectorEnvAdapter(inner)
    env.reset()
    inner.step_async(np.zeros(2, int))
    with pytest.raises(AlreadyPendingCallError, match="not yet answered a call of 'step'"):
        env.get_attr("gravity")
    inner.step_wait()
    assert env.get_attr("gravity") == [1.0, 1.0]
    with pytest.raises(ValueError, match="workers of AsyncVectorEnv cannot be asked to call 'reset'"):
        env.env_method("reset", indices=1)
    with (
        pytest.warns(UserWarning, match=r"ERROR"),
        pytest.raises(TypeError, match="double"),
    ):  # Gymnasium logs by warnings
        env.env_method("double", indices=1)  # an error of its own ends a worker, as in SB3's SubprocVecEnv
    assert env.get_attr("gravity", indices=0) == [1.0]
    with pytest.raises(RuntimeError, match=r"the workers of environments \[1\] have ended"):
        env.get_attr("gravity")
    env.close()


def test_a_native_class_holds_one_for_all() -> None:
    inner = gym.make_vec("nb_gym:NBPendulum-v0", num_envs=3, A=np.array([1.0, 1.4, 1.8]))
    env = VectorEnvAdapter(
        gym.wrappers.vector.RecordEpisodeStatistics(gym.wrappers.vector.ClipReward(inner, -1.0, 0.0))
    )
    assert env.has_attr("time") is False, "there is none before the first episode"
    env.reset()
    assert env.has_attr("time")
    env.step(np.zeros((3, 1)))
    assert env.get_attr("time", indices=[2, 0]) == [0.01, 0.01]
    assert env.get_attr("episode_lengths") == [1, 1, 1], "of a wrapper"
    assert env.get_attr("frame_skip", indices=-1) == [1]
    env.set_attr("observe", ("theta", "theta_dot"))
    for name, indices in (("observe", 0), ("observe", [0, 1]), ("nothing", None)):
        with pytest.raises(AttributeError, match=name):
            env.set_attr(name, 1, indices)
    with pytest.raises(AttributeError, match="nothing"):
        env.get_attr("nothing")
    with pytest.raises(AttributeError, match="NBPendulumVectorEnv has no environments of its own to call 'render' on"):
        env.env_method("render")
    assert env.env_is_wrapped(Monitor) == env.env_is_wrapped(TimeLimit) == [False] * 3
    assert env.env_is_wrapped(gym.wrappers.vector.ClipReward, indices=1) == [True]
