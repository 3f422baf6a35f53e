"""Which task recent steps are of: models of the dynamics beside k-sets, in memory and in files."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import nn

import nb_gym  # noqa: F401  # registers the environment
import nb_runtime
from nb_agents import Battery, KGatedDQNPolicy, KGatedMultiInputPolicy, KGatedPolicy, Transitions, insert_gates
from nb_agents.battery.dynamics import Dynamics, log_likelihoods
from nb_agents.battery.transitions import Table, tabulate
from tests.nb_agents.shared import Spaces

TASKS: dict[str, dict[str, Any]] = {
    "calm": {"A": 1.0},
    "rough": {"A": 1.8},
    "weak": {"torque_gain": 0.5},
    "reversed": {"torque_gain": -1.0},
}


def steps_of(task: dict[str, Any], n: int, seed: int, actions: Any = None) -> Transitions:
    """Steps of random actions, or of others."""
    env = gym.make_vec("NBPendulumControl-v0", -(-n // 50), **task)
    before, _ = env.reset(seed=seed)
    rng, rows = np.random.default_rng(seed), []
    for _ in range(min(n, 50)):
        action = (rng.uniform(-2.0, 2.0, (len(before), 1)) if actions is None else actions(before)).astype(np.float32)
        after, reward, *_ = env.step(action)
        rows.append((before.copy(), action, after.copy(), reward.copy()))
        before = after.copy()
    observed, acted, then, paid = (np.concatenate(column) for column in zip(*rows, strict=True))
    return Transitions(observed, acted, then, paid)


@pytest.fixture(scope="module")
def model() -> PPO:
    return PPO(KGatedPolicy, gym.make("NBPendulumControl-v0"), n_steps=50, batch_size=50, seed=0, device="cpu")


@pytest.fixture
def battery(model: PPO) -> Battery:
    battery = Battery(model)
    for i, (name, task) in enumerate(TASKS.items()):
        battery.capture(name)
        battery.fit_dynamics(name, both(steps_of(task, 500, i), steps_of(task, 500, i, lambda seen: -seen[:, :1])))
    return battery


def both(first: Transitions, second: Transitions) -> Transitions:
    """Steps of two behaviours."""
    pairs = ((getattr(first, each.name), getattr(second, each.name)) for each in fields(Transitions))
    return Transitions(*(np.concatenate(pair) for pair in pairs))


def test_fifty_steps_of_another_behaviour_tell_the_task(battery: Battery) -> None:
    def steered(observation: Any) -> Any:
        return -2.0 * observation[:, :1] - observation[:, 1:2]

    before = torch.cat([gate.k.detach().clone() for gate in battery.gates.values()])
    for i, (name, task) in enumerate(TASKS.items()):
        assert battery.nearest(steps_of(task, 50, 100 + i)) == name
        assert battery.nearest(steps_of(task, 50, 200 + i, steered)) == name
        assert battery.nearest(steps_of(task, 50, 100 + i), among=[name]) == name
    assert torch.equal(torch.cat([gate.k.detach() for gate in battery.gates.values()]), before)


def test_sb3s_samples_are_taken_and_rewards_are_used_where_all_have_them(battery: Battery) -> None:
    found = steps_of(TASKS["rough"], 50, 7)
    columns = (found.observations, found.actions, found.next_observations, np.zeros(50), found.rewards[:, None])
    samples: Any = ReplayBufferSamples(*(torch.as_tensor(each) for each in columns))
    assert battery.nearest(samples) == "rough"
    assert battery.log_likelihoods(samples) == pytest.approx(battery.log_likelihoods(found), rel=1e-9)
    blind = Transitions(found.observations, found.actions, found.next_observations)
    assert battery.nearest(blind) == "rough"
    assert battery.log_likelihoods(blind)["rough"] != battery.log_likelihoods(found)["rough"]
    battery.fit_dynamics("calm", Transitions(*(getattr(steps_of(TASKS["calm"], 500, 0), f) for f in
                                               ("observations", "actions", "next_observations"))))  # fmt: skip
    assert battery.log_likelihoods(blind) == battery.log_likelihoods(found)


def test_tasks_that_pay_for_something_else_are_told_apart_by_rewards(model: PPO) -> None:
    battery, steps = Battery(model), steps_of({}, 500, 0)
    for name, sign in (("there", 1.0), ("back", -1.0)):
        battery.capture(name)
        battery.fit_dynamics(name, Transitions(steps.observations, steps.actions, steps.next_observations,
                                               sign * steps.rewards))  # fmt: skip
    recent = steps_of({}, 50, 1)
    paid = (recent.observations, recent.actions, recent.next_observations)
    assert battery.nearest(Transitions(*paid, recent.rewards)) == "there"
    assert battery.nearest(Transitions(*paid, -recent.rewards)) == "back"


def test_a_model_is_the_ridge_regression_and_its_errors_are_those_left_out() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2)) * [1.0, 5.0] + 3.0
    y = x @ [[1.0, 0.0], [0.2, -1.0]] + x[:, :1] * x[:, 1:] + 0.1 * rng.normal(size=(60, 2))
    model = Dynamics.fit(Table(x, y, 1))
    assert model.weights.shape == (8, 2), "1, two inputs, a sine, a cosine, and three products"
    np.testing.assert_allclose(model.covariance, expected_covariance(x, y, model), rtol=1e-3)
    assert Dynamics.fit(Table(x[:15], y[:15], 1)).weights.shape == (5, 2), "too few for products"


def expected_covariance(x: Any, y: Any, model: Dynamics) -> Any:
    """By fitting again and again without one of the transitions."""
    z = np.clip((x - model.centre) / model.scale, -4.0, 4.0)
    design = np.c_[np.ones(60), z, np.sin(x[:, 0]), np.cos(x[:, 0]), z[:, 0] ** 2, z[:, 0] * z[:, 1], z[:, 1] ** 2]
    left_out = []
    for i in range(60):
        f, rest = np.delete(design, i, 0), np.delete(y, i, 0) / model.spread
        w = np.linalg.solve(f.T @ f + 0.1 * np.eye(8), f.T @ rest)
        left_out.append(y[i] - design[i] @ w * model.spread)
    return np.array(left_out).T @ np.array(left_out) / 60


def test_inputs_and_outputs_that_never_vary() -> None:
    rng = np.random.default_rng(0)
    x = np.c_[rng.normal(size=100), np.full(100, 2.0)]
    models = [Dynamics.fit(Table(x, np.c_[slope * x[:, 0], np.zeros(100)], 2)) for slope in (1.0, 2.0)]
    scores = log_likelihoods(models, Table(x[:10], np.c_[2.0 * x[:10, 0], np.zeros(10)], 2))
    assert np.isfinite(scores).all()
    assert scores[1] > scores[0]


def test_a_file_keeps_the_dynamics_and_the_runtime_passes_over_them(battery: Battery, tmp_path: Path) -> None:
    path = tmp_path / "with.safetensors"
    battery.capture("unknown")
    battery.save(path)
    loaded, recent = Battery.load(path, battery.network), steps_of(TASKS["weak"], 50, 3)
    assert loaded.log_likelihoods(recent, list(TASKS)) == battery.log_likelihoods(recent, list(TASKS))
    with pytest.raises(ValueError, match=r"must have dynamics, .* got none for \['unknown'\]"):
        loaded.nearest(recent)
    _, text, k_sets = nb_runtime.read_k_sets(path)
    assert "dynamics" in text
    assert k_sets.keys() == {*TASKS, "unknown"}
    assert all(np.frombuffer(content, "<f4").shape == (battery.n_k,) for _, content in k_sets.values())


def test_without_dynamics_a_file_is_what_it_was(model: PPO, tmp_path: Path) -> None:
    battery = Battery(model)
    battery.capture("a")
    battery.save(tmp_path / "a.safetensors")
    assert "dynamics" not in nb_runtime.read_k_sets(tmp_path / "a.safetensors")[1]


@pytest.mark.parametrize("change", ["names", "base64", "shape", "nan", "missing"])
def test_dynamics_that_do_not_hold_together_are_refused(
    battery: Battery, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import base64

    import safetensors.numpy

    from nb_agents.battery import file

    arrays = battery._find("calm").dynamics.arrays()  # type: ignore[union-attr]
    if change == "shape":
        arrays["weights"] = arrays["weights"][1:]
    elif change == "nan":
        arrays["scale"] = arrays["scale"] * np.float32(np.nan)
    elif change == "missing":
        del arrays["spread"]
    coded = "?" if change == "base64" else base64.b64encode(safetensors.numpy.save(arrays)).decode()
    written = json.dumps({"another" if change == "names" else "calm": coded})
    dumps = json.dumps
    monkeypatch.setattr(
        file.json,
        "dumps",
        lambda x, **more: written if "calm" in x and isinstance(x["calm"], str) else dumps(x, **more),
    )
    battery.save(tmp_path / "damaged.safetensors")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="is not a whole file of k-sets"):
        Battery.load(tmp_path / "damaged.safetensors", battery.network)


def test_a_k_set_that_is_replaced_forgets_its_dynamics(battery: Battery) -> None:
    battery.capture("calm", overwrite=True)
    with pytest.raises(ValueError, match=r"got none for \['calm'\]"):
        battery.nearest(steps_of({}, 50, 0))
    assert battery.nearest(steps_of(TASKS["weak"], 50, 0), among=["weak", "rough"]) == "weak"


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "few": (lambda o, a, n: (o[:4], a[:4], n[:4]), ValueError, "transitions must be at least 5, got 4"),
    "another space": (lambda o, a, n: (o[:, :3], a, n[:, :3]), ValueError, r"observations must have shape \(50, 4\)"),
    "another action": (lambda o, a, n: (o, np.c_[a, a], n), ValueError, r"actions must have shape \(50, 1\)"),
    "lengths": (lambda o, a, n: (o, a[:49], n), ValueError, r"actions must have shape \(50, 1\), got \(49, 1\)"),
    "next": (lambda o, a, n: (o, a, n[:, :2]), ValueError, r"next_observations must have shape \(50, 4\)"),
    "nan": (lambda o, a, n: (o * np.nan, a, n), ValueError, "transitions.observations must be finite, got nan"),
    "inf": (lambda o, a, n: (o, a * np.inf, n), ValueError, "transitions.actions must be finite"),
    "rewards": (lambda o, a, n: (o, a, n, a[:9]), ValueError, r"rewards must have shape \(50,\)"),
    "text": (lambda o, a, n: (o, "left", n), TypeError, "transitions.actions must hold numbers, got 'left'"),
    "missing": (lambda o, a, n: (o, None, n), TypeError, "transitions.actions must be an array or a tensor, got None"),
    "one": (lambda o, a, n: (o, 1.0, n), ValueError, "transitions.actions must have a row for each"),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_transitions_change_nothing(battery: Battery, bad: str) -> None:
    change, error, message = BAD[bad]
    good = steps_of({}, 50, 0)
    wrong = Transitions(*change(good.observations, good.actions, good.next_observations))
    before = battery.log_likelihoods(good)
    with pytest.raises(error, match=message):
        battery.nearest(wrong)
    with pytest.raises(error, match=message.replace("5,", "20,")):
        battery.fit_dynamics("calm", wrong)
    assert battery.log_likelihoods(good) == before


def test_other_bad_arguments(battery: Battery, model: PPO) -> None:
    good = steps_of({}, 50, 0)
    with pytest.raises(KeyError, match="no k-set named 'nothing'"):
        battery.fit_dynamics("nothing", good)
    with pytest.raises(KeyError, match="no k-set named 'nothing'"):
        battery.nearest(good, among=["nothing"])
    with pytest.raises(TypeError, match="among must be a sequence of names, got 'calm'"):
        battery.nearest(good, among="calm")
    with pytest.raises(ValueError, match="no k-set to choose from"):
        Battery(model).nearest(good)
    with pytest.raises(TypeError, match=r"transitions.observations must be an array or a tensor, got None"):
        battery.nearest(50)


def test_choices_are_numbers_of_their_own() -> None:
    box = spaces.Box(-1.0, 1.0, (2,), np.float32)
    policy = DQN(KGatedDQNPolicy, Spaces(box, spaces.Discrete(3)), buffer_size=10, device="cpu").policy
    seen = np.zeros((6, 2))
    table = tabulate(Transitions(seen, np.array([[0], [1], [2], [0], [1], [2]]), seen + 1.0), policy, 5)
    np.testing.assert_array_equal(table.inputs[:, 2:], np.tile(np.eye(3), (2, 1)))
    np.testing.assert_array_equal(table.outputs, 1.0)
    with pytest.raises(ValueError, match=r"transitions.actions must be of Discrete\(3\)"):
        tabulate(Transitions(seen, np.full(6, 3), seen), policy, 5)
    with pytest.raises(ValueError, match=r"transitions.actions must be of Discrete\(3\)"):
        tabulate(Transitions(seen, np.full(6, 0.5), seen), policy, 5)


def test_actions_count_as_the_environment_takes_them(model: PPO) -> None:
    seen = np.zeros((5, 4))
    table = tabulate(Transitions(seen, np.full((5, 1), 9.0), seen), model.policy, 5)
    assert (table.inputs[:, 4] == 2.0).all()


def test_any_network_with_gates_and_no_dictionaries() -> None:
    net = insert_gates(nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2)))
    battery, rng = Battery(net), np.random.default_rng(0)
    seen, done = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    for name, factor in (("a", 1.0), ("b", -1.0)):
        battery.capture(name)
        battery.fit_dynamics(name, Transitions(seen, done, seen + factor * done[:, :1]))
    assert battery.nearest(Transitions(seen, done, seen - done[:, :1])) == "b"
    with pytest.raises(ValueError, match="must have 3 numbers in an observation and 5 with the action"):
        battery.nearest(Transitions(seen, done[:, :1], seen))
    space = spaces.Dict({"a": spaces.Box(-1.0, 1.0, (2,), np.float32)})
    battery = Battery(PPO(KGatedMultiInputPolicy, Spaces(space, spaces.Discrete(2)), device="cpu"))
    battery.capture("a")
    with pytest.raises(TypeError, match="must be arrays, got a policy that observes Dict"):
        battery.fit_dynamics("a", Transitions({"a": seen}, done, {"a": seen}))
