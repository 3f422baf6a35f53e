"""Which implementation of the optimizer a gated policy steps with."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from stable_baselines3 import SAC, TD3

import nb_agents  # noqa: F401  # lets the algorithms know the gated policies by name


@pytest.mark.parametrize("cls", [SAC, TD3])
def test_the_critic_steps_with_the_implementation_of_the_actor(cls: type[Any]) -> None:
    """With gates that stand still, all weights are to the bit what SB3's policy with fused Adam learns."""
    settings = {"learning_starts": 8, "buffer_size": 50, "batch_size": 8, "seed": 0, "device": "cpu"}
    layers, trained = {"net_arch": [8, 8]}, []
    for policy, kwargs in (("KGatedPolicy", {"k_lr_ratio": 0.0}), ("MlpPolicy", {"optimizer_kwargs": {"fused": True}})):
        model = cls(policy, "Pendulum-v1", policy_kwargs={**layers, **kwargs}, **settings)
        before = copy.deepcopy(model.critic.state_dict())
        trained.append(model.learn(24).policy.state_dict())
        assert not any(torch.equal(before[name], value) for name, value in model.critic.state_dict().items())
    gated, plain = trained
    assert plain.keys() == {name for name in gated if not name.endswith(".k")}
    assert all(torch.equal(gated[name], value) for name, value in plain.items())


@pytest.mark.parametrize("chosen", [{"foreach": True}, {"foreach": False}, {"fused": False}])
def test_a_chosen_implementation_of_the_optimizer_stays_in_the_critic_too(chosen: dict[str, bool]) -> None:
    model = SAC("KGatedPolicy", "Pendulum-v1", policy_kwargs={"optimizer_kwargs": chosen}, buffer_size=9, device="cpu")
    for optimizer in (model.actor.optimizer, model.critic.optimizer):
        for group in optimizer.param_groups:
            assert {key: group[key] for key in ("fused", "foreach")} == {"fused": None, "foreach": None, **chosen}
