"""What a model answers, and that its files bring it back and it goes on learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib import ARS


def observations(model: Any, n: int = 8) -> Any:
    space = model.observation_space
    space.seed(0)
    samples = [space.sample() for _ in range(n)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in space}
    return np.stack(samples).clip(-3, 3) if space.dtype == np.float32 else np.stack(samples)


def actions(model: Any) -> np.ndarray:
    policy = getattr(model, "policy", model)
    return policy.predict(observations(policy), deterministic=True)[0]


def check_kept(model: Any, tmp_path: Path) -> None:
    """Model and policy come back from their files with equal predictions, and the model goes on learning."""
    model.save(tmp_path / "model")
    model.policy.save(tmp_path / "policy")
    loaded = type(model).load(tmp_path / "model", env=model.get_env(), device=model.device)
    policy = type(model.policy).load(tmp_path / "policy", device=model.device)
    for other in (loaded.policy, policy):
        assert np.array_equal(actions(model), actions(other))
        for (name, value), own in zip(other.state_dict().items(), model.policy.state_dict().values(), strict=True):
            assert torch.equal(value, own), name
    before = [gate.k.detach().clone() for gate in loaded.policy.gates.values()]
    loaded.learn(64, reset_num_timesteps=False)
    assert loaded.num_timesteps > model.num_timesteps
    if isinstance(model, ARS) and model.device.type == "cuda":
        return  # sb3-contrib's ARS forgets what it loaded on a GPU and begins anew, with its own policies as well
    now = [gate.k for gate in loaded.policy.gates.values()]
    assert not any(torch.equal(*pair) for pair in zip(now, before, strict=True)), "every gate goes on learning"
