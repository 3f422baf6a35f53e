"""Small MAML models on two goals in the plane, and which of their meta-parameters have moved."""

from __future__ import annotations

from typing import Any

import torch

import nb_gym  # noqa: F401 - registers the environments
from nb_agents.maml import MAML

# Off the lattice of full steps, which exploration mostly takes: no episode ends early.
GOALS = [{"goal": (0.35, 0.25), "episode_steps": 10}, {"goal": (-0.35, 0.25), "episode_steps": 10}]


def make(cls: type[MAML] = MAML, policy: Any = "MlpPolicy", **kwargs: Any) -> MAML:
    settings: dict[str, Any] = {"tasks": GOALS, "episodes_per_task": 4, "seed": 0, "device": "cpu"}
    settings |= {"policy_kwargs": {"net_arch": [8, 8]}} | kwargs
    return cls(policy, "Navigation2D-v0", **settings)


def meta_parameters(maml: MAML) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in maml.policy.state_dict().items()}


def moved(before: dict[str, torch.Tensor], maml: MAML) -> set[str]:
    return {name for name, value in maml.policy.state_dict().items() if not torch.equal(before[name], value)}
