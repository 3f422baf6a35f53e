"""Hyperparameters as the RL zoo writes them, and options from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gymnasium import spaces
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.noise import NormalActionNoise
from torch import nn

from nb_agents import compare
from nb_agents.comparison.settings import (
    action_noise,
    algorithm,
    arguments,
    check_settings,
    normalisation,
    read_settings,
)

ENTRIES = """
default: &all
  n_timesteps: !!float 1e6
Aim-v0:
  <<: *all
  n_envs: 4
  normalize: "dict(norm_obs=True, norm_reward=False)"
  policy: MlpPolicy
  learning_rate: lin_3e-4
  clip_range: 1e-1
  policy_kwargs: "dict(log_std_init=-2, activation_fn=nn.ReLU, net_arch=dict(pi=[8, 8], vf=[8]))"
Wrapped-v0:
  env_wrapper: some.Wrapper
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ppo.yml"
    path.write_text(ENTRIES)
    return path


def test_an_entry_of_the_zoos_becomes_arguments(file: Path) -> None:
    settings = read_settings("PPO", "Aim-v0", str(file))
    assert settings.pop("n_timesteps") == 1e6
    check_settings(PPO, settings)
    made = arguments(settings)
    assert made["learning_rate"](0.5) == pytest.approx(1.5e-4)
    assert made["clip_range"] == 0.1
    expected = {"log_std_init": -2, "activation_fn": nn.ReLU, "net_arch": {"pi": [8, 8], "vf": [8]}}
    assert made["policy_kwargs"] == expected
    assert made.keys() == {"learning_rate", "clip_range", "policy_kwargs"}
    assert settings["n_envs"] == 4
    assert normalisation(settings) == {"norm_obs": True, "norm_reward": False}
    assert normalisation({"normalize": True, "gamma": 0.9}) == {"gamma": 0.9}
    assert normalisation({}) is None
    assert normalisation({"normalize": "{'norm_obs': True}"}) == {"norm_obs": True}
    noise = action_noise({"noise_type": "normal", "noise_std": 0.1}, spaces.Box(-1.0, 1.0, (3,)))["action_noise"]
    assert isinstance(noise, NormalActionNoise)
    assert noise().shape == (3,)
    assert action_noise({}, spaces.Discrete(2)) == {}
    assert arguments({"train_freq": [1, "episode"]}) == {"train_freq": (1, "episode")}
    assert read_settings("PPO", "Other-v0", str(file), like="Aim-v0")["n_envs"] == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"env_wrapper": "x"}, "setting env_wrapper cannot be used: write --wrapper"),
        ({"lr": 1.0}, "setting lr is none of PPO's: .*learning_rate"),
        ({"learning_rate": "lin_much"}, "setting learning_rate must be a number, or lin_NUMBER; got 'lin_much'"),
        ({"policy_kwargs": "dict(x=open('a'))"}, r"setting policy_kwargs must be dict\(...\) of numbers"),
        ({"policy_kwargs": "dict(**{})"}, r"setting policy_kwargs must be dict\(...\)"),
        ({"policy_kwargs": "dict(activation_fn=nn.None)"}, r"setting policy_kwargs must be dict\(...\)"),
        ({"noise_type": "normal"}, "setting noise_type must be normal or .*; got 'normal' for PPO"),
        ({"n_envs": 0}, "setting n_envs must be a whole number of at least 1, got 0"),
        ({"normalize": "perhaps"}, "setting normalize must be true, false, or arguments of VecNormalize"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_settings(PPO, settings)


def test_entries_and_algorithms_that_are_not_there_are_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"hyperparameters of Far-v0 must stand in .*; entries there: default, Aim-v0"):
        read_settings("PPO", "Far-v0", str(file))
    file.write_text("- 1")
    with pytest.raises(ValueError, match="must hold names and values, got list"):
        read_settings("PPO", "Aim-v0", str(file))
    file.write_text("a: [")
    with pytest.raises(ValueError, match="is no YAML file"):
        read_settings("PPO", "Aim-v0", str(file))
    with pytest.raises(ValueError, match=r"algo must be one of .*ppo.*sac.*; got 'xyz'"):
        algorithm("xyz")
    assert algorithm("Sac") is SAC
    assert algorithm("tqc").__name__ == "TQC"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="need rl_zoo3: pip install rl_zoo3"):
        read_settings("PPO", "Aim-v0", "zoo")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("target: {goal: 1}", "env must stand in .*job.yml, the id of an environment; got None"),
        ("env: CartPole-v1\ntargets: {}", "job.yml has 'targets', which is no option; options are env, source"),
        ("env: CartPole-v1\nseeds: 0", "seeds must be"),
        ("env: CartPole-v1\ntarget: 3", "target must be names and values, got 3"),
        ("env: CartPole-v1\nmethods: [magic]", r"methods must be of fine-tune, .*; got \['magic'\]"),
        ("env: CartPole-v1\nmethods: [head]", "target must differ from source, or nothing changes; got {} for both"),
        ("env: CartPole-v1\ntarget: {x: 1}\nlike: Hopper-v5", "like names an entry of hyperparameters, which must be"),
        ("env: CartPole-v1\ntarget: {x: .inf}", "target.x must be a finite number, a text, .*; got inf"),
        ("env: CartPole-v1\ntarget: {x: 2026-01-01}", "target.x must be a finite number, a text, .*; got datetime"),
        ("env: CartPole-v1\ncontexts: {A: [a, b]}", "contexts must be ranges by name, low < high"),
        ("env: CartPole-v1\ncontexts: {A: 1}", "contexts must be ranges by name, low < high"),
        ("env: CartPole-v1\ntarget: {x: 1}\nmethods: [student]", "method student needs contexts"),
    ],
)
def test_files_of_options_are_checked(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "job.yml").write_text(text)
    with pytest.raises((TypeError, ValueError), match=message):
        compare(str(tmp_path / "job.yml"), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
