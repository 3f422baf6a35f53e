"""What the adapter tells of episodes, and what Gymnasium's wrappers around all environments make of its resets."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import (
    AsyncVectorEnv,
    AutoresetMode,
    SyncVectorEnv,
    VectorEnv,
    VectorObservationWrapper,
    VectorWrapper,
)
from gymnasium.wrappers import vector as vector_wrappers
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from nb_agents import VectorEnvAdapter
from tests.nb_agents.shared import Clock

MODES = list(AutoresetMode)
MASKED = [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED]


LENGTHS = (2, 3, 5, 8)


def clocks(mode: AutoresetMode, cls: Any = SyncVectorEnv, around: Any = lambda env: env) -> VectorEnv[Any, Any, Any]:
    return cls([lambda n=n: around(Clock(n)) for n in LENGTHS], autoreset_mode=mode)


def episodes(env: Any, steps: int = 17) -> list[tuple[int, int, float, int]]:
    """Play and note (step, environment, return, length) of every episode that is told of."""
    env.reset()
    told = []
    for t in range(steps):
        _, _, dones, infos = env.step(np.zeros(len(LENGTHS), int))
        told += [
            (t, i, info["episode"]["r"], info["episode"]["l"]) for i, info in enumerate(infos) if "episode" in info
        ]
        assert [info["TimeLimit.truncated"] for info in infos] == [
            bool(done and n % 2 == 0) for done, n in zip(dones, LENGTHS, strict=True)
        ]
    return told


TRUE = [(t, i, n * (n + 1) / 2, n) for t in range(17) for i, n in enumerate(LENGTHS) if (t + 1) % n == 0]
HALF = [(t, i, total / 2, n) for t, i, total, n in TRUE]


def halved(env: Any) -> Any:
    return gym.wrappers.TransformReward(env, half)


def half(reward: float) -> float:
    return reward / 2


@pytest.mark.parametrize("mode", MODES)
def test_episodes_are_told_as_monitor_tells_them(mode: AutoresetMode) -> None:
    assert episodes(DummyVecEnv([lambda n=n: Monitor(Clock(n)) for n in LENGTHS])) == TRUE
    assert episodes(VectorEnvAdapter(clocks(mode))) == TRUE
    assert episodes(VecMonitor(VectorEnvAdapter(clocks(mode)))) == TRUE
    assert episodes(VectorEnvAdapter(clocks(mode, around=halved))) == HALF


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reporter", [Monitor, gym.wrappers.RecordEpisodeStatistics])
def test_what_the_environments_tell_goes_first(reporter: Any, mode: AutoresetMode) -> None:
    assert episodes(VectorEnvAdapter(clocks(mode, around=lambda env: halved(reporter(env))))) == TRUE
    assert episodes(VecMonitor(VectorEnvAdapter(clocks(mode, around=halved)))) == HALF
    some = [lambda: halved(reporter(Clock(2))), *(lambda n=n: halved(Clock(n)) for n in LENGTHS[1:])]
    expected = [told for told in TRUE if told[1] == 0] + [told for told in HALF if told[1] > 0]
    assert sorted(episodes(VectorEnvAdapter(SyncVectorEnv(some, autoreset_mode=mode)))) == sorted(expected)


class Lives(gym.Wrapper[Any, Any, Any, Any]):
    """Ends at every second step, as losing a life does; an episode that is reset before its end goes on."""

    last: Any = None

    def reset(self, **kwargs: Any) -> Any:
        return self.last or self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.last = None if terminated or truncated else (obs, {})
        return obs, reward, terminated or info["time"] % 2 == 0, truncated, info


@pytest.mark.parametrize("cls", [SyncVectorEnv, AsyncVectorEnv])
def test_where_a_monitor_sees_no_end_none_is_told(cls: Any) -> None:
    env = VectorEnvAdapter(clocks(AutoresetMode.NEXT_STEP, cls, lambda env: Lives(Monitor(env))))
    try:
        env.reset()
        ends = dict.fromkeys(range(4), 0)
        for _ in range(16):
            _, _, dones, infos = env.step(np.zeros(4, int))
            for i, info in enumerate(infos):
                ends[i] += "episode" in info
                assert "episode" not in info or dones[i]
        assert ends == {i: 16 // n for i, n in enumerate(LENGTHS)}
    finally:
        env.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cls", [SyncVectorEnv, AsyncVectorEnv])
def test_statistics_recorded_around_all_environments_survive_the_adapters_resets(cls: Any, mode: AutoresetMode) -> None:
    # Gymnasium takes the mask out of the options on the way in; the wrapper would forget every running episode.
    env = VectorEnvAdapter(vector_wrappers.RecordEpisodeStatistics(clocks(mode, cls)))
    try:
        assert episodes(env) == TRUE
        assert [info["begun"] for info in env.reset_infos] == list(LENGTHS)
        assert not any("episode" in info for info in env.reset_infos)
    finally:
        env.close()


@pytest.mark.parametrize("mode", MODES)
def test_statistics_under_another_key_come_beside_the_adapters_own(mode: AutoresetMode) -> None:
    inner = vector_wrappers.RecordEpisodeStatistics(clocks(mode), stats_key="true")
    env = VectorEnvAdapter(vector_wrappers.RecordEpisodeStatistics(vector_wrappers.TransformReward(inner, half)))
    assert episodes(env) == HALF
    env.reset()
    infos = [env.step(np.zeros(4, int))[3] for _ in range(8)]
    assert [info[3].get("true", {}).get("r") for info in infos] == [None] * 7 + [36.0]
    assert [info[3].get("episode", {}).get("r") for info in infos] == [None] * 7 + [18.0]


class Logged(KVWriter):
    def __init__(self) -> None:
        self.names: set[str] = set()

    def write(self, key_values: dict[str, Any], key_excluded: Any, step: int = 0) -> None:
        self.names |= key_values.keys()


@pytest.mark.parametrize("around", [lambda env: env, VecMonitor, lambda env: VecNormalize(env, norm_reward=True)])
@pytest.mark.parametrize("mode", MODES)
def test_sb3_logs_returns_without_a_monitor(mode: AutoresetMode, around: Any) -> None:
    model = PPO("MlpPolicy", around(VectorEnvAdapter(clocks(mode))), n_steps=16, batch_size=64, n_epochs=1, seed=0)
    writer = Logged()
    model.set_logger(Logger(None, [writer]))
    model.learn(128)
    assert "rollout/ep_rew_mean" in writer.names
    assert model.ep_info_buffer is not None
    told = [(info["r"], info["l"]) for info in model.ep_info_buffer]
    assert sorted(told) == sorted((n * (n + 1) / 2, n) for n in LENGTHS for _ in range(32 // n))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cls", [SyncVectorEnv, AsyncVectorEnv])
def test_evaluate_policy_counts_what_monitors_saw(cls: Any, mode: AutoresetMode) -> None:
    env = VectorEnvAdapter(clocks(mode, cls, lambda env: halved(Monitor(env))))
    try:
        returns, lengths = evaluate_policy(_Still(), env, n_eval_episodes=8, return_episode_rewards=True)
    finally:
        env.close()
    assert sorted(zip(lengths, returns, strict=True)) == sorted((n, n * (n + 1) / 2) for n in LENGTHS for _ in range(2))


@pytest.mark.parametrize("mode", MODES)
def test_evaluate_policy_without_monitors(mode: AutoresetMode) -> None:
    expected = sorted((n, n * (n + 1) / 2) for n in LENGTHS)
    with pytest.warns(UserWarning, match="not wrapped with a ``Monitor``"):
        returns, lengths = evaluate_policy(
            _Still(), VectorEnvAdapter(clocks(mode)), n_eval_episodes=4, return_episode_rewards=True
        )
    assert sorted(zip(lengths, returns, strict=True)) == expected
    monitored = VecNormalize(VecMonitor(VectorEnvAdapter(clocks(mode))), training=False)
    returns, lengths = evaluate_policy(_Still(), monitored, n_eval_episodes=4, return_episode_rewards=True)
    assert sorted(zip(lengths, returns, strict=True)) == expected


class _Still:
    def predict(self, observation: Any, state: Any = None, **_: Any) -> Any:
        return np.zeros(len(LENGTHS), int), state


@pytest.mark.parametrize("wrapper", ["NormalizeObservation", "NormalizeReward", "DictInfoToList"])
def test_wrappers_that_masked_resets_make_wrong_are_refused(wrapper: str) -> None:
    env = getattr(vector_wrappers, wrapper)(clocks(AutoresetMode.NEXT_STEP))
    for each in (env, vector_wrappers.ClipReward(env, 0.0, 1.0) if wrapper != "DictInfoToList" else env):
        with pytest.raises(
            ValueError, match=f"{wrapper} cannot be used here, for SB3 resets environments one by one: "
        ):
            VectorEnvAdapter(each)


class Stack(VectorObservationWrapper):
    """Adds the last two observations, and takes a masked reset for a step of all: a state that it spoils."""

    last: Any = 0.0

    def observations(self, observations: Any) -> Any:
        self.last, stacked = observations, observations + self.last
        return stacked


@pytest.mark.parametrize("mode", MASKED)
def test_other_state_that_a_masked_reset_spoils_is_refused_by_name(mode: AutoresetMode) -> None:
    env = VectorEnvAdapter(Stack(clocks(mode)))
    env.reset()
    env.step(np.zeros(4, int))
    with pytest.raises(RuntimeError, match=r"Stack of SyncVectorEnv ignores options\['reset_mask'\]"):
        env.step(np.zeros(4, int))


class Limit(VectorWrapper):
    """A limit of four steps around all environments, which looks for the mask when the reset is done."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        result = self.env.reset(seed=seed, options=options)
        mask = (options or {}).get("reset_mask")
        self.elapsed = np.zeros(self.num_envs, int) if mask is None else np.where(mask, 0, self.elapsed)
        return result

    def step(self, actions: Any) -> Any:
        obs, rewards, terminated, truncated, infos = self.env.step(actions)
        self.elapsed = self.elapsed + 1
        return obs, rewards, terminated, truncated | (self.elapsed >= 4), infos


@pytest.mark.parametrize("mode", MASKED)
@pytest.mark.parametrize("cls", [SyncVectorEnv, AsyncVectorEnv])
def test_a_limit_around_all_environments_counts_each_of_them(cls: Any, mode: AutoresetMode) -> None:
    env = VectorEnvAdapter(Limit(clocks(mode, cls)))
    try:
        env.reset()
        ends = [env.step(np.zeros(4, int))[2] for _ in range(12)]
    finally:
        env.close()
    assert [np.flatnonzero(column).tolist() for column in np.transpose(ends)] == [
        [1, 3, 5, 7, 9, 11],
        [2, 5, 8, 11],
        [3, 7, 11],
        [3, 7, 11],
    ]


@pytest.mark.parametrize("mode", MODES)
def test_a_wrapper_without_state_changes_nothing_but_observations(mode: AutoresetMode) -> None:
    assert episodes(VectorEnvAdapter(vector_wrappers.ClipReward(clocks(mode), 0.0, 1000.0))) == TRUE
    if mode is not AutoresetMode.SAME_STEP:  # Gymnasium's own restriction
        assert episodes(VectorEnvAdapter(vector_wrappers.ReshapeObservation(clocks(mode), (2, 1)))) == TRUE
