"""Labelled states to train on, and the parameters of a trainer, to compare."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from nb_agents.recipe.trainer import NeuralBatteryTrainer


def batch(n: int = 40, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(n, 2))
    return {"states": states, "expert_actions": np.tanh(states[:, :1]), "returns": -np.abs(states).sum(axis=1)}


def parameters(trainer: NeuralBatteryTrainer) -> list[torch.Tensor]:
    held = [*trainer.policy.parameters(), *trainer.regularizer.parameters()]
    return [parameter.detach().clone() for parameter in held]


def equal(x: list[torch.Tensor], y: list[torch.Tensor]) -> bool:
    return all(a.equal(b) for a, b in zip(x, y, strict=True))
