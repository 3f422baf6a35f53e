"""Gates whose k is a function of a part of the observation, in SB3's own loops."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import ARS, RecurrentPPO
from stable_baselines3 import PPO, SAC, TD3
from torch import nn

import nb_agents
from nb_agents import ClampedKGate, FiLMGate, KGate, KGatedPolicy
from nb_agents.gates.signed import SignedKGate
from nb_agents.inference.conditioned import ConditionedNet, condition, conditioned_nets
from nb_gym.wrappers import HistoryObservation
from tests.nb_agents.inference.models import DICT, FLAT, OFF, ON, batch, make_env, make_model, with_context


@pytest.mark.parametrize(("algorithm", "policy", "key", "settings"), FLAT + DICT)
def test_learn_save_load_and_act_by_the_context(
    algorithm: Any, policy: Any, key: bool, settings: dict[str, Any], tmp_path: Path
) -> None:
    model = make_model(algorithm, policy, key, settings)
    observations = batch(model)
    model.learn(24)
    model.save(tmp_path / "model.zip")
    model.policy.save(tmp_path / "policy.pth")
    acted = model.predict(observations, deterministic=True)[0]
    loaded = algorithm.load(tmp_path / "model.zip", device="cpu")
    alone = type(model.policy).load(tmp_path / "policy.pth", device="cpu")
    for other in (loaded, alone):
        np.testing.assert_array_equal(other.predict(observations, deterministic=True)[0], acted)
    (net, *_) = conditioned_nets(model.policy)
    features = torch.zeros(2, len(net.main) + len(net.given))
    features[0, net.given], features[1, net.given] = 1.0, -1.0
    k = net.k(features)
    assert (k[0] - k[1]).abs().min() > 0.0, "every k depends on the context"
    loaded.set_env(model.get_env())
    loaded.learn(16)


@pytest.mark.parametrize(("algorithm", "policy"), [(SAC, nb_agents.KGatedSACPolicy), (TD3, nb_agents.KGatedTD3Policy)])
def test_an_actor_is_saved_and_loaded_by_itself(algorithm: Any, policy: Any, tmp_path: Path) -> None:
    model = make_model(algorithm, policy, False, OFF)
    model.actor.save(tmp_path / "actor.pth")
    loaded = type(model.actor).load(tmp_path / "actor.pth", device="cpu")
    observations = batch(model)
    a, b = (each.predict(observations, deterministic=True)[0] for each in (model.actor, loaded))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("block_size", [None, 16])
@pytest.mark.parametrize("kind", [KGate, SignedKGate, FiLMGate])
def test_a_row_is_what_a_plain_gated_network_with_its_k_gives(kind: Any, block_size: int | None) -> None:
    model = make_model(PPO, KGatedPolicy, False, ON | {"batch_size": 8}, gate_class=kind, block_size=block_size)
    net = model.policy.mlp_extractor.policy_net
    features = torch.as_tensor(batch(model), dtype=torch.float32)
    k = net.k(features)
    torch.testing.assert_close(net(features), net.run(features[:, net.main], k), rtol=0.0, atol=0.0)
    sets = 2 if kind is FiLMGate else 1
    assert k.shape == (6, sets * (2 if block_size is None else 6))
    k = k + torch.randn_like(k)
    together = net.run(features[:, net.main], k)
    plain = nn.Sequential(*copy.deepcopy(net.layers))
    gates = [layer for layer in plain if isinstance(layer, KGate)]
    for row in range(6):
        start = 0
        with torch.no_grad():
            for gate in gates:
                gate.k.copy_(k[row, start : start + len(gate.k)])
                start += len(gate.k)
        torch.testing.assert_close(plain(features[row : row + 1, net.main]), together[row : row + 1])


class Waves(KGate):
    """A kind whose phi reads the gate, so that no product does for all."""

    def phi(self, k: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return 0.5 * torch.cos(k * self.n_units)


@pytest.mark.parametrize("block_size", [None, 16])
@pytest.mark.parametrize("kind", [KGate, SignedKGate, FiLMGate, ClampedKGate, Waves])
def test_one_product_for_all_gates_is_what_each_makes_of_its_own_k(kind: Any, block_size: int | None) -> None:
    kwargs = {"gate_class": kind, "block_size": block_size, "net_arch": [32, 20]}
    model = make_model(PPO, KGatedPolicy, False, ON | {"batch_size": 8}, **kwargs)
    net = model.policy.mlp_extractor.policy_net
    assert (net.spread is None) is (kind in (ClampedKGate, Waves))
    for dtype in (torch.float32, torch.float64):
        net.to(dtype)
        x, k = torch.randn(7, 2, dtype=dtype), torch.randn(7, sum(len(gate.k) for gate in net.gates), dtype=dtype)
        together, net.spread = net.run(x, k), None
        torch.testing.assert_close(together, net.run(x, k))


def test_layers_do_not_see_the_context_and_the_critic_does() -> None:
    model = make_model(PPO, KGatedPolicy, False, ON | {"batch_size": 8}, k_net=lambda n, m: nn.Linear(n, m))
    (net,) = conditioned_nets(model.policy)
    with torch.no_grad():
        net.k_net.weight.zero_()
    observations = batch(model)
    here, there = with_context(observations, 1.0), with_context(observations, -1.0)
    a, b = (model.predict(each, deterministic=True)[0] for each in (here, there))
    np.testing.assert_array_equal(a, b)
    values = [model.policy.predict_values(torch.as_tensor(each)) for each in (here, there)]
    assert not torch.equal(*values)


def test_f_keeps_its_own_start_and_its_gradient_is_that_of_the_k_sets() -> None:
    made: list[nn.Module] = []

    def k_net(n_inputs: int, n_outputs: int) -> nn.Module:
        made.append(nn.Linear(n_inputs, n_outputs))
        nn.init.constant_(made[-1].weight, 0.25)
        nn.init.constant_(made[-1].bias, 0.5)
        return made[-1]

    model = make_model(PPO, KGatedPolicy, False, ON | {"batch_size": 8}, k_net=k_net)
    (net,) = conditioned_nets(model.policy)
    assert (net.k_net.weight == 0.25).all(), "SB3's orthogonal initialisation is not f's"
    assert (net.k_net.bias == 0.5).all()
    features = torch.as_tensor(batch(model), dtype=torch.float32)
    k = net.k(features).detach().requires_grad_()
    net.run(features[:, net.main], k).sum().backward()
    rows = k.grad
    assert rows is not None
    net(features).sum().backward()
    torch.testing.assert_close(net.k_net.weight.grad, rows.T @ features[:, net.given])
    torch.testing.assert_close(torch.cat([gate.k.grad for gate in net.gates]), rows.sum(dim=0))


@pytest.mark.parametrize(
    ("env", "kwargs", "error", "message"),
    [
        ("bare", {}, ValueError, "k_from needs an observation with named parts"),
        (
            "context",
            {"k_from": "history"},
            ValueError,
            r"k_from must be one of several parts .*'context'\]; got 'history'",
        ),
        (
            "context",
            {"k_from": ""},
            ValueError,
            "k_from must be the name of a part of the observation, or None, got ''",
        ),
        ("context", {"k_from": 5}, TypeError, "k_from must be the name of a part of the observation, or None, got 5"),
        ("context", {"k_from": ()}, ValueError, r"k_net must be a function where k_from is \(\), .* got \(32,\)"),
        ("context", {"k_net": lambda n, m: nn.Linear(n, 1)}, ValueError, r"gives \(batch, 10\) .*, got \(2, 1\) for a"),
        (
            "context",
            {"k_net": lambda n, m: nn.Linear(n + 1, m)},
            ValueError,
            "for a batch of 2 it fails: mat1 and mat2",
        ),
        (
            "context",
            {"k_net": lambda n, m: torch.zeros(m)},
            TypeError,
            r"k_net must make a torch\.nn\.Module, got tensor",
        ),
        ("context", {"k_net": "linear"}, TypeError, "k_net must be hidden units layer by layer, .* got 'linear'"),
        ("context", {"k_net": (8, 0)}, ValueError, "k_net must have at least 1 unit in each layer"),
        ("context", {"net_arch": []}, ValueError, "k_from needs gated layers, the first one linear"),
    ],
)
def test_bad_arguments(env: str, kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    made = make_env() if env == "context" else gym.make("NBPendulum-v0")
    with pytest.raises(error, match=message):
        PPO(KGatedPolicy, made, policy_kwargs={"k_from": "context", **kwargs})


def test_asking_f_for_its_width_draws_no_random_numbers_and_leaves_it_as_it_is() -> None:
    made: list[Any] = []

    def k_net(n_inputs: int, n_outputs: int) -> nn.Module:
        made.append(nn.Sequential(nn.BatchNorm1d(n_inputs), nn.Dropout(), nn.Linear(n_inputs, n_outputs)))
        made.append(torch.get_rng_state())
        return made[0]

    torch.manual_seed(3)
    condition(nn.Sequential(nn.Linear(6, 8), KGate(8)), {"a": slice(0, 4), "b": slice(4, 6)}, "b", k_net)
    assert torch.equal(torch.get_rng_state(), made[1])
    assert made[0][0].num_batches_tracked == 0
    assert made[0].training


def test_an_algorithm_in_which_no_k_is_computed_refuses_a_part_to_compute_it_from() -> None:
    for algorithm, name in ((ARS, "a KGatedARSPolicy"), (RecurrentPPO, "RecurrentPPO")):
        with pytest.raises(ValueError, match=rf"k_from must be None in {name}, whose .*; got 'context'"):
            algorithm("KGatedPolicy", make_env(), policy_kwargs={"k_from": "context"})


def test_the_history_can_be_what_the_ks_come_from() -> None:
    model = PPO(
        KGatedPolicy, HistoryObservation(make_env(), 4), policy_kwargs={"k_from": "history"}, n_steps=8, batch_size=8
    )
    (net,) = conditioned_nets(model.policy)
    assert isinstance(net, ConditionedNet)
    assert (len(net.main), len(net.given)) == (4, 4 * 6)
    model.learn(8)
