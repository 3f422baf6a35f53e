"""State dicts as code outside takes them, and policies that were averaged, cast or compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC
from torch.optim.swa_utils import AveragedModel

import nb_agents
import nb_agents._objects
from nb_agents import PAPER, Battery, DeterministicPolicy, KGateCallback, KGatedPolicy, fold_gates

SMALL: dict[str, Any] = {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "seed": 0, "device": "cpu"}


def test_the_state_dict_is_the_plain_one_and_the_ks(algorithm: Any) -> None:
    model = algorithm.make()
    plain_policy = next(c for c in algorithm.policy.__mro__ if c.__module__.startswith(("stable_baselines3", "sb3_")))
    plain = algorithm.make(policy=plain_policy)
    ks = {f"{name}.k" for name, gate in model.policy.named_modules() if isinstance(gate, nb_agents.KGate)}
    assert ks
    assert model.policy.state_dict().keys() == plain.policy.state_dict().keys() | ks
    assert all(value.is_floating_point() for key, value in model.policy.state_dict().items() if key in ks)


def test_settings_are_in_the_state_dict_where_they_differ() -> None:
    policy = PPO(KGatedPolicy, "Pendulum-v1", device="cpu").policy
    plain = dict(policy.state_dict())
    policy.task_difficulty = 0.7
    policy.train_only("gates", log_std=True)
    state = policy.state_dict()
    assert state.keys() - plain.keys() == {"_extra_state", "regularizer._extra_state"}
    assert all(value.is_floating_point() for value in state.values())
    other = PPO(KGatedPolicy, "Pendulum-v1", device="cpu").policy
    other.load_state_dict(state)
    assert (other.task_difficulty, other.trains) == (0.7, "gates")
    assert other.log_std.requires_grad
    other.load_state_dict(plain)
    assert (other.task_difficulty, other.trains) == (0.0, "all"), "absent settings are the default"
    assert all(p.requires_grad for p in other.parameters())


def test_a_plain_state_dict_says_nothing_of_settings() -> None:
    policy = PPO(KGatedPolicy, "Pendulum-v1", device="cpu").policy
    policy.task_difficulty = 0.7
    policy.train_only("gates")
    policy.load_state_dict(PPO("MlpPolicy", "Pendulum-v1", device="cpu").policy.state_dict(), strict=False)
    assert (policy.task_difficulty, policy.trains) == (0.7, "gates")


def test_state_dicts_of_earlier_versions() -> None:
    policy = PPO(KGatedPolicy, "Pendulum-v1", policy_kwargs={**PAPER}, device="cpu").policy
    state = policy.state_dict()
    state["_extra_state"] = torch.tensor([1, 0], dtype=torch.uint8)
    state["regularizer._extra_state"] = torch.tensor(0.25, dtype=torch.float64)
    policy.load_state_dict(state)
    with pytest.raises(RuntimeError, match=r"saved when all gates were the paper's: pass policy_kwargs=.*PAPER"):
        PPO(KGatedPolicy, "Pendulum-v1", device="cpu").policy.load_state_dict(state)
    assert (policy.task_difficulty, policy.trains) == (0.25, "gates")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_state_dicts_as_numbers(dtype: torch.dtype) -> None:
    """Cast, averaged with another one, and filled with noise, as code does that takes a state dict for numbers."""
    policies = [PPO(KGatedPolicy, "Pendulum-v1", device="cpu", seed=seed).policy for seed in (0, 1)]
    for policy in policies:
        policy.task_difficulty = 0.25
        policy.train_only("gates")
    states = [{key: value.to(dtype) for key, value in policy.state_dict().items()} for policy in policies]
    mean = {key: (states[0][key] + states[1][key]) / 2 for key in states[0]}
    policies[0].load_state_dict(mean)
    assert (policies[0].task_difficulty, policies[0].trains) == (0.25, "gates")
    for key, value in policies[0].state_dict().items():
        torch.testing.assert_close(value, mean[key].to(value.dtype))
    policy = PPO(KGatedPolicy, "Pendulum-v1", device="cpu").policy
    policy.load_state_dict({key: torch.rand_like(value) for key, value in policy.state_dict().items()})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("_extra_state", torch.tensor([0.3, 0.0]), r"must be known, got \[0.3"),
        ("_extra_state", torch.tensor([1.0]), r"must hold finite numbers of shape \(2,\)"),
        ("_extra_state", None, "must be a tensor, got None"),
        ("regularizer._extra_state", torch.tensor(1.5), r"task_difficulty must be .* got 1.5"),
        ("regularizer._extra_state", torch.tensor(float("nan")), "must hold finite numbers"),
    ],
)
def test_a_state_dict_with_unknown_settings_is_refused(key: str, value: Any, message: str) -> None:
    policy = PPO(KGatedPolicy, "Pendulum-v1", device="cpu").policy
    with pytest.raises(RuntimeError, match=message):
        policy.load_state_dict(policy.state_dict() | {key: value})
    assert (policy.task_difficulty, policy.trains) == (0.0, "all")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_cast_policies(dtype: torch.dtype) -> None:
    """Gates compute in the network's dtype, and the k-target acts in it."""
    policy = PPO(KGatedPolicy, "Pendulum-v1", policy_kwargs={"k_target_weight": 0.1}, device="cpu").policy
    source = policy.state_dict()
    policy.to(dtype)
    features = torch.ones(4, 3, dtype=dtype)
    out = policy.action_net(policy.mlp_extractor.forward_actor(features))
    assert out.dtype == dtype
    out.sum().mul(0.0).backward()
    for gate in policy.gates.values():
        value = torch.sigmoid(gate.k.detach()[0].double())
        expected = 0.2 * (value - 0.15) * value * (1 - value)
        torch.testing.assert_close(gate.k.grad[0].double(), expected, rtol=1e-2, atol=1e-4)
    policy.train_only("gates")
    battery = Battery(policy)
    battery.capture("source")
    battery.apply("source")
    other = PPO(KGatedPolicy, "Pendulum-v1", device="cpu").policy
    other.load_state_dict(policy.state_dict())
    for key, value in source.items():
        torch.testing.assert_close(other.state_dict()[key], value.to(dtype).float())


def test_averaged_policies() -> None:
    model = PPO(KGatedPolicy, "Pendulum-v1", **SMALL)
    averaged, states = AveragedModel(model.policy), []
    for _ in range(3):
        model.learn(16)
        averaged.update_parameters(model.policy)
        states.append({key: value.clone() for key, value in model.policy.state_dict().items()})
    model.policy.load_state_dict(averaged.module.state_dict())
    for key, value in model.policy.state_dict().items():
        torch.testing.assert_close(value, torch.stack([state[key] for state in states]).mean(0))
    assert len(averaged.module.gates) == 2


def test_an_averaged_policy_follows_what_adapts() -> None:
    settings: dict[str, Any] = {"learning_starts": 8, "batch_size": 8, "seed": 0, "device": "cpu"}
    model = SAC("KGatedPolicy", "Pendulum-v1", **settings).learn(16)
    model.policy.train_only("gates")
    averaged = AveragedModel(model.policy, use_buffers=True)
    for _ in range(2):
        model.learn(16)
        averaged.update_parameters(model.policy)
    for key, value in averaged.module.actor.state_dict().items():
        assert torch.equal(value, model.policy.actor.state_dict()[key]) is not key.endswith(".k"), key
    assert averaged.module.trains == "gates"


@pytest.mark.filterwarnings("ignore")  # PyTorch's own, at the first compilation
@pytest.mark.parametrize("wrapped", [True, False])
def test_compiled_policies(wrapped: bool, tmp_path: Any) -> None:
    """With ``torch.compile(policy)`` and with ``policy.compile()``: the same training, files and tools."""
    torch._dynamo.reset()
    models = [PPO(KGatedPolicy, "Pendulum-v1", policy_kwargs={"k_target_weight": 0.1}, **SMALL) for _ in range(2)]
    plain, compiled = models
    if wrapped:
        compiled.policy = torch.compile(compiled.policy, backend="eager")  # type: ignore[assignment]
    else:
        compiled.policy.compile(backend="eager")
    for model in models:
        model.set_random_seed(0)
        model.learn(16, callback=KGateCallback())
        model.policy.train_only("gates")
        model.learn(16)
    states = [nb_agents._objects.uncompiled(model.policy).state_dict() for model in models]
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], msg=key)

    obs = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    expected = plain.predict(obs, deterministic=True)[0]
    compiled.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", device="cpu")
    assert loaded.policy.trains == "gates"
    for model in (compiled, loaded, fold_gates(compiled)):
        np.testing.assert_allclose(model.predict(obs, deterministic=True)[0], expected, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        exported = DeterministicPolicy(compiled)(torch.as_tensor(obs)).numpy()
    np.testing.assert_allclose(exported, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_battery_of_a_compiled_policy(wrapped: bool, tmp_path: Any) -> None:
    torch._dynamo.reset()
    policy = PPO(KGatedPolicy, "Pendulum-v1", device="cpu").policy
    network = torch.compile(policy, backend="eager") if wrapped else policy
    if not wrapped:
        policy.compile(backend="eager")
    battery, obs = Battery(network), torch.randn(4, 3)
    battery.capture("low")
    with torch.no_grad():
        for gate in policy.gates.values():
            gate.k.add_(1.0)
    battery.capture("high")
    actions = {}
    for name in ("low", "high"):
        battery.apply(name)
        actions[name] = network(obs, deterministic=True)[0]
    assert not torch.allclose(actions["low"], actions["high"])
    with battery.per_row(["low", "high", "low", "high"]):
        mixed = network(obs, deterministic=True)[0]
    even = (torch.arange(4) % 2 == 0)[:, None]
    torch.testing.assert_close(mixed, torch.where(even, actions["low"], actions["high"]))
    torch.testing.assert_close(network(obs, deterministic=True)[0], actions["high"])
    battery.save(tmp_path / "k")
    assert list(Battery.load(tmp_path / "k", policy)) == ["low", "high"]
