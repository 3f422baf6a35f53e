"""Layers, extractors and policies of one's own: where their gates are placed, and that what is frozen stays so."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from stable_baselines3 import A2C, SAC
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

import nb_agents
from nb_agents.gates.gate import named_gates
from nb_agents.policies.placing import gate_sequential
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.insert import insert_gates
from nb_agents.surgery.retrofit import retrofit
from tests.nb_agents.surgery.entries import OneHead, shuffled


def test_gates_live_where_their_layers_do() -> None:
    net = nn.Sequential(nn.Linear(8, 8).half(), nn.ReLU(), nn.Linear(8, 8, device="meta"), nn.ReLU(), nn.Linear(8, 4))
    net.register_parameter("count", nn.Parameter(torch.zeros(1, dtype=torch.long), requires_grad=False))
    places = [(gate.k.dtype, gate.k.device.type) for _, gate in named_gates(insert_gates(net))]
    assert places == [(torch.float16, "cpu"), (torch.float32, "meta")]


class Custom(nn.Module):
    """A layer that nobody knows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x], -1)


def test_widths_behind_unknown_layers_are_not_guessed() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), Custom(), nn.ReLU(), nn.Linear(16, 2))
    gate_sequential(net, gate_last=False)
    assert [name for name, _ in named_gates(net)] == ["1"]
    flat = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.ReLU(), nn.Linear(4 * 16, 2))
    gate_sequential(flat, gate_last=False)
    assert not any(named_gates(flat))
    nested = nn.Sequential(nn.Sequential(nn.Linear(4, 6), nn.Dropout()), nn.ReLU(), nn.Linear(6, 2).double())
    gate_sequential(nested, gate_last=False)
    ((name, gate),) = named_gates(nested)
    assert (name, gate.n_units, gate.k.dtype) == ("1", 6, torch.float32)


class Normalized(BaseFeaturesExtractor):
    """A normalization behind the activation."""

    def __init__(self, space: Any) -> None:
        super().__init__(space, 8)
        self.net = nn.Sequential(nn.Linear(space.shape[0], 8), nn.ReLU(), nn.LayerNorm(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@pytest.mark.parametrize("activation_fn", [nn.ELU, partial(nn.LeakyReLU, 0.1), lambda: nn.Softplus(2)])
def test_shared_extractors_and_activations_that_are_no_class(activation_fn: Any) -> None:
    kwargs = {"features_extractor_class": Normalized, "activation_fn": activation_fn, "net_arch": [8]}
    model = SAC(
        nb_agents.KGatedSACPolicy, "Pendulum-v1", policy_kwargs={**kwargs, "share_features_extractor": True},
        buffer_size=10, device="cpu",
    )  # fmt: skip
    assert list(model.policy.gates) == ["actor.features_extractor.net.2", "actor.latent_pi.1"]
    shuffled(model.policy)
    assert not any(named_gates(fold_gates(model).policy))


class Trunk(nn.Module):
    """An MLP extractor as a user writes it: a trunk, and activations that are attributes."""

    latent_dim_pi = latent_dim_vf = 8

    def __init__(self, n: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(n, 8), nn.ReLU(), nn.LayerNorm(8))
        self.pi, self.pi_act, self.vf, self.shared = nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.forward_actor(x), self.forward_critic(x)

    def forward_actor(self, x: torch.Tensor) -> torch.Tensor:
        return self.shared(self.pi_act(self.pi(self.trunk(x))))

    def forward_critic(self, x: torch.Tensor) -> torch.Tensor:
        return self.shared(self.vf(self.trunk(x)))


class Own(ActorCriticPolicy):
    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = Trunk(self.features_dim)  # type: ignore[assignment]


class OwnGated(nb_agents.ActorCriticGates, Own):
    """`Own` with gates."""


def test_own_mlp_extractor() -> None:
    model = A2C(OwnGated, "Pendulum-v1", device="cpu")
    assert list(model.policy.gates) == ["mlp_extractor.trunk.2", "mlp_extractor.pi_act"]
    shuffled(model.policy)
    assert type(fold_gates(model).policy) is Own


def test_frozen_parameters_stay_frozen() -> None:
    model = A2C("MlpPolicy", "Pendulum-v1", policy_kwargs={"net_arch": [8, 8]}, device="cpu")
    frozen = {"mlp_extractor.policy_net.0.weight", "value_net.bias", "log_std"}
    for name, parameter in model.policy.named_parameters():
        parameter.requires_grad_(name not in frozen)
    gated = retrofit(model)
    assert {name for name, p in gated.policy.named_parameters() if not p.requires_grad} == frozen
    for adapted in (False, True):
        if adapted:
            gated.policy.train_only("gates")
        for policy in (fold_gates(gated).policy, fold_gates(gated.policy)):
            assert {name for name, p in policy.named_parameters() if not p.requires_grad} == frozen
    net = OneHead()
    net.a.weight.requires_grad_(False)
    folded = fold_gates(insert_gates(net))
    assert [name for name, p in folded.named_parameters() if not p.requires_grad] == ["a.weight"]
