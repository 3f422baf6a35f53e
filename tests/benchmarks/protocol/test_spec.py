import json
from dataclasses import replace

import pytest

from benchmarks.protocol.settings import MetaSettings, PPOSettings, SACSettings
from benchmarks.protocol.spec import RunSpec
from nb_evaluation.arguments import parse_assignments

SETTINGS = PPOSettings(
    frame_skip=20,
    observe={"theta": 0.5, "theta_dot": 1.0},
    num_envs=2,
    n_steps=50,
    batch_size=50,
    n_epochs=1,
    learning_rate=1e-3,
    gamma=0.9,
    gae_lambda=0.95,
    clip_range=0.2,
    ent_coef=0.0,
    max_grad_norm=1.0,
    log_std_init=0.0,
    net_arch=(8, 8),
)
SPEC = RunSpec(
    method="nb",
    seed=3,
    algo="ppo",
    source={"A": 1.0},
    target={"A": 1.8, "torque_gain": 0.5},
    pretrain_episodes=2,
    transfer_episodes=4,
    eval_every=2,
    settings=SETTINGS,
    protocol=2,
)


def test_json_round_trip():
    again = RunSpec.from_json(json.loads(json.dumps(SPEC.to_json())))
    assert again == SPEC
    assert again.digest == SPEC.digest
    assert again.shared == SPEC.shared


def test_digest_is_the_same_everywhere():
    assert SPEC.digest == "02fc290757f8"
    assert SPEC.name == f"nb-ppo-seed3-{SPEC.digest}"


def test_digest_ignores_how_a_context_is_written():
    assert replace(SPEC, target={"torque_gain": 0.5, "A": 1.8}).digest == SPEC.digest
    assert replace(SPEC, source={"A": 1}).digest == SPEC.digest


@pytest.mark.parametrize(
    "change",
    [
        {"method": "nb-pro"},
        {"seed": 4},
        {"source": {"A": 1.1}},
        {"target": {"A": 1.8}},
        {"pretrain_episodes": 4},
        {"transfer_episodes": 6},
        {"eval_every": 4},
        {"settings": replace(SETTINGS, learning_rate=2e-3)},
        {"meta": MetaSettings()},
        {"transfer_envs": 1},
        {"detail": False},
        {"protocol": 3},
    ],
)
def test_every_field_counts(change):
    other = replace(SPEC, **change)
    assert other.digest != SPEC.digest
    assert (other.shared != SPEC.shared) == (change.keys().isdisjoint({"method", "seed", "meta"}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pretrain_episodes": 0}, "pretrain_episodes must be at least 1, got 0"),
        ({"transfer_episodes": -2}, "transfer_episodes must be at least 1, got -2"),
        ({"transfer_episodes": 3}, "transfer_episodes is a budget of 3,000 physics steps, but 2,000 are collected"),
        ({"eval_every": 0}, "eval_every must be at least 1"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"algo": "dqn"}, "algo must be one of ppo.*got 'dqn'"),
        ({"source": {"A": float("nan")}}, "A must be finite"),
        ({"target": {"b": -1.0}}, "b must be at least 0, got -1.0"),
        ({"target": {"A": (1.0, 1.8)}}, "target must hold numbers, not ranges"),
        ({"settings": replace(SETTINGS, frame_skip=3)}, "frame_skip must divide 1000, got 3"),
    ],
)
def test_bad_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SPEC, **change)


def test_every_environment_finishes_an_episode():
    """SAC updates within episodes, but without a whole one there is no training episode to report."""
    with pytest.raises(ValueError, match=r"transfer_episodes is 1, of 2 side by side: choose a multiple of 2"):
        replace(SPEC, algo="sac", settings=SACSettings(), transfer_episodes=1)


def test_unknown_context_parameter_is_named():
    with pytest.raises(TypeError, match=r"'gravity'.*context parameters are"):
        replace(SPEC, target={"gravity": 9.81})


def test_parse_assignments():
    assert parse_assignments(["A=1.8", "torque_gain=-1"]) == {"A": 1.8, "torque_gain": -1.0}
    assert parse_assignments([]) == {}


@pytest.mark.parametrize("text", ["A", "A=", "=1", "A=fast", "A=nan", "A=inf"])
def test_parse_assignments_refuses(text):
    with pytest.raises(ValueError, match=f"NAME=NUMBER.*{text!r}"):
        parse_assignments([text])


def test_parse_assignments_refuses_a_name_twice():
    with pytest.raises(ValueError, match=r"A is given twice: 1.0 and 1.8"):
        parse_assignments(["A=1", "A=1.8"])


def test_a_source_may_be_ranges():
    spec = replace(SPEC, source={"A": [1, 1.5], "b": 0.3}, target={"A": 1.8, "torque_gain": -1.0})
    assert spec.source == {"A": (1.0, 1.5), "b": 0.3}
    assert RunSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert spec.middle == {"A": 1.25, "b": 0.3}
    assert spec.between == {"A": (1.25, 1.8), "b": (0.2, 0.3), "torque_gain": (-1.0, 1.0)}
    assert parse_assignments(["A=1.0:1.5", "b=0.3"]) == spec.source
    with pytest.raises(ValueError, match="target must hold numbers, not ranges or arrays"):
        replace(SPEC, target={"A": (1.0, 1.5)})


def test_the_transfer_may_have_other_environments():
    spec = replace(SPEC, transfer_envs=1, transfer_episodes=3)
    assert (spec.settings.num_envs, spec.transfer_settings.num_envs) == (2, 1)
    with pytest.raises(ValueError, match="transfer_episodes is 3, of 2 side by side"):
        replace(SPEC, transfer_episodes=3, settings=replace(SETTINGS, n_steps=25))
