"""What may be set of a robot, in which forms, and what is refused."""

from __future__ import annotations

import math
import pickle
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from numpy.testing import assert_array_equal
from scipy import stats

from nb_gym.mujoco import TASKS, NBMujocoEnv, NBMujocoVectorEnv
from nb_gym.wrappers import ContextObservation
from nb_gym.wrappers.vector import ContextObservation as VectorContextObservation
from tests.nb_gym.mujoco.robots import ROBOTS, make, make_vec


@pytest.mark.filterwarnings("ignore:.*A Box observation space")  # Gymnasium's own robots have no bounds either
@pytest.mark.parametrize("robot", ROBOTS)
def test_gymnasiums_checker_accepts_them(robot: str) -> None:
    check_env(make(robot, gravity=(0.5, 1.0)), skip_render_check=True)


def test_ranges_are_drawn_afresh_and_from_the_environments_generator() -> None:
    env = make("Reacher", gravity=(0.5, 1.5), mass=("log", 0.1, 10.0))
    drawn = [env.reset(seed=0 if i == 0 else None)[1]["context"] for i in range(300)]
    gravity, mass = ([context[name] for context in drawn] for name in ("gravity", "mass"))
    assert stats.kstest(gravity, stats.uniform(0.5, 1.0).cdf).pvalue > 0.01
    assert stats.kstest(mass, stats.loguniform(0.1, 10.0).cdf).pvalue > 0.01
    assert abs(np.corrcoef(gravity, mass)[0, 1]) < 0.15
    assert env.reset(seed=7)[1] == env.reset(seed=7)[1]
    assert env.context_ranges == {"gravity": (0.5, 1.5), "mass": (0.1, 10.0)}
    assert env.reset()[1]["context"]["gravity"] != env.reset()[1]["context"]["gravity"]


def test_options_hold_for_one_episode() -> None:
    env = make("Hopper", mass=2.0)
    env.reset(seed=0)
    mass = env.robot.model.body("torso").mass[0]
    env.reset(options={"mass": 1.0, "gain_foot_joint": (0.2, 0.3), "target_velocity": 1.5})
    assert env.robot.model.body("torso").mass[0] == mass / 2
    assert 0.2 <= env.context["gain_foot_joint"] <= 0.3
    assert env.context["target_velocity"] == 1.5
    env.reset()
    assert env.robot.model.body("torso").mass[0] == mass
    assert "gain_foot_joint" not in env.context


def test_the_vector_class_takes_arrays_and_reports_them() -> None:
    gains = np.array([1.0, 0.0, -1.0])
    envs = make_vec("HalfCheetah", 3, gain=gains, direction=np.array([1.0, -1.0, 1.0]), mass_torso=(1.0, 2.0))
    _, info = envs.reset(seed=0)
    assert_array_equal(info["context"]["gain"], gains)
    assert_array_equal(envs.context["direction"], [1.0, -1.0, 1.0])
    assert len(set(info["context"]["mass_torso"])) == 3
    assert info["context"]["_gain"].all()
    gears = [env.model.actuator_gear[0, 0] for env in envs.robots]
    assert gears == [120.0, 0.0, -120.0]
    envs.reset(options={"gain": np.array([0.5, 0.5, 2.0])})
    assert [env.model.actuator_gear[0, 0] for env in envs.robots] == [60.0, 60.0, 240.0]
    with pytest.raises(
        ValueError, match=re.escape("gain must be a number or a (low, high) range or an array of shape (3,)")
    ):
        envs.reset(options={"gain": np.ones(2)})


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"mass": 0.0}, ValueError, "mass must be greater than 0, got 0.0"),
    ({"mass_torso": -1.0}, ValueError, "mass_torso must be greater than 0, got -1.0"),
    ({"size": (0.0, 1.0)}, ValueError, "size must be greater than 0"),
    ({"friction": -0.1}, ValueError, "friction must be at least 0, got -0.1"),
    ({"damping_bfoot": -1.0}, ValueError, "damping_bfoot must be at least 0"),
    ({"armature": -1.0}, ValueError, "armature must be at least 0"),
    ({"noise": -1.0}, ValueError, "noise must be at least 0"),
    ({"gravity": math.nan}, ValueError, "gravity must be finite"),
    ({"gravity": "low"}, ValueError, "gravity must be a number"),
    ({"mass": ("log", 0.0, 1.0)}, ValueError, r"mass must be greater than 0"),
    ({"gain": ("log", -1.0, 1.0)}, ValueError, r"gain must be a \('log', low, high\) range with low > 0"),
    ({"gain": ("log", 2.0, 1.0)}, ValueError, "low <= high"),
    ({"direction": 0.5}, ValueError, "direction must be 1 or -1"),
    ({"direction": (-1, 1)}, ValueError, "direction must be 1 or -1"),
    ({"mass_tail": 2.0}, ValueError, "there is no body 'tail' whose mass could be set; there are .*'torso', 'bthigh'"),
    ({"gain_tail": 2.0}, ValueError, "there is no actuator 'tail' .*'bthigh', 'bshin', 'bfoot'"),
    ({"damping_tail": 2.0}, ValueError, "there is no joint 'tail' .*'rootx'"),
    ({"sensor_tail": 0.0}, ValueError, "there is no observation 'tail' .*'rootz', 'rooty', 'bthigh'"),
    ({"noise_x": 0.1}, ValueError, "there is no observation 'x'"),
    ({"heading": 1.0}, ValueError, "heading cannot be set: .*it has .*'direction', 'target_velocity'"),
    ({"weight": 1.0}, TypeError, "unexpected keyword argument 'weight'.*'ctrl_cost_weight'.*'gravity', 'friction'"),
    ({"episode_steps": 0}, ValueError, "episode_steps must be an integer of at least 1"),
    ({"frame_size": 5}, ValueError, "frame_size must be an integer from"),
]


@pytest.mark.parametrize(("kwargs", "error", "message"), BAD)
def test_bad_arguments(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make("HalfCheetah", **kwargs)
    with pytest.raises(error, match=message.replace(", got -0.1", "")):
        make_vec("HalfCheetah", 2, **kwargs)


def test_bad_options_change_nothing() -> None:
    env = make("HalfCheetah")
    env.reset(seed=0)
    before = env.step(np.zeros(6, dtype=np.float32))
    for options, message in (
        ({"mass": -1}, "mass must be greater than 0"),
        ({"mass_tail": 1}, "there is no body 'tail'"),
        ({"weight": 1}, "unknown reset option 'weight'; context parameters are"),
        ({"ctrl_cost_weight": 1}, "unknown reset option 'ctrl_cost_weight'"),
        ("mass", "options must be a mapping"),
    ):
        with pytest.raises(ValueError, match=message):
            env.reset(options=options)
    assert_array_equal(env._observation(), before[0])
    assert env.context == before[4]["context"]
    with pytest.raises(ValueError, match="target_velocity cannot be set: this robot's reward has none"):
        make("Reacher", target_velocity=1.0)
    with pytest.raises(ValueError, match="threads must be an integer of at least 1, got 0"):
        make_vec("Reacher", 2, threads=0)


def test_steps_want_a_running_episode() -> None:
    env = make("Reacher", episode_steps=2)
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(2))
    assert not hasattr(env, "context")
    env.reset(seed=0)
    assert [env.step(np.zeros(2))[3] for _ in range(2)] == [False, True]
    with pytest.raises(ResetNeeded):
        env.step(np.zeros(2))
    with pytest.raises(ValueError, match="action must be finite"):
        make("Reacher").reset() and env.reset() and env.step(np.array([np.nan, 0.0]))


def test_context_can_be_observed() -> None:
    env = ContextObservation(make("HalfCheetah", gain_bthigh=(-1.0, 1.0), mass_torso=("log", 0.5, 2.0)))
    observation, info = env.reset(seed=0)
    assert observation.shape == (19,)
    assert observation[17] == pytest.approx(info["context"]["gain_bthigh"], abs=1e-6)
    envs = VectorContextObservation(make_vec("HalfCheetah", 2, gain=np.array([0.5, -0.5])), {"gain": (-1.0, 1.0)})
    assert_array_equal(envs.reset(seed=0)[0][:, 17], np.float32([0.5, -0.5]))


def test_a_copy_is_a_fresh_robot_of_the_same_arguments() -> None:
    """As it is of Gymnasium's own."""
    env = make("Hopper", mass=("log", 0.5, 2.0))
    envs = make_vec("Hopper", 2, mass=np.array([1.0, 2.0]), threads=1)
    for each, copied in ((env, pickle.loads(pickle.dumps(env))), (envs, pickle.loads(pickle.dumps(envs)))):
        expected, found = each.reset(seed=0), copied.reset(seed=0)
        assert_array_equal(found[0], expected[0])
        assert_array_equal(found[1]["context"]["mass"], expected[1]["context"]["mass"])


def test_specs_make_the_same_robot_again() -> None:
    env = gym.make("NBHopper-v0", mass=2.0, episode_steps=7)
    again = gym.make(env.spec)  # type: ignore[arg-type]
    assert again.unwrapped._settings == env.unwrapped._settings  # type: ignore[attr-defined]
    assert env.spec.max_episode_steps == 7  # type: ignore[union-attr]
    assert isinstance(env.unwrapped, NBMujocoEnv)
    envs = gym.make_vec("NBReacher-v0", num_envs=2)
    assert isinstance(envs.unwrapped, NBMujocoVectorEnv)
    assert envs.spec.max_episode_steps == 50  # type: ignore[union-attr]


@pytest.mark.parametrize("name", TASKS)
def test_named_tasks_are_what_they_say(name: str) -> None:
    task = TASKS[name]
    env = task.make()
    context = env.reset(seed=0)[1]["context"]
    given = {key: value for key, value in task.kwargs.items() if key in context}
    for key, value in given.items():
        low, high = value[-2:] if isinstance(value, tuple) else (value, value)
        assert low <= context[key] <= high
    rest = {key: value for key, value in context.items() if key not in given}
    assert rest == {key: 0.0 if key == "noise" else 1.0 for key in rest}
    assert task.source


def test_tasks_that_papers_describe() -> None:
    """Numbers copied from the papers' code."""
    kwargs = {name: task.kwargs for name, task in TASKS.items()}
    assert kwargs["HalfCheetah/moon"] == {"gravity": 0.15}
    assert kwargs["HalfCheetah/carry_stuff_hugegravity"] == {"mass_torso": 4.0, "gravity": 1.5}
    assert kwargs["HalfCheetah/hugefoot_rainfall"] == {"mass_bfoot": 1.5, "mass_ffoot": 1.5, "friction": 0.4}
    assert kwargs["HalfCheetah/crippled_forelegs"] == {"gain_fthigh": 0.0, "gain_fshin": 0.0, "gain_ffoot": 0.0}
    assert kwargs["Ant/disabled_first_diagonal"] == {
        f"gain_{part}_{leg}": 0.0 for leg in (1, 3) for part in ("hip", "ankle")
    }
    assert kwargs["Hopper/rand_param"]["damping_foot_joint"] == ("log", 1.3**-3, 1.3**3)
    assert kwargs["HalfCheetah/velocity"] == {
        "episode_steps": 200,
        "ctrl_cost_weight": 0.05,
        "target_velocity": (0.0, 3.0),
    }
    lost = [name for name in kwargs["HalfCheetah/defective_module"] if name.startswith("sensor_")]
    assert len(lost) == 8  # of 17: height and pitch stand for three of Brax's 18


def test_velocity_and_direction_are_paid_for_as_published() -> None:
    action = np.full(6, 0.5, dtype=np.float32)
    for name, paid in (
        ("forward", lambda v: v),
        ("backward", lambda v: -v),
        ("velocity", lambda v: -abs(v - 1.25)),
    ):
        env = TASKS[f"HalfCheetah/{name}"].make(**({"target_velocity": 1.25} if name == "velocity" else {}))
        env.reset(seed=0)
        _, reward, _, _, info = env.step(action)
        assert reward == pytest.approx(paid(info["x_velocity"]) - 0.05 * 6 * 0.25, rel=1e-6)
        assert info["reward_forward"] == pytest.approx(paid(info["x_velocity"]))
    ant = TASKS["Ant/direction"].make(heading=math.pi / 2)
    ant.reset(seed=0)
    _, reward, _, _, info = ant.step(ant.action_space.sample())
    assert info["reward_forward"] == pytest.approx(info["y_velocity"])
    parts = [info[f"reward_{part}"] for part in ("forward", "ctrl", "contact", "survive")]
    assert reward == pytest.approx(sum(parts))
