"""The adapter against SB3's own DummyVecEnv, in all three of Gymnasium's autoreset modes."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from nb_agents import VectorEnvAdapter
from nb_agents.vec_env.infos import MaskedReset, group_options, split_infos


class Walk(gym.Env[Any, Any]):
    """A random walk that ends at ±2 (termination); wrapped in a limit of 6 steps (truncation)."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Discrete(2)
    gravity = 1.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.position = float((options or {}).get("start", self.np_random.normal(scale=0.1)))
        return self._obs(), {"start": self.position}

    def step(self, action: int) -> Any:
        self.position += (2 * int(action) - 1) * 0.5 + self.np_random.normal(scale=0.1)
        return self._obs(), self.position, abs(self.position) > 2, False, {"position": self.position}

    def _obs(self) -> np.ndarray:
        return np.array([self.position, 1.0], np.float32)

    def double(self, x: float) -> float:
        return 2 * x * self.gravity


def make() -> gym.Env[Any, Any]:
    return TimeLimit(Walk(), 6)


def make_dict() -> gym.Env[Any, Any]:
    space = spaces.Dict({"a": spaces.Box(-np.inf, np.inf, (2,), np.float32)})
    return gym.wrappers.TransformObservation(make(), lambda obs: {"a": obs}, space)


def make_stateful() -> gym.Env[Any, Any]:
    """Wrappers around one environment, each with a state of its own."""
    env = gym.wrappers.FrameStackObservation(gym.wrappers.DelayObservation(make(), 1), 3)
    return gym.wrappers.NormalizeReward(gym.wrappers.NormalizeObservation(env))


def make_monitored() -> gym.Env[Any, Any]:
    """Monitored below a wrapper that halves the rewards."""
    return gym.wrappers.TransformReward(Monitor(make()), half)


def half(reward: Any) -> float:
    return 0.5 * float(reward)


MODES = list(AutoresetMode)


def vector(n: int, mode: AutoresetMode, copy: bool = True, fn: Any = make) -> SyncVectorEnv:
    return SyncVectorEnv([fn] * n, copy=copy, autoreset_mode=mode)


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fn", [make, make_dict, make_stateful])
def test_equals_dummy_vec_env(mode: AutoresetMode, copy: bool, fn: Any) -> None:
    ours, reference = VectorEnvAdapter(vector(3, mode, copy, fn)), DummyVecEnv([fn] * 3)
    for env in (ours, reference):
        env.seed(7)
    np.testing.assert_equal(ours.reset(), reference.reset())
    rng, ended = np.random.default_rng(0), 0
    for _ in range(40):
        actions = rng.integers(2, size=3)
        (obs, rewards, dones, infos), (obs_2, rewards_2, dones_2, infos_2) = ours.step(actions), reference.step(actions)
        np.testing.assert_equal(obs, obs_2)
        np.testing.assert_equal(rewards, rewards_2)
        assert rewards.dtype == rewards_2.dtype
        np.testing.assert_equal(dones, dones_2)
        for i in range(3):
            assert infos[i]["position"] == infos_2[i]["position"]
            assert infos[i]["TimeLimit.truncated"] is infos_2[i]["TimeLimit.truncated"]
            np.testing.assert_equal(infos[i].get("terminal_observation"), infos_2[i].get("terminal_observation"))
            assert ours.reset_infos[i]["start"] == reference.reset_infos[i]["start"]
            ended += dones[i]
    assert ended > 5


@pytest.mark.parametrize("mode", MODES)
def test_what_was_handed_out_is_not_written_again(mode: AutoresetMode) -> None:
    env = VectorEnvAdapter(vector(2, mode, copy=False))
    handed_out = [env.reset()]
    copies = [handed_out[0].copy()]
    for _ in range(15):
        obs, _, dones, infos = env.step(np.zeros(2, int))
        handed_out += [obs, *(info["terminal_observation"] for info, done in zip(infos, dones, strict=True) if done)]
        copies += [array.copy() for array in handed_out[len(copies) :]]
    np.testing.assert_equal(handed_out, copies)


def test_seeds_and_options() -> None:
    env = VectorEnvAdapter(vector(2, AutoresetMode.NEXT_STEP))
    env.seed(3)
    first = env.reset()
    assert not np.array_equal(first, env.reset()), "a seed is used once"
    env.seed(3)
    np.testing.assert_equal(env.reset(), first)
    env.set_options({"start": 1.0})
    np.testing.assert_equal(env.reset()[:, 0], [1.0, 1.0])


@pytest.mark.parametrize("cls", [SyncVectorEnv, AsyncVectorEnv])
def test_options_that_differ_are_those_of_dummy_vec_env(cls: Any) -> None:
    ours, reference = VectorEnvAdapter(cls([make_monitored] * 4)), DummyVecEnv([make_monitored] * 4)
    each = [{"start": 1.0}, {}, {"start": -1.0}, {"start": np.float64(1.0)}]
    try:
        for seed in (0, 1):  # the first reset of all, and a later one
            for env in (ours, reference):
                env.seed(seed)
                env.set_options(each)
            np.testing.assert_equal(ours.reset(), reference.reset())
            assert ours.reset_infos == reference.reset_infos
            for _ in range(9):
                (obs, *_, infos), (obs_2, *_, infos_2) = ours.step(np.ones(4, int)), reference.step(np.ones(4, int))
                np.testing.assert_equal(obs, obs_2)
                for i in range(4):
                    assert ("episode" in infos[i]) == ("episode" in infos_2[i])
        ours.set_options(each)  # without seeds every environment is reset once
        starts = ours.reset()[:, 0]
        assert starts[[0, 2, 3]].tolist() == [1.0, -1.0, 1.0]
        assert abs(starts[1]) < 1.0
        assert abs(ours.reset()[:, 0]).max() < 1.0, "options are used once"
    finally:
        ours.close()


def test_options_that_differ_reach_a_native_class() -> None:
    envs = VectorEnvAdapter(gym.make_vec("nb_gym:NBPendulum-v0", num_envs=3))
    for _ in range(2):
        envs.set_options([{"theta": 0.5}, {}, {"A": 1.8, "theta": np.array(0.25)}])
        obs = envs.reset()
        assert obs[[0, 2], 0].tolist() == [0.5, 0.25]
        assert [info["context"]["A"] for info in envs.reset_infos] == [1.0, 1.0, 1.8]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([{}], "a list of 2 of these, got 1 of them"),
        ([{}, {}, {}], "got 3 of them"),
        ([{}, 5], r"got \[\{\}, 5\]"),
        ({"reset_mask": np.ones(2, bool)}, "must not hold 'reset_mask'"),
        ([{}, {"reset_mask": np.ones(2, bool)}], "must not hold 'reset_mask'"),
    ],
)
def test_bad_options_are_named(options: Any, message: str) -> None:
    env = VectorEnvAdapter(vector(2, AutoresetMode.NEXT_STEP))
    env.set_options({"start": 1.0})
    with pytest.raises(ValueError, match=message):
        env.set_options(options)
    assert env.reset()[:, 0].tolist() == [1.0, 1.0], "the options before are still there"


def test_training_with_episode_statistics() -> None:
    env = VecMonitor(VectorEnvAdapter(vector(4, AutoresetMode.SAME_STEP)))
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32, seed=0, device="cpu").learn(128)
    assert model.ep_info_buffer is not None
    assert {info["l"] for info in model.ep_info_buffer} <= set(range(1, 7))
    mean, _ = evaluate_policy(model, env, n_eval_episodes=4)
    assert np.isfinite(mean)


def test_equal_options_are_given_at_once() -> None:
    arrays = [{"x": np.array([1, 2]), "y": [1]} for _ in range(3)]
    groups = group_options([*arrays, {"x": np.array([1, 3]), "y": [1]}, {"x": 1}, {"x": True}, {"x": 1.0}, {}, {}])
    assert [mask.nonzero()[0].tolist() for _, mask in groups] == [[0, 1, 2], [3], [4], [5], [6], [7, 8]]


def test_the_mask_can_be_taken_out_by_every_layer() -> None:
    mask = np.array([True, False])
    options = MaskedReset(mask, {"start": 1.0})
    for _ in range(2):
        assert "reset_mask" in options
        assert options["reset_mask"] is options.get("reset_mask") is options.pop("reset_mask") is mask
    for plain in (
        dict(options),
        {**options},
        options.copy(),
        copy.deepcopy(options),
        pickle.loads(pickle.dumps(options)),
    ):
        assert type(plain) is dict
        assert plain == {"start": 1.0}
    assert options.pop("start") == 1.0
    assert options.pop("start", None) is None


def test_masked_infos_are_split() -> None:
    infos = {
        "x": np.array([1, 2]),
        "_x": np.array([True, False]),
        "y": {"z": np.array([3, 4]), "_z": np.array([True, True])},
    }
    assert split_infos(infos, 2) == [{"x": 1, "y": {"z": 3}}, {"y": {"z": 4}}]


def test_only_vector_environments() -> None:
    with pytest.raises(TypeError, match=r"env must be a gymnasium.vector.VectorEnv, got TimeLimit"):
        VectorEnvAdapter(make())  # type: ignore[arg-type]


def test_a_vector_class_that_ignores_the_mask_is_refused_before_it_spoils_the_data() -> None:
    env = VectorEnvAdapter(gym.make_vec("CartPole-v1", num_envs=4, vectorization_mode="vector_entry_point"))
    env.seed(0)
    env.reset()
    rng = np.random.default_rng(0)

    def until_one_ends() -> None:
        for _ in range(100):
            env.step(rng.integers(2, size=4))

    with pytest.raises(RuntimeError, match=r"CartPoleVectorEnv ignores options\['reset_mask'\]"):
        until_one_ends()


def test_an_unknown_way_of_resetting_is_refused() -> None:
    env = vector(2, AutoresetMode.NEXT_STEP)
    env.metadata = {}
    with pytest.raises(ValueError, match=r"autoreset_mode.*got None"):
        VectorEnvAdapter(env)


@pytest.mark.parametrize("shape", [(2, 1), (4, 1), (3,), (3, 2), ()])
def test_actions_of_another_shape_are_refused_before_anything_is_stepped(shape: tuple[int, ...]) -> None:
    env = VectorEnvAdapter(gym.make_vec("Pendulum-v1", num_envs=3))
    env.reset()
    wanted = rf"^actions must have shape \(3, 1\), one row per environment, got {re.escape(str(shape))}$"
    with pytest.raises(ValueError, match=wanted):
        env.step(np.zeros(shape, dtype=np.float32))
