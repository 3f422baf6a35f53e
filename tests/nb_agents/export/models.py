"""Models of every kind of observation and action, with gates that have moved, and batches for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3

from nb_agents.gates.gate import named_gates
from nb_agents.surgery.retrofit import retrofit
from tests.nb_agents.shared import Spaces

SMALL = {"n_steps": 16}
OFF_POLICY = {"learning_starts": 4, "buffer_size": 50, "batch_size": 4}


VECTOR, TORQUE = spaces.Box(-3, 3, (3,)), spaces.Box(np.array([-2, 0], np.float32), np.array([2, 5], np.float32))
IMAGE = spaces.Box(0, 255, (36, 36, 3), np.uint8)
MIXED = spaces.Dict({"a": VECTOR, "image": IMAGE, "kind": spaces.Discrete(4), "matrix": spaces.Box(-1, 1, (2, 2))})
CASES: dict[str, tuple[Any, str, spaces.Space[Any], spaces.Space[Any], dict[str, Any]]] = {
    "PPO Box": (PPO, "MlpPolicy", VECTOR, TORQUE, SMALL | {"batch_size": 16}),
    "A2C gSDE squashed": (
        A2C, "MlpPolicy", VECTOR, TORQUE, SMALL | {"use_sde": True, "policy_kwargs": {"squash_output": True}},
    ),
    "A2C Discrete, of Discrete": (A2C, "MlpPolicy", spaces.Discrete(5), spaces.Discrete(4), SMALL),
    "A2C MultiDiscrete": (A2C, "MlpPolicy", VECTOR, spaces.MultiDiscrete([3, 4]), SMALL),
    "A2C MultiBinary": (A2C, "MlpPolicy", spaces.MultiBinary(4), spaces.MultiBinary(3), SMALL),
    "SAC": (SAC, "MlpPolicy", VECTOR, TORQUE, OFF_POLICY),
    "TD3": (TD3, "MlpPolicy", VECTOR, TORQUE, OFF_POLICY),
    "DQN image": (DQN, "CnnPolicy", IMAGE, spaces.Discrete(3), OFF_POLICY),
    "A2C Dict": (A2C, "MultiInputPolicy", MIXED, TORQUE, SMALL),
}  # fmt: skip


def batch(space: spaces.Space[Any], n: int) -> Any:
    space.seed(3)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in space}
    return np.stack(samples)


def scatter(model: Any) -> None:
    """Move gates and output layers, so that actions differ between observations and reach the bounds."""
    with torch.no_grad():
        for _, gate in named_gates(model.policy):
            gate.k.normal_()
        for parameter in model.policy.parameters():
            parameter.mul_(1.5 if parameter.dim() < 2 else 3.0)


def gated(name: str) -> tuple[Any, spaces.Space[Any], spaces.Space[Any]]:
    cls, policy, observation_space, action_space, settings = CASES[name]
    model = retrofit(cls(policy, Spaces(observation_space, action_space), seed=0, device="cpu", **settings))
    scatter(model)
    return model, observation_space, action_space
