"""Statistics and other states that are no parameters: they hold still with what `train_only` freezes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from nb_agents import Battery, KGate, KGatedPolicy


class RunningMean(nn.Module):
    """Statistics in every place where a module can keep them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("passing", torch.zeros(3), persistent=False)
        self.attribute = torch.zeros(3)
        self.inside = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            assert not torch.is_grad_enabled() or self.inside.training
            self.mean += 0.1 * (x.mean(0) - self.mean)
            self.passing = self.passing + x.mean(0)
            self.attribute = self.attribute + x.mean(0)
        return self.inside(x - self.mean)


STATEFUL = {
    "old spectral norm": lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(3, 8)), nn.ReLU()),
    "spectral norm": lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 8)), nn.ReLU()),
    "spectral norm of the layer behind": lambda: nn.Sequential(
        nn.Linear(3, 8), nn.ReLU(), nn.utils.spectral_norm(nn.Linear(8, 8)), nn.Tanh()
    ),
    "batch norm": lambda: nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU()),
    "instance norm": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 3)),
        nn.InstanceNorm1d(1, track_running_stats=True),
        nn.Flatten(),
        nn.Linear(3, 8),
        nn.ReLU(),
    ),
    "statistics of one's own": lambda: nn.Sequential(RunningMean(), nn.Linear(3, 8), nn.ReLU()),
}


class Encoder(BaseFeaturesExtractor):
    def __init__(self, observation_space: Any, kind: str) -> None:
        super().__init__(observation_space, 8)
        self.net = STATEFUL[kind]()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)  # type: ignore[no-any-return]


def states(network: nn.Module) -> list[torch.Tensor]:
    """Buffers, and tensors that are attributes, of all modules but the gates; computed weights left out."""
    tensors = []
    for module in network.modules():
        if not isinstance(module, KGate):
            own = [value for name, value in vars(module).items() if name == "attribute"]
            tensors += [t.clone() for t in (*own, *module.buffers(recurse=False))]
    return tensors


@pytest.mark.parametrize("what", ["gates", "head"])
@pytest.mark.parametrize("kind", list(STATEFUL))
def test_states_that_are_no_parameters_hold_still_with_what_is_frozen(kind: str, what: str) -> None:
    kwargs = {"features_extractor_class": Encoder, "features_extractor_kwargs": {"kind": kind}}
    settings: dict[str, Any] = {"n_steps": 16, "batch_size": 8, "seed": 0, "device": "cpu"}
    model = PPO(KGatedPolicy, "Pendulum-v1", policy_kwargs=kwargs, **settings).learn(16)
    extractor = model.policy.features_extractor
    moving = states(extractor)
    model.learn(16)
    assert moving
    assert not all(map(torch.equal, moving, states(extractor))), "they move while everything trains"
    battery = Battery(model)
    battery.capture("source")
    model.policy.train_only(what)
    held = states(extractor)
    model.learn(16)
    assert all(map(torch.equal, held, states(extractor)))
    assert all(module.training for module in extractor.modules() if isinstance(module, nn.Dropout))
    if what == "gates":
        battery.apply("source")
    model.policy.train_only("all")
    model.learn(16)
    assert not all(map(torch.equal, held, states(extractor)))


class SpectralHead(KGatedPolicy):
    """The spectral norm is of the layer that trains with "head"."""

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        nn.utils.spectral_norm(self.action_net)


def test_the_state_of_what_trains_goes_on() -> None:
    model = PPO(SpectralHead, "Pendulum-v1", n_steps=16, batch_size=8, seed=0, device="cpu")
    for what, moves in (("head", True), ("gates", False)):
        model.policy.train_only(what)
        before = model.policy.action_net.weight_v.clone()
        model.learn(16)
        assert torch.equal(before, model.policy.action_net.weight_v) is not moves
