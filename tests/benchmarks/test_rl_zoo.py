"""The zoo's files say what the benchmark's settings say, and the zoo can make of them what the benchmark makes."""

from __future__ import annotations

import importlib
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import yaml
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from benchmarks.methods import find_method
from benchmarks.protocol.environments import ScaledObservation, make_training_env, make_vector_env
from benchmarks.protocol.settings import ALGORITHMS
from benchmarks.protocol.spec import RunSpec
from benchmarks.rl_zoo.write import FOLDER, METHOD, render
from nb_agents import KGateCallback

pytestmark = pytest.mark.parametrize("algo", list(ALGORITHMS))


def named(path: str) -> Any:
    """What a dotted name stands for, looked up as the zoo does."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.fixture
def parts(algo: str) -> dict[str, Any]:
    """The hyperparameters in an algorithm's file; what the zoo consumes itself is looked up."""
    content = yaml.safe_load((FOLDER / f"{algo}.yml").read_text(encoding="utf-8"))
    found: dict[str, Any] = content["NBPendulum-v0"]
    ((wrapper, arguments),) = found.pop("env_wrapper")[0].items()
    assert named(wrapper) is ScaledObservation
    assert named(found.pop("callback")) is KGateCallback
    return found | {"scale": arguments["scale"], "policy": named(found["policy"])}


def test_file_is_up_to_date(algo: str) -> None:
    message = "the settings have changed: run python -m benchmarks rl-zoo"
    assert (FOLDER / f"{algo}.yml").read_text(encoding="utf-8") == render(algo), message


def test_zoo_builds_what_the_benchmark_builds(algo: str, parts: dict[str, Any]) -> None:
    spec = RunSpec(method=METHOD, algo=algo, seed=0, settings=ALGORITHMS[algo]())
    ours = find_method(METHOD).build(spec, make_training_env(spec.settings, spec.source), spec.settings, 0.0)
    env = make_vec_env(
        "nb_gym:NBPendulum-v0",
        parts.pop("n_envs"),
        env_kwargs=parts.pop("env_kwargs"),
        wrapper_class=ScaledObservation,
        wrapper_kwargs={"scale": parts.pop("scale")},
    )
    normalized = VecNormalize(env, **parts.pop("normalize"), gamma=parts["gamma"])
    assert parts.pop("n_timesteps") * spec.settings.frame_skip == spec.pretrain_episodes * 1000
    theirs = type(ours)(env=normalized, seed=0, device="cpu", **parts)
    assert type(theirs.policy) is type(ours.policy)
    assert str(theirs.policy) == str(ours.policy)
    assert settings_of(theirs) == settings_of(ours)
    assert settings_of(theirs.env) | {"render_mode": None} == settings_of(ours.env)
    assert theirs.observation_space == ours.observation_space
    for name, parameter in ours.policy.state_dict().items():
        assert np.array_equal(parameter, theirs.policy.state_dict()[name]), name


def settings_of(thing: Any) -> dict[str, Any]:
    """The attributes that are numbers, texts or the like."""
    kinds = (bool, int, float, str, tuple, type(None))
    return {name: value for name, value in vars(thing).items() if isinstance(value, kinds)}


def test_zoo_shows_what_the_benchmark_shows(algo: str, parts: dict[str, Any]) -> None:
    one = ScaledObservation(gym.make("nb_gym:NBPendulum-v0", A=1.8, **parts["env_kwargs"]), parts["scale"])
    many = make_vector_env(ALGORITHMS[algo](), 1, A=1.8)
    start = {"theta": 3.5, "theta_dot": -4.0}  # far enough to be clipped
    shown, expected = one.reset(options=start)[0], many.reset(options=start)[0][0]
    for torque in np.linspace(-2.0, 2.0, 40, dtype=np.float32):
        assert np.array_equal(shown, expected)
        assert one.observation_space.contains(shown)
        shown, reward, *_ = one.step(np.array([torque]))
        observations, rewards, *_ = many.step(np.array([[torque]]))
        expected = observations[0]
        assert reward == rewards[0]


def test_scale_must_fit_the_observation(algo: str, parts: dict[str, Any]) -> None:
    env = gym.make("nb_gym:NBPendulum-v0", **parts["env_kwargs"])
    for scale in ([1.0], [0.0] * len(parts["scale"])):
        with pytest.raises(ValueError, match="scale must hold a positive number for each channel"):
            ScaledObservation(env, scale)
