"""The network that k-sets belong to: other weights and another architecture are noticed, and nothing else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from nb_agents import KGate
from nb_agents.battery.battery import Battery, FingerprintError
from tests.nb_agents.battery.models import Residual, assert_unchanged, make, shaken, weights


def test_the_critic_the_spread_and_the_difficulty_may_change(model: Any) -> None:
    battery = shaken(model, "a")
    before = battery.verify()
    model.policy.task_difficulty = 1.0
    model.policy.set_training_mode(True)
    with torch.no_grad():
        for name, parameter in model.policy.named_parameters():
            if name.startswith(("critic", "value_net", "mlp_extractor.value_net", "log_std", "actor.log_std")):
                parameter.add_(1.0)
    battery.apply("a")
    assert battery.verify() == before


OPTIMIZERS = {
    "fused": lambda p: torch.optim.Adam(p, fused=True),  # does not count its changes
    "foreach": lambda p: torch.optim.Adam(p, foreach=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-3),
}


@pytest.mark.parametrize("how", [*OPTIMIZERS, "data", "load", "statistics", "replaced"])
def test_other_weights_are_noticed(how: str, tmp_path: Path) -> None:
    net = Residual().eval()
    battery = shaken(net, "a")
    battery.save(tmp_path / "k")
    battery.apply("a")
    x = torch.randn(4, 1, 5, 5)
    if how in OPTIMIZERS:
        net(x).square().sum().backward()
        OPTIMIZERS[how](net.parameters()).step()
    elif how == "data":
        for _ in range(2):  # twice: memory that was given back may be handed out again
            net.out.weight.data = net.out.weight.data + 1
    elif how == "load":
        net.load_state_dict(Residual().state_dict())
    elif how == "statistics":
        net.train()(x)
    else:
        net.out.weight = nn.Parameter(net.out.weight.detach() + 1)
    before = weights(net)
    for refused in (
        lambda: battery.apply("start"),
        lambda: battery.capture("b"),
        lambda: battery.interpolate("a", "start", 0.5, "b"),
        lambda: battery.verify(),
        lambda: battery.save(tmp_path / "other"),
        lambda: battery.per_row(["a"]).__enter__(),
        lambda: Battery.load(tmp_path / "k", net),
    ):
        with pytest.raises(FingerprintError, match="other weights"):
            refused()
    assert_unchanged(net, before)
    assert list(battery) == ["start", "a"]
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_one_changed_weight_among_many_is_noticed(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Linear(128, 128), KGate(128), nn.Linear(128, 1)).to(dtype)
    battery = shaken(net, "a")
    net[0].weight.data[-1, -1] += 1.0  # as by a fused optimizer, PyTorch does not count it
    with pytest.raises(FingerprintError, match="other weights"):
        battery.apply("a")


def test_equal_weights_are_no_other_weights() -> None:
    net = Residual()
    battery = shaken(net, "a")
    net.load_state_dict(copy.deepcopy(net.state_dict()))
    net.out.weight.data = net.out.weight.data.clone()
    before = battery.verify()
    battery.apply("a")
    assert battery.verify() == before
    with torch.no_grad():
        net.out.weight.add_(1)
    battery.remove("a")
    battery.remove("start")
    battery.capture("new")  # an empty battery takes the network as it is
    battery.apply("new")
    assert battery.verify() != before


@pytest.mark.parametrize(
    "other",
    [
        lambda: make(block_size=8),
        lambda: make(block_weight=0.5),
        lambda: make(gate_max=1.0),
        lambda: make(gate_max=None),
        lambda: make(activation_fn=nn.ReLU),
        lambda: make(net_arch=[32, 31]),
        lambda: make("SAC"),
        Residual,
    ],
)
def test_another_architecture_is_noticed(other: Any, tmp_path: Path) -> None:
    shaken(make(), "a").save(tmp_path / "k")
    network = other()
    module = network.policy if isinstance(network, BaseAlgorithm) else network
    before = weights(module)
    with pytest.raises(FingerprintError, match="another architecture"):
        Battery.load(tmp_path / "k", network)
    assert_unchanged(module, before)


def test_arguments_of_activations_are_architecture(tmp_path: Path) -> None:
    net, other = Residual(slope=0.01), Residual(slope=0.02)
    other.load_state_dict(net.state_dict())
    shaken(net, "a").save(tmp_path / "k")
    with pytest.raises(FingerprintError, match="another architecture"):
        Battery.load(tmp_path / "k", other)
