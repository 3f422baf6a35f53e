"""Divergences of policies against Monte Carlo, and the Fisher information against second differences of them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import TQC, MaskablePPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from torch import nn

from nb_agents import (
    Battery,
    FiLMGate,
    KGate,
    KGatedDQNPolicy,
    KGatedMultiInputPolicy,
    KGatedPolicy,
    KGatedSACPolicy,
    KGatedTD3Policy,
    SignedKGate,
    effective_dimensions,
    insert_gates,
)
from nb_agents.battery.distributions import components, log_likelihood, prepare
from nb_agents.contrib import KGatedMaskablePolicy, KGatedRecurrentPolicy, KGatedTQCPolicy
from tests.nb_agents.shared import Spaces

BOX = spaces.Box(-2.0, 2.0, (3,), np.float32)
TWO = spaces.Box(-1.0, 1.0, (2,), np.float32)
MANY = spaces.MultiDiscrete([3, 2])
KINDS: dict[str, Any] = {
    "Gaussian": (PPO, KGatedPolicy, TWO, {}),
    "gSDE": (A2C, KGatedPolicy, TWO, {"use_sde": True}),
    "gSDE, squashed": (PPO, KGatedPolicy, TWO, {"use_sde": True, "squash_output": True}),
    "categorical": (PPO, KGatedPolicy, spaces.Discrete(4), {}),
    "multi-categorical": (PPO, KGatedPolicy, MANY, {}),
    "Bernoulli": (PPO, KGatedPolicy, spaces.MultiBinary(3), {}),
    "masked": (MaskablePPO, KGatedMaskablePolicy, spaces.Discrete(4), {}),
    "masked, multi": (MaskablePPO, KGatedMaskablePolicy, MANY, {}),
    "SAC": (SAC, KGatedSACPolicy, TWO, {}),
    "SAC, gSDE": (SAC, KGatedSACPolicy, TWO, {"use_sde": True}),
    "TQC": (TQC, KGatedTQCPolicy, TWO, {}),
}


def make(kind: str, **policy_kwargs: Any) -> Any:
    """A model whose output layer is large enough for k to matter."""
    algorithm, policy, actions, more = KINDS[kind]
    more = dict(more)
    squash = {"squash_output": more.pop("squash_output")} if "squash_output" in more else {}
    arguments: dict[str, Any] = {"net_arch": [16, 16]} | squash | policy_kwargs
    model = algorithm(policy, Spaces(BOX, actions), policy_kwargs=arguments, seed=0, device="cpu", **more)
    generator = torch.Generator().manual_seed(0)
    layers = [model.policy.action_net] if hasattr(model.policy, "action_net") else [model.actor.mu]
    for parameter in (p for layer in layers for p in layer.parameters()):
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return model


def battery_of(model: Any, *names: str) -> Battery:
    battery, generator = Battery(model), torch.Generator().manual_seed(1)
    for name in names or ("a", "b"):
        battery.add(name, torch.randn(battery.n_k, generator=generator))
    return battery


def observations(n: int = 8) -> np.ndarray:
    return np.random.default_rng(0).uniform(-2.0, 2.0, (n, 3)).astype(np.float32)


def policies(battery: Battery, seen: np.ndarray) -> list[Any]:
    policy, found = battery.network, []
    for name in battery:
        battery.apply(name)
        with torch.no_grad():
            found.append(components(policy, prepare(policy, seen)))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_divergence_is_what_samples_say(kind: str) -> None:
    battery, seen = battery_of(make(kind)), observations()
    before = {name: value.clone() for name, value in battery.network.state_dict().items()}
    modes = [module.training for module in battery.network.modules()]
    found = battery.distance("a", "b", seen)
    assert modes == [module.training for module in battery.network.modules()]
    assert all(torch.equal(value, before[name]) for name, value in battery.network.state_dict().items())
    p, q = policies(battery, seen)
    torch.manual_seed(0)
    ratios = []
    for _ in range(4000):
        drawn = [each.sample() for each in p]
        actions = torch.stack(drawn, dim=1) if len(p) > 1 else drawn[0]
        ratios.append((log_likelihood(p, actions) - log_likelihood(q, actions)).mean())
    sampled = torch.stack(ratios)
    assert found > 0.005
    assert abs(found - float(sampled.mean())) < 4 * float(sampled.std()) / 4000**0.5
    assert battery.distance("a", "a", seen) == 0.0
    back = battery.distance("b", "a", seen)
    assert battery.distance("a", "b", seen, symmetric=True) == pytest.approx((found + back) / 2, rel=1e-12)
    np.testing.assert_allclose(battery.distances(seen), [[0.0, found], [back, 0.0]])


@pytest.mark.parametrize("kind", ["SAC", "TQC"])
def test_a_squashed_action_is_as_likely_as_what_is_squashed(kind: str) -> None:
    """Of the difference of two policies: each by itself differs by the logarithm of the slope of tanh."""
    battery, seen = battery_of(make(kind)), observations()
    actor, squashed = battery.network.actor, []
    raw = torch.randn(8, 2, generator=torch.Generator().manual_seed(2))
    for name in battery:
        battery.apply(name)
        mean, log_std, more = actor.get_action_dist_params(torch.as_tensor(seen))
        squashed.append(actor.action_dist.proba_distribution(mean, log_std, **more).log_prob(raw.tanh(), raw))
    p, q = policies(battery, seen)
    expected = log_likelihood(p, raw) - log_likelihood(q, raw)
    assert torch.allclose((squashed[0] - squashed[1]).double(), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "gate_class"), [*((kind, KGate) for kind in KINDS), ("Gaussian", SignedKGate), ("gSDE", FiLMGate)]
)
def test_the_fisher_information_is_the_curvature_of_the_divergence(kind: str, gate_class: Any) -> None:
    model, seen = make(kind, gate_class=gate_class), observations()
    battery = battery_of(model, "now")
    battery.apply("now")
    found = effective_dimensions(model, seen)
    assert found.eigenvalues.shape == (battery.n_k,)
    assert (np.diff(found.eigenvalues) <= 0).all()
    np.testing.assert_allclose(found.directions @ found.directions.T, np.eye(battery.n_k), atol=1e-9)
    step = 0.02
    for i in (0, 1, battery.n_k // 2):
        for sign in (1, -1):
            moved = battery["now"] + sign * step * torch.as_tensor(found.directions[i]).float()
            battery.add(f"{sign}", moved, overwrite=True)
        curvature = (battery.distance("now", "1", seen) + battery.distance("now", "-1", seen)) / step**2
        assert curvature == pytest.approx(found.eigenvalues[i], rel=1e-2, abs=1e-4 * found.eigenvalues[0])


def test_nb_pro_has_two_numbers_more_than_directions() -> None:
    model = make("Gaussian", net_arch=[64, 64])
    seen = observations(64)
    battery = battery_of(model, "a")
    battery.apply("a")
    found = effective_dimensions(model, seen)
    assert (battery.n_k, found.rank) == (10, 8)
    assert (found.eigenvalues[8:] < 1e-12 * found.eigenvalues[0]).all()
    assert 1.0 <= found.participation <= 8.0
    assert effective_dimensions(make("Gaussian", block_size=None), seen).rank == 2


def along_null(battery: Battery, k: torch.Tensor, shift: float) -> torch.Tensor:
    """Other k's with the same gates: what the layer's number adds, its blocks' take away."""
    parts = []
    for gate, part in zip(battery.gates.values(), k.double().split([5, 5]), strict=True):
        values, layer, block = part.sigmoid(), gate.membership[0, 0].item(), gate.membership[:, 1:].max().item()
        values = values + torch.tensor([shift / layer, *[-shift / block] * 4])
        parts.append(values.logit())
    return torch.cat(parts).float()


def test_k_sets_with_the_same_gates_are_the_same() -> None:
    battery, seen = battery_of(make("Gaussian", net_arch=[64, 64]), "a", "b"), observations()
    battery.add("moved", along_null(battery, battery["a"], 0.02))
    assert (battery["moved"] - battery["a"]).abs().max() > 0.1
    assert battery.same("a", "moved")
    assert battery.same("a", "a")
    assert not battery.same("a", "b")
    assert battery.distance("a", "moved", seen) < 1e-9 < battery.distance("a", "b", seen)
    battery.add("a little", battery["a"] + 1e-4)
    assert not battery.same("a", "a little")
    with pytest.raises(KeyError, match="no k-set named 'c'"):
        battery.same("a", "c")


def test_a_shift_makes_k_sets_different() -> None:
    battery = Battery(make("Gaussian", gate_class=FiLMGate))
    battery.capture("start")
    k = battery["start"]
    k[-1] += 0.1
    battery.add("shifted", k)
    assert not battery.same("start", "shifted")


def test_observations_that_are_dictionaries() -> None:
    space = spaces.Dict({"a": BOX, "b": spaces.Box(-1.0, 1.0, (2,), np.float32)})
    model = PPO(KGatedMultiInputPolicy, Spaces(space, TWO), device="cpu")
    battery = battery_of(model)
    parts = {"a": observations(), "b": np.zeros((8, 2), np.float32)}
    assert battery.distance("a", "b", parts) > 0.0
    assert len(effective_dimensions(model, parts).eigenvalues) == battery.n_k
    with pytest.raises(ValueError, match="observations must be a batch of Dict"):
        battery.distance("a", "b", {"a": parts["a"]})


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (np.zeros((2, 4), np.float32), r"observations must be a batch of Box\(-2.0, 2.0, \(3,\)"),
        (np.zeros(3, np.float32), "got a single one"),
        (np.zeros((0, 3), np.float32), "at least one, got none"),
        (np.full((2, 3), np.nan, np.float32), "observations must be finite, got nan"),
        ("these", "observations must be a batch of Box"),
    ],
)
def test_observations_of_another_space(seen: Any, message: str) -> None:
    model = make("Gaussian")
    battery = battery_of(model)
    for call in (lambda: battery.distance("a", "b", seen), lambda: battery.tree(seen), lambda: battery.distances(seen)):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match=message):
        effective_dimensions(model, seen)


def test_networks_without_a_distribution_are_refused_by_name() -> None:
    flat, off = Spaces(BOX, TWO), {"buffer_size": 10, "device": "cpu"}
    deterministic = [
        TD3(KGatedTD3Policy, flat, **off),
        DQN(KGatedDQNPolicy, Spaces(BOX, spaces.Discrete(2)), **off),
    ]
    for model in deterministic:
        name = type(model.policy).__name__
        with pytest.raises(TypeError, match=f"got a deterministic {name}"):
            battery_of(model).distance("a", "b", observations())
    from sb3_contrib import RecurrentPPO

    with pytest.raises(TypeError, match="with a memory"):
        battery_of(RecurrentPPO(KGatedRecurrentPolicy, flat, device="cpu")).distance("a", "b", observations())
    net = insert_gates(nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2)))
    with pytest.raises(TypeError, match="must be a policy of SB3"):
        battery_of(net).distance("a", "b", observations())
    battery = battery_of(make("Gaussian"))
    with pytest.raises(KeyError, match="no k-set named 'c'"):
        battery.distance("a", "c", observations())
    with pytest.raises(TypeError, match="symmetric must be True or False, got 1"):
        battery.distance("a", "b", observations(), symmetric=1)  # type: ignore[arg-type]


def test_a_tree_joins_what_is_alike(tmp_path: Any) -> None:
    battery, seen = battery_of(make("Gaussian"), "a", "b"), observations()
    battery.add("like a", battery["a"] + 1e-3)
    figure = battery.tree(seen, tmp_path / "tree.png")
    assert (tmp_path / "tree.png").read_bytes().startswith(b"\x89PNG")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names.index("b") in (0, 2), "the one that differs stands outside"
    length = np.sqrt(2 * battery.distance("a", "like a", seen, symmetric=True))
    joints = sorted(path.vertices[:, 0].max() for each in figure.axes[0].collections for path in each.get_paths())
    assert joints[0] == pytest.approx(length)
    battery.remove("b")
    battery.remove("like a")
    with pytest.raises(ValueError, match=r"at least two k-sets, got \['a'\]"):
        battery.tree(seen)


def test_pendulum_v1_with_sb3_defaults() -> None:
    model = SAC(KGatedSACPolicy, gym.make("Pendulum-v1"), device="cpu", buffer_size=10)
    seen = np.stack([model.observation_space.sample() for _ in range(4)])
    assert battery_of(model).distance("a", "b", seen) > 0.0
