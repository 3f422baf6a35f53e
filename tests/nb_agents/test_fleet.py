"""One policy, a k-set for each row of a vector environment, all trained by one `learn()`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import TQC, TRPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import nb_agents
import nb_gym  # noqa: F401  # registers the environment
from nb_agents import (
    Battery,
    KGatedMultiInputPolicy,
    RowNormalize,
    RowObservation,
    SignedKGate,
    VectorEnvAdapter,
    fleet,
    fleet_battery,
)
from nb_agents.inference.conditioned import ConditionedNet, conditioned_nets
from nb_agents.policies.train_only import acting_parameters
from tests.nb_agents.shared import Pictures, Spaces, TwoTorques, move_gates

N = 4
NAME = "NBPendulumControl-v0"
OFF: dict[str, Any] = {"learning_starts": 4, "buffer_size": 400, "batch_size": 8, "train_freq": 1, "gradient_steps": 1}
ON: dict[str, Any] = {"n_steps": 8, "batch_size": 8, "n_epochs": 2}
SETTINGS = {PPO: ON, A2C: {"n_steps": 8}, SAC: OFF, TD3: OFF, DQN: OFF, TQC: OFF}


def robots(n: int = N, **kwargs: Any) -> VectorEnvAdapter:
    return VectorEnvAdapter(gym.make_vec(NAME, n, A=np.linspace(1.0, 1.8, n), **kwargs))


def torques(n: int = N) -> DummyVecEnv:
    return DummyVecEnv([lambda A=A: TwoTorques(gym.make(NAME, A=A)) for A in np.linspace(1.0, 1.8, n)])


def worlds(algorithm: Any, n: int = N) -> Any:
    return torques(n) if algorithm is DQN else robots(n)


def model_of(algorithm: Any = PPO, env: Any = None, **settings: Any) -> Any:
    made = {"net_arch": [32, 32], **settings.pop("policy_kwargs", {})}
    env, known = env or worlds(algorithm, 1), {**SETTINGS[algorithm], **settings}
    model = algorithm("KGatedPolicy", env, policy_kwargs=made, seed=0, device="cpu", **known)
    move_gates(model.policy)
    return model


def acting_net(model: Any) -> ConditionedNet:
    return next(conditioned_nets(model.policy))


def shown(observations: np.ndarray, rows: Any) -> np.ndarray:
    return np.concatenate([observations, np.eye(N, dtype=np.float32)[rows]], axis=1)


def observed(model: Any, n: int) -> np.ndarray:
    model.observation_space.seed(1)
    return np.stack([np.clip(model.observation_space.sample(), -3.0, 3.0) for _ in range(n)])


@pytest.mark.parametrize("algorithm", list(SETTINGS))
def test_k_sets_train_and_all_else_that_acts_stands_still(algorithm: Any, tmp_path: Path) -> None:
    model = model_of(algorithm)
    k0 = torch.cat([gate.k.detach().clone() for gate in acting_gates(model)])
    made = fleet(model, worlds(algorithm))
    assert type(made) is algorithm
    assert made.n_envs == N
    observations = observed(model, N)
    acted = made.predict(shown(observations, range(N)), deterministic=True)[0]
    np.testing.assert_allclose(acted, model.predict(observations, deterministic=True)[0], atol=1e-6)
    before = {name: each.detach().clone() for name, each in acting_parameters(made.policy)}
    made.learn(N * 40)
    moved = {name for name, each in acting_parameters(made.policy) if not torch.equal(each, before[name])}
    assert [name.rpartition(".k_net.")[2] for name in moved] == ["weight"]
    battery = fleet_battery(made)
    assert list(battery) == [f"robot {i}" for i in range(N)]
    assert battery.metadata("robot 2") == {"row": 2}
    assert all((battery[name] != k0).any() for name in battery)
    assert len({tuple(battery[name].tolist()) for name in battery}) == N
    rows = np.arange(4 * N) % N
    observations = observed(model, 4 * N)
    acted = made.predict(shown(observations, rows), deterministic=True)[0]
    with battery.per_row(rows.tolist()):
        np.testing.assert_allclose(battery.network.predict(observations, deterministic=True)[0], acted, atol=1e-5)  # type: ignore[operator]
    battery.save(tmp_path / "fleet.safetensors")
    loaded = Battery.load(tmp_path / "fleet.safetensors", model)  # the weights are still those of the model
    assert all(torch.equal(loaded[name], battery[name]) for name in battery)


def acting_gates(model: Any) -> Any:
    return Battery(model).gates.values()


@pytest.mark.parametrize("algorithm", list(SETTINGS))
def test_a_saved_fleet_acts_the_same_and_trains_on_in_its_rows_alone(algorithm: Any, tmp_path: Path) -> None:
    made = fleet(model_of(algorithm), worlds(algorithm)).learn(N * 16)
    made.save(tmp_path / "fleet.zip")
    env = worlds(algorithm)
    again = RowObservation(RowNormalize(env) if algorithm in (PPO, A2C) else env)
    loaded = algorithm.load(tmp_path / "fleet.zip", env=again, device="cpu")
    observations = shown(observed(model_of(algorithm), 8), np.arange(8) % N)
    np.testing.assert_array_equal(*(each.predict(observations, deterministic=True)[0] for each in (made, loaded)))
    groups = [[group["eps"] for group in optimizer_of(each).param_groups] for each in (made, loaded)]
    assert groups[0] == groups[1]
    k0, weight = acting_net(loaded).k0.clone(), acting_net(loaded).k_net.weight.clone()  # type: ignore[operator]
    loaded.learn(N * 40)
    assert torch.equal(acting_net(loaded).k0, k0)
    assert not torch.equal(acting_net(loaded).k_net.weight, weight)  # type: ignore[arg-type]


def optimizer_of(model: Any) -> Any:
    return getattr(getattr(model.policy, "actor", None), "optimizer", None) or model.policy.optimizer


@pytest.mark.parametrize("gate_class", [nb_agents.KGate, SignedKGate, nb_agents.FiLMGate])
def test_the_gradient_of_a_rows_loss_is_that_of_its_k_set_alone_and_the_one_that_it_has_by_itself(
    gate_class: Any,
) -> None:
    model = model_of(policy_kwargs={"gate_class": gate_class})
    made = fleet(model, robots())
    observations = observed(model, 32)
    rows, actions = np.arange(32) % N, torch.linspace(-1, 1, 32)[:, None]
    model.policy.train_only("gates")
    for i in range(N):
        chosen = rows == i
        seen = torch.as_tensor(shown(observations, rows))
        log_prob = made.policy.evaluate_actions(seen, actions)[1]
        made.policy.zero_grad()
        log_prob[torch.as_tensor(chosen)].sum().backward()
        gradient = acting_net(made).k_net.weight.grad
        assert isinstance(gradient, torch.Tensor)
        others = torch.arange(N) != i
        assert (gradient[:, others] == 0.0).all()
        assert (gradient[:, i] != 0.0).all()
        alone = model.policy.evaluate_actions(torch.as_tensor(observations[chosen]), actions[chosen])[1]
        model.policy.zero_grad()
        alone.sum().backward()
        expected = torch.cat([gate.k.grad for gate in model.policy.gates.values()])
        torch.testing.assert_close(gradient[:, i], expected, rtol=1e-4, atol=1e-5)
        assert all(gate.k.grad is None for gate in made.policy.gates.values())


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_a_fleet_of_one_learns_as_a_model_that_trains_its_gates(algorithm: Any) -> None:
    made = fleet(model_of(algorithm), robots(1))
    value = made.policy.mlp_extractor.value_net[0].weight
    value.register_hook(lambda g: torch.cat([g[:, :-1], torch.zeros_like(g[:, -1:])], dim=1))  # a critic not told it
    alone = model_of(algorithm, RowNormalize(robots(1), gamma=made.gamma))
    alone.policy.train_only("gates")
    for each in (made, alone):
        each.env.seed(0)
        torch.manual_seed(0)
        np.random.seed(0)
        each.learn(64)
    k_set = fleet_battery(made)["robot 0"]
    found = torch.cat([gate.k.detach() for gate in alone.policy.gates.values()])
    torch.testing.assert_close(k_set, found, rtol=0.0, atol=1e-5)
    start = torch.cat([gate.k.detach() for gate in model_of(algorithm).policy.gates.values()])
    assert ((found - start).abs() > 1e-3).all()


@pytest.mark.parametrize("algorithm", [PPO, A2C])
def test_a_step_of_a_k_set_is_that_of_an_undiluted_gradient(algorithm: Any) -> None:
    """Rows whose gradients are as small as ``eps`` take the steps that they would take by themselves."""
    steps = []
    for n in (1, N):
        made = fleet(model_of(algorithm), robots(n))
        weight: Any = acting_net(made).k_net.weight
        weight.grad = torch.full_like(weight, 1e-5 / n)
        optimizer_of(made).param_groups[-1]["lr"] = 1.0
        optimizer_of(made).step()
        steps.append(weight[:, 0].detach().clone())
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-5, atol=0.0)
    assert (steps[0].abs() > 0.0).all()


def test_scales_of_observations_are_the_models_and_stand_still() -> None:
    env = VecNormalize(robots(2))
    model = model_of(env=env, n_steps=32).learn(64)
    made: Any = fleet(model, robots())
    scale = made.env.venv
    assert isinstance(scale, RowNormalize)
    for _ in range(2):
        np.testing.assert_array_equal(scale.obs_rms.mean, env.obs_rms.mean)
        np.testing.assert_array_equal(scale.obs_rms.var, env.obs_rms.var)
        made.learn(N * 32)
    assert scale.row_rms.count > 60.0


def test_batches_grow_with_the_rows() -> None:
    made = fleet(model_of(SAC, robots(2), batch_size=6), robots())
    assert (made.batch_size, made.learning_starts) == (12, 8)
    assert made.replay_buffer.observations.shape[1:] == (N, 4 + N)


def test_dictionaries_and_the_k_target() -> None:
    parts = spaces.Dict({"a": spaces.Box(-1.0, 1.0, (2,)), "b": spaces.Box(-1.0, 1.0, (3,))})
    env = DummyVecEnv([lambda: Spaces(parts, spaces.Box(-1.0, 1.0, (1,)))] * N)
    kwargs = {"net_arch": [16], "k_target_weight": 0.1}
    model = PPO(KGatedMultiInputPolicy, env, policy_kwargs=kwargs, seed=0, device="cpu", **ON)
    model.policy.task_difficulty = 0.5  # type: ignore[assignment]
    made = fleet(model, env).learn(N * 16)
    assert made.policy.task_difficulty == 0.5  # type: ignore[comparison-overlap]
    battery = fleet_battery(made, list("abcd"))
    assert list(battery) == list("abcd")
    assert battery.network.task_difficulty == 0.5


def test_what_cannot_be_a_fleet_is_refused_and_nothing_changes() -> None:
    model = model_of()
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    made = fleet(model, robots())
    image = PPO("KGatedCnnPolicy", Pictures(told=False), device="cpu", **ON)
    contrib = TRPO("KGatedPolicy", robots(), device="cpu", n_steps=8, batch_size=8)
    plain = {"optimizer_class": torch.optim.SGD}
    for refused, env, error, message in (
        (model.policy, robots(), TypeError, "model must be a Stable-Baselines3 model, got KGatedPolicy"),
        (
            PPO("MlpPolicy", robots(), device="cpu"),
            robots(),
            TypeError,
            "model must have a k-gated policy, got one with",
        ),
        (made, robots(), ValueError, "model must have k's that are parameters, got k_from='row'"),
        (image, DummyVecEnv([lambda: Pictures(told=False)]), ValueError, "no gates in its features extractor"),
        (contrib, robots(), TypeError, r"model's algorithm must train its actor by backward\(\), got TRPO"),
        (model_of(policy_kwargs=plain), robots(), TypeError, "must be an Adam or an RMSprop, .* got SGD"),
        (model_of(SAC, VecNormalize(robots(1))), robots(), ValueError, "model must have no VecNormalize in SAC"),
        (model, gym.make(NAME), TypeError, "env must be a Gymnasium VectorEnv or an SB3 VecEnv"),
        (model, VecNormalize(robots()), ValueError, "env must be without a VecNormalize"),
        (model, RowObservation(robots()), ValueError, "env must have the observation_space of the model"),
        (model, torques(), ValueError, "env must have the action_space of the model"),
    ):
        with pytest.raises(error, match=message):
            fleet(refused, env)
    with pytest.warns(UserWarning, match="no hidden layer"):
        flat = model_of(policy_kwargs={"net_arch": []})
    with pytest.raises(ValueError, match="model must have gates"):
        fleet(flat, robots())
    assert all(torch.equal(value, before[name]) for name, value in model.policy.state_dict().items())
    with pytest.raises(AssertionError, match=r"number of environments .* \(5 != 4\)"):  # SB3's own, as the next
        made.set_env(RowObservation(robots(N + 1)))
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        made.set_env(robots(N))


def test_names_are_one_for_each_row_and_unique() -> None:
    made = fleet(model_of(), robots())
    for names, error, message in (
        (["a", "b", "c"], ValueError, "names must be 4, one for each row, got 3"),
        (["a", "b", "a", "c"], ValueError, r"names must be unique, got \['a'\] more than once"),
        ("abcd", TypeError, "names must be a sequence of texts"),
        (4, TypeError, "names must be a sequence of texts"),
        ([0, 1, 2, 3], TypeError, "names must be a sequence of texts"),
    ):
        with pytest.raises(error, match=message):
            fleet_battery(made, names)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"model must be one that nb_agents.fleet made"):
        fleet_battery(model_of())
    with pytest.raises(TypeError, match=r"model must be an SB3 model .* got KGatedPolicy"):
        fleet_battery(made.policy)  # type: ignore[arg-type]
