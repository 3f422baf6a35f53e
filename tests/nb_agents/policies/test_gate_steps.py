"""What moves a gate: the k-target's gradient and the k's own rate, in SB3's own steps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3 import PPO

from nb_agents import KGatedPolicy


class Recording(torch.optim.SGD):
    """Plain gradient descent that keeps the gradients of every step."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr)
        self.steps: list[dict[int, torch.Tensor]] = []

    def step(self, closure: Any = None) -> None:
        grads = {id(p): p.grad.clone() for group in self.param_groups for p in group["params"] if p.grad is not None}
        self.rates = [group["lr"] for group in self.param_groups]
        self.steps.append(grads)


def gated_optimizers(model: Any) -> list[Any]:
    owners = (model.policy, getattr(model.policy, "actor", None), getattr(model.policy, "critic", None))
    return [o.optimizer for o in owners if hasattr(o, "optimizer") and len(o.optimizer.param_groups) == 2]


def test_k_target_gradient_reaches_the_step_exactly(gradient_algorithm: Any) -> None:
    """One update with weight w and one with weight 0, from equal data: the difference is w ∂L/∂k, for the k's alone."""
    grads, models = [], []
    for weight in (0.1, 0.0):
        kwargs = {"optimizer_class": Recording, "optimizer_kwargs": {}, "gate_critic": True, "k_target_weight": weight}
        settings = (
            {} if "max_grad_norm" not in gradient_algorithm.cls.__init__.__annotations__ else {"max_grad_norm": 1e9}
        )
        model = gradient_algorithm.make(policy_kwargs=kwargs | {"task_difficulty": 0.5}, **settings)
        optimizers = gated_optimizers(model)
        assert optimizers
        model.learn(32)
        grads.append([optimizer.steps[0] for optimizer in optimizers])
        models.append(model)
    for steps_with, steps_without, optimizer in zip(*grads, gated_optimizers(models[0]), strict=True):
        ks = [gate.k for gate in models[0].policy.gates.values() if id(gate.k) in steps_with]
        assert ks
        assert len(steps_with) == len(steps_without)
        for (key, grad), plain in zip(steps_with.items(), steps_without.values(), strict=True):
            expected = torch.zeros_like(grad)
            for k in ks:
                if id(k) == key:
                    gate = torch.sigmoid(k.detach()[0])
                    expected[0] = 0.1 * 2 * (gate - 0.3 * (0.5 + 0.3 * 0.5)) * gate * (1 - gate)
            torch.testing.assert_close(grad - plain, expected, atol=1e-6, rtol=1e-5)
        assert optimizer.steps, "the optimizer was stepped by SB3's own train()"


def test_k_target_gradient_is_clipped_with_the_rest() -> None:
    kwargs = {"optimizer_class": Recording, "optimizer_kwargs": {}, "k_target_weight": 1e3}
    model = PPO(
        KGatedPolicy, "Pendulum-v1", n_steps=16, batch_size=16, max_grad_norm=0.5, policy_kwargs=kwargs, device="cpu"
    )
    model.learn(16)
    norm = math.sqrt(sum(g.square().sum().item() for g in model.policy.optimizer.steps[0].values()))
    assert norm == pytest.approx(0.5, rel=1e-4)


def test_the_ks_are_stepped_with_the_ratio_under_a_schedule(gradient_algorithm: Any, tmp_path: Path) -> None:
    def halving(progress_remaining: float) -> float:
        return 1e-3 * (1 + progress_remaining)

    kwargs = {"optimizer_class": Recording, "optimizer_kwargs": {}, "k_lr_ratio": 7.0}
    model = gradient_algorithm.make(policy_kwargs=kwargs, learning_rate=halving)
    model.learn(64)
    model.save(tmp_path / "model")
    loaded = gradient_algorithm.cls.load(tmp_path / "model", env=model.get_env(), device=gradient_algorithm.device)
    for each in (model, loaded):
        each.learn(64)
        for optimizer in gated_optimizers(each):
            weights_rate, gates_rate = optimizer.rates
            assert 1e-3 <= weights_rate < 2e-3
            assert gates_rate == 7.0 * weights_rate


def test_the_rate_in_force_moves_the_parameters() -> None:
    kwargs = {"optimizer_class": torch.optim.SGD, "optimizer_kwargs": {}, "k_lr_ratio": 5.0, "k_target_weight": 0.0}
    settings = {"n_steps": 16, "n_epochs": 1, "batch_size": 16, "max_grad_norm": 1e9, "device": "cpu", "seed": 1}
    model = PPO(KGatedPolicy, "Pendulum-v1", learning_rate=0.01, policy_kwargs=kwargs, **settings)
    before = {name: p.detach().clone() for name, p in model.policy.named_parameters()}
    model.learn(16)
    for name, parameter in model.policy.named_parameters():
        rate = 0.05 if name.endswith(".k") else 0.01
        torch.testing.assert_close(parameter.detach(), before[name] - rate * parameter.grad, rtol=1e-5, atol=1e-8)


def test_by_default_nothing_but_the_loss_moves_a_gate(gradient_algorithm: Any) -> None:
    policy = gradient_algorithm.make(policy_kwargs={"gate_critic": True}).policy
    sum(0.0 * parameter.sum() for parameter in policy.parameters() if parameter.requires_grad).backward()
    for gate in policy.gates.values():
        assert not gate.k.grad.any()
