"""One pendulum: Gymnasium's interface, episodes, contexts, bad input."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from numpy.testing import assert_array_equal

from nb_gym import Context, NBPendulumEnv, NBPendulumVectorEnv
from nb_gym.pendulum.dynamics import CHANNELS

PUSH = np.array([0.5], dtype=np.float32)


def test_importing_the_world_brings_neither_the_mind_nor_the_drawing() -> None:
    code = "import sys, nb_gym; assert not {'torch', 'stable_baselines3', 'nb_agents', 'pygame'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "kwargs", [{}, {"A": (1.0, 1.8), "observe": tuple(CHANNELS), "frame_skip": 10}, {"render_mode": "rgb_array"}]
)
def test_gymnasium_has_nothing_to_complain_about(kwargs: dict[str, Any]) -> None:
    env = gym.make("nb_gym:NBPendulum-v0", max_torque=1.0, **kwargs)
    check_env(env.unwrapped, skip_render_check="render_mode" not in kwargs)


def test_gymnasium_suggests_normalised_actions_as_for_its_own_pendulum() -> None:
    # Torques are in physical units, as in Pendulum-v1, which gets the same advice and no other.
    for name in ("NBPendulum-v0", "Pendulum-v1"):
        with pytest.warns(UserWarning, match="symmetric and normalized") as warnings:
            check_env(gym.make(name).unwrapped, skip_render_check=True)
        assert len(warnings) == 1


def test_the_variant_for_learning_sees_the_drive_and_returns_the_mean_reward_of_a_decision() -> None:
    env, published = gym.make("NBPendulumControl-v0", A=1.8), gym.make("NBPendulum-v0", A=1.8)
    observation, _ = env.reset(seed=3)
    state, _ = published.reset(seed=3)
    np.testing.assert_array_equal(observation, [*state, 0.0, 1.0])
    _, reward, *_ = env.step(np.array([1.0], np.float32))
    each = [published.step(np.array([1.0], np.float32))[1] for _ in range(20)]
    assert reward == pytest.approx(np.mean(each), rel=1e-12)
    assert gym.make("NBPendulumControl-v0", reward_scale=1.0, frame_skip=1).unwrapped.reward_scale == 1.0


def test_spaces() -> None:
    env = NBPendulumEnv(max_torque=(0.5, 3.0), observe=("cos_theta", "theta", "A"))
    assert env.action_space == gym.spaces.Box(-3.0, 3.0, (1,), np.float32)
    high = np.array([1, 1e6, 1e6], dtype=np.float32)
    assert env.observation_space == gym.spaces.Box(-high, high, dtype=np.float32)


def test_start_is_gaussian_and_seeded() -> None:
    env = NBPendulumEnv()
    starts = np.array([env.reset(seed=seed)[0] for seed in range(2000)])
    assert starts.mean(axis=0) == pytest.approx([0, 0], abs=0.01)
    assert starts.std(axis=0) == pytest.approx([0.1, 0.1], rel=0.06)
    assert_array_equal(env.reset(seed=7)[0], starts[7])
    assert not np.array_equal(env.reset()[0], starts[7])


@pytest.mark.parametrize("frame_skip", [1, 4, 7, 50])
def test_an_episode_has_episode_steps_physics_steps_whatever_the_frame_skip(frame_skip: int) -> None:
    start = {"theta": 0.3, "theta_dot": -0.2, "A": 1.5}
    fine = NBPendulumEnv(episode_steps=30)
    fine.reset(options=start)
    expected = sum(fine.step(PUSH)[1] for _ in range(30))
    env = NBPendulumEnv(frame_skip=frame_skip, episode_steps=30)
    env.reset(options=start)
    total, ends = 0.0, []
    for _ in range(math.ceil(30 / frame_skip)):
        _, reward, terminated, truncated, _ = env.step(PUSH)
        total += reward
        ends.append((terminated, truncated))
    assert env.state == fine.state
    assert env.time == pytest.approx(0.3)
    assert total == pytest.approx(expected, rel=1e-12)
    assert ends == [(False, False)] * (len(ends) - 1) + [(False, True)]
    with pytest.raises(ResetNeeded):
        env.step(PUSH)


def test_gymnasiums_time_limit_comes_on_top() -> None:
    env = gym.make("NBPendulum-v0", max_episode_steps=3)
    env.reset(seed=0)
    assert [env.step(PUSH)[3] for _ in range(3)] == [False, False, True]


def test_a_step_needs_a_reset() -> None:
    with pytest.raises(ResetNeeded):
        NBPendulumEnv().step(PUSH)


def test_torques_beyond_the_limit_are_clipped() -> None:
    env = NBPendulumEnv(max_torque=(0.5, 2.0))
    states = []
    for torque in (1.0, 1e9, np.float32(3.4e38)):
        env.reset(options={"theta": 0.0, "theta_dot": 0.0, "max_torque": 1.0})
        env.step(np.array([torque]))
        states.append(env.state)
    assert states[0] == states[1] == states[2]


def test_observed_channels_mean_what_they_say() -> None:
    env = NBPendulumEnv(observe=CHANNELS, A=1.8, phase=0.4)
    env.reset(seed=1)
    for _ in range(5):
        observation, *_ = env.step(PUSH)
    theta, theta_dot = env.state
    angle = 0.75 * 0.05 + 0.4
    expected = {
        "theta": theta,
        "cos_theta": math.cos(theta),
        "sin_theta": math.sin(theta),
        "theta_dot": theta_dot,
        "sin_drive": math.sin(angle),
        "cos_drive": math.cos(angle),
        **Context(A=1.8, phase=0.4)._asdict(),
    }
    assert observation.dtype == np.float32
    assert dict(zip(CHANNELS, observation.tolist(), strict=True)) == pytest.approx(expected, rel=1e-6)


def test_ranges_are_drawn_at_each_reset_from_the_environments_own_generator() -> None:
    env = NBPendulumEnv(A=(1.0, 1.8), torque_gain=(-1, 1))
    env.reset(seed=0)
    drawn = [env.reset()[1]["context"] for _ in range(200)]
    amplitudes = np.array([context["A"] for context in drawn])
    assert amplitudes.min() >= 1.0
    assert amplitudes.max() <= 1.8
    assert amplitudes.std() == pytest.approx(0.8 / math.sqrt(12), rel=0.15)
    assert {context["b"] for context in drawn} == {0.2}
    env.reset(seed=0)
    assert [env.reset()[1]["context"] for _ in range(200)] == drawn


def test_options_hold_for_one_episode_and_leave_the_later_ones_as_they_were() -> None:
    env = NBPendulumEnv(A=1.2)
    env.reset(seed=5)
    plain = [env.reset()[0] for _ in range(2)]
    env.reset(seed=5)
    observation, info = env.reset(options={"A": 1.8, "theta": 0.5, "theta_dot": (0.1, 0.2)})
    assert info["context"]["A"] == env.context.A == 1.8
    assert observation[0] == 0.5
    assert 0.1 <= observation[1] <= 0.2
    assert env.step(PUSH)[4]["context"] == env.context._asdict()
    observation, info = env.reset()
    assert info["context"]["A"] == 1.2
    # A range consumes a draw, numbers do not.
    env.reset(seed=5)
    env.reset(options={"A": 1.8, "theta": 0.5})
    assert_array_equal(env.reset()[0], plain[1])


@pytest.mark.parametrize("make", [NBPendulumEnv, NBPendulumVectorEnv])
def test_durations_are_set_when_the_environment_is_made(make: Any) -> None:
    env = make(frame_skip=2, episode_steps=10)
    for name, value in (("frame_skip", 2), ("episode_steps", 10)):
        with pytest.raises(AttributeError, match=name):
            setattr(env, name, 5)
        assert getattr(env, name) == value


@pytest.mark.parametrize("make", [NBPendulumEnv, NBPendulumVectorEnv])
def test_before_the_first_reset_there_is_no_state_to_ask_for(make: Any) -> None:
    env = make()
    for each in (env, copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        for name in ("state", "time", "context"):
            with pytest.raises(
                ResetNeeded, match=rf"there is no {name} before the first episode: call reset\(\) first"
            ):
                getattr(each, name)
            assert not hasattr(each, name)
            each_reset = copy.deepcopy(each)
            each_reset.reset(seed=0)
            assert hasattr(each_reset, name)


def test_info_is_the_callers_to_change() -> None:
    env = NBPendulumEnv()
    _, info = env.reset(seed=0)
    info["context"]["A"] = 99.0
    assert env.step(PUSH)[4]["context"]["A"] == 1.0


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_go_on_where_the_original_is(clone: Any) -> None:
    env = gym.make("NBPendulum-v0", A=(1.0, 1.8), render_mode="rgb_array")
    env.reset(seed=3)
    env.step(PUSH)
    env.render()
    twin = clone(env)
    for _ in range(3):
        ours, theirs = env.step(PUSH), twin.step(PUSH)
        assert_array_equal(ours[0], theirs[0])
        assert ours[1:] == theirs[1:]
    assert_array_equal(env.render(), twin.render())
    assert_array_equal(env.reset()[0], twin.reset()[0])


def test_the_spec_makes_the_same_environment_again() -> None:
    env = gym.make("NBPendulum-v0", A=(1.0, 1.8), observe=("theta", "A"), frame_skip=2)
    assert env.spec is not None
    twin = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert_array_equal(env.reset(seed=4)[0], twin.reset(seed=4)[0])


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"A": math.nan}, ValueError, "A must be finite, .* got nan"),
        ({"A": math.inf}, ValueError, "A must be finite, .* got inf"),
        ({"A": 1e7}, ValueError, r"A must be finite, at most 1e\+06 in absolute value, got 10000000.0"),
        ({"A": "1.8"}, ValueError, r"A must be a number or a \(low, high\) range, got '1.8'"),
        ({"A": None}, ValueError, "A must be a number"),
        ({"A": True}, ValueError, "A must be a number"),
        ({"A": (1.8, 1.0)}, ValueError, r"A must be a \(low, high\) range with low <= high, got \(1.8, 1.0\)"),
        ({"A": (1.0, 1.4, 1.8)}, ValueError, "A must be a number"),
        ({"A": (1.0, (1.0, 2.0))}, ValueError, "A must be a number"),
        ({"A": np.array([1.0, 1.8])}, ValueError, "A must be a number"),
        ({"b": -0.1}, ValueError, "b must be at least 0, got -0.1"),
        ({"b": (-0.1, 0.2)}, ValueError, "b must be at least 0"),
        ({"dt": 0.0}, ValueError, "dt must be greater than 0, got 0.0"),
        ({"max_torque": -2}, ValueError, "max_torque must be greater than 0, got -2"),
        ({"b": 3.0, "dt": (0.1, 1.0)}, ValueError, "b . dt must be less than 2"),
        ({"gravity": 9.8}, TypeError, "unexpected keyword argument 'gravity'; context parameters are .'A', 'b'"),
        ({"frame_skip": 0}, ValueError, "frame_skip must be an integer of at least 1, got 0"),
        ({"frame_skip": 2.0}, ValueError, "frame_skip must be an integer"),
        ({"episode_steps": -5}, ValueError, "episode_steps must be an integer"),
        ({"observe": ()}, ValueError, r"observe must name one or more of .*, got \(\)"),
        ({"observe": ("theta", "speed")}, ValueError, "observe must name .*'speed'"),
        ({"observe": ("theta", "theta")}, ValueError, "each once"),
        ({"observe": None}, ValueError, "observe must name .* got None"),
        ({"observe": 5}, ValueError, "observe must name .* got 5"),
        ({"observe": [["theta"]]}, ValueError, r"observe must name .* got \[\['theta'\]\]"),
        *(
            ({"reward_scale": value}, ValueError, "reward_scale must be a number greater than 0, .* got")
            for value in (0.0, -1, math.nan, math.inf, True, "1", None, 10**400)
        ),
        ({"render_mode": "ansi"}, ValueError, "render_mode must be None or one of .*got 'ansi'"),
    ],
)
def test_bad_arguments(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        NBPendulumEnv(**kwargs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"a": 1.0}, "unknown reset option 'a'; accepted are .'A'.*'theta_dot'"),
        ({"A": math.nan}, "A must be finite"),
        ({"theta": "up"}, "theta must be a number"),
        ({"theta_dot": np.zeros(2)}, "theta_dot must be a number"),
        ({"max_torque": 2.5}, "max_torque of an episode must be within the action space, at most 2.0, got 2.5"),
        ({"b": 300.0}, "b . dt must be less than 2"),
        ({"reset_mask": np.array([True])}, "unknown reset option 'reset_mask'"),
        (["A"], r"options must be a mapping of names to values, or None, got \['A'\]"),
        ([], r"options must be a mapping"),
        (5, r"options must be a mapping"),
    ],
)
def test_bad_options_change_nothing(options: Any, message: str) -> None:
    env, twin = NBPendulumEnv(), NBPendulumEnv()
    for each in (env, twin):
        each.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.reset(seed=1, options=options)
    assert_array_equal(env.step(PUSH)[0], twin.step(PUSH)[0])
    assert_array_equal(env.reset()[0], twin.reset()[0])


@pytest.mark.parametrize(
    "action",
    [0.5, [[0.5]], [0.5, 0.5], [], [math.nan], [math.inf], [-math.inf], ["1"], [None], [True], [1j], [[0], [0, 0]]],
)
def test_bad_actions_change_nothing(action: Any) -> None:
    env = NBPendulumEnv()
    env.reset(seed=0)
    before = env.state, env.time
    with pytest.raises(ValueError, match=r"action must be finite numbers, an array of shape \(1,\), got"):
        env.step(action)
    assert (env.state, env.time) == before
