"""Properties of the k-gated policies, on every algorithm of SB3 and sb3-contrib that they are for."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import ARS, TRPO
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.policies import ActorCriticPolicy

import nb_agents
from nb_agents import PAPER, KGatedPolicy
from tests.nb_agents.policies.kept import actions, check_kept


def test_learn_save_load_and_go_on(algorithm: Any, tmp_path: Path) -> None:
    model = algorithm.make(policy_kwargs={"gate_critic": True, "block_size": 8, "k_lr_ratio": 3.0})
    start = {name: gate.k.detach().clone() for name, gate in model.policy.gates.items()}
    model.learn(64)
    model.policy.task_difficulty = 0.75
    assert all(not torch.equal(gate.k, start[name]) for name, gate in model.policy.gates.items()), "every gate learns"

    check_kept(model, tmp_path)
    loaded = algorithm.cls.load(tmp_path / "model", device=algorithm.device)
    policy = algorithm.policy.load(tmp_path / "policy", device=algorithm.device)
    for other in (loaded.policy, policy):
        assert other.task_difficulty == 0.75
        assert other.k_lr_ratio == 3.0
        assert [gate.block_size for gate in other.gates.values()] == [8] * len(start)


def test_same_seed_same_policy(algorithm: Any) -> None:
    first, second = (algorithm.make().learn(64) for _ in range(2))
    for a, b in zip(first.policy.parameters(), second.policy.parameters(), strict=True):
        assert torch.equal(a, b)


def test_neutral_gates_are_the_plain_policy_before_and_after_training(algorithm: Any) -> None:
    """New gates are exactly 1: with their k held still, SB3's own policy acts the same and trains to the same bits."""
    shared = {} if algorithm.cls is ARS else {"optimizer_class": torch.optim.Adam, "optimizer_kwargs": {"fused": True}}
    settings = {} if "max_grad_norm" not in algorithm.cls.__init__.__annotations__ else {"max_grad_norm": 1e9}
    neutral: dict[str, Any] = {"k_lr_ratio": 0.0}
    if algorithm.cls is TRPO:  # its step in the actor's k's has no rate, but where σ is saturated it is 0
        neutral = {"gate_max": None, "block_size": None, "k_init": 30.0}
    plain_name = "MlpLstmPolicy" if "Recurrent" in algorithm.cls.__name__ else "MlpPolicy"
    models, starts = [], []
    for policy, kwargs in ((None, neutral | shared), (plain_name, dict(shared))):
        models.append(algorithm.make(policy=policy, policy_kwargs=kwargs, **settings))
        starts.append(actions(models[-1]))
    gated, plain = models
    assert np.array_equal(*starts)
    if algorithm.cls is ARS:
        return  # it perturbs the k's as well, and so draws other perturbations for the weights
    # TRPO starts its conjugate gradients from a random number for each parameter: what is left of them after one update
    # is rounding, but the rollouts behind it see other random numbers.
    steps, tolerance = (32, 1e-6) if algorithm.cls is TRPO else (64, 0.0)
    for model in models:
        model.set_random_seed(1)
        model.learn(steps)
    trained = {name.replace(".activation", ""): value for name, value in gated.policy.state_dict().items()}
    for name, value in plain.policy.state_dict().items():
        torch.testing.assert_close(trained[name], value, rtol=0.0, atol=tolerance, msg=f"{name} differs")


def test_a_new_policy_acts_as_sb3s_own_with_the_same_seed(algorithm: Any) -> None:
    """Also where the critic is gated, and whatever the blocks are."""
    if algorithm.cls is ARS:
        return  # SB3 draws its weights elsewhere in the order
    plain = algorithm.make(policy="MlpLstmPolicy" if "Recurrent" in algorithm.cls.__name__ else "MlpPolicy")
    for kwargs in ({}, {"block_size": None}, {"block_size": 5, "block_weight": 1.7, "gate_critic": True}):
        assert np.array_equal(actions(algorithm.make(policy_kwargs=kwargs)), actions(plain)), kwargs


def test_a_model_that_names_its_class_where_it_was_once_still_loads(tmp_path: Path, monkeypatch: Any) -> None:
    model = PPO(KGatedPolicy, "Pendulum-v1", n_steps=8, batch_size=8, seed=0, device="cpu")
    monkeypatch.setattr(KGatedPolicy, "__module__", "nb_agents.policies")  # as it stood in files of earlier versions
    model.save(tmp_path / "model.zip")
    assert b"nb_agents.policies.sb3" not in pickle.dumps(KGatedPolicy)
    loaded = PPO.load(tmp_path / "model.zip", device="cpu")
    assert type(loaded.policy) is KGatedPolicy
    np.testing.assert_array_equal(actions(loaded), actions(model))


def test_the_papers_settings_are_one_mapping(tmp_path: Path) -> None:
    model = PPO(KGatedPolicy, "Pendulum-v1", policy_kwargs={**PAPER, "block_size": None}, device="cpu")
    assert [gate.gate().item() for gate in model.policy.gates.values()] == [
        pytest.approx(1 / (1 + math.exp(-0.25)))
    ] * 2
    assert {**PAPER, "block_size": None}.items() <= model.policy._get_constructor_parameters().items()
    check_kept(model, tmp_path)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))], ids=["copy", "pickle"]
)
def test_copies_keep_regularizer_and_rates(copied: Any) -> None:
    model = PPO(KGatedPolicy, "Pendulum-v1", n_steps=16, batch_size=16, policy_kwargs=dict(PAPER), device="cpu")
    model.learn(16)
    actions(model)  # SB3 keeps the last distribution, and with its graph after training no policy can be copied
    policy = copied(model.policy)
    policy.task_difficulty = 1.0
    assert model.policy.task_difficulty == 0.0, "nothing is shared"
    for gate in policy.gates.values():
        gate.gate().sum().mul(0.0).backward()
        value = torch.sigmoid(gate.k.detach()[0])
        torch.testing.assert_close(gate.k.grad[0], 0.2 * (value - 0.3 * 0.8) * value * (1 - value))
    groups = {group["name"]: group["params"] for group in policy.optimizer.param_groups}
    assert [id(k) for k in groups["gates"]] == [id(gate.k) for gate in policy.gates.values()]


@pytest.mark.parametrize(
    ("cls", "policy", "critic"),
    [
        (PPO, nb_agents.KGatedPolicy, "value_net"),
        (SAC, nb_agents.KGatedSACPolicy, "critic"),
        (TD3, nb_agents.KGatedTD3Policy, "critic"),
    ],
)
def test_the_critic_is_gated_on_demand(cls: Any, policy: Any, critic: str) -> None:
    assert not any(critic in name for name in cls(policy, "Pendulum-v1", device="cpu").policy.gates)
    model = cls(policy, "Pendulum-v1", device="cpu", policy_kwargs={"gate_critic": True})
    assert any(critic in name for name in model.policy.gates)
    assert not any("target" in name for name in model.policy.gates)


def test_nb_has_2_numbers_and_nb_pro_10() -> None:
    for block_size, expected in ((None, 2), (16, 10)):
        model = PPO(KGatedPolicy, "Pendulum-v1", policy_kwargs={"block_size": block_size}, device="cpu")
        assert sum(gate.k.numel() for gate in model.policy.gates.values()) == expected


def test_gsde(sde_algorithm: Any, tmp_path: Path) -> None:
    model = sde_algorithm.make("Pendulum-v1", use_sde=True, sde_sample_freq=4).learn(64)
    assert getattr(model.policy, "actor", model.policy).use_sde
    check_kept(model, tmp_path)


def test_a_policy_class_of_ones_own_gets_gates_from_the_same_mixin(tmp_path: Path) -> None:
    model = PPO(OwnGatedPolicy, "Pendulum-v1", n_steps=16, batch_size=16, seed=0, device="cpu").learn(16)
    assert {name: gate.n_units for name, gate in model.policy.gates.items()} == {"mlp_extractor.policy_net.1": 24}
    check_kept(model, tmp_path)


class OwnNetwork(torch.nn.Module):
    """As in SB3's guide to custom policies."""

    latent_dim_pi, latent_dim_vf = 24, 12

    def __init__(self, features_dim: int) -> None:
        super().__init__()
        self.policy_net = torch.nn.Sequential(torch.nn.Linear(features_dim, 24), OwnActivation())
        self.value_net = torch.nn.Sequential(torch.nn.Linear(features_dim, 12), torch.nn.ReLU())

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        return self.policy_net(features)

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        return self.value_net(features)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.forward_actor(features), self.forward_critic(features)


class OwnPolicy(ActorCriticPolicy):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **(kwargs | {"activation_fn": OwnActivation}))

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = OwnNetwork(self.features_dim)


class OwnGatedPolicy(nb_agents.ActorCriticGates, OwnPolicy):
    pass


class OwnActivation(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"block_size": 0}, ValueError, "block_size"),
        ({"k_lr_ratio": -1.0}, ValueError, "k_lr_ratio must be a finite number >= 0, got -1.0"),
        ({"k_target_weight": -0.1}, ValueError, "k_target_weight"),
        ({"block_weight": math.inf}, ValueError, "block_weight"),
        ({"gate_max": 0.0}, ValueError, "gate_max must be a finite number > 0 or None, got 0.0"),
        ({"task_difficulty": 2}, ValueError, "task_difficulty"),
        ({"gate_critic": "yes"}, TypeError, "gate_critic must be True or False, got 'yes'"),
    ],
)
def test_bad_arguments(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        PPO(KGatedPolicy, "Pendulum-v1", policy_kwargs=kwargs, device="cpu")


def test_a_network_without_hidden_layers_is_built_with_a_warning(algorithm: Any, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="net_arch has no hidden layer that could be gated"):
        model = algorithm.make(policy_kwargs={"net_arch": []}).learn(64)
    assert model.policy.gates == {}
    model.save(tmp_path / "model")
    with pytest.warns(UserWarning, match="net_arch has no hidden layer"):
        loaded = algorithm.cls.load(tmp_path / "model", device=algorithm.device)
    assert np.array_equal(actions(model), actions(loaded))
