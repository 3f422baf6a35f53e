"""Retrofitting and folding keep the optimizer's groups and options, as they are by then."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest
import torch
from stable_baselines3 import DQN, PPO, SAC
from torch import nn

from nb_agents import KGatedPolicy
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.retrofit import retrofit

SMALL = {"net_arch": [16], "optimizer_class": torch.optim.AdamW, "optimizer_kwargs": {"weight_decay": 0.1}}
LISTS = ("params", "param_names", "name", "lr_ratio", "fused", "foreach")


def options(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in LISTS}


def make(algorithm: Any, policy: Any = "MlpPolicy") -> Any:
    env = gym.make("CartPole-v1" if algorithm is DQN else "Pendulum-v1")
    return algorithm(policy, env, policy_kwargs=dict(SMALL), seed=0)


def sizes(group: dict[str, Any]) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for p in group["params"]]


def change(optimizer: torch.optim.Optimizer) -> None:
    """Decay off, other betas, and the last parameter in a group of its own."""
    (group, *_) = optimizer.param_groups
    group.update(weight_decay=0.0, betas=(0.7, 0.9))
    optimizer.add_param_group({"params": [group["params"].pop()], "weight_decay": 0.03, "mine": "a"})


@pytest.mark.parametrize(("algorithm", "parts"), [(PPO, ["policy"]), (DQN, ["policy"]), (SAC, ["actor", "critic"])])
def test_there_and_back_keeps_groups_and_options(algorithm: Any, parts: list[str]) -> None:
    model = make(algorithm)
    for part in parts:
        change(getattr(model, part).optimizer)
    gated = retrofit(model)
    back = fold_gates(gated)
    for part in parts:
        old, new, again = (getattr(m, part).optimizer for m in (model, gated, back))
        for group, of_gated, of_back in zip(old.param_groups, new.param_groups, again.param_groups, strict=False):
            assert options(of_gated) == options(of_back) == options(group)
            assert sizes(of_gated) == sizes(of_back) == sizes(group)
        assert len(again.param_groups) == len(old.param_groups) == 2
        ks = new.param_groups[2:]
        assert [group["name"] for group in ks] == ([] if part == "critic" else ["gates"])
        for group in ks:
            assert (group["weight_decay"], group["betas"], group["lr_ratio"]) == (0.0, (0.7, 0.9), 5.0)
        assert not new.state
        assert not again.state
    gated.learn(64)
    back.learn(64)


def test_without_changes_nothing_is_added_to_the_plain_optimizer() -> None:
    model = make(PPO)
    optimizer = fold_gates(retrofit(model)).policy.optimizer
    assert type(optimizer) is torch.optim.AdamW
    (group,), (old,) = optimizer.param_groups, model.policy.optimizer.param_groups
    assert group.keys() == old.keys()
    assert options(group) == options(old)


def test_groups_added_to_a_gated_model_outlive_its_gates() -> None:
    model = make(PPO, KGatedPolicy)
    weights = model.policy.optimizer.param_groups[0]
    model.policy.optimizer.add_param_group({"params": [weights["params"].pop()], "lr_ratio": 0.1, "name": "slow"})
    first, slow = fold_gates(model).policy.optimizer.param_groups
    assert first["weight_decay"] == slow["weight_decay"] == 0.1
    assert (slow["name"], slow["lr_ratio"]) == ("slow", 0.1)
    assert "name" not in first


def test_momentum_switched_off_stays_off() -> None:
    kwargs = {"optimizer_class": torch.optim.SGD, "optimizer_kwargs": {"momentum": 0.7}}
    model = PPO("MlpPolicy", "Pendulum-v1", policy_kwargs=kwargs)
    model.policy.optimizer.param_groups[0]["momentum"] = 0.0
    gated = retrofit(model)
    assert [group["momentum"] for group in gated.policy.optimizer.param_groups] == [0.0, 0.0]
    assert [group["momentum"] for group in fold_gates(gated).policy.optimizer.param_groups] == [0.0]


def test_parameters_of_others_are_refused() -> None:
    model = make(PPO)
    model.policy.optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(3))]})
    wanted = r"^policy\.optimizer must hold parameters of the policy alone, but holds others, of shape \(3,\): add"
    with pytest.raises(ValueError, match=wanted):
        retrofit(model)


def test_another_class_is_refused() -> None:
    model = make(PPO)
    model.policy.optimizer = torch.optim.SGD(model.policy.parameters(), lr=0.1)
    with pytest.raises(TypeError, match=r"^the model's optimizer is a SGD, but its policy_kwargs make a AdamW: pass"):
        retrofit(model)
