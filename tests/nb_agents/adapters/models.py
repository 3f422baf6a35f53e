"""Small models with all adapters, and what is compared of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3 import DQN, PPO, SAC, TD3

from nb_agents import retrofit

OFF_POLICY = {"learning_starts": 8, "buffer_size": 100, "batch_size": 8, "train_freq": 4}
PLAIN: dict[str, Any] = {
    "PPO": (PPO, "Pendulum-v1", {"n_steps": 16, "batch_size": 16, "n_epochs": 2}),
    "SAC": (SAC, "Pendulum-v1", OFF_POLICY),
    "TD3": (TD3, "Pendulum-v1", OFF_POLICY),
    "DQN": (DQN, "CartPole-v1", OFF_POLICY | {"target_update_interval": 4}),
}


def make_plain(name: str = "PPO") -> Any:
    cls, env, settings = PLAIN[name]
    return cls("MlpPolicy", env, policy_kwargs={"net_arch": [16, 16]}, seed=0, device="cpu", **settings)


def make(name: str = "PPO", rank: int = 2, **kwargs: Any) -> Any:
    """A model with gates and low-rank adapters."""
    return retrofit(make_plain(name), 8, lora_rank=rank, **kwargs)


def shake(policy: Any, seed: int = 0) -> None:
    """Random factors and k's, target networks left out."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if (".lora_" in name or name.endswith(".k")) and "_target" not in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)


def observations(model: Any, n: int = 8) -> Any:
    space = model.observation_space
    low, high = space.low.astype(float).clip(-3.0, 255.0), space.high.astype(float).clip(-3.0, 255.0)
    return np.random.default_rng(0).uniform(low, high, (n, *space.shape)).astype(space.dtype)


def outputs(model: Any, seen: Any = None) -> Any:
    """Deterministic actions; of DQN, whose actions say little, the values."""
    seen = observations(model) if seen is None else seen
    if isinstance(model, DQN):
        with torch.no_grad():
            return model.q_net(torch.as_tensor(seen)).numpy()
    return model.predict(seen, deterministic=True)[0]


def state(module: Any) -> dict[str, Any]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module: Any, before: dict[str, Any]) -> set[str]:
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
