"""Gated models and a module of no particular kind, batteries of random k-sets, and what is compared of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from nb_agents import KGate, KGatedDQNPolicy, KGatedPolicy, KGatedSACPolicy, KGatedTD3Policy
from nb_agents.battery.battery import Battery

ON_POLICY = {"n_steps": 16, "batch_size": 16, "n_epochs": 2}
OFF_POLICY = {"learning_starts": 8, "buffer_size": 100, "batch_size": 8, "train_freq": 4}
MODELS: dict[str, Any] = {
    "PPO": (PPO, KGatedPolicy, "Pendulum-v1", ON_POLICY),
    "SAC": (SAC, KGatedSACPolicy, "Pendulum-v1", OFF_POLICY),
    "TD3": (TD3, KGatedTD3Policy, "Pendulum-v1", OFF_POLICY),
    "DQN": (DQN, KGatedDQNPolicy, "CartPole-v1", OFF_POLICY),
}


def make(name: str = "PPO", **policy_kwargs: Any) -> Any:
    cls, policy, env, settings = MODELS[name]
    return cls(policy, env, policy_kwargs={"net_arch": [32, 32]} | policy_kwargs, seed=0, device="cpu", **settings)


def observations(model: BaseAlgorithm, n: int = 16) -> np.ndarray:
    space = model.observation_space
    limit = 3.0 if space.dtype == np.float32 else 255.0  # of images or of states, some of which are unbounded
    low, high = space.low.astype(float).clip(-limit), space.high.astype(float).clip(max=limit)
    return np.random.default_rng(0).uniform(low, high, (n, *low.shape)).astype(space.dtype)


def outputs(model: Any, observation: np.ndarray) -> np.ndarray:
    """Actions of the deterministic policy; of DQN, whose actions say little, the values."""
    if isinstance(model, DQN):
        with torch.no_grad():
            return model.q_net(torch.as_tensor(observation)).numpy()
    return model.predict(observation, deterministic=True)[0]


def shaken(model: Any, *names: str) -> Battery:
    """A battery of random k-sets, the network's own being "start"."""
    network = model.policy if isinstance(model, BaseAlgorithm) else model
    battery = Battery(network)
    battery.capture("start")
    generator = torch.Generator().manual_seed(0)
    for name in names:
        battery.add(name, torch.randn(battery.n_k, generator=generator) * 2)
    return battery


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_unchanged(module: nn.Module, before: dict[str, torch.Tensor]) -> None:
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name


class Residual(nn.Module):
    """Gates somewhere in a module of no particular kind, with running statistics and images."""

    def __init__(self, block_size: int | None = 4, slope: float = 0.01) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.channels = KGate(6, block_size=block_size, spatial_dims=2, activation=nn.LeakyReLU(slope))
        self.units = KGate(6, block_size=block_size, activation=nn.PReLU())
        self.out = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.channels(self.norm(self.convolution(x))).flatten(2).mean(-1)
        return self.out(h + self.units(h))
