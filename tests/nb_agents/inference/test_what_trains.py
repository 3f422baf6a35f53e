"""What of a conditioned policy trains, and at which rate: k0 and f are the k's, the layers are the weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from stable_baselines3 import A2C, PPO, SAC

from nb_agents import KGatedPolicy, KGatedSACPolicy
from nb_agents.contrib import KGatedTRPOPolicy
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.policies.optim import GATES, WEIGHTS, optimized_parts
from tests.nb_agents.inference.models import CASES, FLAT, OFF, ON, make_model


def is_k(name: str) -> bool:
    return name.endswith(".k") or ".k_net." in name


def actors(policy: Any) -> dict[str, torch.Tensor]:
    """The parameters that acting depends on."""
    apart = (*policy.critic_parts, *policy.exploration_parts)
    named = dict(policy.named_parameters())
    return {n: p for n, p in named.items() if not n.startswith(apart) and "_target" not in n.split(".")[0]}


@pytest.mark.parametrize(("algorithm", "policy", "key", "settings"), FLAT)
def test_gates_alone_are_k0_and_f_and_nothing_else(algorithm: Any, policy: Any, key: bool, settings: Any) -> None:
    model = make_model(algorithm, policy, key, settings, k_target_weight=0.0 if policy is KGatedTRPOPolicy else 0.1)
    model.learn(16)
    model.policy.train_only("gates")
    before = {name: value.detach().clone() for name, value in actors(model.policy).items()}
    targets = [name for name, _ in model.policy.named_parameters() if "_target" in name.split(".")[0]]
    model.learn(32)
    for name, value in actors(model.policy).items():
        moved = not torch.equal(value, before[name])
        assert moved is is_k(name), name
    for name in targets:
        if (source := name.replace("_target", "")) in before and not is_k(source):
            assert torch.equal(dict(model.policy.named_parameters())[name], before[source]), name


@pytest.mark.parametrize(("algorithm", "policy", "key", "settings"), FLAT)
def test_the_head_is_the_actors_and_not_that_of_f(algorithm: Any, policy: Any, key: bool, settings: Any) -> None:
    model = make_model(algorithm, policy, key, settings)
    model.policy.train_only("head", log_std=None)
    trains = {name for name, value in actors(model.policy).items() if value.requires_grad}
    assert len(trains) == 2
    assert not any(is_k(name) for name in trains)


@pytest.mark.parametrize(
    ("algorithm", "policy", "settings"),
    [(PPO, KGatedPolicy, ON | {"batch_size": 8}), (A2C, KGatedPolicy, ON), (SAC, KGatedSACPolicy, OFF)],
)
def test_k0_and_f_have_a_rate_of_their_own_that_survives_the_schedule(
    algorithm: Any, policy: Any, settings: Any
) -> None:
    settings = settings | {"learning_rate": lambda remaining: 1e-3 * remaining}
    model = make_model(algorithm, policy, False, settings, k_lr_ratio=3.0, k_init=0.25)
    nets = list(conditioned_nets(model.policy))
    assert all((gate.k == 0.25).all() for net in nets for gate in net.gates), "k0 survives the initialisation"
    part = optimized_parts(model.policy)["actor" if algorithm is SAC else "policy"]
    groups = {group["name"]: group for group in part.optimizer.param_groups}
    of_k = {id(p) for net in nets for p in (*net.k_net.parameters(), *(gate.k for gate in net.gates))}
    assert {id(p) for p in groups[GATES]["params"]} == of_k
    assert not {id(p) for p in groups[WEIGHTS]["params"]} & of_k
    model.learn(32)
    assert groups[GATES]["lr_ratio"] == 3.0
    assert groups[GATES]["lr"] == groups[WEIGHTS]["lr"]


def test_a_ratio_of_one_is_one_optimizer_and_of_zero_moves_no_k() -> None:
    """A step of plain SGD moves f by the rate times the ratio times its gradient."""
    step, steps = {}, {"n_steps": 16, "batch_size": 16, "n_epochs": 1, "learning_rate": 0.3, "ent_coef": 0.0}
    for ratio in (0.0, 1.0, 4.0):
        sgd = {"optimizer_class": torch.optim.SGD, "k_lr_ratio": ratio}
        model = make_model(PPO, KGatedPolicy, False, steps, **sgd)
        before = {name: value.detach().clone() for name, value in model.policy.named_parameters()}
        model.learn(16)
        step[ratio] = {name: value - before[name] for name, value in model.policy.named_parameters()}
    for name in step[1.0]:
        times = (4.0, 0.0) if is_k(name) else (1.0, 1.0)
        torch.testing.assert_close(step[4.0][name], times[0] * step[1.0][name], rtol=1e-2, atol=3e-7)
        torch.testing.assert_close(step[0.0][name], times[1] * step[1.0][name], rtol=1e-2, atol=3e-7)
    assert any(is_k(name) and step[1.0][name].abs().max() > 1e-6 for name in step[1.0])


def test_every_case_is_among_these() -> None:
    assert len(FLAT) == len(CASES)
