"""Many pendulums: autoreset, seeds, contexts, buffers, bad input."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.testing import assert_array_equal

from nb_gym import NBPendulumEnv, NBPendulumVectorEnv

MODES = list(AutoresetMode)


def push(num_envs: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-2, 2, (num_envs, 1)).astype(np.float32)


def assert_same_info(ours: dict[str, Any], theirs: dict[str, Any], where: np.ndarray | None = None) -> None:
    """Equal keys and masks, and equal values wherever a mask says that there are any."""
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        if isinstance(value, dict):
            assert_same_info(ours[key], value, theirs[f"_{key}"])
        elif key.startswith("_"):
            assert_array_equal(ours[key], value)
        else:
            for i in np.flatnonzero(theirs[f"_{key}"]):
                assert_array_equal(ours[key][i], value[i])


def leaves(thing: Any) -> list[Any]:
    """The arrays and numbers in nested lists, tuples, dictionaries and object arrays."""
    if isinstance(thing, dict):
        return leaves(list(thing.values()))
    if isinstance(thing, (list, tuple)) or (isinstance(thing, np.ndarray) and thing.dtype == object):
        return [leaf for part in thing for leaf in leaves(part)]
    return [thing]


def test_make_vec_makes_the_native_class() -> None:
    envs = gym.make_vec("nb_gym:NBPendulum-v0", num_envs=5, A=np.linspace(1, 1.8, 5), max_episode_steps=3, frame_skip=2)
    assert isinstance(envs, NBPendulumVectorEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert envs.observation_space.shape == (5, 2)
    assert envs.single_action_space == NBPendulumEnv().action_space
    envs.reset(seed=0)
    assert [envs.step(push(5))[3].all() for _ in range(3)] == [False, False, True]
    assert_array_equal(envs.time, 0.06)


def test_each_instance_has_its_own_autoreset_mode() -> None:
    modes = [NBPendulumVectorEnv(autoreset_mode=mode).metadata["autoreset_mode"] for mode in (*MODES, "SameStep")]
    assert modes == [*MODES, AutoresetMode.SAME_STEP]
    assert "autoreset_mode" not in NBPendulumVectorEnv.metadata


@pytest.mark.parametrize("mode", MODES)
def test_autoreset_and_reset_mask_are_gymnasiums(mode: AutoresetMode, monkeypatch: pytest.MonkeyPatch) -> None:
    # SyncVectorEnv draws from one generator per environment; without noise at the start nothing is left to differ.
    monkeypatch.setattr("nb_gym.pendulum.settings.START_STD", 0.0)
    kwargs: dict[str, Any] = {"A": 1.8, "frame_skip": 5, "episode_steps": 12}
    ours = NBPendulumVectorEnv(3, autoreset_mode=mode, **kwargs)
    theirs = SyncVectorEnv([lambda: NBPendulumEnv(**kwargs)] * 3, autoreset_mode=mode)
    over = np.zeros(3, dtype=bool)
    for t in range(24):
        options: dict[str, Any] | None = None
        if mode is AutoresetMode.DISABLED and over.any():
            options = {"reset_mask": over}
        elif t in (7, 16):
            options = {"reset_mask": np.array([t == 7, True, False]), "A": 1.3, "theta": 0.5}
        if t == 0 or options is not None:
            observations, info = ours.reset(options=copy.copy(options))
            expected, expected_info = theirs.reset(options=options)
            assert_array_equal(observations, expected)
            assert_same_info(info, expected_info)
        actions = push(3, t)
        *results, info = ours.step(actions)
        *expected_results, expected_info = theirs.step(actions)
        for result, expected in zip(results, expected_results, strict=True):
            assert result.dtype == expected.dtype
            assert_array_equal(result, expected)
        assert_same_info(info, expected_info)
        over = results[3]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_one_environment_draws_its_episodes_like_a_single_one(mode: AutoresetMode) -> None:
    kwargs: dict[str, Any] = {"A": (1.0, 1.8), "omega": (0.5, 1.0), "episode_steps": 4, "observe": ("theta", "A")}
    ours = NBPendulumVectorEnv(1, autoreset_mode=mode, **kwargs)
    theirs = SyncVectorEnv([lambda: NBPendulumEnv(**kwargs)], autoreset_mode=mode)
    assert_array_equal(ours.reset(seed=9)[0], theirs.reset(seed=9)[0])
    for t in range(15):
        *results, info = ours.step(push(1, t))
        *expected, expected_info = theirs.step(push(1, t))
        assert [result.tolist() for result in results] == [result.tolist() for result in expected]
        assert_same_info(info, expected_info)


def test_a_list_of_seeds_starts_each_environment_as_a_single_one() -> None:
    context: dict[str, Any] = {"A": (1.0, 1.8), "dt": 0.02}
    envs = NBPendulumVectorEnv(3, b=np.array([0.1, 0.2, 0.3]), **context)
    seeds = [11, 5, 11]
    observations, info = envs.reset(seed=seeds)
    assert envs.context.dt == 0.02
    for i, seed in enumerate(seeds):
        observation, single_info = NBPendulumEnv(b=[0.1, 0.2, 0.3][i], **context).reset(seed=seed)
        assert_array_equal(observations[i], observation)
        assert {name: info["context"][name][i] for name in single_info["context"]} == single_info["context"]
    later = envs.reset()[0]
    envs.reset(seed=seeds)
    assert_array_equal(envs.reset()[0], later)
    assert_array_equal(envs.reset(seed=np.int64(7))[0], envs.reset(seed=7)[0])
    observations, _ = envs.reset(seed=[5, None, 5])
    assert_array_equal(observations[0], observations[2])
    assert not np.array_equal(observations[0], observations[1])


def test_ranges_and_starts_are_drawn_anew_at_each_autoreset() -> None:
    envs = NBPendulumVectorEnv(64, A=(1.0, 1.8), episode_steps=2, autoreset_mode="SameStep")
    observations, info = envs.reset(seed=0)
    starts, amplitudes = [observations], [info["context"]["A"]]
    for _ in range(10):
        envs.step(push(64))
        observations, _, _, _, info = envs.step(push(64))
        starts.append(observations)
        amplitudes.append(info["context"]["A"])
        assert_array_equal(envs.context.A, amplitudes[-1])
    assert len(np.unique(starts)) > 1400
    assert len(np.unique(amplitudes)) == 11 * 64
    assert np.std(starts) == pytest.approx(0.1, rel=0.1)
    assert 1.0 <= np.min(amplitudes) < 1.05 < 1.75 < np.max(amplitudes) <= 1.8


def test_options_hold_for_one_episode() -> None:
    envs = NBPendulumVectorEnv(2, A=1.2, episode_steps=1, autoreset_mode="SameStep")
    options = {"A": np.array([1.4, 1.8]), "theta": 0.5, "theta_dot": np.array([0.0, -1.0])}
    observations, info = envs.reset(seed=0, options=options)
    assert_array_equal(observations, [[0.5, 0.0], [0.5, -1.0]])
    assert_array_equal(info["context"]["A"], [1.4, 1.8])
    _, _, _, _, info = envs.step(push(2))
    assert_array_equal(info["final_info"]["context"]["A"], [1.4, 1.8])
    assert_array_equal(info["context"]["A"], [1.2, 1.2])
    assert envs.context.A == 1.2


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("num_envs", [2, 40])
def test_nothing_handed_out_is_written_again(mode: AutoresetMode, num_envs: int) -> None:
    envs = NBPendulumVectorEnv(num_envs, A=(1.0, 1.8), episode_steps=3, autoreset_mode=mode, render_mode="rgb_array")
    some = np.arange(num_envs) == 1
    handed_out: list[Any] = [envs.reset(seed=0)]
    kept = copy.deepcopy(handed_out)
    for t in range(9):
        actions = push(num_envs, t)
        before = actions.copy()
        handed_out.append((envs.step(actions), envs.state, envs.time, envs.context))
        assert_array_equal(actions, before)
        kept.append(copy.deepcopy(handed_out[-1]))
        if t == 4:
            handed_out.append(envs.reset(options={"reset_mask": some, "A": 1.5}))
            kept.append(copy.deepcopy(handed_out[-1]))
    for ours, theirs in zip(leaves(handed_out), leaves(kept), strict=True):
        assert_array_equal(ours, theirs)


def test_the_context_is_only_to_be_read() -> None:
    envs = NBPendulumVectorEnv(3, A=(1.0, 1.8), b=np.array([0.1, 0.2, 0.3]))
    envs.reset(seed=0)
    for each in (envs, copy.deepcopy(envs)):
        for _ in range(2):
            for values in (each.context.A, each.context.b, each.reset()[1]["context"]["A"]):
                with pytest.raises(ValueError, match="read-only"):
                    values[0] = 99.0
            each.reset(options={"reset_mask": np.array([True, False, False])})


def test_copies_go_on_where_the_original_is() -> None:
    envs = NBPendulumVectorEnv(4, A=(1.0, 1.8), episode_steps=3)
    envs.reset(seed=3)
    envs.step(push(4))
    for twin in (copy.deepcopy(envs), pickle.loads(pickle.dumps(envs))):
        mine = copy.deepcopy(envs)
        for t in range(5):
            for ours, theirs in zip(mine.step(push(4, t))[:4], twin.step(push(4, t))[:4], strict=True):
                assert_array_equal(ours, theirs)


def test_gymnasiums_vector_wrappers_work_on_it() -> None:
    envs: Any = NBPendulumVectorEnv(2, episode_steps=4)
    envs = gym.wrappers.vector.RecordEpisodeStatistics(gym.wrappers.vector.NormalizeObservation(envs))
    envs.reset(seed=0)
    for _ in range(4):
        *_, info = envs.step(push(2))
    assert_array_equal(info["episode"]["l"], [4, 4])


@pytest.mark.parametrize("mode", MODES)
def test_a_step_needs_a_running_episode(mode: AutoresetMode) -> None:
    envs = NBPendulumVectorEnv(2, episode_steps=1, autoreset_mode=mode)
    with pytest.raises(ResetNeeded):
        envs.step(push(2))
    with pytest.raises(ResetNeeded, match="leave reset_mask out"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    envs.reset(seed=0)
    envs.step(push(2))
    if mode is AutoresetMode.DISABLED:
        with pytest.raises(ResetNeeded, match=r"environments \[0, 1\]"):
            envs.step(push(2))
    else:
        envs.step(push(2))


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"num_envs": 0}, ValueError, "num_envs must be an integer of at least 1, got 0"),
        ({"A": np.ones(2)}, ValueError, r"A must be .* or an array of shape \(3,\), got array"),
        ({"A": [1.0, 1.4, 1.8]}, ValueError, r"A must be .* or an array of shape \(3,\), got \[1.0, 1.4, 1.8\]"),
        ({"A": np.ones((3, 1))}, ValueError, "A must be"),
        ({"A": np.array([1.0, np.nan, 1.0])}, ValueError, "A must be finite"),
        ({"b": np.array([0.2, 0.2, -0.2])}, ValueError, "b must be at least 0"),
        ({"dt": np.array([0.01, 0.0, 0.01])}, ValueError, "dt must be greater than 0"),
        ({"gravity": 1.0}, TypeError, "gravity"),
        ({"max_episode_steps": 0}, ValueError, "max_episode_steps must be an integer of at least 1, got 0"),
        ({"autoreset_mode": "Sometimes"}, ValueError, "autoreset_mode must be one of .*'NextStep'.*got 'Sometimes'"),
        ({"render_mode": "human"}, ValueError, "render_mode must be None or one of .'rgb_array'., got 'human'"),
    ],
)
def test_bad_arguments(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        NBPendulumVectorEnv(**{"num_envs": 3, **kwargs})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"options": {"mask": np.ones(3, dtype=bool)}}, "unknown reset option 'mask'"),
        ({"options": {"A": np.ones(4)}}, "A must be"),
        ({"options": ["A"]}, r"options must be a mapping of names to values, or None, got \['A'\]"),
        ({"options": {"reset_mask": [True, True, False]}}, "reset_mask must be a boolean array of shape"),
        ({"options": {"reset_mask": np.ones(3)}}, "reset_mask must be a boolean array of shape"),
        ({"options": {"reset_mask": np.zeros(3, dtype=bool)}}, "with at least one True"),
        ({"options": {"reset_mask": np.ones(2, dtype=bool)}}, r"of shape \(3,\)"),
        ({"seed": [1, 2]}, "seed must be an integer or a sequence of 3 integers"),
        ({"seed": [1, 2, -3]}, "seed must be an integer or a sequence of 3 integers"),
        ({"seed": 1.5}, "seed must be an integer"),
        ({"seed": "abc"}, "seed must be an integer"),
    ],
)
def test_bad_resets_change_nothing(arguments: dict[str, Any], message: str) -> None:
    envs, twins = NBPendulumVectorEnv(3), NBPendulumVectorEnv(3)
    for each in (envs, twins):
        each.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        envs.reset(**{"seed": 1, **arguments})
    assert_array_equal(envs.step(push(3))[0], twins.step(push(3))[0])
    assert_array_equal(envs.reset()[0], twins.reset()[0])


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros(3),
        np.zeros((2, 1)),
        np.zeros((3, 2)),
        np.full((3, 1), math.nan),
        [[0], [math.inf], [0]],
        [[0], [0, 0], [0]],
        "up",
        [["1.0"], ["2.0"], ["0.0"]],
        np.ones((3, 1), dtype=bool),
        np.ones((3, 1), dtype=complex),
        [[None], [0], [0]],
    ],
)
def test_bad_actions_change_nothing(bad: Any) -> None:
    envs = NBPendulumVectorEnv(3)
    envs.reset(seed=0)
    before = envs.state
    with pytest.raises(ValueError, match=r"actions must be finite numbers, an array of shape \(3, 1\), got"):
        envs.step(bad)
    assert_array_equal(envs.state, before)
    assert_array_equal(envs.time, 0.0)
