"""Robots: what is run and counted, and what trains."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.running_mean_std import RunningMeanStd

pytest.importorskip("mujoco")

from benchmarks.questions.robots import training
from benchmarks.questions.robots.adapting import SETTINGS, _begin, adapt
from benchmarks.questions.robots.contextual import RECURRENT, filled, over_contexts
from benchmarks.questions.robots.lora import add_lora
from benchmarks.questions.robots.plan import CLAIMED, FAMILY, METHODS, SEEDS, planned
from benchmarks.questions.robots.question import QUESTION, RobotsSpec
from benchmarks.questions.robots.rewarded import OneRewardObservation
from benchmarks.questions.robots.searching import gated, scaled, search
from benchmarks.questions.robots.training import Source, build_ppo, make_robots, normalised
from benchmarks.questions.robots.worlds import BACK, FORE, LOST, MARKS, ROBOTS
from nb_agents.adapters.lora import merge_lora
from nb_evaluation.runs.workers import one_torch_thread
from nb_gym.mujoco import TASKS
from tests.benchmarks.tools import parse

CHEETAH = ROBOTS["HalfCheetah"]


@pytest.fixture(autouse=True)
def one_thread():
    """As in a worker; small networks are slower with more."""
    with one_torch_thread():
        yield


def test_the_targets_are_the_published_ones():
    for name, context in CHEETAH.targets.items():
        assert dict(TASKS[f"HalfCheetah/{name}"].kwargs) == dict(context)
    assert dict(TASKS["HalfCheetah/moon"].kwargs) == dict(CHEETAH.held_out["moon"])
    for name in ("HalfCheetahDir", "HalfCheetahVel"):
        assert ROBOTS[name].source["ctrl_cost_weight"] == TASKS["HalfCheetah/velocity"].kwargs["ctrl_cost_weight"]
        assert ROBOTS[name].episode == TASKS["HalfCheetah/velocity"].kwargs["episode_steps"]


def test_a_training_deals_out_signs_dead_legs_loads_and_lost_sensors():
    context = CHEETAH.family.training(64)
    gains = np.array([context[f"gain_{name}"] for name in (*BACK, *FORE)])
    assert gains.shape == (6, 64)
    assert sorted(set(np.abs(gains).ravel())) == [0.0, 0.8, 1.2]
    assert (gains[:3] == 0.0).all(axis=0).sum() == (gains[3:] == 0.0).all(axis=0).sum() == 16
    assert ((gains[:3] * gains[3:]) >= 0.0).all(), "back and fore legs have one sign, but for one that is held out"
    assert (context["mass_torso"] == 4.0).sum() == (context["sensor_rootz"] == 0.0).sum() == 16
    assert set(context["gravity"]) == {0.75, 1.0, 1.5}
    tasks = CHEETAH.family.tasks(np.random.default_rng(0), 64)
    assert sorted(task["gain_bfoot"] for task in tasks) == sorted(context["gain_bfoot"])


def test_a_context_is_filled_with_what_the_teacher_is_told():
    told = filled(CHEETAH, {"gain": -1.0})
    assert {told[f"gain_{name}"] for name in (*BACK, *FORE)} == {-1.0}
    assert told["mass_torso"] == told["gravity"] == told[f"sensor_{LOST[0]}"] == 1.0
    assert filled(CHEETAH, {"mass_torso": 4.0})["mass_torso"] == 4.0
    assert filled(ROBOTS["HalfCheetahVel"], {})["target_velocity"] == 1.5


@pytest.fixture
def small(monkeypatch):
    """Trainings of a few steps in four environments, and evaluations of two short episodes; the cheetah for them."""
    for module in ("training", "contextual"):
        monkeypatch.setattr(f"benchmarks.questions.robots.{module}.NUM_ENVS", 4)
    for name, value in {"n_steps": 8, "batch_size": 32, "n_epochs": 2}.items():
        monkeypatch.setitem(training.SETTINGS, name, value)
    monkeypatch.setitem(SETTINGS, "n_steps", 4)
    monkeypatch.setitem(SETTINGS, "batch_size", 50)
    monkeypatch.setattr("benchmarks.questions.robots.training.EVAL_EPISODES", 2)
    short = replace(CHEETAH, episode=20)
    monkeypatch.setitem(ROBOTS, "HalfCheetah", short)
    return short


@pytest.fixture
def source(small, monkeypatch, tmp_path):
    """A source policy of a few steps, and no cache outside the test."""
    monkeypatch.setattr("nb_evaluation.kept.FOLDER", tmp_path)
    training.source.cache_clear()
    yield training.source("HalfCheetah", 64, 3, 128)
    training.source.cache_clear()


def test_a_source_is_kept_on_disk_and_read_again(source, monkeypatch):
    training.source.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(training, "train_source", None)
        read = training.source("HalfCheetah", 64, 3, 128)
    assert read.steps == source.steps == 128
    assert read.state.keys() == source.state.keys()
    assert all(torch.equal(read.state[name], source.state[name]) for name in read.state)
    np.testing.assert_array_equal(read.observations.var, source.observations.var)
    assert read.returns.count == source.returns.count


NUMBERS = {
    "fine-tune": 5_702, "nb": 5_704, "nb-pro": 5_712, "nb-k": 2, "nb-pro-k": 10, "head": 390,
    "lora-1": (17 + 64) + (64 + 64) + (64 + 6), "lora-4": 4 * ((17 + 64) + (64 + 64) + (64 + 6)), "scratch": 5_702,
}  # fmt: skip
"""Numbers of the actor that differ from one target to the next, of a cheetah with 17 observations and 6 actions."""


@pytest.fixture
def begin(small):
    """A source policy that has not trained."""
    return Source(plain(small).state_dict(), RunningMeanStd(shape=(17,)), RunningMeanStd(shape=()), 128)


def plain(robot):
    """A new policy without gates."""
    return build_ppo("MlpPolicy", normalised(make_robots(robot, 4, {})), 0, 64).policy


@pytest.mark.parametrize("method", NUMBERS)
def test_a_method_begins_at_the_source_and_trains_what_it_counts(method, begin, small):
    model, numbers = _begin(method, small, 64, "inverted_actions", 0, None if method == "scratch" else begin)
    assert numbers == NUMBERS[method]
    observation = np.random.default_rng(0).normal(size=(4, 17)).astype(np.float32)
    policy = plain(small)
    policy.load_state_dict(begin.state)
    before = model.predict(observation, deterministic=True)[0]
    if method != "scratch":
        np.testing.assert_array_equal(before, policy.predict(observation, deterministic=True)[0])
    kept = {name: value.clone() for name, value in model.policy.named_parameters()}
    model.learn(200)  # LoRA's second factor is 0 at first, so that its first one moves from the second step on
    moved = {name for name, value in model.policy.named_parameters() if not torch.equal(value, kept[name])}
    actor = [name for name in moved if "value" not in name and name != "log_std"]
    assert sum(kept[name].numel() for name in actor) == numbers, "all that is counted, and nothing else"
    assert any("value_net" in name for name in moved), "the critic trains with every method"
    assert not np.array_equal(model.predict(observation, deterministic=True)[0], before)


def test_lora_merges_into_plain_layers(small):
    policy = plain(small)
    keys = policy.state_dict().keys()
    add_lora(policy, 4)
    for name, parameter in policy.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter)
    observation = np.random.default_rng(0).normal(size=(4, 17)).astype(np.float32)
    expected = policy.predict(observation, deterministic=True)[0]
    merge_lora(policy)
    assert policy.state_dict().keys() == keys
    np.testing.assert_allclose(policy.predict(observation, deterministic=True)[0], expected, atol=1e-5)


def test_an_adaptation_is_measured_and_the_source_comes_back_to_the_bit(source, small):
    result = adapt("nb-k", small, 64, "inverted_actions", 3, 128, 600)
    adaptation, row = result.adaptation, result.rows["nb-k"]
    assert adaptation.steps == [0, 600]
    assert len(adaptation.early) == 25
    assert adaptation.source_swapped == adaptation.source_before != row.returns["source"]
    assert (row.numbers, row.steps, row.steps_there) == (2, 128, 600)
    again = adapt("nb-k", small, 64, "inverted_actions", 3, 128, 600)
    assert again == result, "a run is a function of its specification"


def test_two_searched_numbers_are_counted_and_put_back(source, small):
    result = search("nb-k-cma", small, 64, "inverted_actions", 3, 128, 600)
    adaptation, row = result.adaptation, result.rows["nb-k-cma"]
    assert adaptation.steps == [0, 25 * 20]
    assert len(adaptation.early) == 25
    assert adaptation.source_swapped == adaptation.source_before
    assert (row.numbers, row.steps, row.steps_there) == (2, 128, 500)


def test_a_factor_of_the_actions_is_searched_beside(source, small):
    result = search("scale-cma", small, 64, "inverted_actions", 3, 128, 600)
    adaptation, row = result.adaptation, result.rows["scale-cma"]
    assert len(adaptation.early) == 25
    assert adaptation.source_swapped is None
    assert (row.numbers, row.steps, row.steps_there) == (1, 128, 500)
    model, _ = gated(small, 64, 3, 128)
    observations = np.random.default_rng(0).normal(size=(5, 17)).astype(np.float32)
    turned = scaled(model.policy, np.array([-0.5])).predict(observations, deterministic=True)[0]
    np.testing.assert_allclose(turned, -0.5 * model.policy.predict(observations, deterministic=True)[0], rtol=1e-5)


def test_a_policy_is_the_same_when_it_is_folded_or_exported(source, small, monkeypatch):
    robot = replace(small, exported=True)
    monkeypatch.setitem(ROBOTS, "HalfCheetah", robot)
    checks = adapt("nb-pro-k", robot, 64, "inverted_actions", 3, 128, 600).checks
    assert checks["folded"] < 1e-5
    assert checks["onnx"] < 1e-5
    assert checks["action"] > 0.0
    assert checks["bytes"] > 4 * NUMBERS["fine-tune"]


@pytest.mark.parametrize(
    ("method", "steps", "rows"),
    [
        ("randomised", 128, {"randomised": (0, 128, 0)}),
        ("randomised-source", 128, {"randomised-source": (0, 256, 0)}),
        ("retrofit", 200, {"retrofit-teacher": (10, 128 + 160, 0), "retrofit": (0, 128 + 160 + 24, 0)}),
        (
            "retrofit-turned",
            1_200,
            {"retrofit-turned-teacher": (10, 128 + 960, 0), "retrofit-turned": (0, 128 + 960 + 240, 0)},
        ),
        ("recurrent", 128, {"recurrent": (0, 128, 0)}),
        ("student", 200, {"teacher": (10, 160, 0), "student": (0, 160 + 24, 0)}),
        ("maml", 300, {"maml-0": (0, 160, 0), "maml-1": (5_708, 160, 50), "maml-5": (5_708, 160, 250)}),
    ],
)
def test_what_trains_over_contexts_is_counted_and_measured_in_all_of_them(
    method, steps, rows, small, monkeypatch, tmp_path
):
    for name, value in {"META_TASKS": 4, "META_EPISODE": 5, "META_HERE": 10}.items():
        monkeypatch.setattr(f"benchmarks.questions.robots.contextual.{name}", value)
    monkeypatch.setitem(RECURRENT, "batch_size", 32)
    monkeypatch.setattr("nb_evaluation.kept.FOLDER", tmp_path)
    small = replace(small, source_steps=128)
    monkeypatch.setitem(ROBOTS, "HalfCheetah", small)
    training.source.cache_clear()
    found = over_contexts(method, small, 64, 3, steps)
    training.source.cache_clear()
    contexts = {"source", *CHEETAH.targets, *CHEETAH.held_out}
    assert all(row.returns.keys() == contexts for row in found.values())
    assert {name: (row.numbers, row.steps, row.steps_there) for name, row in found.items()} == rows


def test_the_last_reward_stands_beside_the_observation():
    robot = replace(ROBOTS["HalfCheetahVel"], episode=3)
    env = make_robots(robot, 2, {"target_velocity": np.array([0.0, 3.0])})
    observation, _ = env.reset(seed=0)
    assert observation.shape == (2, 18)
    assert not observation[:, -1].any()
    for step in range(3):
        observation, reward, _, truncated, info = env.step(np.zeros((2, 6), dtype=np.float32))
        shown = observation[:, -1] if step < 2 else np.array([last[-1] for last in info["final_obs"]])
        np.testing.assert_allclose(shown, reward)
        assert truncated.all() == (step == 2)
    assert not observation[:, -1].any(), "an episode has begun"
    one = OneRewardObservation(gym.make(robot.id, target_velocity=3.0))
    one.reset(seed=0)
    after, reward, *_ = one.step(np.zeros(6, dtype=np.float32))
    assert after[-1] == pytest.approx(reward)
    assert one.observation_space == env.single_observation_space


def specs(*arguments):
    return list(QUESTION.specifications(parse(QUESTION, *arguments)))


def test_what_is_run_by_default_and_of_the_options():
    default = specs()
    assert {(spec.robot, spec.width, spec.seed) for spec in default} == {("HalfCheetah", 64, s) for s in (100, 101)}
    assert {spec.target for spec in default} == {"inverted_actions", FAMILY}
    everything = specs("--seeds", "10", "--targets", "all", "--methods", "all")
    assert everything == specs("--seeds", "10", "--targets", "all", "--methods", *METHODS)
    places = {name: 1 if kind.over_contexts else 4 for name, kind in METHODS.items()}
    assert len(everything) == sum(n * (10 if name in CLAIMED else SEEDS) for name, n in places.items())
    assert [spec.seed for spec in everything] == sorted(spec.seed for spec in everything), "seed by seed"
    wide = specs("--seeds", "10", "--targets", "all", "--methods", *METHODS, "--widths", "256", "512")
    assert {(spec.width, spec.seed) for spec in wide} == {(256, 100), (256, 101), (256, 102), (512, 100), (512, 101)}
    assert {spec.target for spec in wide} == {"inverted_actions"}
    whole = specs("--seeds", "10", "--robots", "all", "--targets", "all", "--methods", "all", "--widths", "all")
    assert {(spec.robot, spec.width) for spec in whole} == {(name, w) for name, r in ROBOTS.items() for w in r.widths}
    assert set(wide) | set(everything) < set(whole)
    assert {"randomised", "recurrent"} < {spec.method for spec in whole if spec.robot == "HalfCheetahDir"}
    with pytest.raises(ValueError, match=r"targets of Walker2d are crippled_foot, .*; got 'moon'"):
        specs("--robots", "Walker2d", "--targets", "moon")
    with pytest.raises(ValueError, match="nothing is planned"):
        specs("--robots", "Walker2d", "--methods", "student")


def test_a_budget_is_what_the_methods_share():
    assert CHEETAH.family_steps == CHEETAH.source_steps + len(CHEETAH.targets) * CHEETAH.steps
    for robot in ROBOTS.values():
        assert set(MARKS) <= set(range(0, robot.steps + 1, 2_500))
        assert robot.steps % 2_500 == 0
    assert list(planned(parse(QUESTION), 99)) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"robot": "Snake"}, "robot must be one of HalfCheetah, .*; got 'Snake'"),
        ({"method": "luck"}, "method must be one of fine-tune, .*; got 'luck'"),
        ({"target": "moon"}, "target must be one of inverted_actions, .*, got 'moon'"),
        ({"target": FAMILY}, "target must be one of inverted_actions, .*, got 'family'"),
        ({"method": "student"}, "target must be one of family, got 'inverted_actions'"),
        ({"method": "student", "robot": "Walker2d", "target": FAMILY}, "Walker2d has no family"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_a_specification_is_checked(wrong, message):
    right = {"method": "fine-tune", "seed": 0, "robot": "HalfCheetah", "target": "inverted_actions", "before": 1}
    with pytest.raises(ValueError, match=message):
        RobotsSpec(**right | {"steps": 1} | wrong)
