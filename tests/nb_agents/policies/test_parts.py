"""Actors and Q-networks, saved and loaded by themselves."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces


def parts(policy: Any) -> dict[str, Any]:
    """SB3's networks that save and load themselves."""
    names = ("actor", "actor_target", "q_net", "q_net_target", "quantile_net", "quantile_net_target")
    return {name: getattr(policy, name) for name in names if hasattr(policy, name)}


def actions(policy: Any) -> Any:
    policy.observation_space.seed(0)
    obs = np.stack([policy.observation_space.sample() for _ in range(8)])
    return policy.predict(obs, deterministic=True)[0]


def answer(part: Any) -> Any:
    part.observation_space.seed(0)
    obs = torch.as_tensor(np.stack([part.observation_space.sample() for _ in range(8)])).clip(-3, 3).to(part.device)
    part.set_training_mode(False)
    with torch.no_grad():
        return part._predict(obs, deterministic=True)


def test_a_part_of_a_policy_is_saved_and_loaded_by_itself(algorithm: Any, tmp_path: Path) -> None:
    model = algorithm.make(policy_kwargs={"block_size": 8, "k_init": 0.5}).learn(64)
    for name, part in parts(model.policy).items():
        expected = answer(part)  # SB3 keeps the last distribution, and with its graph after training nothing is copied
        part.save(tmp_path / name)
        copies = [type(part).load(tmp_path / name, device=algorithm.device), copy.deepcopy(part)]
        copies.append(pickle.loads(pickle.dumps(part)))
        for loaded in copies:
            assert type(loaded) is type(part)
            assert loaded.state_dict().keys() == part.state_dict().keys()
            assert torch.equal(answer(loaded), expected)
            assert not {id(p) for p in loaded.parameters()} & {id(p) for p in part.parameters()}


def test_an_actor_that_sees_images_is_saved_by_itself(image_algorithm: Any, tmp_path: Path, anything: Any) -> None:
    env = anything(spaces.Box(0, 255, (36, 36, 1), np.uint8), image_algorithm.actions[0])
    kwargs = {"features_extractor_kwargs": {"features_dim": 16}, "net_arch": [8]}
    model = image_algorithm.make(env, image_algorithm.cnn, kwargs)
    for name, part in parts(model.policy).items():
        part.save(tmp_path / name)
        loaded = type(part).load(tmp_path / name, device=image_algorithm.device)
        assert np.array_equal(actions(loaded), actions(part))
